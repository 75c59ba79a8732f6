"""Odds of library points in a match, and of the candidates that are made of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridfit.fitting.candidates import Candidate, with_probabilities
from hybridfit.fitting.search.odds import point_odds, weighed
from hybridfit.fitting.search.settings import SEARCH
from hybridfit.fitting.search.templates import Templates


def at(thickness: float, x: float = 0.0, y: float = 0.0, **changes) -> Candidate:
    return Candidate(thickness, x, y, 50.0, 50.0, 3.0, 0.0, **changes)


@pytest.fixture
def points() -> Templates:
    """Every 2 nm from 10 to 28, at three tilts."""
    thickness, tilts = np.arange(10.0, 30.0, 2.0), np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    return Templates.of(np.zeros((30, 1, 2, 1), np.float32), thickness, tilts, 10.0)


def test_odds_fall_with_what_a_point_leaves():
    settings = replace(SEARCH, odds_floor=0.01, odds_pixels=100.0)
    found = point_odds(np.array([0.05, 0.07, 0.5]), settings)
    assert found.sum() == pytest.approx(1)
    assert found[1] / found[0] == pytest.approx(np.exp(-0.02 / (0.01 + 2 * 0.05 / 100)))
    assert found[2] < 1e-9


def test_odds_are_more_even_where_the_best_leaves_much():
    clear, poor = (point_odds(np.array([least, least + 0.02]))[0] for least in (0.02, 0.5))
    assert clear > poor > 0.5


def test_a_candidate_has_the_odds_of_its_window(points):
    score = np.full(30, 0.9)
    near = (np.abs(points.thickness - 16) < 3) & (points.tilt_x == 2)
    score[near], score[(points.thickness == 24) & (points.tilt_x == 0)] = 0.1, 0.12
    odds = point_odds(score)
    first, second = weighed([at(16.0, 0.0, 2.0), at(24.0)], score, points, 4)
    assert first.probability == pytest.approx(odds[near].sum())
    assert second.probability == pytest.approx(odds[(points.thickness == 24) & (points.tilt_x == 0)].sum())
    assert first.probability + second.probability == pytest.approx(1)


def test_no_point_counts_twice(points):
    score = np.full(30, 0.5)
    found = weighed([at(16.0), at(18.0)], score, points, 1)
    assert sum(c.probability for c in found) == pytest.approx(4 / 30)  # 14, 16, 18 and 20 nm


def test_what_is_refined_keeps_the_odds_of_what_it_was_found_as():
    found = [at(16.0, probability=0.9), at(17.0, probability=0.05), at(40.0, probability=0.04)]
    first, second, third = with_probabilities([at(16.4, 0.1), at(39.0), at(80.0)], found, 4)
    assert (first.probability, second.probability, third.probability) == (0.9, 0.04, None)
    known = with_probabilities([at(16.0, probability=0.5)], found, 4)
    assert known[0].probability == 0.5
