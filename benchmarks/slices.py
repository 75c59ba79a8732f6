"""Multislice with exact potentials, for plane waves from many directions at once.

    ψ(r) = exp(2πi q·r) u(r),     u ← T u,     û(g) ← exp(−πiλ Δz [g² + 2 q·g]) û(g)      slice by slice

T is periodic on a cell, or on a supercell where the atoms vibrate; q is any transverse wavevector.  Three
kinds of T, all made in Fourier space, so that no atom is moved to a point of a grid:

at rest, in three dimensions
    T = exp{i Σ_g e^{2πi g·r} (γλ/A) Σ_l w_l Σ_j [f + i f'](√(g²+g_z²)) e^{−2πi(g·r_j + g_z z_j)}},
    g_z = l/c,  w_l = (1/c) ∫ e^{2πi g_z z} dz over the slice; smeared by the Debye–Waller factor, absorptive
at rest, plane by plane
    the same with g_z = 0 and one slice for each plane of atoms
vibrating
    plane by plane, f alone, with every atom displaced

With the exponents of `benchmarks.mean_wave` added to those at rest, the wave is the mean wave of the
vibrating crystal, without noise.

A slab that begins and ends at a height z₀ has its slices from there on.  A plane of atoms at z₀ is cut in
half: half of it in the first slice and half in the last.

Symbols: A area of the cell (Å²), c its height (Å), g, q (Å⁻¹, no 2π), λ (Å), Δz thickness of a slice (Å),
φ phase, γ relativistic factor.  Source: Kirkland, Advanced Computing in Electron Microscopy, chapter 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.mean_wave import correction
from benchmarks.slab import Cell, absorptive, elastic, lorentz_factor, wavelength

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
G_Z = 8.0  # Å⁻¹: the longest g_z that shapes a slice
IN_CACHE = 400_000  # points of waves that are carried through the crystal together on a CPU


@dataclass(frozen=True)
class Grid:
    """n points along x and y of a cell with these lengths (Å)."""

    n: tuple[int, int]
    lengths: tuple[float, float]

    @property
    def g(self) -> tuple[Array, Array]:
        """gx (nx, 1) and gy (1, ny) in Å⁻¹, in the order of an FFT."""
        x, y = (np.fft.fftfreq(n, length / n) for n, length in zip(self.n, self.lengths, strict=True))
        return x[:, None], y[None, :]

    @property
    def g2(self) -> Array:
        """|g|², (nx, ny)."""
        x, y = self.g
        return x**2 + y**2

    @property
    def band(self) -> float:
        """The longest g that is carried, Å⁻¹: two thirds of what the points can hold."""
        return min(n / length for n, length in zip(self.n, self.lengths, strict=True)) / 3

    @property
    def area(self) -> float:
        """Å²."""
        return self.lengths[0] * self.lengths[1]

    def values(self, coefficients: Complex) -> Complex:
        """Σ_g c_g e^{2πi g·r} at the points."""
        return np.asarray(np.fft.ifft2(coefficients) * coefficients[0].size * len(coefficients))

    @classmethod
    def finer(cls, lengths: Sequence[float], band: float) -> Grid:
        """The cheapest grid to transform that carries a band (Å⁻¹)."""
        n = [
            next(m for m in range(int(np.ceil(3 * band * length)), 10_000) if _smooth(m))
            for length in lengths
        ]
        return cls((n[0], n[1]), (float(lengths[0]), float(lengths[1])))


def _smooth(n: int) -> bool:
    """Even, without prime factors above 5, and no large power of two: those are slow on a CPU's cache."""
    odd = n
    for prime in (2, 3, 5):
        while odd % prime == 0:
            odd //= prime
    return odd == 1 and n % 2 == 0 and n % 128 != 0


@dataclass(frozen=True)
class Stack:
    """What one cell along the beam does to a wave.

    transmissions : (slices, nx, ny) complex
    steps : (slices,) Å, from each slice to the next
    ends : (nx, ny) complex or None
        In place of the first slice of a slab, and once more where the wave leaves it: half a plane of atoms.
    """

    grid: Grid
    transmissions: Complex
    steps: Array
    ends: Complex | None = None


def _exponents(
    cell: Cell, grid: Grid, energy_kv: float, g_z: float, atoms: Iterable[int] | None = None
) -> Complex:
    """i Σ_j γλ/A (f + i f') e^{−2πi(g·r_j + g_z z_j)} of atoms at rest: coefficients (nx, ny)."""
    gx, gy = grid.g
    g2 = grid.g2 + g_z**2
    total, kinds = np.zeros(grid.n, complex), {}
    for j in range(len(cell.elements)) if atoms is None else atoms:
        kind = cell.elements[j], float(cell.b_factors[j])
        if kind not in kinds:
            f = elastic(kind[0], g2) * np.exp(-kind[1] * g2 / 4)
            kinds[kind] = f + 1j * absorptive(*kind[:1], g2, kind[1], energy_kv)
        x, y, z = cell.positions[j] * cell.lengths
        total += cell.occupancies[j] * kinds[kind] * np.exp(-2j * np.pi * (gx * x + gy * y + g_z * z))
    return 1j * lorentz_factor(energy_kv) * wavelength(energy_kv) / grid.area * total


def solid(
    cell: Cell, band: float, energy_kv: float, *, slices: int = 8, cut: float = 0.0, corrected: bool = False
) -> Stack:
    """A cell at rest, in three dimensions.

    Parameters
    ----------
    cell : Cell
    band : float, Å⁻¹
    slices : int, of equal thickness
    cut : float, height at which the slab begins and ends (fraction of the cell)
    corrected : bool, whether every plane of atoms has its correction, which makes the mean wave exact
    """
    grid, c = Grid.finer(cell.lengths[:2], band), cell.height
    edges = cut + np.arange(slices + 1) / slices
    exponents = np.zeros((slices, *grid.n), complex)
    top = int(np.ceil(G_Z * c))
    for l in range(-top, top + 1):
        terms = _exponents(cell, grid, energy_kv, l / c)
        waves = np.exp(2j * np.pi * l * edges)
        weights = np.diff(edges) if l == 0 else np.diff(waves) / (2j * np.pi * l)
        exponents += weights[:, None, None] * terms
    if corrected:
        for (height, _), correction in zip(cell.planes(), corrections(cell, grid, energy_kv), strict=True):
            at = (height - cut) % 1 * slices
            on_edge = abs(at - round(at)) < 1e-3
            for s in {round(at) % slices, (round(at) - 1) % slices} if on_edge else {int(at)}:
                exponents[s] += correction / (2 if on_edge else 1)
    transmissions = np.exp([grid.values(each) for each in exponents])
    return Stack(grid, transmissions, np.full(slices, c / slices))


def planes(
    cell: Cell, band: float, energy_kv: float, *, corrected: bool = False, grid: Grid | None = None
) -> Stack:
    """A cell at rest, plane by plane; a slab begins and ends in the middle of the lowest plane."""
    grid = grid or Grid.finer(cell.lengths[:2], band)
    levels = cell.planes()
    exponents = [_exponents(cell, grid, energy_kv, 0.0, atoms) for _, atoms in levels]
    if corrected:
        exponents = [e + x for e, x in zip(exponents, corrections(cell, grid, energy_kv), strict=True)]
    exponents = [grid.values(each) for each in exponents]
    return Stack(grid, np.exp(exponents), steps(cell), np.exp(exponents[0] / 2))


def steps(cell: Cell) -> Array:
    """From each plane of atoms to the next, Å."""
    heights = np.array([height for height, _ in cell.planes()])
    return np.diff(heights, append=heights[0] + 1) * cell.height


def corrections(cell: Cell, grid: Grid, energy_kv: float) -> list[Complex]:
    """What the mean wave needs beside the exponents at rest: coefficients (nx, ny) of every plane."""
    gx, gy = grid.g
    strength = 1j * lorentz_factor(energy_kv) * wavelength(energy_kv) / grid.area
    out = []
    for _, atoms in cell.planes():
        total = np.zeros(grid.n, complex)
        for j in atoms:
            kind = cell.elements[j], float(cell.b_factors[j]), float(cell.occupancies[j])
            x, y, _ = cell.positions[j] * cell.lengths
            total += correction(*kind, energy_kv)(grid.g2) * np.exp(-2j * np.pi * (gx * x + gy * y))
        out.append(strength * total)
    return out


def intensities(
    stack: Stack,
    q: Array,
    cells: Sequence[int],
    energy_kv: float,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.complex64,
    progress: Callable[[float], None] | None = None,
    sphere: bool = False,
) -> Iterator[tuple[slice, NDArray]]:
    """|û(g)|² behind slabs of whole cells, for plane waves from directions q (d, 2) in Å⁻¹.

    Yields which directions, and their intensities (thickness, directions, nx, ny); the incident is 1.
    With `sphere`, waves are carried on as `spherical` says.
    """
    grid, wave = stack.grid, wavelength(energy_kv)
    batch = max(1, IN_CACHE // (grid.n[0] * grid.n[1])) if device.type == "cpu" else 1024
    through = torch.as_tensor(stack.transmissions).to(device, dtype)
    ends = None if stack.ends is None else torch.as_tensor(stack.ends).to(device, dtype)
    for start in range(0, len(q), batch):
        own = q[start : start + batch]
        carry = spherical if sphere else propagators
        steps = {step: carry(grid, own, step, wave, device, dtype) for step in map(float, stack.steps)}
        hops = [steps[step] for step in map(float, stack.steps)]
        u = torch.ones((len(own), *grid.n), dtype=dtype, device=device)
        found = np.empty((len(cells), len(own), *grid.n), np.float32 if dtype == torch.complex64 else float)
        for done in range(max(cells) + 1):
            if done in cells:
                leaving = u if ends is None or done == 0 else u * ends
                hat = torch.fft.fft2(leaving, norm="forward")
                found[list(cells).index(done)] = (hat.real**2 + hat.imag**2).cpu().numpy()
            if done == max(cells):
                break
            for s, (t, hop) in enumerate(zip(through, hops, strict=True)):
                u = u * (ends if ends is not None and done == s == 0 else t)
                u = torch.fft.ifft2(torch.fft.fft2(u).mul_(hop))
        yield slice(start, start + len(own)), found
        if progress is not None:
            progress((start + len(own)) / len(q))


def propagators(
    grid: Grid, q: Array, step: float, wave: float, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """exp(−πiλ Δz [g² + 2 q·g]) within the band, (d, nx, ny)."""
    gx, gy = grid.g
    shared = np.where(grid.g2 <= grid.band**2, np.exp(-1j * np.pi * wave * step * grid.g2), 0)
    along = np.exp(-2j * np.pi * wave * step * q[:, :1] * gx[:, 0])  # (d, nx)
    across = np.exp(-2j * np.pi * wave * step * q[:, 1:] * gy[0])
    parts = [torch.as_tensor(each).to(device, dtype) for each in (shared, along, across)]
    return parts[0] * parts[1][:, :, None] * parts[2][:, None, :]


def spherical(
    grid: Grid, q: Array, step: float, wave: float, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """The propagators of the true Ewald sphere, within the band, (d, nx, ny).

    exp{2πi Δz cos θ [√(λ⁻² − |q+g|²) − √(λ⁻² − |q|²)]},   sin θ = λ|q|

    Potentials act on a wave that crosses a slice at an angle for longer, by 1/cos θ; that factor is taken out
    of both, so that a slab of thickness t counts as one of t cos θ.
    """
    gx, gy = grid.g
    x, y = q[:, :1, None] + gx, q[:, 1:, None] + gy
    normal = np.sqrt(wave**-2 - (q**2).sum(axis=1))[:, None, None]
    phase = 2 * np.pi * step * wave * normal * (np.sqrt(wave**-2 - x**2 - y**2) - normal)
    found = np.where(grid.g2 <= grid.band**2, np.exp(1j * phase), 0)
    return torch.as_tensor(found).to(device, dtype)
