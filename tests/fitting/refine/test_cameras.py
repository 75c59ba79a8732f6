"""Fits of frames that a camera with a point spread recorded."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hybridfit import Candidate, Fitter
from hybridfit.fitting.assumptions import PARTS, POINT_SPREAD
from hybridfit.simulate.frame import simulate_frame

SEMI_ANGLE, GAIN = 9.0, 12.0
EXACT = dict.fromkeys(PARTS, 0.0)
NAMES = ("thickness", "tilt_x", "tilt_y")
FRAME = {"thickness": 30.3, "tilt": (0.6, -0.9), "shape": (96, 96), "rotation": 12.0, "seed": 3}


def recorded(library, electrons, tail=0.0, seed=0):
    """A frame of a scintillator and a CCD, and its truth."""
    counted, truth = simulate_frame(library, semi_angle=SEMI_ANGLE, electrons=electrons, **FRAME)
    light = gaussian_filter(counted.astype(float), 0.8)
    light = (1 - tail) * light + tail * gaussian_filter(light, 3.0)
    return np.round(GAIN * light + np.random.default_rng(seed).normal(0, 5, light.shape)), truth


def fitted(library, image, truth, **options):
    camera = (truth[name] for name in ("centre_x", "centre_y", "scale", "rotation"))
    start = Candidate(truth["thickness"] + 0.4, truth["tilt_x"] + 0.1, truth["tilt_y"] - 0.1, *camera)
    return Fitter(library, SEMI_ANGLE, seeded=True, workers=1, **options).refine(image, start)


def test_errors_are_those_of_the_electrons(small_library):
    """A scintillator neither adds nor loses electrons: errors are as large as those of counting them."""
    counted, truth = simulate_frame(small_library, semi_angle=SEMI_ANGLE, electrons=1e6, **FRAME)
    plain = fitted(small_library, counted, truth, sigma=EXACT)
    spread = fitted(small_library, *recorded(small_library, 1e6), sigma=EXACT)
    assert plain.noise.correlation == () and plain.noise.gain == pytest.approx(1, rel=0.1)
    assert spread.noise.correlation and spread.noise.gain == pytest.approx(GAIN, rel=0.25)
    assert spread.misfit_fraction < 3e-3
    for name in NAMES:
        assert spread[name].stderr == pytest.approx(plain[name].stderr, rel=0.5)
        assert abs(spread[name].value - truth[name]) < 3.5 * spread[name].stderr


def test_the_tail_of_a_point_spread_is_found(small_library):
    image, truth = recorded(small_library, 3e6, tail=0.1)
    without = fitted(small_library, image, truth, sigma=EXACT)
    found = fitted(small_library, image, truth, sigma=EXACT | {POINT_SPREAD: 0.1})
    tail = found.noise.tail
    assert abs(tail.offset - 0.1) < 3 * tail.stderr and tail.stderr < 0.1
    assert tail.told == ("of the light beyond the blur" in found.report())
    assert found.budget["thickness"][POINT_SPREAD] > 0
    assert without.noise.tail is None and POINT_SPREAD not in without.budget["thickness"]
    for name in NAMES:
        assert abs(found[name].value - truth[name]) < 3.5 * found[name].stderr
        assert np.hypot.reduce([*found.budget[name].values()]) == pytest.approx(found[name].stderr)


def test_noise_is_in_the_json(small_library):
    image, truth = recorded(small_library, 1e6)
    said = json.loads(json.dumps(fitted(small_library, image, truth).to_json()))["noise"]
    assert said["gain"] > 1 and len(said["correlation"]) == 6 and said["binned"] == 1
    assert said["electrons"] == pytest.approx(image.sum() / said["gain"], rel=0.3)
