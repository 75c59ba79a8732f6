"""Thicknesses of a library that are read when they are first asked for.

A fit looks at some ten of more than a hundred thicknesses: to read them all takes longer than the fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.library.integrity import passing

KEPT = 8  # single thicknesses, or ranges, in memory
LONG = 15  # thicknesses: a longer range is looked at once, and not kept


class Planes:
    """The values of a variable (thickness, …), by thickness or by a range of them.

    Parameters
    ----------
    variable : xarray.Variable
        In a file; each chunk is checked as it is read.  Short ranges and single thicknesses that were last
        asked for stay in memory.
    unit : (thickness, m) array, optional
        What the values (thickness, m, n) are multiplied with.
    """

    def __init__(self, variable: xr.Variable, unit: NDArray[np.float32] | None = None) -> None:
        self.shape = variable.shape
        self._variable, self._unit = variable, unit
        self._known: dict[Any, NDArray[Any]] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        name = key.indices(len(self)) if isinstance(key, slice) else key
        if isinstance(key, slice) and LONG < len(range(*name)) < len(self):
            return self._read(key)
        values = self._known.pop(name, None)
        if values is None:
            values = self._variable[key].values if isinstance(key, slice) else self._read(key)
            if isinstance(key, slice) and self._unit is not None:
                values = values * self._unit[key][..., None]
        self._known[name] = values  # the last one again; another thread may read it twice, no more
        for old in [*self._known][:-KEPT]:
            self._known.pop(old, None)
        return values

    def once(self, i: int) -> NDArray[Any]:
        """The values of one thickness for a single look: they are not kept in memory, if they were not."""
        known = self._known.get(i)
        return self._read(i) if known is None else known

    def _read(self, i: int | slice) -> NDArray[Any]:
        with passing():
            values = self._variable[i].values
        return values if self._unit is None else values * self._unit[i][..., None]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:], dtype)


def one_of(planes: Any, i: int) -> NDArray[Any]:
    """The values of one thickness of an array, or of `Planes`, for a single look."""
    return planes.once(i) if isinstance(planes, Planes) else np.asarray(planes[i])


def planes_of(variable: xr.Variable, on_demand: bool, dtype: Any = None) -> NDArray[Any] | Planes:
    """The values of a variable, as an array or on demand."""
    return Planes(variable) if on_demand else np.ascontiguousarray(variable.values, dtype)
