"""From the stored table to the intensities around one tilt: thickness and symmetry.

I_g is known on a grid of directions q commensurate with the reciprocal lattice: grid coordinates
are ν = G·q, and beam g = n₁g₁ + n₂g₂ is a shift by (N₁n₁, N₂n₂).  Only directions in the symmetry
wedge are stored: a grid point q is brought there by the operation R, and I_g(q) = I_{Rg}(Rq);
`expand` undoes that once per pattern.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.jit import kernel
from hybridfit.pattern.pool import Pool

Array = NDArray[np.float64]
NOWHERE = (1 << 30, -1)  # the first and the last of no grid points
SHARES = 4  # of the beams, each of which may have a thread
NARROW = 8  # grid points: a gap that is narrower could part a stencil


class Intensity(Protocol):
    """(thickness, beam, direction) float32: an array, or what gives parts of one along the thickness."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> NDArray[np.float32]: ...


class Grid(NamedTuple):
    """The grid of beams and directions of a library, as the kernels read it.

    Attributes
    ----------
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


class Table(Grid):
    """A grid and the intensities on it, which kernels do not see: they need not be in memory.

    Attributes
    ----------
    intensity : (thickness, beam, direction) float32
        Of the first beams, at least as many as beam_n has.
    """

    intensity: Intensity

    def __new__(cls, intensity: Intensity, *grid: Any, **named: Any) -> Table:
        new = super().__new__(cls, *grid, **named)
        new.intensity = intensity
        return new

    def _replace(self, **changed: Any) -> Table:
        intensity = changed.pop("intensity", self.intensity)
        return Table(intensity, **{**self._asdict(), **changed})

    def __reduce__(self) -> tuple[Any, ...]:
        return Table, (self.intensity, *self)


def lattice_of(basis: Array, sampling: NDArray[np.int64], beam_n: NDArray[np.int64]) -> tuple[Array, Array]:
    """to_grid and beam_xy of a table whose reciprocal basis (rows, mrad) is this."""
    return np.ascontiguousarray((np.linalg.inv(basis) * sampling).T), beam_n @ basis


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


def thickness_weights(table: Table, thickness: float) -> tuple[int, Array]:
    """The second of four thicknesses of a table to interpolate from; weights and their derivatives (2, 4)."""
    position = (thickness - table.thickness_first) / table.thickness_step
    node = min(max(int(np.floor(position)), 1), table.intensity.shape[0] - 3)
    weights = np.empty((2, 4))
    lagrange(position - node, weights[0], weights[1])
    weights[1] /= table.thickness_step
    return node, weights


def thickness_bends(table: Table, thickness: float) -> Array:
    """(4,): second derivatives, per nm², of the weights of `thickness_weights`."""
    position = (thickness - table.thickness_first) / table.thickness_step
    x = position - min(max(int(np.floor(position)), 1), table.intensity.shape[0] - 3)
    return np.array([1 - x, 3 * x - 2, 1 - 3 * x, x]) / table.thickness_step**2


def at_thickness(
    table: Table, thickness: float, lanes: int = 2, pool: Pool | None = None
) -> NDArray[np.float32]:
    """Interpolate a table in thickness: (beam, direction, lanes) float32 with I and, of 2 lanes, ∂I/∂t.

    Near the ends of the range the four nearest nodes are used one-sidedly.
    """
    node, weights = thickness_weights(table, thickness)
    out = np.empty((len(table.beam_n), table.intensity.shape[2], lanes), np.float32)
    used = np.flatnonzero(weights[:lanes].any(axis=0))
    if len(used) == 1:  # on a node: nothing else is read
        out[..., 0] = table.intensity[node - 1 + used[0] : node + used[0]][0, : len(out)]
        return out
    nodes = table.intensity[node - 1 : node + 3]

    def fill(begin: int, end: int) -> None:
        blend_nodes(nodes, weights[:lanes].astype(np.float32), out, begin, end)

    (pool or Pool()).shares(fill, len(out))
    return out


@kernel
def blend_nodes(nodes, weights, out, begin, end):
    """out[b, d, lane] = Σ_i weights[lane, i] · nodes[i, b, d] of the beams begin … end."""
    directions = out.shape[1]
    w0, w1, w2, w3 = weights[0, 0], weights[0, 1], weights[0, 2], weights[0, 3]
    last = weights.shape[0] - 1
    s0, s1, s2, s3 = weights[last, 0], weights[last, 1], weights[last, 2], weights[last, 3]
    for b in range(begin, end):
        i0, i1, i2, i3 = nodes[0, b], nodes[1, b], nodes[2, b], nodes[3, b]
        if last == 0:
            for d in range(directions):
                out[b, d, 0] = w0 * i0[d] + w1 * i1[d] + w2 * i2[d] + w3 * i3[d]
            continue
        for d in range(directions):
            out[b, d, 0] = w0 * i0[d] + w1 * i1[d] + w2 * i2[d] + w3 * i3[d]
            out[b, d, 1] = s0 * i0[d] + s1 * i1[d] + s2 * i2[d] + s3 * i3[d]


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
    if square < 0 or radius < 0:
        return 0, -1
    root = np.sqrt(square)
    return int(np.ceil((-xe - root) / ee)), int(np.floor((-xe + root) / ee))


class Unfolded(NamedTuple):
    """Intensities on the full grid of directions around one tilt.

    Attributes
    ----------
    values : (beam, ·, lanes) float32
        I_g, and ∂I_g/∂t of 2 lanes, at the grid points that a pixel may ask for, row after row.
    rows : (beam, ·, 5) int32
        Of every row of grid points: the first and the last column that S includes; where column 0
        would be among all values, for the columns left of a gap and for those right of it; and the
        sum of the first and the last column of the gap.
    first : (2,) int64
        Grid coordinates of row 0 and column 0.
    sums : (·, ·, lanes) float32
        S, the sum of the beams.
    sums_first : (2,) int64
        Grid coordinates of sums[0, 0].
    inside : float, mrad
        A beam is part of S at the grid points that are so far from its middle.
    stencil : float, mrad
        How far the points are that an interpolation uses.
    """

    values: NDArray[np.float32]
    rows: NDArray[np.int32]
    first: NDArray[np.int64]
    sums: NDArray[np.float32]
    sums_first: NDArray[np.int64]
    inside: float
    stencil: float


@kernel
def stencil_reach(to_grid):
    """How far (mrad) the 4 × 4 points of an interpolation are at most."""
    determinant = to_grid[0, 0] * to_grid[1, 1] - to_grid[0, 1] * to_grid[1, 0]
    e1x, e1y = to_grid[1, 1] / determinant, -to_grid[1, 0] / determinant
    e2x, e2y = -to_grid[0, 1] / determinant, to_grid[0, 0] / determinant
    return 2 * max(np.hypot(e1x + e2x, e1y + e2y), np.hypot(e1x - e2x, e1y - e2y)) + 1e-6


@kernel
def fetch(table, source, operations, m1, low, high, row):
    """row[m − low] = I at the grid points (m₁, m), low ≤ m ≤ high: 0 beyond the library.

    source are the intensities of all beams, operations where those of Rg start, for every operation R.
    """
    d1, d2 = table.direction_at.shape[0] // 2, table.direction_at.shape[1] // 2
    row[: high - low + 1] = 0
    if not 0 <= m1 + d1 < table.direction_at.shape[0]:
        return
    directions, operation = table.direction_at[m1 + d1], table.operation_at[m1 + d1]
    for m in range(max(low, -d2), min(high, d2) + 1):
        # unsigned indices: a signed one costs a test for being negative
        d = directions[np.uint64(m + d2)]
        if d >= 0:
            row[np.uint64(m - low)] = source[
                np.uint64(operations[np.uint64(operation[np.uint64(m + d2)])] + d)
            ]


@kernel
def expand(table, blend, tilt_x, tilt_y, radii, k_max, unfolded, values, sums, begin):
    """Undo the symmetry of beams: fill values and rows, and add to sums.

    Parameters
    ----------
    blend : (beam, direction) float32 or complex64
        I, or I + i ∂I/∂t, which are added and moved as one.
    radii : (3,) array, mrad
        Distances |q − τ|: values are kept from the first to the last, sums include up to the second.
    k_max : float, mrad
        Only directions that end at |q + g − τ| ≤ k_max are wanted.
    unfolded : Unfolded
    values, sums : those of unfolded, of the type of blend
    begin : int
        From this beam on, every SHARES-th is done.
    """
    g = table.to_grid
    determinant = g[0, 0] * g[1, 1] - g[0, 1] * g[1, 0]
    # grid vectors e₁, e₂ (mrad): rows m₁ are walked, and cut to m₂ by circles
    e1x, e1y = g[1, 1] / determinant, -g[1, 0] / determinant
    e2x, e2y = -g[0, 1] / determinant, g[0, 0] / determinant
    first, last = unfolded.first[1], unfolded.first[1] + values.shape[1] // unfolded.rows.shape[1] - 1
    operations = np.empty(table.permutation.shape[0], np.int64)
    source, target, row = blend.ravel(), values.ravel(), np.empty(last - first + 1, blend.dtype)
    for b in range(begin, table.beam_n.shape[0], SHARES):
        gx, gy = table.beam_xy[b]
        n1, n2 = table.sampling[0] * table.beam_n[b, 0], table.sampling[1] * table.beam_n[b, 1]
        for r in range(operations.size):
            operations[r] = table.permutation[r, b] * blend.shape[1]
        free = b * values.shape[1]  # where the next value goes
        for j1 in range(unfolded.rows.shape[1]):
            about = unfolded.rows[b, j1]
            about[0], about[1] = NOWHERE
            about[2], about[3], about[4] = free, free, 0
            m1 = j1 + unfolded.first[0]
            x, y = m1 * e1x - tilt_x, m1 * e1y - tilt_y
            low, high = chord(x, y, e2x, e2y, radii[2])
            if high < low:
                continue
            low_k, high_k = chord(x + gx, y + gy, e2x, e2y, k_max)
            low, high = max(low, low_k, first), min(high, high_k, last)
            if high < low:
                continue
            fetch(table, source, operations, m1, low, high, row)
            in_low, in_high = chord(x, y, e2x, e2y, radii[1])
            in_low, in_high = max(in_low, low), min(in_high, high)
            if in_low <= in_high:
                about[0], about[1] = in_low - first, in_high - first
                total = sums[m1 + n1 - unfolded.sums_first[0]]
                shift = n2 - unfolded.sums_first[1]
                for m in range(in_low, in_high + 1):
                    total[np.uint64(m + shift)] += row[np.uint64(m - low)]
            gap, gap_end = chord(x, y, e2x, e2y, radii[0])
            if gap_end - gap < NARROW:
                gap, gap_end = high + 1, high
            about[2], about[4] = free - (low - first), gap + gap_end - 2 * first
            for m in range(low, min(high, gap - 1) + 1):
                target[np.uint64(free)] = row[np.uint64(m - low)]
                free += 1
            right = max(low, gap_end + 1)
            about[3] = free - (right - first) if gap <= high else about[2]
            for m in range(right, high + 1):
                target[np.uint64(free)] = row[np.uint64(m - low)]
                free += 1


def unfold(
    table: Table,
    blend: NDArray[np.float32],
    tilt: tuple[float, float],
    semi_angle: float,
    half_edge: float,
    k_max: float,
    room: NDArray[np.float32] | None = None,
    pool: Pool | None = None,
) -> Unfolded:
    """`expand` for an aperture of this semi-angle and half-edge, with the margin that interpolation needs.

    Parameters
    ----------
    blend : (beam, direction, lanes) float32
    tilt, semi_angle, half_edge, k_max : mrad
        Points will have |k| ≤ k_max.
    room : a `workspace` for at least this outer radius to use again, optional
    pool : Pool, optional
    """
    pool = pool or Pool()
    margin, lanes = stencil_reach(table.to_grid), blend.shape[2]
    outer = semi_angle + half_edge
    shape, first = _grid_around(table, tilt, outer + 2 * margin)
    room = workspace(table, outer, lanes) if room is None else room
    size = (len(table.beam_n), shape[0] * shape[1], lanes)
    values = room.ravel()[: int(np.prod(size))].reshape(size)
    rows = np.empty((len(table.beam_n), shape[0], 5), np.int32)
    # beyond the last disc there is nothing
    k_max = min(k_max, float(np.hypot(*table.beam_xy.T).max()) + outer)
    sums_shape, sums_first = _grid_around(table, tilt, k_max + margin)
    inner = semi_angle - half_edge - margin
    radii = np.array([inner, semi_angle, outer + margin])
    # threads would write to the same places; as many as there may be, so that all machines round alike
    sums = np.zeros((SHARES, *sums_shape, lanes), np.float32)

    def fill(begin: int, end: int) -> None:
        for share in range(begin, end):
            mine = Unfolded(values, rows, first, sums[share], sums_first, semi_angle, margin)
            into = _as_one(values), _as_one(sums[share])
            expand(table, _as_one(blend), *tilt, radii, k_max + margin, mine, *into, share)

    pool.shares(fill, SHARES)
    total = sums[0]
    for other in sums[1:]:
        total += other
    return Unfolded(values, rows, first, total, sums_first, semi_angle, margin)


def _as_one(lanes: NDArray[np.float32]) -> NDArray[Any]:
    """(…, lanes) as (…) float32 or complex64, in the same memory."""
    return lanes[..., 0] if lanes.shape[-1] == 1 else lanes.view(np.complex64)[..., 0]


def workspace(table: Table, radius: float, lanes: int = 2, pool: Pool | None = None) -> NDArray[np.float32]:
    """Room for `unfold` with an aperture of this outer radius (mrad); reused, it saves page faults.

    With one lane it holds intensities alone, with two also their slopes along the thickness.
    """
    size, _ = _grid_around(table, (0.0, 0.0), radius + 2 * stencil_reach(table.to_grid))
    shape = (len(table.beam_n), size[0] * size[1], lanes)
    return np.zeros(shape, np.float32) if pool is None else pool.workspace(shape)


def _grid_around(
    table: Table, centre: tuple[float, float], radius: float
) -> tuple[tuple[int, int], NDArray[np.int64]]:
    """Shape and first point of a part of the grid that holds a disc (mrad), wherever its centre is."""
    reach = [radius * float(np.hypot(*row)) for row in table.to_grid]
    first = [np.floor(row @ np.asarray(centre) - r) for row, r in zip(table.to_grid, reach, strict=True)]
    shape = (int(2 * reach[0]) + 3, int(2 * reach[1]) + 3)
    return shape, np.array(first, dtype=np.int64)
