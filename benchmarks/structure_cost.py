"""Time and memory of a library of a 20-atom cell with five values of a parameter, and time of a fit with it.

Run with: python -m benchmarks.structure_cost [--frames N] [--quick]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.common import Study, new_parser, resident_memory_gb
from benchmarks.structural_frames import DATA, QUICK, Row, frame_of, near
from benchmarks.structure import OCTAHEDRA
from hybridfit import Fitter, Library, make_frame
from hybridfit.library.recipe import Recipe

FRAMES, QUICK_FRAMES = 40, 3


def cost(study: Study, frames: int, quick: bool) -> Row:
    """A cell of 20 atoms with five values: time, disk, memory; then the time of a fit."""
    recipe = Recipe.shipped(OCTAHEDRA)
    ((parameter, known),) = recipe.parameters.items()
    five = known.model_copy(update={"values": (0.0, 2.0, 4.0, 6.0, 8.0)})
    recipe = recipe.model_copy(update={"parameters": {parameter: five}} | (QUICK if quick else {}))
    path = DATA / "structure-cost.nc"
    start, cpu = time.perf_counter(), time.process_time()
    built = Library.build(recipe)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    built.save(path)
    study.add("20-atom cell, five values: time to build", seconds / 60, "min", at_most=5)
    study.add("20-atom cell, five values: processor time to build", cpu / 60, "min")
    study.add("20-atom cell, five values: on disk", path.stat().st_size / 1e9, "GB", at_most=2)
    del built
    library = Library.open(path)
    before = resident_memory_gb()
    window = library.window(40.0, (1.0, 0.5), semi_angle=12.0)
    size = window.dataset.nbytes / 1e6
    study.add("20-atom cell: a window of ±3 nm and ±1 mrad, in memory", size, "MB", at_most=300)
    study.add("20-atom cell: memory of the process rose by", 1e3 * (resident_memory_gb() - before), "MB")
    study.note(f"library of the cost: {dict(library.dataset.sizes)}")
    fitter = Fitter(library, 12.0, seeded=True)
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {"search": [], "refine": [], "total": []}
    right = []
    for i in range(frames + 1):
        value = (2.0, 4.0, 6.0)[i % 3]
        image, truth = frame_of(library.at(**{parameter: value}), 12.0, 1e6, rng)
        result = fitter.fit_near(make_frame(image), [near(truth, rng)])
        if i == 0:  # compiles
            continue
        for stage, each in times.items():
            each.append(result.seconds[stage])
        right.append(abs(result.thickness - truth["thickness"]) < 0.5)
    study.add(
        "fit from a seed, one structural parameter, warm, median",
        1e3 * np.median(times["total"]),
        "ms",
        at_most=300,
    )
    for stage in ("search", "refine"):
        study.add(f"fit from a seed: {stage}, median", 1e3 * np.median(times[stage]), "ms")
    study.add("fit from a seed: thickness within 0.5 nm", 100 * np.mean(right), "%", at_least=95)
    study.note("the fit from a seed is a hybrid fit without the network, which would take 10 ms more")
    return {"seconds": seconds, "times": times}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help=f"that are fitted; {FRAMES}, quick: {QUICK_FRAMES}")
    options = parser.parse_args(arguments)
    DATA.mkdir(parents=True, exist_ok=True)
    study = Study("structure_cost", quick=options.quick)
    found = cost(study, options.frames or (QUICK_FRAMES if options.quick else FRAMES), options.quick)
    if options.quick:
        study.note(f"a library of beams to {QUICK['g_max']:g} 1/Å, sampled at {QUICK['sampling']:g} mrad")
    with study.figure() as (_, axes):
        for stage, times in found["times"].items():
            axes[0].plot(np.sort(1e3 * np.array(times)), np.linspace(0, 1, len(times)), label=stage)
        axes[0].axvline(300, color="k", ls="--", lw=0.8)
        axes[0].set(xlabel="time (ms)", ylabel="share of fits that took less")
        axes[0].legend()
    return 0 if study.finish(**found) else 1


if __name__ == "__main__":
    sys.exit(main())
