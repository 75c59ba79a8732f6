"""Kernels of `posterior`: the sum of evidence along circles, and its peaks."""

from __future__ import annotations

import math

import numpy as np

from hybridfit.network.rim.shape import INNER, OUTER, RADII
from hybridfit.pattern.jit import kernel

GRID = 15, 15, 13  # points of the coarse grid
WIDER = 1  # radii to either side of which a point of it has the largest evidence: peaks are narrower
PAIR = 2  # directions that are taken for one in it
PEAKS = 3  # of the coarse grid that are climbed
FIRST_STEP, LAST_STEP = 0.02, 0.0005
SIDE = 9  # points along a side of the grid about the top
WIDE = 0.06  # half-width of the first of them
ROUNDS = 3  # grids, each as wide as the peak is in the one before
DEVIATIONS = 3.0  # that they reach to either side
TWINS = 0.01  # tops that are nearer are one
DEEP = 12.0  # of E: lower peaks hold nothing


@kernel
def energy(evidence, cos, sin, x, y, size):
    """E of one circle by evidence (ROWS, RADII)."""
    total, radius = 0.0, math.exp(size)
    per = RADII / (OUTER - INNER)
    for i in range(cos.shape[0]):
        across = x * sin[i] - y * cos[i]
        r = x * cos[i] + y * sin[i] + math.sqrt(max(radius * radius - across * across, 1e-4))
        at = min(max((r - INNER) * per - 0.5, 0.0), RADII - 1.001)
        below = int(at)
        share = at - below
        total += (1 - share) * evidence[i, below] + share * evidence[i, below + 1]
    return total


@kernel
def likeliest(evidence, cos, sin, reach, out):
    """Fill out (8,): centre, size, their standard deviations, the probability, and the share of the peak.

    reach (3,) is how far centre and log size may be off; what is known has 0.
    """
    rows, cols = evidence.shape
    widened = np.zeros((rows // PAIR, cols))
    for i in range(rows):
        for j in range(cols):
            low, high = max(j - WIDER, 0), min(j + WIDER + 1, cols)
            widened[i // PAIR, j] += evidence[i, low:high].max()
    wide = math.cos(math.pi / rows)  # of the mean of two directions
    cos_of_pair = (cos[::2] + cos[1::2]) / (2 * wide)
    sin_of_pair = (sin[::2] + sin[1::2]) / (2 * wide)
    coarse = np.empty(GRID)
    for a in range(GRID[0]):
        for b in range(GRID[1]):
            for c in range(GRID[2]):
                x, y, s = _at(a, GRID[0], reach[0]), _at(b, GRID[1], reach[1]), _at(c, GRID[2], reach[2])
                coarse[a, b, c] = energy(widened, cos_of_pair, sin_of_pair, x, y, s)
    tops = np.empty((PEAKS, 4))
    for k in range(PEAKS):
        at = int(np.argmax(coarse))
        a, b, c = at // (GRID[1] * GRID[2]), at // GRID[2] % GRID[1], at % GRID[2]
        tops[k, 0], tops[k, 1] = _at(a, GRID[0], reach[0]), _at(b, GRID[1], reach[1])
        tops[k, 2] = _at(c, GRID[2], reach[2])
        tops[k, 3] = _climb(evidence, cos, sin, reach, tops[k])
        coarse[max(a - 1, 0) : a + 2, max(b - 1, 0) : b + 2, max(c - 1, 0) : c + 2] = -1e300
    order = np.argsort(-tops[:, 3])
    top, total = tops[order[0], 3], 0.0
    for place in range(PEAKS):
        k, twice = order[place], False
        for before in range(place):
            twice = twice or np.abs(tops[k, :3] - tops[order[before], :3]).max() < TWINS
        if twice or tops[k, 3] < top - DEEP:
            continue
        mean, deviation, z = tops[k, :3].copy(), np.zeros(3), 0.0
        half = np.minimum(WIDE, reach)
        for _ in range(ROUNDS):
            z = _moments(evidence, cos, sin, top, half, mean, deviation)
            for axis in range(3):  # a step of this grid, if the peak is narrower
                half[axis] = min(max(DEVIATIONS * deviation[axis], 2 * half[axis] / (SIDE - 1)), half[axis])
        total += z
        if place == 0:
            out[:3], out[3:6], out[7] = mean, deviation, z
    log_z = math.log(max(total, 1e-300)) + top
    for axis in range(3):
        if reach[axis] > 0:
            log_z -= math.log(2 * reach[axis])
    out[6] = 1 / (1 + math.exp(-log_z)) if log_z > -700 else 0.0
    out[7] /= max(total, 1e-300)


@kernel
def _at(i, count, reach):
    return reach * (2 * i / (count - 1) - 1)


@kernel
def _climb(evidence, cos, sin, reach, point):
    """Move a point (4,) to the top near it, within the window; the energy there."""
    best = energy(evidence, cos, sin, point[0], point[1], point[2])
    step = FIRST_STEP
    while step > LAST_STEP:
        better = False
        for axis in range(3):
            for sign in (-1.0, 1.0):
                before = point[axis]
                point[axis] = min(max(before + sign * step, -reach[axis]), reach[axis])
                here = energy(evidence, cos, sin, point[0], point[1], point[2])
                if here > best:
                    best, better = here, True
                else:
                    point[axis] = before
        if not better:
            step /= 2
    return best


@kernel
def _moments(evidence, cos, sin, top, half, mean, deviation):
    """∫ exp(E − top) about a mean (3,), over half-widths (3,); mean and deviation become what it finds."""
    total = 0.0
    first, second = np.zeros(3), np.zeros(3)
    at = np.empty(3)
    for a in range(SIDE):
        at[0] = _at(a, SIDE, half[0])
        for b in range(SIDE):
            at[1] = _at(b, SIDE, half[1])
            for c in range(SIDE):
                at[2] = _at(c, SIDE, half[2])
                e = energy(evidence, cos, sin, mean[0] + at[0], mean[1] + at[1], mean[2] + at[2])
                weight = math.exp(min(e - top, 50.0))
                total += weight
                for axis in range(3):
                    first[axis] += weight * at[axis]
                    second[axis] += weight * at[axis] ** 2
    cell = 1.0
    for axis in range(3):
        shift = first[axis] / max(total, 1e-300)
        mean[axis] += shift
        deviation[axis] = math.sqrt(max(second[axis] / max(total, 1e-300) - shift * shift, 1e-12))
        if half[axis] > 0:
            cell *= 2 * half[axis] / (SIDE - 1)
        else:
            cell /= SIDE  # all points of what is known are one
    return total * cell
