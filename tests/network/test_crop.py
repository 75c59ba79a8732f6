"""Crops of frames: areas, axes, edges and masks."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hybridfit.network import crop as crop_module
from hybridfit.network.crop import CROP, PIXEL, CropGrid, axis, crops, weights


def frame(shape, centre, scale):
    """A smooth picture that is a function of the angle alone: 2 + sin(x/5) + cos(y/7) + xy/900."""
    row, col = np.indices(shape)
    x, y = (col - centre[0]) / scale, (row - centre[1]) / scale
    return 2 + np.sin(x / 5) + np.cos(y / 7) + x * y / 900


@pytest.mark.parametrize("scale", [0.7, 1.3, 4.1, 12.0])
def test_every_camera_gives_the_same_crop(scale):
    centre = np.array([33 * scale, 31.2 * scale])
    shape = (int(65 * scale), int(70 * scale))
    image = frame(shape, centre, scale)
    crop = crops(image, np.ones(shape, bool), centre[None], np.array([scale]))
    x, y = np.meshgrid(axis(), axis())
    assert crop.shape == (1, 2, CROP, CROP) and crop.dtype == np.float32
    assert (crop[0, 1] > 0.999).all()
    assert crop[0, 0] == pytest.approx(2 + np.sin(x / 5) + np.cos(y / 7) + x * y / 900, abs=0.02)


def test_a_crop_pixel_is_the_mean_of_its_area():
    rng = np.random.default_rng(1)
    scale = 4 / PIXEL  # four pixels of the frame make one of the crop
    image = rng.random((CROP * 4, CROP * 4))
    middle = np.full((1, 2), (CROP * 4 - 1) / 2)
    crop = crops(image, np.ones(image.shape, bool), middle, np.array([scale]))[0, 0]
    assert crop == pytest.approx(image.reshape(CROP, 4, CROP, 4).mean(axis=(1, 3)), abs=1e-5)


def test_pixels_of_a_crop_may_be_finer():
    """Where the frame is finer still, those of the usual crop are the means of four."""
    rng = np.random.default_rng(4)
    image = rng.random((400, 420))
    there, scale = np.ones(image.shape, bool), np.array([7.0])
    usual = crops(image, there, np.array([[208.3, 196.1]]), scale)
    fine = crops(image, there, np.array([[208.3, 196.1]]), scale, CropGrid(2 * CROP, PIXEL / 2))
    assert fine.shape == (1, 2, 2 * CROP, 2 * CROP)
    assert usual == pytest.approx(fine.reshape(1, 2, CROP, 2, CROP, 2).mean(axis=(3, 5)), abs=1e-5)
    assert axis(CropGrid(2, 3.0)).tolist() == [-1.5, 1.5]


def test_masked_pixels_do_not_count_and_beyond_the_edge_there_is_nothing():
    image = np.full((100, 120), 3.0)
    valid = np.ones(image.shape, bool)
    image[40:44, 50:54], valid[40:44, 50:54] = np.nan, False
    crop = crops(image, valid, np.array([[30.0, 50.0]]), np.array([2.0]))[0]
    known = crop[1] > 0
    assert crop[0][known] == pytest.approx(3, abs=1e-5)
    assert (crop[0][~known] == 0).all()
    x, y = np.meshgrid(axis(), axis())
    assert not known[x < -16].any()
    assert not known[(np.abs(x - 10.75) < 0.4) & (np.abs(y + 4.25) < 0.4)].any()
    assert known[(x > -14) & (np.hypot(x - 10.75, y + 4.25) > 2.5) & (np.abs(y) < 24)].all()


def test_many_discs_and_frames_are_those_of_one():
    rng = np.random.default_rng(2)
    images, masks = rng.random((3, 90, 80)), rng.random((3, 90, 80)) > 0.05
    centres, scales = rng.uniform(30, 50, (3, 4, 2)), rng.uniform(1, 3, (3, 4))
    together = crops(images, masks, centres, scales)
    for i in range(3):
        for j in range(4):
            alone = crops(images[i], masks[i], centres[i, j][None], scales[i, j][None])[0]
            assert together[i, j] == pytest.approx(alone, abs=1e-5)
    assert crops(images, masks[0], centres, scales)[0] == pytest.approx(together[0], abs=1e-6)


def test_disc_outside_the_frame_gives_an_empty_crop():
    crop = crops(np.ones((40, 40)), np.ones((40, 40), bool), np.array([[500.0, 20.0]]), np.array([1.0]))
    assert not crop.any()


def test_weights_add_up_to_one_inside():
    first, w = weights(np.array([60.0, 70.0]), np.array([1.5, 0.8]), 130)
    assert w.sum(axis=2) == pytest.approx(1, abs=1e-5)
    # and their centre of mass is where the pixel is, which makes linear interpolation of the narrow ones
    where = (w * (first[..., None] + np.arange(w.shape[2]))).sum(axis=2)
    assert where == pytest.approx(np.array([[60.0], [70.0]]) + axis() * [[1.5], [0.8]], abs=1e-4)


def test_kernel_against_its_plain_python_self(plain_python):
    rng = np.random.default_rng(3)
    arguments = (rng.random((30, 34)), rng.random((30, 34)) > 0.1, np.array([[16.0, 14.0]]), np.array([0.6]))
    compiled = crops(*arguments)
    assert plain_python(crop_module) == 1
    assert crops(*arguments) == pytest.approx(compiled, abs=1e-5)


def test_one_frame_takes_milliseconds():
    image, mask = np.random.default_rng(0).random((256, 256)), np.ones((256, 256), bool)
    arguments = (image, mask, np.array([[128.0, 128.0]]), np.array([4.0]))
    crops(*arguments)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        crops(*arguments)
        times.append(time.perf_counter() - start)
    assert min(times) < 3e-3
