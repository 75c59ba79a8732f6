"""Composition of many patterns, on the grid of directions itself.

    P(k) = Σ_g  A(|k − g|) · I_g(k − g + τ; t),     G (k + τ) = m, whole numbers

as in `hybridfit.pattern.compose`, whose symbols and table are used here.  At the points k where
k + τ is a grid point, k − g + τ is one too for every beam, so that nothing has to be interpolated
in q (the four-point weights are 0, 1, 0, 0): a beam costs one number instead of sixteen.  What
remains are the four-point weights in thickness and the symmetry.  Every `stride`-th grid point is
taken; augmentation reads the pattern between them.

On a CPU the numba kernel does the work, one pattern a thread; on a GPU the torch kernel, all
patterns at once.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridfit.pattern.compose import aperture, neighbouring_beams
from hybridfit.pattern.expand import Table, at_thickness, chord, grid_step
from hybridfit.pattern.jit import kernel

CHUNK = 1 << 27  # numbers in the largest temporary array
Array = NDArray[np.float64]


class Parameters(NamedTuple):
    """What n patterns are composed for: nm (n,), mrad (n, 2) in the crystal frame, mrad (n,)."""

    thickness: Array
    tilt: Array
    semi_angle: Array


class Composer:
    """Patterns of one table on every stride-th point of its grid.

    Parameters
    ----------
    table : Table
    stride : int
    reach : float, mrad
        The largest |k| that will be asked for.
    semi_angle_max : float, mrad
        The largest that will be asked for.
    device : torch.device

    Attributes
    ----------
    half : int
        Images are 2 · half + 1 points wide.
    half_edge : float, mrad
        Half-width of the aperture's soft edge: half the distance of the points.
    """

    def __init__(
        self, table: Table, *, stride: int, reach: float, semi_angle_max: float, device: torch.device
    ) -> None:
        self.table, self.stride, self.device = table, stride, device
        self.half = int(np.ceil(reach * np.linalg.norm(table.to_grid, axis=1).max() / stride)) + 1
        self.half_edge = stride * grid_step(table.to_grid) / 2
        self._tensors = None
        if device.type != "cpu":
            self._tensors = TorchTable(
                table, stride, self.half, reach, semi_angle_max + self.half_edge, device
            )

    def patterns(self, parameters: Parameters, reach: Array) -> tuple[Tensor, Tensor]:
        """Compose n patterns.

        Parameters
        ----------
        parameters : Parameters
        reach : (n,) mrad
            Points with |k| beyond it are left at 0.

        Returns
        -------
        images : (n, 2 · half + 1, 2 · half + 1) float32 tensor on the device, incident intensity = 1
        shift : (n, 2)
            Scattering angle k is at point (G k)/stride + shift + half of the image: (row, column).
        """
        nu = parameters.tilt @ self.table.to_grid.T
        middle = np.rint(nu).astype(np.int64)
        shift = torch.as_tensor((nu - middle) / self.stride, dtype=torch.float32, device=self.device)
        if self._tensors is None:
            return torch.from_numpy(self._numba(parameters, middle, reach)), shift
        t, tilt, alpha, limit = (
            torch.as_tensor(v, dtype=torch.float32, device=self.device) for v in (*parameters, reach)
        )
        places = torch.as_tensor(middle, device=self.device)
        return self._tensors.compose(t, tilt, alpha, limit, places, half_edge=self.half_edge), shift

    def _numba(self, p: Parameters, middle: NDArray[np.int64], reach: Array) -> NDArray[np.float32]:
        count, side = len(p.thickness), 2 * self.half + 1
        out = np.zeros((count, side, side), np.float32)
        workers = max(1, min(count, torch.get_num_threads(), os.cpu_count() or 1))
        table, first = self.table, middle - self.stride * self.half

        def work(worker: int) -> None:
            for i in range(worker, count, workers):
                blend = at_thickness(table, p.thickness[i], 1)
                add_beams(
                    table,
                    blend[:, :, 0],
                    p.tilt[i],
                    p.semi_angle[i],
                    self.half_edge,
                    reach[i],
                    self.stride,
                    first[i],
                    out[i],
                )

        if workers == 1:
            work(0)
        else:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(work, range(workers)))
        return out


# ---------------------------------------------------------------- CPU


@kernel
def add_beams(table, blend, tilt, alpha, half_edge, reach, stride, first, out):
    """Add P to out (·, ·) at the grid points m = first + stride · (row, column) with |k| ≤ reach.

    blend is (beam, direction), first and tilt are (2,).
    """
    g = table.to_grid
    determinant = g[0, 0] * g[1, 1] - g[0, 1] * g[1, 0]
    e1x, e1y = g[1, 1] / determinant, -g[1, 0] / determinant
    e2x, e2y = -g[0, 1] / determinant, g[0, 0] / determinant
    outer = alpha + half_edge
    d1, d2 = table.direction_at.shape[0] // 2, table.direction_at.shape[1] // 2
    width = table.direction_at.shape[1]
    direction_at, operation_at, source = table.direction_at.ravel(), table.operation_at.ravel(), blend.ravel()
    row_of = np.empty(table.permutation.shape[0], np.int64)
    sx, sy = stride * e2x, stride * e2y
    for b in range(table.beam_n.shape[0]):
        gx, gy = table.beam_xy[b]
        if np.hypot(gx, gy) > reach + outer:
            continue
        n1, n2 = table.sampling[0] * table.beam_n[b, 0], table.sampling[1] * table.beam_n[b, 1]
        for r in range(row_of.size):
            row_of[r] = table.permutation[r, b] * blend.shape[1]
        for i in range(out.shape[0]):
            m1 = first[0] + stride * i
            line = m1 - n1 + d1
            if line < 0 or line >= table.direction_at.shape[0]:
                continue
            x, y = m1 * e1x + first[1] * e2x - tilt[0], m1 * e1y + first[1] * e2y - tilt[1]
            low, high = chord(x - gx, y - gy, sx, sy, outer)
            low_k, high_k = chord(x, y, sx, sy, reach)
            low, high = max(low, low_k, 0), min(high, high_k, out.shape[1] - 1)
            at = line * width + first[1] - n2 + d2
            for j in range(low, high + 1):
                m2 = at + stride * j
                d = direction_at[np.uint64(m2)]
                if d >= 0:
                    rx, ry = x + j * sx - gx, y + j * sy - gy
                    a = aperture(rx * rx + ry * ry, alpha, half_edge)[0]
                    value = source[np.uint64(row_of[np.uint64(operation_at[np.uint64(m2)])] + d)]
                    out[i, j] += np.float32(a) * value


# ---------------------------------------------------------------- any device


def lagrange_weights(x: Tensor) -> Tensor:
    """Four-point Lagrange weights at x (n,) for nodes −1, 0, 1, 2: (4, n)."""
    return torch.stack(
        [
            -x * (x - 1) * (x - 2) / 6,
            (x + 1) * (x - 1) * (x - 2) / 2,
            -(x + 1) * x * (x - 2) / 2,
            (x + 1) * x * (x - 1) / 6,
        ]
    )


class TorchTable:
    """A table on a device, the points of the images, and the beams near each of them.

    Parameters
    ----------
    table : Table
    stride, half : int
        As of the `Composer`.
    reach, outer : float, mrad
        Largest |k|, and largest outer radius of the aperture.
    device : torch.device
    """

    def __init__(
        self, table: Table, stride: int, half: int, reach: float, outer: float, device: torch.device
    ) -> None:
        def move(values: NDArray[Any], dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), dtype=dtype, device=device)

        self.side = 2 * half + 1
        self.intensity = move(table.intensity[:], torch.float32)
        self.first, self.step = table.thickness_first, table.thickness_step
        self.shift = move(table.sampling * table.beam_n, torch.long)
        self.beam_xy = move(table.beam_xy, torch.float32)
        self.permutation = move(table.permutation, torch.long)
        self.direction_at = move(table.direction_at, torch.long)
        self.operation_at = move(table.operation_at, torch.long)
        to_k = np.linalg.inv(table.to_grid).T
        row, col = np.divmod(np.arange(self.side**2), self.side)
        steps = stride * (np.stack([row, col], axis=1) - half)
        slack = grid_step(table.to_grid)  # the tilt moves the points by less than that
        inside = np.flatnonzero(np.linalg.norm(steps @ to_k, axis=1) <= reach + slack)
        steps = steps[inside]
        self.inside = move(inside, torch.long)
        self.steps, self.to_k = move(steps, torch.long), move(to_k, torch.float32)
        cell = np.rint(steps / table.sampling).astype(np.int64)
        origin = np.array(table.beam_at.shape) // 2
        near = cell[:, None] + neighbouring_beams(table, outer + slack)[None] + origin
        known = ((near >= 0) & (near < table.beam_at.shape)).all(axis=2)
        near = np.where(known[..., None], near, 0)
        beam = np.where(known, table.beam_at[near[..., 0], near[..., 1]], -1)
        self.near = move(beam.T, torch.long)  # (neighbours, points), −1 where there is none

    def compose(
        self,
        thickness: Tensor,
        tilt: Tensor,
        semi_angle: Tensor,
        reach: Tensor,
        middle: Tensor,
        *,
        half_edge: float,
    ) -> Tensor:
        """Images (n, side, side) around the grid points middle (n, 2), in chunks that fit in memory."""
        size = max(1, CHUNK // (4 * max(self.intensity[0].numel(), len(self.steps))))
        parts = zip(*(v.split(size) for v in (thickness, tilt, semi_angle, reach, middle)), strict=True)
        return torch.cat([self._chunk(*part, half_edge=half_edge) for part in parts])

    def _blend(self, thickness: Tensor) -> Tensor:
        """I at each thickness: (n, beam · direction)."""
        position = (thickness - self.first) / self.step
        node = position.floor().long().clamp(1, len(self.intensity) - 3)
        blend = torch.zeros(len(thickness), *self.intensity.shape[1:], device=thickness.device)
        for i, weight in enumerate(lagrange_weights(position - node)):
            blend += weight[:, None, None] * self.intensity[node - 1 + i]
        return blend.flatten(1)

    def _chunk(
        self,
        thickness: Tensor,
        tilt: Tensor,
        alpha: Tensor,
        reach: Tensor,
        middle: Tensor,
        *,
        half_edge: float,
    ) -> Tensor:
        blend = self._blend(thickness)
        rows, cols = self.direction_at.shape
        m = middle[:, None] + self.steps  # (n, points, 2)
        k = m.float() @ self.to_k - tilt[:, None]
        total = torch.zeros(k.shape[:2], device=k.device)
        origin, size = (torch.tensor(v, device=k.device) for v in ((rows // 2, cols // 2), (rows, cols)))
        for beams in self.near:
            g = beams.clamp_min(0)
            x = (alpha[:, None] + half_edge - (k - self.beam_xy[g]).norm(dim=2)) / (2 * half_edge)
            x = x.clamp(0, 1) * (beams >= 0)
            at = m - self.shift[g] + origin
            known = ((at >= 0) & (at < size)).all(dim=2)
            place = torch.where(known, at[..., 0] * cols + at[..., 1], 0)
            direction = torch.where(known, self.direction_at.flatten()[place], -1)
            beam = self.permutation[self.operation_at.flatten()[place], g]
            index = beam * self.intensity.shape[2] + direction.clamp_min(0)
            step = x * x * x * (10 - 15 * x + 6 * x * x)
            total += torch.where(direction >= 0, step * blend.gather(1, index), 0.0)
        total *= k.norm(dim=2) <= reach[:, None]
        out = torch.zeros(len(total), self.side**2, device=k.device)
        out[:, self.inside] = total
        return out.view(-1, self.side, self.side)
