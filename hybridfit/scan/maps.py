"""Maps of thickness and tilt: `map_scan` makes one, `read_map` opens it, `fit_at` goes back to a position."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, DTypeLike

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.fitter import Fitter, check_method
from hybridfit.fitting.flipped import FlippedFitter, flipped_fix
from hybridfit.fitting.hints import Hints, check_fixed
from hybridfit.fitting.refine.structural import reference_values
from hybridfit.flags import good_positions
from hybridfit.io import ScanFile, atomic_path, open_scan
from hybridfit.library.library import Library
from hybridfit.library.mirror import mirrored
from hybridfit.library.store import check_parameters
from hybridfit.model import PARAMETERS
from hybridfit.pattern import background as bg
from hybridfit.scan.dataset import map_dataset
from hybridfit.scan.fields import deflection, projected_field
from hybridfit.scan.first_pass import COMMON
from hybridfit.scan.pool import Workers
from hybridfit.scan.positions import NoFrame, Positions, Roi
from hybridfit.scan.rows import to_frame
from hybridfit.scan.run import MapRun, Progress
from hybridfit.scan.worker import in_frame_pixels

if TYPE_CHECKING:
    from hybridfit.fitting.result import FitResult
    from hybridfit.network.weights import Network

TITLE = "hybridfit map"


def map_scan(
    scan: ScanFile | str | Path,
    library: Library | str | Path,
    *,
    semi_angle: float,
    output: str | Path | None = None,
    method: str = "hybrid",
    network: Network | str | Path | None = None,
    background: str = "radial",
    fix: Mapping[str, float | None] | None = None,
    free: Sequence[str] = (),
    common: Sequence[str] = COMMON,
    hint_rotation: float | None = None,
    average: int = 1,
    roi: Roi | None = None,
    mask: ArrayLike | None = None,
    bin: int = 1,
    step_nm: float | None = None,
    field: bool = False,
    scan_rotation: float | None = None,
    flip: bool = False,
    dataset: str | None = None,
    scan_shape: tuple[int, int] | None = None,
    shape: Sequence[int] | None = None,
    dtype: DTypeLike | None = None,
    offset: int = 0,
    workers: int | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    partial: bool = False,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Thickness and tilt at every position of a 4D-STEM scan.

    A run that is stopped, by whatever, goes on where it was when it is called again with the same
    arguments and output: finished blocks lie in `<output>.parts` until the map is complete.

    Parameters
    ----------
    scan : ScanFile, or the path of a scan
    library : Library, or the name or file of one
    semi_angle : float, mrad
    output : path of the map (.nc), optional
        Without one nothing is kept.
    method, network, background, fix, free
        As for `Fitter`; scale and centre are in pixels of the camera, whatever the binning.
    common : names of parameters that all positions share
        Found in a first pass over a few positions, then held.
    hint_rotation : float, degrees, optional
        From the crystal's x to columns, known within some degrees: what tells the sign of a polarity.
    average : int
        Fit the mean of average × average positions.
    roi : (top, bottom, left, right), optional
        Positions of the file: rows top … bottom − 1, columns left … right − 1.
    mask : (rows, cols) array_like of bool, optional
        True = leave this pixel of the camera out.
    bin : int
        Bin frames by this factor first.
    step_nm : float, optional
        Between positions (nm); by default what the file says.
    field : bool
        Add the electric field that goes with deflection and thickness.
    scan_rotation : float, degrees, optional
        From the camera's columns to the scan's x: deflections are then along the scan's axes.
    flip : bool
        The camera mirrors its frames; see `hybridfit.fitting.flipped`.
    dataset, scan_shape, shape, dtype, offset
        As for `open_scan`.
    workers : int, processes; by default all cores, or what `joblib.parallel_config` says
    scheduler : str, optional
        Address of a dask scheduler.
    device : str
        Of the network: a torch device, or "auto".
    partial : bool
        Do nothing but put together what is done so far; the rest is `not_done`.
    progress : callable(MapReport), optional

    Returns
    -------
    xarray.Dataset
        On (scan_y, scan_x), with CF units; see the README for its variables.  Structural parameters of
        the library have their own names.

    Raises
    ------
    InputError, LibraryError
        Something cannot be used as given, or the output is another map.
    """
    _check(method, background, semi_angle, common)
    hint = Hints(rotation=hint_rotation).rotation
    names = (*(fix or {}), *free)
    keep = dict(dataset=dataset, scan_shape=scan_shape, shape=shape, dtype=dtype, offset=offset)
    file = scan if isinstance(scan, ScanFile) else open_scan(scan, **keep)  # type: ignore[arg-type]
    if not isinstance(library, Library):
        check_parameters(names, PARAMETERS, library, fix or {})
    library, name, library_path = _opened(library)
    for parameter in names:
        if parameter not in (*PARAMETERS, *library.structure):
            known = ", ".join((*PARAMETERS, *library.structure))
            raise InputError(f"unknown parameter {parameter!r}; the parameters are {known}")
    library.check_semi_angle(semi_angle)
    check_fixed(fix or {}, library, semi_angle)
    seen = mirrored(library) if flip else library
    if seen is not library:
        library_path = None  # nobody can open it
    held = flipped_fix(fix or {}) if flip else fix or {}
    left_out = None if mask is None else np.asarray(mask, bool)
    positions = Positions(file, average=average, roi=roi, mask=left_out, bin=bin)
    if step_nm is None:
        step_nm = file.calibration.get("step_nm")
    reference = seen.at(**reference_values(seen, held))
    net = _network(method, network, reference, semi_angle, device)
    with tempfile.TemporaryDirectory() as folder, Workers(workers, scheduler) as processes:
        path = Path(folder) / "map.nc" if output is None else Path(os.path.abspath(output))
        run = MapRun(
            positions,
            seen,
            library_path,
            net,
            path,
            semi_angle=float(semi_angle),
            method=method,
            background=background,
            fix=held,
            free=free,
            flip=flip,
            common=() if method == "cnn" else common,
            rotation=hint,
            workers=processes,
            progress=progress or (lambda report: None),
        )
        digest = run.store.manifest["digest"]
        if path.exists():
            before = read_map(path)
            if before.attrs.get("run") != digest:
                raise InputError(
                    f"{output} is another map, with other settings or inputs; "
                    "choose another name, or remove it"
                )
            if before.attrs.get("complete"):
                return before
        rows = run.partial() if partial else run.run()
        rows = rows.flipped() if flip else rows
        attrs = _attributes(run, library, name, file, keep, complete=not partial)
        out = map_dataset(rows, positions, library.structure, step_nm=step_nm, attrs=attrs)
        out = _with_fields(out, field, scan_rotation)
        if left_out is not None:
            out["mask"] = (("row", "col"), left_out.astype(np.int8), {"long_name": "1: pixel left out"})
        if output is not None:
            write_map(out, path)
            if not partial:
                run.store.remove()
    return out


def write_map(dataset: xr.Dataset, path: str | Path) -> None:
    """Write a map as netCDF4: whole, or not at all."""
    packed = {"zlib": True, "complevel": 4}
    encoding: dict[str, Any] = {
        str(name): packed for name, v in dataset.data_vars.items() if v.dtype.kind in "fi" and v.ndim == 2
    }
    with atomic_path(path) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4", encoding=encoding)


def read_map(path: str | Path) -> xr.Dataset:
    """Open a map.

    Raises
    ------
    InputError
        There is no such file, or it is no map.
    """
    try:
        with xr.open_dataset(path, engine="netcdf4") as stored:
            found = stored.load()
    except FileNotFoundError:
        raise InputError(f"there is no map {path}; `hybridfit map` makes one") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path} cannot be read as a map ({reason}); copy it again") from None
    if found.attrs.get("title") != TITLE:
        raise InputError(f"{path} is no map of hybridfit; give the output of `hybridfit map`")
    return found


def fit_at(found: xr.Dataset, y: int, x: int, library: Library | None = None) -> FitResult:
    """The fit of one position of a map, made again from the scan; for pictures and reports.

    Parameters
    ----------
    found : xarray.Dataset
        From `map_scan` or `read_map`; the scan must be where it was.
    y, x : int
        Row and column of the map.
    library : Library, optional
        By default the one that the map was made with, by its name.

    Raises
    ------
    InputError
        No such position, or one without a frame; or scan and library are not to be found.
    """
    ny, nx = found.sizes["scan_y"], found.sizes["scan_x"]
    if not (0 <= y < ny and 0 <= x < nx):
        raise InputError(f"position {y},{x} is not in this map of {ny} × {nx}; rows and columns count from 0")
    about = json.loads(found.attrs["settings"])
    mask = found["mask"].values.astype(bool) if "mask" in found else None
    roi = about["roi"]
    positions = Positions(
        open_scan(about["scan"], **about["opened"]),
        average=about["average"],
        roi=(roi[0], roi[1], roi[2], roi[3]),
        mask=mask,
        bin=about["bin"],
    )
    frame = positions.frames([(y, x)])[0]
    if isinstance(frame, NoFrame):
        raise InputError(frame.message)
    cell = found.isel(scan_y=y, scan_x=x)
    held = {**about["fix"], **about["common"]}
    known = bool(np.isfinite(cell["thickness"]))
    if library is None and not about["library_name"]:
        raise InputError("the library of this map was never saved; give it as library = …")
    fitter = (FlippedFitter if about.get("flip") else Fitter)(
        library or Library.open(about["library_name"]),
        about["semi_angle"],
        background=about["background"],
        fix=in_frame_pixels(held, positions.bin),
        free=about["free"],
        hints=Hints(rotation=about.get("hint_rotation")),
        seeded=known,
        keep_model=True,
    )
    if not known:
        return fitter.fit(frame)
    start = Candidate(**{n: float(cell[n]) for n in Candidate.__dataclass_fields__ if n in found})
    return fitter.refine(frame, to_frame(start, positions.bin))


def _with_fields(found: xr.Dataset, field: bool, scan_rotation: float | None) -> xr.Dataset:
    """A map with the deflection of the beam, where any position tells it, and with the field."""
    if not good_positions(found).any():
        return found
    found = deflection(found, scan_rotation=scan_rotation)
    return projected_field(found) if field else found


def _opened(library: Library | str | Path) -> tuple[Library, str, str | None]:
    """A library, what to call it, and where others can open it."""
    if isinstance(library, Library):
        source = str(library.dataset.encoding.get("source", ""))
        return library, source, source or None
    opened, path = Library.open(library), Path(library)
    name = str(path.resolve()) if path.suffix in (".nc", ".toml") else str(library)
    return opened, name, name if path.suffix == ".nc" else str(Library.cached_path(name))


def _check(method: str, background: str, semi_angle: float, common: Sequence[str]) -> None:
    check_method(method)
    bg.check(background)
    if not semi_angle > 0:
        raise InputError(f"semi-angle {semi_angle:g} mrad cannot be right; give it in mrad, above 0")
    for name in common:
        if name not in PARAMETERS:
            raise InputError(f"unknown parameter {name!r}; common may be {', '.join(PARAMETERS)}")


def _network(
    method: str, network: Network | str | Path | None, library: Library, semi_angle: float, device: str
) -> Network | None:
    if method == "lsf":
        return None
    from hybridfit.network.weights import Network as Weights

    if isinstance(network, str | Path):
        network = Weights.open(network, device=device)
    if network is None:
        network = Weights.for_library(library, semi_angle, device=device)
    if network is None and method == "cnn":
        raise InputError(
            f"no network comes with this library at {semi_angle:g} mrad; make one with `hybridfit train`, "
            "or use method lsf"
        )
    if network is not None:
        network.check(library, semi_angle)
    return network


def _attributes(
    run: MapRun,
    library: Library,
    name: str,
    file: ScanFile,
    opened: Mapping[str, Any],
    *,
    complete: bool,
) -> dict[str, Any]:
    import hybridfit

    attrs = library.dataset.attrs
    zone = " ".join(str(int(i)) for i in np.atleast_1d(attrs["zone"]))
    kept = run.store.settings
    used = {
        key: kept[key]
        for key in (
            "method", "semi_angle", "background", "fix", "free", "hint_rotation", "average", "roi", "bin"
        )
    }  # fmt: skip
    used |= {
        "common": run.store.common or {},
        "flip": bool(kept.get("flip", False)),
        "library_name": name,
        "scan": os.path.abspath(file.path),
        "opened": {
            key: str(value) if key == "dtype" and value is not None else value
            for key, value in opened.items()
        },
    }
    if used["flip"]:
        used |= {key: flipped_fix(used[key]) for key in ("fix", "common")}
    return {
        "title": TITLE,
        "Conventions": "CF-1.11",
        "library": f"{attrs['crystal']} [{zone}] {attrs['energy_kv']:g} kV",
        "library_name": name,
        "semi_angle_mrad": kept["semi_angle"],
        "energy_kv": float(attrs["energy_kv"]),
        "source": Path(file.path).name,
        "hybridfit_version": hybridfit.__version__,
        "settings": json.dumps(used),
        "run": run.store.manifest["digest"],
        "complete": int(complete),
    }
