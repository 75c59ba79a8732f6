"""The crystals of a recipe: one for every combination of the values of its structural parameters.

Changes are made in a fixed order (`order_of`), the values of the last parameter running fastest.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hybridfit.errors import RecipeError
from hybridfit.library.recipe import Recipe
from hybridfit.library.structural import (
    KINDS,
    MOST_VALUES,
    NO_FRAME,
    Kind,
    StructuralTable,
    check_name,
    checked_values,
    default_kind,
)

if TYPE_CHECKING:
    from hybridfit.physics.crystal import Crystal
    from hybridfit.physics.distortions import Change


@dataclass(frozen=True)
class StructuralChange:
    """A structural parameter made in Python: values, and what each of them makes of the crystal.

    Parameters
    ----------
    values : sequence of float, ascending
    change : callable (Crystal, float) → Crystal
        From the recipe's crystal and a value to another `hybridfit.physics.crystal.Crystal`, whose
        cell may be a strained one; `hybridfit.physics.distortions` has some.
    unit : str
    kind : "continuous" or "discrete", optional
        By default continuous where there are three values or more.
    """

    values: Sequence[float]
    change: Callable[[Any, float], Any]
    unit: str = "1"
    kind: Kind | None = None


def crystals_of(recipe: Recipe) -> list[Crystal]:
    """The crystal of every combination of its structural parameters' values, the last running fastest."""
    structure = recipe.crystal()
    changes = changes_of(recipe, structure, {})
    return crystals_at(structure, changes, order_of(recipe, changes))


def changes_of(
    recipe: Recipe, structure: Crystal, parameters: Mapping[str, StructuralChange]
) -> dict[str, StructuralChange]:
    """The structural parameters of a recipe, then those made in Python, with their kinds."""
    out = {
        name: StructuralChange(p.values, _change(name, p, structure, recipe), p.unit, p.kind)
        for name, p in recipe.parameters.items()
    }
    for name, change in parameters.items():
        try:
            check_name(name)
            values = checked_values(change.values)
        except (TypeError, ValueError) as error:
            raise RecipeError(f"parameter {name}: {error}") from None
        if name in out:
            raise RecipeError(f"parameter {name} is in the recipe already; give it another name")
        if change.kind not in (None, *KINDS):
            raise RecipeError(f"parameter {name}: kind {change.kind!r} is none of {', '.join(KINDS)}")
        out[name] = replace(change, values=values, kind=change.kind or default_kind(values))
    count = math.prod(len(d.values) for d in out.values())
    if count > MOST_VALUES:
        raise RecipeError(f"{count} combinations of {', '.join(out)} are too many; give fewer values")
    return out


def _change(name: str, parameter: StructuralTable, structure: Crystal, recipe: Recipe) -> Change:
    """What a table of a recipe makes of the crystal."""
    from hybridfit.physics import distortions
    from hybridfit.physics.crystal import Crystal

    try:
        if parameter.displace is not None:
            return distortions.displaced(structure, parameter.displace)
        if parameter.occupancy is not None:
            return distortions.substituted(structure, parameter.occupancy)
        if parameter.debye_waller is not None:
            return distortions.vibrating(structure, parameter.debye_waller)
        if parameter.invert:
            return distortions.inverted
        if parameter.strain is not None:
            if recipe.in_plane is None:
                raise RecipeError(f"it is {NO_FRAME}")
            return distortions.strained(recipe.zone, recipe.in_plane, **parameter.strain.model_dump())
        given = {e: b for e, b in recipe.debye_waller.items() if e in structure.elements}
        first, last = (Crystal.from_cif(file, debye_waller=given) for file in parameter.files)
        if not distortions.same_crystal(structure, first):
            raise RecipeError(
                f"{parameter.files[0]} is another crystal than that of the recipe; start from it"
            )
        # with the atoms in the order of the recipe's crystal
        if parameter.angle is not None:
            return distortions.turned(structure, last, parameter.angle)
        return (distortions.switched if parameter.child else distortions.morphed)(structure, last)
    except RecipeError as error:
        raise RecipeError(f"parameter {name}: {error}") from None


def order_of(recipe: Recipe, changes: Mapping[str, StructuralChange]) -> list[str]:
    """Names in the order in which the changes are made.

    Atoms that are added come to where the others are, and what has been displaced is inverted as a whole.
    """
    kinds = ("path", "parent", "displace", "debye_waller", "occupancy", "invert", "strain")
    ranks = {name: kinds.index(p.change) for name, p in recipe.parameters.items()}
    return sorted(changes, key=lambda name: ranks.get(name, len(kinds)))


def crystals_at(
    structure: Crystal, changes: Mapping[str, StructuralChange], order: Sequence[str]
) -> list[Crystal]:
    """The crystal of every combination of values, the last parameter running fastest."""
    from hybridfit.physics.crystal import Crystal

    out = []
    for combination in itertools.product(*(d.values for d in changes.values())):
        crystal = structure
        values = dict(zip(changes, combination, strict=True))
        for name in order:
            value = values[name]
            try:
                crystal = changes[name].change(crystal, value)
            except RecipeError as error:
                raise RecipeError(f"parameter {name}: {error}") from None
            if not isinstance(crystal, Crystal):
                raise RecipeError(
                    f"parameter {name}: at {value:g} the change gave {type(crystal).__name__}, not a Crystal"
                )
        out.append(crystal)
    return out


def checksum_of(
    recipe: Recipe, parameters: Mapping[str, StructuralChange], crystals: Sequence[Crystal]
) -> str:
    """The recipe's own, unless Python has a part in it: then the crystals are told apart, too."""
    if not parameters:
        return recipe.checksum()
    out = hashlib.sha256(recipe.checksum().encode())
    for name, d in parameters.items():
        out.update(repr((name, [float(v) for v in d.values], d.unit, d.kind)).encode())
    for crystal in crystals:
        out.update(repr((crystal.cell, crystal.elements)).encode())
        for values in (crystal.positions, crystal.occupancies, crystal.debye_waller):
            out.update(values.tobytes())
    return out.hexdigest()
