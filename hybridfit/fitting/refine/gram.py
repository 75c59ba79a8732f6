"""Normal equations of a projected problem, from inner products of everything that an image is made of.

With W the weights, X the columns of the model and y the data, what a step of Levenberg and Marquardt needs is
algebra of small matrices: with A = X W Xᵀ and b = X W y,

    c = A⁻¹ b,      |r|² = yᵀ W y − bᵀ c,

and with T = ∂model/∂θ at these coefficients c,

    S Sᵀ = T W Tᵀ − (T W Xᵀ) A⁻¹ (T W Xᵀ)ᵀ,      S r = T W y − (T W Xᵀ) c.

The rows of T are c₀ times the slopes of the pattern; those along the centre also have what moves the
background.
"""

from __future__ import annotations

from functools import lru_cache
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
def among(columns, data, root_weights):
    """(c + 1, c + 1): inner products of columns (c, n) and data (n,), under the weights."""
    c, n = columns.shape[0], data.size
    rows, out = np.empty((c + 1, CHUNK)), np.zeros((c + 1, c + 1))
    for start in range(0, n, CHUNK):
        count = min(CHUNK, n - start)
        w = root_weights[start : start + count]
        for i in range(c):
            for j in range(count):
                rows[i, j] = columns[i, start + j] * w[j]
        for j in range(count):
            rows[c, j] = data[start + j] * w[j]
        for i in range(c + 1):
            for k in range(i + 1):
                out[i, k] += product(rows[i, :count], rows[k, :count])
    for i in range(c + 1):
        for k in range(i):
            out[k, i] = out[i, k]
    return out


@kernel
def along(columns, slopes, towards_x, towards_y, turned, data, root_weights):
    """(p, p + c + 1): inner products of the rows of T with each other, columns (c, n) and data (n,).

    Parameters
    ----------
    slopes : (p, n) array
        Of the pattern, per unit of its coefficient.
    towards_x, towards_y : (c − 1, n) arrays
        Gradients of the background along k.
    turned : (p, 1 + 2 (c − 1)) array
        What a row of T has of the slope of the pattern, and of those gradients, x and y in turn.
    root_weights : (n,) array
    """
    c, p, m, n = columns.shape[0], slopes.shape[0], towards_x.shape[0], data.size
    rows, out = np.empty((p + c + 1, CHUNK)), np.zeros((p, p + c + 1))
    moved = np.zeros(p, np.bool_)
    for i in range(p):
        for k in range(1, turned.shape[1]):
            moved[i] |= turned[i, k] != 0
    for start in range(0, n, CHUNK):
        count = min(CHUNK, n - start)
        w = root_weights[start : start + count]
        for i in range(p):
            whole = turned[i, 0]
            for j in range(count):
                rows[i, j] = whole * slopes[i, start + j] * w[j]
            if moved[i]:
                for k in range(m):
                    by_x, by_y = turned[i, 1 + 2 * k], turned[i, 2 + 2 * k]
                    for j in range(count):
                        at = start + j
                        rows[i, j] += (by_x * towards_x[k, at] + by_y * towards_y[k, at]) * w[j]
        for i in range(c):
            for j in range(count):
                rows[p + i, j] = columns[i, start + j] * w[j]
        for j in range(count):
            rows[p + c, j] = data[start + j] * w[j]
        for i in range(p):
            for k in range(i, p + c + 1):
                out[i, k] += product(rows[i, :count], rows[k, :count])
    for i in range(p):
        for k in range(i):
            out[i, k] = out[k, i]
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
    if not known or any(name not in CENTRE for name in moved) or columns.fixed or columns.per_nm:
        return None
    assert columns.pattern_slopes is not None and columns.background is not None
    _, along_x, along_y = columns.background
    c, p = len(columns.columns), len(columns.names)
    g = among(columns.columns, data, root_weights)
    inverse = inverse_of(g[:c, :c])
    b = g[:c, -1]
    coefficients = inverse @ b
    turned = np.zeros((p, 2 * c - 1))
    turned[:, 0] = coefficients[0]
    assert columns.camera is not None
    moves = _moves(columns.camera._replace(centre_x=0.0, centre_y=0.0))
    for i, name in enumerate(columns.names):
        if name in CENTRE:
            turned[i, 1:] = np.outer(coefficients[1:], moves[:, CENTRE.index(name)]).ravel()
    t = along(columns.columns, columns.pattern_slopes, along_x, along_y, turned, data, root_weights)
    to_columns = t[:, p:-1]
    normal = t[:, :p] - to_columns @ inverse @ to_columns.T
    slope = t[:, -1] - to_columns @ coefficients
    return Normal(float(g[-1, -1] - b @ coefficients), normal, slope)


@lru_cache
def _moves(camera: Camera) -> Array:
    """(2, 2): derivatives of kx and ky (rows) along the centre; they are the same at all k."""
    one, none, k = np.ones(1), np.zeros(1), np.zeros((2, 1))
    each = [chain(k, *unit, camera) for unit in ((one, none), (none, one))]
    return np.array([[float(found[CAMERA.index(name)][0]) for name in CENTRE] for found in each])
