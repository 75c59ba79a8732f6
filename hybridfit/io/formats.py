"""Readers of NPY, MRC and raw files: a path in, the frames of the open file out.

Errors that a damaged file causes are left as they are; `frames` turns them into one line.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import DTypeLike

from hybridfit.errors import InputError
from hybridfit.io.order import NUMPY, unnamed_order
from hybridfit.io.stack import Stack, array_stack, kept_shape, short_by, stack_of

_MRC_DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_IMOD_STAMP = 1146047817


@contextmanager
def read_npy(path: Path) -> Iterator[Stack]:
    """Frames of a .npy file. Pickled objects are refused."""
    shape, fortran, dtype, start = npy_layout(path)
    kept = kept_shape(shape, 3)
    order, note = unnamed_order(path, kept) if len(kept) == 3 else ((), "")
    if not fortran and order in ((), (0, 1, 2)):
        yield replace(binary_stack(path, shape, dtype, start), note=note)
        return
    held, needed = path.stat().st_size, start + math.prod(shape) * dtype.itemsize
    if held < needed:
        raise short_by(path, held, needed)
    yield unnamed_stack(path, np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C"))


def unnamed_stack(path: Path, array: np.ndarray, usual: str = NUMPY) -> Stack:
    """The frames of an array whose axes have no names."""
    array = array.reshape(kept_shape(array.shape, 3))
    if array.ndim != 3:
        return array_stack(path, array)
    order, note = unnamed_order(path, array.shape, usual)
    return replace(array_stack(path, array.transpose(order)), note=note)


@contextmanager
def read_mrc(path: Path) -> Iterator[Stack]:
    """Frames of an MRC file."""
    shape, dtype, start, _ = mrc_layout(path)
    yield binary_stack(path, shape, dtype, start)


@contextmanager
def read_raw(
    path: Path, shape: Sequence[int] | None, dtype: DTypeLike | None, offset: int
) -> Iterator[Stack]:
    """Frames of a file without a header, whose layout is told."""
    sizes, number, start = raw_layout(path, shape, dtype, offset, (2, 3))
    if path.stat().st_size != start + math.prod(sizes) * number.itemsize:
        raise wrong_size(path, sizes, number, start)
    yield binary_stack(path, sizes, number, start)


def binary_stack(path: Path, shape: tuple[int, ...], dtype: np.dtype, start: int) -> Stack:
    """Frames one after the other, of the last two sizes of `shape`, the first at byte `start`.

    Frames of a stack that lie behind the end of the file are said to be missing.

    Raises
    ------
    InputError
        If the file holds not one whole frame.
    """
    shape = kept_shape(shape, 3)
    frame = shape[-2:]
    pixels = math.prod(frame)

    def read(i: int) -> np.ndarray:
        return np.fromfile(path, dtype, pixels, offset=start + i * pixels * dtype.itemsize).reshape(frame)

    held, needed = path.stat().st_size, start + math.prod(shape) * dtype.itemsize
    if held >= needed:
        return stack_of(path, shape, read)
    whole = max(held - start, 0) // (pixels * dtype.itemsize)
    if len(shape) != 3 or whole == 0:
        raise short_by(path, held, needed)
    return replace(stack_of(path, (whole, *frame), read), missing=short_by(path, held, needed))


def npy_layout(path: Path) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether the first index runs fastest, dtype, and where the values start (bytes)."""
    with path.open("rb") as file:
        magic = file.read(6)
        if magic[:1] == b"\x80":
            raise _pickled(path)
        if magic != b"\x93NUMPY":
            raise InputError(
                f"{path} is not a .npy file (it starts with {magic!r}); save one with numpy.save"
            )
        file.seek(0)
        shape, fortran, dtype = npy_header(file)
        if dtype.hasobject:
            raise _pickled(path)
        if any(size < 0 for size in shape):
            raise InputError(f"{path} has the shape {shape} in its header; it is damaged, save it again")
        return shape, fortran, dtype, file.tell()


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the first index runs fastest, and dtype, from the start of a .npy file."""
    old = np.lib.format.read_magic(file) == (1, 0)
    header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
    return header(file)


def _pickled(path: Path) -> InputError:
    return InputError(
        f"{path} holds pickled objects, which are never loaded; "
        "save a plain numeric array with numpy.save(..., allow_pickle=False)"
    )


def mrc_layout(path: Path) -> tuple[tuple[int, int, int], np.dtype, int, int]:
    """MRC2014: 1024 bytes of header (nx, ny, nz, mode ...), an extended header, then (nz, ny, nx) values.

    Returns (nz, ny, nx), dtype, where the values start (bytes), and the sections of one volume, which are
    fewer than nz in a stack of volumes.
    """
    if path.stat().st_size < 1024:
        raise short_by(path, path.stat().st_size, 1024)
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
