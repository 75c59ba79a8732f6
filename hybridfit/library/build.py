"""Building a library: from a recipe to I_g(q; t) on a grid, in an `xarray.Dataset`.

With structural parameters every combination of their values is solved, on the beams and directions
that all the crystals share: those of the translations and the symmetry that they have in common.
Where cells are strained, directions share their grid coordinates ν = G·q, with the G of each cell, so
that a beam is the same whole number of grid steps in all of them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.library.grid import sampling_of, wedge
from hybridfit.library.recipe import Recipe
from hybridfit.library.structural import (
    KINDS,
    MOST_VALUES,
    NO_FRAME,
    Kind,
    StructuralParameter,
    check_name,
    checked_values,
    default_kind,
)
from hybridfit.quantities import quantity

if TYPE_CHECKING:
    from hybridfit.physics.crystal import Crystal
    from hybridfit.physics.distortions import Change

FORMAT = "hybridfit library"
VERSION = 4
HALO = 4  # grid steps solved beyond the largest direction: interpolation reaches two further
FOLDED = 1.6  # times g_max: longer beams than g_max act through the potential (Bethe), up to here
BEYOND_DISC = 7.5  # mrad around the direct disc that patterns cover
ORDERS = "rotation_orders"  # of the projection at every combination of structural parameters
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Dimension:
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


def solve(
    recipe: Recipe,
    parameters: Mapping[str, Dimension] | None = None,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> xr.Dataset:
    """The dataset of a recipe's library; parameters and errors as for `Library.build`."""
    # torch is slow to import and only needed here
    from hybridfit.physics import bloch, crystal, holz, scattering

    structure = crystal.Crystal.from_cif(recipe.cif)
    dimensions = _dimensions(recipe, structure, parameters or {})
    shape = tuple(len(dimension.values) for dimension in dimensions.values())
    crystals = _crystals(structure, dimensions, _order(recipe, dimensions))
    projections = crystal.project_all(crystals, recipe.zone, recipe.in_plane, structure, holz=recipe.holz)
    projection = projections[0]
    wavelength = scattering.wavelength(recipe.energy_kv)
    to_mrad = wavelength * 1e3
    beams = crystal.common_beams(projections, recipe.g_max)
    if len(beams) == 1:
        shortest = np.linalg.norm(projection.basis, axis=1).min()
        raise RecipeError(
            f"g_max {recipe.g_max:g} Å⁻¹ leaves only the direct beam; "
            f"the shortest reflection in this zone is {shortest:.3g} Å⁻¹"
        )
    bases = np.stack([each.basis * to_mrad for each in projections])
    cells = np.unique(bases, axis=0)
    sampling = np.max([sampling_of(each, projection.symmetry, recipe.sampling) for each in cells], axis=0)
    directions = _directions(
        cells / sampling[:, None], projection.symmetry, recipe.semi_angle_max + recipe.tilt_max
    )
    start, stop, step = recipe.thickness.start, recipe.thickness.stop, recipe.thickness.step
    thickness = np.arange(round((stop - start) / step) + 1, dtype=np.float64) * step + start
    every = crystal.common_beams(projections, FOLDED * recipe.g_max)
    # beams beyond take part, but their discs do not reach what is looked at
    length = np.linalg.norm(beams @ cells, axis=2).min(axis=0)
    stored = int((length <= 2 * recipe.semi_angle_max + BEYOND_DISC + 1e-9).sum())

    def solved(i: int) -> NDArray:
        part = None if progress is None else partial(_report, progress, i, len(projections))
        q = directions @ (bases[i] / sampling[:, None]) / to_mrad
        if recipe.holz:
            lines = holz.HolzMatrix.of(projections[i], every, len(beams), recipe.energy_kv, q)
            _check_rings(lines.inner * to_mrad, recipe)
            return holz.intensities(lines, q, thickness, keep=stored, device=device, progress=part)
        matrix = bloch.DynamicalMatrix.of(projections[i], every, recipe.energy_kv, higher_zones=True)
        matrix = matrix.folded(len(beams))
        return bloch.beam_intensities(matrix, q, thickness, keep=stored, device=device, progress=part)

    intensity = solved(0)
    if shape:
        first, intensity = intensity, np.empty((len(projections), *intensity.shape), np.float32)
        intensity[0] = first
        for i in range(1, len(projections)):
            intensity[i] = solved(i)
        intensity = intensity.reshape(*shape, *first.shape)
    orders = np.array([each.rotation_order for each in projections]).reshape(shape)
    moving, basis = _varying(dict(zip(dimensions, shape, strict=True)), bases)
    q = directions @ (basis / sampling[:, None])
    beams = beams[:stored]
    hkl = beams @ projection.basis_hkl
    return xr.Dataset(
        {
            "intensity": (
                (*dimensions, "thickness", "beam", "direction"),
                intensity,
                {"units": "1", "long_name": "diffracted intensity, incident intensity = 1"},
            ),
            "basis": ((*moving, "vector", "axis"), basis, {"units": "mrad"}),
            "sampling": ("vector", sampling, {"long_name": "directions per basis vector"}),
            "symmetry": (("operation", "vector", "vector_in"), projection.symmetry),
            "beam_n": (("beam", "vector"), beams),
            "direction_n": (("direction", "vector"), directions),
            **({ORDERS: (tuple(dimensions), orders)} if shape else {}),
        },
        coords={
            **{name: (name, list(d.values), _about(name, d)) for name, d in dimensions.items()},
            "thickness": ("thickness", thickness, quantity("thickness").attrs),
            **{name: ("beam", hkl[:, i]) for i, name in enumerate("hkl")},
            "qx": ((*moving, "direction"), q[..., 0], {"units": "mrad"}),
            "qy": ((*moving, "direction"), q[..., 1], {"units": "mrad"}),
        },
        attrs={
            "format": FORMAT,
            "version": VERSION,
            "checksum": _checksum(recipe, parameters or {}, crystals),
            "recipe": json.dumps(recipe.model_dump(mode="json", exclude={"cif"})),
            "crystal": recipe.cif.stem,
            "formula": _formula(structure.elements, structure.occupancies),
            "zone": list(recipe.zone),
            "energy_kv": recipe.energy_kv,
            "semi_angle_max_mrad": recipe.semi_angle_max,
            "tilt_max_mrad": recipe.tilt_max,
            "rotation_order": int(np.gcd.reduce(orders, axis=None)),
        },
    )


def crystals_of(recipe: Recipe) -> list[Crystal]:
    """The crystal of every combination of its structural parameters' values, the last running fastest."""
    from hybridfit.physics.crystal import Crystal

    structure = Crystal.from_cif(recipe.cif)
    dimensions = _dimensions(recipe, structure, {})
    return _crystals(structure, dimensions, _order(recipe, dimensions))


def _directions(grid_steps: NDArray, symmetry: NDArray, radius: float) -> NDArray[np.int64]:
    """(d, 2) grid points of the wedge within a radius (mrad), and what interpolation needs, in any cell."""
    parts = []
    for each in grid_steps:
        reach = radius + HALO * np.linalg.norm(each, axis=1).max()
        parts.append(wedge(each, symmetry, reach))
    return parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts), axis=0)


def _check_rings(inner: float, recipe: Recipe) -> None:
    """Raise a RecipeError where discs of higher zones (mrad from the middle) would be in the patterns."""
    reach = 2 * recipe.semi_angle_max + BEYOND_DISC
    if inner <= reach:
        raise RecipeError(
            f"holz: beams of higher zones come within {inner:.3g} mrad of the direct one, into the patterns, "
            f"which libraries have no room for (it has to be more than {reach:.3g}); make semi_angle_max "
            "smaller, or leave holz out"
        )


def _varying(sizes: Mapping[str, int], bases: NDArray) -> tuple[tuple[str, ...], NDArray]:
    """The structural parameters that a basis depends on, and the bases (value of each, …, 2, 2)."""
    basis = bases.reshape(*sizes.values(), 2, 2)
    moving: list[str] = []
    for name in sizes:
        place = len(moving)
        if np.allclose(basis, basis.take([0], place), rtol=1e-9, atol=1e-9 * np.abs(bases).max()):
            basis = basis.take(0, place)
        else:
            moving.append(name)
    return tuple(moving), basis


def _dimensions(
    recipe: Recipe, structure: Crystal, parameters: Mapping[str, Dimension]
) -> dict[str, Dimension]:
    """The structural parameters of a recipe, then those made in Python, with their kinds."""
    out = {
        name: Dimension(p.values, _change(name, p, structure, recipe), p.unit, p.kind)
        for name, p in recipe.parameters.items()
    }
    for name, dimension in parameters.items():
        try:
            check_name(name)
            values = checked_values(dimension.values)
        except (TypeError, ValueError) as error:
            raise RecipeError(f"parameter {name}: {error}") from None
        if name in out:
            raise RecipeError(f"parameter {name} is in the recipe already; give it another name")
        if dimension.kind not in (None, *KINDS):
            raise RecipeError(f"parameter {name}: kind {dimension.kind!r} is none of {', '.join(KINDS)}")
        out[name] = replace(dimension, values=values, kind=dimension.kind or default_kind(values))
    count = int(np.prod([len(d.values) for d in out.values()]))
    if count > MOST_VALUES:
        raise RecipeError(f"{count} combinations of {', '.join(out)} are too many; give fewer values")
    return out


def _change(name: str, parameter: StructuralParameter, structure: Crystal, recipe: Recipe) -> Change:
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
        first, last = (Crystal.from_cif(file) for file in parameter.files)
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


def _order(recipe: Recipe, dimensions: Mapping[str, Dimension]) -> list[str]:
    """Names in the order in which the changes are made.

    Atoms that are added come to where the others are, and what has been displaced is inverted as a whole.
    """
    kinds = ("path", "parent", "displace", "debye_waller", "occupancy", "invert", "strain")
    ranks = {name: kinds.index(p.change) for name, p in recipe.parameters.items()}
    return sorted(dimensions, key=lambda name: ranks.get(name, len(kinds)))


def _crystals(structure: Crystal, dimensions: Mapping[str, Dimension], order: Sequence[str]) -> list[Crystal]:
    """The crystal of every combination of values, the last parameter running fastest."""
    from hybridfit.physics.crystal import Crystal

    out = []
    for combination in itertools.product(*(d.values for d in dimensions.values())):
        crystal = structure
        values = dict(zip(dimensions, combination, strict=True))
        for name in order:
            value = values[name]
            try:
                crystal = dimensions[name].change(crystal, value)
            except RecipeError as error:
                raise RecipeError(f"parameter {name}: {error}") from None
            if not isinstance(crystal, Crystal):
                raise RecipeError(
                    f"parameter {name}: at {value:g} the change gave {type(crystal).__name__}, not a Crystal"
                )
        out.append(crystal)
    return out


def _about(name: str, dimension: Dimension) -> dict[str, str]:
    return {**quantity(name, dimension.unit).attrs, "kind": str(dimension.kind)}


def _report(progress: Progress, done: int, count: int, fraction: float) -> None:
    progress((done + fraction) / count)


def _checksum(recipe: Recipe, parameters: Mapping[str, Dimension], crystals: Sequence[Crystal]) -> str:
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


def _formula(elements: tuple[str, ...], occupancies: NDArray) -> str:
    counts: dict[str, float] = {}
    for element, occupancy in zip(elements, occupancies, strict=True):
        counts[element] = counts.get(element, 0) + float(occupancy)
    return "".join(f"{e}{n:.3g}" if abs(n - 1) > 1e-6 else e for e, n in counts.items())
