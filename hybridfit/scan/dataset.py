"""The map as an `xarray.Dataset`: CF units, names and flags, so that everybody's tools read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.fitting.assumptions import BUDGET_PARTS
from hybridfit.library.axes import StructuralAxis
from hybridfit.model import PARAMETERS
from hybridfit.quantities import quantity
from hybridfit.scan.positions import Positions
from hybridfit.scan.rows import BUDGETED, COLUMN, FIGURES, ROUTES, STATUSES, Rows

Array = NDArray[np.float64]
DIMS = ("scan_y", "scan_x")


def map_dataset(
    rows: Rows,
    positions: Positions,
    structure: Mapping[str, StructuralAxis],
    *,
    step_nm: float | None,
    attrs: dict[str, Any],
) -> xr.Dataset:
    """The map of all positions.

    Parameters
    ----------
    rows : Rows
        Row by row.
    positions : Positions
    structure : mapping of name to StructuralAxis
        Structural parameters of the library.
    step_nm : float, optional
        Between positions of the file (nm).
    attrs : dict
        Attributes of the dataset.
    """
    shape = positions.shape
    out = xr.Dataset(attrs=attrs)
    for name in PARAMETERS:
        _add(out, name, rows.values[:, COLUMN[name]], rows.values[:, COLUMN[f"{name}_stderr"]], shape)
    for name, value, error in _polar(rows.values):
        _add(out, name, value, error, shape)
    for i, (name, axis) in enumerate(structure.items()):
        _add_structural(out, name, axis, rows.structure[:, i], shape)
    for name in BUDGETED:
        _add_budget(out, name, rows.values, shape)
    for name in FIGURES:
        _add(out, name, rows.values[:, COLUMN[name]], None, shape)
    out["status"] = _flags(rows.status, STATUSES, shape, "how the fit ended")
    out["route"] = _flags(
        rows.route, tuple(str(r).replace(" ", "_") for r in ROUTES), shape, "how it was found"
    )
    out["message"] = (DIMS, rows.message.astype(object).reshape(shape), {"long_name": "status in words"})
    unit, step = ("1", 1.0) if step_nm is None else ("nm", step_nm)
    for dim, middle, what in zip(DIMS, positions.coordinates(), ("rows", "columns"), strict=True):
        out[dim] = (dim, middle * step, {"units": unit, "long_name": f"scan position, {what}"})
    if step_nm is not None:
        out.attrs["step_nm"] = step_nm
    return out


def _add(out: xr.Dataset, name: str, value: Array, error: Array | None, shape: tuple[int, int]) -> None:
    known = quantity(name)
    out[name] = (DIMS, value.reshape(shape), known.attrs)
    if error is not None:
        out[f"{name}_stderr"] = (DIMS, error.reshape(shape), known.stderr_attrs)


def _add_budget(out: xr.Dataset, name: str, values: Array, shape: tuple[int, int]) -> None:
    """The parts of the standard error of a parameter, on a dimension of their own."""
    known = quantity(name)
    parts = np.stack([values[:, COLUMN[f"{name}_budget_{part}"]].reshape(shape) for part in BUDGET_PARTS])
    about = {"units": known.attrs["units"], "long_name": f"parts of the {known.stderr_attrs['long_name']}"}
    out[f"{name}_budget"] = (("part", *DIMS), parts, about)
    out.coords["part"] = ("part", list(BUDGET_PARTS), {"long_name": "what a standard error contains"})


def _add_structural(
    out: xr.Dataset, name: str, axis: StructuralAxis, values: Array, shape: tuple[int, int]
) -> None:
    """A structural parameter with its standard error; a discrete one with the odds of its value."""
    known = quantity(name, axis.unit)
    about: dict[str, Any] = {**known.attrs, "kind": axis.kind}
    if not axis.continuous:
        about |= {"values": axis.values}
    out[name] = (DIMS, values[:, 0].reshape(shape), about)
    sure = known.stderr_attrs
    if not axis.continuous:
        sure = {"units": "1", "long_name": f"odds of that {known.long_name}"}
    suffix = "stderr" if axis.continuous else "odds"
    out[f"{name}_{suffix}"] = (DIMS, values[:, 1].reshape(shape), sure)


def _flags(values: NDArray[np.int8], names: tuple[str, ...], shape: tuple[int, int], what: str) -> Any:
    about = {
        "long_name": what,
        "flag_values": np.arange(len(names), dtype=np.int8),
        "flag_meanings": " ".join(names),
    }
    return (DIMS, values.reshape(shape), about)


def _polar(values: Array) -> list[tuple[str, Array, Array]]:
    """Magnitude and azimuth of the tilt, with the errors that follow from those of its components."""
    x, y = values[:, COLUMN["tilt_x"]], values[:, COLUMN["tilt_y"]]
    vx, vy = values[:, COLUMN["tilt_x_stderr"]] ** 2, values[:, COLUMN["tilt_y_stderr"]] ** 2
    xy = values[:, COLUMN["tilt_covariance"]]
    size = np.hypot(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        along = (x**2 * vx + y**2 * vy + 2 * x * y * xy) / size**2
        across = (y**2 * vx + x**2 * vy - 2 * x * y * xy) / size**2
        # an azimuth is no worse known than not at all
        azimuth_error = np.minimum(np.rad2deg(np.sqrt(np.maximum(across, 0)) / size), 180 / np.sqrt(3))
        magnitude_error = np.sqrt(np.maximum(along, 0))
    return [
        ("tilt_magnitude", size, magnitude_error),
        ("tilt_azimuth", np.rad2deg(np.arctan2(y, x)), azimuth_error),
    ]
