"""Sums over pairs of pixels, beside plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.refine.noise import _shells, effective_pixels
from hybridfit.fitting.refine.pairs import differences_of, means_in_groups, products_within
from hybridfit.fitting.refine.spread import NEAR, differences

SHAPE = (23, 31)
RNG = np.random.default_rng(0)
IMAGE, MODEL = RNG.normal(size=SHAPE), RNG.normal(size=SHAPE)
MASK = RNG.random(SHAPE) < 0.8


def test_differences_are_those_of_numpy():
    shifts = [shift for group in NEAR for shift in group]
    squares, means = differences_of(IMAGE, MODEL, MASK, np.array(shifts))
    expected, between = [], []
    for dy, dx in shifts:
        square, here, both = differences(IMAGE, MASK, (dy, dx))
        there = np.s_[: SHAPE[0] - dy, max(-dx, 0) : SHAPE[1] + min(-dx, 0)]
        expected.append(square[both])
        between.append(np.maximum((MODEL[here] + MODEL[there])[both] / 2, 0))
    np.testing.assert_allclose(squares, np.concatenate(expected), rtol=1e-12)
    np.testing.assert_allclose(means, np.concatenate(between), rtol=1e-12)


def test_groups_are_those_of_a_sorted_row():
    values = RNG.normal(size=(2, 500))
    order = np.argsort(values[1])
    expected = [values[:, order[500 * g // 12 : 500 * (g + 1) // 12]].mean(axis=1) for g in range(12)]
    found = means_in_groups(values, np.sort(values[1]), 12)
    np.testing.assert_allclose(found, np.transpose(expected), rtol=1e-12)


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_equal_numbers_are_shared_out(levels):
    """Whatever order they come in, a group has its part of every block of equal numbers."""
    place = RNG.integers(levels, size=600).astype(float)
    values = np.stack([10 * place + 1, place])
    ranked = np.sort(place)
    expected = [ranked[600 * g // 12 : 600 * (g + 1) // 12].mean() for g in range(12)]
    found = means_in_groups(values, ranked, 12)
    np.testing.assert_allclose(found[1], expected, atol=1e-12)
    np.testing.assert_allclose(found[0], 10 * np.array(expected) + 1, atol=1e-12)


def test_products_are_those_of_a_transform():
    image = np.where(MASK, IMAGE, 0)
    whole, _ = _shells(SHAPE, MASK.tobytes())
    padded = np.zeros(whole.shape)
    padded[: SHAPE[0], : SHAPE[1]] = image
    expected = np.fft.ifft2(np.abs(np.fft.fft2(padded)) ** 2).real
    found = products_within(image, 3)
    for dy in range(4):
        for dx in range(-3, 4):
            assert found[dy, dx + 3] == pytest.approx(expected[-dy, -dx], abs=1e-9)


@pytest.mark.parametrize("smooth", [0, 1, 3])
def test_near_shifts_alone_give_the_same_count(smooth, monkeypatch):
    """The sum over near shifts is that over all of them, where the window ends there; else it is not used."""
    image = RNG.normal(size=(90, 90))
    for axis in (0, 1):
        for _ in range(smooth):
            image = image + np.roll(image, 1, axis=axis)
    mask = np.hypot(*(np.indices((90, 90)) - 44.5)) < 40
    standardised = image[mask] / image[mask].std()
    found = effective_pixels(standardised, mask, 0.3)
    monkeypatch.setattr("hybridfit.fitting.refine.noise.NEAREST", 0)
    _shells.cache_clear()
    assert effective_pixels(standardised, mask, 0.3) == pytest.approx(found, rel=1e-9)
    _shells.cache_clear()


def test_kernels_equal_their_plain_python(plain_python):
    from hybridfit.fitting.refine import pairs

    shifts = np.array([(0, 1), (1, -1)])
    place = RNG.integers(3, size=60).astype(float)
    arguments = (IMAGE, MODEL, MASK, shifts), (np.stack([place, place]), np.sort(place), 4), (IMAGE, 2)
    names = ("differences_of", "means_in_groups", "products_within")
    compiled = [getattr(pairs, name)(*each) for name, each in zip(names, arguments, strict=True)]
    assert plain_python(pairs) == 4
    for name, each, expected in zip(names, arguments, compiled, strict=True):
        np.testing.assert_allclose(getattr(pairs, name)(*each), expected, rtol=1e-9, atol=1e-12)
