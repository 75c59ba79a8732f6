"""The weights of the Gaussian blur against scipy, and their derivative."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, ndimage, stats

from hybridfit.pattern import blur as blur_module
from hybridfit.pattern.blur import gaussian_weights, moved_weights

SIGMAS = [0.15, 0.4, 1.0, 2.7]


@pytest.mark.parametrize("sigma", SIGMAS)
def test_weights_are_the_gaussian_integrated_over_each_pixel(sigma):
    weights = gaussian_weights(sigma)[0]
    n = len(weights) // 2
    for i in (0, 1, -1, n // 2):
        expected, _ = integrate.quad(stats.norm(0, sigma).pdf, i - 0.5, i + 0.5, points=[i], epsabs=1e-12)
        assert weights[n + i] == pytest.approx(expected, abs=1e-9)


def test_a_wide_blur_is_scipys_gaussian_filter():
    """Integrating over the pixel adds its variance, 1/12."""
    row = np.random.default_rng(0).random(61)
    expected = ndimage.gaussian_filter(row, np.sqrt(3.0**2 + 1 / 12), mode="constant", truncate=6)
    np.testing.assert_allclose(np.convolve(row, gaussian_weights(3.0)[0], "same"), expected, atol=2e-4)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_nothing_is_lost(sigma):
    assert gaussian_weights(sigma)[0].sum() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("sigma", [1e-3, 0.05])
def test_a_tiny_blur_does_nothing_and_stays_finite(sigma):
    weights, slopes = gaussian_weights(sigma)
    np.testing.assert_allclose(weights, np.arange(len(weights)) == len(weights) // 2, atol=1e-12)
    np.testing.assert_allclose(slopes, 0, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.15, 0.33, 0.9, 1.7, 3.1])
def test_slope_equals_finite_differences(sigma):
    h = 1e-5
    numerical = (gaussian_weights(sigma + h)[0] - gaussian_weights(sigma - h)[0]) / (2 * h)
    np.testing.assert_allclose(gaussian_weights(sigma)[1], numerical, atol=1e-7)


def test_the_kernel_equals_its_plain_python_self(plain_python):
    compiled = gaussian_weights(0.8)
    moved = moved_weights(0.8, 0.3)
    assert plain_python(blur_module) == 4
    np.testing.assert_allclose(blur_module.gaussian_weights(0.8), compiled, atol=1e-14)
    np.testing.assert_allclose(blur_module.moved_weights(0.8, 0.3), moved, atol=1e-14)


@pytest.mark.parametrize("shift", [0.0, 0.45, -0.9, 2.3])
def test_moved_weights_have_the_mean_of_the_shift(shift):
    w = moved_weights(0.9, shift)
    at = np.arange(w.shape[1]) - w.shape[1] // 2
    assert w[0].sum() == pytest.approx(1, abs=1e-4)
    assert w[0] @ at == pytest.approx(-shift, abs=1e-3)  # what was at j comes to j + shift
    ends = [moved_weights(0.9, shift + side)[0] for side in (1e-5, -1e-5)]
    np.testing.assert_allclose(w[1], (ends[0] - ends[1]) / 2e-5, atol=1e-8)
    assert w[2].sum() == pytest.approx(0, abs=1e-3)
