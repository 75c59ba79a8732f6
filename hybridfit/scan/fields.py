"""Deflection of the beam, and the electric field projected through the specimen.

    θ = (c − c_descan) / M                       deflection, from the centre c of the direct disc (px)
    θ = −e E t / (p v)    ⇒    E = −θ (p v/e) / t

M  scale of the camera (px/mrad), the median over the map: it is one for all of a scan
c_descan  a plane over the scan, because descan moves the pattern linearly with the position; it takes a
   uniform field, and one that rises linearly, away with it, unless positions free of fields are named
E  in-plane component of the field, averaged along the beam over the thickness t
p v  momentum times speed: e·(p v/e) = T (T + 2 m₀c²)/(T + m₀c²) for electrons of the energy T

The force on an electron is −e E, over the time t/v, so it is deflected against the field: the momentum
it gains, p θ, is −e E t/v [1, 2].  x is along the camera's columns and y along its rows, both as they
are counted, unless the angle between camera and scan is given.

.. [1] Chapman, Batson, Waddell & Ferrier, Ultramicroscopy 3 (1978) 203.
.. [2] Müller et al., Nature Communications 5 (2014) 5653.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from hybridfit.errors import InputError
from hybridfit.flags import good_positions
from hybridfit.thresholds import threshold

Array = NDArray[np.float64]
REST_ENERGY_KV = constants.m_e * constants.c**2 / constants.e / 1e3


@dataclass(frozen=True)
class FieldSettings:
    """How the plane of descan is told from outliers."""

    huber: float = threshold(
        1.345,
        "σ",
        "larger residuals lose weight; with this value 95 % efficient for normal errors",
        "Huber, Robust Statistics (1981)",
    )
    tukey: float = threshold(
        4.685,
        "σ",
        "larger residuals have no weight; with this value 95 % efficient for normal errors",
        "Holland & Welsch, Commun. Stat. 6 (1977)",
    )
    rounds: int = threshold(
        50, "rounds", "weights are found in so many rounds at most; ten are usual", "design"
    )


FIELD = FieldSettings()


def deflection(
    dataset: xr.Dataset, mask: ArrayLike | None = None, *, scan_rotation: float | None = None
) -> xr.Dataset:
    """Add the deflection of the beam to a map.

    Parameters
    ----------
    dataset : xarray.Dataset
        A map with `centre_x`, `centre_y` (px) and `scale` (px/mrad).
    mask : (scan_y, scan_x) array of bool, optional
        Positions free of fields, by which descan is known; of those, and by default of all, only the
        ones whose fit converged (or ended on a bound) are used.
    scan_rotation : float, degrees, optional
        From the camera's columns to the scan's x, positive towards the rows: deflections are then along
        the axes of the scan instead of the camera's.

    Returns
    -------
    xarray.Dataset
        The map with `deflection_x`, `deflection_y` (mrad) and their `_stderr`; NaN where there is no
        centre. Its attributes say along whose axes.

    Raises
    ------
    InputError
        The mask has another shape, or leaves no position to tell descan by.
    """
    for name in ("centre_x", "centre_y", "scale"):
        if name not in dataset:
            raise InputError(f"this map has no {name}; a deflection needs centre_x, centre_y and scale")
    centre = np.stack([dataset["centre_x"].values, dataset["centre_y"].values]).astype(float)
    used = good_positions(dataset) & np.isfinite(centre).all(axis=0)
    if mask is not None:
        wanted = np.asarray(mask, bool)
        if wanted.shape != used.shape:
            raise InputError(f"the mask has the shape {wanted.shape}, the map {used.shape}; give one of that")
        used &= wanted
    if not used.any():
        raise InputError(
            f"none of {used.size} positions tells where the undeflected beam is; "
            "give a mask with positions whose fit converged"
        )
    scale = float(np.nanmedian(dataset["scale"].values[used]))
    theta = np.stack([c - robust_plane(c, used) for c in centre]) / scale
    errors = [_values(dataset, f"centre_{axis}_stderr") / scale for axis in "xy"]
    variance = np.stack(errors) ** 2
    if scan_rotation is not None:
        phi = np.deg2rad(scan_rotation)
        turn = np.array([[np.cos(phi), np.sin(phi)], [-np.sin(phi), np.cos(phi)]])
        theta = np.einsum("ij,jyx->iyx", turn, theta)
        variance = np.einsum("ij,jyx->iyx", turn**2, variance)
    axes = "camera" if scan_rotation is None else "scan"
    words = {
        "camera": ("columns of the camera", "rows of the camera"),
        "scan": ("x of the scan", "y of the scan"),
    }
    new = {}
    for i, axis in enumerate("xy"):
        about = {"units": "mrad", "long_name": f"deflection along {words[axes][i]}", "axes": axes}
        new[f"deflection_{axis}"] = (("scan_y", "scan_x"), theta[i], about)
        about = about | {"long_name": f"standard error of the {about['long_name']}"}
        new[f"deflection_{axis}_stderr"] = (("scan_y", "scan_x"), np.sqrt(variance[i]), about)
    return dataset.assign(new)


def projected_field(dataset: xr.Dataset) -> xr.Dataset:
    """Add the electric field, averaged over the thickness, to a map.

    Parameters
    ----------
    dataset : xarray.Dataset
        A map with `thickness` (nm), `deflection_x` and `deflection_y` (mrad; from `deflection`), and the
        attribute `energy_kv`.

    Returns
    -------
    xarray.Dataset
        The map with `field_x`, `field_y` (V/nm), along the axes of the deflection, and their `_stderr`,
        those of deflection and thickness added in squares; NaN where there is no thickness.

    Raises
    ------
    InputError
        Something of this is missing.
    """
    missing = [name for name in ("thickness", "deflection_x", "deflection_y") if name not in dataset]
    if missing:
        raise InputError(f"this map has no {', '.join(missing)}; add the deflection first")
    energy = dataset.attrs.get("energy_kv")
    if energy is None or not float(energy) > 0:
        raise InputError(f"energy_kv {energy} of this map is no voltage; set the attribute, such as 200")
    volts = momentum_times_speed(float(energy)) * 1e3
    t = dataset["thickness"].values.astype(float)
    t = np.where(t > 0, t, np.nan)
    t_error = np.nan_to_num(_values(dataset, "thickness_stderr"))  # none where it was fixed
    new = {}
    for axis in "xy":
        theta = dataset[f"deflection_{axis}"].values * 1e-3
        error = _values(dataset, f"deflection_{axis}_stderr") * 1e-3
        along = dataset[f"deflection_{axis}"].attrs.get("long_name", axis).removeprefix("deflection ")
        about = {"units": "V nm-1", "long_name": f"electric field {along}, mean over the thickness"}
        about |= {k: v for k, v in dataset[f"deflection_{axis}"].attrs.items() if k == "axes"}
        dims = ("scan_y", "scan_x")
        new[f"field_{axis}"] = (dims, -theta * volts / t, about)
        spread = volts / t * np.hypot(error, theta * t_error / t)
        about = about | {"long_name": f"standard error of the {about['long_name']}"}
        new[f"field_{axis}_stderr"] = (dims, spread, about)
    return dataset.assign(new)


def momentum_times_speed(energy_kv: float) -> float:
    """p v/e (kV) of electrons: twice the voltage at low energies, the voltage at high ones."""
    return float(energy_kv * (energy_kv + 2 * REST_ENERGY_KV) / (energy_kv + REST_ENERGY_KV))


def robust_plane(values: Array, used: NDArray[np.bool_], settings: FieldSettings = FIELD) -> Array:
    """A plane through an image (ny, nx) from the positions that are used, less its outliers.

    Iteratively reweighted least squares: Huber's weights find the plane, and Tukey's, which are 0 for
    outliers, then leave these out.  The plane is level along an axis with a single used position.
    """
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in values.shape]
    v, u = np.meshgrid(*axes, indexing="ij")
    every = np.stack([np.ones_like(u), u, v], axis=-1)
    a, b = every[used], values[used]
    # level along an axis with one position only: a column without change has no slope
    varies = [True, *(np.ptp(a[:, i]) > 0 for i in (1, 2))]
    a = a * varies
    plane = np.linalg.lstsq(a, b, rcond=None)[0]
    for weigh, width in ((_huber, settings.huber), (_tukey, settings.tukey)):
        for _ in range(settings.rounds):
            residual = np.abs(b - a @ plane)
            sigma = 1.4826 * float(np.median(residual))
            if not sigma > 1e-12:
                break
            root = np.sqrt(weigh(residual / sigma, width))
            before, plane = plane, np.linalg.lstsq(a * root[:, None], b * root, rcond=None)[0]
            if np.allclose(plane, before, rtol=0, atol=1e-6 * sigma):
                break
    out: Array = every @ plane
    return out


def _huber(x: Array, width: float) -> Array:
    return width / np.maximum(x, width)


def _tukey(x: Array, width: float) -> Array:
    return np.maximum(0.0, 1 - (x / width) ** 2) ** 2


def _values(dataset: xr.Dataset, name: str) -> Array:
    """A variable, or NaN where the map has none of that name."""
    if name in dataset:
        return dataset[name].values.astype(float)
    return np.full((dataset.sizes["scan_y"], dataset.sizes["scan_x"]), np.nan)
