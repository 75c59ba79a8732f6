"""Frames in fewer, wider pixels, and what that does to centres and scales.

A block of f × f pixels has its centre at (f − 1)/2 of the first pixel's, so with both grids counting
from 0 at the centre of a pixel

    x_binned = (x − (f − 1)/2) / f,        x = f · x_binned + (f − 1)/2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridfit.errors import InputError

Array = NDArray[np.float64]


def bin_frame(image: Array, valid: NDArray[np.bool_], factor: int) -> tuple[Array, NDArray[np.bool_]]:
    """Mean of the valid pixels of factor × factor blocks, 0 where a block has none.

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

    Raises
    ------
    InputError
        No block of that size fits into the frame.
    """
    if factor == 1:
        return image, valid
    if not 1 < factor <= min(image.shape):
        rows, cols = image.shape
        raise InputError(
            f"pixels {factor} times as wide do not fit into {cols} × {rows} px; check the semi-angle (mrad) "
            "and the scale (px/mrad)"
        )
    rows, cols = (size // factor for size in image.shape)
    cut = (slice(rows * factor), slice(cols * factor))
    blocks = (rows, factor, cols, factor)
    count = valid[cut].reshape(blocks).sum(axis=(1, 3))
    total = np.where(valid[cut], image[cut], 0.0).reshape(blocks).sum(axis=(1, 3))
    return total / np.maximum(count, 1), count >= factor * factor / 2


def to_binned(position: Any, factor: int) -> Any:
    """A position (px, float or array) in pixels that are `factor` times as wide."""
    return (position - (factor - 1) / 2) / factor


def from_binned(position: Any, factor: int) -> Any:
    """A position (px, float or array) in the original pixels, from one in pixels `factor` times as wide."""
    return factor * position + (factor - 1) / 2


def binned_cameras(cameras: Array, factor: int) -> Array:
    """Cameras (c, 3), centre_x, centre_y (px) and scale (px/mrad), in pixels `factor` times as wide."""
    out = cameras.astype(float)
    out[:, :2] = to_binned(out[:, :2], factor)
    out[:, 2] /= factor
    return out


def fill_masked(image: Array, valid: NDArray[np.bool_]) -> Array:
    """The image (rows, cols) with pixels that are not valid replaced by the nearest valid one, if any is."""
    if valid.all() or not valid.any():
        return image
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return image[tuple(nearest)]
