"""Bias of answers when something is wrong that the user does not know, and whether fitting it helps.

Frames with something wrong (`benchmarks.nuisances`) are fitted as a user would fit them, and again with the
nuisance taken into account where this is possible.  All cases have the same thicknesses, tilts and cameras,
so that biases can be compared.  There are no bars; the table says how often a wrong answer has no warning.

Run with: python -m benchmarks.robustness [--frames N] [--only NUISANCE,…] [--quick]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from benchmarks import nuisances
from benchmarks.common import Study, cores
from benchmarks.errors import BEYOND, MISLED, Row, column, judged, rms, statuses
from benchmarks.nuisances import CASES, DEFAULT, ELECTRONS, NAME, SEMI_ANGLE, THICKNESS, TILT, Case, Way
from hybridfit import Fitter, make_frame
from hybridfit.fitting.result import FitResult

FRAMES, QUICK_FRAMES = 10, 1
PANELS = (("thickness", "nm", 3.0), ("tilt", "mrad", 0.6))
COLOURS = {False: "C1", True: "C0"}


def fits_of(number: int, frames: int, quick: bool) -> list[list[Row]]:
    """Fits of every frame of a case, in each of its ways."""
    case = nuisances.CASES[number]
    made = [nuisances.frame_of(case, usual, quick) for usual in nuisances.truths(frames)]
    out = []
    for way in case.ways:
        library = nuisances.library_of(way.library, quick)
        fitter = Fitter(library, SEMI_ANGLE, workers=1, **way.options)
        out.append(
            [
                judged(
                    partial(_fitted, fitter, image, lost if way.masked else None),
                    truth,
                    library.rotation_order,
                )
                for image, lost, truth in made
            ]
        )
    return out


def _fitted(fitter: Fitter, image: np.ndarray, lost: np.ndarray | None) -> FitResult:
    return fitter.fit(make_frame(image, mask=lost))


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Bias and rms of thickness and tilt, the tilt's of both components, and their pulls; statuses."""
    out: dict[str, Any] = {"statuses": statuses(rows)}
    for what, names in (("thickness", ("thickness",)), ("tilt", ("tilt_x", "tilt_y"))):
        errors = np.concatenate([column(rows, name) for name in names])
        out[what] = {
            "bias": float(errors.mean()) if len(errors) else float("nan"),
            "rms": rms(errors),
            "worst": float(np.abs(errors).max(initial=0.0)),
            "stderr": rms(np.concatenate([column(rows, f"{name}_stderr") for name in names])),
            "pull": rms(np.concatenate([column(rows, f"{name}_pull") for name in names])),
        }
    out["misled"] = float(np.mean([row["misled"] for row in rows]))
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    known = list(dict.fromkeys(case.nuisance for case in CASES))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, help=f"of every case; {FRAMES}, or {QUICK_FRAMES} with --quick")
    parser.add_argument("--only", help=f"nuisances, of {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help="one level of each, fewer frames and beams")
    options = parser.parse_args(arguments)
    chosen = options.only.split(",") if options.only else known
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"no nuisance {unknown[0]!r}; they are {', '.join(known)}")
    frames = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    numbers = [i for i, case in enumerate(CASES) if case.nuisance in chosen]
    if options.quick:  # the first level of each
        numbers = list({CASES[i].nuisance: i for i in reversed(numbers)}.values())[::-1]
    for key in {CASES[i].library for i in numbers} | {way.library for i in numbers for way in CASES[i].ways}:
        if key != NAME:
            nuisances.kept(key, options.quick)
    study = Study("robustness")
    found = Parallel(n_jobs=cores())(delayed(fits_of)(i, frames, options.quick) for i in numbers)
    series = [
        (CASES[i], way, rows)
        for i, case_rows in zip(numbers, found, strict=True)
        for way, rows in zip(CASES[i].ways, case_rows, strict=True)
    ]
    tabulate(study, series)
    annotate(study, frames, options.quick)
    draw(study, series)
    study.finish(
        series=[
            {"nuisance": case.nuisance, "level": case.level, "way": way.words, "cures": way.cures}
            | summary(rows)
            | {"frames": rows}
            for case, way, rows in series
        ]
    )
    return 0


def tabulate(study: Study, series: Sequence[tuple[Case, Way, list[Row]]]) -> None:
    """Bias of thickness of every series; errors of tilt and misleading answers of every nuisance."""
    for case, way, rows in series:
        what = f"{case.nuisance} {case.level}".strip() + ("" if way is DEFAULT else f", {way.words}")
        study.add(f"{what}: bias of thickness", summary(rows)["thickness"]["bias"], "nm")
    for nuisance in dict.fromkeys(case.nuisance for case, _, _ in series):
        for cures in (False, True):
            alike = [rows for case, way, rows in series if case.nuisance == nuisance and way.cures == cures]
            if not alike:
                continue
            what = f"{nuisance}{', taken into account' if cures else ''}"
            together = [row for rows in alike for row in rows]
            worst = max((summary(rows)["tilt"]["rms"] for rows in alike), key=lambda v: (not np.isnan(v), v))
            study.add(f"{what}: tilt, rms error of a component at the worst level", worst, "mrad")
            study.add(f"{what}: confident and wrong", 100 * np.mean([row["misled"] for row in together]), "%")
            counts = ", ".join(f"{n} {status}" for status, n in statuses(together).items())
            pulls = ", ".join(f"{name} {summary(together)[name]['pull']:.1f}" for name, *_ in PANELS)
            study.note(f"{what}: {counts}; rms of error over standard error: {pulls}")


def annotate(study: Study, frames: int, quick: bool) -> None:
    """Notes on the frames and on the terms of the table."""
    low, high = ELECTRONS
    study.note(
        f"{frames} frames a case, SrTiO3 [001] at 200 kV, {SEMI_ANGLE:g} mrad, "
        f"{THICKNESS[0]:g}–{THICKNESS[1]:g} nm, tilt to {TILT:g} mrad, {low:.0e}–{high:.0e} electrons"
    )
    study.note(
        f"confident and wrong: converged, and off by more than {MISLED['thickness']:g} nm or "
        f"{MISLED['tilt_x']:g} mrad and by more than {BEYOND:g} standard errors"
    )
    _, path = nuisances.scattered_once(nuisances.SCALE)
    study.note(
        f"amorphous layer: atoms of SrTiO3, each of which scatters elastically once and by itself; "
        f"mean free path {path:.0f} nm; thickness is that of the crystal"
    )
    study.note(
        "energy: a fitted semi-angle compensates the change of the wavelength. Extinction distances change, "
        "too, and thickness with them, by some 0.4 % for 1 % of the energy. No parameter of the fit "
        "compensates that."
    )
    if quick:
        study.note("quick: frames of other Debye–Waller factors and energies are of fewer beams, too")


def draw(study: Study, series: Sequence[tuple[Case, Way, list[Row]]]) -> None:
    """Bias with the spread of the frames, of every case: as it is, and taken into account."""
    lines = {}
    for case, _, _ in series:
        lines.setdefault((case.nuisance, case.level), len(lines))
    nuisance_of = [nuisance for nuisance, _ in lines]
    with study.figure(columns=2, size=(5.2, 0.24 * len(lines) + 1.4)) as (figure, axes):
        for axis, (what, unit, reach) in zip(axes, PANELS, strict=True):
            _whiskers(axis, what, reach, lines, series)
            axis.axvline(0, color="k", lw=0.8)
            axis.set(xlim=(-reach, reach), ylim=(len(lines) - 0.4, -0.6), xlabel=f"error of {what} ({unit})")
            axis.grid(axis="y", visible=False)
            for i in range(1, len(lines)):
                if nuisance_of[i] != nuisance_of[i - 1]:
                    axis.axhline(i - 0.5, color="0.8", lw=0.8)
        labels = [
            level if i and nuisance_of[i] == nuisance_of[i - 1] else f"{nuisance}: {level}".rstrip(": ")
            for i, (nuisance, level) in enumerate(lines)
        ]
        axes[0].set_yticks(range(len(lines)), labels)
        axes[1].set_yticks(range(len(lines)), [""] * len(lines))
        for i, key in enumerate(lines):
            axes[1].text(1.01, i, _words(key, series), transform=axes[1].get_yaxis_transform(), va="center")
        handles, words = axes[0].get_legend_handles_labels()
        unique = dict(zip(words, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside upper center", ncols=4)


def _whiskers(
    axis: Any, what: str, reach: float, lines: dict, series: Sequence[tuple[Case, Way, list[Row]]]
) -> None:
    """Mean and range of the errors; an open circle if the fits did not converge."""
    names = ("thickness",) if what == "thickness" else ("tilt_x", "tilt_y")
    for case, way, rows in series:
        if not (errors := np.concatenate([column(rows, name) for name in names])).size:
            continue
        alike = [w for w in case.ways if w.cures == way.cures]
        spread = (0.0,) if len(alike) == 1 else np.linspace(-0.12, 0.12, len(alike))
        single = len(case.ways) == 1
        y = lines[case.nuisance, case.level] + spread[alike.index(way)]
        y += 0.0 if single else (0.22 if way.cures else -0.16)
        colour = COLOURS[way.cures]
        silent = [row["status"] == "converged" for row in rows]
        mean = float(np.clip(errors.mean(), -0.97 * reach, 0.97 * reach))
        axis.plot([errors.min(), errors.max()], [y, y], "-", color=colour, lw=1.0)
        filled = np.mean(silent) > 0.5
        label = f"{'taken into account' if way.cures else 'as it is'}, {'' if filled else 'not '}converged"
        axis.plot(
            mean, y, "o", color=colour, markerfacecolor=colour if filled else "w", markersize=4, label=label
        )


def _words(key: tuple[str, str], series: Sequence[tuple[Case, Way, list[Row]]]) -> str:
    """How many fits of a case converged, and how many of them are wrong: as it is → taken into account."""
    parts = []
    for cures in (False, True):
        rows = [
            row
            for case, way, each in series
            if (case.nuisance, case.level) == key and way.cures == cures
            for row in each
        ]
        if rows:
            sure = sum(row["status"] == "converged" for row in rows)
            parts.append(f"{sure}/{len(rows)}, {sum(row['misled'] for row in rows)} wrong")
    return " → ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
