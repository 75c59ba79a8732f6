"""What every reader of 4D-STEM files gives: a description of the file, and a function that reads blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.stack import check_frame, check_positions

Block = tuple[slice, ...]  # one slice per stored axis of positions, start and stop given
Read = Callable[[Block], tuple[np.ndarray, np.ndarray]]  # frames (*block, rows, cols), present (*block)


@dataclass(frozen=True)
class Layout:
    """How the positions and frames lie in a file.

    Attributes
    ----------
    kind : str
        The format, in words.
    stored : tuple of int
        (scan rows, scan cols), or (frames,) where the file is a stack that knows no scan.
    frame_shape : (rows, cols)
    dtype : dtype
        Of the values that are read, in the byte order of this machine.
    tile : (scan rows, scan cols)
        Positions that lie together in the file: blocks of whole tiles are read fastest.
    counted : bool
        True where the number of frames follows from the size of the file, which may have been cut short.
    scan : (scan rows, scan cols) or None
        Shape of the scan, if the file states it but stores a plain stack.
    calibration : dict
        "mrad_per_px", "step_nm", "semi_angle_mrad": those which the file states.
    chosen : str
        Which frames of the file are positions, where not all are.
    files : tuple of path
        All files of the scan, where it is in several.
    note : str
        What was taken for granted of its axes, in one line.
    mask : ndarray of bool, (rows, cols), or None
        True = the file says that this pixel measures nothing.
    """

    kind: str
    stored: tuple[int, ...]
    frame_shape: tuple[int, int]
    dtype: np.dtype
    tile: tuple[int, int] = (1, 1)
    counted: bool = False
    scan: tuple[int, int] | None = None
    calibration: dict[str, float] = field(default_factory=dict)
    chosen: str = ""
    files: tuple[Path, ...] = ()
    note: str = ""
    mask: np.ndarray | None = field(default=None, compare=False)


class Source(Protocol):
    """Where the frames come from. It holds no data and no open file, so it can be sent to other processes.

    `open` opens the file in this process and returns what reads it.
    """

    @property
    def path(self) -> Path: ...

    @property
    def layout(self) -> Layout: ...

    def open(self) -> Read: ...


def split_shape(path: Path, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Positions and frame of a four-dimensional scan or three-dimensional stack.

    Raises
    ------
    InputError
        If the array has other dimensions, or more pixels or positions than are read. A single pattern is
        referred to `hybridfit fit`.
    """
    if len(shape) == 2 or (len(shape) == 3 and shape[0] == 1):
        raise InputError(
            f"{path} is a single pattern of {shape[-2]} × {shape[-1]} px, not a scan; "
            "use hybridfit fit, or read_frames"
        )
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise InputError(
            f"{path} holds a {len(shape)}-D array {shape}; a scan has 4 dimensions (scan rows, scan columns, "
            "rows, columns), a stack 3: save it as one of these"
        )
    check_frame(path, shape[-2:])
    check_positions(path, shape[:-2])
    return shape[:-2], (shape[-2], shape[-1])


def check_numbers(path: Path, dtype: np.dtype) -> None:
    if dtype.kind not in "uif":
        raise InputError(f"{path} holds {dtype} values, not intensities; save integers or floats")


def frame_by_frame(
    get: Callable[[Block], Any], block: Block, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    """Read a block; where that fails, read its frames one at a time and leave out those which fail."""
    try:
        return np.ascontiguousarray(get(block), layout.dtype), np.ones(_sizes(block), bool)
    except Exception:  # whatever a decoder throws at a damaged chunk
        pass
    frames = np.zeros((*_sizes(block), *layout.frame_shape), layout.dtype)
    present = np.zeros(_sizes(block), bool)
    for at, one in _singles(block):
        try:
            frames[at] = np.asarray(get(one), layout.dtype).reshape(layout.frame_shape)
            present[at] = True
        except Exception:
            continue
    return frames, present


def _sizes(block: Block) -> tuple[int, ...]:
    return tuple(s.stop - s.start for s in block)


def _singles(block: Block) -> Iterator[tuple[tuple[int, ...], Block]]:
    for at in product(*map(range, _sizes(block))):
        yield at, tuple(slice(s.start + i, s.start + i + 1) for s, i in zip(block, at, strict=True))
