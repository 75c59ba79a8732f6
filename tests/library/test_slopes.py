"""Slopes of a library: what they are, kept and read, blended, and done without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from hybridfit.errors import LibraryError
from hybridfit.library import integrity
from hybridfit.library.contents import SLOPES, unit_of
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, shipped_folder
from hybridfit.library.slopes import knows_vibration, packed, without_slopes
from hybridfit.physics import bloch
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import project

VALUES = {
    "cif": shipped_folder() / "SrTiO3.cif",
    "zone": (0, 0, 1),
    "energy_kv": 200,
    "g_max": 0.8,
    "semi_angle_max": 6,
    "tilt_max": 1,
    "sampling": 0.5,
    "thickness": {"start": 10, "stop": 15},
}
VIBRATION = {"b_scale": {"values": [0.8, 1.0, 1.25], "debye_waller": {"all": 1.0}}}


@pytest.fixture(scope="module")
def library():
    return Library.build(Recipe(**VALUES), device="cpu")


def numbers(dataset, name):
    variable = SLOPES[name]
    return dataset[variable].values * dataset[unit_of(variable)].values[..., None].astype(float)


@pytest.mark.parametrize("name", list(SLOPES))
def test_slopes_are_derivatives_of_what_is_solved(library, name):
    """Against central differences in double precision, of a matrix made here."""
    data = library.dataset
    crystal = Crystal.from_cif(VALUES["cif"])
    beams = project(crystal, (0, 0, 1)).beams(1.6 * 0.8)
    keep = len(project(crystal, (0, 0, 1)).beams(0.8))
    own = {tuple(n): i for i, n in enumerate(beams.tolist())}

    def solved(b=1.0, e=1.0):
        warm = project(replace(crystal, debye_waller=b * crystal.debye_waller), (0, 0, 1))
        matrix = bloch.DynamicalMatrix.of(warm, beams, 200 * e, higher_zones=True).folded(keep)
        grid = data.slope_n.values @ (warm.basis / data.slope_sampling.values[:, None])
        found = bloch.beam_intensities(matrix, grid, data.thickness.values, dtype=bloch.torch.complex128)
        return found[:, [own[tuple(n)] for n in data.beam_n.values.tolist()]]

    step = 1e-3
    key = {"debye_waller": "b", "energy": "e"}[name]
    up, down = solved(**{key: 1 + step}), solved(**{key: 1 - step})
    expected = (up - down) / (2 * step)
    found = numbers(data, name)
    assert np.abs(expected).max() > 0.01
    assert np.abs(found - expected).max() < 0.08 * np.abs(expected).max()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.998


def test_intensities_are_the_same_without_slopes_which_take_a_sixth_of_their_room_each(library):
    alone = Library.build(Recipe(**VALUES), slopes=False, device="cpu")
    xr.testing.assert_identical(alone.dataset, without_slopes(library.dataset))
    assert alone.slopes() is None
    sizes = {name: library.dataset[variable].nbytes for name, variable in SLOPES.items()}
    assert max(sizes.values()) < library.dataset.intensity.nbytes / 3  # a wide rim in so small a library


def test_packed_numbers_are_as_good_as_their_unit():
    values = np.random.default_rng(0).normal(size=(2, 3, 50)).astype(np.float32)
    values[1, 2] = 0
    whole, unit = packed(values)
    assert whole.dtype == np.int16 and unit.shape == (2, 3) and unit[1, 2] == 0
    assert np.abs(whole * unit[..., None] - values).max() <= 0.51 * unit.max()


def test_slopes_are_blended_in_thickness_on_their_own_grid(library):
    slopes = library.slopes()
    for name in SLOPES:
        exact = numbers(library.dataset, name)[2]
        np.testing.assert_allclose(slopes.blend(name, 12.0, {}), exact, atol=1e-6 * np.abs(exact).max())
        middle = slopes.blend(name, 12.5, {})
        assert np.abs(middle - exact).max() > 1e-3 * np.abs(exact).max()
    table = library.table()
    coarse = slopes.at(table)
    np.testing.assert_allclose(coarse.to_grid, table.to_grid * (coarse.sampling / table.sampling)[:, None])


def test_files_keep_slopes_and_find_damage_in_them(library, tmp_path):
    path = tmp_path / "whole.nc"
    library.save(path)
    opened = Library.open(path)
    xr.testing.assert_identical(opened.dataset.load(), library.dataset)
    opened.close()
    chunk = library.dataset[SLOPES["energy"]].values[3].tobytes()
    raw = bytearray(path.read_bytes())
    at = raw.find(chunk)
    assert at > 0
    raw[at : at + 64] = bytes(64)
    path.write_bytes(raw)
    damaged = Library.open(path)
    damaged.dataset.intensity.load()
    with pytest.raises(LibraryError, match=r"whole\.nc is damaged; copy it anew"):
        damaged.slopes()


def test_a_file_from_before_there_were_slopes_is_read(library, tmp_path, monkeypatch):
    path = tmp_path / "old.nc"
    with monkeypatch.context() as patch:
        patch.setattr(integrity, "STORAGE", 2)
        Library(without_slopes(library.dataset)).save(path)
    with xr.open_dataset(path, decode_times=False) as known:
        assert known.attrs["storage"] == 2 and not any("slope" in str(name) for name in known.variables)
    opened = Library.open(path)
    assert opened.slopes() is None
    np.testing.assert_array_equal(opened.dataset.intensity, library.dataset.intensity)


def test_a_damaged_layout_of_slopes_is_refused(library, tmp_path):
    wrong = {
        "slope_sampling is fine": {"slope_sampling": library.dataset.slope_sampling * 100},
        "is negative": {"slope_energy_unit": -library.dataset.slope_energy_unit},
        "has type int32": {"slope_energy": library.dataset.slope_energy.astype(np.int32)},
    }
    for words, change in wrong.items():
        path = tmp_path / "wrong.nc"
        Library(library.dataset.assign(change)).save(path)
        with pytest.raises(LibraryError, match=words):
            Library.open(path)


def test_slopes_between_the_values_of_a_structural_parameter():
    """Their mean over the nodes' polynomial, by `at` and by the blend of a stack."""
    library = Library.build(Recipe(**VALUES, parameters=VIBRATION), device="cpu")
    for each in (library, library.at(b_scale=0.9)):
        assert knows_vibration(each.dataset.attrs, each.structure)
    on_node = library.at(b_scale=1.0)
    exact = numbers(library.dataset, "energy")[1]
    np.testing.assert_array_equal(numbers(on_node.dataset, "energy"), exact)
    between = numbers(library.at(b_scale=0.9).dataset, "energy")[2]
    blended = library.slopes().blend("energy", 12.0, {"b_scale": 0.9})
    assert np.abs(between - blended).max() < 1e-3 * np.abs(exact).max()
    assert np.abs(between - exact[2]).max() > 1e-3 * np.abs(exact).max()


def test_a_window_has_the_slopes_of_its_thicknesses(library):
    window = library.window(12.5, half_widths=(1.0, 0.5), semi_angle=5)
    assert window.slopes() is not None
    for name in SLOPES:
        mine, whole = (each.slopes().blend(name, 12.4, {}) for each in (window, library))
        np.testing.assert_allclose(mine, whole[: len(mine)], atol=1e-5)
    assert not knows_vibration(window.dataset.attrs, window.structure)
