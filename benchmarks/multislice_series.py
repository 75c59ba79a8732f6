"""A thickness series of one pattern by abTEM's multislice and by hybridfit, for `benchmarks.rivals`.

abTEM: the specimen of `benchmarks.abtem_patterns`, one frozen-phonon configuration, or none and a
smeared potential, on one core.  hybridfit: the same patterns, on the same angles, from an open
library, and the time to build a library that covers them.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.abtem_patterns import strontium_titanate
from benchmarks.common import timed
from benchmarks.frozen_phonons import Specimen, one_thread, seed_of, simulate
from benchmarks.multislice import LIBRARY, on_camera
from hybridfit import Fitter, Library, Recipe
from hybridfit.fitting.candidates import Candidate
from hybridfit.library.recipe import ThicknessRange
from hybridfit.pattern.camera import Camera

SEMI_ANGLE, TILT = 13.6, (1.2, -0.7)  # mrad
CAMERA, SHAPE, ELECTRONS = Camera(63.2, 64.1, 2.9, 0.0), (128, 128), 1e9


def specimen(quick: bool) -> Specimen:
    """12 × 12 cells to 20 nm; quick: 6 × 6 to 8 nm."""
    if quick:
        return replace(strontium_titanate(6, 10.0), thickness_nm=(4.0, 8.0))
    return strontium_titanate(12, 20.0)


def cost(crystal: Specimen) -> float:
    """Points × slices; the time of multislice is about proportional to it."""
    return float(np.prod(crystal.gpts)) * max(crystal.thickness_nm)


def multislice(crystal: Specimen, configs: int) -> tuple[xr.Dataset, float]:
    """The series, and its time (s) in a second run."""
    one_thread()
    seed = seed_of(SEMI_ANGLE, *TILT)
    simulate(replace(crystal, thickness_nm=(0.4, 0.8)), SEMI_ANGLE, TILT, configs, seed)
    start = time.perf_counter()
    series = simulate(crystal, SEMI_ANGLE, TILT, configs, seed)
    return series, time.perf_counter() - start


def composed(library: Library, series: xr.Dataset) -> float:
    """Seconds for the same patterns, on the same angles, from an open library."""
    tilt_x, tilt_y = TILT
    k = series.kx_mrad.values

    def compose() -> None:
        options: dict[str, Any] = {"tilt_x": tilt_x, "tilt_y": tilt_y, "semi_angle": SEMI_ANGLE, "k": k}
        library.patterns(thickness=series.thickness_nm.values, **options)

    return timed(compose, 3)


def built(series: xr.Dataset) -> tuple[float, int]:
    """Seconds to build a library of these thicknesses, this semi-angle and tilts as large; directions."""
    thickness = ThicknessRange(start=1.0, stop=float(np.ceil(series.thickness_nm.max())), step=1.0)
    limits = {
        "semi_angle_max": SEMI_ANGLE,
        "tilt_max": float(np.ceil(np.hypot(*TILT))),
        "thickness": thickness,
    }
    recipe = Recipe.shipped(LIBRARY).model_copy(update=limits)
    start = time.perf_counter()
    library = Library.build(recipe, device="cpu")
    return time.perf_counter() - start, library.dataset.sizes["direction"]


def agreement(library: Library, series: xr.Dataset) -> list[dict[str, float]]:
    """Residual fraction of every pattern at the true parameters, and thickness and tilt as fitted."""
    rows = []
    for i, thickness in enumerate(series.thickness_nm.values):
        rng = np.random.default_rng(i)
        image = on_camera(series.intensity.isel(thickness_nm=i), CAMERA, SHAPE, ELECTRONS, rng)
        truth = {"thickness": float(thickness), "tilt_x": TILT[0], "tilt_y": TILT[1]}
        place = {"centre_x": CAMERA.centre_x, "centre_y": CAMERA.centre_y, "scale": CAMERA.scale}
        seed = Candidate(**truth, **place, rotation=CAMERA.rotation)
        held = Fitter(library, SEMI_ANGLE, fix={**truth, **place, "rotation": 0.0}, seeded=True)
        fitted = Fitter(library, SEMI_ANGLE, seeded=True).refine(image, seed)
        rows.append(
            {
                "thickness_nm": float(thickness),
                "residual": held.refine(image, seed).misfit_fraction,
                "fitted_residual": fitted.misfit_fraction,
                "thickness_error": fitted.thickness - float(thickness),
                "tilt_error": float(np.hypot(*np.subtract(fitted.tilt, TILT))),
            }
        )
    return rows
