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

from hybridfit.pattern.expand import Table, thickness_bends, thickness_weights
from hybridfit.pattern.node_bends import combine_bends, combine_values
from hybridfit.pattern.node_kernels import (
    PAD,
    SIDE,
    WIDE,
    Entries,
    add_smooth,
    combine,
    entries_at,
    fill_tile,
    largest,
    pack,
    undo_symmetry,
)
from hybridfit.pattern.pool import Pool
from hybridfit.pattern.settings import MODEL

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Source = Callable[[int], Float32]
Smooth = Callable[[int, tuple[float, float]], tuple[Float32, Float32]]

GRIDS = 5  # thicknesses whose directions are kept, symmetry undone
LARGEST = 32767  # of an int16


class Aperture(NamedTuple):
    """An aperture (mrad); rims: its derivative along the semi-angle is in its place."""

    semi_angle: float
    half_edge: float
    rims: bool = False


class Added(NamedTuple):
    """What is added to patterns, at coarser points; it is linear in the tilt over a tile.

    image : callable (index of a thickness, tilt) → value (m,), slopes along the tilt (2, m)
    whole : (n,) int64, which coarser point stands for a point
    """

    image: Smooth
    whole: NDArray[np.int64]


class Parts(NamedTuple):
    """What tiles are made of, for a copy of them elsewhere (`pattern.torch_nodes`).

    entries : Entries
        Of the points, in grids (beam, *shape) of intensities.
    cells : (int, int)
        Along either direction of the grid, no tile that is asked for lies farther from the first.
    """

    entries: Entries
    shape: tuple[int, int]
    back: Array
    added: Added | None
    cells: tuple[int, int]


class Grids:
    """Intensities of all beams at all grid points, symmetry undone, of the thicknesses last asked for.

    Parameters
    ----------
    table : Table
    widest : float, mrad
        How far apertures reach.
    tilt_most : float, mrad
        No pattern is asked for with a larger component of the tilt.
    source : callable (index of a thickness) → (beam, direction) float32, optional
        Intensities; those of the table by default, which else has but the number of thicknesses.
    kept : int
        So many thicknesses stay; a pattern needs four.

    Attributes
    ----------
    first : (2,) int array
        Grid coordinates of the first point; there are `shape`.
    most : float, mrad
        The largest tilt.
    """

    def __init__(
        self, table: Table, widest: float, tilt_most: float, source: Source | None = None, kept: int = GRIDS
    ) -> None:
        self.table, self._source, self._most = table, source or (lambda i: table.intensity[i]), kept
        self.most = float(np.sqrt(2)) * tilt_most  # with both components of the tilt at their largest
        room = [int((widest + self.most) * np.hypot(*row)) + PAD + SIDE for row in table.to_grid]
        self.first = np.array([-each for each in room], np.int64)
        self.shape = (2 * room[0] + 1, 2 * room[1] + 1)
        self._kept: OrderedDict[int, tuple[Float32, tuple[int, int, int, int] | None]] = OrderedDict()

    def at(self, i: int, window: tuple[int, int, int, int] | None = None) -> Float32:
        """(beam, ·, ·): intensities at a thickness at all grid points, or in a window of rows and columns.

        window is (from, up to but without) of either; what lies outside it is not to be read.  A tile more on
        either side is made, which the neighbours of a tile will ask for.
        """
        known = self._kept.get(i)
        if known is not None and _covers(known[1], window):
            self._kept.move_to_end(i)
            return known[0]
        if known is not None:
            out = self._kept.pop(i)[0]
        elif len(self._kept) >= self._most:
            _, (out, _) = self._kept.popitem(last=False)
        else:
            out = np.empty((len(self.table.beam_n), *self.shape), np.float32)
        cut = np.array([0, self.shape[0], 0, self.shape[1]], np.int64)
        if window is not None:
            window = (
                max(window[0] - SIDE, 0),
                min(window[1] + SIDE, self.shape[0]),
                max(window[2] - SIDE, 0),
                min(window[3] + SIDE, self.shape[1]),
            )
            cut = np.array(window, np.int64)
        undo_symmetry(self.table, np.ascontiguousarray(self._source(i)), self.first, cut, out)
        self._kept[i] = out, window
        return out


def _covers(known: tuple[int, ...] | None, window: tuple[int, ...] | None) -> bool:
    """Whether one window is in another; None is all of it."""
    if known is None or window is None:
        return known is None
    return known[0] <= window[0] and known[2] <= window[2] and window[1] <= known[1] and window[3] <= known[3]


class Nodes:
    """Node patterns of one table at fixed points, made when they are asked for.

    Parameters
    ----------
    grids : Grids
        Wide enough for the aperture.
    k : (2, n) array, mrad, crystal frame
        The points.
    aperture : Aperture
    added : Added, optional
    memory : float, bytes
        That tiles may take.
    few : bool
        Tilts near each other are asked for at many thicknesses: of the grids no more is made than they need.
    pool : Pool, optional
    """

    def __init__(
        self,
        grids: Grids,
        k: Array,
        aperture: Aperture,
        *,
        added: Added | None = None,
        memory: float = MODEL.node_bytes,
        few: bool = False,
        pool: Pool | None = None,
    ) -> None:
        self.table, self.n, self._pool = grids.table, k.shape[1], pool or Pool()
        self._grids = grids
        found = entries_at(k[0], k[1], self.table, *aperture, grids.shape, grids.first)
        self._entries = Entries(*found)
        self._back = np.ascontiguousarray(np.linalg.inv(self.table.to_grid))
        self._reach = _reach(self._entries, grids.shape) if few else None
        self._added = added
        size = SIDE * SIDE * self.n * 2
        slots = max(int(memory // size), 40)
        # taken at once: pools of processes mistake memory that grows for a leak
        self._bank = np.full((slots * SIDE * SIDE, self.n), 0, np.int16)
        self._units = np.empty(slots, np.float32)
        self._tile = np.empty((SIDE, SIDE, self.n), np.float32)
        self._tiles: OrderedDict[tuple[int, int, int], int] = OrderedDict()
        self._free = list(range(slots))[::-1]
        self.made = 0
        self._last: tuple[tuple[tuple[int, ...], int, int], NDArray[np.int64]] | None = None
        self._out = np.empty((4, self.n), np.float32)

    def at(self, thickness: float, tilt: tuple[float, float]) -> Float32:
        """P and its derivatives along thickness, tilt_x and tilt_y: (4, n), valid until the next call.

        thickness in nm, tilt in mrad.
        """
        rows, weights, phase = self._place(thickness, tilt)
        g, f, out = self.table.to_grid, np.float32, self._out
        wt, st = weights.astype(f)

        def share(begin: int, end: int) -> None:
            combine(self._bank, self._units, rows, wt, st, self._entries, phase, out, begin, end)

        self._pool.shares(share, self.n)
        one, two = out[2].copy(), out[3]
        out[2] = one * f(g[0, 0]) + two * f(g[1, 0])
        out[3] = one * f(g[0, 1]) + two * f(g[1, 1])
        return out

    def values_at(self, thickness: float, tilt: tuple[float, float]) -> Float32:
        """(n,): P alone."""
        rows, weights, phase = self._place(thickness, tilt)
        return self._combined(rows, weights[0].astype(np.float32), phase)

    def layer_at(self, i: int, tilt: tuple[float, float]) -> Float32:
        """(n,): P at a thickness of the table, by number; no other is read."""
        corner, phase = self._corner(tilt)
        rows = np.repeat(self._rows((i,), *corner), 4, axis=0)
        return self._combined(rows, np.array([1, 0, 0, 0], np.float32), phase)

    def thickness_bend(self, thickness: float, tilt: tuple[float, float]) -> Float32:
        """(n,): ∂²P/∂t², per nm²."""
        rows, _, phase = self._place(thickness, tilt)
        return self._combined(rows, thickness_bends(self.table, thickness).astype(np.float32), phase)

    def bends_at(self, thickness: float, tilt: tuple[float, float]) -> Float32:
        """(3, n): ∂²P/∂τx², ∂²P/∂τx∂τy and ∂²P/∂τy², per mrad²."""
        rows, weights, phase = self._place(thickness, tilt)
        out, wt = np.empty((3, self.n), np.float32), weights[0].astype(np.float32)

        def share(begin: int, end: int) -> None:
            combine_bends(self._bank, self._units, rows, wt, self._entries, phase, out, begin, end)

        self._pool.shares(share, self.n)
        (a, b), (c, d) = self.table.to_grid
        turn = [[a * a, 2 * a * c, c * c], [a * b, a * d + b * c, c * d], [b * b, 2 * b * d, d * d]]
        bends: Float32 = np.array(turn, np.float32) @ out
        return bends

    def _combined(self, rows: NDArray[np.int64], wt: Float32, phase: tuple[float, float]) -> Float32:
        """(n,): nodes (4, 5, 5) with weights (4,) in thickness."""
        out = np.empty(self.n, np.float32)

        def share(begin: int, end: int) -> None:
            combine_values(self._bank, self._units, rows, wt, self._entries, phase, out, begin, end)

        self._pool.shares(share, self.n)
        return out

    def _place(
        self, thickness: float, tilt: tuple[float, float]
    ) -> tuple[NDArray[np.int64], Array, tuple[float, float]]:
        """The nodes about a thickness and a tilt, weights in thickness (2, 4), and the fraction of a cell."""
        node, weights = thickness_weights(self.table, thickness)
        corner, phase = self._corner(tilt)
        return self._rows((node - 1, node, node + 1, node + 2), *corner), weights, phase

    def _corner(self, tilt: tuple[float, float]) -> tuple[tuple[int, int], tuple[float, float]]:
        """The grid point below a tilt, and the fraction of a cell at which it lies."""
        place = self.table.to_grid @ np.asarray(tilt)
        one, two = np.floor(place).astype(np.int64).tolist()
        return (one, two), (float(place[0] - one), float(place[1] - two))

    def _rows(self, layers: tuple[int, ...], one: int, two: int) -> NDArray[np.int64]:
        """Where the nodes (thicknesses, 5, 5) about a grid point are in the bank."""
        at = layers, one, two
        if self._last is not None and self._last[0] == at:
            return self._last[1]
        # all tiles are brought in first, so that none is given up while it is needed
        needed: dict[tuple[int, int, int], int] = {}
        x, y = np.arange(one - 1, one - 1 + WIDE), np.arange(two - 1, two - 1 + WIDE)
        (c, first_c), (d, first_d) = (divmod(each - 1, SIDE) for each in (one, two))
        slots = np.empty((len(layers), 2, 2), np.int64)  # WIDE nodes lie in two tiles along either direction
        for i, j, k in np.ndindex(slots.shape):
            key = (layers[i], c + j, d + k)
            slots[i, j, k] = needed[key] = self._slot(key, needed)
        of_x, of_y = (np.arange(first, first + WIDE) // SIDE for first in (first_c, first_d))
        own = slots[:, of_x[:, None], of_y]
        rows: NDArray[np.int64] = (own * SIDE + (x % SIDE)[:, None]) * SIDE + y % SIDE
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
        grids, stride = self._grids.at(i, self._window(a, b)), self._grids.shape[1]
        tile = self._tile
        shift = SIDE * a * stride + SIDE * b

        def share(begin: int, end: int) -> None:
            fill_tile(self._entries, grids.ravel(), stride, shift, tile, begin, end)

        self._pool.shares(share, self.n)
        if self._added is not None:
            middle = self.middle(a, b)
            value, slopes = self._added.image(i, middle)
            steps = self.tilts(a, b) - middle
            add_smooth(tile, value, slopes, steps, self._back, self._entries, self._added.whole)
        unit = np.float32(max(float(largest(tile.ravel())), 1e-30) / LARGEST)
        self._units[slot] = unit
        pack(tile.ravel(), unit, self._bank[slot * SIDE * SIDE : (slot + 1) * SIDE * SIDE].ravel())
        self.made += 1

    def _window(self, a: int, b: int) -> tuple[int, int, int, int] | None:
        """Rows and columns of the grids that a tile needs; None for all."""
        if self._reach is None:
            return None
        (top, bottom), (left, right) = self._reach
        return top + SIDE * a, bottom + SIDE * (a + 1), left + SIDE * b, right + SIDE * (b + 1)

    @property
    def parts(self) -> Parts:
        """What tiles are made of."""
        cells = [int(self._grids.most * np.hypot(*row)) // SIDE + 2 for row in self.table.to_grid]
        return Parts(self._entries, self._grids.shape, self._back, self._added, (cells[0], cells[1]))

    def middle_of(self, tilt: Array) -> tuple[float, float]:
        """The middle (mrad) of the tile that a tilt is in."""
        a, b = (np.floor(self.table.to_grid @ tilt) // SIDE).astype(int)
        return self.middle(int(a), int(b))

    def middle(self, a: int, b: int) -> tuple[float, float]:
        """The middle (mrad) of a tile."""
        x, y = self.tilts(a, b).mean(axis=(0, 1))
        return float(x), float(y)

    def tilts(self, a: int, b: int) -> Array:
        """(SIDE, SIDE, 2), mrad: the tilts of a tile."""
        nodes = SIDE * np.array([a, b]) + np.moveaxis(np.indices((SIDE, SIDE)), 0, -1)
        return np.asarray(nodes @ self._back.T)

    def grid(self, i: int) -> Float32:
        """(beam, ·, ·): intensities at a thickness at all grid points."""
        return self._grids.at(i)


def _reach(entries: Entries, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first and the last row, and column, of grids of this shape that the points ask for at no tilt."""
    row, column = np.divmod(entries.at % (shape[0] * shape[1]), shape[1])
    if not len(row):
        return (0, 0), (0, 0)
    return (int(row.min()), int(row.max())), (int(column.min()), int(column.max()))
