"""From a pattern at points to what pixels record of it: blur, and the mean over the area of a pixel.

A pixel is composed at s × s points, the centres of the fine pixels that it is divided into.  Per axis,

    pixel_c = Σ_i w̄_i · fine_{sc + i},      w̄ = w ∗ (1/s, …, 1/s),

w being the weights of the blur on fine pixels: blur and mean are one convolution of stride s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.blur import gaussian_weights
from hybridfit.pattern.jit import kernel

Array = NDArray[np.float64]


@kernel
def mean_weights(weights, s):
    """(…, n + s − 1) array: weights (…, n) convolved with the mean over s fine pixels."""
    rows, n = weights.shape
    out = np.zeros((rows, n + s - 1))
    for r in range(rows):
        for i in range(n):
            for j in range(s):
                out[r, i + j] += weights[r, i] / s
    return out


@kernel
def reduce_columns(image, weights, s):
    """Convolve along the first axis, at every s-th fine pixel; what is beyond the edge counts as zero."""
    rows, cols = image.shape[0] // s, image.shape[1]
    n = (weights.size - s) // 2  # of the fine pixels before the first of a block
    out = np.zeros((rows, cols))
    for r in range(rows):
        for i in range(max(0, n - s * r), min(weights.size, image.shape[0] + n - s * r)):
            w = weights[i]
            for c in range(cols):
                out[r, c] += w * image[s * r + i - n, c]
    return out


@kernel
def reduce_rows(image, weights, s):
    """Convolve along the last axis, at every s-th fine pixel; what is beyond the edge counts as zero."""
    rows, cols = image.shape[0], image.shape[1] // s
    n = (weights.size - s) // 2
    out = np.zeros((rows, cols))
    for r in range(rows):
        for i in range(weights.size):
            w, at = weights[i], i - n
            low, high = max(0, -(at // s)), min(cols, (image.shape[1] - 1 - at) // s + 1)
            for c in range(low, high):
                out[r, c] += w * image[r, s * c + at]
    return out


class Raster:
    """The points that the compared pixels need, and the way from values there to the pixels.

    Parameters
    ----------
    mask : (rows, cols) bool array
        Pixels that are compared.
    centre : (col, row) of the pattern, in pixels of the frame
    radius, padding : float, px of the frame
        The points are those of the pixels in mask, and of pixels in this disc and its padding.  What
        the frame does not show is composed as well, where it is within the padding of the mask: the
        blur brings it in.
    origin : (col, row) in the frame of the centre of mask[0, 0]
    pixel : width of a pixel of the mask in pixels of the frame
    oversampling : int, s

    Attributes
    ----------
    col, row : (n,) arrays, px of the frame
        Of the points.
    pixel_col, pixel_row : (pixels,) arrays, px of the frame
        Centres of the compared pixels.
    """

    def __init__(
        self,
        mask: NDArray[np.bool_],
        centre: tuple[float, float],
        radius: float,
        padding: float,
        *,
        origin: tuple[float, float] = (0.0, 0.0),
        pixel: float = 1.0,
        oversampling: int = 1,
    ) -> None:
        s, pad = oversampling, int(np.ceil(padding / pixel))
        self.oversampling = s
        mask = np.pad(mask, pad)
        row, col = (origin[i] + pixel * (np.arange(mask.shape[1 - i]) - pad) for i in (1, 0))
        near = np.hypot(row[:, None] - centre[1], col - centre[0]) <= radius + padding
        near |= mask
        rows, cols = (_extent(np.any(mask, axis=axis), pad) for axis in (1, 0))
        mask, near, row, col = mask[rows, cols], near[rows, cols], row[rows], col[cols]
        at = np.nonzero(mask)
        self.pixel_row, self.pixel_col = row[at[0]], col[at[1]]
        self._pixels = np.flatnonzero(mask)
        fine = np.repeat(np.repeat(near, s, axis=0), s, axis=1)
        self._shape = fine.shape
        self._points = np.flatnonzero(fine)
        within = pixel * ((np.arange(s) + 0.5) / s - 0.5)
        fine_row, fine_col = ((v[:, None] + within).ravel() for v in (row, col))
        at = np.nonzero(fine)
        self.row, self.col = fine_row[at[0]], fine_col[at[1]]

    def image(self, values: Array) -> Array:
        """Values at the points (n,) on the fine grid, 0 elsewhere."""
        image = np.zeros(self._shape)
        image.ravel()[self._points] = values
        return image

    def record(self, values: Array, sigma: float) -> Array:
        """The compared pixels of values at the points (n,), blurred by a Gaussian of σ fine pixels."""
        w = mean_weights(gaussian_weights(sigma), self.oversampling)
        return self._reduced(self.image(values), w[0], w[0])

    def record_slope(self, values: Array, sigma: float) -> Array:
        """∂ record(values, σ)/∂σ."""
        w, image = mean_weights(gaussian_weights(sigma), self.oversampling), self.image(values)
        return self._reduced(image, w[1], w[0]) + self._reduced(image, w[0], w[1])

    def _reduced(self, image: Array, along_columns: Array, along_rows: Array) -> Array:
        s = self.oversampling
        return reduce_rows(reduce_columns(image, along_columns, s), along_rows, s).ravel()[self._pixels]


def _extent(any_in: NDArray[np.bool_], pad: int) -> slice:
    """From the first to the last that is set, and pad on either side."""
    at = np.flatnonzero(any_in)
    return slice(max(0, at[0] - pad), at[-1] + pad + 1) if len(at) else slice(0, 1)
