"""The least point of a paraboloid through the points of a lattice."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.search.paraboloid import least_between


def block(d, least, h, noise=0.0, seed=0):
    x = np.indices((3,) * d).reshape(d, -1) - 1.0 - np.asarray(least)[:, None]
    values = 5 + 0.5 * np.einsum("ai,ab,bi->i", x, h, x)
    values += noise * np.random.default_rng(seed).normal(size=values.size)
    return values[None]


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_least_point_of_a_paraboloid_is_exact(d):
    rng = np.random.default_rng(d)
    for _ in range(5):
        root = rng.normal(size=(d, d))
        h, least = root @ root.T + np.eye(d), rng.uniform(-0.6, 0.6, d)
        np.testing.assert_allclose(least_between(block(d, least, h), d)[0], least, atol=1e-9)
        near = least_between(block(d, least, h, noise=1e-3), d)[0]
        np.testing.assert_allclose(near, least, atol=0.01)


def test_where_there_is_none_nothing_moves():
    """A peak, a saddle, a point that is nearer to another, a plain, and nothing at all; beside a good one."""
    flat, none = np.ones((1, 9)), np.full((1, 9), np.nan)
    shapes = (np.eye(2) * -1, np.diag([1.0, -0.5]))
    bad = [*(block(2, (0.3, 0.2), h) for h in shapes), block(2, (1.4, 0.0), np.eye(2)), flat, none]
    found = least_between(np.concatenate([*bad, block(2, (0.3, -0.2), np.eye(2))]), 2)
    np.testing.assert_allclose(found[:5], 0)
    np.testing.assert_allclose(found[5], (0.3, -0.2), atol=1e-9)
