"""The crystal solved again about the present answers: intensities, diffuse part, and their derivatives.

All frames share one crystal, and with it the directions that the symmetry of the projection leaves: those
under the discs of all frames are solved together, at the thicknesses about each frame's.  Derivatives
(`hybridfit. physics.perturbation`) are made on a grid of directions that is twice as coarse and with fewer
beams, as those of libraries: a step along them leads to a crystal that is solved anew, as finely as the
library.

The diffuse part depends on every B, directly and by the waves that reach the atoms: it is made anew, too,
and its derivatives are differences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.fitting.vary.settings import VARY, VarySettings
from hybridfit.fitting.vary.structure import Structure
from hybridfit.library.build import BEYOND_DISC, FOLDED
from hybridfit.library.grid import HALO, layout, sampling_of, wedge
from hybridfit.library.library import Library
from hybridfit.library.settings import BUILD
from hybridfit.library.slopes import Slopes
from hybridfit.model import SEMI_ANGLE_ROOM
from hybridfit.pattern.diffuse import DiffuseTable
from hybridfit.physics import bloch, holz, perturbation
from hybridfit.physics.bloch import DynamicalMatrix
from hybridfit.physics.diffuse import diffuse_intensity
from hybridfit.physics.folding import reach_of
from hybridfit.physics.projection import common_beams
from hybridfit.physics.scattering import wavelength

Array = NDArray[np.float64]
Progress = Callable[[float], None]
REST = "debye_waller"  # ln of the B of atoms whose B is not varied


@dataclass(frozen=True)
class Place:
    """Where a frame is: thickness (nm) and tilt (mrad)."""

    thickness: float
    tilt: tuple[float, float]


@dataclass(frozen=True)
class Along:
    """Derivatives of a frame's intensities along structural numbers.

    Attributes
    ----------
    slopes : Slopes
        Of beam intensities, by the names of the numbers; and by REST.
    diffuse : mapping of the same names to DiffuseTable
        Of the diffuse part; empty where the library has none.
    """

    slopes: Slopes
    diffuse: Mapping[str, DiffuseTable]


class Coarse(NamedTuple):
    """Where changes of intensities are made.

    sampling : (2,) int array, grid steps per basis vector
    directions : (d, 2) int array, grid points; q : (d, 2) array, Å⁻¹
    thickness : (m,) array, nm
    beams : int
    """

    sampling: NDArray[np.int64]
    directions: NDArray[np.int64]
    q: Array
    thickness: Array
    beams: int


class Again:
    """Solves of a structure for frames of a library.

    Parameters
    ----------
    structure : Structure
    library : Library
        Of the structure as the CIF has it.
    semi_angle : float, mrad
    device : str, optional
        A torch device.
    settings : VarySettings
    """

    def __init__(
        self,
        structure: Structure,
        library: Library,
        semi_angle: float,
        *,
        device: str = "auto",
        settings: VarySettings = VARY,
    ) -> None:
        self.structure, self.library, self.semi_angle = structure, library, semi_angle
        self.device, self.settings = device, settings
        recipe, projection = structure.recipe, structure.projection
        self.energy_kv = recipe.energy_kv
        self.to_mrad = 1e3 * wavelength(recipe.energy_kv)
        self.outer = FOLDED * recipe.g_max
        reach = (recipe.semi_angle_max + recipe.tilt_max) / self.to_mrad
        # the solver of directions off the axis takes beams from farther out than HOLZ lines do
        outer = self.outer if recipe.holz else reach_of(self.outer, reach)
        self.every = common_beams([projection], outer)
        self.strong = len(common_beams([projection], recipe.g_max))
        enough = max(BUILD.slope_beams * recipe.g_max, min(recipe.g_max, BUILD.slope_g_max))
        self.fewer = len(common_beams([projection], enough))
        self.radius = semi_angle * (1 + SEMI_ANGLE_ROOM) + library.step
        self.solves = 0
        self.diffuse_of: Mapping[str, float] = structure.start
        self.diffuse_slopes_of: Mapping[str, float] = {}
        self._table = library.diffuse
        self._slopes: dict[str, DiffuseTable] = {}

    def window(self, place: Place) -> Library:
        """The part of the library about a place: of the crystal that the CIF has."""
        return self.library.window(
            place.thickness,
            place.tilt,
            half_widths=self.settings.window,
            semi_angle=self.radius,
            k_max=self.semi_angle + BEYOND_DISC + 2 * self.library.step,
        )

    # ---------------------------------------------------------------- intensities

    def solved(
        self,
        values: Mapping[str, float],
        windows: Sequence[Library],
        *,
        anew: bool = True,
        progress: Progress | None = None,
    ) -> list[Library]:
        """The windows of the crystal at values of its numbers; the diffuse part is the last, or made anew."""
        self.solves += 1
        every = _All.of([window.dataset for window in windows])
        beams = int(windows[0].dataset.sizes["beam"])
        q = every.directions @ self._step / self.to_mrad
        projection = self.structure.projected(values)
        if self.structure.recipe.holz:
            lines = holz.HolzMatrix.of(projection, self.every, self.strong, self.energy_kv, q)
            found = holz.intensities(
                lines, q, every.thickness, keep=beams, device=self.device, progress=progress
            )
        else:
            matrix = DynamicalMatrix.of(projection, self.every, self.energy_kv, higher_zones=True)
            found = bloch.beam_intensities(
                matrix.folded(self.strong, self.outer),
                q,
                every.thickness,
                keep=beams,
                device=self.device,
                progress=progress,
            )
        if anew and self.library.diffuse is not None:
            self._table = self._diffuse(values, windows, coarse=False)
            self.diffuse_of = dict(values)
        out = []
        for window, rows, columns in zip(windows, every.rows, every.columns, strict=True):
            intensity = np.ascontiguousarray(found[rows][:, :, columns], np.float32)
            variable = window.dataset.intensity
            dataset = window.dataset.assign(intensity=(variable.dims, intensity, variable.attrs))
            out.append(Library(dataset, diffuse=self._table))
        return out

    @cached_property
    def _step(self) -> Array:
        """(2, 2) steps of the library's grid (mrad)."""
        dataset = self.library.dataset
        return np.asarray(dataset.basis.values / dataset.sampling.values[:, None], float)

    # ---------------------------------------------------------------- derivatives

    def along(
        self,
        values: Mapping[str, float],
        windows: Sequence[Library],
        *,
        anew: bool = True,
        progress: Progress | None = None,
    ) -> list[Along]:
        """Derivatives along all numbers, and along the B of the other atoms, for each of the windows.

        Those of the diffuse part are the last ones, or made anew.
        """
        grid = self.coarse(windows)
        strong = max(self.fewer, grid.beams)

        def matrix(at: Mapping[str, float], warmer: float = 0.0) -> DynamicalMatrix:
            projection = self.structure.projected(at, warmer)
            whole = DynamicalMatrix.of(projection, self.every, self.energy_kv, higher_zones=True)
            return whole.folded(strong, self.outer).on_axis()

        slopes = {}
        for name, (low, high) in self._sides(values).items():
            ends = [matrix({**values, name: value}) for value in (low, high)]
            slopes[name] = perturbation.potential_slope(ends[0], ends[1], high - low)
        if self._rest:
            warm = BUILD.vibration_step
            ends = [matrix(values, by) for by in (-warm, warm)]
            slopes[REST] = perturbation.potential_slope(ends[0], ends[1], 2 * warm)
        _, found = perturbation.intensities_and_slopes(
            matrix(values),
            np.stack([*slopes.values()]),
            grid.q,
            grid.thickness,
            keep=grid.beams,
            device=self.device,
            progress=progress,
        )
        if anew and self.library.diffuse is not None:
            self._slopes, self.diffuse_slopes_of = self._diffuse_along(values, windows), dict(values)
        tables = self.tables(windows, grid, dict(zip(slopes, found, strict=True)))
        return [Along(each, self._slopes) for each in tables]

    def coarse(self, windows: Sequence[Library]) -> Coarse:
        """The directions and thicknesses of what changes the intensities of all windows by little."""
        basis, symmetry = self.library.dataset.basis.values, self.library.dataset.symmetry.values
        sampling = self.structure.recipe.sampling
        apart = max(sampling, min(BUILD.coarser * sampling, self.settings.slope_sampling))
        coarse = sampling_of(basis, symmetry, apart)
        step = basis / coarse[:, None]
        reach = self.radius + self._farthest(windows) + HALO * float(np.linalg.norm(step, axis=1).max())
        directions = wedge(step, symmetry, reach)
        beams = int(windows[0].dataset.sizes["beam"])
        thickness = np.unique(np.concatenate([w.dataset.thickness.values for w in windows]))
        return Coarse(coarse, directions, directions @ step / self.to_mrad, thickness, beams)

    def tables(
        self, windows: Sequence[Library], grid: Coarse, found: Mapping[str, NDArray[Any]]
    ) -> list[Slopes]:
        """Changes of intensities (thickness, beam, direction) by name, for each of the windows."""
        dataset, out = self.library.dataset, []
        for window in windows:
            own = window.dataset
            rows = np.searchsorted(grid.thickness, own.thickness.values - 1e-9)
            placeholder = np.zeros((1, 1, 1), np.float32)
            basis = dataset.basis.values
            table = layout(own, grid.beams, basis, grid.sampling, grid.directions, placeholder)
            ones = np.ones((len(rows), grid.beams), np.float32)
            numbers = {name: (values[rows], ones) for name, values in found.items()}
            out.append(Slopes(table, grid.sampling / dataset.sampling.values, numbers, {}))
        return out

    @property
    def _rest(self) -> bool:
        """Whether vibration is taken for granted of some atoms, and fitted of others."""
        return self.structure.vibration_varied and self.structure.others_vibrate

    def _sides(self, values: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """Where the potential is taken for a difference along each number: on either side, within bounds."""
        settings, bounds, out = self.settings, self.structure.bounds, {}
        for each in self.structure.varied:
            step = {"B": settings.step_b, "occ": settings.step_occupancy}.get(
                each.kind, settings.step_coordinate
            )
            low, high = bounds[each.name]
            value = values[each.name]
            out[each.name] = max(value - step, low), min(value + step, high)
        return out

    # ---------------------------------------------------------------- diffuse part

    def _diffuse(
        self,
        values: Mapping[str, float],
        windows: Sequence[Library],
        *,
        coarse: bool,
        warmer: float = 0.0,
    ) -> DiffuseTable:
        """The diffuse part of the crystal at values of its numbers, for all windows."""
        known = self.library.dataset
        basis, symmetry = known.basis.values, known.symmetry.values.astype(np.int64)
        reach = self.radius + self._farthest(windows)
        incident = _within(known.incident_n.values, basis / known.incident_sampling.values[:, None],
                           reach + BUILD.diffuse_incident)  # fmt: skip
        sampling = known.exit_sampling.values
        if coarse:
            sampling = sampling_of(basis, symmetry, self.settings.diffuse_coarser * BUILD.diffuse_exit)
        exit_step = basis / sampling[:, None]
        exits = wedge(exit_step, symmetry[:1], reach + BEYOND_DISC)
        depths = known.diffuse_thickness.values
        thickest = max(float(window.thickness_range[1]) for window in windows)
        count = min(len(depths), max(4, int(np.searchsorted(depths, thickest)) + 3))
        projection = self.structure.projected(values, warmer)
        whole = DynamicalMatrix.of(projection, self.every, self.energy_kv, higher_zones=True)
        intensity = diffuse_intensity(
            projection,
            whole.folded_roughly(self.fewer, self.outer),
            self.energy_kv,
            incident @ (basis / known.incident_sampling.values[:, None]) / self.to_mrad,
            exits @ exit_step / self.to_mrad,
            depths[:count],
            symmetry=symmetry,
            lost=self.settings.diffuse_lost if coarse else 1.0,
            device=self.device,
        )
        return DiffuseTable(
            intensity,
            float(depths[0]),
            incident.astype(np.int64),
            exits,
            basis / known.incident_sampling.values[:, None],
            exit_step,
            symmetry,
        )

    def _diffuse_along(
        self, values: Mapping[str, float], windows: Sequence[Library]
    ) -> dict[str, DiffuseTable]:
        """Its derivatives: differences."""
        settings, bounds = self.settings, self.structure.bounds
        middle = self._diffuse(values, windows, coarse=True)

        def slope(other: DiffuseTable, step: float) -> DiffuseTable:
            change = (np.asarray(other.intensity[:]) - np.asarray(middle.intensity[:])) / np.float32(step)
            return DiffuseTable(change, *_grid(middle))

        out = {}
        for each in self.structure.varied:
            step = {"B": settings.diffuse_b, "occ": settings.diffuse_occupancy}.get(
                each.kind, settings.diffuse_coordinate
            )
            if values[each.name] + step > bounds[each.name][1]:
                step = -step
            there = {**values, each.name: values[each.name] + step}
            out[each.name] = slope(self._diffuse(there, windows, coarse=True), step)
        if self._rest:
            warm = 2 * BUILD.vibration_step
            out[REST] = slope(self._diffuse(values, windows, coarse=True, warmer=warm), warm)
        return out

    def _farthest(self, windows: Sequence[Library]) -> float:
        """The largest tilt (mrad) that the windows are about, with their own width."""
        return max(float(window.dataset.attrs[TILT]) for window in windows) + self.settings.window[1]


TILT = "tilt_mrad"  # attribute of a window: size of the tilt that it is about


def about(again: Again, places: Sequence[Place]) -> list[Library]:
    """The windows about places."""
    out = []
    for place in places:
        window = again.window(place)
        dataset = window.dataset.assign_attrs({TILT: float(np.hypot(*place.tilt))})
        out.append(Library(dataset, diffuse=window.diffuse))
    return out


@dataclass(frozen=True)
class _All:
    """Directions (d, 2) and thicknesses of all windows, and which of them each window has."""

    directions: NDArray[np.int64]
    thickness: Array
    columns: list[NDArray[np.intp]]
    rows: list[NDArray[np.intp]]

    @classmethod
    def of(cls, datasets: Sequence[xr.Dataset]) -> _All:
        each = [dataset.direction_n.values.astype(np.int64) for dataset in datasets]
        directions, where = np.unique(np.concatenate(each), axis=0, return_inverse=True)
        columns = np.split(where.ravel(), np.cumsum([len(n) for n in each])[:-1])
        thickness = np.unique(np.concatenate([dataset.thickness.values for dataset in datasets]))
        rows = [np.searchsorted(thickness, dataset.thickness.values - 1e-9) for dataset in datasets]
        return cls(directions, thickness, columns, rows)


def _within(n: NDArray[np.int64], step: Array, reach: float) -> NDArray[np.int64]:
    """Grid points (·, 2) within reach (mrad)."""
    return n[np.linalg.norm(n @ step, axis=1) <= reach]


def _grid(
    table: DiffuseTable,
) -> tuple[float, NDArray[np.int64], NDArray[np.int64], Array, Array, NDArray[np.int64]]:
    return (
        table.step_nm,
        table.incident_n,
        table.exit_n,
        table.incident_step,
        table.exit_step,
        table.symmetry,
    )
