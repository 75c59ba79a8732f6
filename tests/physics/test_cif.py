"""Crystal files as they are found: what they leave out, and atoms that cannot all be there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hybridfit.errors import RecipeError
from hybridfit.library.recipe import Recipe, shipped_folder
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.vibration import tabulated

CASES = Path(__file__).parents[2] / "../shared/cases/files/cif"
CELL = "_cell_length_a {0}\n_cell_length_b {1}\n_cell_length_c {2}\n_cell_angle_alpha {3}\n"
CELL += "_cell_angle_beta {4}\n_cell_angle_gamma {5}\n"
CUBE = (3.905, 3.905, 3.905, 90, 90, 90)
PEROVSKITE = ["Sr1 Sr 0 0 0", "Ti1 Ti 0.5 0.5 0.5", "O1 O 0.5 0.5 0"]


@pytest.fixture
def cif(tmp_path):
    """Write a CIF of a cell, a space group, sites with further columns, and further lines."""

    def write(sites, group="P m -3 m", cell=CUBE, columns=(), more="", name="x"):
        atoms = ["label", "type_symbol", "fract_x", "fract_y", "fract_z", *columns]
        lines = [f"data_{name}", CELL.format(*cell), more]
        if group:
            lines.append(f"_space_group_name_H-M_alt '{group}'")
        lines += ["loop_", *(f"_atom_site_{column}" for column in atoms), *sites, ""]
        path = tmp_path / f"{name}.cif"
        path.write_text("\n".join(lines))
        return path

    return write


def counts(crystal):
    return dict(Counter(crystal.elements))


def factors(crystal):
    return dict(zip(crystal.labels, crystal.debye_waller, strict=True))


# ---------------------------------------------------------------- displacement factors


def test_atoms_of_a_compound_without_b_get_a_usual_one_and_it_is_said(cif):
    crystal = Crystal.from_cif(cif(PEROVSKITE))
    assert factors(crystal) == {"Sr1": 0.6, "Ti1": 0.6, "O1": 0.6}
    (note,) = crystal.notes
    assert "B of Sr, Ti, O is 0.6 Å²" in note and "--debye-waller" in note and "\n" not in note


def test_an_element_gets_its_tabulated_b(cif):
    gold = cif(["Au1 Au 0 0 0"], "F m -3 m", (4.078,) * 3 + (90,) * 3)
    crystal = Crystal.from_cif(gold)
    assert crystal.debye_waller == pytest.approx(0.62, abs=0.01)
    assert "Peng et al., Acta Cryst. A52 (1996) 456" in crystal.notes[0]
    assert tabulated("Si") == pytest.approx(0.484, abs=0.001) and tabulated("Xe") is None


def test_an_element_of_which_nothing_is_known_is_refused_with_the_option(cif):
    iridium = cif(["Ir1 Ir 0 0 0"], "F m -3 m", (3.839,) * 3 + (90,) * 3)
    with pytest.raises(RecipeError, match=r"no B for Ir.*--debye-waller Ir=B"):
        Crystal.from_cif(iridium)
    assert Crystal.from_cif(iridium, debye_waller={"Ir": 0.25}).debye_waller == pytest.approx(0.25)


@pytest.mark.parametrize("missing", [".", "?", "0", "0.0"])
def test_sites_without_a_value_take_the_mean_of_their_element(cif, missing):
    sites = ["Sr1 Sr 0 0 0 0.5", "Ti1 Ti 0.5 0.5 0.5 0.4", "O1 O 0.5 0.5 0 0.8", "O2 O 0.5 0 0.5 0.6"]
    sites.append(f"O3 O 0 0.5 0.5 {missing}")
    crystal = Crystal.from_cif(cif(sites, "P 1", columns=["B_iso_or_equiv"]))
    assert factors(crystal)["O3"] == pytest.approx(0.7)
    assert "B of O is 0.7 Å² (the mean of its other sites)" in crystal.notes[0]


def test_a_whole_file_is_read_without_a_word(cif):
    sites = [f"{site} {u}" for site, u in zip(PEROVSKITE, ("0.0079(2)", "0.0056", "0.0092"), strict=True)]
    crystal = Crystal.from_cif(cif(sites, columns=["U_iso_or_equiv"]))
    assert factors(crystal) == pytest.approx({"Sr1": 0.624, "Ti1": 0.442, "O1": 0.726}, abs=1e-3)
    assert crystal.notes == ()


def test_what_the_user_gives_replaces_what_the_file_has(cif):
    path = cif([f"{site} 0.5" for site in PEROVSKITE], columns=["B_iso_or_equiv"])
    crystal = Crystal.from_cif(path, debye_waller={"O": 0.73})
    assert factors(crystal) == {"Sr1": 0.5, "Ti1": 0.5, "O1": 0.73} and crystal.notes == ()
    with pytest.raises(RecipeError, match=r"'Ba'.*none in this crystal \(Sr, Ti, O\)"):
        Crystal.from_cif(path, debye_waller={"Ba": 1.0})


def test_negative_factors_are_refused_with_the_option(cif):
    sites = [f"{site} {u}" for site, u in zip(PEROVSKITE, ("0.008", "-0.001", "0.009"), strict=True)]
    path = cif(sites, columns=["U_iso_or_equiv"])
    with pytest.raises(RecipeError, match=r"'Ti1' is negative.*--debye-waller Ti=B"):
        Crystal.from_cif(path)
    assert factors(Crystal.from_cif(path, debye_waller={"Ti": 0.44}))["Ti1"] == 0.44


def anisotropic(kind, *values):
    names = "".join(f"_atom_site_aniso_{kind}_{ij}\n" for ij in ("11", "22", "33", "12", "13", "23"))
    return f"loop_\n_atom_site_aniso_label\n{names}{' '.join(map(str, values))}\n"


def test_the_equivalent_of_an_isotropic_displacement_is_itself_in_any_cell(cif):
    """U_ij of ⟨u²⟩ equal in all directions, which are not diagonal in an oblique cell."""
    for cell in [(4, 5, 6, 90, 90, 120), (4.1, 5.2, 6.3, 82, 97, 104), (5.15, 5.21, 5.32, 90, 120, 90)]:
        bare = cif(["Zr1 Zr 0.1 0.2 0.3"], "P 1", cell)
        basis = Crystal.from_cif(bare).reciprocal_basis
        lengths = np.linalg.norm(basis, axis=1)
        u = 0.0125 * (basis @ basis.T) / np.outer(lengths, lengths)
        six = [u[0, 0], u[1, 1], u[2, 2], u[0, 1], u[0, 2], u[1, 2]]
        path = cif(["Zr1 Zr 0.1 0.2 0.3"], "P 1", cell, more=anisotropic("U", "Zr1", *six))
        assert Crystal.from_cif(path).debye_waller == pytest.approx(8 * np.pi**2 * 0.0125, rel=1e-4)


def test_three_ways_to_write_anisotropic_displacements_agree(cif):
    cell = (5.15, 5.21, 5.32, 90, 120, 90)
    lengths = np.linalg.norm(Crystal.from_cif(cif(["Zr1 Zr 0 0 0"], "P 1", cell)).reciprocal_basis, axis=1)
    u = np.array([0.02, 0.01, 0.02, 0.0, 0.0, 0.0])
    pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
    beta = [2 * np.pi**2 * x * lengths[i] * lengths[j] for x, (i, j) in zip(u, pairs, strict=True)]
    for kind, values in (("U", u), ("B", 8 * np.pi**2 * u), ("beta", beta)):
        path = cif(["Zr1 Zr 0.1 0.2 0.3"], "P 1", cell, more=anisotropic(kind, "Zr1", *values))
        assert Crystal.from_cif(path).debye_waller == pytest.approx(1.667, abs=1e-3), kind


# ---------------------------------------------------------------- numbers of atoms


def test_all_atoms_beside_a_symmetry_are_refused(cif):
    sites = [*PEROVSKITE, "O2 O 0.5 0 0.5", "O3 O 0 0.5 0.5"]
    with pytest.raises(RecipeError, match=r"'O1', 'O2', 'O3' share a site of occupancy 3.*'P 1'"):
        Crystal.from_cif(cif(sites))
    assert counts(Crystal.from_cif(cif(sites, "P 1"))) == {"Sr": 1, "Ti": 1, "O": 3}
    assert counts(Crystal.from_cif(cif(sites, ""))) == {"Sr": 1, "Ti": 1, "O": 3}


def test_atoms_twice_are_refused_and_shared_sites_are_not(cif):
    with pytest.raises(RecipeError, match="'Ti1', 'Ti2' share a site of occupancy 2: it is listed twice"):
        Crystal.from_cif(cif([*PEROVSKITE, "Ti2 Ti 0.5 0.5 0.5"]))
    mixed = ["La1 La 0 0 0 0.7", "Sr1 Sr 0 0 0 0.3", "Mn1 Mn 0.5 0.5 0.5 1", "O1 O 0.5 0.5 0 1"]
    assert len(Crystal.from_cif(cif(mixed, columns=["occupancy"])).elements) == 6
    split = ["Sr1 Sr 0 0 0 1", "Ti1 Ti 0.5 0.5 0.45 0.5", "Ti2 Ti 0.5 0.5 0.55 0.5"]
    assert len(Crystal.from_cif(cif(split, "P 1", columns=["occupancy"])).elements) == 3


def test_a_multiplicity_in_the_occupancies_is_named(cif):
    sites = [f"{site} {n}" for site, n in zip(PEROVSKITE, (1, 1, 3), strict=True)]
    with pytest.raises(RecipeError, match=r"occupancy 3 of 'O1'.*multiplicity"):
        Crystal.from_cif(cif(sites, columns=["occupancy"]))


def test_atoms_that_touch_are_refused(cif):
    with pytest.raises(RecipeError, match=r"are 1\.17 Å apart"):
        Crystal.from_cif(cif(["Sr1 Sr 0 0 0", "Ti1 Ti 0 0 0.3"], "P 1"))


@pytest.mark.parametrize("sites", [PEROVSKITE, ["Si1 Si 0 0 0"]], ids=["some", "one"])
def test_an_asymmetric_unit_without_a_symmetry_is_refused(cif, sites):
    cell = CUBE if len(sites) > 1 else (5.43,) * 3 + (90,) * 3
    with pytest.raises(RecipeError, match=r"it gives no symmetry.*'P 1'"):
        Crystal.from_cif(cif(sites, "", cell))


def test_whole_cells_without_a_symmetry_are_read(cif):
    third = ["B1 B 0.3333 0.6667 0.25", "N1 N 0.6667 0.3333 0.25"]
    third += ["B2 B 0.6667 0.3333 0.75", "N2 N 0.3333 0.6667 0.75"]
    assert len(Crystal.from_cif(cif(third, "", (2.504, 2.504, 6.66, 90, 90, 120))).elements) == 4
    face = [(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
    gaas = [f"Ga{i} Ga {x} {y} {z}" for i, (x, y, z) in enumerate(face)]
    gaas += [f"As{i} As {x + 0.25} {y + 0.25} {z + 0.25}" for i, (x, y, z) in enumerate(face)]
    assert len(Crystal.from_cif(cif(gaas, "", (5.653,) * 3 + (90,) * 3)).elements) == 8


SILICON = (5.4307,) * 3 + (90,) * 3


@pytest.mark.parametrize(
    ("group", "x"),
    [
        ("F d -3 m", 0),
        ("F d -3 m", 0.125),
        ("F d -3 m S", 0),
        ("F d -3 m Z", 0.125),
        ("F d -3 m:1", 0),
        ("F d -3 m :2", 0.125),
        ("F d -3 m (origin choice 2)", 0.125),
        ("Fd-3m", 0),
    ],
)
def test_silicon_has_eight_atoms_at_either_origin(cif, group, x):
    crystal = Crystal.from_cif(cif([f"Si1 Si {x} {x} {x}"], group, SILICON))
    assert counts(crystal) == {"Si": 8}
    assert any("origin" in note for note in crystal.notes) == (group in ("F d -3 m", "Fd-3m"))


def test_the_formula_decides_between_origins_and_against_wrong_ones(cif):
    more = "_chemical_formula_sum 'Si'\n_cell_formula_units_Z 8\n"
    assert len(Crystal.from_cif(cif(["Si1 Si 0 0 0"], "F d -3 m", SILICON, more=more)).elements) == 8
    with pytest.raises(RecipeError, match=r"holds Si16, and the formula × Z = 8 makes Si8.*origin"):
        Crystal.from_cif(cif(["Si1 Si 0 0 0"], "F d -3 m:2", SILICON, more=more))


def test_origins_that_are_as_good_are_asked_for(cif):
    with pytest.raises(RecipeError, match=r"two origins.*F d -3 m:1 makes 8 atoms, F d -3 m:2 16"):
        Crystal.from_cif(cif(["Si1 Si 0 0 0"], "F d -3 m", (9.0,) * 3 + (90,) * 3))


@pytest.mark.parametrize(
    ("formula", "z"), [("O3 Sr Ti", 1), ("Sr Ti O3", "?"), ("Sr2 Ti2 O6", "."), ("Sr0.97 La0.03 Ti O3", 1)]
)
def test_formulas_that_agree_are_not_complained_of(cif, formula, z):
    more = f"_chemical_formula_sum '{formula}'\n_cell_formula_units_Z {z}\n"
    assert len(Crystal.from_cif(cif(PEROVSKITE, more=more)).elements) == 5


def test_the_formula_of_a_whole_cell_is_one(cif):
    """As pymatgen writes it: formula units are counted, too."""
    more = "_chemical_formula_sum Si8\n_cell_formula_units_Z 8\n"
    assert len(Crystal.from_cif(cif(["Si1 Si 0 0 0"], "F d -3 m:1", SILICON, more=more)).elements) == 8


# ---------------------------------------------------------------- blocks


def test_the_block_that_holds_the_structure_is_taken_and_named(cif):
    path = cif(PEROVSKITE)
    path.write_text("data_global\n_publ_section_title 'x'\n\n" + path.read_text())
    assert "of 2 blocks of the CIF, 'x' holds the structure" in Crystal.from_cif(path).notes


def test_several_structures_are_asked_for(cif, tmp_path):
    path = tmp_path / "two.cif"
    path.write_text(
        cif(["Sr1 Sr 0 0 0"], name="a").read_text() + "\n" + cif(PEROVSKITE, name="b").read_text()
    )
    with pytest.raises(RecipeError, match="holds 2 structures: a, b; choose one with --block a"):
        Crystal.from_cif(path)
    assert len(Crystal.from_cif(path, block="B").elements) == 5
    with pytest.raises(RecipeError, match="no structure in a block 'c'; there are a, b"):
        Crystal.from_cif(path, block="c")


# ---------------------------------------------------------------- recipes


def test_a_recipe_has_factors_and_a_block(cif, tmp_path):
    path = cif(PEROVSKITE)
    text = f'cif = "{path.name}"\nzone = [0, 0, 1]\nenergy_kv = 200\nsemi_angle_max = 10\n'
    text += "thickness = { start = 1, stop = 10 }\n"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    plain = Recipe.read(recipe)
    recipe.write_text('block = "x"\ndebye_waller = { Sr = 0.62, Ti = 0.44, O = 0.73 }\n' + text)
    known = Recipe.read(recipe)
    assert factors(known.crystal()) == {"Sr1": 0.62, "Ti1": 0.44, "O1": 0.73} and not known.crystal().notes
    assert plain.checksum() != known.checksum()
    recipe.write_text("debye_waller = { Sr = -1 }\n" + text)
    with pytest.raises(RecipeError, match=r"debye_waller\.Sr"):
        Recipe.read(recipe)


def test_shipped_crystals_leave_nothing_to_assume():
    for path in sorted(shipped_folder().glob("*.cif")):
        assert Crystal.from_cif(path).notes == ()


# ---------------------------------------------------------------- the case files

ATOMS = {
    "01": 5, "02": 5, "03": 5, "04": 5, "05": 5, "06": 5, "07": None, "08": None, "09": 8, "10": 8, "11": 8,
    "12": 8, "13": 30, "14": 10, "15": 4, "16": None, "17": 5, "18": None, "19": 6, "20": 5, "21": None,
    "22": None, "23": None, "24": 1, "25": 5, "26": None, "27": 5,
}  # fmt: skip


@pytest.mark.skipif(not CASES.is_dir(), reason="the case files are not here")
@pytest.mark.parametrize("number", ATOMS)
def test_case_files_are_right_or_refused_with_a_remedy(number):
    (path,) = CASES.glob(f"{number}_*.cif")
    if ATOMS[number] is None:
        with pytest.raises(RecipeError):
            Crystal.from_cif(path)
        return
    crystal = Crystal.from_cif(path)
    assert len(crystal.elements) == ATOMS[number]
    assert (crystal.debye_waller > 0.1).all()
    assert bool(crystal.notes) == (number not in ("02", "24", "25"))
