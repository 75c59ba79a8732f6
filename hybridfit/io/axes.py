"""The axes of a scan in HDF5 and netCDF files: names, units, steps, and the order in which they are stored.

HyperSpy (.hspy), NeXus and netCDF store scan rows, scan columns, frame rows, frame columns; py4DSTEM too,
whose x is the row. Names and units that say otherwise decide. Berkeley (NCEM) EMD as HyperSpy writes it is
reversed, x first; Velox EMD has the frame number last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybridfit.io.calibration import Axis, is_angle, is_length
from hybridfit.io.velox import velox_axes, velox_metadata, velox_microscope

NAMELESS = ("", "phony_dim_", "dim_", "dim", "axis", "axis_")  # what libraries call axes without names
BERKELEY, VELOX, NETCDF = "Berkeley EMD", "Velox EMD", "HDF5 or netCDF"
HYPERSPY = "HyperSpy HDF5"


def axes_of(root: Any, name: str) -> tuple[list[Axis], Mapping[str, Any], str]:
    """The axes as they are stored, what is known of the microscope, and the format in words."""
    variable = root[name]
    group, n = variable.group(), variable.ndim
    if "axis-0" in group.groups:
        axes = [_hyperspy(group.groups.get(f"axis-{i}")) for i in range(n)]
        return axes, _microscope(group), HYPERSPY
    if "dim0" in group.variables:
        return [_dimension(group.variables.get(f"dim{i}")) for i in range(n)], {}, "py4DSTEM EMD"
    if "dim1" in group.variables:
        axes = [_dimension(group.variables.get(f"dim{i}")) for i in range(1, n + 1)]
        told = name.endswith("datacube") or (axes[0].name[:1], axes[-1].name[:1]) == ("R", "Q")
        return axes, {}, "py4DSTEM EMD" if told else BERKELEY
    if name.startswith("Data/Image/") and name.endswith("/Data"):
        metadata = velox_metadata(group)
        return velox_axes(metadata, variable.shape), velox_microscope(metadata), VELOX
    names = [str(x) for x in np.atleast_1d(_attributes(group).get("axes", []))]
    if len(names) != n:  # not NeXus
        names = list(variable.dimensions)
    found = [group.variables.get(x, root.variables.get(x)) for x in names]
    return [_dimension(v)._replace(name=x) for v, x in zip(found, names, strict=True)], {}, NETCDF


def axis_order(kind: str, axes: Sequence[Axis]) -> tuple[int, ...]:
    """The stored axes in the order scan rows, scan columns (or frames), frame rows, frame columns."""
    stored = tuple(range(len(axes)))
    if kind not in (BERKELEY, VELOX):
        return told_order(axes, swap=kind == NETCDF) or stored
    if kind == VELOX:
        return (2, 0, 1) if len(axes) == 3 else told_order(axes) or stored
    if len(axes) == 2:
        return (1, 0) if _ends(axes, "xy") else stored
    if len(axes) < 3:
        return stored
    if len(axes) == 3 and (told := told_order(axes, swap=True)) is not None:
        return told
    first, last = axes[:2], axes[-2:]
    rows_first = _ends(first, "yx") or _ends(last, "yx")
    if len(axes) == 3:
        return stored if rows_first else stored[::-1]
    if _detector(first) and not _detector(last):
        return (2, 3, 0, 1) if rows_first else (3, 2, 1, 0)
    if _detector(last) and not _detector(first):
        return (1, 0, 3, 2) if _ends(first, "xy") and _ends(last, "xy") else stored
    return stored if rows_first else stored[::-1]


def told_order(axes: Sequence[Axis], swap: bool = False) -> tuple[int, ...] | None:
    """The order that names and units tell: positions first, then frames; None where they tell nothing.

    Of two axes that are named x, y, those of a frame, rows come first with `swap`.

    Two axes are those of a frame by their unit, an angle or a reciprocal length, or by names such as kx, Qy,
    det_x. With `swap`, rows come before columns in a pair that is named x, y.
    """
    if len(axes) == 2 and swap and _ends(axes, "xy"):
        return (1, 0)
    if len(axes) not in (3, 4):
        return None
    detector = [i for i, axis in enumerate(axes) if _of_detector(axis)]
    if len(detector) != 2:
        return None
    order = [[i for i in range(len(axes)) if i not in detector], detector]
    for pair in order:
        if swap and len(pair) == 2 and _ends([axes[i] for i in pair], "xy"):
            pair.reverse()
    return (*order[0], *order[1])


def _of_detector(axis: Axis) -> bool:
    if is_length(axis):
        return False
    name = axis.name.casefold()
    return is_angle(axis) or name.startswith(("k", "q", "det", "recip", "diff"))


def _detector(pair: Sequence[Axis]) -> bool:
    """True where units, or else names such as kx, Qy, det_x, are those of a diffraction pattern."""
    if any(map(is_length, pair)):
        return False
    return all(map(is_angle, pair)) or all(axis.name[:1].casefold() in ("k", "q", "d") for axis in pair)


def _ends(pair: Sequence[Axis], letters: str) -> bool:
    names = [axis.name.casefold() for axis in pair]
    return all(name.endswith(letter) for name, letter in zip(names, letters, strict=True))


def _hyperspy(group: Any) -> Axis:
    found = _attributes(group)
    return Axis(str(found.get("name", "")), str(found.get("units", "")), _real(found.get("scale")))


def _dimension(variable: Any) -> Axis:
    """An axis by the values along it: its scale is their step."""
    found = _attributes(variable)
    name, units = str(found.get("name", "")), str(found.get("units", ""))
    numbers = variable is not None and isinstance(variable.datatype, np.dtype)
    if not numbers or variable.datatype.kind not in "uif" or variable.ndim != 1 or variable.size < 2:
        return Axis(name, units)
    values: np.ndarray = np.ma.filled(np.ma.asarray(variable[:], float), np.nan)
    steps = np.diff(values)
    even = bool(np.allclose(steps, steps[0], rtol=1e-3, atol=0))
    return Axis(name, units, float(steps[0]) if even else None)


def _microscope(group: Any) -> Mapping[str, Any]:
    for name in ("metadata", "Acquisition_instrument", "TEM"):
        group = None if group is None else group.groups.get(name)
    return _attributes(group)


def _attributes(of: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key in [] if of is None else of.ncattrs():
        with contextlib.suppress(Exception):  # of a type that netCDF4 does not know, such as h5py's booleans
            out[key] = of.getncattr(key)
    return out


def _real(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float | np.number) else None
