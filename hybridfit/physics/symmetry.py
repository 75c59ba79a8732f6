"""Symmetry of a periodic set of atoms: its translations, and the point operations of a projection of it.

    I_{Rg}(Rq) = I_g(q)

R integer matrices on the indices (n₁, n₂) of a beam; g a beam, q the incident direction.  R is a symmetry
where the projected atoms, which transform with R⁻ᵀ, return to atoms of their kind, up to a translation.

Source: International Tables for Crystallography A, chapter 1.3 (space groups and projections).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.physics.settings import CRYSTAL

Array = NDArray[np.float64]
SAME_POINT = 1e-6  # of the basis: directions that differ by less are one
Kinds = Sequence[tuple[Any, ...]]  # what makes two atoms alike: element, occupancy, Debye–Waller factor


def translations(positions: Array, kinds: Kinds) -> Array:
    """(m, 3) fractional translations that map atoms at positions (n, 3) onto atoms of their kind."""
    same = _rarest(kinds)
    candidates = (positions[same] - positions[same[0]]) % 1.0
    return np.array([t for t in candidates if _maps_onto(positions + t, positions, kinds)])


def _rarest(kinds: Kinds) -> list[int]:
    """Indices of the atoms of the kind that there is least of."""
    rarest = min(set(kinds), key=kinds.count)
    return [i for i, kind in enumerate(kinds) if kind == rarest]


def _maps_onto(moved: Array, positions: Array, kinds: Kinds) -> bool:
    """Whether every moved point falls, modulo the lattice, on a point of its kind.

    Points of one kind that coincide in projection are counted, so that columns of different
    occupation are told apart.
    """
    labels = np.array([kinds.index(kind) for kind in kinds])
    difference = moved[:, None, :] - positions[None, :, :]
    near = (np.abs(difference - difference.round()) < CRYSTAL.same_position).all(axis=2)
    like = labels[:, None] == labels[None, :]
    own = positions[:, None, :] - positions[None, :, :]
    own_near = (np.abs(own - own.round()) < CRYSTAL.same_position).all(axis=2)
    hits = (near & like).sum(axis=1)
    return bool((hits == (own_near & like).sum(axis=1)).all())


def point_symmetry(
    positions: Array, kinds: Kinds, basis_hkl: NDArray[np.int64], basis: Array
) -> NDArray[np.int64]:
    """Integer matrices R (m, 2, 2) with I_{Rg}(Rq) = I_g(q); the identity comes first.

    R keeps the metric of (g₁, g₂), and the projected atoms x = (g₁·r, g₂·r), which transform
    with R⁻ᵀ, return to themselves up to a translation (which changes phases only).

    Parameters
    ----------
    positions : (n, 3) array, fractional coordinates
    kinds : of the n atoms
    basis_hkl : (2, 3) Miller indices of g₁, g₂
    basis : (2, 2) array, rows g₁, g₂ in the crystal frame (Å⁻¹)
    """
    metric = basis @ basis.T
    found = [np.eye(2, dtype=int)]
    for entries in itertools.product((-1, 0, 1), repeat=4):
        r = np.array(entries).reshape(2, 2)
        if abs(round(np.linalg.det(r))) != 1 or (r == found[0]).all():
            continue
        if not np.allclose(r.T @ metric @ r, metric, rtol=1e-4, atol=1e-4 * metric.max()):
            continue
        if shift_with(r, positions, kinds, basis_hkl) is not None:
            found.append(r)
    return np.stack(found)


def shift_with(
    r: NDArray[np.int64], positions: Array, kinds: Kinds, basis_hkl: NDArray[np.int64]
) -> Array | None:
    """The translation (2,) that returns the projected atoms to themselves after R; None where none does.

    In units of the projected cell, that of (g₁·r, g₂·r); positions, kinds and basis_hkl as of
    `point_symmetry`.
    """
    x = (positions @ basis_hkl.T) % 1.0
    same = _rarest(kinds)
    moved = x @ np.linalg.inv(r)  # rows: R⁻ᵀ x
    for j in same:
        shift: Array = x[j] - moved[same[0]]
        if _maps_onto(moved + shift, x, kinds):
            return shift
    return None


class Images(NamedTuple):
    """Directions of which an operation makes others: numbers of the ones and of the others."""

    operation: int
    of: NDArray[np.intp]
    are: NDArray[np.intp]


def images_among(points: Array, operations: NDArray[np.int64]) -> list[Images]:
    """Every point (n, 2) as the image of one, by one of the operations, of which the first is the identity.

    Points that are images of themselves alone come with the identity.  In units of the basis that
    operations (m, 2, 2) act on.
    """
    keys = [
        [(int(a), int(b)) for a, b in np.rint(points @ r.T / SAME_POINT).astype(np.int64)] for r in operations
    ]
    number = {key: i for i, key in enumerate(keys[0])}
    free = np.ones(len(points), bool)
    found: list[list[tuple[int, int]]] = [[] for _ in operations]
    for i in range(len(points)):
        if not free[i]:
            continue
        for each, images in zip(found, keys, strict=True):
            j = number.get(images[i])
            if j is not None and free[j]:
                free[j] = False
                each.append((i, j))
    pairs = [np.array(each, np.intp).reshape(-1, 2).T for each in found]
    return [Images(k, of, are) for k, (of, are) in enumerate(pairs) if len(of)]


def maps_crystal(
    positions: Array, kinds: Kinds, direct: Array, frame: Array, basis: Array, r: NDArray[np.int64]
) -> bool:
    """Whether R in the plane, with z left as it is, maps a crystal onto itself up to a translation.

    Parameters
    ----------
    positions : (n, 3) array, fractional coordinates
    kinds : of the n atoms
    direct : (3, 3) array, rows a, b, c (Å)
    frame : (3, 3) array, rows x, y, z of the crystal frame
    basis : (2, 2) array, rows g₁, g₂ in the crystal frame (Å⁻¹)
    r : (2, 2) int array
    """
    turn = np.eye(3)
    turn[:2, :2] = basis.T @ r @ np.linalg.inv(basis.T)
    w = np.linalg.inv(direct.T) @ frame.T @ turn @ frame @ direct.T  # on columns of fractional coordinates
    x = positions
    if not all(_maps_onto(x + edge, x, kinds) for edge in w.T):  # the lattice has to return to itself
        return False
    moved = x @ w.T
    same = _rarest(kinds)
    return any(_maps_onto(moved + (x[j] - moved[same[0]]), x, kinds) for j in same)
