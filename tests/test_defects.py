"""What a camera did not measure is found, masked and said; what it did measure is left alone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hybridfit import Fitter, simulate_frame
from hybridfit.defects import mean_of, no_data, unmeasured
from hybridfit.frame import make_frame
from hybridfit.io import open_scan
from hybridfit.scan.positions import Positions

CASES = Path(__file__).parents[1] / "../shared/cases/files/layout"


def cross(shape, width):
    """A cross of lines of a width, through the middle."""
    mask = np.zeros(shape, bool)
    rows, cols = ((n - width) // 2 for n in shape)
    mask[rows : rows + width] = mask[:, cols : cols + width] = True
    return mask


def box(shape, rows, cols):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*cols)] = True
    return mask


def reaches(mask, frame, spare=0.1):
    """Whether a frame leaves out a mask, and little else (of the mask)."""
    extra = np.count_nonzero(~frame.valid & ~mask)
    return not frame.valid[mask].any() and extra <= spare * np.count_nonzero(mask) + 3


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize("electrons", [3, 30, 3000])
@pytest.mark.parametrize("value", [0, 65535, -1, -2, 2**32 - 1])
@pytest.mark.parametrize("width", [1, 3, 5])
def test_gaps_between_chips(counts, electrons, value, width):
    image = counts(electrons, 128, 128)
    mask = cross(image.shape, width)
    frame = make_frame(np.where(mask, value, image))
    np.testing.assert_array_equal(frame.valid, make_frame(image, mask=mask).valid)
    assert reaches(mask, frame)
    words = f"{mask.sum()} px masked: a cross of {width} row"
    assert frame.note.startswith(words)


@pytest.mark.parametrize("dtype", ["u2", "i4", "u4", "f4", "f8", ">u2", ">f4"])
def test_gaps_in_any_type(counts, dtype):
    image = counts(100, 128, 128)
    mask = cross(image.shape, 3)
    value = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else np.nan
    array = image.astype(dtype)
    array[mask] = value
    np.testing.assert_array_equal(make_frame(array).valid, ~mask)


def test_dead_rows_and_padding(counts):
    image = counts(50, 128, 128)
    mask = box(image.shape, (40, 41), (0, 128)) | box(image.shape, (0, 128), (90, 92))
    mask |= box(image.shape, (0, 6), (0, 128))
    frame = make_frame(np.where(mask, 0, image))
    np.testing.assert_array_equal(frame.valid, ~mask)


def test_half_a_row_is_found(counts):
    image = counts(300, 128, 128)
    mask = box(image.shape, (60, 61), (0, 64))
    frame = make_frame(np.where(mask, 0, image))
    assert reaches(mask, frame) and "part of a line" in frame.note


# ---------------------------------------------------------------- beam stops and clusters


@pytest.mark.parametrize("electrons", [30, 300, 30000])
@pytest.mark.parametrize("value", [0, 7])
def test_beam_stops(counts, electrons, value):
    image = counts(electrons, 128, 128)
    mask = box(image.shape, (0, 75), (46, 58))
    if value and electrons < 300:
        pytest.skip("electrons are counted one by one, so that seven are no sign")
    frame = make_frame(np.where(mask, value, image))
    assert reaches(mask, frame, 0.5) and "a beam stop" in frame.note


def test_dead_clusters(counts):
    image = counts(200, 128, 128)
    mask = box(image.shape, (70, 74), (50, 53)) | box(image.shape, (60, 65), (60, 65))
    assert reaches(mask, make_frame(np.where(mask, 0, image)))


@pytest.mark.parametrize("side", [3, 5])
def test_hot_clusters(counts, side):
    image = counts(200, 128, 128)
    mask = box(image.shape, (70, 70 + side), (50, 50 + side)) | box(image.shape, (9, 9 + side), (9, 9 + side))
    frame = make_frame(np.where(mask, 5 * image.max(), image))
    assert not frame.valid[mask].any() and "hot pixels" in frame.note
    assert np.count_nonzero(~frame.valid) <= 2 * (side + 2) ** 2 + 3


# ---------------------------------------------------------------- what is measured


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("electrons", [0.3, 1, 3, 10, 30, 300, 1e5])
def test_patterns_are_left_alone(counts, electrons, seed):
    for shape in ((96, 80), (256, 256)):
        frame = make_frame(counts(electrons, *shape, seed=seed))
        assert frame.note == "" and frame.valid.mean() > 0.999


@pytest.mark.parametrize("share", [5, 20, 40])
def test_a_clipped_dark_field_is_left_alone(counts, share):
    image = counts(1000, 128, 128).astype(float)
    clipped = np.clip(image - np.percentile(image, share), 0, None)
    assert np.count_nonzero(~make_frame(clipped).valid) < 0.02 * clipped.size


def test_dark_subtracted_frames_are_left_alone(counts):
    rng = np.random.default_rng(3)
    image = counts(100, 128, 128)
    for frame in (image - rng.poisson(2, image.shape), image - rng.normal(0, 3, image.shape)):
        assert make_frame(frame).note == ""


def test_a_narrow_disc_is_no_hot_cluster():
    y, x = np.mgrid[:256, :256] - 127.5
    image = np.random.default_rng(0).poisson(2 + 500 / (1 + np.exp(2 * (np.hypot(x, y) - 9))))
    assert make_frame(image).note == ""


# ---------------------------------------------------------------- binning and averaging


def test_pixels_without_data():
    assert no_data(np.zeros((2, 2), "u2")) is None and no_data(np.zeros((2, 2), "f4")) is None
    assert no_data(np.array([[1, 2**32 - 1]], "u4")).tolist() == [[False, True]]
    assert no_data(np.array([[1, np.nan]])).tolist() == [[False, True]]


def test_a_mean_leaves_out_what_is_missing():
    frames = np.array([[[1, 5, np.nan]], [[3, np.nan, np.nan]]])
    mean, none = mean_of(frames)
    np.testing.assert_array_equal(mean, [[2, 5, 0]])
    np.testing.assert_array_equal(none, [[False, False, True]])
    whole, none = mean_of(np.ones((3, 2, 2), "u2"))
    assert none is None and (whole == 1).all()


def test_what_is_not_measured_before_binning(counts):
    image = counts(100, 128, 128)
    mask = cross(image.shape, 3)
    found = unmeasured(np.where(mask, 0, image))
    np.testing.assert_array_equal(found.mask, mask)
    assert unmeasured(np.where(mask, 0, image), mask).note == ""


@pytest.mark.parametrize("options", [{"bin": 2}, {"average": 2}, {"average": 2, "bin": 2}], ids=str)
@pytest.mark.parametrize(("dtype", "value"), [("u4", 2**32 - 1), ("f4", np.nan), ("i4", -1), ("u2", 65535)])
def test_sentinels_are_not_mixed_with_their_neighbours(counts, tmp_path, options, dtype, value):
    frames = np.stack([counts(100, 128, 128, seed=i) for i in range(4)]).reshape(2, 2, 128, 128)
    scan = frames.astype(dtype)
    scan[..., 61:64, :] = value
    np.save(tmp_path / "scan.npy", scan)
    frame = Positions(open_scan(tmp_path / "scan.npy"), **options).frames([(0, 0)])[0]
    b = options.get("bin", 1)
    clean = frames.mean(axis=(0, 1)) if "average" in options else frames[0, 0].astype(float)
    clean[61:64] = np.nan
    with np.errstate(invalid="ignore"):
        blocks = clean.reshape(128 // b, b, 128 // b, b)
        there = np.isfinite(blocks).sum(axis=(1, 3))
        expected = np.nansum(blocks, axis=(1, 3)) / np.maximum(there, 1)
    assert frame.note and not frame.valid[there == 0].any()
    np.testing.assert_allclose(frame.image[frame.valid], expected[frame.valid], rtol=1e-6)
    assert frame.valid[there > 0].mean() > 0.99


# ---------------------------------------------------------------- the answer


@pytest.mark.parametrize("kind", ["cross", "stop"])
def test_a_fit_with_what_was_found_is_that_with_the_mask(small_library, kind):
    values = {"thickness": 31.3, "tilt": (0.3, -0.4), "semi_angle": 9.0, "shape": (96, 96)}
    image = simulate_frame(small_library, **values, electrons=1e6)[0]
    mask = cross(image.shape, 3) if kind == "cross" else box(image.shape, (0, 52), (44, 52))
    fitter = Fitter(small_library.window(31.3, half_widths=(8.0, 1.0)), 9.0, method="lsf", workers=1)
    found, masked = (
        fitter.fit(each) for each in (make_frame(np.where(mask, 0, image)), make_frame(image, mask=mask))
    )
    assert found.status == masked.status and re.search(r"\d+ px masked", found.message)
    assert "px masked" not in masked.message
    thickness = found.parameters["thickness"].value
    assert thickness == pytest.approx(masked.parameters["thickness"].value, abs=0.1)


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases")
def test_case_files():
    gap = np.load(CASES / "u2_gap_65535.npy")
    for image in gap.reshape(-1, 128, 128):
        frame = make_frame(image)
        np.testing.assert_array_equal(frame.valid, image != 65535)
        assert "4 rows" in frame.note
    nan = np.load(CASES / "empad_like_one_nan.npy").reshape(-1, 128, 128)
    notes = [make_frame(image).note for image in nan]
    assert sorted(notes)[-1] == "1 px masked: NaN or infinite" and notes.count("") == len(notes) - 1
