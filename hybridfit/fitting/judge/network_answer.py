"""The network's own answer as a result: its values and probabilities, compared with the frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Seed
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.judge.answer import NORMAL_95, Origin, make_result
from hybridfit.fitting.parameter import Parameter
from hybridfit.fitting.refine.minima import Minima
from hybridfit.fitting.refine.refiner import Refiner
from hybridfit.fitting.refine.region import Region
from hybridfit.fitting.refine.settings import Effort
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.route import Route
from hybridfit.fitting.search.cameras import check_disc
from hybridfit.fitting.status import Status
from hybridfit.frame import Frame
from hybridfit.model import FINE_PIXEL, PARAMETERS

TAIL = 0.025  # either side of a 95 % interval


def network_result(refiner: Refiner, frame: Frame, seed: Seed, clock: Clock) -> FitResult:
    """What the network says, with the residual that the library leaves there.

    Standard errors and intervals of thickness and tilt are those of the network's probabilities;
    only intensity factor and background are fitted.

    Parameters
    ----------
    refiner : Refiner
    frame : Frame
    seed : Seed
    clock : Clock

    Raises
    ------
    InputError
        The disc that the network found is cut by the edge of the frame.
    """
    answer, settings = seed.candidates[0], refiner.settings
    camera = answer.centre_x, answer.centre_y, answer.scale
    check_disc(frame, camera, refiner.semi_angle, settings.searching)
    held = Refiner(
        refiner.library,
        replace(settings, fix=dict.fromkeys(PARAMETERS), free=(), whole_curve=False, keep_model=False),
        pool=refiner.pool,
    )
    limits = settings.refining
    region = Region.around(frame, answer, refiner.semi_angle, limits.fine_radius)
    best = held.follow(frame, answer, region, Effort(limits.passes, limits.tolerance, FINE_PIXEL))
    clock.lap("refine")
    minima = Minima(best, (), (), best, held, ())
    origin = Origin(Route.network, "cnn", answer)
    result = make_result(
        frame, refiner.library, minima, "", origin, clock.seconds(), candidates=seed.candidates
    )
    values = {"thickness": answer.thickness, "tilt_x": answer.tilt_x, "tilt_y": answer.tilt_y}
    intervals = {
        "thickness": _interval(seed.thickness, seed.thicknesses),
        "tilt_x": _around(answer.tilt_x, seed.spread[1]),
        "tilt_y": _around(answer.tilt_y, seed.spread[2]),
    }
    parameters = dict(result.parameters)
    for name, spread in zip(values, seed.spread, strict=True):
        parameters[name] = Parameter(values[name], spread, intervals[name])
    status, detail = Status.converged, ""
    if result.residual_fraction > settings.judging.poor_network:
        status, detail = Status.poor_match, f"{result.residual_fraction:.0%} of the variance is left"
    elif seed.certainty < settings.seeding.other_starts_below:
        status, detail = Status.ambiguous, f"the network is {seed.certainty:.0%} sure"
    return replace(result, parameters=parameters, status=status, detail=detail)


def _interval(p: NDArray[np.float32], nodes: NDArray[np.float64]) -> tuple[float, float]:
    """Where 95 % of a distribution over nodes lies."""
    cumulated = np.cumsum(p, dtype=float) / max(float(p.sum()), 1e-12) - p / 2
    low, high = np.interp([TAIL, 1 - TAIL], cumulated, nodes)
    return float(low), float(high)


def _around(value: float, spread: float) -> tuple[float, float]:
    return value - NORMAL_95 * spread, value + NORMAL_95 * spread
