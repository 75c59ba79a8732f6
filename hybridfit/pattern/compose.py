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


PARTS = 2  # of a lattice cell along either vector, for which the beams near by are listed


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
def near_rims(c1, c2, between, table, offsets, unfolded, near_xy, near_at):
    """Beams whose rim may concern a point of a part (c₁, c₂) of a lattice cell.

    Parameters
    ----------
    between : (float, float), mrad²
        Squared distances between which a point is concerned.
    near_xy : filled with gx, gy (mrad)
    near_at : filled with the row (of the rows of all beams) and the column of `unfolded` where the beam
        would have the grid point (0, 0)

    Returns how many there are.
    """
    g = table.to_grid
    determinant = g[0, 0] * g[1, 1] - g[0, 1] * g[1, 0]
    h1, h2 = table.sampling[0] / PARTS / 2, table.sampling[1] / PARTS / 2
    v1, v2 = (2 * c1 + 1) * h1, (2 * c2 + 1) * h2  # the middle of the part
    x, y = (g[1, 1] * v1 - g[0, 1] * v2) / determinant, (g[0, 0] * v2 - g[1, 0] * v1) / determinant
    ax, ay, bx, by = g[1, 1] * h1, -g[1, 0] * h1, -g[0, 1] * h2, g[0, 0] * h2
    half = max(np.hypot(ax + bx, ay + by), np.hypot(ax - bx, ay - by)) / abs(determinant) + 1e-6
    near, far = np.sqrt(between[0]) - half, np.sqrt(between[1]) + half
    l1, l2 = int(np.rint(v1 / table.sampling[0])), int(np.rint(v2 / table.sampling[1]))
    o1, o2 = table.beam_at.shape[0] // 2, table.beam_at.shape[1] // 2
    count = 0
    for s in range(offsets.shape[0]):
        b1, b2 = l1 + offsets[s, 0] + o1, l2 + offsets[s, 1] + o2
        if 0 <= b1 < table.beam_at.shape[0] and 0 <= b2 < table.beam_at.shape[1]:
            beam = table.beam_at[b1, b2]
            if beam >= 0 and near <= np.hypot(x - table.beam_xy[beam, 0], y - table.beam_xy[beam, 1]) <= far:
                n1, n2 = table.sampling[0] * table.beam_n[beam, 0], table.sampling[1] * table.beam_n[beam, 1]
                near_xy[count, 0], near_xy[count, 1] = table.beam_xy[beam, 0], table.beam_xy[beam, 1]
                near_at[count, 0] = beam * unfolded.rows.shape[1] - n1 - unfolded.first[0]
                near_at[count, 1] = -n2 - unfolded.first[1]
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
def place(rows, row, column):
    """Where the four values of a stencil's row are."""
    side = 2 if 2 * column + 3 <= rows[np.uint64(5 * row + 4)] else 3
    return rows[np.uint64(5 * row + side)] + column


@kernel
def stencil(flat, rows, row, column, wu, wv):
    """Interpolate I from the 4 × 4 stencil that starts at (row, column), of values with two lanes."""
    value = 0.0
    for i in range(4):
        at = 2 * place(rows, row + i, column)
        left = wv[0] * flat[np.uint64(at)] + wv[1] * flat[np.uint64(at + 2)]
        value += wu[i] * (left + wv[2] * flat[np.uint64(at + 4)] + wv[3] * flat[np.uint64(at + 6)])
    return value


@kernel
def take_sums(total, m1, m2, unfolded):
    """total = the rows of S around the grid point (m₁, m₂); whether they are there."""
    lanes = unfolded.values.shape[2]
    total[:] = 0
    r, c = m1 - 1 - unfolded.sums_first[0], m2 - 1 - unfolded.sums_first[1]
    if r < 0 or c < 0 or r + 4 > unfolded.sums.shape[0] or c + 4 > unfolded.sums.shape[1]:
        return False
    sums, stride = unfolded.sums.ravel(), lanes * unfolded.sums.shape[1]
    for i in range(4):
        if lanes == 2:
            add_scaled_8(total, 8 * i, sums, (r + i) * stride + 2 * c, np.float32(1))
        else:
            add_scaled_4(total, 4 * i, sums, (r + i) * stride + c, np.float32(1))
    return True


@kernel
def add_rim(total, flat, rows, row, column, a, lanes):
    """total += Σ_m (A − c_m) I(m), row by row, for a beam whose rim is near; its stencil starts there."""
    for i in range(4):
        first = rows[np.uint64(5 * (row + i))] - column
        last = rows[np.uint64(5 * (row + i) + 1)] - column
        if first <= 0 and last >= 3:
            factor = a - np.float32(1)
        elif first > 3 or last < 0:
            factor = a
        else:
            at = lanes * place(rows, row + i, column)
            for j in range(4):
                factor = a - np.float32(first <= j <= last)
                if factor != 0:  # where it is 0 there may be no value
                    for lane in range(lanes):
                        k = lanes * j + lane
                        total[np.uint64(4 * lanes * i + k)] += factor * flat[np.uint64(at + k)]
            continue
        if factor != 0:
            at = lanes * place(rows, row + i, column)
            if lanes == 2:
                add_scaled_8(total, 8 * i, flat, at, factor)
            else:
                add_scaled_4(total, 4 * i, flat, at, factor)


@kernel
def second_derivatives(total, x, y, weights):
    """Second derivatives along x, both, and y of the polynomial through total (16,), rows along x.

    weights are the four-point Lagrange weights at x and at y, and their derivatives.
    """
    wx, wy, sx, sy = weights
    bx, by = (1 - x, 3 * x - 2, 1 - 3 * x, x), (1 - y, 3 * y - 2, 1 - 3 * y, y)
    xx, xy, yy = 0.0, 0.0, 0.0
    for i in range(4):
        t0, t1, t2, t3 = total[4 * i], total[4 * i + 1], total[4 * i + 2], total[4 * i + 3]
        xx += bx[i] * (wy[0] * t0 + wy[1] * t1 + wy[2] * t2 + wy[3] * t3)
        xy += sx[i] * (sy[0] * t0 + sy[1] * t1 + sy[2] * t2 + sy[3] * t3)
        yy += wx[i] * (by[0] * t0 + by[1] * t1 + by[2] * t2 + by[3] * t3)
    return xx, xy, yy


@kernel
def compose(kx, ky, table, unfolded, tilt_x, tilt_y, alpha, half_edge, bends=False):
    """P at the points (kx, ky) (1-D, mrad), and its partial derivatives if they were unfolded.

    unfolded comes from `unfold`, around the tilt.  The interpolation weights of a point are those of
    all its beams, so the stencils are added up first and interpolated once.  bends: of one lane, second
    derivatives along the tilt are wanted, too; they are those of the interpolating polynomials.

    Returns
    -------
    (7, n) array, rows as in `Partials`, of what was unfolded with two lanes; (1, n), P alone, with one,
    or (4, n), P, ∂²P/∂τx², ∂²P/∂τx∂τy and ∂²P/∂τy²
    """
    g, lanes = table.to_grid, unfolded.values.shape[2]
    out = np.zeros((7 if lanes == 2 else 4 if bends else 1, kx.size))
    inner, outer = alpha - half_edge, alpha + half_edge
    # closer than low, a beam is in S with all its stencil; farther than high, with nothing
    low = max(min(inner, unfolded.inside - unfolded.stencil), 0.0)
    high = max(outer, unfolded.inside + unfolded.stencil)
    inner, outer, low, high = inner * abs(inner), outer * outer, low * low, high * high
    offsets = neighbouring_beams(table, np.sqrt(high))
    near_xy, near_at = np.empty((offsets.shape[0], 2)), np.empty((offsets.shape[0], 2), np.int64)
    total = np.empty(16 * lanes, np.float32)
    cell_1, cell_2, beams = -1 << 40, 0, 0
    flat, rows = unfolded.values.ravel(), unfolded.rows.ravel()
    wu, wv, su, sv = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    for p in range(kx.size):
        x, y = kx[p], ky[p]
        c1 = int(np.floor(PARTS * (g[0, 0] * x + g[0, 1] * y) / table.sampling[0]))
        c2 = int(np.floor(PARTS * (g[1, 0] * x + g[1, 1] * y) / table.sampling[1]))
        if c1 != cell_1 or c2 != cell_2:
            cell_1, cell_2 = c1, c2
            beams = near_rims(c1, c2, (low, high), table, offsets, unfolded, near_xy, near_at)
        u = g[0, 0] * (x + tilt_x) + g[0, 1] * (y + tilt_y)
        v = g[1, 0] * (x + tilt_x) + g[1, 1] * (y + tilt_y)
        m1, m2 = int(np.floor(u)), int(np.floor(v))
        if not take_sums(total, m1, m2, unfolded):
            continue
        lagrange(u - m1, wu, su)
        lagrange(v - m2, wv, sv)
        for s in range(beams):
            rx, ry = x - near_xy[np.uint64(s), 0], y - near_xy[np.uint64(s), 1]
            r2 = rx * rx + ry * ry
            if low <= r2 < high:
                a, slope = aperture(r2, alpha, half_edge)
                row, column = m1 - 1 + near_at[np.uint64(s), 0], m2 - 1 + near_at[np.uint64(s), 1]
                if lanes == 1:
                    add_rim(total, flat, rows, row, column, np.float32(a), 1)
                    continue
                add_rim(total, flat, rows, row, column, np.float32(a), 2)
                if inner < r2 < outer:
                    edge = slope * stencil(flat, rows, row, column, wu, wv)
                    r = np.sqrt(r2)
                    out[1, p] -= edge * rx / r
                    out[2, p] -= edge * ry / r
                    out[6, p] += edge
        if lanes == 1:
            for i in range(4):
                row_u = wv[0] * total[4 * i] + wv[1] * total[4 * i + 1]
                out[0, p] += wu[i] * (row_u + wv[2] * total[4 * i + 2] + wv[3] * total[4 * i + 3])
            if bends:
                uu, uv, vv = second_derivatives(total, u - m1, v - m2, (wu, wv, su, sv))
                out[1, p] = g[0, 0] ** 2 * uu + 2 * g[0, 0] * g[1, 0] * uv + g[1, 0] ** 2 * vv
                mixed = g[0, 0] * g[1, 1] + g[0, 1] * g[1, 0]
                out[2, p] = g[0, 0] * g[0, 1] * uu + mixed * uv + g[1, 0] * g[1, 1] * vv
                out[3, p] = g[0, 1] ** 2 * uu + 2 * g[0, 1] * g[1, 1] * uv + g[1, 1] ** 2 * vv
            continue
        value, along_u, along_v, along_t = 0.0, 0.0, 0.0, 0.0
        for i in range(4):
            t0, t1, t2, t3 = total[8 * i], total[8 * i + 2], total[8 * i + 4], total[8 * i + 6]
            row_u = wv[0] * t0 + wv[1] * t1 + wv[2] * t2 + wv[3] * t3
            row_v = sv[0] * t0 + sv[1] * t1 + sv[2] * t2 + sv[3] * t3
            row_t = wv[0] * total[8 * i + 1] + wv[1] * total[8 * i + 3]
            row_t += wv[2] * total[8 * i + 5] + wv[3] * total[8 * i + 7]
            value += wu[i] * row_u
            along_u += su[i] * row_u
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
    room: NDArray[np.float32] | None = None,
) -> Array:
    """Pattern at arbitrary points.

    Parameters
    ----------
    kx, ky : arrays of one shape, mrad, crystal frame
    table : Table
    thickness : float, nm
    tilt : (float, float), mrad
    semi_angle, half_edge : float, mrad
    room : a `workspace` of one lane to use again, optional

    Returns
    -------
    array of the shape of kx, in units of the incident intensity per solid angle
    """
    blend = at_thickness(table, thickness, 1)
    unfolded = unfold(table, blend, tilt, semi_angle, half_edge, float(np.hypot(kx, ky).max()), room)
    x, y = kx.ravel(), ky.ravel()
    return compose(x, y, table, unfolded, *tilt, semi_angle, half_edge)[0].reshape(kx.shape)


def pattern_partials(
    kx: Array,
    ky: Array,
    table: Table,
    *,
    thickness: float,
    tilt: tuple[float, float],
    semi_angle: float,
    half_edge: float,
    room: NDArray[np.float32] | None = None,
) -> Partials:
    """`pattern_at` with the derivatives of it, in one pass; a `room` has two lanes."""
    blend = at_thickness(table, thickness)
    unfolded = unfold(table, blend, tilt, semi_angle, half_edge, float(np.hypot(kx, ky).max()), room)
    x, y = kx.ravel(), ky.ravel()
    rows = compose(x, y, table, unfolded, *tilt, semi_angle, half_edge)
    return Partials(*(row.reshape(kx.shape) for row in rows))
