"""Every threshold of the package, its margins on frames that did not set it, and what answers owe to it.

A threshold is a field of a settings class with a unit, a reason and the study that set it
(`hybridfit.thresholds`).  The study has three parts:

list         every threshold, by stage
margins      thresholds that a measured quantity is compared with: how far the nearest good frame lies on one
             side, and the nearest of the frames that should be refused on the other (`threshold_margins`)
sensitivity  every other threshold of a fit: how many answers change with 0.8 and with 1.25 times its value
             (`threshold_sensitivity`)

Run with: python -m benchmarks.thresholds [--part PART] [--only PATTERN] [--frames N] [--quick]
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import hybridfit
from benchmarks.common import Study, cores, new_parser
from benchmarks.threshold_frames import CRYSTALS, ELECTRONS, FEW, NETWORK, SEMI_ANGLE, kept
from benchmarks.threshold_margins import Margin, margins, refusals
from benchmarks.threshold_quantities import measured
from benchmarks.threshold_sensitivity import (
    MOVED,
    UNTRIED,
    Change,
    Fits,
    Trial,
    change,
    fits,
    frames_in,
    trials,
)
from hybridfit.thresholds import Threshold, thresholds_of

PARTS = ("list", "margins", "sensitivity")
FRAMES, QUICK_FRAMES = 12, 2
# of a quick run: one threshold or two of every way
QUICK = r"RouteSettings.(wider|matched_near)|SeedSettings.passes|SearchSettings.(scale_step|window_tilt_step)"
THIN = 1.25  # a margin below is thin
FARTHEST, MOVES, SHOWN = 100.0, (1e-4, 1e2), 30  # in the figure


def settings_classes() -> dict[type, str]:
    """Every class of the package that has thresholds, and the stage that it belongs to.

    The stage is the folder of the module, such as "fitting/seed", or the module itself.
    """
    found: dict[type, str] = {}
    for module in pkgutil.walk_packages(hybridfit.__path__, "hybridfit."):
        if module.name.endswith("__main__"):
            continue
        for each in vars(importlib.import_module(module.name)).values():
            mine = isinstance(each, type) and each.__module__ == module.name
            if mine and dataclasses.is_dataclass(each) and next(thresholds_of(each), None):
                parts = module.name.split(".")[1:]
                found[each] = "/".join(parts[:-1] if parts[-1] == "settings" else parts)
    return found


def print_list(only: re.Pattern[str]) -> list[dict[str, Any]]:
    """Print every threshold by stage; returns them for the JSON."""
    console, rows = Console(width=None if sys.stdout.isatty() else 150), []
    for settings, stage in settings_classes().items():
        chosen = [each for each in thresholds_of(settings) if only.search(f"{each.settings}.{each.name}")]
        if not chosen:
            continue
        table = Table(title=f"{stage}: {settings.__name__}", title_justify="left", box=SIMPLE_HEAD)
        for heading, width in (("threshold", 24), ("value", 18), ("unit", 20), ("study", 22), ("why", 54)):
            table.add_column(heading, width=width, overflow="fold")
        for each in chosen:
            table.add_row(each.name, _written(each), each.unit, each.study, each.why)
            rows.append({"stage": stage} | each._asdict() | {"value": _written(each)})
        console.print(table, highlight=False)
    return rows


def _written(threshold: Threshold) -> str:
    value = threshold.value
    return f"{value:g}" if isinstance(value, float) else str(value)


# ---------------------------------------------------------------- margins


def all_margins(study: Study, n: int, only: re.Pattern[str]) -> tuple[list[Margin], list[dict[str, Any]]]:
    """Rows of the table for every observed threshold, and for every kind of frame."""
    found = Parallel(n_jobs=cores())(
        delayed(measured)(crystal, n, study.quick) for crystal in (NETWORK, *CRYSTALS)
    )
    rows = [row for of_crystal in found for row in of_crystal]
    each = [margin for margin in margins(rows) if only.search(margin.threshold)]
    for m in each:
        if m.good:
            study.add(f"{m.threshold}: margin to the nearest of {m.good} that should pass", m.to_good, "×")
        if m.others:
            study.add(f"{m.threshold}: margin to the nearest of {m.others} that should not", m.to_others, "×")
    for kind, by in refusals(rows).items():
        converged = sum(r.get("status") == "converged" for r in rows if r["kind"] == kind)
        if kind == "good":
            study.add(f"{len(by)} good frames: that converged", converged, "", at_least=len(by))
            study.add(f"{len(by)} good frames: the nearest to a poor match", 1 / max(by), "×")
        elif by:
            study.add(f"{len(by)} frames, {kind}: that converged", converged, "", at_most=0)
            study.add(f"{len(by)} frames, {kind}: the farthest from a poor match", min(by), "×")
    _annotate(study, each)
    return each, rows


def _annotate(study: Study, each: Sequence[Margin]) -> None:
    doses = [f"{low:.0e}–{high:.0e}" for low, high in (ELECTRONS, FEW)]
    study.note(
        f"frames: {', '.join((*CRYSTALS, NETWORK))}, {SEMI_ANGLE:g} mrad, {doses[0]} electrons, or "
        f"{doses[1]} where they are few; random numbers of this study alone"
    )
    study.note(
        "margin: the ratio of a threshold to the nearest quantity on either side; below 1 a frame is on the "
        "wrong side. Other frames need not be on the other side of every threshold: the most telling one "
        "refuses them."
    )
    for m in each:
        for side, margin, wrong, of in (
            ("should pass", m.to_good, m.good_on_wrong_side, m.good),
            ("should not", m.to_others, m.others_on_wrong_side, m.others),
        ):
            if of and margin < THIN:
                what = f"thin: {m.threshold} = {m.value:g}, {margin:.2f} × to frames that {side}"
                study.note(f"{what}; {wrong} of {of} on the wrong side")


# ---------------------------------------------------------------- sensitivity


def all_changes(study: Study, n: int, only: re.Pattern[str]) -> list[Change]:
    """Rows of the table for every stage, and for every threshold that changes an answer."""
    every = trials()
    chosen = [trial for trial in every if only.search(trial.key)]
    ways = list(dict.fromkeys(trial.way for trial in chosen))
    with tempfile.TemporaryDirectory(prefix="hybridfit-templates-") as folder:
        work = Parallel(n_jobs=cores())
        # first what all others are compared with: libraries and templates are there, then
        usual: dict[str, Fits] = dict(
            zip(ways, work(delayed(fits)(way, None, n, study.quick, folder) for way in ways), strict=True)
        )
        others = work(delayed(fits)(trial.way, trial, n, study.quick, folder) for trial in chosen)
    changes = [change(trial, usual[trial.way], fit) for trial, fit in zip(chosen, others, strict=True)]
    for settings in dict.fromkeys(trial.settings for trial in chosen):
        mine = [c for c in changes if c.threshold.startswith(f"{settings}.")]
        answers, changed = sum(c.answers for c in mine), sum(c.changed for c in mine)
        study.add(f"{settings}: answers that change, of {answers}", 100 * changed / max(answers, 1), "%")
    for key in dict.fromkeys(c.threshold for c in changes if c.changed):
        mine = [c for c in changes if c.threshold == key]
        worst = max(mine, key=lambda c: (c.changed, c.largest))
        what = f"{key} × {worst.factor:g}: answers of {worst.answers} that change"
        study.add(what, worst.changed, "")
        study.note(
            f"{key} × {worst.factor:g}: largest move of a thickness {worst.largest:.2g} standard errors"
        )
    study.note(
        f"an answer changes if its status does, or its thickness by more than {MOVED:g} standard errors; not "
        f"tried: {', '.join(f'{key} ({why})' for key, why in UNTRIED.items())}"
    )
    _estimate(study, every, usual, n)
    return changes


def _estimate(study: Study, every: Sequence[Trial], usual: dict[str, Fits], n: int) -> None:
    """A note of how long all thresholds take."""
    if missing := {trial.way for trial in every} - usual.keys():
        study.note(f"no thresholds were tried of the ways {', '.join(sorted(missing))}")
    each = {way: sum(trial.way == way for trial in every) for way in usual}
    one = {way: fit.seconds / frames_in(way, n) for way, fit in usual.items()}
    seconds = sum(each[way] * one[way] * frames_in(way, FRAMES) for way in usual)
    counted = ", ".join(f"{way} {each[way]} × {one[way]:.2g} s" for way in usual)
    study.note(
        f"all values of these ways, {FRAMES} frames: {seconds / 60:.1f} minutes of a core ({counted} a frame)"
    )


# ---------------------------------------------------------------- figure


def draw(study: Study, each: Sequence[Margin], changes: Sequence[Change]) -> None:
    """Margins on either side, and how far the thresholds move answers, on logarithmic axes."""
    most = sorted(changes, key=lambda c: (c.changed, c.largest), reverse=True)
    keys = list(dict.fromkeys(c.threshold for c in most))[:SHOWN]
    height = 0.2 * max(len(each), len(keys), 8) + 1.2
    with study.figure(columns=2, size=(6.4, height)) as (figure, axes):
        _draw_margins(axes[0], each)
        _draw_changes(axes[1], keys, changes)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2)
        handles, labels = axes[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)


def _draw_margins(axis: Any, each: Sequence[Margin]) -> None:
    for label, colour, marker, of in (
        ("nearest frame that should pass", "C0", "o", "to_good"),
        ("nearest that should not", "C1", "s", "to_others"),
    ):
        at = [(getattr(m, of), i) for i, m in enumerate(each) if np.isfinite(getattr(m, of))]
        shown = np.clip([x for x, _ in at], 1 / FARTHEST, FARTHEST)
        axis.plot(shown, [y for _, y in at], marker, color=colour, label=label, clip_on=False, zorder=3)
    axis.axvspan(1 / FARTHEST, 1, color="0.93", zorder=0)
    axis.axvline(1, color="k", lw=0.8)
    axis.set(xscale="log", xlim=(1 / FARTHEST, FARTHEST), ylim=(len(each) - 0.4, -0.6))
    axis.set_yticks(range(len(each)), [f"{m.threshold} = {m.value:g}" for m in each], fontsize=7)
    axis.set_xlabel(f"margin (×), at most {FARTHEST:g}; grey: on the wrong side")


def _draw_changes(axis: Any, keys: Sequence[str], changes: Sequence[Change]) -> None:
    for factor, colour, marker in ((0.8, "C2", "<"), (1.25, "C3", ">")):
        mine = [c for c in changes if c.factor == factor and c.threshold in keys]
        moves = np.clip([c.largest for c in mine], *MOVES)
        y = [keys.index(c.threshold) for c in mine]
        axis.plot(moves, y, marker, color=colour, label=f"value × {factor:g}", clip_on=False, zorder=3)
    for i, key in enumerate(keys):
        changed = max(c.changed for c in changes if c.threshold == key)
        if changed:
            text = f"{changed} change"
            axis.text(1.01, i, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7)
    axis.axvspan(MOVED, MOVES[1], color="0.93", zorder=0)
    axis.axvline(MOVED, color="k", lw=0.8)
    axis.set(xscale="log", xlim=MOVES, ylim=(max(len(keys), 1) - 0.4, -0.6))
    others = len({c.threshold for c in changes}) - len(keys)
    least = f"; {others} others move less" if others else ""
    axis.set_xlabel(f"largest move of thickness (standard errors){least}")
    axis.set_yticks(range(len(keys)), keys, fontsize=7)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="one of the parts; all by default")
    parser.add_argument("--only", help="thresholds whose Class.name has this regular expression")
    parser.add_argument("--frames", type=int, help=f"of a way, about; {FRAMES}, quick: {QUICK_FRAMES}")
    options = parser.parse_args(arguments)
    parts = options.part or PARTS
    only = re.compile(options.only or "")
    tried = re.compile(options.only or (QUICK if options.quick else ""))
    n = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    listed = print_list(only) if "list" in parts else []
    if parts == ["list"]:
        return 0
    for crystal in CRYSTALS:
        kept(crystal, options.quick)  # before processes share the work
    study = Study("thresholds", quick=options.quick)
    of_kind = max(2 * n // 3, min(n, 2))
    each, rows = all_margins(study, of_kind, only) if "margins" in parts else ([], [])
    changes = all_changes(study, n, tried) if "sensitivity" in parts else []
    draw(study, each, changes)
    done = study.finish(
        thresholds=listed,
        margins=[m._asdict() for m in each],
        frames=rows,
        changes=[c._asdict() for c in changes],
    )
    return 0 if done else 1


if __name__ == "__main__":
    raise SystemExit(main())
