"""The measurements of `benchmarks.library_build`, each of which runs in a fresh process.

Every job imports what it needs inside its function, because the time of the imports is measured, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.common import cores, peak_memory_gb, resident_memory_gb, timed

NAME, FAR = "SrTiO3_001_200kV", "SrTiO3_001_200kV_far"
FAR_FRAME: dict[str, Any] = {
    "thickness": 41.7,
    "tilt": (11.0, 4.8),
    "semi_angle": 20.0,
    "shape": (192, 192),
    "scale": 1.4,
    "electrons": 1e7,
    "seed": 0,
}
SEMI_ANGLES = (13.6, 19.1)  # mrad
THICKNESS, TILT = 50.3, (1.2, -0.7)  # nm, mrad: of the pattern that is composed
PIXELS = 128
# finite differences, where 1e-3 of the unit is not a good step
DIFFERENCE = {"thickness": 1e-2, "scale": 1e-4, "ellipticity_a": 1e-4, "ellipticity_b": 1e-4}


def in_fresh_process(job: str, *arguments: str | float, threads: int | None = None) -> dict[str, Any]:
    """Run one of JOBS in a fresh interpreter and return what it measured."""
    n = str(threads or cores())
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), n)
    command = [sys.executable, "-m", "benchmarks.library_jobs", job, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | limits, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def build(path: str, name: str = NAME, semi_angle_max: str = "") -> dict[str, Any]:
    """Build a shipped recipe into a file, limited to a semi-angle; check three directions."""
    start = time.perf_counter()
    from pathlib import Path

    from hybridfit.library.build import solve_into
    from hybridfit.library.library import Library
    from hybridfit.library.plan import estimate
    from hybridfit.library.recipe import Recipe

    recipe = Recipe.shipped(name)
    if semi_angle_max:
        recipe = recipe.model_copy(update={"semi_angle_max": float(semi_angle_max)})
    import torch  # noqa: F401  # no part of what a library takes

    expected, before = estimate(recipe).memory / 1e9, resident_memory_gb()
    solve_into(Path(path), recipe, device="cpu")
    built, peak = time.perf_counter() - start, peak_memory_gb()
    from benchmarks.exact import exact_everywhere
    from hybridfit.physics.scattering import wavelength

    library = Library.open(path)
    data, to_mrad = library.dataset, 1e3 * wavelength(recipe.energy_kv)
    chosen = np.sort(np.random.default_rng(0).choice(data.sizes["direction"], size=3, replace=False))
    q = np.stack([data.qx, data.qy], 1)[chosen] / to_mrad
    exact = exact_everywhere(recipe, q, data.beam_n.values.astype(int), 1.0, data.sizes["thickness"])
    error = float(np.abs(data.intensity[:, :, chosen].values - exact).max())
    unfolded = int((library.table().direction_at >= 0).sum())  # directions without use of the symmetry
    out = {"build": built, "peak": peak, "expected": before + expected, "error": error}
    return {**out, "directions": data.sizes["direction"], "unfolded": unfolded}


def fit_far(path: str) -> dict[str, Any]:
    """A frame of 12 mrad tilt at 20 mrad, fitted with a library for it, in a process that does only this."""
    import hybridfit

    library = hybridfit.Library.open(path)
    frame, truth = hybridfit.simulate_frame(library, **FAR_FRAME)
    made = peak_memory_gb()
    start = time.perf_counter()
    fit = hybridfit.fit(frame, hybridfit.Library.open(path), semi_angle=FAR_FRAME["semi_angle"])
    seconds = time.perf_counter() - start
    off = abs(fit.thickness - truth["thickness"]), abs(fit.parameters["tilt_x"].value - truth["tilt_x"])
    return {"peak": peak_memory_gb(), "made": made, "seconds": seconds, "off": off, "status": fit.status.name}


def open_library(path: str) -> dict[str, Any]:
    """Open a built library, then a window of it."""
    start = time.perf_counter()
    from hybridfit.library.library import Library

    imported = time.perf_counter()
    library = Library.open(path)
    opened, resident = time.perf_counter(), resident_memory_gb()
    first = time.perf_counter()
    library.window(THICKNESS, TILT, semi_angle=SEMI_ANGLES[0]).table(semi_angle=SEMI_ANGLES[0])
    first = time.perf_counter() - first
    again = timed(lambda: library.window(THICKNESS, TILT, semi_angle=SEMI_ANGLES[0]).table())
    library.table()
    return {
        "import": imported - start,
        "open": opened - imported,
        "resident": resident,
        "window, first": first,
        "window, again": again,
        "resident, all in memory": resident_memory_gb(),
    }


def compose_pattern(semi_angle: str, path: str) -> dict[str, Any]:
    """One 128 × 128 pattern: the kernels alone, and the forward model; answers checked."""
    from hybridfit.library.library import Library
    from hybridfit.model import PARAMETERS, ForwardModel
    from hybridfit.pattern.camera import Camera
    from hybridfit.pattern.compose import pattern_at, pattern_partials
    from hybridfit.pattern.expand import workspace

    alpha = float(semi_angle)
    library = Library.open(path).window(THICKNESS, TILT, semi_angle=alpha * 1.06)
    extent = alpha + 7.5
    kx, ky = np.meshgrid(*2 * [np.linspace(-extent, extent, PIXELS)])
    table = library.table(k_max=float(np.hypot(kx, ky).max()), semi_angle=alpha)
    rooms = [workspace(table, alpha + library.step / 2, lanes) for lanes in (1, 2)]
    at = {"thickness": THICKNESS, "tilt": TILT, "semi_angle": alpha, "half_edge": library.step / 2}
    camera = Camera((PIXELS - 1) / 2, (PIXELS - 1) / 2, (PIXELS - 2) / 2 / extent, 12.0)
    row, col = np.indices((PIXELS, PIXELS))
    mask = np.hypot(row - camera.centre_y, col - camera.centre_x) <= extent * camera.scale
    model = ForwardModel(library, mask, camera, semi_angle=alpha)
    values = dict(zip(PARAMETERS, (THICKNESS, *TILT, *camera, alpha, 0.2), strict=True))
    out = {
        "kernel": timed(lambda: pattern_at(kx, ky, table, room=rooms[0], **at), 30),
        "kernel, derivatives": timed(lambda: pattern_partials(kx, ky, table, room=rooms[1], **at), 30),
        "model": timed(lambda: model.evaluate(values), 30),
        "model, derivatives": timed(lambda: model.evaluate(values, PARAMETERS), 30),
    }
    # the answers: points of the pattern solved directly, and finite differences of the image
    from benchmarks.exact import Sample, problem
    from hybridfit.library.recipe import Recipe
    from hybridfit.physics import bloch

    recipe = Recipe.shipped(NAME)
    matrix, to_mrad = problem(recipe, recipe.g_max)
    at_random = np.random.default_rng(0).integers(kx.size, size=40)
    k = np.stack([kx.ravel(), ky.ravel()], 1)[at_random]
    sample = Sample.of(k, np.tile(TILT, (len(k), 1)), matrix.g * to_mrad, alpha, library.step / 2)
    exact = sample.solved(bloch.beam_intensities(matrix, sample.q / to_mrad, [THICKNESS], device="cpu"))[0]
    value = pattern_at(kx, ky, table, **at)
    out["value"] = float(np.abs(value.ravel()[at_random] - exact).max() / value.max())
    out["slopes"] = 0.0
    for name, slope in zip(PARAMETERS, model.evaluate(values, PARAMETERS).slopes[:, 0], strict=True):
        h = DIFFERENCE.get(name, 1e-3)
        high, low = (model.evaluate({**values, name: values[name] + d}).columns[0] for d in (h, -h))
        error = (high - low) / (2 * h) - slope
        out["slopes"] = max(out["slopes"], float(np.sqrt((error**2).mean() / (slope**2).mean())))
    return out


def rival(directions: str = "") -> dict[str, Any]:
    """abTEM's Bloch waves; imported here because it is an optional dependency."""
    from benchmarks.abtem_bloch import DIRECTIONS, bloch_waves

    return bloch_waves(NAME, int(directions or DIRECTIONS))


JOBS = {"build": build, "fit_far": fit_far, "open": open_library, "compose": compose_pattern, "rival": rival}


if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](*sys.argv[2:])))
