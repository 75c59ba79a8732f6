"""Noise models of residuals with known properties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hybridfit.fitting.refine.noise import Noise, effective_pixels, electrons_in, estimate_noise

SHAPE = (120, 128)
ROW, COL = np.indices(SHAPE)
MASK = np.hypot(COL - 63.0, ROW - 60.0) < 55
MASK[50:53, 20:40] = False
MODEL = (40 + 400 * np.exp(-((COL - 63.0) ** 2 + (ROW - 60.0) ** 2) / 900))[MASK]


def smooth_field(sigma: float, seed: int = 0):
    """A random field of variance 1 and correlation exp(−d²/4σ²), on the mask."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), sigma)[MASK]
    return (field - field.mean()) / field.std()


@pytest.mark.parametrize("gain", [0.3, 1.0, 25.0])
def test_counting_gives_the_gain(gain):
    residual = gain * np.random.default_rng(1).poisson(MODEL / gain) - MODEL
    noise = estimate_noise(residual, MODEL, MASK)
    assert noise.per_intensity == pytest.approx(gain, rel=0.05)
    assert noise.counting(MODEL).mean() == pytest.approx((gain * MODEL).mean(), rel=0.03)
    assert noise.misfit < 0.03 * gain * MODEL.mean()
    standardised = residual / np.sqrt(noise.variance(MODEL))
    assert effective_pixels(standardised, MASK, 0.0) > 0.85 * MASK.sum()


def test_the_camera_gives_a_constant():
    residual = 7 * np.random.default_rng(2).normal(size=MODEL.size)
    noise = estimate_noise(residual, MODEL, MASK)
    assert noise.constant == pytest.approx(49, rel=0.08)
    assert noise.per_intensity * MODEL.mean() < 4


@pytest.mark.parametrize("sigma", [3.0, 5.0])
@pytest.mark.parametrize("size", [5.0, 50.0])
def test_smooth_misfit_is_told_from_noise(size, sigma):
    noise = np.random.default_rng(3).poisson(MODEL) - MODEL
    found = estimate_noise(noise + size * smooth_field(sigma), MODEL, MASK)
    assert found.misfit == pytest.approx(size**2, rel=0.2)
    assert found.variance(MODEL).mean() == pytest.approx(size**2 + MODEL.mean(), rel=0.05)


def test_misfit_leaves_few_independent_pixels():
    """Σ_Δ exp(−Δ²/4σ²) = 4πσ² pixels are correlated; the window of the estimate cuts the tails."""
    n = MASK.sum()
    found = {
        sigma: np.mean([effective_pixels(smooth_field(sigma, seed), MASK, 1.0) for seed in range(5)])
        for sigma in (2.0, 4.0)
    }
    for sigma, pixels in found.items():
        assert 1.0 < pixels / (n / (4 * np.pi * sigma**2)) < 2.0
    assert found[2.0] / found[4.0] == pytest.approx(4.0, rel=0.25)


def test_little_misfit_costs_less_than_much():
    noise, misfit = np.random.default_rng(4).normal(size=MODEL.size), smooth_field(4.0)
    counts = [
        effective_pixels(np.sqrt(1 - share) * noise + np.sqrt(share) * misfit, MASK, share)
        for share in (0.0, 0.1, 0.5, 1.0)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 0.85 * MASK.sum() and counts[-1] < 0.02 * MASK.sum()


def test_a_perfect_fit_has_almost_no_variance():
    noise = estimate_noise(np.zeros(MODEL.size), MODEL, MASK)
    assert (noise.variance(MODEL) > 0).all() and noise.variance(MODEL).max() < 1e-9 * (MODEL**2).mean()


def test_negative_intensity_counts_as_none():
    assert Noise(2.0, 3.0, 1.0).variance(np.array([-5.0, 0.0, 2.0])).tolist() == [3.0, 3.0, 9.0]


@pytest.mark.parametrize("electrons", [1e3, 1e4, 1e5])
def test_electrons_are_counted_whatever_the_gain_and_the_mask(electrons):
    expected = gaussian_filter(MASK.astype(float), 2) + 0.02
    image = 7.0 * np.random.default_rng(0).poisson(electrons * expected / expected.sum())
    image[~MASK] = 1e9
    share = expected[MASK].sum() / expected.sum()
    assert electrons_in(image, MASK) == pytest.approx(share * electrons, rel=0.1)


def test_structure_makes_many_electrons_fewer():
    """The estimate is a lower bound; it only decides whether electrons are few."""
    image = 100.0 * (1 + (ROW + COL) % 2)
    assert electrons_in(image, np.ones(SHAPE, bool)) < 1e3 * image.size
