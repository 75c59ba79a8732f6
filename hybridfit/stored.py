"""Libraries on disk: netCDF4 files, and the cache folder that they are kept in."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import xarray as xr

from hybridfit.building import FORMAT, VERSION
from hybridfit.errors import LibraryError
from hybridfit.io import atomic_path


def cache_folder() -> Path:
    """Where built libraries are kept; `HYBRIDFIT_CACHE` overrides the user cache folder."""
    return Path(os.environ.get("HYBRIDFIT_CACHE") or platformdirs.user_cache_dir("hybridfit"))


def read_dataset(path: Path) -> xr.Dataset:
    """Open the dataset of a library; a LibraryError where the file is missing, damaged or another version."""
    if not path.is_file():
        raise LibraryError(f"there is no library file {path}; `hybridfit library list` shows what there is")
    try:
        dataset = xr.open_dataset(path, engine="netcdf4")
    except (OSError, ValueError, RuntimeError) as error:
        raise LibraryError(f"{path} cannot be read as a library ({error}); build it again") from None
    if dataset.attrs.get("format") != FORMAT or "checksum" not in dataset.attrs:
        dataset.close()
        raise LibraryError(f"{path} is a netCDF file but no hybridfit library")
    if dataset.attrs.get("version") != VERSION:
        version = dataset.attrs.get("version")
        dataset.close()
        raise LibraryError(
            f"{path} has library format {version}, this hybridfit reads format {VERSION}; build it again"
        )
    return dataset


def write_dataset(dataset: xr.Dataset, path: Path) -> None:
    """Write the dataset of a library: whole, or not at all; a thickness of a crystal is a chunk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    *others, nb, nd = dataset.intensity.shape
    chunks = (*(1 for _ in others), nb, nd)
    with atomic_path(path) as temporary:
        dataset.to_netcdf(
            temporary,
            engine="netcdf4",
            encoding={"intensity": {"chunksizes": chunks, "zlib": False, "_FillValue": None}},
        )
