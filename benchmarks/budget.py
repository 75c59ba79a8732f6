"""Error bars where vibration, energy and semi-angle are not quite what the library takes for granted.

Every frame is made by the library's own physics, of a crystal whose Debye–Waller factors, an electron whose
energy and a probe whose semi-angle are drawn from the priors of a fit.  It is fitted by the library at the
nominal values: with the priors, and with every `sigma` 0.  Crystals are solved with few beams, the same for
frame and fit; the diffuse part of a frame is interpolated between crystals of three Debye–Waller factors.
Fits start near the truth.

Frames that are done are kept in `benchmarks/data`, so that the study can be run in parts.

Run with: python -m benchmarks.budget [--crystals NAME,…] [--frames N] [--minutes M] [--seed S] [--quick]
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from benchmarks.common import Study, new_parser
from benchmarks.errors import NAMES, Row, column, judged, rms
from hybridfit import Candidate, Fitter, Library
from hybridfit.fitting.assumptions import ASSUMED, LIBRARY
from hybridfit.fitting.result import FitResult
from hybridfit.library.build import VERSION
from hybridfit.library.recipe import Recipe, ThicknessRange
from hybridfit.pattern.diffuse import DiffuseTable
from hybridfit.physics.crystal import Crystal
from hybridfit.simulate.frame import simulate_frame

DATA = Path(__file__).parent / "data"
CRYSTALS = (
    "SrTiO3_001_200kV",
    "SrTiO3_011_200kV",
    "Si_110_200kV",
    "TiO2_001_80kV",
    "PMN_011_200kV",
    "GaAs_110_200kV",
)
FRAMES, QUICK_FRAMES, SEED = 67, 1, 20260917
SEMI_ANGLE, TILT = 13.0, 2.0  # mrad
THICKNESS = (8.0, 55.0)  # nm
ELECTRONS = (1e6, 1e8)
# few beams and directions: what is tested is the error bar
SOLVED: dict[str, Any] = {
    "g_max": 1.4,
    "sampling": 0.35,
    "semi_angle_max": 14.5,
    "tilt_max": 3.0,
    "parameters": {},
    "thickness": ThicknessRange(start=2.0, stop=62.0),
}
FACTORS = (0.7, 1.0, 1.4)  # times the Debye–Waller factors: of the diffuse part
PRIORS = {"debye_waller": ASSUMED.debye_waller, "energy": ASSUMED.energy, "semi_angle": ASSUMED.semi_angle}
# frames are approximated as the library is
EXACT = {LIBRARY: 0.0}
WAYS: dict[str, dict[str, float]] = {
    "with the priors": EXACT,
    "all sigma 0": EXACT | dict.fromkeys(PRIORS, 0.0),
}


@cache
def nominal(name: str, factor: float = 1.0) -> Library:
    """The library of the fits, in memory; of a crystal whose Debye–Waller factors are multiplied."""
    recipe = Recipe.shipped(name).model_copy(update=SOLVED)
    DATA.mkdir(parents=True, exist_ok=True)
    if factor != 1:
        folder = DATA / "budget-crystals" / f"{name}-{factor:g}"
        folder.mkdir(parents=True, exist_ok=True)
        recipe = recipe.model_copy(update={"cif": warmer(recipe.cif, factor, folder)})
    path = DATA / f"budget-{name}-{recipe.checksum()[:12]}-v{VERSION}.nc"
    if not path.exists():
        Library.build(recipe, slopes=factor == 1).save(path)
    return Library(Library.open(path).dataset.load())


def diffuse(name: str, factor: float) -> DiffuseTable:
    """The diffuse part at a Debye–Waller factor: a parabola in its logarithm through three of them."""
    tables = [table for each in FACTORS if (table := nominal(name, each).diffuse) is not None]
    own = tables[FACTORS.index(1.0)]
    times = own.step_nm * np.arange(len(own.intensity))
    x, at = np.log(FACTORS), np.log(factor)
    blended = np.zeros(own.intensity.shape)
    for i, table in enumerate(tables):
        weight = np.prod([(at - x[j]) / (x[i] - x[j]) for j in range(len(x)) if j != i])
        along = CubicSpline(table.step_nm * np.arange(len(table.intensity)), table.intensity)
        blended += weight * along(np.minimum(times, along.x[-1]))
    return replace(own, intensity=np.asarray(blended, np.float32))


def drawn(name: str, i: int, seed: int) -> dict[str, Any]:
    """What frame i of a crystal is made with."""
    rng = np.random.default_rng([seed, CRYSTALS.index(name), i])
    tilt, azimuth = TILT * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    return {
        "thickness": float(rng.uniform(*THICKNESS)),
        "tilt": (float(tilt * np.cos(azimuth)), float(tilt * np.sin(azimuth))),
        "rotation": float(rng.uniform(-5, 5)),
        "electrons": float(ELECTRONS[0] * (ELECTRONS[1] / ELECTRONS[0]) ** rng.random()),
        "seed": int(rng.integers(2**31)),
        # in units of the priors
        "nuisances": {each: float(rng.standard_normal()) for each in PRIORS},
    }


def factors(nuisances: dict[str, float]) -> dict[str, float]:
    """By what debye_waller, energy and semi_angle are multiplied."""
    return {name: float(np.exp(PRIORS[name] * value)) for name, value in nuisances.items()}


def warmer(cif: Path, factor: float, folder: Path) -> Path:
    """A CIF of a crystal whose Debye–Waller factors are multiplied, all atoms of the cell in it."""
    crystal = Crystal.from_cif(cif)
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_warmer", "_symmetry_space_group_name_H-M 'P 1'"]
    lines += [f"_cell_{name} {value}" for name, value in zip(names, crystal.cell, strict=True)]
    columns = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy", "B_iso_or_equiv")
    lines += ["loop_", *(f"_atom_site_{column}" for column in columns)]
    for j, element in enumerate(crystal.elements):
        x, y, z = crystal.positions[j]
        b = factor * crystal.debye_waller[j]
        lines.append(f"{element}{j} {element} {x:.9f} {y:.9f} {z:.9f} {crystal.occupancies[j]:.6f} {b:.9f}")
    path = folder / f"{cif.stem}.cif"
    path.write_text("\n".join(lines) + "\n")
    return path


def frame_of(name: str, i: int, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """A frame and its truth: solved for it alone, at the few thicknesses that it needs."""
    values = drawn(name, i, seed)
    by = factors(values.pop("nuisances"))
    start = max(round(values["thickness"]) - 2.0, 1.0)
    recipe = Recipe.shipped(name)
    folder = DATA / "budget-crystals" / f"{name}-{seed}-{i}"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = recipe.model_copy(
        update={
            **SOLVED,
            "cif": warmer(recipe.cif, by["debye_waller"], folder),
            "energy_kv": recipe.energy_kv * by["energy"],
            "tilt_max": TILT + 0.3,
            "semi_angle_max": max(SEMI_ANGLE * by["semi_angle"] + 0.1, SEMI_ANGLE),
            "thickness": ThicknessRange(start=start, stop=start + 5.0),
        }
    )
    library = Library.build(recipe, slopes=False, diffuse=False, device="cpu")
    library = Library(library.dataset, diffuse=diffuse(name, by["debye_waller"]))
    image, truth = simulate_frame(
        library, semi_angle=SEMI_ANGLE * by["semi_angle"], shape=(128, 128), **values
    )
    return image, truth


def fitted(name: str, i: int, seed: int) -> dict[str, Row]:
    """Fits of a frame, in every way."""
    image, truth = frame_of(name, i, seed)
    library, out = nominal(name), {}
    for way, sigma in WAYS.items():
        found: list[FitResult] = []
        row = judged(partial(_fit, image, truth, library, sigma, found), truth, library.rotation_order)
        if found:
            row["budget"] = {key: dict(parts) for key, parts in found[0].budget.items()}
            row["assumed"] = {key: vars(each) for key, each in found[0].assumed.items()}
        row["nuisances"] = drawn(name, i, seed)["nuisances"]
        out[way] = row
    return out


def _fit(
    image: np.ndarray,
    truth: dict[str, Any],
    library: Library,
    sigma: dict[str, float],
    found: list[FitResult],
) -> FitResult:
    fitter = Fitter(library, SEMI_ANGLE, sigma=sigma, workers=1, seeded=True)
    camera = [truth[name] for name in ("centre_x", "centre_y", "scale", "rotation")]
    start = Candidate(truth["thickness"] + 0.3, truth["tilt_x"] - 0.1, truth["tilt_y"] + 0.1, *camera)
    found.append(fitter.refine(image, start))
    return found[0]


def kept(name: str, frames: int, until: float, seed: int) -> list[dict[str, Row]]:
    """Fits of the first frames of a crystal: those of earlier runs, and new ones while there is time."""
    recipe = Recipe.shipped(name).model_copy(update=SOLVED)
    key = hashlib.sha256(
        json.dumps([seed, PRIORS, FACTORS, recipe.checksum(), VERSION]).encode()
    ).hexdigest()[:12]
    path = DATA / f"budget-{name}-{key}.jsonl"
    DATA.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    with path.open("a") as file:
        for i in range(len(rows), frames):
            if time.monotonic() > until:
                break
            rows.append(fitted(name, i, seed))
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
    return rows[:frames]


def tabulate(study: Study, crystal: str, way: str, rows: Sequence[Row]) -> None:
    """Coverage, error and error bar of fits that converged."""
    good = [row for row in rows if row["status"] == "converged"]
    what = f"{crystal}, {way}"
    study.add(f"{what}: frames", len(rows), "")
    study.add(f"{what}: converged", 100 * len(good) / max(len(rows), 1), "%")
    barred = crystal == "all" and way == "with the priors"
    for label, names in (("thickness", NAMES[:1]), ("tilt", NAMES[1:])):
        unit = "nm" if label == "thickness" else "mrad"
        for share in (95, 68):
            inside = np.concatenate([column(good, f"{name}_in{share}") for name in names])
            held = 100 * float(inside.mean()) if len(inside) else float("nan")
            bar = {"at_least": 92.0 if share == 95 else 62.0} if barred else {}
            study.add(f"{what}: {share} % intervals of {label} that hold the truth", held, "%", **bar)
        errors = np.concatenate([column(good, name) for name in names])
        stated = np.concatenate([column(good, f"{name}_stderr") for name in names])
        study.add(f"{what}: error of {label}, rms", rms(errors), unit)
        study.add(f"{what}: stated error of {label}, rms", rms(stated), unit)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--crystals", default=",".join(CRYSTALS))
    parser.add_argument("--frames", type=int, help=f"of every crystal; {FRAMES}")
    parser.add_argument(
        "--minutes", type=float, default=np.inf, help="stop after so long, and go on next time"
    )
    parser.add_argument("--seed", type=int, default=SEED, help=f"of what is drawn; {SEED}")
    options = parser.parse_args(arguments)
    names = options.crystals.split(",")
    if unknown := [name for name in names if name not in CRYSTALS]:
        parser.error(f"no crystal {unknown[0]!r}; they are {', '.join(CRYSTALS)}")
    frames = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    until = time.monotonic() + 60 * options.minutes
    study = Study("budget", quick=options.quick)
    found = {name: kept(name, frames, until, options.seed) for name in names}
    groups = {**found, "all": [row for rows in found.values() for row in rows]}
    for name, each in groups.items():
        for way in WAYS:
            tabulate(study, name, way, [row[way] for row in each])
    draw(study, groups["all"])
    passed = study.finish(frames=found)
    return 0 if passed else 1


def draw(study: Study, rows: Sequence[dict[str, Row]]) -> None:
    """Distributions of errors over stated errors."""
    with study.figure(columns=3) as (_, axes):
        bins = np.linspace(-5, 5, 31)
        normal = np.exp(-(bins**2) / 2) / np.sqrt(2 * np.pi)
        for axis, name in zip(axes, NAMES, strict=True):
            for colour, way in zip(("C0", "C3"), WAYS, strict=True):
                good = [row[way] for row in rows if row[way]["status"] == "converged"]
                pulls = np.clip(column(good, f"{name}_pull"), -5, 5)
                axis.hist(pulls, bins, density=True, histtype="step", color=colour, label=way)
            axis.plot(bins, normal, "k:", label="normal")
            axis.set(xlabel=f"error of {name} / stated error", ylabel="density")
        axes[0].legend(fontsize=7)


if __name__ == "__main__":
    sys.exit(main())
