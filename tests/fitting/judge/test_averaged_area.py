"""Frames of an area that is not one flat crystal: what the fit makes of them, and says of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from hybridfit import Candidate, Fitter, make_frame
from hybridfit.fitting.judge.answer import interval_of
from hybridfit.fitting.judge.averaging import ScoreTest, pseudo_inverse
from hybridfit.fitting.refine.spread import tails_of
from hybridfit.pattern.averaging import bare_disc
from hybridfit.simulate.frame import FineGrid, diffuse_part, fine_half_edge, fine_pattern, recorded
from hybridfit.simulate.settings import FrameSettings

FRAME = FrameSettings(
    thickness=30.0, tilt=(0.6, -0.9), semi_angle=9.0, shape=(96, 96), rotation=12.0, electrons=2e6
)


def image_of(library, parts, vacuum=0.0):
    """Counts of crystals with their weights, and of an empty area; only the crystals differ."""
    first = parts[0][1]
    grid = FineGrid.of(first.shape, first.camera, first.blur)
    fine = np.zeros(grid.shape)
    for weight, each in parts:
        own = FineGrid.of(each.shape, each.camera, each.blur)
        fine += (1 - vacuum) * weight * fine_pattern(library, each, each.camera, own)
    edge = fine_half_edge(library, first.camera.scale)
    fine += vacuum * bare_disc(grid.k, first.semi_angle, edge, 1)[0].reshape(grid.shape)
    pattern = recorded(grid, fine, first.blur * first.camera.scale)
    pattern += (1 - vacuum) * sum(weight * diffuse_part(library, each) for weight, each in parts)
    expected = first.electrons * (0.9 * pattern / pattern.sum() + 0.1 / pattern.size)
    return np.random.default_rng(4).poisson(expected)


def near(thickness=30.0, tilt=FRAME.tilt):
    camera = FRAME.camera
    return Candidate(thickness, *tilt, camera.centre_x, camera.centre_y, camera.scale, camera.rotation)


@pytest.fixture(scope="module")
def make(small_library):
    """make(free=…) → a fitter of the small library."""
    return lambda **options: Fitter(small_library, FRAME.semi_angle, workers=2, **options)


@pytest.fixture(scope="module")
def plain(make):
    return make()


@pytest.fixture(scope="module")
def half_empty(small_library):
    return image_of(small_library, [(1.0, FRAME)], vacuum=0.4)


def within(parameter, truth, errors=3.5):
    return abs(parameter.value - truth) < errors * parameter.stderr


def test_one_flat_crystal_is_asked_nothing(plain, small_library):
    result = plain.refine(make_frame(image_of(small_library, [(1.0, FRAME)])), near())
    assert result.ok and "vacuum" not in result.parameters
    assert within(result["thickness"], 30.0)


def test_vacuum_is_found_and_reported(plain, half_empty):
    result = plain.refine(make_frame(half_empty), near())
    assert result.ok, result.message
    assert within(result["vacuum"], 0.4) and result["vacuum"].stderr < 0.02
    assert within(result["thickness"], 30.0) and within(result["tilt_x"], 0.6)
    assert result.to_json()["vacuum"]["value"] == result["vacuum"].value
    assert "vacuum" in result.report()
    assert "vacuum" in result.to_dataset()


def test_without_it_the_thickness_would_be_wrong(make, half_empty):
    result = make(fix={"vacuum": 0.0}).refine(make_frame(half_empty), near())
    assert not result.ok or abs(result.thickness - 30) > 0.5


def test_vacuum_can_be_freed_and_held(make, half_empty):
    freed = make(free=("vacuum",)).refine(make_frame(half_empty), near())
    assert freed.ok and within(freed["vacuum"], 0.4)
    held = make(fix={"vacuum": 0.4}).refine(make_frame(half_empty), near())
    assert held.ok and held["vacuum"].value == 0.4 and held["vacuum"].stderr is None
    assert within(held["thickness"], 30.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"thickness": 50.0}, "--free thickness_spread"),
        ({"tilt": (-0.6, 0.3)}, "--free tilt_spread"),
        ({"rotation": 57.0, "tilt": (-0.2121, -1.0607)}, "turned by 45°"),  # the tilt stays in the camera
    ],
)
def test_two_crystals_are_a_poor_match(plain, small_library, changes, words):
    parts = [(0.55, FRAME), (0.45, replace(FRAME, **changes))]
    result = plain.refine(make_frame(image_of(small_library, parts)), near())
    assert result.status.name == "poor_match"
    assert words in result.message or "of the structure is left" in result.message


def gaussian(spread, steps=13):
    x = np.linspace(-3, 3, steps)
    w = np.exp(-(x**2) / 2)
    w /= w.sum()
    return zip(w, spread * x / np.sqrt(w @ x**2), strict=True)


def test_a_wedge_is_found_where_it_is_freed(make, plain, small_library):
    parts = [(w, replace(FRAME, thickness=30 + by)) for w, by in gaussian(3.0)]
    image = make_frame(image_of(small_library, parts))
    result = make(free=("thickness_spread",)).refine(image, near())
    assert result.ok, result.message
    assert within(result["thickness_spread"], 3.0) and within(result["thickness"], 30.0)
    assert result.to_json()["thickness_spread_nm"]["stderr"] < 0.3
    without = plain.refine(image, near())
    assert "--free thickness_spread" in without.message


def test_a_bend_is_found_where_it_is_freed(make, plain, small_library):
    x, y = FRAME.tilt
    parts = [
        (w * v, replace(FRAME, tilt=(x + dx, y + dy)))
        for w, dx in gaussian(0.7, 7)
        for v, dy in gaussian(0.7, 7)
        if w * v > 1e-3
    ]
    image = make_frame(image_of(small_library, parts))
    result = make(free=("tilt_spread",)).refine(image, near())
    assert result.ok, result.message
    assert abs(result["tilt_spread"].value - 0.7) < 0.05 and within(result["tilt_y"], -0.9)
    assert "--free tilt_spread" in plain.refine(image, near()).message


def test_a_spread_that_is_not_there_has_an_interval_that_begins_at_none(make, small_library):
    image = make_frame(image_of(small_library, [(1.0, FRAME)]))
    result = make(free=("thickness_spread", "vacuum")).refine(image, near())
    assert result.ok, result.message
    for name in ("thickness_spread", "vacuum"):
        low, high = result[name].interval95
        assert low >= 0 and high > 0 and low <= 3 * result[name].stderr
    assert result["thickness_spread"].value < 1.5 and result["vacuum"].value < 0.01


def test_the_interval_of_a_spread_is_that_of_its_square():
    error, (low, high) = interval_of("thickness_spread", 3.0, 0.1)
    assert error == pytest.approx(0.1, rel=0.02)
    assert (low, high) == pytest.approx((3 - 0.196, 3 + 0.196), abs=0.01)
    error, (low, high) = interval_of("thickness_spread", 0.02, 4.0)
    assert low == 0 and error == pytest.approx(0.38, abs=0.01) and high < 0.6
    assert interval_of("thickness", 3.0, 0.1) == (0.1, pytest.approx((2.804, 3.196)))
    assert interval_of("vacuum", 0.01, 0.02)[1][0] == 0


@pytest.mark.parametrize(("freedom", "factor"), [(5, 2.5706), (30, 2.0423), (1e4, 1.9602)])
def test_few_pixels_make_wider_intervals(freedom, factor):
    """Quantiles of Student's distribution, from its tables."""
    _, (low, high) = interval_of("thickness", 40.0, 0.1, freedom)
    assert (high - low) / 2 == pytest.approx(0.1 * factor, abs=1e-5)


def test_the_score_is_the_drop_of_least_squares(plain, half_empty):
    """For a linear column the drop is what a fit with it would take away, to first order in the rest."""
    minima = plain.finder.find(make_frame(half_empty), [near()])
    fit = minima.best.fit
    test = ScoreTest(fit)
    problem, params = fit.problem, fit.lmfit_result.params
    column = problem.model.evaluate(fit.values, ("vacuum",)).pattern_slopes[0]
    drop, _, (share,) = test([column])
    columns = problem.columns(params)
    coefficients, image = problem.linear(columns)
    slopes = columns.sensitivity(coefficients)
    design = np.concatenate([columns.columns, slopes, [coefficients[0] * column]]) * problem.root_weights
    target = problem.root_weights * (problem.data - image)
    design /= np.linalg.norm(design, axis=1, keepdims=True)
    left = [
        target - part.T @ np.linalg.lstsq(part.T, target, rcond=1e-10)[0] for part in (design[:-1], design)
    ]
    expected = (left[0] @ left[0] - left[1] @ left[1]) / (target @ target) * fit.n_effective
    assert drop == pytest.approx(expected, rel=0.05) and share > 0


@pytest.mark.parametrize("size", [1e-150, 1.0, 1e150])
def test_slopes_that_are_zero_or_alike_are_left_out(size):
    """Next to nothing has no slope along the tilt; and two parameters may do the same."""
    slopes = size * np.array([[3.0, 0.0, 1.0], [0.0, 0.0, 0.0], [6.0, 0.0, 2.0]])
    found = pseudo_inverse(slopes @ slopes.T)
    expected = np.linalg.pinv(slopes / size @ slopes.T / size)
    assert np.isfinite(found).all()
    # what matters is what a column is left with beside the slopes
    column = np.array([1.0, 2.0, -1.0])
    along = slopes / size @ column
    assert along @ found @ along * size**2 == pytest.approx(along @ expected @ along, rel=1e-9)


def test_the_tail_of_a_point_spread_is_no_bend(plain, small_library):
    """Light that a scintillator spreads takes nothing of what a spread of tilt would explain."""
    image = image_of(small_library, [(1.0, replace(FRAME, electrons=3e7))]).astype(float)
    far = ndimage.gaussian_filter(image, 3.0, mode="constant")
    image = ndimage.gaussian_filter(0.88 * image + 0.12 * far, 0.8, mode="constant")
    fit = plain.finder.find(make_frame(image), [near()]).best.fit
    model = fit.problem.model
    tail = next(iter(tails_of(fit.model, model.mask, model.pixel).values()))
    alone, beside = (
        ScoreTest(replace(fit, noise=fit.noise._replace(correlation=shared)))([tail])[0]
        for shared in ((), (0.3,))
    )
    assert alone > 20 and beside < 0.05 * alone
