"""Crystals that no training sees: the disc of any of them, and fits without a network of their own.

Frames are those of `benchmarks.unseen_frames`, ten each of 40 crystals.  In the part "alignment" the disc is
looked for, with tilts to 15 mrad; in the part "fit" frames with tilts to 5 mrad are fitted, at the smaller of
a crystal's semi-angles.  They are made of a library with more beams, closer directions and other thicknesses
than the one that is fitted.

Libraries and frames are made when they are needed, and kept; a crystal takes minutes.  A run may be stopped:
--resume goes on with the rows of the last one, and --minutes stops before the next crystal.

Run with: python -m benchmarks.any_crystal [--part NAME] [--crystals NAME…] [--minutes M] [--resume]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.errors import NAMES, Row, column, share, statuses
from benchmarks.hybrid import NOT_THAT
from benchmarks.kept import kept_fits
from benchmarks.unseen import QUICK, cases
from benchmarks.unseen_rows import ALIGNMENT, FIT, row_of
from hybridfit.fitting.judge.answer import HARDLY_KNOWN

FRAMES, QUICK_FRAMES = 10, 4
NEAR, NOT_FAR = 0.02, 0.05  # of the radius
RIGHT = {"thickness": 0.5, "tilt_x": 0.1, "tilt_y": 0.1}  # nm, mrad
BOUNDS = 4.0  # Cramér–Rao standard deviations that an error may have where that is more
BRIGHT = 1e6  # electrons
HARDLY = HARDLY_KNOWN.partition("{")[0]  # what a message begins with that names what is hardly known
WORST = 5  # crystals that are named
Groups = dict[str, Callable[[Row], bool]]


def between(name: str, low: float, high: float) -> Callable[[Row], bool]:
    """Whether a row has a value in a range."""
    return lambda row: low <= row[name] < high


GROUPS: Groups = {
    "5–10 mrad": between("semi_angle", 0, 10),
    "10–17 mrad": between("semi_angle", 10, 17),
    "17–30 mrad": between("semi_angle", 17, 99),
    "1e5–1e6 electrons": between("electrons", 0, 1e6),
    "1e6–1e7 electrons": between("electrons", 1e6, 1e7),
    "1e7–1e8 electrons": between("electrons", 1e7, 1e99),
    "3–10 nm": between("true_thickness", 0, 10),
    "10–40 nm": between("true_thickness", 10, 40),
    "40–100 nm": between("true_thickness", 40, 999),
    "radius below 15 px": between("radius", 0, 15),
    "radius of 15–40 px": between("radius", 15, 40),
    "radius above 40 px": between("radius", 40, 9999),
    "nothing wrong with the camera": lambda row: row["kind"] == "plain",
    "gap": lambda row: row["kind"] == "gap",
    "beam stop": lambda row: row["kind"] == "stop",
    "unequal gain": lambda row: row["kind"] == "gain",
}
TILTS: dict[str, Groups] = {
    ALIGNMENT: {
        "tilt 0–5 mrad": between("tilt", 0, 5),
        "tilt 5–10 mrad": between("tilt", 5, 10),
        "tilt 10–15 mrad": between("tilt", 10, 99),
    },
    FIT: {"tilt 0–2 mrad": between("tilt", 0, 2), "tilt 2–5 mrad": between("tilt", 2, 99)},
}


def near(row: Row, reach: float = NEAR) -> bool:
    """Whether size and centre of the disc are right."""
    return bool(max(row["size_error"], row["centre_error"]) <= reach)


def right(row: Row, bounds: float = BOUNDS) -> bool:
    """Whether thickness and tilt are right, or off by no more than so many bounds."""
    if "thickness_stderr" not in row:
        return False
    return all(abs(row[name]) <= max(RIGHT[name], bounds * row["bounds"][name]) for name in NAMES)


def wrong(row: Row) -> bool:
    """Whether a fit converged on something else."""
    if row["status"] != "converged":
        return False
    tilt = np.hypot(row["tilt_x"], row["tilt_y"])
    return bool(abs(row["thickness"]) > NOT_THAT[0] or tilt > NOT_THAT[1])


def untold(row: Row) -> bool:
    """Whether a fit converged on something else, and its message does not name all of that."""
    if not wrong(row):
        return False
    named = row.get("message", "").partition(HARDLY)[2].partition(":")[0]
    off = {"thickness": abs(row["thickness"]), "tilt": np.hypot(row["tilt_x"], row["tilt_y"])}
    return any(
        error > limit and name not in named
        for (name, error), limit in zip(off.items(), NOT_THAT, strict=True)
    )


def shares(study: Study, what: str, part: str, rows: Sequence[Row], hit: Callable[[Row], bool]) -> None:
    """The share of hits in every group of frames, and of the best and the worst crystals."""
    for name, belongs in (GROUPS | TILTS[part]).items():
        some = [row for row in rows if belongs(row)]
        if some:
            study.add(f"{what}, {name}", share(sum(map(hit, some)), len(some)), "%")
    by_crystal = {}
    for crystal in dict.fromkeys(row["crystal"] for row in rows):
        some = [row for row in rows if row["crystal"] == crystal]
        by_crystal[crystal] = share(sum(map(hit, some)), len(some))
    ranked = sorted(by_crystal, key=lambda crystal: by_crystal[crystal])
    study.add(f"{what}, the best crystal", by_crystal[ranked[-1]], "%")
    study.add(f"{what}, the worst crystal", by_crystal[ranked[0]], "%")
    worst = ", ".join(f"{crystal} {by_crystal[crystal]:.0f} %" for crystal in ranked[:WORST])
    study.note(f"{what}: the worst crystals are {worst}")


def report_alignment(study: Study, rows: list[Row]) -> None:
    """How often the disc is found."""
    what = "disc within 2 % in size and centre"
    study.add(f"{what}, all frames", share(sum(map(near, rows)), len(rows)), "%", at_least=98)
    sure = [row for row in rows if row["sure"]]
    study.add("frames that the aligner is sure of", share(len(sure), len(rows)), "%")
    study.add(f"{what}, where the aligner is sure", share(sum(map(near, sure)), len(sure)), "%")
    for error, name in (("size_error", "size"), ("centre_error", "centre")):
        study.add(
            f"{name} within 2 %, all frames", share(sum(r[error] <= NEAR for r in rows), len(rows)), "%"
        )
    far = sum(near(row, NOT_FAR) for row in rows)
    study.add("disc within 5 % in size and centre, all frames", share(far, len(rows)), "%")
    known = [row["calibrated_centre_error"] for row in rows if "calibrated_centre_error" in row]
    if known:
        held = sum(error <= NEAR for error in known)
        study.add("centre within 2 %, where the camera's scale is given", share(held, len(known)), "%")
    study.add("alignment of one frame, median", 1e3 * float(np.median(column(rows, "seconds"))), "ms")
    shares(study, what, ALIGNMENT, rows, near)


def report_before(study: Study, path: Path, rows: list[Row]) -> None:
    """How often an earlier run found the disc, in the frames that both have."""
    known = {(row["crystal"], row["electrons"]) for row in rows}
    earlier: list[Row] = json.loads(path.read_text(encoding="utf-8"))["frames"][ALIGNMENT]
    same = [row for row in earlier if (row["crystal"], row["electrons"]) in known]
    what = f"before: disc within 2 % in size and centre, {len(same)} of these frames"
    study.add(what, share(sum(map(near, same)), len(same)), "%")
    sure = [row for row in same if row["sure"]]
    study.add("before: where the aligner was sure", share(sum(map(near, sure)), len(sure)), "%")


def report_fits(study: Study, rows: list[Row]) -> None:
    """How often the fit is right, how long it takes, and whether it misleads."""
    bright = [row for row in rows if row["electrons"] >= BRIGHT]
    what = "fit within 0.5 nm and 0.1 mrad, or four bounds"
    study.add(f"{what}, ≥ 1e6 electrons", share(sum(map(right, bright)), len(bright)), "%", at_least=97)
    study.add(f"{what}, all frames", share(sum(map(right, rows)), len(rows)), "%")
    plainly = sum(right(row, 0.0) for row in bright)
    study.add("fit within 0.5 nm and 0.1 mrad, ≥ 1e6 electrons", share(plainly, len(bright)), "%")
    misled = share(sum(map(wrong, rows)), len(rows))
    study.add("fit converged, but off by more than 3 nm or 1 mrad", misled, "%", at_most=0.5)
    what_not = "fit converged, but off by more than 3 nm or 1 mrad, and its message does not say so"
    study.add(what_not, share(sum(map(untold, rows)), len(rows)), "%")
    far = share(sum(row["misled"] for row in rows), len(rows))
    study.add("fit converged, but off by more than 1 nm or 0.3 mrad and 3 standard errors", far, "%")
    seconds = column(rows, "seconds")
    study.add("fit of one frame, median", 1e3 * float(np.median(seconds)), "ms", at_most=200)
    study.add("fit of one frame, slowest of ten", 1e3 * float(np.percentile(seconds, 90)), "ms")
    searched = sum(row["route"] == "full search" for row in rows)
    study.add("fit by way of the full search", share(searched, len(rows)), "%")
    held = [row[f"{name}_in95"] for row in rows for name in NAMES if f"{name}_in95" in row]
    study.add("fit: 95 % intervals that hold the truth", share(sum(held), len(held)), "%")
    study.note("fits: " + ", ".join(f"{n} {status}" for status, n in statuses(rows).items()))
    shares(study, what, FIT, bright, right)
    disc = "disc of the fit within 2 % in size and centre"
    study.add(f"{disc}, all frames", share(sum(map(near, rows)), len(rows)), "%")
    shares(study, disc, FIT, rows, near)


def rows_of(
    study: Study, part: str, names: Sequence[str], count: int, *, workers: int, resume: bool, until: float
) -> Iterator[list[Row]]:
    """The rows of one crystal after the other, until it is too late for another."""
    for name in names:
        if time.perf_counter() > until:
            return
        wanted = [(f"{part} {name}", i, count) for i in range(count)]
        rows = kept_fits(study, row_of, wanted, workers, resume)
        resume = True  # rows of the crystals before
        yield rows


def draw(study: Study, found: dict[str, list[Row]]) -> None:
    """Errors against the dose, and of the fits against their bounds; of the parts that were run."""
    drawn = [part for part in (ALIGNMENT, FIT) if found[part]]
    with study.figure(columns=max(len(drawn), 1)) as (_, axes):
        for axis, part in zip(axes, drawn, strict=False):
            (_draw_discs if part == ALIGNMENT else _draw_fits)(axis, found[part])


def _draw_discs(axis: Any, rows: list[Row]) -> None:
    for sure, colour, label in ((True, "C0", "sure"), (False, "C3", "in doubt")):
        some = [row for row in rows if row["sure"] is sure]
        error = [max(row["size_error"], row["centre_error"], 1e-4) for row in some]
        axis.loglog([row["electrons"] for row in some], error, ".", color=colour, label=label)
    axis.axhline(NEAR, color="0.5", linestyle=":", linewidth=1)
    axis.set(xlabel="electrons in the frame", ylabel="error of the disc (of its radius)")
    axis.legend()


def _draw_fits(axis: Any, rows: list[Row]) -> None:
    for sure, colour in ((True, "C0"), (False, "C3")):
        some = [r for r in rows if "thickness_stderr" in r and (r["status"] == "converged") is sure]
        bound = np.array([row["bounds"]["thickness"] for row in some])
        error = [max(abs(row["thickness"]), 1e-4) for row in some]
        axis.loglog(bound, error, ".", color=colour, label="converged" if sure else "not converged")
    line = np.geomspace(*axis.get_xlim())
    axis.loglog(line, np.maximum(BOUNDS * line, RIGHT["thickness"]), color="0.5", linestyle=":", linewidth=1)
    axis.xaxis.set_minor_formatter("")
    axis.set(xlabel="Cramér–Rao bound of thickness (nm)", ylabel="error of thickness (nm)")
    axis.legend()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--part", choices=(ALIGNMENT, FIT), help="one of the two; both")
    parser.add_argument("--crystals", nargs="+", choices=[*cases()], metavar="NAME", help="some; all 40")
    parser.add_argument("--frames", type=int, help=f"of each crystal; {FRAMES}, quick: {QUICK_FRAMES}")
    parser.add_argument("--minutes", type=float, default=np.inf, help="no crystal is begun later")
    parser.add_argument("--workers", type=int, default=1, help="processes; times are true with one")
    parser.add_argument("--resume", action="store_true", help="go on with the rows of a run that was stopped")
    parser.add_argument("--before", type=Path, help="JSON of an earlier run, for the disc: it is compared")
    options = parser.parse_args(arguments)
    names = options.crystals or (QUICK if options.quick else tuple(cases()))
    count = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    parts = [options.part] if options.part else [ALIGNMENT] if options.quick else [ALIGNMENT, FIT]
    until = time.perf_counter() + 60 * options.minutes
    study = Study("any_crystal", quick=options.quick)
    found: dict[str, list[Row]] = {ALIGNMENT: [], FIT: []}
    resume = options.resume
    for part in parts:
        rows = [
            row
            for some in rows_of(
                study, part, names, count, workers=options.workers, resume=resume, until=until
            )
            for row in some
        ]
        resume = True
        left_out = {row["crystal"]: row["left_out"] for row in rows if "left_out" in row}
        found[part] = [row for row in rows if "left_out" not in row]
        done = len({row["crystal"] for row in found[part]})
        if done < len(cases()):
            study.note(f"{part}: {done} of {len(cases())} crystals")
        for crystal, why in left_out.items():
            study.note(f"{part}: {crystal} was left out: {why}")
        if found[part]:
            report = report_alignment if part == ALIGNMENT else report_fits
            report(study, found[part])
            if options.before and part == ALIGNMENT:
                report_before(study, options.before, found[part])
    draw(study, found)
    return 0 if study.finish(frames=found) else 1


if __name__ == "__main__":
    sys.exit(main())
