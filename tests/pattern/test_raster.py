"""Pixels of a blurred pattern, compared with a plain blur and a plain mean over their area."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import convolve1d

from hybridfit.pattern import raster
from hybridfit.pattern.blur import gaussian_weights
from hybridfit.pattern.raster import Raster

SHAPE = (23, 30)
CENTRE = (14.2, 10.7)
ORIGIN, PIXEL = (7.5, 3.0), 2.0
MARGIN = 8  # pixels around the frame


@pytest.fixture
def mask():
    row, col = np.indices(SHAPE)
    inside = np.hypot(col - CENTRE[0], row - CENTRE[1]) <= 8
    inside[9:11, 14] = False  # dead pixels
    return inside


def points_of(mask, s, **changed):
    """The raster of a binned part of a frame."""
    centre = tuple(o + PIXEL * c for o, c in zip(ORIGIN, CENTRE, strict=True))
    at = {"radius": 8 * PIXEL, "padding": 3 * PIXEL, "origin": ORIGIN, "pixel": PIXEL, "oversampling": s}
    return Raster(mask, centre, **(at | changed))


def recorded_plainly(points, mask, values, weights, s):
    """Blur of the whole fine image, 0 between the points; then the mean of s × s blocks."""
    image = np.zeros(((SHAPE[0] + 2 * MARGIN) * s, (SHAPE[1] + 2 * MARGIN) * s))
    col, row = ((v - o) / PIXEL + MARGIN for v, o in zip((points.col, points.row), ORIGIN, strict=True))
    at = tuple(np.rint((v + 0.5) * s - 0.5).astype(int) for v in (row, col))
    image[at] = values
    for axis in (0, 1):
        image = convolve1d(image, weights, axis=axis, mode="constant")
    image = image.reshape(image.shape[0] // s, s, image.shape[1] // s, s).mean(axis=(1, 3))
    return image[MARGIN:-MARGIN, MARGIN:-MARGIN][mask]


@pytest.mark.parametrize("s", [1, 2, 3, 4])
@pytest.mark.parametrize("sigma", [0.2, 0.7, 2.6])
def test_equals_a_plain_blur_and_a_plain_mean(mask, s, sigma):
    points = points_of(mask, s)
    values = np.random.default_rng(s).random(len(points.col))
    expected = recorded_plainly(points, mask, values, gaussian_weights(sigma)[0], s)
    np.testing.assert_allclose(points.record(values, sigma), expected, atol=1e-12)


@pytest.mark.parametrize("s", [1, 3])
def test_the_slope_equals_finite_differences(mask, s):
    points, h = points_of(mask, s), 1e-5
    values = np.random.default_rng(0).random(len(points.col))
    numerical = (points.record(values, 1.3 + h) - points.record(values, 1.3 - h)) / (2 * h)
    np.testing.assert_allclose(points.record_slope(values, 1.3), numerical, atol=1e-8)


def test_pixels_are_where_the_mask_says(mask):
    row, col = np.nonzero(mask)
    points = points_of(mask, 2)
    np.testing.assert_allclose(points.pixel_col, ORIGIN[0] + PIXEL * col)
    np.testing.assert_allclose(points.pixel_row, ORIGIN[1] + PIXEL * row)


def test_what_a_frame_cuts_off_is_composed_where_the_blur_needs_it(mask):
    """The points are the same however much of the frame surrounds the compared pixels."""
    wide = points_of(mask, 2)
    cut = points_of(mask[2:, 6:], 2, origin=(ORIGIN[0] + 6 * PIXEL, ORIGIN[1] + 2 * PIXEL))
    np.testing.assert_allclose(cut.col, wide.col)
    np.testing.assert_allclose(cut.row, wide.row)


def test_a_compared_pixel_outside_the_disc_is_composed_too(mask):
    mask[22, 29] = True
    points = points_of(mask, 1)
    assert points.pixel_col[-1] == ORIGIN[0] + 29 * PIXEL
    assert points.pixel_col[-1] in points.col[points.row == points.pixel_row[-1]]
    assert points.col.max() > points.pixel_col[-1]  # what the blur brings in


def test_nothing_to_compare_is_nothing():
    points = points_of(np.zeros(SHAPE, bool), 2)
    assert len(points.pixel_col) == 0 and len(points.record(np.ones(len(points.col)), 1.0)) == 0


def test_kernels_equal_their_plain_python(mask, plain_python):
    points = points_of(mask, 3)
    values = np.random.default_rng(1).random(len(points.col))
    images = np.random.default_rng(2).random((4, len(points.col))).astype(np.float32)
    compiled, moved = points.record(values, 0.4), points.record_moved(images, 0.9, (0.3, -0.2))
    rows = points.record_rows(images, 0.9, (0.3, -0.2))
    assert plain_python(raster) == 14
    np.testing.assert_allclose(points.record(values, 0.4), compiled, atol=1e-12)
    np.testing.assert_allclose(points.record_moved(images, 0.9, (0.3, -0.2)), moved, atol=1e-6)
    np.testing.assert_allclose(points.record_rows(images, 0.9, (0.3, -0.2)), rows, atol=1e-6)
    np.testing.assert_allclose(rows, moved[:4], atol=1e-6)  # the same without derivatives


def test_a_moved_pattern_is_that_of_a_moved_kernel(mask):
    """Without a shift as it is recorded; with a whole fine pixel as the pattern's neighbour is."""
    points = points_of(mask, 3)
    images = np.zeros((4, len(points.col)), np.float32)
    images[:] = np.random.default_rng(3).random(len(points.col))
    found = points.record_moved(images, 0.9, (0.0, 0.0))
    for row in found[:4]:
        np.testing.assert_allclose(row, points.record(images[0], 0.9), atol=1e-5)
    np.testing.assert_allclose(found[6], points.record_slope(images[0], 0.9), atol=1e-5)
    (shifted,) = points.record_rows(images[:1], 0.9, (1.0, 0.0))
    one = np.roll(points.image(images[0]), 1, axis=1)
    inner = np.abs(shifted - points.record(one.ravel()[points.points], 0.9)) < 1e-6
    assert inner.mean() > 0.7  # at the rim of the points something comes in


@pytest.mark.parametrize("axis", [0, 1])
def test_slopes_along_a_shift_are_finite_differences(mask, axis):
    points, step = points_of(mask, 3), 1e-2  # of numbers of seven digits
    images = np.zeros((4, len(points.col)), np.float32)
    images[0] = np.random.default_rng(4).random(len(points.col))
    at = np.array([0.21, -0.37])
    ends = []
    for side in (step, -step):
        moved = at.copy()
        moved[axis] += side
        ends += [*points.record_rows(images[:1], 0.9, tuple(moved))]
    slope = points.record_moved(images, 0.9, tuple(at))[4 + axis]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), atol=1e-4)
