"""A simulated scan, to rehearse a measurement with: its file, and the truth beside the frames.

The truth is made first (`scan.truth`), then the frames that show it (`scan.frames`), a few at a time,
each written before the next are made.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, DTypeLike, NDArray

import hybridfit
from hybridfit.errors import InputError
from hybridfit.io import atomic_path
from hybridfit.library.library import Library
from hybridfit.pattern.camera import Camera
from hybridfit.simulate.scan_frames import Frames
from hybridfit.simulate.scan_truth import scan_truth

Put = Callable[[int, int, NDArray], None]
CHUNK_BYTES = 1 << 19  # of a chunk of the file: several small frames, or a large one
SUFFIXES = (".nc", ".npy")


def simulate_scan(
    path: str | Path,
    library: Library,
    semi_angle: float = 13.6,
    *,
    scan_shape: tuple[int, int] = (64, 64),
    frame_shape: tuple[int, int] = (128, 128),
    thickness: float | ArrayLike = (20.5, 25.5),
    wedge_direction: float = 0.0,
    tilt: tuple[float, float] = (0.0, 0.0),
    bend: float = 4.0,
    electrons: float = 1e6,
    background: float = 0.1,
    blur: float = 0.25,
    scale: float | None = None,
    rotation: float = 0.0,
    centre: tuple[float, float] | None = None,
    ellipticity: tuple[float, float] = (0.0, 0.0),
    descan: tuple[float, float] = (0.0, 0.0),
    deflection: ArrayLike | None = None,
    vacuum: float | ArrayLike = 0.0,
    step: float | None = None,
    seed: int = 0,
    dtype: DTypeLike = "u2",
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
) -> xr.Dataset:
    """Simulate a 4D-STEM scan of a bent wedge, and write it with the truth.

    Parameters
    ----------
    path : str or path
        `.nc`: frames and truth in one netCDF4 file; `.npy`: the frames, and the truth beside them as
        `NAME.truth.nc`. Either is written piece by piece, and put in place when it is whole.
    library : Library
    semi_angle : float, mrad
    scan_shape : (ny, nx)
    frame_shape : (rows, cols), px
    thickness : float, (first, last) or (ny, nx) array, nm
        Of one value, of a wedge, or at every position.
    wedge_direction : float, degrees
        Along which the wedge rises: 0 to the right, 90 downwards, 45 from one corner to the other.
    tilt : (float, float), mrad
        In the middle of the scan, in the crystal frame.
    bend : float, mrad
        Tilt at the edges less that in the middle: tilt_x changes along the scan's rows and tilt_y down
        its columns, which makes a bowl.
    electrons : float
        Expected number in a frame, the background's included.
    background : float
        Share of them that is in the background; there is none where there is no specimen.
    blur, scale, rotation, centre, ellipticity
        As in `hybridfit.simulate_frame`.
    descan : (float, float), px
        The pattern's centre moves by so many columns across the scan, and so many rows down it.
    deflection : (2, ny, nx) array, mrad, optional
        Of the beam along columns and rows of the camera, as fields deflect it.
    vacuum : float or (ny, nx) array of bool
        Share of the scan that is a round hole; or where there is no specimen.
    step : float, nm, optional
        Between positions.
    seed : int
        Of the noise: a frame depends on it and its position, not on the number of workers.
    dtype : number type of the frames
    workers : int
        Threads that share the work.
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    xarray.Dataset
        The truth on (scan_y, scan_x), under the names that a map of fits has; `vacuum` is 1, the
        thickness 0 and the tilt NaN where there is no specimen.

    Raises
    ------
    InputError
        A value that no scan can have, a path that cannot be written to, counts that dtype cannot hold.
    LibraryError
        Thickness, tilt or semi-angle outside the library.
    """
    path = Path(path)
    kind = _number_type(dtype)
    _check_sizes(path, scan_shape, frame_shape, workers)
    rows, cols = frame_shape
    centre = ((cols - 1) / 2, (rows - 1) / 2) if centre is None else centre
    scale = min(rows, cols) / (2 * (semi_angle + 8.0)) if scale is None else scale
    camera = Camera(*centre, scale, rotation, *ellipticity)
    _check_numbers(camera, electrons, background, blur, step, seed, (*tilt, bend, wedge_direction, *descan))
    truth = scan_truth(
        library,
        semi_angle,
        camera,
        scan_shape=scan_shape,
        thickness=thickness,
        wedge_direction=wedge_direction,
        tilt=tilt,
        bend=bend,
        blur=blur,
        descan=descan,
        deflection=deflection,
        vacuum=vacuum,
        step=step,
    )
    settings = {"electrons": electrons, "background": background, "seed": seed, "bend": bend}
    _check_centres(truth, frame_shape)
    truth.attrs = _attributes(library, semi_angle, scale, step, settings)
    frames = Frames(library, truth, frame_shape, electrons=electrons, background=background, seed=seed)
    # a piece has work for every thread, and ends with a chunk of the file
    chunk = max(1, min(scan_shape[1], CHUNK_BYTES // (rows * cols * kind.itemsize)))
    piece = chunk * -(-4 * workers // chunk)
    shape = (*scan_shape, rows, cols)
    sink = _netcdf if path.suffix == ".nc" else _npy
    with contextlib.ExitStack() as stack:
        put = stack.enter_context(sink(path, truth, shape, kind, chunk))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        for y, x in np.ndindex(scan_shape[0], -(-scan_shape[1] // piece)):
            along = range(x * piece, min((x + 1) * piece, scan_shape[1]))
            images = list(pool.map(lambda i, y=y: frames.at(y, i), along))  # type: ignore[misc]
            put(y, along.start, np.stack([_stored(image, kind) for image in images]))
            if progress is not None:
                progress((y * scan_shape[1] + along.stop) / (scan_shape[0] * scan_shape[1]))
    return truth


@contextlib.contextmanager
def _netcdf(
    path: Path, truth: xr.Dataset, shape: tuple[int, ...], dtype: np.dtype, chunk: int
) -> Iterator[Put]:
    """One file: truth, and frames (scan_y, scan_x, row, col)."""
    import netCDF4

    try:
        with atomic_path(path) as temporary:
            truth.to_netcdf(temporary, engine="netcdf4")
            with netCDF4.Dataset(temporary, "a") as file:
                file.createDimension("row", shape[2])
                file.createDimension("col", shape[3])
                frames = file.createVariable(
                    "frames",
                    dtype,
                    ("scan_y", "scan_x", "row", "col"),
                    chunksizes=(1, chunk, *shape[2:]),
                    fill_value=False,
                )
                frames.setncatts({"units": "1", "long_name": "electrons counted"})

                def put(y: int, x: int, images: NDArray) -> None:
                    frames[y, x : x + len(images)] = images

                yield put
    except RuntimeError as error:  # netCDF's word for a full disk
        raise InputError(f"{path} cannot be written ({error}); make room or choose another") from None


@contextlib.contextmanager
def _npy(path: Path, truth: xr.Dataset, shape: tuple[int, ...], dtype: np.dtype, chunk: int) -> Iterator[Put]:
    """Two files: the frames as one array, and the truth."""
    with contextlib.ExitStack() as stack:
        beside = stack.enter_context(atomic_path(truth_path(path)))
        temporary = stack.enter_context(atomic_path(path))
        truth.to_netcdf(beside, engine="netcdf4")
        frames = np.lib.format.open_memmap(temporary, "w+", dtype, shape)

        def put(y: int, x: int, images: NDArray) -> None:
            frames[y, x : x + len(images)] = images

        yield put
        frames.flush()


def truth_path(path: Path) -> Path:
    """Where the truth about a `.npy` of frames is."""
    return path.with_name(f"{path.stem}.truth.nc")


def _stored(image: NDArray[np.int64], dtype: np.dtype) -> NDArray:
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


def _check_sizes(path: Path, scan_shape: tuple[int, int], frame_shape: tuple[int, int], workers: int) -> None:
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: scans are written as {' or '.join(SUFFIXES)}; name it so")
    if min(*scan_shape, workers) < 1 or min(frame_shape) < 8:
        raise InputError(
            f"{scan_shape[0]} × {scan_shape[1]} positions of {frame_shape[0]} × {frame_shape[1]} px "
            f"by {workers} workers: give at least one position, 8 × 8 px and one worker"
        )


def _check_numbers(
    camera: Camera,
    electrons: float,
    background: float,
    blur: float,
    step: float | None,
    seed: int,
    others: tuple[float, ...],
) -> None:
    if not 0 <= background < 1:
        raise InputError(f"background {background:g} is no share of the electrons; give 0 … 1")
    step = 1.0 if step is None else step
    if not (0 < electrons < 1e18 and 0 <= blur < np.inf and 0 < camera.scale < np.inf and 0 < step < np.inf):
        raise InputError(
            f"electrons {electrons:g}, blur {blur:g} mrad, scale {camera.scale:g} px/mrad, "
            f"step {step:g} nm: no camera records that; give positive values"
        )
    distortion = np.hypot(camera.ellipticity_a, camera.ellipticity_b)
    if not np.isfinite([*camera, *others]).all() or distortion > 0.5 or seed < 0:
        raise InputError(
            f"camera {tuple(camera)}, seed {seed}, tilt, bend, direction and descan {others}: give finite "
            "numbers, an ellipticity below 0.5 and a seed of 0 or more"
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


def _attributes(
    library: Library, semi_angle: float, scale: float, step: float | None, settings: dict[str, Any]
) -> dict[str, Any]:
    about = library.dataset.attrs
    zone = " ".join(str(i) for i in about["zone"])
    attributes = {
        "title": "simulated 4D-STEM scan",
        "library": f"{about['crystal']} [{zone}] {about['energy_kv']:g} kV",
        "semi_angle_mrad": float(semi_angle),
        "energy_kv": float(about["energy_kv"]),
        "scale_px_per_mrad": float(scale),
        "mrad_per_px": 1 / float(scale),
        "hybridfit_version": hybridfit.__version__,
        "settings": json.dumps(settings),
    }
    return attributes if step is None else attributes | {"step_nm": float(step)}
