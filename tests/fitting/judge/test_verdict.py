"""The verdict: every status, which one comes first, and every threshold from both sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from by_hand import (
    GRAIN,
    MASK,
    NAMES,
    PETALS,
    RADIAL,
    SETTINGS,
    WHITE,
    Made,
    N,
    a_candidate,
    a_library,
    a_minimum,
    a_result,
    axis,
)

from hybridfit.fitting.judge.settings import JUDGE
from hybridfit.fitting.judge.status import (
    Verdict,
    better,
    beyond_round,
    crystal_share,
    explained_variance,
    holds,
    how_much_deeper,
    in_another_orientation,
    judge,
    negative_background,
    on_bound,
    strays,
    structure_of,
    unexplained,
)
from hybridfit.fitting.refine.noise import Noise
from hybridfit.fitting.status import OtherMinimum, Status

VARIANCE = float((RADIAL + PETALS + WHITE).var())


def verdict(best=None, *rivals, bounded=None, doubt="", settings=SETTINGS, **limits):
    """The verdict on a minimum, with thresholds replaced."""
    settings = replace(settings, judging=replace(JUDGE, **limits))
    return judge(best or a_minimum(), rivals, bounded or {}, doubt, settings)


def either_side(value):
    """Just below, just above."""
    return value - 1e-6 * abs(value), value + 1e-6 * abs(value)


# ---------------------------------------------------------------- which status, and which one first


def no_number(made):
    made.values = {"blur": np.nan}


def no_intensity(made):
    made.coefficients = (0.0, *made.coefficients[1:])


def nothing_explained(made):
    made.residual = np.sqrt(0.97 * VARIANCE) * WHITE / WHITE.std() + made.residual


def misfit(made):
    made.noise = made.noise._replace(misfit=0.07 * VARIANCE)


def no_structure(made):
    made.data = RADIAL + WHITE


def little_structure(made):
    made.data = made.data - 0.6 * PETALS


def structure_left(made):
    made.residual = made.residual + 0.6 * PETALS


def few_pixels_differ(made):
    made.n_effective = 1e-3


def hole(made):
    made.coefficients = (made.coefficients[0], 0.0, -40.0, 0.0)


def unsettled(made):
    made.settled = False


# in the order in which they are asked for: what is done to a good fit, what is said of it
FAULTS = [
    (no_intensity, Status.failed, "no positive intensity factor fits the frame"),
    (nothing_explained, Status.poor_match, "of the variance, which noise would too"),
    (misfit, Status.poor_match, "of the pattern's variance, at most 6% is usual"),
    (no_structure, Status.poor_match, "no structure of a crystal stands out of the noise"),
    (little_structure, Status.poor_match, "40% of the crystal's structure is there: vacuum, or amorphous"),
    (few_pixels_differ, Status.poor_match, "a round pattern explains it as well"),
    (structure_left, Status.poor_match, "of the structure is left, at most 18% is usual"),
    ("another semi-angle is better", Status.poor_match, "another semi-angle is better"),
    (hole, Status.poor_match, "it takes a background that is negative by"),
    (unsettled, Status.failed, "it has not settled after 12 evaluations of the model"),
    ({"blur": "blur", "scale": "scale"}, Status.at_bound, "blur, scale"),
    ((a_minimum(answer=a_candidate(0.01001, thickness=45.0)),), Status.ambiguous, "45.0 nm"),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_of_many_faults_the_gravest_is_said(first):
    made, doubt, bounded, rivals = Made(), "", {}, ()
    for fault, _, _ in FAULTS[first:]:
        if callable(fault):
            fault(made)
        elif isinstance(fault, str):
            doubt = fault
        elif isinstance(fault, dict):
            bounded = fault
        else:
            rivals = fault
    found = verdict(made.minimum(), *rivals, bounded=bounded, doubt=doubt)
    _, status, words = FAULTS[first]
    assert found.status is status and words in str(found.detail) and found.remarks == ()


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_each_fault_alone_is_enough(first):
    fault, status, words = FAULTS[first]
    made = Made()
    if callable(fault):
        fault(made)
    found = verdict(
        made.minimum(),
        *(fault if isinstance(fault, tuple) else ()),
        bounded=fault if isinstance(fault, dict) else {},
        doubt=fault if isinstance(fault, str) else "",
    )
    assert found.status is status and words in str(found.detail)


def test_a_good_fit_converged():
    assert verdict() == Verdict(Status.converged, "", ())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["thickness", "blur"])
def test_values_that_are_no_numbers_fail(name, value):
    assert verdict(a_minimum(values={name: value})).status is Status.failed


@pytest.mark.parametrize(("factor", "status"), [(-1.0, "failed"), (0.0, "failed"), (1e-9, "converged")])
def test_the_intensity_must_be_positive(factor, status):
    assert verdict(a_minimum(coefficients=(factor, 0.0, 0.0, 0.0))).status.name == status


# ---------------------------------------------------------------- thresholds


def test_a_fit_must_explain_more_than_its_parameters_would_of_noise():
    by_chance = (len(NAMES) + 4) / N
    residual = np.full(N, np.sqrt(0.5 * VARIANCE))
    explained, chance = explained_variance(a_minimum(residual=residual))
    assert explained == pytest.approx(0.5) and chance == pytest.approx(by_chance)
    # structure and misfit are not asked of here
    for times, poor in zip(either_side(0.5 / by_chance), (False, True), strict=True):
        found = verdict(a_minimum(residual=residual), beyond_chance=times)
        assert (found.detail == "it explains 50.0% of the variance, which noise would too") is poor
    # of few pixels, so many times what is by chance may be more than all
    for most, poor in zip(either_side(0.5), (False, True), strict=True):
        found = verdict(a_minimum(residual=residual), beyond_chance=2 / by_chance, beyond_any_chance=most)
        assert found.detail.startswith("it explains 50.0%") is poor
    worse = verdict(a_minimum(residual=3 * residual))
    assert worse.detail == "it explains 0.0% of the variance, which noise would too"


@pytest.mark.parametrize(("share", "status"), [(0.0599, "converged"), (0.0601, "poor_match")])
def test_misfit_of_six_percent_is_poor(share, status):
    assert verdict(a_minimum(noise=Noise(GRAIN**2, 0.0, share * VARIANCE))).status.name == status


def test_the_models_structure_must_stand_out_of_the_noise():
    """The standard error of its share is √(σ² Σ m²)/Σ m², m the structure of the model."""
    share, error = crystal_share(a_minimum())
    assert share == pytest.approx(1, abs=5 * error)
    assert error == pytest.approx(GRAIN / np.sqrt((PETALS**2).sum()), rel=0.1)
    for seen, poor in zip(either_side(share / error), (False, True), strict=True):
        found = verdict(seen=seen)
        assert (found.detail == "no structure of a crystal stands out of the noise") is poor


def test_less_than_half_of_the_models_structure_is_no_crystal():
    part = a_minimum(data=RADIAL + 0.3 * PETALS + WHITE)
    share, error = crystal_share(part)
    assert share == pytest.approx(0.3, abs=5 * error)
    for least, poor in zip(either_side(share + 3 * error), (False, True), strict=True):
        found = verdict(part, crystalline=least)
        assert (found.status is Status.poor_match) is poor
    opposite = verdict(a_minimum(data=RADIAL - 0.1 * PETALS + WHITE), seen=-1000.0)
    assert opposite.detail == "0% of the crystal's structure is there: vacuum, or amorphous"


@pytest.mark.parametrize("left", [0.05, 0.3])
def test_structure_that_is_left_is_poor(left):
    minimum = a_minimum(residual=WHITE + np.sqrt(left) * PETALS)
    share = unexplained(minimum, JUDGE)
    assert share == pytest.approx(left, rel=0.05)
    for most, poor in zip(either_side(share), (True, False), strict=True):
        assert (verdict(minimum, structure_left=most).status is Status.poor_match) is poor
    assert (verdict(minimum).status is Status.poor_match) is (left > 0.18)


def test_structure_is_counted_on_the_compared_pixels_about_the_fitted_centre():
    at_centre = structure_of(a_minimum())
    assert at_centre.frame == pytest.approx((PETALS**2).mean(), rel=0.02)
    # rings about another centre cross the radial part
    beside = structure_of(a_minimum(values={"centre_x": 36.0}))
    assert beside.frame > 1.2 * at_centre.frame
    assert crystal_share(a_minimum(data=2 * RADIAL + PETALS))[0] == pytest.approx(1.0, abs=0.01)
    assert crystal_share(a_minimum(data=2 * RADIAL + PETALS, values={"centre_x": 36.0}))[0] > 1.2


def test_the_profile_of_crystallinity_has_a_piece_for_every_pixel():
    """A radial fringe of 3 px is a profile, not structure; were the pieces wider it would be."""
    fringe = 10 * np.cos(2 * np.pi * np.hypot(*(np.indices(MASK.shape) - 30.0)) / 3)[MASK]
    for scale in (1.5, 3.0, 6.0):
        share, _ = crystal_share(
            a_minimum(model=RADIAL + PETALS + fringe, data=RADIAL + PETALS, values={"scale": scale})
        )
        assert share == pytest.approx(1.0, abs=0.1)


def test_a_background_that_is_a_hole_is_poor():
    minimum = a_minimum(coefficients=(50.0, 5.0, -30.0, 0.0), model=RADIAL + PETALS)
    depth = 30.0 / np.ptp(RADIAL + PETALS)
    assert negative_background(minimum) == pytest.approx(depth)
    for most, poor in zip(either_side(depth), (True, False), strict=True):
        found = verdict(minimum, hole=most)
        assert (found.status is Status.poor_match) is poor
    said = f"it takes a background that is negative by {depth:.0%} of the pattern"
    assert verdict(minimum, hole=0.1).detail == said


def test_a_hole_has_no_unit():
    """Counts or shares of the beam: a hole is as deep."""
    depths = []
    for unit in (1.0, 1e-4, 1e4):
        made = a_minimum(coefficients=(unit, 0.0, -30 * unit, 0.0), model=unit * (RADIAL + PETALS))
        depths.append(negative_background(made))
    assert depths == pytest.approx([30.0 / np.ptp(RADIAL + PETALS)] * 3)


def test_a_constant_below_zero_is_no_hole():
    assert negative_background(a_minimum(coefficients=(50.0, -80.0, 0.0, 0.0))) == 0
    assert negative_background(a_minimum(coefficients=(50.0, -80.0))) == 0


def test_parameters_on_a_bound_are_named_once():
    found = verdict(bounded={"tilt_x": "tilt = 3 mrad", "tilt_y": "tilt = 3 mrad", "blur": "blur"})
    assert found == Verdict(Status.at_bound, "tilt = 3 mrad, blur")


# ---------------------------------------------------------------- other minima


def rival(chi2, *, discrete=None, values=None, **changes):
    answer = a_candidate(chi2, **{"thickness": 45.0, **changes})
    return a_minimum(answer=answer, discrete=discrete or {}, values=values or {})


def test_how_much_deeper_is_a_variance_in_effective_pixels():
    best = a_minimum(answer=a_candidate(2.0), n_effective=80.0)
    excess, variance = how_much_deeper(best, rival(2.5))
    assert excess == pytest.approx(0.25) and variance == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("deviations", "status"), [(2.999, "ambiguous"), (3.0, "converged"), (3.001, "converged")]
)
def test_a_minimum_within_three_standard_deviations_makes_a_fit_ambiguous(deviations, status):
    best = a_minimum(answer=a_candidate(1.0), n_effective=deviations**2)  # Δχ² = 1 · N_eff
    assert verdict(best, rival(2.0)).status.name == status


def test_the_first_rival_that_is_near_is_named_with_its_structure():
    far = rival(0.02, thickness=50.0)
    near = rival(0.01002, thickness=45.0, tilt_x=1.0, discrete={"polarity": -1.0}, values={"strain": 0.25})
    found = verdict(None, far, near, rival(0.010001))
    assert found.status is Status.ambiguous and found.remarks == ()
    assert found.detail == OtherMinimum(near.answer, {"strain": 0.25, "polarity": -1.0}, found.detail.excess)
    assert found.detail.excess == pytest.approx(0.002)


def turned(rotation=102.0, **changes):
    """The answer in another orientation of the crystal: the tilt stays in the frame of the camera."""
    angle = np.deg2rad(12.0 - rotation)
    tilt = complex(0.6, -0.9) * np.exp(1j * angle)
    values = {"rotation": rotation, "tilt_x": tilt.real, "tilt_y": tilt.imag, "thickness": 30.0}
    return {**values, **changes}


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        (turned(), True),
        (turned(thickness=30.999), True),
        (turned(thickness=31.001), False),
        (turned(thickness=29.001), True),
        (turned(thickness=28.999), False),
        (turned(12 + 20.001), True),
        (turned(12 + 19.999), False),
        (turned(12 - 20.001), True),
        (turned(12 - 19.999), False),
        (turned(12 + 360 + 19.999), False),
        (turned(12 - 360 - 20.001), True),
        (turned(12 + 180), True),
    ],
)
def test_other_orientations_differ_in_nothing_but_the_rotation(changes, same):
    best, other = a_minimum(), rival(0.01, **changes)
    assert in_another_orientation(best, other, SETTINGS) is same
    assert in_another_orientation(other, best, SETTINGS) is same


@pytest.mark.parametrize(("off", "same"), [(0.2999, True), (0.3001, False)])
@pytest.mark.parametrize("direction", [1, -1, 1j, -1j])
def test_other_orientations_have_one_tilt_in_the_frame_of_the_camera(off, same, direction):
    at = turned(132.0)
    moved = complex(at["tilt_x"], at["tilt_y"]) + off * direction
    other = rival(0.01, **{**at, "tilt_x": moved.real, "tilt_y": moved.imag})
    assert in_another_orientation(a_minimum(), other, SETTINGS) is same


def test_orientations_wrap_around():
    best = a_minimum(answer=a_candidate(rotation=175.0, tilt_x=0.0, tilt_y=0.0))
    near = rival(0.01, rotation=-175.0, tilt_x=0.0, tilt_y=0.0, thickness=30.0)
    far = rival(0.01, rotation=-164.0, tilt_x=0.0, tilt_y=0.0, thickness=30.0)
    assert not in_another_orientation(best, near, SETTINGS)
    assert in_another_orientation(best, far, SETTINGS)


def test_another_orientation_is_a_remark_and_no_ambiguity():
    best = a_minimum(discrete={"polarity": 1.0, "order": 2.0, "site": 5.0})
    other = rival(0.01, discrete={"polarity": -1.0, "order": 3.0, "site": 5.0}, **turned())
    again = rival(0.01, discrete={"polarity": -1.0, "order": 2.0, "site": 6.0}, **turned(192.0))
    found = verdict(best, other, again)
    assert found.status is Status.converged and found.detail == "" and len(found.remarks) == 1
    words = "Another orientation of the crystal (polarity -1, order 3) gives the same pattern"
    assert words in found.remarks[0]
    assert "--hint-rotation" in found.remarks[0]
    plain = verdict(None, rival(0.01, **turned()))
    assert "Another orientation of the crystal gives the same pattern" in plain.remarks[0]


def test_after_another_orientation_a_real_rival_still_counts():
    found = verdict(None, rival(0.01, **turned()), rival(0.010001))
    assert found.status is Status.ambiguous and found.detail.candidate.thickness == 45.0
    # one that is not nearly as deep is not even a remark
    assert verdict(None, rival(0.02, **turned())) == Verdict(Status.converged)
    assert verdict(None, rival(0.02), rival(0.010001)).status is Status.ambiguous


# ---------------------------------------------------------------- on a bound


def bounded(library=None, settings=SETTINGS, **changes):
    errors = {"thickness": 0.01, **changes.pop("errors", {})}
    return on_bound(a_minimum(errors=errors, **changes), library or a_library(), settings)


def test_nothing_is_on_a_bound_in_the_middle():
    assert bounded() == {}


@pytest.mark.parametrize(
    ("thickness", "words"),
    [
        (1.0, "thickness = 1 nm, or less: vacuum?"),
        (1.0199, "thickness = 1 nm, or less: vacuum?"),
        (1.0201, None),
        (59.9799, None),
        (59.9801, "thickness = 60 nm"),
        (60.01, "thickness = 60 nm"),
    ],
)
def test_the_ends_of_the_library_bound_the_thickness(thickness, words):
    assert bounded(values={"thickness": thickness}).get("thickness") == words


@pytest.mark.parametrize(
    ("error", "distance", "near"),
    [(0.3, 0.1499, True), (0.3, 0.1501, False), (5.0, 0.4999, True), (5.0, 0.5001, False)],
)
@pytest.mark.parametrize("end", [1.0, 60.0])
def test_within_half_a_standard_error_the_thickness_is_at_the_end(error, distance, near, end):
    inwards = 1 if end == 1.0 else -1
    found = bounded(values={"thickness": end + inwards * distance}, errors={"thickness": error})
    assert ("thickness" in found) is near


def test_without_a_standard_error_the_thickness_is_judged_by_its_distance():
    minimum = a_minimum(values={"thickness": 59.9})
    bare = replace(minimum, fit=replace(minimum.fit, errors={}))
    assert on_bound(bare, a_library(), SETTINGS) == {}
    at_end = replace(bare, fit=replace(bare.fit, values={**bare.fit.values, "thickness": 59.99}))
    assert "thickness" in on_bound(at_end, a_library(), SETTINGS)


def test_what_is_fixed_is_on_no_bound():
    values = {"thickness": 60.0, "tilt_x": 8.0, "tilt_y": 0.0, "blur": 3.0, "scale": 2.4}
    assert bounded(names=("centre_x", "centre_y"), values=values) == {}


LIMIT = 3.0 + 14.0 - 9.0  # what of the library's directions the disc of 9 mrad leaves for tilt


@pytest.mark.parametrize(
    ("tilt", "on"),
    [(LIMIT - 0.0101, False), (LIMIT - 0.0099, True), (LIMIT, True)],
)
@pytest.mark.parametrize("names", [("tilt_x",), ("tilt_y",), ("tilt_x", "tilt_y")])
def test_the_largest_tilt_of_the_library_is_a_bound_of_both_components(tilt, on, names):
    """Its size counts, in whatever direction."""
    found = bounded(names=names, values={"tilt_x": 0.6 * tilt, "tilt_y": -0.8 * tilt})
    assert found == (dict.fromkeys(("tilt_x", "tilt_y"), "tilt = 8 mrad") if on else {})


def around(bounds):
    """Values just inside and outside a ten-thousandth of the range of either bound."""
    low, high = bounds
    near, off = 0.99e-4 * (high - low), 1.01e-4 * (high - low)
    return [(low + near, True), (low + off, False), (high - near, True), (high - off, False)]


@pytest.mark.parametrize(
    "name", ["scale", "centre_x", "centre_y", "semi_angle", "ellipticity_a", "ellipticity_b"]
)
def test_parameters_of_the_camera_have_bounds_of_good_sense(name):
    for value, on in around(a_minimum(names=(name,)).fit.bounds[name]):
        assert bounded(names=(name,), values={name: value}) == ({name: name} if on else {})


def test_a_blur_of_nothing_is_on_no_bound():
    assert bounded(values={"blur": 0.0}) == {}
    assert bounded(values={"blur": 2.9998}) == {"blur": "blur"}
    # a lower bound of the user's is one
    assert bounded(values={"blur": 0.1}, bounds={"blur": (0.1, 3.0)}) == {"blur": "blur"}


def test_structural_parameters_have_the_bounds_of_the_library():
    library = a_library({"strain": axis(-2.0, 2.0)})
    for value, on in around((-2.0, 2.0)):
        found = bounded(library, names=("strain",), values={"strain": value}, bounds={"strain": (-2.0, 2.0)})
        assert found == ({"strain": "strain"} if on else {})


@pytest.mark.parametrize("name", ["angle", "order"])
def test_a_structural_parameter_of_nothing_is_on_a_bound(name):
    library = a_library({name: axis(0.0, 1.0)})
    found = bounded(library, names=(name,), values={name: 0.0}, bounds={name: (0.0, 1.0)})
    assert found == {name: name}


@pytest.mark.parametrize("name", ["thickness", "tilt_x", "rotation"])
def test_bounds_of_the_user_count_for_every_parameter(name):
    settings = replace(SETTINGS, bounds={name: (-5.0, 35.0), "blur": (0.0, 1.0), "semi_angle": (8.6, 9.0)})
    for value, on in around((-5.0, 35.0)):
        if name == "tilt_x":
            value, on = (value, on) if value < 0 else (0.0, False)
        found = bounded(settings=settings, values={name: value})
        assert found == ({name: name} if on else {})


def test_a_bound_of_the_users_does_not_take_the_words_of_the_librarys():
    settings = replace(SETTINGS, bounds={"thickness": (1.0, 60.0)})
    assert bounded(settings=settings, values={"thickness": 60.0}) == {"thickness": "thickness = 60 nm"}


# ---------------------------------------------------------------- whether an answer holds


def held(result, *candidates, thin=False, rivals=False, half_widths=(3.0, 1.0), room=(0.5, 0.2), order=4):
    candidates = candidates or (a_candidate(),)
    return holds(result, candidates, order, half_widths, room=room, thin=thin, rivals=rivals)


@pytest.mark.parametrize(
    ("status", "alone", "with_rivals"),
    [
        (Status.converged, True, True),
        (Status.at_bound, True, True),
        (Status.ambiguous, False, True),
        (Status.poor_match, False, False),
        (Status.failed, False, False),
    ],
)
def test_only_good_answers_hold(status, alone, with_rivals):
    assert held(a_result(status)) is alone
    assert held(a_result(status), rivals=True) is with_rivals


@pytest.mark.parametrize(("off", "within"), [(3.4999, True), (3.5, True), (3.5001, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_answer_holds_within_the_window_and_some_room_in_thickness(off, within, sign):
    assert held(a_result(thickness=30.0 + sign * off)) is within


@pytest.mark.parametrize(("off", "within"), [(1.1999, True), (1.2001, False)])
def test_an_answer_holds_within_the_window_and_some_room_in_tilt(off, within):
    assert held(a_result(tilt=(0.6 + off, -0.9))) is within
    assert held(a_result(tilt=(0.6, -0.9 - off))) is within
    assert held(a_result(tilt=(0.6 + off, -0.9)), thin=True)
    assert not held(a_result(tilt=(0.6 + off, -0.9), thickness=34.0), thin=True)


def test_tilts_that_symmetry_makes_equal_hold():
    assert held(a_result(tilt=(0.9, 0.6)))  # a quarter turn
    assert not held(a_result(tilt=(0.9, 0.6)), order=2)


def test_any_candidate_may_be_confirmed_but_by_thickness_and_tilt_together():
    far, askew = a_candidate(thickness=50.0), a_candidate(tilt_x=5.0)
    assert held(a_result(), far, a_candidate())
    assert not held(a_result(), far, askew)
    assert not holds(a_result(), [], 4, (3.0, 1.0), room=(0.5, 0.2))


def test_by_default_the_tilt_counts_and_a_rival_matters():
    window = [a_candidate()], 4, (3.0, 1.0)
    assert holds(a_result(), *window, room=(0.5, 0.2))
    assert not holds(a_result(Status.ambiguous), *window, room=(0.5, 0.2))
    assert not holds(a_result(tilt=(5.0, 5.0)), *window, room=(0.5, 0.2))


def test_a_proper_answer_far_from_its_seed_strays():
    window = [a_candidate()], 4, (9.0, 2.0)
    assert not strays(a_result(), *window)
    assert not strays(a_result(Status.ambiguous), *window)
    for status in (Status.converged, Status.at_bound, Status.ambiguous):
        assert strays(a_result(status, thickness=39.5), *window)
        assert strays(a_result(status, tilt=(4.6, -0.9)), *window)
    for status in (Status.poor_match, Status.failed):
        assert not strays(a_result(status, thickness=39.5), *window)


# ---------------------------------------------------------------- the better of two


@pytest.mark.parametrize("bad", [Status.poor_match, Status.failed])
def test_an_answer_that_explains_the_frame_is_better_than_one_that_does_not(bad):
    good, poor = a_result(residual_fraction=0.05), a_result(bad, residual_fraction=0.01)
    assert better(good, poor, 1.005) is good
    assert better(poor, good, 1.005) is good


@pytest.mark.parametrize("status", [Status.converged, Status.poor_match])
def test_of_two_alike_the_later_one_is_taken_unless_it_leaves_more(status):
    for size in (1.0, 0.0625):
        before = a_result(status, residual_fraction=size)
        for left, earlier in ((0.9, False), (1.0, False), (1.005, False), (1.0051, True)):
            after = a_result(status, residual_fraction=size * left)
            assert better(before, after, 1.005) is (before if earlier else after)
    only = a_result(Status.failed)
    assert better(None, only, 1.005) is only


def test_a_displaced_blob_is_no_crystal():
    # its slopes about the centre of the fit are what a tilt of a crystal would explain
    blob = np.zeros(MASK.shape)
    row, col = np.indices(MASK.shape) - 30.0
    blob[:] = 100 * np.exp(-((row - 1.5) ** 2 + (col + 2.0) ** 2) / 400)
    made = Made(data=blob[MASK] + WHITE, model=blob[MASK])
    assert crystal_share(made.minimum())[0] == pytest.approx(1, abs=0.01)
    assert verdict(made.minimum()).status is Status.poor_match
    assert beyond_round(made.minimum()) < JUDGE.beyond_round**2 < beyond_round(a_minimum())
