"""Noise that neighbouring pixels share: known correlations, and what is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hybridfit.fitting.refine.noise import effective_pixels, estimate_noise
from hybridfit.fitting.refine.spread import (
    FAR,
    NEAR,
    covariance_of,
    differences,
    kernel_of,
    sum_of,
    sums_of_differences,
    tails_of,
)

SHAPE = (150, 160)
ROW, COL = np.indices(SHAPE)
MASK = np.hypot(COL - 80, ROW - 75) < 70
MASK[60:63, 20:40] = False
MODEL = 40 + 400 * np.exp(-((COL - 80) ** 2 + (ROW - 75) ** 2) / 1500)
SIGMA = 0.8


def light(gain=1.0, sigma=SIGMA, seed=0):
    """Residual of a scintillator: electrons less their mean, spread, in counts (rows, cols)."""
    counted = np.random.default_rng(seed).poisson(MODEL) - MODEL
    return gain * gaussian_filter(counted, sigma, mode="wrap")


def mean_noise(residual, model=MODEL, seeds=3, **options):
    """Estimates of several residuals."""
    return [estimate_noise(residual(seed=seed, **options)[MASK], model[MASK], MASK) for seed in range(seeds)]


@pytest.mark.parametrize("sigma", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("gain", [1.0, 20.0])
def test_the_gain_is_found_behind_a_point_spread(gain, sigma):
    """Light is not lost: the variance of many pixels together is gain² N, whatever their correlation."""
    found = [estimate_noise(light(gain, sigma, seed)[MASK], gain * MODEL[MASK], MASK) for seed in range(4)]
    assert all(len(noise.correlation) == len(NEAR) for noise in found)
    slow = [n.counting(gain * MODEL[MASK]).mean() * n.spread for n in found]
    assert np.mean(slow) == pytest.approx(gain**2 * MODEL[MASK].mean(), rel=0.15)
    rho = [noise.correlation[0] for noise in found]
    assert np.mean(rho) == pytest.approx(neighbours(sigma), abs=0.04)


def neighbours(sigma):
    """ρ of neighbours behind the sampled Gaussian of scipy."""
    dot = np.zeros((41, 41))
    dot[20, 20] = 1
    kernel = gaussian_filter(dot, sigma)
    return (kernel[:, 1:] * kernel[:, :-1]).sum() / (kernel**2).sum()


def test_the_variance_of_a_pixel_is_all_noise():
    for noise in mean_noise(light):
        residual = light()[MASK]
        assert noise.counting(MODEL[MASK]).mean() == pytest.approx((residual**2).mean(), rel=0.1)
        assert noise.misfit < 0.08 * (residual**2).mean()


def test_independent_noise_has_no_correlation():
    for seed in range(12):
        residual = np.random.default_rng(seed).poisson(MODEL) - MODEL
        noise = estimate_noise(residual[MASK], MODEL[MASK], MASK)
        assert noise.correlation == () and noise.relative == 0 and noise.spread == 1


@pytest.mark.parametrize("sigma", [2.5, 4.0, 8.0])
@pytest.mark.parametrize("size", [0.3, 1.0, 3.0])
def test_smooth_misfit_is_not_taken_for_a_point_spread(sigma, size):
    smooth = gaussian_filter(np.random.default_rng(5).normal(size=SHAPE), sigma)
    residual = np.random.default_rng(6).poisson(MODEL) - MODEL
    misfit = size * np.sqrt(MODEL.mean()) * smooth / smooth.std()
    assert estimate_noise((residual + misfit)[MASK], MODEL[MASK], MASK).correlation == ()


def test_misfit_at_rims_is_not_taken_for_a_point_spread():
    """Rims that are a fifth of a pixel off have short correlations, but only where the model is steep."""
    rings = np.cos(np.hypot(COL - 80, ROW - 75) / 4) > 0.7
    model = 40 + 400 * gaussian_filter(rings.astype(float), 0.6)
    rim = 0.2 * np.gradient(model)[1]
    noise = np.random.default_rng(7).poisson(model) - model
    found = estimate_noise((noise + rim)[MASK], model[MASK], MASK)
    assert found.correlation == () and found.misfit > 0


def test_a_flat_field_is_told_from_counting():
    """Relative noise of 3 % is as large as that of counting at 1,100 electrons."""
    model, random = 20 * MODEL, np.random.default_rng(8)
    image = random.poisson(model) * random.normal(1, 0.03, SHAPE)
    found = estimate_noise((image - model)[MASK], model[MASK], MASK)
    assert np.sqrt(found.relative) == pytest.approx(0.03, rel=0.15)
    assert found.counting(model[MASK]) == pytest.approx((model + (0.03 * model) ** 2)[MASK], rel=0.15)


def test_covariance_is_that_of_simulated_noise():
    rows = np.stack([np.sin(COL / 9), ROW / 50 - 1, np.cos(ROW * COL / 700)])[:, MASK]
    draws = np.stack([gaussian_filter(np.random.default_rng(s).normal(size=SHAPE), 0.6) for s in range(400)])
    draws = draws[:, MASK] / draws.std()
    rho = [gaussian_correlation(0.6, shifts[0]) for shifts in NEAR]
    sums = draws @ rows.T
    assert np.diag(covariance_of(rows, MASK, rho)) == pytest.approx((sums**2).mean(axis=0), rel=0.25)


def gaussian_correlation(sigma, shift):
    dot = np.zeros((41, 41))
    dot[20, 20] = 1
    kernel = gaussian_filter(dot, sigma)
    return float((kernel * np.roll(kernel, shift, (0, 1))).sum() / (kernel**2).sum())


def test_covariance_is_the_double_sum():
    mask = np.hypot(*(np.indices((9, 11)) - 4)) < 4.5
    rho = (0.3, 0.1, 0.02, 0.01)
    at = np.argwhere(mask)
    d = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1))
    known = {0.0: 1.0} | dict(zip([1.0, 2**0.5, 2.0, 5**0.5], rho, strict=True))  # beyond them none
    full = np.select([np.isclose(d, each) for each in known], list(known.values()), 0.0)
    rows = np.random.default_rng(1).normal(size=(3, len(at)))
    assert covariance_of(rows, mask, rho) == pytest.approx(rows @ full @ rows.T)
    assert covariance_of(rows, mask, ()) == pytest.approx(rows @ rows.T)


def test_the_sum_of_a_correlation_is_that_of_its_kernel():
    rho = (0.3, 0.1, 0.02, 0.01)
    assert kernel_of(rho, (16, 18)).sum() == pytest.approx(sum_of(rho))
    assert sum_of(rho) == pytest.approx(1 + 4 * 0.3 + 4 * 0.1 + 4 * 0.02 + 8 * 0.01)


def test_known_correlation_leaves_independent_pixels():
    residual = light(seed=3)[MASK]
    noise = estimate_noise(residual, MODEL[MASK], MASK)
    standardised = residual / np.sqrt(noise.counting(MODEL[MASK]))
    n = MASK.sum()
    assert effective_pixels(standardised, MASK, 0.0, correlation=noise.correlation) > 0.6 * n
    assert effective_pixels(standardised, MASK, 0.0) < 0.25 * n


@pytest.mark.parametrize("pixel", [1.0, 2.0])
def test_tails_keep_the_light_and_widen_the_image(pixel):
    everywhere = np.ones(SHAPE, bool)
    spot = np.exp(-((COL - 80) ** 2 + (ROW - 75) ** 2) / 200)
    tails = tails_of(spot.ravel(), everywhere, pixel)
    for width, slope in zip((2.0, 5.0), tails.values(), strict=True):
        slope = slope.reshape(SHAPE)
        assert slope.sum() == pytest.approx(0, abs=1e-3 * spot.sum())
        wider = (slope * (COL - 80) ** 2).sum() / spot.sum()
        assert wider == pytest.approx((width / pixel) ** 2, rel=0.1)


def test_an_even_image_has_no_tail_at_the_rim_of_the_mask():
    for slope in tails_of(np.full(MASK.sum(), 7.0), MASK, 1.0).values():
        assert slope == pytest.approx(0, abs=1e-12)


def test_kernel_equals_its_plain_python_self():
    mask = np.hypot(*(np.indices((9, 11)) - 4)) < 4.5
    image = np.random.default_rng(0).normal(size=mask.shape)
    shifts = np.array([shift for shifts in (*NEAR, *FAR) for shift in shifts])
    found = sums_of_differences(image, mask, shifts)
    assert found == pytest.approx(sums_of_differences.py_func(image, mask, shifts))
    for (dy, dx), (total, pairs) in zip(shifts, found, strict=True):
        square, _, both = differences(image, mask, (int(dy), int(dx)))
        assert total == pytest.approx(square[both].sum()) and pairs == both.sum()
