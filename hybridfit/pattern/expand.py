"""From the stored table to the intensities around one tilt: thickness and symmetry.

I_g is known on a grid of directions q commensurate with the reciprocal lattice: grid coordinates
are ν = G·q, and beam g = n₁g₁ + n₂g₂ is a shift by (N₁n₁, N₂n₂).  Only directions in the symmetry
wedge are stored: a grid point q is brought there by the operation R, and I_g(q) = I_{Rg}(Rq);
`expand` undoes that once per pattern.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.jit import kernel
from hybridfit.pattern.pool import Pool

Array = NDArray[np.float64]
INTERPOLATION_REACH = 3.0  # grid steps that the 4 × 4 stencil and its rounding reach beyond a point


class Table(NamedTuple):
    """Beam intensities as the kernels read them.

    Attributes
    ----------
    intensity : (thickness, beam, direction) float32
        Of the first beams, at least as many as beam_n has.
    thickness_first, thickness_step : float, nm
    to_grid : (2, 2) float64
        ν = to_grid @ k with k in mrad.
    sampling : (2,) int64
        Grid points per basis vector, N₁, N₂.
    beam_n : (beam, 2) int64
        (n₁, n₂) of each beam.
    beam_xy : (beam, 2) float64
        Position of each beam (mrad).
    beam_at : (·, ·) int32
        Beam index at [n₁ + o₁, n₂ + o₂], −1 where there is none; o is half its shape.
    permutation : (operation, beam) int32
        Index of R g.
    direction_at, operation_at : (·, ·) int32
        Grid point m is brought by the operation R to the stored direction: their indices at
        [m₁ + o₁, m₂ + o₂], −1 outside; o is half the shape.
    """

    intensity: NDArray[np.float32]
    thickness_first: float
    thickness_step: float
    to_grid: Array
    sampling: NDArray[np.int64]
    beam_n: NDArray[np.int64]
    beam_xy: Array
    beam_at: NDArray[np.int32]
    permutation: NDArray[np.int32]
    direction_at: NDArray[np.int32]
    operation_at: NDArray[np.int32]


@kernel
def lagrange(x, weights, slopes):
    """Four-point Lagrange weights, and their derivatives, at x for nodes −1, 0, 1, 2."""
    weights[0] = -x * (x - 1) * (x - 2) / 6
    weights[1] = (x + 1) * (x - 1) * (x - 2) / 2
    weights[2] = -(x + 1) * x * (x - 2) / 2
    weights[3] = (x + 1) * x * (x - 1) / 6
    slopes[0] = -(3 * x * x - 6 * x + 2) / 6
    slopes[1] = (3 * x * x - 4 * x - 1) / 2
    slopes[2] = -(3 * x * x - 2 * x - 2) / 2
    slopes[3] = (3 * x * x - 1) / 6


@kernel
def at_thickness(table, thickness, lanes=2):
    """Interpolate a table in thickness: (beam, direction, lanes) float32 with I and, of 2 lanes, ∂I/∂t.

    Near the ends of the range the four nearest nodes are used one-sidedly.
    """
    intensity, first, step = table.intensity, table.thickness_first, table.thickness_step
    nt, nb, nd = intensity.shape[0], table.beam_n.shape[0], intensity.shape[2]
    position = (thickness - first) / step
    node = min(max(int(np.floor(position)), 1), nt - 3)
    weights, slopes = np.empty(4), np.empty(4)
    lagrange(position - node, weights, slopes)
    w0, w1, w2, w3 = (
        np.float32(weights[0]),
        np.float32(weights[1]),
        np.float32(weights[2]),
        np.float32(weights[3]),
    )
    slopes /= step
    s0, s1, s2, s3 = (
        np.float32(slopes[0]),
        np.float32(slopes[1]),
        np.float32(slopes[2]),
        np.float32(slopes[3]),
    )
    out = np.empty((nb, nd, lanes), np.float32)
    for b in range(nb):
        i0, i1 = intensity[node - 1, b], intensity[node, b]
        i2, i3 = intensity[node + 1, b], intensity[node + 2, b]
        if lanes == 1:
            for d in range(nd):
                out[b, d, 0] = w0 * i0[d] + w1 * i1[d] + w2 * i2[d] + w3 * i3[d]
            continue
        for d in range(nd):
            out[b, d, 0] = w0 * i0[d] + w1 * i1[d] + w2 * i2[d] + w3 * i3[d]
            out[b, d, 1] = s0 * i0[d] + s1 * i1[d] + s2 * i2[d] + s3 * i3[d]
    return out


@kernel
def pick_last(values, indices):
    """values[:, :, indices] for a float32 array: ten times as fast as numpy's."""
    out = np.empty((values.shape[0], values.shape[1], indices.size), np.float32)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            row = values[i, j]
            for k in range(indices.size):
                out[i, j, k] = row[indices[k]]
    return out


@kernel
def grid_step(to_grid):
    """An upper bound of the distance (mrad) between neighbouring grid points."""
    determinant = abs(to_grid[0, 0] * to_grid[1, 1] - to_grid[0, 1] * to_grid[1, 0])
    return max(np.hypot(to_grid[0, 0], to_grid[0, 1]), np.hypot(to_grid[1, 0], to_grid[1, 1])) / determinant


@kernel
def chord(x, y, ex, ey, radius):
    """First and last whole m with |(x, y) + m (ex, ey)| ≤ radius; last < first where there is none."""
    ee, xe, xx = ex * ex + ey * ey, x * ex + y * ey, x * x + y * y
    square = xe * xe - ee * (xx - radius * radius)
    if square < 0:
        return 0, -1
    root = np.sqrt(square)
    return int(np.ceil((-xe - root) / ee)), int(np.floor((-xe + root) / ee))


@kernel
def expand(table, blend, tilt_x, tilt_y, reach, k_max, cube, begin, end):
    """Undo the symmetry: intensity of every beam on the full grid of directions around the tilt.

    Parameters
    ----------
    blend : (beam, direction, lanes) float32
        I, or I and ∂I/∂t, from `at_thickness`.
    reach, k_max : float, mrad
        Fill directions with |q − τ| ≤ reach that end at |q + g − τ| ≤ k_max.
    cube : (beam, ·, ·, lanes) float32
        Filled at grid points m − first, with 0 beyond the library; the rest is left alone.
    begin, end : int
        The beams that are filled.

    Returns
    -------
    first : (2,) int64
        Grid coordinates of cube[:, 0, 0].
    """
    g = table.to_grid
    determinant = g[0, 0] * g[1, 1] - g[0, 1] * g[1, 0]
    first = np.empty(2, np.int64)
    for i in range(2):
        centre = g[i, 0] * tilt_x + g[i, 1] * tilt_y
        first[i] = int(np.floor(centre - reach * np.hypot(g[i, 0], g[i, 1])))
    # grid vectors e₁, e₂ (mrad): rows m₁ are walked, and cut to m₂ by the two circles
    e1x, e1y = g[1, 1] / determinant, -g[1, 0] / determinant
    e2x, e2y = -g[0, 1] / determinant, g[0, 0] / determinant
    d1, d2 = table.direction_at.shape[0] // 2, table.direction_at.shape[1] // 2
    width = table.direction_at.shape[1]
    # flat views with unsigned indices: a signed one costs a test for being negative
    direction_at, operation_at = table.direction_at.ravel(), table.operation_at.ravel()
    source, target = blend.ravel(), cube.ravel()
    directions, lanes = blend.shape[1], cube.shape[3]
    row_of = np.empty(table.permutation.shape[0], np.int64)
    for b in range(begin, end):
        gx, gy = table.beam_xy[b]
        for r in range(row_of.size):
            row_of[r] = table.permutation[r, b] * directions
        for j1 in range(cube.shape[1]):
            m1 = j1 + first[0]
            x, y = m1 * e1x - tilt_x, m1 * e1y - tilt_y
            low, high = chord(x, y, e2x, e2y, reach)
            low_k, high_k = chord(x + gx, y + gy, e2x, e2y, k_max)
            low, high = max(low, low_k, first[1]), min(high, high_k, first[1] + cube.shape[2] - 1)
            at = (m1 + d1) * width + d2
            to = (b * cube.shape[1] + j1) * cube.shape[2] - first[1]
            start, stop = max(low, -d2), min(high, d2)  # what the library may know
            if m1 + d1 < 0 or m1 + d1 >= table.direction_at.shape[0] or start > stop:
                target[lanes * (to + low) : lanes * (to + max(high, low - 1) + 1)] = 0
                continue
            target[lanes * (to + low) : lanes * (to + start)] = 0
            target[lanes * (to + stop + 1) : lanes * (to + high + 1)] = 0
            for m2 in range(start, stop + 1):
                j = lanes * (to + m2)
                d = direction_at[np.uint64(at + m2)]
                if d >= 0:
                    i = lanes * (row_of[np.uint64(operation_at[np.uint64(at + m2)])] + d)
                    target[np.uint64(j)] = source[np.uint64(i)]
                    if lanes == 2:
                        target[np.uint64(j + 1)] = source[np.uint64(i + 1)]
                else:
                    target[np.uint64(j)] = 0
                    if lanes == 2:
                        target[np.uint64(j + 1)] = 0
    return first


def unfold(
    table: Table,
    blend: NDArray[np.float32],
    tilt: tuple[float, float],
    radius: float,
    k_max: float,
    cube: NDArray[np.float32] | None = None,
    pool: Pool | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """`expand` for an aperture of this outer radius, with the margin that interpolation needs (mrad)."""
    margin = INTERPOLATION_REACH * grid_step(table.to_grid)
    cube = workspace(table, radius, blend.shape[2]) if cube is None else cube
    beams = len(table.beam_n)

    def fill(begin: int, end: int) -> NDArray[np.int64]:
        return expand(table, blend, tilt[0], tilt[1], radius + margin, k_max + margin, cube, begin, end)

    if pool is None:
        return cube, fill(0, beams)
    return cube, pool.shares(fill, beams)[0]


def workspace(table: Table, radius: float, lanes: int = 2, pool: Pool | None = None) -> NDArray[np.float32]:
    """Room for `expand` with an aperture of this outer radius (mrad); reused, it saves page faults.

    With one lane it holds intensities alone, with two also their slopes along the thickness.
    """
    reach = radius + INTERPOLATION_REACH * grid_step(table.to_grid)
    size = [int(2 * reach * np.hypot(*row)) + 3 for row in table.to_grid]
    shape = (len(table.beam_n), *size, lanes)
    return np.zeros(shape, np.float32) if pool is None else pool.workspace(shape)
