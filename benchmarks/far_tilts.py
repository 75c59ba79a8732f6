"""Fits of crystals tilted by 5 to 15 mrad, and the approximations of the physics there.

Two parts:

physics   no fits: zero-order zone and paraxial form against exact solves, higher zones against multislice,
          at 5, 10 and 15 mrad (`benchmarks.far_physics`)
fits      frames by multislice with exact potentials and phonons, as in `benchmarks.truth`, at 1e7 electrons,
          with libraries to 15.5 mrad.  Every frame is fitted twice: as a user does it, from nothing ("from
          the frame"), and from near the truth ("from near"), which says what refinement and model do alone.

References are made by `--make`, some twenty minutes for three crystals on one core; a run that is stopped
goes on where it was.  The propagator of references is paraxial, as the rows of the first part say what of.

The scatter of a reference is that of fits, without noise, of every pair of phonon configurations by itself,
over the root of their number.  Priors of what a fit takes for granted are 0, as in `truth`.

Run with: python -m benchmarks.far_tilts [CASE…] [--make] [--part physics|fits] [--every N] [--wide]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.common import Study, new_parser, skipped
from benchmarks.far_frames import AZIMUTHS, THREE, library_of, path_of, recipe_of, shots
from benchmarks.far_physics import COMPARED, FarPoints
from benchmarks.far_table import ALL, RMS, TILT, add_difference, summarise, worse
from benchmarks.reference_cases import DATA, FAR_CASES, Case
from benchmarks.reference_patterns import Reference
from benchmarks.references import make, reference, resolve
from benchmarks.truth import Shot, alone, told
from hybridfit import Fitter, Library
from hybridfit.errors import HybridfitError
from hybridfit.fitting.assumptions import LIBRARY, PARTS

PAIRS = 2  # of phonon configurations
PHYSICS_SIZES, DIRECTIONS = (5.0, 10.0, 15.0), 8  # mrad; directions, at least, that are solved at each
WAYS = ("from the frame", "from near")
WIDE = "SrTiO3_far_wide"

Row = dict[str, Any]


def physics(study: Study, case: Case, sizes: Sequence[float], directions: int) -> Row:
    """Rows of a crystal: what the approximations change at each tilt."""
    out: Row = {}
    for size in sizes:
        azimuth = np.deg2rad(AZIMUTHS[0] + 2 * size)
        tilt = float(size * np.cos(azimuth)), float(size * np.sin(azimuth))
        points = FarPoints.with_directions(case, recipe_of(case), tilt, directions)
        for words, (one, other) in COMPARED.items():
            found = points.compare(one, other)
            add_difference(study, f"{case.name}, {size:g} mrad: {words}", words, found)
            out[f"{size:g} mrad: {words}"] = {
                "pattern": found.pattern.tolist(),
                "thickness": found.thickness.tolist(),
                "tilt": found.tilt.tolist(),
            }
        print(f"physics {case.name} {size:g} mrad: {len(points.q)} directions", flush=True)
    return out


def fitted(shot: Shot, source: Reference, fitters: dict[str, Fitter], *, scatter: bool) -> list[Row]:
    """One pattern, fitted in both ways."""
    frame, rows = shot.frame(source), []
    order = fitters[WAYS[0]].library.rotation_order
    own: Row = {}
    for way in reversed(WAYS):
        row: Row = {"case": shot.case.name, "way": way, "tilt_size": float(np.hypot(*shot.tilt))}
        try:
            near = way == WAYS[1]
            fitter = fitters[way]
            result = fitter.fit_near(frame, [shot.near(source)]) if near else fitter.fit(frame)
        except HybridfitError as error:
            truth = {f"true_{name}": value for name, value in shot.truth(source).items()}
            rows.append(row | truth | {"status": "refused", "said": str(error)})
            continue
        if near and scatter and source.diffuse is not None and len(source.diffuse.intensity) > 1:
            count = len(source.diffuse.intensity)
            each = [alone(shot, source, fitter, result, pair, order) for pair in range(count)]
            for name in ("thickness", "tilt_x", "tilt_y"):
                spread = np.std([e[name] for e in each], ddof=1)
                own[f"{name}_scatter"] = float(spread / np.sqrt(count))
        rows.append(row | told(shot, source, result, order) | {"route": result.route.name})
    return [row | own for row in rows]


def fits(case: Case, every: int, *, scatter: bool) -> list[Row]:
    """All fits of a case."""
    source, library = reference(case), library_of(case)
    options: Any = {"sigma": dict.fromkeys([name for name in PARTS if name != LIBRARY], 0.0)}
    fitters = {
        WAYS[0]: Fitter(library, case.semi_angle_max, **options),
        WAYS[1]: Fitter(Library(library.dataset), case.semi_angle_max, seeded=True, **options),
    }
    rows = []
    for shot in shots(case, source, every):
        for row in fitted(shot, source, fitters, scatter=scatter):
            rows.append(row)
            print(in_words(row, shot), flush=True)
    return rows


def in_words(row: Row, shot: Shot) -> str:
    """One fit, in a line."""
    of = {key: row.get(key, np.nan) for key in ("thickness", "tilt_x", "tilt_y", "seconds")}
    half = {key: row.get(f"{key}_half95", np.nan) for key in ("thickness", "tilt_x")}
    return (
        f"{shot.case.name} {row['true_thickness']:6.2f} nm ({shot.tilt[0]:+.1f}, {shot.tilt[1]:+.1f}) mrad, "
        f"{row['way']}: thickness {of['thickness']:+.3f} ± {half['thickness']:.3f} "
        f"(own {row.get('thickness_scatter', np.nan):.3f})  tilt {of['tilt_x']:+.3f} {of['tilt_y']:+.3f} ± "
        f"{half['tilt_x']:.3f}  {row['status']}, {row.get('route', 'no')} route, {of['seconds']:.1f} s"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(FAR_CASES)}")
    parser.add_argument("--make", action="store_true", help="make the references that are not there")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of phonon configurations to make")
    parser.add_argument("--device", default="auto", help="where references are made")
    parser.add_argument("--part", choices=("physics", "fits"), help="only this")
    parser.add_argument("--every", type=int, help="every n-th thickness at each tilt; 3, quick: 12")
    parser.add_argument("--wide", action="store_true", help="SrTiO3 at 20 mrad, too: a larger library")
    parser.add_argument("--no-scatter", action="store_true", help="without fits of every pair")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.cases if name not in FAR_CASES]
    if unknown:
        parser.error(f"no case is called {unknown[0]!r}; there are {', '.join(FAR_CASES)}")
    names = options.cases or [*THREE, *([WIDE] if options.wide else [])]
    if options.make:
        for name in names:
            make(FAR_CASES[name], options.pairs, resolve(options.device))
    study = Study("far_tilts", quick=options.quick)
    every = options.every or (12 if options.quick else 3)
    there = [] if options.part == "physics" else [n for n in names if FAR_CASES[n].path("elastic").exists()]
    if options.quick:
        there = [name for name in there if path_of(FAR_CASES[name]).exists()][:1]
    changes: Row = {}
    if options.part != "fits":
        torch.set_num_threads(1)
        for name in ["MgO_far"] if options.quick and not options.cases else names:
            sizes, directions = ((15.0,), 2) if options.quick else (PHYSICS_SIZES, DIRECTIONS)
            changes[name] = physics(study, FAR_CASES[name], sizes, directions)
    rows: list[Row] = []
    for name in there:
        own = fits(FAR_CASES[name], every, scatter=not options.no_scatter)
        rows += own
        summarise(study, name, own, pooled=len(there) == 1)
    if not rows and not changes:
        why = f"no references in {DATA}; make them with python -m benchmarks.far_tilts --make"
        return skipped("far_tilts", why)
    if len(there) > 1:
        summarise(study, ALL, rows, pooled=True)
    elif not rows and options.part != "physics":
        study.note(f"no references in {DATA}: fits were left out; --make makes them")
    passed = study.finish(fits=rows, physics=changes)
    draw(study, rows, changes)
    return 0 if passed else 1


def draw(study: Study, rows: list[Row], changes: Row) -> None:
    """Errors against tilt, and what the physics leaves out; only what was run."""
    with study.figure(columns=2 * bool(rows) + bool(changes), size=(5.2, 4.4)) as (_, axes):
        if rows:
            draw_errors(axes[:2], rows)
        if changes:
            draw_changes(axes[-1], changes)
        for axis in axes:
            axis.set(xlabel="tilt (mrad)", yscale="log")
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)


def draw_errors(axes: Any, rows: list[Row]) -> None:
    """Thickness and tilt."""
    for i, (way, marker) in enumerate(zip(WAYS, "o+", strict=True)):
        for j, name in enumerate(dict.fromkeys(row["case"] for row in rows)):
            mine = [r for r in rows if (r["case"], r["way"]) == (name, way) and "thickness" in r]
            size = [r["tilt_size"] + 0.12 * (2 * i - 1) for r in mine]
            style: Row = {"color": f"C{j}", "marker": marker, "ls": "", "alpha": 0.7}
            axes[0].plot(size, [abs(r["thickness"]) for r in mine], label=f"{name}, {way}", **style)
            axes[1].plot(size, [worse(r) for r in mine], **style)
    for axis, bar in zip(axes, (RMS, TILT), strict=True):
        axis.axhline(bar, color="k", lw=0.8)
    axes[0].set(ylabel="size of the thickness error (nm)")
    axes[1].set(ylabel="worse tilt component, error (mrad)")


def draw_changes(axis: Any, changes: Row) -> None:
    """By how much approximations move thickness; a marker for every crystal."""
    for j, (name, curves) in enumerate(changes.items()):
        for n, words in enumerate(COMPARED):
            points = [(float(k.split()[0]), v) for k, v in curves.items() if k.endswith(f": {words}")]
            worst = [np.abs(v["thickness"]).max() for _, v in points]
            line = f"C{n}{'o+x^'[j % 4]}-"
            axis.plot([size for size, _ in points], worst, line, label=words if j == 0 else None)
        axis.plot([], [], f"k{'o+x^'[j % 4]}", label=name)
    axis.set(ylabel="thickness moved by, worst of 10–60 nm (nm)")


if __name__ == "__main__":
    sys.exit(main())
