"""Node patterns: sums of beams at whole grid points, from which all patterns of a camera are combined.

The intensities of a library are known on a grid of directions and at steps of thickness, and four-point
Lagrange polynomials interpolate them (`pattern.compose`).  All beams of a pixel lie at the same fraction of
a cell of the grid, and the aperture depends neither on tilt nor on thickness.  So beams may be summed first
and interpolated then,

    Q_cd(k; t_i) = Σ_g A(|k − g|) I_g(m − N·n_g + (c, d); t_i),
    P(k; t, τ) = Σ_icd w_i(t) w_c(x) w_d(y) Q_cd(k; t_i),

m being the grid point below k and (x, y) the fraction at which k + τ lies.  At fixed points k, those of a
camera whose scale, rotation and distortion are known, the node patterns Q are images that all frames share: a
pattern with its derivatives is some multiply-adds for each of 5 × 5 × 4 nodes and each point, of which a
point uses 4 × 4 × 4.  The result is that of `compose`, but for rounding.

Nodes are made in tiles of 4 × 4 at one thickness, by sums of rows of the grid, and kept as whole numbers of
16 bits times a unit of each tile: reading them is what combining takes its time for.  The memory that tiles
take is bounded: of more, the one that was used longest ago is given up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.compose import aperture
from hybridfit.pattern.expand import Table, fetch, thickness_weights
from hybridfit.pattern.jit import add_scaled_4, kernel
from hybridfit.pattern.pool import Pool

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Source = Callable[[int], Float32]
Smooth = Callable[[int, tuple[float, float]], tuple[Float32, Float32] | None]

SIDE = 4  # of a tile, in nodes
WIDE = 5  # nodes along either direction that the points of a camera need
PAD = 8  # empty grid points around the directions of a library
GRIDS = 6  # thicknesses whose directions are kept, symmetry undone
CHUNK = 512  # points that are combined at a time
LARGEST = 32767  # of an int16


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
def undo_symmetry(table, source, first, out):
    """Fill out (beam, ·, ·), which begins at the grid point `first`, from those of the stored directions.

    source : (beam, direction) float32
    """
    operations = np.empty(table.permutation.shape[0], np.int64)
    flat = source.ravel()
    for b in range(out.shape[0]):
        for r in range(operations.size):
            operations[r] = table.permutation[r, b] * source.shape[1]
        for j in range(out.shape[1]):
            fetch(table, flat, operations, j + first[0], first[1], first[1] + out.shape[2] - 1, out[b, j])


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
def fill_templates(entries, grids, shifts, out):
    """out[s, p] = Σ_e weight · intensity at the grid point m, moved by shifts[s]: Q_cd for many tilts."""
    for p in range(out.shape[1]):
        for s in range(shifts.size):
            total = np.float32(0)
            for e in range(entries.start[p], entries.start[p + 1]):
                total += entries.weight[e] * grids[entries.at[e] + shifts[s]]
            out[s, p] = total


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


class Nodes:
    """Node patterns of one table at fixed points, made when they are asked for.

    Parameters
    ----------
    table : Table
    kx, ky : (n,) arrays, mrad, crystal frame
        The points.
    semi_angle, half_edge : float, mrad
    tilt_most : float, mrad
        No pattern is asked for at a larger tilt.
    source : callable (index of a thickness) → (beam, direction) float32, optional
        Intensities; those of the table by default, which else has but the number of thicknesses.
    rims : bool
        Whether the aperture is replaced by its derivative along the semi-angle.
    smooth : callable (index of a thickness, tilt) → value (m,), slopes along the tilt (2, m), optional
        What is added to patterns, at coarser points; it is linear in the tilt over a tile.
    whole : (n,) int64 array, optional
        Which coarser point stands for a point.
    memory : float, bytes
        That tiles may take.
    pool : Pool, optional
    """

    def __init__(
        self,
        table: Table,
        kx: Array,
        ky: Array,
        *,
        semi_angle: float,
        half_edge: float,
        tilt_most: float,
        source: Source | None = None,
        rims: bool = False,
        smooth: Smooth | None = None,
        whole: NDArray[np.int64] | None = None,
        memory: float = 4e8,
        pool: Pool | None = None,
    ) -> None:
        self.table, self.n, self._pool = table, kx.size, pool or Pool()
        self._source = source or (lambda i: table.intensity[i])
        # as many grid points as an aperture at the largest tilt reaches, or as the library has
        reach = semi_angle + half_edge + tilt_most
        half = [
            min(int(reach * np.hypot(*row)) + 3, n // 2)
            for row, n in zip(table.to_grid, table.direction_at.shape, strict=True)
        ]
        room = [each + PAD + SIDE for each in half]
        self._first = np.array([-each for each in room], np.int64)
        self._shape = (2 * room[0] + 1, 2 * room[1] + 1)
        found = entries_at(kx, ky, table, semi_angle, half_edge, rims, self._shape, self._first)
        self._entries = Entries(*found)
        self._back = np.ascontiguousarray(np.linalg.inv(table.to_grid))
        self._grids: OrderedDict[int, Float32] = OrderedDict()
        self._smooth, self._whole = smooth, whole
        size = SIDE * SIDE * self.n * 2
        slots = max(int(memory // size), 40)
        # taken at once: pools of processes mistake memory that grows for a leak
        self._bank = np.full((slots * SIDE * SIDE, self.n), 0, np.int16)
        self._units = np.empty(slots, np.float32)
        self._tile = np.empty((SIDE, SIDE, self.n), np.float32)
        self._tiles: OrderedDict[tuple[int, int, int], int] = OrderedDict()
        self._free = list(range(slots))[::-1]
        self.made = 0
        self._last: tuple[tuple[int, int, int], NDArray[np.int64]] | None = None
        self._out = np.empty((4, self.n), np.float32)

    def at(self, thickness: float, tilt: tuple[float, float]) -> Float32:
        """P and its derivatives along thickness, tilt_x and tilt_y: (4, n), valid until the next call.

        thickness in nm, tilt in mrad.
        """
        node, weights = thickness_weights(self.table, thickness)
        g = self.table.to_grid
        place = g @ np.asarray(tilt)
        corner = np.floor(place).astype(np.int64)
        phase = (float(place[0] - corner[0]), float(place[1] - corner[1]))
        rows = self._rows(node, int(corner[0]), int(corner[1]))
        f, out = np.float32, self._out
        wt, st = weights.astype(f)

        def share(begin: int, end: int) -> None:
            combine(self._bank, self._units, rows, wt, st, self._entries, phase, out, begin, end)

        self._pool.shares(share, self.n)
        one, two = out[2].copy(), out[3]
        out[2] = one * f(g[0, 0]) + two * f(g[1, 0])
        out[3] = one * f(g[0, 1]) + two * f(g[1, 1])
        return out

    def _rows(self, node: int, one: int, two: int) -> NDArray[np.int64]:
        """Where the nodes (4, 5, 5) about a thickness and a grid point are in the bank."""
        at = node, one, two
        if self._last is not None and self._last[0] == at:
            return self._last[1]
        # all tiles are brought in first, so that none is given up while it is needed
        needed: dict[tuple[int, int, int], int] = {}
        x, y = np.arange(one - 1, one - 1 + WIDE), np.arange(two - 1, two - 1 + WIDE)
        slots = np.empty((4, WIDE, WIDE), np.int64)
        for i in range(4):
            for c in dict.fromkeys((x // SIDE).tolist()):
                for d in dict.fromkeys((y // SIDE).tolist()):
                    key = (node - 1 + i, c, d)
                    needed[key] = self._slot(key, needed)
                    slots[i, (x // SIDE == c)[:, None] & (y // SIDE == d)] = needed[key]
        rows: NDArray[np.int64] = (slots * SIDE + (x % SIDE)[:, None]) * SIDE + y % SIDE
        self._last = at, rows
        return rows

    def _slot(self, key: tuple[int, int, int], needed: dict[tuple[int, int, int], int]) -> int:
        """Where a tile is in the bank; it is made if it is not there."""
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        if not self._free:
            old = next(each for each in self._tiles if each not in needed)
            self._free.append(self._tiles.pop(old))
        slot = self._free.pop()
        self._make(key, slot)
        self._tiles[key] = slot
        return slot

    def _make(self, key: tuple[int, int, int], slot: int) -> None:
        i, a, b = key
        grids, stride = self._grid(i), self._shape[1]
        tile = self._tile
        shift = SIDE * a * stride + SIDE * b

        def share(begin: int, end: int) -> None:
            fill_tile(self._entries, grids.ravel(), stride, shift, tile, begin, end)

        self._pool.shares(share, self.n)
        if self._smooth is not None:
            tilts = self._tilts(a, b)
            middle = self._middle(a, b)
            found = self._smooth(i, middle)
            if found is not None:
                add_smooth(tile, *found, tilts - middle, self._back, self._entries, self._whole)
        unit = np.float32(max(float(largest(tile.ravel())), 1e-30) / LARGEST)
        self._units[slot] = unit
        pack(tile.ravel(), unit, self._bank[slot * SIDE * SIDE : (slot + 1) * SIDE * SIDE].ravel())
        self.made += 1

    def middle_of(self, tilt: Array) -> tuple[float, float]:
        """The middle (mrad) of the tile that a tilt is in."""
        a, b = (np.floor(self.table.to_grid @ tilt) // SIDE).astype(int)
        return self._middle(int(a), int(b))

    def _middle(self, a: int, b: int) -> tuple[float, float]:
        x, y = self._tilts(a, b).mean(axis=(0, 1))
        return float(x), float(y)

    def _tilts(self, a: int, b: int) -> Array:
        """(SIDE, SIDE, 2), mrad: the tilts of a tile."""
        nodes = SIDE * np.array([a, b]) + np.moveaxis(np.indices((SIDE, SIDE)), 0, -1)
        return np.asarray(nodes @ self._back.T)

    def _grid(self, i: int) -> Float32:
        """(beam, ·, ·): intensities at a thickness at all grid points."""
        if i in self._grids:
            self._grids.move_to_end(i)
            return self._grids[i]
        if len(self._grids) >= GRIDS:
            _, out = self._grids.popitem(last=False)
        else:
            out = np.empty((len(self.table.beam_n), *self._shape), np.float32)
        undo_symmetry(self.table, np.ascontiguousarray(self._source(i)), self._first, out)
        self._grids[i] = out
        return out
