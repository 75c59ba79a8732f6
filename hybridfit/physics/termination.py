"""Where a crystal ends: what a slab that is cut at a height z₀ does beside the mean crystal.

The Bloch waves of the zero-order zone are those of the potential's mean along the beam.  A slab begins and
ends at some height z₀ between its planes of atoms, though, and averaging over the period leaves, to first
order [1], a phase where the wave enters it and the opposite one where it leaves,

    ψ(t) = E exp(iπMt/K) E⁻¹ ψ(0),      E = exp(iS),
    S(r) = Σ_{g_z>0} Im{U(r; g_z) e^{2πi g_z z₀}} / (K g_z),

U(r; g_z) what all reflections of a zone add up to.  S is zero on the average over z₀, and where z₀ is a
mirror of the crystal: midway through a plane of atoms, or half-way between two like ones.

Symbols: U elastic structure factors (Å⁻²), g_z height of a zone (Å⁻¹), K wavevector (Å⁻¹), M matrix of the
beams (`hybridfit.physics.bloch`), t thickness, r position across the beam.

.. [1] Rahav, Gilary & Fishman, Phys. Rev. A 68 (2003) 013820.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.physics.higher_zones import HigherZones
from hybridfit.physics.projection import Projection


def surface_phase(
    projection: Projection, n: NDArray[np.int64], energy_kv: float, height: float
) -> NDArray[np.complex128]:
    """E_{g−h} of the beams of a projection.

    Parameters
    ----------
    projection : Projection
    n : (b, 2) int array
        Beams of the zero-order zone.
    energy_kv : float
    height : float
        z₀ as a fraction of the period of the zones, 1/g_z of the lowest one.

    Returns
    -------
    (b, b) complex array, unitary but for beams that are left out
    """
    differences, where = np.unique((n[:, None] - n[None]).reshape(-1, 2), axis=0, return_inverse=True)
    zones = HigherZones(projection, energy_kv)
    s = zones.phase(differences, height * zones.period)[where.ravel()].reshape(len(n), len(n))
    levels, states = np.linalg.eigh(s)
    out: NDArray[np.complex128] = (states * np.exp(1j * levels)) @ states.conj().T
    return out
