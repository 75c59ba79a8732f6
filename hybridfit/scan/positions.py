"""Positions of a scan: which part of the file is fitted, and what a position's frame is.

A position may be the mean of several of the file's: a PACBED pattern averages over a unit cell.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.defects import mean_of, unmeasured
from hybridfit.errors import InputError
from hybridfit.frame import SMALLEST_SIDE_PX, Frame, make_frame
from hybridfit.io import ScanFile

At = tuple[int, int]
Roi = tuple[int, int, int, int]


@dataclass(frozen=True)
class NoFrame:
    """A position without a frame that could be fitted.

    readable tells whether the file has it; message says what is wrong with it.
    """

    readable: bool
    message: str


def check_memory(positions: Positions, each: float) -> None:
    """Raise an InputError for more positions than this machine has memory for, at `each` bytes a position."""
    ny, nx = positions.shape
    needed, there = ny * nx * each, machine_memory()
    if needed > there:
        raise InputError(
            f"{positions.file.path}: a map of {ny} × {nx} positions needs {needed / 1e9:.3g} GB of memory, "
            f"this machine has {there / 1e9:.3g}; map a part of it (roi), or average more positions"
        )


def machine_memory() -> float:
    """Bytes of memory of this machine; 16e9 where it does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # Windows
        return 16e9


@dataclass(frozen=True)
class Blocks(Mapping[str, tuple[At, ...]]):
    """The blocks of a map by name, and the positions of each, made when they are asked for.

    Whole rows are put together until a block has `least` positions; a row of more than `most` is cut.  The
    positions of all blocks, one after the other, are those of the map row by row.
    """

    shape: tuple[int, int]
    least: int
    most: int

    @property
    def _rows(self) -> int:
        """Of one block."""
        return max(1, min(round(self.least / self.shape[1]), self.most // self.shape[1]))

    @property
    def _pieces(self) -> int:
        """Of one row."""
        return -(-self.shape[1] // self.most)

    def __len__(self) -> int:
        return -(-self.shape[0] // self._rows) * self._pieces

    def __iter__(self) -> Iterator[str]:
        for top in range(0, self.shape[0], self._rows):
            for piece in range(self._pieces):
                yield f"rows-{top:06d}" + (f"-{piece * self.most:06d}" if self._pieces > 1 else "")

    def __getitem__(self, name: str) -> tuple[At, ...]:
        _, top, *left = name.split("-")
        rows = range(int(top), min(int(top) + self._rows, self.shape[0]))
        start = int(left[0]) if left else 0
        columns = range(start, min(start + self.most, self.shape[1]) if left else self.shape[1])
        return tuple((y, x) for y in rows for x in columns)


@dataclass(frozen=True, eq=False)
class Positions:
    """The positions that are fitted, and how their frames come about.

    Attributes
    ----------
    file : ScanFile
    average : int
        A position is the mean of average × average of the file's.
    roi : (top, bottom, left, right), optional
        Positions of the file: rows top … bottom − 1, columns left … right − 1.
    mask : (rows, cols) bool array, optional
        True = leave this pixel out. Pixels that the file itself masks are added.
    bin : int
        A pixel is the mean of bin × bin of the camera's.

    Raises
    ------
    InputError
        A region outside the scan, or one that is smaller than a position.
    """

    file: ScanFile
    average: int = 1
    roi: Roi | None = None
    mask: NDArray[np.bool_] | None = None
    bin: int = 1

    def __post_init__(self) -> None:
        for name, value in (("average", self.average), ("bin", self.bin)):
            if not (isinstance(value, int | np.integer) and value >= 1):
                raise InputError(f"{name} = {value!r} cannot be; give a whole number, 1 or more")
        ny, nx = self.file.scan_shape
        if len(self.region) != 4 or not all(isinstance(v, int | np.integer) for v in self.region):
            raise InputError(f"roi {self.roi!r} is no region; give (top, bottom, left, right)")
        top, bottom, left, right = self.region
        if not (0 <= top < bottom <= ny and 0 <= left < right <= nx):
            raise InputError(
                f"roi {top}:{bottom},{left}:{right} is not inside the scan of {ny} × {nx} positions; "
                f"give rows and columns, such as 0:{ny},0:{nx}"
            )
        if min(self.shape) < 1:
            raise InputError(
                f"average = {self.average} leaves no position of the {bottom - top} × {right - left} "
                "there are; average fewer"
            )
        rows, cols = self.frame_shape
        if min(rows, cols) < SMALLEST_SIDE_PX:
            raise InputError(
                f"frames of {rows} × {cols} px are too small; {SMALLEST_SIDE_PX} px a side are needed"
                + (": bin less" if self.bin > 1 else "")
            )
        if self.mask is not None and self.mask.shape != tuple(self.file.frame_shape):
            raise InputError(
                f"the mask has {self.mask.shape[0]} × {self.mask.shape[1]} px, the frames "
                f"{self.file.frame_shape[0]} × {self.file.frame_shape[1]}; give a mask of their size"
            )
        if self.file.mask is not None:
            both = self.file.mask if self.mask is None else self.file.mask | self.mask
            object.__setattr__(self, "mask", both)

    @property
    def region(self) -> Roi:
        """(top, bottom, left, right) in positions of the file."""
        ny, nx = self.file.scan_shape
        return self.roi or (0, ny, 0, nx)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the map."""
        top, bottom, left, right = self.region
        return (bottom - top) // self.average, (right - left) // self.average

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(rows, cols) of a frame, after binning."""
        rows, cols = self.file.frame_shape
        return rows // self.bin, cols // self.bin

    def coordinates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Middle of every row and of every column of the map, in positions of the file."""
        top, _, left, _ = self.region
        middle = (self.average - 1) / 2
        rows, columns = (np.arange(n, dtype=float) * self.average + middle for n in self.shape)
        return top + rows, left + columns

    def frames(self, positions: Sequence[At]) -> list[Frame | NoFrame]:
        """The frames at positions (row, column) of the map; those of a row are read in one piece."""
        found: dict[At, Frame | NoFrame] = {}
        for y in dict.fromkeys(y for y, _ in positions):
            xs = [x for row, x in positions if row == y]
            dense = xs == list(range(xs[0], xs[0] + len(xs)))
            for run in [xs] if dense else [[x] for x in xs]:
                found.update(
                    {(y, run[0] + i): frame for i, frame in enumerate(self._run(y, run[0], len(run)))}
                )
        return [found[at] for at in positions]

    def _run(self, y: int, x: int, count: int) -> list[Frame | NoFrame]:
        """Frames of a piece of a row."""
        n = self.average
        top, left = self.region[0] + n * y, self.region[2] + n * x
        where = f"{self.file.path}"
        try:
            raw, present = self.file.read(slice(top, top + n), slice(left, left + n * count))
        except OSError as error:
            if count > 1:  # one damaged frame does not take its row with it
                return [frame for i in range(count) for frame in self._run(y, x + i, 1)]
            broken = NoFrame(False, f"{where}: {' '.join(str(error).split())[:160]}")
            return [broken]
        return [
            self._frame(raw[:, n * i : n * (i + 1)], present[:, n * i : n * (i + 1)], f"{where}[{y},{x + i}]")
            for i in range(count)
        ]

    def _frame(self, raw: np.ndarray, present: NDArray[np.bool_], source: str) -> Frame | NoFrame:
        """One frame from the file's (n, n, rows, cols)."""
        if not present.any():
            return NoFrame(False, f"{source}: the file ends before this frame, or it is damaged there")
        image, mask, note, b = raw[0, 0], self.mask, "", self.bin
        if self.average > 1:
            image, none = mean_of(raw[present])
            if none is not None and none.any():
                note = f"{int(none.sum())} px masked: without data"
                mask = none if mask is None else mask | none
        if b > 1:  # what is not measured must not be mixed with what is
            found = unmeasured(image, mask)
            left_out, note = found.mask if mask is None else found.mask | mask, found.note or note
            rows, cols = self.frame_shape
            whole = (slice(0, rows * b), slice(0, cols * b))
            used = ~left_out[whole].reshape(rows, b, cols, b)
            counts = used.sum(axis=(1, 3))
            sums = np.where(used, image[whole].reshape(rows, b, cols, b), 0).sum(
                axis=(1, 3), dtype=np.float64
            )
            image, mask = sums / np.maximum(counts, 1), counts == 0
        try:
            frame = make_frame(image, source=source, mask=mask)
        except InputError as error:
            return NoFrame(True, str(error))
        return replace(frame, note=note) if note else frame
