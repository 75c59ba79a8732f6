"""What the atoms of a crystal file are compared with: each other, the formula, and the lattice.

A space group in another setting, atoms that are listed besides the symmetry that makes them, and a symmetry
that is missing all make a wrong number of atoms, which these find:

    Σ_site o ≤ 1        d_ij > c (r_i + r_j)      Σ_E o = n · formula

o occupancies; d distances (Å); r covalent radii (Å) [1]; n is Z, or 1 where the formula is that of the cell;
c, and all other limits, in `physics.settings`.

.. [1] Cordero et al., Dalton Trans. (2008) 2832, as carried by gemmi.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.physics.settings import CRYSTAL

Array = NDArray[np.float64]
_REMEDY = "check coordinates, cell, and the setting of the space group"


@dataclass(frozen=True)
class Atoms:
    """Atoms of a unit cell: a, b, c (Å) and α, β, γ (°); fractional positions (n, 3); occupancies (n,).

    operations are those of the space group: (W, w) takes a fractional position r to Wr + w; identity first.
    """

    cell: tuple[float, float, float, float, float, float]
    elements: tuple[str, ...]
    positions: Array
    occupancies: Array
    labels: tuple[str, ...]
    operations: tuple[tuple[Array, Array], ...] = ()

    @cached_property
    def distances(self) -> Array:
        """(n, n) array: to the nearest image of each other atom, and of itself (Å)."""
        basis = np.array(gemmi.UnitCell(*self.cell).orth.mat.tolist()).T
        n = len(self.elements)
        apart = self.positions[:, None] - self.positions[None]
        apart -= np.round(apart)
        out = np.full((n, n), np.inf)
        for shift in itertools.product((-1, 0, 1), repeat=3):
            length = np.linalg.norm((apart + shift) @ basis, axis=2)
            if not any(shift):
                np.fill_diagonal(length, np.inf)
            np.minimum(out, length, out=out)
        return out

    @cached_property
    def contacts(self) -> Array:
        """(n, n) array: distances over the sum of covalent radii; infinite for atoms of one site."""
        radius = np.array([gemmi.Element(e).covalent_r for e in self.elements])
        out = self.distances / (radius[:, None] + radius)
        out[self.distances < CRYSTAL.one_place] = np.inf
        return out

    def sorted_distances(self) -> Array:
        """All distances (Å) in order."""
        return np.sort(np.where(np.isfinite(self.distances), self.distances, 0), axis=None)


def nearest(atoms: Atoms) -> float:
    """The shortest distance of two atoms, over the sum of their covalent radii."""
    return float(atoms.contacts.min())


def check_atoms(atoms: Atoms, block: gemmi.cif.Block) -> None:
    """Raise a RecipeError for atoms that cannot all be there."""
    if len(atoms.elements) > CRYSTAL.most_atoms or not np.isfinite(atoms.positions).all():
        return  # the crystal itself says so
    if words := complaint_of(atoms, block):
        raise RecipeError(words)


def complaint_of(atoms: Atoms, block: gemmi.cif.Block) -> str:
    """What is wrong with the atoms, and what to do; nothing where they go together."""
    return _crowded(atoms) or _off_formula(atoms, block)


def _crowded(atoms: Atoms) -> str:
    o, near = atoms.occupancies, atoms.distances
    together = np.where(near < CRYSTAL.one_place, o, 0).sum(axis=1) + o
    i = int(together.argmax())
    if together[i] > CRYSTAL.fullest_site:
        here = [i, *np.flatnonzero(near[i] < CRYSTAL.one_place)]
        names = list(dict.fromkeys(atoms.labels[j] for j in here))
        why = "they cannot both be there"
        if len(names) == 1:
            why = "its coordinates are not quite those of the site that symmetry has there"
        elif len({atoms.elements[j] for j in here}) == 1:
            once = all(atoms.labels.count(name) == 1 for name in names)
            why = "it is listed twice" if once else "the symmetry makes one of the other"
        return (
            f"{', '.join(map(repr, names))} share a site of occupancy {together[i]:.3g}: {why}; keep one, "
            "give occupancies that add up to 1, or, where all atoms of the cell are listed, make the space "
            "group 'P 1'"
        )
    radius = np.array([gemmi.Element(e).covalent_r for e in atoms.elements])
    limit = CRYSTAL.closest * (radius[:, None] + radius)
    both = (o[:, None] + o > CRYSTAL.fullest_site) & (near >= CRYSTAL.one_place) & (near < limit)
    if both.any():
        a, b = np.unravel_index(np.where(both, near, np.inf).argmin(), near.shape)
        return (
            f"{atoms.labels[a]!r} and {atoms.labels[b]!r} are {near[a, b]:.2f} Å apart, and no atoms are: "
            f"{_REMEDY}"
        )
    return ""


def _off_formula(atoms: Atoms, block: gemmi.cif.Block) -> str:
    """What the cell holds against the formula of the file; hydrogen is often left out, and not counted."""
    formula = _formula(block)
    if not formula:
        return ""
    held: dict[str, float] = {}
    for element, o in zip(atoms.elements, atoms.occupancies, strict=True):
        element = "H" if element == "D" else element
        if element != "H":
            held[element] = held.get(element, 0.0) + float(o)
    z = gemmi.cif.as_number(block.find_value("_cell_formula_units_Z") or "?")
    sizes = [z, 1.0] if z > 0 else [sum(held.values()) / sum(formula.values())]
    if z > 0 and atoms.cell[3:] in ((90, 90, 120),):
        sizes.append(3 * z)  # of the rhombohedral cell
    if any(_agree(held, {e: n * size for e, n in formula.items()}) for size in sizes):
        return ""
    wanted = {e: n * sizes[0] for e, n in formula.items()}
    times = f" × Z = {z:g}" if z > 0 else ""
    return (
        f"the cell holds {_words(held)}, and the formula{times} makes {_words(wanted)}: the setting of the "
        "space group (origin choice), the list of atoms or the formula is wrong; correct it"
    )


def _agree(held: dict[str, float], wanted: dict[str, float]) -> bool:
    few = 0.1 * max(wanted.values(), default=0)  # of an atom: dopants
    return all(
        abs(held.get(e, 0) - wanted.get(e, 0)) <= CRYSTAL.off_formula * wanted.get(e, 0) + few
        for e in held.keys() | wanted.keys()
    )


def _words(counts: dict[str, float]) -> str:
    return " ".join(f"{e}{n:.3g}" for e, n in sorted(counts.items()))


def _formula(block: gemmi.cif.Block) -> dict[str, float]:
    """Atoms of the formula without hydrogen, by element; nothing where it cannot be read."""
    text = gemmi.cif.as_string(block.find_value("_chemical_formula_sum") or "?").replace(",", " ")
    out: dict[str, float] = {}
    for part in text.split():
        found = re.fullmatch(r"([A-Z][a-z]?)(\d*\.?\d*)", part)
        if found is None or gemmi.Element(found[1]).atomic_number == 0:
            return {}
        if found[1] not in ("H", "D"):
            out[found[1]] = out.get(found[1], 0.0) + (float(found[2]) if found[2].strip(".") else 1.0)
    return out


def check_complete(atoms: Atoms, block: gemmi.cif.Block) -> None:
    """Raise a RecipeError where a file without symmetry lists only some of the atoms.

    Whether all are listed follows from the formula; without one, the atoms must have the axes of the lattice,
    and neighbours.
    """
    if len(atoms.elements) > CRYSTAL.most_atoms or not np.isfinite(atoms.positions).all():
        return
    z = block.find_value("_cell_formula_units_Z")
    if _formula(block) and z is not None and not _off_formula(atoms, block):
        return
    lonely = atoms.contacts.min(axis=1) > CRYSTAL.farthest
    if lonely.any() or not _has_axes_of_lattice(atoms):
        what = (
            f"{atoms.labels[int(lonely.argmax())]!r} has no neighbours"
            if lonely.any()
            else "the atoms have less symmetry than the cell"
        )
        raise RecipeError(
            f"it gives no symmetry, and {what}: are the {len(atoms.elements)} listed atoms all of the cell? "
            "Name the space group, or 'P 1' if they are (_space_group_name_H-M_alt)"
        )


def _has_axes_of_lattice(atoms: Atoms) -> bool:
    """Whether the atoms have the main axes of the lattice: threefold, else fourfold, else twofold."""
    basis = np.array(gemmi.UnitCell(*atoms.cell).orth.mat.tolist()).T
    metric = basis @ basis.T
    rotations: dict[int, list[NDArray[np.int64]]] = {2: [], 3: [], 4: []}
    for entries in itertools.product((-1, 0, 1), repeat=9):
        r = np.array(entries).reshape(3, 3)
        order = {-1: 2, 0: 3, 1: 4}.get(int(r.trace()))
        if order is None or round(float(np.linalg.det(r))) != 1:
            continue
        if np.abs(r @ metric @ r.T - metric).max() < CRYSTAL.same_position * metric.max():
            rotations[order].append(r)
    main = rotations[3] or rotations[4] or rotations[2]
    kinds = list(zip(atoms.elements, atoms.occupancies.round(6), strict=True))
    # rows of a basis turn as r @ basis, so fractional coordinates as x @ r
    return all(any(_maps(atoms.positions, s * (atoms.positions @ r), kinds) for s in (1, -1)) for r in main)


def _maps(positions: Array, images: Array, kinds: list[tuple[Any, ...]]) -> bool:
    """Whether a translation takes the images of atoms to atoms of their kind."""
    rarest = min(set(kinds), key=kinds.count)
    start = kinds.index(rarest)
    same = np.array([[a == b for b in kinds] for a in kinds])
    for to in (i for i, kind in enumerate(kinds) if kind == rarest):
        apart = (images + positions[to] - images[start])[:, None] - positions[None]
        apart -= np.round(apart)
        if (same & (np.abs(apart).max(axis=2) < CRYSTAL.same_position)).any(axis=1).all():
            return True
    return False
