"""Simulated camera frames with their truth, for the studies of the network and of the hybrid fit.

Thickness 3–120 nm, tilt to 4.2 mrad in any direction, semi-angle 12–20 mrad; frames of 64–1024 px,
the direct disc whole, 24 px across or more and 15–60 % of the frame, off-centre by up to a quarter
of it, turned by any angle; 1e5–1e9 electrons, blur, radial background, 1 % elliptical distortion.

Frames are kept in `benchmarks/data`; another seed makes others.

Run with: python -m benchmarks.frames [--frames N] [--seed S]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from benchmarks.common import cores
from hybridfit.io import atomic_path
from hybridfit.library.library import Library
from hybridfit.simulate.frame import simulate_frame

NAME = "SrTiO3_001_200kV"
DATA = Path(__file__).parent / "data"
FRAMES, SEED = 500, 2018
VERSION = 2  # of the simulation; frames of another version are made again
THICKNESS = (3.0, 120.0)  # nm
TILT = 4.2  # mrad
SEMI_ANGLE = (12.0, 20.0)  # mrad
PIXELS = (64, 1024)
SMALLEST_DISC = 24.0  # px across
DISC = (0.15, 0.6)  # of the frame
OFF_CENTRE = 0.25  # of the frame
ELECTRONS = (1e5, 1e9)
BLUR = (0.1, 0.8)  # mrad
BACKGROUND = (0.0, 0.4)  # share of the electrons
ELLIPTICITY = 0.01


def draw(n: int, seed: int) -> list[dict[str, Any]]:
    """What `simulate_frame` needs to make n frames."""
    rng = np.random.default_rng(seed)

    def log_uniform(low: float, high: float) -> float:
        return float(low * (high / low) ** rng.random())

    frames = []
    for i in range(n):
        size = round(log_uniform(*PIXELS))
        width = rng.uniform(max(DISC[0], SMALLEST_DISC / size), DISC[1]) * size
        semi_angle, tilt = rng.uniform(*SEMI_ANGLE), TILT * np.sqrt(rng.random())
        room = min(OFF_CENTRE * size, (size - width) / 2)
        azimuth, skew = rng.uniform(0, 2 * np.pi, 2)
        frames.append(
            {
                "thickness": float(rng.uniform(*THICKNESS)),
                "tilt": (float(tilt * np.cos(azimuth)), float(tilt * np.sin(azimuth))),
                "semi_angle": float(semi_angle),
                "shape": (size, size),
                "centre": tuple(float(v) for v in (size - 1) / 2 + room * rng.uniform(-1, 1, 2)),
                "scale": float(width / 2 / semi_angle),
                "rotation": float(rng.uniform(-180, 180)),
                "ellipticity": (float(ELLIPTICITY * np.cos(skew)), float(ELLIPTICITY * np.sin(skew))),
                "blur": float(rng.uniform(*BLUR)),
                "electrons": log_uniform(*ELECTRONS),
                "background": float(rng.uniform(*BACKGROUND)),
                "seed": seed * 100_000 + i,
            }
        )
    return frames


def simulated(n: int = FRAMES, seed: int = SEED) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """n frames (rows, cols) of electron counts, and the truth of each; from the cache if they are there."""
    wanted = draw(n, seed)
    attrs = Library.open(NAME).dataset.attrs
    checksum = f"{attrs['checksum'][:12]}-{attrs['version']}"
    name = "frames_{}_{}_{}_v{}.npz"
    larger = {int(p.stem.split("_")[2]): p for p in DATA.glob(name.format(checksum, "*", seed, VERSION))}
    enough = [size for size in sorted(larger) if size >= n]  # the first n are the same in all of them
    path = larger[enough[0]] if enough else DATA / name.format(checksum, n, seed, VERSION)
    if not enough:
        DATA.mkdir(exist_ok=True)
        shares = [range(start, n, cores()) for start in range(cores())]
        parts = Parallel(n_jobs=cores())(delayed(_simulate)([wanted[i] for i in share]) for share in shares)
        images = {
            f"{i}": image
            for share, part in zip(shares, parts, strict=True)
            for i, image in zip(share, part, strict=True)
        }
        with atomic_path(path) as temporary:
            np.savez(temporary, **images)
    with np.load(path) as stored:
        return [(stored[f"{i}"], _truth(values)) for i, values in enumerate(wanted)]


def _simulate(wanted: list[dict[str, Any]]) -> list[np.ndarray]:
    library = Library.open(NAME)
    return [simulate_frame(library, **values)[0].astype(np.uint32) for values in wanted]


def _truth(values: dict[str, Any]) -> dict[str, Any]:
    """Every parameter by the name that the fit gives it."""
    truth = {
        name: values[name] for name in ("thickness", "semi_angle", "scale", "rotation", "blur", "electrons")
    }
    truth["tilt_x"], truth["tilt_y"] = values["tilt"]
    truth["centre_x"], truth["centre_y"] = values["centre"]
    truth["ellipticity_a"], truth["ellipticity_b"] = values["ellipticity"]
    truth["size"] = values["shape"][0]
    return truth


def main() -> None:
    """Make the frames."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    frames = simulated(arguments.frames, arguments.seed)
    sizes = [truth["size"] for _, truth in frames]
    print(f"{len(frames)} frames, {min(sizes)} to {max(sizes)} px")


if __name__ == "__main__":
    main()
