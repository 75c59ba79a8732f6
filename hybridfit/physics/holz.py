"""HOLZ lines: the solve with those beams of higher-order Laue zones that are near the Ewald sphere.

For any one direction q few reflections of the other zones have a small excitation error

    2K s_g = −2 (g·q + g_z K_n(q)) − |g|² − g_z²,

most of them others than for a direction a mrad away.  So the directions are cut into tiles, and each tile
is solved with its own beams,

    M_gh = U_{g−h} + iU'_{g−h},      divided by √(1 + g_z/K) on either side (`hybridfit.physics.bloch`):

- those of the zero-order zone, as without lines;
- those of other zones with |2K s_g| < near for any direction of the tile;
- folded into the potential of these [1], at the direction in the middle of the tile: those of other zones
  with |2K s_g| < far.  On either side of the sphere they push the strong beams by almost the same and cannot
  be left out on one of them;
- those further inside the sphere, all together, by their second-order effect
  (`hybridfit.physics.higher_zones`).

What is asked for are intensities of the zero-order zone, in which lines are dark or bright; the beams of
higher zones have discs of their own on a ring far out (`HolzMatrix.inner`), which are not stored.

.. [1] Bethe, as in `hybridfit.physics.bloch`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hybridfit.physics import bloch
from hybridfit.physics.bloch import DynamicalMatrix
from hybridfit.physics.higher_zones import HigherZones
from hybridfit.physics.projection import Projection, ZoneStep
from hybridfit.physics.settings import ZONES
from hybridfit.physics.structure_factors import structure_factors

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class HolzMatrix:
    """What the matrices of all tiles are made from.

    Attributes
    ----------
    zero : DynamicalMatrix
        Of the zero-order zone, strong and far beams, without other zones.
    strong : int
        How many of its beams, the first, are not folded.
    beams : (c, 3) int array
        (n₁, n₂, l): beams of the zero-order zone, then reflections of zones l.
    g, g_z : (c, 2), (c,) arrays, Å⁻¹
    widest : float
        Angle from the axis of directions that it is meant for (Å⁻¹).
    couplings : _Couplings
    zones : HigherZones
    """

    zero: DynamicalMatrix
    strong: int
    beams: Indices
    g: Array
    g_z: Array
    widest: float
    couplings: _Couplings
    zones: HigherZones

    @classmethod
    def of(
        cls, projection: Projection, every: Indices, strong: int, energy_kv: float, q: Array
    ) -> HolzMatrix:
        """Build it.

        Parameters
        ----------
        projection : Projection
        every : (b, 2) int array
            Beams of the zero-order zone, of which all but the first `strong` are folded.
        strong : int
        energy_kv : float, kV
        q : (d, 2) array
            Directions (Å⁻¹) that will be asked for, or some as far from the axis as these.
        """
        zero = DynamicalMatrix.of(projection, every, energy_kv)
        up = projection.first_zone()
        widest = float(np.linalg.norm(q, axis=1).max())
        beams = np.pad(every, ((0, 0), (0, 1)))
        beams = np.concatenate([beams, _candidates(projection, up, zero.k_n, widest)])
        couplings = _Couplings.of(projection, up, beams, energy_kv)
        strength = np.linalg.norm(couplings.between(beams[:strong], beams), axis=0)
        strength[: len(every)] = np.inf
        beams = beams[strength > ZONES.weakest]
        g = beams[:, :2] @ projection.basis + beams[:, 2:] * up.across
        zones = HigherZones(projection, energy_kv)
        return cls(zero, strong, beams, g, beams[:, 2] * up.height, widest, couplings, zones)

    @property
    def inner(self) -> float:
        """Length in the plane (Å⁻¹) of the shortest beam of another zone that comes near the sphere."""
        at = np.arange(len(self.zero.g), len(self.g))
        length = np.linalg.norm(self.g[at], axis=1)
        away = np.abs(self._excitation(at, np.zeros((1, 2)))[:, 0]) - 2 * length * self.widest
        return float(length[away < ZONES.near].min(initial=np.inf))

    def near(
        self, q: Array, precision: type[np.complexfloating] = np.complex128, within: float = ZONES.near
    ) -> DynamicalMatrix:
        """The matrix for neighbouring directions q (d, 2) in Å⁻¹, strong beams of the zero-order zone first.

        Beams with |2K s_g| < within (Å⁻²) are not folded; others are, in the precision given.
        """
        k, every = self.zero.k_n, len(self.zero.g)
        middle = (q.min(axis=0) + q.max(axis=0)) / 2
        error = np.abs(self._excitation(slice(every, None), np.vstack([middle, q])))
        near = error.min(axis=1, initial=np.inf) < within
        far = (error[:, 0] < ZONES.far) & ~near
        kept = np.concatenate([np.arange(self.strong), every + np.flatnonzero(near)])
        folded = np.concatenate([np.arange(self.strong, every), every + np.flatnonzero(far)])
        at = np.concatenate([kept, folded])
        potential = self.couplings.between(self.beams[at], self.beams[at])
        inside = np.flatnonzero(at < every)
        potential[np.ix_(inside, inside)] += self._virtual(at[inside], middle)
        scale = 1 / np.sqrt(1 + self.g_z[at] / k)
        potential *= np.outer(scale, scale)
        # far beams of the zero-order zone as `DynamicalMatrix.folded` has them, on the axis
        axis = self._excitation(folded, np.zeros((1, 2)))[:, 0]
        there = self._excitation(folded, middle[None])[:, 0]
        weak = potential[len(kept) :, len(kept) :] + np.diag(np.where(folded < every, axis, there))
        a, b = slice(len(kept)), slice(len(kept), None)
        back, forth = potential[a, b].astype(precision), potential[b, a].astype(precision)
        out = potential[a, a] - back @ np.linalg.solve(weak.astype(precision), forth)
        return DynamicalMatrix(out, self.g[kept], k, self.g_z[kept])

    def _excitation(self, at: slice | Indices, q: Array) -> Array:
        """2K s_g (beams, d), divided."""
        none = np.empty((0, 0), complex)
        return DynamicalMatrix(none, self.g[at], self.zero.k_n, self.g_z[at]).excitation(q)

    def _virtual(self, at: Indices, q: Array) -> NDArray[np.complex128]:
        """What reflections do that are too far inside the sphere to be folded; none of it on the diagonal."""
        n = self.beams[at, :2]
        out = self.zones.potential(n[:, None] - n[None], q, ZONES.far / (2 * self.zero.k_n))
        np.fill_diagonal(out, 0)
        return out


@dataclass(frozen=True)
class _Couplings:
    """U_{g−h} + iU'_{g−h} of beams (n₁, n₂, l), with iU'_0 on the diagonal: a table of all differences."""

    values: NDArray[np.complex128]
    strides: Indices
    origin: int

    @classmethod
    def of(cls, projection: Projection, up: ZoneStep, beams: Indices, energy_kv: float) -> _Couplings:
        span = np.ptp(beams, axis=0)
        plane = np.stack(np.meshgrid(*(np.arange(-s, s + 1) for s in span[:2]), indexing="ij"), axis=-1)
        hkl = plane.reshape(-1, 2) @ projection.basis_hkl
        layers = []
        for l in range(-span[2], span[2] + 1):
            elastic, absorptive = structure_factors(projection.crystal, hkl + l * up.hkl, energy_kv)
            layers.append(elastic + 1j * absorptive)
        values = np.stack(layers, axis=-1).ravel()
        width = 2 * span + 1
        strides = np.array([width[1] * width[2], width[2], 1])
        origin = int(span @ strides)
        values[origin] = 1j * values[origin].imag
        return cls(values, strides, origin)

    def between(self, rows: Indices, columns: Indices) -> NDArray[np.complex128]:
        """Of all pairs, (rows, columns)."""
        difference = (rows @ self.strides)[:, None] - (columns @ self.strides)[None]
        return self.values[difference + self.origin]


def intensities(
    matrix: HolzMatrix,
    q: Array,
    thickness_nm: Array,
    *,
    keep: int | None = None,
    device: str = "auto",
    dtype: torch.dtype = torch.complex64,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32] | Array:
    """Intensities of the strong beams of the zero-order zone; parameters as for `bloch.beam_intensities`.

    Returns
    -------
    (m, keep, d) array; the incident intensity is 1.
    """
    keep = matrix.strong if keep is None else keep
    single = dtype == torch.complex64
    real, precision = (np.float32, np.complex64) if single else (np.float64, np.complex128)
    out = np.empty((len(thickness_nm), keep, len(q)), real)
    levels = _levels(matrix)
    done = 0
    for tile in tiles(q):
        own = matrix.near(q[tile], precision)
        out[:, :, tile] = bloch.beam_intensities(
            own, q[tile], thickness_nm, keep=keep, device=device, dtype=dtype, levels=levels
        )
        done += len(tile)
        if progress is not None:
            progress(done / len(q))
    return out


def _levels(matrix: HolzMatrix) -> NDArray[np.complex128]:
    folded = matrix.zero.folded(matrix.strong)
    return (folded if folded.radii is None else folded.on_axis()).levels()


def tiles(q: Array, most: int = ZONES.directions_per_tile) -> list[Indices]:
    """Directions by their numbers, halved across the longer side until they are few and neighbours."""
    left, out = [np.arange(len(q))], []
    while left:
        tile = left.pop()
        size = np.ptp(q[tile], axis=0)
        if len(tile) <= most and size.max() <= ZONES.widest_tile:
            out.append(tile)
            continue
        side = int(np.argmax(size))
        order = tile[np.argsort(q[tile, side], kind="stable")]
        left += [order[len(order) // 2 :], order[: len(order) // 2]]
    return out


def _candidates(projection: Projection, up: ZoneStep, k: float, widest: float) -> Indices:
    """(c, 3) reflections (n₁, n₂, l) of other zones that are near enough to be folded for some direction."""
    longest = ZONES.longest_line
    most = int(np.ceil((longest**2 + 2 * longest * widest + ZONES.far) / (2 * k * up.height))) + 1
    around = projection.beams(longest + float(np.linalg.norm(projection.basis, axis=1).sum()))
    out = [np.empty((0, 3), np.int64)]
    for l in (*range(-most, 0), *range(1, most + 1)):
        n = around + np.rint(-l * up.across @ np.linalg.inv(projection.basis)).astype(np.int64)
        g, g_z = n @ projection.basis + l * up.across, l * up.height
        length = np.linalg.norm(g, axis=1)
        slack = 1.1 * ZONES.far + 2 * length * widest + abs(g_z) * widest**2 / k
        there = np.abs(length**2 + 2 * k * g_z + g_z**2) < slack
        there &= length**2 + g_z**2 < longest**2
        out.append(np.pad(n[there], ((0, 0), (0, 1)), constant_values=l))
    return np.concatenate(out)
