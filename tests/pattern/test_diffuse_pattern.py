"""Diffuse patterns against sums over the aperture by hand, finite differences and symmetry."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.pattern.diffuse import DiffuseTable
from hybridfit.pattern.diffuse_near import NearDiffuse
from hybridfit.pattern.settings import MODEL

SQUARE = np.array([[[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]])
MIRROR = np.array([[0, 1], [1, 0]])
C4V = np.concatenate([SQUARE, SQUARE @ MIRROR])
STEP, INCIDENT, EXIT = 2.5, 3.0, 1.2
ALPHA, TILT, T = 9.0, (1.3, -0.8), 21.0


def density(p, q, t):
    """A smooth D(p; q, t) with the symmetry of a square; p, q (2, …) mrad."""
    far = ((p - q) ** 2).sum(axis=0)
    band = np.cos(p[0] / 6) * np.cos(p[1] / 6) + 0.3 * np.cos(q[0] / 9) * np.cos(q[1] / 9)
    return 1e-4 * np.exp(-far / 800) * (1 + 0.4 * band * np.sin(t / 15)) * t


def nodes(step, reach, wedge):
    n = np.arange(-60, 61)
    every = np.stack(np.meshgrid(n, n, indexing="ij"), axis=-1).reshape(-1, 2)
    every = every[np.hypot(*every.T) * step <= reach]
    return every[(every[:, 0] >= every[:, 1]) & (every[:, 1] >= 0)] if wedge else every


@pytest.fixture(scope="module")
def table():
    q, p = nodes(INCIDENT, 20, True), nodes(EXIT, 30, False)
    ts = STEP * np.arange(1, 17)
    intensity = density(
        EXIT * p.T[:, None, None, :], INCIDENT * q.T[:, None, :, None], ts[:, None, None]
    ).astype(np.float32)
    return DiffuseTable(intensity, STEP, q, p, INCIDENT * np.eye(2), EXIT * np.eye(2), C4V)


@pytest.fixture(scope="module")
def k():
    rng = np.random.default_rng(0)
    r, phi = 17 * np.sqrt(rng.random(60)), rng.uniform(0, 2 * np.pi, 60)
    return np.stack([r * np.cos(phi), r * np.sin(phi)])


def by_hand(k, t, tilt, alpha):
    x = np.linspace(-alpha, alpha, 301)
    kappa = np.stack(np.meshgrid(x, x, indexing="ij")).reshape(2, -1)
    kappa = kappa[:, np.hypot(*kappa) < alpha] + np.array(tilt)[:, None]
    return np.array([density((point + tilt)[:, None], kappa, t).sum() * (x[1] - x[0]) ** 2 for point in k.T])


def test_a_pattern_is_the_sum_over_the_directions_in_the_aperture(table, k):
    assert table.at(k, T, TILT, ALPHA).value == pytest.approx(by_hand(k, T, TILT, ALPHA), rel=2e-3)


def test_nothing_is_scattered_by_no_crystal(table, k):
    assert np.abs(table.at(k, 0.0, TILT, ALPHA).value).max() < 1e-9


@pytest.mark.parametrize("name", ["kx", "ky", "thickness", "tilt_x", "tilt_y", "semi_angle"])
def test_derivatives_are_those_of_the_values(table, k, name):
    def at(shift):
        tilt = (TILT[0] + shift * (name == "tilt_x"), TILT[1] + shift * (name == "tilt_y"))
        moved = k + shift * np.array([[name == "kx"], [name == "ky"]])
        return table.at(
            moved, T + shift * (name == "thickness"), tilt, ALPHA + shift * (name == "semi_angle")
        )

    found = at(0.0)
    slope = {
        "kx": found.slopes_k[0],
        "ky": found.slopes_k[1],
        "thickness": found.slope_thickness,
        "tilt_x": found.slopes_tilt[0],
        "tilt_y": found.slopes_tilt[1],
        "semi_angle": found.slope_semi_angle,
    }[name]
    step = 0.02
    expected = (at(step).value - at(-step).value) / (2 * step)
    assert slope == pytest.approx(expected, abs=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("r", C4V)
def test_a_tilt_turned_by_the_symmetry_turns_the_pattern(table, k, r):
    turned = table.at(r @ k, T, tuple(r @ TILT), ALPHA).value
    assert turned == pytest.approx(table.at(k, T, TILT, ALPHA).value, rel=1e-5)


def test_directions_beyond_the_table_have_the_nearest_value(table):
    far = np.array([[50.0], [0.0]])
    assert np.isfinite(table.at(far, T, (12.0, 9.0), 15.0).value).all()


@pytest.mark.parametrize("thickness", [1.0, 6.3, T, 38.0])
def test_images_on_the_grid_of_exits_are_the_pattern(table, thickness):
    """At pixels of a turned camera, some of them beyond the stored exits."""
    origin, steps, shape = np.array([-21.0, -13.0]), np.array([[2.1, -0.4], [0.5, 1.9]]), (14, 17)
    first, weights = table.layers(thickness)
    exits = weights.astype(np.float32) @ table.exits(slice(first, first + 4), TILT, ALPHA)
    found = table.on_camera(exits, origin + np.array(TILT), steps, shape)
    row, col = np.indices(shape)
    k = origin[:, None] + steps @ np.stack([col.ravel(), row.ravel()])
    expected = table.at(k, thickness, TILT, ALPHA).value.reshape(shape)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())


NEAR, WITHIN = MODEL.diffuse_near


@pytest.mark.parametrize("by", [(0.9, 0.0, 0.0, 0.0), (0.0, 0.9, 0.0, 0.0), (-0.7, 0.5, -0.6, 0.3)])
def test_near_values_follow_the_slopes_of_those_before(table, k, by):
    near = NearDiffuse(table)
    before = near.at(k, T, TILT, ALPHA)
    assert np.array_equal(before.value, table.at(k, T, TILT, ALPHA).value)
    dt, dx, dy, da = np.array(by) * (NEAR, WITHIN, WITHIN, WITHIN)
    tilt = (TILT[0] + dx, TILT[1] + dy)
    found, exact = near.at(k, T + dt, tilt, ALPHA + da), table.at(k, T + dt, tilt, ALPHA + da)
    most = exact.value.max()
    assert found.value == pytest.approx(exact.value, abs=1e-3 * most)
    moved = np.abs(exact.value - before.value).max()
    assert np.abs(found.value - exact.value).max() < 0.1 * moved
    assert found.slopes_tilt == pytest.approx(exact.slopes_tilt, abs=0.1 * np.abs(exact.slopes_tilt).max())


def test_far_values_are_made_anew(table, k):
    near = NearDiffuse(table)
    near.at(k, T, TILT, ALPHA)
    found = near.at(k, T + 1.01 * NEAR, TILT, ALPHA)
    assert np.array_equal(found.value, table.at(k, T + 1.01 * NEAR, TILT, ALPHA).value)
