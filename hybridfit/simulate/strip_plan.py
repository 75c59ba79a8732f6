"""Which patterns the positions of a scan are interpolated from, and in which order positions are best done.

Between tilts of the library's grid, some grid points apart, and between its thicknesses, patterns H are
interpolated from four points,

    H(t, τ) = Σ_iab w_i(t) w_a(x) w_b(y) H(t_i, τ_ab),

by Lagrange polynomials between thicknesses, as intensities are in `pattern.compose`.  Between tilts beams are
waves of a phase 2π g·τ t: `weights_between` are right for a middling g, and err less for the others.

H(t_i, τ_ab) are made in sheets (`pattern.strips`): eight tilts along b, four along a.  A position needs four
along b of one sheet, and four along a of one or two.  A block of thicknesses is done after the other, in it
the sheets that begin at the same b, and of those one a after the other: so few sheets, and few of the
library's grids, are in memory at a time, and hardly any is made twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.expand import Table, lagrange, thickness_weights
from hybridfit.pattern.strips import DEEP, LANES

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int = NDArray[np.int64]

INNER = LANES - 3  # cells along b that a sheet serves
MOST = 32  # places of a group
MIDDLING = 4.2  # 1/nm: the g whose waves between tilts are exact
GRID_BYTES = 3e8  # of the grids of all thicknesses of a block


@dataclass(frozen=True)
class Places:
    """Positions with a specimen.

    thickness : (n,), nm; tilt : (n, 2), mrad; centre : (n, 2), px, column and row of the direct disc
    """

    thickness: Array
    tilt: Array
    centre: Array


class Group(NamedTuple):
    """Places whose patterns come from the same 64.

    places : (f,) int64
    node : int
        The second of the four thicknesses.
    corner : (int, int)
        Second of the four tilts along a, and along b.
    sheet : int
        Which of those along b.
    weights : (f, 4, 16)
        Of thicknesses, and of tilts along a and b.
    """

    places: Int
    node: int
    corner: tuple[int, int]
    sheet: int
    weights: Float32


class Plan(NamedTuple):
    """Groups of places in the order in which they are best done.

    step : int
        Grid points between tilts.
    first, shape : (2,) int64, (int, int)
        The part of the library's grid of directions that discs reach: grid points.
    start : (int, int)
        The first tilt of the first sheet along a and b, in steps.
    groups : list of Group
    sheets : int
        How many are made.
    """

    step: int
    first: Int
    shape: tuple[int, int]
    start: tuple[int, int]
    groups: list[Group]
    sheets: int


def weights_between(x: Array, omega: Array) -> Array:
    """Weights (n, 4) of nodes −1, 0, 1, 2 at x (n,) between 0 and 1, for waves cos(ωx + φ), ω (n,).

    Those of Lagrange, exact for cubics, less their error: E f⁗(x) / 24, of a wave −E ω² f″(x) / 24,
    where E = (x + 1) x (x − 1) (x − 2) and f″ is interpolated from the two second differences.
    """
    out, slopes = np.empty((len(x), 4)), np.empty(4)
    for weights, at in zip(out, x, strict=True):
        lagrange(at, weights, slopes)
    second = np.stack([1 - x, 3 * x - 2, 1 - 3 * x, x], axis=1)
    error = (x + 1) * x * (x - 1) * (x - 2) * omega**2 / 24
    return out - error[:, None] * second


def plan_of(table: Table, places: Places, reach: float, step: int, slots: int) -> Plan:
    """The plan for tilts so many grid points apart, discs that reach so far (mrad), and room for sheets."""
    found = [thickness_weights(table, float(t)) for t in places.thickness]
    node, along_t = np.array([n for n, _ in found]), np.array([w[0] for _, w in found])
    place = places.tilt @ table.to_grid.T / step
    corner = np.floor(place).astype(np.int64)
    apart = step / np.linalg.norm(table.to_grid, axis=1)  # mrad
    along = [
        weights_between(place[:, i] - corner[:, i], 2e-3 * np.pi * MIDDLING * places.thickness * apart[i])
        for i in (0, 1)
    ]
    weights = np.einsum("ni,na,nb->niab", along_t, *along).reshape(-1, 4, 16).astype(np.float32)
    low, high = corner.min(axis=0) - 1, corner.max(axis=0) + 2
    sheet = (corner[:, 1] - 1 - low[1]) // INNER
    radius = np.array([int(np.ceil(reach * np.hypot(*row))) + 3 for row in table.to_grid])
    # sheets may begin at the last tilt along a, and at the last cell along b
    last = step * np.array([high[0] + DEEP, low[1] + INNER * int(sheet.max()) + LANES])
    first = step * low - radius
    rows, columns = (int(n) for n in last + radius - first + 1)
    layers = min(int(GRID_BYTES // (4 * len(table.beam_n) * rows * columns)), slots // 2)
    block = (node - node.min()) // max(layers - 3, 1)
    keys = np.stack([block, sheet, corner[:, 0], node, corner[:, 1]])
    order = np.lexsort(keys[::-1])
    begins = np.flatnonzero(np.any(np.diff(keys[:, order], axis=1), axis=0)) + 1
    groups, made = [], set()
    for alike in np.split(order, begins):
        b, s, one, i, two = (int(each) for each in keys[:, alike[0]])
        for mine in np.split(alike, range(MOST, len(alike), MOST)):
            groups.append(Group(mine, i, (one, two), s, weights[mine]))
        made |= {(b, s, (one - 1 + a - low[0]) // DEEP, i + j) for a in (0, 3) for j in range(4)}
    return Plan(step, first, (rows, columns), (int(low[0]), int(low[1])), groups, len(made))
