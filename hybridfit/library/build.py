"""Building a library: from a recipe to I_g(q; t) on a grid, in an `xarray.Dataset`.

With structural parameters every combination of their values is solved, on the beams and directions
that all the crystals share: those of the translations and the symmetry that they have in common.
Where cells are strained, directions share their grid coordinates ν = G·q, with the G of each cell, so
that a beam is the same whole number of grid steps in all of them.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.library.approximation import APPROXIMATION, approximation
from hybridfit.library.contents import ORDERS
from hybridfit.library.crystals import StructuralChange as StructuralChange
from hybridfit.library.crystals import changes_of, checksum_of, crystals_at, order_of
from hybridfit.library.diffuse import with_diffuse
from hybridfit.library.grid import HALO, sampling_of, wedge
from hybridfit.library.recipe import Recipe
from hybridfit.library.settings import BUILD
from hybridfit.library.sizes import Size, check_size, size_of
from hybridfit.library.slopes import solve_slopes, with_slopes
from hybridfit.quantities import quantity

if TYPE_CHECKING:
    from hybridfit.physics.projection import Projection

log = logging.getLogger("hybridfit")
FORMAT = "hybridfit library"
VERSION = 6  # of the physics: libraries of another version hold other numbers
NOTES = "assumed"  # what the crystal's file did not say
FOLDED = BUILD.folded
BEYOND_DISC = BUILD.beyond_disc
DIFFUSE_TIME = 0.5  # of the solve, roughly
LARGEST_INTENSITY = 1.5  # of the incident one: rounding makes 1.0001, a solve that fails makes 1e10
Progress = Callable[[float], None]


def solve(
    recipe: Recipe,
    parameters: Mapping[str, StructuralChange] | None = None,
    *,
    device: str = "auto",
    slopes: bool = True,
    diffuse: bool = True,
    progress: Progress | None = None,
) -> xr.Dataset:
    """The dataset of a recipe's library; parameters and errors as for `Library.build`."""
    from hybridfit.physics import scattering
    from hybridfit.physics.projection import common_beams, project_all

    structure = recipe.crystal()
    for note in structure.notes:
        log.warning("%s: %s", recipe.cif.name, note)
    changes = changes_of(recipe, structure, parameters or {})
    shape = tuple(len(change.values) for change in changes.values())
    thickness = thicknesses(recipe)
    # the crystals are many, so their number is checked with the first of them
    first_of_all = project_all([structure], recipe.zone, recipe.in_plane, holz=recipe.holz)
    check_size(_size(recipe, first_of_all, math.prod(shape)))
    crystals = crystals_at(structure, changes, order_of(recipe, changes))
    projections = project_all(crystals, recipe.zone, recipe.in_plane, structure, holz=recipe.holz)
    projection = projections[0]
    check_size(_size(recipe, projections, len(crystals)))
    to_mrad = 1e3 * scattering.wavelength(recipe.energy_kv)
    beams = common_beams(projections, recipe.g_max)
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
    enough = max(BUILD.slope_beams * recipe.g_max, min(recipe.g_max, BUILD.slope_g_max))
    fewer = common_beams(projections, enough)
    # beams beyond take part, but their discs do not reach what is looked at; the shortest are always there
    length = np.linalg.norm(beams @ cells, axis=2).min(axis=0)
    reach = max(2 * recipe.semi_angle_max + BEYOND_DISC, float(length[1:].min()))
    stored = int((length <= reach + 1e-9).sum())

    # torch is slow to import, and only needed once the recipe is known to be usable
    from hybridfit.physics import bloch, holz
    from hybridfit.physics.folding import reach_of

    radius, outer = (recipe.semi_angle_max + recipe.tilt_max) / to_mrad, FOLDED * recipe.g_max
    every = common_beams(projections, outer if recipe.holz else reach_of(outer, radius))
    # of the time
    share = 1 / (1 + (3 / BUILD.coarser**2 if slopes else 0) + (DIFFUSE_TIME if diffuse else 0))

    def solved(i: int) -> NDArray[Any]:
        part = None if progress is None else partial(_report, progress, share, i, len(projections))
        q = directions @ (bases[i] / sampling[:, None]) / to_mrad
        if recipe.holz:
            lines = holz.HolzMatrix.of(projections[i], every, len(beams), recipe.energy_kv, q)
            _check_rings(lines.inner * to_mrad, recipe)
            return holz.intensities(lines, q, thickness, keep=stored, device=device, progress=part)
        matrix = bloch.DynamicalMatrix.of(projections[i], every, recipe.energy_kv, higher_zones=True)
        matrix = matrix.folded(len(beams), outer)
        like = directions @ (bases[0] / sampling[:, None]) / to_mrad
        return bloch.beam_intensities(
            matrix, q, thickness, keep=stored, device=device, like=like, progress=part
        )

    intensity = solved(0)
    if shape:
        first, intensity = intensity, np.empty((len(projections), *intensity.shape), np.float32)
        intensity[0] = first
        for i in range(1, len(projections)):
            intensity[i] = solved(i)
        intensity = intensity.reshape(*shape, *first.shape)
    _check_intensities(intensity)
    orders = np.array([each.rotation_order for each in projections]).reshape(shape)
    moving, basis = _varying(dict(zip(changes, shape, strict=True)), bases)
    q = directions @ (basis / sampling[:, None])
    counts, coarser = (len(beams), stored), (len(fewer), stored)  # the latter for slopes
    off = approximation(
        projection, every, counts, recipe.energy_kv, (radius, outer), thickness, device=device
    )
    beams = beams[:stored]
    hkl = beams @ projection.basis_hkl
    dataset = xr.Dataset(
        {
            "intensity": (
                (*changes, "thickness", "beam", "direction"),
                intensity,
                {"units": "1", "long_name": "diffracted intensity, incident intensity = 1"},
            ),
            "basis": ((*moving, "vector", "axis"), basis, {"units": "mrad"}),
            "sampling": ("vector", sampling, {"long_name": "directions per basis vector"}),
            "symmetry": (("operation", "vector", "vector_in"), projection.symmetry),
            "beam_n": (("beam", "vector"), beams),
            "direction_n": (("direction", "vector"), directions),
            **({ORDERS: (tuple(changes), orders)} if shape else {}),
        },
        coords={
            **{name: (name, list(d.values), _about(name, d)) for name, d in changes.items()},
            "thickness": ("thickness", thickness, quantity("thickness").attrs),
            **{name: ("beam", hkl[:, i]) for i, name in enumerate("hkl")},
            "qx": ((*moving, "direction"), q[..., 0], {"units": "mrad"}),
            "qy": ((*moving, "direction"), q[..., 1], {"units": "mrad"}),
        },
        attrs={
            "format": FORMAT,
            "version": VERSION,
            "checksum": checksum_of(recipe, parameters or {}, crystals),
            "recipe": json.dumps(recipe.model_dump(mode="json", exclude={"cif"})),
            "crystal": recipe.cif.stem,
            "formula": _formula(structure.elements, structure.occupancies),
            "zone": list(recipe.zone),
            "energy_kv": recipe.energy_kv,
            "semi_angle_max_mrad": recipe.semi_angle_max,
            "tilt_max_mrad": recipe.tilt_max,
            "rotation_order": int(np.gcd.reduce(orders, axis=None)),
            APPROXIMATION: off,
            **({NOTES: "; ".join(structure.notes)} if structure.notes else {}),
        },
    )
    if diffuse:
        part = None if progress is None else partial(_rest, progress, share, share * DIFFUSE_TIME)
        dataset = with_diffuse(dataset, projections, every, len(fewer), recipe, device=device, progress=part)
    if not slopes:
        return dataset
    steps = [sampling_of(each, projection.symmetry, BUILD.coarser * recipe.sampling) for each in cells]
    coarse = np.max(steps, axis=0)
    where = _directions(cells / coarse[:, None], projection.symmetry, recipe.semi_angle_max + recipe.tilt_max)
    rest = 3 / BUILD.coarser**2 * share
    found = solve_slopes(
        projections,
        every,
        coarser,
        recipe.energy_kv,
        [where @ (each / coarse[:, None]) / to_mrad for each in bases],
        thickness,
        outer=outer,
        device=device,
        progress=None if progress is None else partial(_rest, progress, 1 - rest, rest),
    )
    return with_slopes(dataset, found, coarse, where)


def thicknesses(recipe: Recipe) -> NDArray[np.float64]:
    """Those of a recipe (nm)."""
    start, stop, step = recipe.thickness.start, recipe.thickness.stop, recipe.thickness.step
    return np.arange(round((stop - start) / step) + 1, dtype=np.float64) * step + start


def estimate(recipe: Recipe) -> Size:
    """How large the library of a recipe will be, about, and how long it will take; nothing is solved.

    Raises
    ------
    RecipeError
        The CIF or the zone axis cannot be used.
    """
    from hybridfit.physics.projection import project

    projection = project(recipe.crystal(), recipe.zone, recipe.in_plane)
    return _size(recipe, [projection], math.prod(len(p.values) for p in recipe.parameters.values()))


def _size(recipe: Recipe, projections: list[Projection], crystals: int) -> Size:
    from hybridfit.physics.scattering import wavelength

    cell = min(abs(float(np.linalg.det(each.basis))) for each in projections)
    count = round((recipe.thickness.stop - recipe.thickness.start) / recipe.thickness.step) + 1
    operations = len(projections[0].symmetry)
    return size_of(recipe, cell, operations, crystals, count, wavelength(recipe.energy_kv))


def _check_intensities(intensity: NDArray[Any]) -> None:
    """Raise a RecipeError where the solve came to nothing; the largest is never above the incident one."""
    largest = max(float(intensity.max()), -float(intensity.min()))
    if not 0 < largest < LARGEST_INTENSITY:
        raise RecipeError(
            f"the solve of this crystal failed (largest intensity {largest:.3g} of the incident one); "
            "check cell, occupancies and B in the CIF"
        )


def _directions(grid_steps: NDArray[Any], symmetry: NDArray[Any], radius: float) -> NDArray[np.int64]:
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


def _varying(sizes: Mapping[str, int], bases: NDArray[Any]) -> tuple[tuple[str, ...], NDArray[Any]]:
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


def _about(name: str, change: StructuralChange) -> dict[str, str]:
    return {**quantity(name, change.unit).attrs, "kind": str(change.kind)}


def _report(progress: Progress, share: float, done: int, count: int, fraction: float) -> None:
    progress(share * (done + fraction) / count)


def _rest(progress: Progress, before: float, share: float, fraction: float) -> None:
    progress(before + share * fraction)


def _formula(elements: tuple[str, ...], occupancies: NDArray[Any]) -> str:
    counts: dict[str, float] = {}
    for element, occupancy in zip(elements, occupancies, strict=True):
        counts[element] = counts.get(element, 0) + float(occupancy)
    return "".join(f"{e}{n:.3g}" if abs(n - 1) > 1e-6 else e for e, n in counts.items())
