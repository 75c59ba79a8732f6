"""Single frames, of every kind: how long from a frame to its answer, and the same answers as before?

right      frames of the library's crystal, seeded by its network; and the same by the full search
other      frames of other crystals, fitted as SrTiO3: they are poor matches
nothing    discs, blobs and flat noise: they never converge
tilted     tilts beyond those that the network was trained for
without    libraries without a network: the disc by another crystal's, and a match

With `full` a full search is set up, too, at a semi-angle that has none in the cache, by the clock.

Times are of the processor, in a warm process of one thread; the first frame of a kind is not counted.  With
--before a checkout of other code is timed on the same frames, in turn, kind by kind, and answers and statuses
are compared.

Run with: python -m benchmarks.speed_single [--before FOLDER] [--kinds …] [--quick]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy import special

from benchmarks.common import Study, new_parser
from hybridfit import Fitter, Library, make_frame, simulate_frame
from hybridfit.errors import HybridfitError
from hybridfit.fitting.search import full
from hybridfit.fitting.search.templates import make_templates

NAME, SIDE, SEED = "SrTiO3_001_200kV", 128, 20_262
OTHERS = {"Si_110_200kV": 13.0, "SrTiO3_011_200kV": 13.6, "TiO2_001_80kV": 13.6}  # mrad
SEMI_ANGLES = {NAME: 13.6, **OTHERS}
TILTS = {"right": (0.0, 4.5), "full": (0.0, 4.5), "tilted": (8.3, 8.7)}  # mrad
FRAMES = {"right": 20, "full": 5, "tilted": 5, "other": 10, "nothing": 9, "without": 12}
BARS = {"right": 70, "full": 1000, "tilted": 1000, "other": 2000, "nothing": 2000, "without": 200}  # ms
WORDS = {
    "right": "hybrid fit",
    "full": "full search",
    "tilted": "tilted by 8.5 mrad",
    "other": "another crystal",
    "nothing": "no crystal",
    "without": "without a network",
}
READ = ("thickness", "tilt_x", "tilt_y")
SAME = 0.1  # of a stated error
NEW_SEMI_ANGLE = 12.9  # mrad


@cache
def library(name: str) -> Library:
    """A library, in memory."""
    return Library(Library.open(name).dataset.load())


@cache
def fitter(name: str, method: str) -> Fitter:
    """Of one thread."""
    return Fitter(library(name), SEMI_ANGLES[name], workers=1, method=method)


def crystal(kind: str, i: int) -> np.ndarray:
    """Frame i of a kind that shows a crystal."""
    rng = np.random.default_rng([SEED, [*FRAMES].index(kind), i])
    name = [*OTHERS][i % len(OTHERS)] if kind in ("other", "without") else NAME
    low, high = TILTS.get(kind, (0.0, 4.0))
    size, azimuth = np.sqrt(rng.uniform(low**2, high**2)), rng.uniform(0, 2 * np.pi)
    image, _ = simulate_frame(
        library(name),
        thickness=float(rng.uniform(5, 60)),
        tilt=(float(size * np.cos(azimuth)), float(size * np.sin(azimuth))),
        semi_angle=SEMI_ANGLES[name],
        shape=(SIDE, SIDE),
        centre=tuple(((SIDE - 1) / 2 + rng.uniform(-6, 6, 2)).tolist()),
        scale=float(rng.uniform(0.55, 0.8) * SIDE / 2 / SEMI_ANGLES[name]),
        rotation=float(rng.uniform(-180, 180)),
        blur=float(rng.uniform(0.15, 0.5)),
        electrons=1e6,
        background=float(rng.uniform(0, 0.3)),
        seed=int(rng.integers(2**31)),
    )
    return image


def smooth(i: int) -> np.ndarray:
    """A disc, a blob, or noise alone."""
    rng = np.random.default_rng([SEED, i])
    row, col = np.indices((SIDE, SIDE))
    x, y = (SIDE - 1) / 2 + rng.uniform(-6, 6, 2)
    r, radius = np.hypot(col - x, row - y), rng.uniform(0.5, 0.8) * SIDE / 2
    edge, width = rng.uniform(0.1, 0.6) * radius / SEMI_ANGLES[NAME], rng.uniform(0.3, 0.9) * radius
    shapes = (
        0.5 * special.erfc((r - radius) / (np.sqrt(2) * edge)),
        np.exp(-(r**2) / (2 * width**2)),
        np.ones_like(r),
    )
    image = shapes[i % 3] / shapes[i % 3].sum()
    return rng.poisson(10 ** rng.uniform(4.7, 7) * (0.9 * image + 0.1 / image.size))


def measured(kind: str, count: int) -> list[dict[str, Any]]:
    """Time, status and answer of the frames of a kind."""
    rows = []
    for i in range(-1, count):
        name = [*OTHERS][i % len(OTHERS)] if kind == "without" else NAME
        own = fitter(name, "lsf" if kind == "full" else "hybrid")
        own.templates()
        frame = make_frame(smooth(i % count) if kind == "nothing" else crystal(kind, i % count))
        row: dict[str, Any] = {"kind": kind, "status": "refused"}
        start = time.process_time()
        try:
            result = own.fit(frame)
            row["status"] = result.status.name
            row |= {each: (result[each].value, result[each].stderr) for each in READ}
        except HybridfitError as error:
            row["message"] = str(error)
        row["ms"] = 1e3 * (time.process_time() - start)
        if i >= 0:
            rows.append(row)
    return rows


def elsewhere(folder: Path, kind: str, count: int) -> list[dict[str, Any]]:
    """The same with the code of another checkout, in a process of its own."""
    with tempfile.TemporaryDirectory() as path:
        out = Path(path) / "rows.json"
        command = [sys.executable, str(Path(__file__).resolve()), "--rows", str(out), kind, str(count)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        environment = {**os.environ, **threads, "PYTHONPATH": str(folder.resolve())}
        subprocess.run(command, check=True, env=environment, cwd=folder)
        return json.loads(out.read_text())


def moved(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> float:
    """The largest change of an answer that converged, in stated errors."""
    pairs = [(a, b) for a, b in zip(before, now, strict=True) if a["status"] == b["status"] == "converged"]
    return max((abs(a[n][0] - b[n][0]) / a[n][1] for a, b in pairs for n in READ if a[n][1]), default=0.0)


def single(study: Study, kinds: Sequence[str], before: Path | None) -> list[dict[str, Any]]:
    """Rows of every kind."""
    here, out = Path(__file__).resolve().parent.parent, []
    for kind in kinds:
        count, words = (3 if study.quick else FRAMES[kind]), WORDS[kind]
        now = elsewhere(here, kind, count)
        out += now
        times = [row["ms"] for row in now]
        study.add(f"{words}, {count} frames: median", float(np.median(times)), "ms", at_most=BARS[kind])
        study.add(f"{words}: longest", max(times), "ms")
        converged = sum(row["status"] == "converged" for row in now)
        if kind == "nothing":
            study.add(f"{words}: converged", converged, "frames", at_most=0)
        else:
            study.add(f"{words}: converged", converged, "frames")
        if kind == "full":
            set_up(study)
        if before is None:
            continue
        old = elsewhere(before, kind, count)
        ratio = float(np.median([row["ms"] for row in old])) / float(np.median(times))
        study.add(f"{words}: faster than before by", ratio, "×")
        other = sum(a["status"] != b["status"] for a, b in zip(old, now, strict=True))
        study.add(f"{words}: another status", other, "frames")
        study.add(f"{words}: answers moved by, of a stated error", moved(old, now), "", at_most=SAME)
    return out


def set_up(study: Study) -> None:
    """The templates of a semi-angle that nobody has asked for; then a frame is searched with them."""
    own = Fitter(library(NAME), NEW_SEMI_ANGLE, method="lsf")
    make_templates(library(NAME), NEW_SEMI_ANGLE, np.array([20.0]), np.zeros((1, 2)))  # kernels are there
    with patch.object(full, "load_quietly", lambda *_: None), patch.object(full, "save_quietly"):
        start, spent = time.monotonic(), time.process_time()
        own.templates()
        study.add("a new semi-angle's set-up", time.monotonic() - start, "s", at_most=2)
        study.add("a new semi-angle's set-up, of all processors", time.process_time() - spent, "s")
    image, truth = simulate_frame(
        library(NAME),
        thickness=31.4,
        tilt=(1.2, -0.8),
        semi_angle=NEW_SEMI_ANGLE,
        shape=(SIDE, SIDE),
        seed=SEED,
    )
    found = own.fit(make_frame(image))
    away = abs(found["thickness"].value - truth["thickness"])
    study.add("a new semi-angle: error of thickness", away, "nm", at_most=0.2)


def part(study: Study, count: int) -> None:
    """For `benchmarks.speed`: this code alone."""
    single(study, [*FRAMES], None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--before", type=Path, help="a checkout of the code to compare with")
    parser.add_argument("--kinds", nargs="*", default=[*FRAMES], choices=[*FRAMES])
    options = parser.parse_args(arguments)
    study = Study("speed_single", quick=options.quick)
    rows = single(study, options.kinds, options.before)
    with study.figure(size=(6.4, 3.0)) as (_, axes):
        for i, kind in enumerate(options.kinds):
            times = [row["ms"] for row in rows if row["kind"] == kind]
            axes[0].plot(times, np.full(len(times), i), "o", label=WORDS[kind])
        axes[0].set(xlabel="ms of the processor, one frame", xscale="log")
        axes[0].set_yticks(range(len(options.kinds)), [WORDS[kind] for kind in options.kinds])
    return 0 if study.finish(frames=rows) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rows"]:
        Path(sys.argv[2]).write_text(json.dumps(measured(sys.argv[3], int(sys.argv[4]))))
        sys.exit(0)
    sys.exit(main())
