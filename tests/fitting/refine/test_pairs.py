"""Sums over pairs of pixels, beside plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.refine.noise import _shells, effective_pixels, estimate_noise
from hybridfit.fitting.refine.pairs import (
    differences_by_level,
    means_in_groups,
    on_image,
    products_within,
)
from hybridfit.fitting.refine.spread import NEAR, differences

SHAPE = (23, 31)
RNG = np.random.default_rng(0)
IMAGE, MODEL = RNG.normal(size=SHAPE), RNG.normal(size=SHAPE)
MASK = RNG.random(SHAPE) < 0.8


def pairs_of(shifts, model=MODEL):
    """Half the squares of differences, and means of the model, of all pairs: (2, pairs)."""
    squares, means = [], []
    for dy, dx in shifts:
        square, here, both = differences(IMAGE, MASK, (dy, dx))
        there = np.s_[: SHAPE[0] - dy, max(-dx, 0) : SHAPE[1] + min(-dx, 0)]
        squares.append(square[both])
        means.append(np.maximum((model[here] + model[there])[both] / 2, 0))
    return np.stack([np.concatenate(squares), np.concatenate(means)])


def test_differences_are_those_of_numpy():
    shifts = [shift for group in NEAR for shift in group]
    squares, means = pairs_of(shifts)
    largest = float(MODEL.max())
    table = differences_by_level(IMAGE, MODEL, MASK, np.array(shifts), largest)
    assert table[:, 0].sum() == len(squares)
    assert table[0, 0] == (means == 0).sum()
    np.testing.assert_allclose(table.sum(axis=0)[1:], [squares.sum(), means.sum() / largest], rtol=1e-6)
    there = np.flatnonzero(table[1:, 0]) + 1
    centres = table[there, 2] / table[there, 0] * largest
    for low, high, count in zip(centres[:-1], centres[1:], np.diff(there), strict=True):
        assert low < high and (count > 1 or high / low < 1.033)


def test_groups_are_those_of_a_sorted_row():
    model = np.exp(MODEL)  # no equal numbers, and few of one level
    squares, means = pairs_of([(0, 1), (1, 0)], model)
    order, n = np.argsort(means), len(means)
    cut = [order[n * g // 12 : n * (g + 1) // 12] for g in range(12)]
    expected = np.transpose([(squares[each].mean(), means[each].mean()) for each in cut])
    largest = float(model.max())
    table = differences_by_level(IMAGE, model, MASK, np.array([(0, 1), (1, 0)]), largest)
    found = means_in_groups(table, 12)
    assert found[1] * largest == pytest.approx(expected[1], rel=0.02)
    assert found.mean(axis=1) * [1, largest] == pytest.approx([squares.mean(), means.mean()], rel=1e-6)
    assert found[0] == pytest.approx(expected[0], rel=0.1)


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_equal_numbers_are_shared_out(levels):
    """Whatever order they come in, a group has its part of every block of equal numbers."""
    place = RNG.integers(levels, size=600).astype(float)
    table = np.zeros((40, 3))
    for level in range(levels):
        count = float((place == level).sum())
        table[3 * level + 1] = count, count * (10 * level + 1), count * level
    ranked = np.sort(place)
    expected = [ranked[600 * g // 12 : 600 * (g + 1) // 12].mean() for g in range(12)]
    found = means_in_groups(table, 12)
    np.testing.assert_allclose(found[1], expected, atol=1e-12)
    np.testing.assert_allclose(found[0], 10 * np.array(expected) + 1, atol=1e-12)


def test_an_image_has_its_values_where_the_mask_is():
    values = RNG.normal(size=int(MASK.sum()))
    expected = np.zeros(SHAPE)
    expected[MASK] = values
    np.testing.assert_array_equal(on_image(values, MASK), expected)


@pytest.mark.parametrize("unit", [1e-100, 1.0, 1e100])
def test_the_noise_of_counts_is_found_in_any_unit(unit):
    """Frames are floats of any size; the levels of the model are relative to its largest."""
    rng = np.random.default_rng(1)
    mask = np.hypot(*(np.indices((96, 96)) - 47.5)) < 45
    model = rng.uniform(5, 100, mask.sum())
    noisy = rng.poisson(model) - model
    found = estimate_noise(unit * noisy, unit * model, mask)
    assert found.per_intensity / unit == pytest.approx(1, abs=0.12)
    assert found.correlation == ()


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
    table = RNG.integers(3, size=(60, 3)).astype(float)
    arguments = (
        (np.arange(MASK.sum(), dtype=float), MASK),
        (IMAGE, MODEL, MASK, shifts, 2.0),
        (table, 4),
        (IMAGE, 2),
    )
    names = ("on_image", "differences_by_level", "means_in_groups", "products_within")
    compiled = [getattr(pairs, name)(*each) for name, each in zip(names, arguments, strict=True)]
    assert plain_python(pairs) == 6
    for name, each, expected in zip(names, arguments, compiled, strict=True):
        np.testing.assert_allclose(getattr(pairs, name)(*each), expected, rtol=1e-9, atol=1e-12)
