"""Libraries: built, saved whole or not at all, opened, cut to windows, asked for patterns."""

from __future__ import annotations

import json
import shutil

import netCDF4
import numpy as np
import pytest
import xarray as xr

from hybridfit.errors import LibraryError, RecipeError
from hybridfit.library import library as library_module
from hybridfit.library.library import Library, cache_folder
from hybridfit.library.recipe import Recipe, shipped_folder
from hybridfit.pattern.compose import pattern_at
from hybridfit.simulate.frame import simulate_frame

TINY = """
cif = "SrTiO3.cif"
zone = [0, 0, 1]
energy_kv = 200
g_max = 0.6
semi_angle_max = 3
tilt_max = 1
sampling = 0.5
thickness = { start = 5, stop = 8 }
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe of a few milliseconds, with an empty cache."""
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(tmp_path / "cache"))
    shutil.copy(shipped_folder() / "SrTiO3.cif", tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def builds(monkeypatch):
    """Counts the libraries that are built."""
    count, build = [], library_module.solve_into

    def counting(*args, **kwargs):
        count.append(args)
        return build(*args, **kwargs)

    monkeypatch.setattr(library_module, "solve_into", counting)
    return count


def refused(*args, **kwargs) -> str:
    with pytest.raises(LibraryError) as caught:
        Library.open(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- building


def test_a_library_holds_what_the_recipe_says(small_library):
    data = small_library.dataset
    assert data.intensity.dims == ("thickness", "beam", "direction")
    assert data.intensity.dtype == np.float32
    np.testing.assert_array_equal(data.thickness, np.arange(1, 61))
    assert (data.h[0], data.k[0], data.l[0]) == (0, 0, 0)
    np.testing.assert_array_equal(data.l, 0)
    assert np.hypot(data.h, data.k).max() <= 3.905
    assert small_library.thickness_range == (1, 60)
    assert (small_library.semi_angle_max, small_library.tilt_max) == (14, 3)
    assert small_library.rotation_order == 4
    assert small_library.step <= 0.5
    assert "SrTiO3 [0 0 1] 200 kV" in repr(small_library)


def test_only_an_eighth_of_the_directions_is_solved_for_4mm(small_library):
    reach = small_library.semi_angle_max + small_library.tilt_max
    everywhere = np.pi * reach**2 / small_library.step**2
    assert small_library.dataset.sizes["direction"] < 0.2 * everywhere


def test_no_electrons_are_made(small_library):
    total = small_library.dataset.intensity.sum("beam")
    assert float(total.max()) < 1
    assert (total.diff("thickness").mean("direction") < 0).all()


def test_both_ends_of_the_thicknesses_are_included(recipe):
    recipe.write_text(TINY.replace("stop = 8", "stop = 8.5, step = 0.7"))
    np.testing.assert_allclose(Library.build(Recipe.read(recipe)).dataset.thickness, 5 + 0.7 * np.arange(6))


def test_a_recipe_without_diffracted_beams_is_refused(recipe):
    recipe.write_text(TINY.replace("g_max = 0.6", "g_max = 0.2"))
    with pytest.raises(RecipeError, match=r"g_max 0\.2 .* leaves only the direct beam; .* 0\.256"):
        Library.build(Recipe.read(recipe))


def test_a_zone_axis_of_zero_is_refused(recipe):
    recipe.write_text(TINY.replace("[0, 0, 1]", "[0, 0, 0]"))
    with pytest.raises(RecipeError, match="no direction"):
        Library.open(recipe)


# ---------------------------------------------------------------- files


def test_what_is_saved_is_what_is_opened(small_library, tmp_path):
    small_library.save(tmp_path / "copy.nc")
    opened = Library.open(tmp_path / "copy.nc")
    xr.testing.assert_equal(opened.dataset, small_library.dataset)
    assert repr(opened) == repr(small_library)
    assert opened.dataset.attrs["checksum"] == small_library.dataset.attrs["checksum"]
    axis = np.linspace(-9, 9, 21)
    a, b = (each.patterns(thickness=30.5, tilt_x=1, semi_angle=9, k=axis) for each in (opened, small_library))
    xr.testing.assert_identical(a, b)
    opened.close()


def test_a_window_of_an_opened_library_can_be_saved(small_library, tmp_path):
    small_library.save(tmp_path / "whole.nc")
    whole = Library.open(tmp_path / "whole.nc")
    window = whole.window(30, semi_angle=9)
    window.save(tmp_path / "window.nc")
    xr.testing.assert_equal(Library.open(tmp_path / "window.nc").dataset, window.dataset)


def test_every_thickness_is_a_chunk_of_its_own(small_library, tmp_path):
    small_library.save(tmp_path / "copy.nc")
    with netCDF4.Dataset(tmp_path / "copy.nc") as file:
        _, beams, directions = small_library.dataset.intensity.shape
        assert file["intensity"].chunking() == [1, beams, directions]


@pytest.mark.parametrize("before", [None, b"precious"])
def test_a_save_that_fails_leaves_everything_as_it_was(small_library, tmp_path, monkeypatch, before):
    path = tmp_path / "library.nc"
    if before is not None:
        path.write_bytes(before)

    def half_way(self, target, **kwargs):
        with open(target, "wb") as file:
            file.write(b"half a libr")
        raise OSError("disk full")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", half_way)
    with pytest.raises(LibraryError, match=r"library\.nc cannot be written \(disk full\); make room"):
        small_library.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ([] if before is None else ["library.nc"])
    assert before is None or path.read_bytes() == before


def test_a_library_file_that_is_not_there_is_named(tmp_path):
    assert "nowhere.nc" in refused(tmp_path / "nowhere.nc")


@pytest.mark.parametrize("fraction", [0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(small_library, tmp_path, fraction):
    path = tmp_path / "cut.nc"
    small_library.save(path)
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    message = refused(path)
    assert "cut.nc" in message and "build it again" in message


def test_a_file_that_is_no_netcdf_is_refused(tmp_path):
    (tmp_path / "text.nc").write_text("no library at all\n" * 99)
    assert "cannot be read as a library" in refused(tmp_path / "text.nc")


def test_a_foreign_netcdf_file_is_refused(tmp_path):
    xr.Dataset({"t": ("x", [1.0, 2.0])}).to_netcdf(tmp_path / "foreign.nc")
    assert "no hybridfit library" in refused(tmp_path / "foreign.nc")


def test_another_version_is_refused(small_library, tmp_path):
    Library(small_library.dataset.assign_attrs(version=99)).save(tmp_path / "new.nc")
    message = refused(tmp_path / "new.nc")
    assert "format 99" in message and "build it again" in message


@pytest.mark.parametrize("name", ["Kryptonite", "", "no/such/folder"])
def test_an_unknown_name_lists_the_known_ones(name):
    message = refused(name)
    assert f"unknown library {name!r}" in message and "SrTiO3_001_200kV" in message


# ---------------------------------------------------------------- the cache


def test_the_environment_chooses_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("HYBRIDFIT_CACHE")
    assert "hybridfit" in str(cache_folder())


def test_a_recipe_is_built_once(recipe, builds):
    first, second = Library.open(recipe), Library.open(recipe)
    assert len(builds) == 1
    xr.testing.assert_equal(first.dataset, second.dataset)


def test_a_name_is_built_and_cached_like_a_recipe(recipe, builds, monkeypatch):
    monkeypatch.setattr("hybridfit.library.recipe.shipped_folder", lambda: recipe.parent)
    Library.open("tiny")
    Library.open("tiny")
    assert len(builds) == 1
    assert [path.name.startswith("tiny-") for path in cache_folder().iterdir()] == [True]


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "foreign", "old", "stale"])
def test_a_cached_library_that_cannot_be_used_is_built_again(recipe, builds, damage):
    fresh = Library.open(recipe)
    fresh.dataset.load()
    fresh.close()
    (cached,) = cache_folder().iterdir()
    if damage == "truncated":
        cached.write_bytes(cached.read_bytes()[:5000])
    elif damage == "empty":
        cached.write_bytes(b"")
    elif damage == "text":
        cached.write_text("something else")
    elif damage == "foreign":
        cached.unlink()
        xr.Dataset({"t": ("x", [1.0])}).to_netcdf(cached)
    else:
        attrs = {"version": 0} if damage == "old" else {"checksum": "0" * 64}
        Library(fresh.dataset.assign_attrs(attrs)).save(cached)
    xr.testing.assert_equal(Library.open(recipe).dataset, fresh.dataset)
    assert len(builds) == 2
    Library.open(recipe)  # and what was built is kept
    assert len(builds) == 2


def test_a_changed_recipe_is_built_again(recipe, builds):
    Library.open(recipe)
    recipe.write_text(TINY.replace("g_max = 0.6", "g_max = 0.8"))
    assert json.loads(Library.open(recipe).dataset.attrs["recipe"])["g_max"] == 0.8
    assert len(builds) == 2


def test_where_a_library_is_kept(recipe, builds):
    path = Library.cached_path(recipe)
    assert path == Library.cached_path(str(recipe), Recipe.read(recipe)) and not path.exists()
    Library.open(recipe)
    assert list(cache_folder().iterdir()) == [path]
    shipped = Library.cached_path("SrTiO3_001_200kV")
    assert shipped.parent == cache_folder() and shipped.name.startswith("SrTiO3_001_200kV-")
    with pytest.raises(RecipeError, match="'GaN'"):
        Library.cached_path("GaN")


def test_an_interrupted_build_leaves_nothing_behind(recipe):
    def interrupt(fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Library.open(recipe, progress=interrupt)
    assert not cache_folder().exists() or not list(cache_folder().iterdir())


def test_progress_is_reported_while_building_only(recipe):
    seen: list[float] = []
    Library.open(recipe, progress=seen.append)
    assert seen[-1] == 1
    seen.clear()
    Library.open(recipe, progress=seen.append)
    assert seen == []


# ---------------------------------------------------------------- windows


@pytest.mark.parametrize(
    ("thickness", "expected"),
    [
        (30.0, (26, 34)),  # 27 … 33, and one more on either side for the cubic
        (30.5, (26, 35)),
        (1.0, (1, 5)),
        (60.0, (56, 60)),
    ],
)
def test_a_window_holds_the_thicknesses_that_the_cubic_needs(small_library, thickness, expected):
    low, high = small_library.window(thickness).thickness_range
    assert low <= expected[0] and high >= expected[1]
    assert high - low <= 10


def test_a_window_is_never_too_small_for_the_cubic(small_library):
    for thickness in (1.0, 30.0, 60.0):
        window = small_library.window(thickness, half_widths=(0.0, 0.0))
        assert window.dataset.sizes["thickness"] >= 4


def test_a_window_holds_every_direction_around_its_tilt(small_library):
    """… or the equivalent of it in the wedge, (|q|, |q|) in order for 4mm."""
    window = small_library.window(30, (2.0, -1.0), half_widths=(3.0, 0.5), semi_angle=5.0)
    kept = {*map(tuple, window.dataset.direction_n.values)}
    steps = window.dataset.basis.values / window.dataset.sampling.values[:, None]
    n = np.stack(np.meshgrid(*[np.arange(-40, 41)] * 2), -1).reshape(-1, 2)
    for m in n[np.linalg.norm(n @ steps - (2.0, -1.0), axis=1) < 5.5]:
        assert kept & {(a, b) for a in (m[0], -m[0], m[1], -m[1]) for b in (m[0], -m[0], m[1], -m[1])}


def test_a_window_keeps_what_the_library_says_of_itself(small_library):
    window = small_library.window(30)
    assert window.rotation_order == 4 and window.semi_angle_max == 14
    assert window.step == small_library.step


# ---------------------------------------------------------------- patterns


def test_patterns_come_for_every_combination(small_library):
    axis = np.linspace(-15, 15, 31)
    patterns = small_library.patterns(
        thickness=[10, 20.5], tilt_x=[0, 1, 2], tilt_y=[-1, 0.5], semi_angle=10, k=axis
    )
    assert patterns.dims == ("thickness", "tilt_y", "tilt_x", "ky", "kx")
    assert patterns.shape == (2, 2, 3, 31, 31)
    np.testing.assert_array_equal(patterns.tilt_x, [0, 1, 2])
    np.testing.assert_array_equal(patterns.kx, axis)
    assert {name: patterns[name].attrs["units"] for name in patterns.dims} == {
        "thickness": "nm", "tilt_y": "mrad", "tilt_x": "mrad", "ky": "mrad", "kx": "mrad",
    }  # fmt: skip
    kx, ky = np.meshgrid(axis, axis)
    one = pattern_at(
        kx,
        ky,
        small_library.table(),
        thickness=20.5,
        tilt=(2.0, -1.0),
        semi_angle=10.0,
        half_edge=small_library.step / 2,
    )
    k = np.stack([kx.ravel(), ky.ravel()])
    one += small_library.diffuse.at(k, 20.5, (2.0, -1.0), 10.0).value.reshape(one.shape)
    np.testing.assert_allclose(patterns.sel(thickness=20.5, tilt_x=2, tilt_y=-1), one, atol=1e-6)


def test_patterns_of_numbers_keep_their_dimensions(small_library):
    patterns = small_library.patterns(thickness=10, semi_angle=13.6)
    assert patterns.shape == (1, 1, 1, 128, 128)
    assert float(patterns.kx[-1]) == pytest.approx(13.6 + 7.5)


def test_columns_are_kx_and_rows_are_ky(small_library):
    """A tilt along x breaks the symmetry left–right, and leaves that of top and bottom."""
    pattern = small_library.patterns(thickness=20, tilt_x=1.5, semi_angle=9).values[0, 0, 0]
    np.testing.assert_allclose(pattern, pattern[::-1], atol=1e-4)
    assert np.abs(pattern - pattern[:, ::-1]).max() > 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thickness": 61}, r"thickness 61 … 61 nm is outside this library \(1 … 60 nm\); build"),
        ({"thickness": [0.5, 10]}, "thickness 0.5 … 10 nm is outside"),
        ({"thickness": np.nan}, "thickness nan"),
        ({"tilt_x": 3, "tilt_y": 3}, r"tilt 4.24 mrad is outside .*at most 3.4 mrad .*; build"),
        ({"tilt_y": np.nan}, "tilt nan"),
        ({"semi_angle": 15}, r"semi-angle 15 mrad is outside .* at most 14 mrad\); build .* = 15"),
        ({"semi_angle": 0}, "semi-angle 0 mrad is outside"),
        ({"semi_angle": np.nan}, "semi-angle nan mrad is outside"),
    ],
)
def test_patterns_outside_the_library_are_refused_with_a_way_out(small_library, changes, message):
    with pytest.raises(LibraryError, match=message) as caught:
        small_library.patterns(**{"thickness": 10, "semi_angle": 13.6, **changes})
    assert "\n" not in str(caught.value)


def test_a_smaller_semi_angle_leaves_room_for_a_larger_tilt(small_library):
    small_library.patterns(thickness=10, tilt_x=7, semi_angle=10, k=np.linspace(-5, 5, 5))


def test_beams_beyond_what_is_compared_are_kept_where_there_are_no_others(build_library, tmp_path):
    """At 30 kV the next discs are 17.9 mrad away, and what is compared about one of 5 mrad ends before."""
    library = build_library("SrTiO3", (0, 0, 1), energy_kv=30, semi_angle_max=5)
    assert library.dataset.sizes["beam"] == 5
    library.save(tmp_path / "alone.nc")
    image, truth = simulate_frame(
        Library.open(tmp_path / "alone.nc"), thickness=21.4, semi_angle=4.8, shape=(64, 64), scale=3.0
    )
    row, col = np.indices(image.shape)
    away = np.hypot(col - truth["centre_x"], row - truth["centre_y"]) / truth["scale"]
    assert image[away < 4.0].mean() > 50 * image[away > 6.0].mean()
