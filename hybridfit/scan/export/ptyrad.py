"""Starting values of a multislice reconstruction with PtyRAD: slices, tilts, calibration.

PtyRAD stacks slices without a shift and tilts the propagator between them,

    H(K) · exp(i Δz (K_y tan θ_y + K_x tan θ_x)),      K = 2π k,  columns of the pattern x, rows y,

which moves the wave by −Δz tan θ a slice.  Here a wave that comes in along τ, the mean incident direction in
the crystal's frame, moves by +Δz τ against the columns of atoms.  So

    θ = −R(rotation) τ       in mrad, as (θ_y, θ_x),

in the frame of the camera as the file has it.  Where the camera mirrors its frames, they are turned upside
down first (`meas_flipT` of PtyRAD), and θ = −R(−rotation) τ.
Source: Chen et al., Science 372 (2021) 826 (slices); PtyRAD 1.0, core/models/ptycho.py (tilts).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.flags import good_positions, names_of
from hybridfit.io import atomic_path, check_replaceable, open_scan
from hybridfit.scan.export.common import check_map
from hybridfit.scan.made import Made, how_made
from hybridfit.thresholds import threshold

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SliceSettings:
    """Slices of a reconstruction."""

    usual: float = threshold(
        1.0, "nm", "a slice where a user does not say: PtyRAD's own guide has 0.1 to 2 nm", "design"
    )
    thinnest: float = threshold(
        0.05, "nm", "less than a plane of atoms: such a number is no slice in nm", "design"
    )
    thickest: float = threshold(
        10.0, "nm", "waves change within a thicker slice; such a number may be one in Å", "design"
    )


SLICES = SliceSettings()


def write_ptyrad(dataset: xr.Dataset, path: str | Path, slice_nm: float = SLICES.usual) -> list[Path]:
    """Write a parameter file (.yaml) for PtyRAD, and the tilt of every position beside it (_tilts.npy).

    Parameters
    ----------
    dataset : xarray.Dataset
    path : str or path
        Ends in .yaml or .yml.
    slice_nm : float, nm
        Thickness of a slice, about: the slices are equal and together as thick as the specimen (the median).

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        The dataset is no map, no position of it converged, the slice is absurd, or a path cannot be
        written to.
    """
    check_map(dataset)
    path = Path(path)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"{path}: parameters of PtyRAD are written as .yaml; give such a name")
    if not SLICES.thinnest <= slice_nm <= SLICES.thickest:
        raise InputError(
            f"a slice of {slice_nm:g} nm cannot be right; give {SLICES.thinnest:g} … {SLICES.thickest:g} nm"
        )
    tilts_path = path.with_name(f"{path.stem}_tilts.npy")
    check_replaceable(path, "YAML")
    check_replaceable(tilts_path, "NPY")
    # vacuum ends on the bound of the thinnest crystal: only what converged is of the specimen
    good = names_of(dataset["status"]) == "converged" if "status" in dataset else good_positions(dataset)
    good = good & np.isfinite(dataset["thickness"].values)
    if not good.any():
        raise InputError("no position of this map converged, so that it says nothing about slices and tilts")
    made = how_made(dataset)
    tilts = position_tilts(camera_tilts(dataset, flipped=made.flip), good, made)
    text = _parameters(dataset, good, made, tilts, tilts_path, slice_nm)
    with atomic_path(tilts_path) as temporary:
        np.save(temporary, tilts.reshape(-1, 2).astype(np.float32))
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return [path, tilts_path]


def camera_tilts(dataset: xr.Dataset, *, flipped: bool = False) -> Array:
    """(rows, columns, 2): θ_y, θ_x (mrad) of PtyRAD at every position of a map."""
    turn = np.deg2rad(dataset["rotation"].values.astype(float)) * (-1 if flipped else 1)
    x, y = (dataset[name].values.astype(float) for name in ("tilt_x", "tilt_y"))
    along_x, along_y = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    return -np.stack([along_y, along_x], axis=-1)


def position_tilts(tilts: Array, good: NDArray[np.bool_], made: Made) -> Array:
    """The same at every position of the fitted part of the scan; those that failed have their neighbours'."""
    from scipy.ndimage import distance_transform_edt

    known = good & np.isfinite(tilts).all(axis=-1)
    near = distance_transform_edt(~known, return_distances=False, return_indices=True)
    filled = tilts[tuple(near)]
    top, bottom, left, right = made.roi
    rows, cols = (
        np.minimum(np.arange(n) // made.average, most - 1)
        for n, most in ((bottom - top, filled.shape[0]), (right - left, filled.shape[1]))
    )
    out: Array = filled[np.ix_(rows, cols)]
    return out


def _parameters(
    dataset: xr.Dataset, good: NDArray[np.bool_], made: Made, tilts: Array, tilts_path: Path, slice_nm: float
) -> str:
    thickness = dataset["thickness"].values[good]
    low, middle, high = (float(v) for v in np.percentile(thickness, [5, 50, 95]))
    count = max(1, round(middle / slice_nm))
    scale = float(np.nanmedian(dataset["scale"].values[good]))
    top, bottom, left, right = made.roi
    known = _scan_facts(made)
    scan_shape = known.get("scan_shape", (bottom, right))
    whole = (top, left) == (0, 0) and (bottom, right) == tuple(scan_shape)
    step = dataset.attrs.get("step_nm")
    error = dataset["thickness_stderr"].values[good]
    sure = f", each ± {np.nanmedian(error):.2f}" if np.isfinite(error).any() else ""
    slow, fast = (float(np.median(tilts[..., i])) for i in range(2))
    crop = None if whole else [[top, bottom], [left, right], None, None]
    frames = "pixels of a frame" if "npix" in known else "fill in: pixels of a frame"
    mirrored = "upside down, because the camera mirrors its frames" if made.flip else "tilts are for this"
    steps = "Angstrom between positions" if step is not None else "fill in: Angstrom between positions"
    spread = f"the specimen is {middle:.2f} nm thick (5 ... 95 %: {low:.2f} ... {high:.2f} nm{sure})"
    tilted = f"median {slow:.3f}, {fast:.3f} mrad, as theta_y, theta_x"
    lines: list[tuple[str, Any, str]] = [
        ("probe_kv", float(dataset.attrs["energy_kv"]), "kV"),
        ("probe_conv_angle", float(made.semi_angle), "mrad, semi-angle"),
        ("meas_Npix", known.get("npix"), frames),
        (
            "meas_calibration",
            {"mode": "da", "value": round(1 / scale, 7)},
            f"mrad per pixel: 1 / {scale:.5g}",
        ),
        ("meas_flipT", [1, 0, 0] if made.flip else None, f"[flipud, fliplr, transpose]: {mirrored}"),
        ("meas_crop", crop, "the part of the scan that was fitted"),
        ("meas_params", {"path": made.scan, "key": made.opened.get("dataset")}, "the scan"),
        ("pos_N_scan_slow", int(scan_shape[0]), "rows of the scan"),
        ("pos_N_scan_fast", int(scan_shape[1]), "columns of the scan"),
        ("pos_scan_step_size", None if step is None else round(10 * float(step), 6), steps),
        ("pos_scan_affine", None, "[scale, asymmetry, rotation, shear]; a map does not know them"),
        ("obj_Nlayer", count, f"slices; {spread}"),
        ("obj_slice_thickness", round(10 * middle / count, 4), "Angstrom a slice"),
        ("tilt_source", "file", "of every position"),
        ("tilt_params", {"path": str(tilts_path.absolute())}, tilted),
    ]
    head = [
        "# Starting values for PtyRAD (1.0 or later), from a map of hybridfit.",
        "# theta = -R(rotation) tilt: hybridfit's tilt is the beam's direction in the frame of the crystal,",
        "# PtyRAD's is that of the crystal in the frame of the camera.",
        "init_params:",
    ]
    body = [f"    {name}: {json.dumps(value)} # {' '.join(words.split())}" for name, value, words in lines]
    return "\n".join([*head, *body]) + "\n"


def _scan_facts(made: Made) -> dict[str, Any]:
    """Shape of scan and frames, where the scan's file is still there."""
    try:
        file = open_scan(made.scan, **made.opened)
    except (InputError, OSError, TypeError):
        return {}
    out: dict[str, Any] = {"scan_shape": tuple(file.scan_shape)}
    if file.frame_shape[0] == file.frame_shape[1]:
        out["npix"] = int(file.frame_shape[0])
    return out
