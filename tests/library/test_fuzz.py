"""Damaged libraries, recipes and CIFs: a valid object, or one line that says what is wrong."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridfit.errors import HybridfitError, LibraryError, RecipeError
from hybridfit.library.integrity import CONTENTS, contents_digest
from hybridfit.library.library import Library
from hybridfit.library.plan import estimate
from hybridfit.library.recipe import Recipe, shipped_folder
from hybridfit.library.sizes import check_size
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import project

RECIPE = """cif = "SrTiO3.cif"
zone = [0, 0, 1]
in_plane = [1, 0, 0]
energy_kv = 200.0
g_max = 0.6
semi_angle_max = 3.0
tilt_max = 0.5
sampling = 0.8
thickness = { start = 5.0, stop = 8.0, step = 1.0 }
[parameters.shift]
values = [0.0, 0.1]
displace = { Ti1 = [0.0, 0.0, 1.0] }
"""
FUZZ = settings(
    derandomize=True,
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
places = st.floats(0, 1, exclude_max=True)
pieces = st.binary(min_size=1, max_size=64) | st.integers(1, 9000).map(bytes)
absurd = st.sampled_from(
    (0, -1, 1, 7, 2**31, 0.5, 1e308, float("nan"), float("inf"), "", "x", "{}", "[]", [1, 2], [0.0] * 3)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A recipe, its CIF, and its library as a file and as bytes."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "SrTiO3.cif").write_bytes((shipped_folder() / "SrTiO3.cif").read_bytes())
    (folder / "small.toml").write_text(RECIPE)
    Library.build(Recipe.read(folder / "small.toml"), device="cpu").save(folder / "small.nc")
    return folder


def composed(path: Path) -> np.ndarray:
    """What a library gives, whichever way it is used."""
    library = Library.open(path)
    with contextlib.closing(library):
        repr(library), json.loads(library.dataset.attrs["recipe"])
        values = {name: axis.reference for name, axis in library.structure.items()}
        low, high = library.thickness_range
        alpha = min(2.5, library.semi_angle_max)
        k = np.linspace(-5, 5, 7)
        out = library.patterns(thickness=(low + high) / 2, semi_angle=alpha, k=k, **values)
        library.at(**values).table()
        return out.values


@pytest.fixture(scope="module")
def whole(folder) -> np.ndarray:
    """What the undamaged library gives."""
    return composed(folder / "small.nc")


def one_line(error: HybridfitError) -> str:
    assert "\n" not in str(error) and len(str(error)) < 2000
    return str(error)


# ---------------------------------------------------------------- library files


@FUZZ
@given(st.lists(st.tuples(places, pieces), min_size=1, max_size=3), st.none() | places)
def test_bytes_of_a_library_change_its_numbers_or_are_noticed(folder, whole, changes, cut):
    content = bytearray((folder / "small.nc").read_bytes())
    for place, new in changes:
        at = int(place * len(content))
        content[at : at + len(new)] = new[: len(content) - at]
    path = folder / "bytes.nc"
    path.unlink(missing_ok=True)
    path.write_bytes(bytes(content) if cut is None else bytes(content[: int(cut * len(content))]))
    try:
        found = composed(path)
    except LibraryError as error:
        one_line(error)
    else:
        np.testing.assert_array_equal(found, whole)


def resealed(path: Path) -> None:
    """Give a file the digest of what it holds now."""
    with contextlib.suppress(AttributeError, ValueError):  # of attributes that xarray cannot read
        with xr.open_dataset(path, mask_and_scale=False, decode_times=False) as data:
            digest = contents_digest(data)
        with netCDF4.Dataset(path, "a") as file:
            file.setncattr(CONTENTS, digest)


@FUZZ
@given(st.data())
def test_attributes_that_are_missing_or_absurd(folder, data):
    path = folder / "attributes.nc"
    path.unlink(missing_ok=True)
    path.write_bytes((folder / "small.nc").read_bytes())
    with netCDF4.Dataset(path, "a") as file:
        owner = file[data.draw(st.sampled_from(list(file.variables)))] if data.draw(st.booleans()) else file
        names = [name for name in owner.ncattrs() if name not in (CONTENTS, "storage")]
        if not names:
            return
        name = data.draw(st.sampled_from(names))
        value = data.draw(st.none() | absurd)
        owner.delncattr(name)
        if value is not None:
            owner.setncattr(name, value)
    resealed(path)
    used(lambda: composed(path), LibraryError)


@FUZZ
@given(st.data())
def test_values_of_the_recipe_in_a_library(folder, data):
    path = folder / "recipe.nc"
    path.unlink(missing_ok=True)
    path.write_bytes((folder / "small.nc").read_bytes())
    with netCDF4.Dataset(path, "a") as file:
        values = json.loads(file.getncattr("recipe"))
        key = data.draw(st.sampled_from(sorted(values)))
        values[key] = data.draw(absurd)
        file.setncattr("recipe", json.dumps(values))
    resealed(path)
    used(lambda: composed(path), LibraryError)


@FUZZ
@given(st.data())
def test_variables_that_are_missing_or_absurd(folder, data):
    """Other numbers, types and shapes, with a digest that fits."""
    with xr.open_dataset(folder / "small.nc", mask_and_scale=False, decode_times=False) as opened:
        dataset = opened.load().drop_encoding()
    name = data.draw(st.sampled_from(sorted(set(map(str, dataset.variables)) - {"intensity"})))
    variable, how = dataset.variables[name], data.draw(st.integers(0, 4))
    values = variable.values
    if how == 0:
        dataset = dataset.drop_vars(name)
    elif how == 1:
        dtype = data.draw(st.sampled_from(("f4", "f8", "i1", "u2", "i8", "S1")))
        dataset = dataset.assign({name: (variable.dims, values.astype(dtype), variable.attrs)})
    elif how == 2:
        dim = data.draw(st.sampled_from(sorted(map(str, variable.dims))))
        dataset = dataset.isel({dim: slice(0, data.draw(st.integers(0, dataset.sizes[dim])))})
    else:
        other, value = values.copy(), data.draw(st.sampled_from((0, 1, -1, 1e9, 2**31, 1e300, np.nan)))
        with np.errstate(all="ignore"):
            other[np.random.default_rng(how).random(values.shape) < data.draw(places)] = np.array(
                value
            ).astype(values.dtype)
        dataset = dataset.assign({name: (variable.dims, other, variable.attrs)})
    path = folder / "variables.nc"
    path.unlink(missing_ok=True)
    dataset = dataset.assign_attrs({CONTENTS: contents_digest(dataset)})
    dataset.to_netcdf(path, encoding={each: {"_FillValue": None} for each in dataset.variables})
    used(lambda: composed(path), LibraryError)


def used(use: Callable[[], Any], refusal: type[HybridfitError]) -> None:
    """Use a file: it works, or is refused in one line."""
    try:
        use()
    except refusal as error:
        one_line(error)


# ---------------------------------------------------------------- recipes and CIFs


lines = st.lists(st.tuples(places, st.integers(0, 3), st.integers(0, 99)), min_size=1, max_size=3)
WORDS = (
    *(
        "0",
        "-1",
        "1",
        "17",
        "0.5",
        "1e-300",
        "1e300",
        "nan",
        "inf",
        "-0.0",
        "1e9",
        "9" * 30,
        "9" * 400,
        "true",
    ),
    *(
        '""',
        '"x"',
        '"/"',
        "[]",
        "{}",
        "[[1]]",
        "[1, 2]",
        "{ a = 1 }",
        "[0, 0, 0]",
        "[30, 1, 1]",
        "'",
        "[" * 2000,
    ),
    *("[1.0, nan]", "{ start = 0, stop = 1, step = 1e-9 }", "1979-05-27", '"\\u0000"', "." * 50),
)
NUMBERS = (
    "0",
    "-1",
    ".",
    "?",
    "1e9",
    "-1e300",
    "1e-9",
    "nan",
    "inf",
    "0.5",
    "3.905(2)",
    "180",
    "X",
    "''",
    "9" * 400,
)


def changed(text: str, changes: list[tuple[float, int, int]], words: tuple[str, ...], mark: str) -> str:
    """Lines left out, repeated, cut, or with another value after a mark."""
    out = text.splitlines()
    for place, how, word in changes:
        at = int(place * len(out))
        if how == 0:
            out[at] = ""
        elif how == 1:
            out.insert(0, out[at])
        elif how == 2:
            out[at] = out[at][: word % (len(out[at]) + 1)]
        elif mark in out[at]:
            parts = out[at].rstrip().split(mark)
            parts[1 + word % (len(parts) - 1)] = f" {words[word % len(words)]} "
            out[at] = mark.join(parts)
    return "\n".join(out) + "\n"


@FUZZ
@given(lines)
def test_recipes(folder, changes):
    path = folder / "case.toml"
    path.write_text(changed(RECIPE, changes, WORDS, "="), encoding="utf-8")

    def use() -> None:
        recipe = Recipe.read(path)
        recipe.checksum()
        size = estimate(recipe)
        assert str(size)
        check_size(size)

    used(use, RecipeError)


@FUZZ
@given(lines)
def test_cifs(folder, changes):
    path = folder / "case.cif"
    text = (folder / "SrTiO3.cif").read_text()
    text = text[text.index("data_") :]
    path.write_text(changed(text, changes, NUMBERS, " "), encoding="utf-8")

    def use() -> None:
        crystal = Crystal.from_cif(path)
        assert project(crystal, (0, 0, 1)).rotation_order in (1, 2, 3, 4, 6)

    used(use, RecipeError)
