"""Half floats in HDF5 files, which netCDF4 takes for text: the HDF5 library turns them into single floats."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.io.hdf_library import hdf_library, opened

_FLOAT = 1  # H5T_FLOAT
_SET = 0  # H5S_SELECT_SET
_Id = ctypes.c_int64  # hid_t
_Sizes = ctypes.POINTER(ctypes.c_uint64)
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "H5Dget_type": (_Id, (_Id,)),
    "H5Dget_space": (_Id, (_Id,)),
    "H5Tget_class": (ctypes.c_int, (_Id,)),
    "H5Tget_size": (ctypes.c_size_t, (_Id,)),
    "H5Tclose": (ctypes.c_int, (_Id,)),
    "H5Sclose": (ctypes.c_int, (_Id,)),
    "H5Screate_simple": (_Id, (ctypes.c_int, _Sizes, _Sizes)),
    "H5Sselect_hyperslab": (ctypes.c_int, (_Id, ctypes.c_int, _Sizes, _Sizes, _Sizes, _Sizes)),
    "H5Dread": (ctypes.c_int, (_Id, _Id, _Id, _Id, _Id, ctypes.c_void_p)),
}


class HalfFloats:
    """A dataset of half floats that reads as netCDF4's variables do: single floats by slices and numbers."""

    dtype = datatype = np.dtype("f4")

    def __init__(self, path: Path, name: str, variable: Any) -> None:
        self.path, self.name, self._variable = path, name, variable
        self.shape: tuple[int, ...] = tuple(map(int, variable.shape))
        self.ndim, self.dimensions = len(self.shape), variable.dimensions

    def __getitem__(self, at: Any) -> np.ndarray:
        library = hdf_library()
        at = at if isinstance(at, tuple) else (at,) if at is not ... else (slice(None),) * self.ndim
        spans = [
            (int(i), int(i) + 1, 1) if not isinstance(i, slice) else i.indices(n)
            for i, n in zip(at, self.shape, strict=True)
        ]
        sizes = [max(stop - start, 0) for start, stop, _ in spans]
        out = np.empty(sizes, "f4")
        start, count = ((ctypes.c_uint64 * self.ndim)(*v) for v in ([s for s, _, _ in spans], sizes))
        done = -1
        with opened(library, self.path) as file:
            dataset = library.H5Dopen2(file, os.fsencode(self.name), 0)
            space = library.H5Dget_space(dataset)
            memory = library.H5Screate_simple(self.ndim, count, None)
            if library.H5Sselect_hyperslab(space, _SET, start, None, count, None) >= 0:
                single = _Id.in_dll(library, "H5T_NATIVE_FLOAT_g")
                done = library.H5Dread(dataset, single, memory, space, 0, out.ctypes.data)
            library.H5Sclose(memory)
            library.H5Sclose(space)
            library.H5Dclose(dataset)
        if done < 0:
            raise OSError(f"the HDF5 library cannot decode {self.name}")
        return out.reshape([n for n, i in zip(sizes, at, strict=True) if isinstance(i, slice)])

    def group(self) -> Any:
        return self._variable.group()

    def chunking(self) -> Any:
        return self._variable.chunking()

    def ncattrs(self) -> list[str]:
        return []

    def set_auto_mask(self, on: bool) -> None:
        """Nothing is masked."""

    def set_var_chunk_cache(self, **options: Any) -> None:
        """The HDF5 library keeps its own."""


def half_floats(path: Path, name: str, variable: Any) -> HalfFloats | None:
    """The variable as half floats; None where it is something else. Called under the lock of HDF5."""
    library = hdf_library()
    if library is None or variable.dtype is not str or variable.ndim < 2 or 0 in variable.shape:
        return None
    for function, (result, arguments) in _SIGNATURES.items():
        getattr(library, function).restype, getattr(library, function).argtypes = result, arguments
    with opened(library, path) as file:
        dataset = -1 if file is None else library.H5Dopen2(file, os.fsencode(name), 0)
        if dataset < 0:
            return None
        kind = library.H5Dget_type(dataset)
        half = library.H5Tget_class(kind) == _FLOAT and library.H5Tget_size(kind) == 2
        library.H5Tclose(kind)
        library.H5Dclose(dataset)
    return HalfFloats(path, name, variable) if half else None
