"""Normal equations from inner products: those of projected residuals and slopes, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.refine import gram, pairs
from hybridfit.fitting.refine.algebra import inverse_of
from hybridfit.fitting.refine.gram import normal_of
from hybridfit.pattern import background as bg
from hybridfit.pattern.camera import Camera
from hybridfit.pattern.columns import Columns

NAMES = ("thickness", "tilt_x", "centre_y", "centre_x")
CAMERA = Camera(3.1, -2.2, 4.0, 17.0, 0.03, -0.02)
N = 700  # more than one chunk


def columns_of(background, names=NAMES, fixed=0.0):
    rng = np.random.default_rng(3)
    k = rng.normal(0, 9, (2, N))
    values, along_x, along_y = bg.basis(background, k, 13.0)
    columns = np.concatenate([rng.random((1, N)), values])
    slopes = rng.normal(0, 1, (len(names), N))
    return Columns(columns, fixed, names, slopes, 0.0, (k, along_x, along_y), CAMERA)


def pixel_by_pixel(columns, data, root_weights):
    """|r|², S Sᵀ and S r of arrays, projected by a QR decomposition."""
    q, r = np.linalg.qr((columns.columns * root_weights).T)
    coefficients = np.linalg.solve(r, q.T @ (root_weights * data))
    left = root_weights * (data - coefficients @ columns.columns)
    s = columns.sensitivity(coefficients) * root_weights
    s -= (s @ q) @ q.T
    return left @ left, s @ s.T, s @ left


def measured():
    rng = np.random.default_rng(8)
    return rng.random(N) + 2, rng.random(N) + 0.5


@pytest.mark.parametrize("background", bg.NAMES)
def test_they_are_those_of_arrays(background):
    columns, (data, root_weights) = columns_of(background), measured()
    found = normal_of(columns, data, root_weights)
    for ours, theirs in zip(found, pixel_by_pixel(columns, data, root_weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize(
    "columns", [columns_of("radial", ("thickness", "scale")), columns_of("none", fixed=0.1)]
)
def test_others_are_left_to_arrays(columns):
    assert normal_of(columns, *measured()) is None


def test_the_kernel_equals_its_plain_python(plain_python):
    columns, given = columns_of("radial"), measured()
    expected = normal_of(columns, *given)
    assert plain_python(pairs) == 6
    assert plain_python(gram, product=pairs.product) == 4
    np.testing.assert_allclose(normal_of(columns, *given).normal, expected.normal, rtol=1e-9)


def test_an_inverse_is_the_pseudo_inverse_where_columns_depend_on_each_other():
    rows = np.random.default_rng(1).normal(size=(3, 50)) * np.array([[1e-3], [1.0], [1e3]])
    normal = rows @ rows.T
    np.testing.assert_allclose(inverse_of(normal) @ normal, np.eye(3), atol=1e-6)
    twice = np.concatenate([rows[1:2], rows[1:2]])
    np.testing.assert_allclose(inverse_of(twice @ twice.T), np.linalg.pinv(twice @ twice.T), rtol=1e-9)
    assert inverse_of(np.empty((0, 0))).shape == (0, 0)
