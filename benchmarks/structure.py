"""Continuous structural parameters: errors and pulls of octahedral tilts and composition.

Frames have values between those of the library and are solved exactly, so that the answers include the error
of interpolation.

Run with: python -m benchmarks.structure [--frames N] [--only PART,…] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.cramer_rao import FITTED
from benchmarks.structural_frames import SIZE, TURN, Row, compared, frame_of, kept, near, words_of_libraries
from hybridfit import Fitter, Hints, Library, make_frame
from hybridfit.model import FITTED_BEYOND_DISC, ForwardModel
from hybridfit.pattern.camera import Camera

OCTAHEDRA, COMPOSITION = "SrTiO3_tilted_011_200kV", "LaSrMnO3_001_200kV"
SEMI_ANGLES = {OCTAHEDRA: 12.0, COMPOSITION: 13.6}  # mrad
BETWEEN = {OCTAHEDRA: (0.4, 2.6, 4.5, 7.3), COMPOSITION: (0.06, 0.32, 0.56, 0.94)}
FRAMES, QUICK_FRAMES = 60, 2


def continuous(name: str, semi_angle: float, electrons: float, frames: int, quick: bool) -> list[Row]:
    """Fits of values between those of a library, around seeds such as a network gives."""
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
    """Cramér–Rao standard deviation of a structural parameter, with all other parameters fitted."""
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
    """Rows of a continuous parameter: its errors, its pulls, and the errors of thickness."""
    bounds = rms([row["bound"] for row in rows])
    study.add(
        f"{what}: error, rms", rms([row["error"] for row in rows]), unit, at_most=max(bar, 1.3 * bounds)
    )
    study.add(f"{what}: Cramér–Rao bound, rms", bounds, unit)
    seen = [row for row in rows if row["bound"] < bar]
    study.add(
        f"{what}: error where the bound is below the bar, rms", rms([row["error"] for row in seen]), unit
    )
    known = [row for row in seen if row["stderr"]]
    pulls = np.array([row["error"] / row["stderr"] for row in known])
    study.add(f"{what}: rms of error over standard error, at most", rms(pulls), "", at_most=1.15)
    study.add(f"{what}: rms of error over standard error, at least", rms(pulls), "", at_least=0.85)
    study.add(f"{what}: mean of error over standard error", pulls.mean(), "")
    study.add(f"{what}: without a standard error (at a bound)", 100 * (1 - len(known) / len(seen)), "%")
    worst = np.abs([row["thickness_error"] for row in rows])
    study.add(f"{what}: thickness error, rms", rms(worst), "nm", at_most=0.5)
    study.add(f"{what}: thickness error, worst", worst.max(), "nm")


def octahedra(study: Study, frames: int, quick: bool) -> list[Row]:
    """The octahedral tilt."""
    rows = continuous(OCTAHEDRA, SEMI_ANGLES[OCTAHEDRA], 1e7, frames, quick)
    judged(study, "octahedral tilt, 1e7 electrons", "°", 0.3, rows)
    study.note(
        "an octahedral tilt acts by its square, so near 0° it hardly changes the pattern; pulls are of "
        "frames whose bound is below the bar"
    )
    study.note(f"octahedral tilt: {frames} frames of {', '.join(f'{v:g}' for v in BETWEEN[OCTAHEDRA])}°")
    return rows


def composition(study: Study, frames: int, quick: bool) -> list[Row]:
    """Strontium in lanthanum manganite."""
    rows = continuous(COMPOSITION, SEMI_ANGLES[COMPOSITION], 1e7, frames, quick)
    judged(study, "La/Sr composition, 1e7 electrons", "", 0.05, rows)
    study.note(f"composition: {frames} frames of x = {', '.join(f'{v:g}' for v in BETWEEN[COMPOSITION])}")
    return rows


PARTS: dict[str, Callable[[Study, int, bool], Any]] = {"octahedra": octahedra, "composition": composition}
QUICK_PART = "octahedra"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help=f"of every crystal; {FRAMES}, quick: {QUICK_FRAMES}")
    parser.add_argument("--only", help=f"parts, of {', '.join(PARTS)}; all, quick: {QUICK_PART}")
    options = parser.parse_args(arguments)
    frames = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    usual = [QUICK_PART] if options.quick else list(PARTS)
    chosen = options.only.split(",") if options.only else usual
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    study = Study("structure", quick=options.quick)
    found = {part: PARTS[part](study, frames, options.quick) for part in chosen}
    for part, name in (("octahedra", OCTAHEDRA), ("composition", COMPOSITION)):
        if part in chosen:
            study.note(f"{part}: {words_of_libraries(SEMI_ANGLES[name], options.quick)}")
    draw(study, found)
    return 0 if study.finish(**found) else 1


def draw(study: Study, found: Row) -> None:
    """Errors of the continuous parameters, with their bars."""
    with study.figure(columns=2) as (_, axes):
        for axis, part, words in (
            (axes[0], "octahedra", "octahedral tilt (°)"),
            (axes[1], "composition", "strontium, x"),
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


if __name__ == "__main__":
    sys.exit(main())
