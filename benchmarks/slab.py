"""A crystal as multislice wants it: an orthogonal cell along the beam, its atoms, their amplitudes.

    x  along an in-plane reference reciprocal vector,   z  along the zone axis [uvw],   y = z × x

    f(g)  = Σ_i a_i exp(−b_i g²/4)                                       gemmi's C4322, Å
    f'(g) = 2πγλ Σ_ij a_i a_j { exp(−[B + b_i b_j/(b_i+b_j)] g²/4) / (b_i+b_j)
                               − exp(−[(b_i+B)(b_j+B)/(b_i+b_j+2B)] g²/4) / (b_i+b_j+2B) }

f' already has the Debye–Waller factor exp(−Bg²/4) in it [1].  Written anew for the references: nothing here
is taken from hybridfit, so that a mistake there is not repeated here.

Symbols: g spatial frequency (Å⁻¹, no 2π), B = 8π²⟨u²⟩ with ⟨u²⟩ along one axis (Å²), λ wavelength (Å),
γ relativistic factor.

.. [1] Bird & King, Acta Cryst. A46 (1990) 202; Peng, Ren, Dudarev & Whelan, Acta Cryst. A52 (1996) 257.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
REST_KEV, HC = 510.99895, 12.398419843  # keV, keV Å
LONGEST = 6  # cells searched for lattice vectors along x, y and z
SAME = 1e-4  # of a cell: positions nearer than this are one
OPERATIONS = tuple(
    np.array(m) for m in ([[1, 0], [0, 1]], [[-1, 0], [0, 1]], [[1, 0], [0, -1]], [[-1, 0], [0, -1]],
                          [[0, 1], [1, 0]], [[0, -1], [1, 0]], [[0, 1], [-1, 0]], [[0, -1], [-1, 0]])
)  # fmt: skip


def wavelength(energy_kv: float) -> float:
    """λ in Å."""
    return HC / float(np.sqrt(energy_kv * (energy_kv + 2 * REST_KEV)))


def lorentz_factor(energy_kv: float) -> float:
    """γ."""
    return 1 + energy_kv / REST_KEV


def gaussians(element: str) -> tuple[Array, Array]:
    """a_i (Å) and b_i (Å²)."""
    coefficients = gemmi.Element(element).c4322
    return np.array(coefficients.a), np.array(coefficients.b)


def elastic(element: str, g2: Array) -> Array:
    """f (Å) at g² (Å⁻²)."""
    return np.sum([a * np.exp(-b * g2 / 4) for a, b in zip(*gaussians(element), strict=True)], axis=0)


def absorptive(element: str, g2: Array, b_factor: float, energy_kv: float) -> Array:
    """f' (Å) at g² (Å⁻²)."""
    total = np.zeros_like(g2)
    pairs = list(zip(*gaussians(element), strict=True))
    for (a_i, b_i), (a_j, b_j) in itertools.product(pairs, pairs):
        still, moving = b_i + b_j, b_i + b_j + 2 * b_factor
        total += a_i * a_j * np.exp(-(b_factor + b_i * b_j / still) * g2 / 4) / still
        total -= a_i * a_j * np.exp(-(b_i + b_factor) * (b_j + b_factor) / moving * g2 / 4) / moving
    return 2 * np.pi * lorentz_factor(energy_kv) * wavelength(energy_kv) * total


@dataclass(frozen=True)
class Cell:
    """An orthogonal cell of a crystal, the beam along z.

    Attributes
    ----------
    lengths : (3,) array, Å
    elements : tuple of str
    positions : (n, 3) array, fractions of the lengths, 0 … 1
    occupancies, b_factors : (n,) arrays; B in Å²
    """

    lengths: Array
    elements: tuple[str, ...]
    positions: Array
    occupancies: Array
    b_factors: Array

    @classmethod
    def of(cls, cif: Path, zone: tuple[int, int, int], in_plane: tuple[int, int, int]) -> Cell:
        """The smallest orthogonal cell of a CIF's crystal with x and z as in the docstring of the module.

        Raises
        ------
        ValueError
            There is no such cell within LONGEST unit cells, or in_plane is not in the zone.
        """
        structure = gemmi.read_small_structure(str(cif))
        basis = np.array(structure.cell.orth.mat.tolist()).T  # rows a, b, c
        x = np.array(in_plane) @ np.linalg.inv(basis).T
        z = np.array(zone) @ basis
        if abs(x @ z) > 1e-9:
            raise ValueError(
                f"in_plane {in_plane} is not in the zone {zone}; give h, k, l with hu + kv + lw = 0"
            )
        x, z = x / np.linalg.norm(x), z / np.linalg.norm(z)
        axes = np.stack([x, np.cross(z, x), z])
        centring = np.array(structure.spacegroup.operations().cen_ops) / gemmi.Op.DEN
        whole = np.arange(-LONGEST, LONGEST + 1)
        corners = np.stack(np.meshgrid(whole, whole, whole, indexing="ij"), -1).reshape(-1, 1, 3)
        lattice = (corners + centring).reshape(-1, 3) @ basis
        vectors = []
        for axis in axes:
            along = lattice @ axis
            fit = (np.linalg.norm(lattice - along[:, None] * axis, axis=1) < 1e-6) & (along > 1e-6)
            if not fit.any():
                raise ValueError(f"{cif.name} along {zone} has no orthogonal cell within {LONGEST} cells")
            vectors.append(along[fit].min())
        lengths = np.array(vectors)
        sites = structure.get_all_unit_cell_sites()
        found: dict[tuple[int, ...], tuple[int, Array]] = {}
        shifts = corners.reshape(-1, 3)
        for number, site in enumerate(sites):
            r = (np.array([site.fract.x, site.fract.y, site.fract.z]) + shifts) @ basis @ axes.T / lengths
            for each in r[((r > -SAME) & (r < 1 - SAME)).all(axis=1)]:
                found[number, *np.rint(each / SAME / 2).astype(int)] = number, np.abs(each)
        positions = np.array([r for _, r in found.values()])
        positions[:, 2] -= positions[:, 2].min()  # the lowest plane of atoms lies at z = 0
        numbers = [number for number, _ in found.values()]
        chosen = [sites[number] for number in numbers]
        cell = cls(
            lengths,
            tuple(site.element.name for site in chosen),
            positions,
            np.array([site.occ for site in chosen]),
            np.array([8 * np.pi**2 * site.u_iso for site in chosen]),
        )
        expected = len(sites) * lengths.prod() / structure.cell.volume
        if abs(len(chosen) - expected) > 1e-3 * expected:
            raise ValueError(
                f"{cif.name}: {len(chosen)} atoms in the orthogonal cell in place of {expected:g}"
            )
        return cell

    @property
    def area(self) -> float:
        """Å²."""
        return float(self.lengths[0] * self.lengths[1])

    @property
    def height(self) -> float:
        """Of the cell along the beam, Å."""
        return float(self.lengths[2])

    def vibrating(self, factor: float) -> Cell:
        """The same crystal with all B multiplied by a factor."""
        return replace(self, b_factors=factor * self.b_factors)

    def inverted(self) -> Cell:
        """Its mirror image in the origin: the other polarity."""
        return replace(self, positions=np.where(self.positions > SAME, 1 - self.positions, 0.0))

    def planes(self) -> list[tuple[float, NDArray[np.int64]]]:
        """Height (fraction) of every plane of atoms across the beam, from below, and its atoms."""
        z = self.positions[:, 2]
        heights = np.unique(np.round(z, 3))
        return [(float(z[on].mean()), on) for h in heights if len(on := np.flatnonzero(abs(z - h) < 2e-3))]

    def symmetry(self) -> list[NDArray[np.int64]]:
        """Those of OPERATIONS, acting on (x, y), that map the crystal onto itself with z left as it is."""
        square = abs(self.lengths[0] - self.lengths[1]) < 1e-6
        return [m for m in OPERATIONS if (square or m[0, 1] == 0) and self._maps(m)]

    def _maps(self, operation: NDArray[np.int64]) -> bool:
        turned = self.positions.copy()
        turned[:, :2] = turned[:, :2] @ operation.T
        kinds = [
            (e, round(float(o), 4), round(float(b), 4))
            for e, o, b in zip(self.elements, self.occupancies, self.b_factors, strict=True)
        ]
        for start in range(len(kinds)):
            shift = self.positions[start] - turned[0]
            if abs(shift[2]) > SAME or kinds[start] != kinds[0]:
                continue
            apart = (turned + shift)[:, None] - self.positions[None]
            near = (abs(apart - np.rint(apart)) < 10 * SAME).all(axis=2)
            if all(
                any(near[i, j] and kinds[i] == kinds[j] for j in range(len(kinds))) for i in range(len(kinds))
            ):
                return True
        return False
