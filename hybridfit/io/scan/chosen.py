"""Stacks that are put together, and the frames of a stack that are positions of a scan.

Leading frames and those of the flyback are left out:

frame of position (y, x) = skip + y (columns + flyback) + x
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.scan.source import Block, Layout, Read, Source


@dataclass(frozen=True)
class ChosenSource:
    """A stack without its first `skip` frames, and without `flyback` frames after every row."""

    whole: Source
    scan: tuple[int, int]
    skip: int
    flyback: int

    @property
    def path(self) -> Path:
        return self.whole.path

    @property
    def layout(self) -> Layout:
        chosen = f"skip {self.skip}, flyback {self.flyback}"
        return replace(self.whole.layout, stored=self.scan, tile=(1, 1), scan=None, chosen=chosen)

    def open(self) -> Read:
        read, layout, count = self.whole.open(), self.layout, self.whole.layout.stored[0]

        def rows(block: Block) -> tuple[np.ndarray, np.ndarray]:
            y, x = block
            sizes = y.stop - y.start, x.stop - x.start
            frames = np.zeros((*sizes, *layout.frame_shape), layout.dtype)
            present = np.zeros(sizes, bool)
            for i, row in enumerate(range(y.start, y.stop)):
                first = self.skip + row * (self.scan[1] + self.flyback) + x.start
                n = min(sizes[1], count - first)
                if n > 0:
                    frames[i, :n], present[i, :n] = read((slice(first, first + n),))
            return frames, present

        return rows


def chosen_source(whole: Source, scan: tuple[int, int] | None, skip: int, flyback: int) -> Source:
    """The positions of a stack; of a scan that the file knows, the columns before the flyback.

    Raises
    ------
    InputError
        If no shape of the scan is given, or the stack has fewer frames than positions.
    """
    layout, path = whole.layout, whole.path
    for name, value in (("skip", skip), ("flyback", flyback)):
        if value < 0:
            raise InputError(f"{name} = {value} is no number of frames; give 0 or more")
    if len(layout.stored) == 2:
        rows, cols = layout.stored
        if skip or not 0 < flyback < cols or scan not in (None, (rows, cols - flyback)):
            raise InputError(
                f"{path} is a scan of {rows} × {cols} positions; skip is for stacks of frames, and flyback "
                f"leaves out columns, of which there are {cols}: map a part of it (roi)"
            )
        return FirstColumns(whole, (rows, cols - flyback))
    scan = scan or layout.scan
    if scan is None:
        raise InputError(
            f"{path} is a stack of {layout.stored[0]} frames; with skip or flyback give scan_shape, too"
        )
    needed = skip + scan[0] * (scan[1] + flyback) - flyback
    if needed > layout.stored[0] and not layout.counted:
        raise InputError(
            f"{path} holds {layout.stored[0]} frames; {scan[0]} × {scan[1]} positions with skip {skip} and "
            f"flyback {flyback} need {needed}: give fewer"
        )
    return ChosenSource(whole, scan, skip, flyback)


@dataclass(frozen=True)
class FirstColumns:
    """A scan without its last columns."""

    whole: Source
    scan: tuple[int, int]

    @property
    def path(self) -> Path:
        return self.whole.path

    @property
    def layout(self) -> Layout:
        return replace(self.whole.layout, stored=self.scan, scan=None)

    def open(self) -> Read:
        return self.whole.open()


@dataclass(frozen=True)
class JoinedSource:
    """Several stacks of one frame shape and type as one, in order."""

    parts: tuple[Source, ...]

    @property
    def path(self) -> Path:
        return self.parts[0].path

    @property
    def layout(self) -> Layout:
        count = sum(part.layout.stored[0] for part in self.parts)
        return replace(self.parts[0].layout, stored=(count,))

    def open(self) -> Read:
        return self.joined([part.open() for part in self.parts])

    def joined(self, reads: Sequence[Read]) -> Read:
        """What reads the whole, from what reads each part."""
        layout = self.layout
        ends = np.cumsum([0, *(part.layout.stored[0] for part in self.parts)]).tolist()

        def read(block: Block) -> tuple[np.ndarray, np.ndarray]:
            (wanted,) = block
            frames = np.zeros((wanted.stop - wanted.start, *layout.frame_shape), layout.dtype)
            present = np.zeros(len(frames), bool)
            for one, first, end in zip(reads, ends, ends[1:], strict=False):
                start, stop = max(wanted.start, first), min(wanted.stop, end)
                if start < stop:
                    at = slice(start - wanted.start, stop - wanted.start)
                    frames[at], present[at] = one((slice(start - first, stop - first),))
            return frames, present

        return read


def joined_source(parts: Sequence[Source]) -> JoinedSource:
    """Stacks as one.

    Raises
    ------
    InputError
        If they have different frames.
    """
    kinds = {(part.layout.frame_shape, part.layout.dtype, len(part.layout.stored)) for part in parts}
    if len(kinds) != 1:
        raise InputError(f"{parts[0].path} holds parts of different frames; name one with dataset = ...")
    return JoinedSource(tuple(parts))
