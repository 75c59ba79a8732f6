"""What commands read and write. Nothing is overwritten when a command fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridfit.cli.starting import plain_docstrings_of_matplotlib
from hybridfit.errors import InputError

KINDS = {
    ".csv": "CSV",
    ".htm": "HTML",
    ".html": "HTML",
    ".json": "JSON",
    ".yaml": "YAML",
    ".yml": "YAML",
    ".hspy": "netCDF",
    ".h5": "netCDF",
    ".emd": "netCDF",
    ".hdf5": "netCDF",
    ".nc": "netCDF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".png": "PNG",
    ".pdf": "PDF",
    ".svg": "SVG",
}

if TYPE_CHECKING:
    import numpy as np

    from hybridfit.cli.console import Bars
    from hybridfit.fitting.result import FitResult
    from hybridfit.frame import Frame
    from hybridfit.identification.answer import Identification
    from hybridfit.io import BadFrame, FrameFile
    from hybridfit.library.library import Library


def open_all(
    paths: Sequence[Path],
    *,
    mask: Path | None,
    dataset: str | None,
    shape: tuple[int, ...] | None,
    dtype: str | None,
    offset: int,
) -> list[FrameFile]:
    """Every file, to be read frame by frame: `len` of each says how many frames it has.

    A file that is missing, and an option that does not fit one, is an error now. Whatever is wrong inside a
    file comes out as a `BadFrame` when its frames are read.
    """
    from hybridfit.io import open_frames, read_mask

    left_out = None if mask is None else read_mask(mask)
    return [
        open_frames(path, dataset=dataset, shape=shape, dtype=dtype, offset=offset, mask=left_out)
        for path in paths
    ]


def usable(frame: Frame | BadFrame) -> Frame:
    """The frame itself; the error of a bad one is raised."""
    from hybridfit.io import BadFrame

    if isinstance(frame, BadFrame):
        raise frame.error
    return frame


def open_library(name: str, bars: Bars) -> Library:
    """Open a library, with a bar while it is built."""
    from hybridfit.library.library import Library

    bars.start(f"library {Path(name).name}")
    return Library.open(name, progress=lambda fraction: bars.show("build", fraction))


def check_outputs(
    paths: Sequence[Path],
    inputs: Sequence[Path | str | None] = (),
    *,
    json: Path | None = None,
    csv: Path | None = None,
) -> None:
    """Raise an InputError for outputs that cannot be written, before the work begins.

    An output must not be an input, and must not replace a file of another kind: a table replaces tables, a
    picture replaces pictures. The kind goes by the suffix; `json` and `csv` name the outputs that have such
    content whatever their suffix.
    """
    from hybridfit.io import atomic_path, check_replaceable

    taken = {os.path.realpath(path): path for path in inputs if path is not None}
    for path in paths:
        with contextlib.suppress(_Enough), atomic_path(path):
            raise _Enough
        real = os.path.realpath(path)
        if real in taken:
            raise InputError(f"{path} would overwrite {taken[real]}; choose another name to write to")
        taken[real] = path
        kind = "JSON" if path == json else "CSV" if path == csv else KINDS.get(path.suffix.lower())
        if kind is not None:
            check_replaceable(path, kind)


class _Enough(Exception):
    """Leaves `atomic_path` after its checks, before anything is written."""


def write(
    plots: Sequence[tuple[Path, FitResult]],
    json: tuple[Path, Any] | None = None,
    image: tuple[Path, np.ndarray] | None = None,
    report: tuple[Path, str] | None = None,
) -> None:
    """Write everything, then put all of it in place: a failure leaves every old file as it was."""
    from hybridfit.io import atomic_path, write_json_atomic, write_tiff_atomic

    with contextlib.ExitStack() as stack:
        for path, result in plots:
            result.plot(stack.enter_context(atomic_path(path)))
        if json is not None:
            write_json_atomic(stack.enter_context(atomic_path(json[0])), json[1])
        if report is not None:
            stack.enter_context(atomic_path(report[0])).write_text(report[1], encoding="utf-8")
        if image is not None:
            write_tiff_atomic(stack.enter_context(atomic_path(image[0])), image[1])


def write_identified(
    plots: Sequence[tuple[Path, Identification]], json: tuple[Path, Any] | None = None
) -> None:
    """Write pictures and the JSON of identifications as `write` does: all or nothing."""
    from hybridfit.io import atomic_path, write_json_atomic

    with contextlib.ExitStack() as stack:
        for path, found in plots:
            found.plot(stack.enter_context(atomic_path(path)))
        if json is not None:
            write_json_atomic(stack.enter_context(atomic_path(json[0])), json[1])


def pictures(path: Path, count: int) -> list[Path]:
    """fit.png, or fit-1.png, fit-2.png, … where there are several."""
    with plain_docstrings_of_matplotlib():
        from hybridfit.plot import check_suffix

    check_suffix(path)
    if count == 1:
        return [path]
    width = len(str(count))
    return [path.with_name(f"{path.stem}-{i + 1:0{width}d}{path.suffix}") for i in range(count)]


def megabytes(path: Path) -> str:
    """The size of a file, with its unit."""
    return f"{path.stat().st_size / 1e6:.0f} MB"
