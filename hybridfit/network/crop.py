"""Crops: the part of a frame around a disc, at the fixed angular pixel that the network reads.

    u = (pixel − centre)/scale,     crop pixel (i, j) is at u = PIXEL · (j − (CROP − 1)/2, i − (CROP − 1)/2)

centre (px) and scale (px/mrad) are rough estimates; scale = radius of the direct disc / nominal
semi-angle.  A crop pixel is the mean of the frame over PIXEL × PIXEL, or over one pixel of the
frame where that is wider (which is linear interpolation): with the overlaps w along rows and along
columns as weights,

    crop = Σ w_row w_col image · valid / V,        V = Σ w_row w_col valid,

V being the share of a crop pixel that lies on valid pixels of the frame.  Where V = 0 (beyond
the edge of the frame, or masked) the crop is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import InputError
from hybridfit.pattern.jit import kernel

CROP = 80  # px
PIXEL = 0.65  # mrad of the rough scale
FARTHEST = 1e12  # px, px/mrad: no camera has more
LEAST_VALID = 0.05  # less of a crop pixel than that counts as nothing
Single = NDArray[np.float32]


class CropGrid(NamedTuple):
    """The pixels of a crop: how many along either side, and how wide they are (mrad of the rough scale)."""

    side: int = CROP
    pixel: float = PIXEL


GRID = CropGrid()


def axis(grid: CropGrid = GRID) -> NDArray[Any]:
    """Positions u of the crop's columns, or rows (mrad): (side,)."""
    return (np.arange(grid.side) - (grid.side - 1) / 2) * grid.pixel


def crops(
    image: ArrayLike, valid: ArrayLike, centres: ArrayLike, scales: ArrayLike, grid: CropGrid = GRID
) -> Single:
    """Cut crops out of one frame, or out of each of many frames.

    Parameters
    ----------
    image : (rows, cols) or (frames, rows, cols) array
    valid : bool array, of the shape of image or (rows, cols)
    centres : (discs, 2) or (frames, discs, 2), px
        (col, row) of each disc.
    scales : (discs,) or (frames, discs), px/mrad
    grid : CropGrid

    Returns
    -------
    (discs, 2, side, side) or (frames, discs, 2, side, side) float32
        The mean intensity of the valid part of each pixel, and how large that part is (0 … 1).

    Raises
    ------
    InputError
        A centre or scale that cannot be: not finite, beyond 1e12, or a scale that is not positive.
    """
    image, valid = np.asarray(image), np.asarray(valid, dtype=bool)
    centres, scales = np.asarray(centres, dtype=float), np.asarray(scales, dtype=float)
    if not ((np.abs(centres) <= FARTHEST).all() and ((scales > 0) & (scales <= FARTHEST)).all()):
        raise InputError(
            "a crop cannot be cut: its centre (px) or scale (px/mrad) is no number that can be; check the "
            "semi-angle (mrad), or give centre and scale as hints"
        )
    if image.ndim == 2:
        return _of_frame(image, valid, centres, scales, grid)
    masks = np.broadcast_to(valid, image.shape)
    out = np.empty((*scales.shape, 2, grid.side, grid.side), np.float32)
    for i, frame in enumerate(image):
        out[i] = _of_frame(frame, masks[i], centres[i], scales[i], grid)
    return out


def _of_frame(
    image: NDArray[Any],
    valid: NDArray[np.bool_],
    centres: NDArray[Any],
    scales: NDArray[Any],
    grid: CropGrid,
) -> Single:
    if image.dtype not in (np.float32, np.float64):
        image = image.astype(np.float32)
    rows, cols = image.shape
    columns, along_row = weights(centres[:, 0], scales, cols, grid)
    lines, along_col = weights(centres[:, 1], scales, rows, grid)
    out = np.zeros((len(scales), 2, grid.side, grid.side), np.float32)
    add_up(image, valid, columns, along_row, lines, along_col, LEAST_VALID, out)
    return out


def weights(
    centre: NDArray[Any], scale: NDArray[Any], size: int, grid: CropGrid = GRID
) -> tuple[NDArray[np.int64], Single]:
    """Which pixels of one axis of the frame a crop pixel overlaps, and how much.

    Parameters
    ----------
    centre : (n,), px
    scale : (n,), px/mrad
    size : int
        Pixels along this axis.
    grid : CropGrid

    Returns
    -------
    first : (n, side) int64
        The first of m pixels; they may lie beyond the frame.
    weights : (n, side, m) float32
        They add up to 1, to less where the crop pixel reaches beyond the frame.
    """
    at = centre[:, None] + axis(grid) * scale[:, None]
    half = np.maximum(grid.pixel * scale, 1.0)[:, None] / 2
    first = np.floor(at - half + 0.5).astype(np.int64)
    count = np.ceil(2 * half.max(initial=0.5)) + 1
    if count > size:  # a crop pixel that is wider than the frame: those of the frame are enough
        first[:], count = 0, size
    pixel = first[..., None] + np.arange(int(count))
    edge = (pixel - 0.5 - at[..., None]) / (2 * half[..., None])
    width = 1 / (2 * half[..., None])
    overlap = np.clip(edge + width, -0.5, 0.5) - np.clip(edge, -0.5, 0.5)
    return first, np.where((pixel >= 0) & (pixel < size), overlap, 0).astype(np.float32)


@kernel
def add_up(image, valid, first_col, along_row, first_row, along_col, least, out):
    """Fill out (n, 2, side, side) with the means over valid pixels, and their share."""
    n, side, width = along_row.shape
    height = along_col.shape[2]
    for d in range(n):
        for i in range(side):
            for j in range(side):
                total, share = 0.0, 0.0
                for p in range(height):
                    wr = along_col[d, i, p]
                    if wr == 0:
                        continue
                    row = first_row[d, i] + p
                    for q in range(width):
                        w = wr * along_row[d, j, q]
                        col = first_col[d, j] + q
                        if w != 0 and valid[row, col]:
                            total += w * image[row, col]
                            share += w
                if share > least:
                    out[d, 0, i, j] = total / share
                    out[d, 1, i, j] = min(share, 1.0)
