"""Crystals to train networks on: each is what its file says, and its zone axes can be looked along."""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from pathlib import Path

import gemmi
import pytest

from hybridfit.library.recipe import shipped_folder, shipped_names
from hybridfit.physics.cif_checks import Atoms, nearest
from hybridfit.physics.crystal import Crystal

FOLDER = shipped_folder() / "training"
FILES = sorted(FOLDER.glob("*.cif"))
ZONES = tomllib.loads((FOLDER / "zones.toml").read_text())
DALTON = 1.66054  # g/cm³ per Da/Å³
SHORTEST_BOND = 0.68  # of the sum of covalent radii: uranium has 0.70, oxygen doubly bound to vanadium 0.72
# density (g/cm³) as handbooks have it, where a slip of the cell would otherwise stay unseen
DENSITIES = {
    "Al2O3": 3.987,
    "Al_fcc": 2.699,
    "BaSO4": 4.48,
    "BaTiO3": 6.02,
    "CaCO3_aragonite": 2.93,
    "CaMgSi2O6": 3.28,
    "CaWO4": 6.12,
    "CeO2": 7.215,
    "Fe3C": 7.69,
    "Ga2O3_beta": 5.94,
    "LiNbO3": 4.64,
    "MgAl2O4": 3.58,
    "MoS2_2H": 5.00,
    "NaAlSi3O8_albite": 2.62,
    "NaCl": 2.165,
    "Pd_fcc": 12.02,
    "SiO2_quartz": 2.648,
    "TiO2_anatase": 3.89,
    "U_alpha": 19.05,
    "V2O5": 3.36,
    "W_bcc": 19.25,
    "Y3Al5O12": 4.55,
    "YBa2Cu3O7": 6.38,
    "ZrO2": 5.82,
    "ZrSiO4": 4.67,
}


def test_there_are_crystals_of_all_systems_from_light_to_heavy_elements():
    read = [gemmi.read_small_structure(str(path)) for path in FILES]
    systems = Counter(small.spacegroup.crystal_system_str() for small in read)
    assert len(FILES) >= 70
    assert min(systems.values()) >= 1 and len(systems) == 7
    heaviest = [max(site.element.atomic_number for site in small.sites) for small in read]
    assert min(heaviest) <= 12 and max(heaviest) >= 82


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_training_crystal_holds_the_atoms_of_its_formula_and_none_are_too_near(path):
    found = Crystal.from_cif(path)
    assert found.notes == ()  # nothing had to be assumed
    block = gemmi.cif.read(str(path)).sole_block()
    assert block.name == path.stem
    parts = gemmi.cif.as_string(block.find_value("_chemical_formula_sum")).split()
    units = float(block.find_value("_cell_formula_units_Z"))
    wanted = {e: units * float(n or 1) for e, n in map(split, parts)}
    count: Counter[str] = Counter()
    for element, occupancy in zip(found.elements, found.occupancies, strict=True):
        count[element] += occupancy
    assert count == pytest.approx(wanted, abs=1e-3)
    group = gemmi.read_small_structure(str(path)).spacegroup
    assert group.number == int(block.find_value("_space_group_IT_number"))
    assert 0.1 < found.debye_waller.min() and found.debye_waller.max() < 5
    atoms = Atoms(found.cell, found.elements, found.positions, found.occupancies, found.labels)
    assert nearest(atoms) > SHORTEST_BOND
    if path.stem in DENSITIES:
        mass = sum(n * gemmi.Element(e).weight for e, n in count.items())
        assert mass * DALTON / found.volume == pytest.approx(DENSITIES[path.stem], rel=0.03)


def test_every_training_crystal_has_two_to_four_low_zone_axes():
    assert set(ZONES) == {path.stem for path in FILES}
    for name, entry in ZONES.items():
        zones = [tuple(zone) for zone in entry["zones"]]
        assert 2 <= len(zones) <= 4 and len(set(zones)) == len(zones), name
        for zone in zones:
            assert len(zone) == 3 and math.gcd(*zone) == 1 and max(map(abs, zone)) <= 3, name


def test_densities_are_those_of_crystals_that_are_there():
    assert set(DENSITIES) <= {path.stem for path in FILES}


def test_the_training_crystals_are_no_recipes():
    assert not set(shipped_names()) & {"zones", "training"}


def test_no_crystal_is_for_training_that_a_study_holds_back():
    def kind(path: Path) -> tuple[str, int]:
        block = gemmi.cif.read(str(path)).sole_block()
        formula = gemmi.cif.as_string(block.find_value("_chemical_formula_sum"))
        return " ".join(sorted(formula.split())), int(block.find_value("_space_group_IT_number"))

    held_back = FOLDER.parents[1] / "benchmarks" / "crystals"
    assert not {kind(path) for path in held_back.rglob("*.cif")} & {kind(path) for path in FILES}


def split(part: str) -> tuple[str, str]:
    element = part.rstrip("0123456789.")
    return element, part[len(element) :]
