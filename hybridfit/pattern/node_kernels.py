"""Kernels of node patterns: which beams are at every point, sums of them, and their combination.

See `pattern.nodes` for the equations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.compose import aperture
from hybridfit.pattern.expand import fetch
from hybridfit.pattern.jit import add_scaled_4, kernel

Float32 = NDArray[np.float32]

SIDE = 4  # of a tile, in nodes
WIDE = 5  # nodes along either direction that the points of a camera need
PAD = 8  # empty grid points around the directions of a library
CHUNK = 512  # points that are combined at a time


class Entries(NamedTuple):
    """The beams at every point.

    Attributes
    ----------
    start : (n + 1,) int64
        Where the beams of a point begin.
    at : (entries,) int64
        Where the grid point m is in the grids of all beams.
    weight : (entries,) float32
        A(|k − g|), or its derivative along the semi-angle.
    u, v : (n,) float32
        Where the point is between grid points.
    """

    start: NDArray[np.int64]
    at: NDArray[np.int64]
    weight: Float32
    u: Float32
    v: Float32


@kernel
def entries_at(kx, ky, table, alpha, half_edge, rims, shape, first):
    """`Entries` of the points (kx, ky), in grids (beam, *shape) that begin at the grid point `first`.

    rims: with the derivative of the aperture along the semi-angle for a weight.
    """
    g, n, beams = table.to_grid, kx.size, table.beam_n.shape[0]
    outer2 = (alpha + half_edge) ** 2
    start = np.zeros(n + 1, np.int64)
    u, v = np.empty(n, np.float32), np.empty(n, np.float32)
    count = 0
    at, weight = np.empty(0, np.int64), np.empty(0, np.float32)
    for turn in range(2):  # count, then fill
        if turn == 1:
            at, weight = np.empty(count, np.int64), np.empty(count, np.float32)
        count = 0
        for p in range(n):
            x, y = g[0, 0] * kx[p] + g[0, 1] * ky[p], g[1, 0] * kx[p] + g[1, 1] * ky[p]
            m1, m2 = int(np.floor(x)), int(np.floor(y))
            u[p], v[p] = x - m1, y - m2
            for b in range(beams):
                rx, ry = kx[p] - table.beam_xy[b, 0], ky[p] - table.beam_xy[b, 1]
                r2 = rx * rx + ry * ry
                if r2 >= outer2:
                    continue
                value, slope = aperture(r2, alpha, half_edge)
                w = slope if rims else value
                if w == 0:
                    continue
                row = m1 - table.sampling[0] * table.beam_n[b, 0] - first[0]
                column = m2 - table.sampling[1] * table.beam_n[b, 1] - first[1]
                if turn == 1:
                    at[count] = (b * shape[0] + row) * shape[1] + column
                    weight[count] = w
                count += 1
            start[p + 1] = count
    return start, at, weight, u, v


@kernel
def undo_symmetry(table, source, first, window, out):
    """Fill out (beam, ·, ·), which begins at the grid point `first`, from those of the stored directions.

    source : (beam, direction) float32
    window : (4,) int64
        Rows and columns from, and up to but without: nothing else is filled.
    """
    operations = np.empty(table.permutation.shape[0], np.int64)
    flat = source.ravel()
    for b in range(out.shape[0]):
        for r in range(operations.size):
            operations[r] = table.permutation[r, b] * source.shape[1]
        for j in range(window[0], window[1]):
            low, high = window[2], window[3]
            fetch(
                table,
                flat,
                operations,
                j + first[0],
                first[1] + low,
                first[1] + high - 1,
                out[b, j, low:high],
            )


@kernel
def fill_tile(entries, grids, stride, shift, out, begin, end):
    """out[c, d, p] = the node patterns of a tile at the points begin … end.

    Parameters
    ----------
    entries : Entries
    grids : (·,) float32
        Intensities of all beams at all grid points.
    stride : int
        From a row of the grid to the next.
    shift : int
        By how much the rows of this tile begin later than m.
    """
    sums = np.empty(SIDE * SIDE, np.float32)
    for p in range(begin, end):
        sums[:] = 0
        for e in range(entries.start[p], entries.start[p + 1]):
            at, w = entries.at[e] + shift, entries.weight[e]
            for r in range(SIDE):
                add_scaled_4(sums, SIDE * r, grids, at + r * stride, w)
        for c in range(SIDE):
            for d in range(SIDE):
                out[c, d, p] = sums[SIDE * c + d]


@kernel
def nearest_points(entries, stride):
    """Move the grid points m of `Entries` to the nearest ones: without interpolation they are least off."""
    for p in range(entries.u.size):
        step = (stride if entries.u[p] >= 0.5 else 0) + (1 if entries.v[p] >= 0.5 else 0)
        for e in range(entries.start[p], entries.start[p + 1]):
            entries.at[e] += step


@kernel
def add_at(total, source, offsets, factor):
    """total += factor · source[offsets]; offsets of 32 bits, of which vector instructions take more."""
    for i in range(total.size):
        total[i] += factor * source[offsets[i]]


@kernel
def fill_templates(entries, grids, shifts, out):
    """out[s, p] = Σ_e weight · intensity at the grid point m, moved by shifts[s]: Q_cd for many tilts."""
    total, least = np.empty(shifts.size, np.float32), shifts.min()
    offsets = (shifts - least).astype(np.int32)
    for p in range(out.shape[1]):
        total[:] = 0
        for e in range(entries.start[p], entries.start[p + 1]):
            add_at(total, grids[entries.at[e] + least :], offsets, entries.weight[e])
        for s in range(shifts.size):
            out[s, p] = total[s]


@kernel
def weights_at(fractions, phase, weights, slopes):
    """Weights (5, n) of the nodes −1 … 3, and their derivatives, at points at fraction + phase of a cell.

    Written out, without branches, for vector instructions: `expand.lagrange` at x, or at x − 1 one node on.
    """
    one, two, three = np.float32(1.0), np.float32(2.0), np.float32(3.0)
    half, sixth = np.float32(0.5), np.float32(1 / 6)
    four, six, none = np.float32(4.0), np.float32(6.0), np.float32(0.0)
    for p in range(fractions.size):
        whole = fractions[p] + np.float32(phase)
        carry = whole >= one
        x = whole - one if carry else whole
        a, b, c = x - one, x - two, x + one
        w0, w1, w2, w3 = -x * a * b * sixth, c * a * b * half, -c * x * b * half, c * x * a * sixth
        xx = three * x * x
        s0, s1 = -(xx - six * x + two) * sixth, (xx - four * x - one) * half
        s2, s3 = -(xx - two * x - two) * half, (xx - one) * sixth
        weights[0, p] = none if carry else w0
        weights[1, p] = w0 if carry else w1
        weights[2, p] = w1 if carry else w2
        weights[3, p] = w2 if carry else w3
        weights[4, p] = w3 if carry else none
        slopes[0, p] = none if carry else s0
        slopes[1, p] = s0 if carry else s1
        slopes[2, p] = s1 if carry else s2
        slopes[3, p] = s2 if carry else s3
        slopes[4, p] = s3 if carry else none


@kernel
def largest(tile):
    """The largest size of a number."""
    out = np.float32(0)
    for v in tile:
        out = max(out, abs(v))
    return out


@kernel
def pack(tile, unit, out):
    """out = tile/unit, as whole numbers."""
    per = np.float32(1) / unit
    for i in range(tile.size):
        out[i] = np.int16(np.rint(tile[i] * per))


@kernel
def blend_thickness(n0, n1, n2, n3, w, s, value, slope):
    """A node at a thickness between four (whole numbers), and its derivative; weights have the units in them.

    Short loops over few arrays: of more, the compiler does not see that they lie apart.
    """
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    s0, s1, s2, s3 = s[0], s[1], s[2], s[3]
    for p in range(value.size):
        a, b, c, d = np.float32(n0[p]), np.float32(n1[p]), np.float32(n2[p]), np.float32(n3[p])
        value[p] = w0 * a + w1 * b + w2 * c + w3 * d
        slope[p] = s0 * a + s1 * b + s2 * c + s3 * d


@kernel
def add_along_v(value, slope, w, s, total, thick, along):
    """Add a node to the sums along the second direction of the grid."""
    for p in range(value.size):
        total[p] += w[p] * value[p]
        thick[p] += w[p] * slope[p]
        along[p] += s[p] * value[p]


@kernel
def add_along_u(total, thick, along, w, s, value, by_t, by_u, by_v):
    """Add such sums to those along the first."""
    for p in range(total.size):
        value[p] += w[p] * total[p]
        by_t[p] += w[p] * thick[p]
        by_u[p] += s[p] * total[p]
        by_v[p] += w[p] * along[p]


@kernel
def combine(bank, units, rows, wt, st, entries, phase, out, begin, end):
    """out (4, n): P, ∂P/∂t, and the derivatives along both grid coordinates of the tilt, at begin … end.

    Parameters
    ----------
    bank : (·, n) int16
        Node patterns.
    units : (·,) float32
        Of every tile in the bank.
    rows : (4, 5, 5) int64
        Which of them are the nodes in thickness and along both directions of the grid.
    wt, st : (4,) float32
        Weights in thickness and their derivatives.
    entries : Entries
    phase : (float, float)
        The fraction of a cell at which the tilt lies.
    """
    w, room = np.empty((4 * WIDE, CHUNK), np.float32), np.empty((5, CHUNK), np.float32)
    own_w, own_s = np.empty(4, np.float32), np.empty(4, np.float32)
    for low in range(begin, end, CHUNK):
        high = min(low + CHUNK, end)
        size = high - low
        u, along_u, v, along_v = w[:WIDE], w[WIDE : 2 * WIDE], w[2 * WIDE : 3 * WIDE], w[3 * WIDE :]
        weights_at(entries.u[low:high], phase[0], u, along_u)
        weights_at(entries.v[low:high], phase[1], v, along_v)
        out[:, low:high] = 0
        value, slope = room[0, :size], room[1, :size]
        total, thick, along = room[2, :size], room[3, :size], room[4, :size]
        for c in range(WIDE):
            room[2:] = 0
            for d in range(WIDE):
                n0, n1 = bank[rows[0, c, d], low:high], bank[rows[1, c, d], low:high]
                n2, n3 = bank[rows[2, c, d], low:high], bank[rows[3, c, d], low:high]
                for i in range(4):
                    unit = units[rows[i, c, d] // (SIDE * SIDE)]
                    own_w[i], own_s[i] = wt[i] * unit, st[i] * unit
                blend_thickness(n0, n1, n2, n3, own_w, own_s, value, slope)
                add_along_v(value, slope, v[d, :size], along_v[d, :size], total, thick, along)
            one, two = out[2, low:high], out[3, low:high]
            first, second = out[0, low:high], out[1, low:high]
            add_along_u(total, thick, along, u[c, :size], along_u[c, :size], first, second, one, two)


@kernel
def add_three(total, a, b, c, x, y):
    """total += a + x b + y c."""
    for p in range(total.size):
        total[p] += a[p] + x * b[p] + y * c[p]


@kernel
def add_smooth(tile, value, slopes, steps, back, entries, whole):
    """Add to the nodes of a tile (4, 4, n) an image and its change with the tilt, at coarser points.

    Parameters
    ----------
    value, slopes : (m,), (2, m) float32
        In the middle of the tile, and per mrad of tilt.
    steps : (4, 4, 2), mrad
        From the middle to the nodes.
    back : (2, 2), mrad
        Of a cell: at a node, a point is at the tilt that takes it to a grid point.
    entries : Entries
    whole : (n,) int64
        Which of the coarser points stands for a point.
    """
    n = tile.shape[2]
    base, along_x, along_y = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    for p in range(n):
        i, u, v = whole[p], entries.u[p], entries.v[p]
        x, y = back[0, 0] * u + back[0, 1] * v, back[1, 0] * u + back[1, 1] * v
        along_x[p], along_y[p] = slopes[0, i], slopes[1, i]
        base[p] = value[i] - x * slopes[0, i] - y * slopes[1, i]
    for c in range(tile.shape[0]):
        for d in range(tile.shape[1]):
            x, y = np.float32(steps[c, d, 0]), np.float32(steps[c, d, 1])
            add_three(tile[c, d], base, along_x, along_y, x, y)
