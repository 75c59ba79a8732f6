"""How much of a frame's structure a fit explains: what is left once the mean over every ring is taken off.

A disc on a radial background fits much of any frame.  What tells a crystal is how the intensity
varies along rings about the centre,

    S = Var(E − ⟨E⟩_ring) − noise,      L = Var(r − ⟨r⟩_ring) − noise,

with E the frame and r the residual: L/S is the share of the structure that is left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RINGS = 24
SIGNIFICANT = 4.0  # standard deviations of a variance


def structure_left(data: Array, residual: Array, radius: Array, noise: Array) -> float:
    """L/S of a fit; 0 where noise hides the structure or what is left of it.

    Parameters
    ----------
    data, residual, radius : (n,)
        Compared pixels: frame and residual (frame units), distance from the centre (any unit).
    noise : (n,)
        Variance of the noise alone, pixel by pixel.
    """
    ring = np.minimum((radius * RINGS / max(float(radius.max()), 1e-300)).astype(np.int64), RINGS - 1)
    count = np.maximum(np.bincount(ring, minlength=RINGS), 1)

    def around(values: Array) -> float:
        means = np.bincount(ring, values, RINGS) / count
        return float(((values - means[ring]) ** 2).mean())

    level = float(noise.mean())
    grain = SIGNIFICANT * float(np.sqrt(2 * (noise**2).mean() / len(noise)))
    structure, left = around(data) - level, around(residual) - level
    if structure < grain or left < grain:
        return 0.0
    return left / structure
