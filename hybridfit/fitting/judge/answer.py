"""From minima to the result that goes to the user, in the canonical frame of the crystal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from hybridfit.fitting.assumptions import PARTS, sigma_of
from hybridfit.fitting.camera_noise import CameraNoise
from hybridfit.fitting.candidates import WINDOW, Candidate, canonical
from hybridfit.fitting.judge.mistakes import contradictions, likely_mistake
from hybridfit.fitting.judge.status import Verdict, in_another_orientation, judge, on_bound
from hybridfit.fitting.parameter import Parameter
from hybridfit.fitting.refine.budget import Marginal, marginalise
from hybridfit.fitting.refine.least_squares import Refinement
from hybridfit.fitting.refine.minima import Minima
from hybridfit.fitting.refine.refiner import Minimum
from hybridfit.fitting.refine.structural import odds
from hybridfit.fitting.refine.thickness_curve import along_thickness
from hybridfit.fitting.result import FitResult, Thumbnail
from hybridfit.fitting.route import Route
from hybridfit.fitting.settings import FitSettings
from hybridfit.fitting.status import Status
from hybridfit.frame import Frame
from hybridfit.library.library import Library
from hybridfit.library.slopes import knows_vibration
from hybridfit.pattern.averaging import SPREADS

Array = NDArray[np.float64]

NORMAL_95 = 1.96
UPPER = 0.975  # of the distribution of an error, below the upper end of a 95 % interval
VACUUM = "vacuum"
WORDS = {
    "debye_waller": "Debye–Waller factors",
    "energy": "an energy",
    "semi_angle": "a semi-angle",
}
OTHER_THAN_ASSUMED = (
    "The pattern wants {what} of {factor:.3g} ± {stderr:.1g} times what was taken: correct the recipe "
    "or the option, or widen --sigma."
)
HARDLY_KNOWN = "This pattern hardly tells {what}: {reaches} to either side (95 %). More electrons would tell."


@dataclass(frozen=True)
class Origin:
    """Where an answer comes from.

    Attributes
    ----------
    route : Route
    method : str
    seed : Candidate
        Where the refinement started.
    curve : (2, n) array, optional
        Thickness (nm) and the least χ² there, from the search.
    remark : str
        A sentence for the message.
    """

    route: Route
    method: str
    seed: Candidate
    curve: Array | None = None
    remark: str = ""


def make_result(
    frame: Frame,
    library: Library,
    minima: Minima,
    doubt: str,
    origin: Origin,
    seconds: Mapping[str, float],
    *,
    candidates: Sequence[Candidate] | None = None,
) -> FitResult:
    """Everything that a fit found.

    Parameters
    ----------
    frame : Frame
    library : Library
        The whole one, with all its structural parameters.
    minima : Minima
    doubt : str
        What speaks against the match; empty where nothing does.
    origin : Origin
    seconds : mapping of stage to seconds
    candidates : sequence of Candidate, optional
        By default the answer and the other minima.
    """
    best, refiner, settings = minima.best, minima.refiner, minima.refiner.settings
    region, fit, own = best.region, best.fit, refiner.library
    bounded = on_bound(best, own, settings)
    told = _told(own, settings, fit)
    known = marginalise(
        fit, sigma_of(own, settings.sigma), told, held=bool(bounded), settings=settings.refining
    )
    marginal, bounds = _canonical(known, fit.bounds, own.rotation_order)
    values, covariance, errors = marginal.values, marginal.covariance, marginal.errors
    verdict = judge(best, minima.rivals, bounded, doubt, settings)
    parameters, structure = {}, {}
    for name, value in values.items():
        error = None if name in bounded else errors.get(name)
        interval = None
        if error is not None:
            error, interval = interval_of(name, value, error, _freedom(name, error, marginal, fit))
        if name in own.structure:
            structure[name] = Parameter(value, error, interval, own.structure[name].unit)
        else:
            parameters[name] = Parameter(value, error, interval)
    shares = odds(best.discrete, minima.tried, fit.n_effective) if best.discrete else {}
    for name, value in best.discrete.items():
        structure[name] = Parameter(value, None, None, unit=library.structure[name].unit, odds=shares[name])
    t = parameters["thickness"]
    # χ²(t) is a parabola whose naive standard error is its half-width at Δχ² = 1
    rise = settings.judging.range10
    half = None
    if t.stderr is not None:
        half = fit.errors["thickness"] / fit.inflation * np.sqrt(rise * fit.chi2)
    freedom = max(fit.residual.size - len(fit.names) - len(fit.coefficients), 1)
    look = None
    if settings.whole_curve and origin.route is not Route.full_search and origin.method != "cnn":
        coarse, pixel = minima.coarse.region, settings.refining.coarse_pixel
        look = partial(along_thickness, refiner, frame, best, coarse, pixel)
    return FitResult(
        source=frame.source,
        library=_name(own),
        method=origin.method,
        route=origin.route,
        status=verdict.status,
        detail=verdict.detail,
        remarks=(
            *_remarks(verdict, origin, marginal),
            *_hardly_known(verdict, parameters),
            *_mistakes(frame, verdict, own, settings, values["scale"]),
            *([f"{frame.note}."] if frame.note else []),
        ),
        parameters=parameters,
        structure={name: structure[name] for name in library.structure if name in structure},
        varied=fit.names,
        covariance=covariance,
        budget=_budget(marginal, own, bounded),
        assumed=marginal.assumed,
        budget_lacks=tuple(PARTS[name] for name in marginal.lacking),
        bounds=bounds,
        thickness_range10=None if half is None else (float(t.value - half), float(t.value + half)),
        library_range=own.thickness_range,
        intensity_factor=float(fit.coefficients[0]),
        background=tuple(float(c) for c in fit.coefficients[1:]),
        residual_fraction=float((fit.residual**2).mean() / region.variance),
        reduced_chi2=float((fit.residual**2 / fit.noise.counting(fit.model)).sum() / freedom),
        misfit_fraction=float(fit.noise.misfit / region.variance),
        n_effective=fit.n_effective,
        noise=_noise(best, marginal),
        seed=origin.seed,
        candidates=_candidates(minima, settings, marginal) if candidates is None else tuple(candidates),
        curve=origin.curve,
        seconds=dict(seconds),
        thumbnail=_thumbnail(best),
        curve_searched=look is None,
        lmfit_result=fit.lmfit_result,
        fitter=fit.minimizer if settings.keep_model else None,
        along_thickness=look,
    )


def _freedom(name: str, error: float, marginal: Marginal, fit: Refinement) -> float:
    """Degrees of freedom of a standard error.

    Noise and misfit are estimated from as many independent pixels as the residual amounts to; what is taken
    for granted has a known spread.  Their sum is Welch's and Satterthwaite's.
    """
    if marginal.honest is None or name not in marginal.names:
        return np.inf
    i = marginal.names.index(name)
    estimated = float(marginal.honest[i, i])
    own = max(fit.n_effective - len(fit.names), 1.0)
    return own * max(error**2 / estimated, 1.0) ** 2 if estimated > 0 else np.inf


def interval_of(
    name: str, value: float, error: float, freedom: float = np.inf
) -> tuple[float, tuple[float, float]]:
    """Standard error and 95 % interval of a fitted parameter, by Student's t.

    A pattern depends on the square of a spread σ, so σ² is what has a Gaussian error, s = 2σ·error.  That
    makes the interval √(σ² ± t s), which ends at 0, and the error √(σ² + s) − σ where σ is small.
    """
    wide = NORMAL_95 if np.isinf(freedom) else float(stdtrit(freedom, UPPER))
    if name in SPREADS:
        s = 2 * value * error
        low, high = (float(np.sqrt(max(value**2 + side * wide * s, 0.0))) for side in (-1, 1))
        return float(np.sqrt(value**2 + s) - value), (low, high)
    reach = wide * error
    interval = value - reach, value + reach
    if name == VACUUM:
        return error, (max(interval[0], 0.0), interval[1])
    return error, interval


def _candidates(minima: Minima, settings: FitSettings, marginal: Marginal) -> tuple[Candidate, ...]:
    """The answer, then the other minima, best first, each once."""
    best, order, same = minima.best, minima.refiner.library.rotation_order, settings.refining.same
    kept = [best.answer]
    rivals: list[Minimum] = []
    for rival in minima.rivals:
        if not any(in_another_orientation(other, rival, settings) for other in rivals):
            rivals.append(rival)
    kept += [rival.answer for rival in rivals]
    kept += [c for c in minima.left if not any(c.same_as(other, order, same) for other in kept)]
    answer = kept[0]
    if marginal.assumed:
        names = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
        answer = replace(answer, **{name: marginal.values[name] for name in names})
    return (answer, *sorted(kept[1:], key=lambda c: c.chi2))


def _told(library: Library, settings: FitSettings, fit: Refinement) -> set[str]:
    """What is fitted, or known to the user, of what is taken for granted otherwise."""
    out = {"debye_waller"} if knows_vibration(library.dataset.attrs, library.structure) else set()
    if "semi_angle" in (*fit.names, *settings.fix, *settings.expressions):
        out.add("semi_angle")
    return out


def _noise(best: Minimum, marginal: Marginal) -> CameraNoise:
    """What the residual says of the camera, for pixels of the frame."""
    noise, binned = best.fit.noise, best.region.factor
    gain = noise.per_intensity * noise.spread * binned**2
    counts = float(best.region.image[best.region.mask].sum()) * binned**2
    return CameraNoise(
        gain=gain,
        electrons=counts / gain if gain > 0 else None,
        read_out=float(np.sqrt(noise.constant)) * binned,
        flat_field=float(np.sqrt(noise.relative)) * binned,
        correlation=noise.correlation,
        binned=binned,
        tail=marginal.tail,
    )


def _budget(marginal: Marginal, library: Library, bounded: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The parts of the error bars of what a user reads."""
    names = ("thickness", "tilt_x", "tilt_y", *library.structure)
    parts = {name: marginal.parts(name) for name in names if name not in bounded}
    return {name: each for name, each in parts.items() if each}


def _canonical(
    marginal: Marginal, limits: Mapping[str, tuple[float, float]], order: int
) -> tuple[Marginal, dict[str, tuple[float, float]]]:
    """An answer and its bounds with the rotation in (−180/n, 180/n]; the tilt turns along."""
    values, errors, bounds = dict(marginal.values), dict(marginal.errors), dict(limits)
    names = list(marginal.names)
    x, y, rotation = canonical(values["tilt_x"], values["tilt_y"], values["rotation"], order)
    angle = np.deg2rad(values["rotation"] - rotation)
    if abs(angle) > 1e-9 and {"tilt_x", "tilt_y"} <= set(names) and marginal.covariance is not None:
        c, s = np.cos(angle), np.sin(angle)
        i, j = names.index("tilt_x"), names.index("tilt_y")
        turn = np.eye(len(names))
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        marginal = marginal.turned(turn)
        assert marginal.covariance is not None
        for name, index in (("tilt_x", i), ("tilt_y", j)):
            errors[name] = float(np.sqrt(marginal.covariance[index, index]))
    for name, value in (("tilt_x", x), ("tilt_y", y), ("rotation", rotation)):
        values[name] = float(value)
        if name in bounds:
            reach = max(abs(value), *(abs(bound) for bound in bounds[name]))
            bounds[name] = (-reach, reach)
    return replace(marginal, values=values, errors=errors), bounds


def _remarks(verdict: Verdict, origin: Origin, marginal: Marginal) -> tuple[str, ...]:
    known = [
        OTHER_THAN_ASSUMED.format(what=WORDS[name], factor=1 + a.offset, stderr=a.stderr)
        for name, a in marginal.assumed.items()
        if a.told and abs(a.offset) > NORMAL_95 * a.sigma
    ]
    return tuple(remark for remark in (*verdict.remarks, *known, origin.remark) if remark)


def _hardly_known(verdict: Verdict, parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """What is said of thickness and tilt whose intervals are wider than the window of a fit."""
    if verdict.status not in (Status.converged, Status.ambiguous):
        return ()
    said = {}
    for what, names, window, unit in (
        ("the thickness", ("thickness",), WINDOW[0], "nm"),
        ("the tilt", ("tilt_x", "tilt_y"), WINDOW[1], "mrad"),
    ):
        intervals = [parameters[name].interval95 for name in names]
        reach = max((high - low for low, high in filter(None, intervals)), default=0.0) / 2
        if reach > window:
            said[what] = f"{reach:.2g} {unit}"
    if not said:
        return ()
    return (HARDLY_KNOWN.format(what=" and ".join(said), reaches=" and ".join(said.values())),)


def _mistakes(
    frame: Frame, verdict: Verdict, library: Library, settings: FitSettings, scale: float
) -> tuple[str, ...]:
    """What the file says otherwise; of a poor match, what was probably mixed up."""
    energy = float(library.dataset.attrs["energy_kv"])
    poor = verdict.status is Status.poor_match
    said = contradictions(frame.calibration, energy, settings.semi_angle, scale, poor)
    if said or not poor:
        return said
    words = likely_mistake(frame, settings.hints, settings.semi_angle, energy)
    return (f"{words[0].upper()}{words[1:]}",) if words else ()


def _name(library: Library) -> str:
    """Crystal, zone axis and energy."""
    attrs = library.dataset.attrs
    zone = " ".join(str(int(i)) for i in np.atleast_1d(attrs["zone"]))
    return f"{attrs['crystal']} [{zone}] {attrs['energy_kv']:g} kV"


def _thumbnail(best: Minimum) -> Thumbnail:
    """The compared region."""
    region, fit = best.region, best.fit
    fitted = np.full(region.image.shape, np.nan)
    fitted[region.mask] = fit.model
    compared = np.where(region.mask, region.image, np.nan)
    return Thumbnail(compared, fitted, best.radius, region.extent)
