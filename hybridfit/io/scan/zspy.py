"""Scans in .zspy, HyperSpy's zarr store (a folder or a zip file), where zarr is installed.

RosettaSciIO reads these with zarr 2 alone; both major versions of zarr are used here.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.axes import told_order
from hybridfit.io.calibration import Axis, calibration, number
from hybridfit.io.scan.source import Block, Layout, Read, check_numbers, frame_by_frame, split_shape
from hybridfit.io.stack import check_piece


@dataclass(frozen=True)
class ZspySource:
    """The array of an experiment, by its path in the store."""

    path: Path
    layout: Layout
    dataset: str
    order: tuple[int, ...]

    def open(self) -> Read:
        array, stored_at = _group(self.path)[self.dataset], np.argsort(self.order)

        def get(block: Block) -> np.ndarray:
            wanted = (*block, slice(None), slice(None))
            return np.asarray(array[tuple(wanted[i] for i in stored_at)]).transpose(self.order)

        return lambda block: frame_by_frame(get, block, self.layout)


def zspy_source(path: Path, dataset: str | None) -> ZspySource:
    """Find the experiment that is a scan.

    Raises
    ------
    InputError
        If zarr is not installed, or there is none or more than one.
    """
    experiments = _group(path)["Experiments"]
    found = {
        name: experiments[name]["data"]
        for name in sorted(experiments.group_keys())
        if "data" in experiments[name]
    }
    shapes = {name: tuple(array.shape) for name, array in found.items()}
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
    usable = [name for name, shape in shapes.items() if len(shape) == 4] or list(shapes)
    if dataset is not None:
        name = dataset.strip("/").removeprefix("Experiments/").removesuffix("/data")
        if name not in found:
            raise InputError(f"{path} holds no dataset {dataset!r}; name one of: {listed}")
    elif len(usable) == 1:
        name = usable[0]
    else:
        raise InputError(f"{path} holds {len(usable)} scans; name one with dataset = ...: {listed}")
    array, group = found[name], experiments[name]
    axes = [_axis(group, i) for i in range(len(shapes[name]))]
    order = told_order(axes) or tuple(range(len(axes)))
    stored, frame_shape = split_shape(path, tuple(shapes[name][i] for i in order))
    dtype = np.dtype(array.dtype)
    check_numbers(path, dtype)
    check_piece(path, math.prod(map(int, array.chunks)) * dtype.itemsize)
    microscope = "metadata/Acquisition_instrument/TEM"
    known = calibration(
        [axes[i] for i in order], dict(group[microscope].attrs) if microscope in group else {}
    )
    chunks = [array.chunks[i] for i in order]
    tile = (1, chunks[0]) if len(stored) == 1 else (chunks[0], chunks[1])
    layout = Layout("HyperSpy zarr", stored, frame_shape, dtype.newbyteorder("="), tile, calibration=known)
    return ZspySource(path, layout, f"Experiments/{name}/data", order)


def _group(path: Path) -> Any:
    try:
        zarr = importlib.import_module("zarr")
    except ImportError as error:
        raise InputError(
            f'{path}: .zspy needs zarr; pip install "hybridfit[formats]", or save it as .hspy'
        ) from error
    # ZipStore by its own name: zarr 2 and 3 do not agree on which suffixes they take for a zip file
    return zarr.open_group(
        str(path) if path.is_dir() else zarr.storage.ZipStore(str(path), mode="r"), mode="r"
    )


def _axis(group: Any, i: int) -> Axis:
    attributes = dict(group[f"axis-{i}"].attrs) if f"axis-{i}" in group else {}
    return Axis(
        str(attributes.get("name", "")), str(attributes.get("units", "")), number(attributes.get("scale"))
    )
