"""Trying out a library and its network: frames are simulated and fitted, and held against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate, tilt_distance
from hybridfit.fitting.fitter import Fitter
from hybridfit.frame import make_frame
from hybridfit.library.library import Library
from hybridfit.new.settings import TRYOUT
from hybridfit.simulate.frame import simulate_frame

if TYPE_CHECKING:
    from hybridfit.network.weights import Network


@dataclass(frozen=True)
class Outcome:
    """How many of `count` frames came out right.

    Attributes
    ----------
    count : int
    network : how many, by what was asked of the network; empty without one
    fits : how many fits were right
    seconds : float
        Median of a fit.
    routes : how many fits took each route
    """

    count: int
    network: dict[str, int]
    fits: int
    seconds: float
    routes: dict[str, int]


def try_out(
    library: Library,
    semi_angle: float,
    *,
    network: Network | None = None,
    count: int = 20,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Outcome:
    """Fit simulated frames of a library.

    Parameters
    ----------
    library : Library without structural parameters
    semi_angle : float, mrad
    network : Network, optional
        Of the library; by default the fit does without.
    count, seed : int
    workers : int, threads
    progress : callable(stage, fraction)
    """
    show = progress or (lambda stage, fraction: None)
    fitter = Fitter(library, semi_angle, network=network, workers=workers, progress=progress)
    if fitter.seeder is None:
        fitter.templates()
    right: Counter[str] = Counter()
    routes: Counter[str] = Counter()
    seconds, fits = [], 0
    for i, values in enumerate(_frames(library, semi_angle, count, seed)):
        image, truth = simulate_frame(library, **values)
        frame = make_frame(image)
        if fitter.seeder is not None:
            best = fitter.seeder.seed(frame).candidates[0]
            right.update(_right(best, truth, library.rotation_order))
        try:
            result = fitter.fit(frame)
        except InputError:
            routes["refused"] += 1
        else:
            off = abs(result.thickness - truth["thickness"])
            tilt = tilt_distance(result.tilt, (truth["tilt_x"], truth["tilt_y"]), library.rotation_order)
            fits += bool(off <= TRYOUT.right[0] and tilt <= TRYOUT.right[1])
            routes[result.route] += 1
            seconds.append(result.seconds["total"])
        show("test", (i + 1) / count)
    asked = ("size", "centre", "thickness", "tilt") if fitter.seeder is not None else ()
    median = float(np.median(seconds)) if seconds else float("nan")
    return Outcome(count, {what: right[what] for what in asked}, fits, median, dict(routes))


def _right(best: Candidate, truth: dict[str, Any], order: int) -> set[str]:
    """What a candidate has right."""
    radius = truth["scale"] * truth["semi_angle"]
    off = np.hypot(best.centre_x - truth["centre_x"], best.centre_y - truth["centre_y"]) / radius
    tilt = tilt_distance(best.tilt, (truth["tilt_x"], truth["tilt_y"]), order)
    answers = {
        "size": abs(best.scale / truth["scale"] - 1) <= TRYOUT.aligned,
        "centre": off <= TRYOUT.aligned,
        "thickness": abs(best.thickness - truth["thickness"]) <= TRYOUT.seen[0],
        "tilt": tilt <= TRYOUT.seen[1],
    }
    return {what for what, holds in answers.items() if holds}


def _frames(library: Library, semi_angle: float, count: int, seed: int) -> list[dict[str, Any]]:
    """What `simulate_frame` needs for each frame."""
    rng = np.random.default_rng(seed)
    low, high = library.thickness_range
    size, (fewest, most) = TRYOUT.size, TRYOUT.electrons
    out = []
    for i in range(count):
        tilt, azimuth = TRYOUT.tilted * library.tilt_max * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        out.append(
            {
                "thickness": float(rng.uniform(min(max(low, TRYOUT.thinnest), high), high)),
                "tilt": (float(tilt * np.cos(azimuth)), float(tilt * np.sin(azimuth))),
                "semi_angle": semi_angle,
                "shape": (size, size),
                "centre": tuple((size - 1) / 2 + TRYOUT.off_centre * size * rng.uniform(-1, 1, 2)),
                "scale": float(rng.uniform(*TRYOUT.disc) * size / 2 / semi_angle),
                "rotation": float(rng.uniform(-180, 180)),
                "electrons": float(fewest * (most / fewest) ** rng.random()),
                "background": float(rng.uniform(0, 0.3)),
                "seed": 1000 * seed + i,
            }
        )
    return out
