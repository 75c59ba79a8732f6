"""The share of a frame's structure that a fit leaves."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.structure import structure_left

ROW, COL = np.indices((80, 80)) - 39.5
RADIUS = np.hypot(ROW, COL).ravel()
RADIAL = 100 * np.exp(-(RADIUS**2) / 800)
PETALS = RADIAL * np.cos(4 * np.arctan2(ROW, COL)).ravel()


def noise(level, seed=0):
    return np.random.default_rng(seed).normal(0, np.sqrt(level), RADIUS.size), np.full(RADIUS.size, level)


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
