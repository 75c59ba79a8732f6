"""Reader of netCDF and HDF5: which dataset is meant, and which way up it lies."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError

ONE_BY_ONE = "map a 4D-STEM scan with hybridfit map, or slice it into single patterns"


def read_hdf(path: Path, dataset: str | None = None) -> list[np.ndarray]:
    import netCDF4

    check_classic(path)
    with netCDF4.Dataset(path) as root:
        variables = dict(walk(root))
        name = _chosen(path, variables, dataset)
        variable = variables[name]
        # Without these attributes netCDF4 would mask its default fill value: 65535 of a 16 bit camera.
        variable.set_auto_mask(bool({"_FillValue", "missing_value"} & set(variable.ncattrs())))
        array: np.ndarray = variable[...]
        axes = [_emd_axis(variable.group(), i) for i in range(1, array.ndim + 1)]
    if array.ndim == 3 and name.startswith("Data/Image/") and name.endswith("/Data"):
        return [np.moveaxis(array, -1, 0)]  # Velox EMD: rows, cols, frame
    if "x" in axes and "y" in axes and axes.index("x") < axes.index("y"):
        return [array.T]  # Berkeley EMD: cols, rows
    return [array]


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


def walk(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, variable in group.variables.items():
        yield prefix + name, variable
    for name, child in group.groups.items():
        yield from walk(child, f"{prefix}{name}/")


def _chosen(path: Path, variables: dict[str, Any], dataset: str | None) -> str:
    usable = [name for name, variable in variables.items() if _is_frame(variable)]
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
    if name not in usable:
        found = f"{variables[name].ndim}-D {getattr(variables[name].dtype, 'name', 'text or half floats')}"
        raise InputError(
            f"{path}: {dataset!r} is {found}; 2-D or 3-D integers or floats are read; {ONE_BY_ONE}"
        )
    return name


def _is_frame(variable: Any) -> bool:
    """True for 2-D and 3-D numbers. Nothing else may be read: netCDF4 crashes on half floats, for one."""
    dtype = variable.datatype
    return isinstance(dtype, np.dtype) and dtype.kind in "uif" and variable.ndim in (2, 3)


def _emd_axis(group: Any, i: int) -> str:
    dim = group.variables.get(f"dim{i}")
    return str(dim.getncattr("name")) if dim is not None and "name" in dim.ncattrs() else ""
