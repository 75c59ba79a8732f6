"""Composition of training patterns from coarse libraries.

    P(k) = Σ_g  A(k − g) · I_g(k − g + τ)

on a square grid of angles k.  Grid and directions have the same axes, so that the four-point interpolation of
I_g is done along the rows first, and then along the columns.
"""

from __future__ import annotations

import numpy as np

from hybridfit.pattern.compose import aperture
from hybridfit.pattern.jit import kernel


@kernel
def cubic(x, weights):
    """Four-point Lagrange weights at x between the second and the third of four points."""
    weights[0] = -x * (x - 1) * (x - 2) / 6
    weights[1] = (x + 1) * (x - 1) * (x - 2) / 2
    weights[2] = -(x + 1) * x * (x - 2) / 2
    weights[3] = (x + 1) * x * (x - 1) / 6


@kernel
def add_discs(intensity, beams, step, tilt, alpha, half_edge, spacing, out):
    """Add P to out (side, side), whose points are `spacing` (mrad) apart, k = 0 in the middle.

    intensity (beam, row, col) in 1/65535, beams (b, 2) and tilt (2,) in mrad, step of the directions in mrad.
    """
    side, half = out.shape[0], out.shape[0] // 2
    n = intensity.shape[1]
    middle = n // 2
    outer = alpha + half_edge
    first = np.empty(side, np.int64)
    weights = np.empty((side, 4))
    lines = np.empty((n, side), np.float32)
    w = np.empty(4)
    for b in range(beams.shape[0]):
        gx, gy = beams[b, 0], beams[b, 1]
        left = max(0, int(np.ceil((gx - outer) / spacing)) + half)
        right = min(side - 1, int(np.floor((gx + outer) / spacing)) + half)
        top = max(0, int(np.ceil((gy - outer) / spacing)) + half)
        bottom = min(side - 1, int(np.floor((gy + outer) / spacing)) + half)
        if left > right or top > bottom:
            continue
        for j in range(left, right + 1):
            at = ((j - half) * spacing - gx + tilt[0]) / step + middle
            below = min(max(int(np.floor(at)), 1), n - 3)
            cubic(at - below, w)
            first[j] = below - 1
            weights[j] = w
        low = int(np.floor(((top - half) * spacing - gy + tilt[1]) / step)) + middle - 1
        high = int(np.floor(((bottom - half) * spacing - gy + tilt[1]) / step)) + middle + 2
        for r in range(max(low, 0), min(high, n - 1) + 1):
            for j in range(left, right + 1):
                f = first[j]
                lines[r, j] = (
                    weights[j, 0] * intensity[b, r, f]
                    + weights[j, 1] * intensity[b, r, f + 1]
                    + weights[j, 2] * intensity[b, r, f + 2]
                    + weights[j, 3] * intensity[b, r, f + 3]
                ) / 65535.0
        for i in range(top, bottom + 1):
            y = (i - half) * spacing - gy
            at = (y + tilt[1]) / step + middle
            below = min(max(int(np.floor(at)), 1), n - 3)
            cubic(at - below, w)
            for j in range(left, right + 1):
                x = (j - half) * spacing - gx
                r2 = x * x + y * y
                if r2 >= outer * outer:
                    continue
                a = aperture(r2, alpha, half_edge)[0]
                value = (
                    w[0] * lines[below - 1, j]
                    + w[1] * lines[below, j]
                    + w[2] * lines[below + 1, j]
                    + w[3] * lines[below + 2, j]
                )
                out[i, j] += np.float32(a * max(value, 0.0))
