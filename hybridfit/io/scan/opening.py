"""Opening a 4D-STEM scan: the reader for a suffix, and the checks of the options."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from numpy.typing import DTypeLike

from hybridfit.errors import HybridfitError, InputError
from hybridfit.frame import SMALLEST_SIDE_PX
from hybridfit.io.frames import HDF_SUFFIXES, RAW_SUFFIXES, one_line
from hybridfit.io.scan.arrays import container_source
from hybridfit.io.scan.binary import mrc_source, npy_source, raw_source
from hybridfit.io.scan.chosen import chosen_source
from hybridfit.io.scan.empad import empad_raw, empad_source, is_empad
from hybridfit.io.scan.file import ScanFile
from hybridfit.io.scan.hdf import hdf_source
from hybridfit.io.scan.mib import mib_source
from hybridfit.io.scan.rosettasciio import rosettasciio_source
from hybridfit.io.scan.source import Source
from hybridfit.io.scan.tiff import tiff_source
from hybridfit.io.scan.zspy import zspy_source
from hybridfit.io.stack import check_positions

PICTURES = (".png", ".jpg", ".jpeg")
STORES = (*HDF_SUFFIXES, ".zspy", ".npz", ".mat")  # may hold several datasets, known by their names
SIMPLE: dict[str, Callable[[Path], Source]] = {
    ".npy": npy_source,
    **dict.fromkeys((".mrc", ".mrcs"), mrc_source),
    **dict.fromkeys((".tif", ".tiff"), tiff_source),
}


def open_scan(
    path: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    scan_shape: Sequence[int] | None = None,
    shape: Sequence[int] | None = None,
    dtype: DTypeLike | None = None,
    offset: int = 0,
    skip: int | None = None,
    flyback: int = 0,
) -> ScanFile:
    """Open a 4D-STEM scan without reading it.

    netCDF and HDF5 (.hspy, .h5 of py4DSTEM, .emd, .nxs …), NPY, MRC, TIFF, raw files and those of the EMPAD
    (.raw or its .xml) are read by what comes with hybridfit; .zspy with zarr; MIB, BLO, DM4, TVIPS and
    others by RosettaSciIO (``pip install "hybridfit[formats]"``).

    Parameters
    ----------
    path : str or path
    dataset : str, optional
        Needed where the file holds more than one scan: "group/name" of netCDF and HDF5; in the formats of
        RosettaSciIO a number.
    scan_shape : (rows, cols), optional
        Positions of the scan. Needed where the file is a stack of frames that knows no scan.
    shape, dtype, offset : dtype such as ">u2"; bytes
        Raw files only: .raw, .bin, .dat and any suffix not known here. `shape` is (scan rows, scan cols,
        rows, cols), (frames, rows, cols) or, with `scan_shape`, (rows, cols).
    skip : int, optional
        Frames before the first position of a stack. Where it is given, frames behind the last position are
        left out, too; without it there must be none.
    flyback : int
        Frames after every row that are no positions.

    Raises
    ------
    InputError
        If the file is no scan, or an option is missing; the message names it.
    """
    path = Path(path)
    _check_path(path)
    scan = None if scan_shape is None else _checked_scan(path, scan_shape)
    kind = f"a {path.suffix or 'suffixless'} file"
    try:
        choosing = skip is not None or flyback != 0
        source = _source(path, dataset, None if choosing else scan, shape, dtype, offset)
        if choosing:
            source = chosen_source(source, scan, skip or 0, flyback)
    except HybridfitError:
        raise
    except Exception as error:  # whatever a decoder throws at a damaged file
        raise InputError(
            f"{path} cannot be read as {kind} ({one_line(error)}); "
            "it is truncated, damaged or of another format: copy or save it again"
        ) from error
    if min(source.layout.frame_shape) < SMALLEST_SIDE_PX:
        rows, cols = source.layout.frame_shape
        raise InputError(
            f"{path} has frames of {rows} × {cols} px; at least {SMALLEST_SIDE_PX} px a side are needed: "
            "check that its axes are scan rows, scan columns, rows, columns"
        )
    return ScanFile(source, _scan_shape(source, None if choosing else scan))


def _source(
    path: Path,
    dataset: str | None,
    scan: tuple[int, int] | None,
    shape: Sequence[int] | None,
    dtype: DTypeLike | None,
    offset: int,
) -> Source:
    suffix = path.suffix.lower()
    raw_given = shape is not None or dtype is not None or offset != 0
    known = suffix in SIMPLE or suffix in STORES or suffix in PICTURES
    if raw_given and known:
        raise InputError(f"shape, dtype and offset are for raw files; {path} is {suffix}: leave them out")
    raw = raw_given or suffix in RAW_SUFFIXES
    if dataset is not None and (raw or (known and suffix not in STORES)):
        raise InputError(
            f"dataset = {dataset!r} is for files that hold several; {path} does not: leave it out"
        )
    if suffix in PICTURES:
        raise InputError(f"{path} is a single pattern, not a scan; use hybridfit fit, or read_frames")
    if suffix == ".xml":
        return empad_source(empad_raw(path), scan)
    if raw:
        empad = not raw_given and is_empad(path)
        return empad_source(path, scan) if empad else raw_source(path, shape, dtype, offset, scan)
    if suffix in HDF_SUFFIXES:
        return hdf_source(path, dataset)
    if suffix == ".zspy":
        return zspy_source(path, dataset)
    if suffix in (".npz", ".mat"):
        return container_source(path, dataset)
    if suffix == ".mib" or path.is_dir():
        return mib_source(path, dataset, scan)
    if suffix in SIMPLE:
        return SIMPLE[suffix](path)
    return rosettasciio_source(path, dataset, scan)


def _check_path(path: Path) -> None:
    store = path.is_dir() and (path.suffix.lower() == ".zspy" or any(path.glob("*.[mM][iI][bB]")))
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} does not exist or must not be read; check name, folder and permissions")
    if not path.is_file() and not store:
        raise InputError(f"{path} is not a file; name the file of the scan, such as {path / 'scan.hspy'}")
    if not store and path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); copy or save it again")


def _checked_scan(path: Path, scan_shape: Sequence[int]) -> tuple[int, int]:
    try:
        rows, cols = map(operator.index, scan_shape)
    except (TypeError, ValueError):
        rows = cols = 0
    if min(rows, cols) < 1:
        raise InputError(f"{path}: scan_shape {scan_shape} is none; give rows and columns, such as 64,64")
    return rows, cols


def _scan_shape(source: Source, scan: tuple[int, int] | None) -> tuple[int, int]:
    """The shape of the scan: as asked for, as the file says, or as it is stored."""
    layout, path = source.layout, source.path
    count = math.prod(layout.stored)
    told = scan or layout.scan
    if told is None and len(layout.stored) == 2:
        return layout.stored[0], layout.stored[1]
    if told is None:
        side = round(count**0.5)
        example = f"{side},{side}" if side * side == count else "64,64"
        raise InputError(
            f"{path} is a stack of {count} frames that does not know its scan; "
            f"give scan_shape, rows and columns, such as {example}"
        )
    check_positions(path, told)
    positions = told[0] * told[1]
    # a file that was cut short has fewer; one with more is read wrongly from the first row on
    if positions == count or (layout.counted and positions > count):
        return told
    raise InputError(
        f"{path} holds {count} frames; scan_shape {told[0]},{told[1]} makes {positions}: "
        + _remedy(count - positions, told)
    )


def _remedy(more: int, scan: tuple[int, int]) -> str:
    """What to do with so many more frames than positions."""
    if more < 0:
        return f"{-more} too few, give rows and columns that make as many"
    words = f"{more} too many; skip = {more} leaves out the first, skip = 0 the last"
    if more % scan[0] == 0:
        words += f", flyback = {more // scan[0]} those behind every row"
    elif scan[0] > 1 and more % (scan[0] - 1) == 0:
        words += f", flyback = {more // (scan[0] - 1)} those between rows"
    return words
