"""The diffuse table of a library: made with it, kept in it, read from it.

    D(p; q, t)      thermal diffuse intensity per solid angle (mrad⁻²), `hybridfit.physics.diffuse`

q and p are on coarse grids that share the lattice and the symmetry of the library's, t are multiples of a
step.  Discrete structural parameters have a table each; for continuous ones D is that of the crystal at their
reference values.  A library without a table leaves the diffuse intensity to the background.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.library.axes import axes_of
from hybridfit.library.contents import DIFFUSE, unit_of
from hybridfit.library.grid import sampling_of, wedge
from hybridfit.library.planes import Planes
from hybridfit.library.settings import BUILD, roughly
from hybridfit.library.slopes import packed
from hybridfit.pattern.diffuse import DiffuseTable

if TYPE_CHECKING:
    from hybridfit.library.recipe import Recipe
    from hybridfit.physics.bloch import DynamicalMatrix
    from hybridfit.physics.projection import Projection

Array = NDArray[np.float64]


def with_diffuse(
    dataset: xr.Dataset,
    projections: Sequence[Projection],
    every: NDArray[np.int64],
    strong: int,
    recipe: Recipe,
    *,
    device: str,
    progress: Callable[[float], None] | None = None,
) -> xr.Dataset:
    """A dataset with its diffuse table.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of a library, with its structural parameters.
    projections : sequence of Projection
        Of every crystal of the library, the last parameter running fastest.
    every : (b, 2) int array
        All beams, the weak ones included.
    strong : int
        How many of them are strong.
    recipe : Recipe
    device : str
    progress : callable, optional
        Called with the fraction done.
    """
    from hybridfit.physics.bloch import DynamicalMatrix

    axes = axes_of(dataset)
    shape = tuple(len(axis.values) for axis in axes.values())
    at = np.arange(len(projections)).reshape(shape)
    for i, axis in enumerate(axes.values()):
        if axis.continuous:
            at = at.take([int(np.abs(axis.values - axis.reference).argmin())], axis=i)
    discrete = [name for name, axis in axes.items() if not axis.continuous]
    matrices = [
        DynamicalMatrix.of(projections[int(i)], every, recipe.energy_kv, higher_zones=True).folded_roughly(
            strong, roughly(recipe.g_max)
        )
        for i in at.ravel()
    ]
    grids = _Grids.of(recipe, projections[int(at.flat[0])], projections[0].symmetry, matrices)
    tables = []
    for done, (i, matrix) in enumerate(zip(map(int, at.ravel()), matrices, strict=True)):
        part = None
        if progress is not None:
            part = lambda fraction, done=done: progress((done + fraction) / at.size)  # noqa: E731
        tables.append(packed(grids.solved(projections[i], matrix, recipe, device, part)))
    numbers, unit = (np.stack(each) for each in zip(*tables, strict=True))
    sizes = tuple(len(axes[name].values) for name in discrete)
    about = {"units": "mrad-2", "long_name": "thermal diffuse intensity, in its unit"}
    dims = (*discrete, "diffuse_thickness", "incident", "exit")
    return dataset.assign(
        {
            DIFFUSE: (dims, numbers.reshape(*sizes, *numbers.shape[1:]), about),
            unit_of(DIFFUSE): (dims[:-1], unit.reshape(*sizes, *unit.shape[1:])),
            "diffuse_thickness": ("diffuse_thickness", grids.thickness, {"units": "nm"}),
            "incident_n": (("incident", "vector"), grids.incident),
            "exit_n": (("exit", "vector"), grids.exits),
            "incident_sampling": ("vector", grids.incident_sampling),
            "exit_sampling": ("vector", grids.exit_sampling),
        }
    )


class _Grids(NamedTuple):
    """Directions and thicknesses of a diffuse table, and the operations of the whole library."""

    incident: NDArray[np.int64]
    incident_sampling: NDArray[np.int64]
    exits: NDArray[np.int64]
    exit_sampling: NDArray[np.int64]
    thickness: Array
    symmetry: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        projection: Projection,
        symmetry: NDArray[np.int64],
        matrices: Sequence[DynamicalMatrix],
    ) -> _Grids:
        """The grids that a recipe needs; symmetry is that of the whole library."""
        from hybridfit.physics.scattering import wavelength

        basis = projection.basis * 1e3 * wavelength(recipe.energy_kv)
        reach = recipe.semi_angle_max + recipe.tilt_max
        incident_sampling = sampling_of(basis, symmetry, BUILD.diffuse_incident)
        exit_sampling = sampling_of(basis, symmetry, BUILD.diffuse_exit)
        incident = wedge(basis / incident_sampling[:, None], symmetry, reach + BUILD.diffuse_incident)
        exits = wedge(basis / exit_sampling[:, None], symmetry[:1], reach + BUILD.beyond_disc)
        step = min(diffuse_step(each) for each in matrices)
        count = max(4, int(np.ceil(recipe.thickness.stop / step)) + 2)
        thickness = np.asarray(step * np.arange(1, count + 1), np.float64)
        return cls(incident, incident_sampling, exits, exit_sampling, thickness, symmetry)

    def solved(
        self,
        projection: Projection,
        matrix: DynamicalMatrix,
        recipe: Recipe,
        device: str,
        progress: Callable[[float], None] | None,
    ) -> NDArray[np.float32]:
        """D (thickness, incident, exit) of a crystal."""
        from hybridfit.physics.diffuse import diffuse_intensity

        return diffuse_intensity(
            projection,
            matrix,
            recipe.energy_kv,
            self.incident @ (projection.basis / self.incident_sampling[:, None]),
            self.exits @ (projection.basis / self.exit_sampling[:, None]),
            self.thickness,
            symmetry=self.symmetry,
            device=device,
            progress=progress,
        )


def diffuse_step(matrix: DynamicalMatrix) -> float:
    """Step in depth (nm): a share of the shortest extinction distance, the beat of its lowest levels."""
    levels = np.sort((matrix if matrix.radii is None else matrix.on_axis()).levels().real)[::-1]
    beat = 2 * matrix.k_n / (levels[0] - levels[-1 if len(levels) < 3 else 2]) / 10  # nm
    return float(min(BUILD.diffuse_step, BUILD.diffuse_beat * beat))


def diffuse_of(dataset: xr.Dataset, *, on_demand: bool = False) -> DiffuseTable | None:
    """The diffuse table of a library; None where it has none, or one for each value of a parameter."""
    if DIFFUSE not in dataset or dataset[DIFFUSE].ndim != 3:
        return None
    variable, unit = dataset.variables[DIFFUSE], dataset[unit_of(DIFFUSE)].values
    basis = dataset.basis.values.reshape(-1, 2, 2).mean(axis=0)  # of strained cells the middle
    incident, exits = (dataset[f"{name}_sampling"].values.astype(np.int64) for name in ("incident", "exit"))
    return DiffuseTable(
        Planes(variable, unit) if on_demand else variable.values * unit[..., None],
        float(dataset.diffuse_thickness.values[0]),
        dataset.incident_n.values.astype(np.int64),
        dataset.exit_n.values.astype(np.int64),
        basis / incident[:, None],
        basis / exits[:, None],
        dataset.symmetry.values.astype(np.int64),
    )


def without_diffuse(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset without its diffuse table."""
    names = [DIFFUSE, unit_of(DIFFUSE), "diffuse_thickness", "incident_n", "exit_n"]
    return dataset.drop_vars([*names, "incident_sampling", "exit_sampling"], errors="ignore")
