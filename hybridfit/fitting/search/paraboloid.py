"""The least of functions between the points of a lattice, from their values there.

On the points {−1, 0, 1}^d about the least one, least squares find g and H of f ≈ f₀ + g·x + ½ x·H x; the
least of this paraboloid lies at x = −H⁻¹ g.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FARTHEST = 1.0  # steps of the lattice: a least point that is farther away belongs to another point


def least_between(values: Array, d: int) -> Array:
    """(b, d) steps: where paraboloids through the values (b, 3^d) of {−1, 0, 1}^d are least.

    The last coordinate runs fastest.  Zeros where there is no least point, or one farther than a step.
    """
    pairs, solve = _solver(d)
    values = np.asarray(values, float)
    usable = np.asarray(np.isfinite(values).all(axis=1))
    found = np.where(usable[:, None], values, 0.0) @ solve.T
    gradient, h = found[:, 1 : 1 + d], np.zeros((len(found), d, d))
    for (a, b), each in zip(pairs, found[:, 1 + d :].T, strict=True):
        h[:, a, b] += each
        h[:, b, a] += each
    usable &= np.linalg.eigvalsh(h)[:, 0] > 0
    h[~usable] = np.eye(d)
    least = -np.linalg.solve(h, gradient[:, :, None])[:, :, 0]
    usable &= np.abs(least).max(axis=1) <= FARTHEST
    return np.where(usable[:, None], least, 0.0)


@lru_cache
def _solver(d: int) -> tuple[list[tuple[int, int]], Array]:
    """Pairs of axes of the second-order terms, and the matrix that takes values to coefficients."""
    x = np.indices((3,) * d).reshape(d, -1) - 1.0
    pairs = list(combinations_with_replacement(range(d), 2))
    design = np.stack([np.ones(x.shape[1]), *x, *(x[a] * x[b] for a, b in pairs)], axis=1)
    return pairs, np.linalg.pinv(design)
