"""Frames in memory: NumPy, dask and xarray arrays, HyperSpy signals, with what these know of their axes.

None of these packages is imported: what an object is shows in what it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hybridfit.errors import InputError
from hybridfit.frame import Frame, make_frame
from hybridfit.io.axes import told_order
from hybridfit.io.calibration import Axis, calibration, number
from hybridfit.io.stack import kept_axes


def frame_of(given: Any, *, source: str = "array", mask: ArrayLike | None = None) -> Frame:
    """A frame of an array or a signal, with its calibration.

    Parameters
    ----------
    given : Frame, array_like, xarray.DataArray, dask array or HyperSpy signal
        Of (rows, cols), as `make_frame` wants it; axes of length 1 may come before, or behind. Axes that are
        named x, y or kx, ky are turned to rows and columns. A signal has one pattern.
    source : str
        What messages call it.
    mask : array_like of bool, (rows, cols), optional
        True = leave this pixel out.

    Raises
    ------
    InputError
        As `make_frame`, and if it holds several frames.
    """
    if isinstance(given, Frame):
        return given
    axes, microscope, values = _described(given)
    if axes is None:
        return make_frame(given, source=source, mask=mask)
    shape = tuple(map(int, values.shape))
    kept = kept_axes(shape, 2)
    if len(kept) != 2:
        raise InputError(
            f"{source} holds an array {shape} of several frames; give one of them, or use a Fitter in a loop"
        )
    plain = [axes[i] for i in kept]
    order = told_order(plain, swap=True) or (0, 1)
    image = np.asanyarray(values).reshape([shape[i] for i in kept]).transpose(order)
    known = calibration([plain[i] for i in order], microscope)
    return replace(make_frame(image, source=source, mask=mask), calibration=known)


def _described(given: Any) -> tuple[Sequence[Axis] | None, Mapping[str, Any], Any]:
    """Axes in the order of the array, None where it has none; the microscope, as far as known; the array."""
    manager = getattr(given, "axes_manager", None)
    if manager is not None and hasattr(given, "data"):  # HyperSpy, whose axes are listed columns first
        found = [*manager.navigation_axes[::-1], *manager.signal_axes[::-1]]
        return [_axis(axis) for axis in found], _microscope(given), given.data
    if hasattr(given, "dims") and hasattr(given, "coords"):  # xarray
        return [_dimension(given, name) for name in given.dims], {}, given.data
    return None, {}, given


def _axis(axis: Any) -> Axis:
    name, units = (str(getattr(axis, key, "") or "") for key in ("name", "units"))
    undefined = "<undefined>"  # as HyperSpy prints what is not there
    return Axis(
        "" if name == undefined else name,
        "" if units == undefined else units,
        number(getattr(axis, "scale", None)),
    )


def _dimension(array: Any, name: Any) -> Axis:
    """An axis of xarray by its coordinate: its scale is the step, where that is even."""
    coordinate = array.coords.get(name)
    if coordinate is None:
        return Axis(str(name))
    units, values = str(coordinate.attrs.get("units", "")), np.asarray(coordinate.values)
    if values.dtype.kind not in "uif" or len(values) < 2:
        return Axis(str(name), units)
    steps = np.diff(values.astype(float))
    return Axis(str(name), units, float(steps[0]) if np.allclose(steps, steps[0], rtol=1e-3) else None)


def _microscope(signal: Any) -> Mapping[str, Any]:
    metadata = getattr(signal, "metadata", None)
    tree: Any = metadata.as_dictionary() if metadata is not None else {}
    for name in ("Acquisition_instrument", "TEM"):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}
