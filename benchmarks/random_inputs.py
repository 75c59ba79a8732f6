"""Files drawn at random: each is read right, said to be taken in some way, or refused; never silently wrong.

Kind of file, content, type, byte order, order and names of the axes, units, and pixels without a measurement
are drawn at random. What the readers return is compared with what was written, value by value; the mask with
the pixels that measure nothing; the calibration with the units.

Run with: python -m benchmarks.random_inputs [--quick] [--count N] [--seed N]
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.random_files import KINDS, UNITS, Content, write
from hybridfit.errors import InputError

COUNT, SEED = 300, 20261130
SIDES = (20, 32, 33, 40, 48, 64, 96)  # px
POSITIONS = (1, 2, 3, 5, 8, 33)
SENTINELS = ("none", "none", "gap", "line", "nan", "dead", "hot")
WELL_KNOWN = 0.98  # of the pixels that measure something must be used
RIGHT, SAID, REFUSED, WRONG = "right", "said", "refused", "wrong"


def pattern(rows: int, cols: int, rng: np.random.Generator) -> np.ndarray:
    """Overlapping discs without symmetry, 0 to 1."""
    y, x = np.mgrid[:rows, :cols].astype(float)
    radius = 0.22 * min(rows, cols)
    y, x = y - rng.uniform(0.42, 0.58) * rows, x - rng.uniform(0.42, 0.58) * cols
    out = np.full((rows, cols), 0.03)
    for i, j in np.ndindex(3, 3):
        r = np.hypot(x - 1.3 * radius * (i - 1), y - 1.3 * radius * (j - 1))
        height = 0.7 if i == j == 1 else rng.uniform(0.1, 0.3)
        out += height * (1 + 0.2 * np.cos(3 * x / radius)) / (1 + np.exp((r - radius) * 12 / radius))
    return out / out.max()


def content(kind: str, rng: np.random.Generator) -> Content:
    """What a file of a kind is to hold."""
    _, contents, orders, types = KINDS[kind]
    holds, dtype = str(rng.choice(contents)), np.dtype(str(rng.choice(types)))
    rows = int(rng.choice(SIDES))
    cols = rows if rng.random() < 0.6 else int(rng.choice(SIDES))
    scan_shape = {"frame": (1, 1), "stack": (1, int(rng.choice(POSITIONS[1:])))}.get(
        holds, (int(rng.choice(POSITIONS[1:])), int(rng.choice(POSITIONS[1:])))
    )
    most = 150.0 if dtype.itemsize == 1 else 900.0
    mean = pattern(rows, cols, rng) * most
    scan = rng.poisson(mean * rng.uniform(0.8, 1.0, (*scan_shape, 1, 1)) + 3).astype(dtype)
    bad = np.zeros((rows, cols), bool)
    value = _spoil(bad, dtype, str(rng.choice(SENTINELS)), rng)
    scan[:, :, bad] = value
    order, named = str(rng.choice(orders)), bool(rng.random() < 0.6)
    return Content(
        scan,
        holds,
        bad,
        order,
        named or order == "columns first",  # which nothing but names can tell
        str(rng.choice(list(UNITS))),
        float(rng.uniform(0.05, 0.6)),
        200.0 if rng.random() < 0.6 else None,
    )


def _spoil(bad: np.ndarray, dtype: np.dtype, kind: str, rng: np.random.Generator) -> float:
    """Mark pixels that measure nothing, and return the value that they have."""
    rows, cols = bad.shape
    if kind in ("gap", "line"):
        width = int(rng.integers(2, 5)) if kind == "gap" else 1
        at = int(rng.integers(2, rows - 6))
        bad[at : at + width] = True
        if kind == "gap" and rng.random() < 0.5:
            bad[:, cols // 2 : cols // 2 + width] = True
    if kind == "nan" and dtype.kind == "f":
        bad[rng.random(bad.shape) < 0.01] = True
        return np.nan
    if kind == "dead":
        y, x = int(0.4 * rows), int(0.45 * cols)
        bad[y : y + 4, x : x + 4] = True
    if kind == "hot":
        bad[int(rng.integers(rows)), int(rng.integers(cols))] = True
        return 255.0 if dtype.itemsize == 1 else 30_000.0
    choices = [0.0]
    if kind == "gap" and dtype.kind == "u" and dtype.itemsize > 1:
        choices.append(float(np.iinfo(dtype).max))
    if kind == "gap" and dtype.kind in "if":
        choices.append(-1.0)
    return float(rng.choice(choices))


def judged(path: Path, options: dict[str, Any], truth: Content) -> tuple[str, str]:
    """What the readers make of a file, the worst of what they are asked; and in words."""
    found = []
    if truth.kind != "scan":
        found.append(_judged(lambda: _frames(path, options, truth)))
    if truth.kind != "frame":
        found.append(_judged(lambda: _scan(path, options, truth)))
    order = (WRONG, REFUSED, SAID, RIGHT)
    return min(found, key=lambda each: order.index(each[0]) if each[0] in order else -1)


def _judged(read: Any) -> tuple[str, str]:
    try:
        wrong, note = read()
    except InputError as error:
        return REFUSED, str(error)
    except Exception as error:  # it should not come out
        return "failed", f"{type(error).__name__}: {error}"
    if not wrong:
        return RIGHT, note
    return (SAID, note) if "taken as" in note else (WRONG, wrong)


def _frames(path: Path, options: dict[str, Any], truth: Content) -> tuple[str, str]:
    from hybridfit.io import read_frames

    expected = truth.scan.reshape(-1, *truth.scan.shape[2:])
    frames = read_frames(path, **options)
    note = frames[0].note
    if len(frames) != len(expected) and not (path.suffix == ".mib" and len(frames) < len(expected)):
        return f"{len(frames)} frames of {len(expected)}", note
    for frame, image in zip(frames, expected, strict=False):
        if frame.image.shape != image.shape:
            return f"frames of {frame.image.shape}, not {image.shape}", note
        good = frame.valid & ~truth.bad
        if not np.array_equal(frame.image[good], image[good].astype(float)):
            return "other values", note
        if (frame.valid & truth.bad).any():
            return f"{np.count_nonzero(frame.valid & truth.bad)} px without a measurement are used", note
        if good.sum() < WELL_KNOWN * (~truth.bad).sum():
            return f"{(~truth.bad).sum() - good.sum()} good px are masked", note
    return _calibration(frames[0].calibration.get("mrad_per_px"), truth), note


def _scan(path: Path, options: dict[str, Any], truth: Content) -> tuple[str, str]:
    from hybridfit.io import open_scan

    told = {} if truth.kind == "scan" else {"scan_shape": truth.scan.shape[:2]}
    file = open_scan(path, **options, **told)
    frames, present = file.read(slice(None), slice(None))
    if frames.shape != truth.scan.shape:
        return f"a scan of {frames.shape}, not {truth.scan.shape}", file.note
    if not present.all() or not np.array_equal(frames, truth.scan, equal_nan=truth.scan.dtype.kind == "f"):
        return "other values", file.note
    if file.mask is not None and not np.array_equal(file.mask, truth.bad):
        return "another mask", file.note
    return _calibration(file.calibration.get("mrad_per_px"), truth), file.note


def _calibration(found: float | None, truth: Content) -> str:
    """What is wrong with a calibration; none is never wrong."""
    if found is None:
        return ""
    if truth.calibration is None or abs(found / truth.calibration - 1) > 1e-3:
        return f"{found:.4g} mrad/px, not {truth.calibration}"
    return ""


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--count", type=int, default=0, help=f"files, {COUNT} by default")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    count = options.count or (40 if options.quick else COUNT)
    study = Study("random_inputs", quick=options.quick)
    found: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    worst = []
    for i in range(count):
        rng = np.random.default_rng([options.seed, i])
        kind = list(KINDS)[i % len(KINDS)]
        truth = content(kind, rng)
        with tempfile.TemporaryDirectory() as folder:
            path, given = write(Path(folder), kind, truth)
            verdict, words = judged(path, given, truth)
            words = words.replace(folder, "")
        found[kind][verdict] += 1
        if verdict != RIGHT:
            order = f"{truth.order}{', named' if truth.named else ''}"
            what = f"{kind}, {truth.kind} {truth.scan.dtype} {truth.scan.shape}, {order}"
            worst.append(f"{i}: {verdict}: {what}: {words}")
    total = sum(found.values(), Counter[str]())
    study.add("files", count, "")
    study.add("silently wrong", total[WRONG], "files", at_most=0)
    study.add("errors that are no refusal", total["failed"], "files", at_most=0)
    study.add("read right", 100 * total[RIGHT] / count, "%", at_least=90)
    study.add("refused: axes without names that may be either", 100 * total[REFUSED] / count, "%")
    study.add("taken otherwise than written, and said", 100 * total[SAID] / count, "%")
    for line in worst:
        print(line, file=sys.stderr)
    with study.figure(size=(6.4, 3.6)) as (_, axes):
        left = np.zeros(len(KINDS))
        for verdict in (RIGHT, SAID, REFUSED, WRONG):
            counts = np.array([found[kind][verdict] for kind in KINDS], float)
            axes[0].barh(list(KINDS), counts, left=left, label=verdict)
            left += counts
        axes[0].set_xlabel("files")
        axes[0].legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    met = study.finish(kinds={kind: dict(counter) for kind, counter in found.items()}, not_right=worst)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
