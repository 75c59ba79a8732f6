"""Sums of squares over a whole frame compared with a slow sum, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.search.rings import without_template
from hybridfit.pattern import rings
from hybridfit.pattern.background import basis

SHAPE = (60, 72)
ROW, COL = np.indices(SHAPE)
SEMI_ANGLE, BEYOND = 6.0, 3.0
CAMERAS = np.array([[33.0, 30.0, 2.0], [36.5, 27.25, 1.6], [30.0, 31.0, 2.9]])
FEW_RINGS = np.array(
    [[33.0, 30.0, 0.08], [36.5, 27.25, 0.3], [30.0, 31.0, 0.17]]
)  # which fit them, or nearly


def slow(image, valid, camera):
    """Background fitted to the ring of every pixel inside, ring means outside."""
    ring = np.hypot(COL - camera[0], ROW - camera[1]).astype(int)
    k = (ring + 0.5) / camera[2]
    inside = valid & (k <= SEMI_ANGLE + BEYOND)
    values, _, _ = basis("radial", np.stack([k[inside], np.zeros(inside.sum())]), SEMI_ANGLE)
    y = image[inside]
    total = ((y - values.T @ np.linalg.lstsq(values.T, y, rcond=None)[0]) ** 2).sum()
    for r in np.unique(ring[valid & ~inside]):
        y = image[valid & ~inside & (ring == r)]
        total += ((y - y.mean()) ** 2).sum()
    return total, inside.sum()


@pytest.mark.parametrize("cameras", [CAMERAS, FEW_RINGS])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_a_slow_fit(masked, cameras):
    rng = np.random.default_rng(0)
    image, valid = rng.normal(50, 5, SHAPE) + 0.3 * COL, np.ones(SHAPE, bool)
    if masked:
        valid[20:33, 40:44] = False
    total, pixels = without_template(np.where(valid, image, 1e9 * masked), valid, cameras, SEMI_ANGLE, BEYOND)
    expected = [slow(image, valid, camera) for camera in cameras]
    np.testing.assert_allclose(total, [s for s, _ in expected], rtol=1e-9)
    np.testing.assert_array_equal(pixels, [n for _, n in expected])


def test_the_kernel_is_its_plain_self(plain_python):
    image, valid = np.random.default_rng(2).normal(50, 5, (20, 24)), np.ones((20, 24), bool)
    compiled = without_template(image, valid, CAMERAS / 3, SEMI_ANGLE, BEYOND)
    assert plain_python(rings) == 6
    for one, other in zip(
        without_template(image, valid, CAMERAS / 3, SEMI_ANGLE, BEYOND), compiled, strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_what_is_round_about_a_camera_leaves_nothing():
    x, y, scale = CAMERAS[0]
    k = (np.hypot(COL - x, ROW - y).astype(int) + 0.5) / scale
    image = 3 + np.where(k < SEMI_ANGLE + BEYOND, np.exp(-(k**2) / (2 * (0.75 * SEMI_ANGLE) ** 2)), 0.2)
    total, _ = without_template(image, np.ones(SHAPE, bool), CAMERAS, SEMI_ANGLE, BEYOND)
    assert total[0] < 1e-9 * image.var() * image.size
    assert (total[1:] > 0.01 * image.var() * image.size).all()


def test_noise_favours_no_camera():
    """However large the region is: only the free means of the rings differ."""
    image = np.random.default_rng(1).normal(size=SHAPE)
    total, pixels = without_template(image, np.ones(SHAPE, bool), CAMERAS, SEMI_ANGLE, BEYOND)
    assert pixels.max() > 2 * pixels.min()
    assert np.ptp(total) < 50  # of 4320
