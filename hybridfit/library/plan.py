"""What is decided before a library is solved: its crystals, beams and directions, and the solve of a part.

With structural parameters every combination of their values is solved, on the beams and directions
that all the crystals share: those of the translations and the symmetry that they have in common.
Where cells are strained, directions share their grid coordinates ν = G·q, with the G of each cell, so
that a beam is the same whole number of grid steps in all of them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.library.crystals import StructuralChange, changes_of, checksum_of, crystals_at, order_of
from hybridfit.library.grid import HALO, beams_reach, sampling_of, wedge
from hybridfit.library.recipe import Recipe
from hybridfit.library.settings import BUILD
from hybridfit.library.sizes import Size, check_size, size_of

if TYPE_CHECKING:
    from hybridfit.physics.crystal import Crystal
    from hybridfit.physics.projection import Projection

log = logging.getLogger("hybridfit")
Progress = Callable[[float], None]
LARGEST_INTENSITY = 1.5  # of the incident one: rounding makes 1.0001, a solve that fails makes 1e10


@dataclass(frozen=True)
class Plan:
    """A library that is to be solved.

    Attributes
    ----------
    recipe : Recipe
    structure : Crystal
        That of the recipe, before any structural change.
    changes : mapping of name to StructuralChange
    checksum : str
    thickness : (m,) array, nm
    projections : list of Projection
        Of every crystal, the last parameter running fastest.
    bases : (crystal, 2, 2) array, mrad
        Their reciprocal bases.
    sampling : (2,) int array
        Grid steps per basis vector.
    directions : (d, 2) int array
        Grid points, in the order of the blocks that they are solved and kept in.
    block : int
        Directions in a block.
    every : (b, 2) int array
        Beams that take part, the strong ones first.
    strong, fewer, stored : int
        How many are strong, how many are where a few per cent suffice, and how many are kept.
    radius, outer : float, Å⁻¹
        The largest direction; beams with 2K s_g < −outer² are left out.
    """

    recipe: Recipe
    structure: Crystal
    changes: Mapping[str, StructuralChange]
    checksum: str
    thickness: NDArray[np.float64]
    projections: list[Projection]
    bases: NDArray[np.float64]
    sampling: NDArray[np.int64]
    directions: NDArray[np.int64]
    block: int
    every: NDArray[np.int64]
    strong: int
    fewer: int
    stored: int
    radius: float
    outer: float

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        parameters: Mapping[str, StructuralChange] | None = None,
        *,
        whole: bool = False,
    ) -> Plan:
        """What the library of a recipe needs; parameters and errors as for `Library.build`.

        With `whole` all of it has to fit into memory, otherwise what a file written block by block takes.
        """
        from hybridfit.physics import scattering
        from hybridfit.physics.projection import common_beams, project_all

        if recipe.holz and recipe.tilt_max > BUILD.near_tilt:
            raise RecipeError(
                "holz: beams of higher zones are solved about the zone axis, and are worse than none at "
                f"tilt_max {recipe.tilt_max:g} mrad; make it {BUILD.near_tilt:g} or less, or leave holz out"
            )
        structure = recipe.crystal()
        for note in structure.notes:
            log.warning("%s: %s", recipe.cif.name, note)
        changes = changes_of(recipe, structure, parameters or {})
        counts = _counts(changes)
        # the crystals are many, so their number is checked with the first of them
        first_of_all = project_all([structure], recipe.zone, recipe.in_plane, holz=recipe.holz)
        check_size(size_of_library(recipe, first_of_all, counts, whole=whole))
        crystals = crystals_at(structure, changes, order_of(recipe, changes))
        projections = project_all(crystals, recipe.zone, recipe.in_plane, structure, holz=recipe.holz)
        check_size(size_of_library(recipe, projections, counts, whole=whole))
        to_mrad = 1e3 * scattering.wavelength(recipe.energy_kv)
        beams = common_beams(projections, recipe.g_max)
        if len(beams) == 1:
            shortest = np.linalg.norm(projections[0].basis, axis=1).min()
            raise RecipeError(
                f"g_max {recipe.g_max:g} Å⁻¹ leaves only the direct beam; "
                f"the shortest reflection in this zone is {shortest:.3g} Å⁻¹"
            )
        bases = np.stack([each.basis * to_mrad for each in projections])
        cells, symmetry = np.unique(bases, axis=0), projections[0].symmetry
        sampling = np.max([sampling_of(each, symmetry, recipe.sampling) for each in cells], axis=0)
        reach = recipe.semi_angle_max + recipe.tilt_max
        directions = directions_within(cells / sampling[:, None], symmetry, reach)
        enough = max(BUILD.slope_beams * recipe.g_max, min(recipe.g_max, BUILD.slope_g_max))
        # beams beyond take part, but are out of sight; the shortest are always there
        length = np.linalg.norm(beams @ cells, axis=2).min(axis=0)
        seen = max(beams_reach(recipe.semi_angle_max, recipe.tilt_max), float(length[1:].min()))
        stored = int((length <= seen + 1e-9).sum())
        block = max(1, int(BUILD.block / (4.0 * len(thicknesses(recipe)) * stored)))
        if len(directions) > block:  # neighbours are kept together
            block = -(-len(directions) // -(-len(directions) // block))
            directions = directions[by_places(directions @ (cells[0] / sampling[:, None]))]

        # torch is slow to import, and only needed once the recipe is known to be usable
        from hybridfit.physics.folding import reach_of

        radius, outer = reach / to_mrad, BUILD.folded * recipe.g_max
        return cls(
            recipe=recipe,
            structure=structure,
            changes=changes,
            checksum=checksum_of(recipe, parameters or {}, crystals),
            thickness=thicknesses(recipe),
            projections=projections,
            bases=bases,
            sampling=sampling,
            directions=directions,
            block=min(block, len(directions)),
            every=common_beams(projections, outer if recipe.holz else reach_of(outer, radius)),
            strong=len(beams),
            fewer=len(common_beams(projections, enough)),
            stored=stored,
            radius=radius,
            outer=outer,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Values of each structural parameter."""
        return tuple(len(change.values) for change in self.changes.values())

    @property
    def cells(self) -> NDArray[np.float64]:
        """(n, 2, 2) reciprocal bases that differ (mrad)."""
        return np.unique(self.bases, axis=0)

    @property
    def to_mrad(self) -> float:
        """mrad of an Å⁻¹."""
        from hybridfit.physics.scattering import wavelength

        return 1e3 * wavelength(self.recipe.energy_kv)

    def wavevectors(self, i: int, points: NDArray[np.int64], sampling: NDArray[np.int64]) -> NDArray[Any]:
        """(d, 2) directions of crystal i in Å⁻¹, from grid points of a sampling."""
        return np.asarray(points @ (self.bases[i] / sampling[:, None]) / self.to_mrad)

    def intensities(
        self, i: int, part: slice, *, device: str, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """I_g(q; t) of crystal i in a part of the directions: (thickness, stored, part) float32.

        Raises
        ------
        RecipeError
            The solve came to nothing; or lines of higher zones are within the patterns.
        """
        from hybridfit.physics import bloch, holz

        recipe, points = self.recipe, self.directions[part]
        q = self.wavevectors(i, points, self.sampling)
        if recipe.holz:
            lines = holz.HolzMatrix.of(self.projections[i], self.every, self.strong, recipe.energy_kv, q)
            _check_rings(lines.inner * self.to_mrad, recipe)
            found = holz.intensities(
                lines, q, self.thickness, keep=self.stored, device=device, progress=progress
            )
        else:
            matrix = bloch.DynamicalMatrix.of(
                self.projections[i], self.every, recipe.energy_kv, higher_zones=True
            )
            found = bloch.beam_intensities(
                matrix.folded(self.strong, self.outer),
                q,
                self.thickness,
                keep=self.stored,
                device=device,
                strain=np.linalg.solve(self.bases[0], self.bases[i]) if i else None,
                progress=progress,
            )
        largest = max(float(found.max()), -float(found.min()))  # never above the incident one
        if not 0 < largest < LARGEST_INTENSITY:
            raise RecipeError(
                f"the solve of this crystal failed (largest intensity {largest:.3g} of the incident one); "
                "check cell, occupancies and B in the CIF"
            )
        return np.asarray(found, np.float32)


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
    return size_of_library(recipe, [projection], _counts(recipe.parameters))


def size_of_library(
    recipe: Recipe, projections: list[Projection], counts: tuple[int, int], *, whole: bool = False
) -> Size:
    """The size of a library of crystals like these: how many there are, and how many diffuse tables."""
    from hybridfit.physics.scattering import wavelength

    cell = min(abs(float(np.linalg.det(each.basis))) for each in projections)
    count = round((recipe.thickness.stop - recipe.thickness.start) / recipe.thickness.step) + 1
    operations = len(projections[0].symmetry)
    crystals, tables = counts
    return size_of(
        recipe, cell, operations, crystals, count, wavelength(recipe.energy_kv), tables=tables, whole=whole
    )


def _counts(changes: Mapping[str, Any]) -> tuple[int, int]:
    """Crystals, and those with a diffuse table of their own: combinations of discrete values."""
    discrete = [len(change.values) for change in changes.values() if change.kind != "continuous"]
    return math.prod(len(change.values) for change in changes.values()), math.prod(discrete)


def directions_within(grid_steps: NDArray[Any], symmetry: NDArray[Any], radius: float) -> NDArray[np.int64]:
    """(d, 2) grid points of the wedge within a radius (mrad), and what interpolation needs, in any cell."""
    parts = []
    for each in grid_steps:
        reach = radius + HALO * np.linalg.norm(each, axis=1).max()
        parts.append(wedge(each, symmetry, reach))
    return parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts), axis=0)


def by_places(q: NDArray[Any]) -> NDArray[np.intp]:
    """The order of directions (d, 2) mrad along squares, up one column of them and down the next."""
    column, row = np.floor(q / BUILD.square + 0.5).astype(int).T
    return np.lexsort((np.arange(len(q)), np.where(column % 2, -row, row), column))


def _check_rings(inner: float, recipe: Recipe) -> None:
    """Raise a RecipeError where discs of higher zones (mrad from the middle) would be in the patterns."""
    reach = beams_reach(recipe.semi_angle_max, recipe.tilt_max)
    if inner <= reach:
        raise RecipeError(
            f"holz: beams of higher zones come within {inner:.3g} mrad of the direct one, into the patterns, "
            f"which libraries have no room for (it has to be more than {reach:.3g}); make semi_angle_max "
            "smaller, or leave holz out"
        )
