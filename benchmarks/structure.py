"""Structural parameters: the sign of a polarity, octahedral tilts, composition; cost of such libraries.

Frames are simulated with the rotation of the pattern known within some degrees (a polar pattern turned by
180° is that of the inverse crystal) and nothing else but the semi-angle.  What is between the values of a
library is solved by itself, so that the error of the blend is in the answers.  Libraries are those of the
shipped recipes, cut to the thicknesses and tilts of the frames; they are kept in `benchmarks/data`.

Run with: python -m benchmarks.structure [--frames N] [--only PART,…] [--quick]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser, resident_memory_gb
from benchmarks.cramer_rao import FITTED
from hybridfit import Candidate, Fitter, Hints, Library, make_frame, simulate_frame
from hybridfit.building import VERSION as library_version
from hybridfit.fitting.result import FitResult
from hybridfit.model import FITTED_BEYOND_DISC, ForwardModel
from hybridfit.pattern.camera import Camera
from hybridfit.recipe import Recipe, ThicknessRange

DATA = Path(__file__).parent / "data"
SIZE = 128  # px
TURN, MISALIGNED = 17.0, 3.0  # degrees: the hint, and how far it may be off
THICKNESS, TILT = (10.0, 60.0), 2.0  # nm, mrad
SOLVED = ThicknessRange(start=5.0, stop=65.0)
POLAR = ("PbTiO3_100_200kV", "GaAs_110_200kV")
OCTAHEDRA, COMPOSITION = "SrTiO3_tilted_011_200kV", "LaSrMnO3_001_200kV"
BETWEEN = {OCTAHEDRA: (0.4, 2.6, 4.5, 7.3), COMPOSITION: (0.06, 0.32, 0.56, 0.94)}
SURE = 100.0  # odds that a wrong sign must never have
DOSES = (1e3, 1e6)  # electrons, log-uniform, where odds are between 0 and 1
BINS = 5
# with fewer beams and directions the crystals are not quite those of nature, but those of frames and fits
QUICK: dict[str, Any] = {"g_max": 1.5, "sampling": 0.4}

FRAMES, QUICK_FRAMES = 20, 2

Row = dict[str, Any]


def kept(name: str, semi_angle: float, values: Sequence[float] | None = None, quick: bool = False) -> Library:
    """The library of a shipped recipe for this study, in memory; with other values of its parameter."""
    recipe = Recipe.shipped(name)
    changes: Row = {"semi_angle_max": semi_angle, "tilt_max": TILT + 1.0, "thickness": SOLVED}
    if quick:
        changes |= QUICK
    if values is not None:
        changes["parameters"] = {
            parameter: known.model_copy(update={"values": tuple(values)})
            for parameter, known in recipe.parameters.items()
        }
    recipe = recipe.model_copy(update=changes)
    path = DATA / f"{name}-{recipe.checksum()[:12]}-v{library_version}.nc"
    if not path.exists():
        Library.build(recipe).save(path)
    return Library(Library.open(path).dataset.load())


def frame_of(
    library: Library, semi_angle: float, electrons: float, rng: np.random.Generator
) -> tuple[np.ndarray, Row]:
    """A frame of a crystal (no structural parameter is left open), and what is true of it."""
    tilt, azimuth = TILT * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    centre = (SIZE - 1) / 2 + rng.uniform(-3, 3, 2)
    return simulate_frame(
        library,
        thickness=rng.uniform(*THICKNESS),
        tilt=(tilt * np.cos(azimuth), tilt * np.sin(azimuth)),
        semi_angle=semi_angle,
        shape=(SIZE, SIZE),
        centre=(float(centre[0]), float(centre[1])),
        rotation=TURN + rng.uniform(-MISALIGNED, MISALIGNED),
        electrons=electrons,
        seed=int(rng.integers(2**31)),
    )


def near(truth: Row, rng: np.random.Generator) -> Candidate:
    """What a network might say of a frame: off by up to 1.5 nm, 0.4 mrad, 1 px, 1 % and 1°."""
    off = rng.uniform(-1, 1, 7) * [1.5, 0.4, 0.4, 1, 1, 0.01 * truth["scale"], 1]
    fields = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
    return Candidate(*(float(truth[field] + d) for field, d in zip(fields, off, strict=True)))


def compared(result: FitResult, truth: Row) -> Row:
    """What every fit is asked."""
    return {
        "thickness": truth["thickness"],
        "electrons": truth["electrons"],
        "thickness_error": result.thickness - truth["thickness"],
        "tilt_error": float(np.hypot(result.tilt[0] - truth["tilt_x"], result.tilt[1] - truth["tilt_y"])),
        "thickness_stderr": result["thickness"].stderr,
        "status": result.status.name,
        "seconds": result.seconds["total"],
    }


# ---------------------------------------------------------------- polarity


def polarity(study: Study, frames: int, quick: bool) -> dict[str, list[Row]]:
    """The sign of a polarity, and whether its odds are what they say."""
    out: dict[str, list[Row]] = {}
    for name in POLAR:
        library = kept(name, 13.6, quick=quick)
        fitter = Fitter(library, 13.6, hints=Hints(rotation=TURN))
        rng = np.random.default_rng(sum(name.encode()))
        rows = []
        for i in range(2 * frames):
            bright = i % 2 == 0
            electrons = 1e6 if bright else float(np.exp(rng.uniform(*np.log(DOSES))))
            sign = float(rng.choice([-1, 1]))
            image, truth = frame_of(library.at(polarity=sign), 13.6, electrons, rng)
            result = fitter.fit(image)
            found = result.structure["polarity"]
            rows.append(
                compared(result, truth)
                | {
                    "bright": bright,
                    "sign": sign,
                    "right": found.value == sign,
                    "odds": found.odds[found.value] if found.odds else np.nan,
                }
            )
        out[name] = rows
        seen = [row for row in rows if row["bright"]]
        crystal = name.rsplit("_", 1)[0].replace("_", " [") + "]"
        right = np.array([row["right"] for row in seen])
        study.add(f"{crystal}: sign right, 1e6 electrons", 100 * right.mean(), "%", at_least=99)
        errors = np.abs([row["thickness_error"] for row in seen])
        study.add(f"{crystal}: thickness error, 95th percentile", np.percentile(errors, 95), "nm")
        study.add(
            f"{crystal}: tilt error, 95th percentile",
            np.percentile([row["tilt_error"] for row in seen], 95),
            "mrad",
        )
        sure = sum(not row["right"] and row["odds"] > SURE / (1 + SURE) for row in rows)
        study.add(f"{crystal}: wrong sign with odds over {SURE:g}:1", sure, "", at_most=0)
        error, worst = calibration(rows)
        study.add(f"{crystal}: expected calibration error of the odds", error, "", at_most=0.05)
        study.add("  largest of confidence less share right, in a bin", worst, "")
    study.note(
        f"polarity: {frames} frames of each crystal at 1e6 electrons and {frames} at 1e3–1e6, 13.6 mrad, "
        f"10–60 nm, tilt to {TILT:g} mrad unknown, rotation known within {MISALIGNED:g}°"
    )
    return out


def calibration(rows: list[Row]) -> tuple[float, float]:
    """Mean and largest |confidence − share of right answers| over bins of confidence."""
    odds = np.array([row["odds"] for row in rows])
    right = np.array([row["right"] for row in rows])
    parts = [part for part in np.array_split(np.argsort(odds), BINS) if len(part)]
    off = [odds[part].mean() - right[part].mean() for part in parts]
    error = sum(abs(each) * len(part) for each, part in zip(off, parts, strict=True)) / len(rows)
    return float(error), float(max(off, key=abs))


# ---------------------------------------------------------------- continuous parameters


def continuous(name: str, semi_angle: float, electrons: float, frames: int, quick: bool) -> list[Row]:
    """Fits of values between those of a library, searched around seeds as a network would give them."""
    library, between = (kept(name, semi_angle, values, quick) for values in (None, BETWEEN[name]))
    (parameter,) = library.structure
    fitter = Fitter(library, semi_angle, hints=Hints(rotation=TURN), seeded=True)
    rng = np.random.default_rng(sum(name.encode()))
    rows = []
    for i in range(frames):
        value = BETWEEN[name][i % len(BETWEEN[name])]
        image, truth = frame_of(between.at(**{parameter: value}), semi_angle, electrons, rng)
        result = fitter.fit_near(make_frame(image), [near(truth, rng)])
        found = result.structure[parameter]
        rows.append(
            compared(result, truth)
            | {
                "value": value,
                "error": found.value - value,
                "stderr": found.stderr,
                "bound": bound(library, parameter, value, truth, electrons),
            }
        )
    return rows


def bound(library: Library, parameter: str, value: float, truth: Row, electrons: float) -> float:
    """The Cramér–Rao standard deviation of a structural parameter, everything else being fitted, too."""
    camera = Camera(*(truth[field] for field in Camera._fields))
    semi_angle = truth["semi_angle"]
    known = {key: truth[key] for key in ("thickness", "tilt_x", "tilt_y", "semi_angle", "blur")}
    window = library.window(truth["thickness"], (truth["tilt_x"], truth["tilt_y"]), semi_angle=semi_angle)
    model = ForwardModel(window, np.ones((SIZE, SIZE), bool), camera, semi_angle=semi_angle)
    columns = model.evaluate({**known, **camera._asdict(), parameter: value}, (*FITTED, parameter))
    coefficients = np.array([1.0, 0.01, 0.05, 0.02])
    image = coefficients @ columns.columns
    slopes = np.vstack([columns.sensitivity(coefficients), columns.columns])
    row, col = np.indices((SIZE, SIZE))
    away = np.hypot(col - camera.centre_x, row - camera.centre_y).ravel()
    disc = away <= (semi_angle + FITTED_BEYOND_DISC) * camera.scale
    mu, slopes = image[disc] / image.sum(), slopes[:, disc] / image.sum()
    information = electrons * (slopes / mu) @ slopes.T
    scale = np.sqrt(np.diag(information))
    inverse = np.linalg.inv(information / np.outer(scale, scale)) / np.outer(scale, scale)
    return float(np.sqrt(inverse[len(FITTED), len(FITTED)]))


def rms(values: Any) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def judged(study: Study, what: str, unit: str, bar: float, rows: list[Row]) -> None:
    """Rows of a continuous parameter: its error, its pulls, and the thickness beside it."""
    bounds = rms([row["bound"] for row in rows])
    study.add(
        f"{what}: error, rms", rms([row["error"] for row in rows]), unit, at_most=max(bar, 1.3 * bounds)
    )
    study.add("  Cramér–Rao bound, rms", bounds, unit)
    seen = [row for row in rows if row["bound"] < bar]
    study.add("  error where the bound is below the bar, rms", rms([row["error"] for row in seen]), unit)
    known = [row for row in seen if row["stderr"]]
    pulls = np.array([row["error"] / row["stderr"] for row in known])
    study.add(f"{what}: rms of error over standard error, at most", rms(pulls), "", at_most=1.15)
    study.add("  and at least", rms(pulls), "", at_least=0.85)
    study.add("  mean of it", pulls.mean(), "")
    study.add("  without a standard error (on a bound)", 100 * (1 - len(known) / len(seen)), "%")
    worst = np.abs([row["thickness_error"] for row in rows])
    study.add(f"{what}: thickness error, rms", rms(worst), "nm", at_most=0.5)
    study.add("  worst", worst.max(), "nm")


def octahedra(study: Study, frames: int, quick: bool) -> list[Row]:
    """The octahedral tilt."""
    rows = continuous(OCTAHEDRA, 12.0, 1e7, frames, quick)
    judged(study, "octahedral tilt, 1e7 electrons", "°", 0.3, rows)
    study.note(
        "an octahedral tilt acts by its square: near 0° it is hardly seen, and pulls are "
        "of frames whose bound is below the bar"
    )
    study.note(f"octahedral tilt: {frames} frames of {', '.join(f'{v:g}' for v in BETWEEN[OCTAHEDRA])}°")
    return rows


def composition(study: Study, frames: int, quick: bool) -> list[Row]:
    """Strontium in lanthanum manganite."""
    rows = continuous(COMPOSITION, 13.6, 1e7, frames, quick)
    judged(study, "La/Sr composition, 1e7 electrons", "", 0.05, rows)
    study.note(f"composition: {frames} frames of x = {', '.join(f'{v:g}' for v in BETWEEN[COMPOSITION])}")
    return rows


# ---------------------------------------------------------------- cost


def cost(study: Study, frames: int, quick: bool) -> Row:
    """A cell of 20 atoms with five values: time, disk, memory; then the time of a fit."""
    recipe = Recipe.shipped(OCTAHEDRA)
    ((parameter, known),) = recipe.parameters.items()
    five = known.model_copy(update={"values": (0.0, 2.0, 4.0, 6.0, 8.0)})
    recipe = recipe.model_copy(update={"parameters": {parameter: five}} | (QUICK if quick else {}))
    path = DATA / "structure-cost.nc"
    start, cpu = time.perf_counter(), time.process_time()
    built = Library.build(recipe)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    built.save(path)
    study.add("20-atom cell, five values: time to build", seconds / 60, "min", at_most=5)
    study.add("  processor time", cpu / 60, "min")
    study.add("  on disk", path.stat().st_size / 1e9, "GB", at_most=2)
    del built
    library = Library.open(path)
    before = resident_memory_gb()
    window = library.window(40.0, (1.0, 0.5), semi_angle=12.0)
    size = window.dataset.nbytes / 1e6
    study.add("  a window of ±3 nm and ±1 mrad, in memory", size, "MB", at_most=300)
    study.add("  memory of the process rose by", 1e3 * (resident_memory_gb() - before), "MB")
    study.note(f"library of the cost: {dict(library.dataset.sizes)}")
    fitter = Fitter(library, 12.0, seeded=True)
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {"search": [], "refine": [], "total": []}
    right = []
    for i in range(frames + 1):
        value = (2.0, 4.0, 6.0)[i % 3]
        image, truth = frame_of(library.at(**{parameter: value}), 12.0, 1e6, rng)
        result = fitter.fit_near(make_frame(image), [near(truth, rng)])
        if i == 0:  # compiles
            continue
        for stage, each in times.items():
            each.append(result.seconds[stage])
        right.append(abs(result.thickness - truth["thickness"]) < 0.5)
    study.add(
        "fit from a seed, one structural parameter, warm, median",
        1e3 * np.median(times["total"]),
        "ms",
        at_most=300,
    )
    for stage in ("search", "refine"):
        study.add(f"  of which {stage}", 1e3 * np.median(times[stage]), "ms")
    study.add("  within 0.5 nm", 100 * np.mean(right), "%", at_least=95)
    study.note("the fit from a seed is the hybrid one without its network, which takes 10 ms more")
    return {"seconds": seconds, "times": times}


PARTS: dict[str, Callable[[Study, int, bool], Any]] = {
    "polarity": polarity,
    "octahedra": octahedra,
    "composition": composition,
    "cost": cost,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help="of every crystal and kind; 20, quick: 2")
    parser.add_argument("--only", help=f"parts, of {', '.join(PARTS)}; all, quick: no cost")
    options = parser.parse_args(arguments)
    frames = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    usual = [part for part in PARTS if part != "cost" or not options.quick]
    chosen = options.only.split(",") if options.only else usual
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    DATA.mkdir(parents=True, exist_ok=True)
    study = Study("structure", quick=options.quick)
    found = {part: PARTS[part](study, frames, options.quick) for part in chosen}
    study.note(
        "libraries cut to 5–65 nm, tilt ≤ 3 mrad and the semi-angle of the frames "
        "(13.6 mrad; octahedral tilt 12 mrad)"
    )
    if options.quick:
        study.note(f"libraries of beams to {QUICK['g_max']:g} 1/Å, sampled at {QUICK['sampling']:g} mrad")
    draw(study, found)
    return 0 if study.finish(**found) else 1


def draw(study: Study, found: Row) -> None:
    """Odds against dose; errors of the continuous parameters, with their bars."""
    with study.figure(columns=3) as (_, axes):
        for colour, (name, rows) in zip(("C0", "C1"), found.get("polarity", {}).items(), strict=False):
            for right, mark in ((True, "o"), (False, "x")):
                picked = [row for row in rows if row["right"] is right]
                axes[0].semilogx(
                    [row["electrons"] for row in picked],
                    [row["odds"] for row in picked],
                    mark,
                    color=colour,
                    alpha=0.6,
                    label=f"{name.split('_')[0]}, {'right' if right else 'wrong'}",
                )
        axes[0].set(xlabel="electrons", ylabel="odds of the sign that was found")
        for axis, part, words in (
            (axes[1], "octahedra", "octahedral tilt (°)"),
            (axes[2], "composition", "strontium, x"),
        ):
            rows = found.get(part, [])
            spread = np.linspace(-0.25, 0.25, max(len(rows), 1)) * (1 if part == "octahedra" else 0.1)
            axis.errorbar(
                [row["value"] + d for row, d in zip(rows, spread, strict=False)],
                [row["error"] for row in rows],
                [1.96 * (row["stderr"] or np.nan) for row in rows],
                fmt="o",
                lw=0.8,
                alpha=0.6,
            )
            axis.axhline(0, color="k", lw=0.8)
            axis.set(xlabel=f"true {words}", ylabel="error, bars 95 %")
        if found.get("polarity"):
            axes[0].legend()


if __name__ == "__main__":
    sys.exit(main())
