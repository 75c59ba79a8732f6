"""The verdict on a refinement: its status, and the result that goes to the user."""

from __future__ import annotations

from collections.abc import Sequence

import lmfit
import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate, canonical, tilt_distance
from hybridfit.fitting.judge.crystallinity import crystallinity, structure_left
from hybridfit.fitting.refine.refiner import Minimum
from hybridfit.fitting.result import FitResult, Parameter, Status, Thumbnail
from hybridfit.library.library import Library
from hybridfit.model import PARAMETERS
from hybridfit.pattern import background as bg

Array = NDArray[np.float64]

POOR_MISFIT = 0.06  # of the pattern's variance
BEYOND_CHANCE = 20.0  # times what as many parameters explain of pure noise
LEFT = 0.18  # of the frame's structure
CRYSTALLINE = 0.5  # of the model's structure: with less in the frame that is no crystal
SEEN = 3.0  # standard errors by which that share must differ from 0, or from CRYSTALLINE
HOLE = 0.3  # of the range of the fitted image: a background so far below zero is none
AMBIGUOUS_SIGMA = 3.0
NORMAL_95 = 1.96
ROOM = (0.5, 0.2)  # nm, mrad: how far beyond the window around a seed an answer still confirms it
SAME = 1.005  # ratio of sums of squares below which two answers are as good
ROUTES = {
    "wider window": "The network's seed was off; a wider window was searched.",
    "full search": "The seed did not hold; the whole library was searched.",
    "library match": "A match of the library found thickness and tilt.",
}
BOUNDED = ("scale", "centre_x", "centre_y", "semi_angle", "blur", "ellipticity_a", "ellipticity_b")
WITHIN = 0.1  # thickness_range10: how far the sum of squares may rise


def unexplained(minimum: Minimum) -> float:
    """The share of the frame's structure that a refinement leaves."""
    region, fit = minimum.region, minimum.fit
    radius = region.radius(fit)[region.mask]
    return structure_left(region.image[region.mask], fit.residual, radius, fit.noise.counting(fit.model))


def _crystallinity(minimum: Minimum) -> tuple[float, float]:
    """The share of the fitted crystal's structure that the frame has, and its standard error."""
    region, fit = minimum.region, minimum.fit
    radius = region.radius(fit)[region.mask]
    noise = fit.noise.counting(fit.model)
    return crystallinity(
        region.image[region.mask], fit.model, radius, noise, region.factor / fit.values["scale"]
    )


def judge(best: Minimum, rivals: list[Minimum], on_bound: list[str], doubt: str = "") -> tuple[Status, str]:
    """Status of a refinement, and the detail that its sentence names.

    rivals are other minima, refined on the same pixels; all have χ² under the same weights. doubt is
    what speaks against the match.
    """
    region, fit = best.region, best.fit
    if not np.isfinite(list(fit.values.values())).all() or fit.coefficients[0] <= 0:
        return Status.failed, "no positive intensity factor fits the frame"
    explained = 1 - fit.sum_of_squares / fit.residual.size / region.variance
    by_chance = (len(fit.minimizer.var_names) + len(fit.coefficients)) / fit.residual.size
    if explained < BEYOND_CHANCE * by_chance:
        return (
            Status.poor_match,
            f"it explains {max(explained, 0):.1%} of the variance, which noise would too",
        )
    misfit = fit.noise.misfit / region.variance
    if misfit > POOR_MISFIT:
        return (
            Status.poor_match,
            f"misfit {misfit:.1%} of the pattern's variance, at most {POOR_MISFIT:.0%} is usual",
        )
    share, error = _crystallinity(best)
    if share < SEEN * error:
        return Status.poor_match, "no structure of a crystal stands out of the noise"
    if share + SEEN * error < CRYSTALLINE:
        return (
            Status.poor_match,
            f"{max(share, 0):.0%} of the crystal's structure is there: vacuum, or amorphous",
        )
    left = unexplained(best)
    if left > LEFT:
        return Status.poor_match, f"{left:.0%} of the structure is left, at most {LEFT:.0%} is usual"
    if doubt:
        return Status.poor_match, doubt
    hole = -bg.lowest(fit.coefficients[1:]) / max(float(np.ptp(fit.model)), 1e-300)
    if hole > HOLE:
        return Status.poor_match, f"it takes a background that is negative by {hole:.0%} of the pattern"
    if on_bound:
        return Status.at_bound, ", ".join(on_bound)
    for rival in rivals:
        at = rival.answer
        excess = at.chi2 / best.answer.chi2 - 1
        if excess * fit.n_effective < AMBIGUOUS_SIGMA**2:
            where = f"{at.thickness:.1f} nm, tilt {at.tilt_x:.2f}, {at.tilt_y:.2f} mrad{_structure(rival)}"
            return Status.ambiguous, f"{where}, sum of squares {excess:+.1%}"
    return Status.converged, ""


def _structure(minimum: Minimum) -> str:
    """Structural parameters of a minimum, in words."""
    values = {name: v for name, v in minimum.fit.values.items() if name not in PARAMETERS}
    return "".join(f", {name} {value:.3g}" for name, value in (values | dict(minimum.discrete)).items())


def poor(result: FitResult) -> bool:
    """Whether a result does not explain its frame."""
    return result.status in (Status.poor_match, Status.failed)


def holds(
    result: FitResult,
    candidates: Sequence[Candidate],
    order: int,
    half_widths: tuple[float, float],
    *,
    thin: bool = False,
    rivals: bool = False,
) -> bool:
    """Whether a result is within the window (nm, mrad) around a candidate, and no rival, if that matters.

    The tilt does not count where the result is thin, next to nothing.
    """
    allowed = (Status.converged, Status.at_bound, *((Status.ambiguous,) if rivals else ()))
    if result.status not in allowed:
        return False
    if thin:
        return any(abs(result.thickness - c.thickness) <= half_widths[0] + ROOM[0] for c in candidates)
    return any(
        abs(result.thickness - c.thickness) <= half_widths[0] + ROOM[0]
        and tilt_distance(result.tilt, c.tilt, order) <= half_widths[1] + ROOM[1]
        for c in candidates
    )


def better(before: FitResult | None, after: FitResult) -> FitResult:
    """The one of two results that explains the frame better; the later one when they are as good."""
    if before is None or poor(before) > poor(after):
        return after
    if poor(before) < poor(after):
        return before
    return before if after.residual_fraction > SAME * before.residual_fraction else after


def on_bound(params: lmfit.Parameters, library: Library, tilt_limit: float) -> dict[str, str]:
    """Varying parameters that ended on a bound of the library or of good sense: name to what to say."""
    found = {}
    t = params["thickness"]
    error = t.stderr or 0.0
    for bound, what in zip(library.thickness_range, (", or less: vacuum?", ""), strict=True):
        if t.vary and abs(t.value - bound) < max(0.02, 0.5 * min(error, 1.0)):
            found["thickness"] = f"thickness = {bound:g} nm{what}"
    x, y = params["tilt_x"], params["tilt_y"]
    if (x.vary or y.vary) and np.hypot(x.value, y.value) > tilt_limit - 0.01:
        found["tilt_x"] = f"tilt = {tilt_limit:.3g} mrad"
        found["tilt_y"] = found["tilt_x"]
    for name in (*BOUNDED, *library.structure):
        p = params[name]
        nearest = p.max - p.value if name == "blur" else min(p.value - p.min, p.max - p.value)
        if p.vary and nearest < 1e-4 * (p.max - p.min):
            found[name] = name
    return found


def make_result(
    source: str,
    library: Library,
    tilt_limit: float,
    best: Minimum,
    rivals: list[Minimum],
    *,
    seed: Candidate,
    candidates: tuple[Candidate, ...],
    curve: Array | None,
    seconds: dict[str, float],
    keep_model: bool,
    method: str = "lsf",
    route: str = "full search",
    remark: str = "",
    doubt: str = "",
) -> FitResult:
    """Everything that a fit found, in the canonical crystal frame."""
    region, fit = best.region, best.fit
    params = fit.minimizer.params
    _to_canonical(fit.minimizer, params, library.rotation_order)
    bounded = on_bound(params, library, tilt_limit)
    status, detail = judge(best, rivals, list(dict.fromkeys(bounded.values())), doubt)
    sentences = [status.value.format(detail=detail)]
    if method == "hybrid" and route in ROUTES:
        sentences.append(ROUTES[route])
    if remark:
        sentences.append(remark)
    parameters, structure = {}, {}
    for name, p in params.items():
        known = p.vary and p.stderr is not None and name not in bounded
        error = float(p.stderr) if known else None
        reach = NORMAL_95 * (error or 0.0)
        interval = (float(p.value) - reach, float(p.value) + reach) if known else None
        if name in library.structure:
            unit = library.structure[name].unit
            structure[name] = Parameter(float(p.value), error, interval, unit)
        else:
            parameters[name] = Parameter(float(p.value), error, interval)
    t = parameters["thickness"]
    # χ²(t) is a parabola whose naive standard error is its half-width at Δχ² = 1
    half = None if t.stderr is None else t.stderr / fit.inflation * np.sqrt(WITHIN * fit.chi2)
    attrs = library.dataset.attrs
    zone = " ".join(str(int(i)) for i in np.atleast_1d(attrs["zone"]))
    freedom = max(fit.residual.size - len(fit.minimizer.var_names) - len(fit.coefficients), 1)
    fitted = np.full(region.image.shape, np.nan)
    fitted[region.mask] = fit.model
    return FitResult(
        source=source,
        library=f"{attrs['crystal']} [{zone}] {attrs['energy_kv']:g} kV",
        method=method,
        route=route,
        status=status,
        message=" ".join(sentences),
        parameters=parameters,
        structure=structure,
        thickness_range10=None if half is None else (float(t.value - half), float(t.value + half)),
        minimizer=fit.minimizer,
        fitter=fit.fitter if keep_model else None,
        intensity_factor=float(fit.coefficients[0]),
        background=tuple(float(c) for c in fit.coefficients[1:]),
        residual_fraction=float((fit.residual**2).mean() / region.variance),
        reduced_chi2=float((fit.residual**2 / fit.noise.counting(fit.model)).sum() / freedom),
        misfit_fraction=float(fit.noise.misfit / region.variance),
        n_effective=fit.n_effective,
        seed=seed,
        candidates=candidates,
        curve=curve,
        seconds=seconds,
        thumbnail=Thumbnail(
            np.where(region.mask, region.image, np.nan), fitted, region.radius(fit), region.extent
        ),
    )


def _to_canonical(minimizer: lmfit.minimizer.MinimizerResult, params: lmfit.Parameters, order: int) -> None:
    """Bring rotation into (−180/n, 180/n]; tilt, its errors and the covariance turn along."""
    x, y, rotation = canonical(
        params["tilt_x"].value, params["tilt_y"].value, params["rotation"].value, order
    )
    angle = np.deg2rad(params["rotation"].value - rotation)
    names = list(minimizer.var_names)
    if abs(angle) > 1e-9 and {"tilt_x", "tilt_y"} <= set(names) and minimizer.covar is not None:
        c, s = np.cos(angle), np.sin(angle)
        i, j = names.index("tilt_x"), names.index("tilt_y")
        turn = np.eye(len(names))
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        minimizer.covar = turn @ minimizer.covar @ turn.T
        for name, index in (("tilt_x", i), ("tilt_y", j)):
            params[name].stderr = float(np.sqrt(minimizer.covar[index, index]))
    for name, value in (("tilt_x", x), ("tilt_y", y), ("rotation", rotation)):
        p, error = params[name], params[name].stderr
        reach = max(abs(value), abs(p.max), abs(p.min))
        p.set(value=value, min=-reach, max=reach)
        p.stderr = error
