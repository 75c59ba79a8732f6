"""The two kinds of frames of the calibration study, and the answers of fit and network.

noise   simulated with any camera (`benchmarks.frames`): the model is exact, and noise dominates
abtem   frozen-phonon patterns (`benchmarks.abtem_patterns`) on a camera: the model is not exact

Both have 1e4–1e8 electrons, log-uniform, and any rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks import frames as cameras
from benchmarks.errors import Row, judged
from benchmarks.hybrid import tilt_error
from benchmarks.multislice import on_camera, random_camera
from hybridfit import Fitter, Library, make_frame, simulate_frame
from hybridfit.fitting.result import FitResult

SEED = 68
ELECTRONS = (1e4, 1e8)
SEMI_ANGLES = (13.6, 19.1)  # mrad
SIDE = (64, 256)  # px
RIGHT = {"thickness": 3.0, "tilt": 1.0}  # nm, mrad: the network's confidence refers to these


def simulated(i: int, n: int, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Frame i of n with any camera: electron counts (rows, cols), and the truth."""
    values = _drawn(n, seed)[i]
    rng = np.random.default_rng([seed, i])
    side = int(np.clip(values["shape"][0], *SIDE))
    ratio, angle = side / values["shape"][0], float(rng.choice(SEMI_ANGLES))
    disc = values["scale"] * values["semi_angle"] * ratio  # px
    radius = max(disc, cameras.SMALLEST_DISC / 2)
    values |= {
        "shape": (side, side),
        "semi_angle": angle,
        "scale": radius / angle,
        "electrons": float(ELECTRONS[0] * (ELECTRONS[1] / ELECTRONS[0]) ** ((i + rng.random()) / n)),
        "centre": tuple(
            float(np.clip((c + 0.5) * ratio - 0.5, radius, side - 1 - radius)) for c in values["centre"]
        ),
    }
    return simulate_frame(_library(), **values)


def multisliced(path: Path, i: int, copy: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Thickness i of an abTEM series on some camera, with some dose: counts, and the truth."""
    with xr.open_dataset(path) as data:
        pattern = data.intensity.isel(thickness_nm=i).load()
        attrs = data.attrs
    rng = np.random.default_rng([SEED, sum(path.name.encode()), i, copy])
    camera, shape = random_camera(rng)
    camera = camera._replace(rotation=float(rng.uniform(-180, 180)))
    electrons = float(ELECTRONS[0] * (ELECTRONS[1] / ELECTRONS[0]) ** rng.random())
    truth = {
        "thickness": float(pattern.thickness_nm),
        "tilt_x": float(attrs["tilt_x_mrad"]),
        "tilt_y": float(attrs["tilt_y_mrad"]),
        "semi_angle": float(attrs["semi_angle_mrad"]),
        "electrons": electrons,
    }
    return on_camera(pattern, camera, shape, electrons, rng), truth | camera._asdict()


@lru_cache(maxsize=1)
def _drawn(n: int, seed: int) -> list[dict[str, Any]]:
    return cameras.draw(n, seed)


@lru_cache(maxsize=1)
def _library() -> Library:
    return Library(Library.open(cameras.NAME).dataset.load())


@cache
def _fitter(semi_angle: float) -> Fitter:
    return Fitter(_library(), semi_angle, workers=1)


def fitted(image: np.ndarray, truth: dict[str, Any]) -> Row:
    """Answers of fit and network for a frame, compared with the truth."""
    fitter = _fitter(truth["semi_angle"])
    order = fitter.library.rotation_order
    frame = make_frame(image)
    row: Row = {name: truth.get(name) for name in ("electrons", "semi_angle", "scale", "blur", "background")}
    seen: Row = {}

    def attempt() -> FitResult:
        seed = fitter.seeder.seed(frame)
        first = seed.candidates[0]
        off = abs(first.thickness - truth["thickness"]), tilt_error(first.tilt, truth, order)
        for i, what in enumerate(RIGHT):
            seen[f"confidence_{what}"] = float(seed.confidence[i])
            seen[f"right_{what}"] = bool(off[i] <= RIGHT[what])
        return fitter.fit_seeded(frame, seed)

    row |= judged(attempt, truth, order)
    row["true_tilt"] = float(np.hypot(truth["tilt_x"], truth["tilt_y"]))
    return row | seen


def share_of(kind: str, wanted: Sequence[tuple[Any, ...]]) -> list[Row]:
    """The fits of some frames of a kind."""
    make = {"noise": simulated, "abtem": multisliced}[kind]
    return [fitted(*make(*each)) | {"kind": kind} for each in wanted]
