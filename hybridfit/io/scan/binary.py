"""Scans whose frames lie one after the other in a file: NPY, MRC, raw, EMPAD.

Frame i starts at byte `offset` + i · `stride`. A file that ends too early keeps the frames it has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from hybridfit.errors import InputError
from hybridfit.io.formats import mrc_layout, npy_layout, raw_layout, wrong_size
from hybridfit.io.order import unnamed_order
from hybridfit.io.scan.source import Block, Layout, Read, check_numbers, split_shape
from hybridfit.io.stack import kept_shape


@dataclass(frozen=True)
class BinarySource:
    """Frames of `dtype` (as stored, byte order included), `stride` bytes apart, the first at `offset`."""

    path: Path
    layout: Layout
    dtype: np.dtype
    offset: int
    stride: int

    def open(self) -> Read:
        return self._read  # opened anew for every block: that costs nothing beside reading it

    def _read(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        sizes = tuple(s.stop - s.start for s in block)
        frames = np.empty((*sizes, *self.layout.frame_shape), self.dtype)
        present = np.zeros(sizes, bool)
        runs, flags = frames.reshape(-1, *frames.shape[-3:]), present.reshape(-1, sizes[-1])
        first = range(block[0].start, block[0].stop) if len(block) == 2 else [0]
        with self.path.open("rb") as file:
            for row, run, flag in zip(first, runs, flags, strict=True):
                whole = self._run(file, row * self.layout.stored[-1] + block[-1].start, run)
                flag[:whole], run[whole:] = True, 0
        return frames.astype(self.layout.dtype, copy=False), present

    def _run(self, file: BinaryIO, first: int, run: np.ndarray) -> int:
        """Fill `run` (frames, rows, cols) with frames from the `first` on, and return how many are whole."""
        n, size = len(run), run[0].nbytes
        file.seek(self.offset + first * self.stride)
        if self.stride == size:
            return file.readinto(run.view("u1").reshape(-1)) // size  # type: ignore[attr-defined,no-any-return]
        raw = np.zeros(n * self.stride, "u1")
        got = file.readinto(raw)  # type: ignore[attr-defined]
        run.view("u1").reshape(n, size)[:] = raw.reshape(n, self.stride)[:, :size]
        return int(min(n, (got + self.stride - size) // self.stride))


@dataclass(frozen=True)
class MappedSource:
    """An array of which no frame lies in one piece: mapped, never loaded; `order` are its axes."""

    path: Path
    layout: Layout
    order: tuple[int, ...]

    def open(self) -> Read:
        mapped = np.lib.format.open_memmap(self.path, mode="r")
        array = mapped.reshape(kept_shape(mapped.shape, 4)).transpose(self.order)

        def read(block: Block) -> tuple[np.ndarray, np.ndarray]:
            frames = np.array(array[block], self.layout.dtype, order="C")
            return frames, np.ones(frames.shape[:-2], bool)

        return read


def binary_source(
    path: Path,
    kind: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    offset: int,
    *,
    footer: int = 0,
) -> BinarySource:
    """Frames of the last two sizes of `shape`, each followed by `footer` bytes."""
    check_numbers(path, dtype)
    stored, frame_shape = split_shape(path, kept_shape(shape, 4))
    size = math.prod(frame_shape) * dtype.itemsize
    if path.stat().st_size < offset + size:
        raise InputError(
            f"{path} has {path.stat().st_size} bytes; its first frame alone ends at byte {offset + size}: "
            "it is truncated or of another layout, copy it again"
        )
    layout = Layout(kind, stored, frame_shape, dtype.newbyteorder("="))
    return BinarySource(path, layout, dtype, offset, size + footer)


def npy_source(path: Path) -> BinarySource | MappedSource:
    shape, fortran, dtype, start = npy_layout(path)
    kept = kept_shape(shape, 4)
    order, note = unnamed_order(path, kept) if 2 < len(kept) < 5 else (tuple(range(len(kept))), "")
    if not fortran and order == tuple(range(len(kept))):
        source = binary_source(path, "NPY", shape, dtype, start)
        return replace(source, layout=replace(source.layout, note=note))
    check_numbers(path, dtype)
    stored, frame_shape = split_shape(path, tuple(kept[i] for i in order))
    if path.stat().st_size < start + math.prod(shape) * dtype.itemsize:
        raise InputError(f"{path} is truncated, and every frame misses its end; copy it again")
    layout = Layout("NPY", stored, frame_shape, dtype.newbyteorder("="), note=note)
    return MappedSource(path, layout, order)


def mrc_source(path: Path) -> BinarySource:
    (nz, ny, nx), dtype, start, sections = mrc_layout(path)
    shape = (nz, ny, nx) if sections == nz else (nz // sections, sections, ny, nx)
    return binary_source(path, "MRC", shape, dtype, start)


def raw_source(
    path: Path,
    shape: Sequence[int] | None,
    dtype: DTypeLike | None,
    offset: int,
    scan_shape: tuple[int, int] | None,
) -> BinarySource:
    """`shape` is that of the whole scan, or of one frame; the size of the file then gives their number."""
    sizes, number, start = raw_layout(path, shape, dtype, offset, (2, 3, 4))
    frame, room = math.prod(sizes[-2:]) * number.itemsize, path.stat().st_size - start
    if len(sizes) > 2:
        if room > math.prod(sizes[:-2]) * frame:
            raise wrong_size(path, sizes, number, start)
        return binary_source(path, "raw", sizes, number, start)
    count = max(room, 0) // frame
    if scan_shape is None and room % frame:
        raise InputError(
            f"{path} has {path.stat().st_size} bytes; after {start} these are {room / frame:.2f} frames "
            f"of {sizes} {number}: check shape, dtype and offset, or give scan_shape if it is truncated"
        )
    known = scan_shape if scan_shape and count <= math.prod(scan_shape) else (max(count, 1),)
    return binary_source(path, "raw", (*known, *sizes), number, start)
