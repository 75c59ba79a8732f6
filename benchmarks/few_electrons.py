"""Frames of few electrons: converged but wrong, odds and how often they hold, discs and blobs that converge.

Simulated frames with any thickness, tilt and camera (as in `benchmarks.before_after`) and 1e3–5e3 electrons,
some with 5e3, some of a crystal without a network; and discs and blobs without structure of 1e3–1e7
electrons.  An answer is wrong if it is off by more than 3 stated errors and more than 1 nm or 0.3 mrad.

Thresholds may be set on frames of TUNING_SEED only; the study reports on those of SEED.

Run with: python -m benchmarks.few_electrons [--frames N] [--seed S] [--resume] [--quick]

Every row is kept as soon as it is there; with --resume a run that was stopped goes on from there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import special

from benchmarks.common import Study, new_parser
from benchmarks.errors import NAMES, Row, column, judged, share, statuses
from benchmarks.kept import add_options, kept_fits
from hybridfit import Fitter, Library, make_frame, simulate_frame
from hybridfit.errors import HybridfitError
from hybridfit.fitting.candidates import tilt_distance
from hybridfit.fitting.result import FitResult

NAME, OTHER = "SrTiO3_001_200kV", "Si_110_200kV"
SEMI_ANGLES = {NAME: 13.6, OTHER: 13.0}  # mrad
FRAMES, QUICK_FRAMES = 200, 4
SHARE_5E3, SHARE_OTHER = 0.25, 0.15  # of as many frames besides
SMOOTH = 30  # frames of each kind
TUNING_SEED, SEED = 11, 20_260
ELECTRONS = (1e3, 5e3)
SMOOTH_ELECTRONS = (1e3, 1e7)
SIDES = (64, 96, 128, 192, 256, 320)  # px
RIGHT = (1.0, 0.3)  # nm, mrad
BEYOND = 3.0  # standard errors
RELIABILITY = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0 + 1e-9)
KINDS = {"few": "1e3–5e3 electrons", "5e3": "5e3 electrons", "other": f"{OTHER}, 1e3–5e3 electrons"}


def drawn(i: int, seed: int, crystal: str, electrons: tuple[float, float]) -> dict[str, Any]:
    """What `simulate_frame` needs for frame i."""
    library, rng = _library(crystal), np.random.default_rng([seed, i, len(crystal)])
    (low, high), angle = library.thickness_range, SEMI_ANGLES[crystal]
    side = int(rng.choice(SIDES))
    tilt, azimuth = 0.85 * library.tilt_max * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    return {
        "thickness": float(rng.uniform(low + 2, high - 2)),
        "tilt": (float(tilt * np.cos(azimuth)), float(tilt * np.sin(azimuth))),
        "semi_angle": angle,
        "shape": (side, side),
        "centre": tuple((np.full(2, (side - 1) / 2) + 0.08 * side * rng.uniform(-1, 1, 2)).tolist()),
        "scale": float(rng.uniform(0.28, 0.5) * side / 2 / angle),
        "rotation": float(rng.uniform(-180, 180)),
        "blur": float(rng.uniform(0.1, 0.6)),
        "electrons": float(electrons[0] * (electrons[1] / electrons[0]) ** rng.random()),
        "background": float(rng.uniform(0, 0.35)),
        "seed": int(rng.integers(2**31)),
    }


def smooth(kind: str, i: int, seed: int) -> tuple[np.ndarray, float]:
    """A disc or a blob without structure, and its electrons: counts (rows, cols)."""
    rng = np.random.default_rng([seed, i, len(kind)])
    side = int(rng.choice(SIDES))
    row, col = np.indices((side, side))
    x, y = (side - 1) / 2 + 0.08 * side * rng.uniform(-1, 1, 2)
    r = np.hypot(col - x, row - y)
    radius = rng.uniform(0.28, 0.5) * side / 2
    if kind == "disc":
        edge = rng.uniform(0.1, 0.6) * radius / SEMI_ANGLES[NAME]
        image = 0.5 * special.erfc((r - radius) / (np.sqrt(2) * edge))
    else:
        image = np.exp(-(r**2) / (2 * (rng.uniform(0.3, 0.9) * radius) ** 2))
    share = rng.uniform(0, 0.35)
    image = (1 - share) * image / image.sum() + share / image.size
    low, high = SMOOTH_ELECTRONS
    electrons = float(low * (high / low) ** rng.random())
    return rng.poisson(electrons * image), electrons


@cache
def _library(crystal: str) -> Library:
    return Library(Library.open(crystal).dataset.load())


@cache
def _fitter(crystal: str) -> Fitter:
    return Fitter(_library(crystal), SEMI_ANGLES[crystal], workers=1)


def fitted(kind: str, i: int, seed: int) -> Row:
    """The fit of one frame, compared with the truth: the answer, and every candidate with its odds."""
    if kind in ("disc", "blob"):
        image, electrons = smooth(kind, i, seed)
        row: Row = {"kind": kind, "electrons": electrons}
        try:
            result = _fitter(NAME).fit(make_frame(image))
            return row | {"status": result.status.name, "message": result.message, "route": result.route}
        except HybridfitError as error:
            return row | {"status": "refused", "message": str(error)}
    crystal = OTHER if kind == "other" else NAME
    values = drawn(i, seed + (kind == "5e3"), crystal, (5e3, 5e3) if kind == "5e3" else ELECTRONS)
    fitter = _fitter(crystal)
    image, truth = simulate_frame(fitter.library, **values)
    found: list[FitResult] = []

    def attempt() -> FitResult:
        found.append(fitter.fit(make_frame(image)))
        return found[0]

    row = judged(attempt, truth, fitter.library.rotation_order) | {"kind": kind}
    row["electrons"] = truth["electrons"]
    if found:
        row["modes"] = [_mode(mode, truth, fitter.library.rotation_order) for mode in found[0].modes]
    return row


def _mode(mode: Any, truth: dict[str, Any], order: int) -> dict[str, Any]:
    """Odds of a mode, and whether it is right."""
    at = dict(zip(mode.names, mode.mean.tolist(), strict=True))
    errors = dict(zip(mode.names, np.sqrt(np.diag(mode.covariance)).tolist(), strict=True))
    off = abs(at["thickness"] - truth["thickness"])
    away = tilt_distance((at["tilt_x"], at["tilt_y"]), (truth["tilt_x"], truth["tilt_y"]), order)
    tilt_error = max(errors["tilt_x"], errors["tilt_y"])
    right = off <= max(RIGHT[0], BEYOND * errors["thickness"]) and away <= max(RIGHT[1], BEYOND * tilt_error)
    return {"odds": mode.odds, "right": bool(right), "thickness": at["thickness"], "off": off, "away": away}


# ---------------------------------------------------------------- table


def report(study: Study, kind: str, rows: list[Row]) -> None:
    """The rows of one kind of frames with a crystal."""
    words = KINDS[kind]
    sure = [row for row in rows if row["status"] == "converged"]
    wrong = sum(row["misled"] for row in sure)
    study.add(f"{words}: converged and wrong, of the converged", share(wrong, len(sure)), "%", at_most=2)
    least = 80.0 if kind == "5e3" else None
    study.add(f"{words}: converged", share(len(sure), len(rows)), "%", at_least=least)
    for name in NAMES:
        inside = column(sure, f"{name}_in95")
        study.add(
            f"{words}: 95 % intervals of {name} that hold the truth", share(inside.sum(), len(inside)), "%"
        )
    seconds = column(rows, "seconds")
    study.add(f"{words}: one frame, median", float(np.median(seconds)) if len(seconds) else np.nan, "s")
    study.note(f"{words}, {len(rows)} frames: " + ", ".join(f"{n} {s}" for s, n in statuses(rows).items()))


def reliability(study: Study, rows: list[Row]) -> list[dict[str, float]]:
    """Of candidates with odds p, how many are right: a table."""
    modes = [mode for row in rows for mode in row.get("modes", ())]
    out = []
    for low, high in pairwise(RELIABILITY):
        part = [mode for mode in modes if low <= mode["odds"] < high]
        if not part:
            continue
        said, right = (100 * float(np.mean([m[what] for m in part])) for what in ("odds", "right"))
        out.append({"low": low, "said": said, "right": right, "count": len(part)})
        label = f"candidates with odds of {low:.0%}–{min(high, 1):.0%} ({len(part)})"
        study.add(f"{label}: mean odds", said, "%")
        study.add(f"{label}: right", right, "%")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help=f"of 1e3–5e3 electrons; {FRAMES}, quick: {QUICK_FRAMES}")
    parser.add_argument("--smooth", type=int, help=f"discs, and as many blobs; {SMOOTH}, or fewer if quick")
    parser.add_argument("--seed", type=int, default=SEED, help=f"{SEED}; for tuning: {TUNING_SEED}")
    parser.add_argument("--kinds", nargs="*", default=[*KINDS, "disc", "blob"], help="which frames")
    add_options(parser)
    options = parser.parse_args(arguments)
    study = Study("few_electrons", quick=options.quick)
    n = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    bare = options.smooth or (2 if options.quick else SMOOTH)
    counts = {
        "few": n,
        "5e3": max(1, round(SHARE_5E3 * n)),
        "other": max(1, round(SHARE_OTHER * n)),
        "disc": bare,
        "blob": bare,
    }
    wanted = [(kind, i, options.seed) for kind in options.kinds for i in range(counts[kind])]
    from benchmarks import few_electrons as own  # by its name: workers cannot find what __main__ keeps

    rows = kept_fits(study, own.fitted, wanted, options.workers, options.resume)
    for kind in KINDS:
        if of_kind := [row for row in rows if row["kind"] == kind]:
            report(study, kind, of_kind)
    table = reliability(study, [row for row in rows if row["kind"] in KINDS])
    for kind in ("disc", "blob"):
        if of_kind := [row for row in rows if row["kind"] == kind]:
            sure = sum(row["status"] == "converged" for row in of_kind)
            study.add(
                f"{kind}s without structure, {len(of_kind)} of 1e3–1e7 electrons: converged",
                sure,
                "",
                at_most=0,
            )
    study.note(
        f"seed {options.seed}; frames of seed {TUNING_SEED} are for tuning.  Wrong: off by more than "
        f"{BEYOND:g} stated errors and more than {RIGHT[0]:g} nm or {RIGHT[1]:g} mrad"
    )
    draw(study, rows, table)
    return 0 if study.finish(frames=rows, reliability=table) else 1


def draw(study: Study, rows: list[Row], table: list[dict[str, float]]) -> None:
    """Reliability of the odds; errors of converged answers against electrons."""
    with study.figure(columns=2, size=(4.2, 3.4)) as (_, axes):
        axes[0].plot([0, 100], [0, 100], "k--", lw=0.8)
        axes[0].plot([row["said"] for row in table], [row["right"] for row in table], "o-")
        axes[0].set(xlabel="stated odds (%)", ylabel="right (%)", title="candidates")
        sure = [row for row in rows if row.get("status") == "converged" and "thickness" in row]
        axes[1].errorbar(
            [row["electrons"] for row in sure],
            [row["thickness"] for row in sure],
            yerr=[1.96 * (row["thickness_stderr"] or 0) for row in sure],
            fmt="o",
            lw=0.8,
        )
        axes[1].set(xscale="log", xlabel="electrons", ylabel="error of thickness (nm)", title="converged")


if __name__ == "__main__":
    sys.exit(main())
