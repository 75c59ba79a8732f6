"""Odds of library points: how likely the right one is near each, by what the templates leave of a frame.

With χ² (relative to the variance of the frame) at the best camera of every point,

    p ∝ exp(−(χ² − χ²_least)/τ),        τ = τ₀ + 2 χ²_least/N,

N: the independent pixels that a residual amounts to.  τ₀ stands for what even the right one leaves: templates
are steps of thickness and tilt apart, rings are coarse, and cameras are found in steps.  Both come from
simulated frames, by the likelihood of the truth.  A candidate has the probability of all points in the window
about it, the first one's before the others'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import WINDOW, Candidate
from hybridfit.fitting.search.settings import SEARCH, SearchSettings
from hybridfit.fitting.search.templates import Templates

Array = NDArray[np.float64]


def point_odds(score: NDArray[np.floating], settings: SearchSettings = SEARCH) -> Array:
    """Probabilities (t,) of library points that leave so much (t,), which add up to 1."""
    score = np.asarray(score, float)
    least = float(score.min())
    weights = np.exp(-(score - least) / width(least, settings))
    return np.asarray(weights / weights.sum())


def width(least: float, settings: SearchSettings = SEARCH) -> float:
    """τ, by which χ² differs where odds differ by a factor of e, with the least χ²."""
    return settings.odds_floor + 2 * max(least, 0.0) / settings.odds_pixels


def weighed(
    found: Sequence[Candidate],
    score: NDArray[np.floating],
    templates: Templates,
    order: int,
    settings: SearchSettings = SEARCH,
) -> list[Candidate]:
    """Candidates with their probabilities, in their order.

    Parameters
    ----------
    found : sequence of Candidate
        Best first.
    score : (t,) array
        χ² of every template at its best camera.
    templates : Templates
    order : int
        n of the n-fold axis of the projection.
    settings : SearchSettings
    """
    if not found:
        return []
    odds = point_odds(score, settings)
    tilts = templates.tilt_x + 1j * templates.tilt_y
    turns = np.exp(2j * np.pi * np.arange(order) / order)
    open_ = np.ones(len(odds), bool)
    out = []
    for candidate in found:
        apart = np.abs(tilts[:, None] * turns - complex(*candidate.tilt)).min(axis=1)
        near = (np.abs(templates.thickness - candidate.thickness) <= WINDOW[0]) & (apart <= WINDOW[1])
        mine = near & open_
        open_ &= ~mine
        out.append(replace(candidate, probability=float(odds[mine].sum())))
    return out
