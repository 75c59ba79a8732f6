"""A crystal seen along a zone axis.

A zone axis [uvw] leaves the reflections with h·u + k·v + l·w = 0, the zero-order Laue zone
(ZOLZ).  They form a plane lattice with the primitive basis g₁, g₂; a beam is written
g = n₁ g₁ + n₂ g₂.  The crystal frame of every pattern is

    x  along an in-plane reference reciprocal vector,
    z  along [uvw], the direction in which the electrons travel,
    y  = z × x.

The projected structure may have point symmetry: integer matrices R on (n₁, n₂) such that
I_{Rg}(Rq) = I_g(q).  They are found from the projected atoms, so any CIF works.  Where beams of
higher zones take part, only those R count that also map the crystal itself onto itself, up to a
translation, with z left as it is: along [111] of a cubic crystal a threefold axis in place of a
sixfold one.

Symbols: g reciprocal vectors (Å⁻¹, no 2π), h, k, l Miller indices, u, v, w direct-lattice indices.
Source: International Tables for Crystallography B, chapter 1.1 (reciprocal space).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.settings import CRYSTAL
from hybridfit.physics.symmetry import maps_crystal, point_symmetry, shift_with

Array = NDArray[np.float64]
LARGEST_REFERENCE = 1000  # index: far above any use, far below what an integer holds


@dataclass(frozen=True)
class Projection:
    """A crystal seen along a zone axis.

    Attributes
    ----------
    crystal : Crystal
    zone : (u, v, w)
    basis_hkl : (2, 3) int array
        Miller indices of g₁, g₂, the reduced primitive basis of the ZOLZ.
    basis : (2, 2) array
        Rows are g₁, g₂ in the crystal frame (x, y), Å⁻¹.
    symmetry : (m, 2, 2) int array
        Point operations R of the projection, acting on columns (n₁, n₂); the identity comes first.
    own_symmetry : (m', 2, 2) int array
        The same where `symmetry` is only what several crystals have in common.
    """

    crystal: Crystal
    zone: tuple[int, int, int]
    basis_hkl: NDArray[np.int64]
    basis: Array
    symmetry: NDArray[np.int64]
    own_symmetry: NDArray[np.int64]

    @property
    def rotation_order(self) -> int:
        """n of the n-fold rotation axis of the projection, its own."""
        return int(sum(round(np.linalg.det(r)) == 1 for r in self.own_symmetry))

    def mapping(self, r: NDArray[np.int64]) -> tuple[Array, Array] | None:
        """(2, 2) and (2,) Å: x → M x + t in the crystal frame maps the projected atoms onto their kind.

        None where R is not one of their symmetries.  Waves go along: ψ_{Mq}(M x + t) = ψ_q(x), up to a
        phase.
        """
        shift = shift_with(r, self.crystal.positions, self.crystal.kinds(), self.basis_hkl)
        if shift is None:
            return None
        turn: Array = self.basis.T @ r @ np.linalg.inv(self.basis.T)
        return turn, shift @ np.linalg.inv(self.basis).T

    def beams(self, g_max: float) -> NDArray[np.int64]:
        """(b, 2) int array of the beams (n₁, n₂) with |g| ≤ g_max (Å⁻¹), shortest first."""
        inverse = np.linalg.inv(self.basis)
        reach = np.ceil(g_max * np.linalg.norm(inverse, axis=0)).astype(int)
        n1, n2 = np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij")
        n = np.stack([n1.ravel(), n2.ravel()], axis=1)
        length = np.linalg.norm(n @ self.basis, axis=1)
        keep = length <= g_max * (1 + 1e-9)
        order = np.lexsort((n[keep, 1], n[keep, 0], length[keep].round(9)))
        return n[keep][order]

    def first_zone(self) -> ZoneStep:
        """The way from the zero-order zone to the one above."""
        allowed = _reflections(self.crystal.centring_translations(), self.zone)
        levels = allowed @ np.array(self.zone)
        hkl = allowed[levels == levels[levels > 0].min()]
        g = hkl @ self.crystal.reciprocal_basis
        shortest = np.lexsort((*hkl.T, np.linalg.norm(g, axis=1).round(9)))[0]
        plane = self.basis_hkl @ self.crystal.reciprocal_basis
        axis = np.array(self.zone) @ self.crystal.direct_basis
        return ZoneStep(
            hkl[shortest],
            np.linalg.solve(self.basis, plane @ g[shortest]),
            float(g[shortest] @ axis / np.linalg.norm(axis)),
        )


class ZoneStep(NamedTuple):
    """A reflection of the first zone above: Miller indices, (2,) in the crystal frame and along z (Å⁻¹)."""

    hkl: NDArray[np.int64]
    across: Array
    height: float


def project(
    crystal: Crystal, zone: tuple[int, int, int], reference: tuple[int, int, int] | None = None
) -> Projection:
    """Project a crystal along a zone axis.

    Parameters
    ----------
    crystal : Crystal
    zone : (u, v, w)
        Direct-lattice direction along which the electrons travel.
    reference : (h, k, l), optional
        Reciprocal vector that becomes +x; it must lie in the zone.  The shortest one by default.

    Raises
    ------
    RecipeError
        The zone axis is zero or has a huge index, or the reference does not lie in the zone.
    """
    return project_all([crystal], zone, reference)[0]


def project_all(
    crystals: Sequence[Crystal],
    zone: tuple[int, int, int],
    reference: tuple[int, int, int] | None = None,
    like: Crystal | None = None,
    *,
    holz: bool = False,
) -> list[Projection]:
    """Project crystals along a zone axis, all on the same basis vectors.

    Basis and symmetry are those of the translations and of the point operations of the projection
    that all crystals have in common.  Cells may be strained: g₁ and g₂ have the same Miller indices
    in all crystals, and in each the length and direction that its own cell gives them, x being along
    the reference in every one.

    Parameters
    ----------
    crystals, zone, reference
        As for `project`.
    like : Crystal, optional
        Whose cell says which basis is the shortest; by default the first.
    holz : bool
        Leave out what is a symmetry of the projection but not of the crystal in three dimensions.

    Raises
    ------
    RecipeError
        As for `project`; or a cell differs from that of `like` by more than a strain.
    """
    like = crystals[0] if like is None else like
    _check_indices(zone, reference)
    basis_hkl = _zolz_basis(crystals, zone, like)
    hkl = basis_hkl[0] if reference is None else np.array(reference)
    if not any(hkl) or hkl @ np.array(zone) != 0:
        raise RecipeError(
            f"in-plane reference {tuple(int(i) for i in hkl)} is not perpendicular to zone {tuple(zone)}; "
            f"try {tuple(int(i) for i in basis_hkl[0])}"
        )
    one_of_each = {each.cell: each for each in crystals}.values()
    for other in one_of_each:
        _check_strain(like, other)
    if np.linalg.det(_projected(like, basis_hkl, zone, hkl)) < 0:
        basis_hkl = basis_hkl * np.array([[1], [-1]])
    by_cell = {each.cell: _projected(each, basis_hkl, zone, hkl) for each in one_of_each}
    bases = [by_cell[each.cell] for each in crystals]
    each_own = [
        point_symmetry(each.positions, each.kinds(), basis_hkl, basis)
        for each, basis in zip(crystals, bases, strict=True)
    ]
    if holz:
        frames = [frame_of(each, zone, hkl) for each in crystals]
        each_own = [
            np.stack([r for r in own if _is_of_the_crystal(each, frame, basis, r)])
            for each, frame, basis, own in zip(crystals, frames, bases, each_own, strict=True)
        ]
    symmetry = each_own[0]
    for own in each_own[1:]:
        symmetry = np.stack([r for r in symmetry if any(np.array_equal(r, image) for image in own)])
    u, v, w = (int(i) for i in zone)
    return [
        Projection(each, (u, v, w), basis_hkl, basis, symmetry, own)
        for each, basis, own in zip(crystals, bases, each_own, strict=True)
    ]


def _check_indices(zone: Sequence[int], reference: Sequence[int] | None) -> None:
    """Raise a RecipeError for indices that are no zone axis, or too large for the search of reflections."""
    if not any(zone):
        raise RecipeError("zone [0, 0, 0] is no direction; give three integers such as [0, 0, 1]")
    most = CRYSTAL.largest_zone_index
    if max(abs(index) for index in zone) > most:
        raise RecipeError(
            f"zone {list(zone)} has an index above {most}: no zone axis pattern has overlapping discs there; "
            f"give indices of at most {most}, without a common factor"
        )
    if reference is not None and max(abs(index) for index in reference) > LARGEST_REFERENCE:
        raise RecipeError(
            f"in-plane reference {list(reference)} has an index above {LARGEST_REFERENCE}; "
            "give a low reflection"
        )


def common_beams(projections: Sequence[Projection], g_max: float) -> NDArray[np.int64]:
    """(b, 2) int array of the beams with |g| ≤ g_max (Å⁻¹) in any of the projections, shortest first.

    The length that counts is the least of all projections.  Beams that symmetry makes equal are
    neighbours, so that a part of the list has all or none of them.
    """
    bases = np.unique([projection.basis for projection in projections], axis=0)
    first = {projection.basis.tobytes(): projection for projection in projections}
    n = np.unique(np.concatenate([projection.beams(g_max) for projection in first.values()]), axis=0)
    lengths = np.linalg.norm(n @ bases, axis=2).round(9)
    return n[np.lexsort((n[:, 1], n[:, 0], *lengths, lengths.min(axis=0)))]


def frame_of(crystal: Crystal, zone: Sequence[int], reference: Sequence[int] | NDArray[np.int64]) -> Array:
    """(3, 3) array: rows are the unit vectors x, y, z of the crystal frame in Cartesian coordinates.

    The reference must be in the zone.
    """
    z = np.array(zone) @ crystal.direct_basis
    x = np.array(reference) @ crystal.reciprocal_basis
    z, x = z / np.linalg.norm(z), x / np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def _projected(
    crystal: Crystal, hkl: NDArray[np.int64], zone: Sequence[int], reference: NDArray[np.int64]
) -> Array:
    """(·, 2) array of reflections of the zone in the crystal frame (x, y), Å⁻¹."""
    projected: Array = hkl @ crystal.reciprocal_basis @ frame_of(crystal, zone, reference)[:2].T
    return projected


def _check_strain(one: Crystal, other: Crystal) -> None:
    """Raise a RecipeError where no strain leads from one cell to the other."""
    words = f"cell {' '.join(f'{value:.6g}' for value in other.cell)}"
    stretch = np.linalg.svd(np.linalg.inv(one.direct_basis) @ other.direct_basis, compute_uv=False)
    most = float(np.abs(stretch - 1).max())
    if most > CRYSTAL.largest_strain:
        raise RecipeError(
            f"the {words} differs by {most:.0%} from {' '.join(f'{value:.6g}' for value in one.cell)}, "
            f"more than a strain ({CRYSTAL.largest_strain:.0%}); build a library of each"
        )


def _is_of_the_crystal(crystal: Crystal, frame: Array, basis: Array, r: NDArray[np.int64]) -> bool:
    """Whether R, with z left as it is, is a symmetry of the crystal itself."""
    return maps_crystal(crystal.positions, crystal.kinds(), crystal.direct_basis, frame, basis, r)


def _zolz_basis(
    crystals: Sequence[Crystal], zone: tuple[int, int, int], crystal: Crystal
) -> NDArray[np.int64]:
    """The two shortest independent ZOLZ reflections that the common lattice centring allows.

    The shortest ones in the cell of `crystal`.
    """
    common = crystals[0].centring_translations()
    for other in crystals[1:]:
        away = common[:, None] - other.centring_translations()[None]
        near = np.abs(away - away.round()).max(axis=2) < CRYSTAL.same_position
        common = common[near.any(axis=1)]
    hkl = _reflections(common, zone)
    hkl = hkl[(hkl @ np.array(zone) == 0) & hkl.any(axis=1)]
    g = hkl @ crystal.reciprocal_basis
    length = np.linalg.norm(g, axis=1)
    order = np.lexsort((-hkl[:, 2], -hkl[:, 1], -hkl[:, 0], length.round(9)))
    first = order[0]
    for second in order[1:]:
        if np.linalg.norm(np.cross(g[first], g[second])) > 1e-6 * length[first] * length[second]:
            return np.stack([hkl[first], hkl[second]])
    raise RecipeError(f"no reflections found in zone {tuple(zone)}")


def _reflections(centring: Array, zone: Sequence[int]) -> NDArray[np.int64]:
    """(n, 3) low reflections that the centring allows, among them a basis of all."""
    reach = 2 * max(2, max(abs(u) for u in zone)) + 1
    span = np.arange(-reach, reach + 1)
    hkl = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
    phase = hkl @ centring.T
    return hkl[(np.abs(phase - phase.round()) < 1e-3).all(axis=1)]
