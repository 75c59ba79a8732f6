"""Modes: odds, and samples that reproduce them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.fitting.modes import (
    Mode,
    covariance_of,
    in_canonical_frame,
    log_volume,
    odds_of,
    samples_json,
    samples_of,
)

NAMES = ("thickness", "tilt_x", "scale")
WIDE = np.array([[0.0, 200.0], [-9.0, 9.0], [0.0, 99.0]])


def mode(thickness: float, odds: float, bounds=WIDE) -> Mode:
    root = np.array([[0.5, 0, 0], [0.08, 0.06, 0], [0.01, 0, 0.02]])
    return Mode(NAMES, np.array([thickness, 0.4, 5.0]), root @ root.T, odds, bounds)


def test_samples_have_the_mean_the_covariance_and_the_odds():
    modes = [mode(40.0, 0.7), mode(61.0, 0.3)]
    found = samples_of(modes, 40_000, 5, {})
    assert found.sizes["sample"] == 40_000
    of_first = found["mode"].values == 0
    assert of_first.mean() == pytest.approx(0.7, abs=0.01)
    values = np.stack([found[name].values for name in NAMES])
    for i, each in enumerate(modes):
        own = values[:, found["mode"].values == i]
        assert np.allclose(own.mean(axis=1), each.mean, atol=0.02)
        assert np.allclose(np.cov(own), each.covariance, rtol=0.06, atol=2e-4)
    assert found["odds"].values.tolist() == pytest.approx([0.7, 0.3])


def test_samples_have_names_and_units():
    found = samples_of([mode(40.0, 1.0)], 10, 0, {})
    assert found["thickness"].attrs["units"] == "nm"
    assert found["tilt_x"].attrs["units"] == "mrad"
    assert found["tilt_x"].attrs["long_name"]


def test_a_seed_repeats_samples():
    modes = [mode(40.0, 0.5), mode(50.0, 0.5)]
    assert samples_of(modes, 50, 1, {}).equals(samples_of(modes, 50, 1, {}))
    assert not samples_of(modes, 50, 1, {}).equals(samples_of(modes, 50, 2, {}))


def test_samples_stay_within_bounds():
    bounds = np.array([[39.9, 200.0], [-9.0, 9.0], [0.0, 99.0]])
    thickness = samples_of([mode(40.0, 1.0, bounds)], 2000, 0, {})["thickness"].values
    assert thickness.min() >= 39.9 and thickness.max() > 41


@pytest.mark.parametrize("n", [0, -3, 2.5, True, "7"])
def test_what_is_no_number_of_samples_is_refused(n):
    with pytest.raises(InputError, match="number of samples"):
        samples_of([mode(40.0, 1.0)], n, 0, {})


def test_json_has_the_names_of_the_answer():
    out = json.loads(json.dumps(samples_json(samples_of([mode(40.0, 1.0)], 3, 0, {}))))
    assert set(out) == {"thickness_nm", "tilt_x_mrad", "scale_px_per_mrad", "mode", "odds"}
    assert len(out["thickness_nm"]) == 3


def test_mirroring_twice_changes_nothing():
    one = mode(40.0, 0.6)
    twice = one.mirrored("tilt_x").mirrored("tilt_x")
    assert np.array_equal(twice.mean, one.mean) and np.array_equal(twice.covariance, one.covariance)
    other = one.mirrored("tilt_x")
    assert other.mean[1] == -0.4 and other.covariance[0, 1] == -one.covariance[0, 1]


def test_odds_are_ratios_of_weights():
    assert odds_of([-1000.0, -1000.0 - np.log(3)]).tolist() == pytest.approx([0.75, 0.25])


def test_the_volume_is_that_of_a_gaussian():
    root = np.random.default_rng(0).normal(size=(4, 4)) * np.array([1e-3, 1, 40, 1e3])[:, None]
    covariance = root @ root.T
    information = np.linalg.inv(covariance)
    expected = 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    assert log_volume(information) == pytest.approx(expected, abs=1e-3)
    assert np.allclose(covariance_of(information), covariance, rtol=1e-3)


def test_turning_the_crystal_turns_tilt_and_covariance():
    names = ("tilt_x", "tilt_y", "rotation")
    covariance = np.diag([1.0, 4.0, 9.0])
    values, turned = in_canonical_frame(
        names, {"tilt_x": 1.0, "tilt_y": 0.2, "rotation": 100.0}, covariance, 4
    )
    assert values["rotation"] == pytest.approx(10.0)
    before = complex(1.0, 0.2) * np.exp(1j * np.deg2rad(100))
    assert complex(values["tilt_x"], values["tilt_y"]) * np.exp(1j * np.deg2rad(10)) == pytest.approx(before)
    assert np.diag(turned) == pytest.approx([4.0, 1.0, 9.0])
