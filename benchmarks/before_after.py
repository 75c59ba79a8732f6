"""Answers of two versions of hybridfit to the same frames: has a change of the code changed an answer?

200 simulated frames of SrTiO3 [001] by all three methods, a share of them again with every option of a
fit, frames of crystals with structural parameters, and a map of 16 × 16 positions.  `record` fits them
with the hybridfit that Python finds and writes every number; `compare` lists the answers that differ.

Run the first line with the older version (its root in PYTHONPATH), the others with the newer one:

    python -m benchmarks.before_after record old --frames frames
    python -m benchmarks.before_after record new --frames frames
    python -m benchmarks.before_after compare old new
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

NAME = "SrTiO3_001_200kV"
FRAMES, SEED = 200, 77_2016
SEMI_ANGLES = (13.6, 12.5, 15.0, 17.0, 19.1)  # mrad
TOLERANCE = 1e-9
CRYSTALS = {"PbTiO3_100_200kV": 10, "LaSrMnO3_001_200kV": 6, "GaAs_110_200kV": 6, "Si_110_200kV": 8}
MAP_SIZE = 16
# options of a fit: each is tried on OPTION_FRAMES frames; values of the truth are filled in
OPTION_FRAMES = 20
OPTIONS: dict[str, dict[str, Any]] = {
    "uniform background": {"background": "uniform"},
    "background per nm": {"background": "uniform-per-nm"},
    "no background": {"background": "none"},
    "free semi-angle": {"free": ("semi_angle",)},
    "fixed scale": {"fix": ("scale",)},
    "fixed rotation and blur": {"fix": ("rotation", "blur")},
    "fixed thickness": {"fix": ("thickness",)},
    "hint of thickness": {"hints": ("thickness",)},
    "hint of tilt": {"hints": ("tilt",)},
    "hint of centre and scale": {"hints": ("centre", "scale")},
    "hint of rotation": {"hints": ("rotation",)},
    "mirrored": {"flip": True},
    "mirrored, full search": {"flip": True, "method": "lsf"},
    "refined from a seed": {"from": "refine"},
    "from a neighbour": {"from": "fit_near"},
}


def main() -> None:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="fit everything and write the answers")
    record.add_argument("out", type=Path, help="folder of the answers; what is there already is kept")
    record.add_argument("--frames", type=Path, required=True, help="folder of the frames, made if need be")
    record.add_argument("--only", nargs="*", help="parts: methods, options, crystals, map")
    record.add_argument("--count", type=int, default=FRAMES)
    compare = commands.add_parser("compare", help="list the answers that differ")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    compare.add_argument("--tolerance", type=float, default=TOLERANCE, help="relative")
    given = parser.parse_args()
    if given.command == "compare":
        sys.exit(_compare(given.before, given.after, given.tolerance))
    given.out.mkdir(parents=True, exist_ok=True)
    given.frames.mkdir(parents=True, exist_ok=True)
    for job in _jobs(given.count):
        if not given.only or job["part"] in given.only:
            _record(job, given.out, given.frames)


# ---------------------------------------------------------------- what is fitted


def _jobs(count: int) -> list[dict[str, Any]]:
    """Every set of fits: frames, crystal and options."""
    some = min(OPTION_FRAMES, count)
    jobs = [
        {"part": "methods", "name": method, "crystal": NAME, "count": count, "ask": {"method": method}}
        for method in ("hybrid", "cnn", "lsf")
    ]
    jobs += [
        {"part": "options", "name": name, "crystal": NAME, "count": some, "ask": ask}
        for name, ask in OPTIONS.items()
    ]
    jobs += [
        {"part": "crystals", "name": crystal, "crystal": crystal, "count": min(n, count), "ask": {}}
        for crystal, n in CRYSTALS.items()
    ]
    return [*jobs, {"part": "map", "name": "map", "crystal": NAME}]


def _record(job: dict[str, Any], out: Path, frames: Path) -> None:
    path = out / f"{job['name'].replace(' ', '_').replace(',', '')}.json"
    if path.exists():
        return
    if job["part"] == "map":
        answers = _map(frames)
    else:
        images, truths = _frames(job["crystal"], job["count"], frames)
        shares = [list(range(i, job["count"], len(SEMI_ANGLES))) for i in range(len(SEMI_ANGLES))]
        done = Parallel(n_jobs=2)(
            delayed(_fits)(job, [(i, images[i], truths[i]) for i in share]) for share in shares if share
        )
        answers = {key: value for part in done for key, value in part.items()}
    path.write_text(json.dumps(answers, indent=0, sort_keys=True))
    print(f"{job['name']}: {len(answers)} answers", flush=True)


def _fits(job: dict[str, Any], share: list[tuple[int, np.ndarray, dict[str, Any]]]) -> dict[str, Any]:
    """Answers to frames of one semi-angle."""
    import torch

    import hybridfit

    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DeprecationWarning)
    library = hybridfit.Library.open(job["crystal"])
    common = None
    answers = {}
    for i, image, truth in share:
        ask = dict(job["ask"])
        way = ask.pop("from", "fit")
        own = "fix" in ask or "hints" in ask
        if common is None or own:
            common = _fitter(hybridfit, library, truth, ask)
        try:
            if way == "fit":
                result = common.fit(image)
            else:
                near = _near(hybridfit, truth)
                result = common.refine(image, near) if way == "refine" else common.fit_near(image, [near])
            answers[str(i)] = _numbers(result)
        except hybridfit.errors.HybridfitError as error:
            answers[str(i)] = {"error": str(error)}
    return answers


def _fitter(hybridfit: Any, library: Any, truth: dict[str, Any], ask: dict[str, Any]) -> Any:
    ask = {**ask, "workers": 1, "whole_curve": True}
    if "fix" in ask:
        ask["fix"] = {name: truth[name] for name in ask["fix"]}
    if "hints" in ask:
        ask["hints"] = hybridfit.Hints(**{name: truth[name] for name in ask["hints"]})
    if ask.pop("flip", False):
        return hybridfit.FlippedFitter(library, truth["semi_angle"], **ask)
    return hybridfit.Fitter(library, truth["semi_angle"], **ask)


def _near(hybridfit: Any, truth: dict[str, Any]) -> Any:
    """A seed off by 1.2 nm, 0.4 mrad, a pixel, 1 % and 1°."""
    return hybridfit.Candidate(
        thickness=truth["thickness"] + 1.2,
        tilt_x=truth["tilt"][0] * 0.9,
        tilt_y=truth["tilt"][1] * 0.9,
        centre_x=truth["centre"][0] + 0.7,
        centre_y=truth["centre"][1] - 0.7,
        scale=truth["scale"] * 1.01,
        rotation=truth["rotation"] + 1.0,
    )


def _numbers(result: Any) -> dict[str, Any]:
    """All numbers of a result."""
    parameters = {**result.parameters, **result.structure}
    return {
        "status": result.status.name,
        "route": str(getattr(result.route, "value", result.route)),
        "message": result.message,
        "values": {name: p.value for name, p in parameters.items()},
        "stderr": {name: p.stderr for name, p in parameters.items()},
        "interval95": {name: p.interval95 and list(p.interval95) for name, p in parameters.items()},
        "odds": {name: p.odds and {f"{v:g}": o for v, o in p.odds.items()} for name, p in parameters.items()},
        "intensity_factor": result.intensity_factor,
        "background": list(result.background),
        "residual_fraction": result.residual_fraction,
        "misfit_fraction": result.misfit_fraction,
        "reduced_chi2": result.reduced_chi2,
        "n_effective": result.n_effective,
        "candidates": [
            [c.thickness, c.tilt_x, c.tilt_y, c.scale, c.rotation, c.chi2] for c in result.candidates
        ],
        "curve": None if result.whole_curve is None else np.asarray(result.whole_curve).tolist(),
    }


def _map(frames: Path) -> dict[str, Any]:
    import hybridfit

    path = frames / "scan.nc"
    if not path.exists():
        library = hybridfit.Library.open(NAME)
        hybridfit.simulate_scan(path, library, 13.6, scan_shape=(MAP_SIZE, MAP_SIZE), electrons=2e5, seed=5)
    answers = {}
    for name, ask in (
        ("plain", {}),
        ("mirrored", {"flip": True}),
        ("lsf", {"method": "lsf", "roi": (0, 2, 0, 4)}),
    ):
        found = hybridfit.map_scan(path, NAME, semi_angle=13.6, workers=2, **ask)
        for variable, values in found.data_vars.items():
            if values.dtype.kind in "fiu" and values.ndim == 2 and values.dims == ("scan_y", "scan_x"):
                answers[f"{name} {variable}"] = {"values": values.values.astype(float).tolist()}
    return answers


# ---------------------------------------------------------------- frames


def _frames(crystal: str, count: int, folder: Path) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    """Frames and truths; made by the first version that asks for them, read by the others."""
    path = folder / f"{crystal}.npz"
    if not path.exists():
        truths = _draw(crystal, max(count, CRYSTALS.get(crystal, FRAMES)))
        shares = [truths[i::2] for i in range(2)]
        made = Parallel(n_jobs=2)(delayed(_simulate)(crystal, share) for share in shares)
        images = {f"image{2 * j + i}": image for i, part in enumerate(made) for j, image in enumerate(part)}
        np.savez_compressed(path, truths=json.dumps(truths), **images)
    with np.load(path) as kept:
        truths = json.loads(str(kept["truths"]))
        return [kept[f"image{i}"] for i in range(count)], truths


def _draw(crystal: str, count: int) -> list[dict[str, Any]]:
    import hybridfit

    rng = np.random.default_rng(SEED)
    library = hybridfit.Library.open(crystal)
    low, high = library.thickness_range
    out = []
    for i in range(count):
        size = int(rng.choice([64, 96, 128, 192, 256, 320]))
        semi_angle = SEMI_ANGLES[i % len(SEMI_ANGLES)] if crystal == NAME else library.semi_angle_max - 0.5
        tilt, azimuth = 0.85 * library.tilt_max * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        truth = {
            "thickness": float(rng.uniform(low + 2, high - 2)),
            "tilt": [float(tilt * np.cos(azimuth)), float(tilt * np.sin(azimuth))],
            "semi_angle": float(semi_angle),
            "shape": [size, size],
            "centre": (np.full(2, (size - 1) / 2) + 0.08 * size * rng.uniform(-1, 1, 2)).tolist(),
            "scale": float(rng.uniform(0.28, 0.5) * size / 2 / semi_angle),
            "rotation": float(rng.uniform(-180, 180)),
            "blur": float(rng.uniform(0.1, 0.6)),
            "electrons": float(10 ** rng.uniform(3.5, 8.5)),
            "background": float(rng.uniform(0, 0.35)),
            "seed": i,
        }
        out.append(truth)
    return out


def _simulate(crystal: str, truths: list[dict[str, Any]]) -> list[np.ndarray]:
    import hybridfit

    library = hybridfit.Library.open(crystal)
    reference = {name: axis.reference for name, axis in library.structure.items()}
    library = library.at(**reference) if reference else library
    return [
        hybridfit.simulate_frame(
            library,
            **{**t, "tilt": tuple(t["tilt"]), "shape": tuple(t["shape"]), "centre": tuple(t["centre"])},
        )[0].astype(np.uint32)
        for t in truths
    ]


# ---------------------------------------------------------------- comparison


def _compare(before: Path, after: Path, tolerance: float) -> int:
    """Print the differences; 1 where there are any."""
    bad = total = 0
    for path in sorted(before.glob("*.json")):
        old, new = json.loads(path.read_text()), json.loads((after / path.name).read_text())
        differ: Counter[str] = Counter()
        worst: dict[str, float] = {}
        for key in sorted(old):
            total += 1
            found = dict(_differences(old[key], new.get(key), tolerance))
            bad += bool(found)
            differ.update({name.split(".")[0] for name in found})
            for name, size in found.items():
                worst[name] = max(worst.get(name, 0.0), size)
            if found:
                print(
                    f"  {path.stem} {key}: " + ", ".join(f"{n} {s:.3g}" for n, s in list(found.items())[:6])
                )
                if "message" in found:
                    print(f"    {old[key]['message']}\n    {new[key]['message']}")
        print(f"{path.stem}: {len(old)} answers, " + (f"differ: {dict(differ)}" if differ else "identical"))
    print(f"{bad} of {total} answers differ by more than {tolerance:g}")
    return int(bad > 0)


def _differences(a: Any, b: Any, tolerance: float, name: str = "") -> list[tuple[str, float]]:
    if isinstance(a, dict) and isinstance(b, dict):
        return [
            each
            for key in {**a, **b}
            for each in _differences(a.get(key), b.get(key), tolerance, f"{name}.{key}".strip("."))
        ]
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return [(f"{name}.length", abs(len(a) - len(b)))]
        return [d for x, y in zip(a, b, strict=True) for d in _differences(x, y, tolerance, name)]
    if isinstance(a, int | float) and isinstance(b, int | float):
        if math.isnan(a) and math.isnan(b):
            return []
        off = abs(a - b) / max(abs(a), abs(b), 1e-3)
        return [] if off <= tolerance else [(name, off)]
    return [] if a == b else [(name, math.inf)]


if __name__ == "__main__":
    main()
