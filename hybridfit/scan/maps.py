"""Maps of thickness and tilt: `map_scan` makes one, `read_map` opens it, `fit_at` goes back to a position."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import xarray as xr

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.judge.mistakes import contradictions
from hybridfit.fitting.refine.structural import reference_values
from hybridfit.fitting.settings import FitSettings
from hybridfit.flags import good_positions
from hybridfit.io import ScanFile, atomic_path, open_scan
from hybridfit.library.library import Library
from hybridfit.library.mirror import mirrored
from hybridfit.library.store import check_parameters
from hybridfit.model import PARAMETERS
from hybridfit.options import settings_from
from hybridfit.scan.batches import torch_name
from hybridfit.scan.dataset import map_dataset
from hybridfit.scan.fields import deflection, projected_field
from hybridfit.scan.fingerprint import inputs_of
from hybridfit.scan.made import attributes, how_made, read_map
from hybridfit.scan.pool import Workers
from hybridfit.scan.positions import NoFrame, Positions, check_memory
from hybridfit.scan.rows import to_frame
from hybridfit.scan.run import MapReport, MapRun, Progress
from hybridfit.scan.settings import MapOptions, MapSettings, OpenSettings
from hybridfit.scan.stopping import interruptible
from hybridfit.scan.store import Store, writing
from hybridfit.scan.worker import in_frame_pixels

if TYPE_CHECKING:
    from hybridfit.fitting.result import FitResult
    from hybridfit.network.weights import Network

__all__ = ["fit_at", "map_scan", "read_map", "write_map"]


def map_scan(
    scan: ScanFile | str | Path,
    library: Library | str | Path,
    *,
    semi_angle: float | None = None,
    output: str | Path | None = None,
    network: Network | str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    settings: MapSettings | None = None,
    **options: Unpack[MapOptions],
) -> xr.Dataset:
    """Thickness and tilt at every position of a 4D-STEM scan.

    A run that is stopped, by whatever, goes on where it was when it is called again with the same
    arguments and output: finished blocks lie in `<output>.parts` until the map is complete.

    Parameters
    ----------
    scan : ScanFile, or the path of a scan
    library : Library, or the name or file of one
    semi_angle : float, mrad
        Needed, here or in the settings, unless `scan` is a ScanFile that says it.
    output : path of the map (.nc), optional
        Without one nothing is kept.
    network : Network, or the path of its weights, optional
        As for `Fitter`.
    workers : int, processes; by default all cores, or what `joblib.parallel_config` says
    scheduler : str, optional
        Address of a dask scheduler.
    progress : callable(MapReport), optional
    settings : MapSettings, optional
        All of the following at once; those that are given by name as well replace them.
    method, background, fix, free, bounds, expressions, sigma, flip
        As for `Fitter`; scale and centre are in pixels of the camera, whatever the binning.
    common : names of parameters that all positions share, default scale, rotation and ellipticity
        Found in a first pass over a few positions, then held.
    hint_rotation : float, degrees, optional
        From the camera's columns to the crystal's x, known within some degrees: it decides the sign of a
        polarity.
    average : int, default 1
        Fit the mean of average × average positions.
    roi : (top, bottom, left, right), optional
        Positions of the file: rows top … bottom − 1, columns left … right − 1.
    mask : (rows, cols) array_like of bool, optional
        True = leave this pixel of the camera out.
    bin : int, default 1
        Bin frames by this factor first.
    step_nm : float, optional
        Between positions (nm); by default what the file says.
    field : bool, default False
        Add the electric field that goes with deflection and thickness.
    scan_rotation : float, degrees, optional
        From the camera's columns to the scan's x: deflections are then along the scan's axes.
    device : str, default "auto"
        Of the network, and of fits of many positions at a time where it is a GPU and all positions share a
        camera: a torch device, or "auto".  "torch-cpu" makes such fits without a GPU, slowly, for tests.
    partial : bool, default False
        Only put together what is done so far; the rest is `not_done`.
    first_pass, neighbours, work : settings of the stages
        Thresholds; change them only to study them.
    dataset, scan_shape, shape, dtype, offset, skip, flyback
        As for `open_scan`.

    Returns
    -------
    xarray.Dataset
        On (scan_y, scan_x), with CF units; see docs/maps.md for its variables.  Structural parameters of
        the library have their own names.

    Raises
    ------
    TypeError
        An option that does not exist, or no semi-angle.
    InputError, LibraryError
        Something cannot be used as given, the output is another map, or another run is at work on it.
    """
    if semi_angle is None and settings is None and isinstance(scan, ScanFile):
        semi_angle = scan.calibration.get("semi_angle_mrad")
    asked, opening = _settings(semi_angle, settings, options)
    file = scan if isinstance(scan, ScanFile) else open_scan(scan, **vars(opening))
    library, name, library_path = _checked(library, asked)
    left_out = None if asked.mask is None else np.asarray(asked.mask, bool)
    positions = Positions(file, average=asked.average, roi=asked.roi, mask=left_out, bin=asked.bin)
    check_memory(positions, asked.work.position_bytes)
    in_frame_pixels(asked.fit, asked.bin)  # an error now for what cannot be binned
    net = _network(network, library, asked)
    with contextlib.ExitStack() as stack:
        check = stack.enter_context(interruptible())
        processes = stack.enter_context(Workers(workers, scheduler))
        folder = output or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "map.nc"
        path = Path(os.path.abspath(folder))
        store = Store(path, inputs_of(positions, library, net, asked))

        def report(state: MapReport) -> None:
            check()
            if progress is not None:
                progress(state)

        run = MapRun(positions, library, library_path, net, store, asked, processes, report)
        if (done := _finished(path, store.digest)) is not None:
            return done
        if not asked.partial:
            stack.enter_context(store.working())
            if (done := _finished(path, store.digest)) is not None:  # by a run that has ended since
                store.remove()
                return done
        rows = run.partial() if asked.partial else run.run()
        attrs = attributes(store, library, name, file, opening, complete=not asked.partial)
        step_nm = file.calibration.get("step_nm") if asked.step_nm is None else asked.step_nm
        out = map_dataset(rows, positions, library.structure, step_nm=step_nm, attrs=attrs)
        out = _with_fields(out, asked.field, asked.scan_rotation)
        if positions.mask is not None:
            out["mask"] = (("row", "col"), positions.mask.astype(np.int8), {"long_name": "1: pixel left out"})
        if said := _said(file, library, asked.semi_angle, out):
            out.attrs["source_note"] = said
        if output is not None:
            write_map(out, path)
            if not asked.partial:
                store.remove()
    return out


def _settings(
    semi_angle: float | None, settings: MapSettings | None, options: Mapping[str, Any]
) -> tuple[MapSettings, OpenSettings]:
    """What is asked of the map, and how its file is opened."""
    names = [field.name for field in fields(OpenSettings)]
    opening = {key: value for key, value in options.items() if key in names}
    given = {key: value for key, value in options.items() if key not in names}
    if semi_angle is not None:
        given["semi_angle"] = semi_angle
    asked = settings_from(MapSettings, settings, given, "map_scan", also=names)
    return asked, OpenSettings(**opening)


def _finished(path: Path, digest: str) -> xr.Dataset | None:
    """The map of this run, where it is complete.

    Raises
    ------
    InputError
        There is another file of that name.
    """
    if not path.exists():
        return None
    found = read_map(path)
    if found.attrs.get("run") != digest:
        raise InputError(
            f"{path} is another map, with other settings or inputs; choose another name, or remove it"
        )
    return found if found.attrs.get("complete") else None


def write_map(dataset: xr.Dataset, path: str | Path) -> None:
    """Write a map as netCDF4: whole, or not at all.

    Raises
    ------
    InputError
        It cannot be written: the disk is full, for instance.
    """
    packed = {"zlib": True, "complevel": 4}
    encoding: dict[str, Any] = {
        str(name): packed for name, v in dataset.data_vars.items() if v.dtype.kind in "fi" and v.ndim == 2
    }
    with writing(Path(path)), atomic_path(path) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4", encoding=encoding)


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
    made = how_made(found)
    if library is None and not made.library_name:
        raise InputError("the library of this map was never saved; give it as library = …")
    positions = Positions(
        open_scan(made.scan, **made.opened),
        average=made.average,
        roi=made.roi,
        mask=found["mask"].values.astype(bool) if "mask" in found else None,
        bin=made.bin,
    )
    if positions.shape != (ny, nx):
        raise InputError(
            f"{made.scan} has {positions.shape[0]} × {positions.shape[1]} positions, the map {ny} × {nx}; "
            "put back the scan that the map was made of"
        )
    frame = positions.frames([(y, x)])[0]
    if isinstance(frame, NoFrame):
        raise InputError(frame.message)
    cell = found.isel(scan_y=y, scan_x=x)
    start = {n: float(cell[n]) for n in Candidate.__dataclass_fields__ if n in found}
    known = bool(np.isfinite(list(start.values())).all())
    asked = FitSettings(
        made.semi_angle,
        background=made.background,
        fix={**made.fix, **made.common},
        free=made.free,
        bounds=made.bounds,
        expressions=made.expressions,
        sigma=made.sigma,
        hints=Hints(rotation=made.hint_rotation),
        flip=made.flip,
        keep_model=True,
    )
    fitter = Fitter(
        library or Library.open(made.library_name),
        settings=in_frame_pixels(asked, positions.bin),
        seeded=known,
    )
    if not known:
        return fitter.fit(frame)
    return fitter.refine(frame, to_frame(Candidate(**start), positions.bin))


def _with_fields(found: xr.Dataset, field: bool, scan_rotation: float | None) -> xr.Dataset:
    """A map with the deflection of the beam, where any position tells it, and with the field."""
    if not good_positions(found).any():
        return found
    found = deflection(found, scan_rotation=scan_rotation)
    return projected_field(found) if field else found


def _said(file: ScanFile, library: Library, semi_angle: float, found: xr.Dataset) -> str:
    """What was taken for granted of the file, and what it says otherwise than it was given or found."""
    scale = float(np.nanmedian(found["scale"])) if np.isfinite(found["scale"]).any() else None
    energy = float(library.dataset.attrs["energy_kv"])
    notes = [f"{file.note[0].upper()}{file.note[1:]}."] if file.note else []
    return " ".join([*notes, *contradictions(file.calibration, energy, semi_angle, scale)])


def _opened(library: Library | str | Path) -> tuple[Library, str, str | None]:
    """A library, what to call it, and where others can open it."""
    if isinstance(library, Library):
        source = str(library.dataset.encoding.get("source", ""))
        return library, source, source or None
    opened, path = Library.open(library), Path(library)
    name = str(path.resolve()) if path.suffix in (".nc", ".toml") else str(library)
    return opened, name, name if path.suffix == ".nc" else str(Library.cached_path(name))


def _checked(library: Library | str | Path, asked: MapSettings) -> tuple[Library, str, str | None]:
    """The library, what to call it, and where others can open it; an error for what it does not cover."""
    fit = asked.fit
    if not isinstance(library, Library):
        names = (*fit.fix, *fit.free, *fit.bounds, *fit.expressions)
        check_parameters(names, PARAMETERS, library, fit.fix)  # before it is built
    found, name, path = _opened(library)
    fit.check(found)
    return found, name, path


def _network(network: Network | str | Path | None, library: Library, asked: MapSettings) -> Network | None:
    """The network of a map, on its device; None where it does without."""
    if asked.method == "lsf":
        return None
    seen, inside = (mirrored(library), asked.fit.mirrored()) if asked.flip else (library, asked.fit)
    seen = seen.at(**reference_values(seen, inside.fix))
    from hybridfit.network.weights import Network as Weights

    semi_angle, device = asked.semi_angle, torch_name(asked.device)
    if isinstance(network, str | Path):
        network = Weights.open(network, device=device)
    if network is None:
        network = Weights.for_library(seen, semi_angle, beside=library.path, device=device)
    if network is None and asked.method == "cnn":
        raise InputError(
            f"no network comes with this library at {semi_angle:g} mrad; make one with `hybridfit train`, "
            "or use method lsf"
        )
    if network is not None:
        network.check(seen, semi_angle)
    return network
