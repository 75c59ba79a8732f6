"""Binning against a loop, and against the camera geometry that goes with it."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.pattern.binning import bin_frame
from hybridfit.pattern.camera import Camera


def looped(image, valid, factor):
    rows, cols = (size // factor for size in image.shape)
    out, good = np.zeros((rows, cols)), np.zeros((rows, cols), bool)
    for i in range(rows):
        for j in range(cols):
            values = [
                image[row, col]
                for row in range(factor * i, factor * (i + 1))
                for col in range(factor * j, factor * (j + 1))
                if valid[row, col]
            ]
            out[i, j] = np.mean(values) if values else 0
            good[i, j] = 2 * len(values) >= factor**2
    return out, good


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_equals_a_loop(factor, share):
    rng = np.random.default_rng(factor)
    image, valid = rng.normal(size=(23, 31)), rng.random((23, 31)) >= share
    binned, good = bin_frame(image, valid, factor)
    expected, expected_good = looped(image, valid, factor)
    np.testing.assert_array_equal(good, expected_good)
    np.testing.assert_allclose(binned[good], expected[good], atol=1e-12)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e300])
def test_masked_pixels_do_not_leak(garbage):
    image, valid = np.full((12, 12), 3.0), np.ones((12, 12), bool)
    valid[2, 3] = valid[6:10, 6:10] = False
    image[~valid] = garbage
    binned, good = bin_frame(image, valid, 2)
    np.testing.assert_array_equal(binned[good], 3.0)
    assert (~good).sum() == 4 and np.isfinite(binned).all()


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_spot_stays_where_the_binned_camera_says(factor):
    row, col = np.indices((60, 72))
    camera = Camera(33.3, 28.9, 2.0, 10.0)
    spot = np.exp(-((col - camera.centre_x) ** 2 + (row - camera.centre_y) ** 2) / (2 * 5.0**2))
    small, _ = bin_frame(spot, np.ones(spot.shape, bool), factor)
    row, col = np.indices(small.shape)
    binned = camera.binned(factor)
    assert (small * col).sum() / small.sum() == pytest.approx(binned.centre_x, abs=1e-3)
    assert (small * row).sum() / small.sum() == pytest.approx(binned.centre_y, abs=1e-3)
    assert small.sum() * factor**2 == pytest.approx(spot.sum(), rel=1e-6)
