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
from hybridfit.fitting.seed.settings import SEED, DiscSettings
from hybridfit.pattern.binning import bin_frame, fill_masked, from_binned, to_binned

Array = NDArray[np.float64]
DISC = SEED.disc


class Disc(NamedTuple):
    """Centre (px) and radius (px) of the direct disc, and how sharp its rim is.

    sharpness is the drop across the rim over the mean intensity inside it, above the border. It
    orders the candidates of one frame; it does not tell a pattern from noise.
    """

    centre_x: float
    centre_y: float
    radius: float
    sharpness: float


def rough_discs(
    image: Array, valid: NDArray[np.bool_], most: int | None = None, settings: DiscSettings = DISC
) -> list[Disc]:
    """Find the direct disc: candidates, the sharpest rim first.

    A crystal has rims of its own (the discs overlap), so the sharpest need not be the right one.

    Parameters
    ----------
    image : (rows, cols) array
    valid : (rows, cols) bool array
    most : int, optional
        Number of candidates at most; by default that of the settings.
    settings : DiscSettings

    Returns
    -------
    list of Disc
        Empty where no rim is darker outside than inside.

    Raises
    ------
    InputError
        The frame shows nothing that looks like a disc, or all of it is masked.
    """
    small, good, factor = _binned(image, valid, settings.profile_size)
    small = fill_masked(small, good)
    border = _border(small)
    smooth = ndimage.gaussian_filter(small, 1.0) - border
    x, width_x = _profile(smooth.sum(axis=0))
    y, width_y = _profile(smooth.sum(axis=1))
    # a uniform disc of radius R has profiles of standard deviation R/2; a fit to its top sees more
    guess = min(settings.profile_radius * np.sqrt(width_x * width_y), settings.largest * min(small.shape))
    if not guess > settings.least_radius:
        raise InputError(
            f"no direct disc found: the bright part of the frame is {2 * guess * factor:.0f} px wide; "
            "give its centre and scale as hints"
        )
    start = Disc(from_binned(x, factor), from_binned(y, factor), guess * factor, 0.0)
    return _sharpest_rims(
        fill_masked(image, valid) - border, start, settings.most if most is None else most, settings
    )


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


def _sharpest_rims(image: Array, start: Disc, most: int, settings: DiscSettings) -> list[Disc]:
    """The circles that maximise D(c, R) locally, near a start."""
    narrowest, widest = settings.radius_range
    reach = (widest + settings.shift_range) * start.radius
    top, left = (max(0, int(c - reach)) for c in (start.centre_y, start.centre_x))
    cut = image[top : int(start.centre_y + reach) + 2, left : int(start.centre_x + reach) + 2]
    factor = max(1, min(int(start.radius / settings.rim_radius), *cut.shape))
    cut, _ = bin_frame(cut, np.ones(cut.shape, bool), factor)
    x, y = (to_binned(c - edge, factor) for c, edge in ((start.centre_x, left), (start.centre_y, top)))
    guess = start.radius / factor
    row, col = np.indices(cut.shape)
    near = np.hypot(col - x, row - y) <= settings.shift_range * guess + 1
    largest = min(widest * guess, settings.largest * min(image.shape) / factor)
    step = max(0.5, guess / settings.rims_per_radius)
    radii = np.arange(max(2.5, narrowest * guess), largest + step, step)
    if min(cut.shape) < 3 or not len(radii) or not near.any():
        return []  # too few pixels for slopes
    stack = _slopes_along_rings(cut, radii, _ring_width(cut, near, settings), settings)
    stack[:, ~near] = -np.inf
    peaks = np.argwhere((stack == ndimage.maximum_filter(stack, size=(5, 5, 5))) & (stack > 0))
    inner_peaks = peaks[(peaks[:, 0] > 0) & (peaks[:, 0] < len(radii) - 1)]
    peaks = inner_peaks if len(inner_peaks) else peaks
    heights = stack[tuple(peaks.T)]
    peaks = peaks[np.argsort(-heights)][
        : np.count_nonzero(heights > settings.sharp_enough * heights.max(initial=0.0))
    ]
    found: list[Disc] = []
    for i, r, c in peaks:
        if len(found) == most:
            break
        centre_x, centre_y = c + _vertex(stack[i, r, :], c), r + _vertex(stack[i, :, c], r)
        radius = float(radii[i] + step * _vertex(stack[:, r, c], i))
        level = max(float(cut[np.hypot(col - centre_x, row - centre_y) < radius].mean()), 1e-12)
        disc = Disc(
            float(left + from_binned(centre_x, factor)),
            float(top + from_binned(centre_y, factor)),
            factor * radius,
            float(np.clip(3 * stack[i, r, c] / level, 0, 2)),
        )
        if not any(_alike(disc, other, settings.apart) for other in found):
            found.append(disc)
    return found


def _alike(a: Disc, b: Disc, apart: float) -> bool:
    """Whether two circles are one rim."""
    shift = np.hypot(a.centre_x - b.centre_x, a.centre_y - b.centre_y)
    return bool(shift < apart * b.radius and abs(a.radius - b.radius) < apart * b.radius)


def _ring_width(image: Array, near: NDArray[np.bool_], settings: DiscSettings) -> float:
    """σ (px) of the ring: wider where counting noise is a larger part of the intensity."""
    mask = np.outer([1, -2, 1], [1, -2, 1])  # no response to anything smooth
    noise = np.sqrt((ndimage.convolve(image, mask)[near] ** 2).mean() / (mask**2).sum())
    level = max(float(image[near].mean()), 1e-12)
    return float(np.clip(settings.rim_width[0] + noise / level, *settings.rim_width))


def _slopes_along_rings(image: Array, radii: Array, width: float, settings: DiscSettings) -> Array:
    """D(c, R) for every radius (px) and every pixel as the centre: (radius, rows, cols)."""
    rows, cols = image.shape
    # slopes of about 1 in single precision: twice as fast, and as sharp
    largest = max(float(np.abs(image).max()), 1e-300)
    slopes = np.gradient(ndimage.gaussian_filter(image / largest, settings.smoothing))
    slope_y, slope_x = (each.astype(np.float32) for each in slopes)
    reach = int(radii[-1] + 4 * width) + 1
    shape = tuple(fft.next_fast_len(size + reach) for size in image.shape)
    along_x, along_y = fft.rfft2(slope_x, shape), fft.rfft2(slope_y, shape)
    dy, dx = np.indices(shape, dtype=np.float32)
    dy[rows:] -= shape[0]
    dx[:, cols:] -= shape[1]
    distance = np.hypot(dx, dy)
    dx /= np.maximum(distance, 0.5)
    dy /= np.maximum(distance, 0.5)
    stack = np.empty((len(radii), rows, cols))
    for i, radius in enumerate(radii.tolist()):
        ring = np.exp(-((distance - radius) ** 2) / (2 * width**2))
        ring /= ring.sum()
        inward = along_x * np.conj(fft.rfft2(ring * dx)) + along_y * np.conj(fft.rfft2(ring * dy))
        stack[i] = -largest * fft.irfft2(inward, shape)[:rows, :cols]
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


def quick_disc(
    image: Array, valid: NDArray[np.bool_], settings: DiscSettings = DISC
) -> tuple[float, float, float]:
    """Centre (column, row) and radius of the bright part of a frame, in px: quick, and rough.

    Bright is what is above half of the brightest.  The answer is good to some 3.5 mrad and 20 %, which is
    enough for a network that aligns the rest.

    Parameters
    ----------
    image : (rows, cols) array
    valid : (rows, cols) bool array
    settings : DiscSettings

    Raises
    ------
    InputError
        All of the frame is masked.
    """
    _, mask, factor = _bright(image, valid, settings)
    rows, cols = np.nonzero(mask if mask.any() else ~mask)
    radius = settings.half_bright * np.sqrt(len(rows) / np.pi)
    return (
        float(from_binned(cols.mean(), factor)),
        float(from_binned(rows.mean(), factor)),
        float(max(radius, 2.0) * factor),
    )


def bright_edge(image: Array, valid: NDArray[np.bool_], settings: DiscSettings = DISC) -> float:
    """How much of its width the bright part lies along one edge of the frame; 0 where nothing stands out.

    Parameters
    ----------
    image : (rows, cols) array
    valid : (rows, cols) bool array
    settings : DiscSettings

    Raises
    ------
    InputError
        All of the frame is masked.
    """
    small, mask, _ = _bright(image, valid, settings)
    labels, count = ndimage.label(mask)
    if not count:
        return 0.0
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    rest = small[~mask]
    least = settings.stands_out
    if not rest.size or small[largest].mean() - rest.mean() < least * max(float(rest.std()), 1e-12):
        return 0.0
    along = max(int(edge.sum()) for edge in (largest[0], largest[-1], largest[:, 0], largest[:, -1]))
    return along / (2 * np.sqrt(largest.sum() / np.pi))


def _bright(
    image: Array, valid: NDArray[np.bool_], settings: DiscSettings
) -> tuple[Array, NDArray[np.bool_], int]:
    """The frame binned and smoothed, where it is brighter than half the brightest, and the bin factor."""
    small, good, factor = _binned(image, valid, settings.quick_size)
    small = ndimage.gaussian_filter(fill_masked(small, good).astype(float), 1.0)
    bright = np.percentile(small, settings.bright_percentile)
    return small, small > (bright + _border(small)) / 2, factor


def _binned(image: Array, valid: NDArray[np.bool_], size: int) -> tuple[Array, NDArray[np.bool_], int]:
    """The frame binned to about `size` pixels across, its valid pixels, and the bin factor."""
    if not valid.any():
        raise InputError("no direct disc found: every pixel of the frame is masked; leave some unmasked")
    factor = max(1, min(round(max(image.shape) / size), *image.shape))
    return *bin_frame(image, valid, factor), factor


def _border(image: Array) -> float:
    """The median of the pixels along the edge of a frame."""
    return float(np.median(np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])))
