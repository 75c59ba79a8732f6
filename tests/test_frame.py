"""Frames: unusable arrays are refused, bad pixels are left out, good pixels are kept."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.frame import make_frame

pytestmark = pytest.mark.filterwarnings("error")


def refused(image: object, **options: object) -> str:
    """The message with which `make_frame` refuses."""
    with pytest.raises(InputError) as caught:
        make_frame(image, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.ones(99), "1 dimensions"),
        (np.ones((3, 99, 99)), "3 dimensions"),
        (1.0, "0 dimensions"),
        ([[1, 2], [3]], "not an array"),
        (np.ones((99, 99), complex), "complex128 values, not intensities; pass its intensity"),
        (np.full((99, 99), None), "object values"),
        (np.full((99, 99), "1"), "<U1 values"),
        (np.ones((99, 99), bool), "bool values"),
        (np.ones((15, 99)), "15 by 99 px; at least 16 px"),
        (np.ones((99, 0)), "99 by 0 px"),
        (np.zeros((99, 99)), "zero in every"),
        (np.full((99, 99), 7), "7 in every"),
    ],
)
def test_arrays_that_are_no_frames(image: object, words: str) -> None:
    message = refused(image, source="last-night")
    assert message.startswith("last-night") and words in message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 9.969209968386869e36])
def test_not_finite(pattern, bad: float) -> None:
    """Some pixels are masked, and said; a frame of which half is none is refused."""
    image = pattern()
    image[3:5, 7] = bad
    mask = np.zeros(image.shape, bool)
    mask[3:5, 7] = True
    for frame, note in (
        (make_frame(image), "2 px masked: NaN or infinite"),
        (make_frame(image, mask=mask), ""),
    ):
        np.testing.assert_array_equal(frame.valid, ~mask)
        assert np.isfinite(frame.image).all() and frame.note == note
    image[:50] = bad
    assert "4000 NaN or infinite pixels of 7680; mask them" in refused(image)


def test_masks(counts) -> None:
    image = counts(100)
    mask = np.zeros(image.shape, bool)
    mask[:, 40:43] = True
    for frame in (make_frame(image, mask=mask), make_frame(np.ma.array(image, mask=mask))):
        np.testing.assert_array_equal(frame.valid, ~mask)
        np.testing.assert_array_equal(frame.image, image)
    assert "no pixel left" in refused(image, mask=np.ones(image.shape, bool))
    assert "expected bool (96, 80)" in refused(image, mask=mask.T)
    assert "expected bool (96, 80)" in refused(image, mask=mask.astype(float))
    assert "zero in every usable pixel" in refused(np.where(mask, image, 0), mask=mask)


def test_the_array_is_copied_and_not_changed(pattern) -> None:
    image = pattern()
    before = image.copy()
    frame = make_frame(image)
    assert frame.source == "array" and not np.shares_memory(frame.image, image)
    np.testing.assert_array_equal(image, before)


def test_negative_values_are_allowed(counts) -> None:
    image = counts(100) - 25.0 + np.random.default_rng(1).normal(0, 2, (96, 80))
    assert image.min() < -25
    assert make_frame(image).valid.all()


@pytest.mark.parametrize(
    ("dtype", "level"), [("u1", 255), ("u2", 65535), ("u2", 4095), ("f4", 4095), ("f8", 1.0)]
)
def test_saturated_pixels_are_left_out(counts, dtype: str, level: float) -> None:
    truth = counts(1e5, 256, 240) * (1.15 * level / counts(1e5, 256, 240).max())
    image = np.minimum(truth, level).astype(dtype)
    clipped = truth >= level
    assert 0.01 < clipped.sum() / (truth > level / 2).sum() < 0.25
    np.testing.assert_array_equal(make_frame(image).valid, ~clipped)


@pytest.mark.parametrize(("dtype", "level"), [("u1", 255), ("u2", 4095), ("f8", 1.0)])
def test_saturated_discs_are_refused(counts, dtype: str, level: float) -> None:
    truth = counts(1e5) * (2 * level / counts(1e5).max())
    message = refused(np.minimum(truth, level).astype(dtype))
    assert "saturated" in message and "at most 25 %" in message and f"{level:g}" in message


def test_stuck_pixels_at_full_scale_do_not_condemn_a_frame(counts) -> None:
    image = counts(2000).astype("u2")
    image[20, 30:34] = 65535
    frame = make_frame(image)
    assert not frame.valid[20, 30:34].any() and (~frame.valid).sum() == 4


def test_pixels_without_data_of_32_bit_cameras(counts) -> None:
    image = counts(2000).astype("u4")
    image[40:44] = 2**32 - 1
    frame = make_frame(image)
    assert not frame.valid[40:44].any() and (~frame.valid).sum() == 4 * 80


@pytest.mark.parametrize("dose", [0.01, 0.03, 0.1, 0.3, 1, 2, 3, 10, 30, 100, 1e4])
@pytest.mark.parametrize("camera", ["counting", "scaled", "integrating"])
def test_shot_noise_is_never_flagged(counts, dose: float, camera: str) -> None:
    for seed in range(3):
        image = counts(dose, 128, 120, seed).astype(float)
        if camera == "scaled":
            image *= 0.0137
        elif camera == "integrating":
            image = 100 + 40 * image + np.random.default_rng(seed).normal(0, 3, image.shape)
        assert make_frame(image).valid.all()


def test_uniform_noise_of_one_electron_per_pixel_is_not_flagged() -> None:
    for seed in range(5):
        assert make_frame(np.random.default_rng(seed).poisson(1.0, (256, 256)).astype("u1")).valid.all()


@pytest.mark.parametrize("dose", [100, 1e4])
def test_hot_and_dead_pixels_are_left_out(counts, dose: float) -> None:
    image = counts(dose, 256, 240)
    expected = np.ones(image.shape, bool)
    for row, col, value in ((10, 12, 5 * dose), (30, 200, 0.9 * dose), (150, 96, 4 * dose), (0, 3, 2 * dose)):
        image[row, col] = value
        expected[row, col] = False
    for row, col in ((141, 96), (145, 100)):  # in the direct disc
        image[row, col] = 0
        expected[row, col] = False
    np.testing.assert_array_equal(make_frame(image).valid, expected)


def test_one_blazing_pixel_hides_no_other(counts) -> None:
    image = counts(1000).astype(float)
    image[20, 20], image[24, 27] = 1e9, 3000
    assert np.argwhere(~make_frame(image).valid).tolist() == [[20, 20], [24, 27]]


def test_a_pixel_that_always_fires_among_single_electrons(counts) -> None:
    image = counts(0.2, 256, 240).astype("u2")
    image[77, 33] = 900
    assert np.argwhere(~make_frame(image).valid).tolist() == [[77, 33]]
