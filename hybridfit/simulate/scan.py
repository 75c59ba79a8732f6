"""A simulated scan, to rehearse a measurement with: its file, and the truth beside the frames.

The truth is made first (`scan_truth`), then the frames that show it (`scan_frames`). Frames are made a
few at a time, in whatever order is quickest, and written before the next ones are made.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

import hybridfit
from hybridfit.errors import InputError
from hybridfit.io import atomic_path
from hybridfit.library.library import Library
from hybridfit.options import settings_from
from hybridfit.simulate.frame import MOST_POINTS, fine_points
from hybridfit.simulate.scan_frames import Frames
from hybridfit.simulate.scan_truth import scan_truth
from hybridfit.simulate.settings import ScanOptions, ScanSettings

Put = Callable[[int, int, NDArray[Any]], None]
SUFFIXES = (".nc", ".npy")
MOST_POSITIONS = 1e7  # their truth takes some 2 GB


def simulate_scan(
    path: str | Path,
    library: Library,
    semi_angle: float | None = None,
    *,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
    settings: ScanSettings | None = None,
    **options: Unpack[ScanOptions],
) -> xr.Dataset:
    """Simulate a 4D-STEM scan of a bent wedge, and write it with the truth.

    Parameters
    ----------
    path : str or path
        `.nc`: frames and truth in one netCDF4 file; `.npy`: the frames, and the truth beside them as
        `NAME.truth.nc`. Either is written piece by piece, and put in place when it is whole.
    library : Library
    semi_angle : float, mrad, default 13.6
    workers : int, default 1
        Threads that share the work.
    progress : callable, optional
        Called with the fraction done.
    settings : ScanSettings, optional
        All of the following at once; those that are given by name as well replace them.
    scan_shape : (ny, nx), default (64, 64)
    frame_shape : (rows, cols), px, default (128, 128)
    thickness : float, (first, last) or (ny, nx) array, nm, default (20.5, 25.5)
        Of one value, of a wedge, or at every position.
    wedge_direction : float, degrees, default 0
        Along which the wedge rises: 0 to the right, 90 downwards, 45 from one corner to the other.
    tilt : (float, float), mrad, default (0, 0)
        In the middle of the scan, in the crystal frame.
    bend : float, mrad, default 4
        Tilt at the edges less that in the middle: tilt_x changes along the scan's rows and tilt_y down
        its columns, which makes a bowl.
    electrons : float, default 1e6
        Expected number in a frame; the background is part of it.
    background : float, default 0.1
        Share of the electrons in the background; there is none where there is no specimen.
    blur, scale, rotation, centre, ellipticity
        As in `hybridfit.simulate_frame`.
    descan : (float, float), px, default (0, 0)
        The pattern's centre moves by so many columns across the scan, and so many rows down it.
    deflection : (2, ny, nx) array, mrad, optional
        Of the beam along columns and rows of the camera, as fields deflect it.
    vacuum : float or (ny, nx) array of bool, default 0
        Share of the scan that is a round hole; or where there is no specimen.
    step : float, nm, optional
        Between positions.
    seed : int, default 0
        Of the noise: a frame depends on it and its position, not on the number of workers.
    dtype : number type of the frames, default "u2"

    Returns
    -------
    xarray.Dataset
        The truth on (scan_y, scan_x), under the names that a map of fits has; `vacuum` is 1, the
        thickness 0 and the tilt NaN where there is no specimen.

    Raises
    ------
    TypeError
        An option that does not exist.
    InputError
        A value that no scan can have, a path that cannot be written to, counts that dtype cannot hold.
    LibraryError
        Thickness, tilt or semi-angle outside the library.
    """
    path = Path(path)
    given = {**options} if semi_angle is None else {"semi_angle": semi_angle, **options}
    scan = settings_from(ScanSettings, settings, given, "simulate_scan")
    kind = _number_type(scan.dtype)
    _check_sizes(path, scan, workers)
    _check_numbers(scan)
    truth = scan_truth(library, scan)
    _check_centres(truth, scan.frame_shape)
    truth.attrs = _attributes(library, scan)
    frames = Frames(library, truth, scan, workers)
    shape = (*scan.scan_shape, *scan.frame_shape)
    total = scan.scan_shape[0] * scan.scan_shape[1]
    sink = _netcdf if path.suffix == ".nc" else _npy
    with contextlib.ExitStack() as stack:
        stack.enter_context(_space_for(path))
        put = stack.enter_context(sink(path, truth, shape, kind))
        executor = stack.enter_context(ThreadPoolExecutor(workers))
        for done, (y, x, image) in enumerate(frames.counted(executor), 1):
            put(y, x, _stored(image, kind))
            if progress is not None:
                progress(done / total)
    return truth


@contextlib.contextmanager
def _space_for(path: Path) -> Iterator[None]:
    """Raise an InputError that names the file where it cannot be written."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError is what netCDF raises on a full disk
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be written ({reason}); make room or choose another") from error


@contextlib.contextmanager
def _netcdf(path: Path, truth: xr.Dataset, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[Put]:
    """One file: truth, and frames (scan_y, scan_x, row, col), which lie one after the other in it."""
    import netCDF4

    with atomic_path(path) as temporary:
        truth.to_netcdf(temporary, engine="netcdf4")
        with netCDF4.Dataset(temporary, "a") as file:
            file.createDimension("row", shape[2])
            file.createDimension("col", shape[3])
            frames = file.createVariable(
                "frames",
                dtype,
                ("scan_y", "scan_x", "row", "col"),
                contiguous=True,
                fill_value=False,
            )
            frames.setncatts({"units": "1", "long_name": "electrons counted"})

            def put(y: int, x: int, image: NDArray[Any]) -> None:
                frames[y, x] = image

            yield put


@contextlib.contextmanager
def _npy(path: Path, truth: xr.Dataset, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[Put]:
    """Two files: the frames as one array, and the truth."""
    with contextlib.ExitStack() as stack:
        beside = stack.enter_context(atomic_path(truth_path(path)))
        temporary = stack.enter_context(atomic_path(path))
        truth.to_netcdf(beside, engine="netcdf4")
        frames = np.lib.format.open_memmap(temporary, "w+", dtype, shape)

        def put(y: int, x: int, image: NDArray[Any]) -> None:
            frames[y, x] = image

        yield put
        frames.flush()


def truth_path(path: Path) -> Path:
    """Where the truth about a `.npy` of frames is."""
    return path.with_name(f"{path.stem}.truth.nc")


def _stored(image: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind != "f" and image.max() > np.iinfo(dtype).max:
        raise InputError(
            f"a pixel counts {image.max()} electrons, more than {dtype.name} can hold; "
            'choose a wider dtype, such as "u4", or fewer electrons'
        )
    return image.astype(dtype)


def _number_type(dtype: DTypeLike) -> np.dtype:
    with contextlib.suppress(TypeError):
        kind = np.dtype(dtype)
        if kind.kind in "uif" and kind.itemsize <= 8 and kind != np.float16:
            return kind.newbyteorder("=")
    raise InputError(f"dtype {dtype!r} cannot hold counts; give one such as u2, u4 or f4")


def _check_sizes(path: Path, scan: ScanSettings, workers: int) -> None:
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: scans are written as {' or '.join(SUFFIXES)}; name it so")
    if min(*scan.scan_shape, workers) < 1 or min(scan.frame_shape) < 8:
        raise InputError(
            f"{scan.scan_shape[0]} × {scan.scan_shape[1]} positions of {scan.frame_shape[0]} × "
            f"{scan.frame_shape[1]} px by {workers} workers: give at least one position, 8 × 8 px and one "
            "worker"
        )


def _check_numbers(scan: ScanSettings) -> None:
    """Raise an InputError for a number that no scan can have, or a size that no memory holds."""
    camera, seed = scan.camera, scan.seed
    if not 0 <= scan.background < 1:
        raise InputError(f"background {scan.background:g} is no share of the electrons; give 0 … 1")
    step = 1.0 if scan.step is None else scan.step
    positive = 0 < scan.electrons < 1e18 and 0 <= scan.blur < np.inf
    if not (positive and 0 < camera.scale < np.inf and 0 < step < np.inf):
        raise InputError(
            f"electrons {scan.electrons:g}, blur {scan.blur:g} mrad, scale {camera.scale:g} px/mrad, "
            f"step {step:g} nm: no camera records that; give positive values"
        )
    others = (*scan.tilt, scan.bend, scan.wedge_direction, *scan.descan)
    distortion = np.hypot(camera.ellipticity_a, camera.ellipticity_b)
    if not np.isfinite([*camera, *others]).all() or distortion > 0.5 or seed < 0:
        raise InputError(
            f"camera {tuple(camera)}, seed {seed}, tilt, bend, direction and descan {others}: give finite "
            "numbers, an ellipticity below 0.5 and a seed of 0 or more"
        )
    ny, nx = scan.scan_shape
    if ny * nx > MOST_POSITIONS:
        raise InputError(
            f"scan_shape {ny} × {nx} makes {ny * nx:.2g} positions, at most {MOST_POSITIONS:.0e} are "
            "simulated; give fewer"
        )
    points = fine_points(scan.frame_shape, camera, scan.blur)
    if points > MOST_POINTS:
        raise InputError(
            f"frame_shape {scan.frame_shape[0]} × {scan.frame_shape[1]}, scale {camera.scale:g} px/mrad and "
            f"blur {scan.blur:g} mrad need {points:.2g} points to compose a frame, at most "
            f"{MOST_POINTS:.2g} are made: give smaller frames, a larger scale or less blur"
        )


def _check_centres(truth: xr.Dataset, frame_shape: tuple[int, int]) -> None:
    """Raise an InputError where a pattern leaves the frame."""
    for name, size in (("centre_x", frame_shape[1]), ("centre_y", frame_shape[0])):
        low, high = float(truth[name].min()), float(truth[name].max())
        if not (0 <= low and high <= size - 1):
            raise InputError(
                f"{name} {low:.4g} … {high:.4g} px is outside the frame (0 … {size - 1}); "
                "change centre, descan or deflection"
            )


def _attributes(library: Library, scan: ScanSettings) -> dict[str, Any]:
    about = library.dataset.attrs
    zone = " ".join(str(i) for i in about["zone"])
    scale = float(scan.camera.scale)
    made = {name: getattr(scan, name) for name in ("electrons", "background", "seed", "bend")}
    attributes = {
        "title": "simulated 4D-STEM scan",
        "library": f"{about['crystal']} [{zone}] {about['energy_kv']:g} kV",
        "semi_angle_mrad": float(scan.semi_angle),
        "energy_kv": float(about["energy_kv"]),
        "scale_px_per_mrad": scale,
        "mrad_per_px": 1 / scale,
        "hybridfit_version": hybridfit.__version__,
        "settings": json.dumps(made),
    }
    return attributes if scan.step is None else attributes | {"step_nm": float(scan.step)}
