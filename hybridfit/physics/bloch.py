"""The dynamical solve: beam intensities I_g(q; t) for a batch of incident directions.

In the zero-order Laue zone the beam amplitudes ψ_g obey

    dψ/dt = (iπ/K_n) M ψ,        ψ_g(0) = δ_{g0},
    M_gh  = U_{g−h} + iU'_{g−h}                     (g ≠ h)
    M_gg  = 2K s_g + iU'_0,      2K s_g = |q|² − |q+g|²,

so ψ(t) = exp(iπMt/K_n) ψ(0).  Symbols: t thickness, q transverse incident wavevector and g, h beams (Å⁻¹),
U and U' elastic and absorptive structure factors (Å⁻²), K wavevector in the crystal with the normal component
K_n (Å⁻¹), s_g excitation error (Å⁻¹), I_g = |ψ_g|².

Beams of other zones (`hybridfit.physics.holz`), g_z along the crystal's normal, have

    2K s_g = |q|² − |q+g|² − 2K_n(q) g_z − g_z²,        K_n(q) = √(K² − |q|²),

and, because the zones differ in their normal components, M is divided by √(1 + g_z/K) on either side [2].

Only the diagonal of M depends on the direction q; all directions share the potential.  The exponential is
therefore expanded in Chebyshev polynomials of M [1], which need only products of one shared matrix with the
block of all directions:

    exp(iHt) ψ = e^{ict} Σ_k (2 − δ_{k0}) i^k J_k(rt) T_k((H − c)/r) ψ,       H = πM/K_n,

with [c − r, c + r] around the spectrum of Re H.  The series is exact to the precision of
the arithmetic; one recursion serves every thickness of a segment.  Absorption takes the levels
E of H off the real axis, where |T_k| grows as ρᵏ, ρ = |z + √(z² − 1)|, z = (E − c)/r: terms that
must cancel.  Heavy columns absorb so much that their segments are made shorter.

Beams far from the Ewald sphere hold little intensity but bend the strong ones.  `physics.folding` puts them
into a smaller problem, which neighbouring directions, those of a tile, share.

.. [1] Tal-Ezer & Kosloff, J. Chem. Phys. 81 (1984) 3967.
.. [2] Lewis, Villagrana & Metherell, Acta Cryst. A34 (1978) 138.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.physics.folding import Fold, fold, strong_radius
from hybridfit.physics.higher_zones import higher_zone_potential
from hybridfit.physics.projection import Projection
from hybridfit.physics.scattering import wavelength
from hybridfit.physics.settings import SOLVE
from hybridfit.physics.solver import Solver, resolve_device
from hybridfit.physics.structure_factors import structure_factors

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DynamicalMatrix:
    """M of one crystal, zone axis and energy, split into its shared and its diagonal part.

    Attributes
    ----------
    potential : (b, b) complex array
        U_{g−h} + iU'_{g−h}, with iU'_0 on the diagonal (Å⁻²); what `folded` adds to it is in it.
    g : (b, 2) array
        Beams in the crystal frame (Å⁻¹); the first is (0, 0).
    k_n : float
        Normal component of the wavevector inside the crystal, taken as K = √(λ⁻² + U_0) (Å⁻¹).
    g_z : (b,) array, optional
        Of beams of other zones; the potential then is the one that has been divided (see above).
    radii : (float, float), optional
        Of a folded one, R and F of `physics.folding` (Å⁻¹).
    kept : int, optional
        How many beams a folded one hands out.
    tile : float, Å⁻¹
        How wide the squares are whose directions share what a folded one folds.
    overlap : float
        Of its weak beams with the strong ones, at most; else all are folded on the axis.
    """

    potential: NDArray[np.complex128]
    g: Array
    k_n: float
    g_z: Array | None = None
    radii: tuple[float, float] | None = None
    kept: int | None = None
    tile: float = SOLVE.tile
    overlap: float = SOLVE.most_overlap

    @classmethod
    def of(
        cls,
        projection: Projection,
        beams: NDArray[np.int64],
        energy_kv: float,
        *,
        higher_zones: bool = False,
    ) -> DynamicalMatrix:
        """Build the matrix for the beams (n₁, n₂) of a projection.

        With higher_zones, what the zones above and below do to these beams is in the potential
        (`hybridfit.physics.higher_zones`).
        """
        differences = beams[:, None, :] - beams[None, :, :]
        span = np.ptp(beams, axis=0)
        unique = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in span), indexing="ij"), axis=-1)
        where = tuple(np.moveaxis(differences + span, -1, 0))
        used = np.zeros(unique.shape[:2], bool)
        used[where] = True
        factors: NDArray[np.complex128] = np.zeros((2, *used.shape), np.complex128)
        hkl = unique[used] @ projection.basis_hkl
        factors[:, used] = structure_factors(projection.crystal, hkl, energy_kv)
        if higher_zones:
            factors[0, used] += higher_zone_potential(projection, unique[used], energy_kv)
        elastic, absorptive = factors[0][where], factors[1][where]
        zero, _ = structure_factors(projection.crystal, np.zeros((1, 3), np.int64), energy_kv)
        u_0 = float(zero.real.sum())
        np.fill_diagonal(elastic, 0)
        if not np.isfinite([elastic, absorptive]).all():
            raise RecipeError("the potential is not finite; check occupancies and B in the CIF")
        k = np.sqrt(wavelength(energy_kv) ** -2 + u_0)
        return cls(elastic + 1j * absorptive, beams @ projection.basis, float(k))

    def folded(
        self,
        keep: int,
        outer: float = np.inf,
        share: float = SOLVE.strong,
        weak: float = SOLVE.weak,
        overlap: float = SOLVE.most_overlap,
    ) -> DynamicalMatrix:
        """The matrix to be solved with its far beams folded into the potential, at every direction anew.

        Parameters
        ----------
        keep : int
            So many beams are as if they were strong, on the axis.
        outer : float, Å⁻¹
            Beams with 2K s_g < −outer² are left out.
        share : float
            Beams up to this share of the longest of them are strong indeed;
        weak : float
            or up to the root of so many times the largest |U|, if that is more.
        overlap : float
            Weak beams overlap with the strong ones by so much at most, or all are folded on the axis.
        """
        if keep >= len(self.g):
            return self
        longest = float(np.linalg.norm(self.g[:keep], axis=1).max())
        radius = strong_radius(longest, weak * self.coupling(), share)
        tile = self.tile * min(1.0, radius / SOLVE.whole_tile) ** 2
        return replace(self, radii=(radius, max(outer, radius)), kept=keep, tile=tile, overlap=overlap)

    def folded_roughly(self, keep: int, outer: float = np.inf) -> DynamicalMatrix:
        """The same for what is needed to per cents only: no beams are strong but the first `keep`."""
        return self.folded(keep, outer, share=1.0, weak=0.0, overlap=SOLVE.rough_overlap)

    def coupling(self) -> float:
        """The largest |U + iU'| between two beams (Å⁻²)."""
        return float(np.abs(self.potential - np.diag(np.diag(self.potential))).max(initial=0.0))

    @property
    def count(self) -> int:
        """How many beams it hands out."""
        return len(self.g) if self.kept is None else self.kept

    def excitation(self, q: Array) -> Array:
        """2K s_g for directions q (d, 2) in Å⁻¹, divided as the potential is: a (b, d) array (Å⁻²)."""
        zero: Array = -(2 * self.g @ q.T + (self.g**2).sum(axis=1)[:, None])
        if self.g_z is None:
            return zero
        g_z = self.g_z[:, None]
        normal = np.sqrt(self.k_n**2 - (q**2).sum(axis=1))
        return (zero - 2 * g_z * normal - g_z**2) / (1 + g_z / self.k_n)

    def levels(self) -> NDArray[np.complex128]:
        """Eigenvalues of M on the zone axis (Å⁻²), of the beams of the zero-order zone."""
        zero = slice(None) if self.g_z is None else np.flatnonzero(self.g_z == 0)
        m = (self.potential - np.diag((self.g**2).sum(axis=1)))[zero][:, zero]
        return np.asarray(np.linalg.eigvals(m), np.complex128)

    def on_axis(self, least: int = 0) -> DynamicalMatrix:
        """The matrix of the first beams with the others folded at q = 0 for every direction, without S.

        Its beams are as many as it hands out, or `least`, if that is more.
        """
        length2, count = (self.g**2).sum(axis=1), max(self.count, least)
        outer = np.inf if self.radii is None else self.radii[1] + 1e-9
        strong, weak = slice(count), np.flatnonzero(length2[count:] <= outer**2) + count
        m_ww = self.potential[weak][:, weak] - np.diag(length2[weak])
        through = np.linalg.solve(m_ww, self.potential[weak, strong])
        potential = self.potential[strong, strong] - self.potential[strong, weak] @ through
        return DynamicalMatrix(potential, self.g[strong], self.k_n)

    def fold(
        self, middle: Array, potential: torch.Tensor, wanted: int | float, to_own: Array | None = None
    ) -> Fold:
        """What directions about a middle (2,), Å⁻¹, share; the potential is this one's, as it is to be used.

        Parameters
        ----------
        wanted : int or float
            As of `folding.fold`.
        to_own : (2, 2) array, optional
            Directions of this crystal from those of one that it is a strained one of, whose middle it is.
        """
        assert self.radii is not None
        if to_own is None:
            near = own = self.excitation(middle[None])[:, 0]
        else:
            other = replace(self, g=self.g @ np.linalg.inv(to_own))
            near, own = other.excitation(middle[None])[:, 0], self.excitation((middle @ to_own)[None])[:, 0]
        return fold(potential, own, self.radii, wanted, near)


def beam_intensities(
    matrix: DynamicalMatrix,
    q: Array,
    thickness_nm: Array,
    *,
    keep: int | None = None,
    device: str = "auto",
    dtype: torch.dtype = torch.complex64,
    levels: NDArray[np.complex128] | None = None,
    strain: Array | None = None,
    surface: NDArray[np.complex128] | None = None,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32] | Array:
    """Beam intensities for every thickness, beam and direction.

    Parameters
    ----------
    matrix : DynamicalMatrix
    q : (d, 2) array
        Transverse components of the incident directions in the crystal frame (Å⁻¹).
    thickness_nm : (m,) array, increasing
    keep : int, optional
        Return only the first so many beams; all of them take part.
    device, dtype
        Where and how precisely to compute: complex64 gives float32 intensities, good to 1e-4
        of the incident intensity; complex128 gives float64.
    levels : complex array, optional
        `DynamicalMatrix.levels`, where they are known already.
    strain : (2, 2) array, optional
        What makes directions (rows) of this crystal from those of one that it is a strained one of: both have
        the same tiles.
    surface : (b, b) complex array, optional
        E of a slab that is cut at some height (`physics.termination`); without it, of the mean crystal.
        Not of a folded matrix.
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    (m, keep, d) array; the incident intensity is 1.

    Raises
    ------
    RecipeError
        The potential, or g_max, is so large that no expansion of a useful length holds it.
    """
    keep = matrix.count if keep is None else keep
    out = np.empty((len(thickness_nm), keep, len(q)), np.float32 if dtype == torch.complex64 else float)

    def fill(rows: slice, batch: NDArray[np.intp], beams: NDArray[np.intp], psi: torch.Tensor) -> None:
        out[rows, :, batch] = (psi.real**2 + psi.imag**2).cpu().numpy()

    solver = Solver(matrix, thickness_nm, device=device, dtype=dtype, keep=keep, levels=levels)
    solver.surface = surface
    solver.solve(fill, q, strain=strain, progress=progress)
    return out


def beam_amplitudes(
    matrix: DynamicalMatrix,
    q: Array,
    thickness_nm: Array,
    *,
    device: str = "auto",
    dtype: torch.dtype = torch.complex64,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.complexfloating]:
    """Beam amplitudes ψ_g for every thickness, beam and direction: a (m, b, d) complex array.

    Parameters and errors are those of `beam_intensities`.
    """
    kind = np.complex64 if dtype == torch.complex64 else np.complex128
    out = np.empty((len(thickness_nm), matrix.count, len(q)), kind)

    def fill(rows: slice, batch: NDArray[np.intp], beams: NDArray[np.intp], psi: torch.Tensor) -> None:
        out[rows, :, batch] = psi.cpu().numpy()

    Solver(matrix, thickness_nm, device=device, dtype=dtype, keep=matrix.count).solve(
        fill, q, progress=progress
    )
    return out


__all__ = ["DynamicalMatrix", "beam_amplitudes", "beam_intensities", "resolve_device"]
