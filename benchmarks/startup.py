"""Waiting times: the help text, the command for one frame and its parts, the start of a fit, one full search.

All times are of fresh processes, with the library built and the kernels compiled. The command does a hybrid
fit, and its parts are what it imports, the library, the network, the fit with its JSON, and the picture.
torch must not be imported before the fit has ended.

Run with: python -m benchmarks.startup [--quick]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import Study, new_parser

FIT = """
import sys, time
start = time.perf_counter()
from hybridfit import Fitter, Library, read_frames
fitter = Fitter(Library.open("SrTiO3_001_200kV"), 13.6, method="lsf")
fitter.templates()
frame = read_frames(sys.argv[1])[0]
print(time.perf_counter() - start)
result = fitter.fit(frame)
print(result.seconds["total"], result.thickness, *result.tilt)
"""
PARTS = """
import json, sys, time
start, parts = time.perf_counter(), {}

def part(name):
    global start
    now = time.perf_counter()
    parts[name], start = now - start, now

from hybridfit.cli.starting import quick_start
from hybridfit import Fitter, Library, read_frames
with quick_start():
    import hybridfit.fitting.fitter, hybridfit.fitting.seed.network
    part("imports")
    library = Library.open("SrTiO3_001_200kV")
    part("library")
    fitter = Fitter(library, 13.6)
    part("network and fitter")
result = fitter.fit(read_frames(sys.argv[1])[0])
answer = json.dumps(result.to_json())
part("fit")
torch = "torch" in sys.modules
result.plot().savefig(sys.argv[1] + ".png")
part("picture")
print(json.dumps({"seconds": parts, "torch": torch, "thickness": result.thickness}))
"""
PICTURE = ", and its picture"
BARS = {"": 1.5, PICTURE: 2.5}  # s
TRUTH = {"thickness": 42.3, "tilt": (1.3, -0.7)}


def fresh(*arguments: str, repeat: int = 5) -> tuple[float, str]:
    """Median wall time (s) of a fresh Python process, and its last output."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), done.stdout


def commands(study: Study, path: Path, *, repeat: int) -> None:
    """`hybridfit fit` of one frame, from the start of its process to its end."""
    answer, picture = path.with_suffix(".json"), path.with_suffix(".png")
    command = ["-m", "hybridfit", "fit", str(path), "--semi-angle", "13.6", "--json", str(answer)]
    drawn = ["--plot", str(picture)]
    fresh(*command, *drawn, repeat=1)  # compiles what was not compiled yet
    for what, more in (("", []), (PICTURE, drawn)):
        seconds, _ = fresh(*command, *more, repeat=repeat)
        (found,) = json.loads(answer.read_text(encoding="utf-8"))
        assert abs(found["thickness_nm"]["value"] - TRUTH["thickness"]) < 0.5
        study.add(
            f"hybridfit fit, fresh process, to the answer of one frame{what}",
            seconds,
            "s",
            at_most=BARS[what],
        )
    assert picture.stat().st_size > 10_000


def parts(study: Study, path: Path, *, repeat: int) -> None:
    """Where the time of a hybrid fit in a fresh process goes; torch must not be imported for it."""
    runs = [json.loads(fresh("-c", PARTS, str(path), repeat=1)[1]) for _ in range(repeat)]
    assert all(abs(each["thickness"] - TRUTH["thickness"]) < 0.5 for each in runs)  # type: ignore[operator]
    for name in runs[0]["seconds"]:
        study.add(
            f"of a fit in a fresh process: {name}", float(np.median([r["seconds"][name] for r in runs])), "s"
        )
    study.add("of a fit in a fresh process: torch imported", sum(r["torch"] for r in runs), "runs", at_most=0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    options = new_parser(__doc__).parse_args(arguments)
    from hybridfit import Fitter, Library, simulate_frame

    study = Study("startup", quick=options.quick)
    library = Library.open("SrTiO3_001_200kV", progress=lambda fraction: None)
    Fitter(library, 13.6, method="lsf").templates()
    image, _ = simulate_frame(library, **TRUTH, semi_angle=13.6, rotation=23.0, electrons=1e7)  # type: ignore[arg-type]
    command = "import sys; from hybridfit.cli import main; sys.argv = ['hybridfit', '--help']; main()"
    seconds, text = fresh("-c", command, repeat=3 if options.quick else 5)
    assert "fit" in text
    study.add("hybridfit --help, fresh process", seconds, "s", at_most=0.6)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.npy"
        np.save(path, image, allow_pickle=False)
        commands(study, path, repeat=1 if options.quick else 5)
        parts(study, path, repeat=1 if options.quick else 5)
        fresh("-c", FIT, str(path), repeat=1)
        starts, fits = [], []
        for _ in range(1 if options.quick else 3):
            _, text = fresh("-c", FIT, str(path), repeat=1)
            first, second = text.strip().splitlines()
            starts.append(float(first))
            fits.append([float(v) for v in second.split()])
    best = np.array(fits)
    assert abs(best[0, 1] - TRUTH["thickness"]) < 0.5 and np.abs(best[0, 2:] - TRUTH["tilt"]).max() < 0.1  # type: ignore[operator]
    study.add(
        "start of a fit in a fresh process, before the first χ²", float(np.median(starts)), "s", at_most=4
    )
    study.add(
        "full search and refinement, one pattern, two cores", float(np.median(best[:, 0])), "s", at_most=60
    )
    passed = study.finish()
    with study.figure(size=(7.5, 3.6)) as (_, axes):
        rows = [row for row in study.rows if row.bar]
        axes[0].barh([textwrap.fill(row.what, 36) for row in rows], [row.measured for row in rows])
        axes[0].plot([row.bar for row in rows], range(len(rows)), "k|", markersize=18)
        axes[0].set(xlabel="seconds (mark: the bar)", xscale="log")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
