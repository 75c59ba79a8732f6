"""Maps for other programs: HyperSpy, py4DSTEM, PtyRAD, ImageJ, and everything that reads a table.

map → `FORMATS[name]` → a file, or files
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from hybridfit.scan.export.emd import write_emd
from hybridfit.scan.export.hyperspy import to_hyperspy, write_hspy
from hybridfit.scan.export.ptyrad import write_ptyrad
from hybridfit.scan.export.table import write_csv
from hybridfit.scan.export.tiff import write_tiff

# by name: what writes it, and the suffixes that its files may have; the first where a name has none
FORMATS: dict[str, tuple[Callable[..., list[Path] | None], tuple[str, ...]]] = {
    "hyperspy": (write_hspy, (".hspy",)),
    "py4dstem": (write_emd, (".h5", ".emd", ".hdf5")),
    "ptyrad": (write_ptyrad, (".yaml", ".yml")),
    "csv": (write_csv, (".csv", ".txt")),
    "tiff": (write_tiff, (".tif", ".tiff", "")),
}


def export_map(dataset: xr.Dataset, to: str, path: str | Path, **options: Any) -> list[Path]:
    """Write a map for another program; see `FORMATS`.

    Parameters
    ----------
    dataset : xarray.Dataset
    to : str
        "hyperspy", "py4dstem", "ptyrad", "csv" or "tiff".
    path : str or path
        Of the file; for "tiff" also a folder.
    options
        Of the writer: slice_nm of "ptyrad".

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    InputError
        There is no such format, the suffix is of another one, or what the writer raises.
    """
    path = checked_path(to, path)
    written = FORMATS[to][0](dataset, path, **options)
    return [path] if written is None else written


def checked_path(to: str, path: str | Path) -> Path:
    """The path, with the suffix of the format where it has none; an error for a suffix of another format."""
    from hybridfit.errors import InputError

    if to not in FORMATS:
        raise InputError(f"maps are not exported to {to!r}; give one of {', '.join(FORMATS)}")
    path, suffixes = Path(path), FORMATS[to][1]
    if path.suffix == "" and "" not in suffixes:
        path = path.with_name(path.name + suffixes[0])
    if path.suffix.lower() not in suffixes:
        wanted = ", ".join(suffix or "a folder" for suffix in suffixes)
        raise InputError(f"{path}: an export to {to} ends in {wanted}; give such a name")
    return path


__all__ = [
    "FORMATS",
    "checked_path",
    "export_map",
    "to_hyperspy",
    "write_csv",
    "write_emd",
    "write_hspy",
    "write_ptyrad",
    "write_tiff",
]
