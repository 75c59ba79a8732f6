"""Odds of hypotheses and of none of them, from numbers alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridfit.identification.odds import Evidence, log_angle, none_of, odds_of
from hybridfit.identification.settings import IDENTIFY
from hybridfit.identification.structure import Left


def left(share: float, deviation: float = 1e-4, crystal: float = 1.0, error: float = 0.01) -> Left:
    """A frame with a structure of 1, of which so much is left."""
    return Left(1.0, share, deviation, crystal, error)


def judged(of: Left, off: float = 0.0, *, lacking: float = 0.0, settings=IDENTIFY) -> float:
    """The odds of none, for a library that lacks nothing."""
    return none_of(of, off, lacking, settings)


def test_odds_are_those_of_the_likelihood():
    found = odds_of([0.0, 0.02, 0.5], 300.0, [0.0, 0.0, 0.0], replace(IDENTIFY, temper=1.0))
    expected = np.exp(-0.5 * 300 * np.array([0.0, 0.02, 0.5]))
    assert found == pytest.approx(expected / expected.sum())
    assert found.sum() == pytest.approx(1)


def test_a_temper_makes_odds_more_even():
    sharp, even = (odds_of([0.0, 0.02], 300.0, [0.0, 0.0], replace(IDENTIFY, temper=t)) for t in (1, 0.2))
    assert sharp[0] > even[0] > 0.5


def test_a_minimum_that_holds_more_of_its_library_is_likelier():
    narrow, wide = odds_of([0.0, 0.0], 300.0, [-9.0, -8.0])
    assert wide / narrow == pytest.approx(np.e)


def test_none_is_likelier_the_more_is_left():
    found = [judged(left(share)) for share in (1e-5, 5e-4, 0.005, 0.05, 0.2, 0.5, 0.9)]
    assert found == sorted(found)
    assert found[2] < 0.02 and found[3] < 0.1 and found[-1] > 0.8
    whole = [left(0.9)._replace(misfit=m, misfit_deviation=1e-5) for m in (1e-5, 1e-3, 1e-2, 1e-1)]
    found = [judged(each) for each in whole]
    assert found == sorted(found) and found[0] < 0.2 and found[-1] > 0.97


def test_little_that_is_left_never_speaks_for_none():
    """Crystals of light atoms leave next to nothing: less than the right library does as a rule."""
    for of in (1e-6, 1e-5, 1e-4, 1e-3):
        assert judged(left(of)._replace(misfit=of, misfit_deviation=1e-6)) < 0.01


def test_a_library_that_lacks_beams_may_leave_more():
    whole, enough, few, fewest = (judged(left(0.2), lacking=each) for each in (0.0, 5e-4, 0.001, 0.007))
    assert whole == enough > 1.5 * few > 1.5 * fewest  # measured patterns leave as much of whole ones
    more, less = (judged(left(share), lacking=0.007) for share in (0.3, 0.01))
    assert less < more  # also where the right library is expected to leave as much as a wrong one


def test_a_library_that_wants_another_semi_angle_is_less_likely():
    assert judged(left(0.02), 5.0) > 10 * judged(left(0.02), 0.0)
    assert log_angle(0.0) > log_angle(1.0) > log_angle(-4.0) == pytest.approx(log_angle(4.0))


def test_a_lookalike_is_told_by_its_semi_angle_alone():
    never, now_and_then = (replace(IDENTIFY, lookalike=share) for share in (0.0, 0.2))
    alike = left(0.001)._replace(misfit=1e-4, misfit_deviation=1e-5)
    assert judged(alike, 4.5, settings=never) < 0.2 < 0.5 < judged(alike, 4.5, settings=now_and_then)
    assert judged(alike, 0.0, settings=now_and_then) < 0.05


def test_a_misfit_of_the_whole_pattern_speaks_for_none():
    small, large = (left(0.05)._replace(misfit=m, misfit_deviation=1e-4) for m in (0.0005, 0.05))
    assert judged(small) < judged(left(0.05)) < judged(large)


def test_where_noise_hides_what_is_left_the_prior_stays():
    settings = replace(IDENTIFY, none_angles=0.5 / np.exp(log_angle(0.0)))  # the angle says nothing, too
    found = judged(left(0.1, deviation=30.0), settings=settings)
    assert found == pytest.approx(IDENTIFY.none_prior, abs=0.02)


@pytest.mark.parametrize("crystal, error", [(0.02, 0.1), (0.1, 0.05)])
def test_a_frame_without_the_structure_of_a_crystal_shows_none(crystal, error):
    assert judged(left(0.01, crystal=crystal, error=error)) == IDENTIFY.shapeless


def test_a_round_frame_shows_none():
    assert judged(left(0.01)._replace(beyond_round=30.0)) == IDENTIFY.shapeless


def test_evidence_gives_the_odds_of_any_settings():
    found = Evidence(("a", "b"), (0.0, 0.01), (-9.0, -8.5), (0.5, 3.0), 300.0, left(0.1), 0.02)
    for settings in (IDENTIFY, replace(IDENTIFY, temper=0.1, none_prior=0.5)):
        widths = [-9.0 + log_angle(0.5, settings), -8.5 + log_angle(3.0, settings)]
        assert found.shares(settings) == pytest.approx(odds_of([0.0, 0.01], 300.0, widths, settings))
        assert found.none(settings) == none_of(left(0.1), 0.5, 0.02, settings)
