"""Patterns of a library for every combination of thicknesses and tilts, as one array with its coordinates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.errors import LibraryError
from hybridfit.pattern.compose import pattern_at
from hybridfit.pattern.diffuse import DiffuseTable
from hybridfit.pattern.expand import Table

Array = NDArray[np.float64]


def check_angle(semi_angle: float, largest: float) -> None:
    """Raise a LibraryError where a library does not compose patterns of a semi-angle (mrad)."""
    if not 0 < semi_angle <= largest:
        raise LibraryError(
            f"semi-angle {semi_angle:g} mrad is outside this library (above 0, at most {largest:g} mrad); "
            f"build one with semi_angle_max = {max(semi_angle, 1):g}"
            + (f", or give {semi_angle / 2:g} if this is the full angle" if semi_angle < 2 * largest else "")
        )


def check_reach(
    thickness: Array, within: tuple[float, float], tilt: float, reach: float, semi_angle: float
) -> None:
    """Raise a LibraryError where a library does not hold patterns.

    Parameters
    ----------
    thickness : 1-D array, nm
    within : thinnest and thickest of the library (nm)
    tilt : float, mrad, the largest
    reach : float, mrad
        Of the library's directions: largest tilt and largest semi-angle together.
    semi_angle : float, mrad
    """
    low, high = within
    if not (low <= thickness.min() and thickness.max() <= high):
        raise LibraryError(
            f"thickness {thickness.min():g} … {thickness.max():g} nm is outside this library "
            f"({low:g} … {high:g} nm); build one with a wider [thickness]"
        )
    if not tilt <= reach - semi_angle + 1e-9:
        raise LibraryError(
            f"tilt {tilt:.3g} mrad is outside this library (at most {reach - semi_angle:.3g} mrad "
            f"at semi-angle {semi_angle:g} mrad); build one with a larger tilt_max"
        )


def compose_all(
    table: Table,
    diffuse: DiffuseTable | None,
    at: tuple[Array, Array, Array],
    k: Array,
    aperture: tuple[float, float],
) -> xr.DataArray:
    """Compose the patterns.

    Parameters
    ----------
    table : Table
    diffuse : DiffuseTable or None
    at : thickness (nm), tilt_y and tilt_x (mrad), 1-D arrays
        The patterns are made for every combination.
    k : 1-D array, mrad
        Scattering angles of the columns and of the rows.
    aperture : its semi-angle, and half the width of its edge (mrad)

    Returns
    -------
    xarray.DataArray
        (thickness, tilt_y, tilt_x, ky, kx), in units of the incident intensity.
    """
    t, ty, tx = at
    semi_angle, half_edge = aperture
    kx, ky = np.meshgrid(k, k)
    out = np.empty((len(t), len(ty), len(tx), *kx.shape))
    for index in np.ndindex(out.shape[:3]):
        out[index] = pattern_at(
            kx,
            ky,
            table,
            thickness=float(t[index[0]]),
            tilt=(float(tx[index[2]]), float(ty[index[1]])),
            semi_angle=semi_angle,
            half_edge=half_edge,
        )
        if diffuse is not None:
            tilt = float(tx[index[2]]), float(ty[index[1]])
            found = diffuse.at(np.stack([kx.ravel(), ky.ravel()]), float(t[index[0]]), tilt, semi_angle)
            out[index] += found.value.reshape(kx.shape)
    return xr.DataArray(
        out,
        dims=("thickness", "tilt_y", "tilt_x", "ky", "kx"),
        coords={
            "thickness": ("thickness", t, {"units": "nm"}),
            "tilt_y": ("tilt_y", ty, {"units": "mrad"}),
            "tilt_x": ("tilt_x", tx, {"units": "mrad"}),
            "ky": ("ky", k, {"units": "mrad"}),
            "kx": ("kx", k, {"units": "mrad"}),
        },
        name="pattern",
        attrs={"semi_angle_mrad": semi_angle, "units": "1"},
    )
