"""Which of thirty libraries a frame shows, or none of them: how often it is right, and whether the odds hold.

The crystals are in `benchmarks/crystals/unseen`, which set nothing: thirty are libraries, ten are none of
them.  Frames differ from the libraries as real ones do (`benchmarks.identify_frames`).  "Other frames" are as
many more of the same crystals, of a seed that was first run when the odds were as they are: what the first
frames had shown led to them.  With `--set` the crystals are those that set the thresholds of
identification: frames are identified without their crystals, too (`benchmarks.identify_rows`), and the study
prints what would suit them best (`benchmarks.identify_odds`).  What a frame says is kept as it comes: with
`--resume` a run goes on where it was stopped, and judges all by the present odds.

Run with: python -m benchmarks.identify [--frames N] [--none N] [--no-other] [--set] [--resume] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.identify_frames import ELECTRONS, SEMI_ANGLE, THICKNESS, TILT
from benchmarks.identify_odds import SHARES, Outcome, cross_validated, nones, outcome, suited
from benchmarks.identify_rows import AMONG_HEAVY, LEFT_OUT, Asked, Row, answered, identified, judged
from benchmarks.kept import add_options, kept_fits

FRAMES, QUICK_FRAMES = (240, 60), (6, 3)  # of a library, and of none
SEED, OTHER_SEED, SETTING_SEED = 1, 11, 2
BINS = 10
CLOSE = 1.0  # nm


def calibration(rows: list[Row]) -> float:
    """Mean |probability − share of right answers| over bins of probability."""
    said = [row for row in rows if "probability" in row]
    odds, right = (np.array([row[name] for row in said], float) for name in ("probability", "right"))
    parts = [part for part in np.array_split(np.argsort(odds), BINS) if len(part)]
    return float(sum(abs(odds[part].mean() - right[part].mean()) * len(part) for part in parts) / len(odds))


def report(study: Study, rows: list[Row], many: int, which: str = "") -> None:
    """The rows of the study; `which` frames they are."""
    of_some, of_none = ([r for r in rows if (r["shown"] is None) is none] for none in (False, True))
    study.add(f"{which}right of {many} libraries", 100 * _mean(of_some, "right"), "%", at_least=97)
    study.add(f"{which}frames of none: said to be none", 100 * _mean(of_none, "right"), "%", at_least=95)
    study.add(f"{which}expected calibration error of the odds", calibration(rows), "", at_most=0.03)
    study.add(
        f"{which}frames of a library: said to be none",
        100 * np.mean([r["answer"] is None for r in of_some]),
        "%",
    )
    wrong = [r for r in of_some if r["answer"] not in (None, r["shown"])]
    study.add(f"{which}frames of a library: another one named", 100 * len(wrong) / max(len(of_some), 1), "%")
    right = [r for r in of_some if r["right"]]
    close = [abs(r["thickness_error"]) <= CLOSE for r in right]
    study.add(f"{which}thickness within {CLOSE:g} nm where right", 100 * float(np.mean(close)), "%")
    shown = [r for r in right if np.isfinite(r["mirrored"])]
    if shown:
        good = np.mean([(r["mirrored"] > 0.5) == r["flipped"] for r in shown])
        study.add(f"{which}mirror right, of projections without one", 100 * float(good), "%")
    for row in rows:
        if not row["right"]:
            nearest = row["answer"] or f"none, {row.get('nearest', 'refused')} nearest"
            odds = f"{row['probability']:.1%}" if "probability" in row else row["refused"]
            study.note(
                f"{which}{row['shown'] or row['kind']} taken for {nearest} ({odds}), {row['electrons']:.0e} e"
            )


def _mean(rows: list[Row], name: str) -> float:
    return float(np.mean([row[name] for row in rows])) if rows else float("nan")


def report_set(study: Study, rows: list[Row]) -> None:
    """What suits frames that set numbers, and whether that holds for other crystals."""
    some = judged(rows)
    best = suited(some)
    for name, (right, wrong, spread) in (("left", best.left), ("misfit", best.misfit)):
        study.add(f"{name}, median of right libraries", right, "")
        study.add(f"{name}, median of wrong libraries", wrong, "")
        study.add(f"{name}, spread of its logarithm", spread, "")
    study.add("power of what a library lacks", best.lacking, "")
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
    parser.add_argument("--no-other", action="store_true", help="without the other frames, of another seed")
    add_options(parser)
    options = parser.parse_args(arguments)
    counts = QUICK_FRAMES if options.quick else FRAMES
    counts = options.frames or counts[0], options.none or counts[1]
    asked = Asked(options.set, options.quick, *counts)
    study = Study("identify-set" if options.set else "identify", quick=options.quick)
    asked.build()
    reported = (SEED,) if options.quick or options.no_other else (SEED, OTHER_SEED)
    seeds = (SETTING_SEED,) if options.set else reported
    of_none, of_some = range(counts[0], sum(counts)), range(counts[0])
    # those of none first: a run that is stopped has them all
    wanted = [(asked.word, i, seed) for part in (of_none, of_some) for seed in seeds for i in part]
    found = kept_fits(study, identified, wanted, options.workers, options.resume)
    rows = [answered(row) for each in found for row in each["rows"]]
    many = len(asked.cases[0])
    for seed in seeds:
        mine = [r for r in rows if r["seed"] == seed and not r["kind"].endswith((LEFT_OUT, AMONG_HEAVY))]
        report(study, mine, many, "other frames: " if seed == OTHER_SEED else "")
    timed = [row["seconds"]["total"] for row in rows if "seconds" in row]
    study.add(f"one frame and {many} libraries, median", float(np.median(timed)), "s", at_most=5)
    if options.set:
        report_set(study, rows)
    study.note(
        f"identify: {counts[0]} frames of {many} libraries, {counts[1]} of none, a fifth of which "
        f"show no crystal; {THICKNESS[0]:g}–{THICKNESS[1]:g} nm, tilt to {TILT:g} mrad, {ELECTRONS[0]:.0e}–"
        f"{ELECTRONS[1]:.0e} electrons, {SEMI_ANGLE:g} mrad, 200 kV"
        + ("; other frames are as many more, of another seed" if OTHER_SEED in seeds else "")
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
