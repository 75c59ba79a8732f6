"""Maps for other programs: a table of text, and signals of HyperSpy."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridfit.errors import InputError
from hybridfit.flags import names_of
from hybridfit.io import atomic_path, check_replaceable

DIMS = ("scan_y", "scan_x")


def write_csv(dataset: xr.Dataset, path: str | Path) -> None:
    """Write a map as comma-separated text, a row for every position, row by row of the scan.

    The first line names the columns: `y`, `x` (the position, counted from 0), `scan_y`, `scan_x` where
    the step is known (nm), every number of the map by its name, in its own unit, the flags in words, and
    the message. What is not known is left empty.

    Raises
    ------
    InputError
        The path cannot be written to or is a file that is no table, or the dataset is no map.
    """
    _check(dataset)
    check_replaceable(path, "CSV")
    ny, nx = (dataset.sizes[dim] for dim in DIMS)
    y, x = (axis.ravel() for axis in np.indices((ny, nx)))
    columns: dict[str, list[str]] = {"y": [str(i) for i in y], "x": [str(i) for i in x]}
    for dim, index in zip(DIMS, (y, x), strict=True):
        if dataset[dim].attrs.get("units") == "nm":
            columns[dim] = [_number(v) for v in dataset[dim].values[index]]
    for name in _numbers(dataset):
        columns[name] = [_number(v) for v in dataset[name].transpose(*DIMS).values.ravel()]
    for key, variable in dataset.data_vars.items():
        if set(variable.dims) != set(DIMS):
            continue
        if "flag_meanings" in variable.attrs:
            columns[str(key)] = names_of(variable.transpose(*DIMS)).ravel().tolist()
        elif variable.dtype.kind in "OUST":
            columns[str(key)] = [str(v) for v in variable.transpose(*DIMS).values.ravel()]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def to_hyperspy(dataset: xr.Dataset) -> dict[str, Any]:
    """The numbers of a map as HyperSpy images, by their names.

    Returns
    -------
    dict of hyperspy.signals.Signal2D
        Axes `x` and `y` are in nm where the step is known, and in positions elsewhere; title and unit
        are in the metadata (`General.title`, `Signal.quantity`).

    Raises
    ------
    InputError
        HyperSpy is not installed, or the dataset is no map.
    """
    try:
        from hyperspy.signals import Signal2D
    except ImportError:
        raise InputError(
            "the Python package hyperspy is not installed; install it, or write the map as .nc or .csv"
        ) from None
    _check(dataset)
    axes = []
    for dim in DIMS:
        places = dataset[dim].values
        step = float(places[1] - places[0]) if len(places) > 1 else float(dataset.attrs.get("step_nm", 1.0))
        in_nm = dataset[dim].attrs.get("units") == "nm"
        axes.append(
            {
                "name": dim[-1],
                "size": len(places),
                "scale": step,
                "offset": float(places[0]),
                "units": "nm" if in_nm else "position",
            }
        )
    signals = {}
    for name in _numbers(dataset):
        variable = dataset[name].transpose(*DIMS)
        title, units = variable.attrs.get("long_name", name), variable.attrs.get("units", "1")
        about = {"General": {"title": title}, "Signal": {"quantity": f"{name} ({units})"}}
        signals[name] = Signal2D(np.array(variable.values), axes=axes, metadata=about)
    return signals


def _numbers(dataset: xr.Dataset) -> list[str]:
    """Names of the variables of floating point on (scan_y, scan_x)."""
    return [
        str(name) for name, v in dataset.data_vars.items() if set(v.dims) == set(DIMS) and v.dtype.kind == "f"
    ]


def _number(value: float) -> str:
    return f"{value:.10g}" if np.isfinite(value) else ""


def _check(dataset: xr.Dataset) -> None:
    missing = [dim for dim in DIMS if dim not in dataset.sizes]
    if missing:
        raise InputError(f"this dataset has no dimension {missing[0]}; give a map on (scan_y, scan_x)")
