"""Noise that neighbouring pixels share: light that spreads in a scintillator, charge that two pixels count.

Noise z of variance v that a point spread has made has the autocorrelation ρ(Δ), which is none a few pixels
away; misfit is smooth, so that half the mean square of differences grows with the distance d = |Δ|,

    D(Δ) = ½ ⟨(z_i − z_{i+Δ})²⟩ = v (1 − ρ(d)) + κ d.

v and κ follow from distances beyond any ρ, ρ from the shorter ones.  Misfit about rims of discs is as short
as ρ, but noise is the same everywhere, so the half of the pixels is asked where the model varies least.
Where misfit hides v, where ρ is no more than chance or has not faded within three pixels, noise is taken to
be independent from pixel to pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from hybridfit.fitting.refine.settings import REFINE, RefineSettings
from hybridfit.pattern.jit import kernel

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Distances = Sequence[Sequence[tuple[int, int]]]

# shifts (rows, cols) of one distance, up to their sign
NEAR = (
    ((0, 1), (1, 0)),
    ((1, 1), (1, -1)),
    ((0, 2), (2, 0)),
    ((1, 2), (2, 1), (1, -2), (2, -1)),
    ((2, 2), (2, -2)),
    ((0, 3), (3, 0)),
)
FAR = (((0, 4), (4, 0)), ((3, 3), (3, -3)), ((0, 5), (5, 0)), ((4, 4), (4, -4)), ((0, 6), (6, 0)))


def differences(image: Array, mask: Mask, shift: tuple[int, int]) -> tuple[Array, tuple[slice, ...], Mask]:
    """Half the squares of the differences of pixels a shift apart; the first of them; which pairs count."""
    dy, dx = shift
    rows, cols = image.shape
    here = np.s_[dy:rows, max(dx, 0) : cols + min(dx, 0)]
    there = np.s_[: rows - dy, max(-dx, 0) : cols + min(-dx, 0)]
    return (image[here] - image[there]) ** 2 / 2, here, mask[here] & mask[there]


@kernel
def add_differences(a, b, in_a, in_b, out):
    """out (2,) += Σ ½ (a − b)² where both count, and how many do."""
    total, pairs = 0.0, 0.0
    for i in range(a.size):
        both = in_a[i] * in_b[i]
        total += both * (a[i] - b[i]) ** 2
        pairs += both
    out[0] += total / 2
    out[1] += pairs


@kernel
def sums_of_differences(image, mask, shifts):
    """(n, 2) array: Σ ½ (z_i − z_j)² over pairs of pixels of mask a shift (n, 2) apart, and how many."""
    rows, cols = image.shape
    out, inside = np.zeros((shifts.shape[0], 2)), np.zeros((rows, cols))
    for r in range(rows):
        for c in range(cols):
            inside[r, c] = 1.0 if mask[r, c] else 0.0
    for s in range(shifts.shape[0]):
        dy, dx = shifts[s, 0], shifts[s, 1]
        first, last = max(0, -dx), min(cols, cols - dx)
        for r in range(max(0, -dy), min(rows, rows - dy)):
            a, b = image[r, first:last], image[r + dy, first + dx : last + dx]
            in_a, in_b = inside[r, first:last], inside[r + dy, first + dx : last + dx]
            add_differences(a, b, in_a, in_b, out[s])
    return out


def mean_differences(image: Array, mask: Mask, distances: Distances) -> tuple[Array, Array]:
    """D at each of the distances, and from how many pairs (at least 1); image and mask are (rows, cols)."""
    each = sums_of_differences(image, mask, np.array([shift for shifts in distances for shift in shifts]))
    ends = np.cumsum([0, *(len(shifts) for shifts in distances)])[:-1]
    total, pairs = np.add.reduceat(each, ends).T
    pairs = np.maximum(pairs, 1)
    return total / pairs, pairs


def shared(standardised: Array, mask: Mask, settings: RefineSettings = REFINE) -> bool:
    """Whether neighbours are more alike than pixels farther apart, at first sight.

    standardised is a residual over the root of its noise (rows, cols), 0 outside mask.
    """
    (near, far), pairs = mean_differences(standardised, mask, (NEAR[0], FAR[0]))
    return bool(near < (1 - _least(pairs[0], settings)) * far)


def even_pixels(model: Array, mask: Mask) -> Mask:
    """The half of the pixels of mask where a model (rows, cols), in units of its noise, varies least."""
    slope = sum(each**2 for each in np.gradient(np.where(mask, model, 0.0)))
    return mask & (slope <= np.median(slope[mask]))


def correlation_of(standardised: Array, mask: Mask, settings: RefineSettings = REFINE) -> tuple[Array, float]:
    """Correlation of noise at the distances of NEAR, and v; an empty array and 0 where there is none.

    Parameters
    ----------
    standardised : (rows, cols) array
        Residual over the root of its noise, or in proportion to that; 0 outside mask.
    mask : (rows, cols) bool array
    settings : RefineSettings
    """
    nothing = np.empty(0), 0.0
    each, pairs = mean_differences(standardised, mask, (*NEAR, *FAR))
    d = np.array([np.hypot(*shifts[0]) for shifts in (*NEAR, *FAR)])
    near, far = each[: len(NEAR)], each[len(NEAR) :]
    slope, v = np.polyfit(d[len(NEAR) :], far, 1)
    # half the square of a Gaussian difference has a variance of 2 v²; growth that is no more is chance
    chance = np.sqrt(2 / pairs[len(NEAR)]) * far.mean() / (d[len(NEAR) :].std() * np.sqrt(len(FAR)))
    if slope < settings.growth * chance:
        slope, v = 0.0, float(far.mean())
    if v <= 0 or slope > settings.hidden * v:
        return nothing
    rho = 1 - (near - slope * d[: len(NEAR)]) / v
    fades = rho[-2:].mean() <= settings.compact * rho[0] + 1 / np.sqrt(pairs[0])
    return (rho, float(v)) if fades and rho[0] >= _least(pairs[0], settings) else nothing


def _least(pairs: float, settings: RefineSettings) -> float:
    """The correlation that is more than chance in so many pairs."""
    return max(settings.correlated, settings.correlated_errors / float(np.sqrt(pairs)))


def kernel_of(rho: Sequence[float], shape: tuple[int, ...]) -> Array:
    """ρ on a periodic grid (rows, cols), with no frequency that has less than no power."""
    out = np.zeros(shape)
    out[0, 0] = 1
    for value, shifts in zip(rho, NEAR, strict=False):
        for dy, dx in shifts:
            out[dy, dx] = out[-dy, -dx] = value
    return out


def sum_of(rho: Sequence[float]) -> float:
    """Σ_Δ ρ(Δ): how many times more than independent noise its slow variation has."""
    return 1 + 2 * sum(value * len(shifts) for value, shifts in zip(rho, NEAR, strict=False))


def covariance_of(rows: Array, mask: Mask, rho: Sequence[float]) -> Array:
    """(p, p) covariance of sums rows (p, n) · z over noise z of variance 1 and correlation ρ."""
    if not len(rho):
        return np.asarray(rows @ rows.T)
    shape = tuple(fft.next_fast_len(size + 2, real=True) for size in mask.shape)
    images = np.zeros((len(rows), *shape))
    images[:, : mask.shape[0], : mask.shape[1]][:, mask] = rows
    power = np.maximum(fft.rfft2(kernel_of(rho, shape)).real, 0)
    spread = fft.irfft2(fft.rfft2(images) * power, shape)[:, : mask.shape[0], : mask.shape[1]]
    return np.asarray(rows @ spread[:, mask].T)


def tails_of(
    column: Array, mask: Mask, pixel: float, settings: RefineSettings = REFINE
) -> Mapping[str, Array]:
    """What an image (n,) gains where a share of the light goes farther than its blur: a slope (n,) by name.

    The tail of a point spread is a sum of Gaussians of σ `settings.tails` (px of the frame); a slope is the
    image spread by one of them less the image.  pixel is the width of a pixel of mask in those of the frame.
    """
    image, out = np.zeros(mask.shape), {}
    image[mask] = column
    for width in settings.tails:
        sigma = width / pixel
        light = ndimage.gaussian_filter(image, sigma, mode="constant", truncate=3.0)
        seen = ndimage.gaussian_filter(mask.astype(float), sigma, mode="constant", truncate=3.0)
        out[f"tail of {width:g} px"] = light[mask] / seen[mask] - column
    return out
