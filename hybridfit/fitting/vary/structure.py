"""The crystal of a library at other values of its B, coordinates and occupancies.

Atoms that symmetry makes of one site move together.  An operation (W, w) that takes the site r to an atom,
Wr + w, takes a displacement e of the site to We.  A displacement keeps the site's own symmetry where it is in
the invariant subspace of the operations that leave r where it is,

    P e = e,        P = mean of W over Wr + w ≡ r,

and coordinate a can be varied where (P e_a)_a is not 0.  Others that symmetry ties to it follow: on (x, x,
z), y goes with x.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.vary.names import Varied
from hybridfit.fitting.vary.settings import VARY, VarySettings
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, shipped_names
from hybridfit.physics.cif import read_cif
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import Projection, project, project_all
from hybridfit.physics.settings import CRYSTAL

Array = NDArray[np.float64]
FIXED = 1e-6  # of a displacement


@dataclass(frozen=True, eq=False)
class Structure:
    """The crystal of a recipe, and the numbers of it that are fitted.

    Attributes
    ----------
    recipe : Recipe
    crystal : Crystal
        As the CIF and the recipe have it.
    projection : Projection
        Of that crystal: with the basis and the symmetry of the library.
    varied : tuple of Varied
    motions : name of each coordinate to (n, 3)
        Displacement of every atom (fractions of the cell) where the coordinate grows by 1.
    atoms : name to (n,) bool
        Which atoms a number is of.
    """

    recipe: Recipe
    crystal: Crystal
    projection: Projection
    varied: tuple[Varied, ...]
    motions: Mapping[str, Array]
    atoms: Mapping[str, NDArray[np.bool_]]

    @classmethod
    def of(cls, recipe: Recipe, varied: Sequence[Varied]) -> Structure:
        """The structure of a recipe.

        Raises
        ------
        InputError
            There is no such atom, a coordinate is fixed by symmetry, two names are of the same atoms, or a
            change would break the symmetry that the library uses.
        """
        crystal = recipe.crystal()
        projection = project(crystal, recipe.zone, recipe.in_plane)
        atoms = {each.name: _atoms_of(crystal, each) for each in varied}
        operations = read_cif(recipe.cif, recipe.block, {}).atoms.operations
        motions = {
            each.name: _motion(crystal, each, atoms[each.name], operations, recipe)
            for each in varied
            if each.kind in "xyz"
        }
        out = cls(recipe, crystal, projection, tuple(varied), motions, atoms)
        out._check()
        return out

    def _check(self) -> None:
        """Raise an InputError for names of the same atoms, and for what breaks the library's symmetry."""
        for i, one in enumerate(self.varied):
            for other in self.varied[:i]:
                if one.kind == other.kind and (self.atoms[one.name] & self.atoms[other.name]).any():
                    raise InputError(f"{other.name} and {one.name} are of the same atoms; give one of them")
        recipe, start = self.recipe, self.start
        for each in self.varied:
            moved = self.at({**start, each.name: start[each.name] + self.off(each)})
            crystals = [self.crystal, moved]
            common = project_all(crystals, recipe.zone, recipe.in_plane, holz=recipe.holz)[0]
            own = project(self.crystal, recipe.zone, recipe.in_plane)
            same = np.array_equal(common.basis_hkl, own.basis_hkl)
            if not same or len(common.symmetry) < len(own.symmetry):
                raise InputError(
                    f"{each.name} would make atoms different that are alike in this projection, and the "
                    "library holds only one of each; vary all of them together, by their element"
                )

    def off(self, varied: Varied) -> float:
        """A change of a number that is seen: to where no symmetry holds that its site does not have."""
        if varied.kind == "B":
            return 0.1
        low, high = self.bounds[varied.name]
        reach = 0.02 if varied.kind == "occ" else 0.25 * (high - low)
        return reach if self.start[varied.name] + reach < high else -reach

    @property
    def start(self) -> dict[str, float]:
        """Values of the CIF; a B that several sites share is their mean."""
        out = {}
        for each in self.varied:
            mine = self.atoms[each.name]
            if each.kind == "B":
                out[each.name] = float(self.crystal.debye_waller[mine].mean())
            elif each.kind == "occ":
                out[each.name] = float(self.crystal.occupancies[mine].mean())
            else:
                out[each.name] = float(self.crystal.positions[mine][0, each.axis])
        return out

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest values: of good sense; a site holds no more than one atom."""
        return {each.name: self._bounds_of(each) for each in self.varied}

    def _bounds_of(self, varied: Varied, settings: VarySettings = VARY) -> tuple[float, float]:
        if varied.kind == "B":
            return settings.least_b, settings.most_b
        mine = self.atoms[varied.name]
        if varied.kind == "occ":
            return 0.0, min(1.0, *(1.0 - self._others(int(j), mine) for j in np.flatnonzero(mine)))
        start, reach = self.start[varied.name], settings.coordinate_room / self.edge(varied)
        return start - reach, start + reach

    def _others(self, atom: int, mine: NDArray[np.bool_]) -> float:
        """The share of a site that other atoms have."""
        away = self.crystal.positions - self.crystal.positions[atom]
        here = (np.abs(away - np.rint(away)) < CRYSTAL.same_position).all(axis=1)
        return float(self.crystal.occupancies[here & ~mine].sum())

    def edge(self, varied: Varied) -> float:
        """Length of the cell along a coordinate (Å): of a displacement that makes it grow by 1."""
        motion = self.motions[varied.name]
        return float(np.linalg.norm(motion @ self.crystal.direct_basis, axis=1).max())

    def at(self, values: Mapping[str, float], warmer: float = 0.0) -> Crystal:
        """The crystal at values of the varied numbers; the B of others is (1 + warmer) times its own."""
        crystal = self.crystal
        b, occupancies = crystal.debye_waller * (1 + warmer), crystal.occupancies.copy()
        positions = crystal.positions.copy()
        start = self.start
        for each in self.varied:
            mine, value = self.atoms[each.name], values[each.name]
            if each.kind == "B":
                b[mine] = value
            elif each.kind == "occ":
                occupancies[mine] = value
            else:
                positions += (value - start[each.name]) * self.motions[each.name]
        return replace(crystal, positions=positions, occupancies=occupancies, debye_waller=b)

    def projected(self, values: Mapping[str, float], warmer: float = 0.0) -> Projection:
        """Its projection, on the library's basis."""
        return replace(self.projection, crystal=self.at(values, warmer))

    @property
    def others_vibrate(self) -> bool:
        """Whether there are atoms whose B is not varied."""
        mine = np.zeros(len(self.crystal.elements), bool)
        for each in self.varied:
            if each.kind == "B":
                mine |= self.atoms[each.name]
        return not mine.all()

    @property
    def vibration_varied(self) -> bool:
        """Whether some B is varied."""
        return any(each.kind == "B" for each in self.varied)


def recipe_of(library: Library) -> Recipe:
    """The recipe that a library was built from, with its CIF.

    Raises
    ------
    InputError
        It is not known, or the library has structural parameters.
    """
    if library.structure or "at" in library.dataset.attrs:
        raise _of_several(library.structure)
    recipe = library.recipe
    if recipe is None and library.path is not None:
        recipe = recipe_named(str(library.path))
    if recipe is None:
        where = "" if library.path is None else f" {Path(library.path).name}"
        raise InputError(
            f"the library file{where} does not hold its crystal, which vary solves again; give the recipe "
            "(.toml) or the name of a shipped library"
        )
    if recipe.checksum() != library.dataset.attrs["checksum"]:
        raise InputError("the recipe has changed since this library was built; open the recipe anew")
    return recipe


def recipe_named(name: str) -> Recipe | None:
    """The recipe of a file or a shipped name; None where that is no recipe."""
    if Path(name).suffix == ".toml":
        return Recipe.read(name)
    return Recipe.shipped(name) if name in shipped_names() else None


def check_vary(varied: Sequence[Varied], library: str) -> None:
    """Raise an InputError for what a library by its name or file cannot vary; nothing is built for that."""
    recipe = recipe_named(library)
    if recipe is None:
        return
    if recipe.parameters:
        raise _of_several(recipe.parameters)
    Structure.of(recipe, varied)


def _of_several(names: Iterable[str]) -> InputError:
    listed = ", ".join(names) or "taken at a value"
    return InputError(
        f"this library has structural parameters ({listed}), and vary takes a library of one crystal; "
        "leave them out of the recipe"
    )


def _atoms_of(crystal: Crystal, varied: Varied) -> NDArray[np.bool_]:
    """Atoms with a label, or else those of an element."""
    by_label = np.array([label == varied.atoms for label in crystal.labels])
    if varied.kind in "xyz" or (by_label.any() and varied.atoms not in crystal.elements):
        if not by_label.any():
            what = "label" if varied.atoms not in crystal.elements else "label (that is an element)"
            raise InputError(f"{varied.name}: there is no site with this {what}; {_listed(crystal)}")
        return by_label
    found = by_label | np.array([element == varied.atoms for element in crystal.elements])
    if not found.any():
        raise InputError(f"{varied.name}: there is no such site or element; {_listed(crystal)}")
    return found


def _listed(crystal: Crystal) -> str:
    labels, elements = (", ".join(dict.fromkeys(each)) for each in (crystal.labels, crystal.elements))
    return f"sites are {labels}; elements are {elements}"


def _motion(
    crystal: Crystal,
    varied: Varied,
    mine: NDArray[np.bool_],
    operations: Sequence[tuple[Array, Array]],
    recipe: Recipe,
) -> Array:
    """(n, 3): how all atoms move where a coordinate of a site grows by 1."""
    site = crystal.positions[mine][0]

    def leads(w: Array, shift: Array, to: Array) -> bool:
        away = w @ site + shift - to
        return bool((np.abs(away - np.rint(away)) < CRYSTAL.same_position).all())

    unit = np.eye(3)[varied.axis]
    own = [w for w, shift in operations if leads(w, shift, site)]
    free = np.mean(own, axis=0) @ unit
    if abs(free[varied.axis]) < FIXED:
        raise InputError(
            f"{varied.name} is fixed by the symmetry of its site ({site[varied.axis]:.4g}); "
            "vary another coordinate, or give a CIF of lower symmetry"
        )
    free = free / free[varied.axis]
    out = np.zeros((len(crystal.elements), 3))
    for j in np.flatnonzero(mine):
        to = crystal.positions[j]
        w = next((w for w, shift in operations if leads(w, shift, to)), None)
        if w is None:
            raise InputError(
                f"{varied.name}: several sites of the CIF have the label {varied.atoms!r}; give each its own"
            )
        out[j] = w @ free
    zone = np.array(recipe.zone) @ crystal.direct_basis
    across = out[mine] @ crystal.direct_basis
    across -= np.outer(across @ zone, zone) / (zone @ zone)
    if np.linalg.norm(across, axis=1).max() < FIXED:
        raise InputError(
            f"{varied.name} moves atoms along the beam, which a pattern does not show; take another zone axis"
        )
    return out
