"""Which of thirty libraries a frame shows, or none of them: how often it is right, and whether the odds hold.

The crystals are in `benchmarks/crystals/unseen`, which set nothing: thirty are libraries, ten are none of
them.  Frames differ from the libraries as real ones do (`benchmarks.identify_frames`).  With `--set` the
crystals are those that set the thresholds of identification: every frame of a library is identified once more
without its crystal, and the study prints what would suit these frames best (`benchmarks.identify_odds`).

Run with: python -m benchmarks.identify [--frames N] [--none N] [--set] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from benchmarks.common import Study, cores, new_parser
from benchmarks.identify_frames import (
    ELECTRONS,
    MORE_NONE,
    NONE,
    OTHERS,
    SEMI_ANGLE,
    SETTING,
    THICKNESS,
    TILT,
    TWINS,
    Case,
    Shown,
    frames,
    library_of,
    reported,
)
from benchmarks.identify_odds import SHARES, Judged, Outcome, cross_validated, nones, outcome, suited
from hybridfit.errors import HybridfitError
from hybridfit.identification.identifier import Identifier
from hybridfit.identification.odds import Evidence
from hybridfit.identification.structure import Left

FRAMES, QUICK_FRAMES = (240, 60), (6, 3)  # of a library, and of none
QUICK_LIBRARIES, QUICK_OTHERS = 4, 2
SEED, SETTING_SEED = 1, 2
BINS = 10
CLOSE = 1.0  # nm
Row = dict[str, Any]


def identified(
    libraries: list[Case], others: list[Case], counts: tuple[int, int], seed: int, setting: bool = False
) -> list[Row]:
    """Every frame, identified: shares of them at the same time.

    With `setting` there are more kinds of frames without a crystal, and frames of libraries are identified
    without them, too.
    """
    for case in [*libraries, *others]:
        library_of(case), library_of(case, true=True)
    many = cores()
    parts = Parallel(n_jobs=many)(
        delayed(_share)(libraries, others, counts, seed, setting, first, many) for first in range(many)
    )
    return [row for part in parts for row in part]


def _share(
    libraries: list[Case],
    others: list[Case],
    counts: tuple[int, int],
    seed: int,
    setting: bool,
    first: int,
    step: int,
) -> list[Row]:
    names = {str(library_of(case)): case.name for case in libraries}
    identifier = Identifier(SEMI_ANGLE, names, workers=1)
    identifier.prepare()
    every, kinds, rows = identifier.known, (*NONE, *MORE_NONE) if setting else NONE, []
    for shown in islice(frames(libraries, others, *counts, seed, kinds), first, None, step):
        rows.append(_row(identifier, shown, names))
        if setting and shown.name is not None and shown.name not in TWINS:
            crystal = _crystal_of(shown.name)
            identifier.known = [k for k in every if _crystal_of(names[k.name]) != crystal]
            without = shown._replace(name=None, kind=f"{shown.name}, left out")
            rows.append(_row(identifier, without, names))
            identifier.known = every
    return rows


def _crystal_of(name: str) -> str:
    """The crystal of a case: another zone axis of it is no other crystal."""
    return name.rsplit("_", 1)[0]


def _row(identifier: Identifier, shown: Shown, names: dict[str, str]) -> Row:
    """One frame, identified; names are those of cases, by library."""
    row: Row = {"shown": shown.name, "kind": shown.kind, "electrons": float(shown.image.sum())}
    try:
        found = identifier.identify(shown.image)
    except HybridfitError as error:  # nothing resembles it: as good as "none", said without odds
        return row | {"answer": None, "refused": str(error), "right": shown.name is None}
    answer = None if found.answer is None else names[found.answer]
    best = found.best
    return row | {
        "answer": answer,
        "right": answer == shown.name,
        "probability": found.probability,
        "none": found.none,
        "left": best.structure_left,
        "nearest": names[best.name],
        "mirrored": best.mirrored,
        "flipped": shown.truth.get("flipped"),
        "thickness_error": best.thickness - shown.truth.get("thickness", np.nan),
        "seconds": dict(found.seconds),
        "evidence": _plain(found.evidence, names),
    }


def _plain(evidence: Evidence | None, names: dict[str, str]) -> Row:
    """Evidence as JSON, with the names of cases."""
    assert evidence is not None
    out = asdict(evidence) | {"left": list(evidence.left)}
    return out | {"libraries": [names[each] for each in evidence.libraries]}


def _evidence(row: Row) -> Evidence:
    """The evidence of a row."""
    plain = row["evidence"]
    return Evidence(**{**plain, "left": Left(*plain["left"])})


def calibration(rows: list[Row]) -> float:
    """Mean |probability − share of right answers| over bins of probability."""
    said = [row for row in rows if "probability" in row]
    odds, right = (np.array([row[name] for row in said], float) for name in ("probability", "right"))
    parts = [part for part in np.array_split(np.argsort(odds), BINS) if len(part)]
    return float(sum(abs(odds[part].mean() - right[part].mean()) * len(part) for part in parts) / len(odds))


def report(study: Study, rows: list[Row], many: int) -> None:
    """The rows of the study."""
    of_some, of_none = ([r for r in rows if (r["shown"] is None) is none] for none in (False, True))
    study.add(f"right of {many} libraries", 100 * _mean(of_some, "right"), "%", at_least=97)
    study.add("frames of none: said to be none", 100 * _mean(of_none, "right"), "%", at_least=95)
    study.add("expected calibration error of the odds", calibration(rows), "", at_most=0.03)
    study.add(
        "frames of a library: said to be none", 100 * np.mean([r["answer"] is None for r in of_some]), "%"
    )
    wrong = [r for r in of_some if r["answer"] not in (None, r["shown"])]
    study.add("frames of a library: another one named", 100 * len(wrong) / max(len(of_some), 1), "%")
    right = [r for r in of_some if r["right"]]
    close = [abs(r["thickness_error"]) <= CLOSE for r in right]
    study.add(f"thickness within {CLOSE:g} nm where right", 100 * float(np.mean(close)), "%")
    shown = [r for r in right if np.isfinite(r["mirrored"])]
    if shown:
        good = np.mean([(r["mirrored"] > 0.5) == r["flipped"] for r in shown])
        study.add("mirror right, of projections without one", 100 * float(good), "%")
    timed = [r["seconds"]["total"] for r in rows if "seconds" in r]
    study.add(f"one frame and {many} libraries, median", float(np.median(timed)), "s", at_most=5)
    for row in rows:
        if not row["right"]:
            nearest = row["answer"] or f"none, {row.get('nearest', 'refused')} nearest"
            odds = f"{row['probability']:.1%}" if "probability" in row else row["refused"]
            study.note(
                f"{row['shown'] or row['kind']} taken for {nearest} ({odds}), {row['electrons']:.0e} e"
            )


def _mean(rows: list[Row], name: str) -> float:
    return float(np.mean([row[name] for row in rows])) if rows else float("nan")


def judged(rows: list[Row]) -> list[Judged]:
    """Rows as what numbers of the odds are set by; those that name a wrong library say nothing of none."""
    out = []
    for row in rows:
        if "evidence" not in row or (row["shown"] is not None and row["nearest"] != row["shown"]):
            continue
        name = row["shown"] or row["kind"].removesuffix(", left out")
        kind = "right" if row["shown"] else "no crystal" if name in (*NONE, *MORE_NONE) else "another crystal"
        out.append(Judged(_evidence(row), _crystal_of(name), kind))
    return out


def report_set(study: Study, rows: list[Row]) -> None:
    """What suits frames that set numbers, and whether that holds for other crystals."""
    some = judged(rows)
    best = suited(some)
    for name, (right, wrong, spread) in (("left", best.left), ("misfit", best.misfit)):
        study.add(f"{name}, median of right libraries", right, "")
        study.add(f"{name}, median of wrong libraries", wrong, "")
        study.add(f"{name}, spread of its logarithm", spread, "")
    study.add("heavier", best.heavier, "")
    _add_outcome(study, "as set", outcome(some, nones(some)))
    _add_outcome(study, "cross-validated", outcome(some, cross_validated(some)))


def _add_outcome(study: Study, words: str, found: Outcome) -> None:
    study.add(f"{words}: mean ln of the probability of the truth", found.likelihood, "")
    study.add(f"{words}: expected calibration error of the odds of none", found.calibration, "")
    for kind in SHARES:
        if kind in found.right:
            study.add(f"{words}: right, {kind}", 100 * found.right[kind], "%")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help=f"of a library; {FRAMES[0]}, quick: {QUICK_FRAMES[0]}")
    parser.add_argument("--none", type=int, help=f"of none; {FRAMES[1]}, quick: {QUICK_FRAMES[1]}")
    parser.add_argument("--set", action="store_true", help="with the crystals that thresholds are set by")
    options = parser.parse_args(arguments)
    libraries, others = (SETTING, OTHERS) if options.set else reported()
    counts = QUICK_FRAMES if options.quick else FRAMES
    if options.quick:
        libraries, others = libraries[:QUICK_LIBRARIES], others[:QUICK_OTHERS]
    counts = options.frames or counts[0], options.none or counts[1]
    study = Study("identify-set" if options.set else "identify", quick=options.quick)
    rows = identified(libraries, others, counts, SETTING_SEED if options.set else SEED, options.set)
    report(study, [row for row in rows if "left out" not in row["kind"]], len(libraries))
    if options.set:
        report_set(study, rows)
    study.note(
        f"identify: {counts[0]} frames of {len(libraries)} libraries, {counts[1]} of none, a fifth of which "
        f"show no crystal; {THICKNESS[0]:g}–{THICKNESS[1]:g} nm, tilt to {TILT:g} mrad, {ELECTRONS[0]:.0e}–"
        f"{ELECTRONS[1]:.0e} electrons, {SEMI_ANGLE:g} mrad, 200 kV"
    )
    draw(study, rows)
    return 0 if study.finish(frames=rows) else 1


def draw(study: Study, rows: list[Row]) -> None:
    """What is left of the structure, and what the odds are worth."""
    said = [row for row in rows if "probability" in row]
    with study.figure(columns=2) as (_, axes):
        for none, name, colour in ((False, "of a library", "C0"), (True, "of none", "C1")):
            mine = [r for r in said if (r["shown"] is None) is none]
            left = [max(r["left"], 1e-3) for r in mine]
            axes[0].loglog([r["electrons"] for r in mine], left, ".", color=colour, label=f"frames {name}")
        axes[0].set(xlabel="electrons", ylabel="structure left by the best library")
        axes[0].legend()
        odds, right = (np.array([r[name] for r in said], float) for name in ("probability", "right"))
        parts = [part for part in np.array_split(np.argsort(odds), BINS) if len(part)]
        axes[1].plot([odds[p].mean() for p in parts], [right[p].mean() for p in parts], "o")
        axes[1].plot([0, 1], [0, 1], color="0.6", linewidth=1)
        axes[1].set(xlabel="probability that is said", ylabel="share that is right")


if __name__ == "__main__":
    sys.exit(main())
