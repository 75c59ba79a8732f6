"""Node patterns against `compose`, which they must equal but for rounding, and what they do with memory."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.pattern import node_bends as single
from hybridfit.pattern import node_kernels as module
from hybridfit.pattern import nodes as user
from hybridfit.pattern.compose import compose
from hybridfit.pattern.expand import at_thickness, unfold
from hybridfit.pattern.nodes import Added, Aperture, Grids, Nodes
from hybridfit.pattern.pool import Pool

SEMI_ANGLE, HALF_EDGE, TILT_MOST = 5.0, 0.3, 1.5
PLACES = [
    (21.4, (0.4, -0.7)),
    (20.0, (0.0, 0.0)),
    (22.95, (-1.3, 0.6)),
    (21.5, (1.0, 1.1)),
    (22.0, (1.5, -1.5)),
]


@pytest.fixture(scope="module")
def points():
    """Points (2, n) that lie at all fractions of a cell, some of them outside all discs."""
    row, col = np.indices((23, 25)) - 11.6
    k = np.stack([0.71 * col + 0.13 * row, 0.69 * row - 0.2 * col]).reshape(2, -1)
    return np.ascontiguousarray(k[:, np.hypot(*k) < 9])


def composed(table, k, thickness, tilt):
    """P and its derivatives along thickness and tilt."""
    unfolded = unfold(
        table, at_thickness(table, thickness), tilt, SEMI_ANGLE, HALF_EDGE, float(np.hypot(*k).max())
    )
    return compose(k[0], k[1], table, unfolded, *tilt, SEMI_ANGLE, HALF_EDGE)[[0, 5, 3, 4]]


def nodes_of(table, k, rims=False, source=None, **options):
    grids = Grids(table, SEMI_ANGLE + HALF_EDGE, TILT_MOST, source)
    return Nodes(grids, k, Aperture(SEMI_ANGLE, HALF_EDGE, rims), **options)


def assert_same(found, expected):
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert np.abs(a - b).max() < (3e-3 if i else 1e-4) * np.abs(b).max()  # whole numbers of 16 bits


@pytest.mark.parametrize(
    ("crystal", "zone"),
    [("Si", (1, 1, 0)), ("threefold", (0, 0, 1)), ("monoclinic", (0, 1, 0)), ("triclinic", (0, 0, 1))],
)
def test_they_are_the_composed_pattern(build_library, points, crystal, zone):
    table = build_library(crystal, zone, semi_angle_max=6.5, tilt_max=TILT_MOST).table()
    found = nodes_of(table, points)
    for thickness, tilt in PLACES:
        assert_same(found.at(thickness, tilt), composed(table, points, thickness, tilt))


@pytest.fixture(scope="module")
def table(build_library):
    return build_library("fourfold", (0, 0, 1), semi_angle_max=6.5, tilt_max=TILT_MOST).table()


def test_plain_python_gives_the_same(table, points, plain_python, monkeypatch):
    expected = nodes_of(table, points[:, ::9].copy()).at(*PLACES[0]).copy()
    added = {"add_scaled_4": lambda total, to, source, at, w: _add(total, to, source, at, w)}
    kernels = plain_python(module, **added)
    assert kernels >= 10
    for name in ("add_smooth", "combine", "entries_at", "fill_tile", "largest", "pack", "undo_symmetry"):
        monkeypatch.setattr(user, name, getattr(module, name))
    found = nodes_of(table, points[:, ::9].copy()).at(*PLACES[0])
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_values_alone_are_those_with_derivatives(table, points):
    found = nodes_of(table, points)
    for place in PLACES:
        expected = found.at(*place)[0].copy()
        np.testing.assert_allclose(found.values_at(*place), expected, atol=2e-6 * expected.max())


def test_second_derivatives_are_differences_of_slopes(table, points):
    """Within a cell of every point: polynomials of neighbouring cells have other second derivatives."""
    found, step = nodes_of(table, points), 2e-3
    for thickness, (x, y) in PLACES:
        xx, xy, yy = found.bends_at(thickness, (x, y))
        at = [
            found.at(thickness, (x + dx, y + dy))[2:].astype(float)
            for dx, dy in ((step, 0), (-step, 0), (0, step), (0, -step))
        ]
        (d_xx, d_xy), (d_yx, d_yy) = (at[0] - at[1]) / (2 * step), (at[2] - at[3]) / (2 * step)
        for bend, difference in ((xx, d_xx), (xy, d_xy), (xy, d_yx), (yy, d_yy)):
            off = np.abs(bend - difference)
            assert np.quantile(off, 0.97) < 0.02 * np.abs(bend).max()


@pytest.mark.parametrize("few", [False, True])
def test_a_layer_is_the_pattern_at_its_thickness(table, points, few):
    """Of single layers, grids need not be whole."""
    whole, found = nodes_of(table, points), nodes_of(table, points, few=few)
    for _, tilt in PLACES:
        for i in (1, 3):
            thickness = table.thickness_first + i * table.thickness_step
            expected = whole.at(thickness, tilt)[0].copy()
            np.testing.assert_allclose(found.layer_at(i, tilt), expected, atol=2e-4 * expected.max())


def test_bends_along_the_thickness_are_differences_of_slopes(table, points):
    found, step = nodes_of(table, points), 1e-2
    for thickness, tilt in ((21.4, (0.4, -0.7)), (22.95, (-1.3, 0.6))):
        up, down = (found.at(thickness + side * step, tilt)[1].astype(float) for side in (1, -1))
        bend = found.thickness_bend(thickness, tilt)
        assert np.abs(bend - (up - down) / (2 * step)).max() < 0.02 * np.abs(bend).max()


def test_plain_python_looks_once_as_well(table, points, plain_python, monkeypatch):
    found = nodes_of(table, points[:, ::9].copy())
    expected = found.values_at(*PLACES[0]), found.bends_at(*PLACES[0])
    assert plain_python(single) == 8
    for name in ("combine_values", "combine_bends"):
        monkeypatch.setattr(user, name, getattr(single, name))
    for mine, theirs in zip((found.values_at(*PLACES[0]), found.bends_at(*PLACES[0])), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5 * expected[0].max())


def _add(total, to, source, at, factor):
    total[to : to + 4] += factor * source[at : at + 4]


def test_tiles_that_are_there_are_not_made_again(table, points):
    found = nodes_of(table, points)
    first = found.at(*PLACES[0]).copy()
    made = found.made
    assert 0 < made <= 16
    assert (found.at(*PLACES[0]) == first).all() and found.made == made


def test_memory_is_bounded(table, points):
    found = nodes_of(table, points, memory=0.0)
    first = found.at(*PLACES[0]).copy()
    room = len(found._bank)
    rng = np.random.default_rng(0)
    for _ in range(25):
        found.at(rng.uniform(20, 23), tuple(rng.uniform(-1, 1, 2)))
    assert len(found._bank) == room and len(found._tiles) <= 40 < found.made
    assert (found.at(*PLACES[0]) == first).all()


def test_threads_share_the_work(table, points):
    one, two = (nodes_of(table, points, pool=Pool(n)).at(*PLACES[0]) for n in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-6 * np.abs(one).max())


def test_rims_are_the_derivative_along_the_semi_angle(table, points):
    found = nodes_of(table, points, rims=True)
    for thickness, tilt in PLACES:
        unfolded = unfold(
            table, at_thickness(table, thickness), tilt, SEMI_ANGLE, HALF_EDGE, float(np.hypot(*points).max())
        )
        expected = compose(points[0], points[1], table, unfolded, *tilt, SEMI_ANGLE, HALF_EDGE)[6]
        assert np.abs(found.at(thickness, tilt)[0] - expected).max() < 4e-4 * np.abs(expected).max()


def test_other_intensities_may_be_given(table, points):
    double = nodes_of(table, points, source=lambda i: 2 * table.intensity[i])
    np.testing.assert_allclose(
        double.at(*PLACES[0]), 2 * nodes_of(table, points).at(*PLACES[0]), rtol=1e-5, atol=1e-6
    )


def test_a_smooth_image_is_added_at_the_tilt_of_every_point(table, points):
    """An image linear in thickness and tilt must come back as it is."""
    along_x, along_y = np.float32([0.3, -0.2]), np.float32([0.5, 0.1])
    whole = np.arange(points.shape[1]) % 2

    def smooth(i, tilt):
        x, y = tilt
        value = (7 + 2 * i + along_x * x + along_y * y).astype(np.float32)
        return value, np.stack([along_x, along_y])

    plain, more = nodes_of(table, points), nodes_of(table, points, added=Added(smooth, whole))
    for thickness, (x, y) in PLACES:
        i = (thickness - table.thickness_first) / table.thickness_step
        added = more.at(thickness, (x, y)) - plain.at(thickness, (x, y))
        expected = 7 + 2 * i + along_x[whole] * x + along_y[whole] * y
        np.testing.assert_allclose(added[0], expected, atol=1e-2)
        np.testing.assert_allclose(added[1], 2 / table.thickness_step, atol=2e-2)
        np.testing.assert_allclose(added[2:], [along_x[whole], along_y[whole]], atol=5e-2)
