"""Scans in netCDF and HDF5: .nc, .h5 of py4DSTEM, .emd, .hspy, .nxs …, read chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.axes import axes_of
from hybridfit.io.calibration import calibration
from hybridfit.io.containers import is_mat73
from hybridfit.io.dectris import Master, master_of
from hybridfit.io.hdf import CACHE, HDF_LOCK, check_size, datasets, open_netcdf, stored_order, try_hdf
from hybridfit.io.hdf_half import HalfFloats, half_floats
from hybridfit.io.scan.chosen import JoinedSource, joined_source
from hybridfit.io.scan.source import Block, Layout, Read, Source, check_numbers, frame_by_frame, split_shape
from hybridfit.io.settings import READING
from hybridfit.io.stack import kept_axes, kept_shape

ATTRIBUTES = {"_FillValue", "missing_value", "scale_factor", "add_offset"}


@dataclass(frozen=True)
class HdfSource:
    """A dataset by its name; `order` are its axes as scan rows, scan cols, frame rows, frame cols."""

    path: Path
    layout: Layout
    dataset: str
    order: tuple[int, ...]

    def open(self) -> Read:
        import netCDF4

        with HDF_LOCK:
            return self.of(netCDF4.Dataset(self.path))

    def of(self, root: Any) -> Read:
        """What reads the dataset of an open file."""
        with HDF_LOCK:
            variable = root[self.dataset]
            if variable.dtype is str:
                variable = half_floats(self.path, self.dataset, variable)
            get = _getter(variable, self.order)

        def read(block: Block) -> tuple[np.ndarray, np.ndarray]:
            with HDF_LOCK:
                return frame_by_frame(get, block, self.layout)

        return read


def hdf_source(path: Path, dataset: str | None) -> Source:
    """Find the dataset that is a scan, or the one asked for, and the order of its axes.

    Raises
    ------
    InputError
        If there is none or more than one, or the one asked for cannot be read.
    """
    try_hdf(path, partial(_parts, path, dataset), "scan", dataset)
    parts, master = _parts(path, dataset)
    return parts[0] if master is None else MasterSource(tuple(parts), joined_source(parts), master)


def _parts(path: Path, dataset: str | None) -> tuple[list[HdfSource], Master | None]:
    """The dataset that is a scan, or the several of a Dectris master file, which are stacks."""
    with HDF_LOCK, open_netcdf(path) as root:
        variables = datasets(path, root)
        master = master_of(variables) if dataset is None else None
        if master is None:
            return [_source(path, root, _chosen(path, variables, dataset), variables)], None
        return [_source(path, root, name, variables, part=True) for name in master.parts], master


@dataclass(frozen=True)
class MasterSource:
    """The frames of a Dectris master file, which is opened once for all its parts.

    Its flat field is applied, where that is still to be done.
    """

    parts: tuple[HdfSource, ...]
    whole: JoinedSource
    master: Master

    @property
    def path(self) -> Path:
        return self.whole.path

    @property
    def layout(self) -> Layout:
        found, flat = self.whole.layout, self.master.flat
        kind = "Dectris HDF5" + (f", {self.master.note}" if self.master.note else "")
        dtype = found.dtype if flat is None else np.result_type(found.dtype, flat.dtype)
        return replace(found, kind=kind, dtype=dtype, mask=self.master.mask)

    def open(self) -> Read:
        import netCDF4

        with HDF_LOCK:
            root = netCDF4.Dataset(self.path)
            read = self.whole.joined([part.of(root) for part in self.parts])

        def corrected(block: Block) -> tuple[np.ndarray, np.ndarray]:
            frames, present = read(block)
            return self.master.corrected(frames), present

        return corrected


def _source(path: Path, root: Any, name: str, variables: Mapping[str, Any], part: bool = False) -> HdfSource:
    """A dataset that is a scan, or a stack; a part of one may have a single frame. Called under the lock."""
    variable = variables[name]
    check_size(path, root, name, variable, READING.scan_per_stored_at_most)
    axes, microscope, kind = axes_of(root, name)
    kept = kept_axes(variable.shape, 4)
    order, note = stored_order(path, variable, kind, axes, kept, is_mat73(path))
    shape = tuple(variable.shape[i] for i in order)
    stored, frame_shape = split_shape(path, (max(shape[0], 2), *shape[1:]) if part else shape)
    stored = shape[:1] if part else stored
    dtype = _dtype_read(path, name, _getter(variable, order), stored)
    check_numbers(path, dtype)
    chunks = variable.chunking()
    tile = (1, 1)
    if isinstance(chunks, list):
        tile = (1, chunks[order[0]]) if len(stored) == 1 else (chunks[order[0]], chunks[order[1]])
    known = calibration([axes[i] for i in order], microscope)
    layout = Layout(kind, stored, frame_shape, dtype, tile, calibration=known, note=note)
    return HdfSource(path, layout, name, order)


def _getter(variable: Any, order: tuple[int, ...]) -> Callable[[Block], np.ndarray]:
    """A function that reads positions with the axes in the order of `order`; masked values become NaN.

    Axes that are not in it have length 1.
    """
    # Without these attributes netCDF4 would mask its default fill value: 65535 of a 16 bit camera.
    variable.set_auto_mask(bool(ATTRIBUTES & set(variable.ncattrs())))
    if isinstance(variable.chunking(), list):
        variable.set_var_chunk_cache(size=CACHE)
    turned = tuple(sorted(order).index(i) for i in order)
    place = {axis: i for i, axis in enumerate(order)}

    def get(block: Block) -> np.ndarray:
        wanted = (*block, slice(None), slice(None))
        values: Any = variable[tuple(wanted[place[i]] if i in place else 0 for i in range(variable.ndim))]
        if isinstance(values, np.ma.MaskedArray):
            values = np.ma.filled(values if values.dtype.kind == "f" else values.astype("f4"), np.nan)
        return np.asarray(values).transpose(turned)

    return get


def _dtype_read(
    path: Path, name: str, get: Callable[[Block], np.ndarray], stored: tuple[int, ...]
) -> np.dtype:
    """The dtype of the values that are read: that of the first, middle or last frame, as can be decoded."""
    complaint = ""
    for part in (0.0, 0.5, 1.0):
        at = [round(part * (n - 1)) for n in stored]
        try:
            return get(tuple(slice(i, i + 1) for i in at)).dtype.newbyteorder("=")
        except Exception as error:  # whatever a filter throws
            complaint = " ".join(str(error).split())[:160]
    raise InputError(
        f"{path}: {name} cannot be decoded ({complaint}); it is damaged or compressed in a way that netCDF "
        "does not know: save it with gzip or uncompressed"
    )


def _chosen(path: Path, variables: dict[str, Any], dataset: str | None) -> str:
    scans = [name for name, v in variables.items() if _is_scan(v, 4)]
    usable = scans or [name for name, v in variables.items() if _is_scan(v, 3)]
    usable = [name for name in usable if not isinstance(variables[name], HalfFloats)] or usable
    listed = ", ".join(f"{name} {variables[name].shape}" for name in usable[:12])
    listed += f" and {len(usable) - 12} more" if len(usable) > 12 else ""
    if dataset is not None:
        name = dataset.strip("/")
        if name not in variables:
            raise InputError(
                f"{path} holds no dataset {dataset!r}; name one of: {listed or 'none is a scan'}"
            )
        variable = variables[name]
        if not any(_is_scan(variable, n) for n in (2, 3, 4)):
            found = f"{variable.ndim}-D {getattr(variable.dtype, 'name', 'text')}"
            raise InputError(
                f"{path}: {dataset!r} is {found}; 4-D or 3-D integers or floats are read as a scan"
            )
        return name
    if len(usable) == 1:
        return usable[0]
    if usable:
        raise InputError(f"{path} holds {len(usable)} scans; name one with dataset = ...: {listed}")
    frames = {name: v.shape for name, v in variables.items() if _is_scan(v, 2)}
    if frames:
        split_shape(path, kept_shape(max(frames.values(), key=math.prod), 4))  # raises: a single pattern
    shapes = ", ".join(f"{name} {v.ndim}-D" for name, v in list(variables.items())[:12]) or "no dataset"
    raise InputError(f"{path} holds no 4-D or 3-D dataset of integers or floats, only {shapes}")


def _is_scan(variable: Any, dimensions: int) -> bool:
    """True for numbers of so many dimensions, but for axes of length 1."""
    dtype = variable.datatype
    numbers = isinstance(dtype, np.dtype) and dtype.kind in "uif" and variable.ndim > 1
    return numbers and min(variable.shape) > 0 and len(kept_axes(variable.shape, 4)) == dimensions
