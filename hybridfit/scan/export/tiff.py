"""Maps as TIFF of 32-bit floats, with the size of a pixel as ImageJ reads it.

A file is a stack with a slice for each variable, labelled "thickness (nm)"; a folder gets a file for each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridfit.errors import InputError
from hybridfit.io import atomic_path, check_replaceable
from hybridfit.scan.export.common import Layer, axes_of, check_map, layers


def write_tiff(dataset: xr.Dataset, path: str | Path) -> list[Path]:
    """Write a map as one stack (NAME.tif), or as one picture for each variable (any other name: a folder).

    Pixels without a number are NaN.  XResolution and YResolution are pixels per nm, the unit of ImageJ is nm,
    where the step is known.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        The dataset is no map, or the path cannot be written to.
    """
    check_map(dataset)
    path, all_of = Path(path), layers(dataset)
    if path.suffix.lower() in (".tif", ".tiff"):
        _write(path, np.stack([layer.values for layer in all_of]), dataset, all_of)
        return [path]
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give a folder, or a name that ends in .tif for one stack")
    if not path.parent.is_dir():
        raise InputError(
            f"{path} cannot be written: the folder {path.parent} does not exist; create it first"
        )
    path.mkdir(exist_ok=True)
    files = [path / f"{layer.name}.tif" for layer in all_of]
    for file in files:
        check_replaceable(file, "TIFF")
    for file, layer in zip(files, all_of, strict=True):
        _write(file, layer.values, dataset, [layer])
    return files


def _write(path: Path, values: Any, dataset: xr.Dataset, shown: list[Layer]) -> None:
    import tifffile

    check_replaceable(path, "TIFF")
    rows, columns = axes_of(dataset)
    labels = [f"{layer.name} ({layer.unit})" if layer.unit != "1" else layer.name for layer in shown]
    metadata: dict[str, Any] = {"axes": "ZYX"[-values.ndim :], "Labels": labels}
    options: dict[str, Any] = {}
    if columns.unit == "nm" and columns.step > 0 and rows.step > 0:
        metadata["unit"] = "nm"
        options["resolution"] = (1 / columns.step, 1 / rows.step)
    with atomic_path(path) as temporary:
        tifffile.imwrite(temporary, values, imagej=True, metadata=metadata, **options)
