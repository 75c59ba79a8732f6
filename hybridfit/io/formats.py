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
    check_npy(path)
    try:
        return [np.lib.format.open_memmap(path, mode="r")]
    except ValueError as error:
        if "Python objects" in str(error):
            raise _pickled(path) from error
        raise


def npy_layout(path: Path) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether the first index runs fastest, dtype, and where the values start (bytes)."""
    check_npy(path)
    with path.open("rb") as file:
        old = np.lib.format.read_magic(file) == (1, 0)
        header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
        if dtype.hasobject:
            raise _pickled(path)
        return shape, fortran, dtype, file.tell()


def check_npy(path: Path) -> None:
    with path.open("rb") as file:
        magic = file.read(6)
    if magic[:1] == b"\x80":
        raise _pickled(path)
    if magic != b"\x93NUMPY":
        raise InputError(f"{path} is not a .npy file (it starts with {magic!r}); save one with numpy.save")


def _pickled(path: Path) -> InputError:
    return InputError(
        f"{path} holds pickled objects, which are never loaded; "
        "save a plain numeric array with numpy.save(..., allow_pickle=False)"
    )


def read_mrc(path: Path) -> list[np.ndarray]:
    shape, dtype, start, _ = mrc_layout(path)
    count = math.prod(shape)
    _check_size(path, start + count * dtype.itemsize)
    return [np.fromfile(path, dtype, count, offset=start).reshape(shape)]


def mrc_layout(path: Path) -> tuple[tuple[int, int, int], np.dtype, int, int]:
    """MRC2014: 1024 bytes of header (nx, ny, nz, mode ...), an extended header, then (nz, ny, nx) values.

    Returns (nz, ny, nx), dtype, where the values start (bytes), and the sections of one volume, which are
    fewer than nz in a stack of volumes.
    """
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
    mz, space_group = words[9], words[22]
    volumes = 401 <= space_group <= 630 and mz > 0 and nz % mz == 0
    return (nz, ny, nx), dtype, 1024 + extended, mz if volumes else nz


def read_raw(path: Path, shape: Sequence[int] | None, dtype: DTypeLike | None, offset: int) -> np.ndarray:
    sizes, number, start = raw_layout(path, shape, dtype, offset, (2, 3))
    size, expected = path.stat().st_size, start + math.prod(sizes) * number.itemsize
    if size != expected:
        raise wrong_size(path, sizes, number, start)
    return np.fromfile(path, number, offset=start).reshape(sizes)


def raw_layout(
    path: Path, shape: Sequence[int] | None, dtype: DTypeLike | None, offset: int, dimensions: tuple[int, ...]
) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, dtype and offset as they were given, checked for sense."""
    wanted = "give shape, such as (256, 256), dtype, such as '<u2', and offset in bytes"
    if shape is None or dtype is None:
        raise InputError(f"{path} is raw, without a header that tells its layout; {wanted}")
    try:
        number, sizes, start = np.dtype(dtype), tuple(map(operator.index, shape)), operator.index(offset)
        good = number.kind in "uif" and len(sizes) in dimensions and min(sizes) > 0 and start >= 0
    except TypeError:
        good = False
    if not good:
        raise InputError(f"{path}: shape {shape}, dtype {dtype}, offset {offset} is no layout; {wanted}")
    return sizes, number, start


def wrong_size(path: Path, shape: tuple[int, ...], dtype: np.dtype, start: int) -> InputError:
    expected = start + math.prod(shape) * dtype.itemsize
    return InputError(
        f"{path} has {path.stat().st_size} bytes; shape {shape} of {dtype} after {start} bytes makes "
        f"{expected}: check shape, dtype and offset"
    )
