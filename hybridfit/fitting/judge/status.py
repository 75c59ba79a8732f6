"""The status of a refinement, and what speaks against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate, tilt_distance
from hybridfit.fitting.judge.crystallinity import Structure, crystallinity, structure_along_rings
from hybridfit.fitting.judge.roundness import round_pattern
from hybridfit.fitting.judge.settings import JudgeSettings
from hybridfit.fitting.limits import LIMITS
from hybridfit.fitting.refine.refiner import Minimum
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.settings import FitSettings
from hybridfit.fitting.status import OtherMinimum, Status
from hybridfit.library.library import Library
from hybridfit.model import AVERAGING, PARAMETERS
from hybridfit.pattern import background as bg

Array = NDArray[np.float64]

BOUNDED = (
    "scale",
    "centre_x",
    "centre_y",
    "semi_angle",
    "blur",
    "ellipticity_a",
    "ellipticity_b",
    *AVERAGING,
)
ROTATION_DECIDES = (
    "Another orientation of the crystal{values} gives the same pattern at this thickness: "
    "the rotation decides between them, and with it the sign of the tilt (--hint-rotation)."
)


@dataclass(frozen=True)
class Verdict:
    """A status, the detail that its sentence names, and further remarks."""

    status: Status
    detail: str | OtherMinimum = ""
    remarks: tuple[str, ...] = ()


def judge(
    best: Minimum,
    rivals: Sequence[Minimum],
    bounded: Mapping[str, str],
    doubt: str,
    settings: FitSettings,
) -> Verdict:
    """The verdict on a refinement.

    Parameters
    ----------
    best : Minimum
    rivals : sequence of Minimum
        Other minima, refined on the same pixels; all have χ² under the same weights.
    bounded : mapping of parameter name to what to say
        Parameters that ended on a bound.
    doubt : str
        What speaks against the match; empty where nothing does.
    settings : FitSettings
    """
    limits, fit = settings.judging, best.fit
    if not np.isfinite(list(fit.values.values())).all() or fit.coefficients[0] <= 0:
        return Verdict(Status.failed, "no positive intensity factor fits the frame")
    if said := against(best, bounded, limits):
        return Verdict(Status.poor_match, said)
    if doubt:
        return Verdict(Status.poor_match, doubt)
    hole = negative_background(best)
    if hole > limits.hole:
        return Verdict(
            Status.poor_match, f"it takes a background that is negative by {hole:.0%} of the pattern"
        )
    vacuum = fit.values.get("vacuum", 0.0) if "vacuum" in fit.names else 0.0
    if vacuum > limits.vacuum_most:
        return Verdict(Status.poor_match, f"{vacuum:.0%} of the area is vacuum")
    if not fit.settled:
        return Verdict(Status.failed, f"it has not settled after {fit.evaluations} evaluations of the model")
    if bounded:
        return Verdict(Status.at_bound, ", ".join(dict.fromkeys(bounded.values())))
    turned: list[Minimum] = []
    for rival in rivals:
        excess, variance = how_much_deeper(best, rival)
        if variance >= limits.ambiguous**2:
            continue
        if in_another_orientation(best, rival, settings):
            turned.append(rival)
            continue
        return Verdict(Status.ambiguous, OtherMinimum(rival.answer, _structure(rival), excess))
    return Verdict(Status.converged, "", _remarks(best, turned))


def against(best: Minimum, bounded: Mapping[str, str], limits: JudgeSettings) -> str:
    """What a refinement itself says against a match; empty where that is nothing.

    bounded are the parameters that ended on a bound.
    """
    if said := misfits(best, limits):
        return said
    share, error = crystal_share(best)
    if share < limits.seen * error:
        return "no structure of a crystal stands out of the noise"
    if share + limits.seen * error < limits.crystalline:
        return f"{max(share, 0):.0%} of the crystal's structure is there: vacuum, or amorphous"
    # what is thinner than the library may be vacuum, and is said to be: it is round
    enough = limits.beyond_round**2
    if "thickness" not in bounded and beyond_round(best, enough) < enough:
        return "a round pattern explains it as well: vacuum, or amorphous"
    left = unexplained(best, limits)
    if left > limits.structure_left:
        return f"{left:.0%} of the structure is left, at most {limits.structure_left:.0%} is usual"
    return ""


def misfits(best: Minimum, limits: JudgeSettings) -> str:
    """What the residual alone says against a match; empty where that is nothing."""
    explained, by_chance = explained_variance(best)
    if explained < min(limits.beyond_chance * by_chance, limits.beyond_any_chance):
        return f"it explains {max(explained, 0):.1%} of the variance, which noise would too"
    misfit = best.fit.noise.misfit / best.region.variance
    if misfit > limits.poor_misfit:
        return f"misfit {misfit:.1%} of the pattern's variance, at most {limits.poor_misfit:.0%} is usual"
    return ""


def in_another_orientation(best: Minimum, other: Minimum, settings: FitSettings) -> bool:
    """Whether two minima are one pattern of two orientations of the crystal.

    Thickness and the tilt in the frame of the camera agree; the rotation does not.  Half a turn of a polar
    crystal with the other polarity is an example.
    """
    near_t, near_tilt = settings.refining.same
    a, b = best.answer, other.answer
    apart = abs((a.rotation - b.rotation + 180) % 360 - 180)
    return (
        abs(a.thickness - b.thickness) < near_t
        and abs(a.camera_tilt - b.camera_tilt) < near_tilt
        and apart > settings.judging.other_rotation
    )


def _remarks(best: Minimum, turned: Sequence[Minimum]) -> tuple[str, ...]:
    """What to say where other orientations give the same pattern."""
    if not turned:
        return ()
    differ = [n for n, v in turned[0].discrete.items() if v != best.discrete.get(n)]
    values = f" ({', '.join(f'{n} {turned[0].discrete[n]:g}' for n in differ)})" if differ else ""
    return (ROTATION_DECIDES.format(values=values),)


def explained_variance(minimum: Minimum) -> tuple[float, float]:
    """The share of the frame's variance that a refinement explains, and what it would of pure noise."""
    region, fit = minimum.region, minimum.fit
    explained = 1 - fit.sum_of_squares / fit.residual.size / region.variance
    return explained, (len(fit.names) + len(fit.coefficients)) / fit.residual.size


def negative_background(minimum: Minimum) -> float:
    """How far the fitted background goes below zero, relative to the range of the fitted image."""
    fit = minimum.fit
    return -bg.lowest(fit.coefficients[1:]) / max(float(np.ptp(fit.model)), 1e-300)


def how_much_deeper(best: Minimum, rival: Minimum) -> tuple[float, float]:
    """How much larger a rival's χ² is, relatively, and as a variance: the square of standard deviations."""
    excess = rival.answer.chi2 / best.answer.chi2 - 1
    return excess, excess * best.fit.n_effective


def unexplained(minimum: Minimum, limits: JudgeSettings) -> float:
    """The share of the frame's structure that a refinement leaves."""
    return structure_of(minimum).share_left(limits.grain)


@lru_cache(maxsize=2)  # several ask for that of the best minimum
def structure_of(minimum: Minimum) -> Structure:
    """What varies along rings, in the frame and in what a refinement leaves of it."""
    region, fit = minimum.region, minimum.fit
    radius = minimum.radius[region.mask]
    noise = fit.noise.counting(fit.model)
    return structure_along_rings(region.image[region.mask], fit.residual, radius, noise)


def crystal_share(minimum: Minimum) -> tuple[float, float]:
    """The share of the fitted crystal's structure that the frame has, and its standard error."""
    region, fit = minimum.region, minimum.fit
    radius = minimum.radius[region.mask]
    noise = fit.noise.counting(fit.model) * fit.noise.spread  # structure is wider than a point spread
    return crystallinity(
        region.image[region.mask], fit.model, radius, noise, region.factor / fit.values["scale"]
    )


def beyond_round(minimum: Minimum, enough: float = np.inf) -> float:
    """How much deeper a refinement is than a round pattern, less what either follows of the noise: χ².

    Where it is more than enough, how much more does not matter.
    """
    region, fit = minimum.region, minimum.fit
    row, col = (each.astype(float) for each in np.nonzero(region.mask))
    x0, y0 = region.origin
    weights = 1 / fit.noise.variance(fit.model)
    chi2 = float(weights @ fit.residual**2)
    own = len(fit.names) + len(fit.coefficients)
    found = round_pattern(
        region.image[region.mask],
        weights,
        (x0 - fit.values["centre_x"]) / region.factor + col,
        (y0 - fit.values["centre_y"]) / region.factor + row,
        enough=chi2 * (1 + (enough / fit.n_effective) + own / len(row)),
    )
    followed = found.numbers - own
    return (found.sum_of_squares / chi2 - 1 + followed / len(row)) * fit.n_effective


def _structure(minimum: Minimum) -> dict[str, float]:
    """Structural parameters of a minimum."""
    values = {name: v for name, v in minimum.fit.values.items() if name not in (*PARAMETERS, *AVERAGING)}
    return values | dict(minimum.discrete)


def on_bound(minimum: Minimum, library: Library, settings: FitSettings) -> dict[str, str]:
    """Fitted parameters that ended on a bound of the library, of good sense or of the user: what to say.

    Bounds of the window about the seed do not count: the window follows the fit.
    """
    found = {}
    fit, own, limit = minimum.fit, settings.bounds, settings.tilt_limit(library)
    t = fit.values["thickness"]
    limits = settings.judging
    share, most = limits.on_bound_errors
    near = max(limits.on_bound_thickness, share * min(fit.errors.get("thickness", 0.0), most))
    for bound, what in zip(library.thickness_range, (", or less: vacuum?", ""), strict=True):
        if "thickness" in fit.names and abs(t - bound) < near:
            found["thickness"] = f"thickness = {bound:g} nm{what}"
    if {"tilt_x", "tilt_y"} & set(fit.names):
        if np.hypot(fit.values["tilt_x"], fit.values["tilt_y"]) > limit - limits.on_bound_tilt:
            found["tilt_x"] = found["tilt_y"] = f"tilt = {limit:.3g} mrad"
    for name in (*BOUNDED, *AVERAGING, *library.structure):
        if name not in fit.names:
            continue
        (low, high), value = fit.bounds[name], fit.values[name]
        # there is no less than none
        natural = name in ("blur", *AVERAGING) and low <= LIMITS.least_spread
        nearest = high - value if natural else min(value - low, high - value)
        if nearest < limits.on_bound_share * (high - low):
            found[name] = name
    for name in set(own) & set(fit.names) - set(found):
        (low, high), value = own[name], fit.values[name]
        if min(value - low, high - value) < limits.on_bound_share * (high - low):
            found[name] = name
    return found


def holds(
    result: FitResult,
    candidates: Sequence[Candidate],
    order: int,
    half_widths: tuple[float, float],
    *,
    room: tuple[float, float],
    thin: bool = False,
    rivals: bool = False,
) -> bool:
    """Whether an answer confirms the candidates that it came from.

    Parameters
    ----------
    result : FitResult
    candidates : sequence of Candidate
    order : int
        Of the rotation axis of the crystal.
    half_widths, room : (float, float), nm and mrad
        The window about the candidates, and how far beyond it the answer may lie.
    thin : bool
        The result is next to nothing: its tilt does not count.
    rivals : bool
        Whether an ambiguous answer counts, too.
    """
    allowed = (Status.converged, Status.at_bound, *((Status.ambiguous,) if rivals else ()))
    if result.status not in allowed:
        return False
    return any(
        abs(result.thickness - c.thickness) <= half_widths[0] + room[0]
        and (thin or tilt_distance(result.tilt, c.tilt, order) <= half_widths[1] + room[1])
        for c in candidates
    )


def strays(
    result: FitResult, candidates: Sequence[Candidate], order: int, half_widths: tuple[float, float]
) -> bool:
    """Whether a proper answer lies outside windows (nm, mrad) about all the candidates that it came from.

    order is that of the rotation axis of the crystal.
    """
    if result.poor or result.status is Status.failed:
        return False
    return not holds(result, candidates, order, half_widths, room=(0.0, 0.0), rivals=True)


def better(before: FitResult | None, after: FitResult, as_good: float) -> FitResult:
    """The one of two results that explains the frame better; the later one when they are as good."""
    if before is None or before.poor > after.poor:
        return after
    if before.poor < after.poor:
        return before
    return before if after.residual_fraction > as_good * before.residual_fraction else after
