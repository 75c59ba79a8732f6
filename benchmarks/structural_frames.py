"""Frames and libraries of crystals with structural parameters, which several studies share.

Only the semi-angle and, within some degrees, the rotation are given to a fit, because a polar pattern turned
by 180° is that of the inverse crystal.  Libraries are those of the
shipped recipes, cut to the thicknesses and tilts of the frames; they are kept in `benchmarks/data`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit import Candidate, Library, simulate_frame
from hybridfit.fitting.result import FitResult
from hybridfit.library.build import VERSION as library_version
from hybridfit.library.recipe import Recipe, ThicknessRange

DATA = Path(__file__).parent / "data"
SIZE = 128  # px
TURN, MISALIGNED = 17.0, 3.0  # degrees: the hint, and how far it may be off
THICKNESS, TILT = (10.0, 60.0), 2.0  # nm, mrad
SOLVED = ThicknessRange(start=5.0, stop=65.0)
# fewer beams and directions; frames and fits use the same ones
QUICK: dict[str, Any] = {"g_max": 1.5, "sampling": 0.4}

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
        DATA.mkdir(parents=True, exist_ok=True)
        Library.build(recipe).save(path)
    return Library(Library.open(path).dataset.load())


def frame_of(
    library: Library, semi_angle: float, electrons: float, rng: np.random.Generator
) -> tuple[np.ndarray, Row]:
    """A frame of a library of one crystal, and its truth."""
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
    """A seed such as a network gives: wrong by up to 1.5 nm, 0.4 mrad, 1 px, 1 % and 1°."""
    off = rng.uniform(-1, 1, 7) * [1.5, 0.4, 0.4, 1, 1, 0.01 * truth["scale"], 1]
    fields = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
    return Candidate(*(float(truth[field] + d) for field, d in zip(fields, off, strict=True)))


def compared(result: FitResult, truth: Row) -> Row:
    """Errors of a fit, as every study of structural parameters needs them."""
    return {
        "thickness": truth["thickness"],
        "electrons": truth["electrons"],
        "thickness_error": result.thickness - truth["thickness"],
        "tilt_error": float(np.hypot(result.tilt[0] - truth["tilt_x"], result.tilt[1] - truth["tilt_y"])),
        "thickness_stderr": result["thickness"].stderr,
        "status": result.status.name,
        "seconds": result.seconds["total"],
    }


def words_of_libraries(semi_angle: float, quick: bool) -> str:
    """A note on the libraries."""
    beams = ""
    if quick:
        beams = f", beams to {QUICK['g_max']:g} 1/Å, sampled at {QUICK['sampling']:g} mrad"
    return f"libraries cut to 5–65 nm, tilt ≤ 3 mrad and {semi_angle:g} mrad{beams}"
