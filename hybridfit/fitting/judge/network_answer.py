"""The network's own answer as a result: its values and probabilities, held against the frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Seed
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.judge.status import make_result
from hybridfit.fitting.refine.minima import FINE_RADIUS
from hybridfit.fitting.refine.refiner import Refiner
from hybridfit.fitting.refine.region import Region
from hybridfit.fitting.result import FitResult, Parameter, Status
from hybridfit.fitting.search.cameras import check_disc
from hybridfit.fitting.seed.network import CERTAIN
from hybridfit.frame import Frame
from hybridfit.model import PARAMETERS

POOR_RESIDUAL = 0.4  # of the pattern's variance: no crystal near what the network named
TAIL = 0.025


def named_result(refiner: Refiner, frame: Frame, seed: Seed, clock: Clock) -> FitResult:
    """What the network says, with the residual that the library leaves there.

    Standard errors and intervals of thickness and tilt are those of the network's probabilities;
    nothing but intensity factor and background is fitted.
    """
    answer = seed.candidates[0]
    check_disc(frame, (answer.centre_x, answer.centre_y, answer.scale), refiner.semi_angle)
    held = Refiner(
        refiner.library,
        refiner.semi_angle,
        background=refiner.background,
        fix=dict.fromkeys(PARAMETERS),
        free=(),
        tilt_limit=refiner.tilt_limit,
    )
    region = Region.around(frame, answer, refiner.semi_angle, FINE_RADIUS)
    best = held.follow(frame, answer, region)
    clock.lap("refine")
    result = make_result(
        frame.source,
        refiner.library,
        refiner.tilt_limit,
        best,
        [],
        seed=answer,
        candidates=seed.candidates,
        curve=None,
        keep_model=False,
        seconds=clock.seconds(),
        method="cnn",
        route="network",
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
    if result.residual_fraction > POOR_RESIDUAL:
        status, detail = Status.poor_match, f"{result.residual_fraction:.0%} of the variance is left"
    elif seed.certainty < CERTAIN:
        sure = f"the network is {seed.certainty:.0%} sure"
        status, detail = Status.ambiguous, sure
    message = status.value.format(detail=detail) if detail else "The network named thickness and tilt."
    return replace(result, parameters=parameters, status=status, message=message)


def _interval(p: NDArray[np.float32], nodes: NDArray[np.float64]) -> tuple[float, float]:
    """Where 95 % of a distribution over nodes lies."""
    cumulated = np.cumsum(p, dtype=float) / max(float(p.sum()), 1e-12) - p / 2
    low, high = np.interp([TAIL, 1 - TAIL], cumulated, nodes)
    return float(low), float(high)


def _around(value: float, spread: float) -> tuple[float, float]:
    return value - 1.96 * spread, value + 1.96 * spread
