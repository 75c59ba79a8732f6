"""From candidates to a result: which minimum is the deepest, its errors, and what speaks against it.

candidates → refined on a coarse frame, all on the same pixels → the best ones on the frame itself
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import WINDOW, Candidate
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.judge.status import make_result, unexplained
from hybridfit.fitting.refine.noise import effective_pixels
from hybridfit.fitting.refine.refiner import Minimum, Refiner, is_thin
from hybridfit.fitting.refine.region import Region
from hybridfit.fitting.refine.structural import Variant, with_odds
from hybridfit.fitting.refine.thickness_curve import along_thickness
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.search.cameras import check_disc
from hybridfit.frame import Frame
from hybridfit.library.axes import Axis
from hybridfit.model import FINE_PIXEL

Array = NDArray[np.float64]

EVERYWHERE = "full search"  # the route whose search has been over all thicknesses
FINE_RADIUS = 40  # px of the compared disc in the last refinement: more are binned; 2 px/mrad lose 5 %
COARSE_RADIUS = 26  # px, while candidates are told apart
COARSE_PIXEL = 0.5  # mrad: wider pixels are divided, while candidates are told apart
COARSE_TOLERANCE = 1e-3
ONLY_TOLERANCE = 1e-2  # where there is nothing to tell apart
BRIGHT = 5e6  # electrons in the compared disc, from which the mean over a pixel's area tells in the answer
RIVAL_CHI2 = 50.0  # rise of χ², in independent pixels, up to which a candidate is refined to the end
RIVALS = 3
SUSPICIOUS = 0.02  # of the structure: where so much is left, the semi-angle is looked into
SEMI_ANGLE_GAIN, SEMI_ANGLE_OFF = 0.15, 0.025  # fall of the sum of squares, relative change


class Finisher:
    """Refines candidates and says what came of them.

    Parameters
    ----------
    variants : sequence of Variant
        Refinements at every combination of discrete structural parameters; a single one without any.
    structure : mapping of name to Axis
        Structural parameters of the library.
    method : str
    remark : str
        A sentence to add to every message.
    keep_model, whole_curve : bool
        As for `Fitter`.
    progress : callable(stage, fraction)
    """

    def __init__(
        self,
        variants: Sequence[Variant],
        structure: Mapping[str, Axis],
        *,
        method: str,
        remark: str,
        keep_model: bool,
        whole_curve: bool,
        progress: Callable[[str, float], None],
    ) -> None:
        self.variants = variants
        self.structure = structure
        self.refiner = variants[0].refiner
        self.method = method
        self.remark = remark
        self.keep_model = keep_model
        self.whole_curve = whole_curve
        self.progress = progress

    def finish(
        self, frame: Frame, found: list[Candidate], curve: Array | None, clock: Clock, route: str
    ) -> FitResult:
        """Refine candidates and say what came of it."""
        told, rivals_up_to = self._tell_apart(frame, found)
        region = Region.around(frame, told[0].answer, self.refiner.semi_angle, FINE_RADIUS)
        best = self._finely(frame, told[0], region)
        weights = 1 / best.fit.noise.variance(best.fit.model)
        minima = [best.weighed(weights)]
        seeds = [m for m in self._worth_a_look(told) if m.answer.chi2 <= rivals_up_to]
        for seed in seeds:
            other = self._finely(frame, seed, region).weighed(weights)
            same = [m for m in minima if m.same_as(other, self._refiner(m).library)]
            if all(other.answer.chi2 < m.answer.chi2 for m in same):
                minima = [other, *(m for m in minima if m not in same)]
        best, *rivals = sorted(minima, key=lambda m: m.answer.chi2)
        answer, library = best.answer, self._refiner(best).library
        check_disc(frame, (answer.centre_x, answer.centre_y, answer.scale), self.refiner.semi_angle)
        others = [m.answer for m in rivals]
        # χ² of what was left behind on the coarse frame, as it would be on the fine one
        scale = answer.chi2 / told[0].answer.chi2
        left = [m for m in told[1:] if m not in seeds]
        rest = [replace(m.answer, chi2=m.answer.chi2 * scale) for m in left]
        others += [
            c for c in rest if not any(c.same_as(m, library.rotation_order) for m in (answer, *others))
        ]
        doubt = self._doubt(frame, told[0], best)
        self.progress("refine", 1.0)
        clock.lap("refine")
        result = make_result(
            frame.source,
            library,
            self.refiner.tilt_limit,
            best,
            rivals,
            seed=found[0],
            candidates=(answer, *sorted(others, key=lambda c: c.chi2)),
            curve=curve,
            keep_model=self.keep_model,
            seconds=clock.seconds(),
            method=self.method,
            route=route,
            remark=self.remark,
            doubt=doubt,
        )
        if self.whole_curve and route != EVERYWHERE:
            region = told[0].region
            look = partial(along_thickness, self._refiner(best), frame, best, region, COARSE_PIXEL)
            result = replace(result, along_thickness=look, curve_searched=False)
        if not best.discrete:
            return result
        tried = [(m.discrete, m.answer.chi2) for m in minima]
        tried += [(m.discrete, m.answer.chi2 * scale) for m in left]
        return with_odds(result, self.structure, best.discrete, tried)

    def _worth_a_look(self, told: list[Minimum]) -> list[Minimum]:
        """The next best minima, and the best one of every combination of discrete parameters."""
        chosen = told[1 : 1 + RIVALS]
        seen = [m.discrete for m in told[: 1 + RIVALS]]
        for minimum in told[1 + RIVALS :]:
            if minimum.discrete not in seen:
                seen.append(minimum.discrete)
                chosen.append(minimum)
        return chosen

    def _refiner(self, minimum: Minimum) -> Refiner:
        """Whose minimum it is."""
        return next(v.refiner for v in self.variants if v.refiner.discrete == minimum.discrete)

    def _doubt(self, frame: Frame, coarse: Minimum, best: Minimum) -> str:
        """What speaks against a match that leaves some structure: another semi-angle that fits better."""
        if "semi_angle" in (*self.refiner.free, *self.refiner.fix) or unexplained(best) < SUSPICIOUS:
            return ""
        start, refiner = best.answer, self._refiner(best)
        options: dict[str, Any] = {"passes": 1, "tolerance": COARSE_TOLERANCE, "fine_pixel": COARSE_PIXEL}
        options["start"] = {name: best.fit.values[name] for name in refiner.library.structure}
        fits = [
            refiner.follow(frame, start, coarse.region, free=free, **options).fit
            for free in ((), ("semi_angle",))
        ]
        gain = 1 - fits[1].sum_of_squares / max(fits[0].sum_of_squares, 1e-300)
        found = fits[1].values["semi_angle"]
        if gain < SEMI_ANGLE_GAIN or abs(found / self.refiner.semi_angle - 1) < SEMI_ANGLE_OFF:
            return ""
        return f"{gain:.0%} less is left at a semi-angle of {found:.1f} mrad"

    def _finely(self, frame: Frame, coarse: Minimum, region: Region) -> Minimum:
        """Refine from a coarse minimum, with what it said about the noise."""
        noise = coarse.fit.noise.on_pixels((region.factor / coarse.region.factor) ** 2)
        fine_pixel = FINE_PIXEL if _electrons(coarse) > BRIGHT else COARSE_PIXEL
        return self._refiner(coarse).follow(
            frame, coarse.answer, region, noise=noise, start=coarse.fit.values, fine_pixel=fine_pixel
        )

    def _tell_apart(self, frame: Frame, found: list[Candidate]) -> tuple[list[Minimum], float]:
        """The minima that the candidates lead to, best first, and the χ² up to which they are rivals.

        All are refined on the same pixels of a coarse frame and weighted by one estimate of the
        noise, so that a difference of χ² is one of log-likelihood.
        """
        trials = [(v.refiner, start, seed) for seed in found for v in self.variants for start in v.starts]
        refiner, start, seed = trials[0]
        region = Region.around(frame, found[0], self.refiner.semi_angle, COARSE_RADIUS)
        options: dict[str, Any] = {"fine_pixel": COARSE_PIXEL, "tolerance": COARSE_TOLERANCE, "errors": False}
        if len(trials) == 1:
            options["tolerance"] = ONLY_TOLERANCE
            return [refiner.follow(frame, seed, region, passes=1, start=start, **options)], np.inf
        options["coarse"] = True
        first = refiner.follow(frame, seed, region, passes=2, start=start, **options)
        weights = 1 / first.fit.noise.variance(first.fit.model)
        minima = [first.weighed(weights)]
        ends = {(refiner, seed): first}
        for i, (refiner, start, seed) in enumerate(trials[1:], 1):
            library = refiner.library
            thin = any(
                m.discrete == refiner.discrete and is_thin(m.answer.thickness, library) for m in minima
            )
            if thin and seed.thickness < library.thickness_range[0] + WINDOW[0]:
                continue  # there, too, where tilts are all the same
            end, how = ends.get((refiner, seed)), options
            if end is not None:  # another start, from what is known now: does it lead elsewhere?
                start, how = {**end.fit.values, **start}, {**options, "tolerance": ONLY_TOLERANCE}
            at = seed if end is None else end.answer
            new = refiner.follow(frame, at, region, weights, passes=1, start=start, **how)
            ends.setdefault((refiner, seed), new)
            same = [m for m in minima if m.same_as(new, refiner.library)]
            if all(new.answer.chi2 < m.answer.chi2 for m in same):
                minima = [m for m in minima if m not in same] + [new]
            self.progress("refine", (i + 1) / (len(trials) + 1))
        minima.sort(key=lambda m: m.answer.chi2)
        fit = minima[0].fit
        standardised = np.sqrt(weights) * fit.residual
        share = float(np.clip(fit.noise.misfit * weights.mean() / (standardised**2).mean(), 0, 1))
        rise = RIVAL_CHI2 / effective_pixels(standardised, region.mask, share)
        return minima, minima[0].answer.chi2 * (1 + rise)


def _electrons(minimum: Minimum) -> float:
    """How many electrons the compared pixels amount to, from the noise that they have."""
    model = minimum.fit.model
    noise = np.maximum(minimum.fit.noise.counting(model), 1e-12 * float((model**2).mean()) + 1e-300)
    return float((model**2 / noise).sum())
