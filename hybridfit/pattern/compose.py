"""Composition of a PACBED pattern from the table of beam intensities.

    P(k) = Σ_g A(|k − g|) · I_g(k − g + τ; t)

k  scattering angle from the centre of the direct disc (mrad, crystal frame)
A  aperture of semi-angle α with a soft edge of half-width h:  A = S((α + h − r)/2h),
   S(x) = x³(10 − 15x + 6x²), the C² step
τ  tilt (mrad), t thickness (nm)

I_g is known on a grid of directions commensurate with the reciprocal lattice, so that k − g + τ
falls at the same fraction of a grid cell for every beam g: one set of 4 × 4 interpolation
weights serves a whole pixel.  Grid coordinates are ν = G·(k + τ), and beam g = n₁g₁ + n₂g₂ is
a shift by (N₁n₁, N₂n₂).  Only directions in the symmetry wedge are stored: a grid point q is
brought there by the operation R, and I_g(q) = I_{Rg}(Rq); `expand` undoes that once per pattern.

Interpolation is four-point Lagrange in thickness and in both components of q.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.jit import add_scaled_8, kernel

Array = NDArray[np.float64]
INTERPOLATION_REACH = 3.0  # grid steps that the 4 × 4 stencil and its rounding reach beyond a point


class Table(NamedTuple):
    """Beam intensities as the kernels read them.

    Attributes
    ----------
    intensity : (thickness, beam, direction) float32
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


class Partials(NamedTuple):
    """A pattern and its derivatives at the same points, each of the shape of the points.

    value      P
    aperture_x, aperture_y   Σ ∂A/∂k · I   (moves with the disc edges)
    tilt_x, tilt_y           Σ A · ∂I/∂q   (∂P/∂τ; ∂P/∂k is the sum of both)
    thickness  ∂P/∂t (1/nm)
    semi_angle ∂P/∂α (1/mrad)
    """

    value: Array
    aperture_x: Array
    aperture_y: Array
    tilt_x: Array
    tilt_y: Array
    thickness: Array
    semi_angle: Array


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
def at_thickness(intensity, first, step, thickness):
    """Interpolate the table in thickness: (beam, direction, 2) float32 with I and ∂I/∂t.

    Near the ends of the range the four nearest nodes are used one-sidedly.
    """
    nt, nb, nd = intensity.shape
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
    out = np.empty((nb, nd, 2), np.float32)
    for b in range(nb):
        i0, i1 = intensity[node - 1, b], intensity[node, b]
        i2, i3 = intensity[node + 1, b], intensity[node + 2, b]
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
def expand(table, blend, tilt_x, tilt_y, reach, k_max, cube):
    """Undo the symmetry: intensity of every beam on the full grid of directions around the tilt.

    Parameters
    ----------
    blend : (beam, direction, 2) float32
        I and ∂I/∂t, from `at_thickness`.
    reach, k_max : float, mrad
        Fill directions with |q − τ| ≤ reach that end at |q + g − τ| ≤ k_max.
    cube : (beam, ·, ·, 2) float32
        Filled at grid points m − first; the rest is left alone.

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
    directions = blend.shape[1]
    row_of = np.empty(table.permutation.shape[0], np.int64)
    for b in range(table.beam_n.shape[0]):
        gx, gy = table.beam_xy[b]
        for r in range(row_of.size):
            row_of[r] = table.permutation[r, b] * directions
        for j1 in range(cube.shape[1]):
            m1 = j1 + first[0]
            if m1 + d1 < 0 or m1 + d1 >= table.direction_at.shape[0]:
                continue
            x, y = m1 * e1x - tilt_x, m1 * e1y - tilt_y
            low, high = chord(x, y, e2x, e2y, reach)
            low_k, high_k = chord(x + gx, y + gy, e2x, e2y, k_max)
            low, high = max(low, low_k, first[1], -d2), min(high, high_k, first[1] + cube.shape[2] - 1, d2)
            at = (m1 + d1) * width + d2
            to = (b * cube.shape[1] + j1) * cube.shape[2] - first[1]
            for m2 in range(low, high + 1):
                d = direction_at[np.uint64(at + m2)]
                if d >= 0:
                    i = 2 * (row_of[np.uint64(operation_at[np.uint64(at + m2)])] + d)
                    j = 2 * (to + m2)
                    target[np.uint64(j)] = source[np.uint64(i)]
                    target[np.uint64(j + 1)] = source[np.uint64(i + 1)]
    return first


@kernel
def aperture(r2, alpha, half_edge):
    """A and ∂A/∂α (= −∂A/∂r) at a distance √r2 from the centre of a disc."""
    if r2 <= (alpha - half_edge) ** 2:
        return 1.0, 0.0
    x = (alpha + half_edge - np.sqrt(r2)) / (2 * half_edge)
    if x <= 0:
        return 0.0, 0.0
    return x * x * x * (10 - 15 * x + 6 * x * x), 30 * x * x * (1 - x) * (1 - x) / (2 * half_edge)


@kernel
def beams_of_cell(c1, c2, table, offsets, cube, near_x, near_y, near_at):
    """Beams near the lattice cell (c₁, c₂), for the pixels that fall into it.

    near_x, near_y, near_at are filled with gx, gy (mrad) and the place in the flat cube where the
    beam's grid point (0, 0) would be; returns how many there are.
    """
    o1, o2 = table.beam_at.shape[0] // 2, table.beam_at.shape[1] // 2
    count = 0
    for s in range(offsets.shape[0]):
        b1, b2 = c1 + offsets[s, 0] + o1, c2 + offsets[s, 1] + o2
        if 0 <= b1 < table.beam_at.shape[0] and 0 <= b2 < table.beam_at.shape[1]:
            beam = table.beam_at[b1, b2]
            if beam >= 0:
                n1, n2 = table.sampling[0] * table.beam_n[beam, 0], table.sampling[1] * table.beam_n[beam, 1]
                near_x[count], near_y[count] = table.beam_xy[beam, 0], table.beam_xy[beam, 1]
                near_at[count] = 2 * ((beam * cube.shape[1] - n1) * cube.shape[2] - n2)
                count += 1
    return count


@kernel
def neighbouring_beams(table, radius):
    """Offsets (n₁, n₂) of the lattice points within radius (mrad) of any point of a lattice cell."""
    g = table.to_grid
    determinant = g[0, 0] * g[1, 1] - g[0, 1] * g[1, 0]
    ax, ay = g[1, 1] * table.sampling[0] / determinant, -g[1, 0] * table.sampling[0] / determinant
    bx, by = -g[0, 1] * table.sampling[1] / determinant, g[0, 0] * table.sampling[1] / determinant
    # a point is nearer than half the longer diagonal to the lattice point its coordinates round to
    radius = radius + max(np.hypot(ax + bx, ay + by), np.hypot(ax - bx, ay - by)) / 2
    reach = max(table.beam_at.shape[0], table.beam_at.shape[1])
    offsets = np.empty(((2 * reach + 1) ** 2, 2), np.int64)
    count = 0
    for n1 in range(-reach, reach + 1):
        for n2 in range(-reach, reach + 1):
            if np.hypot(n1 * ax + n2 * bx, n1 * ay + n2 * by) <= radius:
                offsets[count, 0], offsets[count, 1] = n1, n2
                count += 1
    return offsets[:count].copy()


@kernel
def stencil(flat, corner, stride, wu, wv):
    """Interpolate I from the 4 × 4 stencil that starts at corner."""
    value = 0.0
    for i in range(4):
        at = corner + i * stride
        row = wv[0] * flat[np.uint64(at)] + wv[1] * flat[np.uint64(at + 2)]
        value += wu[i] * (row + wv[2] * flat[np.uint64(at + 4)] + wv[3] * flat[np.uint64(at + 6)])
    return value


@kernel
def sum_stencils(flat, stride, weights, corners, count, total):
    """total[i, :] = Σ_g A_g · row i of the stencil of beam g: I and ∂I/∂t in turn, 8 numbers a row."""
    rows = total.ravel()
    rows[:] = 0
    for s in range(count):
        for i in range(4):
            add_scaled_8(rows, 8 * i, flat, corners[np.uint64(s)] + i * stride, weights[np.uint64(s)])


@kernel
def compose(kx, ky, table, cube, first, tilt_x, tilt_y, alpha, half_edge):
    """P and its partial derivatives at the points (kx, ky) (1-D, mrad): rows as in `Partials`.

    cube and first come from `expand`, around the tilt.  The interpolation weights of a point are
    those of all its beams, so the stencils are added up first and interpolated once.
    """
    out = np.zeros((7, kx.size))
    g = table.to_grid
    offsets = neighbouring_beams(table, alpha + half_edge)
    near_x, near_y = np.empty(offsets.shape[0]), np.empty(offsets.shape[0])
    near_at = np.empty(offsets.shape[0], np.int64)
    weights, corners = np.empty(offsets.shape[0] + 1, np.float32), np.empty(offsets.shape[0] + 1, np.int64)
    total = np.empty((4, 8), np.float32)
    cell_1, cell_2, beams = -1 << 40, 0, 0
    inner, outer = (alpha - half_edge) ** 2, (alpha + half_edge) ** 2
    flat, stride = cube.ravel(), 2 * cube.shape[2]
    wu, wv, su, sv = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    for p in range(kx.size):
        x, y = kx[p], ky[p]
        c1 = int(np.rint((g[0, 0] * x + g[0, 1] * y) / table.sampling[0]))
        c2 = int(np.rint((g[1, 0] * x + g[1, 1] * y) / table.sampling[1]))
        if c1 != cell_1 or c2 != cell_2:
            cell_1, cell_2 = c1, c2
            beams = beams_of_cell(c1, c2, table, offsets, cube, near_x, near_y, near_at)
        u = g[0, 0] * (x + tilt_x) + g[0, 1] * (y + tilt_y)
        v = g[1, 0] * (x + tilt_x) + g[1, 1] * (y + tilt_y)
        m1, m2 = int(np.floor(u)), int(np.floor(v))
        lagrange(u - m1, wu, su)
        lagrange(v - m2, wv, sv)
        start = (m1 - first[0] - 1) * stride + 2 * (m2 - first[1] - 1)
        count = 0
        for s in range(beams):
            rx, ry = x - near_x[np.uint64(s)], y - near_y[np.uint64(s)]
            r2 = rx * rx + ry * ry
            corners[count] = start + near_at[np.uint64(s)]
            weights[count] = 1
            count += r2 < outer
            if inner < r2 < outer:
                a, slope = aperture(r2, alpha, half_edge)
                weights[count - 1] = a
                edge = slope * stencil(flat, corners[count - 1], stride, wu, wv)
                r = np.sqrt(r2)
                out[1, p] -= edge * rx / r
                out[2, p] -= edge * ry / r
                out[6, p] += edge
        sum_stencils(flat, stride, weights, corners, count, total)
        value, along_u, along_v, along_t = 0.0, 0.0, 0.0, 0.0
        for i in range(4):
            row = wv[0] * total[i, 0] + wv[1] * total[i, 2] + wv[2] * total[i, 4] + wv[3] * total[i, 6]
            row_v = sv[0] * total[i, 0] + sv[1] * total[i, 2] + sv[2] * total[i, 4] + sv[3] * total[i, 6]
            row_t = wv[0] * total[i, 1] + wv[1] * total[i, 3] + wv[2] * total[i, 5] + wv[3] * total[i, 7]
            value += wu[i] * row
            along_u += su[i] * row
            along_v += wu[i] * row_v
            along_t += wu[i] * row_t
        out[0, p] = value
        out[3, p] = along_u * g[0, 0] + along_v * g[1, 0]
        out[4, p] = along_u * g[0, 1] + along_v * g[1, 1]
        out[5, p] = along_t
    return out


def pattern_at(
    kx: Array,
    ky: Array,
    table: Table,
    *,
    thickness: float,
    tilt: tuple[float, float],
    semi_angle: float,
    half_edge: float,
    cube: NDArray[np.float32] | None = None,
) -> Array:
    """Pattern at arbitrary points.

    Parameters
    ----------
    kx, ky : arrays of one shape, mrad, crystal frame
    table : Table
    thickness : float, nm
    tilt : (float, float), mrad
    semi_angle, half_edge : float, mrad
    cube : a `workspace` to reuse, optional

    Returns
    -------
    array of the shape of kx, in units of the incident intensity per solid angle
    """
    return pattern_partials(
        kx,
        ky,
        table,
        thickness=thickness,
        tilt=tilt,
        semi_angle=semi_angle,
        half_edge=half_edge,
        cube=cube,
    ).value


def pattern_partials(
    kx: Array,
    ky: Array,
    table: Table,
    *,
    thickness: float,
    tilt: tuple[float, float],
    semi_angle: float,
    half_edge: float,
    cube: NDArray[np.float32] | None = None,
) -> Partials:
    """`pattern_at` with the derivatives of it, in one pass."""
    blend = at_thickness(table.intensity, table.thickness_first, table.thickness_step, thickness)
    cube, first = unfold(table, blend, tilt, semi_angle + half_edge, float(np.hypot(kx, ky).max()), cube)
    x, y = kx.ravel(), ky.ravel()
    rows = compose(x, y, table, cube, first, tilt[0], tilt[1], semi_angle, half_edge)
    return Partials(*(row.reshape(kx.shape) for row in rows))


def unfold(
    table: Table,
    blend: NDArray[np.float32],
    tilt: tuple[float, float],
    radius: float,
    k_max: float,
    cube: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """`expand` for an aperture of this outer radius, with the margin that interpolation needs (mrad)."""
    margin = INTERPOLATION_REACH * grid_step(table.to_grid)
    cube = workspace(table, radius) if cube is None else cube
    return cube, expand(table, blend, tilt[0], tilt[1], radius + margin, k_max + margin, cube)


def workspace(table: Table, radius: float) -> NDArray[np.float32]:
    """Room for `expand` with an aperture of this outer radius (mrad); reused, it saves page faults."""
    reach = radius + INTERPOLATION_REACH * grid_step(table.to_grid)
    size = [int(2 * reach * np.hypot(*row)) + 3 for row in table.to_grid]
    return np.zeros((len(table.beam_n), *size, 2), np.float32)
