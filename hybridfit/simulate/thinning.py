"""Blur and binning of all frames of a scan by way of few samples, wherever the pattern's centre is.

    pixel = W₂(d) H,    H = W₁ P(fine points)

The blur is divided into two equal ones: W₁ blurs the pattern at fine points, and samples it a few times a
pixel; W₂ blurs the rest of the way, averages over a pixel as `simulate.frame` does, and moves the pattern by
any part of a pixel, d.  Both are bands, the same along columns and along rows.  Between the two blurs samples
lose what is finer than they are, of which exp(−(πσn)²/2) was left, σ the blur in pixels and n the samples in
a pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.simulate.frame import BLUR_REACH

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

LOST = 3e-5  # of what is as fine as the samples
REACH = 5.0  # of a kernel, in its σ


def blur_of(sigma: float, density: int) -> float:
    """σ (px) that the blur of `simulate.frame` has: it ends at a few σ. density: fine points in a pixel."""
    fine = sigma * density
    at = np.arange(1, int(BLUR_REACH * fine + 0.5) + 1)
    weights = np.exp(-((at / fine) ** 2) / 2)
    return float(np.sqrt(2 * (weights * at**2).sum() / (1 + 2 * weights.sum()))) / density


def samples_for(sigma: float) -> int:
    """How many samples of a pixel will do for a blur of σ px."""
    return int(np.ceil(np.sqrt(-2 * np.log(LOST)) / (np.pi * sigma)))


class Axis(NamedTuple):
    """One axis of a camera, and what the pattern is at along it when the centre is at its middle place.

    Attributes
    ----------
    size : int, px
    fine : (·,) array, px
        Coordinates of the fine points.
    density, step : int
        Fine points and samples in a pixel.
    before : int, px
        By which the samples begin before the frame.
    samples : int
        In all.
    sigma : float, px
        Of either blur.
    """

    size: int
    fine: Array
    density: int
    step: int
    before: int
    samples: int
    sigma: float

    @classmethod
    def of(cls, size: int, density: int, sigma: float, moved: tuple[float, float]) -> Axis:
        """For a frame of this size, a blur of σ (px) in all, and a pattern that moves between these (px)."""
        step, half = samples_for(sigma), sigma / np.sqrt(2)
        reach = REACH * half + 1
        before, after = int(np.ceil(moved[1] + reach)), int(np.ceil(reach - moved[0]))
        more = int(np.ceil(reach))
        fine = (np.arange(density * (size + before + after + 2 * more)) + 0.5) / density - 0.5 - before - more
        return cls(size, fine, density, step, before, step * (size + before + after), half)

    @property
    def thin(self) -> tuple[NDArray[np.int64], Float32]:
        """W₁: the first fine point of every sample, and weights (samples, ·)."""
        at = (np.arange(self.samples) + 0.5) / self.step - 0.5 - self.before
        first = np.ceil((at - REACH * self.sigma - self.fine[0]) * self.density).astype(np.int64)
        taps = int(np.ceil(2 * REACH * self.sigma * self.density))
        away = self.fine[first[:, None] + np.arange(taps)] - at[:, None]
        weights = np.exp(-((away / self.sigma) ** 2) / 2)
        return first, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

    def record(self, moved: float) -> tuple[int, Float32]:
        """W₂: the first sample of the first pixel, and weights, for a pattern that is moved (px)."""
        within = (np.arange(self.density) + 0.5) / self.density - 0.5
        start = -0.5 - moved - REACH * self.sigma
        first = int(np.ceil((start + 0.5 + self.before) * self.step - 0.5))
        taps = int(np.ceil((1 + 2 * REACH * self.sigma) * self.step))
        at = (first + np.arange(taps) + 0.5) / self.step - 0.5 - self.before
        weights = np.exp(-(((within[:, None] - moved - at) / self.sigma) ** 2) / 2).sum(axis=0)
        return first, (weights / weights.sum()).astype(np.float32)
