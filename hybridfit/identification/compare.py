"""The comparison: the best hypotheses refined on the same pixels, weighted alike.

    candidates of all hypotheses → refined on one coarse frame → the best on the frame itself

All are weighted as the residual of the best one asks for, so that a difference of χ² is one of
log-likelihood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.refine.refiner import Minimum
from hybridfit.fitting.refine.settings import Effort
from hybridfit.frame import Frame
from hybridfit.identification.hypotheses import Hypothesis
from hybridfit.identification.screen import Screen
from hybridfit.identification.settings import IdentifySettings
from hybridfit.identification.structure import Left, left_of


@dataclass(frozen=True, eq=False)
class Compared:
    """The best minimum of a hypothesis.

    Attributes
    ----------
    hypothesis : Hypothesis
    minimum : Minimum
        Its χ² is under the weights of the best of all.
    excess : float
        Of its χ² over that of the best of all, relative.
    fine : bool
        Whether it was refined on the frame itself.
    """

    hypothesis: Hypothesis
    minimum: Minimum
    excess: float
    fine: bool

    @cached_property
    def left(self) -> Left:
        """What it leaves of the frame."""
        return left_of(self.minimum)

    @property
    def off_angle(self) -> float:
        """How far the semi-angle is from what was given, in standard deviations."""
        settings = self.hypothesis.settings
        known = settings.sigma["semi_angle"]
        off = self.minimum.fit.values["semi_angle"] / settings.semi_angle - 1
        return float(off / max(known, 1e-4))

    @property
    def log_width(self) -> float:
        """ln of the share of the library, in thickness and tilt, that is within the error of this minimum."""
        fit, library = self.minimum.fit, self.hypothesis.library
        names = [n for n in ("thickness", "tilt_x", "tilt_y") if n in fit.names]
        if fit.covariance is None or len(names) < 3:
            return 0.0
        at = [fit.names.index(n) for n in names]
        sign, determinant = np.linalg.slogdet(fit.covariance[np.ix_(at, at)])
        low, high = library.thickness_range
        volume = (high - low) * np.pi * max(library.tilt_max, 1e-3) ** 2
        return float(0.5 * determinant - np.log(volume)) if sign > 0 else 0.0


def compare(
    frame: Frame, screen: Screen, settings: IdentifySettings, progress: Callable[[str, float], None]
) -> list[Compared]:
    """The best hypotheses of a screen, refined, best first.

    Raises
    ------
    InputError
        Nothing resembles the frame, or too few pixels are usable.
    """
    starts = [(h, c) for h in screen.near_the_best() for c in screen.candidates(h)]
    if not starts:
        raise InputError(
            f"{frame.source}: nothing in any library resembles it; check the semi-angle and the frame"
        )
    coarse = _coarsely(frame, starts, progress)
    coarse_least = coarse[0][1].answer.chi2
    near = [each for each in coarse if each[1].answer.chi2 <= (1 + settings.finely_near) * coarse_least]
    fine = _finely(frame, near[: settings.finely])
    least = fine[0][1].answer.chi2
    out = [Compared(h, m, m.answer.chi2 / least - 1, True) for h, m in fine]
    worst = out[-1].excess
    for h, m in coarse[len(fine) :]:  # no better than the last that was refined further
        out.append(Compared(h, m, max(m.answer.chi2 / coarse_least - 1, worst), False))
    return out


def _coarsely(
    frame: Frame, starts: list[tuple[Hypothesis, Candidate]], progress: Callable[[str, float], None]
) -> list[tuple[Hypothesis, Minimum]]:
    """The best minimum of every hypothesis on one coarse frame, best first."""
    first, seed = starts[0]
    limits = first.settings.refining
    region = first.refiner.region(frame, seed, limits.coarse_radius)
    effort = Effort(2, limits.coarse_tolerance, limits.rough_pixel, errors=False, coarse=True)
    minimum = first.refiner.follow(frame, seed, region, effort, start=first.start)
    weights = 1 / minimum.fit.noise.variance(minimum.fit.model)
    best: dict[Hypothesis, Minimum] = {first: minimum.weighed(weights)}
    effort = replace(effort, passes=1)
    roughly = replace(effort, tolerance=limits.rough_tolerance)
    for i, (h, seed) in enumerate(starts[1:], 1):
        new = h.refiner.follow(frame, seed, region, roughly, weights=weights, start=h.start)
        own = best.get(h)
        if own is None or new.answer.chi2 < limits.nowhere * own.answer.chi2:
            new = h.refiner.follow(frame, new.answer, region, effort, weights=weights, start=new.fit.values)
        if own is None or new.answer.chi2 < own.answer.chi2:
            best[h] = new
        progress("refine", i / len(starts))
    return sorted(best.items(), key=lambda each: each[1].answer.chi2)


def _finely(frame: Frame, coarse: list[tuple[Hypothesis, Minimum]]) -> list[tuple[Hypothesis, Minimum]]:
    """Minima on the pixels of the frame about the best one, under the weights of the best, best first."""
    first, best = coarse[0]
    limits = first.settings.refining
    region = first.refiner.region(frame, best.answer, limits.fine_radius)
    effort = Effort(limits.passes, limits.tolerance, limits.coarse_pixel)
    out = []
    for h, minimum in coarse:
        noise = minimum.fit.noise.on_pixels((region.factor / minimum.region.factor) ** 2)
        start, follow = minimum.fit.values, h.refiner.follow
        free = ("semi_angle",)  # which is known to a per cent: what is wrong by it tells no crystals apart
        new = follow(frame, minimum.answer, region, effort, noise=noise, start=start, free=free)
        out.append((h, new))
    model = min(out, key=lambda each: each[1].fit.sum_of_squares)[1].fit
    weights = 1 / model.noise.variance(model.model)
    return sorted(((h, m.weighed(weights)) for h, m in out), key=lambda each: each[1].answer.chi2)
