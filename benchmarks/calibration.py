"""Whether error bars and confidences hold: pulls, coverage, reliability of the network, statuses.

Two kinds of data: simulated frames with any camera (`benchmarks.frames`) and 1e4–1e8 electrons, where
the model is exact and noise dominates, and abTEM frozen-phonon patterns (`benchmarks.multislice`) with such
cameras and doses, where the model is not exact.

Run with: python -m benchmarks.calibration [--frames N] [--seed S] [--quick]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from joblib import Parallel, delayed

from benchmarks.calibration_frames import RIGHT, SEED, share_of
from benchmarks.common import Study, cores
from benchmarks.errors import BEYOND, MISLED, NAMES, Row, column, rms, statuses
from benchmarks.hybrid import calibration_error

DATA = Path(__file__).parent / "data"
FRAMES, QUICK_FRAMES = 400, 24
COPIES, QUICK_COPIES = 2, 1  # of every abTEM pattern
KINDS = {"noise": "Poisson noise", "abtem": "abTEM patterns"}
COVERED = {68: "68 %", 95: "95 %"}
AT_LEAST, AT_MOST = 90.0, 99.0  # %
FEWEST = 100  # fits that are judged: coverage then has an error of 1.3 %
BINS = {
    "electrons": (1e4, 1e5, 1e6, 1e7, 1e8),
    "true_thickness": (0, 20, 40, 60, 80, 100, 125),
    "true_tilt": (0, 1, 2, 3, 4.3),
}
WORDS = {"electrons": "electrons", "true_thickness": "thickness (nm)", "true_tilt": "tilt (mrad)"}
RELIABILITY = np.array([0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1])


# ---------------------------------------------------------------- table


def coverage(rows: Sequence[Row], percent: int, names: Sequence[str] = NAMES) -> float:
    """Percentage of the stated intervals that hold the truth."""
    inside = np.concatenate([column(rows, f"{name}_in{percent}") for name in names])
    return float(100 * inside.mean()) if len(inside) else float("nan")


def binned(rows: Sequence[Row], what: str) -> list[tuple[float, float, list[Row]]]:
    """Edges and rows of every bin of a quantity that is not empty."""
    edges = BINS[what]
    parts = [(low, high, [row for row in rows if low <= row[what] < high]) for low, high in pairwise(edges)]
    return [part for part in parts if part[2]]


def converged(rows: Sequence[Row]) -> list[Row]:
    """Rows of fits with the status converged."""
    return [row for row in rows if row["status"] == "converged"]


def intervals(study: Study, kind: str, rows: list[Row]) -> None:
    """Pulls and coverage of one kind of data."""
    sure, words = converged(rows), KINDS[kind]
    what = f"{words}: 95 % intervals that hold the truth"
    judge = len(sure) >= FEWEST
    study.add(what, coverage(sure, 95), "%", at_least=AT_LEAST if judge else None)
    study.add(f"{what}, at most", coverage(sure, 95), "%", at_most=AT_MOST if judge else None)
    if not judge:
        study.note(f"{words}: {len(sure)} fits are too few for the bars, which need {FEWEST}")
    for name in NAMES:
        study.add(f"{words}: 95 % intervals of {name} that hold the truth", coverage(sure, 95, [name]), "%")
    study.add(f"{words}: 68 % intervals that hold the truth", coverage(sure, 68), "%")
    for name in NAMES:
        study.add(f"{words}: 68 % intervals of {name} that hold the truth", coverage(sure, 68, [name]), "%")
    for name in NAMES:
        pulls = column(sure, f"{name}_pull")
        study.add(f"{words}: rms of error over standard error, {name}", rms(pulls), "")
        study.add(f"{words}: mean of error over standard error, {name}", pulls.mean(), "")
    study.add(f"{words}: 95 % intervals of all fits that state one", coverage(rows, 95), "%")
    for quantity in BINS:
        for low, high, part in binned(sure, quantity):
            edges = f"{low:.0e}–{high:.0e}" if quantity == "electrons" else f"{low:g}–{high:g}"
            study.add(f"{words}: 95 % intervals, {WORDS[quantity]} {edges}", coverage(part, 95), "%")


def confidences(study: Study, rows: list[Row]) -> None:
    """Reliability of the network's confidences."""
    for kind, words in KINDS.items():
        of_kind = [row for row in rows if row["kind"] == kind and "confidence_tilt" in row]
        for what, reach in RIGHT.items():
            if not of_kind:
                continue
            said, right = column(of_kind, f"confidence_{what}"), column(of_kind, f"right_{what}")
            unit = "nm" if what == "thickness" else "mrad"
            label = f"network, {words}: {what} within {reach:g} {unit}"
            study.add(label, 100 * right.mean(), "%")
            study.add(f"{label}, mean confidence", 100 * said.mean(), "%")
            study.add(f"{label}, expected calibration error", calibration_error(said, right), "")


def failures(study: Study, kind: str, rows: list[Row]) -> None:
    """Statuses of the fits, by dose."""
    for low, high, part in binned(rows, "electrons"):
        label = f"{KINDS[kind]}, {low:.0e}–{high:.0e} electrons"
        for status, count in statuses(part).items():
            study.add(f"{label}: {status}", 100 * count / len(part), "%")
        study.add(f"{label}: confident and wrong", 100 * np.mean([row["misled"] for row in part]), "%")
    routes = {
        route: sum(row["route"] == route for row in rows) for route in dict.fromkeys(r["route"] for r in rows)
    }
    study.note(f"{KINDS[kind]}, {len(rows)} frames: " + ", ".join(f"{n} by {r}" for r, n in routes.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, help=f"simulated ones; {FRAMES}, or {QUICK_FRAMES} if quick")
    parser.add_argument("--copies", type=int, help="of every abTEM pattern, each with its camera and dose")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--quick", action="store_true", help="few frames")
    options = parser.parse_args(arguments)
    study = Study("calibration")
    n = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    copies = options.copies or (QUICK_COPIES if options.quick else COPIES)
    wanted = [("noise", (i, n, options.seed)) for i in range(n)]
    files = sorted(DATA.glob("abtem_[0-9]*.nc"))
    for file in files[::3] if options.quick else files:
        with xr.open_dataset(file) as data:
            every = range(0, data.sizes["thickness_nm"], 4 if options.quick else 1)
        wanted += [("abtem", (file, i, copy)) for i in every for copy in range(copies)]
    if not files:
        study.note("abTEM patterns are not there (python -m benchmarks.abtem_patterns); they were left out")
    rows = _in_parallel(wanted)
    for kind, words in KINDS.items():
        if of_kind := [row for row in rows if row["kind"] == kind]:
            intervals(study, kind, of_kind)
            failures(study, kind, of_kind)
            median = np.median(column(of_kind, "seconds"))
            study.note(f"{words}: {1e3 * median:.0f} ms a fit without its seed, median, one core")
    confidences(study, rows)
    study.note(
        f"intervals are of fits that converged; confident and wrong: converged, and off by more than "
        f"{MISLED['thickness']:g} nm or {MISLED['tilt_x']:g} mrad and by more than {BEYOND:g} standard errors"
    )
    draw(study, rows)
    return 0 if study.finish(frames=rows) else 1


def _in_parallel(wanted: list[tuple[str, tuple[Any, ...]]]) -> list[Row]:
    """All fits; every worker gets a share of each kind."""
    shares = []
    for kind in KINDS:
        of_kind = [each for k, each in wanted if k == kind]
        shares += [(kind, of_kind[start :: 2 * cores()]) for start in range(2 * cores())]
    parts = Parallel(n_jobs=cores())(delayed(share_of)(kind, share) for kind, share in shares if share)
    return [row for part in parts for row in part]


# ---------------------------------------------------------------- figure


def draw(study: Study, rows: list[Row]) -> None:
    """Pulls, coverage against dose, thickness and tilt, reliability, failure modes."""
    with study.figure(columns=3, rows=2) as (_, axes):
        _draw_pulls(axes[0], rows)
        for axis, quantity in zip(axes[1:4], BINS, strict=True):
            _draw_coverage(axis, rows, quantity)
        _draw_reliability(axes[4], rows)
        _draw_failures(axes[5], rows)


def _draw_pulls(axis: Any, rows: list[Row]) -> None:
    bins = np.linspace(-5, 5, 41)
    for kind, colour in zip(KINDS, ("C0", "C1"), strict=True):
        sure = [row for row in converged(rows) if row["kind"] == kind]
        if sure:
            pulls = np.concatenate([column(sure, f"{name}_pull") for name in NAMES])
            axis.hist(
                np.clip(pulls, -5, 5),
                bins,
                density=True,
                histtype="step",
                color=colour,
                lw=1.4,
                label=KINDS[kind],
            )
    fine = np.linspace(-5, 5, 201)
    axis.plot(fine, np.exp(-(fine**2) / 2) / np.sqrt(2 * np.pi), "k", lw=0.9, label="as stated")
    axis.set(xlabel="error / standard error", ylabel="density")
    axis.legend(fontsize=7)


def _draw_coverage(axis: Any, rows: list[Row], quantity: str) -> None:
    """Shares of the intervals that hold the truth, thickness and tilt, with their binomial errors."""
    edges = BINS[quantity]
    for kind, colour, shift in zip(KINDS, ("C0", "C1"), (-0.06, 0.06), strict=True):
        sure = [row for row in converged(rows) if row["kind"] == kind]
        for names, mark, away in ((NAMES[:1], "o", -0.03), (NAMES[1:], "^", 0.03)):
            for percent in COVERED:
                x, y, bar = [], [], []
                for low, _, part in binned(sure, quantity):
                    count = len(column(part, f"{names[0]}_in{percent}")) * len(names)
                    if count < 5:
                        continue
                    share = coverage(part, percent, names)
                    x.append(edges.index(low) + 0.5 + shift + away)
                    y.append(share)
                    p = (share / 100 * count + 1) / (count + 2)
                    bar.append(100 * np.sqrt(p * (1 - p) / count))
                label = f"{'thickness' if mark == 'o' else 'tilt'}, {KINDS[kind]}" if percent == 95 else None
                axis.errorbar(x, y, bar, fmt=mark, ms=4, lw=0.9, color=colour, label=label)
    for percent in COVERED:
        axis.axhline(percent, color="k", lw=0.8, ls="-" if percent == 95 else "--")
    labels = [f"$10^{{{np.log10(e):.0f}}}$" if quantity == "electrons" else f"{e:g}" for e in edges]
    axis.set_xticks(range(len(edges)), labels)
    axis.set(xlabel=WORDS[quantity], ylabel="intervals that hold the truth (%)", ylim=(0, 103))
    if quantity == "electrons":
        axis.legend(fontsize=6.5, loc="lower left")


def _draw_reliability(axis: Any, rows: list[Row]) -> None:
    """Share of right answers against confidence, in bins of confidence."""
    axis.plot([0, 1], [0, 1], "k", lw=0.8)
    for kind, colour in zip(KINDS, ("C0", "C1"), strict=True):
        of_kind = [row for row in rows if row["kind"] == kind and "confidence_tilt" in row]
        for what, mark in zip(RIGHT, ("o", "^"), strict=True):
            said, right = column(of_kind, f"confidence_{what}"), column(of_kind, f"right_{what}")
            where = np.digitize(said, RELIABILITY[1:-1])
            picked = [i for i in range(len(RELIABILITY) - 1) if (where == i).sum() >= 5]
            x = [said[where == i].mean() for i in picked]
            y = np.array([right[where == i].mean() for i in picked])
            n = np.array([(where == i).sum() for i in picked])
            p = (y * n + 1) / (n + 2)
            axis.errorbar(
                x,
                y,
                np.sqrt(p * (1 - p) / n) if len(n) else None,
                fmt=mark,
                ms=4,
                lw=0.9,
                color=colour,
                label=f"{what}, {KINDS[kind]}",
            )
    axis.set(
        xlabel="confidence of the network", ylabel="share of right answers", xlim=(0, 1.02), ylim=(0, 1.05)
    )
    axis.legend(fontsize=6.5)


def _draw_failures(axis: Any, rows: list[Row]) -> None:
    """Statuses of the fits, by dose and kind."""
    labels: list[str] = []
    known = list(statuses(rows))
    for kind in KINDS:
        for low, high, part in binned([row for row in rows if row["kind"] == kind], "electrons"):
            below = 0.0
            for i, status in enumerate(known):
                share = 100 * sum(row["status"] == status for row in part) / len(part)
                label = status.replace("_", " ") if not labels else None
                axis.bar(len(labels), share, bottom=below, color=f"C{i}", width=0.8, label=label)
                below += share
            wrong = 100 * np.mean([row["misled"] for row in part])
            axis.text(len(labels), 101, f"{wrong:.1f}", ha="center", fontsize=7)
            powers = f"$10^{{{np.log10(low):.0f}}}$–$10^{{{np.log10(high):.0f}}}$"
            labels.append(f"{KINDS[kind].split()[0]} {powers}")
    axis.set_xticks(range(len(labels)), labels, rotation=60, fontsize=7, ha="right", rotation_mode="anchor")
    axis.set(ylabel="fits (%); above: confident and wrong", ylim=(0, 108))
    axis.grid(axis="x", visible=False)
    axis.legend(fontsize=7, loc="lower right", frameon=True)


if __name__ == "__main__":
    sys.exit(main())
