"""Simulated scans, and maps of them in separate processes whose time and memory are measured.

The scans are a bent wedge of the shipped crystal: 20.5–25.5 nm, tilts to ±4 mrad, 1e6 electrons a
pattern, frames of 128 × 128 px with 16 bits.  Larger ones repeat the frames of 64 × 64 positions.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.common import cores, out_folder
from hybridfit import Library, simulate_scan
from hybridfit.library.build import VERSION as library_version

NAME = "SrTiO3_001_200kV"
SEMI_ANGLE = 13.6
DATA = Path(__file__).parent / "data"
CAMERA: dict[str, Any] = {"rotation": 17.0, "descan": (1.5, -1.0), "ellipticity": (0.004, -0.003)}
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
    labels = "".join(f"_{key}{value}" for key, value in options.items())
    path = DATA / f"scan_{shape[0]}x{shape[1]}_{seed}{labels}_v{library_version}.npy"
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
    out = DATA / f"scan_{side}x{side}_repeated_v{library_version}.npy"
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
    """A map in a separate process, its reports, and the memory of all its processes."""

    def __init__(self, scan: Path, output: Path, **options: Any) -> None:
        out_folder().mkdir(parents=True, exist_ok=True)
        script = out_folder() / "map_run.py"
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
        return [pid for pid in family(self.process.pid)[1:] if "loky" in words(pid) or "Loky" in words(pid)]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self.reports.append(json.loads(line))

    def _watch(self) -> None:
        while self.process.poll() is None:
            self.memory_gb = max(self.memory_gb, sum(map(_memory, family(self.process.pid))))
            time.sleep(0.5)


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [pid, *(n for child in text.split() for n in family(int(child)))]


def words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _memory(pid: int) -> float:
    """Memory of a process (GB); shared memory is divided among the processes that share it."""
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
    out_folder().mkdir(parents=True, exist_ok=True)
    path = out_folder() / f"{name}.nc"
    try:
        _remove(path)
        yield path
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    shutil.rmtree(f"{path}.parts", ignore_errors=True)
