"""The shipped recipes: their crystals are what they say, and every one can be built."""

from __future__ import annotations

from collections import Counter

import gemmi
import numpy as np
import pytest

from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, description, shipped_folder, shipped_names
from hybridfit.physics.crystal import Crystal

# atoms in the cell, and density (g/cm³) as handbooks have it
KNOWN = {
    "GaAs": ({"Ga": 4, "As": 4}, 5.317),
    "LaMnO3_cubic": ({"La": 1, "Mn": 1, "O": 3}, 6.87),
    "PMN": ({"Pb": 1, "Mg": 1 / 3, "Nb": 2 / 3, "O": 3}, 8.14),
    "PbTiO3": ({"Pb": 1, "Ti": 1, "O": 3}, 7.95),
    "PbTiO3_unpoled": ({"Pb": 1, "Ti": 1, "O": 3}, 7.95),
    "Si": ({"Si": 8}, 2.329),
    "SrTiO3": ({"Sr": 1, "Ti": 1, "O": 3}, 5.12),
    "SrTiO3_tilted": ({"Sr": 4, "Ti": 4, "O": 12}, 5.12),
    "SrTiO3_upright": ({"Sr": 4, "Ti": 4, "O": 12}, 5.12),
    "TiO2_rutile": ({"Ti": 2, "O": 4}, 4.25),
}
DALTON = 1.66054  # g/cm³ per Da/Å³
TINY = {"g_max": 0.9, "semi_angle_max": 4.0, "tilt_max": 0.5, "sampling": 0.8}
FORMULA = "_chemical_formula_sum", "_cell_formula_units_Z", "_space_group_IT_number"


def crystal(name: str) -> Crystal:
    return Crystal.from_cif(shipped_folder() / f"{name}.cif")


@pytest.fixture(scope="module")
def tiny():
    """tiny(name) → a library of the recipe, of few and thin crystals."""
    built: dict[str, Library] = {}

    def tiny(name: str) -> Library:
        if name not in built:
            recipe = Recipe.shipped(name)
            four = recipe.thickness.model_copy(update={"start": 18.0, "stop": 21.0})
            built[name] = Library.build(recipe.model_copy(update=TINY | {"thickness": four}), device="cpu")
        return built[name]

    return tiny


def pattern(library: Library, size: int = 41, **structure: float) -> np.ndarray:
    k = np.linspace(-9, 9, size)
    return library.patterns(thickness=20, semi_angle=4, k=k, **structure).values[0, 0, 0]


# ---------------------------------------------------------------- crystals


@pytest.mark.parametrize("path", sorted(shipped_folder().glob("*.cif")), ids=lambda path: path.stem)
def test_a_cif_holds_the_atoms_that_it_names(path):
    atoms, density = KNOWN[path.stem]
    found, count = Crystal.from_cif(path), Counter()
    for element, occupancy in zip(found.elements, found.occupancies, strict=True):
        count[element] += occupancy
    assert count == pytest.approx(atoms, abs=1e-3)
    mass = sum(n * gemmi.Element(element).weight for element, n in count.items())
    assert mass * DALTON / found.volume == pytest.approx(density, rel=2e-3)
    assert found.debye_waller.min() > 0.1

    block = gemmi.cif.read(str(path)).sole_block()
    formula, units, group = (gemmi.cif.as_string(block.find_value(tag)) for tag in FORMULA)
    parts = {e: float(n or 1) for e, n in (split(part) for part in formula.split())}
    assert {e: n * float(units) for e, n in parts.items()} == pytest.approx(atoms, abs=1e-3)
    small = gemmi.read_small_structure(str(path))
    assert small.spacegroup.number == int(group)
    table = block.find("_atom_site_", ["label", "symmetry_multiplicity"])
    assert Counter(found.labels) == {row[0]: int(row[1]) for row in table}


def split(part: str) -> tuple[str, str]:
    element = part.rstrip("0123456789.")
    return element, part[len(element) :]


def test_the_octahedra_of_the_tilted_crystal_are_turned_by_8_degrees():
    """Oxygen from titanium, in the plane: 8° from the pseudo-cubic axes, which are the diagonals."""
    tilted = crystal("SrTiO3_tilted")
    x, y = next(
        (r[:2] - r[:2].round()) * tilted.cell[0]
        for r, label in zip(tilted.positions, tilted.labels, strict=True)
        if label == "O2" and r[2] == 0
    )
    assert abs(np.rad2deg(np.arctan2(y, x))) % 90 == pytest.approx(45 - 8, abs=1e-2) or (
        abs(np.rad2deg(np.arctan2(y, x))) % 90 == pytest.approx(45 + 8, abs=1e-2)
    )


def test_the_upright_octahedra_are_the_cubic_crystal(tiny):
    upright, cubic = tiny("SrTiO3_tilted_011_200kV"), tiny("SrTiO3_011_200kV")
    difference = np.abs(pattern(upright, octahedral_tilt=0) - pattern(cubic))
    assert np.quantile(difference, 0.9) < 1e-3  # the edges of the discs are as soft as the grid is coarse


# ---------------------------------------------------------------- recipes


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_recipe_can_be_built(name, tiny):
    library, recipe = tiny(name), Recipe.shipped(name)
    assert list(library.structure) == list(recipe.parameters)
    total = library.dataset.intensity.sum("beam")
    assert 0 < float(total.min()) and float(total.max()) <= 1 + 1e-4
    ends = [{n: axis.low for n, axis in library.structure.items()}]
    ends.append({n: axis.high for n, axis in library.structure.items()})
    first, last = (pattern(library, **end) for end in ends)
    assert first.max() > 0.1
    if recipe.parameters:
        assert np.abs(first - last).max() > 0.02 * first.max()


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_recipe_begins_with_what_it_is(name):
    words = description(name)
    assert 20 < len(words) < 100 and "\n" not in words and not words.startswith("#")
    recipe = Recipe.shipped(name)
    assert f"{recipe.energy_kv:g} kV" in words and f"to {recipe.semi_angle_max:g} mrad" in words
    assert f"{recipe.thickness.start:g} to {recipe.thickness.stop:g} nm" in words


@pytest.mark.parametrize("name", ["PbTiO3_100_200kV", "GaAs_110_200kV"])
def test_the_other_polarity_is_the_pattern_turned_by_180_degrees(name, tiny):
    up, down = (pattern(tiny(name), polarity=value) for value in (1, -1))
    np.testing.assert_allclose(down, up[::-1, ::-1], atol=1e-3 * up.max())
    assert np.abs(up - up[:, ::-1]).max() > 0.02 * up.max()  # along kx
    np.testing.assert_allclose(up, up[::-1], atol=1e-3 * up.max())


def test_the_ends_of_the_composition_are_lanthanum_and_strontium(tiny):
    axis = tiny("LaSrMnO3_001_200kV").structure["sr"]
    assert axis.continuous and (axis.low, axis.high) == (0, 1)
    assert pattern(tiny("LaSrMnO3_001_200kV"), sr=0.4).max() > 0.1
