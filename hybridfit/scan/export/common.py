"""What all exports share: the numbers of a map with their titles and units, and its axes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.flags import meanings

DIMS = ("scan_y", "scan_x")
KEPT = (
    "library",
    "semi_angle_mrad",
    "energy_kv",
    "source",
    "hybridfit_version",
    "run",
    "settings",
    "source_note",
)


class Axis(NamedTuple):
    """An axis of a map: "y" or "x", in nm where the step is known and in positions elsewhere."""

    name: str
    size: int
    step: float
    first: float
    unit: str


@dataclass(frozen=True)
class Layer:
    """One variable of a map.

    Attributes
    ----------
    name, title, unit : str
    values : (rows, columns) array of float32; NaN where there is none
    flags : dict of str
        What the numbers of the status mean.
    """

    name: str
    title: str
    unit: str
    values: NDArray[np.float32]
    flags: dict[str, str] = field(default_factory=dict)


def check_map(dataset: xr.Dataset) -> None:
    """Raise an InputError for a dataset that is not on (scan_y, scan_x)."""
    missing = [dim for dim in DIMS if dim not in dataset.sizes]
    if missing:
        raise InputError(f"this dataset has no dimension {missing[0]}; give a map on (scan_y, scan_x)")


def numbers(dataset: xr.Dataset) -> list[str]:
    """Names of the variables of floating point on (scan_y, scan_x)."""
    return [
        str(name) for name, v in dataset.data_vars.items() if set(v.dims) == set(DIMS) and v.dtype.kind == "f"
    ]


def layers(dataset: xr.Dataset) -> list[Layer]:
    """All numbers of a map, and its status as a number."""
    out = []
    for name in numbers(dataset):
        variable = dataset[name].transpose(*DIMS)
        title, unit = str(variable.attrs.get("long_name", name)), str(variable.attrs.get("units", "1"))
        out.append(Layer(name, title, unit, np.asarray(variable.values, np.float32)))
    if "status" in dataset:
        status = dataset["status"].transpose(*DIMS)
        words = {f"status_{number}": word for number, word in meanings(status).items()}
        out.append(Layer("status", "how the fit ended", "1", np.asarray(status.values, np.float32), words))
    return out


def axes_of(dataset: xr.Dataset) -> tuple[Axis, Axis]:
    """Rows, then columns."""
    out = []
    for dim in DIMS:
        places = dataset[dim].values
        step = float(places[1] - places[0]) if len(places) > 1 else float(dataset.attrs.get("step_nm", 1.0))
        in_nm = dataset[dim].attrs.get("units") == "nm"
        out.append(Axis(dim[-1], len(places), step, float(places[0]), "nm" if in_nm else "position"))
    return out[0], out[1]


def about(dataset: xr.Dataset) -> dict[str, Any]:
    """What a map says of how it was made, as numbers and texts."""
    return {
        key: value if isinstance(value, str) else float(value)
        for key in KEPT
        if (value := dataset.attrs.get(key)) is not None
    }


def hdf5() -> Any:
    """The package h5py.

    Raises
    ------
    InputError
        It is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise InputError(
            "the Python package h5py is not installed; install it (pip install h5py), or export to csv"
        ) from None
