"""Normal equations of a projected problem, from inner products of everything that an image is made of.

The rows X are the columns of the model, their slopes, those of the background along the centre, and the
data.  With G = X W Xᵀ all that a step of Levenberg and Marquardt needs is algebra of small matrices: with A
the part of the columns, b that of columns and data,

    c = A⁻¹ b,      |r|² = G_dd − bᵀ c,

and with T the combination of rows that is ∂model/∂θ at these coefficients c,

    S Sᵀ = T G Tᵀ − (T G_c) A⁻¹ (T G_c)ᵀ,      S r = T (G_d − G_c c).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.refine.algebra import inverse_of
from hybridfit.fitting.refine.pairs import product
from hybridfit.pattern.camera import Camera, chain
from hybridfit.pattern.columns import CAMERA, Columns
from hybridfit.pattern.jit import kernel

Array = NDArray[np.float64]

CENTRE = ("centre_x", "centre_y")
CHUNK = 256  # pixels at a time


class Normal(NamedTuple):
    """|r|², S Sᵀ (p, p) and S r (p,) of a problem with p parameters."""

    cost: float
    normal: Array
    slope: Array


@kernel
def gram(columns, slopes, towards_x, towards_y, moves, data, root_weights):
    """G of the rows: columns (c, n), slopes (p, n), 2 (c − 1) of the background along the centre, data (n,).

    Parameters
    ----------
    towards_x, towards_y : (c − 1, n) arrays
        Gradients of the background along k.
    moves : (2, 2) array
        Derivatives of k along the centre, in its columns.
    root_weights : (n,) array
    """
    c, p, m, n = columns.shape[0], slopes.shape[0], towards_x.shape[0], data.size
    size = c + p + 2 * m + 1
    rows, out = np.empty((size, CHUNK)), np.zeros((size, size))
    for start in range(0, n, CHUNK):
        count = min(CHUNK, n - start)
        w = root_weights[start : start + count]
        for i in range(c):
            for j in range(count):
                rows[i, j] = columns[i, start + j] * w[j]
        for i in range(p):
            for j in range(count):
                rows[c + i, j] = slopes[i, start + j] * w[j]
        for i in range(m):
            for a in range(2):
                for j in range(count):
                    x, y = towards_x[i, start + j], towards_y[i, start + j]
                    rows[c + p + 2 * i + a, j] = (moves[0, a] * x + moves[1, a] * y) * w[j]
        for j in range(count):
            rows[size - 1, j] = data[start + j] * w[j]
        for i in range(size):
            for k in range(i + 1):
                out[i, k] += product(rows[i, :count], rows[k, :count])
    for i in range(size):
        for k in range(i):
            out[k, i] = out[i, k]
    return out


def normal_of(columns: Columns, data: Array, root_weights: Array) -> Normal | None:
    """The normal equations at columns whose slopes are known along a centre and what leaves it where it is.

    None for other columns: where a camera changes otherwise, or something is added that is not free.

    Parameters
    ----------
    columns : Columns
    data, root_weights : (n,) arrays
    """
    moved = [name for name in columns.names if name in CAMERA]
    known = columns.pattern_slopes is not None and columns.background is not None and columns.names
    if not known or any(name not in CENTRE for name in moved) or columns.fixed.any():
        return None
    assert columns.pattern_slopes is not None and columns.background is not None
    k, along_x, along_y = columns.background
    c, p = len(columns.columns), len(columns.names)
    m = c - 1
    g = gram(
        columns.columns,
        columns.pattern_slopes,
        along_x,
        along_y,
        _moves(k[:, :1], columns.camera),
        data,
        root_weights,
    )
    inverse = inverse_of(g[:c, :c])
    b = g[:c, -1]
    coefficients = inverse @ b
    turn = np.zeros((p, len(g) - 1))
    turn[:, c : c + p] = coefficients[0] * np.eye(p)
    for i, name in enumerate(columns.names):
        if name in CENTRE:
            turn[i, c + p + CENTRE.index(name) :: 2] = coefficients[1 : 1 + m]
    along = turn @ g[:-1, :c]
    normal = turn @ g[:-1, :-1] @ turn.T - along @ inverse @ along.T
    slope = turn @ (g[:-1, -1] - g[:-1, :c] @ coefficients)
    return Normal(float(g[-1, -1] - b @ coefficients), normal, slope)


def _moves(k: Array, camera: Camera | None) -> Array:
    """(2, 2): derivatives of kx and ky (rows) along the centre; they are the same at all k (2, 1)."""
    one, none = np.ones(1), np.zeros(1)
    each = [chain(k, *unit, camera) for unit in ((one, none), (none, one))]
    return np.array([[float(found[CAMERA.index(name)][0]) for name in CENTRE] for found in each])
