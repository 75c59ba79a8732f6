"""Refinement: derivatives, profiled coefficients, constraints, and correct errors."""

from __future__ import annotations

from dataclasses import replace

import lmfit
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hybridfit.fitting.refine.least_squares import refine
from hybridfit.fitting.refine.problem import Problem
from hybridfit.fitting.refine.settings import REFINE, Effort
from hybridfit.model import PARAMETERS, ForwardModel
from hybridfit.pattern.camera import Camera

SEMI_ANGLE = 9.0
SHAPE = (64, 64)
TRUTH = {
    "thickness": 30.4,  # between two thicknesses of the library: on one, the interpolant's slope jumps
    "tilt_x": 0.6,
    "tilt_y": -0.9,
    "centre_x": 31.2,
    "centre_y": 32.1,
    "scale": 1.85,
    "rotation": 12.0,
    "ellipticity_a": 0.0,
    "ellipticity_b": 0.0,
    "semi_angle": SEMI_ANGLE,
    "blur": 0.4,
}
FITTED = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation", "blur")
STEPS = {"centre_x": 1e-3, "centre_y": 1e-3, "scale": 1e-4, "ellipticity_a": 1e-5, "ellipticity_b": 1e-5}
LINEAR = np.array([600.0, 12.0, 40.0, 25.0])  # intensity factor, radial background


def make_model(library, background="radial", per_nm=0.0):
    row, col = np.indices(SHAPE)
    mask = np.hypot(col - TRUTH["centre_x"], row - TRUTH["centre_y"]) <= 16.5 * TRUTH["scale"]
    mask[20, 20:23] = False
    camera = Camera(*(TRUTH[name] for name in Camera._fields))
    window = library.window(TRUTH["thickness"], (0.6, -0.9), half_widths=(6, 2), semi_angle=1.06 * SEMI_ANGLE)
    return ForwardModel(window, mask, camera, semi_angle=SEMI_ANGLE, background=background, per_nm=per_nm)


@pytest.fixture(scope="module")
def model(small_library):
    return make_model(small_library)


@pytest.fixture(scope="module")
def expected(model):
    return LINEAR @ model.evaluate(TRUTH).columns


def parameters(vary=FITTED, **changes):
    params = lmfit.Parameters()
    for name in PARAMETERS:
        params.add(name, value={**TRUTH, **changes}[name], vary=name in vary)
    return params


def shifted(params, name, by):
    out = params.copy()
    out[name].value = params[name].value + by
    return out


def slope(function, params, name):
    h = STEPS.get(name, 1e-3)
    return (function(shifted(params, name, h)) - function(shifted(params, name, -h))) / (2 * h)


# ---------------------------------------------------------------- derivatives


@pytest.mark.parametrize("background", ["radial", "uniform-per-nm"])
def test_jacobian_of_a_perfect_fit_equals_finite_differences(small_library, background):
    """Kaufman leaves out a term that is proportional to the residual."""
    model = make_model(small_library, background, per_nm=0.3)
    columns = model.evaluate(TRUTH)
    data = LINEAR[: len(columns.columns)] @ columns.columns + columns.fixed
    problem = Problem(model, data, np.random.default_rng(0).uniform(0.5, 2, len(data)))
    params = parameters(vary=PARAMETERS)
    assert np.abs(problem.residual(params)).max() < 1e-9 * data.max()
    jacobian = problem.jacobian(params)
    assert jacobian.shape == (len(data), len(PARAMETERS))
    for column, name in zip(jacobian.T, PARAMETERS, strict=True):
        numerical = slope(problem.residual, params, name)
        np.testing.assert_allclose(column, numerical, atol=4e-3 * np.abs(numerical).max(), err_msg=name)


def test_gradient_is_exact_anywhere(model, expected):
    """∇½|r|² = Jᵀr holds with Kaufman's J too, for any residual."""
    data = np.random.default_rng(1).poisson(expected).astype(float)
    problem = Problem(model, data, 1 / expected)
    params = parameters(vary=PARAMETERS, thickness=31.3, tilt_x=0.2, centre_x=32.0, scale=1.82, rotation=15.0)
    gradient = problem.jacobian(params).T @ problem.residual(params)
    for value, name in zip(gradient, PARAMETERS, strict=True):
        numerical = slope(lambda p: (problem.residual(p) ** 2).sum() / 2, params, name)
        size = np.linalg.norm(problem.residual(params)) * np.linalg.norm(
            slope(problem.residual, params, name)
        )
        assert value == pytest.approx(numerical, abs=3e-3 * size), name


def test_coefficients_are_the_least_squares_solution(model, expected):
    rng = np.random.default_rng(2)
    data, weights = rng.poisson(expected).astype(float), rng.uniform(0.1, 3, len(expected))
    problem = Problem(model, data, weights)
    params = parameters(thickness=28.5)
    columns = problem.model.evaluate(params.valuesdict())
    coefficients, image = problem.linear(columns)
    root = np.sqrt(weights)
    slow = np.linalg.lstsq((columns.columns * root).T, root * data, rcond=None)[0]
    np.testing.assert_allclose(coefficients, slow, rtol=1e-7)
    np.testing.assert_allclose(image, slow @ columns.columns, rtol=1e-9)
    np.testing.assert_allclose(problem.residual(params), root * (data - image), atol=1e-9)


# ---------------------------------------------------------------- constraints


@pytest.fixture(scope="module")
def counts(expected):
    return np.random.default_rng(3).poisson(expected).astype(float)


def test_reaches_the_truth_and_says_what_the_noise_is(model, counts):
    fit = refine(model, counts, parameters(thickness=31.5, tilt_x=0.2, centre_x=31.8, rotation=10.5))
    for name in FITTED:
        assert abs(fit.values[name] - TRUTH[name]) < 4 * fit.errors[name], name
    np.testing.assert_allclose(fit.coefficients[0], LINEAR[0], rtol=0.03)
    assert fit.noise.per_intensity == pytest.approx(1, rel=0.15)
    assert fit.chi2 == pytest.approx(len(counts), rel=0.05)
    assert fit.n_effective > 0.85 * len(counts)
    np.testing.assert_allclose(fit.residual, counts - fit.model)
    assert fit.settled and 0 < fit.evaluations < 60


def test_finds_no_misfit_where_there_is_none(model, expected):
    """On average: the residual of one frame gives its variance to 3 % only."""
    rng = np.random.default_rng(11)
    found = [refine(model, rng.poisson(expected).astype(float), parameters()).noise.misfit for _ in range(12)]
    assert np.mean(found) < 0.03 * expected.mean()


def test_what_is_fixed_stays(model, counts):
    fit = refine(model, counts, parameters(vary=("thickness", "centre_x"), rotation=12.5, thickness=31.0))
    for name in set(PARAMETERS) - {"thickness", "centre_x"}:
        assert fit.values[name] == (12.5 if name == "rotation" else TRUTH[name]) and name not in fit.errors
    assert fit.covariance.shape == (2, 2) and fit.names == ("thickness", "centre_x")
    assert fit.values["thickness"] != 31.0


def test_everything_may_be_fixed(model, counts):
    """Then only intensity factor, background and noise are left to find."""
    fit = refine(model, counts, parameters(vary=()))
    assert fit.values == TRUTH
    assert fit.coefficients[0] == pytest.approx(LINEAR[0], rel=0.03)
    assert fit.noise.per_intensity == pytest.approx(1, rel=0.15)


def test_bounds_are_kept(model, counts):
    params = parameters(thickness=28.5)
    params["thickness"].set(min=26.0, max=29.0)
    params["blur"].set(min=0.0, max=1.0)
    fit = refine(model, counts, params)
    assert fit.values["thickness"] == pytest.approx(29.0, abs=0.02) and fit.values["thickness"] <= 29.0


def test_ties_are_kept(model, counts):
    params = parameters(tilt_x=0.3, tilt_y=-0.45)
    params["tilt_y"].set(expr="-1.5 * tilt_x")
    tied = refine(model, counts, params)
    assert tied.values["tilt_y"] == pytest.approx(-1.5 * tied.values["tilt_x"])
    assert tied.values["tilt_x"] == pytest.approx(0.6, abs=0.03)
    free = refine(model, counts, parameters()).errors
    assert 0 < tied.errors["tilt_x"] < np.hypot(free["tilt_x"], free["tilt_y"])
    assert tied.errors["tilt_y"] == pytest.approx(1.5 * tied.errors["tilt_x"], rel=1e-6)


def test_the_jacobian_of_tied_parameters_follows_the_chain_rule(model, expected):
    """∂r/∂θ + ∂r/∂e · ∂e/∂θ, also through a second parameter and a function."""
    params = parameters(vary=PARAMETERS, tilt_x=0.4)
    params["tilt_y"].set(expr="-1.5 * tilt_x + 0.02 * thickness**2 / 60")
    params["ellipticity_b"].set(expr="0.01 * sin(ellipticity_a + tilt_x)")
    columns = model.evaluate(params.valuesdict())
    problem = Problem(model, LINEAR @ columns.columns, 1 / expected)
    names = [name for name, p in params.items() if p.vary]
    jacobian = problem.jacobian(params)
    assert jacobian.shape == (len(expected), len(PARAMETERS) - 2)
    for column, name in zip(jacobian.T, names, strict=True):
        numerical = slope(problem.residual, params, name)
        np.testing.assert_allclose(column, numerical, atol=5e-3 * np.abs(numerical).max(), err_msg=name)


def test_a_fit_that_is_stopped_has_not_settled(model, counts):
    """The optimiser is asked; three evaluations do not lead there from far away."""
    settings = replace(REFINE, evaluations=3)
    far = parameters(thickness=33.0, tilt_x=-0.2, tilt_y=-0.2, rotation=20.0)
    fit = refine(model, counts, far, effort=Effort(1, 1e-5, 0.3), settings=settings)
    assert not fit.settled
    assert refine(model, counts, far).settled


# ---------------------------------------------------------------- errors


def test_covariance_equals_the_scatter_of_repeated_fits(model, expected):
    rng = np.random.default_rng(5)
    fits = [refine(model, rng.poisson(expected).astype(float), parameters()) for _ in range(100)]
    deviations = np.array([[fit.values[name] - TRUTH[name] for name in FITTED] for fit in fits])
    covariance = np.mean([fit.covariance for fit in fits], axis=0)
    stated, scatter = np.sqrt(np.diag(covariance)), np.sqrt((deviations**2).mean(axis=0))
    assert (np.abs(scatter / stated - 1) < 0.25).all(), dict(zip(FITTED, scatter / stated, strict=True))
    # all together, correlations included: χ² of 8 degrees of freedom, averaged over 100 fits
    distance = np.einsum("fi,ij,fj->f", deviations, np.linalg.inv(covariance), deviations)
    assert distance.mean() / len(FITTED) == pytest.approx(1, abs=0.15)
    for i, name in enumerate(FITTED):
        assert fits[0].errors[name] == pytest.approx(np.sqrt(fits[0].covariance[i, i]))


def test_misfit_widens_the_errors(model, expected):
    """A smooth error of the model widens error bars more than noise of the same variance."""
    rng = np.random.default_rng(6)
    field = np.zeros(SHAPE)
    field[model.mask] = expected
    misfit = 0.05 * gaussian_filter(rng.normal(size=SHAPE), 3.0) * 3.0 * np.sqrt(4 * np.pi)
    smooth = (field * misfit)[model.mask]
    noise = rng.normal(size=len(expected)) * smooth.std()
    noisy, misfitting = (refine(model, expected + extra, parameters()) for extra in (noise, smooth))
    assert misfitting.noise.misfit > 10 * noisy.noise.misfit
    assert misfitting.n_effective < 0.1 * noisy.n_effective
    assert misfitting.inflation > 3 * noisy.inflation
    errors = [fit.errors["thickness"] for fit in (noisy, misfitting)]
    assert errors[1] > 2 * errors[0]


# ---------------------------------------------------------------- from afar


@pytest.mark.parametrize("draw", range(8))
def test_seeds_far_off_reach_the_truth(fitter, simulate, at_truth, draw):
    """Off by 3 nm, 1 mrad, 2 px, 2 % and 2° at once."""
    rng = np.random.default_rng(draw)
    image, truth = simulate(
        thickness=rng.uniform(8, 52),
        tilt=tuple(rng.uniform(-1.5, 1.5, 2)),
        rotation=rng.uniform(-40, 40),
        scale=2.9,
        seed=draw,
    )
    tilt, shift = rng.uniform(0, 2 * np.pi, 2)
    seed = at_truth(
        truth,
        thickness=truth["thickness"] + 3 * rng.choice([-1, 1]),
        tilt_x=truth["tilt_x"] + np.cos(tilt),
        tilt_y=truth["tilt_y"] + np.sin(tilt),
        centre_x=truth["centre_x"] + 2 * np.cos(shift),
        centre_y=truth["centre_y"] + 2 * np.sin(shift),
        scale=truth["scale"] * (1 + 0.02 * rng.choice([-1, 1])),
        rotation=truth["rotation"] + 2 * rng.choice([-1, 1]),
    )
    result = fitter.refine(image, seed)
    assert result.ok, result.message
    for name in ("thickness", "tilt_x", "tilt_y", "rotation"):
        p = result[name]
        assert abs(p.value - truth[name]) < 4.5 * p.stderr, name
    assert result["thickness"].stderr < 0.1
