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
(`physics.truncation`): some ten, and some tens.  The integral over depths is a convolution.

Where R is a symmetry of the projection, χ_Rp is χ_p turned and moved (`Projection.mapping`): of the
directions that symmetry makes equal one is solved.

Symbols: q, p transverse wavevectors (Å⁻¹), B (Å²), s = g/2.  Sources: Hall & Hirsch, Proc. R. Soc. A 286
(1965) 158; Rossouw & Bursill, Acta Cryst. A41 (1985) 320; Forbes et al., Phys. Rev. B 82 (2010) 104103.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from hybridfit.physics.bloch import DynamicalMatrix
from hybridfit.physics.near_atoms import NearAtom, distinct
from hybridfit.physics.projection import Projection
from hybridfit.physics.scattering import wavelength
from hybridfit.physics.settings import DIFFUSE
from hybridfit.physics.solver import Solver, each_on_a_core, tiles_of
from hybridfit.physics.symmetry import images_among
from hybridfit.physics.truncation import balanced, balanced_by

Array = NDArray[np.float64]
EXITS, INCIDENT, CACHED = 64, 16, 12  # directions at a time, to save memory, or to stay in the cache
SOLVED, REDUCED = 0.2, 0.3  # of the time: for the waves that say what is kept, and for saying it


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

    @property
    def kind(self) -> tuple[str, float]:
        """What atoms that scatter alike have in common."""
        return self.element, self.debye_waller


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
    symmetry: NDArray[np.int64] | None = None,
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
    symmetry : (s, 2, 2) int array, optional
        Operations of the projection, the identity first: exits that they make equal are solved once.
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
    solver = Solver(
        matrix, thickness_nm, device=device, dtype=torch.complex64, tile=DIFFUSE.tile, handed=longest
    )
    solve = partial(_Waves.of, solver)
    tiles = _tiles(matrix, exits, np.arange(len(exits)))
    some = tiles[:: max(1, len(tiles) // DIFFUSE.sampled)]
    first, images = _solved(projection, exits, symmetry)
    sites = sites_of(projection)
    near = {kind: NearAtom(*kind, energy_kv, longest) for kind in {site.kind for site in sites}}
    padded = next_fast_len(2 * (len(thickness_nm) + 1), real=True)
    scale = 10 * step / projection.crystal.volume / to_mrad**2
    into = solve(incident, progress=_share(progress, 0, SOLVED / 2))
    out_of = solve(-exits[np.concatenate(some)], progress=_share(progress, SOLVED / 2, SOLVED / 2))
    paired = [partial(_pairs_of, near[site.kind], site, into, out_of, scale, lost) for site in sites]
    pairs = _kept(paired, padded, solver, _share(progress, SOLVED, REDUCED - SOLVED))
    del paired, into, out_of
    out = np.zeros((len(thickness_nm), len(incident), len(exits)), np.float32)

    def left(group: NDArray[np.intp]) -> int:
        turned = [each.those_of(group) for each in images]
        waves = solve(-exits[group], turned)
        met: Any = 0
        for each, site in zip(pairs, sites, strict=True):
            met = met + each.met(near[site.kind], site, waves, padded)
        leave = np.concatenate([group, *(each.are for each in turned)])
        out[:, :, leave] = torch.fft.irfft(met, padded, dim=0)[1 : len(thickness_nm) + 1].numpy()
        return len(leave)

    groups = _groups(_tiles(matrix, exits, first), max(1, EXITS * len(first) // len(exits)))
    done = 0
    for count in each_on_a_core([partial(left, group) for group in groups], solver.where):
        done += count
        if progress is not None:
            progress(REDUCED + (1 - REDUCED) * done / len(exits))
    return out


def _share(progress: Callable[[float], None] | None, before: float, share: float) -> Any:
    return None if progress is None else lambda fraction: progress(before + share * fraction)


def _kept(paired: list[partial[_Pairs]], padded: int, solver: Solver, progress: Any) -> list[_Pairs]:
    """The pairs of every site, with the transform of their sources."""
    found: list[Any] = [None] * len(paired)

    def done(i: int) -> int:
        pairs = paired[i]()
        found[i] = pairs._replace(source=torch.fft.rfft(pairs.source, padded, dim=0))
        return i

    for count, _ in enumerate(each_on_a_core([partial(done, i) for i in range(len(paired))], solver.where)):
        if progress is not None:
            progress((count + 1) / len(paired))
    return found


class _Turned(NamedTuple):
    """Directions that are others turned: waves ψ(x) of these, numbers `of`, are ψ(M⁻¹(x − t)) of `are`."""

    turn: Array
    shift: Array
    of: NDArray[np.intp]
    are: NDArray[np.intp]

    def those_of(self, group: NDArray[np.intp]) -> _Turned:
        """Those of a group of directions, `of` being numbers in the group."""
        order = np.argsort(group)
        at = np.minimum(np.searchsorted(group, self.of, sorter=order), len(group) - 1)
        within = group[order[at]] == self.of
        return self._replace(of=order[at[within]], are=self.are[within])


def _solved(
    projection: Projection, exits: Array, symmetry: NDArray[np.int64] | None
) -> tuple[NDArray[np.intp], list[_Turned]]:
    """Numbers of the exits to be solved, and what becomes of them."""
    mapped = [] if symmetry is None else [(r, projection.mapping(r)) for r in symmetry[1:]]
    known = [(r, mapping) for r, mapping in mapped if mapping is not None]
    operations = np.stack([np.eye(2, dtype=np.int64), *(r for r, _ in known)])
    first, images = np.arange(len(exits)), []
    for each in images_among(exits @ np.linalg.inv(projection.basis), operations):
        if each.operation == 0:
            first = each.of
        else:
            turn, shift = known[each.operation - 1][1]
            images.append(_Turned(turn, shift, each.of, each.are))
    return first, images


def _tiles(matrix: DynamicalMatrix, exits: Array, some: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Some of the exits by the tiles that they are solved in, or so many of them."""
    if matrix.radii is None:
        return np.array_split(some, -(-len(some) // EXITS))
    tiles = tiles_of(-exits[some], DIFFUSE.tile)
    ordered = sorted(tiles, key=lambda each: tuple(each[1] if each[1] is not None else ()))
    return [some[part] for part, _ in ordered]


def _groups(tiles: list[NDArray[np.intp]], least: int) -> list[NDArray[np.intp]]:
    """Exits whose waves are in memory at a time: those of neighbouring tiles, so many at least."""
    groups: list[NDArray[np.intp]] = []
    for tile in tiles:
        if groups and len(groups[-1]) < least:
            groups[-1] = np.concatenate([groups[-1], tile])
        else:
            groups.append(tile)
    return groups


class _Waves(NamedTuple):
    """Amplitudes of batches of directions.

    number : how many directions there are
    directions : of each batch, which they are
    amplitudes : (d, depth, beam)
    phases : (d, beam, 2) κ = g + q (Å⁻¹)
    shifts : (2,) Å, by which waves were moved
    rows : (d, beam) which of the distinct κ
    kappa, keys : the distinct κ, as `near_atoms.distinct` has them
    """

    number: int
    directions: list[NDArray[np.intp]]
    amplitudes: list[torch.Tensor]
    phases: list[Array]
    shifts: list[Array]
    rows: list[NDArray[np.intp]]
    kappa: Array
    keys: NDArray[np.int64]

    @classmethod
    def of(cls, solver: Solver, q: Array, turned: Sequence[_Turned] = (), progress: Any = None) -> _Waves:
        """The waves of incident directions q (d, 2) Å⁻¹, and after them of what is turned of these."""
        known: dict[int, tuple[NDArray[np.intp], torch.Tensor, Array, Array]] = {}
        depths = len(solver.thickness) + 1

        def fill(rows: slice, batch: Any, beams: Any, psi: torch.Tensor) -> None:
            if batch[0] not in known:
                amplitudes = torch.zeros((len(batch), depths, len(beams)), dtype=psi.dtype)
                amplitudes[:, 0, 0] = 1
                kappa = solver.matrix.g[beams][None] + q[batch][:, None]
                known[batch[0]] = batch, amplitudes, kappa, np.zeros(2)
            known[batch[0]][1][:, rows.start + 1 : rows.stop + 1] = psi.cpu().permute(2, 0, 1)

        solver.solve(fill, q, progress=progress)
        solved = [known[i] for i in sorted(known)]
        batches, number = list(solved), len(q)
        for each in turned:
            to = np.full(len(q), -1)
            to[each.of] = np.arange(number, number + len(each.of))
            number += len(each.of)
            for batch, amplitudes, kappa, _ in solved:
                seen = np.flatnonzero(to[batch] >= 0)
                if len(seen):
                    own = amplitudes if len(seen) == len(batch) else amplitudes[torch.as_tensor(seen)]
                    batches.append((to[batch[seen]], own, kappa[seen] @ each.turn.T, each.shift))
        directions, waves, phases, shifts = (list(each) for each in zip(*batches, strict=True))
        kappa, keys, which = distinct(np.concatenate([each.reshape(-1, 2) for each in phases]))
        ends = np.cumsum([each[..., 0].size for each in phases])
        rows = [
            part.reshape(each.shape[:2])
            for part, each in zip(np.split(which, ends[:-1]), phases, strict=True)
        ]
        return cls(number, directions, waves, phases, shifts, rows, kappa, keys)

    def near(self, atom: NearAtom, site: Site, kept: torch.Tensor | None = None) -> torch.Tensor:
        """(direction, depth, f) components near a site; with kept (f, r), of combinations of them."""
        table = torch.as_tensor(atom.components(self.kappa, self.keys))
        table = table if kept is None else table @ kept
        out = torch.empty((self.number, self.amplitudes[0].shape[1], table.shape[1]), dtype=table.dtype)
        for batch, amplitudes, kappa, shift, rows in zip(*self[1:6], strict=True):
            phase = np.exp(2j * np.pi * (kappa @ (site.at - shift)))
            turn = torch.as_tensor(phase.astype(np.complex64))
            out[torch.as_tensor(batch)] = torch.bmm(
                amplitudes, turn[..., None] * table[torch.as_tensor(rows)]
            )
        return out


class _Pairs(NamedTuple):
    """What a site scatters, s(q, z), and how electrons leave it, w(p, z), in the pairs that were kept.

    source : (depth, incident, pair); then its transform, (frequency, incident, pair)
    kept : (f, r) what of the components of waves is kept
    to_pairs : (r², pair) makes w of the products of two of these, as `_products` has them
    """

    source: torch.Tensor
    kept: torch.Tensor
    to_pairs: torch.Tensor

    def met(self, atom: NearAtom, site: Site, waves: _Waves, padded: int) -> torch.Tensor:
        """(frequency, incident, exit) of the convolution over depths."""
        left = waves.near(atom, site, self.kept)
        ways = torch.cat([_products(each) @ self.to_pairs for each in left.conj().split(CACHED)])
        ways[:, 0] *= 0.5  # the trapezoidal rule
        # (frequency, incident, pair) @ (frequency, pair, exit)
        return self.source @ torch.fft.rfft(ways, padded, dim=1).permute(1, 2, 0)


def _pairs_of(near: NearAtom, site: Site, into: _Waves, out_of: _Waves, scale: float, lost: float) -> _Pairs:
    """The sources of a site, and what is kept of the ways out of it, from some of them.

    With χ = Σ_a χ_a f_a near the atom, Σ_n |Σ_ab χ_a K_n,ab ψ_b|² = Σ_aa' χ_a χ*_a' ρ_aa': a product of real
    matrices, however many derivatives n there are.
    """
    psi, chi = into.near(near, site), out_of.near(near, site)
    kernels = torch.as_tensor(near.kernels).to(torch.complex64)
    sources = torch.stack([psi @ kernel.T for kernel in kernels], dim=-2)
    flat = [each.reshape(-1, each.shape[-1]) for each in (sources, chi.conj())]
    given, taken = (each.mT @ each.conj() for each in flat)
    of_source, of_chi = balanced(given, taken, lost * DIFFUSE.functions_lost)
    sources, chi = sources @ of_source.mT, chi @ of_chi
    # Σ_aa' ρ_aa' (χ_a χ*_a') over a ≤ a': those off the diagonal count twice
    parts = [_packed(each.mT @ each.conj(), 2.0) for each in sources.split(INCIDENT)]
    source = torch.cat(parts).reshape(-1, chi.shape[-1] ** 2)  # (incident and depth, r²)
    del sources, parts
    ways = _products(_some(chi.reshape(-1, chi.shape[-1])).conj())
    of_source, of_way = balanced_by(_some(source), ways, lost * DIFFUSE.pairs_lost)
    kept = (
        (scale * site.count * (source @ of_source.mT))
        .reshape(*psi.shape[:2], -1)
        .transpose(0, 1)
        .contiguous()
    )
    # the trapezoidal rule: half weight at the entrance, and at the exit
    kept[0] *= 0.5
    return _Pairs(kept, of_chi, of_way)


def _some(rows: torch.Tensor) -> torch.Tensor:
    """As many rows as decide what is kept, drawn from all."""
    if len(rows) <= DIFFUSE.snapshots:
        return rows
    return rows[np.sort(np.random.default_rng(0).choice(len(rows), DIFFUSE.snapshots, replace=False))]


def _products(c: torch.Tensor) -> torch.Tensor:
    """(…, f) → (…, f²) reals: |c_a|², and Re, Im of c_a c*_a' for a < a'."""
    a, b = torch.triu_indices(c.shape[-1], c.shape[-1], 1)
    upper = torch.view_as_real(c[..., a] * c[..., b].conj()).flatten(-2)
    return torch.cat([c.real**2 + c.imag**2, upper], dim=-1)


def _packed(products: torch.Tensor, off: float) -> torch.Tensor:
    """(…, f, f) products c_a c*_a' → (…, f²) reals as of `_products`, those off the diagonal times `off`."""
    count = products.shape[-1]
    a, b = torch.triu_indices(count, count, 1)
    upper = torch.view_as_real(products[..., a, b].resolve_conj() * off).flatten(-2)
    return torch.cat([products.diagonal(dim1=-2, dim2=-1).real, upper], dim=-1)
