"""Recipes: what is shipped works, what is wrong is named in one line."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from hybridfit.errors import RecipeError
from hybridfit.library.recipe import Recipe, shipped_folder, shipped_names
from hybridfit.library.structural import FILES, TAKEN
from hybridfit.model import PARAMETERS
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import project

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
        ("holz", "'first'", ["holz", "first"]),
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
    assert "Value error" not in message  # the words of another library


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
        {"holz": "true"},
        {"thickness": "{ start = 2, stop = 10 }"},
        {"thickness": "{ start = 1, stop = 11 }"},
        {"thickness": "{ start = 1, stop = 10, step = 0.5 }"},
    ],
    ids=str,
)
def test_the_checksum_changes_with_every_value(write, change):
    before = Recipe.read(write()).checksum()
    assert Recipe.read(write(**change)).checksum() != before


def test_libraries_without_lines_keep_the_checksum_that_they_had(write):
    recipe = Recipe.read(write())
    assert not recipe.holz
    assert Recipe.read(write(holz="false")).checksum() == recipe.checksum()


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


# ---------------------------------------------------------------- structural parameters

CHANGE = "displace = { Ti1 = [0.0, 0.0, 1.0] }"


@pytest.fixture
def structured(write):
    """Write a recipe with one structural parameter: its lines, and its name."""

    def structured(*lines, name="shift"):
        path = write()
        path.write_text(path.read_text() + "\n".join([f"[parameters.{name}]", *lines]) + "\n")
        return path

    return structured


@pytest.mark.parametrize(
    ("values", "expected", "kind"),
    [
        ("[0, 0.1, 0.2]", (0.0, 0.1, 0.2), "continuous"),
        ("[-1, 1]", (-1.0, 1.0), "discrete"),
        ("{ start = -0.3, stop = 0.3, step = 0.1 }", (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3), "continuous"),
    ],
)
def test_values_are_a_list_or_a_range(structured, values, expected, kind):
    parameter = Recipe.read(structured(f"values = {values}", CHANGE)).parameters["shift"]
    assert parameter.values == expected and parameter.kind == kind and parameter.unit == "1"


def test_the_kind_can_be_said(structured):
    recipe = Recipe.read(structured("values = [0, 1, 2]", 'kind = "discrete"', 'unit = "Å"', CHANGE))
    assert recipe.parameters["shift"].kind == "discrete" and recipe.parameters["shift"].unit == "Å"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["values = [0]", CHANGE], ["shift.values", "at least two"]),
        (["values = [1, 0]", CHANGE], ["shift.values", "ascending"]),
        (["values = [0, nan]", CHANGE], ["shift.values", "nan"]),
        (["values = { start = 0, stop = 1 }", CHANGE], ["shift.values", "step"]),
        (["values = { start = 0, stop = 1, step = 0.3 }", CHANGE], ["shift.values", "whole number"]),
        (["values = { start = 0, stop = 1, step = 0 }", CHANGE], ["shift.values", "step above 0"]),
        (["values = { start = 0, stop = 1, step = 1e-9 }", CHANGE], ["shift.values", "at most 1000"]),
        ([CHANGE], ["shift.values", "required"]),
        (["values = [0, 1]"], ["shift", "exactly one of path"]),
        (["values = [0, 1]", "strain = [0, 1]"], ["shift.strain", "table of components"]),
        (["values = [0, 1]", "strain = {}"], ["shift.strain", "all components are 0"]),
        (["values = [0, 1]", "strain = { xx = 0.0 }"], ["shift.strain", "all components are 0"]),
        (["values = [0, 1]", "strain = { xz = 1.0 }"], ["shift.strain.xz", "not permitted"]),
        (["values = [0, 1]", "strain = { xx = inf }"], ["shift.strain.xx", "inf"]),
        (["values = [0, 1]", "strain = { xx = 1.0 }", CHANGE], ["shift", "exactly one"]),
        (["values = [0, 1]", CHANGE, "debye_waller = { all = 1 }"], ["shift", "exactly one"]),
        (["values = [0, 1]", CHANGE, 'kind = "smooth"'], ["shift.kind", "smooth"]),
        (["values = [0, 1]", "displace = {}"], ["shift", "names nothing"]),
        (["values = [0, 1]", "displace = { Ti1 = [0, 1] }"], ["shift.displace.Ti1"]),
        (["values = [0, 1]", "debye_waller = { all = -1 }"], ["shift.debye_waller.all", "-1"]),
        (["values = [0, 1]", 'path = ["SrTiO3.cif"]'], ["shift.path"]),
        (["values = [0, 1]", 'path = ["SrTiO3.cif", "polar.cif"]'], ["polar.cif", "does not exist"]),
        (["values = [0, 2]", 'path = ["SrTiO3.cif", "SrTiO3.cif"]'], ["path must be 0 … 1"]),
        (["values = [-2, 0]", 'parent = "SrTiO3.cif"', 'child = "SrTiO3.cif"'], ["must be -1 … 1"]),
        (["values = [0, 1]", 'parent = "SrTiO3.cif"'], ["shift", "parent and child"]),
        (["values = [0, 1]", CHANGE, "angle = 8"], ["shift", "angle", "path"]),
        (["values = [0, 9]", 'path = ["SrTiO3.cif", "SrTiO3.cif"]', "angle = 8"], ["path must be 0 … 8"]),
        (["values = [0, 9]", 'path = ["SrTiO3.cif", "SrTiO3.cif"]', "angle = 90"], ["shift.angle", "45"]),
        (["values = [0, 1]", "invert = true"], ["shift", "values = [-1, 1]"]),
        (["values = [-1, 1]", 'kind = "continuous"', "invert = true"], ["shift", "values = [-1, 1]"]),
        (["values = [-1, 1]", "invert = false"], ["shift", "names nothing"]),
    ],
)
def test_a_bad_structural_parameter_is_refused_by_name(structured, lines, words):
    message = refused(structured(*lines))
    assert all(word in message for word in words), message


@pytest.mark.parametrize("name", ["thickness", "blur", "h", "'2nd'", "lambda", "'a b'", "x_stderr"])
def test_a_name_that_a_fit_cannot_have_is_refused(structured, name):
    assert name.strip("'") in refused(structured("values = [0, 1]", CHANGE, name=name))


def test_every_parameter_of_the_model_keeps_its_name():
    assert set(PARAMETERS) <= TAKEN


def test_the_checksum_knows_structural_parameters_and_their_crystals(structured, write, tmp_path):
    polar = tmp_path / "polar.cif"
    polar.write_text((tmp_path / "SrTiO3.cif").read_text())
    lines = ["values = [0, 1]", 'parent = "SrTiO3.cif"', 'child = "polar.cif"']
    sums = [Recipe.read(write()).checksum(), Recipe.read(structured(*lines)).checksum()]
    sums.append(Recipe.read(structured(lines[0], 'path = ["SrTiO3.cif", "polar.cif"]')).checksum())
    sums.append(Recipe.read(structured("values = [0, 0.5, 1]", *lines[1:])).checksum())
    polar.write_text(polar.read_text().replace("0.62", "0.63"))
    sums.append(Recipe.read(structured(*lines)).checksum())
    assert len(set(sums)) == 5


def test_without_structural_parameters_the_checksum_is_what_it_was():
    """Shipped weights are tied to it."""
    recipe = Recipe.shipped("SrTiO3_001_200kV")
    values = recipe.model_dump(mode="json", exclude={"cif"})
    assert values["parameters"] == {} and values.pop("holz") is False
    assert values.pop("block") is None and values.pop("debye_waller") == {}
    plain = hashlib.sha256(json.dumps(values, sort_keys=True).encode() + recipe.cif.read_bytes())
    assert recipe.checksum() == plain.hexdigest()


def test_a_strain_is_told_in_the_frame_that_in_plane_makes(structured):
    lines = ("values = { start = -0.02, stop = 0.02, step = 0.01 }", "strain = { xx = 1.0, xy = -0.5 }")
    path = structured(*lines)
    text = "in_plane = [1, 0, 0]\n" + path.read_text()
    path.write_text(text)
    parameter = Recipe.read(path).parameters["shift"]
    assert parameter.change == "strain" and parameter.kind == "continuous"
    assert parameter.strain.model_dump() == {"xx": 1.0, "yy": 0.0, "xy": -0.5, "zz": 0.0}
    path.write_text(text.removeprefix("in_plane = [1, 0, 0]\n"))
    message = refused(path)
    assert "shift is a strain" in message and "in_plane" in message and len(message) < 250
    path.write_text(text)
    before = Recipe.read(path).checksum()
    path.write_text(text.replace("xx = 1.0", "xx = 0.9"))
    assert Recipe.read(path).checksum() != before


def test_the_checksum_of_a_recipe_without_strain_knows_of_none(structured):
    """So that libraries that were built before there were strains need not be built again."""
    recipe = Recipe.read(structured("values = [0, 0.1]", CHANGE))
    values = recipe.model_dump(mode="json", exclude={"cif": True, "parameters": {"__all__": set(FILES)}})
    assert values.pop("holz") is False
    assert values.pop("block") is None and values.pop("debye_waller") == {}
    values["parameters"]["shift"]["change"] = "displace"
    assert values["parameters"]["shift"].pop("strain") is None
    whole = json.dumps(values, sort_keys=True).encode() + recipe.cif.read_bytes()
    assert recipe.checksum() == hashlib.sha256(whole).hexdigest()
