"""The posterior of counts: its derivatives, its priors, and where it is climbed to."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.posterior.maximum import Posterior
from hybridfit.fitting.refine.noise import Noise
from hybridfit.model import ForwardModel
from hybridfit.pattern.camera import Camera

NAMES = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation", "blur")
TRUTH = {
    "thickness": 30.0,
    "tilt_x": 0.6,
    "tilt_y": -0.9,
    "centre_x": 31.2,
    "centre_y": 30.4,
    "scale": 1.9,
    "rotation": 12.0,
    "ellipticity_a": 0.0,
    "ellipticity_b": 0.0,
    "semi_angle": 9.0,
    "blur": 0.4,
}
BOUNDS = {name: (-100.0, 100.0) for name in NAMES} | {"blur": (0.0, 3.0), "thickness": (1.0, 60.0)}
PRIORS = {"blur": (0.3, 0.3)}
COEFFICIENTS = np.array([40.0, 1.0, 2.0, 1.5])


@pytest.fixture(scope="module")
def model(small_library) -> ForwardModel:
    row, col = np.indices((64, 64))
    mask = np.hypot(col - 31, row - 30) < 30
    camera = Camera(*(TRUTH[name] for name in ("centre_x", "centre_y", "scale", "rotation")))
    return ForwardModel(small_library, mask, camera, semi_angle=9.0, fine_pixel=0.5)


@pytest.fixture(scope="module")
def image(model) -> np.ndarray:
    return COEFFICIENTS @ model.evaluate(TRUTH).columns


def posterior_of(model, data, gain=1.0, constant=0.0, **priors) -> Posterior:
    return Posterior(model, data, Noise(constant, gain, 0.0), NAMES, BOUNDS, {**PRIORS, **priors})


@pytest.mark.parametrize("gain, constant", [(1.0, 0.0), (4.0, 3.0)])
def test_the_gradient_is_that_of_the_cost(model, image, gain, constant):
    data = gain * np.random.default_rng(1).poisson(image / 20).astype(float)
    posterior = posterior_of(model, data, gain, constant)
    start = {**TRUTH, "thickness": 33.0, "tilt_x": 0.3, "blur": 0.6, "centre_x": 31.6}
    point = posterior.at(start)
    for i, name in enumerate(NAMES):
        step = 1e-4 * max(abs(start[name]), 1.0)
        up, down = (posterior.at({**start, name: start[name] + side}).cost for side in (step, -step))
        # coefficients are the likeliest, so the cost along a parameter is that of the profile
        assert -(up - down) / (2 * step) == pytest.approx(point.gradient[i], rel=0.02, abs=0.3), name


def test_coefficients_are_the_likeliest_and_not_negative(model, image):
    data = np.random.default_rng(2).poisson(image / 50).astype(float)
    posterior = posterior_of(model, data)
    point = posterior.at(TRUTH)
    assert (point.coefficients >= 0).all()
    columns = model.evaluate(TRUTH).columns
    best = posterior.likelihood(point.image)
    for i in range(len(point.coefficients)):
        for factor in (0.98, 1.02):
            other = point.coefficients.copy()
            other[i] *= factor
            assert posterior.likelihood(other @ columns) <= best + 1e-3


def test_counts_without_noise_lead_to_the_truth(model, image):
    posterior = posterior_of(model, image, blur=(0.4, 0.3))
    start = posterior.at({**TRUTH, "thickness": 31.0, "tilt_y": -0.6, "centre_y": 30.8, "rotation": 14.0})
    end = posterior.climb(start, 25, 1e-6)
    assert end.gain < 1e-4
    for name in NAMES:
        assert end.values[name] == pytest.approx(TRUTH[name], abs=0.02), name


def test_pulls_of_many_draws_have_a_width_of_one(model, image):
    rng, pulls = np.random.default_rng(3), []
    for _ in range(12):
        posterior = posterior_of(model, rng.poisson(image / 10).astype(float))
        end = posterior.climb(posterior.at(TRUTH), 15, 1e-3)
        errors = np.sqrt(np.diag(np.linalg.inv(end.information)))
        pulls += [(end.values[name] - TRUTH[name]) / errors[i] for i, name in enumerate(NAMES[:7])]
    assert 0.75 < np.std(pulls) < 1.25


def test_the_gain_scales_the_evidence_and_moves_nothing(model, image):
    counts = np.random.default_rng(4).poisson(image / 10).astype(float)
    one, seven = (posterior_of(model, gain * counts, gain).at(TRUTH) for gain in (1.0, 7.0))
    assert seven.cost == pytest.approx(one.cost, rel=1e-9)
    assert np.allclose(seven.coefficients, 7 * one.coefficients, rtol=1e-6)


def test_a_bound_holds(model, image):
    posterior = Posterior(
        model, image, Noise(0.0, 1.0, 0.0), NAMES, {**BOUNDS, "thickness": (32.0, 60.0)}, PRIORS
    )
    end = posterior.climb(posterior.at({**TRUTH, "thickness": 34.0}), 20, 1e-4)
    assert end.values["thickness"] == pytest.approx(32.0)
