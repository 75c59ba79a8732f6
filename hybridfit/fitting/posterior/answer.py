"""From the maxima of a posterior to the result that goes to the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.modes import Mode, in_canonical_frame
from hybridfit.fitting.posterior.few import Weighed, Weigher
from hybridfit.fitting.posterior.maximum import Point
from hybridfit.fitting.refine.least_squares import refine
from hybridfit.fitting.refine.minima import Minima
from hybridfit.fitting.refine.refiner import Minimum
from hybridfit.fitting.refine.settings import Effort
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.status import Status

Array = NDArray[np.float64]

Make = Callable[[Minima, tuple[Candidate, ...]], FitResult]

NO_CRYSTAL = "so few electrons could come from a disc without any structure"


def minimum_of(weigher: Weigher, weighed: Weighed, point: Point, covariance: Array) -> Minimum:
    """A maximum of the posterior as a minimum of χ², as the other stages know it."""
    posterior, region = weighed.posterior, weighed.region
    at = candidate_of(weighed, point)
    params = weigher.parameters(at)
    for name, value in point.values.items():
        if name in params and not params[name].expr:
            params[name].set(value=value)
    for name, low, high in zip(posterior.names, posterior.low, posterior.high, strict=True):
        params[name].set(min=low, max=high)
    refining = weigher.refiner.settings.refining
    # weights of counting at the maximum: the fit has nowhere to go, and is what lmfit knows of it
    fit = refine(
        posterior.model,
        posterior.data,
        params,
        noise=posterior.noise,
        effort=Effort(1, refining.only_tolerance, weigher.settings.fine_pixel),
        settings=replace(refining, evaluations=2),
    )
    residual = posterior.data - point.image
    variance = posterior.noise.variance(point.image)
    errors = np.sqrt(np.maximum(np.diag(covariance), 0))
    fit = replace(
        fit,
        values=dict(point.values),
        covariance=covariance,
        errors=dict(zip(fit.names, errors.tolist(), strict=True)),
        settled=True,
        noise=posterior.noise,
        coefficients=point.coefficients,
        model=point.image,
        residual=residual,
        chi2=float((residual**2 / variance).sum()),
        inflation=1.0,
        n_effective=float(len(residual)),
        problem=None,  # counting outweighs vibration and energy, which have no part in the modes
    )
    return Minimum(region, fit, at)


def candidate_of(weighed: Weighed, point: Point) -> Candidate:
    """A maximum as a candidate; its χ² is the deviance, relative to the pattern's."""
    names = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
    posterior = weighed.posterior
    constant = np.full(len(posterior.z), float(posterior.data.mean()))
    chi2 = posterior.likelihood(point.image) / min(posterior.likelihood(constant), -1e-12)
    return Candidate(**{name: float(point.values[name]) for name in names}, chi2=float(chi2))


def modes_of(weighed: Weighed, order: int) -> tuple[Mode, ...]:
    """The maxima as modes, in the canonical frame of the crystal."""
    names = weighed.posterior.names
    bounds = np.stack([weighed.posterior.low, weighed.posterior.high], axis=1)
    for i, name in enumerate(names):
        if name in ("tilt_x", "tilt_y", "rotation"):  # these turn with the crystal
            reach = float(np.abs(bounds[i]).max())
            bounds[i] = -reach, reach
    out = []
    for point, odds, covariance in zip(weighed.points, weighed.odds, weighed.covariances, strict=True):
        values, turned = in_canonical_frame(names, point.values, covariance, order)
        mean = np.array([values[name] for name in names])
        out.append(Mode(tuple(names), mean, turned, float(odds), bounds))
    return tuple(out)


def weighed_result(weigher: Weigher, weighed: Weighed, make: Make) -> FitResult:
    """The result of a frame of few electrons.

    Parameters
    ----------
    weigher : Weigher
    weighed : Weighed
    make : callable (minima, candidates) → FitResult
        Judges the likeliest maximum like any other fit.
    """
    refiner, settings = weigher.refiner, weigher.settings
    order = refiner.library.rotation_order
    best = minimum_of(weigher, weighed, weighed.points[0], weighed.covariances[0])
    modes = modes_of(weighed, order)
    candidates = []
    for point, mode in zip(weighed.points, modes, strict=True):
        at = dict(zip(mode.names, mode.mean.tolist(), strict=True))
        known = {n: v for n, v in at.items() if n in Candidate.__dataclass_fields__}
        candidates.append(replace(candidate_of(weighed, point), probability=mode.odds, **known))
    result = make(Minima(best, (), (), best, refiner, ()), tuple(candidates))
    status, detail = result.status, result.detail
    if weighed.crystal < settings.crystal:
        status, detail = Status.poor_match, NO_CRYSTAL
    elif status is Status.converged and modes[0].odds < settings.certain:
        status, detail = Status.ambiguous, ", ".join(_said(c) for c in candidates[: settings.shown])
    return replace(result, status=status, detail=detail, modes=modes)


def _said(candidate: Candidate) -> str:
    """Thickness, size of the tilt and odds of a candidate."""
    tilt = float(np.hypot(*candidate.tilt))
    return f"{candidate.probability or 0:.0%} for {candidate.thickness:.1f} nm and a tilt of {tilt:.2f} mrad"
