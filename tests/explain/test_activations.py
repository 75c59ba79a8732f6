"""Activations: the maps of the layers, as a forward pass makes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridfit.errors import InputError
from hybridfit.explain import activations
from hybridfit.explain.crop import read_crop
from hybridfit.network.architecture import represent
from hybridfit.network.conversion import folded
from hybridfit.network.crop import CROP, PIXEL

SEMI_ANGLE = 13.6
LAYERS = ("input", "stem", "stages.0", "stages.1", "stages.2", "squeeze")


@pytest.fixture(scope="module")
def maps(frame, cnn):
    return activations(frame, cnn, layers=LAYERS)


def test_shapes_are_those_of_the_layers(maps, network):
    first, second, third, _ = network.architecture.widths
    assert [maps[name].shape for name in LAYERS] == [
        (3, CROP, CROP),
        (first, CROP // 2, CROP // 2),
        (second, CROP // 4, CROP // 4),
        (second, CROP // 4, CROP // 4),
        (third, CROP // 8, CROP // 8),
        (network.architecture.squeezed, CROP // 16, CROP // 16),
    ]
    assert all(layer.dims == ("map", "y", "x") for layer in maps.values())


def test_they_are_those_of_a_forward_pass(frame, cnn, network, maps):
    module = folded(network.module)
    crop, seeder = read_crop(frame, cnn)
    alpha = torch.full((1,), seeder.semi_angle)
    with torch.no_grad():
        x = represent(torch.as_tensor(crop.pixels[None]), alpha)
        assert np.allclose(maps["input"], x[0], atol=1e-5)
        x = torch.relu(module.stem(x) + module.place)
        assert np.allclose(maps["stem"], x[0], atol=1e-4)
        for i, stage in enumerate(module.stages):
            x = stage(x)
            if f"stages.{i}" in maps:
                assert np.allclose(maps[f"stages.{i}"], x[0], atol=1e-3)
        assert np.allclose(maps["squeeze"], module.squeeze(x)[0], atol=1e-3)
    assert all(float(layer.std()) > 0 for layer in maps.values())


def test_positions_follow_the_strides(maps):
    assert maps["stem"].x.values[1] - maps["stem"].x.values[0] == pytest.approx(2 * PIXEL)
    assert maps["stem"].x.values == pytest.approx(-maps["stem"].x.values[::-1])
    # a convolution of stride 2 is centred on every other pixel, from the first
    assert maps["stages.0"].y.values == pytest.approx(maps["stem"].y.values[::2])
    assert maps["squeeze"].y.values == pytest.approx(maps["stem"].y.values[::8])


def test_the_aperture_is_where_it_is_said_to_be(maps):
    aperture = maps["input"].isel(map=1)
    radius = np.hypot(aperture.x, aperture.y)
    assert (aperture.values[radius.values < SEMI_ANGLE - PIXEL] == 1).all()
    assert (aperture.values[radius.values > SEMI_ANGLE + PIXEL] == 0).all()


@pytest.mark.parametrize("layers", [("stem", "stages.99"), (), "stem"])
def test_layers_that_there_are_not(frame, cnn, layers):
    with pytest.raises(InputError, match=r"they are input, stem, stages\.0, .*, squeeze"):
        activations(frame, cnn, layers=layers)
