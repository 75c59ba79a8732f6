"""The command that simulates a scan: its time, and its frames beside patterns composed one by one.

Noise-free patterns of the scan are compared with those of the former route, each composed at its own fine
points, and with the forward model, which is finely divided for it; both routes are timed in turn.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.common import Study, out_folder
from benchmarks.scan_runs import NAME, SEMI_ANGLE
from hybridfit import Library
from hybridfit.model import ForwardModel
from hybridfit.pattern.camera import Camera
from hybridfit.simulate.frame import glow_at
from hybridfit.simulate.scan_frames import Frames
from hybridfit.simulate.scan_truth import scan_truth
from hybridfit.simulate.settings import ScanSettings

SETTINGS: dict[str, Any] = {"wedge_direction": 45.0, "rotation": 12.0}
DESCAN = (1.5, -1.0)  # px, as the command has it
COMPARED = 20


def simulated(study: Study, count: int) -> None:
    """A scan of 64 × 64 positions of 128 × 128 px, from the command to the file; quick: 16 × 16."""
    side = 16 if study.quick else 64
    out_folder().mkdir(parents=True, exist_ok=True)
    path = out_folder() / "speed_simulate.npy"
    words = ["simulate", "scan", str(path), "--size", f"{side},{side}", "--quiet"]
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "hybridfit", *words], check=True)
    seconds = time.monotonic() - start
    what = f"{side} × {side} simulated positions, from the command to the file"
    study.add(what, seconds, "s", at_most=None if study.quick else 15)
    counted = np.load(path, mmap_mode="r")
    library = Library.open(NAME)
    for descan, words_ in ((DESCAN, "moved"), ((0.0, 0.0), "not moved")):
        _compare(study, library, side, descan, words_, counted if descan == DESCAN else None)
    path.unlink()
    path.with_name(f"{path.stem}.truth.nc").unlink()


def _compare(
    study: Study,
    library: Library,
    side: int,
    descan: tuple[float, float],
    words: str,
    counted: np.ndarray | None,
) -> None:
    scan = ScanSettings(SEMI_ANGLE, scan_shape=(side, side), descan=descan, **SETTINGS)
    truth = scan_truth(library, scan)
    start = time.process_time()
    frames = Frames(library, truth, scan)
    shared = time.process_time() - start
    chosen = {divmod(int(n), side) for n in np.linspace(0, side * side - 1, COMPARED)}
    found = {}
    start = time.process_time()
    for some, pattern in frames._batches():
        for i, at in enumerate(some):
            image = pattern(i)
            if at in chosen:
                found[at] = np.array(image, float)
    shared += time.process_time() - start
    alone = {at: frames.composed(*at) for at in [*chosen][:1]}  # kernels and tables are there from here on
    start = time.process_time()
    alone = {at: frames.composed(*at) for at in chosen}
    each = (time.process_time() - start) / len(chosen)
    study.add(f"a pattern composed by itself, {words}", 1e3 * each, "ms")
    study.add(f"a pattern of a scan, {words}", 1e3 * shared / side**2, "ms")
    study.add(f"a pattern of a scan, {words}: faster by", each * side**2 / shared, "×")
    away = np.array([np.abs(found[at] - alone[at]).max() / alone[at].max() for at in chosen])
    at_most = 0.02 if any(descan) else 1e-4
    study.add(f"largest difference from composed ones, {words}", away.max(), "", at_most=at_most)
    model = [_from_model(library, truth, at, found[at]) for at in chosen]
    study.add(f"rms difference from the forward model, {words}", max(model), "", at_most=5e-3)
    if counted is not None:
        pulls = [_pulls(counted[at], found[at], scan) for at in chosen]
        study.add("counts beyond five of their standard deviations", float(np.sum(pulls)), "", at_most=5)


def _from_model(library: Library, truth: Any, at: tuple[int, int], pattern: np.ndarray) -> float:
    """The rms difference from the forward model's pattern, over its maximum, inside the disc and about it."""
    values = {name: float(truth[name][at]) for name in truth.data_vars}
    camera = Camera(*(values[name] for name in Camera._fields))
    row, col = np.indices(pattern.shape)
    mask = np.hypot(col - camera.centre_x, row - camera.centre_y) < (SEMI_ANGLE + 5) * camera.scale
    model = ForwardModel(library, mask, camera, semi_angle=SEMI_ANGLE, fine_pixel=0.1)
    expected = model.evaluate(values).columns[0]
    return float(np.sqrt(np.mean((pattern[mask] - expected) ** 2)) / expected.max())


def _pulls(counted: np.ndarray, pattern: np.ndarray, scan: ScanSettings) -> int:
    """Pixels whose counts are more than five standard deviations from a pattern and some background."""
    glow = glow_at(scan.semi_angle, scan.frame_shape, scan.camera)
    share = scan.background
    expected = scan.electrons * ((1 - share) * pattern / pattern.sum() + share * glow / glow.sum())
    return int((np.abs(counted - expected) > 5 * np.sqrt(expected) + 1).sum())
