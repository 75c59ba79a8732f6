"""Recipes chosen by convergence."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hybridfit.errors import InputError, RecipeError
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe
from hybridfit.new.convergence import _moved
from hybridfit.new.design import design
from hybridfit.new.settings import DESIGN

LOOSE = {"tolerance": 0.03, "moved_thickness": 2.0, "moved_tilt": 0.5}
FEW = dataclasses.replace(DESIGN, beams=(9, 13, 21), most_beams=100, **LOOSE)
VALUES = {"energy_kv": 200.0, "semi_angle": 5.0, "tilt_max": 1.0, "thickness": (30.0, 50.0), "settings": FEW}
TOLERANCE = FEW.tolerance


def with_samplings(*samplings: float) -> dict:
    return {**VALUES, "settings": dataclasses.replace(FEW, samplings=samplings, most_beams=21)}


@pytest.fixture(scope="module")
def chosen(crystals):
    return design(crystals["SrTiO3"], (0, 0, 1), **VALUES)


def test_what_is_cheaper_is_not_good_enough(chosen):
    for name, value in (("sampling", chosen.sampling), ("step", chosen.thickness[2])):
        trials = chosen.converged[name].trials
        assert trials[-1].value == value and trials[-1].error <= TOLERANCE
        assert all(trial.error > TOLERANCE for trial in trials[:-1])
    by_beams = chosen.converged["g_max"].trials
    assert [trial.value for trial in by_beams] == sorted({trial.value for trial in by_beams})
    assert by_beams[-1].error == 0 and by_beams[0].error > 10 * TOLERANCE
    later = [trial.error for trial in by_beams if trial.value >= chosen.g_max]
    assert max(later) <= TOLERANCE


def test_beams_are_added_until_the_last_two_trials_agree(chosen):
    """The first three rungs of the ladder, up to 21 beams, do not."""
    by_beams = chosen.converged["g_max"]
    beams = [int(trial.cost.split()[0]) for trial in by_beams.trials]
    assert beams[2] == 21 and len(beams) > 4
    assert by_beams.converged and by_beams.reached <= TOLERANCE
    assert by_beams.trials[-3].error > TOLERANCE >= by_beams.trials[-2].error
    assert chosen.warnings() == []


def test_beams_are_added_until_the_thickness_stays_where_it_is(crystals, chosen):
    """Patterns that may change by as much as they like: a fit reads them, not an eye."""
    by_beams = chosen.converged["g_max"]
    assert by_beams.trials[0].thickness > 10 * by_beams.trials[-2].thickness > 0
    strict = by_beams.trials[-2].thickness / 2
    only = dataclasses.replace(FEW, tolerance=1.0, moved_thickness=strict, most_beams=60)
    made = design(crystals["SrTiO3"], (0, 0, 1), **{**VALUES, "settings": only})
    assert made.g_max > by_beams.trials[0].value
    last = [t for t in made.converged["g_max"].trials if t.value >= made.g_max]
    assert all(trial.thickness <= strict for trial in last)


def test_what_has_not_converged_says_so_with_the_error_reached(crystals, tmp_path):
    local = tmp_path / "SrTiO3.cif"
    local.write_bytes(crystals["SrTiO3"].read_bytes())
    few = dataclasses.replace(FEW, most_beams=21, samplings=(0.8,), steps=(1.0,), tolerance=1e-6)
    made = design(local, (0, 0, 1), **{**VALUES, "settings": few})
    for name, value in (("g_max", made.g_max), ("sampling", 0.8), ("step", 1.0)):
        each = made.converged[name]
        assert not each.converged and each.reached > 1e-6
        assert any(f"{name} = {value:g} still changes" in words for words in made.warnings())
    trials = made.converged["g_max"].trials
    assert made.converged["g_max"].reached == trials[-2].error
    text = made.toml()
    assert text.count("# NOT CONVERGED") == 3 and text.count("NOT CONVERGED, the last that was tried") == 3
    assert "changes no pattern" not in text
    (tmp_path / "made.toml").write_text(text)
    assert Recipe.read(tmp_path / "made.toml").g_max == made.g_max
    alone = dataclasses.replace(FEW, beams=(9,), most_beams=9)
    made = design(local, (0, 0, 1), **{**VALUES, "settings": alone})
    assert "an unknown share" in made.warnings()[0]


def test_the_errors_are_those_of_patterns(crystals):
    """Compares a library with coarse sampling with a much finer one."""
    made = design(crystals["SrTiO3"], (0, 0, 1), **with_samplings(0.8, 0.1))
    recipe = Recipe(
        cif=crystals["SrTiO3"],
        zone=(0, 0, 1),
        energy_kv=200.0,
        g_max=1.0,
        semi_angle_max=5.5,
        tilt_max=1.0,
        thickness={"start": 47.0, "stop": 50.0},
    )
    libraries = [Library.build(recipe.model_copy(update={"sampling": s})) for s in (0.8, 0.1)]
    k = np.linspace(-0.8, 0.8, 9)  # where no disc overlaps the direct one: edges are as soft as the sampling
    coarse, fine = (
        library.patterns(thickness=50.0, tilt_x=0.37, tilt_y=0.13, semi_angle=4.8, k=k).values
        for library in libraries
    )
    off = np.abs(coarse - fine).max() / fine.max()
    assert 1e-5 < off < 3 * made.converged["sampling"].trials[0].error


def test_the_recipe_says_why(chosen, tmp_path, crystals):
    local = tmp_path / "SrTiO3.cif"
    local.write_bytes(crystals["SrTiO3"].read_bytes())
    path = tmp_path / "made.toml"
    path.write_text(dataclasses.replace(chosen, cif=local).toml())
    recipe = Recipe.read(path)
    assert recipe.debye_waller == {} and recipe.block is None
    given = {"block": "SrTiO3", "debye_waller": {"Sr": 0.6, "O": 0.75}}
    (tmp_path / "given.toml").write_text(dataclasses.replace(chosen, cif=local, **given).toml())
    known = Recipe.read(tmp_path / "given.toml")
    assert {name: getattr(known, name) for name in given} == given
    assert (recipe.g_max, recipe.sampling) == (chosen.g_max, chosen.sampling)
    assert recipe.semi_angle_max == pytest.approx(5.5) and recipe.in_plane == chosen.in_plane
    assert "off by" in path.read_text() and "4-fold, with mirrors" in path.read_text()
    library = Library.build(recipe)
    assert library.dataset.sizes["beam"] == chosen.beams
    assert library.dataset.sizes["direction"] == chosen.directions
    assert library.dataset.intensity.nbytes == pytest.approx(1e9 * chosen.gigabytes)


def test_a_recipe_with_lines_says_so(crystals, chosen, tmp_path):
    local = tmp_path / "SrTiO3.cif"
    local.write_bytes(crystals["SrTiO3"].read_bytes())
    made = design(local, (1, 1, 1), **with_samplings(0.8, 0.4), holz=True)
    assert made.rotation_order == 3
    path = tmp_path / "made.toml"
    path.write_text(made.toml())
    assert Recipe.read(path).holz
    assert not chosen.holz and "holz" not in chosen.toml()
    flat = design(local, (1, 1, 1), **with_samplings(0.8, 0.4))
    assert flat.rotation_order == 6
    assert flat.converged["sampling"].trials[0].error != made.converged["sampling"].trials[0].error


@pytest.mark.parametrize(
    ("crystal", "zone", "expected"),
    [("SrTiO3", (0, 0, 1), (1, 0, 0)), ("Si", (1, 1, 0), (0, 0, 2)), ("triclinic", (0, 0, 1), None)],
)
def test_x_lies_on_a_mirror_where_there_is_one(crystals, crystal, zone, expected):
    made = design(crystals[crystal], zone, **VALUES)
    assert made.mirrors == (expected is not None)
    if expected is not None:
        assert made.in_plane == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"semi_angle": 0.0}, "semi-angle 0 mrad is out of range"),
        ({"semi_angle": 900.0}, "out of range"),
        ({"energy_kv": 5.0}, "energy 5 kV is out of range"),
        ({"tilt_max": -1.0}, "tilt -1 mrad"),
        ({"thickness": (30.0, 20.0)}, "is no range"),
        ({"thickness": (0.0, 20.0)}, "is no range"),
        ({"semi_angle": 45.0, "tilt_max": 50.0, "thickness": (1.0, 900.0)}, "give a smaller"),
    ],
)
def test_what_cannot_be_is_refused(crystals, change, words):
    with pytest.raises(InputError, match=words):
        design(crystals["SrTiO3"], (0, 0, 1), **{**VALUES, **change})


def test_a_zone_that_is_none(crystals):
    with pytest.raises(RecipeError, match=r"zone \[0, 0, 0\] is no direction"):
        design(crystals["SrTiO3"], (0, 0, 0), **VALUES)
    with pytest.raises(RecipeError, match="not perpendicular"):
        design(crystals["SrTiO3"], (0, 0, 1), in_plane=(0, 0, 1), **VALUES)


def test_what_changes_patterns_but_moves_no_answer_is_said_to_be_harmless(chosen):
    made = dataclasses.replace(
        chosen, moved_thickness=DESIGN.moved_thickness, moved_tilt=DESIGN.moved_tilt, tolerance=1e-3
    )

    def said(reached: float, moved: float, tilt: float) -> list[str]:
        last = made.converged["g_max"].trials[-1].value
        found = dataclasses.replace(
            made.converged["g_max"],
            value=last,
            reached=reached,
            converged=False,
            moved=moved,
            moved_tilt=tilt,
        )
        changed = dataclasses.replace(made, converged={**made.converged, "g_max": found})
        return [*changed.warnings(), changed.toml()]

    words, recipe = said(0.03, 0.011, 0.0047)
    assert words.startswith("g_max") and "0.01 nm" in words and "0.005 mrad" in words
    assert "NOT CONVERGED" not in words + recipe and "moves no answer" in recipe
    words, recipe = said(0.03, 0.011, 0.02)
    assert words.startswith("NOT CONVERGED") and "moves the tilt by 0.02 mrad (0.01 is asked for)" in words
    assert "moves the thickness" not in words and "NOT CONVERGED" in recipe
    assert "moves the thickness by 0.03 nm" in said(0.0001, 0.03, 0.0)[0]
    assert said(np.inf, 0.0, 0.0)[0].startswith("NOT CONVERGED")


def test_a_shift_that_shows_in_no_beam_does_not_count():
    """A slope is next to nothing, or the same as another one."""
    rng = np.random.default_rng(1)
    slopes = rng.normal(size=(3, 1, 4, 50))
    known = rng.random((1, 4, 50))
    found = known + 0.03 * slopes[0] - 0.02 * slopes[1] + 0.01 * slopes[2]
    assert _moved(found, known, slopes, DESIGN) == pytest.approx((0.03, 0.02), rel=1e-3)
    slopes[2] *= 1e-6
    noise = 1e-5 * rng.normal(size=known.shape)
    found = known + 0.03 * slopes[0] - 0.02 * slopes[1] + noise
    assert _moved(found, known, slopes, DESIGN) == pytest.approx((0.03, 0.02), rel=0.01)
    twice = np.stack([slopes[0], slopes[1], slopes[1] * (1 + 1e-7)])
    moved = _moved(known + 0.03 * slopes[0] + noise, known, twice, DESIGN)
    assert moved == pytest.approx((0.03, 0.0), abs=1e-3)


def test_a_solve_that_came_to_nothing_moves_everything():
    known, slopes = np.ones((2, 3, 4)), np.ones((3, 2, 3, 4))
    found = known.copy()
    found[1, 2, 3] = np.nan
    assert _moved(found, known, slopes, DESIGN) == (np.inf, np.inf)


def test_a_disc_that_is_alone_is_said_to_be(chosen):
    assert 6.4 < chosen.apart < 6.5 and "ALONE" not in chosen.toml()
    alone = dataclasses.replace(chosen, apart=26.94, semi_angle=8.0)
    (words,) = alone.warnings()
    assert "26.9 mrad away, and only 15.5 mrad" in words and "semi-angle of 9.8 mrad on" in words
    text = alone.toml()
    assert "# ONE DISC ALONE" in text and "changes no pattern" in text
    assert not dataclasses.replace(alone, semi_angle=9.8).warnings()
