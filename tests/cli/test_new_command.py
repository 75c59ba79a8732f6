"""`hybridfit new`: from a CIF to a recipe, a library, a network and a test."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe
from hybridfit.network import training
from hybridfit.network.weights import Network
from hybridfit.new import settings, tryout

SMALL = "--zone 0,0,1 --energy 200 --semi-angle 6 --tilt 1 --thickness 20,30".split()


@pytest.fixture
def cif(crystals, tmp_path):
    folder = tmp_path / "given"
    folder.mkdir()
    return shutil.copy(crystals["SrTiO3"], folder / "SrTiO3.cif")


@pytest.fixture
def small(monkeypatch):
    """Few beams, few frames, next to no training."""
    few = {"beams": (9, 21), "most_beams": 21, "samplings": (0.6,), "tolerance": 1.0}
    few |= {"moved_thickness": 100.0, "moved_tilt": 10.0}
    monkeypatch.setattr(settings, "DESIGN", replace(settings.DESIGN, **few))
    tried = replace(settings.TRYOUT, frames=1, frames_alone=2, size=96)
    for module in (settings, tryout):
        monkeypatch.setattr(module, "TRYOUT", tried)
    for name in ("HELD_BACK", "CALIBRATION"):
        monkeypatch.setattr(training, name, 16)


def test_from_a_cif_to_a_fit(run, small, cif, tmp_path):
    folder = tmp_path / "made"
    ran = run("new", cif, *SMALL, "--minutes", 0, "-o", folder)
    assert ran.code == 0, ran
    recipe = folder / "SrTiO3_001_200kV.toml"
    assert sorted(path.name for path in folder.iterdir()) == ["SrTiO3.cif", recipe.name]
    made = Recipe.read(recipe)
    assert made.zone == (0, 0, 1) and made.in_plane == (1, 0, 0) and made.thickness.stop == 30
    assert Library.cached_path(recipe).exists()
    assert (
        "off by" in ran.out
        and ran.err == ""
        and "4-fold" in ran.out
        and "fit: within 0.5 nm and 0.1 mrad   2" in ran.out
    )
    last = ran.out.splitlines()[-1]
    assert last == f"Next: hybridfit fit FRAME --semi-angle 6 --library {recipe}"
    before = recipe.read_bytes()
    again = run("new", cif, *SMALL, "--minutes", 0, "-o", folder)
    assert again.code == 2 and "--force" in again.err and recipe.read_bytes() == before
    assert run("new", cif, *SMALL, "--minutes", 0, "-o", folder, "--force", "-q").out == ""


def test_what_has_not_converged_is_said_loudly(run, small, cif, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "DESIGN", replace(settings.DESIGN, tolerance=1e-3))
    ran = run("new", cif, *SMALL, "--minutes", 0, "-o", tmp_path / "made", "-q")
    assert (ran.code, ran.out) == (0, "")
    lines = ran.err.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]  # before the long part, and at the end
    assert lines[0].startswith("hybridfit: NOT CONVERGED: g_max = 0.67 still changes patterns by 0.")
    text = (tmp_path / "made" / "SrTiO3_001_200kV.toml").read_text()
    assert "# NOT CONVERGED: g_max" in text and "changes no pattern" not in text


def test_lines_of_higher_zones_are_asked_for(run, small, cif, tmp_path):
    ran = run("new", cif, *SMALL, "--minutes", 0, "-o", tmp_path, "--holz")
    assert ran.code == 0, ran
    assert Recipe.read(tmp_path / "SrTiO3_001_200kV.toml").holz


def test_a_network_is_found_by_the_fit(run, small, cif, tmp_path):
    ran = run("new", cif, *SMALL, "--minutes", 0.01, "-o", tmp_path, "--name", "mine")
    assert ran.code == 0, ran
    assert "network: tilt within 1 mrad" in ran.out and "samples" in ran.out
    library = Library.open(tmp_path / "mine.toml")
    assert Network.for_library(library, 6.0) is not None


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ("is no direction", ["--zone", "0,0,0"]),
        ("has 2 parts", ["--zone", "1,1"]),
        ("no whole numbers", ["--zone", "1,0.5,0"]),
        ("not perpendicular", ["--in-plane", "0,0,1"]),
        ("semi-angle 0 mrad is out of range", ["--semi-angle", "0"]),
        ("energy 2 kV is out of range", ["--energy", "2"]),
        ("is no range", ["--thickness", "30,20"]),
        ("is no time", ["--minutes", "-1"]),
        ("without slashes", ["--name", "a/b"]),
    ],
)
def test_what_cannot_be_is_refused(refused, cif, tmp_path, words, changed):
    refused(words, "new", cif, *SMALL, "-o", tmp_path / "made", *changed)
    assert not (tmp_path / "made").exists()


def test_files_that_are_none_or_in_the_way(refused, cif, tmp_path):
    broken = tmp_path / "broken.cif"
    broken.write_text("no crystal")
    refused("CIF", "new", broken, *SMALL)
    refused("CIF", "new", tmp_path / "none.cif", *SMALL)
    refused("cannot be made", "new", cif, *SMALL, "-o", broken)
    other = tmp_path / "other"
    other.mkdir()
    (other / "SrTiO3.cif").write_text("another crystal")
    refused("another CIF", "new", cif, *SMALL, "-o", other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--debye-waller", "Sr"], "give ELEMENT=B"),
        (["--debye-waller", "Sr=-1"], "out of range"),
        (["--debye-waller", "Ba=0.5"], "none in this crystal"),
        (["--block", "other"], "no structure in a block 'other'"),
    ],
)
def test_factors_and_blocks_that_cannot_be(run, cif, tmp_path, options, words):
    ran = run("new", cif, *SMALL, "--minutes", 0, "-o", tmp_path / "made", *options)
    assert ran.code == 2 and words in ran.err and not (tmp_path / "made").exists()


HEXAGONAL = """data_x
_cell_length_a 3.19
_cell_length_b 3.19
_cell_length_c 5.19
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_space_group_name_H-M_alt 'P 63 m c'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_B_iso_or_equiv
Ga1 Ga 0.33333333 0.66666667 0 0.3
N1 N 0.33333333 0.66666667 0.377 0.3
"""


@pytest.mark.parametrize("zone", ["0,0,0,1", "[0001]", "0 0 0 1", "0,0,1"])
def test_four_indices_of_a_hexagonal_crystal(run, small, tmp_path, zone):
    cif = tmp_path / "GaN.cif"
    cif.write_text(HEXAGONAL)
    words = [*SMALL[2:], "--minutes", 0, "-o", tmp_path / "made", "--name", "made", "-q"]
    ran = run("new", cif, "--zone", zone, *words)
    assert ran.code == 0 and "zone axis [0 0 1] in three indices, [0 0 0 1] in four" in ran.err
    assert Recipe.read(tmp_path / "made" / "made.toml").zone == (0, 0, 1)


def test_four_indices_that_cannot_be(run, cif, tmp_path):
    ran = run("new", cif, "--zone", "0,0,0,1", *SMALL[2:], "-o", tmp_path / "made")
    assert ran.code == 2 and "four indices are for hexagonal axes" in ran.err
    hexagonal = tmp_path / "GaN.cif"
    hexagonal.write_text(HEXAGONAL)
    ran = run("new", hexagonal, "--zone", "1,1,1,0", *SMALL[2:], "-o", tmp_path / "made")
    assert ran.code == 2 and "the first three indices of [1 1 1 0] must add up to 0" in ran.err
