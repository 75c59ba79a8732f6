"""What the HDF5 library says of a file before netCDF4 opens it, and what netCDF4 does not do itself.

netCDF4 walks through all groups of a file when it opens one. Groups that are linked in circles make it take
gigabytes and end the whole program, so they must be found first. It leaves out links that lead nowhere, and
finds no filters but those of the system. The HDF5 library is the one that netCDF4
itself is linked with: its functions are found through netCDF4's extension module. Where they cannot be found
(Windows, or a library older than 1.12), nothing is checked here.

Source: the HDF5 reference manual, H5L, H5O, H5D, H5PL and H5Z interfaces, https://support.hdfgroup.org/documentation.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybridfit.errors import InputError
from hybridfit.io.settings import READING

_GROUP = 0  # H5O_TYPE_GROUP
_BASIC = 1  # H5O_INFO_BASIC
_BY_NAME, _NATIVE = 0, 2  # H5_INDEX_NAME, H5_ITER_NATIVE
VIRTUAL = 3  # H5D_VIRTUAL: the data are in other files
_COPY = "copy the dataset that you need to a new file"

_Id = ctypes.c_int64  # hid_t
_Identity = tuple[int, bytes]


class _Info(ctypes.Structure):
    """H5O_info2_t: file number and token together name an object."""

    _fields_ = (
        ("fileno", ctypes.c_ulong),
        ("token", ctypes.c_ubyte * 16),
        ("type", ctypes.c_int),
        ("rest", ctypes.c_ubyte * 128),  # reference count, times, number of attributes
    )


_Visit = ctypes.CFUNCTYPE(ctypes.c_int, _Id, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "H5Eset_auto2": (ctypes.c_int, (_Id, ctypes.c_void_p, ctypes.c_void_p)),
    "H5Fopen": (_Id, (ctypes.c_char_p, ctypes.c_uint, _Id)),
    "H5Fclose": (ctypes.c_int, (_Id,)),
    "H5Gopen2": (_Id, (_Id, ctypes.c_char_p, _Id)),
    "H5Gclose": (ctypes.c_int, (_Id,)),
    "H5Literate2": (
        ctypes.c_int,
        (_Id, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, _Visit, ctypes.c_void_p),
    ),
    "H5Oget_info_by_name3": (
        ctypes.c_int,
        (_Id, ctypes.c_char_p, ctypes.POINTER(_Info), ctypes.c_uint, _Id),
    ),
    "H5Dopen2": (_Id, (_Id, ctypes.c_char_p, _Id)),
    "H5Dclose": (ctypes.c_int, (_Id,)),
    "H5Dget_storage_size": (ctypes.c_uint64, (_Id,)),
    "H5Dget_create_plist": (_Id, (_Id,)),
    "H5Pget_layout": (ctypes.c_int, (_Id,)),
    "H5Pget_external_count": (ctypes.c_int, (_Id,)),
    "H5Pclose": (ctypes.c_int, (_Id,)),
    "H5Pget_nfilters": (ctypes.c_int, (_Id,)),
    "H5Pget_filter2": (
        ctypes.c_int,
        (
            _Id,
            ctypes.c_uint,
            *(ctypes.c_void_p,) * 3,
            ctypes.c_size_t,
            *(ctypes.c_void_p,) * 2,
        ),
    ),
    "H5Zfilter_avail": (ctypes.c_int, (ctypes.c_int,)),
    "H5PLappend": (ctypes.c_int, (ctypes.c_char_p,)),
    "H5Lget_val": (ctypes.c_int, (_Id, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, _Id)),
}
# numbers under which filters are registered with the HDF Group
_FILTERS = {
    307: "bzip2",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32026: "Blosc2",
}


def check_groups(path: Path) -> None:
    """Raise an InputError for an HDF5 file whose groups go in circles, are too many, too deep or missing.

    Links are followed as netCDF4 follows them: hard and soft ones, and those into other files. A file that
    the library cannot open is left to netCDF4, which says why.
    """
    library = hdf_library()
    if library is None:
        return
    with opened(library, path) as file:
        if file is None:
            return
        root, _ = _group_at(library, file, b"/")
        left: list[tuple[bytes, tuple[_Identity | None, ...]]] = [(b"", (root,))]
        objects = 0
        lost: list[str] = []
        while left:
            group, above = left.pop()
            for name in names_of(library, file, group or b"/"):
                objects += 1
                child = group + b"/" + name
                identity, there = _group_at(library, file, child)
                if not there:
                    lost += _linked_file(library, file, child)
                if objects > READING.objects_at_most:
                    raise InputError(
                        f"{path} holds more than {READING.objects_at_most} groups and datasets, or links "
                        f"to the same ones many times over; {_COPY}"
                    )
                if identity is None:
                    continue
                if identity in above:
                    where = child.decode(errors="replace")
                    raise InputError(
                        f"{path}: the group {where} is linked into itself, so its groups have no end; {_COPY}"
                    )
                if len(above) > READING.depth_at_most:
                    raise InputError(
                        f"{path} has groups inside each other more than {READING.depth_at_most} deep; {_COPY}"
                    )
                left.append((child, (*above, identity)))
        if lost:
            raise _without(path, lost)


def _without(path: Path, lost: list[str]) -> InputError:
    names = sorted(set(lost))
    listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return InputError(
        f"{path} links to what is not there or cannot be opened: {listed}; put it beside the file under "
        "that name, or open one of the linked files itself"
    )


def stored_bytes(path: Path, dataset: str) -> int | None:
    """Bytes that a file stores of a dataset; None where it is in other files, or nothing is known."""
    library = hdf_library()
    if library is None:
        return None
    with opened(library, path) as file:
        found = -1 if file is None else library.H5Dopen2(file, os.fsencode(dataset), 0)
        if found < 0:
            return None
        made = library.H5Dget_create_plist(found)
        here = library.H5Pget_layout(made) != VIRTUAL and library.H5Pget_external_count(made) == 0
        size = int(library.H5Dget_storage_size(found))
        library.H5Pclose(made)
        library.H5Dclose(found)
        return size if here else None


def missing_filter(path: Path, dataset: str) -> str | None:
    """The name of a filter that a dataset needs and the HDF5 library does not find; None where it has all."""
    library = hdf_library()
    if library is None:
        return None
    with opened(library, path) as file:
        found = -1 if file is None else library.H5Dopen2(file, os.fsencode(dataset), 0)
        if found < 0:
            return None
        made = library.H5Dget_create_plist(found)
        numbers = [
            library.H5Pget_filter2(made, i, None, None, None, 0, None, None)
            for i in range(max(library.H5Pget_nfilters(made), 0))
        ]
        library.H5Pclose(made)
        library.H5Dclose(found)
        missing = [n for n in numbers if n > 0 and library.H5Zfilter_avail(n) <= 0]
        return _FILTERS.get(missing[0], f"filter {missing[0]}") if missing else None


@functools.cache
def hdf_library() -> Any:
    """The HDF5 library, its functions declared; None where it cannot be had.

    It finds the filters of hdf5plugin, where that is installed.
    """
    import netCDF4._netCDF4

    try:
        library = ctypes.CDLL(netCDF4._netCDF4.__file__)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    plugins = importlib.util.find_spec("hdf5plugin")  # which is not imported: that would take h5py
    for folder in (plugins and plugins.submodule_search_locations) or ():
        library.H5PLappend(os.fsencode(Path(folder) / "plugins"))
    return library


@contextmanager
def opened(library: Any, path: Path) -> Iterator[int | None]:
    """The file, open to be read; None where it is no HDF5 file."""
    library.H5Eset_auto2(0, None, None)  # else the library prints what fails
    file = library.H5Fopen(os.fsencode(path), 0, 0)
    try:
        yield file if file >= 0 else None
    finally:
        if file >= 0:
            library.H5Fclose(file)


def names_of(library: Any, file: int, group: bytes) -> list[bytes]:
    """Names of the links in a group, not many more than may be there."""
    names: list[bytes] = []

    def visit(_: int, name: bytes, *rest: Any) -> int:
        names.append(name)
        return int(len(names) > READING.objects_at_most)

    opened = library.H5Gopen2(file, group, 0)
    if opened >= 0:
        library.H5Literate2(opened, _BY_NAME, _NATIVE, None, _Visit(visit), None)
        library.H5Gclose(opened)
    return names


def _group_at(library: Any, file: int, name: bytes) -> tuple[_Identity | None, bool]:
    """What names the group that a path leads to, None where it leads to no group; and whether it leads on."""
    info = _Info()
    if library.H5Oget_info_by_name3(file, name, ctypes.byref(info), _BASIC, 0) < 0:
        return None, False
    return (info.fileno, bytes(info.token)) if info.type == _GROUP else None, True


def _linked_file(library: Any, file: int, name: bytes) -> list[str]:
    """The other file that a link leads into, if it does."""
    value = ctypes.create_string_buffer(4096)
    # of such links: a byte 0, the file, 0, the object in it; of others a path, which has no byte 0 in front
    if library.H5Lget_val(file, name, value, len(value), 0) < 0 or value.raw[0] != 0:
        return []
    return [os.fsdecode(value.raw[1:].split(b"\0")[0])]
