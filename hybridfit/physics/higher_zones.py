"""What the zones above and below do to the beams of the zero-order Laue zone.

Along the beam the potential is U(r, z) = Σ_l U_l(r) exp(2πi l z/d), of which the zero-order zone sees
the mean U_0 only.  Beams of the zones l ≠ 0 are far from the Ewald sphere, all but a few, and hold
hardly any intensity; but they bend those of the zero zone, as `DynamicalMatrix.folded` says of far
beams.  The excitation 2K g_z of a zone, g_z = l/d, is large against everything else in the matrix,
so that averaging over one period of the crystal [1] leaves, to second order,

    M → M + ½ Σ_{l≠0} [[U_{−l}, T], U_l] / (2K g_z)²,        T_gg = 2K s_g,

and because T is a Laplacian, the commutators are an ordinary potential, the same for all directions,

    δU(r) = −Σ_{l≠0} |∇U_l(r)|² / (2π · 2K g_z)².

It weakens every atom column: without it SrTiO3 that does not absorb seems 0.5–1 % thinner than it is, and
absorption damps most of that (tests/physics/test_higher_zones.py, benchmarks/REMARKS.md).  What is not in
it are HOLZ lines, where a beam comes near the Ewald sphere: reflections from the ring of a zone on are
left out.  `hybridfit.physics.holz` has them, and leaves to this what is far inside the sphere.

.. [1] the expansion for high frequencies of Rahav, Gilary & Fishman, Phys. Rev. A 68 (2003) 013820; the
   same for slices of a crystal: Van Dyck, Adv. Electron. Electron Phys. 65 (1985) 295.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.physics.projection import Projection, frame_of
from hybridfit.physics.scattering import wavelength
from hybridfit.physics.settings import ZONES
from hybridfit.physics.structure_factors import elastic_structure_factors

Array = NDArray[np.float64]
SAME = 1e-6  # of a reciprocal lattice vector
AT_ONCE = 2e7  # reflections, 2 GB while they are sorted out


def higher_zone_potential(
    projection: Projection, n: NDArray[np.int64], energy_kv: float
) -> NDArray[np.complex128]:
    """δU_g (Å⁻²) of reflections of the zero-order zone.

    Parameters
    ----------
    projection : Projection
    n : (..., 2) int array
        Reflections, in the basis of the projection.
    energy_kv : float

    Returns
    -------
    complex array of shape n.shape[:-1]
    """
    return HigherZones(projection, energy_kv).potential(n)


class HigherZones:
    """The reflections of the zones above, from which δU follows.

    Parameters
    ----------
    projection : Projection
    energy_kv : float
    """

    def __init__(self, projection: Projection, energy_kv: float) -> None:
        self._k = 1 / wavelength(energy_kv)
        self._zones = _zones(projection, self._k, energy_kv)

    def potential(
        self, n: NDArray[np.int64], q: Array | None = None, beyond: float = 0.0
    ) -> NDArray[np.complex128]:
        """δU_g (Å⁻²) of reflections n (..., 2) of the zero-order zone.

        With a direction q (2,) in Å⁻¹, only of reflections that it leaves more than an excitation error
        `beyond` (Å⁻¹) inside the Ewald sphere.
        """
        zones = self._zones if q is None else [zone.inside(q, self._k, beyond) for zone in self._zones]
        most = np.abs(n).reshape(-1, 2).max(axis=0, initial=0)
        # the product of two gradients holds all differences of their reflections
        span = np.max([np.ptp(zone.n, axis=0) for zone in zones if len(zone.n)], axis=0, initial=0)
        points = tuple(span + most + 1)
        total = np.zeros(points)
        for zone in zones:
            slope = np.zeros((2, *points), complex)  # ∇U_l / 2πi, but for a phase
            slope[:, *(zone.n % points).T] = zone.across.T * zone.factors
            slope = np.fft.ifft2(slope, norm="forward")
            # zones l and −l are each other's conjugate
            total += 2 * (slope.real**2 + slope.imag**2).sum(axis=0) / (2 * self._k * zone.height) ** 2
        found: NDArray[np.complex128] = -np.fft.fft2(total, norm="forward")[
            tuple(np.moveaxis(n % points, -1, 0))
        ]
        return found

    @property
    def period(self) -> float:
        """1/g_z of the lowest zone, Å; infinite where there is none."""
        return 1 / min(zone.height for zone in self._zones) if self._zones else np.inf

    def phase(self, n: NDArray[np.int64], height: float) -> NDArray[np.complex128]:
        """S_g of reflections n (m, 2) for a slab that is cut at a height (Å): `physics.termination`.

        Only of zones whose reflections lie above those of the zero-order zone: others do nothing to it to
        first order.
        """
        total = np.zeros(len(n), complex)
        for zone in self._zones:
            if zone.first is None:
                continue
            indices = map(tuple, (zone.n + zone.first).tolist())
            factor = dict(zip(indices, zone.factors, strict=True))
            u, opposite = (
                np.array([factor.get((a, b), 0.0) for a, b in (sign * n).tolist()]) for sign in (1, -1)
            )
            turn = np.exp(2j * np.pi * zone.height * height)
            # Im{U e^{iφ}}: the coefficient of g, and the conjugate of that of −g
            total += (u * turn - np.conj(opposite * turn)) / (2j * self._k * zone.height)
        return total


class _Zone(NamedTuple):
    """Reflections of one zone: g_z, indices from one of them on, components in the plane, U_l.

    `first` are indices of that one in the zero-order zone, None where the zone is shifted against it.
    """

    height: float
    n: NDArray[np.int64]
    across: Array
    factors: NDArray[np.complex128]
    first: NDArray[np.int64] | None

    def inside(self, q: Array, k: float, beyond: float) -> _Zone:
        """Those of which the opposites, in the zone below, are inside the Ewald sphere."""
        g, height = self.across, self.height
        at = 2 * (g @ q + k * height) - (g**2).sum(axis=1) - height**2 > 2 * k * beyond
        return self._replace(n=self.n[at], across=g[at], factors=self.factors[at])


def _zones(projection: Projection, k: float, energy_kv: float) -> list[_Zone]:
    """The zones above; of each, the reflections within its ring."""
    crystal = projection.crystal
    reach = np.ceil(ZONES.longest * np.linalg.norm(crystal.direct_basis, axis=1)).astype(int)
    frame = frame_of(crystal, projection.zone, projection.basis_hkl[0])
    centring = crystal.centring_translations()
    # a large cell has too many reflections to look at all at once
    slabs = 1 if np.prod(2.0 * reach + 1) <= AT_ONCE else 2 * reach[0] + 1
    kept = []
    for first in np.array_split(np.arange(-reach[0], reach[0] + 1), slabs):
        others = (np.arange(-r, r + 1) for r in reach[1:])
        hkl = np.stack(np.meshgrid(first, *others, indexing="ij"), axis=-1).reshape(-1, 3)
        hkl = hkl[hkl @ np.array(projection.zone) > 0]
        g = hkl @ crystal.reciprocal_basis @ frame.T
        length2 = (g[:, :2] ** 2).sum(axis=1)
        near = (length2 < np.minimum(ZONES.longest**2, 2 * k * g[:, 2])) & (g[:, 2] < ZONES.highest)
        hkl, g = hkl[near], g[near]
        phase = hkl @ centring.T
        there = (np.abs(phase - phase.round()) < 1e-3).all(axis=1)
        kept.append((hkl[there], g[there]))
    hkl, g = (np.concatenate(each) for each in zip(*kept, strict=True))
    factors = elastic_structure_factors(crystal, hkl, energy_kv)
    levels = hkl @ np.array(projection.zone)
    out = []
    for level in np.unique(levels):
        of = levels == level
        steps = (hkl[of] - hkl[of][0]) @ np.linalg.pinv(projection.basis_hkl.astype(float))
        whole = g[of][0, :2] @ np.linalg.inv(projection.basis)
        first = np.rint(whole).astype(np.int64)
        above = bool(np.abs(whole - first).max() < SAME)
        indices = np.rint(steps).astype(np.int64)
        out.append(_Zone(float(g[of, 2].mean()), indices, g[of, :2], factors[of], first if above else None))
    return out
