"""A result in the frame of the crystal's mirror image, (x, −y): tilt_y has the other sign."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

MIRRORED = "tilt_y"  # what has the other sign


def mirrored(result: Any) -> Any:
    """A `FitResult` in the frame of the mirror image."""
    parameters, bounds = dict(result.parameters), dict(result.bounds)
    p = parameters[MIRRORED]
    interval = None if p.interval95 is None else (-p.interval95[1], -p.interval95[0])
    parameters[MIRRORED] = replace(p, value=-p.value, interval95=interval)
    if MIRRORED in bounds:
        bounds[MIRRORED] = (-bounds[MIRRORED][1], -bounds[MIRRORED][0])
    covariance = result.covariance
    if covariance is not None and MIRRORED in result.varied:
        sign = np.where(np.array(result.varied) == MIRRORED, -1.0, 1.0)
        covariance = sign[:, None] * covariance * sign
    return replace(
        result,
        parameters=parameters,
        bounds=bounds,
        covariance=covariance,
        detail=result.detail if isinstance(result.detail, str) else result.detail.mirrored(),
        seed=result.seed.mirrored(),
        candidates=tuple(candidate.mirrored() for candidate in result.candidates),
        modes=tuple(mode.mirrored(MIRRORED) for mode in result.modes),
        flipped=not result.flipped,
    )
