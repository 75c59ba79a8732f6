"""The weights that come with hybridfit belong to the libraries that come with it."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.library.build import VERSION
from hybridfit.library.recipe import Recipe, shipped_names
from hybridfit.network.crop import CROP
from hybridfit.network.settings import OtherPhysics, Physics, WeightsSettings
from hybridfit.network.weights import Network, shipped_path

NAMES = [name for name in shipped_names() if shipped_path(name).is_file()]


def test_there_are_weights():
    assert "SrTiO3_001_200kV" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_they_were_trained_on_the_shipped_crystal(name):
    network, recipe = Network.shipped(name), Recipe.shipped(name)
    origin = network.origin
    assert (origin.zone, origin.energy_kv) == (recipe.zone, recipe.energy_kv)
    assert origin.thickness == (recipe.thickness.start, recipe.thickness.stop)
    assert origin.semi_angle[1] == recipe.semi_angle_max and origin.tilt_max == recipe.tilt_max
    assert shipped_path(name).stat().st_size < 20e6
    assert shipped_path(name).with_suffix(".png").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_they_may_be_used_on_libraries_of_this_version(name):
    """Those that were trained on an older physics are listed, with the study that measured them."""
    origin, settings = Network.shipped(name).origin, WeightsSettings()
    mine, its = (
        Physics(origin.checksum, origin.library_version),
        Physics(Recipe.shipped(name).checksum(), VERSION),
    )
    assert mine == its or OtherPhysics(mine, its) in settings.other_physics


def test_none_is_listed_without_need():
    shipped = [Physics(Recipe.shipped(name).checksum(), VERSION) for name in NAMES]
    assert all(listed.used_on in shipped for listed in WeightsSettings().other_physics)


@pytest.mark.parametrize("name", NAMES)
def test_they_say_how_they_were_made(name):
    record = Network.shipped(name).origin.record
    assert record["samples"] > 100_000 and len(record["history"]) > 10
    assert {"seed", "minutes", "batch"} <= set(record["plan"])
    assert record["held_back"]["thickness_3nm"] > 0.9 and record["held_back"]["tilt_1mrad"] > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_add_up(name):
    said = Network.shipped(name).predict(np.random.default_rng(0).random((3, 2, CROP, CROP)), 16.0)
    np.testing.assert_allclose(said.thickness.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(said.tilt.sum(axis=(1, 2)), 1, rtol=1e-5)
