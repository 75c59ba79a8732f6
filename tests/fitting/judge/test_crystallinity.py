"""The share of a frame's structure that a fit leaves."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.judge.crystallinity import crystallinity, structure_along_rings
from hybridfit.fitting.judge.settings import JUDGE

ROW, COL = np.indices((80, 80)) - 39.5
RADIUS = np.hypot(ROW, COL).ravel()
RADIAL = 100 * np.exp(-(RADIUS**2) / 800)
PETALS = RADIAL * np.cos(4 * np.arctan2(ROW, COL)).ravel()


def noise(level, seed=0):
    return np.random.default_rng(seed).normal(0, np.sqrt(level), RADIUS.size), np.full(RADIUS.size, level)


def structure_left(*arrays):
    return structure_along_rings(*arrays).share_left(JUDGE.grain)


@pytest.mark.parametrize("left", [0.1, 0.5, 1.0])
def test_it_is_the_share_of_the_variance_along_rings(left):
    grain, level = noise(4.0)
    found = structure_left(RADIAL + PETALS + grain, np.sqrt(left) * PETALS + grain, RADIUS, level)
    assert found == pytest.approx(left, rel=0.1)


def test_what_is_left_evenly_around_does_not_count():
    grain, level = noise(4.0)
    assert structure_left(RADIAL + PETALS + grain, 0.2 * RADIAL + grain, RADIUS, level) < 0.02


def test_noise_alone_is_no_structure():
    for seed in range(20):
        grain, level = noise(100.0, seed)
        assert structure_left(RADIAL + grain, grain, RADIUS, level) == 0


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_crystallinity_is_the_share_of_the_models_structure_that_is_there(share):
    grain, level = noise(4.0)
    found, error = crystallinity(RADIAL + share * PETALS + grain, RADIAL + PETALS, RADIUS, level, 1.0)
    assert found == pytest.approx(share, abs=4 * error) and error < 0.01


def test_the_error_of_crystallinity_is_true():
    scores = []
    for seed in range(200):
        grain, level = noise(400.0, seed)
        share, error = crystallinity(RADIAL + 0.1 * PETALS + grain, RADIAL + 0.1 * PETALS, RADIUS, level, 1.0)
        scores.append((share - 1) / error)
    assert np.std(scores) == pytest.approx(1, abs=0.15) and abs(np.mean(scores)) < 0.25


def test_the_rim_of_a_disc_is_no_structure():
    disc = 100 / (1 + np.exp(2 * (RADIUS - 20)))
    flat = 60 / (1 + np.exp(2 * (RADIUS - 20)))
    grain, level = noise(1.0)
    model = disc + 0.02 * PETALS
    share, error = crystallinity(flat + grain, model, RADIUS, level, 1.0)
    assert abs(share) < 0.2 and error < 0.05
    assert crystallinity(flat + grain, np.ones_like(disc), RADIUS, level, 1.0) == (0.0, np.inf)
