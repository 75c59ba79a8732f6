"""Frames in: the reader that a suffix stands for, and one clear line for what cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from hybridfit.errors import HybridfitError, InputError
from hybridfit.frame import Frame, make_frame
from hybridfit.io.formats import read_mrc, read_npy, read_pillow, read_raw, read_tiff
from hybridfit.io.hdf import ONE_BY_ONE, read_hdf
from hybridfit.io.rosettasciio import read_rosettasciio

HDF_SUFFIXES = tuple(".nc .nc4 .cdf .h5 .hdf5 .hdf .he5 .nxs .hspy .emd".split())
RAW_SUFFIXES = (".raw", ".bin", ".dat")
_READERS: dict[str, tuple[str, Callable[..., list[np.ndarray]]]] = {
    **dict.fromkeys(".png .jpg .jpeg".split(), ("PNG or JPEG", read_pillow)),
    **dict.fromkeys(".tif .tiff".split(), ("TIFF", read_tiff)),
    ".npy": ("NPY", read_npy),
    **dict.fromkeys(".mrc .mrcs".split(), ("MRC", read_mrc)),
    **dict.fromkeys(HDF_SUFFIXES, ("netCDF or HDF5", read_hdf)),
}


def read_frames(
    path: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    shape: Sequence[int] | None = None,
    dtype: DTypeLike | None = None,
    offset: int = 0,
    mask: ArrayLike | None = None,
) -> list[Frame]:
    """Read the frame, or the stack of frames, in a file.

    PNG, JPEG, TIFF, NPY, MRC, netCDF and HDF5 (.nc, .h5, .hdf5, .hspy, .emd, …) are read by what comes with
    hybridfit; DM3, DM4, MIB, BLO, SER and others by RosettaSciIO (``pip install "hybridfit[formats]"``); raw
    binary files when `shape` and `dtype` are given. Colour images become grey.

    Parameters
    ----------
    path : str or path
    dataset : str, optional
        netCDF and HDF5: "group/name". Needed where the file holds more than one 2-D or 3-D dataset.
    shape, dtype, offset : (rows, cols) or (frames, rows, cols); dtype such as ">u2"; bytes
        Raw files only: .raw, .bin, .dat and any suffix not known here.
    mask : array_like of bool, (rows, cols), optional
        True = leave this pixel out, whatever it holds.

    Returns
    -------
    list of Frame
        In the order of the file, each as `make_frame` checks it.

    Raises
    ------
    InputError
        If the file cannot be read, or one of its frames cannot be used.
    """
    path = Path(path)
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} does not exist or must not be read; check name, folder and permissions")
    if not path.is_file():
        raise InputError(f"{path} is not a file; name the files, such as {path / '*.tif'}")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); copy or save it again")
    suffix = path.suffix.lower()
    kind, reader = _READERS.get(suffix, (f"a {suffix or 'suffixless'} file", read_rosettasciio))
    raw_given = shape is not None or dtype is not None or offset != 0
    if dataset is not None and reader is not read_hdf:
        raise InputError(
            f"dataset = {dataset!r} is for netCDF and HDF5 files; {path} is {kind}: leave it out"
        )
    if suffix in _READERS and raw_given:
        raise InputError(f"shape, dtype and offset are for raw files; {path} is {kind}: leave them out")
    try:
        if suffix in RAW_SUFFIXES or raw_given:
            kind = "raw"
            arrays = [read_raw(path, shape, dtype, offset)]
        elif reader is read_hdf:
            arrays = read_hdf(path, dataset)
        else:
            arrays = reader(path)
        planes = [plane for array in arrays for plane in _planes(array, path)]
    except HybridfitError:
        raise
    except Exception as error:  # whatever a decoder throws at a damaged file
        raise InputError(
            f"{path} cannot be read as {kind} ({one_line(error)}); "
            "it is truncated, damaged or of another format: copy or save it again"
        ) from error
    if not planes:
        raise InputError(f"{path} holds no frames; save at least one 2-D array")
    if len(planes) == 1:
        return [make_frame(planes[0], source=str(path), mask=mask)]
    return [make_frame(plane, source=f"{path}[{i}]", mask=mask) for i, plane in enumerate(planes)]


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a mask: True where the file is not 0.

    It is not checked as a frame is: a mask may be boolean, constant, or at full scale.

    Raises
    ------
    InputError
        If the file cannot be read, or holds anything but one two-dimensional array of numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"mask {path} does not exist or is not a file; check name and folder")
    if path.suffix.lower() not in _READERS:
        raise InputError(f"mask {path}: masks are read from {', '.join(_READERS)}; save it as one of these")
    kind, reader = _READERS[path.suffix.lower()]
    try:
        planes = [plane for array in reader(path) for plane in _planes(array, path)]
    except HybridfitError:
        raise
    except Exception as error:  # whatever a decoder throws at a damaged file
        raise InputError(
            f"mask {path} cannot be read as {kind} ({one_line(error)}); save it again"
        ) from error
    if len(planes) != 1 or planes[0].ndim != 2 or planes[0].dtype.kind not in "buif":
        raise InputError(f"mask {path} is not one two-dimensional image of numbers; save it as one")
    out: np.ndarray = planes[0] != 0
    return out


def one_line(error: BaseException) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:160] or type(error).__name__


def _planes(array: np.ndarray, path: Path) -> list[np.ndarray]:
    if array.ndim == 3:
        return list(array)
    if array.ndim > 3:
        raise InputError(
            f"{path} holds a {array.ndim}-D array {array.shape}; frames are 2-D and stacks 3-D; {ONE_BY_ONE}"
        )
    return [array]
