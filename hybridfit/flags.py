"""Variables of a map that are flags, as the CF conventions have them, and those that are structural."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

GOOD = ("converged", "at_bound")  # statuses of positions whose numbers can be relied on


def meanings(variable: xr.DataArray) -> dict[int, str]:
    """The flag of each number."""
    values = np.atleast_1d(variable.attrs["flag_values"])
    words = str(variable.attrs["flag_meanings"]).split()
    return dict(zip((int(v) for v in values), words, strict=True))


def names_of(variable: xr.DataArray) -> NDArray[np.str_]:
    """The flag at every position, in words; empty where the number has none."""
    known = meanings(variable)
    numbers, inverse = np.unique(variable.values, return_inverse=True)
    words = np.array([known.get(int(number), "") for number in numbers], dtype=str)
    return words[inverse].reshape(variable.shape)


def map_status(dataset: xr.Dataset) -> dict[str, int]:
    """How many positions of a map have each status, those that occur, in the order of the flags."""
    words = names_of(dataset["status"])
    counts = {name: int((words == name).sum()) for name in meanings(dataset["status"]).values()}
    return {name: count for name, count in counts.items() if count}


def structural(dataset: xr.Dataset) -> dict[str, str]:
    """Structural parameters of a map, and the variable that says how well each is known.

    Those are NAME_stderr, and NAME_odds of discrete ones.
    """
    kinds = {str(name): v.attrs.get("kind") for name, v in dataset.data_vars.items()}
    suffix = {"continuous": "stderr", "discrete": "odds"}
    return {name: f"{name}_{suffix[kind]}" for name, kind in kinds.items() if kind in suffix}


def good_positions(dataset: xr.Dataset) -> NDArray[np.bool_]:
    """Where a map's numbers can be relied on; everywhere in one without a status."""
    if "status" not in dataset:
        return np.ones((dataset.sizes["scan_y"], dataset.sizes["scan_x"]), bool)
    return np.isin(names_of(dataset["status"]), GOOD)
