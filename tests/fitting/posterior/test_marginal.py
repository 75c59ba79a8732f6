"""What is around a maximum: against the curvature where electrons are many, against an integral where few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from hybridfit.fitting.modes import covariance_of
from hybridfit.fitting.posterior.marginal import at_maximum, hill, marginal
from hybridfit.fitting.posterior.maximum import Posterior
from hybridfit.fitting.posterior.settings import PosteriorSettings
from hybridfit.fitting.refine.noise import Noise
from hybridfit.model import ForwardModel
from hybridfit.pattern.camera import Camera

NAMES = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
TRUTH = {
    "thickness": 30.0,
    "tilt_x": 0.6,
    "tilt_y": -0.9,
    "centre_x": 23.2,
    "centre_y": 22.4,
    "scale": 1.4,
    "rotation": 12.0,
    "ellipticity_a": 0.0,
    "ellipticity_b": 0.0,
    "semi_angle": 9.0,
    "blur": 0.4,
}
BOUNDS = {name: (-100.0, 100.0) for name in NAMES} | {
    "thickness": (10.0, 60.0),
    "tilt_x": (-3.0, 3.0),
    "tilt_y": (-3.0, 3.0),
}


@pytest.fixture(scope="module")
def model(small_library) -> ForwardModel:
    row, col = np.indices((46, 46))
    mask = np.hypot(col - 23, row - 22) < 21
    camera = Camera(*(TRUTH[name] for name in ("centre_x", "centre_y", "scale", "rotation")))
    return ForwardModel(small_library, mask, camera, semi_angle=9.0, fine_pixel=0.8, background="none")


def posterior_of(model, electrons, names=NAMES, seed=0) -> Posterior:
    image = model.evaluate(TRUTH).columns[0]
    data = np.random.default_rng(seed).poisson(electrons * image / image.sum()).astype(float)
    return Posterior(model, data, Noise(0.0, 1.0, 0.0), names, BOUNDS, {})


def test_many_electrons_make_a_gaussian(model):
    posterior = posterior_of(model, 1e7)
    top = posterior.climb(posterior.at(TRUTH), 30, 1e-8)
    found, curved = hill(posterior, top), at_maximum(posterior, top)
    sigma = np.sqrt(np.diag(curved.covariance))
    assert np.abs(found.mean - curved.mean) == pytest.approx(0, abs=0.05 * sigma.max())
    assert (np.abs(found.mean - curved.mean) < 0.15 * sigma).all()
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(sigma, rel=0.1)
    assert found.log_weight == pytest.approx(curved.log_weight, abs=0.3)


def test_few_electrons_against_an_integral(model):
    names = ("thickness", "tilt_x")
    posterior = posterior_of(model, 600, names, seed=4)
    top = posterior.climb(posterior.at(TRUTH), 30, 1e-6)
    sigma = np.sqrt(np.diag(covariance_of(top.information)))[:2]
    t = top.values["thickness"] + sigma[0] * np.linspace(-6, 6, 25)
    x = top.values["tilt_x"] + sigma[1] * np.linspace(-6, 6, 25)
    t, x = t[(t > 10) & (t < 60)], x[np.abs(x) < 3]
    logs = np.array([[posterior.at({**top.values, "thickness": a, "tilt_x": b}).cost for b in x] for a in t])
    # the intensity is integrated by its gamma function, which is the same everywhere
    p = np.exp(special.logsumexp(-logs, axis=1) - special.logsumexp(-logs))
    mean = p @ t
    spread = np.sqrt(p @ (t - mean) ** 2)
    found, width, _ = marginal(posterior, top, 0, float(sigma[0]), PosteriorSettings())
    assert found == pytest.approx(mean, abs=0.25 * spread)
    assert width == pytest.approx(spread, rel=0.15)


def test_what_goes_along_is_widened_along(model):
    posterior = posterior_of(model, 800, seed=1)
    top = posterior.climb(posterior.at(TRUTH), 30, 1e-6)
    found, curved = hill(posterior, top), at_maximum(posterior, top)
    values = np.linalg.eigvalsh(found.covariance / np.outer(*2 * [np.sqrt(np.diag(found.covariance))]))
    assert values.min() > 0
    i, j = NAMES.index("tilt_x"), NAMES.index("centre_x")
    # the share of the centre that the tilt does not explain is what it was
    own = [NAMES.index(name) for name in ("thickness", "tilt_x", "tilt_y")]

    def left(c):
        return c[j, j] - c[j, own] @ np.linalg.solve(c[np.ix_(own, own)], c[own, j])

    assert left(found.covariance) == pytest.approx(left(curved.covariance), rel=1e-6)
    assert found.covariance[i, i] > 0.6 * curved.covariance[i, i]


def test_a_held_parameter_stays_and_the_others_climb(model):
    posterior = posterior_of(model, 3e4)
    top = posterior.climb(posterior.at(TRUTH), 30, 1e-6)
    away = top.values["thickness"] + 2.0
    start = posterior.along(top, 0, away)
    end = posterior.climb(start, 20, 1e-6, held=0)
    assert start.values["thickness"] == end.values["thickness"] == pytest.approx(away)
    assert top.cost < end.cost <= start.cost
    free = np.delete(end.gradient, 0)
    root = np.sqrt(np.diag(np.delete(np.delete(end.information, 0, 0), 0, 1)))
    assert np.abs(free / root).max() < 0.05


def test_a_parameter_that_is_next_to_exactly_known_stays(model):
    posterior = posterior_of(model, 600, ("thickness", "tilt_x"), seed=4)
    top = posterior.climb(posterior.at(TRUTH), 30, 1e-6)
    found, width, places = marginal(posterior, top, 0, 1e-18, PosteriorSettings())
    assert found == top.values["thickness"] and width == 1e-18 and places.shape == (2, 1)


def test_a_parameter_that_the_electrons_do_not_know_may_be_anything(model):
    posterior = posterior_of(model, 600, ("thickness", "tilt_x"), seed=4)
    top = posterior.climb(posterior.at(TRUTH), 30, 1e-6)
    silent = top.information.copy()
    silent[1], silent[:, 1] = 0, 0
    found = hill(posterior, replace(top, information=silent))
    width = posterior.high[1] - posterior.low[1]
    assert found.covariance[1, 1] == pytest.approx(width**2 / 12)
    assert np.isfinite(found.log_weight) and 0 < found.covariance[0, 0] < width**2
