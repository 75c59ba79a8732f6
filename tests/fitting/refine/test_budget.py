"""What an error bar contains: the joint posterior of parameters and of what is taken for granted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridfit import Candidate, Fitter
from hybridfit.fitting.assumptions import ASSUMED, BUDGET_PARTS, PARTS, POINT_SPREAD
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe
from hybridfit.library.slopes import without_slopes
from hybridfit.library.structural import StructuralTable
from hybridfit.simulate.frame import simulate_frame

SEMI_ANGLE = 9.0
EXACT = dict.fromkeys(PARTS, 0.0)
NAMES = ("thickness", "tilt_x", "tilt_y")
FRAME = {
    "thickness": 30.3,
    "tilt": (0.6, -0.9),
    "shape": (96, 96),
    "rotation": 12.0,
    "electrons": 1e8,
    "seed": 3,
}


@pytest.fixture(scope="module")
def other(small_recipe):
    """other(b, e) → a library of a crystal that vibrates b times as much, and of e times the energy."""

    def build(b=1.0, e=1.0):
        recipe = Recipe.read(small_recipe)
        changes = {
            "energy_kv": 200.0 * e,
            "thickness": recipe.thickness.model_copy(update={"start": 27.0, "stop": 33.0}),
        }
        if b == 1:
            return Library.build(recipe.model_copy(update=changes), slopes=False, device="cpu")
        changes["parameters"] = {"b": StructuralTable(values=(b, 2 * b), debye_waller={"all": 1.0})}
        return Library.build(recipe.model_copy(update=changes), slopes=False, device="cpu").at(b=b)

    return build


def fitted(library, image, truth, **options):
    start = Candidate(
        truth["thickness"] + 0.4,
        truth["tilt_x"] + 0.1,
        truth["tilt_y"] - 0.1,
        *(truth[name] for name in ("centre_x", "centre_y", "scale", "rotation")),
    )
    return Fitter(library, SEMI_ANGLE, seeded=True, workers=1, **options).refine(image, start)


@pytest.fixture(scope="module")
def plain(small_library):
    """A frame of the library itself."""
    return simulate_frame(small_library, semi_angle=SEMI_ANGLE, **FRAME)


def test_parts_add_up_to_the_stated_error(small_library, plain):
    result = fitted(small_library, *plain)
    assert set(result.budget) == set(NAMES) and not result.budget_lacks
    for name in NAMES:
        # electrons are counted one by one
        assert [*result.budget[name]] == [part for part in BUDGET_PARTS if part != POINT_SPREAD]
        assert np.hypot.reduce([*result.budget[name].values()]) == pytest.approx(result[name].stderr)
        assert all(part >= 0 for part in result.budget[name].values())
    assert result.budget["thickness"]["counting"] > 0 and result.budget["thickness"]["semi_angle"] > 0


def test_what_is_exact_has_no_part_and_leaves_the_answer_alone(small_library, plain):
    exact = fitted(small_library, *plain, sigma=EXACT)
    none = fitted(Library(without_slopes(small_library.dataset)), *plain, sigma=EXACT)
    assert exact.budget == none.budget and set(exact.budget["thickness"]) == {"counting", "misfit"}
    for name in NAMES:
        assert exact[name] == none[name]
        assert np.hypot.reduce([*exact.budget[name].values()]) == pytest.approx(exact[name].stderr)
    assert exact.assumed == {} and exact.budget_lacks == ()
    params = exact.lmfit_result.params
    assert exact["thickness"].value == params["thickness"].value


def test_an_answer_without_priors_comes_near_to_one_with_narrow_ones(small_library, plain):
    exact = fitted(small_library, *plain, sigma=EXACT)
    near = fitted(small_library, *plain, sigma=dict.fromkeys(PARTS, 1e-7))
    for name in NAMES:
        assert near[name].value == pytest.approx(exact[name].value, abs=0.02 * exact[name].stderr)


def test_a_crystal_that_vibrates_more_is_seen_to(small_library, other):
    image, truth = simulate_frame(other(b=1.15), semi_angle=SEMI_ANGLE, **FRAME)
    exact, free = (fitted(small_library, image, truth, sigma=sigma) for sigma in (EXACT, {}))
    errors = [abs(each.thickness - truth["thickness"]) for each in (exact, free)]
    assert errors[0] > 3 * exact["thickness"].stderr or errors[0] > 0.1
    assert errors[1] < 0.4 * errors[0] and errors[1] < 3 * free["thickness"].stderr
    b = free.assumed["debye_waller"]
    assert b.told and b.offset == pytest.approx(0.15, abs=0.04) and b.stderr < 0.05
    assert "Debye–Waller factors: +1" in free.report()


def test_a_user_who_knows_better_is_believed(small_library, other):
    image, truth = simulate_frame(other(b=1.15), semi_angle=SEMI_ANGLE, **FRAME)
    wide, narrow = (
        fitted(small_library, image, truth, sigma={"debye_waller": sigma}) for sigma in (0.3, 1e-4)
    )
    assert abs(narrow.assumed["debye_waller"].offset) < 0.001 < wide.assumed["debye_waller"].offset
    assert narrow.budget["thickness"]["vibration"] < 0.1 * wide.budget["thickness"]["vibration"] + 1e-3


def test_a_tilt_is_that_of_the_true_wavelength(small_library, other):
    """Angles of a library are too large where the electrons are faster than it takes them to be."""
    image, truth = simulate_frame(other(e=1.006), semi_angle=SEMI_ANGLE, **FRAME)
    result = fitted(small_library, image, truth, sigma={"energy": 0.006})
    assert result.budget["thickness"]["energy"] > 0
    for name in NAMES:
        assert abs(result[name].value - truth[name]) < 4 * result[name].stderr, name


@pytest.mark.parametrize("factor", [0.985, 1.015])
def test_a_semi_angle_that_was_said_wrong_is_corrected(small_library, factor):
    image, truth = simulate_frame(small_library, semi_angle=factor * SEMI_ANGLE, **FRAME)
    result = fitted(small_library, image, truth)
    alpha = result.assumed["semi_angle"]
    assert alpha.told and alpha.offset == pytest.approx(factor - 1, abs=0.003)
    for name in NAMES:
        assert abs(result[name].value - truth[name]) < 3.5 * result[name].stderr, name
    assert result["semi_angle"].value == SEMI_ANGLE


@pytest.mark.parametrize("options", [{"free": ["semi_angle"]}, {"fix": {"semi_angle": SEMI_ANGLE}}])
def test_a_semi_angle_that_is_fitted_or_known_is_no_part(small_library, plain, options):
    result = fitted(small_library, *plain, **options)
    assert "semi_angle" not in result.assumed and "semi_angle" not in result.budget["thickness"]
    assert "vibration" in result.budget["thickness"]


def test_a_library_without_slopes_says_what_is_missing(small_library, plain):
    result = fitted(Library(without_slopes(small_library.dataset)), *plain)
    assert result.budget_lacks == ("vibration", "energy") and set(result.assumed) == {"semi_angle"}
    assert "not in the errors: vibration and energy" in result.report()
    assert result.to_json()["budget_lacks"] == ["vibration", "energy"]


def test_json_and_dataset_have_the_budget(small_library, plain):
    result = fitted(small_library, *plain)
    made = result.to_json()
    assert made["budget"]["thickness_nm"] == dict(result.budget["thickness"])
    assert made["assumed"]["energy"]["sigma"] == ASSUMED.energy
    data = result.to_dataset()
    assert data.thickness_budget.dims == ("part",) and data.thickness_budget.attrs["units"] == "nm"
    assert float(data.tilt_x_budget.sel(part="misfit")) == result.budget["tilt_x"]["misfit"]


def test_a_turned_crystal_has_the_parts_of_its_own_axes(small_library):
    """A quarter turn of the camera exchanges the components of the tilt, and their parts."""
    made = [
        simulate_frame(small_library, semi_angle=SEMI_ANGLE, **{**FRAME, "rotation": rotation, "tilt": tilt})
        for rotation, tilt in ((12.0, (0.6, -0.9)), (102.0, (-0.9, -0.6)))
    ]
    first, second = (fitted(small_library, *each) for each in made)
    assert second["rotation"].value == pytest.approx(first["rotation"].value, abs=0.3)
    for name in NAMES:
        assert second[name].value == pytest.approx(first[name].value, abs=0.05)
        for part in BUDGET_PARTS:
            one, two = (each.budget[name].get(part, 0.0) for each in (first, second))
            assert one == pytest.approx(two, rel=0.5, abs=0.15 * first[name].stderr), (name, part)


def test_a_parameter_on_its_bound_leaves_the_answer_where_it_is(small_library, plain):
    result = fitted(small_library, *plain, bounds={"blur": (0.28, 1.0)})
    assert result.status.name == "at_bound"
    assert result["thickness"].value == pytest.approx(result.lmfit_result.params["thickness"].value)
    assert all(each.offset == 0 and each.stderr == each.sigma for each in result.assumed.values())


def test_mirrored_answers_keep_their_budget(small_library, plain):
    result = fitted(small_library, *plain)
    assert result.mirrored().budget == result.budget and result.mirrored() == replace(result.mirrored())
