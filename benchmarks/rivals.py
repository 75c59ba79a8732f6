"""Other Bloch-wave codes, multislice and the paper's grid search, in the same run as hybridfit.

All times are of one core, after a first run.  Every answer that was timed is also compared.

- abTEM's and py4DSTEM's Bloch waves for the same beams, thicknesses and directions as ours;
- abTEM's multislice for the same thickness series of one pattern, with and (not in a quick run) without
  frozen phonons;
- the grid search of the paper (`benchmarks.papers_grid`), our full search and our hybrid fit on the
  same frames, whose truth is known.

Run with: python -m benchmarks.rivals [--quick]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.common import Study, timed
from benchmarks.library_jobs import NAME, in_fresh_process

ONE_CORE = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
OURS = 256  # directions that our solve is timed with
DIRECTIONS = {"abTEM": 16, "py4DSTEM": 12}  # that the rivals' are
FRAMES = (  # thickness (nm), tilt (mrad), rotation (degrees), size factor, centre off the middle (px)
    (38.3, (1.2, -0.6), 0.6, 0.707, (0.8, -0.9)),
    (71.6, (-0.3, 2.1), -0.4, 0.692, (-1.3, 0.4)),
    (17.4, (-1.7, -1.3), 0.2, 0.698, (0.3, 1.6)),
)
FASTER = 1e4  # than the paper's grid
PATTERNS = 122  # of the paper's grid, a frame: 1/100 of it in three frames
ELECTRONS, BLUR = 1e7, 0.15  # of a frame; mrad


# ---------------------------------------------------------------- Bloch waves


def bloch_rows(study: Study, quick: bool) -> dict[str, float]:
    """Milliseconds per direction of every solver."""
    import torch

    from benchmarks.bloch_problem import BlochProblem

    torch.set_num_threads(1)
    ours = BlochProblem.of(NAME, OURS // 4 if quick else OURS)
    times = {
        "hybridfit": 1e3 * timed(ours.solved, 1) / len(ours.q),
        "hybridfit, double": 1e3 * timed(lambda: ours.solved(double=True), 1) / len(ours.q),
    }
    what = f"{len(ours.hkl)} beams, {len(ours.thickness)} thicknesses, one direction"
    for name, time in times.items():
        study.add(f"{what}: {name}", time, "ms")
    for name, directions in DIRECTIONS.items():
        result = rival_solver(study, name, directions // 4 if quick else directions)
        if result is None:
            continue
        label = f"{name} {result['version']}"
        times[name] = 1e3 * result["seconds"]
        study.add(f"the same: {label}", times[name], "ms")
        study.add(f"ratio, {name} over hybridfit", times[name] / times["hybridfit"], "×")
        for factors, difference in result["difference"].items():
            study.add(
                f"strongest beams, {name} with {factors}: largest difference", difference, "of incident"
            )
    study.note(
        "Bloch waves: all codes use one core, no symmetry, and fold no beam into the potential. abTEM has no "
        "absorption: it gets our elastic structure factors and is compared without absorption, while our "
        "time includes it. abTEM computes in single precision. py4DSTEM gets our structure factors with "
        "absorption and computes in double precision. The nine strongest beams are compared up to 125 nm and "
        "24 mrad off the axis. Both rivals multiply by obliquity factors, 1 + g_z/K and cos θ, which are the "
        "probable cause of the remaining 1e-3 to 2e-3."
    )
    if "py4DSTEM" in times:
        study.note(
            "py4DSTEM's own Weickenmeier–Kohl factors, with the Debye–Waller factor, are 5 to 10 % smaller "
            "than those of the International Tables at 0.5 1/Å (Sr 1.49, tables 1.65), and agree within 3 % "
            "at 0, 1 and 2 1/Å."
        )
    return times


def rival_solver(study: Study, name: str, directions: int) -> dict[str, Any] | None:
    """Time and answers of a rival's Bloch waves; None, and a note, if the rival is not installed."""
    if name == "abTEM":
        if find_spec("abtem") is None:
            study.note("abTEM is not installed and was skipped: pip install -c constraints.txt '.[bench]'")
            return None
        return in_fresh_process("rival", directions, threads=1)
    from benchmarks.py4dstem_bloch import Unavailable, bloch_waves

    try:
        return bloch_waves(NAME, directions)
    except Unavailable as error:
        study.note(f"py4DSTEM was skipped: no environment could be made for it or run ({error})")
        return None


# ---------------------------------------------------------------- multislice


def multislice_rows(study: Study, library: Any, quick: bool) -> dict[str, float]:
    """Times (s) of one thickness series by multislice and by hybridfit."""
    if find_spec("abtem") is None:
        return {}
    from benchmarks import multislice_series as ms
    from benchmarks.abtem_patterns import FULL

    crystal = ms.specimen(quick)
    (cells, _), (points, _), deepest = crystal.cells, crystal.gpts, max(crystal.thickness_nm)
    times, what = {}, f"{len(crystal.thickness_nm)} thicknesses to {deepest:g} nm"
    cases = [("abTEM multislice, smeared potential", 0), ("abTEM multislice, 1 phonon configuration", 1)]
    for name, configs in cases[1:] if quick else cases:
        series, seconds = ms.multislice(crystal, configs)
        times[name] = seconds
        study.add(f"PACBED, {what}: {name}", seconds, "s")
        for row in ms.agreement(library, series):
            at = f"{name}, {row['thickness_nm']:.1f} nm:"
            study.add(f"{at} misfit of our pattern at the true parameters", row["residual"], "of variance")
            study.add(f"{at} misfit, fitted", row["fitted_residual"], "of variance")
            study.add(f"{at} fitted thickness less the true one", row["thickness_error"], "nm")
    times["the open library"] = ms.composed(library, series)
    times["building a library"], directions = ms.built(series)
    study.add("the same: hybridfit from the open library", times["the open library"], "s")
    study.add(
        f"the same: building a library for it, {directions} directions", times["building a library"], "s"
    )
    for name in ("the open library", "building a library"):
        study.add(f"ratio, multislice with phonons over {name}", seconds / times[name], "×")
    full = seconds * ms.cost(FULL) / ms.cost(crystal)
    count = len(crystal.thickness_nm)
    study.note(
        f"multislice: 36 probe positions, {cells} × {cells} cells with {points}² points, two slices a cell. "
        "Its time is proportional to points × slices: a specimen of abtem_patterns (20 × 20 cells, 80 nm) "
        f"would take {full / 60:.0f} minutes a configuration. Ours is the time of the same {count} patterns "
        "at the same angles. For another tilt, semi-angle or thickness multislice must run again; we only "
        "compose again. Misfits are shares of the variance in the disc, less noise, with intensity factor "
        "and radial background fitted."
    )
    return times


# ---------------------------------------------------------------- the paper's grid


def grid_rows(study: Study, library: Any, quick: bool) -> dict[str, float]:
    """Seconds per frame of the paper's grid, of our full search and of the hybrid fit; answers checked."""
    from benchmarks import papers_grid as grid
    from benchmarks.hybrid import full_tilt_error
    from hybridfit import Fitter
    from hybridfit.network.weights import Network
    from hybridfit.simulate.frame import simulate_frame

    network, order = Network.shipped(NAME), library.rotation_order
    fitters = {
        "full search": Fitter(library, grid.SEMI_ANGLE, method="lsf", workers=1),
        "hybrid fit": Fitter(library, grid.SEMI_ANGLE, method="hybrid", network=network, workers=1),
    }
    fitters["full search"].templates()
    names = ("paper's grid", "paper's grid as a matrix product", *fitters)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    rng, middle = np.random.default_rng(0), (grid.PIXELS - 1) / 2
    for number, (thickness, tilt, rotation, size, off) in enumerate(FRAMES[: 1 if quick else None]):
        image, truth = simulate_frame(
            library,
            thickness=thickness,
            tilt=tilt,
            semi_angle=grid.SEMI_ANGLE,
            shape=(grid.PIXELS,) * 2,
            centre=(middle + off[0], middle + off[1]),
            scale=size * grid.STORED_SCALE,
            rotation=rotation,
            blur=BLUR,
            electrons=ELECTRONS,
            background=0.0,
            seed=number,
        )
        points = grid.subset(truth, 0 if quick else PATTERNS, rng)
        for name, search in zip(names[:2], (grid.search, grid.search_by_product), strict=True):
            found = search(library, image, points)
            seconds[name].append(found.seconds)
            away = found.point.tilt_x - tilt[0], found.point.tilt_y - tilt[1]
            errors[name].append((abs(found.point.thickness - thickness), max(map(abs, away))))
        for name, fitter in fitters.items():
            fitter.fit(image)  # warm
            result = fitter.fit(image)
            seconds[name].append(result.seconds["total"])
            errors[name].append((abs(result.thickness - thickness), full_tilt_error(result, truth, order)))
    times = {name: float(np.mean(values)) for name, values in seconds.items()}
    share = f"{len(points)} of {grid.whole_grid()} patterns tried, {len(errors[names[0]])} frames"
    for name in names:
        study.add(f"one frame, {name}", times[name], "s")
        worst = np.max(errors[name], axis=0)
        study.add(f"{name}: thickness, largest error", worst[0], "nm")
        study.add(f"{name}: tilt component, largest error", worst[1], "mrad")
    for name, bar in zip(names[:3], ({} if quick else {"at_least": FASTER}, {}, {}), strict=True):
        study.add(f"ratio, {name} over the hybrid fit", times[name] / times["hybrid fit"], "×", **bar)
    study.note(
        f"the paper's grid: {grid.FIRST.count} transforms × {grid.whole_grid()} patterns (38 tilts × 120 "
        f"thicknesses × 8 copies by symmetry). Its time is extrapolated from a part ({share}). This part "
        "includes the patterns near the truth; we assume that no other pattern fits better. Every χ² is over "
        "227 × 227 px. The six intensity factors share their sums, and composing the stored patterns is not "
        "counted. Frames have no background, which favours the grid, and it is given rotation, centre and "
        "size within ±1°, ±2 px and 3 %. The other two methods are given nothing but the semi-angle."
    )
    study.note(
        "the matrix product transforms the frame instead of the patterns, and runs the first pass only. The "
        "candidates are the same; this is how one would write the grid search for speed."
    )
    return times


# ---------------------------------------------------------------- all


def draw(study: Study, bloch: dict[str, float], series: dict[str, float], fits: dict[str, float]) -> None:
    """Three panels of bars, rivals and ours, on logarithmic axes."""
    from matplotlib.patches import Patch

    panels = (
        ("Bloch waves: one direction", "ms", bloch),
        ("PACBED: one thickness series", "s", series),
        ("fit of one frame", "s", fits),
    )
    with study.figure(columns=3, size=(4.4, 2.8)) as (figure, axes):
        for axis, (title, unit, times) in zip(axes, panels, strict=True):
            axis.set_title(title)
            if not times:
                axis.text(0.5, 0.5, "skipped", ha="center", transform=axis.transAxes)
                axis.set(xticks=[], yticks=[])
                continue
            names = sorted(times, key=lambda name: -times[name])
            values, colours = [times[name] for name in names], ["C0" if is_ours(n) else "0.65" for n in names]
            bars = axis.barh(range(len(names)), values, color=colours, height=0.6)
            axis.bar_label(bars, [text(value, unit) for value in values], padding=3)
            axis.set_yticks(range(len(names)), [wrapped(name) for name in names])
            span = max(values) / min(values)  # room for the shortest bar, and for the label of the longest
            axis.set(xscale="log", xlim=(min(values) / 2, max(values) * 2 * span**0.3), xlabel=unit)
            axis.invert_yaxis()
            axis.grid(axis="y", visible=False)
        patches = [Patch(color="C0", label="hybridfit"), Patch(color="0.65", label="others")]
        figure.legend(handles=patches, ncols=2, loc="outside lower center")


def is_ours(name: str) -> bool:
    """Whether a bar is hybridfit's."""
    return name.startswith(("hybridfit", "the open library", "building", "full search", "hybrid fit"))


def wrapped(name: str) -> str:
    """A label in two lines where it is long."""
    return name.replace("slice, ", "slice,\n").replace(" as a matrix", "\nas a matrix")


def text(value: float, unit: str) -> str:
    """A time with a suitable unit."""
    if unit == "s" and value >= 5400:
        return f"{value / 3600:.1f} h"
    if unit == "s" and value >= 90:
        return f"{value / 60:.1f} min"
    if unit == "s" and value < 1:
        return f"{1e3 * value:.0f} ms"
    return f"{value:.3g} {unit}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, on one core."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less of everything")
    options = parser.parse_args(arguments)
    if any(os.environ.get(name) != value for name, value in ONE_CORE.items()):
        # the libraries read these when they are loaded
        command = [sys.executable, "-m", "benchmarks.rivals", *(["--quick"] if options.quick else [])]
        return subprocess.run(command, env=os.environ | ONE_CORE, check=False).returncode
    from hybridfit import Library

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    study = Study("rivals")
    library = Library(Library.open(NAME).dataset.load())
    bloch = bloch_rows(study, options.quick)
    series = multislice_rows(study, library, options.quick)
    fits = grid_rows(study, library, options.quick)
    draw(study, bloch, series, fits)
    return 0 if study.finish(bloch_ms=bloch, series_s=series, fits_s=fits) else 1


if __name__ == "__main__":
    raise SystemExit(main())
