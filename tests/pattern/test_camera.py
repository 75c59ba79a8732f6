"""Camera geometry: conventions, inverses, derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.pattern import camera as camera_module
from hybridfit.pattern.camera import Camera, chain, to_angles, to_pixels

CAMERA = Camera(101.3, 87.6, 4.2, 23.0, 0.03, -0.02)


def points(seed=0, n=50):
    return np.random.default_rng(seed).uniform(-20, 20, (2, n))


@pytest.mark.parametrize("rotation", [0.0, 23.0, -130.0])
def test_angles_and_pixels_are_inverse(rotation):
    camera, k = CAMERA._replace(rotation=rotation), points()
    np.testing.assert_allclose(to_angles(*to_pixels(*k, camera), camera), k, atol=1e-12)


def test_the_direct_beam_lands_on_the_centre():
    assert to_pixels(0.0, 0.0, CAMERA) == (CAMERA.centre_x, CAMERA.centre_y)


def test_the_scale_is_pixels_per_mrad():
    camera = Camera(10.0, 20.0, 4.0, 0.0)
    assert to_pixels(3.0, 0.0, camera) == (22.0, 20.0)
    assert to_pixels(0.0, 3.0, camera) == (10.0, 32.0)  # rows grow downwards, along +y


def test_a_positive_rotation_turns_x_towards_the_rows_below():
    col, row = to_pixels(5.0, 0.0, Camera(0.0, 0.0, 1.0, 90.0))
    assert (col, row) == pytest.approx((0, 5))
    col, row = to_pixels(5.0, 0.0, Camera(0.0, 0.0, 1.0, 10.0))
    assert col > 0 and row > 0


def test_the_distortion_stretches_along_its_axis():
    assert to_pixels(10.0, 0.0, Camera(0.0, 0.0, 1.0, 0.0, 0.05)) == pytest.approx((10.5, 0))
    assert to_pixels(0.0, 10.0, Camera(0.0, 0.0, 1.0, 0.0, 0.05)) == pytest.approx((0, 9.5))
    assert to_pixels(10.0, 0.0, Camera(0.0, 0.0, 1.0, 0.0, 0.0, 0.05)) == pytest.approx((10, 0.5))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_binning_keeps_the_angles(factor):
    """The angles, linear in the pixels, averaged over each block are those of the wide pixel."""
    camera = CAMERA._replace(centre_x=31.2, centre_y=27.9)
    row, col = (index.astype(float) for index in np.indices((12 * factor, 10 * factor)))
    kx, ky = to_angles(col.ravel(), row.ravel(), camera).reshape(2, *col.shape)
    row, col = (index.astype(float) for index in np.indices((12, 10)))
    wide = to_angles(col.ravel(), row.ravel(), camera.binned(factor)).reshape(2, 12, 10)
    for fine, coarse in zip((kx, ky), wide, strict=True):
        blocks = fine.reshape(12, factor, 10, factor).mean(axis=(1, 3))
        np.testing.assert_allclose(coarse, blocks, atol=1e-12)


@pytest.mark.parametrize("name", Camera._fields)
def test_chain_equals_finite_differences(name):
    """For f(k) = sin(kx/5) cos(ky/7) + kx ky/100."""

    def f(kx, ky):
        return np.sin(kx / 5) * np.cos(ky / 7) + kx * ky / 100

    rng = np.random.default_rng(5)
    for _ in range(4):
        camera = Camera(
            *rng.uniform(50, 60, 2), rng.uniform(2, 6), rng.uniform(-180, 180), *rng.uniform(-0.05, 0.05, 2)
        )
        col, row = rng.uniform(0, 110, (2, 40))
        k = to_angles(col, row, camera)
        along_x = np.cos(k[0] / 5) * np.cos(k[1] / 7) / 5 + k[1] / 100
        along_y = -np.sin(k[0] / 5) * np.sin(k[1] / 7) / 7 + k[0] / 100
        by_hand = chain(k, along_x, along_y, camera)[Camera._fields.index(name)]
        h = 1e-5
        up, down = (camera._replace(**{name: getattr(camera, name) + step}) for step in (h, -h))
        numerical = (f(*to_angles(col, row, up)) - f(*to_angles(col, row, down))) / (2 * h)
        np.testing.assert_allclose(by_hand, numerical, atol=1e-6 * np.abs(numerical).max())


def test_kernels_equal_their_plain_python_selves(plain_python):
    col, row = points() + 100
    k = to_angles(col, row, CAMERA)
    slopes = chain(k, *points(1), CAMERA)
    assert plain_python(camera_module) == 2
    np.testing.assert_allclose(camera_module.to_angles(col, row, CAMERA), k, atol=1e-12)
    np.testing.assert_allclose(camera_module.chain(k, *points(1), CAMERA), slopes, atol=1e-10)
