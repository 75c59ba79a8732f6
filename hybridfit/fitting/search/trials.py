"""Sums of squares over one set of pixels, so that trial cameras can be compared.

The ring search knows what a template explains inside the region that it covers about a trial
camera.  Regions differ from camera to camera, and so do the pattern and the noise inside them.
What is compared is the sum of squares over all pixels of the frame,

    S = Σ_in (y − B)² + Σ_out (y − ⟨y⟩_r)² − n_in C²/|T|²,

B the background fitted inside, ⟨y⟩_r the mean of the ring that a pixel is on, C²/|T|² what the
template explains per pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.background import basis

Array = NDArray[np.float64]


def unexplained(
    image: Array, valid: NDArray[np.bool_], cameras: Array, semi_angle: float, beyond: float
) -> tuple[Array, Array]:
    """What trial cameras leave without a template: sum of squares, and pixels inside, (c,) each.

    Parameters
    ----------
    image, valid : (rows, cols) arrays
    cameras : (c, 3) array
        centre_x, centre_y (px) and scale (px/mrad).
    semi_angle, beyond : float, mrad
        The template covers a disc of their sum.
    """
    row, col = np.nonzero(valid)
    y = image[valid]
    y = y - y.mean()
    total, pixels = np.empty(len(cameras)), np.empty(len(cameras))
    for i, (x0, y0, scale) in enumerate(cameras):
        ring = np.hypot(col - x0, row - y0).astype(int)
        count = np.bincount(ring)
        ring_sum = np.bincount(ring, y)
        hit = np.flatnonzero(count)
        mean = ring_sum[hit] / count[hit]
        k = (hit + 0.5) / scale
        inside = k <= semi_angle + beyond
        weight = np.sqrt(count[hit][inside])
        values, _, _ = basis("radial", np.stack([k[inside], np.zeros(inside.sum())]), semi_angle)
        design, target = (values * weight).T, mean[inside] * weight
        misfit = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
        total[i] = (y @ y) - (count[hit] * mean**2).sum() + misfit @ misfit
        pixels[i] = count[hit][inside].sum()
    return total, pixels
