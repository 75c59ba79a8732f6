"""Frames with pixels that measure nothing, and distorted ones: thickness without a mask, and what is said.

Crosses, beam stops, dead lines and clusters are put into simulated frames and fitted without a mask, and
with the mask that is true. Distorted frames are fitted as they are: pixels of unequal sides, and ellipses. In
small maps the descan lets the pattern wander, and leave the frame in a corner.

Run with: python -m benchmarks.defects [--quick] [--frames N] [--seed N]
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser
from hybridfit import FitResult, Fitter, Library, make_frame, map_scan, simulate_frame, simulate_scan
from hybridfit.errors import InputError

FRAMES, SEED, SEMI_ANGLE, SIDE = 5, 20261130, 13.6, 128
ELECTRONS = (3e6, 1e6, 3e5)  # of the frames by turns
SAME, RIGHT = 0.1, 0.2  # nm
DISTORTIONS = (0.03, 0.05, 0.10)
WANDER, MIDDLE, POSITIONS = 20.0, 21.0, (6, 6)  # px, of a scan of frames of 64 px


def defects(centre: tuple[float, float], rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, float]]:
    """Name, pixels (rows, cols), and the value that they have."""
    rows, cols = np.mgrid[:SIDE, :SIDE]
    col, row = (round(v) for v in centre)
    for width in range(1, 6):
        cross = np.zeros((SIDE, SIDE), bool)
        cross[row + 4 : row + 4 + width] = cross[:, col - 6 : col - 6 + width] = True
        yield f"cross of {width} px", cross, 0.0 if width % 2 else 65535.0
    stop = np.hypot(cols - col, rows - row) < 9
    stop |= (np.abs(rows - row) < 2) & (cols > col)
    yield "beam stop", stop, 0.0
    lines = np.zeros((SIDE, SIDE), bool)
    lines[rng.choice(SIDE, 3, replace=False)] = True
    yield "dead rows", lines, 0.0
    clusters = np.zeros((SIDE, SIDE), bool)
    for _ in range(4):
        y, x = rng.integers(SIDE // 4, 3 * SIDE // 4, 2)
        clusters[y : y + 4, x : x + 3] = True
    yield "dead clusters", clusters, 0.0
    yield "hot clusters", clusters, 30_000.0


def frames(
    library: Library, count: int, seed: int, **options: Any
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Simulated frames and their truth."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        yield simulate_frame(
            library,
            thickness=rng.uniform(15, 80),
            semi_angle=SEMI_ANGLE,
            tilt=tuple(rng.uniform(-1.5, 1.5, 2)),
            rotation=rng.uniform(-40, 40),
            shape=(SIDE, SIDE),
            centre=tuple(SIDE / 2 + rng.uniform(-3, 3, 2)),
            scale=2.6,
            electrons=ELECTRONS[i % len(ELECTRONS)],
            seed=seed + i,
            **options,
        )


def wandering(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the thickness (nm), and what converged, of a map with descan."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nc"
        truth = simulate_scan(
            path,
            Library.open("SrTiO3_001_200kV"),
            SEMI_ANGLE,
            scan_shape=POSITIONS,
            frame_shape=(64, 64),
            thickness=(20.0, 40.0),
            bend=1.0,
            electrons=1e6,
            scale=1.3,
            rotation=10.0,
            centre=(MIDDLE, MIDDLE),
            descan=(-WANDER, -WANDER),
            seed=seed,
        )
        found = map_scan(path, "SrTiO3_001_200kV", semi_angle=SEMI_ANGLE, workers=1)
        off = found["thickness"].values - truth["thickness"].values
    converged = found["status"].attrs["flag_meanings"].split().index("converged")
    return off, found["status"].values == converged


def thickness(found: FitResult) -> float:
    return found.parameters["thickness"].value


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, default=0, help=f"of each kind, {FRAMES} by default")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    count = options.frames or (1 if options.quick else FRAMES)
    library = Library.open("SrTiO3_001_200kV")
    fitter = Fitter(library, SEMI_ANGLE)
    study = Study("defects", quick=options.quick)
    rng = np.random.default_rng(options.seed)
    apart: dict[str, list[float]] = {}
    held: dict[str, list[bool]] = {}
    for image, truth in frames(library, count, options.seed):
        for name, bad, value in defects((truth["centre_x"], truth["centre_y"]), rng):
            spoilt = np.where(bad, value, image).astype("u2")
            masked = fitter.fit(make_frame(spoilt, mask=bad))
            try:
                found = fitter.fit(spoilt)
            except InputError as error:
                print(f"{name}: {error}", file=sys.stderr)
                apart.setdefault(name, []).append(np.inf)
                held.setdefault(name, []).append(False)
                continue
            apart.setdefault(name, []).append(abs(thickness(found) - thickness(masked)))
            good = found.status.name == "converged" and bool(re.search(r"\d+ px masked", found.message))
            held.setdefault(name, []).append(good)
    for name in apart:
        study.add(f"{name}: from the masked fit, at most", max(apart[name]), "nm", at_most=SAME)
        study.add(f"{name}: converged, and said", 100 * np.mean(held[name]), "%", at_least=100)
    errors = []
    for share in DISTORTIONS:
        for what, pair in (("unequal pixels", (share / 2, 0.0)), ("ellipse", (share / 4, share / 3))):
            off, silent = [], 0
            for image, truth in frames(library, count, options.seed + 1, ellipticity=pair):
                found = fitter.fit(image)
                off.append(abs(thickness(found) - truth["thickness"]))
                silent += found.status.name == "converged" and off[-1] > RIGHT
            errors.append(max(off))
            study.add(f"{what} of {share:.0%}: thickness, at most", max(off), "nm")
            study.add(
                f"{what} of {share:.0%}: converged and off by more than {RIGHT} nm", silent, "", at_most=0
            )
    off, good = wandering(options.seed)
    name = f"descan of {WANDER:g} px"
    study.add(f"{name}: converged", 100 * good.mean(), "% of positions")
    study.add(f"{name}: thickness where converged, at most", np.abs(off[good]).max(initial=0.0), "nm")
    silent = np.count_nonzero(good & (np.abs(off) > RIGHT))
    study.add(f"{name}: converged and off by more than {RIGHT} nm", silent, "", at_most=0)
    with study.figure(2) as (_, axes):
        axes[0].barh(list(apart), [max(values) for values in apart.values()])
        axes[0].axvline(SAME, color="k", lw=0.8)
        axes[0].set_xlabel("from the masked fit (nm)")
        axes[1].plot(np.repeat(DISTORTIONS, 2), errors, "o")
        axes[1].axhline(RIGHT, color="k", lw=0.8)
        axes[1].set(xlabel="distortion", ylabel="thickness error (nm)")
    return 0 if study.finish() else 1


if __name__ == "__main__":
    sys.exit(main())
