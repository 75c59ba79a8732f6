"""Maps as comma-separated text."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import xarray as xr

from hybridfit.flags import names_of
from hybridfit.io import atomic_path, check_replaceable
from hybridfit.scan.export.common import DIMS, check_map, numbers


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
    check_map(dataset)
    check_replaceable(path, "CSV")
    ny, nx = (dataset.sizes[dim] for dim in DIMS)
    y, x = (axis.ravel() for axis in np.indices((ny, nx)))
    columns: dict[str, list[str]] = {"y": [str(i) for i in y], "x": [str(i) for i in x]}
    for dim, index in zip(DIMS, (y, x), strict=True):
        if dataset[dim].attrs.get("units") == "nm":
            columns[dim] = [_number(v) for v in dataset[dim].values[index]]
    for name in numbers(dataset):
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


def _number(value: float) -> str:
    return f"{value:.10g}" if np.isfinite(value) else ""
