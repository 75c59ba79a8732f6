"""Recipes: what is shipped works, what is wrong is named in one line."""

from __future__ import annotations

import shutil

import pytest

from hybridfit.errors import RecipeError
from hybridfit.physics.crystal import Crystal, project
from hybridfit.recipe import Recipe, shipped_folder, shipped_names

GOOD = {
    "cif": '"SrTiO3.cif"',
    "zone": "[0, 0, 1]",
    "energy_kv": "200",
    "semi_angle_max": "10",
    "thickness": "{ start = 1, stop = 10 }",
}


@pytest.fixture
def write(tmp_path):
    """Write a recipe with some values changed, or left out (None), and its CIF beside it."""
    shutil.copy(shipped_folder() / "SrTiO3.cif", tmp_path)

    def write(**changes):
        path = tmp_path / "recipe.toml"
        values = {**GOOD, **changes}
        path.write_text("".join(f"{key} = {value}\n" for key, value in values.items() if value is not None))
        return path

    return write


def refused(path) -> str:
    with pytest.raises(RecipeError) as caught:
        Recipe.read(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_recipes_can_be_built(name):
    recipe = Recipe.shipped(name)
    projection = project(Crystal.from_cif(recipe.cif), recipe.zone, recipe.in_plane)
    assert len(projection.beams(recipe.g_max)) > 10


def test_strontium_titanate_is_shipped():
    recipe = Recipe.shipped("SrTiO3_001_200kV")
    assert recipe.zone == (0, 0, 1) and recipe.energy_kv == 200
    assert recipe.semi_angle_max >= 13.6 and recipe.tilt_max >= 4.6
    assert (recipe.thickness.start, recipe.thickness.stop) == (1, 125)


def test_an_unknown_shipped_name_lists_the_known_ones():
    with pytest.raises(
        RecipeError, match=r"unknown library 'Kryptonite'; shipped ones are .*SrTiO3_001_200kV"
    ):
        Recipe.shipped("Kryptonite")


def test_defaults_are_filled_in_and_the_cif_is_found_beside_the_recipe(write, tmp_path):
    recipe = Recipe.read(write())
    assert recipe.cif == tmp_path / "SrTiO3.cif"
    assert recipe.in_plane is None and recipe.thickness.step == 1


def test_an_absolute_cif_stays_where_it_is(write, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(shipped_folder() / "SrTiO3.cif", elsewhere)
    assert Recipe.read(write(cif=f"'{elsewhere}/SrTiO3.cif'")).cif.parent == elsewhere


@pytest.mark.parametrize(
    ("field", "bad", "words"),
    [
        ("zone", "[0, 0]", ["zone", "[0, 0]"]),
        ("zone", "[0, 0, 0.5]", ["zone.2", "0.5"]),
        ("zone", '"001"', ["zone", "'001'"]),
        ("zone", None, ["zone", "required"]),
        ("in_plane", "[1, 0]", ["in_plane", "[1, 0]"]),
        ("energy_kv", "10", ["energy_kv", "10", "20"]),
        ("energy_kv", "nan", ["energy_kv", "nan"]),
        ("energy_kv", '"high"', ["energy_kv", "'high'"]),
        ("g_max", "-1", ["g_max", "-1"]),
        ("g_max", "inf", ["g_max", "inf"]),
        ("semi_angle_max", "0", ["semi_angle_max", "0"]),
        ("semi_angle_max", "300", ["semi_angle_max", "300", "100"]),
        ("semi_angle_max", None, ["semi_angle_max", "required"]),
        ("tilt_max", "-1", ["tilt_max", "-1"]),
        ("sampling", "0", ["sampling", "0"]),
        ("sampling", "nan", ["sampling", "nan"]),
        ("thickness", "3", ["thickness", "3"]),
        ("thickness", "{ start = 0, stop = 10 }", ["thickness.start", "0"]),
        ("thickness", "{ start = 1, stop = 3 }", ["thickness", "at least four", "'stop': 3"]),
        ("thickness", "{ start = 10, stop = 1 }", ["thickness", "at least four", "'stop': 1"]),
        ("thickness", "{ start = 1, stop = 9, step = -1 }", ["thickness.step", "-1"]),
        ("thickness", "{ start = 1, end = 9 }", ["thickness", "stop"]),
        ("cif", "'missing.cif'", ["missing.cif", "does not exist"]),
        ("cif", "3", ["cif", "3"]),
        ("semi_angel_max", "10", ["semi_angel_max", "not permitted"]),
        ("parameters", "{ strain = [0, 1] }", ["strain", "not supported"]),
    ],
)
def test_a_bad_value_is_refused_by_name(write, field, bad, words):
    message = refused(write(**{field: bad}))
    assert "recipe.toml" in message or field == "cif"
    assert all(word in message for word in words), message


def test_a_file_that_is_no_toml_is_refused(write):
    assert "cannot read the recipe" in refused(write(energy_kv="="))


def test_a_missing_recipe_is_named(tmp_path):
    assert "nowhere.toml" in refused(tmp_path / "nowhere.toml")


def test_a_binary_recipe_is_refused(tmp_path):
    (tmp_path / "binary.toml").write_bytes(bytes(range(128, 256)))
    assert "cannot read the recipe" in refused(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    "change",
    [
        {"zone": "[0, 1, 1]"},
        {"in_plane": "[1, 1, 0]"},
        {"energy_kv": "300"},
        {"g_max": "1.5"},
        {"semi_angle_max": "11"},
        {"tilt_max": "4"},
        {"sampling": "0.3"},
        {"thickness": "{ start = 2, stop = 10 }"},
        {"thickness": "{ start = 1, stop = 11 }"},
        {"thickness": "{ start = 1, stop = 10, step = 0.5 }"},
    ],
    ids=str,
)
def test_the_checksum_changes_with_every_value(write, change):
    before = Recipe.read(write()).checksum()
    assert Recipe.read(write(**change)).checksum() != before


def test_the_checksum_changes_with_the_contents_of_the_cif_only(write, tmp_path):
    before = Recipe.read(write()).checksum()
    cif = tmp_path / "SrTiO3.cif"
    cif.rename(tmp_path / "renamed.cif")
    assert Recipe.read(write(cif="'renamed.cif'")).checksum() == before
    cif.write_text((tmp_path / "renamed.cif").read_text().replace("0.62", "0.63"))
    assert Recipe.read(write()).checksum() != before


def test_the_checksum_of_a_lost_cif_is_refused(write, tmp_path):
    recipe = Recipe.read(write())
    (tmp_path / "SrTiO3.cif").unlink()
    with pytest.raises(RecipeError, match="cannot read the CIF"):
        recipe.checksum()


def test_a_recipe_cannot_be_changed(write):
    with pytest.raises(ValueError, match="frozen"):
        Recipe.read(write()).g_max = 2.0
