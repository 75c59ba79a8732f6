"""From evidence to circles: where the sum along a circle is largest, how wide the peak is, and what it holds.

    E(c) = Σ_θ L(θ, r(θ; c)),    c = (d, log s)

The search climbs from the best points of a coarse grid, with steps that shrink.  A small grid about the top,
as wide as the peak, gives its mean, standard deviations, and share of Z = ∫ e^E / V.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.network.rim.hough import SIDE, climb, energies, moments
from hybridfit.network.rim.shape import ROWS, WINDOW, angles

Array = NDArray[np.float64]
Single = NDArray[np.float32]

GRID = 15, 15, 13  # points of the coarse grid
WIDER = 1  # radii to either side of which a point of it has the largest evidence: peaks are narrower
PEAKS = 3  # of the coarse grid that are climbed
TWINS = 0.01  # tops that are nearer are one
DEEP = 12.0  # of E: lower peaks hold nothing
WIDE = 0.06  # half-width of the first of the small grids
ROUNDS = 3  # small grids, each as wide as the peak is in the one before
DEVIATIONS = 3.0  # that they reach to either side

_theta, _pairs = angles(ROWS), angles(ROWS // 2)
_cos, _sin = np.cos(_theta), np.sin(_theta)
_cos_of_pair, _sin_of_pair = np.cos(_pairs), np.sin(_pairs)


class Circles(NamedTuple):
    """The circle that is likeliest in each of n crops.

    centre (n, 2), (column, row) from the middle of the crop in radii of the guess · size (n,), log(true
    radius/guess) · sigma (n, 2) and spread (n,): standard deviations of them · there (n,): the probability
    that a direct disc lies in the window · first (n,): the share of the peak in that
    """

    centre: Array
    size: Array
    sigma: Array
    spread: Array
    there: Array
    first: Array


def circles(evidence: Single, reach: tuple[float, float, float] = WINDOW) -> Circles:
    """Of evidence (n, ROWS, RADII).

    reach is how far the two components of the centre and log size may be off; what is known has 0.
    """
    out, window = np.empty((len(evidence), 8)), np.array(reach, dtype=float)
    for one, numbers in zip(evidence, out, strict=True):
        numbers[:] = _likeliest(np.asarray(one, dtype=np.float64, order="C"), window)
    return Circles(out[:, :2], out[:, 2], out[:, 3:5], out[:, 5], out[:, 6], out[:, 7])


def _likeliest(evidence: Array, window: Array) -> Array:
    """(8,): centre, size, their standard deviations, the probability, and the share of the peak."""
    tops: list[tuple[float, Array]] = []
    for energy, point in sorted(_tops(evidence, window), key=lambda each: -each[0]):
        if all(np.abs(point - other).max() >= TWINS for _, other in tops):
            tops.append((energy, point))
    top, total = tops[0][0], 0.0
    out = np.empty(8)
    for energy, mean in tops:
        if energy < top - DEEP:
            break
        deviation, half, held = np.zeros(3), np.minimum(WIDE, window), 0.0
        for _ in range(ROUNDS):
            held = moments(evidence, _cos, _sin, top, half, mean, deviation)
            # a step of this grid, if the peak is narrower
            half = np.minimum(half, np.maximum(DEVIATIONS * deviation, 2 * half / (SIDE - 1)))
        if not total:
            out[:3], out[3:6], out[7] = mean, deviation, held
        total += held
    log_z = math.log(max(total, 1e-300)) + top - float(np.log(2 * window[window > 0]).sum())
    out[6] = 1 / (1 + math.exp(min(-log_z, 700.0)))
    out[7] /= max(total, 1e-300)
    return out


def _tops(evidence: Array, window: Array) -> Iterator[tuple[float, Array]]:
    """E and place (3,) of the tops that the best points of a coarse grid lead to."""
    widened = evidence.copy()
    for shift in range(1, WIDER + 1):
        np.maximum(widened[:, shift:], evidence[:, :-shift], out=widened[:, shift:])
        np.maximum(widened[:, :-shift], evidence[:, shift:], out=widened[:, :-shift])
    paired = widened[::2] + widened[1::2]
    coarse = np.empty(GRID)
    energies(paired, _cos_of_pair, _sin_of_pair, window, coarse)
    for _ in range(PEAKS):
        at = np.unravel_index(int(coarse.argmax()), GRID)
        point = window * (2 * np.array(at) / (np.array(GRID) - 1) - 1)
        yield climb(evidence, _cos, _sin, window, point), point
        coarse[tuple(slice(max(i - 1, 0), i + 2) for i in at)] = -np.inf
