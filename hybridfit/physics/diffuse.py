"""Thermal diffuse scattering: one event at a vibrating atom, elastic scattering before and after.

An atom j, displaced by u from r_j, scatters incoherently by what its phase differs from the mean one,
δφ = φ(R − u) − ⟨φ⟩.  The elastic wave ψ_q(R; z) reaches its depth z from the incident direction q, and the
wave χ_p(R; t − z) leaves from there in the direction p.  The diffuse intensity per solid angle is

    D(p; q, t) = 1/V Σ_j o_j ∫₀ᵗ dz ⟨|∫ d²R χ_p(R; t − z) δφ_j(R) ψ_q(R; z)|²⟩,

V the volume of the cell, o_j the occupancy.  By reciprocity χ_p is the elastic wave of the incident direction
−p through t − z.  Both waves are those of the absorptive potential: electrons that are scattered diffusely
twice are missing, a tenth of all in SrTiO3 of 30 nm.

For Einstein's independent Gaussian displacements of variance σ² = B/8π² the mean is a sum over derivatives of
the smeared phase φ̄ (Hermite's expansion):

    ⟨|…|²⟩ = Σ_{n ≠ 0} σ^{2|n|}/(n_x! n_y!) |∫ d²R χ_p ∂ⁿφ̄_j ψ_q|²,          n = (n_x, n_y).

In a thin crystal it is the kinematic f² (1 − e^{−2Bs²}).  φ is a sum of Gaussians: its derivatives are known.

The integral over R is taken on points around the atom.  Both waves are projected there on a few functions
that hold plane waves (their principal components), which makes it a product of small matrices,

    D ∝ ∫ dz Σ_n |χᵀ K_n ψ|² = ∫ dz s(q, z)·w(p, t − z),        s, w the products of two components each.

Of the functions, and then of these products, only those combinations are kept that the product holds
(balanced truncation [1]: the singular values of the product of both covariances): some ten, and some tens.
The integral over depths is a convolution.

Symbols: q, p transverse wavevectors (Å⁻¹), B (Å²), s = g/2.  Sources: Hall & Hirsch, Proc. R. Soc. A 286
(1965) 158; Rossouw & Bursill, Acta Cryst. A41 (1985) 320; Forbes et al., Phys. Rev. B 82 (2010) 104103.

.. [1] Moore, IEEE Trans. Autom. Control 26 (1981) 17.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import factorial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.polynomial.hermite import hermval
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from hybridfit.physics.bloch import DynamicalMatrix
from hybridfit.physics.projection import Projection
from hybridfit.physics.scattering import (
    lorentz_factor,
    scattering_factor_coefficients,
    wavelength,
)
from hybridfit.physics.settings import DIFFUSE
from hybridfit.physics.solver import Solver

Array = NDArray[np.float64]
EXITS, KAPPAS, SAMPLED = 128, 2048, 400  # at a time, to save memory
SAME = 1e-6  # Å⁻¹: wavevectors that differ by less are one
REGULAR = 3e-7  # of covariances, which are singular and rounded to single precision
SOLVED = 0.2  # of the time, for the waves on either side


@dataclass(frozen=True)
class Site:
    """Atoms that lie behind each other in the projection, of one element and B.

    at : (2,) Å, in the crystal frame
    count : atoms in the cell, weighted with their occupancy
    """

    element: str
    debye_waller: float
    at: Array
    count: float


def sites_of(projection: Projection) -> list[Site]:
    """The vibrating columns of the projected cell."""
    crystal = projection.crystal
    # n₁, n₂ of the projected position: its phase with g₁ and g₂
    across = crystal.positions @ projection.basis_hkl.T
    cell = np.linalg.inv(projection.basis).T  # rows: the projected cell (Å)
    found: dict[tuple[Any, ...], Site] = {}
    for j, element in enumerate(crystal.elements):
        b = float(crystal.debye_waller[j])
        place = (across[j] + 1e-6) % 1 - 1e-6
        key = element, round(b, 6), *place.round(4)
        old = found.get(key)
        count = float(crystal.occupancies[j]) + (old.count if old else 0.0)
        found[key] = Site(element, b, place @ cell, count)
    return [site for site in found.values() if site.debye_waller > 0 and site.count > 0]


def diffuse_intensity(
    projection: Projection,
    matrix: DynamicalMatrix,
    energy_kv: float,
    incident: Array,
    exits: Array,
    thickness_nm: Array,
    *,
    lost: float = 1.0,
    device: str = "auto",
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32]:
    """Diffuse intensity per solid angle, D(p; q, t).

    Parameters
    ----------
    projection : Projection
    matrix : DynamicalMatrix
        Of the elastic waves, with absorption.
    energy_kv : float
    incident : (m, 2) array, Å⁻¹
        Incident directions q in the crystal frame.
    exits : (n, 2) array, Å⁻¹
        Directions p in which the electrons leave.
    thickness_nm : (k,) array, nm
        Equally spaced from the spacing on; the spacing is the step of the integral over depth.
    lost : float
        Of what combinations hold so many times as much may be left out as of libraries.
    device : str
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    (k, m, n) float32 array, mrad⁻²; the incident intensity is 1.
    """
    thickness_nm = np.asarray(thickness_nm, float)
    step = float(thickness_nm[0])
    if not np.allclose(np.diff(thickness_nm), step, rtol=1e-6):
        raise ValueError("thicknesses must be equally spaced, from their spacing on")
    to_mrad = 1e3 * wavelength(energy_kv)
    longest = DIFFUSE.longest if matrix.radii else float(np.linalg.norm(matrix.g, axis=1).max())
    waves = [
        _Waves.of(matrix, each, thickness_nm, longest, device, _share(progress, i * SOLVED, SOLVED))
        for i, each in enumerate((incident, -exits))
    ]
    pairs: list[_Pairs] = []
    sites = sites_of(projection)
    near: dict[tuple[str, float], _Near] = {}
    for i, site in enumerate(sites):
        kind = site.element, site.debye_waller
        if kind not in near:
            near[kind] = _Near.of(site, energy_kv, longest, waves)
        scale = site.count * 10 * step / projection.crystal.volume / to_mrad**2
        pairs.append(_pairs_of(near[kind], site, waves, scale, lost))
        if progress is not None:
            progress(2 * SOLVED + (0.9 - 2 * SOLVED) * (i + 1) / len(sites))
    out = np.zeros((len(thickness_nm), len(incident), len(exits)), np.float32)
    depths = len(thickness_nm) + 1
    padded = next_fast_len(2 * depths, real=True)
    sources = [rfft(each.source, padded, axis=0).transpose(0, 2, 1) for each in pairs]
    for first in range(0, len(exits), EXITS):
        part = slice(first, first + EXITS)
        met: Any = 0
        for each, source in zip(pairs, sources, strict=True):
            # (frequency, exit, pair) @ (frequency, pair, incident)
            met = met + np.matmul(rfft(each.ways(part), padded, axis=0), source)
        out[:, :, part] = irfft(met, padded, axis=0)[1:depths].transpose(0, 2, 1)
    return out


def _share(progress: Callable[[float], None] | None, before: float, share: float) -> Any:
    return None if progress is None else lambda fraction: progress(before + share * fraction)


class _Waves(NamedTuple):
    """Amplitudes of batches of directions: which they are, κ = g + q (Å⁻¹), amplitudes (d, depth, beam)."""

    directions: list[NDArray[np.intp]]
    kappa: list[Array]
    amplitudes: list[torch.Tensor]

    @classmethod
    def of(
        cls,
        matrix: DynamicalMatrix,
        q: Array,
        thickness_nm: Array,
        longest: float,
        device: str,
        progress: Any,
    ) -> _Waves:
        solver = Solver(
            matrix, thickness_nm, device=device, dtype=torch.complex64, tile=DIFFUSE.tile, handed=longest
        )
        known: dict[int, tuple[NDArray[np.intp], Array, torch.Tensor]] = {}

        def fill(rows: slice, batch: Any, beams: Any, psi: torch.Tensor) -> None:
            if batch[0] not in known:
                amplitudes = torch.zeros((len(batch), len(thickness_nm) + 1, len(beams)), dtype=psi.dtype)
                amplitudes[:, 0, 0] = 1
                known[batch[0]] = batch, matrix.g[beams][None] + q[batch][:, None], amplitudes
            known[batch[0]][2][:, rows.start + 1 : rows.stop + 1] = psi.cpu().permute(2, 0, 1)

        solver.solve(fill, q, progress=progress)
        return cls(*(list(each) for each in zip(*(known[i] for i in sorted(known)), strict=True)))

    @property
    def number(self) -> int:
        """How many directions there are."""
        return sum(map(len, self.directions))


class _Near(NamedTuple):
    """Functions near atoms of a kind, what waves are in them, and the kernels K_n between them.

    places : of each of both waves, of each batch: rows of table (d, beam)
    table : (κ, f) complex64
    kernels : (n, f, f) float32
    """

    places: list[list[NDArray[np.intp]]]
    table: torch.Tensor
    kernels: torch.Tensor

    @classmethod
    def of(cls, site: Site, energy_kv: float, longest: float, waves: Sequence[_Waves]) -> _Near:
        orders = [
            (n, m) for total in range(1, DIFFUSE.orders + 1) for n in range(total + 1) for m in [total - n]
        ]
        points = _points()
        kernels = phase_derivatives(site, energy_kv, orders, points)
        weight = np.sqrt((kernels**2).sum(axis=0)) ** 0.5
        functions = _functions(points, weight, longest)
        area = DIFFUSE.spacing**2
        between = np.stack([(functions * (each / weight**2 * area)) @ functions.T for each in kernels])
        # directions and beams are on common grids: many have the same κ
        every = [each for wave in waves for each in wave.kappa]
        keys = np.concatenate([np.rint(each / SAME).astype(np.int64).reshape(-1, 2) for each in every])
        _, first, inverse = np.unique(
            keys[:, 0] * (1 << 32) + keys[:, 1], return_index=True, return_inverse=True
        )
        kappa = np.concatenate([each.reshape(-1, 2) for each in every])[first]
        table = np.empty((len(kappa), len(functions)), np.complex64)
        back = np.ascontiguousarray((functions * weight).T, np.complex64)
        for some in range(0, len(kappa), KAPPAS):
            turn = np.exp((2j * np.pi * (kappa[some : some + KAPPAS] @ points.T)).astype(np.complex64))
            table[some : some + KAPPAS] = turn @ back
        ends = np.cumsum([each[..., 0].size for each in every])
        rows = [
            part.reshape(each.shape[:2])
            for part, each in zip(np.split(inverse.ravel(), ends[:-1]), every, strict=True)
        ]
        counts = len(waves[0].kappa)
        return cls(
            [rows[:counts], rows[counts:]],
            torch.as_tensor(table),
            torch.as_tensor(between.astype(np.float32)),
        )

    def projected(self, which: int, wave: _Waves, site: Site) -> torch.Tensor:
        """(direction, depth, f) components of waves near an atom."""
        depths = wave.amplitudes[0].shape[1]
        out = torch.empty((wave.number, depths, self.table.shape[1]), dtype=torch.complex64)
        for batch, kappa, amplitudes, rows in zip(*wave, self.places[which], strict=True):
            turn = torch.as_tensor(np.exp(2j * np.pi * (kappa @ site.at)).astype(np.complex64))
            out[torch.as_tensor(batch)] = torch.bmm(
                amplitudes, turn[..., None] * self.table[torch.as_tensor(rows)]
            )
        return out


@dataclass(frozen=True)
class _Pairs:
    """What a site scatters, s(q, z), and how electrons leave it, w(p, z), in the pairs that were kept.

    source : (depth, incident, pair)
    left : (exit, depth, r) components, of which `to_pairs` (2r², pair) makes w
    """

    source: NDArray[np.float32]
    left: torch.Tensor
    to_pairs: torch.Tensor

    def ways(self, part: slice) -> NDArray[np.float32]:
        """(depth, exit, pair) of some exits; at depth 0 half of it, as the trapezoidal rule has it."""
        left = self.left[part]
        outer = torch.view_as_real(left.conj()[..., None] * left[..., None, :])
        out = (outer.flatten(-3) @ self.to_pairs).transpose(0, 1).contiguous()
        out[0] *= 0.5
        return out.numpy()


def _pairs_of(near: _Near, site: Site, waves: Sequence[_Waves], scale: float, lost: float) -> _Pairs:
    """The sources and the ways of a site.

    With χ = Σ_a χ_a f_a near the atom, Σ_n |Σ_ab χ_a K_n,ab ψ_b|² = Σ_aa' χ_a χ*_a' ρ_aa': a product of real
    matrices, however many derivatives n there are.
    """
    psi, chi = (near.projected(i, each, site) for i, each in enumerate(waves))
    sources = torch.stack([psi @ kernel.T for kernel in near.kernels.to(torch.complex64)], dim=-2)
    flat = [each.reshape(-1, each.shape[-1]) for each in (sources, chi.conj())]
    given, taken = (each.mT @ each.conj() for each in flat)
    of_source, of_chi = _balanced(given, taken, lost * DIFFUSE.functions_lost)
    sources, chi = sources @ of_source.mT, chi @ of_chi
    source = _pairs(sources.mT @ sources.conj(), 1.0)  # (incident, depth, pair)
    some = chi[:: max(1, len(chi) // SAMPLED)].conj()
    ways = _pairs(some[..., None] * some.conj()[..., None, :], 2.0)
    flat = [each.reshape(-1, each.shape[-1]) for each in (source, ways)]
    of_source, of_way = _balanced(flat[0].mT @ flat[0], flat[1].mT @ flat[1], lost * DIFFUSE.pairs_lost)
    given_off = (scale * (source @ of_source.mT)).transpose(0, 1).numpy().copy()
    # the trapezoidal rule: half weight at the entrance, and at the exit
    given_off[0] *= 0.5
    return _Pairs(given_off, chi, _whole(of_way, chi.shape[-1], 2.0))


def _balanced(given: torch.Tensor, taken: torch.Tensor, lost: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What of x†v is to be kept: T (r, f) v and x† Q (f, r); v has the covariance `given` and x has `taken`.

    lost : share of the square of x†v that may be lost
    """
    roots = []
    for each in (given, taken):
        double = each.to(torch.complex128 if each.is_complex() else torch.float64)
        some = float(double.diagonal().real.sum()) * REGULAR
        roots.append(torch.linalg.cholesky(double + some * torch.eye(len(each), dtype=double.dtype)))
    product = roots[1].mH @ roots[0]
    levels, vectors = torch.linalg.eigh(product.mH @ product)
    levels, vectors = levels.flip(0).clamp(min=0), vectors.flip(1)
    rest = 1 - torch.cumsum(levels, 0) / levels.sum()
    r = int((rest > lost).sum()) + 1
    s, v = levels[:r].sqrt(), vectors[:, :r]
    left = ((product @ v) / s**1.5).mH @ roots[1].mH
    right = roots[0] @ v / s.sqrt()
    return left.to(given.dtype), right.to(given.dtype)


def _pairs(products: torch.Tensor, off: float) -> torch.Tensor:
    """(…, f, f) products c_a c*_a' → (…, f²) reals that hold them, off the diagonal times `off`.

    Of two such arrays, one of them conjugated and with off = 2, Σ products = Re Σ_aa' c_a c*_a' d*_a d_a'.
    """
    count = products.shape[-1]
    a, b = torch.triu_indices(count, count, 1)
    upper = products[..., a, b] * off
    return torch.cat([products.diagonal(dim1=-2, dim2=-1).real, upper.real, upper.imag], dim=-1)


def _whole(matrix: torch.Tensor, count: int, off: float) -> torch.Tensor:
    """(2f², m) of the real and imaginary parts of all products, from (f², m) of `_pairs`."""
    out = torch.zeros((count, count, 2, matrix.shape[1]), dtype=matrix.dtype)
    a, b = torch.triu_indices(count, count, 1)
    along = torch.arange(count)
    out[along, along, 0] = matrix[:count]
    out[a, b, 0], out[a, b, 1] = (off * each for each in matrix[count:].split(len(a)))
    return out.flatten(0, 2)


def _points() -> Array:
    """(n, 2) places around an atom (Å) at which waves are multiplied with its phase."""
    count = int(DIFFUSE.reach / DIFFUSE.spacing + 1e-9)
    half = DIFFUSE.spacing * np.arange(-count, count + 1)
    x, y = np.meshgrid(half, half, indexing="ij")
    places = np.stack([x.ravel(), y.ravel()], axis=1)
    return places[np.hypot(*places.T) <= DIFFUSE.reach]


def phase_derivatives(
    site: Site, energy_kv: float, orders: Sequence[tuple[int, int]], points: Array
) -> Array:
    """σ^|n| ∂ⁿφ̄/√(n_x! n_y!) of an atom at places around it: (orders, n).

    The phase of an atom has the Fourier transform γλ f(g) e^{−Bg²/4} (Å²).
    """
    a, b = scattering_factor_coefficients(site.element)
    sigma = np.sqrt(site.debye_waller / (8 * np.pi**2))
    strength = lorentz_factor(energy_kv) * wavelength(energy_kv)
    out = np.zeros((len(orders), len(points)))
    for ai, bi in zip(a, b, strict=True):
        # a e^{−(b+B)g²/4} ↔ a (4π/(b+B)) e^{−4π²R²/(b+B)}
        width = 2 * np.pi / np.sqrt(bi + site.debye_waller)
        height = strength * ai * 4 * np.pi / (bi + site.debye_waller)
        x, y = (points * width).T
        gauss = height * np.exp(-(x**2) - y**2)
        for i, (n, m) in enumerate(orders):
            hermite = hermval(x, np.eye(n + 1)[n]) * hermval(y, np.eye(m + 1)[m])
            norm = (-width * sigma) ** (n + m) / np.sqrt(factorial(n) * factorial(m))
            out[i] += norm * hermite * gauss
    return out


def _functions(points: Array, weight: Array, longest: float) -> Array:
    """(function, point): what holds weighted plane waves to a length (Å⁻¹), whatever the crystal.

    They have the symmetry of the points: crystals that are each other's images have images as results.
    """
    n = np.arange(-int(longest / DIFFUSE.wave_step), int(longest / DIFFUSE.wave_step) + 1)
    kappa = DIFFUSE.wave_step * np.stack(np.meshgrid(n, n, indexing="ij"), axis=-1).reshape(-1, 2)
    length = np.linalg.norm(kappa, axis=1)
    kappa, length = kappa[length <= longest], length[length <= longest]
    height = 1 / (1 + (length / DIFFUSE.wave_width) ** 2)
    waves = height[:, None] * np.exp(2j * np.pi * (kappa @ points.T)) * weight
    overlap = (waves.T @ waves.conj()).real  # (point, point): the waves of κ and −κ add to a real matrix
    levels, vectors = np.linalg.eigh(overlap)
    return np.asarray(vectors[:, levels > DIFFUSE.smallest**2 * levels[-1]].T, np.float64)
