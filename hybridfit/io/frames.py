"""Files of frames: the reader for a suffix, and one line for what cannot be read.

A file is opened once, and its frames are read one at a time. A bad frame does not stop the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from hybridfit.errors import HybridfitError, InputError
from hybridfit.frame import Frame, make_frame
from hybridfit.io.containers import is_mat73, read_mat, read_npz
from hybridfit.io.formats import raw_layout, read_mrc, read_npy, read_raw
from hybridfit.io.hdf import read_hdf
from hybridfit.io.pictures import read_pillow, read_tiff
from hybridfit.io.rosettasciio import read_rosettasciio
from hybridfit.io.stack import Stack

HDF_SUFFIXES = tuple(".nc .nc4 .cdf .h5 .hdf5 .hdf .he5 .nxs .hspy .emd".split())
RAW_SUFFIXES = (".raw", ".bin", ".dat")
Opener = Callable[[], AbstractContextManager[Stack]]
_READERS: dict[str, tuple[str, Callable[..., AbstractContextManager[Stack]]]] = {
    **dict.fromkeys(".png .jpg .jpeg".split(), ("PNG or JPEG", read_pillow)),
    **dict.fromkeys(".tif .tiff".split(), ("TIFF", read_tiff)),
    ".npy": ("NPY", read_npy),
    ".npz": ("NPZ", read_npz),
    ".mat": ("MAT", read_mat),
    **dict.fromkeys(".mrc .mrcs".split(), ("MRC", read_mrc)),
    **dict.fromkeys(HDF_SUFFIXES, ("netCDF or HDF5", read_hdf)),
}


@dataclass(frozen=True)
class BadFrame:
    """A frame that cannot be fitted.

    Attributes
    ----------
    source : str
        The file it came from, "file[i]" for a frame of a stack.
    error : InputError
        What is wrong with it, in one line.
    readable : bool
        True where the file holds the frame but it is no usable pattern; False where it cannot be read.
    """

    source: str
    error: InputError
    readable: bool

    @property
    def status(self) -> str:
        """The status of its answer: "unusable" or "unreadable"."""
        return "unusable" if self.readable else "unreadable"

    @property
    def message(self) -> str:
        """What is wrong, in one line."""
        return str(self.error)


@dataclass(frozen=True, eq=False)
class FrameFile:
    """A file of frames, made by `open_frames`. Iteration reads one frame at a time; `len` reads none.

    Attributes
    ----------
    path : Path
    kind : str
        The format, in words.
    opener : callable
        Opens the file.
    mask : array_like of bool, (rows, cols), optional
        True = leave this pixel out.
    """

    path: Path
    kind: str
    opener: Opener
    mask: ArrayLike | None = None

    def __len__(self) -> int:
        """Number of items that iteration yields; 1 for a file that cannot be read."""
        try:
            with self.opener() as stack:
                return max(1, stack.count + (stack.missing is not None))
        except Exception:  # iteration says what is wrong
            return 1

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Yield the frames in the order of the file, a `BadFrame` in the place of one that is bad.

        A file that cannot be read yields one `BadFrame`. Where the file announces frames that it does not
        hold, one `BadFrame` at the end stands for all of them.
        """
        name = str(self.path)
        try:
            with self.opener() as stack:
                alone = stack.count == 1 and stack.missing is None
                for i in range(stack.count):
                    yield self._frame(stack, i, name if alone else f"{name}[{i}]")
                if stack.missing is not None:
                    yield BadFrame(f"{name}[{stack.count}]", stack.missing, readable=False)
                elif stack.count == 0:
                    none = InputError(f"{name} holds no frames; save at least one 2-D array")
                    yield BadFrame(name, none, readable=False)
        except Exception as error:
            yield BadFrame(name, self._complaint(name, error), readable=False)

    def _frame(self, stack: Stack, i: int, source: str) -> Frame | BadFrame:
        try:
            image = stack.read(i)
        except Exception as error:
            return BadFrame(source, self._complaint(source, error), readable=False)
        try:
            frame = make_frame(image, source=source, mask=self._left_out(stack))
        except InputError as error:
            return BadFrame(source, error, readable=True)
        note = ", ".join(filter(None, [stack.note, frame.note]))
        known = {key: value for key, value in stack.calibration.items() if key != "step_nm"}
        return replace(frame, note=note, calibration=known) if note or known else frame

    def _left_out(self, stack: Stack) -> ArrayLike | None:
        """The mask of the user and that of the file."""
        if stack.mask is None or self.mask is None:
            return stack.mask if self.mask is None else self.mask
        mask = np.asarray(self.mask)
        return mask.astype(bool) | stack.mask if mask.shape == stack.mask.shape else mask

    def _complaint(self, source: str, error: Exception) -> InputError:
        """One line for whatever a decoder raises at a damaged file."""
        if isinstance(error, InputError):
            return error
        made = InputError(
            f"{source} cannot be read as {self.kind} ({one_line(error)}); "
            "it is truncated, damaged or of another format: copy or save it again"
        )
        made.__cause__ = error
        return made


def open_frames(
    path: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    shape: Sequence[int] | None = None,
    dtype: DTypeLike | None = None,
    offset: int = 0,
    mask: ArrayLike | None = None,
) -> FrameFile:
    """Open a file of frames that are then read one at a time.

    Parameters
    ----------
    path, dataset, shape, dtype, offset, mask
        As for `read_frames`.

    Raises
    ------
    InputError
        If the file is not there, or an option does not fit its format. What is wrong inside the file is
        yielded by the iteration, frame by frame.
    """
    path = Path(path)
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} does not exist or must not be read; check name, folder and permissions")
    suffix = path.suffix.lower()
    if suffix in (".zspy", ".xml"):
        raise InputError(
            f"{path} is a scan, not a frame; map it with hybridfit map, or read frames with open_scan"
        )
    if not path.is_file():
        raise InputError(f"{path} is not a file; name the files, such as {path / '*.tif'}")
    kind, reader = _READERS.get(suffix, (f"a {suffix or 'suffixless'} file", read_rosettasciio))
    opener: Opener = partial(reader, path)
    raw_given = shape is not None or dtype is not None or offset != 0
    if reader is read_mat and is_mat73(path):
        kind, reader = "MATLAB 7.3", partial(read_hdf, matlab=True)
    several = suffix in (*HDF_SUFFIXES, ".npz", ".mat")
    if dataset is not None and not several:
        raise InputError(
            f"dataset = {dataset!r} is for netCDF, HDF5, NPZ and MAT files; {path} is {kind}: leave it out"
        )
    if suffix in _READERS and raw_given:
        raise InputError(f"shape, dtype and offset are for raw files; {path} is {kind}: leave them out")
    if path.stat().st_size == 0:
        kind, opener = "an empty file", partial(_refuse_empty, path)
    elif suffix in RAW_SUFFIXES or raw_given:
        raw_layout(path, shape, dtype, offset, (2, 3))
        kind, opener = "raw", partial(read_raw, path, shape, dtype, offset)
    elif several:
        opener = partial(reader, path, dataset)
    return FrameFile(path, kind, opener, mask)


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
    binary files when `shape` and `dtype` are given. Tinted images become grey; those in
    colours are refused.

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
    file = open_frames(path, dataset=dataset, shape=shape, dtype=dtype, offset=offset, mask=mask)
    frames = []
    with closing(iter(file)) as read:  # type: ignore[type-var]
        for frame in read:
            if isinstance(frame, BadFrame):
                raise frame.error
            frames.append(frame)
    return frames


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
        with reader(path) as stack:
            image = stack.read(0) if stack.count == 1 and stack.missing is None else None
    except HybridfitError:
        raise
    except Exception as error:  # whatever a decoder throws at a damaged file
        raise InputError(
            f"mask {path} cannot be read as {kind} ({one_line(error)}); save it again"
        ) from error
    if image is None or image.ndim != 2 or image.dtype.kind not in "buif":
        raise InputError(f"mask {path} is not one two-dimensional image of numbers; save it as one")
    out: np.ndarray = image != 0
    return out


def one_line(error: BaseException) -> str:
    """What an error says, in one short line."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:160] or type(error).__name__


def _refuse_empty(path: Path) -> AbstractContextManager[Stack]:
    raise InputError(f"{path} is empty (0 bytes); copy or save it again")


def read_one(path: str | Path) -> Frame:
    """The only frame of a file.

    Raises
    ------
    InputError
        It holds several; and as of `read_frames`.
    """
    frames = read_frames(path)
    if len(frames) != 1:
        raise InputError(f"{path} holds {len(frames)} frames; give one of them, from hybridfit.read_frames")
    return frames[0]
