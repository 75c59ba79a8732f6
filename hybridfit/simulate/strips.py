"""Patterns of a scan from few that many positions share.

All of a scan has one camera but for its centre: patterns are the same images, blurred and thinned out
(`simulate.thinning`), and interpolated between thicknesses and tilts (`simulate.strip_plan`).  Where tilts
are one grid point of the library apart, that is as exact as the library; where the specimen is thin, two will
do.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.library.library import Library
from hybridfit.pattern.averaging import bare_disc
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.expand import Table
from hybridfit.pattern.pool import Pool
from hybridfit.pattern.strips import (
    CHUNK,
    DEEP,
    LANES,
    Sheet,
    cells_of,
    combine_frames,
    dealt_columns,
    dealt_grids,
    fill_strips,
    record,
    sum_beams,
    thin_columns,
    thin_rows,
)
from hybridfit.simulate.frame import density, fine_half_edge
from hybridfit.simulate.strip_plan import GRID_BYTES, INNER, Group, Places, Plan, plan_of
from hybridfit.simulate.thinning import Axis, blur_of, samples_for

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

STEPS = (2, 1)  # grid points between tilts, the first for thin specimens
THIN = 11.0  # nm mrad: up to this thickness times distance of tilts, errors stay below 1e-4 of the maximum
STRIP_BYTES = 2e8  # of sheets
BANDS = 4096  # that are kept, each of some hundred bytes
DIFFUSE_TILTS = 200  # whose diffuse intensity is kept
MOST_POINTS = 3e6  # fine points: what is kept of more would take gigabytes
WIDER = 3.0  # the fine points of all centres, in those of one frame
EACH = 0.5  # sheets for each place: of more, patterns are composed one by one in the same time


class Optics(NamedTuple):
    """What a scan has in common: camera (its centre apart), shape of a frame, semi-angle and blur (mrad)."""

    camera: Camera
    shape: tuple[int, int]
    semi_angle: float
    blur: float


def strips_of(library: Library, optics: Optics, places: Places, pool: Pool | None = None) -> Strips | None:
    """Patterns from strips; None where the camera, the library or the number of places is not for them."""
    camera, alpha = optics.camera, optics.semi_angle
    s, sigma = density(camera.scale), optics.blur * camera.scale
    if not len(places.thickness) or library.structure or sigma <= 0 or samples_for(sigma) > s:
        return None
    middle = (places.centre.min(axis=0) + places.centre.max(axis=0)) / 2
    moved = [(float(each.min()), float(each.max())) for each in (places.centre - middle).T]
    sizes = optics.shape[::-1]
    across, down = axes = (
        Axis.of(sizes[0], s, blur_of(sigma, s), moved[0]),
        Axis.of(sizes[1], s, blur_of(sigma, s), moved[1]),
    )
    points = len(across.fine) * len(down.fine)
    if points > min(MOST_POINTS, WIDER * sizes[0] * sizes[1] * s**2):
        return None
    x, y = (each.ravel() for each in np.meshgrid(across.fine, down.fine))
    k = to_angles(x, y, camera._replace(centre_x=float(middle[0]), centre_y=float(middle[1])))
    t, most = places.thickness, float(np.hypot(*places.tilt.T).max())
    wanted = THIN / float(t.max())
    half_edge = fine_half_edge(library, camera.scale)
    for step in STEPS:
        last = most + 2 * np.sqrt(2) * step * library.step  # the largest tilt of a pattern
        room = library.semi_angle_max + library.tilt_max - alpha - half_edge
        if last > room or (step > 1 and step * library.step > wanted):
            continue
        window = library.window(
            float(t.min() + t.max()) / 2,
            half_widths=(float(t.max() - t.min()) / 2, last),
            semi_angle=alpha,
        )
        table = window.table(k_max=float(np.hypot(*k).max()), semi_angle=alpha)
        plan = plan_of(table, places, alpha + half_edge, step, slots_of(axes))
        if plan.sheets > EACH * len(t):
            return None
        return Strips(library, optics, places, table, plan, axes, k, pool or Pool())
    return None


def slots_of(axes: tuple[Axis, Axis]) -> int:
    """How many sheets are kept: those that a position needs, at least."""
    return max(int(STRIP_BYTES // (4 * DEEP * LANES * axes[0].samples * axes[1].samples)), 8)


class Strips:
    """Patterns of places, from `strips_of`.

    Attributes
    ----------
    groups : list of Group
        Whose patterns are had together, in the order in which they are best asked for.
    """

    def __init__(
        self,
        library: Library,
        optics: Optics,
        places: Places,
        table: Table,
        plan: Plan,
        axes: tuple[Axis, Axis],
        k: Array,
        pool: Pool,
    ) -> None:
        self._plan, self.groups = plan, plan.groups
        self._places, self._table, self._axes, self._pool = places, table, axes, pool
        self._optics, self._diffuse = optics, library.diffuse
        self._middle = (places.centre.min(axis=0) + places.centre.max(axis=0)) / 2
        origin, right, below = to_angles(np.array([0.0, 1, 0]), np.array([0.0, 0, 1]), optics.camera).T
        self._steps = np.stack([right - origin, below - origin], axis=1)
        self._bands: dict[tuple[int, float], tuple[int, Float32]] = {}  # of W₂
        self._half_edge = half_edge = fine_half_edge(library, optics.camera.scale)
        self._k = k
        self._dealt, length = dealt_columns(plan.shape[1], plan.step)
        self._grid_shape = (len(table.beam_n), plan.shape[0], length)
        self._cells = cells_of(k, table, optics.semi_angle, half_edge, plan.shape[0], plan.first)
        corner = self._cells.corner
        self._sums_first = corner.min(axis=1) - 1
        self._sums = np.empty((DEEP, *(corner.max(axis=1) + 3 - self._sums_first), LANES), np.float32)
        across, down = axes
        self._thin = across.thin, down.thin
        self._fine = np.empty((DEEP, len(down.fine), len(across.fine), LANES), np.float32)
        self._half = np.empty((len(across.fine), down.samples, LANES), np.float32)
        slots, size = slots_of(axes), across.samples * down.samples
        self._bank = np.empty((slots * DEEP * LANES, size), np.float32)
        self._free = list(range(slots))
        self._kept: OrderedDict[tuple[int, int, int], int] = OrderedDict()
        self._grids: OrderedDict[int, Float32] = OrderedDict()
        self._tilts: OrderedDict[tuple[int, int], Float32] = OrderedDict()
        if self._diffuse is not None:
            found = [self._diffuse.layers(float(t)) for t in places.thickness]
            ends = np.array([first for first, _ in found])
            self._layers = slice(int(ends.min()), int(ends.max()) + 4)
            self._layer = ends - self._layers.start  # the first of four of a place
            self._along_t = np.array([weights for _, weights in found], np.float32)

    # ---------------------------------------------------------------- patterns

    def of(self, group: Group) -> Callable[[int], Float32]:
        """pattern(i) → (rows, cols) of the i-th place of a group, to be called from any thread."""
        images, exits = self._combined(group), self._exits(group)

        def pattern(i: int) -> Float32:
            n = int(group.places[i])
            out = self.recorded(images[i], self._places.centre[n])
            if exits is not None:
                out += self._on_camera(exits[i], n)
            return np.maximum(out, 0, out=out)  # interpolation may fall a hair short of zero

        return pattern

    def recorded(self, image: Float32, centre: Array) -> Float32:
        """What pixels (rows, cols) record of samples (·,) when the direct disc is at a centre (px)."""
        across, down = self._axes
        moved = centre - self._middle
        first_column, along_columns = self._band(0, float(moved[0]))
        first_row, along_rows = self._band(1, float(moved[1]))
        out = np.empty(self._optics.shape, np.float32)
        shaped = image.reshape(across.samples, down.samples)
        record(shaped, across.step, down.step, first_row, along_rows, first_column, along_columns, out)
        return out

    def _band(self, axis: int, moved: float) -> tuple[int, Float32]:
        """W₂ along an axis; few are different where columns and rows of the scan move the pattern."""
        found = self._bands.get((axis, moved))
        if found is None:
            found = self._axes[axis].record(moved)
            if len(self._bands) < BANDS:
                self._bands[axis, moved] = found
        return found

    def empty_disc(self) -> Float32:
        """Samples (·,) of the aperture alone, for `recorded`."""
        disc = bare_disc(self._k, self._optics.semi_angle, self._half_edge, 1)[0]
        self._fine[0] = disc.reshape(self._fine.shape[1:3])[..., None]
        out = np.empty((LANES, self._bank.shape[1]), np.float32)
        self._thinned(self._fine[0], out)
        first: NDArray[np.float32] = out[0]
        return first

    def _combined(self, group: Group) -> Float32:
        """(f, samples): blurred patterns of a group."""
        (a, b), start = group.corner, self._plan.start
        lane = b - 1 - start[1] - INNER * group.sheet
        deep = a - 1 - start[0] + np.arange(4)
        layers = range(group.node - 1, group.node + 3)
        needed = [(group.sheet, int(each), i) for i in layers for each in np.unique(deep // DEEP)]
        for key in needed:  # none of them may be given up for another
            if key in self._kept:
                self._kept.move_to_end(key)
        slots = {key: self._slot(key) for key in needed}
        strips = [DEEP * slots[group.sheet, int(d) // DEEP, i] + d % DEEP for i in layers for d in deep]
        rows = (LANES * np.array(strips)[:, None] + lane + np.arange(4)).ravel()
        weights = group.weights.reshape(-1, 64)
        out = np.empty((len(weights), self._bank.shape[1]), np.float32)

        def share(begin: int, end: int) -> None:
            combine_frames(self._bank, rows, weights, out, begin, end)

        self._pool.shares(share, -(-out.shape[1] // CHUNK))
        return out

    # ---------------------------------------------------------------- strips

    def _slot(self, key: tuple[int, int, int]) -> int:
        """Where a sheet (which along b, which along a, thickness) is in the bank; it is made if it is not."""
        if key not in self._kept:
            slot = self._free.pop() if self._free else self._kept.popitem(last=False)[1]
            size = DEEP * LANES
            self._make(key, self._bank[size * slot : size * (slot + 1)])
            self._kept[key] = slot
        return self._kept[key]

    def _make(self, key: tuple[int, int, int], out: Float32) -> None:
        across, down, i = key
        plan = self._plan
        tilt = plan.start[0] + DEEP * down, plan.start[1] + INNER * across
        shift = plan.step * tilt[0], plan.step * tilt[1]
        sheet = Sheet(self._grid(i), self._dealt, shift, plan.step)
        flat, first = self._fine.reshape(DEEP, -1, LANES), self._sums_first

        def sums(begin: int, end: int) -> None:
            alpha = self._optics.semi_angle
            sum_beams(self._table, alpha, plan.first, sheet, self._sums, first, begin, end)

        def fill(begin: int, end: int) -> None:
            fill_strips(self._cells, self._sums, first, sheet, flat, begin, end)

        self._pool.shares(sums, self._sums.shape[1])
        self._pool.shares(fill, self._cells.point.size - 1)
        for j in range(DEEP):
            self._thinned(self._fine[j], out[LANES * j : LANES * (j + 1)])

    def _thinned(self, image: Float32, out: Float32) -> None:
        """out (LANES, samples) from an image at the fine points."""
        (columns, along_columns), (rows, along_rows) = self._thin
        fine, half = (each.reshape(len(each), -1) for each in (image, self._half))
        shaped = out.reshape(LANES, len(columns), len(rows))
        self._pool.shares(lambda *part: thin_rows(fine, rows, along_rows, self._half, *part), len(rows))
        self._pool.shares(
            lambda *part: thin_columns(half, columns, along_columns, shaped, *part), len(columns)
        )

    def _grid(self, i: int) -> Float32:
        """Intensities of a thickness, dealt out."""
        if i in self._grids:
            self._grids.move_to_end(i)
            return self._grids[i]
        size = 4 * int(np.prod(self._grid_shape))
        if len(self._grids) >= max(4, int(GRID_BYTES // size)):
            _, out = self._grids.popitem(last=False)
        else:
            out = np.zeros(self._grid_shape, np.float32)
        source = np.ascontiguousarray(self._table.intensity[i])
        dealt_grids(self._table, source, self._plan.first, self._dealt, out)
        self._grids[i] = out
        return out

    # ---------------------------------------------------------------- the diffuse part

    def _exits(self, group: Group) -> Float32 | None:
        """Diffuse intensity of every place of a group on the grid of exits, which only the tilt moves."""
        if self._diffuse is None:
            return None
        a, b = group.corner
        nodes = [self._exits_at((a - 1 + i, b - 1 + j)) for i in range(4) for j in range(4)]
        bank = np.concatenate(nodes)  # (16 · layers, exits)
        rows = (np.arange(16)[:, None] * len(nodes[0]) + np.arange(4)).ravel()
        tilted = group.weights.sum(axis=1, dtype=np.float32)
        out = np.empty((len(tilted), 1, bank.shape[1]), np.float32)
        for i, n in enumerate(group.places):
            weights = np.outer(tilted[i], self._along_t[n]).reshape(1, 64)
            combine_frames(bank, rows + self._layer[n], weights, out[i], 0, -(-bank.shape[1] // CHUNK))
        return out[:, 0]

    def _exits_at(self, corner: tuple[int, int]) -> Float32:
        assert self._diffuse is not None
        if corner in self._tilts:
            self._tilts.move_to_end(corner)
            return self._tilts[corner]
        x, y = np.linalg.solve(self._table.to_grid, self._plan.step * np.array(corner))
        found = self._diffuse.exits(self._layers, (float(x), float(y)), self._optics.semi_angle)
        self._tilts[corner] = found
        if len(self._tilts) > DIFFUSE_TILTS:
            self._tilts.popitem(last=False)
        return found

    def _on_camera(self, exits: Float32, n: int) -> Float32:
        assert self._diffuse is not None
        origin = self._places.tilt[n] - self._steps @ self._places.centre[n]
        return self._diffuse.on_camera(exits, origin, self._steps, self._optics.shape)
