"""Maps of simulated 4D-STEM scans: truth, time, memory, and runs that are stopped or spread.

The scans are a bent wedge of the shipped crystal: 20.5–25.5 nm, tilts to ±4 mrad, 1e6 electrons a
pattern, frames of 128 × 128 px with 16 bits.  Larger ones repeat the frames of 64 × 64 positions.

Run with: python -m benchmarks.scan_maps [--parts NAMES] [--full]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.common import OUT, Study, cores
from hybridfit import Library, simulate_scan
from hybridfit.plot.maps import plot_paper_map
from hybridfit.scan.flags import map_status, names_of
from hybridfit.scan.maps import read_map

NAME = "SrTiO3_001_200kV"
SEMI_ANGLE = 13.6
DATA = Path(__file__).parent / "data"
PARTS = ("figure9", "large", "sizes", "kills", "dask", "spoilt")
CAMERA: dict[str, Any] = {"rotation": 17.0, "descan": (1.5, -1.0), "ellipticity": (0.004, -0.003)}
KILLS = 10
SIZES = (16, 32, 64)
# numbers may differ in nothing but these attributes
NAMES = ("settings", "library_name", "run", "source")
MAP = """
import json, sys, time
from hybridfit import map_scan

if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    first, start = None, time.monotonic()
    def show(report):
        print(json.dumps({"stage": report.stage, "done": report.done, "seconds": report.seconds}), flush=True)
    map_scan(progress=show, **options)
    print(json.dumps({"stage": "all", "done": 0, "seconds": time.monotonic() - start}), flush=True)
"""


def scan_file(shape: tuple[int, int], seed: int = 0, **options: Any) -> Path:
    """A simulated scan (.npy) of a shape; its truth lies beside it."""
    DATA.mkdir(exist_ok=True)
    words = "".join(f"_{key}{value}" for key, value in options.items())
    path = DATA / f"scan_{shape[0]}x{shape[1]}_{seed}{words}.npy"
    if not path.exists():
        simulate_scan(
            path,
            Library.open(NAME),
            SEMI_ANGLE,
            scan_shape=shape,
            wedge_direction=45.0,
            bend=4.0,
            seed=seed,
            workers=cores(),
            **CAMERA,
            **options,
        )
    return path


def repeated(path: Path, side: int) -> Path:
    """A scan of side × side positions that repeats the frames of another."""
    source = np.load(path, mmap_mode="r")
    out = DATA / f"scan_{side}x{side}_repeated.npy"
    if not out.exists():
        ny, nx = source.shape[:2]
        array = np.lib.format.open_memmap(
            out, mode="w+", dtype=source.dtype, shape=(side, side, *source.shape[2:])
        )
        for y in range(side):
            for x in range(0, side, nx):
                array[y, x : x + nx] = source[y % ny]
        array.flush()
    return out


class Run:
    """A map in a process of its own, with what it reports and the memory of all its processes."""

    def __init__(self, scan: Path, output: Path, **options: Any) -> None:
        script = OUT / "map_run.py"
        OUT.mkdir(exist_ok=True)
        script.write_text(MAP)
        given = {
            "scan": str(scan),
            "library": NAME,
            "semi_angle": SEMI_ANGLE,
            "output": str(output),
            **options,
        }
        self.process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(given)], stdout=subprocess.PIPE, text=True
        )
        self.reports: list[dict[str, Any]] = []
        self.memory_gb = 0.0
        self.started = time.monotonic()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._watch)]
        for thread in self._threads:
            thread.start()

    def finish(self) -> float:
        """Wait; the seconds that it took in all."""
        code = self.process.wait()
        self._threads[0].join()
        if code:
            raise RuntimeError(f"the run ended with code {code}")
        return time.monotonic() - self.started

    def stage(self, name: str) -> float:
        """Seconds of a stage."""
        return max((r["seconds"] for r in self.reports if r["stage"] == name), default=float("nan"))

    def workers(self) -> list[int]:
        """Process numbers of the workers."""
        return [
            pid for pid in _family(self.process.pid)[1:] if "loky" in _words(pid) or "Loky" in _words(pid)
        ]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self.reports.append(json.loads(line))

    def _watch(self) -> None:
        while self.process.poll() is None:
            self.memory_gb = max(self.memory_gb, sum(map(_memory, _family(self.process.pid))))
            time.sleep(0.5)


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [pid, *(n for child in text.split() for n in _family(int(child)))]


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _memory(pid: int) -> float:
    """Memory of a process (GB), what it shares divided among those that share it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("Pss:")), 0.0)


def errors(found: xr.Dataset, scan: Path, region: tuple[slice, slice] | None = None) -> tuple[Any, Any]:
    """|Δ thickness| (nm) and |Δ tilt| (mrad) of a map."""
    truth = xr.load_dataset(scan.with_name(f"{scan.stem}.truth.nc"))
    cut = region or (slice(None), slice(None))
    thickness = np.abs(found["thickness"].values - truth["thickness"].values[cut])
    off = [found[name].values - truth[name].values[cut] for name in ("tilt_x", "tilt_y")]
    return thickness, np.hypot(*off)


def same(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Whether two maps are the same, bit for bit."""
    plain = [d.assign_attrs(dict.fromkeys(NAMES, "")) for d in (a, b)]
    return bool(plain[0].identical(plain[1]))


@contextlib.contextmanager
def fresh(name: str) -> Iterator[Path]:
    """The path of a map that is not there yet, and is gone afterwards."""
    import shutil

    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.nc"
    for _ in range(2):
        path.unlink(missing_ok=True)
        shutil.rmtree(f"{path}.parts", ignore_errors=True)
        if _ == 0:
            yield path


def figure9(study: Study) -> None:
    """The paper's Figure 9, simulated: 10 × 10 positions."""
    scan = scan_file((10, 10))
    with fresh("figure9") as path:
        Run(scan, path).finish()
        found = read_map(path)
    thickness, tilt = errors(found, scan)
    study.add("10 × 10, bent wedge: thickness, largest error", thickness.max(), "nm", at_most=0.5)
    study.add("10 × 10, bent wedge: tilt, largest error", tilt.max(), "mrad", at_most=0.1)
    pulls = thickness / found["thickness_stderr"].values
    study.add("thickness errors over their standard errors, rms", np.sqrt((pulls**2).mean()), "")
    truth = xr.load_dataset(scan.with_name(f"{scan.stem}.truth.nc"))
    plot_paper_map(found, truth, OUT / "scan_maps.png")


def large(study: Study) -> None:
    """64 × 64 positions in all, and a part of 256 × 256."""
    scan = scan_file((64, 64))
    with fresh("large") as path:
        run = Run(scan, path, workers=cores())
        seconds = run.finish()
        found = read_map(path)
    study.add("64 × 64 positions of 128 × 128 px, in all", seconds / 60, "min", at_most=8)
    study.add("  memory of all processes", run.memory_gb, "GB", at_most=3)
    thickness, tilt = errors(found, scan)
    good = (thickness <= 0.5) & (tilt <= 0.1)
    study.add("  positions within 0.5 nm and 0.1 mrad", 100 * good.mean(), "%")
    study.add("  converged", 100 * map_status(found).get("converged", 0) / good.size, "%")
    big = repeated(scan, 256)
    with fresh("part") as path:
        run = Run(big, path, workers=cores(), roi=(100, 102, 0, 256))
        run.finish()
    gb = big.stat().st_size / 1e9
    study.add(f"two rows of 256 × 256 ({gb:.1f} GB on disk): memory", run.memory_gb, "GB", at_most=3)


def sizes(study: Study, full: bool) -> None:
    """Time per position against the size of the scan."""
    big = repeated(scan_file((64, 64)), 256)
    each = []
    for side in (*SIZES, *((128,) if full else ())):
        with fresh("size") as path:
            run = Run(big, path, workers=cores(), roi=(0, side, 0, side))
            seconds = run.finish()
        each.append(1e3 * (run.stage("positions") + np.nan_to_num(run.stage("neighbours"))) / side**2)
        study.add(f"{side} × {side}: per position, without start and first pass", each[-1], "ms")
        study.add(f"{side} × {side}: in all", seconds, "s")
    spread = 100 * (max(each) / min(each) - 1)
    study.add(f"per position: spread from 16² to {128 if full else 64}²", spread, "%", at_most=15)
    if not full:
        study.note("128 × 128 was left out; --full runs it")


def kills(study: Study) -> None:
    """The main process and workers killed at random moments, and the run taken up again."""
    scan, rng = scan_file((64, 64)), random.Random(1)
    options: dict[str, Any] = {"workers": cores(), "roi": (0, 12, 0, 16)}
    with fresh("whole") as path:
        whole_seconds = Run(scan, path, **options).finish()
        whole = read_map(path)
    twice, killed, resumed = 0, {"main": 0, "worker": 0}, 0
    blocks: dict[str, int] = {}
    with fresh("killed") as path:
        while sum(killed.values()) < KILLS:
            run = Run(scan, path, **options)
            resumed += 1
            deadline = time.monotonic() + rng.uniform(0.3, 0.5 * whole_seconds)
            while time.monotonic() < deadline and run.process.poll() is None:
                time.sleep(0.05)
            target = "main" if sum(killed.values()) % 2 == 0 else "worker"
            workers = run.workers()
            if run.process.poll() is None and (target == "main" or workers):
                os.kill(run.process.pid if target == "main" else rng.choice(workers), signal.SIGKILL)
                killed[target] += 1
            if target == "main":
                run.process.wait()
            else:
                with contextlib.suppress(RuntimeError):
                    run.finish()
            kept = {p.name: p.stat().st_mtime_ns for p in Path(f"{path}.parts").glob("*.npz")}
            twice += sum(kept[name] != t for name, t in blocks.items() if name in kept)
            blocks |= kept
            if path.exists():  # done before the tenth: once more from the start
                if not same(read_map(path), whole):
                    break
                path.unlink()
                blocks = {}
        if not path.exists():
            Run(scan, path, **options).finish()
        identical = same(read_map(path), whole)
    study.add(
        f"killed {killed['main']} × main, {killed['worker']} × worker: same map", identical, "", at_least=1
    )
    study.add("  finished blocks done again", twice, "", at_most=0)


def spread_out(study: Study) -> None:
    """dask: two worker processes on loopback against one."""
    from distributed import LocalCluster

    scan, seconds, maps = scan_file((64, 64)), [], []
    for count in (1, 2):
        with (
            LocalCluster(
                n_workers=count, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
            ) as cluster,
            fresh("dask") as path,
        ):
            run = Run(scan, path, scheduler=cluster.scheduler_address, roi=(0, 20, 0, 32))
            run.finish()
            seconds.append(run.stage("positions"))
            maps.append(read_map(path))
    with fresh("joblib") as path:
        Run(scan, path, workers=cores(), roi=(0, 20, 0, 32)).finish()
        maps.append(read_map(path))
    study.add("dask, two workers against one: faster by", seconds[0] / seconds[1], "×", at_least=1.7)
    identical = same(maps[0], maps[1]) and same(maps[1], maps[2])
    study.add("  one, two and joblib's: same map", identical, "", at_least=1)


def spoilt(study: Study) -> None:
    """A truncated scan with 5 % vacuum, blank and NaN frames and hot pixels."""
    scan = scan_file((16, 16), vacuum=0.05)
    clean = np.load(scan, mmap_mode="r").astype(np.float32)
    bad, rng = clean.copy(), np.random.default_rng(0)
    bad[3, 4], bad[5, 9] = 0, np.nan
    for y, x in ((7, 2), (9, 12)):
        bad[y, x, rng.integers(0, 128, 6), rng.integers(0, 128, 6)] = 1e6
    paths = [DATA / "spoilt_clean.npy", DATA / "spoilt.npy"]
    for path, array in zip(paths, (clean, bad), strict=True):
        np.save(path, array)
    with paths[1].open("rb+") as file:  # the last two and a half frames are gone
        file.truncate(paths[1].stat().st_size - int(2.5 * 128 * 128 * 4))
    maps = []
    for path in paths:
        with fresh("spoilt") as out:
            Run(path, out, workers=cores()).finish()
            maps.append(read_map(out))
    words = names_of(maps[1]["status"])
    truth = xr.load_dataset(scan.with_name(f"{scan.stem}.truth.nc"))
    hole = truth["vacuum"].values == 1
    lost = np.zeros(hole.shape, bool)
    lost[15, 13:] = True
    unusable = np.zeros(hole.shape, bool)
    unusable[3, 4] = unusable[5, 9] = True
    good = ~(hole | lost | unusable)
    right = (words[lost] == "unreadable").all() and (words[unusable] == "unusable").all()
    study.add("truncated, blank and NaN frames: right status", right, "", at_least=1)
    sure = np.isin(words[hole & ~lost & ~unusable], ["converged", "ambiguous"])
    study.add(f"vacuum ({hole.sum()} positions): taken for a crystal", sure.sum(), "", at_most=0)
    study.add("crystal: not converged", (words[good] != "converged").sum(), "", at_most=0)
    moved = np.abs(maps[1]["thickness"].values - maps[0]["thickness"].values)[good].max()
    study.add("crystal: thickness changed by what is wrong elsewhere", moved, "nm", at_most=0.02)


def main() -> int:
    """Run the parts, print the table, write the JSON and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--full", action="store_true", help="128 × 128 positions, too (half an hour)")
    arguments = parser.parse_args()
    study = Study("scan_maps")
    for part in arguments.parts.split(","):
        if part == "sizes":
            sizes(study, arguments.full)
        else:
            work = {"figure9": figure9, "large": large, "kills": kills, "dask": spread_out, "spoilt": spoilt}
            work[part](study)
    return 0 if study.finish() else 1


if __name__ == "__main__":
    sys.exit(main())
