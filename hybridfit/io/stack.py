"""Frames of an open file, which are read one at a time, and the bounds that every reader keeps to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.settings import READING

ONE_BY_ONE = "map a 4D-STEM scan with hybridfit map, or slice it into single patterns"


@dataclass(frozen=True)
class Stack:
    """Frames of an open file.

    Attributes
    ----------
    count : int
        Frames that can be asked for.
    read : callable
        `read(i)` reads frame i, a (rows, cols) array as it is stored. It raises whatever the decoder raises.
    missing : InputError, optional
        Says which further frames the file announces but does not hold.
    mask : ndarray of bool, (rows, cols), optional
        True = the file says that this pixel measures nothing.
    note : str
        What the file says of its frames that changes them, in a few words.
    calibration : mapping
        What the file says of camera and microscope, as `io.calibration` has it.
    """

    count: int
    read: Callable[[int], np.ndarray]
    missing: InputError | None = None
    mask: np.ndarray | None = None
    note: str = ""
    calibration: Mapping[str, float] = field(default_factory=dict)


def kept_axes(shape: Sequence[int], most: int) -> tuple[int, ...]:
    """The axes of an array without those of length 1 that say nothing.

    Such are a last axis behind rows and columns, and, where there are more axes than `most`, those before
    rows and columns. (1, 1, r, c) and (r, c, 1) are (r, c), (1, y, x, r, c) is (y, x, r, c).
    """
    axes = list(range(len(shape)))
    while len(axes) > 2 and shape[axes[-1]] == 1:
        axes.pop()
    for i in tuple(axes[:-2]):
        if len(axes) > most and shape[i] == 1:
            axes.remove(i)
    return tuple(axes)


def kept_shape(shape: Sequence[int], most: int) -> tuple[int, ...]:
    """The sizes of the axes that `kept_axes` keeps."""
    return tuple(int(shape[i]) for i in kept_axes(shape, most))


def stack_of(path: Path, shape: Sequence[int], read: Callable[[int], np.ndarray]) -> Stack:
    """The frames of an array of (rows, cols) or (frames, rows, cols), of which `read` reads frame i.

    Raises
    ------
    InputError
        If the array has more dimensions, or more pixels or frames than are read.
    """
    sizes = tuple(map(int, shape))
    if len(sizes) > 3:
        raise InputError(
            f"{path} holds a {len(sizes)}-D array {sizes}; frames are 2-D and stacks 3-D; {ONE_BY_ONE}"
        )
    check_frame(path, sizes[-2:])
    if len(sizes) < 3:
        return Stack(1, read)
    check_positions(path, sizes[:1])
    return Stack(sizes[0], read)


def array_stack(path: Path, array: Any) -> Stack:
    """The frames of an array with `shape` and indexing that is not in memory yet."""
    array = array.reshape(kept_shape(array.shape, 3))  # a view
    whole = len(array.shape) < 3
    return stack_of(path, array.shape, lambda i: np.asanyarray(array[...] if whole else array[i]))


def joined(stacks: Sequence[Stack]) -> Stack:
    """Several stacks as one, in order."""
    if len(stacks) == 1:
        return stacks[0]
    places = [(stack, i) for stack in stacks for i in range(stack.count)]

    def read(i: int) -> np.ndarray:
        stack, at = places[i]
        return stack.read(at)

    missing = next((s.missing for s in stacks if s.missing is not None), None)
    first = stacks[0].calibration if stacks else {}
    same = all(s.calibration == first for s in stacks)
    return Stack(len(places), read, missing, calibration=first if same else {})


def check_frame(path: Path, shape: Sequence[int]) -> None:
    """Raise an InputError for a frame that is too large to be a diffraction pattern."""
    pixels, most = math.prod(map(int, shape)), READING.frame_pixels_at_most
    if pixels > most:
        sides = " × ".join(str(n) for n in shape)
        raise InputError(
            f"{path} holds a frame of {sides} = {pixels / 1e6:.4g} million px; at most {most / 1e6:.4g} "
            "million are read: crop or bin it, or check that it is a diffraction pattern"
        )


def check_positions(path: Path, shape: Sequence[int]) -> None:
    """Raise an InputError for a stack or a scan of more frames than anyone records."""
    count, most = math.prod(map(int, shape)), READING.positions_at_most
    if count > most:
        declared = " × ".join(str(n) for n in shape)
        raise InputError(
            f"{path} declares {declared} frames{f', {count:.3g} in all' if len(shape) > 1 else ''}; at most "
            f"{most} are read: its header is damaged, or it must be cut into smaller scans"
        )


def check_piece(path: Path, size: int) -> None:
    """Raise an InputError for a compressed piece that takes too much memory once it is decoded (bytes)."""
    most = READING.chunk_bytes_at_most
    if size > most:
        raise InputError(
            f"{path} is stored in pieces of {size / 1e6:.4g} MB; pieces of at most {most / 1e6:.4g} MB "
            "are read: save it in smaller chunks, or uncompressed"
        )


def check_stored(path: Path, name: str, declared: int, stored: int | None, most: float) -> None:
    """Raise an InputError where a dataset declares far more bytes than the file holds of it.

    `most` is the largest ratio of the two. Where nothing is known of what is stored, nothing is checked.
    """
    if stored is not None and declared > most * max(stored, 1):
        raise InputError(
            f"{path}: {name} declares {declared:.3g} bytes, of which {stored:.3g} are stored (at least "
            f"one in {most:g} is expected); they were not written, or they are in another file: choose that"
        )


def short_by(path: Path, size: int, needed: int) -> InputError:
    """The error for a file that ends before what its header announces (bytes)."""
    return InputError(f"{path} is truncated: {size} bytes of the {needed} that it announces; copy it again")
