"""Gaussian blur of images, separable, with its derivative.

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
def convolve_rows(image, weights):
    """Convolve along the last axis; pixels beyond the edge count as zero."""
    rows, cols = image.shape
    n = weights.size // 2
    out = np.zeros((rows, cols))
    for r in range(rows):
        for i in range(-n, n + 1):
            w = weights[i + n]
            low, high = max(0, i), min(cols, cols + i)
            for c in range(low, high):
                out[r, c] += w * image[r, c - i]
    return out


@kernel
def convolve_columns(image, weights):
    """Convolve along the first axis; pixels beyond the edge count as zero."""
    rows, cols = image.shape
    n = weights.size // 2
    out = np.zeros((rows, cols))
    for i in range(-n, n + 1):
        w = weights[i + n]
        for r in range(max(0, i), min(rows, rows + i)):
            for c in range(cols):
                out[r, c] += w * image[r - i, c]
    return out


@kernel
def blur(image, sigma):
    """Convolve an image with a Gaussian of σ px."""
    w = gaussian_weights(sigma)[0]
    return convolve_columns(convolve_rows(image, w), w)


@kernel
def blur_slope(image, sigma):
    """∂ blur(image, σ)/∂σ."""
    w = gaussian_weights(sigma)
    along_x = convolve_columns(convolve_rows(image, w[1]), w[0])
    return along_x + convolve_columns(convolve_rows(image, w[0]), w[1])
