"""Maps for HyperSpy: signals in memory, and .hspy files.

A .hspy file is HDF5: a group `Experiments`, in it a group for each signal with `data`, `axis-0`, `axis-1`,
and its metadata as attributes of nested groups (file format 3.3 of RosettaSciIO).
HyperSpy is not needed to write it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridfit.errors import InputError
from hybridfit.io import atomic_path, check_replaceable
from hybridfit.scan.export.common import DIMS, about, axes_of, check_map, hdf5, layers, numbers

FORMAT = "3.3"


def write_hspy(dataset: xr.Dataset, path: str | Path) -> None:
    """Write a map as HyperSpy signals, one for every variable, and one for the status as numbers.

    `hyperspy.api.load` returns them as a list.  Axes `y` and `x` are in nm where the step is known and in
    positions elsewhere; title, quantity and unit are in the metadata, how the map was made in the original
    metadata.

    Raises
    ------
    InputError
        The dataset is no map, the path cannot be written to, or h5py is not installed.
    """
    check_map(dataset)
    check_replaceable(path, "netCDF")
    h5py = hdf5()
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["file_format"], file.attrs["file_format_version"] = "HyperSpy", FORMAT
        experiments = file.create_group("Experiments")
        for layer in layers(dataset):
            group = experiments.create_group(layer.name)
            group.create_dataset("data", data=layer.values, compression="gzip")
            for i, axis in enumerate(axes_of(dataset)):
                group.create_group(f"axis-{i}").attrs.update(
                    {
                        "_type": "UniformDataAxis",
                        "name": axis.name,
                        "units": axis.unit,
                        "scale": axis.step,
                        "offset": axis.first,
                        "size": axis.size,
                        "navigate": False,
                        "is_binned": False,
                    }
                )
            group.create_group("attributes").attrs.update({"_lazy": False, "ragged": False})
            group.create_group("learning_results")
            metadata = group.create_group("metadata")
            metadata.create_group("General").attrs["title"] = layer.title
            metadata.create_group("Signal").attrs.update(
                {"signal_type": "", "quantity": f"{layer.name} ({layer.unit})"}
            )
            metadata.create_group("_HyperSpy/Folding").attrs.update(
                {
                    "original_axes_manager": "_None_",
                    "original_shape": "_None_",
                    "signal_unfolded": False,
                    "unfolded": False,
                }
            )
            group.create_group("original_metadata/hybridfit").attrs.update(about(dataset) | layer.flags)


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
    check_map(dataset)
    axes = [
        {"name": axis.name, "size": axis.size, "scale": axis.step, "offset": axis.first, "units": axis.unit}
        for axis in axes_of(dataset)
    ]
    signals = {}
    for name in numbers(dataset):
        variable = dataset[name].transpose(*DIMS)
        title, units = variable.attrs.get("long_name", name), variable.attrs.get("units", "1")
        about = {"General": {"title": title}, "Signal": {"quantity": f"{name} ({units})"}}
        signals[name] = Signal2D(np.array(variable.values), axes=axes, metadata=about)
    return signals
