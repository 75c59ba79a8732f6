"""The routes of the hybrid fit, with a network whose answers are given."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from oracle import Oracle, as_the_camera_sees, said

from hybridfit import Fitter, Hints, Status, fit
from hybridfit.errors import InputError
from hybridfit.fitting.candidates import tilt_distance
from hybridfit.fitting.route import Route
from hybridfit.model import ForwardModel

SEMI_ANGLE = 9.0


@pytest.fixture(scope="module")
def frame(simulate):
    return simulate(thickness=33.0, tilt=(1.1, -0.4), rotation=12.0, electrons=5e6)


def hybrid(library, truth, *answers, method="hybrid", **options):
    hints = Hints(centre=(truth["centre_x"] + 1, truth["centre_y"]), scale=1.01 * truth["scale"])
    network = Oracle(*answers)
    return Fitter(library, SEMI_ANGLE, method=method, network=network, hints=hints, workers=2, **options)


def answer(truth, *, thickness=0.0, tilt=(0.0, 0.0), **options):
    """The answer of a network that is wrong by so much."""
    x, y = as_the_camera_sees(truth)
    turned = (x + tilt[0], y + tilt[1])
    return said(truth["thickness"] + thickness, turned, truth["rotation"] + 1, **options)


def is_true(result, truth):
    near = abs(result.thickness - truth["thickness"]) < 0.2
    return near and tilt_distance(result.tilt, (truth["tilt_x"], truth["tilt_y"]), 4) < 0.05


@pytest.mark.parametrize(("thickness", "tilt"), [(0.0, (0.0, 0.0)), (-2.5, (0.5, -0.5)), (2.4, (-0.4, 0.7))])
def test_a_seed_within_the_window_is_all_it_takes(small_library, frame, thickness, tilt):
    image, truth = frame
    result = hybrid(small_library, truth, answer(truth, thickness=thickness, tilt=tilt)).fit(image)
    assert is_true(result, truth) and result.ok
    assert (result.method, result.route, result.message) == ("hybrid", "network", "The fit converged.")
    assert result.seconds["seed"] > 0 and result.seconds["search"] > 0
    assert result.candidates[0].thickness == pytest.approx(result.thickness)


def test_a_picture_gets_chi2_over_the_whole_library(small_library, frame):
    image, truth = frame
    seen = [
        hybrid(small_library, truth, answer(truth), whole_curve=whole).fit(image) for whole in (False, True)
    ]
    assert seen[0].whole_curve is seen[0].curve
    (thickness, chi2), (low, high) = seen[1].whole_curve, small_library.thickness_range
    assert np.ptp(seen[1].curve[0]) < 10 and (thickness[0], thickness[-1]) == (low, high)
    assert seen[1].whole_curve is seen[1].whole_curve, "worked out once"
    sent = pickle.loads(pickle.dumps(seen[1]))
    np.testing.assert_array_equal(sent.whole_curve, seen[1].whole_curve)
    assert seen[0].curve_searched and not (seen[1].curve_searched or sent.curve_searched)
    np.testing.assert_array_equal(seen[1].to_dataset()["searched_thickness"], thickness)
    # the answer lies beside the least χ² by what vibration, energy and semi-angle move it
    assert thickness[chi2.argmin()] == pytest.approx(seen[1].thickness, abs=0.1)
    assert chi2.min() == pytest.approx(seen[1].residual_fraction, rel=0.3)
    assert seen[1].thickness == seen[0].thickness


def test_vacuum_is_told_without_a_look_at_every_tilt(small_library, disc, monkeypatch):
    """A tilt has no meaning in vacuum, so no further tilt is refined and no further search is made."""
    evaluations = []
    evaluate = ForwardModel.evaluate

    def counted(self, *args):
        evaluations.append(args)
        return evaluate(self, *args)

    monkeypatch.setattr(ForwardModel, "evaluate", counted)
    image = np.random.default_rng(0).poisson(500 * disc((96, 96), (47.0, 48.0), 23.0) + 5)
    truth = {"centre_x": 47.0, "centre_y": 48.0, "scale": 23 / 9}
    seeds = said(2.0, (1.5, 0.5), doubt=0.6, others=(1.0, 3.0))
    result = hybrid(small_library, truth, seeds).fit(image)
    assert result.status is Status.at_bound and "vacuum" in result.message
    assert result.route == "network" and len(evaluations) < 120  # a further search makes hundreds


def test_where_the_seed_is_off_the_window_widens(small_library, frame):
    image, truth = frame
    result = hybrid(small_library, truth, answer(truth, thickness=-7.0, tilt=(1.0, 0.0))).fit(image)
    assert is_true(result, truth) and result.route is Route.wider_window
    assert "network's seed was off; a wider window was searched" in result.message


def test_where_the_seed_is_wrong_the_whole_library_is_searched(small_library, frame):
    image, truth = frame
    result = hybrid(small_library, truth, answer(truth, thickness=25.0, tilt=(-3.0, 2.0))).fit(image)
    assert is_true(result, truth) and result.route == "full search"
    assert "the whole library was searched" in result.message
    assert result.curve is not None


def test_the_right_one_of_several_candidates_wins(small_library, frame):
    image, truth = frame
    doubtful = answer(truth, thickness=-19.0, others=[truth["thickness"] + 1], doubt=0.3)
    result = hybrid(small_library, truth, doubtful).fit(image)
    assert is_true(result, truth) and result.route == "network"


def test_a_network_in_doubt_has_the_library_matched_with_its_disc(small_library, frame):
    """The network is wrong and uncertain; the truth is found without a search of all cameras."""
    image, truth = frame
    unsure = answer(truth, thickness=-19.0, others=[truth["thickness"] + 17], doubt=0.3)
    result = hybrid(small_library, truth, unsure).fit(image)
    assert is_true(result, truth) and (result.ok, result.route) == (True, "network")
    assert np.ptp(result.curve[0]) > 0.9 * np.ptp(small_library.thickness_range)
    # a confident network is believed until its answer does not hold
    sure = hybrid(small_library, truth, answer(truth, thickness=-19.0)).fit(image)
    assert is_true(sure, truth) and sure.route is Route.full_search


def test_of_few_electrons_a_network_has_to_be_surer(small_library, simulate):
    """In doubt the library is matched with its disc; else the network is followed, in vain here."""
    for electrons, route in ((4e4, Route.network), (1e7, Route.full_search)):
        image, truth = simulate(thickness=33.0, tilt=(1.1, -0.4), rotation=12.0, electrons=electrons)
        wrong = answer(truth, thickness=-19.0, others=[truth["thickness"] + 17], doubt=0.04)
        result = hybrid(small_library, truth, wrong).fit(image)
        assert result.route is route and abs(result.thickness - 33.0) < 4 * result["thickness"].stderr


def test_hybrid_and_full_search_agree(small_library, frame):
    image, truth = frame
    hints = Hints(centre=(truth["centre_x"], truth["centre_y"]), scale=truth["scale"])
    full = fit(image, small_library, semi_angle=SEMI_ANGLE, method="lsf", hints=hints)
    seeded = hybrid(small_library, truth, answer(truth, thickness=2.0)).fit(image)
    for name in ("thickness", "tilt_x", "tilt_y", "scale"):
        assert abs(full[name].value - seeded[name].value) < 0.1 * full[name].stderr
    assert seeded.residual_fraction == pytest.approx(full.residual_fraction, rel=1e-3)


def test_the_network_alone(small_library, frame):
    image, truth = frame
    result = hybrid(small_library, truth, answer(truth, thickness=0.4), method="cnn").fit(image)
    assert (result.method, result.status) == ("cnn", Status.converged)
    assert result.thickness == pytest.approx(truth["thickness"] + 0.4, abs=1e-3)
    low, high = result["thickness"].interval95
    assert low <= result.thickness <= high and result["thickness"].stderr > 0
    assert result["scale"].stderr is None and result.intensity_factor > 0
    assert result.candidates[0].probability == pytest.approx(1, abs=0.02)
    assert result.to_json()["candidates"][0]["probability"] is not None
    assert result.seconds["search"] == 0


def test_a_network_in_doubt_says_so(small_library, frame):
    image, truth = frame
    doubtful = answer(truth, others=[50.0, 10.0], doubt=0.66)
    result = hybrid(small_library, truth, doubtful, method="cnn").fit(image)
    assert result.status is Status.ambiguous and "sure" in result.message


def test_what_is_known_needs_no_network(small_library, frame):
    image, truth = frame
    network = Oracle(said(thickness=3.0))
    hints = Hints(thickness=truth["thickness"] + 1)
    fitter = Fitter(small_library, SEMI_ANGLE, network=network, hints=hints)
    assert is_true(fitter.fit(image), truth) and network.calls == 0


@pytest.mark.parametrize(
    "options",
    [
        {"fix": {"blur": 0.2}},
        {"free": ["semi_angle"]},
        {"bounds": {"blur": (0, 1)}},
        {"expressions": {"blur": "0.1 * scale"}},
    ],
)
def test_the_network_alone_fits_nothing(small_library, frame, options):
    with pytest.raises(InputError, match="takes no fixed, free, bounded or tied parameters"):
        hybrid(small_library, frame[1], said(), method="cnn", **options)


def test_no_network_for_cnn(small_library):
    with pytest.raises(InputError, match="no network comes with this library at 9 mrad"):
        Fitter(small_library, SEMI_ANGLE, method="cnn")


def test_unknown_methods(small_library):
    with pytest.raises(InputError, match="unknown method 'best'; the methods are hybrid, lsf, cnn"):
        fit(np.ones((64, 64)), small_library, semi_angle=9.0, method="best")
