"""The network's own answer: its values and probabilities, and what the library leaves there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from by_hand import SEMI_ANGLE, SETTINGS, a_candidate, a_frame, two_beam_library

from hybridfit import simulate_frame
from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Seed
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.judge.network_answer import network_result
from hybridfit.fitting.judge.settings import JUDGE
from hybridfit.fitting.refine.refiner import Refiner
from hybridfit.fitting.route import Route
from hybridfit.fitting.status import Status

TRUTH = {"thickness": 30.0, "tilt": (0.6, -0.9), "centre": (31.0, 32.0), "scale": 2.0, "rotation": 12.0}
CAMERA = {"centre_x": 31.0, "centre_y": 32.0, "scale": 2.0}
NODES = np.arange(1.0, 61.0)


@pytest.fixture(scope="module")
def library():
    return two_beam_library()


@pytest.fixture(scope="module")
def frame(library):
    return a_frame(
        simulate_frame(library, **TRUTH, semi_angle=SEMI_ANGLE, shape=(64, 64), electrons=1e6, blur=0.4)[0]
    )


def seed(p=None, *, confidence=(0.9, 0.8), spread=(0.7, 0.2, 0.3), **changes):
    """What a network says: near the truth, and surely enough."""
    first = a_candidate(float("nan"), **{**CAMERA, "probability": 0.8, **changes})
    second = replace(first, thickness=40.0, probability=0.1)
    p = np.exp(-((NODES - first.thickness) ** 2)) if p is None else p
    return Seed((first, second), confidence, p.astype(np.float32), NODES, np.ones((3, 3)), 2, 0.1, spread)


def answer(library, frame, said=None, settings=SETTINGS, **limits):
    settings = replace(settings, judging=replace(JUDGE, **limits))
    return network_result(Refiner(library, settings), frame, said or seed(), Clock())


def test_thickness_and_tilt_are_the_networks_with_its_own_errors(library, frame):
    said = seed(thickness=30.2, tilt_x=0.5)
    result = answer(library, frame, said)
    t, x, y = (result[name] for name in ("thickness", "tilt_x", "tilt_y"))
    assert (t.value, t.stderr) == (30.2, 0.7)
    assert (x.value, x.stderr) == (0.5, 0.2) and (y.value, y.stderr) == (-0.9, 0.3)
    assert x.interval95 == pytest.approx((0.5 - 1.96 * 0.2, 0.5 + 1.96 * 0.2))
    assert y.interval95 == pytest.approx((-0.9 - 1.96 * 0.3, -0.9 + 1.96 * 0.3))
    assert result.candidates == said.candidates and result.seed is said.candidates[0]
    assert (result.method, result.route, result.varied) == ("cnn", Route.network, ())
    assert result.status is Status.converged and result.detail == ""


def test_nothing_but_intensity_and_background_is_fitted(library, frame):
    said = seed(thickness=31.0, rotation=13.0)
    settings = replace(
        SETTINGS, free=("semi_angle",), fix={"thickness": 12.0}, whole_curve=True, keep_model=True
    )
    result = answer(library, frame, said, settings)
    assert result["rotation"].value == pytest.approx(13.0) and result["rotation"].stderr is None
    assert result["scale"].value == 2.0 and result["semi_angle"].value == SEMI_ANGLE
    assert result.thickness == 31.0 and result.covariance is None
    assert result.intensity_factor > 0 and len(result.background) == 3
    assert result.fitter is None and result.along_thickness is None


def test_the_residual_is_that_of_the_library_at_the_networks_answer(library, frame):
    near, far = answer(library, frame), answer(library, frame, seed(thickness=50.0))
    assert near.residual_fraction < 0.02 and far.residual_fraction > 5 * near.residual_fraction
    assert near.seconds["refine"] > 0 and near.source == "by hand"


@pytest.mark.parametrize("width", [1.5, 4.0])
def test_the_interval_of_thickness_holds_95_percent_of_the_probability(library, frame, width):
    """Of a Gaussian over the nodes: ±1.96 σ; the classes are as wide as the nodes are apart."""
    p = np.exp(-((NODES - 30.0) ** 2) / (2 * width**2))
    low, high = answer(library, frame, seed(p / p.sum()))["thickness"].interval95
    sigma = np.hypot(width, np.sqrt(1 / 12))
    assert (low, high) == pytest.approx((30 - 1.96 * sigma, 30 + 1.96 * sigma), abs=0.2)
    assert low + high == pytest.approx(60.0, abs=1e-4)


def test_the_interval_of_a_lopsided_distribution_is_lopsided(library, frame):
    """All mass evenly on the classes of 11 … 50 nm: 2.5 % of it are one class, on either side."""
    p = np.where((NODES >= 11) & (NODES <= 50), 1.0, 0.0)
    low, high = answer(library, frame, seed(p / p.sum()))["thickness"].interval95
    # a class reaches half a node to either side, and the first and last class hold 2.5 % each
    assert (low, high) == pytest.approx((11.5, 49.5), abs=0.02)
    skew = np.where(NODES < 31, 3.0, 1.0)  # three quarters of the mass below 30.5 nm
    low, high = answer(library, frame, seed(skew / skew.sum()))["thickness"].interval95
    assert (low, high) == pytest.approx((0.5 + 1.0, 60.5 - 3.0), abs=0.02)


def test_much_that_is_left_is_a_poor_match_whatever_the_network_says(library, frame):
    said = seed(thickness=50.0, confidence=(0.1, 0.1))
    left = answer(library, frame, said).residual_fraction
    poor = answer(library, frame, said, poor_network=left - 1e-6)
    assert poor.status is Status.poor_match and poor.detail == f"{left:.0%} of the variance is left"
    assert answer(library, frame, said, poor_network=left + 1e-6).status is Status.ambiguous


@pytest.mark.parametrize(
    ("confidence", "status"),
    [
        ((1.0, 0.5001), "converged"),
        ((0.5, 1.0), "converged"),
        ((1.0, 0.4999), "ambiguous"),
        ((0.7, 0.7), "ambiguous"),
    ],
)
def test_a_network_must_be_sure_of_thickness_and_tilt_together(library, frame, confidence, status):
    result = answer(library, frame, seed(confidence=confidence))
    assert result.status.name == status
    sure = confidence[0] * confidence[1]
    assert result.detail == ("" if status == "converged" else f"the network is {sure:.0%} sure")


def test_a_disc_that_is_cut_is_refused(library, frame):
    with pytest.raises(InputError, match="is cut by the edge"):
        answer(library, frame, seed(centre_x=5.0))
