"""The simulation library: I_g(q; t) on a grid, in an `xarray.Dataset`, stored as netCDF4.

Directions are sampled commensurately with the reciprocal lattice, q = (m₁/N₁) g₁ + (m₂/N₂) g₂,
so that every beam is a whole number of grid steps; only one direction of each set that the
symmetry of the projection makes equal is solved and stored.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridfit.directions import make_table, sampling_of, wedge
from hybridfit.errors import LibraryError, RecipeError
from hybridfit.io import atomic_path
from hybridfit.pattern.compose import pattern_at
from hybridfit.pattern.expand import Table, pick_last
from hybridfit.recipe import Recipe, shipped_names

FORMAT = "hybridfit library"
VERSION = 3
HALO = 4  # grid steps solved beyond the largest direction: interpolation reaches two further
FOLDED = 1.6  # times g_max: longer beams than g_max act through the potential (Bethe), up to here
BEYOND_DISC = 7.5  # mrad around the direct disc that patterns cover
Progress = Callable[[float], None]


def cache_folder() -> Path:
    """Where built libraries are kept; `HYBRIDFIT_CACHE` overrides the user cache folder."""
    return Path(os.environ.get("HYBRIDFIT_CACHE") or platformdirs.user_cache_dir("hybridfit"))


class Library:
    """Beam intensities of one crystal and zone axis, from which patterns are composed.

    Attributes
    ----------
    dataset : xarray.Dataset
        `intensity` (thickness, beam, direction) with coordinates thickness (nm), h, k, l of the
        beams and qx, qy (mrad) of the directions; attributes say what was simulated.

    Notes
    -----
    Libraries come from `Library.open` (a name or a file) or `Library.build` (a recipe).
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self.dataset = dataset
        self._tables: dict[int, Table] = {}

    # ---------------------------------------------------------------- making

    @classmethod
    def build(cls, recipe: Recipe, *, device: str = "auto", progress: Progress | None = None) -> Library:
        """Solve the recipe.

        Parameters
        ----------
        recipe : Recipe
        device : str
            A torch device, or "auto": a GPU if there is one.
        progress : callable, optional
            Called with the fraction done.

        Raises
        ------
        RecipeError
            The CIF or the zone axis cannot be used, or g_max leaves no diffracted beam.
        """
        # torch is slow to import and only needed here
        from hybridfit.physics import bloch, crystal, scattering

        structure = crystal.Crystal.from_cif(recipe.cif)
        projection = crystal.project(structure, recipe.zone, recipe.in_plane)
        wavelength = scattering.wavelength(recipe.energy_kv)
        to_mrad = wavelength * 1e3
        beams = projection.beams(recipe.g_max)
        if len(beams) == 1:
            shortest = np.linalg.norm(projection.basis, axis=1).min()
            raise RecipeError(
                f"g_max {recipe.g_max:g} Å⁻¹ leaves only the direct beam; "
                f"the shortest reflection in this zone is {shortest:.3g} Å⁻¹"
            )
        sampling = sampling_of(projection.basis * to_mrad, projection.symmetry, recipe.sampling)
        grid_step = projection.basis * to_mrad / sampling[:, None]
        reach = recipe.semi_angle_max + recipe.tilt_max + HALO * np.linalg.norm(grid_step, axis=1).max()
        directions = wedge(grid_step, projection.symmetry, reach)
        start, stop, step = recipe.thickness.start, recipe.thickness.stop, recipe.thickness.step
        thickness = np.arange(round((stop - start) / step) + 1, dtype=np.float64) * step + start
        every = projection.beams(FOLDED * recipe.g_max)
        matrix = bloch.DynamicalMatrix.of(projection, every, recipe.energy_kv).folded(len(beams))
        q = directions @ grid_step
        # beams beyond take part, but their discs do not reach what is looked at
        length = np.linalg.norm(beams @ projection.basis, axis=1) * to_mrad
        stored = int((length <= 2 * recipe.semi_angle_max + BEYOND_DISC + 1e-9).sum())
        intensity = bloch.beam_intensities(
            matrix, q / to_mrad, thickness, keep=stored, device=device, progress=progress
        )
        beams = beams[:stored]
        hkl = beams @ projection.basis_hkl
        dataset = xr.Dataset(
            {
                "intensity": (
                    ("thickness", "beam", "direction"),
                    intensity,
                    {"units": "1", "long_name": "diffracted intensity, incident intensity = 1"},
                ),
                "basis": (("vector", "axis"), projection.basis * to_mrad, {"units": "mrad"}),
                "sampling": ("vector", sampling, {"long_name": "directions per basis vector"}),
                "symmetry": (("operation", "vector", "vector_in"), projection.symmetry),
                "beam_n": (("beam", "vector"), beams),
                "direction_n": (("direction", "vector"), directions),
            },
            coords={
                "thickness": ("thickness", thickness, {"units": "nm", "long_name": "specimen thickness"}),
                **{name: ("beam", hkl[:, i]) for i, name in enumerate("hkl")},
                "qx": ("direction", q[:, 0], {"units": "mrad"}),
                "qy": ("direction", q[:, 1], {"units": "mrad"}),
            },
            attrs={
                "format": FORMAT,
                "version": VERSION,
                "checksum": recipe.checksum(),
                "recipe": json.dumps(recipe.model_dump(mode="json", exclude={"cif"})),
                "crystal": recipe.cif.stem,
                "formula": _formula(structure.elements, structure.occupancies),
                "zone": list(recipe.zone),
                "energy_kv": recipe.energy_kv,
                "semi_angle_max_mrad": recipe.semi_angle_max,
                "tilt_max_mrad": recipe.tilt_max,
                "rotation_order": projection.rotation_order,
            },
        )
        return cls(dataset)

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
        LibraryError
            The name is none of the shipped recipes; or the file is missing, damaged, or of another version.
        RecipeError
            The recipe cannot be used.
        """
        path = Path(name)
        if path.suffix == ".nc":
            return cls._read(path)
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
            with contextlib.suppress(LibraryError):  # damaged: build it again
                library = cls._read(cached)
                if library.dataset.attrs["checksum"] == checksum:
                    return library
                library.close()
        library = cls.build(recipe, progress=progress)
        library.save(cached)
        return library

    @staticmethod
    def cached_path(name: str | Path, recipe: Recipe | None = None) -> Path:
        """Where `open` looks for the library of a recipe, and keeps it; there may be nothing yet.

        Parameters
        ----------
        name : str or path
            A `.toml` recipe, or the name of a shipped recipe.
        recipe : Recipe, optional
            What the name stands for, where it has been read already.

        Returns
        -------
        pathlib.Path

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
        return cache_folder() / f"{label}-{recipe.checksum()[:12]}-v{VERSION}.nc"

    @classmethod
    def _read(cls, path: Path) -> Library:
        if not path.is_file():
            raise LibraryError(
                f"there is no library file {path}; `hybridfit library list` shows what there is"
            )
        try:
            dataset = xr.open_dataset(path, engine="netcdf4")
        except (OSError, ValueError, RuntimeError) as error:
            raise LibraryError(f"{path} cannot be read as a library ({error}); build it again") from None
        if dataset.attrs.get("format") != FORMAT or "checksum" not in dataset.attrs:
            dataset.close()
            raise LibraryError(f"{path} is a netCDF file but no hybridfit library")
        if dataset.attrs.get("version") != VERSION:
            version = dataset.attrs.get("version")
            dataset.close()
            raise LibraryError(
                f"{path} has library format {version}, this hybridfit reads format {VERSION}; build it again"
            )
        return cls(dataset)

    def save(self, path: str | Path) -> None:
        """Write the library: whole, or not at all. A thickness is a chunk of its own."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _, nb, nd = self.dataset.intensity.shape
        with atomic_path(path) as temporary:
            self.dataset.to_netcdf(
                temporary,
                engine="netcdf4",
                encoding={"intensity": {"chunksizes": (1, nb, nd), "zlib": False, "_FillValue": None}},
            )

    def close(self) -> None:
        """Close the file behind the library, if there is one."""
        self.dataset.close()

    # ---------------------------------------------------------------- saying what it is

    def __repr__(self) -> str:
        (low, high), attrs = self.thickness_range, self.dataset.attrs
        return (
            f"<Library {attrs['crystal']} [{' '.join(map(str, attrs['zone']))}] {attrs['energy_kv']:g} kV, "
            f"{low:g}–{high:g} nm, semi-angle ≤ {self.semi_angle_max:g} mrad, tilt ≤ {self.tilt_max:g} mrad>"
        )

    @property
    def thickness_range(self) -> tuple[float, float]:
        """Thinnest and thickest (nm)."""
        thickness = self.dataset.thickness.values
        return float(thickness[0]), float(thickness[-1])

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
    def step(self) -> float:
        """Largest distance between neighbouring directions (mrad): the softness of the aperture."""
        sampling = self.dataset.sampling.values
        return float(np.linalg.norm(self.dataset.basis.values / sampling[:, None], axis=1).max())

    def check_semi_angle(self, semi_angle: float) -> None:
        """Raise a LibraryError when patterns of this semi-angle (mrad) cannot be composed."""
        if not 0 < semi_angle <= self.semi_angle_max:
            raise LibraryError(
                f"semi-angle {semi_angle:g} mrad is outside this library (above 0, at most "
                f"{self.semi_angle_max:g} mrad); build one with semi_angle_max = {max(semi_angle, 1):g}"
            )

    # ---------------------------------------------------------------- using it

    def window(
        self,
        thickness: float,
        tilt: tuple[float, float] = (0.0, 0.0),
        *,
        half_widths: tuple[float, float] = (3.0, 1.0),
        semi_angle: float | None = None,
        k_max: float | None = None,
    ) -> Library:
        """The selection within ±half_widths (nm, mrad) of a thickness and a tilt.

        Whatever the cubic interpolation at the rim needs is kept too.  With a `semi_angle` (mrad)
        the directions are cut to it, with a k_max (mrad) the beams to those whose discs reach
        into |k| ≤ k_max.
        """
        t = self.dataset.thickness.values
        first = int(np.searchsorted(t, thickness - half_widths[0] + 1e-9)) - 2
        last = int(np.searchsorted(t, thickness + half_widths[0] - 1e-9)) + 2
        low = min(max(first, 0), len(t) - 4)
        high = min(max(last, low + 4), len(t))
        alpha = self.semi_angle_max if semi_angle is None else semi_angle
        reach = alpha + half_widths[1] + HALO * self.step
        directions = self.dataset.direction_n.values
        grid_step = self.dataset.basis.values / self.dataset.sampling.values[:, None]
        keep = np.zeros(len(directions), bool)
        for r in self.dataset.symmetry.values:
            inverse = np.linalg.inv(r).round().astype(int)
            image = directions @ inverse.T @ grid_step
            keep |= np.hypot(image[:, 0] - tilt[0], image[:, 1] - tilt[1]) <= reach
        beams = slice(self._beams_within(k_max, semi_angle))
        # netCDF reads whole thicknesses fast and picked directions slowly: pick in memory
        part = self.dataset.isel(thickness=slice(low, high)).load().isel(beam=beams)
        picked = np.flatnonzero(keep)
        intensity = pick_last(part.intensity.values, picked)
        rest = part.drop_vars("intensity").isel(direction=picked)
        return Library(rest.assign(intensity=(part.intensity.dims, intensity, part.intensity.attrs)))

    def _beams_within(self, k_max: float | None, semi_angle: float | None) -> int:
        """How many of the beams, shortest first, have discs that reach into |k| ≤ k_max (mrad)."""
        length = np.linalg.norm(self.dataset.beam_n.values @ self.dataset.basis.values, axis=1)
        if k_max is None:
            return len(length)
        reach = k_max + (semi_angle or self.semi_angle_max) + self.step
        return max(int((length <= reach + 1e-6).sum()), int((length <= length[1] + 1e-6).sum()))

    def table(self, *, k_max: float | None = None, semi_angle: float | None = None) -> Table:
        """What the kernels read, in memory; kept, so that asking again costs nothing.

        Parameters
        ----------
        k_max, semi_angle : float, mrad, optional
            Leave out beams whose disc of this semi-angle does not reach into |k| ≤ k_max.
        """
        beams = self._beams_within(k_max, semi_angle)
        if beams not in self._tables:
            self._tables[beams] = make_table(self.dataset, beams)
        return self._tables[beams]

    def patterns(
        self,
        *,
        thickness: ArrayLike,
        tilt_x: ArrayLike = 0.0,
        tilt_y: ArrayLike = 0.0,
        semi_angle: float,
        k: ArrayLike | None = None,
    ) -> xr.DataArray:
        """Compose patterns at any thicknesses and tilts.

        Parameters
        ----------
        thickness : float or array, nm
        tilt_x, tilt_y : float or array, mrad
            The patterns are made for every combination.
        semi_angle : float, mrad
        k : 1-D array, mrad, optional
            Scattering angles of the columns and of the rows; by default ±(semi_angle + 7.5) in
            128 steps.

        Returns
        -------
        xarray.DataArray
            (thickness, tilt_y, tilt_x, ky, kx), in units of the incident intensity: an empty
            specimen gives 1 inside the direct disc.

        Raises
        ------
        LibraryError
            Outside the range of the library.
        """
        self.check_semi_angle(semi_angle)
        t, tx, ty = (np.atleast_1d(np.asarray(v, dtype=float)) for v in (thickness, tilt_x, tilt_y))
        low, high = self.thickness_range
        if not (low <= t.min() and t.max() <= high):
            raise LibraryError(
                f"thickness {t.min():g} … {t.max():g} nm is outside this library ({low:g} … {high:g} nm); "
                "build one with a wider [thickness]"
            )
        largest = float(np.hypot(np.abs(tx).max(), np.abs(ty).max()))
        allowed = self.tilt_max + self.semi_angle_max - semi_angle
        if not largest <= allowed + 1e-9:
            raise LibraryError(
                f"tilt {largest:.3g} mrad is outside this library (at most {allowed:.3g} mrad "
                f"at semi-angle {semi_angle:g} mrad); build one with a larger tilt_max"
            )
        extent = semi_angle + BEYOND_DISC
        axis = np.linspace(-extent, extent, 128) if k is None else np.asarray(k, dtype=float)
        kx, ky = np.meshgrid(axis, axis)
        middle, half = (t.min() + t.max()) / 2, (t.max() - t.min()) / 2
        window = self.window(middle, half_widths=(half, largest), semi_angle=semi_angle)
        table = window.table(k_max=float(np.hypot(kx, ky).max()), semi_angle=semi_angle)
        out = np.empty((len(t), len(ty), len(tx), *kx.shape))
        for index in np.ndindex(out.shape[:3]):
            out[index] = pattern_at(
                kx,
                ky,
                table,
                thickness=float(t[index[0]]),
                tilt=(float(tx[index[2]]), float(ty[index[1]])),
                semi_angle=semi_angle,
                half_edge=self.step / 2,
            )
        return xr.DataArray(
            out,
            dims=("thickness", "tilt_y", "tilt_x", "ky", "kx"),
            coords={
                "thickness": ("thickness", t, {"units": "nm"}),
                "tilt_y": ("tilt_y", ty, {"units": "mrad"}),
                "tilt_x": ("tilt_x", tx, {"units": "mrad"}),
                "ky": ("ky", axis, {"units": "mrad"}),
                "kx": ("kx", axis, {"units": "mrad"}),
            },
            name="pattern",
            attrs={"semi_angle_mrad": semi_angle, "units": "1"},
        )


def _formula(elements: tuple[str, ...], occupancies: NDArray) -> str:
    counts: dict[str, float] = {}
    for element, occupancy in zip(elements, occupancies, strict=True):
        counts[element] = counts.get(element, 0) + float(occupancy)
    return "".join(f"{e}{n:.3g}" if abs(n - 1) > 1e-6 else e for e, n in counts.items())


__all__ = ["Library", "cache_folder"]
