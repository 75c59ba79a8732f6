"""What a simulated scan is to show: thickness, tilt and camera at every position.

u, v ∈ [−1, 1] are the position from the middle of the scan, in halves of its width and height:

    thickness = t₀ + (t₁ − t₀) · s,    s ∈ [0, 1] along the direction of the wedge
    tilt      = mean + bend · (u, v)
    centre    = centre₀ + descan · (u, v)/2 + scale · deflection
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import InputError
from hybridfit.library.library import Library
from hybridfit.quantities import quantity
from hybridfit.simulate.frame import check_within
from hybridfit.simulate.settings import ScanSettings

Array = NDArray[np.float64]
HOLE = (0.25, 0.75)  # where the middle of a round hole is, in heights and widths of the scan


def positions(scan_shape: tuple[int, int]) -> tuple[Array, Array]:
    """(v, u) of every position, (ny, nx) each: −1 and 1 at the edges; 0 where there is but one."""
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in scan_shape]
    v, u = np.meshgrid(*axes, indexing="ij")
    return v, u


def scan_truth(library: Library, scan: ScanSettings) -> xr.Dataset:
    """The truth at every position, on (scan_y, scan_x).

    Parameters
    ----------
    library : Library
    scan : ScanSettings

    Raises
    ------
    InputError
        An array of another shape, or a value that cannot be.
    LibraryError
        Semi-angle, thickness or tilt outside the library.
    """
    camera, scan_shape = scan.camera, scan.scan_shape
    tilt, bend, descan, semi_angle = scan.tilt, scan.bend, scan.descan, scan.semi_angle
    v, u = positions(scan_shape)
    hole = _hole(scan.vacuum, scan_shape)
    t = np.where(hole, 0.0, _thickness(scan.thickness, scan.wedge_direction, scan_shape))
    tilt_x = np.where(hole, np.nan, tilt[0] + bend * u)
    tilt_y = np.where(hole, np.nan, tilt[1] + bend * v)
    bent = np.zeros((2, *scan_shape)) if scan.deflection is None else np.asarray(scan.deflection, float)
    if bent.shape != (2, *scan_shape) or not np.isfinite(bent).all():
        raise InputError(
            f"deflection of shape {bent.shape} does not fit; give finite mrad of shape {(2, *scan_shape)}"
        )
    _check_range(library, semi_angle, t[~hole], np.hypot(tilt_x, tilt_y)[~hole])
    centre_x = camera.centre_x + descan[0] * u / 2 + camera.scale * bent[0]
    centre_y = camera.centre_y + descan[1] * v / 2 + camera.scale * bent[1]
    values: dict[str, Any] = {
        "thickness": t,
        "tilt_x": tilt_x,
        "tilt_y": tilt_y,
        "tilt_magnitude": np.hypot(tilt_x, tilt_y),
        "tilt_azimuth": np.rad2deg(np.arctan2(tilt_y, tilt_x)),
        **camera._asdict(),
        "centre_x": centre_x,
        "centre_y": centre_y,
        "semi_angle": semi_angle,
        "blur": scan.blur,
        "deflection_x": bent[0],
        "deflection_y": bent[1],
    }
    dims = ("scan_y", "scan_x")
    variables = {
        name: (dims, np.broadcast_to(value, scan_shape), quantity(name).attrs)
        for name, value in values.items()
    }
    dataset = xr.Dataset(variables, coords=_coordinates(scan_shape, scan.step))
    values_of = np.array([0, 1], np.int8)
    flags = {"long_name": "no specimen", "flag_values": values_of, "flag_meanings": "specimen vacuum"}
    return dataset.assign(vacuum=(dims, hole.astype(np.int8), flags))


def _thickness(given: float | ArrayLike, direction: float, scan_shape: tuple[int, int]) -> Array:
    """A wedge, or one thickness, or the map that was given (nm)."""
    values = np.asarray(given, float)
    if values.ndim < 2 and values.size in (1, 2):
        t0, t1 = np.broadcast_to(values, 2)
        phi = np.deg2rad(direction)
        v, u = positions(scan_shape)
        along = u * np.cos(phi) + v * np.sin(phi)
        reach = np.abs(along).max() or 1.0
        wedge: Array = t0 + (t1 - t0) * (along / reach + 1) / 2
        return wedge
    if values.shape != scan_shape:
        raise InputError(
            f"thickness of shape {values.shape} does not fit a scan of {scan_shape[0]} × {scan_shape[1]} "
            "positions; give one value, (first, last), or a map of that shape"
        )
    return values


def _hole(given: float | ArrayLike, scan_shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Where there is no specimen: a round hole of this share of the scan, or as given."""
    values = np.asarray(given)
    if values.ndim == 2 and values.shape == scan_shape:
        return values.astype(bool)
    if values.ndim or not 0 <= float(values) < 1:
        raise InputError(
            f"vacuum {values} is no share of the scan; give 0 … 1, or a map of shape {scan_shape} "
            "that is true where there is no specimen"
        )
    ny, nx = scan_shape
    y, x = np.indices(scan_shape)
    distance = np.hypot(y - HOLE[0] * (ny - 1), x - HOLE[1] * (nx - 1)).ravel()
    nearest = np.argsort(distance, kind="stable")[: round(float(values) * ny * nx)]
    hole = np.zeros(ny * nx, bool)
    hole[nearest] = True
    return hole.reshape(scan_shape)


def _check_range(library: Library, semi_angle: float, thickness: Array, tilt: Array) -> None:
    """Raise a LibraryError for what the library does not have."""
    library.check_semi_angle(semi_angle)
    if thickness.size:
        ends = np.array([thickness.min(), thickness.max()])
        check_within(library, ends, float(tilt.max()), semi_angle)


def _coordinates(scan_shape: tuple[int, int], step: float | None) -> dict[str, Any]:
    attrs = {"units": "1" if step is None else "nm"}
    return {
        name: (name, np.arange(n) * (step or 1.0), attrs | {"long_name": f"scan position, {words}"})
        for name, n, words in zip(("scan_y", "scan_x"), scan_shape, ("rows", "columns"), strict=True)
    }
