"""Cameras of crystals that are tilted far: compared where the templates reach, not all over the frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridfit.fitting.hints import Hints
from hybridfit.fitting.search.full import Searcher
from hybridfit.fitting.search.match import Matcher
from hybridfit.fitting.search.settings import SEARCH
from hybridfit.fitting.search.templates import make_templates
from hybridfit.fitting.search.trials import BinnedFrame, Trials
from hybridfit.frame import make_frame

SEMI_ANGLE = 9.0
EVERY = replace(SEARCH, far_tilt=-1.0)  # of a small library, whose tilts are none that are far


@pytest.fixture(scope="module")
def shot(simulate):
    """A frame with more intensity beside the compared disc than in it, and its camera."""
    image, truth = simulate(shape=(128, 128), scale=2.6, centre=(46.0, 64.0))
    rows, cols = np.indices(image.shape)
    away = np.hypot(cols - 103.0, rows - 64.0)
    lit = image + 3.0 * image.max() * (1 + 0.3 * np.sin(0.7 * cols)) / (1 + np.exp(away - 14))
    return make_frame(lit), np.array([truth["centre_x"], truth["centre_y"], truth["scale"]]), truth


def test_squares_are_those_of_the_compared_disc(small_library, shot):
    frame, camera, _ = shot
    templates = make_templates(small_library, SEMI_ANGLE, np.array([12.0, 30.0]), np.array([[0.6, -0.9]]))
    whole = Trials(BinnedFrame.of(frame, 40.0), templates)
    assert whole.frame.factor == 1
    whole.add(camera + np.array([[0, 0, 0], [1.0, 0, 0]]))
    disc = whole.within(camera)
    rows, cols = np.indices(frame.image.shape)
    inside = np.hypot(cols - camera[0], rows - camera[1]) <= SEARCH.reach(SEMI_ANGLE) * camera[2]
    np.testing.assert_array_equal(disc.frame.valid, inside)
    alone = Trials(replace(whole.frame, valid=inside), templates)
    alone.add(whole.cameras)
    np.testing.assert_allclose(disc.squares, alone.squares, rtol=1e-5)
    assert (disc.squares < 0.2 * whole.squares).all()
    np.testing.assert_array_equal(whole.part(np.array([1])).squares, whole.squares[1:])


def test_what_templates_do_not_reach_does_not_draw_the_camera_away(small_library, shot):
    frame, camera, truth = shot
    off = {}
    for name, settings in (("whole", SEARCH), ("disc", EVERY)):
        searcher = Searcher(
            small_library, SEMI_ANGLE, hints=Hints(), workers=1, progress=lambda *_: None, settings=settings
        )
        start = tuple(camera + np.array([0.8, -0.6, 0.04]))
        trials = Matcher(searcher).trials(frame, [start], wide=False)
        best = trials.cameras[trials.best_camera()]
        off[name] = np.hypot(*(best - camera)[:2]) / (SEMI_ANGLE * camera[2])
    assert off["disc"] < 0.04 < 0.2 < off["whole"]
    found = Matcher(searcher).weighed(trials)[0]
    assert abs(found.thickness - truth["thickness"]) <= 2 and found.chi2 < SEARCH.misled


def test_the_disc_that_matches_wins_over_the_bright_one(small_library, shot):
    frame, camera, _ = shot
    searcher = Searcher(
        small_library, SEMI_ANGLE, hints=Hints(), workers=1, progress=lambda *_: None, settings=EVERY
    )
    starts = [(103.0, 64.0, 2.6), tuple(camera)]
    for given in (starts, starts[::-1]):
        trials = Matcher(searcher).trials(frame, given, wide=False)
        assert trials.cameras[trials.best_camera()] == pytest.approx(camera, rel=0.03)
