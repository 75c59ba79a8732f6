"""Diffuse intensity of a vibrating crystal, for plane waves from a few dozen directions.

    D(p; q) = ⟨|ψ(p)|²⟩ between the Bragg spots, per incident electron and mrad²

Einstein's model: every atom is displaced by itself, by a Gaussian of ⟨u²⟩ = B/8π² along x and along y; plane
by plane of atoms, with exact potentials (`benchmarks.slices`) on a supercell of m × n cells.  Displacements
come in pairs of opposite sign, so that what is odd in them cancels.  The Bragg spots p = q + g hold the mean
wave, which `benchmarks.slices` has without noise; under them D is the mean of the four samples around.

p and q are counted in samples of the supercell: λ/(m a) and λ/(n b).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.slab import Cell, elastic, lorentz_factor, wavelength
from benchmarks.slices import IN_CACHE, Grid, propagators, steps

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Vibrating:
    """A supercell of vibrating atoms.

    cells : (m, n) along x and y
    band : Å⁻¹, the longest g that is carried
    """

    cell: Cell
    cells: tuple[int, int]
    energy_kv: float
    band: float
    device: torch.device
    dtype: torch.dtype = torch.complex64

    @property
    def grid(self) -> Grid:
        """Points of the supercell."""
        return Grid.finer(self.cell.lengths[:2] * self.cells, self.band)

    @property
    def sample_mrad(self) -> Array:
        """(2,): from one sample of p to the next along x and y."""
        return 1e3 * wavelength(self.energy_kv) / (self.cell.lengths[:2] * self.cells)

    def transmissions(self, seed: int, sign: int, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """exp(iφ) and exp(iφ/2) of one plane of atoms after the other; seed and sign make a configuration."""
        grid = self.grid
        gx, gy = (2 * np.pi * g.ravel() for g in grid.g)
        strength = lorentz_factor(self.energy_kv) * wavelength(self.energy_kv) / grid.area
        kinds = sorted(set(self.cell.elements))
        amplitude = {e: strength * elastic(e, grid.g2) * grid.g2.size for e in kinds}
        amplitudes = {e: torch.as_tensor(a).to(self.device, torch.float32) for e, a in amplitude.items()}
        corners = np.stack(np.meshgrid(*(np.arange(m) for m in self.cells), indexing="ij"), -1).reshape(
            -1, 1, 2
        )
        levels = self.cell.planes()
        for n in range(count):
            rng = np.random.default_rng([seed, n])
            total = torch.zeros(grid.n, dtype=torch.complex64, device=self.device)
            for e in kinds:
                on = np.array([j for j in levels[n % len(levels)][1] if self.cell.elements[j] == e], int)
                if not len(on):
                    continue
                spread = np.sqrt(self.cell.b_factors[on] / 8) / np.pi
                r = (corners + self.cell.positions[on, :2]) * self.cell.lengths[:2]
                r = r + sign * spread[:, None] * rng.standard_normal(r.shape)
                r = r.reshape(-1, 2)
                weight = np.tile(self.cell.occupancies[on], len(corners))
                along = torch.as_tensor(weight * np.exp(-1j * gx[:, None] * r[:, 0])).to(
                    self.device, torch.complex64
                )
                across = torch.as_tensor(np.exp(-1j * r[:, 1, None] * gy)).to(self.device, torch.complex64)
                total += amplitudes[e] * (along @ across)
            phase = torch.fft.ifft2(total).real.to(self.dtype.to_real())
            half = torch.polar(torch.ones_like(phase), phase / 2)
            yield half * half, half

    def waves(
        self, incident: torch.Tensor, q: Array, cells: Sequence[int], seed: int, sign: int
    ) -> Iterator[tuple[int, int, torch.Tensor]]:
        """û(g) behind slabs of whole cells, as (thickness, first direction, (batch, nx, ny)).

        incident : (d or 1, nx, ny), u before the crystal;  q : (d, 2) array, Å⁻¹
        """
        grid, wave = self.grid, wavelength(self.energy_kv)
        batch = max(1, IN_CACHE // (grid.n[0] * grid.n[1])) if self.device.type == "cpu" else 64
        batches = [slice(i, min(i + batch, len(q))) for i in range(0, len(q), batch)]
        widths = steps(self.cell).round(6)
        hops = {
            w: [propagators(grid, q[b], float(w), wave, self.device, self.dtype) for b in batches]
            for w in set(widths)
        }
        u = [incident.expand(len(q), *grid.n)[b].clone() for b in batches]
        last = max(cells) * len(widths)
        for n, (whole, half) in enumerate(self.transmissions(seed, sign, last + 1)):
            done, level = divmod(n, len(widths))
            if level == 0 and done in cells:
                for b, own in zip(batches, u, strict=True):
                    yield list(cells).index(done), b.start, torch.fft.fft2(own * half, norm="forward")
            if n == last:
                return
            for i, hop in enumerate(hops[widths[level]]):
                hat = torch.fft.fft2(u[i].mul_(half if n == 0 else whole))
                u[i] = torch.fft.ifft2(hat.mul_(hop))

    def pair(
        self, q: NDArray[np.int64], cells: Sequence[int], seed: int, reach: tuple[int, int],
        progress: Callable[[str], None] = print,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], Array]:  # fmt: skip
        """D of two configurations of opposite displacements.

        Parameters
        ----------
        q : (d, 2) int array, directions in samples
        cells : thicknesses, in cells
        seed : int, of the displacements
        reach : the largest p along x and y, in samples

        Returns
        -------
        diffuse : (thickness, direction, 2 reach_x + 1, 2 reach_y + 1), per mrad²
        spots : (thickness, direction, 3, 3) of the beams −1, 0, 1 of the cell, the diffuse intensity removed
        total : (thickness, direction), all that is still carried
        """
        nx, ny = self.grid.n
        shape = (len(cells), len(q))
        diffuse = np.zeros((*shape, 2 * reach[0] + 1, 2 * reach[1] + 1), np.float32)
        spots, total = np.zeros((*shape, 3, 3), np.float32), np.zeros(shape)
        bx, by = (np.arange(-1, 2) * m for m in self.cells)
        density = 0.5 / self.sample_mrad.prod()
        incident = torch.ones((1, nx, ny), dtype=self.dtype, device=self.device)
        wavevectors = q / (self.cell.lengths[:2] * self.cells)
        for sign in (1, -1):
            for t, first, hat in self.waves(incident, wavevectors, cells, seed, sign):
                intensity = (hat.real**2 + hat.imag**2).cpu().numpy()
                for d, each in enumerate(intensity, start=first):
                    total[t, d] += 0.5 * each.sum()
                    under = filled(each, self.cells)
                    spots[t, d] += 0.5 * (each - under)[np.ix_(bx, by)]
                    rows, cols = (
                        (np.arange(-r, r + 1) - q[d, i]) % n
                        for i, (r, n) in enumerate(zip(reach, (nx, ny), strict=True))
                    )
                    diffuse[t, d] += density * under[np.ix_(rows, cols)]
            progress(f"  sign {sign:+d} done")
        return diffuse, spots, total


def filled(intensity: NDArray, cells: tuple[int, int]) -> NDArray:
    """Intensity with every Bragg spot replaced by the mean of the four samples around it."""
    out = intensity.copy()
    nx, ny = intensity.shape
    on = [np.flatnonzero(np.rint(np.fft.fftfreq(n, 1 / n)).astype(int) % m == 0)
          for n, m in zip((nx, ny), cells, strict=True)]  # fmt: skip
    x, y = np.ix_(*on)
    around = [((x + dx) % nx, (y + dy) % ny) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    out[x, y] = np.mean([intensity[each] for each in around], axis=0)
    return out
