"""Weights of a Gaussian blur, with their derivative; `pattern.raster` applies them.

The weights are the Gaussian integrated over each pixel,

    w_i(σ) = ½ [erf((i + ½)/√2σ) − erf((i − ½)/√2σ)],

so that they stay right (and differentiable) for σ well below a pixel.
"""

from __future__ import annotations

from math import erf

import numpy as np

from hybridfit.pattern.jit import kernel

REACH = 4.0  # in σ


@kernel
def gaussian_weights(sigma):
    """(2, 2n + 1) array: w_i and ∂w_i/∂σ for i = −n … n, σ in px."""
    n = int(np.ceil(REACH * sigma)) + 1
    out = np.zeros((2, 2 * n + 1))
    for i in range(-n, n + 1):
        for side in (-0.5, 0.5):
            x = (i + side) / (np.sqrt(2.0) * sigma)
            sign = 1.0 if side > 0 else -1.0
            out[0, i + n] += sign * erf(x) / 2
            out[1, i + n] -= sign * x * np.exp(-x * x) / (np.sqrt(np.pi) * sigma)
    return out


@kernel
def _kernel_variance(sigma):
    """Σ i² w_i, and its derivative."""
    weights = gaussian_weights(sigma)
    n = weights.shape[1] // 2
    value, slope = 0.0, 0.0
    for i in range(-n, n + 1):
        value += i * i * weights[0, i + n]
        slope += i * i * weights[1, i + n]
    return value, slope


@kernel
def sigma_of_variance(variance, narrowest):
    """σ (px) of the pixel-integrated Gaussian whose weights have this variance (px²), and dσ/dvariance.

    Below the variance of the kernel of σ = narrowest, that kernel, and no slope.
    """
    sigma = np.sqrt(max(variance - 1 / 12, 0.05))
    for _ in range(50):
        value, slope = _kernel_variance(sigma)
        step = (value - variance) / slope
        sigma = max(sigma - step, narrowest)
        if abs(step) < 1e-12 or (sigma == narrowest and step > 0):
            break
    if sigma == narrowest:
        return sigma, 0.0
    return sigma, 1 / _kernel_variance(sigma)[1]


@kernel
def moved_weights(sigma, shift):
    """(3, 2n + 1) array: w_i of a Gaussian that is moved, and its derivatives along the shift and σ.

    What was at fine pixel j comes to j + shift, so w_i = w(i + shift) for i = −n … n; σ and shift in px.
    """
    n = int(np.ceil(REACH * sigma + abs(shift))) + 1
    out = np.zeros((3, 2 * n + 1))
    for i in range(-n, n + 1):
        for side in (-0.5, 0.5):
            x = (i + shift + side) / (np.sqrt(2.0) * sigma)
            sign = 1.0 if side > 0 else -1.0
            density = np.exp(-x * x) / np.sqrt(np.pi)
            out[0, i + n] += sign * erf(x) / 2
            out[1, i + n] += sign * density / (np.sqrt(2.0) * sigma)
            out[2, i + n] -= sign * x * density / sigma
    return out
