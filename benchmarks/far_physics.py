"""What a library leaves out of the physics far from the zone axis, without fits: for `benchmarks.far_tilts`.

Few points of patterns at one tilt, and every direction q that they are made of, are solved by themselves:

library     as a build solves them: far beams folded, the mean effect of higher zones in the potential
more beams  the same with MORE times g_max;  bare: without the mean effect of higher zones
zone        all beams up to BEYOND (Å⁻¹) from the middle of the Laue circle, float64, `scipy.linalg.expm`:

                γ = √(K_n² + Λ) − K_n,    Λ a level of M,

            which is exact for forward waves; in `paraxial zone`, as in any high-energy theory, γ = Λ/2K.
            2K s_g = −2 g·q − g² of the zero-order zone has no approximation
lines       the beams of other zones near the Ewald sphere as well, as a library with `holz = true` has them
slab        multislice of the mean wave in three dimensions, which has all zones, carried on by the true Ewald
            sphere; `paraxial slab`, by exp{−πiλΔz(g² + 2 q·g)}, as references are

M as in `hybridfit.physics.bloch`; of H = (2π)[√(K_n² + M) − K_n] the series in M/K_n² is taken, to the third
order.  Two solutions are compared as patterns, and by what a fit would take the difference for:

    I_other − I ≈ δt ∂I/∂t + δτ·∂I/∂q + f I

from all beams within view and all directions, at each thickness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from scipy.linalg import expm

from benchmarks.common import cores
from benchmarks.exact import Sample
from benchmarks.reference_cases import Case
from benchmarks.slab import wavelength
from benchmarks.slices import Stack, intensities, solid
from hybridfit.library.library import FOLDED
from hybridfit.library.recipe import Recipe
from hybridfit.physics import bloch, holz
from hybridfit.physics.folding import reach_of
from hybridfit.physics.projection import project

Array = np.ndarray
STEP_NM, STEPS = 10.0, (1, 2, 4, 6)  # of the thicknesses, in whole cells
BEYOND = 4.2  # Å⁻¹
VIEW = 7.5  # mrad beyond the direct disc
HALF_EDGE = 0.05  # mrad, of the aperture
AWAY = 0.1  # mrad: between directions of slopes
BAND, SLICE = 5.0, 0.25  # Å⁻¹ and Å, as in `benchmarks.slab_shift`
ROUGH_G, ROUGH_STEP = 1.6, 1.0  # Å⁻¹, mrad: of the pattern whose maximum is the unit
MORE = 1.25
MOST_POINTS = 40
CPU = torch.device("cpu")
# what is compared, and with what
COMPARED = {
    "paraxial form, zero-order zone": ("paraxial zone", "zone"),
    "paraxial propagator of multislice": ("paraxial slab", "slab"),
    "library against all beams of its zone": ("library", "zone"),
    "library against one of 1.25 g_max": ("library", "more beams"),
    "higher zones, left out": ("bare", "slab"),
    "higher zones, their mean effect (library)": ("library", "slab"),
    "higher zones, with their lines (holz)": ("lines", "slab"),
}


@dataclass(frozen=True)
class Difference:
    """One solution beside another, at every thickness.

    pattern : largest difference at the points, of the maximum of the pattern
    thickness, tilt : δt (nm) and |δτ| (mrad), what a fit would take the difference for
    """

    pattern: Array
    thickness: Array
    tilt: Array


class FarPoints:
    """Points of patterns at one tilt.

    Parameters
    ----------
    case : Case
        The crystal.
    recipe : Recipe
        Of its library.
    tilt : (2,) mrad
    points : int
    """

    def __init__(self, case: Case, recipe: Recipe, tilt: tuple[float, float], points: int) -> None:
        self.case, self.recipe, self.tilt = case, recipe, np.array(tilt)
        self.to_mrad = 1e3 * wavelength(recipe.energy_kv)
        self.projection = project(recipe.crystal(), recipe.zone, recipe.in_plane)
        cells = max(1, round(10 * STEP_NM / case.cell.height))
        self.cells = cells * np.array(STEPS)
        self.thickness = self.cells * case.cell.height / 10
        alpha = case.semi_angle_max
        n = self.projection.beams((2 * alpha + VIEW + float(np.hypot(*tilt)) / 2) / self.to_mrad)
        self.n, self.g = n, n @ self.projection.basis
        self.beams = np.rint(self.g * case.cell.lengths[:2]).astype(int)
        rng = np.random.default_rng([7, *(np.abs(np.rint(10 * self.tilt)).astype(int))])
        radius, azimuth = (alpha + VIEW) * np.sqrt(rng.random(points)), rng.uniform(0, 2 * np.pi, points)
        k = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth)], 1) - self.tilt / 2
        self.sample = Sample.of(k, np.tile(self.tilt, (points, 1)), self.g * self.to_mrad, alpha, HALF_EDGE)
        self.q = self.sample.q / self.to_mrad
        self._solved: dict[str, Array] = {}

    @classmethod
    def with_directions(
        cls, case: Case, recipe: Recipe, tilt: tuple[float, float], directions: int
    ) -> FarPoints:
        """As few points as need so many directions."""
        for points in range(1, MOST_POINTS):
            found = cls(case, recipe, tilt, points)
            if len(found.q) >= directions:
                return found
        raise ValueError(f"{MOST_POINTS} points need fewer than {directions} directions")

    def solve(self, name: str) -> Array:
        """One of the solutions that COMPARED names, which is kept: (thickness, beam, direction)."""
        if name in self._solved:
            return self._solved[name]
        solutions: dict[str, Callable[[], Array]] = {
            "library": self.library,
            "more beams": partial(self.library, MORE * self.recipe.g_max),
            "zone": self.zone,
            "paraxial zone": partial(self.zone, paraxial=True),
            "bare": partial(self.library, higher_zones=False),
            "lines": self.lines,
            "slab": self.slab,
            "paraxial slab": partial(self.slab, paraxial=True),
        }
        self._solved[name] = solutions[name]()
        return self._solved[name]

    # solutions: (thickness, beam, direction)

    def library(self, g_max: float | None = None, *, higher_zones: bool = True) -> Array:
        """As a library of the recipe solves them, with another g_max (Å⁻¹) if one is given."""
        g_max = self.recipe.g_max if g_max is None else g_max
        outer = FOLDED * g_max
        radius = (self.recipe.semi_angle_max + self.recipe.tilt_max) / self.to_mrad
        every = self.projection.beams(reach_of(outer, radius))
        kv = self.recipe.energy_kv
        matrix = bloch.DynamicalMatrix.of(self.projection, every, kv, higher_zones=higher_zones)
        matrix = matrix.folded(len(self.projection.beams(g_max)), outer)
        return self._first(
            bloch.beam_intensities(matrix, self.q, self.thickness, device="cpu", dtype=torch.complex128)
        )

    def zone(self, *, paraxial: bool = False) -> Array:
        """All beams of the zero-order zone."""
        reach = BEYOND + float(np.linalg.norm(self.q, axis=1).max())
        every = self.projection.beams(reach)
        matrix = bloch.DynamicalMatrix.of(self.projection, every, self.recipe.energy_kv, higher_zones=True)
        inside = matrix.excitation(self.q) >= -(BEYOND**2) + (self.q**2).sum(axis=1)
        inside[: len(self.g)] = True
        jobs = [
            self._job(matrix, q, np.flatnonzero(on), paraxial) for q, on in zip(self.q, inside.T, strict=True)
        ]
        return self._solve(jobs)

    def lines(self) -> Array:
        """With the beams of other zones that come near the Ewald sphere, as in `holz = true`."""
        every, strong = (
            self.projection.beams(FOLDED * self.recipe.g_max),
            self.projection.beams(self.recipe.g_max),
        )
        matrix = holz.HolzMatrix.of(self.projection, every, len(strong), self.recipe.energy_kv, self.q)
        near = [matrix.near(q[None]) for q in self.q]
        jobs = [self._job(m, q, np.arange(len(m.g)), True) for m, q in zip(near, self.q, strict=True)]
        return self._solve(jobs)

    def slab(self, *, paraxial: bool = False) -> Array:
        """Multislice of the mean wave."""
        found = self._through(self.stack, self.q, self.cells, paraxial)
        if not paraxial:  # it was a slab of t cos θ
            found = found + self.thickness[:, None, None] * self._longer * self.slopes[0]
        return found

    @cached_property
    def stack(self) -> Stack:
        """A cell of the crystal, whose wave is the mean one."""
        slices = 2 * int(np.ceil(self.case.cell.height / SLICE / 2))
        return solid(self.case.cell, BAND, self.recipe.energy_kv, slices=slices, corrected=True)

    @cached_property
    def slopes(self) -> Array:
        """∂I/∂t, ∂I/∂q_x and ∂I/∂q_y (3, thickness, beam, direction), per nm and mrad."""
        around = np.unique(np.concatenate([self.cells - 1, self.cells + 1]))
        beside = self._through(self.stack, self.q, around, True)
        low, high = (beside[np.searchsorted(around, self.cells + i)] for i in (-1, 1))
        found = [(high - low) / (2 * self.case.cell.height / 10)]
        for axis in np.eye(2) * AWAY / self.to_mrad:
            high, low = (self._through(self.stack, self.q + s * axis, self.cells, True) for s in (1, -1))
            found.append((high - low) / (2 * AWAY))
        return np.stack(found)

    @cached_property
    def maximum(self) -> Array:
        """Of the pattern at every thickness, roughly."""
        alpha, axis = self.case.semi_angle_max, ROUGH_STEP
        cells = np.arange(-int(alpha / axis), int(alpha / axis) + 1)
        node = np.stack(np.meshgrid(cells, cells), -1).reshape(-1, 2)
        node = node[np.linalg.norm(node * axis, axis=1) <= alpha]
        n = self.projection.beams(max(ROUGH_G, float(np.linalg.norm(self.g, axis=1).max())))
        matrix = bloch.DynamicalMatrix.of(self.projection, n, self.recipe.energy_kv)
        q = (node * axis + self.tilt) / self.to_mrad
        found = bloch.beam_intensities(matrix, q, self.thickness, device="cpu")
        at = np.rint(matrix.g * self.to_mrad / axis).astype(int)[:, None] + node
        at -= at.reshape(-1, 2).min(axis=0)
        image = np.zeros((len(self.thickness), *(at.reshape(-1, 2).max(axis=0) + 1)))
        for t, each in zip(image, found, strict=True):
            np.add.at(t, (at[..., 0], at[..., 1]), each)
        return image.max(axis=(1, 2))

    def compare(self, one: str, other: str) -> Difference:
        """What changes from one solution to another."""
        return self.difference(self.solve(one), self.solve(other))

    def difference(self, other: Array, known: Array) -> Difference:
        """The same of intensities (thickness, beam, direction)."""
        pattern = np.abs(self.sample.solved(other) - self.sample.solved(known)).max(axis=1) / self.maximum
        shifts = []
        for t, (a, b) in enumerate(zip(other, known, strict=True)):
            columns = np.stack([*self.slopes[:, t].reshape(3, -1), b.ravel()], 1)
            shifts.append(np.linalg.lstsq(columns, (a - b).ravel(), rcond=None)[0])
        moved = np.array(shifts)
        return Difference(pattern, moved[:, 0], np.hypot(moved[:, 1], moved[:, 2]))

    # how they are solved

    @property
    def _longer(self) -> Array:
        """1/cos θ − 1 of every direction."""
        return 1 / np.sqrt(1 - (self.to_mrad / 1e3) ** 2 * (self.q**2).sum(axis=1)) - 1

    def _first(self, found: Array) -> Array:
        """Intensities of the beams within view, of beams in the order of the projection."""
        return found[:, : len(self.g)]

    def _job(
        self, matrix: bloch.DynamicalMatrix, q: Array, on: Array, paraxial: bool
    ) -> tuple[Array, float, Array]:
        """M of the beams `on`, K and the numbers of the beams within view among them."""
        m = matrix.potential[np.ix_(on, on)] + np.diag(matrix.excitation(q[None])[on, 0])
        k = matrix.k_n
        if not paraxial:
            k = float(np.sqrt(k**2 - q @ q))
            x = m / (2 * k**2)
            m = m - (m @ x) / 2 + (m @ x @ x) / 2
        return m, k, np.arange(len(self.g))

    def _solve(self, jobs: list[tuple[Array, float, Array]]) -> Array:
        step = self.thickness[0]

        def solve(m: Array, k: float, wanted: Array) -> Array:
            once = expm(1j * np.pi / k * 10 * step * m)
            psi, out = np.eye(len(m))[:, 0].astype(complex), []
            for n in range(1, max(STEPS) + 1):
                psi = once @ psi
                if n in STEPS:
                    out.append(np.abs(psi[wanted]) ** 2)
            return np.array(out)

        tasks = (delayed(solve)(*job) for job in jobs)
        return np.stack(Parallel(n_jobs=min(cores(), len(jobs)))(tasks), axis=-1)

    def _through(self, stack: Stack, q: Array, cells: Array, paraxial: bool) -> Array:
        where: dict[str, Any] = {"device": CPU, "dtype": torch.complex128}
        parts = intensities(stack, q, cells.tolist(), self.recipe.energy_kv, sphere=not paraxial, **where)
        every = np.concatenate([found for _, found in parts], axis=1)
        return every[:, :, self.beams[:, 0], self.beams[:, 1]].transpose(0, 2, 1)
