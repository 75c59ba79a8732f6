"""Files that take their data from other files: nothing is read of those where a file came from a stranger.

HDF5 has links into other files, datasets that lie in any file of the disk, and virtual datasets. OME-TIFF
names the files of its other planes. Readers follow all of them, wherever they lead.

Source: the HDF5 reference manual, H5L and H5P interfaces; the OME-TIFF specification, TiffData and UUID,
https://docs.openmicroscopy.org/ome-model.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

from hybridfit.errors import InputError
from hybridfit.io.hdf_library import VIRTUAL, hdf_library, names_of, opened
from hybridfit.io.settings import READING

_HARD, _EXTERNAL = 0, 64  # H5L_TYPE_HARD, H5L_TYPE_EXTERNAL
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PLACE = re.compile(r"""FileName\s*=\s*(?:"([^"]*)"|'([^']*)')""")


def check_alone(path: Path) -> None:
    """Raise an InputError for a file that would have other files be read.

    Where the HDF5 library cannot be asked (Windows), nothing is known of HDF5 files.
    """
    with path.open("rb") as file:
        start = file.read(4)
    words = _tiff_elsewhere(path) if start in _TIFF else _hdf_elsewhere(path)
    if words:
        raise InputError(
            f"{path} takes data from other files ({words}); copy what it shows to a file of its own"
        )


def _tiff_elsewhere(path: Path) -> str:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            text = tiff.ome_metadata or ""
    except Exception:  # whatever is wrong with it: its reader says that
        return ""
    for first, second in _PLACE.findall(text):
        if re.search(r"[/\\&]|\.\.|:", first or second):  # & begins a character in other writing
            return "OME-TIFF in several folders"
    return ""


def _hdf_elsewhere(path: Path) -> str:
    library: Any = hdf_library()
    if library is None:
        return ""
    with opened(library, path) as file:
        if file is None:
            return ""
        left, seen = [b""], 0
        while left:
            group = left.pop()
            for name in names_of(library, file, group or b"/"):
                child = group + b"/" + name
                seen += 1
                if seen > READING.objects_at_most or child.count(b"/") > READING.depth_at_most:
                    return "groups without an end"
                kind = _link_type(library, file, child)
                if kind >= _EXTERNAL:
                    return "an external link"
                if kind != _HARD:  # a soft link leads to another name of this file
                    continue
                if _data_elsewhere(library, file, child):
                    return "an external or virtual dataset"
                left.append(child)
    return ""


class _LinkInfo(ctypes.Structure):
    """H5L_info2_t."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("corder_valid", ctypes.c_bool),
        ("corder", ctypes.c_int64),
        ("cset", ctypes.c_int),
        ("value", ctypes.c_ubyte * 16),
    )


def _link_type(library: Any, file: int, name: bytes) -> int:
    info = _LinkInfo()
    known = library.H5Lget_info2
    known.restype = ctypes.c_int
    known.argtypes = (ctypes.c_int64, ctypes.c_char_p, ctypes.POINTER(_LinkInfo), ctypes.c_int64)
    return int(info.type) if known(file, name, ctypes.byref(info), 0) >= 0 else _EXTERNAL


def _data_elsewhere(library: Any, file: int, name: bytes) -> bool:
    """Whether a name is that of a dataset whose data are in other files."""
    found = library.H5Dopen2(file, name, 0)
    if found < 0:
        return False
    made = library.H5Dget_create_plist(found)
    out = library.H5Pget_layout(made) == VIRTUAL or library.H5Pget_external_count(made) != 0
    library.H5Pclose(made)
    library.H5Dclose(found)
    return bool(out)
