"""Kernels of strips: patterns at eight tilts of a grid at once, blurred, thinned out, and combined.

A strip is eight tilts τ_b, b = 0 … 7, in a row of the library's grid of directions, some grid points apart,

    P(k; τ_b, t_i) = Σ_cd w_c(u) w_d(v) Σ_g A(|k − g|) I_g(m + τ_b − N·n_g + (c, d); t_i),

m the grid point below k and (u, v) the fraction of a cell at which k lies: what `pattern.compose` gives at
tilts that are grid points.  The columns of the grid are dealt out, so that the eight intensities lie side by
side: eight patterns are one vector instruction.  Four strips, in rows some grid points apart, are made
together: where beams are is read once for them.  As in `pattern.compose`, whole beams are summed once,

    S(m) = Σ_g I_g(m + τ_b − N·n_g; t_i),  |m − g| < α,

and what a cell of the grid needs differs from S only near the rims of apertures; its points share it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.compose import aperture
from hybridfit.pattern.expand import Table, chord, fetch, lagrange, stencil_reach
from hybridfit.pattern.jit import add_scaled_8, copy_8, kernel, mix_4x4

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int = NDArray[np.int64]

LANES, DEEP = 8, 4  # tilts of a strip, and strips that are made together
CHUNK = 512  # points that are combined at a time
BLOCK = 8


class Cells(NamedTuple):
    """Points, cell after cell of the grid, and the beams there.

    Attributes
    ----------
    order : (n,) int64
        Which point of the image comes at a place.
    weight : (16 n,) float32
        Of the 4 × 4 grid points about a point.
    corner : (2, cells) int64
        The grid point m of a cell.
    point : (cells + 1,) int64
        Where the points of a cell begin.
    change : (cells + 1,) int64
        Where the changes of a cell begin, each of one beam at one of the 4 × 4 grid points about it, that
        take S to the sum of the beams whose aperture is 1 on all points of the cell.
    change_row, change_column, change_to, change_sign : (·,) int64, the last float32
        Where the intensity is in the grids of all beams, at which of these points, and whether it is added.
    rim : (n + 1,) int64
        Where the other beams of a point begin.
    rim_row, rim_column, rim_weight : (·,) int64, int64, float32
        Where m is for them, and A.
    """

    order: Int
    weight: Float32
    corner: Int
    point: Int
    change: Int
    change_row: Int
    change_column: Int
    change_to: Int
    change_sign: Float32
    rim: Int
    rim_row: Int
    rim_column: Int
    rim_weight: Float32


class Sheet(NamedTuple):
    """Where the intensities for strips are.

    grids : (beam, ·, ·) float32, from `dealt_grids`
    dealt : (columns,) int64, from `dealt_columns`
    shift : (int, int)
        Rows and columns of the grid from no tilt to the first tilt of the first strip.
    step : int
        Rows from a strip to the next.
    """

    grids: Float32
    dealt: Int
    shift: tuple[int, int]
    step: int


def cells_of(k: Array, table: Table, alpha: float, half_edge: float, rows: int, first: Int) -> Cells:
    """`Cells` of points k (2, n), in grids (beam, rows, ·) that begin at the grid point first."""
    place = table.to_grid @ k
    m = np.floor(place).astype(np.int64)
    block = m // BLOCK
    order = np.lexsort((m[1], m[0], block[1], block[0]))
    k, place = (np.ascontiguousarray(each[:, order]) for each in (k, place))
    m = np.ascontiguousarray(m[:, order])
    begins = np.flatnonzero(np.any(np.diff(m, axis=1), axis=0)) + 1
    point = np.concatenate([[0], begins, [k.shape[1]]]).astype(np.int64)
    corner = np.ascontiguousarray(m[:, point[:-1]])
    whole, rims = _rims_of(k[0], k[1], corner, point, table, alpha, half_edge, rows, first)
    changes = _changes_of(whole, corner, table, alpha, rows, first)
    return Cells(order, _weights_of(place - m), corner, point, *changes, *rims)


@kernel
def _weights_of(fractions):
    """weight of `Cells`, of points at fractions (2, n) of a cell."""
    n = fractions.shape[1]
    out, wu, wv, slopes = np.empty(16 * n, np.float32), np.empty(4), np.empty(4), np.empty(4)
    for p in range(n):
        lagrange(fractions[0, p], wu, slopes)
        lagrange(fractions[1, p], wv, slopes)
        for j in range(16):
            out[16 * p + j] = wu[j // 4] * wv[j % 4]
    return out


@kernel
def _rims_of(kx, ky, corner, point, table, alpha, half_edge, rows, first):
    """Which beams are whole in a cell (cells, beams); and rim … rim_weight of `Cells`."""
    n, beams, cells = kx.size, table.beam_n.shape[0], point.size - 1
    outer2, inner2 = (alpha + half_edge) ** 2, max(alpha - half_edge, 0.0) ** 2
    rim, count = np.zeros(n + 1, np.int64), 0
    whole, near = np.ones((cells, beams), np.bool_), np.empty(beams, np.bool_)
    row, column, weight = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    for turn in range(2):  # count, then fill
        if turn == 1:
            row, column, weight = (
                np.empty(count, np.int64),
                np.empty(count, np.int64),
                np.empty(count, np.float32),
            )
        count = 0
        for cell in range(cells):
            begin, end = point[cell], point[cell + 1]
            for b in range(beams):
                near[b] = False
                for p in range(begin, end):
                    r2 = (kx[p] - table.beam_xy[b, 0]) ** 2 + (ky[p] - table.beam_xy[b, 1]) ** 2
                    near[b] |= r2 < outer2
                    whole[cell, b] &= r2 <= inner2
            for p in range(begin, end):
                for b in range(beams):
                    if whole[cell, b] or not near[b]:
                        continue
                    r2 = (kx[p] - table.beam_xy[b, 0]) ** 2 + (ky[p] - table.beam_xy[b, 1]) ** 2
                    a, _ = aperture(r2, alpha, half_edge)
                    if a == 0:
                        continue
                    if turn == 1:
                        row[count] = (
                            b * rows + corner[0, cell] - table.sampling[0] * table.beam_n[b, 0] - first[0]
                        )
                        column[count] = corner[1, cell] - table.sampling[1] * table.beam_n[b, 1] - first[1]
                        weight[count] = a
                    count += 1
                rim[p + 1] = count
    return whole, (rim, row, column, weight)


@kernel
def _changes_of(whole, corner, table, alpha, rows, first):
    """change … change_sign of `Cells`."""
    cells, beams = whole.shape
    g = table.to_grid
    determinant = g[0, 0] * g[1, 1] - g[0, 1] * g[1, 0]
    reach = stencil_reach(g)
    change, count = np.zeros(cells + 1, np.int64), 0
    row, column, to = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
    sign = np.empty(0, np.float32)
    for turn in range(2):  # count, then fill
        if turn == 1:
            row, column, to = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
            sign = np.empty(count, np.float32)
        count = 0
        for cell in range(cells):
            m1, m2 = corner[0, cell], corner[1, cell]
            for b in range(beams):
                x = (g[1, 1] * m1 - g[0, 1] * m2) / determinant - table.beam_xy[b, 0]
                y = (g[0, 0] * m2 - g[1, 0] * m1) / determinant - table.beam_xy[b, 1]
                if abs(np.hypot(x, y) - alpha) > reach:
                    continue
                for j in range(16):
                    c, d = j // 4 - 1, j % 4 - 1
                    xj = x + (g[1, 1] * c - g[0, 1] * d) / determinant
                    yj = y + (g[0, 0] * d - g[1, 0] * c) / determinant
                    if (xj * xj + yj * yj < alpha * alpha) == whole[cell, b]:
                        continue
                    if turn == 1:
                        row[count] = b * rows + m1 + c - table.sampling[0] * table.beam_n[b, 0] - first[0]
                        column[count] = m2 + d - table.sampling[1] * table.beam_n[b, 1] - first[1]
                        to[count], sign[count] = 8 * j, 1 if whole[cell, b] else -1
                    count += 1
            change[cell + 1] = count
    return change, row, column, to, sign


def dealt_columns(columns: int, apart: int) -> tuple[Int, int]:
    """Where the columns of a grid are when they are dealt out `apart` ways, and how long a row is then."""
    column, each = np.arange(columns), -(-columns // apart)
    return column % apart * each + column // apart, apart * each


@kernel
def dealt_grids(table, source, first, dealt, out):
    """Fill out (beam, ·, ·), which begins at the grid point first, from those of the stored directions.

    source : (beam, direction) float32
    dealt : (columns,) int64, from `dealt_columns`
    """
    operations = np.empty(table.permutation.shape[0], np.int64)
    flat, row = source.ravel(), np.empty(dealt.size, np.float32)
    for b in range(out.shape[0]):
        for r in range(operations.size):
            operations[r] = table.permutation[r, b] * source.shape[1]
        for j in range(out.shape[1]):
            fetch(table, flat, operations, j + first[0], first[1], first[1] + dealt.size - 1, row)
            for i in range(dealt.size):
                out[b, j, dealt[i]] = row[i]


@kernel
def sum_beams(table, alpha, first, sheet, sums, sums_first, begin, end):
    """sums (DEEP, ·, ·, LANES)[a, m] = S, the sum of the beams with |m − g| < α, of rows begin … end.

    Parameters
    ----------
    first, sums_first : (2,) int64
        The first grid points of the grids and of sums.
    sheet : Sheet
    """
    grids, dealt, shift, length = sheet.grids, sheet.dealt, sheet.shift, sheet.grids.shape[2]
    g = table.to_grid
    determinant = g[0, 0] * g[1, 1] - g[0, 1] * g[1, 0]
    e1x, e1y = g[1, 1] / determinant, -g[1, 0] / determinant
    e2x, e2y = -g[0, 1] / determinant, g[0, 0] / determinant
    flat, target, columns = grids.ravel(), sums.ravel(), sums.shape[2]
    for r in range(begin, end):
        sums[:, r] = 0
        m1 = r + sums_first[0]
        for b in range(table.beam_n.shape[0]):
            n1, n2 = table.sampling[0] * table.beam_n[b, 0], table.sampling[1] * table.beam_n[b, 1]
            x, y = m1 * e1x - table.beam_xy[b, 0], m1 * e1y - table.beam_xy[b, 1]
            low, high = chord(x, y, e2x, e2y, alpha)
            low, high = max(low, sums_first[1]), min(high, sums_first[1] + columns - 1)
            column = shift[1] - n2 - first[1]
            for a in range(DEEP):
                at = (b * grids.shape[1] + m1 - n1 - first[0] + shift[0] + a * sheet.step) * length
                to = LANES * ((a * sums.shape[1] + r) * columns - sums_first[1])
                for m2 in range(low, high + 1):
                    add_scaled_8(target, to + LANES * m2, flat, at + dealt[m2 + column], np.float32(1))


@kernel
def fill_strips(cells, sums, sums_first, sheet, out, begin, end):
    """out (DEEP, n, LANES): P at the points of the cells begin … end, at the tilts of strips.

    Parameters
    ----------
    sums, sums_first : from `sum_beams`
    sheet : Sheet
    """
    dealt, shift, length = sheet.dealt, sheet.shift, sheet.grids.shape[2]
    changed, one = np.empty(16 * LANES, np.float32), np.float32(1)
    flat, source, target = sheet.grids.ravel(), sums.ravel(), out.ravel()
    stride, w = LANES * sums.shape[2], cells.weight
    for some in range(begin, end, BLOCK * BLOCK):
        for a in range(DEEP):
            for cell in range(some, min(some + BLOCK * BLOCK, end)):
                r, c = cells.corner[0, cell] - 1 - sums_first[0], cells.corner[1, cell] - 1 - sums_first[1]
                low, high = cells.change[cell], cells.change[cell + 1]
                at, down = (a * sums.shape[1] + r) * stride + LANES * c, shift[0] + a * sheet.step
                if high > low:
                    for j in range(16):
                        copy_8(changed, LANES * j, source, at + j // 4 * stride + j % 4 * LANES)
                    for e in range(low, high):
                        i = (cells.change_row[e] + down) * length + dealt[cells.change_column[e] + shift[1]]
                        add_scaled_8(changed, cells.change_to[e], flat, i, cells.change_sign[e])
                for p in range(cells.point[cell], cells.point[cell + 1]):
                    to = LANES * (a * out.shape[1] + cells.order[p])
                    if high > low:
                        start = (0, LANES, 2 * LANES, 3 * LANES)
                        mix_4x4(target, to, changed, start, 4 * LANES, w, 16 * p, one, 0)
                    else:
                        start = (at, at + LANES, at + 2 * LANES, at + 3 * LANES)
                        mix_4x4(target, to, source, start, stride, w, 16 * p, one, 0)
                    for e in range(cells.rim[p], cells.rim[p + 1]):
                        i, column = (cells.rim_row[e] + down - 1) * length, cells.rim_column[e] + shift[1]
                        start = (
                            i + dealt[column - 1],
                            i + dealt[column],
                            i + dealt[column + 1],
                            i + dealt[column + 2],
                        )
                        mix_4x4(target, to, flat, start, length, w, 16 * p, cells.rim_weight[e], 1)


@kernel
def add_scaled(total, source, factor):
    """total += factor · source."""
    for i in range(total.size):
        total[i] += factor * source[i]


@kernel
def thin_rows(image, first, weights, out, begin, end):
    """out (columns, ·, LANES)[:, r] = Σ_i weights[r, i] · image (rows, columns · LANES)[first[r] + i]."""
    total = np.empty(image.shape[1], np.float32)
    for r in range(begin, end):
        total[:] = 0
        for i in range(weights.shape[1]):
            add_scaled(total, image[first[r] + i], weights[r, i])
        for c in range(out.shape[0]):
            for l in range(LANES):
                out[c, r, l] = total[c * LANES + l]


@kernel
def thin_columns(image, first, weights, out, begin, end):
    """out (LANES, columns, rows)[:, c] = Σ_i weights[c, i] · image (·, rows · LANES)[first[c] + i]."""
    total = np.empty(image.shape[1], np.float32)
    for c in range(begin, end):
        total[:] = 0
        for i in range(weights.shape[1]):
            add_scaled(total, image[first[c] + i], weights[c, i])
        for l in range(LANES):
            for r in range(out.shape[2]):
                out[l, c, r] = total[r * LANES + l]


@kernel
def add_four(total, a, b, c, d, w):
    """total += w₀ a + w₁ b + w₂ c + w₃ d."""
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    for i in range(total.size):
        total[i] += (w0 * a[i] + w1 * b[i]) + (w2 * c[i] + w3 * d[i])


@kernel
def combine_frames(bank, rows, weights, out, begin, end):
    """out (frames, n) = weights (frames, 4 j) @ bank[rows (4 j)], of the chunks begin … end of the points."""
    n = bank.shape[1]
    for chunk in range(begin, end):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, n)
        out[:, low:high] = 0
        for i in range(0, rows.size, 4):
            a, b = bank[rows[i], low:high], bank[rows[i + 1], low:high]
            c, d = bank[rows[i + 2], low:high], bank[rows[i + 3], low:high]
            for f in range(weights.shape[0]):
                add_four(out[f, low:high], a, b, c, d, weights[f, i : i + 4])


@kernel
def record(image, step_column, step_row, first_row, along_rows, first_column, along_columns, out):
    """out[r, c] = Σ_ij along_rows[i] along_columns[j] image[s_c c + first_column + j, s_r r + first_row + i].

    image : (columns, rows) float32
    """
    rows, columns = out.shape
    half = np.empty((image.shape[1], columns), np.float32)
    total = np.empty(image.shape[1], np.float32)
    for c in range(columns):
        total[:] = 0
        for j in range(along_columns.size):
            add_scaled(total, image[step_column * c + first_column + j], along_columns[j])
        half[:, c] = total
    for r in range(rows):
        out[r] = 0
        for i in range(along_rows.size):
            add_scaled(out[r], half[step_row * r + first_row + i], along_rows[i])
