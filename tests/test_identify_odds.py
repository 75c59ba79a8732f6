"""Numbers of the odds of none are found from frames, and judged by frames of other crystals."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.identification.odds import Evidence
from hybridfit.identification.structure import Left

odds = pytest.importorskip("benchmarks.identify_odds")


def frames(count: int) -> list:
    """Of each kind: a right library leaves 0.01, a wrong one 0.3, three times more or less."""
    rng = np.random.default_rng(5)
    out = []
    for i in range(count):
        for kind, median in (("right", 0.01), ("another crystal", 0.3)):
            share = min(median * float(np.exp(1.1 * rng.normal())), 0.95)
            left = Left(1.0, share, 1e-4, 1.0, 0.01, share / 10, 1e-5)
            evidence = Evidence(("a",), (0.0,), (0.0,), (float(rng.normal()),), 300.0, left, 0.008)
            out.append(odds.Judged(evidence, f"crystal {i % 7}", kind))
    return out


def test_numbers_are_the_likeliest_and_hold_for_other_crystals(monkeypatch):
    some = frames(15)
    found = odds.suited(some)
    start, best = (
        odds.outcome(some, odds.nones(some, each)) for each in (odds.settings_of(odds.START), found)
    )
    assert best.likelihood >= start.likelihood
    assert found.left[0] < 0.1 < found.left[1]
    monkeypatch.setattr(odds, "FOLDS", 2)
    checked = odds.outcome(some, odds.cross_validated(some))
    assert checked.likelihood < best.likelihood + 0.02
    assert checked.calibration < 0.15 and min(checked.right.values()) > 0.75


def test_kinds_count_as_in_the_study_that_reports():
    some = frames(4) + frames(2)[1::2]
    weights = odds.weights_of(some)
    right = np.array([each.kind == "right" for each in some])
    assert weights.sum() == pytest.approx(1)
    assert weights[right].sum() == pytest.approx(0.8 / 0.96)  # none of them shows no crystal


def test_a_calibration_error_is_that_of_the_share_of_right_answers():
    some = [each for each in frames(10) if each.kind == "right"]
    assert odds.outcome(some, np.full(10, 0.1)).calibration == pytest.approx(0.1)
    assert odds.outcome(some, np.full(10, 0.9)).calibration == pytest.approx(0.9)
