"""Structure from patterns: B of SrTiO3 and coordinates of PbTiO3, four frames of a crystal together.

Frames are of crystals with other values than the CIF that the fits start from: B drawn within ±25 %, the
shift of oxygen in PbTiO3 within ±0.06 Å.  Four frames of different thickness and tilt are one fit.  Frames
of a draw are of a library that is built for it, with the beams and directions of the library of the fit, but
have finer pixels and sharper discs than its model, and a background of other widths.  Energy, semi-angle and
the library are exact there, and the fits know it.  What a library lacks beside a real crystal is in the part
`multislice`: exact potentials and phonons.  It is left out without the
files of python -m benchmarks.references SrTiO3_structure (minutes).

Run with: python -m benchmarks.vary [--draws N] [--only PART,…] [--device NAME] [--quick]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.reference_cases import STRUCTURE
from benchmarks.structural_frames import MISALIGNED, TURN
from hybridfit import Candidate, Library, StructureFitter, make_frame, simulate_frame
from hybridfit.fitting.vary.answer import together_of
from hybridfit.fitting.vary.approximated import moved_by
from hybridfit.fitting.vary.run import Run
from hybridfit.fitting.vary.state import Ended
from hybridfit.library.build import StructuralChange
from hybridfit.library.recipe import Recipe, ThicknessRange, shipped_folder
from hybridfit.physics.crystal import Crystal

SIZE, ELECTRONS, FRAMES = 128, 1e8, 4
FINER = 3  # frames are simulated on pixels so much finer, whose electrons are added
THICKNESS, TILT = (8.0, 42.0), 2.0  # nm, mrad
SIMULATED = ThicknessRange(start=4.0, stop=48.0)
SPREAD = 0.25  # of B
SHIFT = 0.06  # Å, of a coordinate
DRAWS, QUICK_DRAWS = 12, 1
POSITION_DRAWS = 2  # one in so many: PbTiO3 has less symmetry, and takes longer
SEED = 7041
SRTIO3, PBTIO3 = "SrTiO3_001_200kV", "PbTiO3_100_200kV"
EXACT = dict.fromkeys(("energy", "semi_angle", "library"), 0.0)
SEMI_ANGLES = {SRTIO3: 13.6, PBTIO3: 12.0}
# a recipe of fewer beams and directions: frames and fits use the same ones
LIGHT: dict[str, Any] = {"g_max": 1.4, "sampling": 0.5}
QUICK: dict[str, Any] = {"g_max": 1.1, "sampling": 0.7}
EDGE = 4.156  # Å, c of PbTiO3
MULTISLICE = ((12.0, (0.9, 0.45)), (20.0, (-1.6, 1.2)), (28.0, (0.15, -0.1)), (38.0, (-0.35, 0.2)))

Row = dict[str, Any]


def recipe_of(name: str, quick: bool) -> Recipe:
    """The recipe of the fits: one crystal, cut to what is needed."""
    changes: Row = {
        "semi_angle_max": SEMI_ANGLES[name],
        "tilt_max": TILT + 1.0,
        "thickness": SIMULATED,
        "parameters": {},
        **(QUICK if quick else LIGHT),
    }
    if name == PBTIO3:
        changes["cif"] = shipped_folder() / "PbTiO3.cif"
    return Recipe.shipped(name).model_copy(update=changes)


def changed(crystal: Crystal, values: Row) -> Crystal:
    """A crystal with other B of elements, and another z of the oxygens of PbTiO3 (all of them together)."""
    b = np.array(
        [values.get(f"B:{e}", old) for e, old in zip(crystal.elements, crystal.debye_waller, strict=True)]
    )
    positions = crystal.positions.copy()
    for label in ("O1", "O2"):
        if f"z:{label}" in values:
            mine = np.array([each == label for each in crystal.labels])
            positions[mine, 2] = values[f"z:{label}"]
    return replace(crystal, debye_waller=b, positions=positions)


def library_at(recipe: Recipe, values: Row, device: str) -> Library:
    """A library of the changed crystal."""
    # a parameter of two values, of which one is the crystal: a library cannot have a single one
    change = StructuralChange(
        (0.0, 1.0), lambda crystal, value: changed(crystal, values) if value else crystal
    )
    built = Library.build(
        recipe, parameters={"other": replace(change, kind="discrete")}, device=device, slopes=False
    )
    return built.at(other=1.0)


def frames_of(
    library: Library, semi_angle: float, rng: np.random.Generator
) -> tuple[list[Any], list[Candidate]]:
    """Four frames of a library, in the quarters of the range of thicknesses, and seeds near the truth."""
    frames, seeds = [], []
    low, high = THICKNESS
    for i in range(FRAMES):
        thickness = low + (high - low) * (i + rng.random()) / FRAMES
        tilt, azimuth = TILT * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        centre = (SIZE - 1) / 2 + rng.uniform(-3, 3, 2)
        image, truth = simulate_frame(
            library,
            thickness=float(thickness),
            tilt=(float(tilt * np.cos(azimuth)), float(tilt * np.sin(azimuth))),
            semi_angle=semi_angle,
            shape=(FINER * SIZE, FINER * SIZE),
            centre=(float(FINER * centre[0] + FINER // 2), float(FINER * centre[1] + FINER // 2)),
            rotation=float(TURN + rng.uniform(-MISALIGNED, MISALIGNED)),
            electrons=ELECTRONS,
            seed=int(rng.integers(2**31)),
        )
        image = image.reshape(SIZE, FINER, SIZE, FINER).sum(axis=(1, 3))
        truth |= {"centre_x": centre[0], "centre_y": centre[1], "scale": truth["scale"] / FINER}
        off = rng.uniform(-1, 1, 7) * [1.0, 0.3, 0.3, 1, 1, 0.01 * truth["scale"], 1]
        names = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
        frames.append(make_frame(image))
        seeds.append(Candidate(*(float(truth[name] + d) for name, d in zip(names, off, strict=True))))
    return frames, seeds


def fitted(
    fitter: StructureFitter, frames: list[Any], seeds: list[Candidate], truth: Row
) -> tuple[list[Row], Ended]:
    """A fit of frames together: a row for each number; and where it ended."""
    began, busy = time.perf_counter(), time.process_time()
    starts = [fitter.fitter.refine(frame, seed) for frame, seed in zip(frames, seeds, strict=True)]
    settings = fitter.fitter.refiner.settings
    ended = Run(fitter.structure, fitter.fitter.library, settings, pool=fitter.fitter.refiner.pool).fit(
        frames, starts
    )
    found = together_of(ended, fitter.structure, fitter.fitter.library, settings)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    out = []
    for name, p in found.structure.items():
        parts = found.budget.get(name, {})
        out.append(
            {
                "name": name,
                "true": truth[name],
                "start": found.start[name],
                "found": p.value,
                "error": p.value - truth[name],
                "stderr": p.stderr or np.nan,
                "counting": parts.get("counting", np.nan),
                "library": parts.get("library", np.nan),
                "solves": found.solves,
                "seconds": seconds,
                "processor_seconds": busy,
                "statuses": [frame.status.name for frame in found.frames],
            }
        )
        print(f"  {name} {p.value:.4f} ± {p.stderr or np.nan:.4f}, true {truth[name]:.4f}", flush=True)
    print(f"  {found.solves} solves, {seconds:.0f} s, {busy:.0f} s of a processor", flush=True)
    return out, ended


def vibration(study: Study, draws: int, quick: bool, device: str) -> list[Row]:
    """The three B of SrTiO3."""
    recipe = recipe_of(SRTIO3, quick)
    library = Library.build(recipe, device=device)
    names = ("B:Sr", "B:Ti", "B:O")
    fitter = StructureFitter(library, names, SEMI_ANGLES[SRTIO3], method="lsf", sigma=EXACT)
    rng = np.random.default_rng(SEED)
    rows: list[Row] = []
    for _ in range(draws):
        truth = {n: v * float(1 + rng.uniform(-SPREAD, SPREAD)) for n, v in fitter.structure.start.items()}
        frames, seeds = frames_of(library_at(recipe, truth, device), SEMI_ANGLES[SRTIO3], rng)
        rows += fitted(fitter, frames, seeds, truth)[0]
    for name in names:
        mine = [row for row in rows if row["name"] == name]
        off = [100 * abs(row["error"]) / row["true"] for row in mine]
        study.add(
            f"SrTiO3 {name}, four frames together, 1e8 electrons: error, largest", max(off), "%", at_most=5.0
        )
    pulls_of(study, "SrTiO3 B, four frames together, 1e8 electrons", rows, quick)
    return rows


def position(study: Study, draws: int, quick: bool, device: str) -> list[Row]:
    """The two coordinates of oxygen in PbTiO3."""
    recipe = recipe_of(PBTIO3, quick)
    library = Library.build(recipe, device=device)
    names = ("z:O1", "z:O2")
    fitter = StructureFitter(library, names, SEMI_ANGLES[PBTIO3], method="lsf", sigma=EXACT)
    rng = np.random.default_rng(SEED + 1)
    rows: list[Row] = []
    for _ in range(-(-draws // POSITION_DRAWS)):
        truth = {n: v + float(rng.uniform(-SHIFT, SHIFT)) / EDGE for n, v in fitter.structure.start.items()}
        frames, seeds = frames_of(library_at(recipe, truth, device), SEMI_ANGLES[PBTIO3], rng)
        rows += fitted(fitter, frames, seeds, truth)[0]
    for name in names:
        worst = max(EDGE * abs(row["error"]) for row in rows if row["name"] == name)
        study.add(
            f"PbTiO3 {name}, four frames together, 1e8 electrons: error, largest", worst, "Å", at_most=0.005
        )
    pulls_of(study, "PbTiO3 z(O), four frames together, 1e8 electrons", rows, quick)
    return rows


def pulls_of(study: Study, what: str, rows: list[Row], quick: bool) -> None:
    """Errors over standard errors: of N(0, 1) within 20 %."""
    pulls = np.array([row["error"] / row["stderr"] for row in rows])
    size = float(np.sqrt(np.mean(pulls**2)))
    study.add(f"{what}: rms of error over standard error, at most", size, "", at_most=None if quick else 1.2)
    study.add(
        f"{what}: rms of error over standard error, at least", size, "", at_least=None if quick else 0.8
    )
    study.add(f"{what}: mean of error over standard error", float(pulls.mean()), "")
    study.add(f"{what}: seconds a fit, median", float(np.median([row["seconds"] for row in rows])), "s")


def multislice(study: Study, draws: int, quick: bool, device: str) -> list[Row]:
    """The three B of SrTiO3 from exact multislice with phonons."""
    from benchmarks.references import reference
    from benchmarks.truth import Shot, library_of
    from hybridfit.pattern.camera import Camera

    try:
        source = reference(STRUCTURE, diffuse=True)
    except FileNotFoundError as missing:
        study.note(f"multislice was left out: {missing}")
        return []
    alpha = STRUCTURE.semi_angle_max
    library = Library(library_of(STRUCTURE).dataset, path=Path(STRUCTURE.library))
    fitter = StructureFitter(library, ("B:Sr", "B:Ti", "B:O"), alpha, method="lsf")
    shots = []
    for i, (thickness, tilt) in enumerate(MULTISLICE):
        t = int(np.abs(source.thickness_nm - thickness).argmin())
        camera = Camera(63.1 + i, 64.2 - i, SIZE / (2 * alpha + 18), 11.0 + 7 * i)
        shots.append(Shot(STRUCTURE, t, tilt, alpha, camera, (SIZE, SIZE), ELECTRONS, [SEED, i]))
    images = [
        np.random.default_rng([SEED, i, 2]).poisson(shot.expected(source)).astype(float)
        for i, shot in enumerate(shots)
    ]
    seeds = [shot.near(source) for shot in shots]
    frames = [make_frame(image) for image in images]
    rows, ended = fitted(fitter, frames, seeds, fitter.structure.start)
    pairs = range(len(STRUCTURE.pairs()))
    whole = [shot.expected(source) for shot in shots]
    moved = [
        structure_moved_by(
            ended, [shot.expected(source, [pair]) - image for shot, image in zip(shots, whole, strict=True)]
        )
        for pair in pairs
    ]
    for i, row in enumerate(rows):
        off = 100 * abs(row["error"]) / row["true"]
        row["scatter"] = float(np.std([each[i] for each in moved], ddof=1) / np.sqrt(len(moved)))
        what = f"SrTiO3 {row['name']} from exact multislice, four frames"
        study.add(f"{what}: error", off, "%", at_most=10.0)
        study.add(f"{what}: scatter of the reference itself", 100 * row["scatter"] / row["true"], "%")
        study.add(f"{what}: error over stated error", row["error"] / row["stderr"], "")
        study.add(f"{what}: stated error, the library's part", 100 * row["library"] / row["true"], "%")
    return rows


def structure_moved_by(ended: Ended, changes: list[Any]) -> Any:
    """How far changes of images (rows, cols) would move the structural numbers, to first order."""
    images = []
    for state, change in zip(ended.frames, changes, strict=True):
        region = state.region
        rows, cols = (region.factor * size for size in region.image.shape)
        cut = change[region.top : region.top + rows, region.left : region.left + cols]
        binned = cut.reshape(rows // region.factor, region.factor, -1, region.factor).mean(axis=(1, 3))
        images.append(binned[region.mask])
    return moved_by(ended.joint, images)[: len(ended.values)]  # structural numbers come first


PARTS = {"vibration": vibration, "position": position, "multislice": multislice}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--draws", type=int, help=f"crystals a part; {DRAWS}, quick: {QUICK_DRAWS}")
    parser.add_argument("--only", help=f"parts, of {', '.join(PARTS)}; all, quick: vibration")
    parser.add_argument("--device", default="auto", help="a torch device")
    options = parser.parse_args(arguments)
    draws = options.draws or (QUICK_DRAWS if options.quick else DRAWS)
    chosen = options.only.split(",") if options.only else ["vibration"] if options.quick else [*PARTS]
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    study = Study("vary", quick=options.quick)
    found = {part: PARTS[part](study, draws, options.quick, options.device) for part in chosen}
    study.note(f"{draws} crystals a part; B within ±{SPREAD:.0%} of the CIF, coordinates within ±{SHIFT} Å")
    draw(study, found)
    return 0 if study.finish(**found) else 1


def draw(study: Study, found: dict[str, list[Row]]) -> None:
    """Found against true, relative to the CIF."""
    with study.figure(max(len(found), 1)) as (_, axes):
        for axis, (part, rows) in zip(axes, found.items(), strict=False):
            for name in dict.fromkeys(row["name"] for row in rows):
                mine = [row for row in rows if row["name"] == name]
                true, value, error = (np.array([row[k] for row in mine]) for k in ("true", "found", "stderr"))
                start = mine[0]["start"]
                axis.errorbar(true / start, value / start, 2 * error / start, fmt="o", label=name)
            axis.plot(*2 * [axis.get_xlim()], "k--", lw=0.7)
            axis.set(xlabel="true, relative to the CIF", ylabel="found ± 2 standard errors", title=part)
            axis.legend()


if __name__ == "__main__":
    sys.exit(main())
