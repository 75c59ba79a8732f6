"""Libraries on disk: netCDF4 files, the cache folder that they are kept in, and what a name stands for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import platformdirs
import xarray as xr

from hybridfit.errors import InputError, LibraryError
from hybridfit.io import atomic_path
from hybridfit.library.axes import StructuralAxis, axes_of
from hybridfit.library.build import FORMAT, VERSION
from hybridfit.library.recipe import Recipe


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


def recipe_axes(recipe: Recipe) -> dict[str, StructuralAxis]:
    """Structural parameters that the library of a recipe has."""
    return {
        name: StructuralAxis(np.array(p.values, float), p.unit, p.kind)
        for name, p in recipe.parameters.items()
    }


def structural_axes(name: str | Path) -> dict[str, StructuralAxis]:
    """Structural parameters of a library by its name or file; nothing is built for that.

    Raises
    ------
    LibraryError, RecipeError
        There is no such library, or its file or recipe cannot be used.
    """
    path = Path(name)
    if path.suffix == ".nc":
        with read_dataset(path) as dataset:
            return axes_of(dataset)
    return recipe_axes(Recipe.read(path) if path.suffix == ".toml" else Recipe.shipped(str(name)))


def check_parameters(
    names: Iterable[str], known: Iterable[str], library: str | Path, fix: Mapping[str, float | None]
) -> None:
    """Raise before a library is built for parameters that its fits do not have, or not at such a value.

    Parameters
    ----------
    names : of parameters that are fixed or freed
    known : names that every fit has
    library : name or file
    fix : mapping of parameter name to value, or to None

    Raises
    ------
    InputError
        A name is neither among the known nor a structural parameter.
    LibraryError, RecipeError
        A structural parameter is fixed at what the library does not have; or there is no such library.
    """
    known = tuple(known)
    others = [name for name in names if name not in known]
    if not others:
        return
    axes = structural_axes(library)
    for name in others:
        if name not in axes:
            raise InputError(f"unknown parameter {name!r}; the parameters are {', '.join((*known, *axes))}")
        value = fix.get(name)
        if value is not None:
            axes[name].checked(name, value)


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
