"""Exact patterns for the studies: random points, by float64 matrix exponentials.

    P(k) = Σ_g A(|k − g|) · I_g(k − g + τ; t)

at random points k of patterns with random tilts τ, every I_g solved at exactly its own direction
k − g + τ by `scipy.linalg.expm`: nothing is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from scipy.linalg import expm

from benchmarks.common import cores
from hybridfit.library.build import FOLDED
from hybridfit.library.recipe import Recipe
from hybridfit.pattern.compose import pattern_at
from hybridfit.pattern.expand import Table
from hybridfit.physics import bloch, crystal, scattering
from hybridfit.physics.projection import project

TILTS, POINTS = 6, 8  # random tilts in a sample, random points per tilt
REACH = 4.6  # Å⁻¹: with 5.6 intensities of SrTiO3 [001] change by 1e-4 at 35 mrad


@dataclass(frozen=True)
class Sample:
    """Points of patterns, and every disc that covers one of them.

    k, tilt : (n, 2) mrad;  point, beam, weight : (v,) which point, which beam, A(|k − g|);
    q : (v, 2) mrad, the incident direction k − g + τ;  semi_angle, half_edge : mrad
    """

    k: np.ndarray
    tilt: np.ndarray
    point: np.ndarray
    beam: np.ndarray
    weight: np.ndarray
    q: np.ndarray
    semi_angle: float
    half_edge: float

    @classmethod
    def of(cls, k, tilt, g_mrad, semi_angle: float, half_edge: float) -> Sample:
        """Find the discs, centred on g_mrad (b, 2), that cover the points."""
        from_centre = k[:, None, :] - g_mrad[None, :, :]
        x = np.clip((semi_angle + half_edge - np.linalg.norm(from_centre, axis=2)) / (2 * half_edge), 0, 1)
        aperture = x**3 * (10 - 15 * x + 6 * x**2)
        point, beam = np.nonzero(aperture)
        q = from_centre[point, beam] + tilt[point]
        return cls(k, tilt, point, beam, aperture[point, beam], q, semi_angle, half_edge)

    @classmethod
    def random(cls, semi_angle: float, half_edge: float, g_mrad, tilt_max: float, tilts=TILTS) -> Sample:
        """tilts × POINTS points within the region that is fitted."""
        rng = np.random.default_rng(round(10 * semi_angle))

        def disc(n: int, radius: float) -> np.ndarray:
            r, phi = radius * np.sqrt(rng.random(n)), 2 * np.pi * rng.random(n)
            return np.stack([r * np.cos(phi), r * np.sin(phi)], axis=1)

        tilt = np.repeat(disc(tilts, tilt_max), POINTS, axis=0)
        return cls.of(disc(tilts * POINTS, semi_angle + 7.5), tilt, g_mrad, semi_angle, half_edge)

    def patterns(self, intensity: np.ndarray) -> np.ndarray:
        """Sum (m, v) beam intensities into the (m, n) pattern."""
        return np.stack([np.bincount(self.point, self.weight * row, len(self.k)) for row in intensity])

    def solved(self, intensity: np.ndarray) -> np.ndarray:
        """The (m, n) pattern from all (m, b, v) beams of every direction."""
        return self.patterns(intensity[:, self.beam, np.arange(len(self.beam))])

    def from_kernel(self, table: Table, thickness: float, k: np.ndarray | None = None) -> np.ndarray:
        """(tilts, points) by the library's own kernel, at this sample's points or at k (p, 2)."""
        rows = []
        for tilt, own in zip(self.tilt[::POINTS], self.k.reshape(-1, POINTS, 2), strict=True):
            x, y = np.ascontiguousarray((own if k is None else k).T)
            where = {"tilt": tuple(tilt), "semi_angle": self.semi_angle, "half_edge": self.half_edge}
            rows.append(pattern_at(x, y, table, thickness=thickness, **where))
        return np.stack(rows)

    def maxima(self, table: Table, thickness: np.ndarray) -> np.ndarray:
        """(m, n) maximum of the pattern that each point belongs to."""
        axis = np.linspace(-1, 1, 48) * (self.semi_angle + 7.5)
        k = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        return np.stack([np.repeat(self.from_kernel(table, t, k).max(axis=1), POINTS) for t in thickness])


def problem(recipe: Recipe, g_max: float, *, folded: bool = True) -> tuple[bloch.DynamicalMatrix, float]:
    """The dynamical matrix of a recipe with beams up to g_max (Å⁻¹), and mrad per Å⁻¹.

    Longer beams and higher zones are folded into it as the library does, or left out.
    """
    projection = project(crystal.Crystal.from_cif(recipe.cif), recipe.zone, recipe.in_plane)
    every = projection.beams(FOLDED * g_max if folded else g_max)
    matrix = bloch.DynamicalMatrix.of(projection, every, recipe.energy_kv, higher_zones=folded)
    return matrix.folded(len(projection.beams(g_max))), scattering.wavelength(recipe.energy_kv) * 1e3


def exact_everywhere(
    recipe: Recipe, q: np.ndarray, first: np.ndarray, step_nm: float, steps: int, reach: float = REACH
) -> np.ndarray:
    """|ψ|² of the beams `first` (b, 2) after 1, 2, … steps: (steps, b, v), however far q (v, 2) Å⁻¹ is.

    Every direction has all beams up to `reach` (Å⁻¹) about the middle of its Laue circle, and the path
    t K/K_n.
    """
    projection = project(crystal.Crystal.from_cif(recipe.cif), recipe.zone, recipe.in_plane)
    every = projection.beams(reach + float(np.linalg.norm(q, axis=1).max()))
    others = every[~(every[:, None] == first[None]).all(axis=2).any(axis=1)]
    found = []
    for one in q:
        near = others[np.linalg.norm(others @ projection.basis + one, axis=1) <= reach]
        n = np.concatenate([first, near])
        matrix = bloch.DynamicalMatrix.of(projection, n, recipe.energy_kv, higher_zones=True)
        path = step_nm * matrix.k_n / np.sqrt(matrix.k_n**2 - one @ one)
        found.append(exact_intensities(matrix, one[None], path, steps)[:, : len(first), 0])
    return np.stack(found, axis=-1)


def exact_intensities(
    matrix: bloch.DynamicalMatrix, q: np.ndarray, step_nm: float, steps: int, beam: np.ndarray | None = None
) -> np.ndarray:
    """|ψ|² after 1, 2, … steps, for directions q (v, 2) in Å⁻¹.

    (steps, b, v), or (steps, v) where beam (v,) names the one wanted of each direction.  One float64
    matrix exponential per direction, applied repeatedly.
    """

    def solve(diagonal: np.ndarray, wanted: int | slice) -> np.ndarray:
        step = expm(1j * np.pi / matrix.k_n * 10 * step_nm * (matrix.potential + np.diag(diagonal)))
        psi = np.zeros((steps + 1, len(step)), complex)
        psi[0, 0] = 1
        for j in range(steps):
            psi[j + 1] = step @ psi[j]
        return np.abs(psi[1:, wanted]) ** 2

    wanted = [slice(None)] * len(q) if beam is None else beam
    tasks = (delayed(solve)(*task) for task in zip(matrix.excitation(q).T, wanted, strict=True))
    # processes, because BLAS threads slow each other down on matrices of this size
    jobs = cores() if len(q) > 16 else 1
    return np.stack(Parallel(n_jobs=jobs, batch_size=16)(tasks), axis=-1)
