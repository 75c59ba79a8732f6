"""The dimensions of a library's dataset: what the structural ones are, values and windows of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.errors import LibraryError
from hybridfit.library.contents import DIFFUSE, ORDERS
from hybridfit.library.grid import HALO
from hybridfit.library.settings import BUILD
from hybridfit.library.slopes import blended_slopes
from hybridfit.pattern.blend import node_weights
from hybridfit.pattern.expand import pick_last

Array = NDArray[np.float64]
ON_NODE = 1e-9  # of the range


class StructuralAxis(NamedTuple):
    """A structural parameter of a library: its values in ascending order, unit, and kind."""

    values: Array
    unit: str
    kind: str

    @property
    def continuous(self) -> bool:
        """Whether there is something between the values."""
        return self.kind == "continuous"

    @property
    def low(self) -> float:
        """The least value."""
        return float(self.values[0])

    @property
    def high(self) -> float:
        """The greatest value."""
        return float(self.values[-1])

    @property
    def reference(self) -> float:
        """Where the others are judged from: the value nearest to 0, or the middle one if 0 is outside."""
        target = 0.0 if self.low <= 0 <= self.high else (self.low + self.high) / 2
        return float(self.values[np.abs(self.values - target).argmin()])

    def checked(self, name: str, value: float) -> float:
        """A value of this parameter, on the node if it is next to one.

        Raises
        ------
        LibraryError
            It is outside the library, or between the values of a discrete parameter.
        """
        value = float(value)
        nearest = float(self.values[np.abs(self.values - value).argmin()])
        if abs(value - nearest) <= ON_NODE * (self.high - self.low):
            return nearest
        if self.continuous and self.low < value < self.high:
            return value
        known = f"{self.low:g} … {self.high:g}" if self.continuous else self.listed
        raise LibraryError(
            f"{name} = {value:g} is outside this library ({known}); build one with other values"
        )

    @property
    def listed(self) -> str:
        """The values, in words."""
        return ", ".join(f"{value:g}" for value in self.values)


def axes_of(dataset: xr.Dataset) -> dict[str, StructuralAxis]:
    """Structural parameters of a library by name, in the order of its dimensions."""
    out = {}
    for name in map(str, dataset.intensity.dims[: dataset.intensity.dims.index("thickness")]):
        coordinate = dataset[name]
        unit, kind = str(coordinate.attrs["units"]), str(coordinate.attrs["kind"])
        out[name] = StructuralAxis(coordinate.values.astype(np.float64), unit, kind)
    return out


def moving_of(dataset: xr.Dataset) -> tuple[str, ...]:
    """Structural parameters that change the cell, a strain for one, in the order of the dimensions."""
    return tuple(map(str, dataset.basis.dims[:-2]))


def bases_of(dataset: xr.Dataset) -> Array:
    """(n, 2, 2): the reciprocal basis (mrad) of every cell of a library; a single one without strain."""
    return np.asarray(dataset.basis.values, dtype=np.float64).reshape(-1, 2, 2)


def beams_within(dataset: xr.Dataset, reach: float) -> int:
    """How many of the beams, in their order, are all that are within reach (mrad) in any of the cells.

    At least those of the shortest length.
    """
    length = np.linalg.norm(dataset.beam_n.values @ bases_of(dataset), axis=2).min(axis=0)
    return int(np.flatnonzero(length <= max(reach, float(length[1:].min())) + 1e-6)[-1]) + 1


def room_for(dataset: xr.Dataset, semi_angle: float) -> float:
    """How far beams are stored beyond those that patterns of a semi-angle need near the zone axis (mrad)."""
    longest = float(np.linalg.norm(dataset.beam_n.values @ bases_of(dataset), axis=2).min(axis=0).max())
    return max(0.0, longest - 2 * semi_angle - BUILD.beyond_disc)


def check_names(names: Iterable[str], axes: Mapping[str, StructuralAxis]) -> None:
    """Raise a LibraryError for names that are none of the structural parameters."""
    for name in names:
        if name not in axes:
            raise LibraryError(
                f"this library has no structural parameter {name!r}; it has {', '.join(axes) or 'none'}"
            )


def check_given(axes: Mapping[str, StructuralAxis], names: Iterable[str]) -> None:
    """Raise a LibraryError where structural parameters are left open."""
    names = set(names)
    missing = [name for name in axes if name not in names]
    if missing:
        raise LibraryError(
            f"this library varies {', '.join(missing)}; say at which value, such as "
            f"library.at({missing[0]}={axes[missing[0]].reference:g})"
        )


def take(dataset: xr.Dataset, values: Mapping[str, float]) -> xr.Dataset:
    """A dataset at values of some structural parameters, without their dimensions.

    On a node it is what was solved there, between nodes a polynomial blend (`pattern.blend`), also of
    the reciprocal basis where cells differ.  The rotation order becomes that of what is left.

    Raises
    ------
    LibraryError
        There is no such parameter, or it does not have that value.
    """
    axes = axes_of(dataset)
    check_names(values, axes)
    known = json.loads(dataset.attrs.get("at", "{}"))
    for name, given in values.items():
        axis = axes[name]
        known[name] = value = axis.checked(name, given)
        first, weights, _ = node_weights(axis.values, value)
        used = np.flatnonzero(weights)
        if len(used) == 1:
            dataset = dataset.isel({name: first + int(used[0])}, drop=True)
            continue
        part = dataset.isel({name: first + used})
        orders = np.gcd.reduce(part[ORDERS].values, axis=part[ORDERS].dims.index(name))
        rest = tuple(dim for dim in part[ORDERS].dims if dim != name)
        blends = ("intensity", *(("basis", "qx", "qy") if name in part.basis.dims else ()))
        blended = {key: _blended(part[key], name, weights[used]) for key in blends}
        q = {key: blended.pop(key) for key in ("qx", "qy") if key in blends}
        slopes = blended_slopes(part, name, weights[used])
        dataset = part.drop_vars([*blends, *slopes, ORDERS, name])
        dataset = dataset.assign({**blended, **slopes, ORDERS: (rest, orders)}).assign_coords(q)
    if not values:
        return dataset
    order = int(np.gcd.reduce(dataset[ORDERS].values, axis=None))
    whole = dataset.attrs.get("whole_checksum", dataset.attrs["checksum"])
    at = json.dumps(known, sort_keys=True)
    checksum = hashlib.sha256(f"{whole} {at}".encode()).hexdigest()
    return dataset.assign_attrs(checksum=checksum, whole_checksum=whole, at=at, rotation_order=order)


def _blended(
    variable: xr.DataArray, name: str, weights: Array
) -> tuple[tuple[Any, ...], NDArray[Any], dict[str, Any]]:
    """Dimensions, values and attributes of a variable summed over a dimension with weights."""
    nodes = np.moveaxis(variable.values, variable.dims.index(name), 0)
    out = np.zeros(nodes.shape[1:], nodes.dtype)
    for weight, node in zip(weights.astype(nodes.dtype), nodes, strict=True):
        out += weight * node
    return tuple(dim for dim in variable.dims if dim != name), out, variable.attrs


def cut(dataset: xr.Dataset, ranges: Mapping[str, tuple[float, float]]) -> dict[str, slice]:
    """The nodes that ranges of structural parameters need, those for the interpolation included.

    Raises
    ------
    LibraryError
        There is no such parameter, or the range is not within it.
    """
    axes = axes_of(dataset)
    check_names(ranges, axes)
    out = {}
    for name, (low, high) in ranges.items():
        axis = axes[name]
        if not axis.low <= low <= high <= axis.high:
            raise LibraryError(
                f"{name} = {low:g} … {high:g} is no range of this library; "
                f"give two values within {axis.low:g} … {axis.high:g}"
            )
        inside = np.flatnonzero((axis.values >= low) & (axis.values <= high))
        if axis.continuous:
            (start, weights, _), (last, _, _) = (node_weights(axis.values, value) for value in (low, high))
            out[name] = slice(start, last + len(weights))
        elif len(inside):
            out[name] = slice(int(inside[0]), int(inside[-1]) + 1)
        else:
            raise LibraryError(f"{name} has no value in {low:g} … {high:g}; it has {axis.listed}")
    return out


def select(
    dataset: xr.Dataset,
    thickness: float,
    tilt: tuple[float, float],
    *,
    half_widths: tuple[float, float],
    radius: float,
    beams: int,
    structure: Mapping[str, tuple[float, float]],
) -> xr.Dataset:
    """The part of a dataset that `Library.window` needs: its parameters, and so many beams.

    radius is that of the disc of directions around the tilt (mrad).
    """
    nodes = cut(dataset, structure)
    t = dataset.thickness.values
    first = int(np.searchsorted(t, thickness - half_widths[0] + 1e-9)) - 2
    last = int(np.searchsorted(t, thickness + half_widths[0] - 1e-9)) + 2
    low = min(max(first, 0), len(t) - 4)
    high = min(max(last, low + 4), len(t))
    directions = dataset.direction_n.values
    keep = np.zeros(len(directions), bool)
    in_reach = dataset.isel({name: nodes[name] for name in moving_of(dataset) if name in nodes})
    for grid_step in bases_of(in_reach) / dataset.sampling.values[:, None]:
        reach = radius + half_widths[1] + HALO * float(np.linalg.norm(grid_step, axis=1).max())
        for r in dataset.symmetry.values:
            inverse = np.linalg.inv(r).round().astype(int)
            image = directions @ inverse.T @ grid_step
            keep |= np.hypot(image[:, 0] - tilt[0], image[:, 1] - tilt[1]) <= reach
    if DIFFUSE in dataset and dataset[DIFFUSE].ndim == 3:  # the whole table, which windows share
        dataset = dataset.drop_vars(DIFFUSE)
    part = dataset.isel(nodes | {"thickness": slice(low, high), "beam": slice(beams)})
    picked = np.flatnonzero(keep)
    *others, nb, nd = part.intensity.shape
    if part.variables["intensity"]._in_memory:  # which numpy does slowly
        intensity = pick_last(part.intensity.values.reshape(-1, nb, nd), picked)
        intensity = intensity.reshape(*others, nb, len(picked))
    else:  # a file reads the blocks that these are in
        intensity = np.ascontiguousarray(part.intensity[..., picked].values)
    rest = part.drop_vars("intensity").isel(direction=picked)
    return rest.assign(intensity=(part.intensity.dims, intensity, part.intensity.attrs))
