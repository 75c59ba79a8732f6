"""Rough centre and size of the direct disc, from nothing but the frame.

Gaussian fits of the two integrated profiles give a start, as in Xu & LeBeau (2018).  It is then
sharpened where the disc has its edge: the mean intensity on a ring just inside a circle, less
that on a ring just outside, is largest when the circle is the rim of the direct disc,

    D(c, R) = ⟨I⟩_{R − δ} − ⟨I⟩_{R + δ},

whatever the intensity does inside.  Ring means for every centre are correlations, done by FFT.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, optimize

from hybridfit.errors import InputError
from hybridfit.fitting.binning import bin_frame, fill_masked

Array = NDArray[np.float64]
SIZE = 96  # pixels across after binning
RADIUS_RANGE = (0.45, 1.5)  # of the profile fit, which is too wide where the frame cuts the tails
LARGEST = 0.52  # radius over the smaller side of the frame: a whole disc is no larger
SHIFT_RANGE = 0.7  # of the radius of the profile fit


class Disc(NamedTuple):
    """Centre (px) and radius (px) of the direct disc, and how sharp its rim is.

    sharpness is D(c, R) over the disc's mean intensity above the border: 0.6 to 0.7 for a bare
    aperture, 0.3 to 0.5 for a crystal. It orders the candidates of one frame; it does not tell a
    pattern from noise.
    """

    centre_x: float
    centre_y: float
    radius: float
    sharpness: float


def rough_discs(image: Array, valid: NDArray[np.bool_], most: int = 8) -> list[Disc]:
    """Find the direct disc: candidates, the sharpest rim first.

    A crystal has rims of its own (the discs overlap), so the sharpest need not be the right one.

    Parameters
    ----------
    image : (rows, cols) array
    valid : (rows, cols) bool array
    most : int
        Number of candidates at most.

    Raises
    ------
    InputError
        The frame shows nothing that looks like a disc.
    """
    factor = max(1, round(max(image.shape) / SIZE))
    small, good = bin_frame(image, valid, factor)
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    small = fill_masked(small, good) - np.median(border)
    smooth = ndimage.gaussian_filter(small, 1.0)
    x, width_x = _profile(smooth.sum(axis=0))
    y, width_y = _profile(smooth.sum(axis=1))
    # a uniform disc of radius R has profiles of standard deviation R/2; a fit to its top sees more
    guess = min(1.9 * np.sqrt(width_x * width_y), LARGEST * min(small.shape))
    if guess <= 2.0:
        raise InputError(
            f"no direct disc found: the bright part of the frame is {2 * guess * factor:.0f} px wide; "
            "give its centre and scale as hints"
        )
    rows, cols = np.indices(small.shape)
    shift = (factor - 1) / 2
    discs = []
    for centre_x, centre_y, radius, drop in _sharpest_rims(smooth, x, y, guess, most):
        inside = np.hypot(cols - centre_x, rows - centre_y) < radius
        level = max(float(small[inside].mean()), 1e-12) if inside.any() else 1e-12
        sharpness = float(np.clip(drop / level, 0, 2))
        discs.append(Disc(centre_x * factor + shift, centre_y * factor + shift, radius * factor, sharpness))
    return discs


def _profile(profile: Array) -> tuple[float, float]:
    """Centre and standard deviation of a Gaussian on a constant, fitted with soft weights for outliers."""
    at = np.arange(len(profile), dtype=float)
    weight = np.clip(profile - np.percentile(profile, 25), 0, None)
    mean = float((at * weight).sum() / max(weight.sum(), 1e-12))
    width = float(np.sqrt(((at - mean) ** 2 * weight).sum() / max(weight.sum(), 1e-12))) + 0.5
    height = float(np.ptp(profile)) or 1.0

    def residual(p: Array) -> Array:
        return (p[2] * np.exp(-((at - p[0]) ** 2) / (2 * p[1] ** 2)) + p[3] - profile) / height

    start = [mean, width, height, float(profile.min())]
    found = optimize.least_squares(residual, start, loss="soft_l1", f_scale=0.1, max_nfev=100)
    centre, width = float(found.x[0]), abs(float(found.x[1]))
    return float(np.clip(centre, 0, len(profile) - 1)), width


def _sharpest_rims(
    image: Array, x: float, y: float, guess: float, most: int
) -> list[tuple[float, float, float, float]]:
    """Centre, radius and drop of the circles that maximise D(c, R) locally, near a guess."""
    rows, cols = image.shape
    shape = tuple(fft.next_fast_len(2 * size) for size in image.shape)
    transform = fft.rfft2(image, shape)
    dy, dx = np.indices(shape)
    dy, dx = (np.where(d > size // 2, d - size, d) for d, size in ((dy, shape[0]), (dx, shape[1])))
    distance = np.hypot(dx, dy)
    row, col = np.indices(image.shape)
    near = np.hypot(col - x, row - y) <= SHIFT_RANGE * guess + 1
    largest = min(RADIUS_RANGE[1] * guess, LARGEST * min(image.shape))
    radii = np.arange(max(2.5, RADIUS_RANGE[0] * guess), largest + 0.5, 0.5)
    stack = np.empty((len(radii), rows, cols))
    for i, radius in enumerate(radii):
        inner, outer = (np.exp(-((distance - radius - side) ** 2) / 2) for side in (-1.5, 1.5))
        ring = inner / inner.sum() - outer / outer.sum()
        drop = fft.irfft2(transform * np.conj(fft.rfft2(ring)), shape)[:rows, :cols]
        stack[i] = np.where(near, drop, -np.inf)
    peaks = np.argwhere((stack == ndimage.maximum_filter(stack, size=(5, 5, 5))) & (stack > 0))
    inner_peaks = peaks[(peaks[:, 0] > 0) & (peaks[:, 0] < len(radii) - 1)]
    peaks = inner_peaks if len(inner_peaks) else peaks
    heights = stack[tuple(peaks.T)]
    found = []
    for i, r, c in peaks[np.argsort(-heights)[:most]]:
        x_found = float(c + _vertex(stack[i, r, :], c))
        y_found = float(r + _vertex(stack[i, :, c], r))
        found.append(
            (x_found, y_found, float(radii[i] + 0.5 * _vertex(stack[:, r, c], i)), float(stack[i, r, c]))
        )
    return found


def _vertex(values: Array, i: int) -> float:
    """Offset of the maximum of the parabola through values[i − 1 … i + 1]."""
    if not 0 < i < len(values) - 1:
        return 0.0
    left, middle, right = values[i - 1 : i + 2]
    curvature = left - 2 * middle + right
    if not np.isfinite(curvature) or curvature >= 0:
        return 0.0
    return float(np.clip((left - right) / (2 * curvature), -0.5, 0.5))
