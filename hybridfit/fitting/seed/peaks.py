"""Peaks of the probabilities that a network gives: the values that are worth a candidate each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.seed.settings import SeedSettings

Array = NDArray[np.float64]


def thickness_peaks(
    p: NDArray[np.float32], nodes: Array, settings: SeedSettings
) -> list[tuple[float, float]]:
    """(thickness, share) of the peaks of a distribution over thicknesses (nm), the largest share first."""
    rest = p.astype(float)
    width = settings.peak[0]
    found: list[tuple[float, float]] = []
    while len(found) < settings.most:
        middle = nodes[np.argmax(np.convolve(rest, [0.5, 1, 0.5], mode="same"))]
        near = np.abs(nodes - middle) <= width
        share = float(rest[near].sum())
        if found and share < settings.least_share:
            break
        found.append((float(rest[near] @ nodes[near] / max(share, 1e-12)), share))
        rest[np.abs(nodes - middle) <= 2 * width] = 0
    return sorted(found, key=lambda item: -item[1])


def tilt_peaks(
    p: NDArray[np.float32], x: Array, y: Array, settings: SeedSettings
) -> list[tuple[tuple[float, float], float]]:
    """((x, y), share) of the peaks of a distribution over tilts (mrad), the largest share first."""
    rest = p.astype(float)
    width = settings.peak[1]
    found: list[tuple[tuple[float, float], float]] = []
    while len(found) < settings.most:
        at = np.unravel_index(np.argmax(rest), rest.shape)
        apart = np.hypot(x - x[at], y - y[at])
        near = apart <= width
        share = float(rest[near].sum())
        if found and share < settings.least_share:
            break
        mean = ((rest * x)[near].sum() / max(share, 1e-12), (rest * y)[near].sum() / max(share, 1e-12))
        found.append(((float(mean[0]), float(mean[1])), share))
        rest[apart <= 2 * width] = 0
    return sorted(found, key=lambda item: -item[1])
