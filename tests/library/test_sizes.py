"""How large libraries are expected to be, on disk and in memory: against what was made and measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hybridfit.errors import RecipeError
from hybridfit.library import sizes
from hybridfit.library.plan import estimate
from hybridfit.library.recipe import Recipe
from hybridfit.library.sizes import check_size

SRTIO3, FAR = "SrTiO3_001_200kV", "SrTiO3_001_200kV_far"


def shipped(name: str, **changes: object) -> Recipe:
    return Recipe.shipped(name).model_copy(update=changes)


# what a build took beside the process that it was in: peak resident memory, GB
@pytest.mark.parametrize(
    ("name", "changes", "measured"),
    [
        (SRTIO3, {}, 1.0),
        (FAR, {}, 1.55),
        (SRTIO3, {"g_max": 1.2, "semi_angle_max": 14.0, "tilt_max": 3.0, "sampling": 0.2, "stop": 100}, 0.53),
        (SRTIO3, {"g_max": 1.2, "semi_angle_max": 14.0, "tilt_max": 3.0, "sampling": 0.2, "stop": 30}, 0.24),
    ],
)
def test_memory_is_what_was_measured(shipped_diffuse, name, changes, measured):
    recipe = shipped(name, **{key: value for key, value in changes.items() if key != "stop"})
    stop = float(changes.get("stop", recipe.thickness.stop))
    thickness = recipe.thickness.model_copy(update={"stop": stop})
    found = estimate(recipe.model_copy(update={"thickness": thickness})).memory / 1e9
    assert 0.8 * measured < found < 1.4 * measured


def test_a_library_is_as_large_as_expected(small_recipe, small_library):
    size, data = estimate(Recipe.read(small_recipe)), small_library.dataset
    made = sum(data[name].nbytes for name in ("intensity", "slope_debye_waller", "slope_energy", "diffuse"))
    assert 0.6 * made < size.stored < 1.2 * made
    assert size.stored_beams == pytest.approx(data.sizes["beam"], rel=0.1)


def test_a_file_takes_no_memory_for_all_intensities():
    size = estimate(shipped(FAR))
    whole = replace(size, whole=True)
    numbers = size.thicknesses * size.stored_beams * size.directions
    assert whole.memory - size.memory == pytest.approx(4 * numbers)
    many = replace(size, crystals=40)
    assert many.memory < 0.5 * many.stored  # slopes alone are all in memory
    assert replace(many, whole=True).memory > many.stored


def test_tables_of_discrete_values_are_counted():
    one = estimate(shipped("GaAs_110_200kV"))  # of both polarities
    assert (one.crystals, one.tables) == (2, 2)
    assert one.stored > replace(one, tables=1).stored
    along = estimate(shipped("LaSrMnO3_001_200kV"))  # of a continuous one
    assert along.crystals > 2 and along.tables == 1


def test_what_does_not_fit_is_refused_with_what_it_takes(monkeypatch):
    monkeypatch.setattr(sizes, "free_memory", lambda: 8e8)
    size = estimate(shipped(FAR))
    with pytest.raises(RecipeError) as caught:
        check_size(size)
    assert f"about {sizes.in_words(size.memory)} of memory (720 MB are free)" in str(caught.value)
    assert f"{sizes.in_words(size.memory)} of memory" in str(size)
    monkeypatch.setattr(sizes, "free_memory", lambda: 8e9)
    check_size(size)
    with pytest.raises(RecipeError, match="with 90 combinations"):
        check_size(replace(size, crystals=90, whole=True))
