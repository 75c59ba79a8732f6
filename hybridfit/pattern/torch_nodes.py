"""Node patterns on a device of torch: patterns of many frames at a time, with their derivatives.

    P(k; t, τ) = Σ_icd w_i(t) w_c(x) w_d(y) Q_cd(k; t_i)

is that of `pattern.nodes`, and so are the tiles: whole numbers of 16 bits times a unit of each tile.  They
are made on the device, sums of beams being gathers of the grid of directions,

    Q_cd[p] = Σ_e weight[p, e] · grid[at[p, e] + shift_cd],

with as many places for beams at every point as the richest point has.  Of the sums over nodes that over
thickness is a product of small matrices, one for each frame and node; the others are multiply-adds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridfit.pattern import torch_kernels
from hybridfit.pattern.node_kernels import SIDE, WIDE
from hybridfit.pattern.nodes import LARGEST, Nodes

TILE = SIDE * SIDE
Combine = Callable[[Tensor, Tensor, Tensor, tuple[Tensor, Tensor], Tensor], Tensor]
CHECKED, SAME = 4, 1e-4  # frames, relative
FRAME_BYTES = 600  # a point of a frame takes so many at once, while it is combined


class TorchNodes:
    """The node patterns of `Nodes` on a device.

    Parameters
    ----------
    nodes : Nodes
    device : torch.device
    memory : float, bytes
        That tiles may take; of more, those that were used longest ago are given up.
    workspace : float, bytes
        That combining may take beside.
    """

    def __init__(self, nodes: Nodes, device: torch.device, memory: float, workspace: float) -> None:
        self.nodes, self.n, self.device = nodes, nodes.n, device
        parts = nodes.parts
        self._u, self._v = self._to(parts.entries.u), self._to(parts.entries.v)
        self._stride, self._back, self._added = parts.shape[1], parts.back, parts.added
        at, weight = _side_by_side(parts.entries.start, parts.entries.at, parts.entries.weight)
        self._at, self._weight = self._to(at), self._to(weight)
        self._whole = None if parts.added is None else self._to(parts.added.whole)
        self._grid = self._to(nodes.table.to_grid)
        self.slots = max(int(memory // (TILE * self.n * 2)), TILE)
        self.together = max(int(workspace // (FRAME_BYTES * self.n)), 1)
        self._bank = torch.zeros((self.slots * TILE, self.n), dtype=torch.int16, device=device)
        self._units = torch.ones(self.slots, device=device)
        self._cells = parts.cells
        self._shape = len(nodes.table.intensity), 2 * parts.cells[0] + 1, 2 * parts.cells[1] + 1
        self._slot_of = torch.full((int(np.prod(self._shape)),), -1, dtype=torch.int64, device=device)
        self._tile_in = np.full(self.slots, -1, np.int64)
        self._used = np.zeros(self.slots, np.int64)  # when, in calls
        self._fused, self._checked, self._calls = fused(device), False, 0
        self.made = 0

    def _to(self, array: NDArray[Any]) -> Tensor:
        return torch.as_tensor(np.array(array), device=self.device)

    def at(self, thickness: Tensor, tilt: Tensor) -> Tensor:
        """P and its derivatives along thickness, tilt_x and tilt_y: (b, 4, n) float32.

        thickness (b,) nm, tilt (b, 2) mrad, float64 on the device.
        """
        b = len(thickness)
        if b > self.together:
            parts = zip(thickness.split(self.together), tilt.split(self.together), strict=True)
            return torch.cat([self.at(t, each) for t, each in parts])
        node, weights = self._thickness_weights(thickness)
        place = tilt @ self._grid.T
        corner = place.floor()
        phase = (place - corner).float()
        rows = self._rows(node, corner.long())
        if rows is None:
            half = b // 2
            return torch.cat([self.at(thickness[:half], tilt[:half]), self.at(thickness[half:], tilt[half:])])
        scaled = weights.float()[:, :, :, None, None] * self._units[_floor(rows, TILE)][:, None]
        out = self._combined(rows, scaled, phase)
        out[:, 2:] = torch.einsum("ij,bin->bjn", self._grid.float(), out[:, 2:])
        return out

    def _thickness_weights(self, thickness: Tensor) -> tuple[Tensor, Tensor]:
        """`expand.thickness_weights` of many: (b,) and (b, 2, 4)."""
        table = self.nodes.table
        position = (thickness - table.thickness_first) / table.thickness_step
        node = position.floor().clamp(1, len(table.intensity) - 3)
        weights, slopes = lagrange(position - node)
        return node.long(), torch.stack([weights, slopes / table.thickness_step], dim=1)

    def _combined(self, rows: Tensor, scaled: Tensor, phase: Tensor) -> Tensor:
        """By one kernel, where there is one; what it says of the first frames is checked."""
        points = self._u, self._v
        if self._fused is not None and not self._checked:
            few = slice(CHECKED)
            expected = combine(self._bank, rows[few], scaled[few], points, phase[few])
            self._checked = True
            if not _alike(self._fused, (self._bank, rows[few], scaled[few], points, phase[few]), expected):
                self._fused = None
        return (self._fused or combine)(self._bank, rows, scaled, points, phase)

    # ---------------------------------------------------------------- tiles

    def _rows(self, node: Tensor, corner: Tensor) -> Tensor | None:
        """Where the nodes (b, 4, 5, 5) of every frame are in the bank; None: there is no room for so many."""
        near = torch.arange(WIDE, device=self.device) - 1
        x, y = corner[:, :1] + near, corner[:, 1:] + near
        layers = node[:, None] + torch.arange(-1, 3, device=self.device)
        a, b = _floor(x, SIDE) + self._cells[0], _floor(y, SIDE) + self._cells[1]
        tiles = (layers[:, :, None, None] * self._shape[1] + a[:, None, :, None]) * self._shape[2]
        tiles = tiles + b[:, None, None, :]
        ends = tiles[:, :, [0, -1]][..., [0, -1]]
        needed = torch.unique(ends)
        if len(needed) > self.slots:
            if len(corner) == 1:
                raise RuntimeError("a frame needs more tiles than there is room for")
            return None
        self._bring(needed)
        slot = self._slot_of[tiles]
        return slot * TILE + ((x % SIDE) * SIDE)[:, None, :, None] + (y % SIDE)[:, None, None, :]

    def _bring(self, needed: Tensor) -> None:
        """Make the tiles that are not there, thickness by thickness."""
        self._calls += 1
        slots = self._slot_of[needed]
        here = slots.cpu().numpy()
        self._used[here[here >= 0]] = self._calls
        missing = needed[slots < 0].cpu().numpy()
        if not len(missing):
            return
        free = np.argsort(self._used, kind="stable")[: len(missing)]
        given_up = self._tile_in[free]
        self._slot_of[self._to(given_up[given_up >= 0])] = -1
        thickness, a, b = np.unravel_index(missing, self._shape)
        layer, grid = -1, None
        for i, one, two, slot in zip(thickness, a - self._cells[0], b - self._cells[1], free, strict=True):
            if grid is None or i != layer:  # sorted by thickness
                layer, grid = i, self._to(self.nodes.grid(int(i))).ravel()
            self._make(grid, (int(i), int(one), int(two)), int(slot))
        self._tile_in[free], self._used[free] = missing, self._calls
        self._slot_of[self._to(missing)] = self._to(free)

    def _make(self, grid: Tensor, key: tuple[int, int, int], slot: int) -> None:
        i, a, b = key
        own = np.arange(SIDE)
        shifts = (SIDE * a + own[:, None]) * self._stride + SIDE * b + own
        tile = torch.empty((TILE, self.n), device=self.device)
        for out, shift in zip(tile, shifts.ravel().tolist(), strict=True):
            torch.sum(grid[self._at + shift] * self._weight, dim=1, out=out)
        if self._added is not None:
            middle = self.nodes.middle(a, b)
            value, slopes = (self._to(each)[..., self._whole] for each in self._added.image(i, middle))
            back = self._to(self._back.astype(np.float32))
            own_tilt = back @ torch.stack([self._u, self._v])
            steps = self._to((self.nodes.tilts(a, b) - middle).reshape(TILE, 2).astype(np.float32))
            tile += value - (own_tilt * slopes).sum(0) + steps @ slopes
        unit = tile.abs().max().clamp_min(1e-30) / LARGEST
        self._units[slot] = unit
        self._bank[slot * TILE : (slot + 1) * TILE] = (tile / unit).round().to(torch.int16)
        self.made += 1


def lagrange(x: Tensor) -> tuple[Tensor, Tensor]:
    """Four-point Lagrange weights (…, 4) at x for nodes −1 … 2, and their derivatives."""
    a, b, c, xx = x - 1, x - 2, x + 1, 3 * x * x
    weights = torch.stack([-x * a * b / 6, c * a * b / 2, -c * x * b / 2, c * x * a / 6], dim=-1)
    slopes = [-(xx - 6 * x + 2) / 6, (xx - 4 * x - 1) / 2, -(xx - 2 * x - 2) / 2, (xx - 1) / 6]
    return weights, torch.stack(slopes, dim=-1)


def weights_at(fractions: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """`node_kernels.weights_at` of many frames: (b, 5, n) weights and their derivatives; phase is (b, 1)."""
    whole = fractions + phase
    carry = whole >= 1
    out = []
    for each in lagrange(whole - carry.float()):
        four = each.movedim(-1, 1)
        wide = four.new_zeros((len(four), WIDE, four.shape[2]))
        stays, moves = four * ~carry[:, None], four * carry[:, None]
        wide[:, : WIDE - 1] = stays
        wide[:, 1:] += moves
        out.append(wide)
    return out[0], out[1]


def combine(
    bank: Tensor,
    rows: Tensor,
    scaled: Tensor,
    points: tuple[Tensor, Tensor],
    phase: Tensor,
) -> Tensor:
    """(b, 4, n): P, ∂P/∂t, and the derivatives along both grid coordinates of the tilt, as in `node_kernels`.

    Parameters
    ----------
    bank : (·, n) int16
    rows : (b, 4, 5, 5) int64
        Which of them are the nodes in thickness and along both directions of the grid.
    scaled : (b, 2, 4, 5, 5) float32
        Weights of these in thickness and their derivatives, with the units of the tiles.
    points : (n,) and (n,) float32
        Where the points are between grid points.
    phase : (b, 2) float32
        The fraction of a cell at which the tilt lies.
    """
    u, slope_u = weights_at(points[0], phase[:, :1])
    v, slope_v = weights_at(points[1], phase[:, 1:])
    out = u.new_zeros((len(rows), 4, u.shape[2]))
    for c in range(WIDE):
        own = rows[:, :, c].transpose(1, 2)  # (b, node along v, thickness)
        along_t = scaled[:, :, :, c].permute(0, 3, 1, 2)  # (b, node along v, 2, thickness)
        value, slope = torch.matmul(along_t, bank[own].float()).unbind(2)  # (b, 5, n) each
        total = (v * value).sum(1)
        out[:, 0].addcmul_(u[:, c], total)
        out[:, 1].addcmul_(u[:, c], (v * slope).sum(1))
        out[:, 2].addcmul_(slope_u[:, c], total)
        out[:, 3].addcmul_(u[:, c], (slope_v * value).sum(1))
    return out


def fused(device: torch.device) -> Combine | None:
    """`combine` in one kernel, on a GPU with Triton."""
    return torch_kernels.combine if device.type == "cuda" and torch_kernels.triton is not None else None


def _alike(kernel: Combine, given: tuple[Any, ...], expected: Tensor) -> bool:
    """Whether a kernel can be made here, and does what it should."""
    try:
        found = kernel(*given)
    except Exception as error:  # whatever a compiler throws that is not there
        warnings.warn(f"node patterns are combined step by step: {error}", stacklevel=2)
        return False
    size = expected.abs().amax(dim=(0, 2), keepdim=True)
    if bool(((found - expected).abs() <= SAME * size).all()):
        return True
    warnings.warn("node patterns are combined step by step: the kernel for it errs here", stacklevel=2)
    return False


def _floor(x: Tensor, by: int) -> Tensor:
    return torch.div(x, by, rounding_mode="floor")


def _side_by_side(
    start: NDArray[np.int64], at: NDArray[np.int64], weight: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Beams of every point (n, most), filled up with some that weigh nothing and lie near others."""
    count = np.diff(start)
    filled = np.arange(max(int(count.max(initial=0)), 1)) < count[:, None]
    places = np.full(filled.shape, int(np.median(at)) if len(at) else 0, np.int64)
    weights = np.zeros(filled.shape, np.float32)
    places[filled], weights[filled] = at, weight
    return places, weights
