"""Another semi-angle: when it is tried, what it must gain, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from by_hand import (
    PETALS,
    SEMI_ANGLE,
    SETTINGS,
    WHITE,
    a_candidate,
    a_frame,
    a_minimum,
    the_minima,
    two_beam_library,
)

from hybridfit import simulate_frame
from hybridfit.fitting.judge.semi_angle import other_semi_angle, semi_angle_gain
from hybridfit.fitting.judge.settings import JUDGE
from hybridfit.fitting.judge.status import unexplained
from hybridfit.fitting.refine.minima import Minima
from hybridfit.fitting.refine.refiner import Refiner
from hybridfit.fitting.refine.region import Region
from hybridfit.fitting.refine.settings import REFINE, Effort

TRUTH = {"thickness": 30.0, "tilt": (0.6, -0.9), "centre": (31.0, 32.0), "scale": 2.0, "rotation": 12.0}


@pytest.fixture(scope="module")
def minima():
    """minima(given) → a frame of 9 mrad, and the minimum of it that a fit at another semi-angle finds."""
    library = two_beam_library()
    image, _ = simulate_frame(library, **TRUTH, semi_angle=SEMI_ANGLE, shape=(64, 64), electrons=1e7)
    frame = a_frame(image)
    at = a_candidate(centre_x=31.0, centre_y=32.0, scale=2.0)

    def make(given: float) -> tuple:
        refiner = Refiner(library, replace(SETTINGS, semi_angle=given))
        region = Region.around(frame, at, given, REFINE.coarse_radius)
        found = refiner.follow(frame, at, region, Effort(2, 1e-3, 0.5))
        return frame, Minima(found, (), (), found, refiner, ())

    return {given: make(given) for given in (9.0, 9.4)}


def test_the_true_semi_angle_is_found_where_a_wrong_one_was_given(minima):
    gain, found = semi_angle_gain(*minima[9.4])
    assert gain > 0.3 and found == pytest.approx(9.0, abs=0.05)


def test_the_true_semi_angle_gains_nothing(minima):
    gain, found = semi_angle_gain(*minima[9.0])
    assert abs(gain) < 0.02 and found == pytest.approx(9.0, abs=0.05)


def suspicious(minima, settings=None, **limits):
    """What is said of a minimum that leaves some structure, with thresholds replaced."""
    frame, found = minima
    settings = settings or found.refiner.settings
    settings = replace(settings, judging=replace(JUDGE, **{"suspicious": -1.0, **limits}))
    refiner = Refiner(found.refiner.library, settings)
    return other_semi_angle(frame, replace(found, refiner=refiner))


def test_a_wrong_semi_angle_is_named_with_what_is_gained(minima):
    gain, found = semi_angle_gain(*minima[9.4])
    assert suspicious(minima[9.4]) == f"{gain:.0%} less is left at a semi-angle of {found:.1f} mrad"
    assert suspicious(minima[9.0]) == ""


def test_a_semi_angle_must_gain_enough_and_be_far_enough(minima):
    gain, found = semi_angle_gain(*minima[9.4])
    off = abs(found / 9.4 - 1)
    assert suspicious(minima[9.4], semi_angle_gain=gain - 1e-6)
    assert suspicious(minima[9.4], semi_angle_gain=gain + 1e-6) == ""
    assert suspicious(minima[9.4], semi_angle_off=off - 1e-6)
    assert suspicious(minima[9.4], semi_angle_off=off + 1e-6) == ""


def test_a_match_that_leaves_no_structure_is_not_suspicious(minima):
    frame, found = minima[9.4]
    left = unexplained(found.best, JUDGE)
    assert left > 0
    assert suspicious((frame, found), suspicious=left - 1e-9)
    assert suspicious((frame, found), suspicious=left + 1e-9) == ""


@pytest.mark.parametrize(
    "told",
    [
        {"free": ("semi_angle",)},
        {"fix": {"semi_angle": 9.4}},
        {"bounds": {"semi_angle": (9.3, 9.5)}},
        {"expressions": {"semi_angle": "9.4 + 0 * blur"}},
    ],
)
def test_what_the_user_says_of_the_semi_angle_is_not_doubted(minima, told):
    settings = minima[9.4][1].refiner.settings
    assert suspicious(minima[9.4], replace(settings, **told)) == ""
    assert suspicious(minima[9.4], replace(settings, free=("blur",), fix={"ellipticity_a": 0.0}))


def test_by_default_a_fiftieth_of_the_structure_is_suspicious():
    """Nothing is refined where less is left: the frame is not even looked at."""
    best = a_minimum(residual=WHITE + np.sqrt(0.018) * PETALS)
    assert unexplained(best, JUDGE) < 0.02 and other_semi_angle(None, the_minima(best)) == ""
