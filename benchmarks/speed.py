"""Speed: one evaluation, one position, maps, simulated scans and single frames, beside slower ways.

machine       how quick a processor is, and how much two of them are
evaluations   the model with all its derivatives at one position, composed and combined from node images
positions     positions of a scan, by the network, a search and the forward model, and by a match of the whole
              library and node images: the same answers? how long?
scan          64 × 64 positions, from the start of a process to the maps
simulate      64 × 64 simulated positions, from the command to the file (`speed_simulate`)
single        frames by themselves: right ones, of another crystal, of nothing (`speed_single`)
misfit        positions of an uneven camera
rivals        one direction by other Bloch-wave codes (`rivals`), beside a pattern from node images
gpu           many positions at a time in torch (`speed_gpu`)

All times are of one core but for the scan's; what is compared is timed in turn, in one process.

Run with: python -m benchmarks.speed [--parts NAMES] [--positions N] [--quick]
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from threadpoolctl import ThreadpoolController

from benchmarks.common import Study, cores, new_parser, timed
from benchmarks.errors import NAMES, column, rms
from benchmarks.rivals import bloch_rows
from benchmarks.scan_runs import NAME, SEMI_ANGLE, Run, errors, fresh, scan_file
from benchmarks.speed_gpu import gpu
from benchmarks.speed_simulate import simulated
from benchmarks.speed_single import part as single
from hybridfit import Fitter, Library
from hybridfit.fitting.refine.refiner import Shared
from hybridfit.fitting.result import FitResult
from hybridfit.flags import map_status
from hybridfit.frame import Frame
from hybridfit.io import open_scan
from hybridfit.known_camera import ROWS, KnownCameraModel
from hybridfit.known_images import KnownCamera
from hybridfit.model import ForwardModel
from hybridfit.pattern.camera import Camera
from hybridfit.scan.maps import read_map
from hybridfit.scan.positions import Positions

POSITIONS, QUICK_POSITIONS = 512, 16
HELD = ("scale", "rotation", "ellipticity_a", "ellipticity_b")
CAMERA = Camera(64.31, 62.77, 2.96, 17.0, 0.004, -0.003)
VALUES = {"thickness": 22.3, "tilt_x": 1.0, "tilt_y": -0.5, "semi_angle": SEMI_ANGLE, "blur": 0.3}
PLACE = {**VALUES, **CAMERA._asdict()}
SAME = 0.1  # of a stated error
LOOP = """
import time
start, total = time.perf_counter(), 0
for i in range(10_000_000):
    total += i
print(time.perf_counter() - start)
"""


def library() -> Library:
    """The shipped library, in memory."""
    return Library(Library.open(NAME).dataset.load())


def models() -> tuple[ForwardModel, KnownCameraModel]:
    """Two models of the same pixels: patterns composed, and patterns from node images."""
    known = KnownCamera(library(), CAMERA, semi_angle=SEMI_ANGLE, fine_pixel=0.375)
    left, top = known.reference.place(CAMERA.centre_x, CAMERA.centre_y)
    combined = KnownCameraModel(known, known.mask, left, top)
    composed = ForwardModel(
        known.library,
        known.mask,
        CAMERA,
        semi_angle=SEMI_ANGLE,
        origin=combined.origin,
        fine_pixel=0.375,
    )
    return composed, combined


def evaluate(model: Any) -> None:
    """One evaluation with all derivatives, as if the model had not been asked before."""
    model._last = None
    model.evaluate(PLACE, ROWS[1:])


def evaluations(study: Study, count: int) -> None:
    """A model with all derivatives, and those of what is taken for granted."""
    both = models()
    study.note(f"evaluations: {both[1].n_pixels} pixels, {both[1].known.raster.col.size} points")
    seconds = [timed(lambda model=model: evaluate(model), 20) for model in both]
    study.add("one evaluation with all derivatives, composed", 1e3 * seconds[0], "ms")
    study.add("one evaluation with all derivatives, node images", 1e3 * seconds[1], "ms", at_most=1.5)
    study.add("one evaluation: faster by", seconds[0] / seconds[1], "×")
    seconds = [timed(lambda model=model: model.assumption_slopes(PLACE), 10) for model in both]
    study.add("slopes of what is taken for granted, composed", 1e3 * seconds[0], "ms")
    study.add("slopes of what is taken for granted, node images", 1e3 * seconds[1], "ms")


def common(fitter: Fitter, frames: Sequence[Frame]) -> tuple[dict[str, float], float]:
    """The camera of a scan and its blur, as a first pass finds them."""
    found = [fitter.fit(frame) for frame in frames]
    medians = {name: float(np.median([r[name].value for r in found])) for name in (*HELD, "blur")}
    blur = medians.pop("blur")
    return medians, blur


def positions(study: Study, count: int) -> None:
    """Answers and times of both ways, at positions spread over a scan."""
    scan = scan_file((64, 64))
    truth = xr.load_dataset(scan.with_name(f"{scan.stem}.truth.nc"))
    # pieces of rows, as a worker gets them
    rows, width = max(1, count // 64), min(count, 64)
    at = [(int(y), x) for y in np.linspace(3, 60, rows) for x in range(width)]
    count = len(at)
    frames = Positions(open_scan(scan)).frames(at)
    here = library()
    free = Fitter(here, SEMI_ANGLE, workers=1)
    seeder = free.seeder
    assert seeder is not None
    fix, blur = common(free, frames[:: max(1, count // 9)])
    before, now = (
        Fitter(here, SEMI_ANGLE, workers=1, seeded=True, fix=fix, shared=shared)
        for shared in (None, Shared(blur))
    )

    def by_network(part: slice) -> list[FitResult]:
        seeds = seeder.seed_many(frames[part])
        return [before.fit_seeded(f, s) for f, s in zip(frames[part], seeds, strict=True)]

    def by_match(part: slice) -> list[FitResult]:
        found = now.known.match(frames[part], [(s["centre_x"], s["centre_y"]) for s in places[part]])
        return [now.fit_matched(f, each) for f, each in zip(frames[part], found, strict=True)]

    # where a first pass would expect the disc: on a plane
    places = _plane(truth, at)
    by_network(slice(0, 2)), by_match(slice(0, 2))
    old, new, seconds = [], [], [0.0, 0.0]
    for first in range(0, count, 16):  # in turn, so that a slow minute slows both
        part = slice(first, min(first + 16, count))
        for i, (way, out) in enumerate(((by_network, old), (by_match, new))):
            start = time.perf_counter()
            out += way(part)
            seconds[i] += time.perf_counter() - start
    study.add("one position, network, search and forward model", 1e3 * seconds[0] / count, "ms")
    study.add("one position, match and node images", 1e3 * seconds[1] / count, "ms")
    study.add("one position: faster by", seconds[0] / seconds[1], "×")
    other = sum(a.status is not b.status for a, b in zip(old, new, strict=True))
    study.add(f"{count} positions: another status", other, "", at_most=0)
    for name in NAMES:
        pairs = [(a, b) for a, b in zip(old, new, strict=True) if a.ok and b.ok]
        away = np.array([(b[name].value - a[name].value) / a[name].stderr for a, b in pairs])
        study.add(f"difference of {name} over its stated error, rms", rms(away), "")
        study.add(f"difference of {name} over its stated error, worst", np.abs(away).max(), "", at_most=SAME)
        for words, found in (("network and forward model", old), ("match and node images", new)):
            true = [float(truth[name].values[p]) for p in at]
            error = np.array([r[name].value - t for r, t in zip(found, true, strict=True)])
            unit = "nm" if name == "thickness" else "mrad"
            study.add(f"error of {name}, {words}, rms", rms(error), unit)
            said = column([{"e": r.budget[name]["counting"]} for r in found if r.budget.get(name)], "e")
            study.add(
                f"error of {name}, {words}, rms over the counting error",
                rms(error) / float(np.median(said)),
                "",
            )


def misfit(study: Study, count: int) -> None:
    """Positions whose frames a camera has made uneven by 4 %: more than noise is left of all of them."""
    scan = scan_file((64, 64))
    truth = xr.load_dataset(scan.with_name(f"{scan.stem}.truth.nc"))
    at = [(30, x) for x in range(min(count, 64))]
    y, x = np.indices((128, 128))
    gain = 1 + 0.04 * np.sin(x / 7) * np.cos(y / 9) + 0.03 * np.sin((x + y) / 15)
    frames = [replace(frame, image=frame.image * gain) for frame in Positions(open_scan(scan)).frames(at)]
    here, places = library(), _plane(truth, at)
    fix, blur = common(Fitter(here, SEMI_ANGLE, workers=1), frames[:: max(1, len(at) // 9)])
    ways = [
        Fitter(here, SEMI_ANGLE, workers=1, seeded=True, fix=fix, shared=Shared(blur, many))
        for many in (False, True)
    ]
    seconds: list[float] = []
    results: list[list[FitResult]] = []
    for fitter in ways:
        found = fitter.known.match(frames, [(s["centre_x"], s["centre_y"]) for s in places])
        fitter.fit_matched(frames[0], found[0])
        start = time.perf_counter()
        results.append([fitter.fit_matched(f, each) for f, each in zip(frames, found, strict=True)])
        seconds.append(time.perf_counter() - start)
    for words, each in zip(("composed", "from node images"), seconds, strict=True):
        study.add(f"one position of an uneven camera, second thicknesses {words}", 1e3 * each / len(at), "ms")
    other = sum(a.status is not b.status for a, b in zip(*results, strict=True))
    study.add(f"{len(at)} positions of an uneven camera: another status", other, "", at_most=0)


def _plane(truth: xr.Dataset, at: Sequence[tuple[int, int]]) -> list[dict[str, float]]:
    """Centres (px) of the direct disc on the plane that they move on."""
    out: list[dict[str, float]] = [{} for _ in at]
    y, x = np.indices(truth["centre_x"].shape)
    basis = np.stack([np.ones(x.size), x.ravel(), y.ravel()], axis=1)
    for name in ("centre_x", "centre_y"):
        plane = basis @ np.linalg.lstsq(basis, truth[name].values.ravel(), rcond=None)[0]
        for place, p in zip(out, at, strict=True):
            place[name] = float(plane.reshape(x.shape)[p])
    return out


def whole_scan(study: Study, count: int) -> None:
    """A map of 64 × 64 positions in a process of its own."""
    scan = scan_file((64, 64))
    with fresh("speed") as path:
        run = Run(scan, Path(path), workers=cores())
        seconds = run.finish()
        found = read_map(path)
    study.add("64 × 64 positions, from the command to the maps", seconds, "s", at_most=45)
    for stage in ("first pass", "positions"):
        study.add(f"64 × 64 positions: {stage}", run.stage(stage), "s")
    study.add("64 × 64 positions: memory of all processes", run.memory_gb, "GB", at_most=3)
    thickness, tilt = errors(found, scan)
    pulls = thickness / found["thickness_stderr"].values
    study.add("64 × 64 positions: converged", 100 * map_status(found).get("converged", 0) / 4096, "%")
    study.add("64 × 64 positions: error of thickness, rms", rms(thickness.ravel()), "nm")
    study.add("64 × 64 positions: error of thickness over the stated one, rms", rms(pulls.ravel()), "")
    study.add("64 × 64 positions: error of tilt, worst", float(tilt.max()), "mrad")


def rivals(study: Study, count: int) -> None:
    """Other codes solve one direction; node images give a pattern, of all directions, with its slopes."""
    times = bloch_rows(study, study.quick)
    _, model = models()
    ours = 1e3 * timed(lambda: evaluate(model), 20)
    study.add("a pattern with all derivatives from node images, in the same run", ours, "ms")
    for name, milliseconds in times.items():
        if not name.startswith("hybridfit"):
            study.add(f"{name}, one direction, over that pattern", milliseconds / ours, "×")


def machine(study: Study, count: int) -> None:
    """How quick a processor is, and how much two of them are."""
    words = [sys.executable, "-c", LOOP]
    alone = float(subprocess.run(words, check=True, capture_output=True).stdout)
    both = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(2)]
    together = max(float(each.communicate()[0]) for each in both)
    study.add("this machine: ten million additions in Python", alone, "s")
    study.add("this machine: two processes do as much as", 2 * alone / together, "processors")


PARTS = {
    "machine": machine,
    "evaluations": evaluations,
    "positions": positions,
    "misfit": misfit,
    "scan": whole_scan,
    "simulate": simulated,
    "single": single,
    "rivals": rivals,
    "gpu": gpu,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts."""
    parser = new_parser(__doc__)
    parser.add_argument("--parts", help=f"of {', '.join(PARTS)}; all, quick: the first three")
    parser.add_argument("--positions", type=int, help=f"{POSITIONS}, quick: {QUICK_POSITIONS}")
    options = parser.parse_args(arguments)
    chosen = options.parts.split(",") if options.parts else [*PARTS][: 3 if options.quick else None]
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    study = Study("speed", quick=options.quick)
    count = options.positions or (QUICK_POSITIONS if options.quick else POSITIONS)
    with ThreadpoolController().limit(limits=1, user_api="blas"):  # one core
        for part in chosen:
            PARTS[part](study, count)
    draw(study)
    return 0 if study.finish() else 1


def draw(study: Study) -> None:
    """Times side by side."""
    shown = [row for row in study.rows if row.unit == "ms"]
    with study.figure(size=(6.4, 3.0)) as (_, axes):
        axes[0].barh([row.what for row in shown], [row.measured for row in shown])
        axes[0].set(xlabel="ms, one core")
        axes[0].invert_yaxis()


if __name__ == "__main__":
    sys.exit(main())
