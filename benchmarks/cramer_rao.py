"""Scatter of repeated fits compared with the Cramér–Rao bound, and fits from wrong seeds.

Frames are Poisson draws of the forward model, whose Fisher information is known exactly:
with the expected image μ(θ, c), I = Σ_i ∂μ_i ∂μ_i / μ_i over all fitted parameters, the intensity
factor and the background included.  `benchmarks.multislice` tests the model itself.

Run with: python -m benchmarks.cramer_rao [--repeats N] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.common import Study, new_parser
from hybridfit import Candidate, Fitter, Library, make_frame
from hybridfit.model import FITTED_BEYOND_DISC, ForwardModel
from hybridfit.pattern.camera import Camera

SEMI_ANGLE = 13.6
SHAPE = (128, 128)
CAMERA = Camera(64.3, 62.8, 2.85, 17.0)
DOSES = (1e4, 1e5, 1e6, 1e7, 1e8)
NAMES = ("thickness", "tilt_x", "tilt_y")
FITTED = (*NAMES, "centre_x", "centre_y", "scale", "rotation", "ellipticity_a", "ellipticity_b", "blur")
TRUTHS = (
    {"thickness": 22.4, "tilt_x": 1.3, "tilt_y": -0.6},
    {"thickness": 47.7, "tilt_x": -0.8, "tilt_y": 2.1},
    {"thickness": 81.3, "tilt_x": 2.4, "tilt_y": 0.7},
)


def expected_image(
    library: Library, truth: dict[str, float], camera: Camera = CAMERA
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Expected frame for one electron, its derivatives on the fitted disc, and all parameters."""
    values = {**truth, **camera._asdict(), "semi_angle": SEMI_ANGLE, "blur": 0.3}
    whole = np.ones(SHAPE, bool)
    model = ForwardModel(
        library.window(truth["thickness"], (truth["tilt_x"], truth["tilt_y"]), semi_angle=14.5),
        whole,
        camera,
        semi_angle=SEMI_ANGLE,
    )
    columns = model.evaluate(values, FITTED)
    coefficients = np.array([1.0, 0.01, 0.05, 0.02])
    image = coefficients @ columns.columns
    total = image.sum()
    slopes = np.vstack([columns.sensitivity(coefficients), columns.columns])
    row, col = np.indices(SHAPE)
    radius = (SEMI_ANGLE + FITTED_BEYOND_DISC) * camera.scale
    disc = np.hypot(col - camera.centre_x, row - camera.centre_y).ravel() <= radius
    return image.reshape(SHAPE) / total, slopes[:, disc] / total, values


def bound(image: np.ndarray, slopes: np.ndarray, values: dict[str, float], electrons: float) -> np.ndarray:
    """Cramér–Rao standard deviations of thickness, tilt_x, tilt_y."""
    row, col = np.indices(SHAPE)
    radius = (SEMI_ANGLE + FITTED_BEYOND_DISC) * values["scale"]
    disc = np.hypot(col - values["centre_x"], row - values["centre_y"]) <= radius
    mu = image[disc]
    information = electrons * (slopes / mu) @ slopes.T
    scale = np.sqrt(np.diag(information))
    inverse = np.linalg.inv(information / np.outer(scale, scale)) / np.outer(scale, scale)
    return np.sqrt(np.diag(inverse))[: len(NAMES)]


def seed_near(values: dict[str, float], rng: np.random.Generator, share: float) -> Candidate:
    """A seed off by up to 3 nm, 1 mrad, 2 px, 2 % and 2° (times share), in a random direction."""
    u = share * rng.uniform(-1, 1, 7)
    tilt = rng.uniform(0, 2 * np.pi)
    miss = share * rng.uniform(0, 1)
    return Candidate(
        thickness=values["thickness"] + 3 * u[0],
        tilt_x=values["tilt_x"] + miss * np.cos(tilt),
        tilt_y=values["tilt_y"] + miss * np.sin(tilt),
        centre_x=values["centre_x"] + 2 * u[3],
        centre_y=values["centre_y"] + 2 * u[4],
        scale=values["scale"] * (1 + 0.02 * u[5]),
        rotation=values["rotation"] + 2 * u[6],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--repeats", type=int, help="fits of each crystal and dose; 80, quick: 8")
    parser.add_argument("--bias-repeats", type=int, help="fits of each crystal for the bias; 150, quick: 20")
    parser.add_argument("--seeds", type=int, help="fits from seeds that miss; 150, quick: 20")
    options = parser.parse_args(arguments)
    few = options.quick
    repeats, bias_repeats, seeds = (
        given or (small if few else usual)
        for given, small, usual in (
            (options.repeats, 8, 80),
            (options.bias_repeats, 20, 150),
            (options.seeds, 20, 150),
        )
    )
    library = Library.open("SrTiO3_001_200kV")
    fitter = Fitter(library, SEMI_ANGLE, method="lsf")
    study = Study("cramer_rao", quick=few)
    deviations = np.zeros((len(DOSES), len(TRUTHS), repeats, len(NAMES)))
    stated = np.zeros_like(deviations)
    bounds = np.zeros((len(DOSES), len(TRUTHS), len(NAMES)))
    rng = np.random.default_rng(20180704)
    made = [expected_image(library, truth) for truth in TRUTHS]
    for d, electrons in enumerate(DOSES):
        for t, (image, slopes, values) in enumerate(made):
            bounds[d, t] = bound(image, slopes, values, electrons)
            for i in range(repeats):
                frame = make_frame(rng.poisson(image * electrons).astype(float))
                result = fitter.refine(frame, seed_near(values, rng, 0.3))
                deviations[d, t, i] = [result[name].value - values[name] for name in NAMES]
                stated[d, t, i] = [result[name].stderr or np.nan for name in NAMES]
        z = deviations[d] / bounds[d][:, None]
        ratio = (z**2).mean(axis=(0, 1))
        dose = f"{electrons:.0e} electrons"
        for name, value in zip(NAMES, ratio, strict=True):
            study.add(f"{dose}: variance of {name} over the bound", value, "", at_most=1.3)
        study.add(f"{dose}: the bound of thickness, mean of three crystals", bounds[d, :, 0].mean(), "nm")
        study.add(f"{dose}: the bound of tilt, mean of three crystals", bounds[d, :, 1:].mean(), "mrad")
        inside = np.abs(deviations[d]) <= 1.96 * stated[d]
        study.add(f"{dose}: 95 % intervals that hold the truth", 100 * inside.mean(), "%")
    z = []
    for image, slopes, values in made:
        sigma = bound(image, slopes, values, 1e6)
        for _ in range(bias_repeats):
            frame = make_frame(rng.poisson(image * 1e6).astype(float))
            result = fitter.refine(frame, seed_near(values, rng, 0.3))
            z.append([(result[name].value - values[name]) / s for name, s in zip(NAMES, sigma, strict=True)])
    mean = np.abs(np.mean(z, axis=0))
    for name, value in zip(NAMES, mean, strict=True):
        study.add(f"1e6 electrons: mean error of {name} over one standard deviation", value, "", at_most=0.2)
    seconds, reached = [], []
    for i in range(seeds):
        image, _, values = made[i % len(made)]
        frame = make_frame(rng.poisson(image * 1e6).astype(float))
        result = fitter.refine(frame, seed_near(values, rng, 1.0))
        seconds.append(result.seconds["refine"])
        error = [abs(result[name].value - values[name]) for name in NAMES]
        reached.append(error[0] < 0.5 and max(error[1:]) < 0.1)
    study.add(
        f"refinement from {seeds} seeds off by ≤ 3 nm, 1 mrad, 2 px, 2 %, 2°, median",
        1e3 * np.median(seconds),
        "ms",
        at_most=150,
    )
    study.add(
        "refinements from these seeds that reach the truth (0.5 nm, 0.1 mrad)",
        100 * np.mean(reached),
        "%",
        at_least=99,
    )
    passed = study.finish(
        doses=list(DOSES), bounds=bounds.tolist(), rms=np.sqrt((deviations**2).mean(axis=2)).tolist()
    )
    with study.figure(columns=2) as (_, axes):
        rms = np.sqrt((deviations**2).mean(axis=2))
        for axis, index, label in (
            (axes[0], slice(0, 1), "thickness (nm)"),
            (axes[1], slice(1, 3), "tilt (mrad)"),
        ):
            axis.loglog(DOSES, rms[:, :, index].mean(axis=(1, 2)), "o", label="scatter of fits")
            axis.loglog(DOSES, bounds[:, :, index].mean(axis=(1, 2)), "k-", label="Cramér–Rao bound")
            axis.set(xlabel="electrons per pattern", ylabel=label)
        axes[0].legend()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
