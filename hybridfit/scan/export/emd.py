"""Maps as EMD 1.0, which py4DSTEM (0.14) and emdfile read.

HDF5: a root group, in it a group for each variable with `data` and the first two places of each axis (`dim0`,
`dim1`), and a metadata group; attributes `emd_group_type` and `python_class` say what a group is.
Source: Savitzky et al., Microsc. Microanal. 27 (2021) 712, and the specification of EMD 1.0.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridfit.io import atomic_path, check_replaceable
from hybridfit.scan.export.common import about, axes_of, check_map, hdf5, layers

ROOT = "hybridfit"


def write_emd(dataset: xr.Dataset, path: str | Path) -> None:
    """Write a map as arrays of an EMD file; `py4DSTEM.read(path)` returns their tree.

    Raises
    ------
    InputError
        The dataset is no map, the path cannot be written to, or h5py is not installed.
    """
    check_map(dataset)
    check_replaceable(path, "netCDF")
    h5py = hdf5()
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(
            {
                "emd_group_type": "file",
                "version_major": 1,
                "version_minor": 0,
                "authoring_program": "hybridfit",
                "authoring_user": "",
                "UUID": str(uuid.uuid4()),
            }
        )
        root = _group(file, ROOT, "root", "Root")
        bundle = root.create_group("metadatabundle")
        bundle.attrs["emd_group_type"] = "metadatabundle"
        made = _group(bundle, "map", "metadata", "Metadata")
        for key, value in about(dataset).items():
            made.create_dataset(key, data=value).attrs["type"] = (
                "string" if isinstance(value, str) else "number"
            )
        for layer in layers(dataset):
            group = _group(root, layer.name, "array", "Array")
            group.create_dataset("data", data=layer.values).attrs["units"] = (
                "" if layer.unit == "1" else layer.unit
            )
            for i, axis in enumerate(axes_of(dataset)):
                places = group.create_dataset(f"dim{i}", data=np.array([axis.first, axis.first + axis.step]))
                places.attrs.update({"name": axis.name, "units": axis.unit})


def _group(parent: Any, name: str, kind: str, python: str) -> Any:
    group = parent.create_group(name)
    group.attrs.update({"emd_group_type": kind, "python_class": python})
    return group
