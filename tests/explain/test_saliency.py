"""Saliency: a correct gradient, on the frame's own pixels, within the network's view."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Fitter
from hybridfit.errors import InputError
from hybridfit.explain import saliency
from hybridfit.explain.crop import read_crop
from hybridfit.explain.reading import Reader
from hybridfit.explain.settings import SaliencySettings
from hybridfit.frame import Frame
from hybridfit.network.crop import PIXEL, crops

SEMI_ANGLE = 13.6
SEEN = 7.5  # mrad beyond the direct disc


@pytest.fixture(scope="module")
def maps(frame, cnn):
    return saliency(frame, cnn)


@pytest.fixture(scope="module")
def answer(frame, cnn):
    """answer(image) → thickness and tilt in the camera's frame, the alignment of the frame held."""
    import torch

    crop, seeder = read_crop(frame, cnn)
    reader = Reader(seeder)
    centre, scale = np.array([[crop.camera.centre_x, crop.camera.centre_y]]), np.array([crop.camera.scale])
    near = reader.near(torch.as_tensor(crop.pixels))

    def read(image):
        with torch.no_grad():
            return reader.values(torch.as_tensor(crops(image, frame.valid, centre, scale)), near)[0].numpy()

    return read


def test_gradient_against_finite_differences(frame, maps, answer):
    """In many directions, because kinks of the network change a single difference by some per cent."""
    slopes = np.concatenate([maps.thickness_gradient.values[None], maps.tilt_gradient.values])
    differences, expected = [], []
    for seed in range(8):
        step = np.random.default_rng(seed).normal(size=frame.image.shape)
        # smooth, so that the difference is larger than rounding errors
        step = step.cumsum(axis=0).cumsum(axis=1)
        step = 0.004 * frame.image * step / np.abs(step).max()
        differences.append((answer(frame.image + step) - answer(frame.image - step)) / 2)
        expected.append((slopes * step).sum(axis=(1, 2)))
    size = np.sqrt(np.mean(np.square(expected), axis=0))
    assert size.min() > 1e-3
    assert (np.sqrt(np.mean(np.square(np.subtract(differences, expected)), axis=0)) < 0.05 * size).all()


def test_the_answer_is_that_of_the_network(frame, cnn, maps):
    result = cnn.fit(frame)
    assert maps.attrs["thickness_nm"] == pytest.approx(result.thickness, abs=0.3)
    tilt = np.hypot(maps.attrs["tilt_col_mrad"], maps.attrs["tilt_row_mrad"])
    assert tilt == pytest.approx(np.hypot(*result.tilt), abs=0.15)
    angle = np.deg2rad(result["rotation"].value)
    x, y = result.tilt
    assert maps.attrs["tilt_col_mrad"] == pytest.approx(np.cos(angle) * x - np.sin(angle) * y, abs=0.2)


def test_nothing_beyond_what_the_network_sees_nor_on_masked_pixels(frame, maps):
    beyond = maps.radius.values > SEMI_ANGLE + SEEN + 2 * PIXEL
    assert beyond.sum() > 1000 and (~frame.valid).sum() >= 144
    for name in ("thickness", "tilt", "thickness_gradient", "tilt_gradient"):
        values = maps[name].values
        assert np.isfinite(values).all()
        assert not values[..., beyond].any() and not values[..., ~frame.valid].any()


def test_it_is_concentrated_in_the_pattern(maps):
    inside = maps.radius.values < SEMI_ANGLE
    for name in ("thickness", "tilt"):
        share = maps[name].values[inside].sum() / maps[name].values.sum()
        assert share > 1.3 * inside.sum() / (maps.radius.values < SEMI_ANGLE + SEEN).sum()


def test_the_map_is_where_the_disc_is(frame, cnn, maps):
    moved = Frame(np.roll(frame.image, (5, -4), (0, 1)), np.roll(frame.valid, (5, -4), (0, 1)), "moved")
    again = saliency(moved, cnn)
    a, b = np.roll(maps.thickness.values, (5, -4), (0, 1)), again.thickness.values
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97


def test_finer_pixels_say_the_same(frame, cnn, maps):
    fine = Frame(np.kron(frame.image, np.ones((2, 2))), np.kron(frame.valid, np.ones((2, 2))) > 0, "fine")
    again = saliency(fine, cnn)
    assert again.thickness.shape == fine.image.shape
    assert float(again.thickness.sum()) / 4 == pytest.approx(float(maps.thickness.sum()), rel=0.1)


def test_smooth_is_the_gradient_but_for_the_noise(frame, cnn, maps):
    few = SaliencySettings(copies=3)
    smooth = saliency(frame, cnn, method="smooth", settings=few)
    a, b = smooth.thickness.values.ravel(), maps.thickness.values.ravel()
    assert 0.7 < np.corrcoef(a, b)[0, 1] < 1 and smooth.attrs["method"] == "smooth"
    again = saliency(frame, cnn, method="smooth", settings=few)
    assert np.array_equal(again.thickness, smooth.thickness)


def test_dark_pixels_have_finite_slopes(cnn, simulated):
    few = np.random.default_rng(0).poisson(simulated[0].image * 1e4 / simulated[0].image.sum())
    maps = saliency(few.astype(float), cnn)
    assert (few == 0).mean() > 0.2
    assert np.isfinite(maps.thickness_gradient).all() and float(maps.thickness.max()) > 0


def test_units_and_names(maps):
    assert maps.thickness.attrs == {"units": "nm mrad-2", "long_name": "saliency of thickness"}
    assert maps.tilt.attrs["units"] == "mrad mrad-2" and maps.tilt_gradient.dims == (
        "component",
        "row",
        "col",
    )
    assert np.isnan(maps.image.values[:12, :12]).all()


def test_what_cannot_be_asked(frame, cnn, library):
    with pytest.raises(
        InputError, match="unknown method 'lime' of saliency; the methods are gradient, smooth"
    ):
        saliency(frame, cnn, method="lime")
    with pytest.raises(InputError, match="this fitter asks no network"):
        saliency(frame, Fitter(library, SEMI_ANGLE, method="lsf"))
