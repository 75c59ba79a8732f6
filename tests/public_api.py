"""What users import, used as they use it: mypy checks this file under --strict, and nothing runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import hybridfit
from hybridfit import errors, explain, plot


def fits(library: hybridfit.Library, image: NDArray[np.float64]) -> hybridfit.FitResult:
    """One frame, and many."""
    result = hybridfit.fit(
        image, library, semi_angle=13.6, fix={"blur": 0.3}, bounds={"scale": (5.2, 5.6)}, flip=True
    )
    assert_type(result, hybridfit.FitResult)
    assert_type(result.thickness, float)
    assert_type(result.tilt, tuple[float, float])
    assert_type(result.ok, bool)
    assert_type(result.status, hybridfit.Status)
    assert_type(result["thickness"].stderr, float | None)
    assert_type(result["thickness"].interval95, tuple[float, float] | None)
    assert_type(result.candidates, tuple[hybridfit.Candidate, ...])
    assert_type(result.report(), str)
    assert_type(result.to_json(), dict[str, Any])
    assert_type(result.to_dataset(), xr.Dataset)
    assert_type(result.posterior(1000, seed=1), xr.Dataset)
    if result.status is hybridfit.Status.ambiguous:
        print(result.message, [candidate.probability for candidate in result.candidates])
    settings = hybridfit.FitSettings(semi_angle=13.6, hints=hybridfit.Hints(thickness=40.0, tilt=(1.0, 0.0)))
    fitter = hybridfit.Fitter(library, settings=settings)
    return fitter.fit(hybridfit.make_frame(image, mask=image < 0))


def structures(library: hybridfit.Library, images: list[NDArray[np.float64]]) -> hybridfit.Together:
    """A structure of one frame, and of several."""
    one = hybridfit.fit(images[0], library, semi_angle=13.6, vary="B:Sr")
    assert_type(one.structure["B:Sr"].value, float)
    assert_type(one.correlations, dict[str, dict[str, float]])
    found = hybridfit.fit_together(images, library, vary=["B:Sr", "z:O1"], semi_angle=13.6)
    assert_type(found, hybridfit.Together)
    assert_type(found["B:Sr"].stderr, float | None)
    assert_type(found.frames, tuple[hybridfit.FitResult, ...])
    return hybridfit.StructureFitter(library, "B:Sr", 13.6).fit(images)


def frames(path: Path) -> list[hybridfit.FitResult]:
    """Frames of a file; one that cannot be used."""
    fitter = hybridfit.Fitter("SrTiO3_001_200kV", 13.6, method="lsf")
    try:
        return [fitter.fit(frame) for frame in hybridfit.read_frames(path)]
    except errors.InputError as error:
        print(error)
        return []


def libraries(folder: Path) -> hybridfit.Library:
    """A library of a recipe, saved and opened."""
    recipe = hybridfit.Recipe.read(folder / "mine.toml")
    library = hybridfit.Library.build(recipe)
    library.save(folder / "mine.nc")
    opened = hybridfit.Library.open(folder / "mine.nc")
    assert_type(opened, hybridfit.Library)
    return opened


def maps(library: hybridfit.Library, folder: Path) -> xr.Dataset:
    """A scan, simulated and mapped."""
    truth = hybridfit.simulate_scan(folder / "scan.nc", library, 13.6, scan_shape=(8, 8), electrons=1e6)
    assert_type(truth, xr.Dataset)
    scan = hybridfit.open_scan(folder / "scan.nc")
    found = hybridfit.map_scan(scan, library, semi_angle=13.6, average=2, workers=1)
    plot.plot_map(found, folder / "map.png")
    assert_type(hybridfit.read_map(folder / "map.nc"), xr.Dataset)
    return found


def why(library: hybridfit.Library) -> None:
    """A simulated frame, and what an answer rests on."""
    image, truth = hybridfit.simulate_frame(library, thickness=30.0, semi_angle=13.6, tilt=(1.0, 0.0))
    assert_type(image, NDArray[np.int64])
    assert_type(truth, dict[str, Any])
    fitter = hybridfit.Fitter(library, 13.6)
    sweep = explain.sweep_mask(image, fitter, radii=[4, 8], width=2.2)
    assert_type(sweep, xr.Dataset)
    explain.plot_sweep(sweep, "sweep.png")
