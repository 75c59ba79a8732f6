"""The simulation library: I_g(q; t) on a grid, in an `xarray.Dataset`, stored as netCDF4.

Directions are sampled commensurately with the reciprocal lattice, q = (m₁/N₁) g₁ + (m₂/N₂) g₂,
so that every beam is a whole number of grid steps; only one direction of each set that the
symmetry of the projection makes equal is solved and stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from hybridfit.errors import LibraryError
from hybridfit.library.approximation import APPROXIMATION
from hybridfit.library.axes import (
    StructuralAxis,
    axes_of,
    bases_of,
    beams_within,
    check_given,
    check_names,
    moving_of,
    room_for,
    select,
    take,
)
from hybridfit.library.build import BEYOND_DISC, VERSION, Progress, StructuralChange, solve, solve_into
from hybridfit.library.diffuse import diffuse_of
from hybridfit.library.grid import largest_step, make_table
from hybridfit.library.integrity import STORAGE, log
from hybridfit.library.patterns import check_angle, check_reach, compose_all
from hybridfit.library.recipe import Recipe, shipped_names
from hybridfit.library.showing import library_html, library_line
from hybridfit.library.slopes import Slopes, slopes_of, without_slopes
from hybridfit.library.store import cache_folder, read_dataset
from hybridfit.library.writing import write_dataset
from hybridfit.pattern.blend import Stack
from hybridfit.pattern.diffuse import DiffuseTable
from hybridfit.pattern.expand import Table


class Library:
    """Beam intensities of one crystal and zone axis, from which patterns are composed.

    They come from `Library.open` (a name or a file) or `Library.build` (a recipe).

    Attributes
    ----------
    dataset : xarray.Dataset
        `intensity` (thickness, beam, direction) with coordinates thickness (nm), h, k, l of the beams and
        qx, qy (mrad) of the directions; attributes say what was simulated.  Structural parameters are
        dimensions before these; `basis`, the reciprocal lattice (mrad), has those that change the cell.
    path : Path or None
        The file or the recipe that it was opened by: its network may lie beside it.
    on_demand : bool
        Whether its tables read the thicknesses of a file when they are asked for.
    recipe : Recipe or None, of a library that was built here
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        *,
        path: Path | None = None,
        diffuse: DiffuseTable | None = None,
        on_demand: bool = False,
        recipe: Recipe | None = None,
    ) -> None:
        self.dataset, self.path, self.on_demand, self.recipe = dataset, path, on_demand, recipe
        self._known_diffuse = diffuse  # of a part of a library, which shares the table of the whole
        self._tables: dict[int, Table] = {}
        self._stacks: dict[int, Stack] = {}
        self._slopes: dict[int, Slopes | None] = {}

    # ---------------------------------------------------------------- making

    @classmethod
    def build(
        cls,
        recipe: Recipe,
        *,
        parameters: Mapping[str, StructuralChange] | None = None,
        device: str = "auto",
        slopes: bool = True,
        diffuse: bool = True,
        progress: Progress | None = None,
    ) -> Library:
        """Solve the recipe.

        Parameters
        ----------
        recipe : Recipe
        parameters : mapping of name to StructuralChange, optional
            Structural parameters made in Python, after those of the recipe.
        device : str
            A torch device, or "auto": a GPU if there is one.
        slopes : bool
            Whether it is to say how intensities depend on vibration and energy, for error bars.
        diffuse : bool
            Whether it is to have the thermal diffuse part of patterns.
        progress : callable, optional
            Called with the fraction done.

        Raises
        ------
        RecipeError
            The CIF or the zone axis cannot be used, g_max leaves no diffracted beam, or a structural
            parameter does not go with the crystal.
        """
        found = solve(recipe, parameters, device=device, slopes=slopes, diffuse=diffuse, progress=progress)
        return cls(found, recipe=recipe)

    @classmethod
    def open(cls, name: str | Path, *, progress: Progress | None = None) -> Library:
        """Open a library file, or a shipped library by its name (built on first use, then cached).

        Parameters
        ----------
        name : str or path
            A `.nc` file, a `.toml` recipe, or the name of a shipped recipe.
        progress : callable, optional
            Called with the fraction done while a library has to be built.

        Raises
        ------
        LibraryError, RecipeError
            The name is none of the shipped recipes; or the file is missing, damaged, or of another version;
            or the recipe cannot be used.
        """
        path = Path(name)
        if path.suffix == ".nc":
            return cls(read_dataset(path), path=path)
        if path.suffix == ".toml":
            recipe = Recipe.read(path)
        else:
            if str(name) not in shipped_names():
                raise LibraryError(
                    f"unknown library {str(name)!r}; shipped ones are {', '.join(shipped_names())}, "
                    "or give a library file (.nc) or a recipe (.toml)"
                )
            recipe = Recipe.shipped(str(name))
        checksum = recipe.checksum()
        cached = cls.cached_path(name, recipe)
        if cached.exists():
            try:
                library = cls(read_dataset(cached, partial(_rebuilt, recipe, cached)), path=path)
            except LibraryError as error:
                log.warning("the library in the cache cannot be used and is built again: %s", error)
            else:
                if library.dataset.attrs["checksum"] == checksum:
                    return library
                library.close()
        solve_into(cached, recipe, progress=progress)
        return cls(read_dataset(cached, partial(_rebuilt, recipe, cached)), path=path)

    @staticmethod
    def cached_path(name: str | Path, recipe: Recipe | None = None) -> Path:
        """Where `open` keeps the library of a recipe, by file or shipped name; there may be nothing yet.

        Raises
        ------
        RecipeError
            There is no such recipe, or it cannot be used.
        """
        path, label = Path(name), str(name)
        if path.suffix == ".toml":
            label = path.stem
            recipe = recipe or Recipe.read(path)
        else:
            recipe = recipe or Recipe.shipped(label)
        return cache_folder() / f"{label}-{recipe.checksum()[:12]}-v{VERSION}.{STORAGE}.nc"

    def save(self, path: str | Path) -> None:
        """Write the library: whole, or not at all. A thickness of a crystal is a chunk of its own."""
        write_dataset(self.dataset, Path(path))

    def close(self) -> None:
        """Close the file behind the library, if there is one."""
        self.dataset.close()

    # ---------------------------------------------------------------- saying what it is

    __repr__, _repr_html_ = library_line, library_html

    @cached_property
    def thickness_range(self) -> tuple[float, float]:
        """Thinnest and thickest (nm)."""
        return tuple(self.dataset.thickness.values[[0, -1]].tolist())

    @cached_property
    def structure(self) -> dict[str, StructuralAxis]:
        """Structural parameters by name: their values, unit and kind."""
        return axes_of(self.dataset)

    @property
    def semi_angle_max(self) -> float:
        """Largest convergence semi-angle (mrad)."""
        return float(self.dataset.attrs["semi_angle_max_mrad"])

    @property
    def tilt_max(self) -> float:
        """Largest tilt (mrad) at the largest semi-angle."""
        return float(self.dataset.attrs["tilt_max_mrad"])

    @property
    def rotation_order(self) -> int:
        """n of the n-fold axis of the projection: patterns are the same after 360°/n."""
        return int(self.dataset.attrs["rotation_order"])

    @property
    def approximation(self) -> float | None:
        """Standard deviation (nm) of a thickness for what is approximated; None if it does not say."""
        value = self.dataset.attrs.get(APPROXIMATION)
        return None if value is None else float(value)

    @property
    def step(self) -> float:
        """Largest distance between neighbouring directions (mrad): the softness of the aperture."""
        return largest_step(bases_of(self.dataset), self.dataset.sampling.values)

    def room(self, semi_angle: float) -> float:
        """How much farther (mrad) than near the zone axis patterns of a semi-angle (mrad) may reach."""
        return room_for(self.dataset, semi_angle)

    def check_semi_angle(self, semi_angle: float) -> None:
        """Raise a LibraryError when patterns of this semi-angle (mrad) cannot be composed."""
        check_angle(semi_angle, self.semi_angle_max)

    # ---------------------------------------------------------------- using it

    def window(
        self,
        thickness: float,
        tilt: tuple[float, float] = (0.0, 0.0),
        *,
        half_widths: tuple[float, float] = (3.0, 1.0),
        semi_angle: float | None = None,
        k_max: float | None = None,
        **structure: tuple[float, float],
    ) -> Library:
        """The selection within ±half_widths (nm, mrad) of a thickness and a tilt.

        Whatever the cubic interpolation at the rim needs is kept too.  With a `semi_angle` (mrad) the
        directions are cut to it, with a k_max (mrad) the beams to those whose discs reach into
        ``|k| ≤ k_max``.  Structural parameters are cut to NAME=(low, high), and left whole otherwise.

        Raises
        ------
        LibraryError
            There is no such structural parameter, or the range is not within it.
        """
        part = select(
            self.dataset,
            thickness,
            tilt,
            half_widths=half_widths,
            radius=self.semi_angle_max if semi_angle is None else semi_angle,
            beams=self._beams_within(k_max, semi_angle),
            structure=structure,
        )
        return Library(part, diffuse=self.diffuse)

    def at(self, **structure: float) -> Library:
        """The library at values of its structural parameters, without these dimensions.

        Exactly what was solved at those values, a polynomial through the nearest four between them.

        Raises
        ------
        LibraryError
            There is no such parameter, it does not reach so far, or it is discrete and has no such value.
        """
        part = take(self.dataset, structure)
        return Library(part, diffuse=self.diffuse, on_demand=self.on_demand) if structure else self

    def _beams_within(self, k_max: float | None, semi_angle: float | None) -> int:
        """How many of the beams, shortest first, have discs that reach into ``|k| ≤ k_max`` (mrad)."""
        if k_max is None:
            return self.dataset.sizes["beam"]
        return beams_within(self.dataset, k_max + (semi_angle or self.semi_angle_max) + self.step)

    def table(self, *, k_max: float | None = None, semi_angle: float | None = None) -> Table:
        """What the kernels read, in memory; kept, so that asking again costs nothing.

        Parameters
        ----------
        k_max, semi_angle : float, mrad, optional
            Leave out beams whose disc of this semi-angle does not reach into ``|k| ≤ k_max``.

        Raises
        ------
        LibraryError
            The library has structural parameters: a table is of one crystal.
        """
        check_given(self.structure, ())
        beams = self._beams_within(k_max, semi_angle)
        if beams not in self._tables:
            self._tables[beams] = make_table(self.dataset, beams, on_demand=self.on_demand)
        return self._tables[beams]

    def stack(self, *, k_max: float | None = None, semi_angle: float | None = None) -> Stack:
        """The tables of all values of the structural parameters, to blend; parameters as for `table`.

        Raises
        ------
        LibraryError
            A parameter is discrete: nothing is between its values.
        """
        check_given(self.structure, [name for name, axis in self.structure.items() if axis.continuous])
        beams = self._beams_within(k_max, semi_angle)
        if beams not in self._stacks:
            first = self.at(**{name: axis.low for name, axis in self.structure.items()})
            known = next(iter(self._stacks.values()), None)  # so that there is one copy at most
            intensity = self.dataset.intensity.values if known is None else known.intensity
            intensity = np.ascontiguousarray(intensity, dtype=np.float32)
            nodes = {name: axis.values for name, axis in self.structure.items()}
            table, moving = make_table(first.dataset, beams), moving_of(self.dataset)
            self._stacks[beams] = Stack(table, intensity, nodes, moving, self.dataset.basis.values)
        return self._stacks[beams]

    @cached_property
    def diffuse(self) -> DiffuseTable | None:
        """The thermal diffuse part of patterns; None where there is none.

        Discrete structural parameters have a table each: take a value of them first, with `at`.
        """
        return self._known_diffuse or diffuse_of(self.dataset, on_demand=self.on_demand)

    def slopes(self, *, k_max: float | None = None, semi_angle: float | None = None) -> Slopes | None:
        """Slopes along vibration and energy, None where there are none; parameters as for `table`."""
        beams = self._beams_within(k_max, semi_angle)
        if beams not in self._slopes:
            self._slopes[beams] = slopes_of(self.dataset, beams, on_demand=self.on_demand)
        return self._slopes[beams]

    def patterns(
        self,
        *,
        thickness: ArrayLike,
        tilt_x: ArrayLike = 0.0,
        tilt_y: ArrayLike = 0.0,
        semi_angle: float,
        k: ArrayLike | None = None,
        **structure: float,
    ) -> xr.DataArray:
        """Compose patterns at any thicknesses and tilts.

        Parameters
        ----------
        thickness : float or array, nm
        tilt_x, tilt_y : float or array, mrad
            The patterns are made for every combination.
        semi_angle : float, mrad
        k : 1-D array, mrad, optional
            Scattering angles of the columns and of the rows; by default ±(semi_angle + 7.5) in 128 steps.
        structure : float
            A value for each structural parameter of the library, by its name.

        Returns
        -------
        xarray.DataArray
            (thickness, tilt_y, tilt_x, ky, kx), in units of the incident intensity: 1 in an empty disc.

        Raises
        ------
        LibraryError
            Outside the range of the library, or a structural parameter is left open.
        """
        check_angle(semi_angle, self.semi_angle_max)
        check_names(structure, self.structure)
        check_given(self.structure, structure)
        t, tx, ty = (np.atleast_1d(np.asarray(v, dtype=float)) for v in (thickness, tilt_x, tilt_y))
        largest = float(np.hypot(np.abs(tx).max(), np.abs(ty).max()))
        check_reach(t, self.thickness_range, largest, self.tilt_max + self.semi_angle_max, semi_angle)
        extent = semi_angle + BEYOND_DISC
        axis = np.linspace(-extent, extent, 128) if k is None else np.asarray(k, dtype=float)
        middle, half = (t.min() + t.max()) / 2, np.ptp(t) / 2
        exact = {name: axis.checked(name, structure[name]) for name, axis in self.structure.items()}
        whole, widths = Library(without_slopes(self.dataset)), (half, largest)
        ranges = {name: (value, value) for name, value in exact.items()}
        part = whole.window(middle, half_widths=widths, semi_angle=semi_angle, k_max=None, **ranges)
        window = part.at(**exact)
        table = window.table(k_max=float(np.sqrt(2) * np.abs(axis).max()), semi_angle=semi_angle)
        return compose_all(table, window.diffuse, (t, ty, tx), axis, (semi_angle, window.step / 2))


def _rebuilt(recipe: Recipe, cached: Path, name: str) -> xr.Variable:
    """A variable of a library in the cache that is damaged, which is replaced."""
    solve_into(cached, recipe)
    return read_dataset(cached).variables[name]


__all__ = ["BEYOND_DISC", "Library", "cache_folder"]
