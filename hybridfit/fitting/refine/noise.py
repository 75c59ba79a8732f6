"""Noise: what the residual of a fit says about counting noise, misfit and their correlation.

The variance of pixel i with model intensity μ_i is written

    v_i = a + b μ_i + s²,

a, b ≥ 0 are the noise of the camera and of counting.  They come from differences of neighbouring
residuals, in which smooth misfit cancels.  s² is the misfit of the model: what the residual has beyond
noise.  Where noise dominates, the weights 1/v are those of a maximum-likelihood fit of counts; where
misfit dominates, they are uniform, as in Xu & LeBeau (2018).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, optimize

from hybridfit.fitting.refine.settings import REFINE, RefineSettings

Array = NDArray[np.float64]
BINS = 12


class Noise(NamedTuple):
    """Variance a + b μ + s² (frame units squared)."""

    constant: float
    per_intensity: float
    misfit: float

    def variance(self, model: Array) -> Array:
        """Noise and misfit at model intensities."""
        return self.counting(model) + self.misfit

    def on_pixels(self, ratio: float) -> Noise:
        """The noise of pixels that are the mean of `ratio` times as many."""
        return Noise(self.constant / ratio, self.per_intensity / ratio, self.misfit)

    def counting(self, model: Array) -> Array:
        """Noise alone."""
        return self.constant + self.per_intensity * np.maximum(model, 0)


def estimate_noise(residual: Array, model: Array, mask: NDArray[np.bool_]) -> Noise:
    """Noise and misfit from residual and model, both (n,) on the pixels of mask (rows, cols)."""
    r, m = np.zeros(mask.shape), np.zeros(mask.shape)
    r[mask], m[mask] = residual, model
    squares, means = [], []
    for a, b in (
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:, :], np.s_[:-1, :]),
    ):
        both = mask[a] & mask[b]
        squares.append((r[a] - r[b])[both] ** 2 / 2)
        means.append((m[a] + m[b])[both] / 2)
    square, mean = np.concatenate(squares), np.maximum(np.concatenate(means), 0)
    total = float((residual**2).mean())
    order = np.argsort(mean)
    groups = np.array_split(order, BINS)
    y = np.array([square[g].mean() for g in groups])
    x = np.array([mean[g].mean() for g in groups])
    scale_x, scale_y = max(float(x.max()), 1e-300), max(float(y.max()), 1e-300)
    weight = 1 / np.maximum(y / scale_y, 1e-3)
    design = np.stack([np.ones(BINS), x / scale_x], axis=1)
    (a, b), _ = optimize.nnls(design * weight[:, None], y / scale_y * weight)
    constant, per_intensity = a * scale_y, b * scale_y / scale_x
    counting = constant + per_intensity * float(np.maximum(model, 0).mean())
    floor = 1e-12 * float((model**2).mean()) + 1e-300
    return Noise(constant + floor, per_intensity, max(total - counting, 0.0))


def electrons_in(image: Array, valid: NDArray[np.bool_]) -> float:
    """Least number of electrons in a frame: all difference between neighbouring pixels is taken for noise.

    Of N electrons in n pixels, with a variance in proportion to the intensity, N = n · mean²/variance.
    """
    squares, count = 0.0, 0
    for a, b in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:, :], np.s_[:-1, :])):
        both = valid[a] & valid[b]
        squares += float(((image[a] - image[b])[both] ** 2).sum()) / 2
        count += int(both.sum())
    mean = float(image[valid].mean())
    return int(valid.sum()) * mean**2 * count / max(squares, 1e-300)


def effective_pixels(
    standardised: Array, mask: NDArray[np.bool_], misfit_share: float, settings: RefineSettings = REFINE
) -> float:
    """Number of independent pixels that a residual amounts to: n / Σ_Δ ρ(Δ).

    Noise is independent from pixel to pixel, misfit is smooth.  The autocorrelation ρ is summed
    over all shifts Δ with Parzen's window.  The window ends at `settings.taper` times the distance at
    which the radial mean of ρ has fallen to `settings.faded` of the misfit's share, or to its own noise.

    Parameters
    ----------
    standardised : (n,) array
        Residual over the square root of its variance.
    mask : (rows, cols) bool array
        The n pixels.
    misfit_share : float
        Share of the misfit in the variance of the residual, 0 … 1.
    settings : RefineSettings
    """
    n = len(standardised)
    shape = tuple(fft.next_fast_len(2 * size) for size in mask.shape)
    image = np.zeros(mask.shape)
    image[mask] = standardised
    raw = fft.irfft2(np.abs(fft.rfft2(image, shape)) ** 2, shape)
    overlap = fft.irfft2(np.abs(fft.rfft2(mask.astype(float), shape)) ** 2, shape)
    rho = raw / np.maximum(overlap, 1) / max(float((standardised**2).mean()), 1e-300)
    dy, dx = (np.minimum(np.arange(size), size - np.arange(size)) for size in shape)
    distance = np.hypot(dy[:, None], dx[None, :])
    shell = np.minimum(distance.round().astype(int), max(mask.shape))
    pairs = np.bincount(shell.ravel(), np.maximum(overlap, 0).ravel())
    radial = np.bincount(shell.ravel(), (rho * overlap).ravel()) / np.maximum(pairs, 1)
    threshold = np.maximum(settings.faded * misfit_share, 2 / np.sqrt(np.maximum(pairs / 2, 1)))
    faded = np.flatnonzero(radial < threshold)
    reach = settings.taper * max(float(faded[0]), 1.0) if len(faded) else float(max(mask.shape))
    x = np.clip(distance / reach, 0, 1)
    taper = np.where(x < 0.5, 1 - 6 * x**2 + 6 * x**3, 2 * (1 - x) ** 3)
    return float(np.clip(n / max((rho * taper).sum(), 1.0), 1.0, n))
