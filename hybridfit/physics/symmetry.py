"""Symmetry of atoms: translations, point operations of a projection, and those of the crystal itself."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hybridfit.physics.crystal import Crystal

Array = NDArray[np.float64]
SAME_POSITION = 1e-3  # fractional coordinates closer than this are one site


def translations(positions: Array, kinds: list[tuple]) -> Array:
    """Translations that map a periodic set of labelled points onto itself."""
    rarest = min(set(kinds), key=kinds.count)
    same = [i for i, kind in enumerate(kinds) if kind == rarest]
    candidates = (positions[same] - positions[same[0]]) % 1.0
    return np.array([t for t in candidates if _maps_onto(positions + t, positions, kinds)])


def _maps_onto(moved: Array, positions: Array, kinds: list[tuple]) -> bool:
    """Whether every moved point falls, modulo the lattice, on a point of its kind.

    Points of one kind that coincide in projection are counted, so that columns of different
    occupation are told apart.
    """
    labels = np.array([kinds.index(kind) for kind in kinds])
    difference = moved[:, None, :] - positions[None, :, :]
    near = (np.abs(difference - difference.round()) < SAME_POSITION).all(axis=2)
    like = labels[:, None] == labels[None, :]
    own = positions[:, None, :] - positions[None, :, :]
    own_near = (np.abs(own - own.round()) < SAME_POSITION).all(axis=2)
    hits = (near & like).sum(axis=1)
    return bool((hits == (own_near & like).sum(axis=1)).all())


def point_symmetry(crystal: Crystal, basis_hkl: NDArray[np.int64], basis: Array) -> NDArray[np.int64]:
    """Integer matrices R with I_{Rg}(Rq) = I_g(q).

    R keeps the metric of (g₁, g₂), and the projected atoms x = (g₁·r, g₂·r), which transform
    with R⁻ᵀ, return to themselves up to a translation (which changes phases only).
    """
    metric = basis @ basis.T
    x = (crystal.positions @ basis_hkl.T) % 1.0
    kinds = crystal.kinds()
    rarest = min(set(kinds), key=kinds.count)
    same = [i for i, kind in enumerate(kinds) if kind == rarest]
    found = [np.eye(2, dtype=int)]
    for entries in itertools.product((-1, 0, 1), repeat=4):
        r = np.array(entries).reshape(2, 2)
        if abs(round(np.linalg.det(r))) != 1 or (r == found[0]).all():
            continue
        if not np.allclose(r.T @ metric @ r, metric, rtol=1e-4, atol=1e-4 * metric.max()):
            continue
        moved = x @ np.linalg.inv(r)  # rows: R⁻ᵀ x
        if any(_maps_onto(moved + (x[j] - moved[same[0]]), x, kinds) for j in same):
            found.append(r)
    return np.stack(found)


def is_of_the_crystal(crystal: Crystal, frame: Array, basis: Array, r: NDArray[np.int64]) -> bool:
    """Whether R in the plane, and nothing along z, maps the crystal onto itself up to a translation."""
    turn = np.eye(3)
    turn[:2, :2] = basis.T @ r @ np.linalg.inv(basis.T)
    direct = crystal.direct_basis
    w = np.linalg.inv(direct.T) @ frame.T @ turn @ frame @ direct.T  # on columns of fractional coordinates
    kinds = crystal.kinds()
    x = crystal.positions
    if not all(_maps_onto(x + edge, x, kinds) for edge in w.T):  # the lattice has to return to itself
        return False
    moved = x @ w.T
    rarest = min(set(kinds), key=kinds.count)
    same = [i for i, kind in enumerate(kinds) if kind == rarest]
    return any(_maps_onto(moved + (x[j] - moved[same[0]]), x, kinds) for j in same)
