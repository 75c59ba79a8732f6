"""abTEM's Bloch waves, beside which `benchmarks.library_build` puts the solve.

`abtem.bloch.BlochWaves` is given hybridfit's elastic structure factors, so that both compute the same
intensities: the same beams, thicknesses and directions, without absorption, which it does not know.
It is also run with scattering factors of its own.  Tilting the beam is turning the crystal.
"""

from __future__ import annotations

from typing import Any

import abtem
import numpy as np
from abtem.bloch import BlochWaves, StructureFactor
from abtem.bloch.dynamical import StructureFactorArray
from abtem.core.constants import kappa
from abtem.core.energy import energy2sigma, energy2wavelength
from ase import Atoms

from benchmarks.common import timed
from benchmarks.exact import problem
from hybridfit.physics import bloch, crystal, scattering
from hybridfit.recipe import Recipe

DIRECTIONS = 32  # abTEM's time is scaled from these
FARTHEST = 24.0  # mrad from the zone axis
STRONGEST = 9  # beams whose intensities are compared
SG_MAX = 1.0  # Å⁻¹: leave out no beam for its excitation error


def bloch_waves(name: str) -> dict[str, Any]:
    """Seconds per direction, and the largest differences of the strongest beams for each set of factors."""
    recipe = Recipe.shipped(name)
    matrix, to_mrad = problem(recipe, recipe.g_max, folded=False)  # abTEM cannot
    elastic = bloch.DynamicalMatrix((matrix.potential + matrix.potential.conj().T) / 2, matrix.g, matrix.k_n)
    structure = crystal.Crystal.from_cif(recipe.cif)
    projection = crystal.project(structure, recipe.zone, recipe.in_plane)
    beams = projection.beams(recipe.g_max) @ projection.basis_hkl
    t = recipe.thickness
    thickness = np.arange(t.start, t.stop + t.step / 2, t.step)
    rng = np.random.default_rng(1)
    r, phi = FARTHEST / to_mrad * np.sqrt(rng.random(DIRECTIONS)), 2 * np.pi * rng.random(DIRECTIONS)
    q = np.stack([r * np.cos(phi), r * np.sin(phi)], axis=1)
    ours = bloch.beam_intensities(elastic, q, thickness, device="cpu")

    energy = recipe.energy_kv * 1e3
    atoms = Atoms(
        structure.elements, cell=structure.direct_basis, scaled_positions=structure.positions, pbc=True
    )
    sigma = dict(zip(structure.elements, np.sqrt(structure.debye_waller / (8 * np.pi**2)), strict=True))
    reach = 2 * recipe.g_max + 0.1
    names = ("peng", "lobato")
    whole = [StructureFactor(atoms, reach, name, sigma, cutoff="hard", centering="P") for name in names]
    zolz = whole[0].hkl @ recipe.zone == 0  # it computes with the beams that have a structure factor
    hkl = whole[0].hkl[zolz]
    # abTEM: F_g = Σ f exp(+2πi g·r)/V, of which it makes U_g = σ/(κλπ) F
    unit = energy2sigma(energy) / (kappa * energy2wavelength(energy) * np.pi)
    given = scattering.structure_factors(structure, -hkl, recipe.energy_kv)[0] / unit
    arrays = {"hybridfit's structure factors": given}
    arrays |= {f"its own, {name}": f.build(False).array[zolz] for name, f in zip(names, whole, strict=True)}
    factors = {
        name: StructureFactorArray(array.astype(np.complex64), hkl, atoms.cell, reach)
        for name, array in arrays.items()
    }

    def solve(structure_factor: Any) -> np.ndarray:
        out = np.empty((len(thickness), len(beams), len(q)))
        for i, direction in enumerate(q):
            z = np.array([*direction * energy2wavelength(energy), 0.0])  # the beam's direction in the crystal
            z[2] = np.sqrt(1 - z @ z)
            x = np.cross([0, 1, 0], z)
            x /= np.linalg.norm(x)
            turn = np.stack([x, np.cross(z, x), z])
            waves = BlochWaves(structure_factor, energy, SG_MAX, recipe.g_max, orientation_matrix=turn)
            patterns = waves.calculate_diffraction_patterns(10 * thickness, lazy=False)
            at = {tuple(index): n for n, index in enumerate(patterns.miller_indices)}
            assert len(at) == len(beams), "abTEM chose other beams"
            out[:, :, i] = patterns.array[:, [at[tuple(b)] for b in beams]]
        return out

    seconds = timed(lambda: solve(factors["hybridfit's structure factors"]), 1) / len(q)
    strongest = np.argsort(-ours.mean(axis=(0, 2)))[:STRONGEST]
    difference = {
        name: float(np.abs(solve(factor) - ours)[:, strongest].max()) for name, factor in factors.items()
    }
    out = {"seconds": seconds, "difference": difference, "directions": len(q)}
    return {**out, "version": abtem.__version__}
