"""Scans that are arrays in .npz and .mat files, or in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from hybridfit.io.containers import (
    check_memory,
    chosen_array,
    is_mat73,
    load_mat,
    load_npz,
    mat_arrays,
    npz_arrays,
    npz_start,
)
from hybridfit.io.order import MATLAB, NUMPY, unnamed_order
from hybridfit.io.scan.binary import binary_source
from hybridfit.io.scan.hdf import hdf_source
from hybridfit.io.scan.source import Block, Layout, Read, Source, check_numbers, split_shape
from hybridfit.io.stack import kept_axes


@dataclass(frozen=True)
class ArraySource:
    """An array that is loaded as a whole when it is opened; `order` are its axes, positions first."""

    path: Path
    layout: Layout
    load: Callable[[], np.ndarray]
    order: tuple[int, ...]

    def open(self) -> Read:
        array = self.load()
        array = array.reshape([array.shape[i] for i in sorted(self.order)])
        array = array.transpose([sorted(self.order).index(i) for i in self.order])

        def read(block: Block) -> tuple[np.ndarray, np.ndarray]:
            frames = np.array(array[block], self.layout.dtype, order="C")
            return frames, np.ones(frames.shape[:-2], bool)

        return read


def container_source(path: Path, dataset: str | None) -> Source:
    """The array in a .npz or .mat file that is a scan.

    Arrays of .npz files that are not compressed are read where they lie; others are loaded by every process.

    Raises
    ------
    InputError
        If there is none or more than one, or it is too large to be loaded.
    """
    if path.suffix.lower() == ".npz":
        return _array(path, "NPZ", dataset)
    return hdf_source(path, dataset) if is_mat73(path) else _array(path, "MATLAB", dataset)


def _array(path: Path, kind: str, dataset: str | None) -> Source:
    matlab = kind == "MATLAB"
    arrays = mat_arrays(path) if matlab else npz_arrays(path)
    name = chosen_array(path, arrays, dataset, (4, 3, 2))
    shape, dtype = arrays[name]
    check_numbers(path, dtype)
    kept = kept_axes(shape, 4)
    found, note = unnamed_order(path, [shape[i] for i in kept], MATLAB if matlab else NUMPY)
    order = tuple(kept[i] for i in found)
    stored, frame_shape = split_shape(path, tuple(shape[i] for i in order))
    layout = Layout(kind, stored, frame_shape, dtype.newbyteorder("="), note=note)
    start = None if matlab else npz_start(path, name)
    if start is not None and order == tuple(sorted(order)):
        source = binary_source(path, kind, shape, dtype, start)
        return replace(source, layout=replace(layout, tile=source.layout.tile))
    check_memory(path, shape, dtype)
    return ArraySource(path, layout, partial(load_mat if matlab else load_npz, path, name), order)
