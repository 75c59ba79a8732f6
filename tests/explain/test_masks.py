"""Masks: the pixels that they change, and those that they leave."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.explain import mask_annulus
from hybridfit.frame import make_frame

CENTRE, SCALE = (38.5, 44.0), 2.0


@pytest.fixture(scope="module")
def pixels(counts):
    mask = np.zeros((96, 80), bool)
    mask[40:50, 50:60] = True
    return make_frame(counts(400.0), mask=mask)


@pytest.fixture(scope="module")
def radius(pixels):
    row, col = np.indices(pixels.image.shape)
    return np.hypot(col - CENTRE[0], row - CENTRE[1]) / SCALE


def test_the_annulus_is_flat_and_the_rest_is_as_it_was(pixels, radius):
    masked = mask_annulus(pixels, CENTRE, 5.0, 8.0, scale=SCALE)
    inside = (radius >= 5) & (radius < 8)
    assert np.ptp(masked.image[inside & pixels.valid]) == 0
    assert np.array_equal(masked.image[~inside], pixels.image[~inside])
    assert np.array_equal(masked.valid, pixels.valid) and masked.source == pixels.source
    assert np.ptp(pixels.image[inside & pixels.valid]) > 0  # the given frame is unchanged


def test_the_total_of_the_valid_pixels_stays(pixels):
    image = np.where(pixels.valid, pixels.image, 1e9)  # must not count
    marked = type(pixels)(image, pixels.valid, "marked")
    masked = mask_annulus(marked, CENTRE, 3.0, 12.0, scale=SCALE)
    total, before = (frame.image[pixels.valid].sum() for frame in (masked, marked))
    assert total == pytest.approx(before, rel=1e-12)
    assert masked.image[pixels.valid].max() < 1e6


def test_left_out_pixels_are_not_valid_and_others_are_as_before(pixels, radius):
    masked = mask_annulus(pixels, CENTRE, 0.0, 8.0, scale=SCALE, how="exclude")
    assert np.array_equal(masked.valid, pixels.valid & (radius >= 8))
    assert np.array_equal(masked.image, pixels.image)


def test_an_array_will_do(pattern):
    assert mask_annulus(pattern(), CENTRE, 2.0, 4.0, scale=SCALE).source == "array"


@pytest.mark.parametrize(
    ("inner", "outer", "message"),
    [
        (5.0, 5.0, "radii 5 and 5 mrad bound no annulus"),
        (5.0, 3.0, "give 0 ≤ inner < outer"),
        (-1.0, 3.0, "radii -1 and 3 mrad"),
        (1.0, float("inf"), "radii 1 and inf"),
        (float("nan"), 3.0, "radii nan and 3"),
        (80.0, 90.0, "holds no valid pixel of array, which reaches to 3.* mrad; radii are in mrad"),
    ],
)
def test_radii_that_bound_nothing(pixels, inner, outer, message):
    with pytest.raises(InputError, match=message) as caught:
        mask_annulus(pixels, CENTRE, inner, outer, scale=SCALE)
    assert "\n" not in str(caught.value)


def test_other_things_that_cannot_be(pixels):
    with pytest.raises(InputError, match="unknown way of masking 'blur'; the ways are mean, exclude"):
        mask_annulus(pixels, CENTRE, 1, 2, scale=SCALE, how="blur")
    with pytest.raises(InputError, match="scale 0 px/mrad are no camera"):
        mask_annulus(pixels, CENTRE, 1, 2, scale=0.0)
    with pytest.raises(InputError, match="no pixel of array is left"):
        mask_annulus(pixels, CENTRE, 0, 90, scale=SCALE, how="exclude")
