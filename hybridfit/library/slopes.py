"""How intensities depend on what a library takes for granted: vibration and energy.

    D_B = ∂I_g(q; t)/∂ ln B        all Debye–Waller factors together
    D_E = ∂I_g(q; t)/∂ ln E        at a fixed q in Å⁻¹, not in mrad

An error bar needs them to a few per cent only.  They are differences of two solves, on a grid of directions
twice as coarse as that of the library, and are kept as whole numbers times a unit for each beam and
thickness: a seventh of the library's size each.  HOLZ lines are left out of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.library.contents import SLOPES, unit_of
from hybridfit.library.grid import layout
from hybridfit.library.planes import Planes, planes_of
from hybridfit.library.settings import BUILD
from hybridfit.pattern.blend import node_weights
from hybridfit.pattern.expand import Table

if TYPE_CHECKING:
    from hybridfit.physics.projection import Projection

Array = NDArray[np.float64]
LARGEST = 32767  # of an int16


class Slopes(NamedTuple):
    """Slopes of a library, and how to blend them.

    Attributes
    ----------
    table : Table
        The grid of their directions; its intensities are a placeholder.
    sampling : (2,) float array
        Its steps per step of the library.
    values : name to (…, thickness, beam, direction) int16 and their unit, (…, thickness, beam) float32
        The former as they are asked for, where they are in a file.
    nodes : name of each structural parameter to its values
    """

    table: Table
    sampling: Array
    values: Mapping[str, tuple[NDArray[np.int16] | Planes, NDArray[np.float32]]]
    nodes: Mapping[str, Array]

    def at(self, table: Table) -> Table:
        """The grid of the slopes on the lattice of a table of the library."""
        to_grid = np.ascontiguousarray(table.to_grid * self.sampling[:, None])
        return self.table._replace(to_grid=to_grid, beam_xy=table.beam_xy[: len(self.table.beam_n)])

    def blend(self, name: str, thickness: float, values: Mapping[str, float]) -> NDArray[np.float32]:
        """(beam, direction) slopes along a name at a thickness (nm) and at structural parameters."""
        numbers, unit = self.values[name]
        beams = len(self.table.beam_n)
        steps = np.arange(unit.shape[-2], dtype=np.float64)
        position = (thickness - self.table.thickness_first) / self.table.thickness_step
        parts = [
            *(node_weights(nodes, values[key])[:2] for key, nodes in self.nodes.items()),
            node_weights(steps, position)[:2],
        ]
        out = np.zeros((beams, numbers.shape[-1]), np.float32)
        for index in np.ndindex(*(len(weights) for _, weights in parts)):
            weight = float(np.prod([weights[i] for (_, weights), i in zip(parts, index, strict=True)]))
            if weight != 0:
                at = tuple(first + i for (first, _), i in zip(parts, index, strict=True))
                scale = (weight * unit[at][:beams]).astype(np.float32)
                out += numbers[at][:beams] * scale[:, None]
        return out


def slopes_of(dataset: xr.Dataset, beams: int, *, on_demand: bool = False) -> Slopes | None:
    """The slopes of the first beams of a library, read now or on demand; None where it has none."""
    present = {name: variable for name, variable in SLOPES.items() if variable in dataset}
    if not present:
        return None
    sampling = dataset.slope_sampling.values.astype(np.int64)
    directions = dataset.slope_n.values.astype(np.int64)
    basis = dataset.basis.values.reshape(-1, 2, 2)[0]
    placeholder = np.zeros((1, 1, 1), np.float32)
    table = layout(dataset, beams, basis, sampling, directions, placeholder)
    structural = map(str, dataset.intensity.dims[:-3])
    return Slopes(
        table,
        sampling / dataset.sampling.values,
        {
            name: (planes_of(dataset.variables[variable], on_demand), dataset[unit_of(variable)].values)
            for name, variable in present.items()
        },
        {name: dataset[name].values.astype(np.float64) for name in structural},
    )


def with_slopes(
    dataset: xr.Dataset,
    found: Mapping[str, tuple[NDArray[np.int16], NDArray[np.float32]]],
    sampling: NDArray[np.int64],
    directions: NDArray[np.int64],
) -> xr.Dataset:
    """A dataset with what `solve_slopes` found on a grid of directions (d, 2) with this sampling."""
    *dims, beam, _ = dataset.intensity.dims
    shape = dataset.intensity.shape[:-1]
    out: dict[str, Any] = {
        "slope_sampling": ("vector", sampling, {"long_name": "directions of slopes per basis vector"}),
        "slope_n": (("slope_direction", "vector"), directions),
    }
    for name, (numbers, unit) in found.items():
        about = {"units": "1", "long_name": f"derivative of the intensity along ln {name}, in its unit"}
        variable = SLOPES[name]
        out[variable] = (*dims, beam, "slope_direction"), numbers.reshape(*shape, -1), about
        out[unit_of(variable)] = (*dims, beam), unit.reshape(shape)
    return dataset.assign(out)


def without_slopes(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset without its slopes."""
    names = [each for name in SLOPES.values() for each in (name, unit_of(name))]
    return dataset.drop_vars([*names, "slope_sampling", "slope_n"], errors="ignore")


def knows_vibration(attrs: Mapping[str, Any], structure: Iterable[str]) -> bool:
    """Whether a structural parameter of a library, fitted or taken at a value, is the vibration of atoms.

    Parameters
    ----------
    attrs : mapping
        Attributes of its dataset.
    structure : names of its structural parameters
    """
    recipe = json.loads(attrs.get("recipe", "{}"))
    own = {name for name, p in recipe.get("parameters", {}).items() if p.get("debye_waller") is not None}
    there = {*structure, *json.loads(attrs.get("at", "{}"))}
    return bool({*own, "debye_waller"} & there)


def packed(values: NDArray[np.float32]) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Whole numbers (…, direction), and their unit (…,)."""
    out, unit = np.empty(values.shape, np.int16), np.empty(values.shape[:-1], np.float32)
    for i, each in enumerate(values):  # one by one: a copy of all would take as much memory again
        unit[i] = np.abs(each).max(axis=-1) / LARGEST
        safe = np.where(unit[i] > 0, unit[i], 1)[..., None]
        out[i] = np.rint(each / safe)
    return out, unit


def blended_slopes(
    part: xr.Dataset, name: str, weights: Array
) -> dict[str, tuple[tuple[Any, ...], NDArray[Any]]]:
    """Variables of the slopes of a dataset, summed over a structural parameter with weights."""
    out: dict[str, tuple[tuple[Any, ...], NDArray[Any]]] = {}
    for variable in (v for v in SLOPES.values() if v in part):
        numbers, unit = (
            np.moveaxis(part[each].values, part[each].dims.index(name), 0)
            for each in (variable, unit_of(variable))
        )
        total = sum(
            np.float32(w) * each * of[..., None] for w, each, of in zip(weights, numbers, unit, strict=True)
        )
        new, new_unit = packed(np.asarray(total, np.float32))
        for each, values in ((variable, new), (unit_of(variable), new_unit)):
            out[each] = tuple(dim for dim in part[each].dims if dim != name), values
    return out


def solve_slopes(
    projections: Sequence[Projection],
    every: NDArray[np.int64],
    counts: tuple[int, int],
    energy_kv: float,
    q: Sequence[Array],
    thickness: Array,
    *,
    outer: float,
    device: str,
    progress: Callable[[float], None] | None = None,
) -> dict[str, tuple[NDArray[np.int16], NDArray[np.float32]]]:
    """Slopes of several crystals, by the names of `SLOPES`.

    Parameters
    ----------
    projections : sequence of Projection
    every : (b, 2) int array
        All beams, the weak ones included.
    counts : (int, int)
        How many of them are strong, and how many are stored.
    energy_kv : float
    q : (d, 2) array of each crystal, Å⁻¹
    thickness : (m,) array, nm
    outer : float, Å⁻¹
        Beams with 2K s_g < −outer² are left out.
    device : str
    progress : callable, optional

    Returns
    -------
    mapping of name to (crystal, m, stored, d) int16 and their unit (crystal, m, stored)
    """
    from hybridfit.physics import bloch

    strong, stored = counts
    done = 0

    def solved(projection: Projection, energy: float, where: Array) -> NDArray[np.float32]:
        nonlocal done
        part = None
        if progress is not None:
            before = done
            part = lambda fraction: progress((before + fraction) / (3 * len(projections)))  # noqa: E731
        matrix = bloch.DynamicalMatrix.of(projection, every, energy, higher_zones=True)
        matrix = replace(matrix.folded_roughly(strong, outer), tile=BUILD.slope_tile)
        out = bloch.beam_intensities(matrix, where, thickness, keep=stored, device=device, progress=part)
        done += 1
        return np.asarray(out, np.float32)

    found: dict[str, list[Any]] = {name: [] for name in SLOPES}
    for projection, where in zip(projections, q, strict=True):
        crystal, step = projection.crystal, BUILD.vibration_step
        middle = solved(projection, energy_kv, where)
        warm = replace(crystal, debye_waller=crystal.debye_waller * (1 + step))
        vibration = solved(replace(projection, crystal=warm), energy_kv, where)
        vibration -= middle
        vibration /= np.float32(np.log1p(step))
        found["debye_waller"].append(packed(vibration))
        del vibration
        step = BUILD.energy_step
        other = solved(projection, energy_kv * (1 + step), where)
        other -= middle
        other /= np.float32(np.log1p(step))
        found["energy"].append(packed(other))
    return {
        name: (np.stack([numbers for numbers, _ in each]), np.stack([unit for _, unit in each]))
        for name, each in found.items()
    }
