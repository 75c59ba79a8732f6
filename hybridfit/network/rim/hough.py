"""Kernels: reading crops on rings, the sum of evidence along circles, and its peaks."""

from __future__ import annotations

import math

import numpy as np

from hybridfit.network.rim.shape import INNER, OUTER, RADII
from hybridfit.pattern.jit import kernel

FIRST_STEP, LAST_STEP = 0.02, 0.0005
SIDE = 9  # points along a side of the grid about the top


@kernel
def between(channels, places, out):
    """Fill out (3, angles, radii) with channels (3, side, side) at places (angles, radii, 2): column, row."""
    for i in range(places.shape[0]):
        for j in range(places.shape[1]):
            col, row = int(places[i, j, 0]), int(places[i, j, 1])
            x, y = places[i, j, 0] - col, places[i, j, 1] - row
            for c in range(channels.shape[0]):
                upper = channels[c, row, col] * (1 - x) + channels[c, row, col + 1] * x
                lower = channels[c, row + 1, col] * (1 - x) + channels[c, row + 1, col + 1] * x
                out[c, i, j] = upper * (1 - y) + lower * y


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
def energies(evidence, cos, sin, reach, out):
    """Fill out (nx, ny, n) with E on a grid over −reach … reach (3,)."""
    for a in range(out.shape[0]):
        for b in range(out.shape[1]):
            for c in range(out.shape[2]):
                x, y = _at(a, out.shape[0], reach[0]), _at(b, out.shape[1], reach[1])
                out[a, b, c] = energy(evidence, cos, sin, x, y, _at(c, out.shape[2], reach[2]))


@kernel
def _at(i, count, reach):
    return reach * (2 * i / (count - 1) - 1)


@kernel
def climb(evidence, cos, sin, reach, point):
    """Move a point (3,) to the top near it, within the window; the energy there."""
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
def moments(evidence, cos, sin, top, half, mean, deviation):
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
