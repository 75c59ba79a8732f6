"""From a pattern at points to what pixels record of it: blur, and the mean over the area of a pixel.

A pixel is composed at s × s points, the centres of the fine pixels that it is divided into.  Per axis,

    pixel_c = Σ_i w̄_i · fine_{sc + i},      w̄ = w ∗ (1/s, …, 1/s),

w being the weights of the blur on fine pixels: blur and mean are one convolution of stride s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from hybridfit.pattern.blur import gaussian_weights, moved_weights
from hybridfit.pattern.jit import kernel
from hybridfit.pattern.settings import MODEL

Array = NDArray[np.float64]

NINE, THREE = 9, 3


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


@kernel
def add_nine(total, rows, at, low, w):
    """total += Σ_j w[j] · rows[at[j], low[j] : low[j] + total.size], j = 0 … 8.

    Written out: a loop over few weights takes longer than what it adds up.
    """
    a, b, c = rows[at[0], low[0] :], rows[at[1], low[1] :], rows[at[2], low[2] :]
    d, e, f = rows[at[3], low[3] :], rows[at[4], low[4] :], rows[at[5], low[5] :]
    g, h, k = rows[at[6], low[6] :], rows[at[7], low[7] :], rows[at[8], low[8] :]
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
    for i in range(total.size):
        one = w0 * a[i] + w1 * b[i] + w2 * c[i]
        two = w3 * d[i] + w4 * e[i] + w5 * f[i]
        total[i] += one + two + w6 * g[i] + w7 * h[i] + w8 * k[i]


@kernel
def add_three(total, rows, at, low, w):
    """The same of j = 0 … 2."""
    a, b, c = rows[at[0], low[0] :], rows[at[1], low[1] :], rows[at[2], low[2] :]
    w0, w1, w2 = w[0], w[1], w[2]
    for i in range(total.size):
        total[i] += w0 * a[i] + w1 * b[i] + w2 * c[i]


@kernel
def add_rows(total, rows, at, low, w):
    """The same of as many, a multiple of three: nine at a time, then three."""
    start = 0
    while start < w.size:
        if w.size - start >= NINE:
            add_nine(total, rows, at[start:], low[start:], w[start:])
            start += NINE
        else:
            add_three(total, rows, at[start:], low[start:], w[start:])
            start += THREE


@kernel
def whole_threes(weights):
    """Weights as float32, filled up with zeros to a multiple of three."""
    out = np.zeros(-(-weights.size // THREE) * THREE, np.float32)
    out[: weights.size] = weights
    return out


@kernel
def columns_of(image, weights, s, first, out):
    """out[r, first : first + cols] = Σ_j weights[j] · image[s·r + j], images padded for all weights."""
    at, low = np.empty(weights.size, np.int64), np.zeros(weights.size, np.int64)
    cols = image.shape[1]
    for r in range(out.shape[0]):
        out[r] = 0
        for j in range(weights.size):
            at[j] = s * r + j
        add_rows(out[r, first : first + cols], image, at, low, weights)


@kernel
def rows_of(image, weights, s, pixels, width, out):
    """out[p] += Σ_j weights[j] · image[r, s·c + j] at flat pixels (r, c) of rows of this width."""
    rows, wide = image.shape[0], image.shape[1] // s
    if s == 1:
        apart = image
    else:  # fine pixels that are s apart lie side by side, phase after phase
        apart = np.empty((s * rows, wide), np.float32)
        for r in range(rows):
            for j in range(s):
                for c in range(wide):
                    apart[j * rows + r, c] = image[r, s * c + j]
    at, low = np.empty(weights.size, np.int64), np.empty(weights.size, np.int64)
    total = np.empty((rows, width), np.float32)
    for r in range(rows):
        total[r] = 0
        for j in range(weights.size):
            at[j], low[j] = (j % s) * rows + r, j // s
        add_rows(total[r], apart, at, low, weights)
    flat = total.ravel()
    for p in range(pixels.size):
        out[p] += flat[pixels[p]]


@kernel
def padded(points, shape, s, along_rows, along_columns):
    """Room for an image with its rim of zeros, where its points are in it, and room for its reduced columns.

    along_rows, along_columns : (k, ·) arrays
        Weights; a rim is as wide as they reach.
    """
    wide = -(-along_rows.shape[1] // THREE) * THREE
    high = -(-along_columns.shape[1] // THREE) * THREE
    above = (along_columns.shape[1] - s) // 2
    image = np.zeros((shape[0] + high, shape[1]), np.float32)
    half = np.zeros((shape[0] // s, -(-(shape[1] + wide) // s) * s), np.float32)
    return image, points + above * shape[1], half


@kernel
def record_moved(images, points, shape, s, along_rows, along_columns, pixels, out):
    """What pixels record of a pattern that a shift has moved, with all its derivatives.

    Parameters
    ----------
    images : (4, n) float32
        P and its derivatives along t, τx, τy at the points.
    points : (n,) int64
        Where they are on the fine grid of this shape.
    s : int
        Fine pixels in a pixel.
    along_rows, along_columns : (3, ·) arrays
        Weights with their derivatives along the shift and the blur, for both axes.
    pixels : (m,) int64
    out : (7, m) float64
        P, and its derivatives along t, τx, τy, both shifts (col, row), and the blur (fine pixels).
    """
    image, at, half = padded(points, shape, s, along_rows, along_columns)
    flat, left, width = image.ravel(), (along_rows.shape[1] - s) // 2, shape[1] // s
    out[:] = 0
    for i in range(4):
        for p in range(at.size):
            flat[at[p]] = images[i, p]
        columns_of(image, whole_threes(along_columns[0]), s, left, half)
        rows_of(half, whole_threes(along_rows[0]), s, pixels, width, out[i])
        if i == 0:
            rows_of(half, whole_threes(along_rows[1]), s, pixels, width, out[4])
            rows_of(half, whole_threes(along_rows[2]), s, pixels, width, out[6])
            for which, row in ((1, 5), (2, 6)):
                columns_of(image, whole_threes(along_columns[which]), s, left, half)
                rows_of(half, whole_threes(along_rows[0]), s, pixels, width, out[row])


@kernel
def record_rows(images, points, shape, s, along_rows, along_columns, pixels, out):
    """out (k, m) += what pixels record of images (k, n) at the points, by weights (1, ·) for both axes."""
    image, at, half = padded(points, shape, s, along_rows, along_columns)
    flat, left, width = image.ravel(), (along_rows.shape[1] - s) // 2, shape[1] // s
    for i in range(images.shape[0]):
        for p in range(at.size):
            flat[at[p]] = images[i, p]
        columns_of(image, whole_threes(along_columns[0]), s, left, half)
        rows_of(half, whole_threes(along_rows[0]), s, pixels, width, out[i])


def divisions(pixel: float, fine_pixel: float) -> int:
    """Into how many fine pixels a pixel is divided along a side; widths in mrad."""
    return min(int(np.ceil(pixel / fine_pixel)), MODEL.oversampling_most)


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
    points : (n,) int array
        Where the points are on the fine grid, flat; its shape is `shape`.
    pixels : (pixels,) int array
        Where the compared pixels are, flat, on the grid of pixels.
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
        distance = np.hypot(row[:, None] - centre[1], col - centre[0])
        near = distance <= radius + padding
        if (mask & (distance > radius)).any():  # pixels elsewhere have a padding of their own
            near |= distance_transform_edt(~mask) * pixel <= padding
        near |= mask
        rows, cols = (_extent(np.any(mask, axis=axis), pad) for axis in (1, 0))
        mask, near, row, col = mask[rows, cols], near[rows, cols], row[rows], col[cols]
        at = np.nonzero(mask)
        self.pixel_row, self.pixel_col = row[at[0]], col[at[1]]
        self.pixels = np.flatnonzero(mask)
        fine = np.repeat(np.repeat(near, s, axis=0), s, axis=1)
        self.shape = fine.shape
        self.points = np.flatnonzero(fine)
        within = pixel * ((np.arange(s) + 0.5) / s - 0.5)
        fine_row, fine_col = ((v[:, None] + within).ravel() for v in (row, col))
        at = np.nonzero(fine)
        self.row, self.col = fine_row[at[0]], fine_col[at[1]]

    def image(self, values: Array) -> Array:
        """Values at the points (n,) on the fine grid, 0 elsewhere."""
        image = np.zeros(self.shape)
        image.ravel()[self.points] = values
        return image

    def record(self, values: Array, sigma: float) -> Array:
        """The compared pixels of values at the points (n,), blurred by a Gaussian of σ fine pixels."""
        w = mean_weights(gaussian_weights(sigma), self.oversampling)
        return self._reduced(self.image(values), w[0], w[0])

    def undivided(self, values: Array) -> Array:
        """The compared pixels of values at the points (n,) of a raster whose pixels are not divided."""
        return np.asarray(self.image(values).ravel()[self.pixels])

    def record_slope(self, values: Array, sigma: float) -> Array:
        """∂ record(values, σ)/∂σ."""
        w, image = mean_weights(gaussian_weights(sigma), self.oversampling), self.image(values)
        return self._reduced(image, w[1], w[0]) + self._reduced(image, w[0], w[1])

    def record_moved(self, images: NDArray[np.float32], sigma: float, shift: tuple[float, float]) -> Array:
        """(7, pixels): P, ∂P/∂t, ∂P/∂τx, ∂P/∂τy, and along shift (col, row) and blur, in fine pixels.

        images are (4, n), the first four of these at the points; shift moves the pattern.
        """
        s = self.oversampling
        along_rows, along_columns = (mean_weights(moved_weights(sigma, d), s) for d in shift)
        out = np.empty((7, self.pixels.size))
        record_moved(images, self.points, self.shape, s, along_rows, along_columns, self.pixels, out)
        return out

    def record_rows(self, images: NDArray[np.float32], sigma: float, shift: tuple[float, float]) -> Array:
        """(k, pixels): what pixels record of images (k, n) at the points; shift (col, row) moves them."""
        s = self.oversampling
        along_rows, along_columns = (mean_weights(moved_weights(sigma, d), s)[:1] for d in shift)
        out = np.zeros((len(images), self.pixels.size))
        record_rows(images, self.points, self.shape, s, along_rows, along_columns, self.pixels, out)
        return out

    def _reduced(self, image: Array, along_columns: Array, along_rows: Array) -> Array:
        s = self.oversampling
        return reduce_rows(reduce_columns(image, along_columns, s), along_rows, s).ravel()[self.pixels]


def _extent(any_in: NDArray[np.bool_], pad: int) -> slice:
    """From the first to the last that is set, and pad on either side."""
    at = np.flatnonzero(any_in)
    return slice(max(0, at[0] - pad), at[-1] + pad + 1) if len(at) else slice(0, 1)
