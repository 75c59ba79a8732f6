"""Reader of netCDF and HDF5: which dataset is meant, and which way up it lies."""

from __future__ import annotations

import math
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.axes import HYPERSPY, NAMELESS, NETCDF, axes_of, axis_order
from hybridfit.io.calibration import Axis, calibration
from hybridfit.io.dectris import master_of
from hybridfit.io.hdf_half import HalfFloats, half_floats
from hybridfit.io.hdf_library import check_groups, missing_filter, stored_bytes
from hybridfit.io.order import MATLAB, unnamed_order
from hybridfit.io.settings import READING
from hybridfit.io.stack import ONE_BY_ONE, Stack, check_piece, check_stored, joined, kept_axes, stack_of
from hybridfit.io.trial import try_first

CACHE = 128 * 2**20  # bytes of decoded chunks kept, so that neighbouring reads do not decode them again
HDF_LOCK = threading.RLock()  # the HDF5 library serves one thread at a time

_VELOX_EXTRA = re.compile(r"Data/Image/[^/]+/(Metadata|FrameLookupTable)")


@contextmanager
def open_netcdf(path: Path) -> Iterator[Any]:
    """The file as netCDF4 has it, if its groups are a tree."""
    import netCDF4

    with HDF_LOCK:
        check_groups(path)
        root = netCDF4.Dataset(path)
    try:
        yield root
    finally:
        with HDF_LOCK:
            root.close()


@contextmanager
def read_hdf(path: Path, dataset: str | None = None, matlab: bool = False) -> Iterator[Stack]:
    """Frames of the dataset asked for, or of the only one that can be meant; `matlab`: a MATLAB 7.3 file."""

    def attempt() -> None:
        with _stack(path, dataset, matlab):
            pass

    try_hdf(path, attempt, dataset)
    with _stack(path, dataset, matlab) as stack:
        yield stack


def try_hdf(path: Path, attempt: Callable[[], object], *about: object) -> None:
    """Make an attempt at a netCDF or HDF5 file in a child process first; see `try_first`."""
    import netCDF4  # noqa: F401 - before the process is copied, so that the child need not

    check_classic(path)
    with HDF_LOCK:  # no other thread is in the HDF5 library when the process is copied
        try_first(path, attempt, *about)


@contextmanager
def _stack(path: Path, dataset: str | None, matlab: bool) -> Iterator[Stack]:
    with open_netcdf(path) as root:
        with HDF_LOCK:
            variables = datasets(path, root)
            master = master_of(variables) if dataset is None else None
            names = master.parts if master else [_chosen(path, variables, dataset)]
        stack = joined([_stack_at(path, root, name, variables[name], matlab) for name in names])
        if master is None:
            yield stack
        else:
            whole, corrected = stack.read, master.corrected
            yield replace(stack, read=lambda i: corrected(whole(i)), mask=master.mask, note=master.note)


def _stack_at(path: Path, root: Any, name: str, variable: Any, matlab: bool) -> Stack:
    """The frames of one dataset."""
    with HDF_LOCK:
        check_size(path, root, name, variable, READING.stack_per_stored_at_most)
        axes, microscope, kind = axes_of(root, name)
    # Without these attributes netCDF4 would mask its default fill value: 65535 of a 16 bit camera.
    variable.set_auto_mask(bool({"_FillValue", "missing_value"} & set(variable.ncattrs())))
    kept = kept_axes(variable.shape, 3)
    order, note = stored_order(path, variable, kind, axes, kept, matlab)
    shape = tuple(variable.shape[i] for i in order)
    known = calibration([axes[i] for i in order], microscope)
    return replace(stack_of(path, shape, _plane_reader(variable, order)), calibration=known, note=note)


def stored_order(
    path: Path, variable: Any, kind: str, axes: Sequence[Axis], kept: Sequence[int], matlab: bool = False
) -> tuple[tuple[int, ...], str]:
    """The axes of a variable as positions, rows, columns; a line where neither names nor sizes tell them."""
    if matlab:  # HDF5 lists the axes of MATLAB in reverse
        turned = tuple(kept[::-1])
        order, note = unnamed_order(path, [variable.shape[i] for i in turned], MATLAB)
        return tuple(turned[i] for i in order), note
    own = [axes[i] for i in kept]
    named = any(axis.units or axis.name.strip("0123456789") not in NAMELESS for axis in own)
    if kind in (NETCDF, HYPERSPY) and not named:
        order, note = unnamed_order(path, [variable.shape[i] for i in kept])
    else:
        order, note = axis_order(kind, own), ""
    return tuple(kept[i] for i in order), note


def _plane_reader(variable: Any, order: tuple[int, ...]) -> Callable[[int], np.ndarray]:
    """Read frame i of a variable whose axes are stored in another `order`; axes not in it have length 1.

    Frames of one chunk are decoded together, and kept until one of another chunk is asked for.
    """
    turned = tuple(sorted(order).index(i) for i in order)
    whole = [slice(None) if i in order else 0 for i in range(variable.ndim)]
    if len(order) == 2:
        return lambda i: _loaded(variable, tuple(whole)).transpose(turned)
    along, count = order[0], variable.shape[order[0]]
    chunks = variable.chunking()
    together = 1
    if isinstance(chunks, list):
        variable.set_var_chunk_cache(size=CACHE)
        pixels = math.prod(variable.shape) // max(count, 1)
        together = max(1, min(int(chunks[along]), CACHE // max(8 * pixels, 1)))
    kept: dict[int, np.ndarray] = {}

    def frames(start: int, stop: int) -> np.ndarray:
        at = list(whole)
        at[along] = slice(start, stop)
        return _loaded(variable, tuple(at)).transpose(turned)

    def read(i: int) -> np.ndarray:
        if i not in kept:
            kept.clear()
            start = i - i % together
            try:
                kept.update(enumerate(frames(start, min(start + together, count)), start))
            except Exception:  # one damaged frame among them: the others are read on their own
                one: np.ndarray[Any, Any] = frames(i, i + 1)[0]
                return one
        return kept[i]

    return read


def _loaded(variable: Any, at: tuple[slice | int, ...]) -> np.ndarray:
    with HDF_LOCK:
        values: np.ndarray = variable[at]
    return values


def check_size(path: Path, root: Any, name: str, variable: Any, per_stored: float) -> None:
    """Raise an InputError for a dataset that is not there, cannot be decoded, or has too large chunks."""
    lacking = missing_filter(path, name) if root.data_model.startswith("NETCDF4") else None
    if lacking is not None:
        raise InputError(
            f"{path}: {name} is compressed with {lacking}, which is not installed; pip install "
            '"hybridfit[formats]" (hdf5plugin), or save the file with gzip or uncompressed'
        )
    size = int(np.dtype(variable.dtype).itemsize)
    if root.data_model.startswith("NETCDF4"):  # HDF5
        declared = math.prod(map(int, variable.shape)) * size
        check_stored(path, name, declared, stored_bytes(path, name), per_stored)
    chunks = variable.chunking()
    if isinstance(chunks, list):
        check_piece(path, math.prod(map(int, chunks)) * size)


def check_classic(path: Path) -> None:
    """Raise an error for a truncated netCDF 3 file: netCDF4 would fill it up with zeros."""
    from scipy.io import netcdf_file

    complaint = None
    with path.open("rb") as file, warnings.catch_warnings():
        if file.read(4) not in (b"CDF\x01", b"CDF\x02"):
            return
        file.seek(0)
        warnings.simplefilter("ignore")  # it complains of its own map where it fails
        try:
            netcdf_file(file, mmap=True).close()  # mapped: a scan must not be loaded for this
        except Exception as error:  # whatever it throws at a damaged file
            complaint = str(error)
    if complaint is not None:
        raise ValueError(complaint)


def datasets(path: Path, root: Any) -> dict[str, Any]:
    """Every variable of a file by its path, half floats among them."""
    found = dict(walk(root))
    for name, variable in found.items():
        if variable.dtype is str:
            found[name] = half_floats(path, name, variable) or variable
    return found


def walk(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every variable of a group and of those in it, with its path."""
    for name, variable in group.variables.items():
        yield prefix + name, variable
    for name, child in group.groups.items():
        yield from walk(child, f"{prefix}{name}/")


def _chosen(path: Path, variables: dict[str, Any], dataset: str | None) -> str:
    usable = [name for name, variable in variables.items() if _is_frame(variable)]
    usable = [name for name in usable if not _VELOX_EXTRA.fullmatch(name)]
    usable = [name for name in usable if not isinstance(variables[name], HalfFloats)] or usable
    listed = ", ".join(usable[:12]) + (f" and {len(usable) - 12} more" if len(usable) > 12 else "")
    if dataset is None and len(usable) == 1:
        return usable[0]
    if dataset is None and usable:
        raise InputError(f"{path} holds {len(usable)} datasets; name one with dataset = ...: {listed}")
    if dataset is None:
        shapes = ", ".join(f"{name} {v.ndim}-D" for name, v in list(variables.items())[:12]) or "no dataset"
        raise InputError(
            f"{path} holds no 2-D or 3-D dataset of integers or floats, only {shapes}; {ONE_BY_ONE}"
        )
    name = dataset.strip("/")
    if name not in variables:
        raise InputError(f"{path} holds no dataset {dataset!r}; name one of: {listed or 'none is a frame'}")
    if not _is_frame(variables[name]):
        found = f"{variables[name].ndim}-D {getattr(variables[name].dtype, 'name', 'text')}"
        raise InputError(
            f"{path}: {dataset!r} is {found}; 2-D or 3-D integers or floats are read; {ONE_BY_ONE}"
        )
    return name


def _is_frame(variable: Any) -> bool:
    """True for 2-D and 3-D numbers, but for axes of length 1."""
    dtype = variable.datatype
    numbers = isinstance(dtype, np.dtype) and dtype.kind in "uif" and variable.ndim > 1
    return numbers and len(kept_axes(variable.shape, 3)) in (2, 3)
