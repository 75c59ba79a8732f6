"""Structural parameters in a fit: continuous ones with correct errors, discrete ones with odds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hybridfit import Candidate, FitResult, Fitter, Hints, simulate_frame
from hybridfit.errors import InputError, LibraryError
from hybridfit.fitting.refine.structural import all_turns
from hybridfit.fitting.result import Status
from hybridfit.library.crystals import StructuralChange
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, shipped_folder
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.distortions import displaced

SEMI_ANGLE, TURN = 7.5, 21.0
VALUES = {
    "energy_kv": 200,
    "g_max": 1.0,
    "semi_angle_max": 8,
    "tilt_max": 2.0,
    "sampling": 0.5,
    "thickness": {"start": 15, "stop": 30},
}


def titanium(crystal: Crystal, value: float) -> Crystal:
    """Titanium of SrTiO₃ along +c (Å)."""
    return displaced(crystal, {"Ti1": (0, 0, 1)})(crystal, value)


def perovskite(values, **more) -> Library:
    recipe = Recipe(cif=shipped_folder() / "SrTiO3.cif", zone=(1, 0, 0), in_plane=(0, 0, 1), **VALUES)
    return Library.build(
        recipe, parameters={"shift": StructuralChange(values, titanium, "Å"), **more}, diffuse=False
    )


@pytest.fixture(scope="module")
def shifted() -> Library:
    return perovskite(np.linspace(0.0, 0.25, 6).tolist())


@pytest.fixture(scope="module")
def between() -> Library:
    """A crystal between the values of the library, solved exactly."""
    return perovskite([0.08, 0.16])


@pytest.fixture(scope="module")
def gallium_arsenide(crystals) -> Library:
    recipe = Recipe(cif=crystals["GaAs"], zone=(1, 1, 0), in_plane=(0, 0, 1), **VALUES)

    def inverted(crystal: Crystal, value: float) -> Crystal:
        return replace(crystal, positions=value * crystal.positions)

    return Library.build(recipe, parameters={"polarity": StructuralChange((-1, 1), inverted)})


def frame(library: Library, tilt=(0.6, -0.9), thickness=22.3, seed=0, electrons=1e6):
    """A frame of 96 px, turned by 21°, and what is true of it."""
    return simulate_frame(
        library,
        thickness=thickness,
        tilt=tilt,
        semi_angle=SEMI_ANGLE,
        shape=(96, 96),
        rotation=TURN,
        electrons=electrons,
        seed=seed,
    )


def fitter(library: Library, **options) -> Fitter:
    """The rotation is given, because the direction of a displacement is only known relative to the camera."""
    return Fitter(library, SEMI_ANGLE, workers=1, hints=Hints(rotation=TURN - 1), **options)


def at_truth(truth, **changes) -> Candidate:
    names = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
    return Candidate(**{**{name: float(truth[name]) for name in names}, **changes})


# ---------------------------------------------------------------- continuous


@pytest.fixture(scope="module")
def displacement(shifted, between) -> FitResult:
    return fitter(shifted).fit(frame(between.at(shift=0.16))[0])


def test_a_displacement_is_recovered_from_an_unknown_tilt(displacement):
    assert displacement.status is Status.converged and set(displacement.structure) == {"shift"}
    shift = displacement.structure["shift"]
    assert shift.unit == "Å" and 0 < shift.stderr < 0.01
    assert abs(shift.value - 0.16) < 3 * shift.stderr
    assert abs(displacement.thickness - 22.3) < 0.15
    np.testing.assert_allclose(displacement.tilt, (0.6, -0.9), atol=0.05)


def test_the_error_of_a_displacement_is_honest(shifted, between):
    """Ten frames from the whole range: deviations agree with the stated errors."""
    refiner, scores = fitter(shifted), []
    for seed in range(10):
        shift = (0.08, 0.16)[seed % 2]
        image, truth = frame(between.at(shift=shift), seed=seed, electrons=3e5)
        start = at_truth(truth, thickness=21.5, tilt_x=0.2)
        found = refiner.refine(image, start).structure["shift"]
        scores.append((found.value - shift) / found.stderr)
        low, high = found.interval95
        assert high - low == pytest.approx(2 * 1.96 * found.stderr, rel=1e-3)
    assert 0.4 < np.sqrt(np.mean(np.square(scores))) < 1.7


def test_where_a_refinement_starts_makes_no_difference(shifted, between):
    """The seed comes from another crystal than the frame's."""
    image, truth = frame(between.at(shift=0.08), tilt=(-1.0, 0.3), thickness=26.0)
    one = fitter(shifted).refine(image, at_truth(truth))
    other = fitter(shifted).refine(image, at_truth(truth, thickness=24.5, tilt_x=-0.6, tilt_y=0.6))
    assert one.structure["shift"].value == pytest.approx(other.structure["shift"].value, abs=1e-3)


def test_a_structural_parameter_can_be_fixed(shifted, between):
    image, truth = frame(between.at(shift=0.08))
    for fix, value in (({"shift": 0.08}, 0.08), ({"shift": None}, 0.0)):
        result = fitter(shifted, fix=fix).refine(image, at_truth(truth))
        assert result.structure["shift"].value == value
        assert result.structure["shift"].stderr is None
    assert result.residual_fraction > fitter(shifted).refine(image, at_truth(truth)).residual_fraction


def test_the_end_of_the_library_is_a_bound(shifted):
    image, truth = frame(perovskite([0.25, 0.32]).at(shift=0.32))
    result = fitter(shifted).refine(image, at_truth(truth))
    assert result.structure["shift"].value == pytest.approx(0.25, abs=1e-3)
    assert result.structure["shift"].stderr is None
    assert result.status in (Status.at_bound, Status.poor_match)
    if result.status is Status.at_bound:
        assert "shift" in result.message


# ---------------------------------------------------------------- discrete


@pytest.mark.parametrize("polarity", [-1, 1])
@pytest.mark.parametrize(("tilt", "thickness"), [((0.6, -0.9), 22.3), ((0.0, 0.0), 19.0)])
def test_the_sign_of_a_polarity_is_right(gallium_arsenide, polarity, tilt, thickness):
    image, _ = frame(gallium_arsenide.at(polarity=polarity), tilt, thickness)
    result = fitter(gallium_arsenide).fit(image)
    found = result.structure["polarity"]
    assert result.status is Status.converged and found.value == polarity
    assert found.odds[polarity] > 0.99 and found.stderr is None
    assert sum(found.odds.values()) == pytest.approx(1)
    assert abs(result.thickness - thickness) < 0.2
    np.testing.assert_allclose(result.tilt, tilt, atol=0.08)


def test_a_full_search_looks_at_both_polarities(gallium_arsenide):
    image, truth = frame(gallium_arsenide.at(polarity=1))
    both, one = (fitter(gallium_arsenide, **more) for more in ({}, {"fix": {"polarity": 1}}))
    found, curve = both.search(image)
    other, its_curve = one.search(image)
    assert found[0] == other[0] and len(found) > len(other)
    assert abs(found[0].thickness - truth["thickness"]) <= 2
    assert [c.chi2 for c in found] == sorted(c.chi2 for c in found)
    assert (curve[0] == its_curve[0]).all() and (curve[1] <= its_curve[1]).all()


@pytest.mark.parametrize("polarity", [-1, 1])
def test_a_match_looks_at_both_polarities(gallium_arsenide, polarity):
    """A known rotation does not lead to a full search."""
    image, truth = frame(gallium_arsenide.at(polarity=polarity))
    result = fitter(gallium_arsenide).fit(image)
    assert result.route == "library match" and result.status is Status.converged
    assert result.structure["polarity"].value == polarity
    assert abs(result.thickness - truth["thickness"]) < 0.5


def test_too_few_electrons_leave_the_polarity_open(gallium_arsenide):
    image, truth = frame(gallium_arsenide.at(polarity=1), electrons=1000)
    odds = fitter(gallium_arsenide).refine(image, at_truth(truth)).structure["polarity"].odds
    assert set(odds) == {-1.0, 1.0} and 1e-6 < min(odds.values()) < 0.5


def test_the_thinnest_crystal_of_a_library_has_a_polarity_and_a_tilt(gallium_arsenide):
    """Only almost zero thickness has none, and a library may begin at more."""
    image, truth = frame(gallium_arsenide.at(polarity=1), thickness=15.1)
    result = fitter(gallium_arsenide).refine(image, at_truth(truth))
    assert result.structure["polarity"].odds[1] > 0.99 > result.structure["polarity"].odds[-1]
    np.testing.assert_allclose(result.tilt, (truth["tilt_x"], truth["tilt_y"]), atol=0.1)


def test_a_polarity_that_is_fixed_has_no_odds(gallium_arsenide):
    image, truth = frame(gallium_arsenide.at(polarity=1))
    right, wrong = (
        fitter(gallium_arsenide, fix={"polarity": sign}).refine(image, at_truth(truth)) for sign in (1, -1)
    )
    assert right.structure["polarity"].value == 1 and right.structure["polarity"].odds is None
    assert wrong.structure["polarity"].value == -1
    assert wrong.residual_fraction > 2 * right.residual_fraction


def test_discrete_and_continuous_parameters_go_together():
    def warmer(crystal: Crystal, value: float) -> Crystal:
        return replace(crystal, debye_waller=value * crystal.debye_waller)

    both = perovskite([0.0, 0.1, 0.2], warmth=StructuralChange((1.0, 2.5), warmer))
    image, truth = frame(both.at(shift=0.1, warmth=2.5))
    result = fitter(both).refine(image, at_truth(truth))
    assert list(result.structure) == ["shift", "warmth"]
    shift, warmth = result.structure.values()
    assert warmth.value == 2.5 and warmth.odds[2.5] > 0.99
    assert abs(shift.value - 0.1) < 4 * shift.stderr


# ---------------------------------------------------------------- the rotation


def test_the_rotation_need_not_be_known_where_the_sign_is(shifted, between):
    """The reference is fourfold, the others are not: all four turns of what the search finds are tried."""
    image, _ = frame(between.at(shift=0.16))
    result = Fitter(shifted, SEMI_ANGLE, workers=1).fit(image)
    assert result.status is Status.converged
    assert result["rotation"].value == pytest.approx(TURN, abs=0.3)
    assert abs(result.structure["shift"].value - 0.16) < 4 * result.structure["shift"].stderr


@pytest.mark.parametrize("polarity", [-1, 1])
def test_without_a_rotation_the_sign_of_a_polarity_is_open(gallium_arsenide, polarity):
    """Turned by 180° the inverse crystal gives the same frame."""
    image, _ = frame(gallium_arsenide.at(polarity=polarity))
    result = Fitter(gallium_arsenide, SEMI_ANGLE, workers=1).fit(image)
    odds = result.structure["polarity"].odds
    assert result.status is Status.converged, "thickness is certain"
    assert "polarity" in result.message and "--hint-rotation" in result.message
    assert min(odds.values()) > 0.2
    first = result.candidates[0]
    same = [
        c
        for c in result.candidates
        if abs(c.camera_tilt - first.camera_tilt) < 0.1 and abs(c.thickness - first.thickness) < 0.3
    ]
    assert len(same) == 2, "the answer, and the other orientation once"


def test_turns_leave_what_the_frame_shows(shifted):
    one = Candidate(20.0, 0.6, -0.9, 40.0, 41.0, 3.0, 10.0)
    reference = shifted.at(shift=0.0)

    def shown(c):
        angle = np.deg2rad(c.rotation)
        rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return rotate @ c.tilt

    turns = all_turns([one], shifted, reference)
    assert [round(c.rotation) for c in turns] == [10, 100, 190, 280]
    for c in turns:
        np.testing.assert_allclose(shown(c), shown(one), atol=1e-12)
    assert all_turns([one], shifted, reference, -75.0) == [turns[3]]
    assert all_turns([one], reference, reference) == [one]


# ---------------------------------------------------------------- what is said of them


def test_json_and_netcdf_carry_them(displacement, gallium_arsenide):
    out = json.loads(json.dumps(displacement.to_json()))["structure"]["shift"]
    assert set(out) == {"value", "stderr", "interval95", "unit"} and out["unit"] == "Å"
    data = displacement.to_dataset()
    assert data["shift"].attrs["units"] == "Å" and float(data["shift_stderr"]) == out["stderr"]
    assert " Å" in next(line for line in displacement.report().splitlines() if "shift" in line)
    image, truth = frame(gallium_arsenide.at(polarity=1))
    result = fitter(gallium_arsenide).refine(image, at_truth(truth))
    out = json.loads(json.dumps(result.to_json()))["structure"]["polarity"]
    assert set(out["odds"]) == {"-1", "1"} and out["value"] == 1
    data = result.to_dataset()
    assert float(data["polarity_odds"].sel(polarity_value=1)) == out["odds"]["1"]
    assert "odds -1:" in result.report()


def test_the_results_parameters_are_those_of_every_fit(displacement):
    assert "shift" not in displacement.parameters and "shift" in displacement.minimizer.params
    assert "shift" in displacement.minimizer.var_names


@pytest.mark.parametrize(
    ("fix", "error", "words"),
    [
        ({"shift": 0.4}, LibraryError, ["shift = 0.4", "0 … 0.25"]),
        ({"shift": np.nan}, LibraryError, ["shift = nan"]),
        ({"shfit": 0.1}, InputError, ["'shfit'", "shift"]),
    ],
)
def test_what_cannot_be_fixed_is_refused(shifted, fix, error, words):
    with pytest.raises(error) as caught:
        fitter(shifted, fix=fix)
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


def test_a_discrete_parameter_is_fixed_at_one_of_its_values(gallium_arsenide):
    with pytest.raises(LibraryError, match="polarity = 0 is outside this library"):
        fitter(gallium_arsenide, fix={"polarity": 0})
