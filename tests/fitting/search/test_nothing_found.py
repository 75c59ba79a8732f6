"""Frames that nothing in a library resembles, and absurd cameras: no candidates or one line, no crash."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridfit import Candidate, Hints
from hybridfit.errors import InputError
from hybridfit.fitting.search.cameras import possible, trial_cameras
from hybridfit.fitting.search.full import LibrarySearcher, Searcher
from hybridfit.fitting.search.match import Matcher
from hybridfit.fitting.search.settings import SEARCH
from hybridfit.fitting.search.window import search_window
from hybridfit.frame import Frame, make_frame

SEMI_ANGLE = 9.0
SEED = Candidate(30.0, 0.6, -0.9, 31.5, 31.5, 2.0, 12.0)
CAMERA = (31.5, 31.5, 2.0)


@pytest.fixture(scope="module")
def library(small_library):
    """Part of the small library: what is tested does not depend on its size."""
    return small_library.window(30.0)


@pytest.fixture(scope="module")
def searcher(library):
    return search_of(library)


def search_of(library, semi_angle=SEMI_ANGLE, hints=None) -> Searcher:
    return Searcher(
        library, semi_angle, hints=hints or Hints(), workers=1, progress=lambda stage, fraction: None
    )


def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    row, col = np.indices((64, 64))
    point = np.zeros((64, 64))
    point[40, 20] = 1e4
    return {
        "noise": rng.normal(size=(64, 64)),
        "counting noise": rng.poisson(0.02, (64, 64)).astype(float),
        "constant": np.full((64, 64), 3.0),
        "zero": np.zeros((64, 64)),
        "almost constant": 1e6 + 1e-9 * rng.normal(size=(64, 64)),
        "gradient": (row + 2 * col).astype(float),
        "point": point,
        "smooth": np.exp(-((row - 31.5) ** 2 + (col - 31.5) ** 2) / 200.0),
        "halves": np.where(col < 32, 1.0, 0.0),
        "checkerboard": ((row + col) % 2).astype(float),
        "negative": -np.exp(-((row - 31.5) ** 2 + (col - 31.5) ** 2) / 200.0),
        "small": rng.poisson(5.0, (32, 32)).astype(float),
        "narrow": rng.poisson(5.0, (32, 200)).astype(float),
        "tiny": 1e-100 * rng.random((64, 64)),
        "huge": 1e29 * rng.random((64, 64)),
    }


MASKS = {
    "whole": lambda shape: np.ones(shape, bool),
    "masked": lambda shape: np.zeros(shape, bool),
    "one pixel": lambda shape: np.indices(shape).sum(axis=0) == 40,
    "every third": lambda shape: np.indices(shape).sum(axis=0) % 3 == 0,
}


def checked(found, curve, library) -> None:
    assert curve.shape[0] == 2 and curve.shape[1] >= 1
    assert np.isfinite(curve).all()
    for candidate in found:
        values = [candidate.thickness, *candidate.tilt, candidate.centre_x, candidate.centre_y]
        assert np.isfinite([*values, candidate.scale, candidate.rotation, candidate.chi2]).all()
        assert library.thickness_range[0] <= candidate.thickness <= library.thickness_range[1]


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        *((name, "whole") for name in images()),
        *((name, mask) for name in ("noise", "smooth", "narrow") for mask in list(MASKS)[1:]),
    ],
)
def test_frames_without_a_pattern(searcher, library, name, mask):
    image = images()[name]
    frame = Frame(image, MASKS[mask](image.shape), "frame")
    for search in (lambda: searcher.search(frame), lambda: Matcher(searcher).match(frame, [CAMERA])):
        try:
            checked(*search(), library)
        except InputError as error:
            assert "no direct disc found" in str(error) and "\n" not in str(error)
    checked(*search_window(library, frame, SEED, SEMI_ANGLE, tilt_limit=3.0, half_widths=(1.5, 0.7)), library)


@pytest.mark.parametrize("name", ["constant", "zero"])
def test_nothing_resembles_a_constant(searcher, library, name):
    frame = Frame(images()[name], np.ones((64, 64), bool), "frame")
    for found, curve in (
        Matcher(searcher).match(frame, [CAMERA]),
        search_window(library, frame, SEED, SEMI_ANGLE, tilt_limit=3.0),
        search_of(library, hints=Hints(centre=CAMERA[:2], scale=CAMERA[2])).search(frame),
    ):
        assert found == []
        np.testing.assert_allclose(curve[1], 1.0, atol=1e-6)


@pytest.mark.parametrize("semi_angle", [0.0136, 1e-10, 1e-308, 0.0, -3.0, np.nan, np.inf])
def test_a_semi_angle_that_is_none(library, semi_angle):
    with pytest.raises(InputError, match=r"semi-angle .* mrad cannot be searched; give it in mrad"):
        search_of(library, semi_angle)


@pytest.mark.parametrize("semi_angle", [0.5, 1.0, 3.0])
def test_a_semi_angle_much_smaller_than_the_true_one(library, simulate, semi_angle):
    frame = make_frame(simulate()[0])
    try:
        checked(*search_of(library, semi_angle).search(frame), library)
    except InputError as error:
        assert "check the semi-angle" in str(error)


ABSURD = [
    (31.5, 31.5, 2206.0),
    (31.5, 31.5, 1e300),
    (31.5, 31.5, np.inf),
    (31.5, 31.5, np.nan),
    (31.5, 31.5, 0.0),
    (31.5, 31.5, -2.0),
    (1e9, 31.5, 2.0),
    (31.5, -1e300, 2.0),
    (np.nan, 31.5, 2.0),
]


@pytest.mark.parametrize("camera", ABSURD)
def test_an_absurd_camera_is_no_camera(searcher, library, simulate, camera):
    frame = make_frame(simulate(shape=(64, 64))[0])
    assert not possible(frame, np.array([camera]), SEMI_ANGLE).any()
    found, curve = Matcher(searcher).match(frame, [camera])
    assert found == [] and (curve[1] == 1).all()
    seed = Candidate(30.0, 0.6, -0.9, *camera, 12.0)
    found, curve = search_window(library, frame, seed, SEMI_ANGLE, tilt_limit=3.0)
    assert found == [] and (curve[1] == 1).all()


def test_a_good_camera_beside_an_absurd_one(searcher, simulate):
    image, truth = simulate()
    frame = make_frame(image)
    own = (truth["centre_x"], truth["centre_y"], truth["scale"])
    alone = Matcher(searcher).match(frame, [own])
    beside = Matcher(searcher).match(frame, [ABSURD[0], own, ABSURD[-1]])
    assert alone[0] == beside[0] and alone[0][0].chi2 < 0.2
    np.testing.assert_array_equal(alone[1], beside[1])
    assert Matcher(searcher).match(frame, [])[0] == []


def test_little_inside_the_disc_tells_nothing(searcher, simulate):
    image, truth = simulate()
    matcher = Matcher(searcher)
    trials = matcher.trials(make_frame(image), [(truth["centre_x"], truth["centre_y"], truth["scale"])])
    found, curve = matcher.inside(trials)
    assert found and np.isfinite(curve).all()
    matcher.settings = replace(SEARCH, least_inside=24)
    found, curve = matcher.inside(trials)
    assert found == [] and (curve[1] == 1).all()


def test_other_cameras_are_asked_for_where_the_first_ones_mislead(searcher, simulate):
    image, truth = simulate()
    frame = make_frame(image)
    own = (truth["centre_x"], truth["centre_y"], truth["scale"])
    asked = []

    def others():
        asked.append(True)
        return [own]

    matcher = Matcher(searcher)
    alone = matcher.match(frame, [own])[0]
    assert matcher.match(frame, [own], others)[0] == alone and not asked
    found = matcher.match(frame, [ABSURD[0]], others)[0]
    assert asked.pop() and found == alone
    least = matcher.trials(frame, [own]).squares.min()
    matcher.settings = replace(SEARCH, misled=0.0)  # nothing is good enough
    trials = matcher.trials(frame, [own], others)
    assert asked == [True] and trials.squares.min() <= least  # χ² is relative to what the best camera sees
    found = matcher.weighed(trials)[0]
    assert (found.thickness, found.tilt) == (alone[0].thickness, alone[0].tilt)


@pytest.mark.parametrize("hints", [Hints(scale=1e4), Hints(centre=(1e7, 3.0)), Hints(scale=1e-320)])
def test_an_absurd_hint(library, simulate, hints):
    frame = make_frame(simulate()[0])
    with pytest.raises(InputError, match=r"array: centre .* and scale .* cannot be those of a frame"):
        trial_cameras(frame, hints, SEMI_ANGLE)
    with pytest.raises(InputError, match="cannot be those"):
        search_of(library, hints=hints).search(frame)


def test_a_library_with_polarities_finds_nothing_either(library):
    frame = Frame(np.zeros((64, 64)), np.ones((64, 64), bool), "frame")
    hints = Hints(centre=CAMERA[:2], scale=CAMERA[2])
    found, curve = LibrarySearcher([search_of(library, hints=hints)] * 2).search(frame)
    assert found == [] and curve.shape[1] == len(np.unique(curve[0]))


@pytest.mark.parametrize("seed", range(6))
def test_fuzz(library, seed):
    """Blobs, edges, noise and masks at random; cameras and semi-angles at random."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(32, 97, 2))
    row, col = np.indices(shape)
    image = rng.poisson(rng.choice([0.01, 1.0, 100.0]), shape).astype(float)
    for _ in range(rng.integers(0, 4)):
        y, x, width = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(0.5, 40)
        image += rng.uniform(-5, 50) * np.exp(-((row - y) ** 2 + (col - x) ** 2) / (2 * width**2))
    frame = Frame(image, rng.random(shape) < rng.choice([1.0, 0.7, 0.3, 0.02]), "frame")
    semi_angle = float(rng.choice([0.5, 2.0, 9.0, 13.5]))
    searcher = search_of(library, semi_angle)
    try:
        checked(*searcher.search(frame), library)
    except InputError as error:
        assert "no direct disc found" in str(error) and "\n" not in str(error)
    camera = (rng.uniform(-60, 150), rng.uniform(-60, 150), 10 ** rng.uniform(-3, 3))
    checked(*Matcher(searcher).match(frame, [camera]), library)
    spot = Candidate(rng.uniform(28, 32), 0.5, 0.0, *camera, rng.uniform(-400, 400))
    checked(*search_window(library, frame, spot, semi_angle, tilt_limit=2.0), library)
