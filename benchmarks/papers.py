"""Frames as those of Xu & LeBeau [1], SrTiO3 [001] at 200 kV, and their published results.

Frames have 227 × 227 px, the direct disc 30–56 % of them across, off-centre by up to a twelfth, turned by
any angle, with blur, 1 % elliptical distortion and a radial background; thicknesses are spread evenly.

.. [1] W. Xu & J. M. LeBeau, Ultramicroscopy 188 (2018) 59: a deep convolutional neural network to analyze
   position averaged convergent beam electron diffraction patterns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.frames import draw
from hybridfit import FitResult, Library, simulate_frame
from hybridfit.fitting.candidates import tilt_distance

CITED = "Xu & LeBeau 2018"
NAME = "SrTiO3_001_200kV"
THICKNESS = {13.6: (3.0, 120.0), 19.1: (3.0, 80.0)}  # mrad: nm
SIZE = 227  # px
RADIUS = (0.15, 0.28)  # of the frame
OFF_CENTRE = 1 / 12  # of the frame
DOSES = (4.5e6, 2.3e7, 4.7e7, 2.3e8, 4.7e8, 9.3e8)  # electrons per pattern, Figure 8
WITHIN_NM, WITHIN_MRAD = (1.0, 2.0, 3.0), (0.25, 0.5, 0.71)
# network against least squares, measured patterns, %: within each of the above
THICKNESS_AGREED = {13.6: (81.0, 95.7, 96.5), 19.1: (91.0, 93.6, 94.2)}
TILT_AGREED = {13.6: (74.0, 93.7, 97.3), 19.1: (61.5, 94.9, 100.0)}
BEST_STRENGTH = {13.6: 0.7, 19.1: 0.3}  # background per nm that they subtract, of 255


def frames_at(
    library: Library,
    semi_angle: float,
    n: int,
    seed: int,
    background: Callable[[float], float] | None = None,
) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """n frames and the truth of each; background makes its share of the electrons of a thickness (nm)."""
    low, high = THICKNESS[semi_angle]
    rng = np.random.default_rng([seed, round(10 * semi_angle)])
    out = []
    for i, values in enumerate(draw(n, seed)):
        radius = rng.uniform(*RADIUS) * SIZE
        centre = (SIZE - 1) / 2 + OFF_CENTRE * SIZE * rng.uniform(-1, 1, 2)
        values |= {
            "semi_angle": semi_angle,
            "thickness": low + (high - low) * (i + rng.random()) / n,
            "shape": (SIZE, SIZE),
            "scale": radius / semi_angle,
            "centre": (float(centre[0]), float(centre[1])),
            "electrons": float(np.exp(rng.uniform(*np.log([DOSES[0], DOSES[-1]])))),
        }
        if background is not None:
            values["background"] = background(values["thickness"])
        out.append(simulate_frame(library, **values))
    return out


def answer(result: FitResult) -> dict[str, Any]:
    """The part of a fit that studies store."""
    return {
        "thickness": result.thickness,
        "tilt": tuple(result.tilt),
        "status": result.status.name,
        "residual": result.residual_fraction,
        "seconds": result.seconds["total"],
    }


def truly(truth: dict[str, Any]) -> dict[str, Any]:
    """The truth in the same form."""
    return {"thickness": truth["thickness"], "tilt": (truth["tilt_x"], truth["tilt_y"])}


def apart(pairs: list[tuple[dict[str, Any], dict[str, Any]]], order: int) -> tuple[np.ndarray, np.ndarray]:
    """Differences of two answers for each frame: thickness (nm) and tilt (mrad), up to symmetry."""
    thickness = [abs(a["thickness"] - b["thickness"]) for a, b in pairs]
    tilt = [tilt_distance(a["tilt"], b["tilt"], order) for a, b in pairs]
    return np.array(thickness), np.array(tilt)


def components_apart(a: tuple[float, float], b: tuple[float, float], order: int) -> float:
    """Largest difference (mrad) of two components of tilt, up to a rotation by the n-fold axis."""
    turns = np.exp(2j * np.pi * np.arange(order) / order)
    away = complex(*a) * turns - complex(*b)
    return float(np.maximum(np.abs(away.real), np.abs(away.imag)).min())


def share(hit: np.ndarray) -> float:
    """Percentage that is True."""
    return 100 * float(np.mean(hit))
