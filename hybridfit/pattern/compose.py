"""Composition of a PACBED pattern from the table of beam intensities.

    P(k) = Σ_g A(|k − g|) · I_g(k − g + τ; t)

k  scattering angle from the centre of the direct disc (mrad, crystal frame)
A  aperture of semi-angle α with a soft edge of half-width h:  A = S((α + h − r)/2h),
   S(x) = x³(10 − 15x + 6x²), the C² step
τ  tilt (mrad), t thickness (nm)

On the grid of `pattern.expand`, k − g + τ falls at the same fraction of a cell for every beam g:
one set of 4 × 4 interpolation weights serves a whole pixel.

Interpolation is four-point Lagrange in thickness and in both components of q.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.expand import Table, at_thickness, lagrange, unfold
from hybridfit.pattern.jit import add_scaled_4, add_scaled_8, kernel

Array = NDArray[np.float64]


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
                near_at[count] = cube.shape[3] * ((beam * cube.shape[1] - n1) * cube.shape[2] - n2)
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


@kernel
def compose_values(kx, ky, table, cube, first, tilt_x, tilt_y, alpha, half_edge):
    """P alone, as `compose` has it, from a cube of one lane."""
    out = np.zeros(kx.size)
    g = table.to_grid
    offsets = neighbouring_beams(table, alpha + half_edge)
    near_x, near_y = np.empty(offsets.shape[0]), np.empty(offsets.shape[0])
    near_at = np.empty(offsets.shape[0], np.int64)
    total = np.empty(16, np.float32)
    cell_1, cell_2, beams = -1 << 40, 0, 0
    inner, outer = (alpha - half_edge) ** 2, (alpha + half_edge) ** 2
    flat, stride = cube.ravel(), cube.shape[2]
    wu, wv, slopes = np.empty(4), np.empty(4), np.empty(4)
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
        start = (m1 - first[0] - 1) * stride + m2 - first[1] - 1
        total[:] = 0
        for s in range(beams):
            rx, ry = x - near_x[np.uint64(s)], y - near_y[np.uint64(s)]
            r2 = rx * rx + ry * ry
            if r2 < outer:
                a = np.float32(1) if r2 <= inner else np.float32(aperture(r2, alpha, half_edge)[0])
                corner = start + near_at[np.uint64(s)]
                for i in range(4):
                    add_scaled_4(total, 4 * i, flat, corner + i * stride, a)
        lagrange(u - m1, wu, slopes)
        lagrange(v - m2, wv, slopes)
        for i in range(4):
            row = wv[0] * total[4 * i] + wv[1] * total[4 * i + 1]
            out[p] += wu[i] * (row + wv[2] * total[4 * i + 2] + wv[3] * total[4 * i + 3])
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
    cube : a `workspace` of one lane to reuse, optional

    Returns
    -------
    array of the shape of kx, in units of the incident intensity per solid angle
    """
    blend = at_thickness(table, thickness, 1)
    cube, first = unfold(table, blend, tilt, semi_angle + half_edge, float(np.hypot(kx, ky).max()), cube)
    x, y = kx.ravel(), ky.ravel()
    return compose_values(x, y, table, cube, first, *tilt, semi_angle, half_edge).reshape(kx.shape)


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
    """`pattern_at` with the derivatives of it, in one pass; a `cube` has two lanes."""
    blend = at_thickness(table, thickness)
    cube, first = unfold(table, blend, tilt, semi_angle + half_edge, float(np.hypot(kx, ky).max()), cube)
    x, y = kx.ravel(), ky.ravel()
    rows = compose(x, y, table, cube, first, tilt[0], tilt[1], semi_angle, half_edge)
    return Partials(*(row.reshape(kx.shape) for row in rows))
