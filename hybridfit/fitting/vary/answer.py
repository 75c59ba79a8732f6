"""Results of fits with a structure: one of each frame, and what the frames say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lmfit
import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.judge.answer import Origin, interval_of, make_result
from hybridfit.fitting.judge.modes import modes_of_minima
from hybridfit.fitting.parameter import Parameter
from hybridfit.fitting.refine.budget import Marginal
from hybridfit.fitting.refine.least_squares import Refinement
from hybridfit.fitting.refine.levenberg import Solved
from hybridfit.fitting.refine.lmfit_face import lmfit_face
from hybridfit.fitting.refine.minima import Minima
from hybridfit.fitting.refine.refiner import Minimum, Refiner
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.settings import FitSettings
from hybridfit.fitting.status import Status
from hybridfit.fitting.vary.again import REST
from hybridfit.fitting.vary.names import Varied
from hybridfit.fitting.vary.run import SEMI_ANGLE
from hybridfit.fitting.vary.settings import VARY, VarySettings
from hybridfit.fitting.vary.state import Ended, OneFrame
from hybridfit.fitting.vary.structure import Structure
from hybridfit.fitting.vary.together import Together
from hybridfit.library.library import Library

Array = NDArray[np.float64]


def together_of(ended: Ended, structure: Structure, library: Library, settings: FitSettings) -> Together:
    """What all frames say, and the result of each of them."""
    bounded = bounded_names(ended, structure)
    names = [each.name for each in structure.varied]
    ids = {each.name: _id(ended, i) for i, each in enumerate(structure.varied)}
    marginal = ended.errors.marginal([ids[name] for name in names], names, ended.values, ended.lacking)
    found = parameters_of(structure, marginal, ended, bounded)
    covariance = marginal.covariance
    assert covariance is not None
    remarks = remarks_of(structure, found, covariance, ended)
    results = [
        _result_of(i, state, ended, structure, library, settings, found, bounded, remarks)
        for i, state in enumerate(ended.frames)
    ]
    return Together(
        frames=tuple(results),
        structure=found,
        covariance=covariance,
        budget={name: marginal.parts(name) for name in names if name not in bounded},
        assumed=ended.errors.assumed,
        start=structure.start,
        remarks=tuple(remarks),
        solves=ended.solves,
        seconds=ended.seconds,
    )


def _id(ended: Ended, place: int) -> str:
    """The name of a structural number in the joint fit: they come first."""
    return ended.joint.shared[place]


def bounded_names(ended: Ended, structure: Structure, settings: VarySettings = VARY) -> list[str]:
    """Structural numbers that ended on a bound: no error is known of them."""
    out = []
    for name, (low, high) in structure.bounds.items():
        if min(ended.values[name] - low, high - ended.values[name]) < settings.on_bound * (high - low):
            out.append(name)
    return out


def parameters_of(
    structure: Structure, marginal: Marginal, ended: Ended, bounded: Sequence[str]
) -> dict[str, Parameter]:
    """The structural numbers with their errors."""
    out = {}
    for each in structure.varied:
        value, error, interval = ended.values[each.name], None, None
        if each.name not in bounded:
            error, interval = interval_of(each.name, value, marginal.errors[each.name])
        out[each.name] = Parameter(float(value), error, interval, each.unit)
    return out


def remarks_of(
    structure: Structure,
    found: Mapping[str, Parameter],
    covariance: Array,
    ended: Ended,
    settings: VarySettings = VARY,
) -> list[str]:
    """What the frames cannot tell, a sentence each."""
    out = []
    for each in structure.varied:
        p = found[each.name]
        if p.stderr is not None and _unknown(each, p, structure, settings):
            more = "frames of other thicknesses together" if len(ended.frames) == 1 else "more electrons"
            out.append(
                f"{each.name} is not determined: its error is {p.stderr:.2g}, its value {p.value:.3g}; "
                f"leave it out, or fit {more}."
            )
    errors = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    correlation = covariance / np.outer(errors, errors)
    names = [each.name for each in structure.varied]
    for i, one in enumerate(names):
        for k, other in enumerate(names[:i]):
            if abs(correlation[i, k]) > settings.alike:
                out.append(
                    f"{other} and {one} cannot be told apart: their correlation is {correlation[i, k]:.3f}; "
                    "hold one of them, or fit frames of other thickness and tilt together."
                )
    if not ended.settled:
        out.append(
            f"The structure has not settled after {ended.solves} solves; start from a CIF that is nearer."
        )
    return out


def _unknown(each: Varied, p: Parameter, structure: Structure, settings: VarySettings) -> bool:
    """Whether a number's error says that nothing is known of it."""
    assert p.stderr is not None
    if each.kind in "xyz":
        return p.stderr * structure.edge(each) > settings.unknown_coordinate
    return p.stderr > settings.unknown * max(abs(p.value), 1e-12)


def _result_of(
    index: int,
    state: OneFrame,
    ended: Ended,
    structure: Structure,
    library: Library,
    settings: FitSettings,
    found: Mapping[str, Parameter],
    bounded: Sequence[str],
    remarks: Sequence[str],
) -> FitResult:
    """The result of a frame, with the structure that all frames share."""
    part = ended.joint.parts[index]
    own = [name for name in part.names if name not in ended.joint.priors]
    marginal = ended.errors.marginal(
        [ended.joint.of(name, index) for name in own],
        own,
        {name: p.value for name, p in part.params.items()},
        ended.lacking,
    )
    fit = _refinement(index, ended, own, part.params, marginal, settings)
    best = Minimum(state.region, fit, state.region.answer(fit))
    refiner = Refiner(library, replace(settings, whole_curve=False))
    minima = Minima(best, (), (), best, refiner, ())
    start = state.start
    origin = Origin(start.route, start.method, start.candidates[0], start.curve)
    seconds = dict(start.seconds)
    seconds["structure"] = ended.seconds
    seconds["total"] = start.seconds["total"] + ended.seconds
    result = make_result(state.frame, library, minima, "", origin, seconds)
    by_id = dict(zip(ended.joint.shared, found, strict=False))  # structural numbers come first
    user = {name: by_id.get(name, name) for name in own}
    shown = ("thickness", "tilt_x", "tilt_y", *by_id)
    budget = {user[name]: marginal.parts(name) for name in shown if name in own and user[name] not in bounded}
    status, detail = result.status, result.detail
    if status is Status.converged and bounded:
        status, detail = Status.at_bound, ", ".join(bounded)
    result = replace(
        result,
        status=status,
        detail=detail,
        remarks=(*result.remarks, *remarks),
        parameters={name: p for name, p in result.parameters.items() if name not in by_id},
        structure=dict(found),
        varied=tuple(user[name] for name in own),
        bounds={user[name]: pair for name, pair in result.bounds.items()},
        budget={name: {k: v for k, v in parts.items()} for name, parts in budget.items()},
        assumed=ended.errors.assumed,
        budget_lacks=start_lacks(ended),
        curve=start.curve,
        curve_searched=start.curve_searched,
        along_thickness=start.along_thickness,
    )
    return replace(result, modes=modes_of_minima(result, minima))


def start_lacks(ended: Ended) -> tuple[str, ...]:
    """Names of the parts that a budget lacks."""
    words = {REST: "vibration"}
    return tuple(words.get(name, name) for name in ended.lacking)


def _refinement(
    index: int,
    ended: Ended,
    own: Sequence[str],
    params: Mapping[str, Any],
    marginal: Marginal,
    settings: FitSettings,
) -> Refinement:
    """A frame's part of the joint fit, as a refinement of its own would be."""
    state = ended.frames[index]
    assert marginal.covariance is not None and state.noise is not None
    values = {
        name: float(params[name].value) for name in (*state.values, *ended.joint.shared[: len(ended.values)])
    }
    if SEMI_ANGLE in ended.joint.priors:
        values[SEMI_ANGLE] = settings.semi_angle
    face = lmfit.Parameters()
    for name, value in values.items():
        p, vary = params[name], name in own
        low, high = (p.min, p.max) if vary else (-np.inf, np.inf)
        face.add(name, value=value, vary=vary, min=low, max=high)
    names = [name for name in values if name in own]
    order = [own.index(name) for name in names]
    # what the library approximates is added to the covariance of every result
    at = ended.errors.block([ended.joint.of(name, index) for name in own])
    covariance = (marginal.covariance - ended.errors.library[np.ix_(at, at)])[np.ix_(order, order)]
    weights = 1 / state.noise.variance(state.image)
    standardised = np.sqrt(weights / state.scale) * state.residual
    result, _ = lmfit_face(_Known(standardised), Solved(face, ended.solves, ended.settled, {}), 1)
    errors = dict(zip(names, np.sqrt(np.maximum(np.diag(covariance), 0)).tolist(), strict=True))
    return Refinement(
        values=values,
        names=tuple(names),
        covariance=covariance,
        errors=errors,
        bounds={name: (float(params[name].min), float(params[name].max)) for name in names},
        settled=ended.settled,
        evaluations=ended.solves,
        noise=state.noise,
        coefficients=state.coefficients,
        model=state.image,
        residual=state.residual,
        chi2=float((state.residual**2 * weights).sum()),
        inflation=float(np.sqrt(state.scale)),
        n_effective=state.n_effective,
        lmfit_result=result,
        minimizer=None,
    )


@dataclass(frozen=True)
class _Known:
    """A residual that is known already."""

    values: Array

    def residual(self, params: Any) -> Array:
        """It, whatever the parameters."""
        return self.values
