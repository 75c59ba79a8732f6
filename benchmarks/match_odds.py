"""Fits without a network: whether the odds of a library match hold, and how they compare with a network's.

Odds are judged on small libraries of crystals that set nothing (`benchmarks.identify_frames`): a candidate is
right within 3 nm and 1 mrad.  SrTiO3 [001] is fitted with its own network and without, on the frames of
`benchmarks.frames`.  With `--set` the crystals are those that set the odds, and the study prints the best
numbers; matches alone, without fits.

Run with: python -m benchmarks.match_odds [--frames N] [--own N] [--set] [--quick]
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from benchmarks.common import Study, cores, new_parser
from benchmarks.frames import NAME, simulated
from benchmarks.hybrid import full_tilt_error
from benchmarks.identify_frames import SEMI_ANGLE, SETTING, Case, frames, library_of, reported
from hybridfit import Fitter, Library
from hybridfit.errors import HybridfitError
from hybridfit.fitting.candidates import WINDOW, tilt_distance
from hybridfit.fitting.search.odds import point_odds, width
from hybridfit.fitting.search.settings import SEARCH
from hybridfit.fitting.settings import RouteSettings
from hybridfit.frame import Frame, make_frame

FRAMES, QUICK_FRAMES = 240, 6
OWN, QUICK_OWN = 100, 2
SEED, SETTING_SEED = 3, 4
FLOORS = (0.001, 0.002, 0.004, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05)
PIXELS = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 1e4)
BINS = 10
RIGHT, WRONG = (0.5, 0.1), WINDOW  # nm, mrad

Row = dict[str, Any]


def matched(libraries: list[Case], count: int, seed: int, fits: bool = True) -> list[Row]:
    """Matches of frames of every library, and fits."""
    for case in libraries:
        library_of(case), library_of(case, true=True)
    many = cores()
    parts = Parallel(n_jobs=many)(delayed(_share)(libraries, count, seed, k, many, fits) for k in range(many))
    return [row for part in parts for row in part]


def _share(libraries: list[Case], count: int, seed: int, first: int, step: int, fits: bool) -> list[Row]:
    cases, fitters, rows = {case.name: case for case in libraries}, {}, []
    for shown in itertools.islice(frames(libraries, [], count, 0, seed), first, None, step):
        assert shown.name is not None
        if shown.name not in fitters:
            library = Library(Library.open(library_of(cases[shown.name])).dataset.load())
            fitters[shown.name] = Fitter(library, SEMI_ANGLE, workers=1)
        image = shown.image[:, ::-1] if shown.truth["flipped"] else shown.image
        fitter, frame = fitters[shown.name], make_frame(image)
        row = {"case": shown.name, **_matched(fitter, frame, shown.truth)}
        rows.append(row | (_fitted(fitter, frame, shown.truth) if fits else {}))
    return rows


def _matched(fitter: Fitter, frame: Frame, truth: Row) -> Row:
    """The odds of a match, and what they would be with other numbers."""
    matcher, order = fitter.attempts.matchers[0], fitter.reference.rotation_order
    trials = matcher.trials(frame, matcher.aligned_cameras(frame), lambda: matcher.rims(frame))
    row: Row = {"electrons": float(frame.image.sum()), "found": trials is not None}
    if trials is not None:
        score, points = trials.chi2().min(axis=0), trials.templates
        apart = [
            tilt_distance((x, y), truth["tilt"], order)
            for x, y in zip(points.tilt_x, points.tilt_y, strict=True)
        ]
        near = (np.abs(points.thickness - truth["thickness"]) <= WINDOW[0]) & (np.array(apart) <= WINDOW[1])
        for floor, pixels in itertools.product(FLOORS, PIXELS):
            odds = point_odds(score, replace(SEARCH, odds_floor=floor, odds_pixels=pixels))
            row[f"{floor:g} {pixels:g}"] = float(np.log(odds[near].sum() + 1e-6))
        found = matcher.weighed(trials)
        row["confidence"] = found[0].probability if found else None
        hits = [_off(c.thickness, c.tilt, truth, order, WRONG) for c in found]
        row["right"] = bool(hits) and hits[0]
        if any(hits):  # odds of the right one, over those of the best one
            more = found[hits.index(True)].chi2 - found[0].chi2
            row["likely"] = float(np.exp(-more / width(found[0].chi2)))
    return row


def _fitted(fitter: Fitter, frame: Frame, truth: Row) -> Row:
    """The fit of a frame."""
    order = fitter.reference.rotation_order
    try:
        result = fitter.fit(frame)
    except HybridfitError as error:
        return {"fit": False, "wrong": False, "route": f"refused: {error}", "seconds": np.nan}
    good = _off(result.thickness, result.tilt, truth, order, RIGHT)
    near_it = _off(result.thickness, result.tilt, truth, order, WRONG)
    seconds = result.seconds["total"]
    return {
        "fit": good,
        "wrong": result.ok and not near_it,
        "route": result.route.value,
        "seconds": seconds,
    }


def _off(
    thickness: float, tilt: tuple[float, float], truth: Row, order: int, most: tuple[float, float]
) -> bool:
    """Whether an answer is within so much of the truth."""
    near = tilt_distance(tilt, truth["tilt"], order) <= most[1]
    return bool(near and abs(thickness - truth["thickness"]) <= most[0])


def report(study: Study, rows: list[Row]) -> None:
    """The rows of the odds."""
    said = [row for row in rows if row.get("confidence") is not None]
    odds, right = (np.array([row[name] for row in said], float) for name in ("confidence", "right"))
    parts = [part for part in np.array_split(np.argsort(odds), BINS) if len(part)]
    error = sum(abs(odds[p].mean() - right[p].mean()) * len(p) for p in parts) / len(odds)
    study.add("odds of a match: expected calibration error", float(error), "", at_most=0.05)
    sure = odds >= RouteSettings().matched_sure
    study.add("matches that are sure", 100 * float(sure.mean()), "%")
    study.add("sure matches that are right", 100 * float(right[sure].mean()) if sure.any() else np.nan, "%")
    study.add("matches that are right", 100 * float(right.mean()), "%")
    known = [row["likely"] for row in said if "likely" in row]
    dropped = sum(likely < RouteSettings().matched_likely for likely in known)
    study.add("right candidates that are too unlikely to be refined", 100 * dropped / len(known), "%")
    if "fit" not in rows[0]:
        return
    study.add("fits within 0.5 nm and 0.1 mrad", 100 * float(np.mean([r["fit"] for r in rows])), "%")
    study.add("fits that converged, but wrong", 100 * float(np.mean([r["wrong"] for r in rows])), "%")
    study.add("one fit, median", float(np.nanmedian([r["seconds"] for r in rows])), "s")


def suited(study: Study, rows: list[Row]) -> None:
    """The numbers by which the truth is likeliest."""
    pairs = [f"{floor:g} {pixels:g}" for floor, pixels in itertools.product(FLOORS, PIXELS)]
    mean = {pair: float(np.mean([row[pair] for row in rows if row["found"]])) for pair in pairs}
    best = max(mean, key=lambda pair: mean[pair])
    for name, value in zip(("odds_floor", "odds_pixels"), best.split(), strict=True):
        study.add(f"{name} by which the truth is likeliest", float(value), "")
    study.note(
        f"mean ln of the probability of the truth: {mean[best]:.3f}; "
        + str(sorted(mean.items(), key=lambda e: -e[1])[:6])
    )


def own_network(study: Study, count: int) -> list[Row]:
    """SrTiO3 with its network and without, on the same frames."""
    library = Library(Library.open(NAME).dataset.load())
    unknown = library.dataset.assign_attrs(checksum=f"{library.dataset.attrs['checksum']} without network")
    order, rows = library.rotation_order, []
    for image, truth in simulated(count):
        for name, each in (("network", library), ("match", Library(unknown))):
            fitter = Fitter(each, truth["semi_angle"])
            if fitter.seeder is None:
                fitter.templates()
            try:
                fitter.fit(image)
                result = fitter.fit(image)  # warm
            except HybridfitError as error:
                rows.append(
                    {"by": name, "right": False, "wrong": False, "route": str(error), "seconds": np.nan}
                )
                continue
            off = abs(result.thickness - truth["thickness"]), full_tilt_error(result, truth, order)
            rows.append(
                {
                    "by": name,
                    "electrons": truth["electrons"],
                    "right": off[0] <= RIGHT[0] and off[1] <= RIGHT[1],
                    "wrong": result.ok and (off[0] > WRONG[0] or off[1] > WRONG[1]),
                    "route": result.route.value,
                    "seconds": result.seconds["total"],
                }
            )
    for name, words in (("network", "by its network"), ("match", "by a library match")):
        mine = [row for row in rows if row["by"] == name]
        right = 100 * float(np.mean([row["right"] for row in mine]))
        study.add(f"SrTiO3 {words}: within 0.5 nm and 0.1 mrad", right, "%", at_least=97)
        wrong = 100 * float(np.mean([row["wrong"] for row in mine]))
        study.add(f"SrTiO3 {words}: converged, but wrong", wrong, "%", at_most=1)
        study.add(
            f"SrTiO3 {words}: one frame, median", float(np.nanmedian([r["seconds"] for r in mine])), "s"
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help=f"of small libraries; {FRAMES}, quick: {QUICK_FRAMES}")
    parser.add_argument("--own", type=int, help=f"of SrTiO3; {OWN}, quick: {QUICK_OWN}; 0 for none")
    parser.add_argument("--set", action="store_true", help="with the crystals that set the odds")
    options = parser.parse_args(arguments)
    libraries = SETTING if options.set else reported()[0]
    quick = options.quick
    libraries = libraries[:3] if quick else libraries
    count = options.frames or (QUICK_FRAMES if quick else FRAMES)
    own = (QUICK_OWN if quick else OWN) if options.own is None else options.own
    study = Study("match_odds-set" if options.set else "match_odds", quick=quick)
    rows = matched(libraries, count, SETTING_SEED if options.set else SEED, fits=not options.set)
    report(study, rows)
    if options.set:
        suited(study, rows)
    fits = own_network(study, own) if own and not options.set else []
    draw(study, rows)
    return 0 if study.finish(frames=rows, own=fits) else 1


def draw(study: Study, rows: list[Row]) -> None:
    """What the odds are worth."""
    said = [row for row in rows if row.get("confidence") is not None]
    odds, right = (np.array([row[name] for row in said], float) for name in ("confidence", "right"))
    parts = [part for part in np.array_split(np.argsort(odds), BINS) if len(part)]
    with study.figure() as (_, axes):
        axes[0].plot([odds[p].mean() for p in parts], [right[p].mean() for p in parts], "o")
        axes[0].plot([0, 1], [0, 1], color="0.6", linewidth=1)
        axes[0].set(xlabel="probability that is said", ylabel="share that is right")


if __name__ == "__main__":
    sys.exit(main())
