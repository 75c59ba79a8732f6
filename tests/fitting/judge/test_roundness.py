"""Round patterns without a crystal: found wherever their centre is, and never as good as a crystal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from hybridfit.fitting.judge.roundness import SHAPE, nothing_but_round, round_pattern
from hybridfit.fitting.judge.settings import JUDGE

ROW, COL = (each.ravel() - 32.0 for each in np.indices((65, 65)))


def blob(r):
    return 900 * np.exp(-(r**2) / 300) + 20


def disc(r):
    return 400 * special.erfc((r - 21.3) / 0.9) + 30


@pytest.mark.parametrize("pattern", [blob, disc])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (1.7, -2.4)])
@pytest.mark.parametrize("stretch", [1.0, 1.06])
def test_nothing_but_noise_is_left_of_a_round_pattern(pattern, centre, stretch):
    expected = pattern(np.hypot((COL - centre[0]) * stretch, ROW - centre[1]))
    data = np.random.default_rng(3).poisson(expected).astype(float)
    found = round_pattern(data, 1 / expected, COL, ROW)
    free = len(data) - found.numbers
    assert found.sum_of_squares / free == pytest.approx(1, abs=4 * np.sqrt(2 / free))


def test_its_numbers_are_counted():
    data = np.random.default_rng(4).poisson(blob(np.hypot(COL, ROW))).astype(float)
    found = round_pattern(data, 1 / blob(np.hypot(COL, ROW)), COL, ROW)
    assert found.numbers == pytest.approx(2 * np.hypot(32, 32) + SHAPE, abs=4)


def test_what_noise_explains_is_what_its_numbers_follow():
    rng, expected, gains = np.random.default_rng(5), blob(np.hypot(COL, ROW)), []
    for _ in range(40):
        data = rng.poisson(expected).astype(float)
        found = round_pattern(data, 1 / expected, COL, ROW)
        gains.append(((data - expected) ** 2 / expected).sum() - found.sum_of_squares - found.numbers)
    assert np.mean(gains) == pytest.approx(0, abs=4 * np.std(gains) / np.sqrt(len(gains)) + 3)


def test_petals_are_not_round():
    r, angle = np.hypot(COL - 1.5, ROW + 0.8), np.arctan2(ROW + 0.8, COL - 1.5)
    expected = blob(r) * (1 + 0.3 * np.cos(4 * angle) * np.minimum(r / 10, 1))
    data = np.random.default_rng(6).poisson(expected).astype(float)
    found = round_pattern(data, 1 / expected, COL, ROW)
    assert found.sum_of_squares > 2 * len(data)


def test_a_few_pixels_are_enough():
    near = np.hypot(COL, ROW) < 4
    data = blob(np.hypot(COL, ROW))[near]
    assert round_pattern(data, 1 / data, COL[near], ROW[near]).sum_of_squares < 1


# ---------------------------------------------------------------- nothing but round


def region(expected, seed=7):
    return np.random.default_rng(seed).poisson(expected).astype(float).reshape(65, 65)


@pytest.mark.parametrize("pattern", [blob, disc])
def test_a_region_that_is_round_holds_no_crystal(pattern):
    """What is left may be a standard deviation more than noise, so five of six are seen."""
    seen, outside = 0, np.hypot(COL, ROW).reshape(65, 65) > 31
    for seed in range(20):
        image = region(pattern(np.hypot(COL - 1.2, ROW + 2.1)), seed)
        image[outside] = np.nan
        seen += nothing_but_round(image, JUDGE)
    assert seen >= 12


def test_a_region_that_is_not_round_may_hold_one():
    angle = np.arctan2(ROW, COL)
    petals = blob(np.hypot(COL, ROW)) * (1 + 0.1 * np.cos(4 * angle))
    assert not nothing_but_round(region(petals), JUDGE)
    twins = disc(np.hypot(COL - 12, ROW)) + disc(np.hypot(COL + 12, ROW))
    assert not nothing_but_round(region(twins), JUDGE)


def test_a_region_without_a_disc_says_nothing():
    assert not nothing_but_round(region(np.full(COL.size, 50.0)), JUDGE)
