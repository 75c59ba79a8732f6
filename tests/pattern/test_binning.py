"""Binning against a loop, and against the camera geometry that goes with it."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.pattern.binning import bin_frame, binned_cameras, fill_masked, from_binned, to_binned
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


@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_there_and_back(factor):
    positions = np.array([-3.2, 0.0, 17.5])
    np.testing.assert_allclose(from_binned(to_binned(positions, factor), factor), positions, atol=1e-12)
    blocks = np.arange(4 * factor).reshape(4, factor).mean(axis=1)  # the middles of the first four
    np.testing.assert_allclose(to_binned(blocks, factor), np.arange(4), atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2, 5])
def test_binned_cameras_are_binned_one_by_one(factor):
    cameras = np.array([[33.3, 28.9, 2.0], [0.0, 100.0, 7.5]])
    before = cameras.copy()
    expected = [Camera(*camera, 0.0).binned(factor)[:3] for camera in cameras]
    np.testing.assert_allclose(binned_cameras(cameras, factor), expected, atol=1e-12)
    np.testing.assert_array_equal(cameras, before)


@pytest.mark.parametrize("factor", [24, 306, 10**9, 0, -2])
def test_blocks_fit_into_the_frame(factor):
    image = np.ones((23, 31))
    with pytest.raises(InputError, match=rf"pixels {factor} times as wide do not fit into 31 × 23 px"):
        bin_frame(image, image > 0, factor)
    small, _ = bin_frame(image, image > 0, 23)
    assert small.shape == (1, 1)


def test_the_nearest_valid_pixel_fills_a_masked_one():
    image, valid = np.arange(12.0).reshape(3, 4), np.ones((3, 4), bool)
    valid[1, 1:3] = valid[2, 3] = False
    filled = fill_masked(image, valid)
    np.testing.assert_array_equal(filled[valid], image[valid])
    assert filled[1, 1] in (1.0, 4.0, 9.0) and filled[1, 2] in (2.0, 7.0, 10.0)
    assert fill_masked(image, np.zeros((3, 4), bool)) is image
