"""Frames in fewer, wider pixels: enough of them for the fit, and no more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]


def bin_frame(image: Array, valid: NDArray[np.bool_], factor: int) -> tuple[Array, NDArray[np.bool_]]:
    """Mean of the valid pixels of factor × factor blocks.

    Parameters
    ----------
    image : (rows, cols) array
    valid : (rows, cols) bool array
    factor : int
        Rows and columns left over at the end are dropped.

    Returns
    -------
    image, valid : (rows // factor, cols // factor) arrays
        A block counts as valid when at least half of its pixels are.
    """
    if factor == 1:
        return image, valid
    rows, cols = (size // factor for size in image.shape)
    cut = (slice(rows * factor), slice(cols * factor))
    blocks = (rows, factor, cols, factor)
    count = valid[cut].reshape(blocks).sum(axis=(1, 3))
    total = np.where(valid[cut], image[cut], 0.0).reshape(blocks).sum(axis=(1, 3))
    return total / np.maximum(count, 1), count >= factor * factor / 2


def fill_masked(image: Array, valid: NDArray[np.bool_]) -> Array:
    """The image (rows, cols) with each pixel that is not valid replaced by the nearest valid one."""
    if valid.all() or not valid.any():
        return image
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return image[tuple(nearest)]
