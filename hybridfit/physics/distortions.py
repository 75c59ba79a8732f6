"""Changes of a crystal with one number: distortions, composition, thermal vibration.

A change is a function (crystal, value) → crystal.  Those made here keep the order of the atoms, and
all but a strain keep the cell, so that one may follow the other:

    displaced     r ← r + v d                        d along a, b, c in Å per unit of v
    morphed       x ← x_a + v (x_b − x_a)            x: positions, B and occupancies; v = 0 … 1
    turned        x ← x_a + (x_b − x_a) tan v / tan φ        v = 0 … φ, the angle of x_b
    switched      r ← r_p + v (r_c − r_p)            v = −1 … 1; B and occupancies go with v²
    substituted   o_E ← o_E + v s_E                  occupancy of an element on a site
    vibrating     B ← v f B
    inverted      r ← v r                            v = −1, 1
    strained      a, b, c ← (1 + v ε) a, b, c        ε along x, y, z of the pattern; x as it is

Symbols: v value of the parameter, r position, x fractional coordinate (of crystals a and b, parent p and
child c), d displacement, B Debye–Waller factor, o_E occupancy of element E with the slope s_E, f factor of a
site, φ angle of crystal b, ε strain.  Sites are named by the labels of the CIF.  Where symmetry makes several
atoms of one label, a displacement is only unambiguous if all of them are translations of one another.

Source: Nye, Physical Properties of Crystals (1985), chapter VI, for the strain; the others are definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from hybridfit.errors import RecipeError
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import frame_of
from hybridfit.physics.settings import CRYSTAL

Array = NDArray[np.float64]
Change = Callable[[Crystal, float], Crystal]

EVERY_SITE = "all"


def displaced(crystal: Crystal, vectors: Mapping[str, tuple[float, float, float]]) -> Change:
    """Atoms that move by v times a vector.

    Parameters
    ----------
    crystal : Crystal
        What will be changed.
    vectors : mapping of site label to (dx, dy, dz)
        Å per unit of the value, along a, b and c.

    Raises
    ------
    RecipeError
        There is no such site, or its atoms could not all move alike.
    """
    shift = np.zeros_like(crystal.positions)
    for label, vector in vectors.items():
        atoms = _atoms_of(crystal, label)
        if not _translations_of_one(crystal, atoms):
            raise RecipeError(
                f"site {label!r} stands for {len(atoms)} atoms that symmetry turns, which cannot all move by "
                "one vector; list them in a CIF of space group P 1, with labels of their own"
            )
        shift[atoms] += np.array(vector) / crystal.cell[:3]

    def change(crystal: Crystal, value: float) -> Crystal:
        return replace(crystal, positions=crystal.positions + value * _padded(shift, crystal))

    return change


def morphed(first: Crystal, last: Crystal) -> Change:
    """From one crystal (0) to another (1): positions, Debye–Waller factors and occupancies on a line.

    Raises
    ------
    RecipeError
        The crystals have different cells or sites.
    """
    to = _pairs(first, last)
    way = _way(first, last, to)
    warmer = last.debye_waller[to] - first.debye_waller
    fuller = last.occupancies[to] - first.occupancies

    def change(crystal: Crystal, value: float) -> Crystal:
        return replace(
            crystal,
            positions=crystal.positions + value * _padded(way, crystal),
            debye_waller=crystal.debye_waller + value * _padded(warmer, crystal),
            occupancies=crystal.occupancies + value * _padded(fuller, crystal),
        )

    return change


def turned(first: Crystal, last: Crystal, angle: float) -> Change:
    """From one crystal (0) to another in which something is turned by an angle (°): values are angles.

    In a cell that stays, corners of octahedra that turn about an axis and share their corners move
    along the edges of the cell, by the tangent of the angle: the path is exact at every value, then.

    Raises
    ------
    RecipeError
        The crystals have different cells or sites.
    """
    along = morphed(first, last)

    def change(crystal: Crystal, value: float) -> Crystal:
        return along(crystal, float(np.tan(np.deg2rad(value)) / np.tan(np.deg2rad(angle))))

    return change


def inverted(crystal: Crystal, value: float) -> Crystal:
    """The crystal (1), or its inverse (−1), which in projection is the crystal turned by 180°.

    Raises
    ------
    RecipeError
        The value is neither.
    """
    if value not in (-1, 1):
        raise RecipeError(f"value {value:g} is no inversion; give -1 or 1")
    return replace(crystal, positions=value * crystal.positions)


def switched(parent: Crystal, child: Crystal) -> Change:
    """From the inverse of the child (−1) through the parent (0) to the child (1), as a polarity is.

    Displacements go with the value, Debye–Waller factors and occupancies, which are those of the
    child at both ends, with its square.

    Raises
    ------
    RecipeError
        The crystals have different cells or sites.
    """
    to = _pairs(parent, child)
    way = _way(parent, child, to)
    warmer = child.debye_waller[to] - parent.debye_waller
    fuller = child.occupancies[to] - parent.occupancies

    def change(crystal: Crystal, value: float) -> Crystal:
        return replace(
            crystal,
            positions=crystal.positions + value * _padded(way, crystal),
            debye_waller=crystal.debye_waller + value**2 * _padded(warmer, crystal),
            occupancies=crystal.occupancies + value**2 * _padded(fuller, crystal),
        )

    return change


def substituted(crystal: Crystal, slopes: Mapping[str, Mapping[str, float]]) -> Change:
    """Occupancies of elements on sites that go with the value; all atoms of a site alike.

    Parameters
    ----------
    crystal : Crystal
        What will be changed.
    slopes : mapping of site label to mapping of element to occupancy per unit of the value
        An element that is not on the site yet starts from nothing there, with the site's
        Debye–Waller factor.

    Raises
    ------
    RecipeError
        There is no such site; or, once it is applied, an occupancy leaves 0 … 1.
    """
    atoms = {label: _atoms_of(crystal, label) for label in slopes}

    def change(crystal: Crystal, value: float) -> Crystal:
        for label, elements in slopes.items():
            for element, slope in elements.items():
                crystal = _occupied(crystal, atoms[label], label, element, value * slope)
            _check_full(crystal, atoms[label], label, value)
        return crystal

    return change


def vibrating(crystal: Crystal, factors: Mapping[str, float]) -> Change:
    """Debye–Waller factors times the value times a factor of the site; "all" is every other site.

    Raises
    ------
    RecipeError
        There is no such site; or, once it is applied, a factor is negative.
    """
    scale = np.full(len(crystal.elements), np.nan)
    for label, factor in sorted(factors.items(), key=lambda item: item[0] != EVERY_SITE):
        scale[slice(None) if label == EVERY_SITE else _atoms_of(crystal, label)] = factor

    def change(crystal: Crystal, value: float) -> Crystal:
        factor = _padded(np.where(np.isnan(scale), 1.0, value * scale), crystal, 1.0)
        if (factor < 0).any():
            raise RecipeError(
                f"value {value:g} makes a Debye–Waller factor {factor.min():g} times what it is; "
                "give values and factors that are not negative"
            )
        return replace(crystal, debye_waller=crystal.debye_waller * factor)

    return change


def strained(
    zone: Sequence[int],
    reference: Sequence[int],
    *,
    xx: float = 0.0,
    yy: float = 0.0,
    xy: float = 0.0,
    zz: float = 0.0,
) -> Change:
    """The cell stretched and sheared in the plane of the pattern, and stretched along the zone.

    Vectors of the crystal become (1 + v ε) times what they are, ε symmetric; positions within the
    cell, Debye–Waller factors and occupancies stay.  The plane of the pattern stays the plane, and
    since the frame of every pattern has x along the reference, what a shear turns is taken back.

    Parameters
    ----------
    zone, reference : (u, v, w) and (h, k, l)
        As for `physics.crystal.project`: z, and x of the crystal that is changed.
    xx, yy, xy, zz : float
        ε per unit of the value.  zz changes the potential per length, and nothing else.

    Raises
    ------
    RecipeError
        Once it is applied, v ε is larger than a strain.
    """
    in_plane = np.array([[xx, xy, 0.0], [xy, yy, 0.0], [0.0, 0.0, zz]])

    def change(crystal: Crystal, value: float) -> Crystal:
        most = float(np.abs(value * in_plane).max())
        if most > CRYSTAL.largest_strain:
            raise RecipeError(
                f"value {value:g} makes a strain of {most:.3g}, at most {CRYSTAL.largest_strain:g} is one; "
                "components are per unit of the value, such as xx = 0.01 for values in percent"
            )
        frame = frame_of(crystal, zone, reference)
        a, b, c = crystal.direct_basis @ (np.eye(3) + value * frame.T @ in_plane @ frame)
        la, lb, lc = (float(np.linalg.norm(v)) for v in (a, b, c))
        return replace(crystal, cell=(la, lb, lc, _angle(b, c), _angle(c, a), _angle(a, b)))

    return change


def _angle(one: Array, other: Array) -> float:
    """Between two vectors, in degrees."""
    return float(np.rad2deg(np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other)))


# ---------------------------------------------------------------- sites


def _atoms_of(crystal: Crystal, label: str) -> NDArray[np.intp]:
    """Indices of the atoms of a site."""
    atoms = np.flatnonzero(np.array(crystal.labels) == label)
    if not len(atoms):
        raise RecipeError(
            f"there is no site {label!r} in the crystal; its sites are "
            f"{', '.join(dict.fromkeys(crystal.labels))}"
        )
    return atoms


def _translations_of_one(crystal: Crystal, atoms: NDArray[np.intp]) -> bool:
    """Whether translations of the crystal lead from the first of some atoms to every other."""
    away = crystal.positions[atoms] - crystal.positions[atoms[0]]
    distance = away[:, None] - crystal.centring_translations()[None]
    near = np.abs(distance - distance.round()) < CRYSTAL.same_position
    return bool(near.all(axis=2).any(axis=1).all())


def _padded(values: Array, crystal: Crystal, fill: float = 0.0) -> Array:
    """Values of the atoms, and `fill` for those that another change has added."""
    extra = len(crystal.elements) - len(values)
    return np.concatenate([values, np.full((extra, *values.shape[1:]), fill)])


def _at(crystal: Crystal, position: Array) -> NDArray[np.intp]:
    """Indices of the atoms at a position."""
    away = crystal.positions - position
    return np.flatnonzero((np.abs(away - away.round()) < CRYSTAL.same_position).all(axis=1))


def _occupied(crystal: Crystal, atoms: NDArray[np.intp], label: str, element: str, more: float) -> Crystal:
    """More of an element on every atom of a site."""
    occupancies = crystal.occupancies.copy()
    new = []
    for atom in atoms:
        there = [i for i in _at(crystal, crystal.positions[atom]) if crystal.elements[i] == element]
        if there:
            occupancies[there[0]] += more
        else:
            new.append(atom)
    return Crystal(
        cell=crystal.cell,
        elements=(*crystal.elements, *(element for _ in new)),
        positions=np.concatenate([crystal.positions, crystal.positions[new]]),
        occupancies=np.concatenate([occupancies, np.full(len(new), more)]),
        debye_waller=np.concatenate([crystal.debye_waller, crystal.debye_waller[new]]),
        labels=(*crystal.labels, *(f"{label}:{element}" for _ in new)),
    )


def _check_full(crystal: Crystal, atoms: NDArray[np.intp], label: str, value: float) -> None:
    """Raise a RecipeError where an element of a site, or their sum, has an occupancy outside 0 … 1."""
    for atom in atoms:
        there = crystal.occupancies[_at(crystal, crystal.positions[atom])]
        for occupancy in (there.min(), there.sum()):
            if not -1e-6 <= occupancy <= 1 + 1e-6:
                raise RecipeError(
                    f"value {value:g} makes an occupancy {occupancy:g} on site {label!r}; "
                    "it must stay within 0 … 1 for every element and for their sum"
                )


# ---------------------------------------------------------------- two crystals


def same_crystal(one: Crystal, other: Crystal) -> bool:
    """Whether two crystals have the same cell and the same atoms, in whatever order."""
    try:
        to = _pairs(one, other)
    except RecipeError:
        return False
    return bool(
        (np.abs(_way(one, other, to)) < CRYSTAL.same_position).all()
        and np.allclose(one.debye_waller, other.debye_waller[to], atol=CRYSTAL.same_value)
        and np.allclose(one.occupancies, other.occupancies[to], atol=CRYSTAL.same_value)
    )


def _pairs(one: Crystal, other: Crystal) -> NDArray[np.intp]:
    """For every atom of one crystal, the index of the nearest of its element in another."""
    if not np.allclose(one.cell, other.cell, rtol=CRYSTAL.same_cell):
        raise RecipeError(
            f"the cells of the two crystals differ, {_written(one.cell)} and {_written(other.cell)}; "
            "give them the same one"
        )
    kinds, others = np.array(one.elements), np.array(other.elements)
    to = np.full(len(kinds), -1)
    for element in sorted({*one.elements, *other.elements}):
        mine, theirs = np.flatnonzero(kinds == element), np.flatnonzero(others == element)
        if len(mine) != len(theirs):
            raise RecipeError(
                f"the two crystals have {len(mine)} and {len(theirs)} atoms of {element} in the cell; "
                "they must have the same sites"
            )
        distance = _distances(one, other.positions[theirs], one.positions[mine])
        rows, columns = linear_sum_assignment(distance**2)
        to[mine[rows]] = theirs[columns]
        own = _distances(one, one.positions[mine], one.positions[mine]) + np.diag(np.full(len(mine), np.inf))
        nearest = min(float(own.min()), min(one.cell[:3]))
        farthest = float(distance[rows, columns].max())
        if farthest >= nearest / 2:
            raise RecipeError(
                f"an atom of {element} would move by {farthest:.3g} Å, and they are {nearest:.3g} Å apart: "
                "which one moves where is ambiguous; give crystals that are more alike"
            )
    return to


def _way(one: Crystal, other: Crystal, to: NDArray[np.intp]) -> Array:
    """(n, 3) fractional displacements to the nearest periodic images."""
    away = other.positions[to] - one.positions
    return np.asarray(away - away.round(), dtype=np.float64)


def _distances(crystal: Crystal, a: Array, b: Array) -> Array:
    """(b, a) distances (Å) between the nearest periodic images of two sets of positions."""
    steps = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    away = b[:, None] - a[None]
    away = away - away.round()
    images = (away[:, :, None] + steps) @ crystal.direct_basis
    return np.asarray(np.linalg.norm(images, axis=-1).min(axis=-1), dtype=np.float64)


def _written(cell: tuple[float, ...]) -> str:
    return " ".join(f"{value:.6g}" for value in cell)
