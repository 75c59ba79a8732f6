"""What may be varied, and what is refused with a sentence."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.fitting.lmfit_copy import identifier
from hybridfit.fitting.vary.names import Varied, parsed
from hybridfit.fitting.vary.structure import Structure, recipe_of
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe


def recipe(cif, zone, **values):
    usual = {"energy_kv": 200, "semi_angle_max": 6, "thickness": {"start": 20, "stop": 23}}
    return Recipe(cif=cif, zone=zone, **{**usual, **values})


@pytest.fixture
def structure(crystals):
    """structure(crystal, zone, vary)"""
    return lambda crystal, zone, vary: Structure.of(recipe(crystals[crystal], zone), parsed(vary))


def test_names_are_read():
    assert parsed("B:Sr, z:O1,occ:La") == (Varied("B", "Sr"), Varied("z", "O1"), Varied("occ", "La"))
    assert parsed(["B:O"])[0].unit == "Å²"
    assert [identifier(name) for name in ("B:Sr", "z:O1'", "sr")] == ["B_Sr", "z_O1_", "sr"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("Sr", "'Sr' is nothing to vary"),
        ("U:Sr", "give B, x, y, z or occ"),
        ("B:", "nothing to vary"),
        ("B:Sr,B:Sr", "given twice"),
        (3, "vary is 3"),
        ([], "names nothing"),
    ],
)
def test_what_is_no_name_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        parsed(given)


@pytest.mark.parametrize(
    ("crystal", "zone", "vary", "said"),
    [
        ("SrTiO3", (0, 0, 1), "B:La", "no such site or element; sites are Sr1, Ti1, O1"),
        ("SrTiO3", (0, 0, 1), "x:O1", "fixed by the symmetry of its site"),
        ("SrTiO3", (0, 0, 1), "z:O", "no site with this label"),
        ("SrTiO3", (0, 0, 1), "B:O,B:O1", "of the same atoms"),
        ("PbTiO3", (1, 0, 0), "x:O2", "fixed by the symmetry"),
        ("PbTiO3", (0, 0, 1), "z:O1", "along the beam"),
        ("PbTiO3", (1, 0, 0), "y:Ti1", "fixed by the symmetry"),
    ],
)
def test_what_a_crystal_does_not_have_is_refused(structure, crystal, zone, vary, said):
    with pytest.raises(InputError, match=said):
        structure(crystal, zone, vary)


def test_all_sites_of_an_element_share_a_b(structure):
    found = structure("PbTiO3", (1, 0, 0), "B:O")
    moved = found.at({"B:O": 1.1})
    assert [b for b, e in zip(moved.debye_waller, moved.elements, strict=True) if e == "O"] == [1.1] * 3
    assert found.start == {"B:O": pytest.approx(0.7)}
    one = structure("PbTiO3", (1, 0, 0), "B:O1")
    assert (one.at({"B:O1": 1.1}).debye_waller == 1.1).sum() == 1
    assert one.others_vibrate
    assert not structure("PbTiO3", (1, 0, 0), "B:Pb,B:Ti,B:O").others_vibrate


def test_what_symmetry_makes_of_a_site_moves_with_it(structure, crystals):
    found = structure("PbTiO3", (1, 0, 0), "z:O2")
    before = found.crystal.positions
    after = found.at({"z:O2": found.start["z:O2"] + 0.01}).positions
    mine = np.array(found.crystal.labels) == "O2"
    np.testing.assert_allclose((after - before)[mine], [[0, 0, 0.01]] * 2, atol=1e-12)
    np.testing.assert_allclose((after - before)[~mine], 0)


def test_a_tied_coordinate_follows(structure):
    """Oxygen of rutile is at (x, x, 0), and at three other places."""
    found = structure("rutile", (0, 0, 1), "x:O1")
    moved = found.at({"x:O1": 0.315})
    mine = np.array(moved.elements) == "O"
    shift = (moved.positions - found.crystal.positions)[mine]
    np.testing.assert_allclose(np.abs(shift), [[0.01, 0.01, 0]] * 4, atol=1e-12)
    np.testing.assert_allclose(shift.sum(axis=0), 0, atol=1e-12)  # the centre stays
    # moved atoms still obey the space group: a CIF with this x makes the same crystal
    moved_again = found.at({"x:O1": 0.305})
    np.testing.assert_allclose(moved_again.positions, found.crystal.positions)


def test_a_site_holds_no_more_than_one_atom(structure):
    assert structure("SrTiO3", (0, 0, 1), "occ:Sr").bounds["occ:Sr"] == (0.0, 1.0)


def test_a_number_that_breaks_the_symmetry_of_the_library_is_refused(tmp_path):
    cif = tmp_path / "p1.cif"
    cif.write_text(
        "data_x\n_symmetry_space_group_name_H-M 'P 1'\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n"
        "_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\nloop_\n_atom_site_label\n"
        "_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        "_atom_site_B_iso_or_equiv\nSr1 Sr 0 0 0 0.6\nO1 O 0.5 0 0.5 0.7\nO2 O 0 0.5 0.5 0.7\n"
    )
    own = recipe(cif, (0, 0, 1))
    Structure.of(own, parsed("B:O"))
    with pytest.raises(InputError, match="would make atoms different"):
        Structure.of(own, parsed("B:O1"))


def test_a_library_without_its_crystal_is_refused(build_library, tmp_path):
    library = build_library("SrTiO3", (0, 0, 1))
    assert recipe_of(library) is library.recipe
    stranger = Library(library.dataset, path=tmp_path / "somewhere.nc")
    with pytest.raises(InputError, match="does not hold its crystal"):
        recipe_of(stranger)
    other = library.recipe.model_copy(update={"energy_kv": 199.0})
    with pytest.raises(InputError, match="has changed since"):
        recipe_of(Library(library.dataset, recipe=other))


def test_varied_numbers_are_values():
    assert dataclasses.is_dataclass(Varied)
    assert Varied("z", "O1").axis == 2
