"""Poisson numbers are those of numpy for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

import hybridfit.pattern.poisson as module
from hybridfit.pattern.poisson import poisson

RANGES = [(0, 0), (0, 3), (0, 30), (9.99, 10.01), (5, 400), (1e3, 9e5), (1e9, 1e12)]


@pytest.mark.parametrize("low, high", RANGES)
def test_they_are_those_of_numpy(low, high):
    expected = np.random.default_rng(1).uniform(low, high, (80, 90))
    expected[3, :7] = 0
    for seed in range(4):
        found = poisson(np.random.default_rng((seed, 5)), expected)
        np.testing.assert_array_equal(found, np.random.default_rng((seed, 5)).poisson(expected))


def test_plain_python_gives_the_same(plain_python):
    expected = np.random.default_rng(1).gamma(1.0, 20.0, 500)
    first = poisson(np.random.default_rng(2), expected)
    assert plain_python(module) == 1
    np.testing.assert_array_equal(first, poisson(np.random.default_rng(2), expected))


def test_few_uniform_numbers_at_a_time_do_not_matter():
    expected = np.random.default_rng(1).gamma(1.0, 20.0, 500)
    uniform = np.random.default_rng(3).random(4000)
    whole, parts = np.empty(500, np.int64), np.empty(500, np.int64)
    module.draw(expected, uniform, module.LOG_FACTORIALS, 0, whole)
    done, at, ends = 0, 0, iter(range(0, 4001, 50))
    while done < 500:
        done, used = module.draw(expected, uniform[at : next(ends)], module.LOG_FACTORIALS, done, parts)
        at += used
    np.testing.assert_array_equal(whole, parts)
