"""Minima: which ones a frame's candidates lead to, and which of them is the deepest.

    candidates → all refined on one coarse frame, on the same pixels → the best ones on the frame itself

All minima are compared on the same pixels under the same weights, so that a difference of χ² is one of
log-likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import WINDOW, Candidate
from hybridfit.fitting.refine.noise import effective_pixels
from hybridfit.fitting.refine.refiner import Minimum, Refiner, is_thin
from hybridfit.fitting.refine.region import Region
from hybridfit.fitting.refine.settings import Effort
from hybridfit.fitting.refine.structural import Discrete, Variant
from hybridfit.frame import Frame
from hybridfit.model import FINE_PIXEL

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Minima:
    """The minima of one frame.

    Attributes
    ----------
    best : Minimum
    rivals : tuple of Minimum
        Other minima, refined on the same pixels as the best, the deepest first.
    left : tuple of Candidate
        Minima of the coarse frame that were not refined further; χ² as it would be on the fine one.
    coarse : Minimum
        The best one as it was on the coarse frame.
    refiner : Refiner
        Whose minimum the best one is.
    tried : tuple of (discrete values, χ²)
        Of every minimum.
    """

    best: Minimum
    rivals: tuple[Minimum, ...]
    left: tuple[Candidate, ...]
    coarse: Minimum
    refiner: Refiner
    tried: tuple[tuple[Discrete, float], ...]


class Finder:
    """Finds the minima that candidates lead to.

    Parameters
    ----------
    variants : sequence of Variant
        Refinements at every combination of discrete structural parameters; a single one without any.
    progress : callable(stage, fraction)
    """

    def __init__(self, variants: Sequence[Variant], progress: Callable[[str, float], None]) -> None:
        self.variants = variants
        self.refiner = variants[0].refiner
        self.settings = self.refiner.settings.refining
        self.progress = progress

    def find(self, frame: Frame, found: Sequence[Candidate]) -> Minima:
        """Refine candidates, at least one, and compare what they lead to.

        Raises
        ------
        InputError
            Too few pixels are usable.
        """
        limits = self.settings
        told, rivals_up_to = self._tell_apart(frame, found)
        region = self._refiner(told[0]).region(frame, told[0].answer, limits.fine_radius)
        best = told[0] if self._final(told[0]) else self._finely(frame, told[0], region)
        weights = 1 / best.fit.noise.variance(best.fit.model)
        minima = [best.weighed(weights)]
        seeds = [m for m in self._worth_a_look(told) if m.answer.chi2 <= rivals_up_to]
        if self._poor(best):  # and what was no better is poor, too
            seeds = [m for m in seeds if not self._poor(m)]
        if self._chance(best):  # and what was no better is chance, too
            seeds = [m for m in seeds if not self._chance(m)]
        for seed in seeds:
            other = self._finely(frame, seed, region).weighed(weights)
            same = [m for m in minima if m.same_as(other, self._refiner(m).library, limits)]
            if all(other.answer.chi2 < m.answer.chi2 for m in same):
                minima = [other, *(m for m in minima if m not in same)]
        best, *rivals = sorted(minima, key=lambda m: m.answer.chi2)
        # χ² of what was left behind on the coarse frame, as it would be on the fine one
        scale = best.answer.chi2 / told[0].answer.chi2
        left = [m for m in told[1:] if m not in seeds]
        return Minima(
            best,
            tuple(rivals),
            tuple(replace(m.answer, chi2=m.answer.chi2 * scale) for m in left),
            told[0],
            self._refiner(best),
            tuple(
                [(m.discrete, m.answer.chi2) for m in minima]
                + [(m.discrete, m.answer.chi2 * scale) for m in left]
            ),
        )

    def _tell_apart(self, frame: Frame, found: Sequence[Candidate]) -> tuple[list[Minimum], float]:
        """The minima that the candidates lead to, best first, and the χ² up to which they are rivals."""
        limits = self.settings
        trials = [(v.refiner, start, seed) for seed in found for v in self.variants for start in v.starts]
        refiner, start, seed = trials[0]
        region = self.refiner.region(frame, found[0], limits.coarse_radius)
        pixel = limits.rough_pixel if region.known is None else limits.coarse_pixel
        only = Effort(1, limits.only_tolerance, pixel, errors=False)
        if len(trials) == 1:
            if region.known is not None:  # on the pixels of the last refinement: this may be it
                only = Effort(limits.passes, limits.tolerance, limits.coarse_pixel)
            return [refiner.follow(frame, seed, region, only, start=start)], np.inf
        again = replace(only, coarse=True)
        effort = replace(again, tolerance=limits.coarse_tolerance)
        first = refiner.follow(frame, seed, region, replace(effort, passes=2), start=start)
        weights = 1 / first.fit.noise.variance(first.fit.model)
        minima = [first.weighed(weights)]
        ends = {(refiner, seed): first}
        for i, (refiner, start, seed) in enumerate(trials[1:], 1):
            library = refiner.library
            thin = any(
                m.discrete == refiner.discrete and is_thin(m.answer.thickness, library, limits)
                for m in minima
            )
            if thin and seed.thickness < library.thickness_range[0] + WINDOW[0]:
                continue  # there, too, where tilts are all the same
            end, how = ends.get((refiner, seed)), effort
            if end is not None:  # another start, from what is known now: does it lead elsewhere?
                start, how = {**end.fit.values, **start}, again
            at = seed if end is None else end.answer
            roughly = replace(how, tolerance=max(how.tolerance, limits.rough_tolerance))
            new = refiner.follow(frame, at, region, roughly, weights=weights, start=start)
            same = [m for m in minima if m.same_as(new, refiner.library, limits)]
            least = min(m.answer.chi2 for m in minima)
            if not same and new.answer.chi2 < limits.nowhere * least:
                on = new.fit.values
                new = refiner.follow(frame, new.answer, region, how, weights=weights, start=on)
                same = [m for m in minima if m.same_as(new, refiner.library, limits)]
            ends.setdefault((refiner, seed), new)
            if all(new.answer.chi2 < m.answer.chi2 for m in same):
                minima = [m for m in minima if m not in same] + [new]
            self.progress("refine", (i + 1) / (len(trials) + 1))
        minima.sort(key=lambda m: m.answer.chi2)
        fit = minima[0].fit
        standardised = np.sqrt(weights) * fit.residual
        share = float(np.clip(fit.noise.misfit * weights.mean() / (standardised**2).mean(), 0, 1))
        rise = limits.rival_chi2 / effective_pixels(standardised, region.mask, share, limits)
        return minima, minima[0].answer.chi2 * (1 + rise)

    def _final(self, told: Minimum) -> bool:
        """Whether nothing is left to refine: pixels are the last ones, and need not be divided further."""
        finished = told.region.known is not None and told.fit.covariance is not None
        return finished and _electrons(told) <= self.settings.bright

    def _poor(self, minimum: Minimum) -> bool:
        """Whether a minimum leaves so much that it is a poor match."""
        most = self.refiner.settings.judging.poor_misfit
        return minimum.fit.noise.misfit > most * minimum.region.variance

    def _chance(self, minimum: Minimum) -> bool:
        """Whether a minimum explains no more of the frame than as many numbers do of noise."""
        fit, judging = minimum.fit, self.refiner.settings.judging
        explained = 1 - fit.sum_of_squares / fit.residual.size / minimum.region.variance
        by_chance = (len(fit.names) + len(fit.coefficients)) / fit.residual.size
        return explained < min(judging.beyond_chance * by_chance, judging.beyond_any_chance)

    def _worth_a_look(self, told: list[Minimum]) -> list[Minimum]:
        """The next best minima, and the best one of every combination of discrete parameters."""
        most = 1 + self.settings.rivals
        chosen = told[1:most]
        seen = [m.discrete for m in told[:most]]
        for minimum in told[most:]:
            if minimum.discrete not in seen:
                seen.append(minimum.discrete)
                chosen.append(minimum)
        return chosen

    def _finely(self, frame: Frame, coarse: Minimum, region: Region) -> Minimum:
        """Refine from a coarse minimum, with what it said about the noise."""
        limits = self.settings
        noise = coarse.fit.noise.on_pixels((region.factor / coarse.region.factor) ** 2)
        fine_pixel = FINE_PIXEL if _electrons(coarse) > limits.bright else limits.coarse_pixel
        follow = partial(self._refiner(coarse).follow, frame)
        if self._poor(coarse):  # one round will show it
            effort = Effort(1, limits.first_tolerance, fine_pixel)
            fine = follow(coarse.answer, region, effort, noise=noise, start=coarse.fit.values)
            if self._poor(fine):
                return fine
            coarse = fine
        effort = Effort(limits.passes, limits.tolerance, fine_pixel)
        return follow(coarse.answer, region, effort, noise=noise, start=coarse.fit.values)

    def _refiner(self, minimum: Minimum) -> Refiner:
        """Whose minimum it is."""
        return next(v.refiner for v in self.variants if v.refiner.discrete == minimum.discrete)


def _electrons(minimum: Minimum) -> float:
    """How many electrons the compared pixels amount to, from the noise that they have."""
    model = minimum.fit.model
    noise = np.maximum(minimum.fit.noise.counting(model), 1e-12 * float((model**2).mean()) + 1e-300)
    return float((model**2 / noise).sum())
