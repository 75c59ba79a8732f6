"""What the residual of a fit says about noise, misfit and their correlation.

The variance of pixel i with model intensity μ_i is written

    v_i = a + b μ_i + s²,

a, b ≥ 0: noise of the camera and of counting, from differences of neighbouring residuals, in
which smooth misfit cancels; s²: what the residual has beyond it, the misfit of the model.  When
noise rules, 1/v are the weights of a maximum-likelihood fit of counts; when misfit rules, they
are uniform, as in the paper.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, optimize

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


def correlation(standardised: Array, mask: NDArray[np.bool_]) -> Array:
    """Autocorrelation of a standardised residual, cut off where it has faded.

    Parameters
    ----------
    standardised : (n,) array of unit variance
    mask : (rows, cols) bool array

    Returns
    -------
    (p, q) array in FFT order: ρ(Δ), 1 at zero, tapered to 0 at the distance where its radial
    mean first falls below 5 %, so that it stays a positive-definite function.
    """
    shape = tuple(fft.next_fast_len(2 * size) for size in mask.shape)
    image = np.zeros(mask.shape)
    image[mask] = standardised
    raw = fft.irfft2(np.abs(fft.rfft2(image, shape)) ** 2, shape)
    overlap = fft.irfft2(np.abs(fft.rfft2(mask.astype(float), shape)) ** 2, shape)
    rho = raw / np.maximum(overlap, 1)
    rho /= max(rho[0, 0], 1e-300)
    dy, dx = (np.minimum(np.arange(n), n - np.arange(n)) for n in shape)
    distance = np.hypot(dy[:, None], dx[None, :])
    shell = np.minimum(distance.round().astype(int), max(mask.shape))
    weight = np.bincount(shell.ravel(), overlap.ravel())
    radial = np.bincount(shell.ravel(), (rho * overlap).ravel()) / np.maximum(weight, 1e-300)
    faded = np.flatnonzero(radial < 0.05)
    reach = 2.0 * float(faded[0]) if len(faded) else float(max(mask.shape))
    x = np.clip(distance / reach, 0, 1)
    taper = np.where(x < 0.5, 1 - 6 * x**2 + 6 * x**3, 2 * (1 - x) ** 3)  # Parzen's window
    return rho * taper


def correlated_products(rows: Array, rho: Array, mask: NDArray[np.bool_]) -> Array:
    """Σ_ij u_p(i) ρ(i − j) u_q(j) for rows u (p, n) on the pixels of mask: a (p, p) array."""
    spectrum = fft.rfft2(rho)
    images = np.zeros((len(rows), *mask.shape))
    images[:, mask] = rows
    smooth = fft.irfft2(fft.rfft2(images, rho.shape) * spectrum, rho.shape)
    smooth = smooth[:, : mask.shape[0], : mask.shape[1]][:, mask]
    product = rows @ smooth.T
    return (product + product.T) / 2
