"""abTEM's Bloch waves, for comparison in `benchmarks.library_build` and `benchmarks.rivals`.

`abtem.bloch.BlochWaves` gets hybridfit's elastic structure factors, beams, thicknesses and directions, so
that both compute the same intensities.  abTEM has no absorption, so neither uses it.  A second run uses
abTEM's own scattering factors.  A tilt of the beam is entered as a rotation of the crystal.
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

from benchmarks.bloch_problem import BlochProblem
from benchmarks.common import timed
from hybridfit.physics.structure_factors import structure_factors

DIRECTIONS = 32  # abTEM's time is scaled from these
SG_MAX = 1.0  # Å⁻¹: leave out no beam for its excitation error
OWN = ("peng", "lobato")  # scattering factors that it has


def bloch_waves(name: str, directions: int = DIRECTIONS) -> dict[str, Any]:
    """Seconds per direction, and the largest differences of the strongest beams for each set of factors."""
    given = BlochProblem.of(name, directions)
    factors = _structure_factors(given)

    def solve(structure_factor: Any) -> np.ndarray:
        out = np.empty((len(given.thickness), len(given.hkl), directions))
        for i, z in enumerate(given.beam_directions):
            x = np.cross([0, 1, 0], z)
            x /= np.linalg.norm(x)
            turn = np.stack([x, np.cross(z, x), z])
            g_max = given.recipe.g_max
            waves = BlochWaves(structure_factor, given.energy, SG_MAX, g_max, orientation_matrix=turn)
            patterns = waves.calculate_diffraction_patterns(10 * given.thickness, lazy=False)
            at = {tuple(index): n for n, index in enumerate(patterns.miller_indices)}
            assert len(at) == len(given.hkl), "abTEM chose other beams"
            out[:, :, i] = patterns.array[:, [at[tuple(b)] for b in given.hkl]]
        return out

    seconds = timed(lambda: solve(factors["hybridfit's structure factors"]), 1) / directions
    ours = given.solved(absorption=False)
    difference = {name: given.difference(solve(factor), ours) for name, factor in factors.items()}
    out = {"seconds": seconds, "difference": difference, "directions": directions}
    return {**out, "version": abtem.__version__}


def _structure_factors(given: BlochProblem) -> dict[str, Any]:
    """Structure factors of hybridfit and of abTEM, in abTEM's format."""
    structure, energy = given.structure, given.energy
    atoms = Atoms(
        structure.elements, cell=structure.direct_basis, scaled_positions=structure.positions, pbc=True
    )
    sigma = dict(zip(structure.elements, np.sqrt(structure.debye_waller / (8 * np.pi**2)), strict=True))
    reach = 2 * given.recipe.g_max + 0.1
    whole = [StructureFactor(atoms, reach, name, sigma, cutoff="hard", centering="P") for name in OWN]
    zolz = whole[0].hkl @ given.recipe.zone == 0  # abTEM uses the beams that have a structure factor
    hkl = whole[0].hkl[zolz]
    # abTEM: F_g = Σ f exp(+2πi g·r)/V, of which it makes U_g = σ/(κλπ) F
    unit = energy2sigma(energy) / (kappa * energy2wavelength(energy) * np.pi)
    arrays = {
        "hybridfit's structure factors": structure_factors(structure, -hkl, given.recipe.energy_kv)[0] / unit
    }
    arrays |= {f"its own, {name}": f.build(False).array[zolz] for name, f in zip(OWN, whole, strict=True)}
    return {
        name: StructureFactorArray(array.astype(np.complex64), hkl, atoms.cell, reach)
        for name, array in arrays.items()
    }
