"""Libraries on disk: netCDF4 files, the cache folder that they are kept in, and what a name stands for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import platformdirs
import xarray as xr
from xarray.backends import NetCDF4BackendEntrypoint

from hybridfit.errors import InputError, LibraryError
from hybridfit.io.trial import try_first
from hybridfit.library.axes import StructuralAxis, axes_of
from hybridfit.library.build import FORMAT, VERSION
from hybridfit.library.contents import BULK, check_contents
from hybridfit.library.integrity import (
    CONTENTS,
    READ,
    Repair,
    damaged,
    digests_name,
    unsealed,
)
from hybridfit.library.memory import in_words
from hybridfit.library.recipe import Recipe
from hybridfit.library.settings import FILE

MOST_CHUNKS = 1e5  # of a variable that is read to try a file


def cache_folder() -> Path:
    """Where built libraries are kept; `HYBRIDFIT_CACHE` overrides the user cache folder."""
    return Path(os.environ.get("HYBRIDFIT_CACHE") or platformdirs.user_cache_dir("hybridfit"))


def read_dataset(path: Path, repair: Repair | None = None) -> xr.Dataset:
    """Open the dataset of a library; intensities are read, and checked, when they are asked for.

    Parameters
    ----------
    path : Path
    repair : callable, optional
        Gives intensities or slopes anew that turn out to be damaged when they are read.

    Raises
    ------
    LibraryError
        The file is missing, damaged, of another version, or holds something else; later, when they are read,
        intensities are damaged or too large for the memory.
    """
    if not path.is_file():
        raise LibraryError(f"there is no library file {path}; `hybridfit library list` shows what there is")
    try:
        try_first(path, partial(_looked_at, path), "library")
        # the class, because its name has xarray look through all packages that there are
        dataset = xr.open_dataset(
            path, engine=NetCDF4BackendEntrypoint, mask_and_scale=False, decode_times=False
        )
    except InputError as error:  # the trial did not end
        raise LibraryError(f"{error}, or build it again") from None
    except (OSError, ValueError, RuntimeError, AttributeError, KeyError, TypeError) as error:
        words = " ".join(str(error).split())[:200]
        raise LibraryError(f"{path} cannot be read as a library ({words}); build it again") from None
    try:
        return _checked(dataset, path, repair)
    except BaseException:
        dataset.close()
        raise


def _looked_at(path: Path) -> None:
    """Open a library, read all but the large variables, and a number of each of these.

    With a damaged file this may never end.
    """
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        holders: list[Any] = [file, *file.variables.values()]
        for holder in holders:
            for attribute in holder.ncattrs():
                holder.getncattr(attribute)
        for name, variable in file.variables.items():
            whole = name not in BULK and variable.size <= FILE.most_small and _chunks(variable) <= MOST_CHUNKS
            variable[... if whole else (-1,) * variable.ndim]


def _chunks(variable: netCDF4.Variable[Any]) -> float:
    """In how many pieces a variable lies in its file."""
    each = variable.chunking()
    return 1 if each == "contiguous" else float(np.prod(np.ceil(np.divide(variable.shape, each))))


def _checked(dataset: xr.Dataset, path: Path, repair: Repair | None) -> xr.Dataset:
    """A dataset that was opened, once its version, its digests and its variables are seen to be right."""
    attrs = dataset.attrs
    if not _is(attrs.get("format"), FORMAT) or "checksum" not in attrs or "intensity" not in dataset:
        raise LibraryError(f"{path} is a netCDF file but no hybridfit library")
    if not _is(attrs.get("version"), VERSION):
        raise LibraryError(
            f"{path} has library format {attrs.get('version')}, this hybridfit reads format {VERSION}; "
            "build it again"
        )
    bulk = [name for name in BULK if name in dataset.variables]
    digests = all(digests_name(name) in dataset.variables for name in bulk)
    if not any(_is(attrs.get("storage"), one) for one in READ) or CONTENTS not in attrs or not digests:
        raise LibraryError(
            f"{path} has no digests to check its numbers by, as files of an older hybridfit; "
            f"build it again with `hybridfit library build RECIPE -o {path}`"
        )
    declared = sum(dataset.variables[name].nbytes for name in bulk)
    compressed = any(dataset.variables[name].encoding.get("zlib", False) for name in bulk)
    if declared > path.stat().st_size and not compressed:
        raise LibraryError(damaged(path, f"(it declares {in_words(declared)} of intensities)"))
    try:
        small = sum(v.nbytes for name, v in dataset.variables.items() if name not in BULK)
        if small > FILE.most_small:
            raise LibraryError(damaged(path, f"(it declares {in_words(small)} beside its intensities)"))
        checked = unsealed(dataset, path, repair)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        if isinstance(error, LibraryError):
            raise
        raise LibraryError(damaged(path, f"({' '.join(str(error).split())[:200]})")) from None
    check_contents(checked, path)
    return checked


def _is(value: object, expected: object) -> bool:
    """Whether an attribute, of whatever type, is what it should be."""
    return isinstance(value, str | int | np.integer) and value == expected


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
