"""The Gaussian blur against scipy, and its derivative."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, ndimage, signal, stats

from hybridfit.pattern import blur as blur_module
from hybridfit.pattern.blur import blur, blur_slope, gaussian_weights

SIGMAS = [0.15, 0.4, 1.0, 2.7]


def image(shape=(41, 35), seed=0):
    return np.random.default_rng(seed).random(shape)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_weights_are_the_gaussian_integrated_over_each_pixel(sigma):
    weights = gaussian_weights(sigma)[0]
    n = len(weights) // 2
    for i in (0, 1, -1, n // 2):
        expected, _ = integrate.quad(stats.norm(0, sigma).pdf, i - 0.5, i + 0.5, points=[i], epsabs=1e-12)
        assert weights[n + i] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_equals_convolution_with_the_same_weights(sigma):
    weights = gaussian_weights(sigma)[0]
    expected = signal.convolve2d(image(), np.outer(weights, weights), mode="same")
    np.testing.assert_allclose(blur(image(), sigma), expected, atol=1e-12)


def test_a_wide_blur_is_scipys_gaussian_filter():
    """Integrating over the pixel adds its variance, 1/12."""
    expected = ndimage.gaussian_filter(image(), np.sqrt(3.0**2 + 1 / 12), mode="constant", truncate=6)
    np.testing.assert_allclose(blur(image(), 3.0), expected, atol=2e-4)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_nothing_is_lost_within_the_frame(sigma):
    spot = np.zeros((41, 41))
    spot[18:24, 17:23] = 1
    assert blur(spot, sigma).sum() == pytest.approx(36, rel=2e-4)


def test_what_leaves_the_frame_is_lost():
    corner = np.zeros((21, 21))
    corner[0, 0] = 1
    kept = gaussian_weights(1.5)[0][len(gaussian_weights(1.5)[0]) // 2 :].sum()
    assert blur(corner, 1.5).sum() == pytest.approx(kept**2)


@pytest.mark.parametrize("sigma", [1e-3, 0.05])
def test_a_tiny_blur_does_nothing_and_stays_finite(sigma):
    np.testing.assert_allclose(blur(image(), sigma), image(), atol=1e-12)
    np.testing.assert_allclose(blur_slope(image(), sigma), 0, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.15, 0.33, 0.9, 1.7, 3.1])
def test_slope_equals_finite_differences(sigma):
    h = 1e-5
    numerical = (blur(image(), sigma + h) - blur(image(), sigma - h)) / (2 * h)
    np.testing.assert_allclose(blur_slope(image(), sigma), numerical, atol=1e-7)


def test_kernels_equal_their_plain_python_selves(plain_python):
    small = image((9, 7))
    compiled, slope = blur(small, 0.8), blur_slope(small, 0.8)
    assert plain_python(blur_module) > 0
    np.testing.assert_allclose(blur_module.blur(small, 0.8), compiled, atol=1e-14)
    np.testing.assert_allclose(blur_module.blur_slope(small, 0.8), slope, atol=1e-14)
