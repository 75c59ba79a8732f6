"""A 4D-STEM scan on disk, of which a rectangle of positions is read at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import HybridfitError, InputError
from hybridfit.io.frames import one_line
from hybridfit.io.scan.source import Read, Source

ENDS = 65536  # bytes at either end of a file that go into its fingerprint


@dataclass(eq=False)
class ScanFile:
    """A scan on disk. Made by `open_scan`; picklable: each process opens the file when it first reads.

    Attributes
    ----------
    path : Path
    scan_shape : (rows, cols)
        Positions of the scan.
    frame_shape : (rows, cols)
    dtype : dtype
        Of the values that `read` returns: that of the file, in the byte order of this machine.
    kind : str
        The format, in words.
    calibration : dict
        "mrad_per_px", "step_nm", "semi_angle_mrad": those which the file states plainly.
    note : str
        What was taken for granted of its axes, in one line.
    mask : ndarray of bool, (rows, cols), or None
        True = the file says that this pixel measures nothing.
    tile : (rows, cols)
        Positions that lie together in the file: blocks of whole tiles are read fastest.
    """

    source: Source
    scan_shape: tuple[int, int]
    _opened: tuple[int, Read] | None = field(default=None, init=False, repr=False)

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def frame_shape(self) -> tuple[int, int]:
        return self.source.layout.frame_shape

    @property
    def dtype(self) -> np.dtype:
        return self.source.layout.dtype

    @property
    def kind(self) -> str:
        return self.source.layout.kind

    @property
    def calibration(self) -> dict[str, float]:
        return dict(self.source.layout.calibration)

    @property
    def note(self) -> str:
        return self.source.layout.note

    @property
    def mask(self) -> np.ndarray | None:
        return self.source.layout.mask

    @property
    def tile(self) -> tuple[int, int]:
        rows, cols = self.source.layout.tile
        return min(rows, self.scan_shape[0]), min(cols, self.scan_shape[1])

    def read(self, y: slice, x: slice) -> tuple[np.ndarray, np.ndarray]:
        """Read a rectangle of positions.

        Parameters
        ----------
        y, x : slice
            Rows and columns of the scan, without a step.

        Returns
        -------
        frames : ndarray of `dtype`, (ny, nx, rows, cols)
        present : ndarray of bool, (ny, nx)
            False where the file ends too early or cannot be decoded; those frames are zero.

        Raises
        ------
        InputError
            If the file is gone or was replaced.
        """
        rows, cols = (_span(s, n) for s, n in zip((y, x), self.scan_shape, strict=True))
        try:
            read = self._reader()
            if self.source.layout.stored == self.scan_shape:
                return read((rows, cols))
            return self._read_runs(read, rows, cols)
        except HybridfitError:
            raise
        except Exception as error:
            raise InputError(
                f"{self.path} cannot be read any more ({one_line(error)}); check that it is still in place"
            ) from error

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the input of a run, as JSON values: name, size, time, ends, shape and dtype."""
        files = sorted(p for p in self.path.rglob("*") if p.is_file()) if self.path.is_dir() else [self.path]
        files = list(self.source.layout.files) or files
        digest, stats = hashlib.sha256(), [p.stat() for p in files]
        for p, stat in zip(files, stats, strict=True):
            if p is not self.path:  # a store of many chunks: their names and sizes stand for what is in them
                name = p.relative_to(self.path) if p.is_relative_to(self.path) else p.name
                digest.update(f"{name} {stat.st_size}\n".encode())
        for p in {files[0], files[-1]} if files else ():
            with p.open("rb") as file:
                digest.update(file.read(ENDS))
                file.seek(max(0, p.stat().st_size - ENDS))
                digest.update(file.read(ENDS))
        return {
            "name": self.path.name,
            "size": sum(stat.st_size for stat in stats),
            "mtime_ns": max((stat.st_mtime_ns for stat in stats), default=0),
            "sha256_of_ends": digest.hexdigest(),
            "shape": [*self.scan_shape, *self.frame_shape],
            "dtype": self.dtype.str,
            **({"chosen": self.source.layout.chosen} if self.source.layout.chosen else {}),
        }

    def close(self) -> None:
        """Let go of the file; the next `read` opens it again."""
        self._opened = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _reader(self) -> Read:
        if self._opened is None or self._opened[0] != os.getpid():  # a handle must not cross a fork either
            self._opened = (os.getpid(), self.source.open())
        return self._opened[1]

    def _read_runs(self, read: Read, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """Read run by run: the file stores the positions as a stack, or in rows of another length."""
        sizes = rows.stop - rows.start, cols.stop - cols.start
        frames = np.zeros((*sizes, *self.frame_shape), self.dtype)
        present = np.zeros(sizes, bool)
        flat, flags = frames.reshape(-1, *self.frame_shape), present.reshape(-1)
        nx = self.scan_shape[1]
        runs = [(y * nx + cols.start, y * nx + cols.stop) for y in range(rows.start, rows.stop)]
        if sizes[1] == nx:
            runs = [(rows.start * nx, rows.stop * nx)]
        for i, (start, stop) in enumerate(runs):
            at = i * (stop - start)
            for block, n in _stored_blocks(self.source.layout.stored, start, stop):
                got, there = read(block)
                flat[at : at + n], flags[at : at + n] = got.reshape(-1, *self.frame_shape), there.reshape(-1)
                at += n
        return frames, present


def _span(part: slice, n: int) -> slice:
    start, stop, step = part.indices(n)
    if step != 1 or stop <= start:
        raise InputError(f"{part} selects no positions of {n}; give a slice without a step inside 0:{n}")
    return slice(start, stop)


def _stored_blocks(stored: tuple[int, ...], start: int, stop: int) -> Iterator[tuple[tuple[slice, ...], int]]:
    """Blocks of a file, in order, that make up the positions from start to stop, as far as it has them."""
    stop = min(stop, int(np.prod(stored)))
    if len(stored) == 1:
        if start < stop:
            yield (slice(start, stop),), stop - start
        return
    width = stored[1]
    while start < stop:
        row, col = divmod(start, width)
        n = min(width - col, stop - start)
        if col == 0 and stop - start >= width:  # whole rows in one go
            rows = (stop - start) // width
            yield (slice(row, row + rows), slice(0, width)), rows * width
            start += rows * width
            continue
        yield (slice(row, row + 1), slice(col, col + n)), n
        start += n
