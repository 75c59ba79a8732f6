"""What answers owe to a threshold: fits with 0.8 and with 1.25 times its value, compared with the usual ones.

Fits go one of four ways, so that every threshold acts: `seeded` from seeds that a network made once, some of
which are off or of few electrons; `network` with the network's own passes; `match` of a library without a
network; `search` of all of a library.
"""

from __future__ import annotations

import dataclasses
import os
import time
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from benchmarks.threshold_frames import NETWORK, SEMI_ANGLE, Shown, good, library_of
from benchmarks.threshold_margins import OBSERVED
from hybridfit import Fitter
from hybridfit.errors import HybridfitError
from hybridfit.fitting.candidates import Candidate, Seed
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.seed.network import Seeder
from hybridfit.fitting.settings import FitSettings
from hybridfit.frame import Frame, make_frame
from hybridfit.network.weights import Network
from hybridfit.thresholds import thresholds_of

FACTORS = (0.8, 1.25)
CRYSTAL = "Si_110_200kV"  # of the ways without a network
MOVED = 0.5  # standard errors
EVERY = 6  # one frame of so many has few electrons, and one a seed that is off: such fits are slow
MIDDLE = 60.0  # nm: thicker ones are moved to thinner ones
OFF = (5.0, 1.4)  # nm, mrad: seeds that the window about them does not hold
FITS = FitSettings(SEMI_ANGLE)
STAGES = {
    type(getattr(FITS, name)).__name__: name
    for name in ("routes", "seeding", "searching", "refining", "judging")
}
NESTED = {type(getattr(FITS.seeding, name)).__name__: name for name in ("disc", "alignment")}
CLASSES = (
    *(type(getattr(FITS, name)) for name in STAGES.values()),
    *(type(getattr(FITS.seeding, name)) for name in NESTED.values()),
)
# ---- which way a threshold acts; the rest of a class goes the way of the class
WAY = {
    "RouteSettings": "seeded",
    "SeedSettings": "network",
    "DiscSettings": "search",
    "AlignmentSettings": "match",
    "SearchSettings": "search",
    "RefineSettings": "seeded",
    "JudgeSettings": "seeded",
}
OTHER_WAY = {
    "RouteSettings": {
        "match": ("matched_most", "matched_near", "matched_likely", "matched_sure"),
        "search": ("searched_least",),
    },
    "SeedSettings": {"seeded": ("in_doubt", "no_doubt")},
    "DiscSettings": {"network": ("quick_size", "bright_percentile", "half_bright")},
    "SearchSettings": {
        "seeded": (
            "searched_radius_px",
            "window_thickness_step",
            "window_tilt_step",
            "window_shift_step",
            "window_scale_step",
            "window_rotation",
        ),
        "match": (
            "rims",
            "downhill_points",
            "downhill_steps",
            "downhill_moves",
            "rounds",
            "sparse_thickness",
            "sparse_tilt",
            "wide_most",
            "odds_floor",
            "odds_pixels",
        ),
    },
}
UNTRIED = {
    "RouteSettings.smallest_semi_angle": "refuses what a user gives",
    "SearchSettings.hinted_rotation": "acts where a rotation is given",
    "SearchSettings.scale_step_hinted": "acts where a scale is given",
    "SearchSettings.widest_region": "refuses absurd cameras",
    "SearchSettings.smallest_disc_px": "refuses absurd cameras",
    "SearchSettings.farthest_centre": "refuses absurd cameras",
    "DiscSettings.stands_out": "acts where nothing fits",
    "RefineSettings.structural_starts": "acts with structural parameters",
    "RefineSettings.same_structural": "acts with structural parameters",
    "RefineSettings.fewest_pixels": "refuses small frames",
    "RefineSettings.curve_step": "acts in the picture alone",
    "JudgeSettings.other_rotation": "acts in crystals of two orientations",
    "JudgeSettings.range10": "defines a quantity",
}


class Trial(NamedTuple):
    """A threshold, and the value to fit with."""

    settings: str
    name: str
    factor: float
    value: Any

    @property
    def key(self) -> str:
        """Class and field."""
        return f"{self.settings}.{self.name}"

    @property
    def way(self) -> str:
        """The way in which it acts."""
        others = OTHER_WAY.get(self.settings, {})
        return next((way for way, names in others.items() if self.name in names), WAY[self.settings])

    def options(self) -> dict[str, Any]:
        """Options of `Fitter` with this value."""
        if self.settings in NESTED:
            nested = NESTED[self.settings]
            inner = dataclasses.replace(getattr(FITS.seeding, nested), **{self.name: self.value})
            return {"seeding": dataclasses.replace(FITS.seeding, **{nested: inner})}
        stage = STAGES[self.settings]
        return {stage: dataclasses.replace(getattr(FITS, stage), **{self.name: self.value})}


def trials() -> list[Trial]:
    """Every value that is tried, of every threshold of a fit that is neither observed nor untried."""
    observed = {each.key.split(",")[0] for each in OBSERVED}
    out = []
    for settings in CLASSES:
        for each in thresholds_of(settings):
            key = f"{each.settings}.{each.name}"
            if key in observed or key in UNTRIED:
                continue
            for factor in FACTORS:
                value = varied(each.value, factor, each.unit)
                if value != each.value:
                    out.append(Trial(each.settings, each.name, factor, value))
    return out


def varied(value: Any, factor: float, unit: str = "") -> Any:
    """A value times a factor: numbers of things by one at least, percentages by their distance from 100.

    Ratios to either side of 1 stay there: their logarithms are multiplied.
    """
    if isinstance(value, tuple):
        if len(value) == 2 and all(isinstance(v, float) for v in value) and value[0] < 1 < value[1]:
            return tuple(float(v**factor) for v in value)
        return tuple(varied(v, factor) for v in value)
    if isinstance(value, int):
        moved = round(value * factor)
        return max(1, moved if moved != value else value + (1 if factor > 1 else -1))
    if unit == "percent":
        return 100 - (100 - value) * factor
    return value * factor


# ---------------------------------------------------------------- fits


class Fits(NamedTuple):
    """Status, thickness (nm) and its standard error of every frame; seconds of the processor for all."""

    answers: list[tuple[str, float, float]]
    seconds: float


def fits(way: str, trial: Trial | None, n: int, quick: bool, templates: str) -> Fits:
    """Fit the frames of a way, with a threshold changed or as usual.

    Parameters
    ----------
    way : str
    trial : Trial, optional
    n : int
        Frames; a third as many of the ways that search a whole library.
    quick : bool
        Small libraries are smaller.
    templates : str
        Folder for the templates of searches, which are no one else's.
    """
    options = trial.options() if trial else {}
    with_network = way in ("seeded", "network")
    n = frames_in(way, n)
    frames = frames_of(NETWORK if with_network else CRYSTAL, n, quick)
    fitter = _fitter(way, options, quick)
    if with_network:
        return _fitted(way, fitter, frames, seeds_of(n, quick))
    before = os.environ.get("HYBRIDFIT_CACHE")
    os.environ["HYBRIDFIT_CACHE"] = templates
    try:
        return _fitted(way, fitter, frames, [None] * n)
    finally:
        if before is None:
            del os.environ["HYBRIDFIT_CACHE"]
        else:
            os.environ["HYBRIDFIT_CACHE"] = before


def frames_in(way: str, n: int) -> int:
    """How many frames are fitted in a way, of n: a third where a whole library is searched."""
    return n if way in ("seeded", "network") else max((n + 2) // 3, 2)


def _fitter(way: str, options: dict[str, Any], quick: bool) -> Fitter:
    """The fitter of a way."""
    if way == "search":
        return Fitter(library_of(CRYSTAL, quick), SEMI_ANGLE, method="lsf", workers=1, **options)
    if way == "match":
        return Fitter(library_of(CRYSTAL, quick), SEMI_ANGLE, workers=1, **options)
    seeded = way == "seeded"
    network = None if seeded else _network(quick)
    return Fitter(
        library_of(NETWORK, quick), SEMI_ANGLE, network=network, seeded=seeded, workers=1, **options
    )


def _fitted(way: str, fitter: Fitter, frames: list[Frame], seeds: list[Seed | None]) -> Fits:
    answers, start = [], time.process_time()
    for frame, seed in zip(frames, seeds, strict=True):
        try:
            result = fitter.fit_seeded(frame, seed) if way == "seeded" and seed else fitter.fit(frame)
        except HybridfitError:
            answers.append(("refused", float("nan"), float("nan")))
            continue
        answers.append(_said(result))
    return Fits(answers, time.process_time() - start)


def _said(result: FitResult) -> tuple[str, float, float]:
    error = result["thickness"].stderr
    return result.status.name, float(result.thickness), float("nan") if error is None else float(error)


@cache
def frames_of(crystal: str, n: int, quick: bool) -> list[Frame]:
    """n frames from thin to thick, every sixth of few electrons."""
    many, few = good(crystal, n, 90, quick), good(crystal, n, 90, quick, few=True)
    chosen: list[Shown] = [few[i] if i % EVERY == 2 else many[i] for i in range(n)]
    return [make_frame(each.image) for each in chosen]


@cache
def _network(quick: bool) -> Network | None:
    return Network.for_library(library_of(NETWORK, quick), SEMI_ANGLE)


@cache
def seeds_of(n: int, quick: bool) -> list[Seed]:
    """The network's seeds of the frames; every sixth is moved so far that its window does not hold."""
    network = _network(quick)
    assert network is not None
    seeder = Seeder(network, library_of(NETWORK, quick), SEMI_ANGLE)
    return [
        _moved(seed) if i % EVERY == 1 else seed
        for i, seed in enumerate(seeder.seed_many(frames_of(NETWORK, n, quick)))
    ]


def _moved(seed: Seed) -> Seed:
    def moved(c: Candidate) -> Candidate:
        thicker = OFF[0] if c.thickness < MIDDLE else -OFF[0]
        steeper = -OFF[1] if c.tilt_x > 0 else OFF[1]
        return dataclasses.replace(c, thickness=c.thickness + thicker, tilt_x=c.tilt_x + steeper)

    return dataclasses.replace(seed, candidates=tuple(moved(c) for c in seed.candidates))


# ---------------------------------------------------------------- what changed


class Change(NamedTuple):
    """What a threshold does to answers.

    changed : answers with another status, or moved by more than MOVED standard errors
    largest : the largest move of a thickness, in standard errors of the usual answer
    """

    threshold: str
    factor: float
    value: str
    way: str
    answers: int
    changed: int
    largest: float
    seconds: float


def change(trial: Trial, usual: Fits, other: Fits) -> Change:
    """The answers of a trial compared with the usual ones."""
    changed, largest = 0, 0.0
    for (status, thickness, error), (new_status, new_thickness, _) in zip(
        usual.answers, other.answers, strict=True
    ):
        move = abs(new_thickness - thickness) / error
        move = float(move) if np.isfinite(move) else 0.0
        largest = max(largest, move)
        changed += new_status != status or move > MOVED
    return Change(
        trial.key,
        trial.factor,
        str(trial.value),
        trial.way,
        len(usual.answers),
        changed,
        largest,
        other.seconds,
    )
