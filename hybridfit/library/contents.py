"""What a library's dataset must hold to be used: names, dimensions, types and ranges of its variables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.errors import LibraryError
from hybridfit.library.settings import FILE, FileSettings

ORDERS = "rotation_orders"  # of the projection at every combination of structural parameters
CUBE = ("thickness", "beam", "direction")
# slopes along what a library takes for granted (`library.slopes`): the variable of each
SLOPES = {"debye_waller": "slope_debye_waller", "energy": "slope_energy"}
DIFFUSE = "diffuse"  # thermal diffuse intensity (`library.diffuse`)
BULK = ("intensity", *SLOPES.values(), DIFFUSE)
ROTATIONS = (1, 2, 3, 4, 6)
LISTED = ("zone", "energy_kv", "thickness", "semi_angle_max", "tilt_max", "g_max", "sampling", "in_plane")


def check_contents(dataset: xr.Dataset, path: Path, settings: FileSettings = FILE) -> None:
    """Raise a LibraryError where a dataset cannot be that of a library; intensities are not read."""
    try:
        _check_intensity(dataset)
        _check_attributes(dataset.attrs)
        parameters = _check_parameters(dataset)
        _check_lattice(dataset, parameters, settings)
        _check_slopes(dataset, settings)
        _check_diffuse(dataset, parameters, settings)
        _check_axes(dataset, parameters)
        _check_room(dataset, settings)
    except (KeyError, AttributeError, TypeError, ValueError, OverflowError, np.linalg.LinAlgError) as error:
        what = f"there is no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise LibraryError(f"{path} is no usable library ({what}); build it again") from None


def _require(holds: object, what: str) -> None:
    if not bool(holds):
        raise ValueError(what)


def _check_intensity(dataset: xr.Dataset) -> None:
    intensity = dataset.variables["intensity"]
    _require(intensity.dims[-3:] == CUBE, f"intensity has dimensions {intensity.dims}")
    _require(intensity.dtype == np.float32, f"intensity has type {intensity.dtype}")
    _require(all(intensity.shape), f"intensity has shape {intensity.shape}")


def _check_attributes(attrs: dict[Any, Any]) -> None:
    for name in ("checksum", "crystal", "formula", "recipe"):
        _require(isinstance(attrs[name], str), f"{name} is no text")
    zone = np.atleast_1d(attrs["zone"])
    _require(zone.shape == (3,) and zone.dtype.kind == "i" and zone.any(), f"zone {zone.tolist()}")
    for name, low, high in (
        ("energy_kv", 20, 3000),
        ("semi_angle_max_mrad", 1e-3, 100),
        ("tilt_max_mrad", 0, 50),
    ):
        value = _number(attrs, name)
        _require(low <= value <= high, f"{name} {value:g} is outside {low:g} … {high:g}")
    order = attrs["rotation_order"]
    _require(isinstance(order, int | np.integer) and order in ROTATIONS, f"rotation_order {order!r}")
    recipe = json.loads(attrs["recipe"])
    _require(isinstance(recipe, dict) and all(name in recipe for name in LISTED), "recipe misses values")
    _require(isinstance(recipe["thickness"], dict), "recipe has no thickness")
    for part, names in ((recipe, ("energy_kv", "semi_angle_max", "tilt_max", "g_max", "sampling")),
                        (recipe["thickness"], ("start", "stop", "step"))):  # fmt: skip
        for name in names:
            _number(part, name)
    for name in ("zone", "in_plane"):
        given = recipe[name]
        _require(given is None or (isinstance(given, list) and len(given) == 3), f"recipe has {name} {given}")
    known = json.loads(attrs.get("at", "{}"))
    _require(isinstance(known, dict) and isinstance(attrs.get("whole_checksum", ""), str), "at is no table")


def _number(values: Any, name: str) -> float:
    value = values[name]
    _require(isinstance(value, int | float | np.integer | np.floating), f"{name} {value!r} is no number")
    _require(np.isfinite(value), f"{name} is {value}")
    return float(value)


def _check_parameters(dataset: xr.Dataset) -> dict[str, int]:
    """Structural parameters and how many values each has."""
    out = {}
    for name in map(str, dataset.variables["intensity"].dims[:-3]):
        coordinate = dataset.variables[name]
        _require(coordinate.dims == (name,), f"{name} has dimensions {coordinate.dims}")
        values = _reals(dataset, name, (len(coordinate),))
        _require(len(values) > 1 and (np.diff(values) > 0).all(), f"values of {name} do not rise")
        _require(isinstance(coordinate.attrs["units"], str), f"{name} has no unit")
        _require(coordinate.attrs["kind"] in ("continuous", "discrete"), f"{name} has no kind")
        out[name] = len(values)
    if out:
        orders = _integers(dataset, ORDERS, tuple(out.values()))
        _require(np.isin(orders, ROTATIONS).all(), f"{ORDERS} {np.unique(orders).tolist()}")
    return out


def _check_lattice(dataset: xr.Dataset, parameters: dict[str, int], settings: FileSettings) -> None:
    moving = tuple(map(str, dataset.variables["basis"].dims[:-2]))
    _require(all(name in parameters for name in moving), f"basis depends on {moving}")
    basis = _reals(dataset, "basis", (*(parameters[name] for name in moving), 2, 2))
    lengths = np.linalg.norm(basis, axis=-1).prod(axis=-1)
    area = np.abs(np.linalg.det(basis))
    _require((area > settings.steepest_basis * lengths).all() and (lengths > 0).all(), "basis is singular")
    sampling = _integers(dataset, "sampling", (2,))
    _require((sampling >= 1).all() and (sampling <= settings.largest_index).all(), f"sampling {sampling}")
    symmetry = dataset.variables["symmetry"]
    _require(symmetry.ndim == 3 and 1 <= len(symmetry) <= 12, f"symmetry has shape {symmetry.shape}")
    operations = _integers(dataset, "symmetry", (len(symmetry), 2, 2))
    _require((np.abs(operations) <= 1).all(), "symmetry has entries beyond ±1")
    _require((np.abs(np.linalg.det(operations)).round() == 1).all(), "symmetry is singular")
    beams, directions = (dataset.sizes[name] for name in ("beam", "direction"))
    for name, count in (("beam_n", beams), ("direction_n", directions)):
        indices = _integers(dataset, name, (count, 2))
        largest = int(np.abs(indices).max())
        _require(largest <= settings.largest_index, f"{name} has an index of {largest}")
        _require(len(np.unique(indices, axis=0)) == count, f"{name} has indices twice")
    _require(not dataset.beam_n.values[0].any() and beams > 1, "beam_n does not begin with the direct beam")


def unit_of(name: str) -> str:
    """The variable with what one step of a variable of slopes is."""
    return f"{name}_unit"


def _check_slopes(dataset: xr.Dataset, settings: FileSettings) -> None:
    """Slopes, of which a library may have all, some or none."""
    present = [name for name in SLOPES.values() if name in dataset.variables]
    if not present:
        return
    intensity = dataset.variables["intensity"]
    count = dataset.sizes["slope_direction"]
    sampling, indices = _integers(dataset, "slope_sampling", (2,)), _integers(dataset, "slope_n", (count, 2))
    _require((sampling >= 1).all() and (sampling <= dataset.sampling.values).all(), "slope_sampling is fine")
    _require(int(np.abs(indices).max()) <= settings.largest_index, "slope_n has too large an index")
    _require(len(np.unique(indices, axis=0)) == count, "slope_n has indices twice")
    for name in present:
        variable = dataset.variables[name]
        _require(variable.dims == (*intensity.dims[:-1], "slope_direction"), f"{name} has other dimensions")
        _require(variable.dtype == np.int16, f"{name} has type {variable.dtype}")
        unit = _reals(dataset, unit_of(name), intensity.shape[:-1])
        _require(dataset.variables[unit_of(name)].dims == intensity.dims[:-1], f"{name} has another unit")
        _require((unit >= 0).all(), f"the unit of {name} is negative")


def _check_diffuse(dataset: xr.Dataset, parameters: dict[str, int], settings: FileSettings) -> None:
    """The diffuse table, which a library may have or not."""
    if DIFFUSE not in dataset.variables:
        return
    variable = dataset.variables[DIFFUSE]
    *others, t, incident, exits = map(str, variable.dims)
    _require(
        (t, incident, exits) == ("diffuse_thickness", "incident", "exit"), f"{DIFFUSE} has {variable.dims}"
    )
    _require(all(name in parameters for name in others), f"{DIFFUSE} depends on {others}")
    _require(variable.dtype == np.int16, f"{DIFFUSE} has type {variable.dtype}")
    unit = _reals(dataset, unit_of(DIFFUSE), variable.shape[:-1])
    _require(dataset.variables[unit_of(DIFFUSE)].dims == variable.dims[:-1], f"{DIFFUSE} has another unit")
    _require((unit >= 0).all(), f"the unit of {DIFFUSE} is negative")
    depths = _reals(dataset, t, (dataset.sizes[t],))
    step = depths[0] if len(depths) else 0.0
    multiples = step * np.arange(1, len(depths) + 1)
    _require(
        len(depths) >= 4 and step > 0 and np.allclose(depths, multiples, rtol=1e-6), f"{t} has uneven steps"
    )
    for name in (incident, exits):
        indices = _integers(dataset, f"{name}_n", (dataset.sizes[name], 2))
        _require(
            len(indices) and not indices[np.abs(indices).sum(axis=1).argmin()].any(), f"{name}_n has no 0"
        )
        _require(
            int(np.abs(indices).max()) <= settings.largest_diffuse_index, f"{name}_n has too large an index"
        )
        _require(len(np.unique(indices, axis=0)) == len(indices), f"{name}_n has indices twice")
        sampling = _integers(dataset, f"{name}_sampling", (2,))
        _require(
            (sampling >= 1).all() and (sampling <= settings.largest_index).all(),
            f"{name}_sampling {sampling}",
        )


def _check_axes(dataset: xr.Dataset, parameters: dict[str, int]) -> None:
    thickness = _reals(dataset, "thickness", (dataset.sizes["thickness"],))
    steps = np.diff(thickness)
    _require(len(thickness) >= 4 and thickness[0] > 0, f"thickness has {len(thickness)} values")
    _require((steps > 0).all() and np.allclose(steps, steps[0], rtol=1e-6), "thickness has uneven steps")
    for name in "hkl":
        _integers(dataset, name, (dataset.sizes["beam"],))
    moving = tuple(map(str, dataset.variables["basis"].dims[:-2]))
    for name in ("qx", "qy"):
        _reals(dataset, name, (*(parameters[key] for key in moving), dataset.sizes["direction"]))


def _check_room(dataset: xr.Dataset, settings: FileSettings) -> None:
    """The grid around a tilt, which is laid out for every beam, must not be absurd."""
    radius = float(dataset.attrs["semi_angle_max_mrad"])
    sampling, beams = dataset.sampling.values, dataset.sizes["beam"]
    for basis in dataset.basis.values.reshape(-1, 2, 2):
        to_grid = (np.linalg.inv(basis) * sampling).T
        points = np.prod(2 * (radius * np.linalg.norm(to_grid, axis=1) + 4))
        _require(8 * points * beams <= settings.room, f"sampling {sampling} is too fine for its basis")


def _reals(dataset: xr.Dataset, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    values = dataset.variables[name].values
    _require(values.dtype.kind in "fi", f"{name} has type {values.dtype}")
    _require(values.shape == shape, f"{name} has shape {values.shape}, not {shape}")
    _require(np.isfinite(values).all(), f"{name} is not finite")
    return np.asarray(values, np.float64)


def _integers(dataset: xr.Dataset, name: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    values = dataset.variables[name].values
    _require(values.dtype.kind == "i", f"{name} has type {values.dtype}")
    _require(values.shape == shape, f"{name} has shape {values.shape}, not {shape}")
    return np.asarray(values, np.int64)
