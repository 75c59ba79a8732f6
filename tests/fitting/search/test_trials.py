"""Trials of templates and cameras: sums of squares, units, masks and bins."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.search.rings import chi2_on_rings, without_template
from hybridfit.fitting.search.settings import SEARCH, SearchSettings
from hybridfit.fitting.search.templates import HARMONICS, background_on_rings, make_templates, tilt_grid
from hybridfit.fitting.search.trials import BinnedFrame, Trials, joined
from hybridfit.frame import Frame, make_frame
from hybridfit.pattern.binning import bin_frame, binned_cameras

SEMI_ANGLE = 9.0
TILTS = np.array([[0.0, 0.0], [0.6, -0.9], [-0.7, 1.3]])


@pytest.fixture(scope="module")
def templates(small_library):
    return make_templates(small_library, SEMI_ANGLE, np.array([12.0, 30.0, 31.0]), TILTS)


@pytest.fixture(scope="module")
def shot(simulate):
    """A frame, and cameras about its own."""
    image, truth = simulate(shape=(128, 120), scale=6.0, centre=(58.0, 66.5))
    own = np.array([truth["centre_x"], truth["centre_y"], truth["scale"]])
    return make_frame(image), own + np.array([[0, 0, 0], [1.4, 0, 0], [-0.5, 2.0, 0.3], [4, 1, -0.5]])


def trials_of(frame: Frame, templates, cameras=None) -> Trials:
    trials = Trials(BinnedFrame.of(frame, 6.0 * SEARCH.reach(SEMI_ANGLE)), templates)
    if cameras is not None:
        trials.add(cameras)
    return trials


def test_the_sum_of_squares_is_that_of_the_equation(shot, templates):
    frame, cameras = shot
    trials = trials_of(frame, templates, cameras)
    assert trials.frame.factor == 2
    image, valid = bin_frame(frame.image, frame.valid, 2)
    small = binned_cameras(cameras, 2)
    null, pixels = without_template(image, valid, small, SEMI_ANGLE, SEARCH.beyond_disc)
    relative, rotations, power = chi2_on_rings(image, templates, small)
    squares = null[:, None] - (pixels * power)[:, None] * (1 - relative)
    unit = squares[0, 0] / trials.squares[0, 0]
    assert np.log2(unit) % 2 == 0  # the square of a power of two: no digit changes
    np.testing.assert_array_equal(trials.squares * unit, squares)
    np.testing.assert_array_equal(trials.relative, relative)
    np.testing.assert_array_equal(trials.rotations, rotations)
    best = squares.min(axis=1).argmin()
    expected = 1 - (null[best] - squares) / (pixels * power)[best]
    np.testing.assert_allclose(trials.chi2(), expected, atol=1e-6)
    assert trials.best_camera() == best == 0


def test_cameras_may_come_in_any_order_and_portion(shot, templates):
    frame, cameras = shot
    at_once = trials_of(frame, templates, cameras)
    portions = trials_of(frame, templates, cameras[:1])
    first = portions.chi2()
    portions.add(cameras[1:2])
    others = portions.of(templates)
    others.add(cameras[2:])
    portions.join(others)
    assert first.shape == (1, 9)
    np.testing.assert_array_equal(portions.cameras, at_once.cameras)
    for name in ("relative", "rotations", "squares"):  # the last bits of a product depend on its size
        scale = np.abs(getattr(at_once, name)).max()
        np.testing.assert_allclose(getattr(portions, name), getattr(at_once, name), atol=1e-5 * scale)
    np.testing.assert_allclose(portions.chi2(), at_once.chi2(), atol=1e-5)
    assert list(portions.best_cameras(2)) == list(np.argsort(at_once.squares.min(axis=1))[:2])


def test_least_by_thickness(shot, templates):
    trials = trials_of(*shot[:1], templates, shot[1])
    chi2 = trials.chi2()
    curve = trials.least_by_thickness(chi2)
    np.testing.assert_array_equal(curve[0], [12.0, 30.0, 31.0])
    np.testing.assert_array_equal(curve[1], [chi2[:, i : i + 3].min() for i in (0, 3, 6)])


def test_the_candidate_is_the_library_point(shot, templates):
    trials = trials_of(*shot[:1], templates, shot[1])
    best = trials.candidates(trials.chi2(), 4, 5)[0]
    assert best.thickness == 30.0
    assert (best.centre_x, best.centre_y, best.scale) == tuple(shot[1][0])
    assert best.rotation == pytest.approx(12.0, abs=0.5)


@pytest.mark.parametrize("unit", [2.0**-90, 1e-9, 3.0, 2.0**40, 1e25])
def test_the_unit_of_the_intensity_has_no_say(shot, templates, unit):
    """Counts, electrons per second, or a frame whose sum is 1."""
    frame, cameras = shot
    usual = trials_of(frame, templates, cameras)
    other = trials_of(Frame(frame.image * unit, frame.valid, "array"), templates, cameras)
    if np.log2(unit) % 1 == 0:
        np.testing.assert_array_equal(other.chi2(), usual.chi2())
        np.testing.assert_array_equal(other.relative, usual.relative)
    else:
        np.testing.assert_allclose(other.chi2(), usual.chi2(), atol=5e-6)
        np.testing.assert_allclose(other.relative, usual.relative, atol=5e-6)


@pytest.mark.parametrize("garbage", [0.0, 1e6, 1e300])
def test_what_lies_under_a_mask_has_no_say(shot, templates, garbage):
    frame, cameras = shot
    valid = frame.valid.copy()
    valid[70:80, 42:51] = False
    one, other = (
        trials_of(Frame(np.where(valid, frame.image, under), valid, "array"), templates, cameras)
        for under in (0.5, garbage)
    )
    np.testing.assert_array_equal(one.chi2(), other.chi2())
    np.testing.assert_array_equal(one.rotations, other.rotations)


def test_a_frame_of_which_few_pixels_are_left(simulate, small_library):
    """Less than half of every block is valid: smaller blocks are taken, down to the pixels themselves."""
    frame = make_frame(simulate(shape=(144, 144), scale=7.0)[0])
    row, col = np.indices(frame.image.shape)
    sparse = Frame(frame.image, (row % 3 == 0) & (col % 3 == 0), "array")
    binned = BinnedFrame.of(sparse, 7.0 * SEARCH.reach(SEMI_ANGLE))
    assert binned.factor == 1 and binned.valid.sum() == sparse.valid.sum()
    coarse = SearchSettings(searched_radius_px=20)
    assert BinnedFrame.of(frame, 7.0 * SEARCH.reach(SEMI_ANGLE), coarse).factor == 4


def test_joined_curves():
    a, b = np.array([[1.0, 2.0], [0.5, 0.4]]), np.array([[2.0, 3.0], [0.3, 0.9]])
    np.testing.assert_array_equal(joined([a, b]), [[1, 2, 3], [0.5, 0.3, 0.9]])
    assert joined([]).shape == (2, 0)


def test_inside_the_disc_a_soft_rim_does_not_matter(small_library, simulate):
    """A soft and oval rim speaks for a wrong library point; the fringes inside speak for the right one."""
    tilts = tilt_grid(2.0, small_library.rotation_order)
    points = make_templates(small_library, SEMI_ANGLE, np.arange(10.0, 41.0, 2.0), tilts)
    image, truth = simulate(
        shape=(128, 128), scale=6.0, centre=(62.0, 64.5), thickness=30.0, blur=0.9, ellipticity=(0.03, 0.0)
    )
    own = np.array([[truth["centre_x"], truth["centre_y"], truth["scale"]]])
    trials = Trials(BinnedFrame.of(make_frame(image), 6.0 * SEARCH.reach(SEMI_ANGLE)), points)
    trials.add(own)
    inside = trials.inside()
    assert inside.chi2().shape == inside.rotations.shape == (1, len(points.thickness))
    assert abs(points.thickness[inside.chi2()[0].argmin()] - 30.0) <= 2.0
    assert inside.chi2().min() >= 0
    np.testing.assert_array_equal(inside.cameras, own)
    # the rim does not count: what is added outside of the disc changes nothing
    rows, cols = np.indices(image.shape)
    outside = np.hypot(cols - own[0, 0], rows - own[0, 1]) > 1.0 * SEMI_ANGLE * own[0, 2]
    other = Trials(BinnedFrame.of(make_frame(image + 50.0 * outside), 6.0 * SEARCH.reach(SEMI_ANGLE)), points)
    other.add(own)
    np.testing.assert_allclose(other.inside().chi2(), inside.chi2(), atol=2e-3)


def test_background_on_some_rings_is_taken_out_of_the_inside(templates):
    seen = templates.radii < SEMI_ANGLE - SEARCH.rim
    inner = templates.inside(SEARCH.rim)
    q = background_on_rings(templates.radii, SEMI_ANGLE, seen)
    assert inner.shape == (HARMONICS, 2 * seen.sum(), len(templates.thickness))
    mean = inner[0].reshape(2, seen.sum(), -1)
    np.testing.assert_allclose(np.einsum("rn,crt->cnt", q, mean), 0, atol=1e-6)
    power = (inner**2).sum(axis=1) * np.where(np.arange(HARMONICS) == 0, 1, 2)[:, None]
    np.testing.assert_allclose(power.sum(axis=0), 1, atol=1e-5)
