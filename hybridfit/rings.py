"""Means of images on rings about the direct beam: radial profiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
WIDTH = 0.25  # mrad: half the width of the edge of a disc
FEWEST = 12  # px of a ring: the mean of fewer is noise


def ring_means(
    radius: Array, experiment: Array, fit: Array, width: float = WIDTH, fewest: int = FEWEST
) -> tuple[Array, Array, Array, Array]:
    """Means of two images on rings.

    Parameters
    ----------
    radius, experiment, fit : (rows, cols) arrays
        Radius in mrad; pixels that are not finite in any of the three are left out.
    width : float, mrad, of a ring
    fewest : int
        Innermost rings with fewer pixels are joined to one disc.

    Returns
    -------
    tuple of (n,) arrays
        Mean radius (mrad), mean of experiment, mean of fit, and the standard error of their difference.
    """
    use = np.isfinite(experiment) & np.isfinite(fit) & np.isfinite(radius)
    ring = (radius[use] / width).astype(int)
    enough = np.flatnonzero(np.bincount(ring) >= fewest)
    if enough.size:
        ring = np.maximum(ring, enough[0])
    count = np.bincount(ring)
    filled = count > 0
    count = np.maximum(count, 1)

    def mean(values: Array) -> Array:
        return np.bincount(ring, values) / count

    difference = experiment[use] - fit[use]
    spread = np.sqrt(np.maximum(mean(difference**2) - mean(difference) ** 2, 0) / count)
    columns = mean(radius[use]), mean(experiment[use]), mean(fit[use]), spread
    return columns[0][filled], columns[1][filled], columns[2][filled], columns[3][filled]
