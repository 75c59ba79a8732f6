"""From minima to a result: values, errors, intervals, candidates, in the canonical frame of the crystal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from by_hand import (
    BOUNDS,
    GRAIN,
    MASK,
    NAMES,
    PETALS,
    RADIAL,
    SETTINGS,
    VALUES,
    WHITE,
    N,
    a_candidate,
    a_frame,
    a_library,
    a_minimum,
    axis,
    the_minima,
)

from hybridfit.fitting.judge.answer import Origin, make_result
from hybridfit.fitting.refine.noise import Noise
from hybridfit.fitting.route import Route
from hybridfit.fitting.status import OtherMinimum, Status

FRAME = a_frame(np.random.default_rng(1).poisson(50, (64, 64)))
SEED = a_candidate(0.02, thickness=31.0)
ORIGIN = Origin(Route.full_search, "lsf", SEED)


def made(best=None, *rivals, doubt="", origin=ORIGIN, library=None, candidates=None, **options):
    minima = the_minima(best or a_minimum(), *rivals, library=library, **options)
    return make_result(
        FRAME,
        library or minima.refiner.library,
        minima,
        doubt,
        origin,
        {"total": 1.0},
        candidates=candidates,
    )


# ---------------------------------------------------------------- what is said of every parameter


def test_values_errors_and_intervals_are_those_of_the_refinement():
    result = made(a_minimum(errors={"thickness": 0.2, "blur": 0.05}))
    assert {name: p.value for name, p in result.parameters.items()} == pytest.approx(VALUES)
    t, blur = result["thickness"], result["blur"]
    assert t.stderr == 0.2 and t.interval95 == pytest.approx((30 - 1.96 * 0.2, 30 + 1.96 * 0.2))
    assert blur.stderr == 0.05 and blur.interval95 == pytest.approx((0.4 - 0.098, 0.4 + 0.098))
    assert t.unit is None and t.odds is None
    held = result["semi_angle"]
    assert held.stderr is None and held.interval95 is None
    assert result.varied == NAMES and result.structure == {}


def test_a_parameter_on_its_bound_has_no_error():
    result = made(a_minimum(values={"blur": 3.0}))
    assert result.status is Status.at_bound and result.detail == "blur"
    assert result["blur"].stderr is None and result["blur"].interval95 is None
    assert result["scale"].stderr == 0.1


def test_an_error_of_nothing_is_an_error():
    p = made(a_minimum(errors={"scale": 0.0}))["scale"]
    assert p.stderr == 0.0 and p.interval95 == (3.0, 3.0)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ({"tilt_x": 0.2, "tilt_y": 1.5}, "hardly tells the tilt: 2.9 mrad to either side"),
        ({"thickness": 2.0}, "hardly tells the thickness: 3.9 nm to either side"),
        ({"thickness": 2.0, "tilt_y": 1.0}, "hardly tells the thickness and the tilt: 3.9 nm and 2 mrad to"),
        ({"thickness": 1.4, "tilt_x": 0.5, "tilt_y": 0.5}, ""),
    ],
)
def test_what_a_pattern_hardly_tells_is_said(errors, said):
    """Wider than the window of ±3 nm and ±1 mrad, of a fit that has converged."""
    result = made(a_minimum(errors=errors))
    assert result.status is Status.converged
    assert said in result.message if said else "hardly" not in result.message
    poor = made(a_minimum(errors=errors), doubt="vacuum")
    assert "hardly" not in poor.message


def test_structural_parameters_have_the_units_of_the_library_in_its_order():
    library = a_library({"strain": axis(-2, 2), "order": axis(0, 1, unit="1"), "polarity": POLARITY})
    seen = a_library({"order": axis(0, 1, unit="1"), "strain": axis(-2, 2)})
    best = a_minimum(
        names=(*NAMES, "strain"),
        values={"strain": 0.5, "order": 0.7},
        bounds={"strain": (-2, 2)},
        errors={"strain": 0.25},
        discrete={"polarity": -1.0},
    )
    tried = (({"polarity": -1.0}, 0.01), ({"polarity": 1.0}, 0.0102), ({"polarity": 1.0}, 0.0101))
    minima = the_minima(best, library=seen, tried=tried)
    result = make_result(FRAME, library, minima, "", ORIGIN, {})
    assert list(result.structure) == ["strain", "order", "polarity"]
    strain, order, polarity = result.structure.values()
    assert (strain.value, strain.stderr, strain.unit) == (0.5, 0.25, "%")
    assert strain.interval95 == pytest.approx((0.5 - 0.49, 0.5 + 0.49))
    assert (order.value, order.stderr, order.unit) == (0.7, None, "1")
    assert (polarity.value, polarity.stderr, polarity.unit) == (-1.0, None, "sign")
    # p ∝ exp(−Δχ²/2) with Δχ² = 1 % of N_eff = 900
    odds = np.exp(-4.5) / (1 + np.exp(-4.5))
    assert polarity.odds == pytest.approx({-1.0: 1 - odds, 1.0: odds})
    assert "strain" not in result.parameters and set(result.parameters) == set(VALUES)


POLARITY = axis(-1.0, 1.0, kind="discrete", unit="sign", count=2)


def test_a_discrete_parameter_of_which_one_value_was_tried_has_no_odds():
    best = a_minimum(discrete={"polarity": 1.0})
    minima = the_minima(best)
    result = make_result(FRAME, a_library({"polarity": POLARITY}), minima, "", ORIGIN, {})
    assert result.structure["polarity"].odds is None and result.structure["polarity"].value == 1.0


def test_the_range_of_ten_percent_is_that_of_a_parabola():
    """χ²(t) = χ²₀ + ((t − t₀)/σ)², σ = stderr/inflation, so it has risen by a tenth at σ √(χ²₀/10)."""
    result = made(a_minimum(errors={"thickness": 0.3}, inflation=1.5, chi2=2560.0))
    half = 0.3 / 1.5 * np.sqrt(256.0)
    assert result.thickness_range10 == pytest.approx((30 - half, 30 + half))
    held = made(a_minimum(names=("blur",)))
    assert held.thickness_range10 is None
    assert made(a_minimum(values={"thickness": 60.0})).thickness_range10 is None  # on its bound


# ---------------------------------------------------------------- figures


def test_figures_compare_the_residual_with_the_pattern_and_with_the_noise():
    residual, noise = WHITE * 2, Noise(0.5 * GRAIN**2, 0.001, 0.07)
    best = a_minimum(
        residual=residual, noise=noise, coefficients=(50.0, 1.0, 2.0, 3.0), model=RADIAL + PETALS - 5
    )
    result = made(best)
    variance = (RADIAL + PETALS + WHITE).var()
    assert result.residual_fraction == pytest.approx((residual**2).mean() / variance)
    assert result.misfit_fraction == pytest.approx(0.07 / variance)
    counting = 0.5 * GRAIN**2 + 0.001 * np.maximum(RADIAL + PETALS - 5, 0)
    freedom = N - len(NAMES) - 4  # fitted parameters, intensity factor and three of the background
    assert result.reduced_chi2 == pytest.approx((residual**2 / counting).sum() / freedom)
    assert result.intensity_factor == 50.0 and result.background == (1.0, 2.0, 3.0)
    assert result.n_effective == 900.0


def test_fewer_pixels_than_parameters_leave_a_freedom_of_one():
    few = np.array([1.0, 2.0, 2.0])
    best = a_minimum()
    few_fit = replace(best.fit, residual=few, model=np.full(3, 10.0), noise=Noise(0.5, 0.0, 0.0))
    region = replace(best.region, mask=np.zeros_like(MASK), image=np.where(MASK, best.region.image, 0.0))
    region.mask[30, 29:32] = True
    result = made(replace(best, fit=few_fit, region=region))
    assert result.reduced_chi2 == pytest.approx(9.0 / 0.5)


def test_where_it_comes_from_is_kept():
    curve = np.array([[1.0, 2.0], [0.5, 0.4]])
    lmfit_result = object()
    result = made(
        a_minimum(lmfit_result=lmfit_result, minimizer="the model"),
        origin=Origin(Route.seed_given, "hybrid", SEED, curve, "The seed was given."),
    )
    assert (result.source, result.method, result.route) == ("by hand", "hybrid", Route.seed_given)
    assert result.library == "SrTiO3 [0 0 1] 200 kV" and result.library_range == (1.0, 60.0)
    assert result.seed is SEED and result.curve is curve and result.remarks == ("The seed was given.",)
    assert result.seconds == {"total": 1.0} and result.lmfit_result is lmfit_result
    assert result.fitter is None and made().remarks == ()
    kept = made(a_minimum(minimizer="the model"), settings=replace(SETTINGS, keep_model=True))
    assert kept.fitter == "the model"


def test_remarks_of_the_verdict_come_before_that_of_the_origin():
    other = a_minimum(answer=a_candidate(0.01, rotation=12 + 90.0, tilt_x=-0.9, tilt_y=-0.6))
    found = made(a_minimum(), other, origin=replace(ORIGIN, remark="And so."))
    assert len(found.remarks) == 2 and "--hint-rotation" in found.remarks[0] and found.remarks[1] == "And so."


def test_the_verdict_is_that_of_the_minima_and_of_the_doubt():
    assert made().status is Status.converged and made().detail == ""
    doubtful = made(doubt="it does not look like it")
    assert doubtful.status is Status.poor_match and doubtful.detail == "it does not look like it"
    near = a_minimum(answer=a_candidate(0.010001, thickness=45.0))
    ambiguous = made(a_minimum(), near)
    assert ambiguous.status is Status.ambiguous and isinstance(ambiguous.detail, OtherMinimum)


@pytest.mark.parametrize(
    ("route", "method", "wanted", "later"),
    [
        (Route.network, "hybrid", True, True),
        (Route.network, "hybrid", False, False),
        (Route.full_search, "hybrid", True, False),
        (Route.network, "cnn", True, False),
        (Route.seed_given, "lsf", True, True),
    ],
)
def test_the_whole_curve_is_searched_or_made_when_it_is_asked_for(route, method, wanted, later):
    settings = replace(SETTINGS, whole_curve=wanted)
    result = made(origin=Origin(route, method, SEED), settings=settings)
    assert result.curve_searched is not later and (result.along_thickness is not None) is later


def test_the_thumbnail_shows_what_was_compared():
    best = a_minimum(model=RADIAL)
    shown = made(best).thumbnail
    assert np.isnan(shown.experiment[~MASK]).all() and np.isnan(shown.fit[~MASK]).all()
    assert np.array_equal(shown.experiment[MASK], RADIAL + PETALS + WHITE)
    assert np.array_equal(shown.fit[MASK], RADIAL)
    assert shown.radius_mrad[30, 30] == pytest.approx(0) and shown.radius_mrad[30, 36] == pytest.approx(2)
    assert shown.extent == (-0.5, 60.5, 60.5, -0.5)


# ---------------------------------------------------------------- candidates


def places(result):
    return [c.thickness for c in result.candidates]


def test_candidates_are_the_answer_and_the_other_minima_best_first():
    best = a_minimum(answer=a_candidate(0.01))
    deep, deeper = (
        a_minimum(answer=a_candidate(chi2, thickness=t)) for chi2, t in ((0.04, 45.0), (0.03, 50.0))
    )
    left = (a_candidate(0.05, thickness=10.0), a_candidate(0.035, thickness=15.0))
    result = made(best, deep, deeper, left=left)
    assert places(result) == [30.0, 50.0, 15.0, 45.0, 10.0]
    assert result.candidates[0] is best.answer
    # the answer comes first even where one that was left would be deeper
    assert places(made(best, left=(a_candidate(0.001, thickness=20.0),))) == [30.0, 20.0]


def test_what_was_left_and_is_one_of_the_minima_is_listed_once():
    other = a_minimum(answer=a_candidate(0.03, thickness=45.0))
    left = (
        a_candidate(0.04, thickness=45.9),  # the other minimum
        a_candidate(0.04, thickness=46.1),  # farther than 1 nm
        a_candidate(0.04, tilt_x=0.89),  # the answer
        a_candidate(0.04, tilt_x=0.91),  # farther than 0.3 mrad
        a_candidate(0.04, tilt_x=0.9, tilt_y=0.6),  # the answer, a quarter turn on
    )
    result = made(a_minimum(), other, left=left)
    assert [(c.thickness, c.tilt_x) for c in result.candidates[2:]] == [(46.1, 0.6), (30.0, 0.91)]
    twofold = made(a_minimum(), other, left=left, library=a_library(order=2))
    assert (30.0, 0.9) in [(c.thickness, c.tilt_x) for c in twofold.candidates]


def test_minima_that_another_orientation_makes_equal_are_listed_once():
    first, again, third = (
        a_minimum(answer=a_candidate(chi2, thickness=45.0, rotation=rotation, tilt_x=0.0, tilt_y=0.0))
        for chi2, rotation in ((0.03, 12.0), (0.031, 102.0), (0.032, 192.0))
    )
    result = made(a_minimum(), first, again, third)
    assert result.candidates == (a_candidate(), first.answer)
    differs = a_minimum(answer=replace(again.answer, thickness=47.0))
    assert len(made(a_minimum(), first, differs, third).candidates) == 3


def test_candidates_that_are_given_are_kept_as_they_are():
    given = [a_candidate(0.3), a_candidate(0.2)]
    assert made(candidates=given).candidates == tuple(given)
    assert made(candidates=()).candidates == ()


# ---------------------------------------------------------------- the canonical frame


def spread(names, seed=0):
    """A covariance without zeros."""
    root = np.random.default_rng(seed).normal(size=(len(names), len(names)))
    return root @ root.T


def rotation_matrix(degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s], [s, c]])


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("turns", [-2, -1, 0, 1, 3])
def test_the_tilt_and_its_covariance_turn_with_the_rotation(order, turns):
    """C → R C Rᵀ on the components of tilt; what else is fitted keeps its errors."""
    sector = 360 / order
    covariance = spread(NAMES)
    errors = dict(zip(NAMES, np.sqrt(np.diag(covariance)), strict=True))
    best = a_minimum(
        values={"rotation": 12.0 + turns * sector},
        covariance=covariance,
        errors=errors,
        answer=a_candidate(rotation=12.0 + turns * sector),
    )
    result = made(best, library=a_library(order=order))
    turn = rotation_matrix(turns * sector)
    assert result["rotation"].value == pytest.approx(12.0)
    assert result.tilt == pytest.approx(tuple(turn @ (0.6, -0.9)))
    i, j = NAMES.index("tilt_x"), NAMES.index("tilt_y")
    whole = np.eye(len(NAMES))
    whole[np.ix_((i, j), (i, j))] = turn
    expected = whole @ covariance @ whole.T
    np.testing.assert_allclose(result.covariance, expected, rtol=1e-9, atol=1e-12)
    for name, error in zip(NAMES, np.sqrt(np.diag(expected)), strict=True):
        assert result[name].stderr == pytest.approx(error)
    # what the frame shows of the tilt stays
    at = complex(*result.tilt) * np.exp(1j * np.deg2rad(result["rotation"].value))
    assert at == pytest.approx(best.answer.camera_tilt)


def test_the_covariance_keeps_its_order_whatever_the_order_of_the_names():
    names = ("blur", "tilt_y", "rotation", "tilt_x", "thickness")
    covariance = spread(names, 1)
    result = made(a_minimum(names=names, covariance=covariance, values={"rotation": 102.0}))
    turn = rotation_matrix(90.0)
    pair, rest = (3, 1), (0, 2, 4)
    parts = ((pair, pair), (pair, rest), (rest, rest))
    among, across, others = (result.covariance[np.ix_(*part)] for part in parts)
    np.testing.assert_allclose(among, turn @ covariance[np.ix_(pair, pair)] @ turn.T)
    np.testing.assert_allclose(across, turn @ covariance[np.ix_(pair, rest)])
    np.testing.assert_array_equal(others, covariance[np.ix_(rest, rest)])


def test_a_tilt_that_is_fitted_alone_is_turned():
    covariance = spread(("tilt_x", "tilt_y"), 3)
    result = made(a_minimum(names=("tilt_x", "tilt_y"), covariance=covariance, values={"rotation": 102.0}))
    np.testing.assert_allclose(result.covariance, rotation_matrix(90) @ covariance @ rotation_matrix(90).T)


def test_one_component_of_tilt_alone_is_not_turned():
    names = ("thickness", "tilt_x")
    covariance = spread(names, 2)
    best = a_minimum(names=names, covariance=covariance, values={"rotation": 102.0}, errors={"tilt_x": 0.07})
    result = made(best)
    np.testing.assert_array_equal(result.covariance, covariance)
    assert result["tilt_x"].stderr == 0.07 and result.tilt == pytest.approx((0.9, 0.6))


def test_without_errors_there_is_no_covariance():
    best = a_minimum(values={"rotation": 102.0})
    bare = replace(best, fit=replace(best.fit, covariance=None, errors={}))
    result = made(bare)
    assert result.covariance is None and result["thickness"].stderr is None
    assert result["thickness"].interval95 is None and result.tilt == pytest.approx((0.9, 0.6))


def test_bounds_of_what_was_turned_enclose_the_answer():
    """Bounds of turned components mean nothing any more; lmfit wants some, and the value inside."""
    result = made(
        a_minimum(values={"rotation": 102.0}, bounds={"tilt_x": (-0.2, 0.7), "rotation": (0.0, 180.0)})
    )
    assert result.tilt == pytest.approx((0.9, 0.6))
    assert result.bounds["tilt_x"] == pytest.approx((-0.9, 0.9))
    assert result.bounds["tilt_y"] == pytest.approx((-2.4, 2.4))
    assert result.bounds["rotation"] == (-180.0, 180.0)
    for name in ("thickness", "blur", "scale"):
        assert result.bounds[name] == BOUNDS[name]
    assert set(result.bounds) == set(NAMES)
