"""The numbers by which identification judges "none of these", from frames that set them.

They are those by which the answers of these frames are likeliest.  Whether they hold for other crystals is
asked by cross-validation: frames of a fifth of the crystals are judged by numbers that the others set.

Frames count as in the study that reports: four fifths show a library, one in twenty-five no crystal at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from hybridfit.identification.odds import Evidence
from hybridfit.identification.settings import IDENTIFY, IdentifySettings

FOLDS = 5
SHARES = {"right": 0.8, "another crystal": 0.16, "no crystal": 0.04}
# where the search begins, and what draws numbers about which the frames say nothing
START = (0.007, 0.3, 1.6, 0.0006, 0.03, 1.7, 1.5)
DRAW = 0.03  # per squared unit of a logarithm: less follows single crystals, as cross-validation tells
LEAST = 1e-4  # of a probability: an answer that is worse than chance counts no more
BINS = 10

Array = NDArray[np.float64]


class Judged(NamedTuple):
    """A frame: its evidence, the crystal that it shows, and the kind of truth (of SHARES)."""

    evidence: Evidence
    crystal: str
    kind: str


class Outcome(NamedTuple):
    """What numbers are worth: mean ln p of the truth, calibration error, shares of right answers by kind."""

    likelihood: float
    calibration: float
    right: dict[str, float]


def settings_of(numbers: Sequence[float]) -> IdentifySettings:
    """Settings with the numbers of START."""
    right, wrong, spread, *misfit, lacking = (float(each) for each in numbers)
    return replace(IDENTIFY, left=(right, wrong, spread), misfit=_three(misfit), lacking=lacking)


def _three(numbers: Sequence[float]) -> tuple[float, float, float]:
    a, b, c = numbers
    return a, b, c


def suited(frames: Sequence[Judged]) -> IdentifySettings:
    """The numbers by which the truth of frames is likeliest."""
    start, weights = np.log(START), weights_of(frames)
    none = np.array([each.kind != "right" for each in frames])

    def cost(logs: Array) -> float:
        settings = settings_of(np.exp(logs))
        drawn = DRAW * float(((logs - start) ** 2).sum())
        return drawn - _likelihood(nones(frames, settings), none, weights)

    options = {"eps": 1e-3, "ftol": 1e-6, "maxiter": 40}
    return settings_of(np.exp(optimize.minimize(cost, start, method="L-BFGS-B", options=options).x))


def cross_validated(frames: Sequence[Judged]) -> Array:
    """(n,): the probability of none, by numbers that frames of other crystals set."""
    crystals = sorted({each.crystal for each in frames})
    order = np.random.default_rng(0).permutation(len(crystals))
    fold = {name: int(place) % FOLDS for name, place in zip(crystals, order, strict=True)}
    of = np.array([fold[each.crystal] for each in frames])
    out = np.empty(len(frames))
    for i in range(FOLDS):
        settings = suited([each for each, f in zip(frames, of, strict=True) if f != i])
        out[of == i] = nones([each for each, f in zip(frames, of, strict=True) if f == i], settings)
    return out


def nones(frames: Sequence[Judged], settings: IdentifySettings = IDENTIFY) -> Array:
    """(n,): the probability of none."""
    return np.array([each.evidence.none(settings) for each in frames])


def weights_of(frames: Sequence[Judged]) -> Array:
    """(n,): what a frame counts; they add up to 1."""
    kinds = np.array([each.kind for each in frames])
    out = np.zeros(len(kinds))
    for kind, share in SHARES.items():
        out[kinds == kind] = share / max(int((kinds == kind).sum()), 1)
    return np.asarray(out / out.sum())


def outcome(frames: Sequence[Judged], none: Array) -> Outcome:
    """What probabilities (n,) of none are worth."""
    weights, truth = weights_of(frames), np.array([each.kind != "right" for each in frames])
    said, right = np.maximum(none, 1 - none), (none > 0.5) == truth
    shares = {
        kind: float(right[mine].mean())
        for kind in SHARES
        if (mine := np.array([each.kind == kind for each in frames])).any()
    }
    return Outcome(_likelihood(none, truth, weights), _calibration(said, right, weights), shares)


def _likelihood(none: Array, truth: NDArray[np.bool_], weights: Array) -> float:
    return float(weights @ np.log(np.where(truth, none, 1 - none) + LEAST))


def _calibration(odds: Array, right: NDArray[np.bool_], weights: Array) -> float:
    """Mean |probability − share of right answers| over bins of as much weight."""
    order = np.argsort(odds)
    place = np.minimum((np.cumsum(weights[order]) * BINS).astype(int), BINS - 1)
    parts = [order[place == i] for i in range(BINS)]
    return float(sum(abs(weights[part] @ (odds[part] - right[part])) for part in parts))
