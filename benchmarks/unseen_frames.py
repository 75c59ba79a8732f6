"""Frames of crystals that no training sees (`benchmarks.unseen`), with their truth, as cameras record them.

Thickness 3–100 nm; tilt to 15 mrad where the disc is looked for, to 5 mrad where frames are fitted; 1e5–1e8
electrons; 48–512 px; the radius of the disc 12–35 % of the frame's width, its centre off by up to 0.4 of the
radius; any rotation, background, blur, 1 % elliptical distortion.  Of ten frames one has a gap between the
chips of its camera, one a beam stop, one chips of unequal gain; every other gap and stop comes with a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.unseen import DATA, DRAWN_THICKNESS, FAR_TILT, FINER_THICKNESS, TILT, Case, kept, library_of
from hybridfit import Library, simulate_frame
from hybridfit.io import atomic_path

Array = NDArray[np.float64]
SEED = 721
VERSION = 1  # of what is drawn here; frames of another version are made again
PIXELS = (48, 512)
RADIUS = (0.12, 0.35)  # of the frame's width
OFF_CENTRE = 0.4  # of the radius
ELECTRONS = (1e5, 1e8)
BLUR = (0.01, 0.05)  # of the semi-angle
BACKGROUND = (0.0, 0.4)  # share of the electrons
ELLIPTICITY = 0.01
KINDS = (*["plain"] * 7, "gap", "stop", "gain")  # of ten frames
GAP, STOP, ARM = (1, 5), (0.15, 0.4), 0.06  # px; of the radius
GAIN = 0.04  # chips differ by so much, at most
LIBRARY = {"alignment": "drawn", "fit": "finer"}
THICKNESSES = {"alignment": DRAWN_THICKNESS, "fit": FINER_THICKNESS}
TILTS = {"alignment": FAR_TILT, "fit": TILT}


class Drawn(NamedTuple):
    """A frame: counts and mask (rows, cols), what was drawn for it, and what is wrong with its camera."""

    image: NDArray[np.uint32]
    mask: NDArray[np.bool_] | None
    truth: dict[str, Any]
    kind: str


def draw(case: Case, part: str, i: int) -> dict[str, Any]:
    """What `simulate_frame` needs for frame i of a part ("alignment", "fit")."""
    rng = _generator(case, part, i)

    def log_uniform(low: float, high: float) -> float:
        return float(low * (high / low) ** rng.random())

    size = round(log_uniform(*PIXELS))
    radius = rng.uniform(*RADIUS) * size
    semi_angle = case.semi_angles[i % len(case.semi_angles) if part == "alignment" else 0]
    off, towards = OFF_CENTRE * radius * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    tilt, azimuth = TILTS[part] * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    skew = rng.uniform(0, 2 * np.pi)
    middle = (size - 1) / 2
    return {
        "thickness": float(rng.choice(thicknesses(part))),
        "tilt": (float(tilt * np.cos(azimuth)), float(tilt * np.sin(azimuth))),
        "semi_angle": semi_angle,
        "shape": (size, size),
        "centre": (float(middle + off * np.cos(towards)), float(middle + off * np.sin(towards))),
        "scale": float(radius / semi_angle),
        "rotation": float(rng.uniform(-180, 180)),
        "ellipticity": (float(ELLIPTICITY * np.cos(skew)), float(ELLIPTICITY * np.sin(skew))),
        "blur": float(semi_angle * rng.uniform(*BLUR)),
        "electrons": log_uniform(*ELECTRONS),
        "background": float(rng.uniform(*BACKGROUND)),
        "seed": int(rng.integers(2**31)),
    }


def thicknesses(part: str) -> Array:
    """Those of the library that the frames of a part are made of (nm)."""
    span = THICKNESSES[part]
    return np.arange(span["start"], span["stop"] + span["step"] / 2, span["step"])


def frame_of(library: Library, case: Case, part: str, i: int) -> Drawn:
    """Frame i of a part, with what is wrong with its camera."""
    values = draw(case, part, i)
    counts, truth = simulate_frame(library, **values)
    truth["size"] = values["shape"][0]
    kind = KINDS[i % len(KINDS)]
    image, mask = spoilt(counts, truth, kind, _generator(case, f"{part}, {kind}", i))
    return Drawn(image.astype(np.uint32), mask, truth, kind)


def spoilt(
    counts: NDArray[np.int64], truth: dict[str, Any], kind: str, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """What the camera makes of counts (rows, cols), and the mask that comes with it, if there is one."""
    rows, cols = np.indices(counts.shape)
    radius = truth["scale"] * truth["semi_angle"]
    # where chips meet: near the middle of the frame
    col, row = (int(v) for v in counts.shape[0] / 2 + 0.1 * counts.shape[0] * rng.uniform(-1, 1, 2))
    if kind == "plain":
        return counts, None
    if kind == "gain":
        chip = 2 * (rows >= row) + (cols >= col)
        return np.rint(counts * (1 + rng.uniform(-GAIN, GAIN, 4))[chip]).astype(counts.dtype), None
    if kind == "gap":
        width = int(rng.integers(*GAP)) if counts.shape[0] > 128 else 1
        dead = (np.abs(rows - row) < width / 2) | (np.abs(cols - col) < width / 2)
    else:
        x, y, angle = cols - truth["centre_x"], rows - truth["centre_y"], rng.uniform(0, 2 * np.pi)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        dead = np.hypot(x, y) < rng.uniform(*STOP) * radius
        dead |= (along > 0) & (np.abs(across) < max(ARM * radius, 1.0))
    return np.where(dead, 0, counts), dead if rng.random() < 0.5 else None


@lru_cache(maxsize=2)
def frames(case: Case, part: str, n: int) -> list[Drawn]:
    """The first n frames of a part, kept in `benchmarks/data`."""
    name = kept(LIBRARY[part], case).stem
    path = DATA / f"{name}-frames-{part}-{n}-{SEED}-v{VERSION}.npz"
    if not path.is_file():
        library = library_of(LIBRARY[part], case)
        made = [frame_of(library, case, part, i) for i in range(n)]
        arrays = {f"image{i}": drawn.image for i, drawn in enumerate(made)}
        arrays |= {f"mask{i}": drawn.mask for i, drawn in enumerate(made) if drawn.mask is not None}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        return made
    with np.load(path) as stored:
        out = []
        for i in range(n):
            values = draw(case, part, i)
            mask = stored[f"mask{i}"] if f"mask{i}" in stored else None
            out.append(Drawn(stored[f"image{i}"], mask, _truth(values), KINDS[i % len(KINDS)]))
        return out


def _truth(values: dict[str, Any]) -> dict[str, Any]:
    """Every parameter by the name that the fit gives it."""
    truth = {name: value for name, value in values.items() if not isinstance(value, Sequence)}
    truth["tilt_x"], truth["tilt_y"] = values["tilt"]
    truth["centre_x"], truth["centre_y"] = values["centre"]
    truth["ellipticity_a"], truth["ellipticity_b"] = values["ellipticity"]
    truth["size"] = values["shape"][0]
    return truth


def _generator(case: Case, part: str, i: int) -> np.random.Generator:
    return np.random.default_rng([SEED, *f"{case.name}, {part}".encode(), i])
