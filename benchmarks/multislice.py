"""Fits of patterns from an independent simulator: abTEM frozen-phonon multislice.

The patterns come from `benchmarks.abtem_patterns` (run it first; it needs the `[bench]` extra).
Each is put on a camera with its own shift, rotation (7–40°), scale and dose (1e6–1e8 electrons),
integrated over pixels, with Poisson noise, and fitted; only the semi-angle is given.

Run with: python -m benchmarks.multislice [--every N] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from benchmarks.common import Study, new_parser, skipped
from hybridfit import Fitter, Library
from hybridfit.fitting.candidates import canonical, tilt_distance
from hybridfit.fitting.result import FitResult
from hybridfit.pattern.camera import Camera, to_angles

DATA = Path(__file__).parent / "data"
LIBRARY = "SrTiO3_001_200kV"
OVERSAMPLING = 3


def on_camera(
    pattern: xr.DataArray, camera: Camera, shape: tuple[int, int], electrons: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A camera frame of a pattern (ky, kx): interpolated, integrated over pixels, with Poisson noise."""
    n = OVERSAMPLING
    rows, cols = ((np.indices((shape[0] * n, shape[1] * n)) + 0.5) / n - 0.5).reshape(2, -1)
    k = to_angles(cols, rows, camera)
    step = float(pattern.kx_mrad[1] - pattern.kx_mrad[0])
    at = [(k[1] - float(pattern.ky_mrad[0])) / step, (k[0] - float(pattern.kx_mrad[0])) / step]
    fine = map_coordinates(pattern.values.astype(float), at, order=3, cval=0.0)
    frame = np.clip(fine, 0, None).reshape(shape[0], n, shape[1], n).mean(axis=(1, 3))
    return rng.poisson(frame * electrons / frame.sum()).astype(float)


def random_camera(rng: np.random.Generator) -> tuple[Camera, tuple[int, int]]:
    """A frame size and a camera that shows the whole direct disc and something around it."""
    size = int(rng.choice([128, 192, 256]))
    scale = size / 60 * rng.uniform(0.85, 1.15)
    centre = (size - 1) / 2 + rng.uniform(-0.06, 0.06, 2) * size
    return Camera(float(centre[0]), float(centre[1]), float(scale), float(rng.uniform(7, 40))), (size, size)


def errors(result: FitResult, truth: dict[str, float], order: int) -> dict[str, float]:
    """Differences from the truth and pulls, the tilt compared in the crystal frame of the truth.

    The fit reports rotations within ±180°/n, and turns the tilt with them.
    """
    x, y, _ = canonical(truth["tilt_x"], truth["tilt_y"], truth["rotation"], order)
    thickness, tx, ty = (result[name] for name in ("thickness", "tilt_x", "tilt_y"))
    out = {
        "thickness": thickness.value - truth["thickness"],
        "tilt_x": tx.value - x,
        "tilt_y": ty.value - y,
        "tilt": tilt_distance(result.tilt, (x, y), order),
    }
    for name, p in (("thickness", thickness), ("tilt_x", tx), ("tilt_y", ty)):
        out[f"{name}_covered"] = float(
            p.interval95 is not None and abs(out[name]) <= p.interval95[1] - p.value
        )
        out[f"{name}_pull"] = out[name] / p.stderr if p.stderr else np.nan
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seed", type=int, default=2018)
    parser.add_argument("--every", type=int, help="use only every n-th thickness; 2, quick: 8, of two files")
    options = parser.parse_args(arguments)
    every = options.every or (8 if options.quick else 2)
    files = sorted(options.data.glob("abtem_[0-9]*.nc"))
    if not files:
        why = f"no abTEM patterns in {options.data}; make them with python -m benchmarks.abtem_patterns"
        return skipped("multislice", why)
    if options.quick:
        files = files[:2]
    library = Library.open(LIBRARY)
    order = library.rotation_order
    fitters: dict[float, Fitter] = {}
    rows = []
    for number, file in enumerate(files):
        data = xr.open_dataset(file)
        semi_angle = float(data.attrs["semi_angle_mrad"])
        fitter = fitters.setdefault(semi_angle, Fitter(library, semi_angle, method="lsf"))
        for i in range(0, data.sizes["thickness_nm"], every):
            rng = np.random.default_rng([options.seed, number, i])
            camera, shape = random_camera(rng)
            electrons = 10 ** rng.uniform(6, 8)
            truth = {
                "thickness": float(data.thickness_nm[i]),
                "tilt_x": float(data.attrs["tilt_x_mrad"]),
                "tilt_y": float(data.attrs["tilt_y_mrad"]),
                "rotation": camera.rotation,
            }
            result = fitter.fit(on_camera(data.intensity.isel(thickness_nm=i), camera, shape, electrons, rng))
            row = errors(result, truth, order)
            row |= {f"true_{name}": value for name, value in truth.items()}
            row |= {
                "semi_angle": semi_angle,
                "electrons": electrons,
                "misfit": result.misfit_fraction,
                "residual": result.residual_fraction,
                "converged": float(result.ok),
                "seconds": result.seconds["total"],
                "stderr": result["thickness"].stderr or np.nan,
                "tilt_stderr": result["tilt_x"].stderr or np.nan,
                "n_effective": result.n_effective,
            }
            rows.append(row)
            found = "  ".join(
                f"{name} {row[name]:+.3f} ({row[name + '_pull']:+.1f} σ)"
                for name in ("thickness", "tilt_x", "tilt_y")
            )
            print(
                f"{semi_angle:g} mrad {truth['thickness']:5.1f} nm: {found}  misfit {row['misfit']:.2%}  "
                f"{result.status.name}  {row['seconds']:.1f} s",
                flush=True,
            )
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    study = Study("multislice", quick=options.quick)
    n = len(rows)
    covered = np.concatenate([columns[f"{name}_covered"] for name in ("thickness", "tilt_x", "tilt_y")])
    worst_tilt = np.maximum(np.abs(columns["tilt_x"]), np.abs(columns["tilt_y"]))
    study.add(
        f"thickness error, worst of {n} patterns", np.abs(columns["thickness"]).max(), "nm", at_most=1.0
    )
    study.add("thickness error, rms", np.sqrt((columns["thickness"] ** 2).mean()), "nm")
    study.add("tilt component error, worst", worst_tilt.max(), "mrad", at_most=0.15)
    study.add("tilt component error, rms", np.sqrt((worst_tilt**2).mean()), "mrad")
    study.add("stated 95 % intervals that hold the truth", 100 * covered.mean(), "%", at_least=90)
    for name in ("thickness", "tilt_x", "tilt_y"):
        study.add(
            f"stated 95 % intervals that hold the truth, of {name}",
            100 * columns[f"{name}_covered"].mean(),
            "%",
        )
    study.add("misfit, median", 100 * np.median(columns["misfit"]), "% of variance")
    study.add("status converged", 100 * columns["converged"].mean(), "%")
    study.add("time per pattern, median", np.median(columns["seconds"]), "s")
    thick = columns["true_thickness"] > 15
    if thick.any():
        study.add("tilt component error above 15 nm, worst", worst_tilt[thick].max(), "mrad", at_most=0.15)
    study.note(
        "At 10 nm a tilt hardly changes the pattern: a misfit of 0.1-0.3 % of the variance (phonon "
        "speckle, diffuse scattering that is not in the model) changes it by some tenths of a mrad."
    )
    passed = study.finish(**{name: value.tolist() for name, value in columns.items()})
    with study.figure(columns=3) as (_, axes):
        for semi_angle in np.unique(columns["semi_angle"]):
            pick = columns["semi_angle"] == semi_angle
            # a little apart, so that error bars do not overlap
            t = columns["true_thickness"][pick] + (0.6 if semi_angle > 15 else -0.6)
            bars = 1.96 * columns["stderr"][pick]
            label = f"{semi_angle:g} mrad"
            axes[0].errorbar(t, columns["thickness"][pick], bars, fmt="o", lw=0.8, alpha=0.6, label=label)
            axes[1].plot(t, worst_tilt[pick], "o", alpha=0.6)
        axes[0].axhline(0, color="k", lw=0.8)
        axes[0].set(xlabel="true thickness (nm)", ylabel="error (nm), bars 95 %")
        axes[0].legend()
        axes[1].axhline(0.15, color="k", ls="--", lw=0.8)
        axes[1].set(xlabel="true thickness (nm)", ylabel="worse tilt component, error (mrad)")
        pulls = np.concatenate([columns[f"{name}_pull"] for name in ("thickness", "tilt_x", "tilt_y")])
        bins = np.linspace(-5, 5, 41)
        axes[2].hist(np.clip(pulls, -5, 5), bins, density=True, alpha=0.6)
        axes[2].plot(bins, np.exp(-(bins**2) / 2) / np.sqrt(2 * np.pi), "k")
        axes[2].set(xlabel="pull: error / standard error", ylabel="density")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
