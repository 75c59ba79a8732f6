"""The problem that all Bloch-wave solvers get: beams, thicknesses, directions; and our answer.

Beams of the zero zone up to the g_max of a recipe, its thicknesses, random incident directions about
the zone axis.  No beam is folded into the potential of the others, because no rival can do that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.exact import problem
from hybridfit.library.recipe import Recipe
from hybridfit.physics import bloch, crystal
from hybridfit.physics.projection import project

FARTHEST = 24.0  # mrad from the zone axis
STRONGEST = 9  # beams whose intensities are compared


@dataclass(frozen=True)
class BlochProblem:
    """The problem.

    hkl : (b, 3) beams, the direct one first;  q : (d, 2) incident directions, Å⁻¹, in the crystal frame;
    thickness : (m,) nm;  matrix : with absorption;  wavelength : Å
    """

    recipe: Recipe
    structure: crystal.Crystal
    hkl: np.ndarray
    q: np.ndarray
    thickness: np.ndarray
    matrix: bloch.DynamicalMatrix
    wavelength: float

    @classmethod
    def of(cls, name: str, directions: int) -> BlochProblem:
        """That of a shipped recipe."""
        recipe = Recipe.shipped(name)
        matrix, to_mrad = problem(recipe, recipe.g_max, folded=False)
        structure = crystal.Crystal.from_cif(recipe.cif)
        projection = project(structure, recipe.zone, recipe.in_plane)
        t = recipe.thickness
        rng = np.random.default_rng(1)
        r = FARTHEST / to_mrad * np.sqrt(rng.random(directions))
        phi = 2 * np.pi * rng.random(directions)
        return cls(
            recipe,
            structure,
            projection.beams(recipe.g_max) @ projection.basis_hkl,
            np.stack([r * np.cos(phi), r * np.sin(phi)], axis=1),
            np.arange(t.start, t.stop + t.step / 2, t.step),
            matrix,
            to_mrad / 1e3,
        )

    @property
    def energy(self) -> float:
        """eV."""
        return 1e3 * self.recipe.energy_kv

    @property
    def elastic(self) -> bloch.DynamicalMatrix:
        """The matrix without absorption."""
        hermitian = (self.matrix.potential + self.matrix.potential.conj().T) / 2
        return bloch.DynamicalMatrix(hermitian, self.matrix.g, self.matrix.k_n)

    @property
    def beam_directions(self) -> np.ndarray:
        """(d, 3) unit vectors along which the beam comes in."""
        x, y = self.wavelength * self.q.T
        return np.stack([x, y, np.sqrt(1 - x**2 - y**2)], axis=1)

    def solved(self, *, absorption: bool = True, double: bool = False) -> np.ndarray:
        """Our intensities (thickness, beam, direction), in the precision of the libraries or in double."""
        dtype = torch.complex128 if double else torch.complex64
        matrix = self.matrix if absorption else self.elastic
        return bloch.beam_intensities(matrix, self.q, self.thickness, device="cpu", dtype=dtype)

    def difference(self, theirs: np.ndarray, ours: np.ndarray) -> float:
        """Largest difference of the strongest beams, of the incident intensity."""
        strongest = np.argsort(-ours.mean(axis=(0, 2)))[:STRONGEST]
        return float(np.abs(theirs - ours)[:, strongest].max())
