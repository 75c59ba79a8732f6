"""Fits of other crystals' patterns from an independent simulator: abTEM frozen-phonon multislice.

The patterns are those of `benchmarks.abtem_crystals` (run it first; it needs the `[bench]` extra).  Each is
put on its own camera with Poisson noise, and fitted with the shipped library of its crystal, cut to
5–65 nm and the semi-angle.  Only the semi-angle is given and, if the crystal is polar, the rotation within
3°.  A quick run has libraries of fewer beams and directions.

Run with: python -m benchmarks.multislice_crystals [--every N] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.common import Study, new_parser, skipped
from benchmarks.multislice import DATA, on_camera, random_camera
from benchmarks.structural_frames import kept
from hybridfit import Fitter, Hints
from hybridfit.fitting.candidates import Candidate, turn

AXES = {"TiO2_001_80kV": 45.0}  # degrees from the multislice's x to the library's
MISALIGNED = 3.0  # degrees
ELECTRONS = (1e6, 1e8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seed", type=int, default=2018)
    parser.add_argument("--only", default="", help="crystals whose name begins with this")
    parser.add_argument("--every", type=int, help="use only every n-th thickness; 2, quick: 6")
    options = parser.parse_args(arguments)
    every = options.every or (6 if options.quick else 2)
    files = sorted(options.data.glob(f"crystal_{options.only}*.nc"))
    if not files:
        why = f"no patterns in {options.data}; make them with python -m benchmarks.abtem_crystals"
        return skipped("multislice_crystals", why)
    if options.quick:
        files = files[:1]
    rows: list[dict[str, Any]] = []
    phonons: dict[str, int] = {}
    for number, file in enumerate(files):
        data = xr.open_dataset(file)
        phonons[file.stem.removeprefix("crystal_")] = int(data.attrs["frozen_phonon_configurations"])
        for i in range(0, data.sizes["thickness_nm"], every):
            rng = np.random.default_rng([options.seed, number, i])
            rows.append(fitted(data.isel(thickness_nm=i), rng, options.quick))
    study = Study("multislice_crystals", quick=options.quick)
    for name in dict.fromkeys(row["library"] for row in rows):
        mine = [row for row in rows if row["library"] == name]
        column = {key: np.array([row[key] for row in mine]) for key in mine[0]}
        worst = np.abs(column["thickness_error"]).max()
        study.add(f"{name}: thickness error, worst of {len(mine)}", worst, "nm", at_most=1.0)
        study.add(f"{name}: thickness error, rms", np.sqrt((column["thickness_error"] ** 2).mean()), "nm")
        study.add(f"{name}: tilt component error, worst", column["tilt_error"].max(), "mrad", at_most=0.2)
        study.add(f"{name}: tilt component error, rms", np.sqrt((column["tilt_error"] ** 2).mean()), "mrad")
        covered = np.concatenate([column[f"{key}_covered"] for key in ("thickness", "tilt_x", "tilt_y")])
        study.add(f"{name}: 95 % intervals that hold the truth", 100 * covered.mean(), "%", at_least=90)
        study.add(f"{name}: misfit, median", 100 * np.median(column["misfit"]), "% of variance")
        study.add(f"{name}: status converged", 100 * (column["status"] == "converged").mean(), "%")
        if mine[0]["polarity"]:
            right = column["polarity"] == column["found_polarity"]
            study.add(f"{name}: polarity right", 100 * right.mean(), "%", at_least=100)
            study.add(f"{name}: least odds of the polarity", column["odds"].min(), "")
    study.note("shipped libraries, cut to 5–65 nm, tilt ≤ 3 mrad and the semi-angle of the patterns")
    words = ", ".join(f"{name} {count}" for name, count in phonons.items())
    study.note(f"phonon configurations, each seen by 36 probe positions: {words}")
    passed = study.finish(fits=rows)
    draw(study, rows)
    return 0 if passed else 1


_fitters: dict[str, Fitter] = {}


def fitted(data: xr.Dataset, rng: np.random.Generator, quick: bool) -> dict[str, Any]:
    """One pattern on a camera, fitted."""
    name, semi_angle = str(data.attrs["library"]), float(data.attrs["semi_angle_mrad"])
    camera, shape = random_camera(rng)
    electrons = float(np.exp(rng.uniform(*np.log(ELECTRONS))))
    image = on_camera(data.intensity, camera, shape, electrons, rng)
    polar = int(data.attrs["polarity"])
    if name not in _fitters:
        _fitters[name] = Fitter(kept(name, semi_angle, quick=quick), semi_angle)
    fitter = _fitters[name]
    if polar:
        hint = Hints(rotation=camera.rotation + rng.uniform(-MISALIGNED, MISALIGNED))
        fitter = Fitter(fitter.library, semi_angle, hints=hint)
    result = fitter.fit(image)
    tilt = float(data.attrs["tilt_x_mrad"]), float(data.attrs["tilt_y_mrad"])
    truth = Candidate(
        float(data.thickness_nm), *tilt, camera.centre_x, camera.centre_y, camera.scale, camera.rotation
    )
    x, y = in_frame_of(truth, AXES.get(name, 0.0), result["rotation"].value, fitter.library.rotation_order)
    off = {
        "thickness": result.thickness - truth.thickness,
        "tilt_x": result.tilt[0] - x,
        "tilt_y": result.tilt[1] - y,
    }
    row: dict[str, Any] = {
        "library": name,
        "polarity": polar,
        "thickness": truth.thickness,
        "thickness_error": off["thickness"],
        "thickness_stderr": result["thickness"].stderr or np.nan,
        "tilt_error": max(abs(off["tilt_x"]), abs(off["tilt_y"])),
        "electrons": electrons,
        "misfit": result.misfit_fraction,
        "status": result.status.name,
        "seconds": result.seconds["total"],
    }
    for key, error in off.items():
        interval = result[key].interval95
        row[f"{key}_covered"] = float(interval is not None and abs(error) <= (interval[1] - interval[0]) / 2)
    if polar:
        found = result.structure["polarity"]
        row |= {"found_polarity": int(found.value), "odds": found.odds[found.value] if found.odds else 1.0}
    print(
        f"{name} {polar:+d} {truth.thickness:5.1f} nm: thickness {off['thickness']:+.3f}  "
        f"tilt {off['tilt_x']:+.3f} {off['tilt_y']:+.3f}  misfit {row['misfit']:.2%}  {row['status']}  "
        f"{row.get('found_polarity', 0):+d} {row.get('odds', 1):.4f}  {row['seconds']:.1f} s",
        flush=True,
    )
    return row


def in_frame_of(truth: Candidate, turned: float, rotation: float, order: int) -> tuple[float, float]:
    """The simulated tilt in the library's crystal frame at a rotation (degrees).

    turned is the angle from the library's x to the one of the simulation; of the n crystal frames that
    symmetry makes equal it is the one nearest to the rotation.
    """
    sector = 360 / order
    own = turn(truth, turned)
    away = round((rotation - own.rotation) / sector) * sector
    return turn(own, away).tilt


def draw(study: Study, rows: list[dict[str, Any]]) -> None:
    """Errors against thickness."""
    with study.figure(columns=2) as (_, axes):
        for shift, name in zip((-0.8, 0.0, 0.8), dict.fromkeys(row["library"] for row in rows), strict=False):
            mine = [row for row in rows if row["library"] == name]
            t = [row["thickness"] + shift for row in mine]
            bars = [1.96 * row["thickness_stderr"] for row in mine]
            errors = [row["thickness_error"] for row in mine]
            axes[0].errorbar(t, errors, bars, fmt="o", lw=0.8, alpha=0.6, label=name)
            axes[1].plot(t, [row["tilt_error"] for row in mine], "o", alpha=0.6)
        axes[0].axhline(0, color="k", lw=0.8)
        axes[0].set(xlabel="true thickness (nm)", ylabel="error (nm), bars 95 %")
        axes[0].legend()
        axes[1].axhline(0.2, color="k", ls="--", lw=0.8)
        axes[1].set(xlabel="true thickness (nm)", ylabel="worse tilt component, error (mrad)")


if __name__ == "__main__":
    sys.exit(main())
