"""Arrays in .npz and .mat files: which of them is meant, and where it lies.

MATLAB 7.3 files are HDF5, with the axes in reverse order; older ones are read by scipy. MATLAB keeps the
frames of a stack behind each other: (rows, columns, frames).
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.formats import npy_header, unnamed_stack
from hybridfit.io.order import MATLAB
from hybridfit.io.stack import Stack, check_piece, kept_axes

Found = Mapping[str, tuple[tuple[int, ...], np.dtype]]  # name: shape and type
_LOCAL_HEADER = 30  # bytes in front of the name of a member


def npz_arrays(path: Path) -> Found:
    """The arrays of numbers in a .npz file, without reading them."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                if member.endswith(".npy"):
                    shape, _, kind = npy_header(file)
                    found[member.removesuffix(".npy")] = shape, kind
    return found


def npz_start(path: Path, name: str) -> int | None:
    """Where the values of an array lie (bytes); None where they are compressed or in Fortran order."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        with archive.open(member) as file:
            _, fortran, _ = npy_header(file)
            within = file.tell()
    with path.open("rb") as whole:
        whole.seek(member.header_offset)
        local = whole.read(_LOCAL_HEADER)
    lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    return None if fortran else member.header_offset + _LOCAL_HEADER + lengths + within


def load_npz(path: Path, name: str) -> np.ndarray:
    """An array of a .npz file."""
    with np.load(path, allow_pickle=False) as archive:
        values: np.ndarray = archive[name]
    return values


def is_mat73(path: Path) -> bool:
    """True for a .mat file that is HDF5."""
    with path.open("rb") as file:
        return file.read(10) == b"MATLAB 7.3"


def mat_arrays(path: Path) -> Found:
    """The arrays of numbers in a .mat file of MATLAB 4 to 7.2, without reading them."""
    from scipy.io import whosmat

    kinds = {"single": "f4", "double": "f8"}
    kinds |= {f"{u}int{8 * n}": f"{u or 'i'}{n}" for n in (1, 2, 4, 8) for u in ("", "u")}
    known = [(name, shape, kinds[kind]) for name, shape, kind in whosmat(path) if kind in kinds]
    return {name: (tuple(shape), np.dtype(kind)) for name, shape, kind in known}


def load_mat(path: Path, name: str) -> np.ndarray:
    """An array of a .mat file."""
    from scipy.io import loadmat

    values: np.ndarray = loadmat(path, variable_names=[name])[name]
    return values


def chosen_array(path: Path, arrays: Found, dataset: str | None, dimensions: Sequence[int]) -> str:
    """The name of the array that is meant: the one asked for, or the only one of the first rank there is.

    Raises
    ------
    InputError
        If there is none or more than one, or it takes too much memory.
    """
    most = max(dimensions)
    ranks = {
        name: len(kept_axes(shape, most)) for name, (shape, kind) in arrays.items() if kind.kind in "uif"
    }
    listed = ", ".join(f"{name} {shape}" for name, (shape, _) in list(arrays.items())[:12]) or "none"
    if dataset is not None:
        if ranks.get(dataset) not in dimensions:
            raise InputError(f"{path} holds no array {dataset!r} of frames; its arrays are: {listed}")
        return dataset
    for rank in dimensions:
        usable = [name for name, n in ranks.items() if n == rank]
        if len(usable) == 1:
            return usable[0]
        if usable:
            raise InputError(f"{path} holds {len(usable)} arrays; name one with dataset = ...: {listed}")
    raise InputError(f"{path} holds no array of frames; its arrays are: {listed}")


def check_memory(path: Path, shape: Sequence[int], kind: np.dtype) -> None:
    """Raise an InputError for an array that is read as a whole, and is too large for that."""
    check_piece(path, math.prod(map(int, shape)) * kind.itemsize)


@contextmanager
def read_npz(path: Path, dataset: str | None = None) -> Iterator[Stack]:
    """Frames of an array in a .npz file."""
    arrays = npz_arrays(path)
    name = chosen_array(path, arrays, dataset, (3, 2))
    check_memory(path, *arrays[name])
    yield unnamed_stack(path, load_npz(path, name))


@contextmanager
def read_mat(path: Path, dataset: str | None = None) -> Iterator[Stack]:
    """Frames of an array in a .mat file."""
    arrays = mat_arrays(path)
    name = chosen_array(path, arrays, dataset, (3, 2))
    check_memory(path, *arrays[name])
    yield unnamed_stack(path, load_mat(path, name), MATLAB)
