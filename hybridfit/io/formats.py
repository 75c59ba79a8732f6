"""Readers of images, NPY, MRC and raw files: a path in, arrays out.

Whatever a decoder throws at a damaged file is left to `reading`.
"""

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from hybridfit.errors import InputError

_MRC_DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_IMOD_STAMP = 1146047817


def _grey(colour: np.ndarray) -> np.ndarray:
    """Channels last to one channel: the first if they agree, else luminance (BT.601); alpha is dropped."""
    first = colour[..., 0]
    if colour.shape[-1] < 3 or all(np.array_equal(first, colour[..., i]) for i in (1, 2)):
        return first
    luminance: np.ndarray = colour[..., :3] @ np.array([0.299, 0.587, 0.114])
    return np.rint(luminance).astype(colour.dtype) if colour.dtype.kind in "ui" else luminance


def read_pillow(path: Path, formats: tuple[str, ...] = ("PNG", "JPEG")) -> list[np.ndarray]:
    from PIL import Image

    arrays = []
    with Image.open(path, formats=formats) as image:
        for i in range(getattr(image, "n_frames", 1) if "TIFF" in formats else 1):
            image.seek(i)
            plain = image.mode in ("L", "F", "I", "LA", "RGB", "RGBA") or image.mode.startswith("I;16")
            page = np.asarray(image if plain else image.convert("RGBA"))  # 1 bit, palette, CMYK ...
            arrays.append(_grey(page) if page.ndim == 3 else page)
    return arrays


def read_tiff(path: Path) -> list[np.ndarray]:
    import tifffile

    log, complaints = logging.getLogger("tifffile"), []

    def note(record: logging.LogRecord) -> bool:  # tifffile only logs a broken chain of pages, and reads on
        complaints.append(record.getMessage())
        return False

    log.addFilter(note)
    try:
        with tifffile.TiffFile(path) as tiff:
            series = [s for s in tiff.series if not s.keyframe.is_reduced]  # no thumbnails
            plain = (1, 8, 32946)  # uncompressed, deflate
            if any(s.keyframe.compression not in plain or s.keyframe.photometric == 3 for s in series):
                return read_pillow(path, ("TIFF",))  # LZW, JPEG, palettes: tifffile alone has no decoder
            for page in (page for s in series for page in s.pages if page is not None):
                ends = [a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=False)]
                _check_size(path, max(ends, default=0))
            arrays = [(s.asarray(), s.axes) for s in series]
    finally:
        log.removeFilter(note)
    if any("invalid page offset" in text for text in complaints):
        raise InputError(f"{path} is truncated: pages are missing from it; copy it again")
    # Colour planes one after the other are a stack of three: tifffile has written such stacks as colour.
    return [_grey(array) if axes.endswith("S") else array for array, axes in arrays]


def _check_size(path: Path, needed: int) -> None:
    size = path.stat().st_size
    if size < needed:
        raise InputError(
            f"{path} is truncated: {size} bytes of the {needed} that it announces; copy it again"
        )


def read_npy(path: Path) -> list[np.ndarray]:
    with path.open("rb") as file:
        magic = file.read(6)
    pickled = InputError(
        f"{path} holds pickled objects, which are never loaded; "
        "save a plain numeric array with numpy.save(..., allow_pickle=False)"
    )
    if magic[:1] == b"\x80":
        raise pickled
    if magic != b"\x93NUMPY":
        raise InputError(f"{path} is not a .npy file (it starts with {magic!r}); save one with numpy.save")
    try:
        return [np.lib.format.open_memmap(path, mode="r")]
    except ValueError as error:
        if "Python objects" in str(error):
            raise pickled from error
        raise


def read_mrc(path: Path) -> list[np.ndarray]:
    """MRC2014: 1024 bytes of header (nx, ny, nz, mode ...), an extended header, then (nz, ny, nx) values."""
    _check_size(path, 1024)
    header = np.fromfile(path, "u1", 1024)
    for order in "<>":  # sizes below 65536 are unmistakable; the machine stamp is often left empty
        words = header.view(f"{order}i4").tolist()
        (nx, ny, nz, mode), extended = words[:4], words[23]
        if 0 < nx < 65536 and 0 < ny < 65536 and nz > 0 and extended >= 0:
            break
    else:
        raise InputError(f"{path} has no MRC header (sizes {nx}, {ny}, {nz}); it is of another format")
    if mode not in _MRC_DTYPES:
        raise InputError(f"{path} is MRC mode {mode}; modes 0, 1, 2, 6 and 12 are read: convert it to mode 2")
    unsigned = mode == 0 and words[38] == _IMOD_STAMP and not words[39] & 1  # bytes as IMOD writes them
    dtype = np.dtype("u1" if unsigned else order + _MRC_DTYPES[mode])
    count, start = nx * ny * nz, 1024 + extended
    _check_size(path, start + count * dtype.itemsize)
    return [np.fromfile(path, dtype, count, offset=start).reshape(nz, ny, nx)]


def read_raw(path: Path, shape: Sequence[int] | None, dtype: DTypeLike | None, offset: int) -> np.ndarray:
    wanted = "give shape, such as (256, 256), dtype, such as '<u2', and offset in bytes"
    if shape is None or dtype is None:
        raise InputError(f"{path} is raw, without a header that tells its layout; {wanted}")
    try:
        number, sizes, start = np.dtype(dtype), tuple(map(operator.index, shape)), operator.index(offset)
        good = number.kind in "uif" and len(sizes) in (2, 3) and min(sizes) > 0 and start >= 0
    except TypeError:
        good = False
    if not good:
        raise InputError(f"{path}: shape {shape}, dtype {dtype}, offset {offset} is no layout; {wanted}")
    size, expected = path.stat().st_size, start + math.prod(sizes) * number.itemsize
    if size != expected:
        raise InputError(
            f"{path} has {size} bytes; shape {sizes} of {number} after {start} bytes makes {expected}: "
            "check shape, dtype and offset"
        )
    return np.fromfile(path, number, offset=start).reshape(sizes)
