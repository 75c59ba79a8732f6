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

and, because the zones differ in their normal components, M is divided by √(1 + g_z/K) on either side [3].

Only the diagonal of M depends on the direction q; all directions share the potential.  The exponential is
therefore expanded in Chebyshev polynomials of M [1], which need only products of one shared matrix with the
block of all directions:

    exp(iHt) ψ = e^{ict} Σ_k (2 − δ_{k0}) i^k J_k(rt) T_k((H − c)/r) ψ,       H = πM/K_n,

with [c − r, c + r] around the spectrum of Re H.  The series is exact to the precision of
the arithmetic; one recursion serves every thickness of a segment.  Absorption takes the levels
E of H off the real axis, where |T_k| grows as ρᵏ, ρ = |z + √(z² − 1)|, z = (E − c)/r: terms that
must cancel.  Heavy columns absorb so much that their segments are made shorter.

Beams w far from the Ewald sphere hold little intensity but bend the strong ones s.  Their
amplitudes follow at once, ψ_w = −(M_ww)⁻¹ M_ws ψ_s, which leaves a smaller problem [2],

    M_ss → M_ss − M_sw (M_ww)⁻¹ M_ws,

with M_ww taken at the middle of a tile of neighbouring directions, which share the potential.

.. [1] Tal-Ezer & Kosloff, J. Chem. Phys. 81 (1984) 3967.
.. [2] Bethe, Ann. Phys. 392 (1928) 55; Ichimiya, Jpn. J. Appl. Phys. 22 (1983) 176.
.. [3] Lewis, Villagrana & Metherell, Acta Cryst. A34 (1978) 138.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.physics.chebyshev import check_length, coefficients, propagate, segment_length, segments
from hybridfit.physics.higher_zones import higher_zone_potential
from hybridfit.physics.projection import Projection
from hybridfit.physics.scattering import wavelength
from hybridfit.physics.settings import SOLVE
from hybridfit.physics.structure_factors import structure_factors

Array = NDArray[np.float64]
EDGE = 1e-5  # tiles: so far off the middle between them are their edges
AMPLITUDES_PER_BATCH = 14_000  # beams × directions in flight: what stays in a CPU's cache


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
    whole : DynamicalMatrix, optional
        Of a folded one: the matrix with the weak beams.
    """

    potential: NDArray[np.complex128]
    g: Array
    k_n: float
    g_z: Array | None = None
    whole: DynamicalMatrix | None = None

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
        unique, where = np.unique(differences.reshape(-1, 2), axis=0, return_inverse=True)
        factors = structure_factors(projection.crystal, unique @ projection.basis_hkl, energy_kv)
        elastic, absorptive = (f[where].reshape(differences.shape[:2]) for f in factors)
        u_0 = elastic[0, 0].real
        if higher_zones:
            elastic += higher_zone_potential(projection, unique, energy_kv)[where].reshape(elastic.shape)
        np.fill_diagonal(elastic, 0)
        if not np.isfinite([elastic, absorptive]).all():
            raise RecipeError("the potential is not finite; check occupancies and B in the CIF")
        k = np.sqrt(wavelength(energy_kv) ** -2 + u_0)
        return cls(elastic + 1j * absorptive, beams @ projection.basis, float(k))

    def folded(self, keep: int) -> DynamicalMatrix:
        """The matrix of the first `keep` beams, with the others folded into its potential at q = 0.

        All of them are of the zero-order zone.  A solve folds them again at the directions it is about.
        """
        return DynamicalMatrix(self._folded_at(keep, np.zeros(2)), self.g[:keep], self.k_n, whole=self)

    def at(self, q: Array) -> DynamicalMatrix:
        """A folded matrix with the weak beams folded at a direction q (2,), Å⁻¹, once and for all."""
        if self.whole is None:
            return self
        potential = self.whole._folded_at(len(self.g), np.asarray(q, float))
        return DynamicalMatrix(potential, self.g, self.k_n)

    def _folded_at(self, keep: int, q: Array) -> NDArray[np.complex128]:
        strong, weak = slice(keep), slice(keep, None)
        g2 = (self.g[weak] ** 2).sum(axis=1)
        q = q * self._room(keep, q)
        m_ww = self.potential[weak, weak] - np.diag(g2 + 2 * self.g[weak] @ q)
        through = np.linalg.solve(m_ww, self.potential[weak, strong])
        return np.asarray(self.potential[strong, strong] - self.potential[strong, weak] @ through)

    def _coupling(self) -> float:
        """The largest |U + iU'| between two beams (Å⁻²)."""
        return float(np.abs(self.potential - np.diag(np.diag(self.potential))).max(initial=0.0))

    def _room(self, keep: int, q: Array) -> float:
        """The share of q at which beams from `keep` on may be folded: at more, some are excited."""
        g = self.g[keep:]
        g2 = (g**2).sum(axis=1)
        nearest = max(SOLVE.nearest * float(g2.min(initial=np.inf)), SOLVE.nearest_coupled * self._coupling())
        against = -2 * g @ q
        room = np.maximum(g2 - nearest, 0)[against > 0] / against[against > 0]
        return float(room.min(initial=1.0))

    def follows(self, q: Array) -> bool:
        """Whether weak beams are to be folded at every direction q (d, 2), not at q = 0."""
        keep, whole = len(self.g), self.whole
        if whole is None or len(whole.g) == keep:
            return False
        if (whole.g[keep:] ** 2).sum(axis=1).min() < SOLVE.weak * whole._coupling():
            return False
        return min(whole._room(keep, each) for each in _outermost(q)) >= SOLVE.least_room

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
        m = self.potential[zero][:, zero] - np.diag((self.g[zero] ** 2).sum(axis=1))
        return np.asarray(np.linalg.eigvals(m), np.complex128)


def resolve_device(device: str) -> torch.device:
    """The torch device for "auto" (a GPU if there is one), "cpu", "cuda", …"""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def beam_intensities(
    matrix: DynamicalMatrix,
    q: Array,
    thickness_nm: Array,
    *,
    keep: int | None = None,
    device: str = "auto",
    dtype: torch.dtype = torch.complex64,
    levels: NDArray[np.complex128] | None = None,
    like: Array | None = None,
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
    like : (d, 2) array, optional
        The same directions of a crystal that this one is a strained one of: both have the same tiles.
    surface : (b, b) complex array, optional
        E of a slab that is cut at some height (`physics.termination`); without it, of the mean crystal.
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
    shape = len(thickness_nm), len(matrix.g) if keep is None else keep, len(q)
    out = np.empty(shape, np.float32 if dtype == torch.complex64 else float)

    def fill(rows: slice, batch: NDArray[np.intp], psi: torch.Tensor) -> None:
        out[rows, :, batch] = (psi.real**2 + psi.imag**2).cpu().numpy()

    _solve(
        fill,
        matrix,
        (q, q if like is None else like),
        thickness_nm,
        shape[1],
        device,
        dtype,
        levels,
        progress,
        surface,
    )
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
    out = np.empty((len(thickness_nm), len(matrix.g), len(q)), kind)

    def fill(rows: slice, batch: NDArray[np.intp], psi: torch.Tensor) -> None:
        out[rows, :, batch] = psi.cpu().numpy()

    _solve(fill, matrix, (q, q), thickness_nm, len(matrix.g), device, dtype, None, progress)
    return out


def _solve(
    fill: Callable[[slice, NDArray[np.intp], torch.Tensor], None],
    matrix: DynamicalMatrix,
    directions: tuple[Array, Array],
    thickness_nm: Array,
    keep: int,
    device: str,
    dtype: torch.dtype,
    levels: NDArray[np.complex128] | None,
    progress: Callable[[float], None] | None,
    surface: NDArray[np.complex128] | None = None,
) -> None:
    """Hand the amplitudes (rows, keep, batch) of runs of thicknesses and batches of directions to `fill`."""
    q, like = directions
    to_own = np.linalg.lstsq(like, q, rcond=None)[0] if like is not q else np.eye(2)
    thickness_nm = np.asarray(thickness_nm, dtype=float)
    where = resolve_device(device)
    excitation = matrix.excitation(q)
    follows = matrix.follows(q)
    low, high = _bounds(matrix, _outermost(q) if follows else q[:0])
    low, high = excitation.min() + low, excitation.max() + high
    c, r = (low + high) / 2, SOLVE.margin * (high - low) / 2
    rate = np.pi / matrix.k_n * 10  # Å⁻² → rad/nm
    levels = matrix.levels() if levels is None else levels
    length = segment_length(levels, c, r, rate)
    check_length(length, rate * r, float(thickness_nm[-1]))
    runs = segments(thickness_nm, length)
    series = [coefficients(times, rate * c, rate * r, dtype, where) for _, times in runs]
    batch_size = max(16, AMPLITUDES_PER_BATCH // len(matrix.g)) if where.type == "cpu" else 4096
    terms = max(2, *(coefficient.shape[1] for coefficient in series))
    workspace, shared, folded_at = torch.empty(0), None, None
    done, seen = 0, keep
    if surface is not None:
        seen, inside = len(matrix.g), torch.as_tensor(np.linalg.inv(surface)[:, :1]).to(where, dtype)
        outside = torch.as_tensor(surface[:keep]).to(where, dtype)
    for batch, tile in _batches(like, batch_size, SOLVE.tile if follows else None):
        if shared is None or tile != folded_at:
            # twice the shifted and scaled matrix: T_{k+1} = 2X T_k − T_{k−1}
            potential = matrix.potential if tile is None else matrix.at(np.array(tile) @ to_own).potential
            shared, folded_at = torch.as_tensor(2 * potential / r).to(where, dtype), tile
        diagonal = torch.as_tensor(2 * (excitation[:, batch] - c) / r).to(where, dtype)
        if not done or diagonal.shape[1] != workspace.shape[2]:  # fresh pages cost more than the algebra
            workspace = torch.empty((terms, *diagonal.shape), dtype=dtype, device=where)
        psi = torch.zeros(diagonal.shape, dtype=dtype, device=where)
        if surface is None:
            psi[0] = 1
        else:
            psi += inside
        for (rows, _), coefficient in zip(runs, series, strict=True):
            psi_t, psi = propagate(psi, shared, diagonal, coefficient, workspace, seen)
            psi_t = psi_t if surface is None else outside @ psi_t
            # an empty run of rows only carries the state on to the next segment
            fill(rows, batch, psi_t[: rows.stop - rows.start])
        done += len(batch)
        if progress is not None:
            progress(done / len(q))


def _batches(
    q: Array, size: int, tile: float | None
) -> list[tuple[NDArray[np.intp], tuple[float, float] | None]]:
    """Indices of directions (d, 2), so many at most; and the middle of the tile (Å⁻¹) that they are in.

    Where a tile is does not depend on which directions there are: neither do results.
    """
    order = np.arange(len(q))
    if tile is None:
        return [(part, None) for part in np.split(order, range(size, len(q), size))]
    # the axis is in the middle of a tile, and no direction of a symmetric grid on an edge
    place = np.floor(q / tile + 0.5 + EDGE).astype(int)
    out: list[tuple[NDArray[np.intp], tuple[float, float] | None]] = []
    where, inverse = np.unique(place, axis=0, return_inverse=True)
    for i, (x, y) in enumerate(where):
        mine = order[inverse.ravel() == i]
        middle = float(x * tile), float(y * tile)
        out += [(part, middle) for part in np.split(mine, range(size, len(mine), size))]
    return out


def _outermost(q: Array) -> Array:
    """Of directions (d, 2) those that are farthest out in eight azimuths."""
    turns = np.arange(8) * np.pi / 4
    return np.unique([q[int(np.argmax(q @ (np.cos(a), np.sin(a))))] for a in turns], axis=0)


def _bounds(matrix: DynamicalMatrix, far: Array) -> tuple[float, float]:
    """The lowest and the highest level of the potential (Å⁻²), out to directions far (n, 2)."""
    levels = np.linalg.eigvalsh((matrix.potential + matrix.potential.conj().T) / 2)
    low, high = float(levels[0]), float(levels[-1])
    for each in np.concatenate([far, far / 2]):
        change = matrix.at(each).potential - matrix.potential
        size = SOLVE.margin * float(np.linalg.norm((change + change.conj().T) / 2, 2))
        low, high = min(low, levels[0] - size), max(high, levels[-1] + size)
    return low, high
