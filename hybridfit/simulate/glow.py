"""The background of frames of a scan: that of `simulate.frame.glow_at`, with few exponentials.

    B̂(k) = c + Σ_i h_i exp(−|k|² / 2σ_i²)

Along a row |k|² is a polynomial of the second degree, so a Gaussian there is the one before times a ratio,
which itself is the one before times a constant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.jit import kernel
from hybridfit.simulate.frame import BACKGROUND_HEIGHTS, BACKGROUND_WIDTHS

RUN = 32  # pixels until exponentials are calculated again: products lose digits, and may begin at zero


def glow_seen(shape: tuple[int, int], camera: Camera, semi_angle: float) -> NDArray[np.float64]:
    """The background B of pixels (rows, cols), to some scale: a constant and two Gaussians of |k|."""
    constant, *heights = BACKGROUND_HEIGHTS
    origin, right, below = to_angles(np.array([0.0, 1, 0]), np.array([0.0, 0, 1]), camera).T
    out = np.full(shape, constant)
    for height, width in zip(heights, BACKGROUND_WIDTHS, strict=True):
        add_gaussian(out, height, 0.5 / (width * semi_angle) ** 2, origin, right - origin, below - origin)
    return out


@kernel
def add_gaussian(out, height, factor, origin, right, below):
    """out (rows, cols) += height · exp(−factor · |origin + col · right + row · below|²)."""
    square = right[0] * right[0] + right[1] * right[1]
    bend = np.exp(-2 * factor * square)
    for r in range(out.shape[0]):
        for start in range(0, out.shape[1], RUN):
            x = origin[0] + start * right[0] + r * below[0]
            y = origin[1] + start * right[1] + r * below[1]
            value = height * np.exp(-factor * (x * x + y * y))
            ratio = np.exp(-factor * (2 * (x * right[0] + y * right[1]) + square))
            for c in range(start, min(start + RUN, out.shape[1])):
                out[r, c] += value
                value *= ratio
                ratio *= bend
