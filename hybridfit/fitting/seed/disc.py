"""Rough centre and size of the direct disc, from nothing but the frame.

Gaussian fits of the two integrated profiles give a start, as in Xu & LeBeau (2018).  It is then
sharpened where the disc has its edge: the mean inward slope of the intensity along a circle,

    D(c, R) = −⟨∂I/∂r⟩_R,

is largest when the circle is the rim of the direct disc, whatever the intensity does inside.  Means
over a ring about every centre are correlations of the two components of ∇I, done by FFT.  The ring
is as narrow as the noise allows: a wide one takes the discs around the direct one for its rim.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, optimize

from hybridfit.errors import InputError
from hybridfit.pattern.binning import bin_frame, fill_masked

Array = NDArray[np.float64]
SIZE = 96  # pixels across after binning, for the profiles
RIM_RADIUS = 50  # pixels that the start's radius is binned to, or fewer, for the rim
RIM_STEP = 40  # trial radii per radius of the start
RIM_WIDTH = (1.0, 2.0)  # σ (px) of the ring without noise, and at most
SMOOTHING = 0.6  # px
FEWER = 0.5  # of the sharpest: rims less sharp than that are left out
APART = 0.05  # of the radius: rims nearer than that are one
QUICK_SIZE = 64  # pixels across after binning
BRIGHT_PERCENTILE = 98.0
STANDS_OUT = 3.5  # standard deviations of the rest, that what is bright is above it
HALF_BRIGHT = 0.94  # radius of the disc over that of an equal area of what is brighter than half the bright
RADIUS_RANGE = (0.45, 1.5)  # of the profile fit, which is too wide where the frame cuts the tails
LARGEST = 0.52  # radius over the smaller side of the frame: a whole disc is no larger
SHIFT_RANGE = 0.7  # of the radius of the profile fit


class Disc(NamedTuple):
    """Centre (px) and radius (px) of the direct disc, and how sharp its rim is.

    sharpness is the drop across the rim over the mean intensity inside it, above the border. It
    orders the candidates of one frame; it does not tell a pattern from noise.
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
    small = fill_masked(small, good)
    border = float(np.median(np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])))
    smooth = ndimage.gaussian_filter(small, 1.0) - border
    x, width_x = _profile(smooth.sum(axis=0))
    y, width_y = _profile(smooth.sum(axis=1))
    # a uniform disc of radius R has profiles of standard deviation R/2; a fit to its top sees more
    guess = min(1.9 * np.sqrt(width_x * width_y), LARGEST * min(small.shape))
    if guess <= 2.0:
        raise InputError(
            f"no direct disc found: the bright part of the frame is {2 * guess * factor:.0f} px wide; "
            "give its centre and scale as hints"
        )
    shift = (factor - 1) / 2
    start = Disc(x * factor + shift, y * factor + shift, guess * factor, 0.0)
    return _sharpest_rims(fill_masked(image, valid) - border, start, most)


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


def _sharpest_rims(image: Array, start: Disc, most: int) -> list[Disc]:
    """The circles that maximise D(c, R) locally, near a start."""
    reach = (RADIUS_RANGE[1] + SHIFT_RANGE) * start.radius
    top, left = (max(0, int(c - reach)) for c in (start.centre_y, start.centre_x))
    cut = image[top : int(start.centre_y + reach) + 2, left : int(start.centre_x + reach) + 2]
    factor = max(1, int(start.radius / RIM_RADIUS))
    cut, _ = bin_frame(cut, np.ones(cut.shape, bool), factor)
    x, y = (
        (c - edge - (factor - 1) / 2) / factor for c, edge in ((start.centre_x, left), (start.centre_y, top))
    )
    guess = start.radius / factor
    row, col = np.indices(cut.shape)
    near = np.hypot(col - x, row - y) <= SHIFT_RANGE * guess + 1
    largest = min(RADIUS_RANGE[1] * guess, LARGEST * min(image.shape) / factor)
    step = max(0.5, guess / RIM_STEP)
    radii = np.arange(max(2.5, RADIUS_RANGE[0] * guess), largest + step, step)
    stack = _slopes_along_rings(cut, radii, _ring_width(cut, near))
    stack[:, ~near] = -np.inf
    peaks = np.argwhere((stack == ndimage.maximum_filter(stack, size=(5, 5, 5))) & (stack > 0))
    inner_peaks = peaks[(peaks[:, 0] > 0) & (peaks[:, 0] < len(radii) - 1)]
    peaks = inner_peaks if len(inner_peaks) else peaks
    heights = stack[tuple(peaks.T)]
    peaks = peaks[np.argsort(-heights)][: np.count_nonzero(heights > FEWER * heights.max(initial=0.0))]
    found: list[Disc] = []
    for i, r, c in peaks:
        centre_x, centre_y = c + _vertex(stack[i, r, :], c), r + _vertex(stack[i, :, c], r)
        radius = float(radii[i] + step * _vertex(stack[:, r, c], i))
        level = max(float(cut[np.hypot(col - centre_x, row - centre_y) < radius].mean()), 1e-12)
        disc = Disc(
            float(left + (factor - 1) / 2 + factor * centre_x),
            float(top + (factor - 1) / 2 + factor * centre_y),
            factor * radius,
            float(np.clip(3 * stack[i, r, c] / level, 0, 2)),
        )
        if not any(_alike(disc, other) for other in found):
            found.append(disc)
        if len(found) == most:
            break
    return found


def _alike(a: Disc, b: Disc) -> bool:
    """Whether two circles are one rim."""
    shift = np.hypot(a.centre_x - b.centre_x, a.centre_y - b.centre_y)
    return bool(shift < APART * b.radius and abs(a.radius - b.radius) < APART * b.radius)


def _ring_width(image: Array, near: NDArray[np.bool_]) -> float:
    """σ (px) of the ring: wider where counting noise is a larger part of the intensity."""
    mask = np.outer([1, -2, 1], [1, -2, 1])  # no response to anything smooth
    noise = np.sqrt((ndimage.convolve(image, mask)[near] ** 2).mean() / (mask**2).sum())
    level = max(float(image[near].mean()), 1e-12)
    return float(np.clip(RIM_WIDTH[0] + noise / level, *RIM_WIDTH))


def _slopes_along_rings(image: Array, radii: Array, width: float) -> Array:
    """D(c, R) for every radius (px) and every pixel as the centre: (radius, rows, cols)."""
    rows, cols = image.shape
    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(image, SMOOTHING))
    reach = int(radii[-1] + 4 * width) + 1
    shape = tuple(fft.next_fast_len(size + reach) for size in image.shape)
    along_x, along_y = fft.rfft2(slope_x, shape), fft.rfft2(slope_y, shape)
    dy, dx = np.indices(shape, dtype=float)
    dy[rows:] -= shape[0]
    dx[:, cols:] -= shape[1]
    distance = np.hypot(dx, dy)
    dx /= np.maximum(distance, 0.5)
    dy /= np.maximum(distance, 0.5)
    stack = np.empty((len(radii), rows, cols))
    for i, radius in enumerate(radii):
        ring = np.exp(-((distance - radius) ** 2) / (2 * width**2))
        ring /= ring.sum()
        inward = along_x * np.conj(fft.rfft2(ring * dx)) + along_y * np.conj(fft.rfft2(ring * dy))
        stack[i] = -fft.irfft2(inward, shape)[:rows, :cols]
    return stack


def _vertex(values: Array, i: int) -> float:
    """Offset of the maximum of the parabola through values[i − 1 … i + 1]."""
    if not 0 < i < len(values) - 1:
        return 0.0
    left, middle, right = values[i - 1 : i + 2]
    curvature = left - 2 * middle + right
    if not np.isfinite(curvature) or curvature >= 0:
        return 0.0
    return float(np.clip((left - right) / (2 * curvature), -0.5, 0.5))


def quick_disc(image: Array, valid: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Centre and radius (px) of what is brighter than half the bright: quick, and rough.

    Good to some 3.5 mrad and 20 %: enough for a network that aligns the rest.

    Parameters
    ----------
    image : (rows, cols) array
    valid : (rows, cols) bool array
    """
    _, mask, factor = _bright(image, valid)
    rows, cols = np.nonzero(mask if mask.any() else ~mask)
    shift = (factor - 1) / 2
    radius = HALF_BRIGHT * np.sqrt(len(rows) / np.pi)
    return (
        float(cols.mean() * factor + shift),
        float(rows.mean() * factor + shift),
        float(max(radius, 2.0) * factor),
    )


def bright_edge(image: Array, valid: NDArray[np.bool_]) -> float:
    """How much of its width what is bright lies along one edge of the frame; 0 where nothing stands out."""
    small, mask, _ = _bright(image, valid)
    labels, count = ndimage.label(mask)
    if not count:
        return 0.0
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    rest = small[~mask]
    if not rest.size or small[largest].mean() - rest.mean() < STANDS_OUT * max(float(rest.std()), 1e-12):
        return 0.0
    along = max(int(edge.sum()) for edge in (largest[0], largest[-1], largest[:, 0], largest[:, -1]))
    return along / (2 * np.sqrt(largest.sum() / np.pi))


def _bright(image: Array, valid: NDArray[np.bool_]) -> tuple[Array, NDArray[np.bool_], int]:
    """The frame binned and smoothed, where it is brighter than half the bright, and the bin factor."""
    factor = max(1, round(max(image.shape) / QUICK_SIZE))
    small, good = bin_frame(image, valid, factor)
    small = ndimage.gaussian_filter(fill_masked(small, good).astype(float), 1.0)
    border = np.median(np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]]))
    bright = np.percentile(small, BRIGHT_PERCENTILE)
    return small, small > (bright + border) / 2, factor
