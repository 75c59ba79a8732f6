"""Patterns of many thicknesses at the same points.

Which grid points a point is interpolated from, and with which weights, does not depend on the
thickness: with the thicknesses of one beam and direction side by side in memory, each grid point is
looked up once for all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.compose import aperture
from hybridfit.pattern.expand import Table, lagrange, thickness_weights
from hybridfit.pattern.jit import kernel

Array = NDArray[np.float64]


def side_by_side(table: Table, thickness: Array) -> NDArray[np.float32]:
    """(beam, direction, thickness) float32: I at the thicknesses (n,) in nm."""
    nodes = np.empty(len(thickness), np.int64)
    weights = np.empty((len(thickness), 4), np.float32)
    for i, t in enumerate(thickness):
        nodes[i], both = thickness_weights(table, float(t))
        weights[i] = both[0]
    out = np.empty((len(table.beam_n), table.intensity.shape[2], len(thickness)), np.float32)
    first = int(nodes.min()) - 1
    transpose(table.intensity[first : int(nodes.max()) + 3], nodes - first, weights, out)
    return out


@kernel
def transpose(intensity, nodes, weights, out):
    """out[b, d, i] = Σ_j weights[i, j] · intensity[nodes[i] − 1 + j, b, d]."""
    beams, directions, count = out.shape
    for b in range(beams):
        for begin in range(0, directions, 64):  # so many that they stay in the cache
            end = min(begin + 64, directions)
            for i in range(count):
                n = nodes[i]
                i0, i1, i2, i3 = (
                    intensity[n - 1, b],
                    intensity[n, b],
                    intensity[n + 1, b],
                    intensity[n + 2, b],
                )
                w0, w1, w2, w3 = weights[i, 0], weights[i, 1], weights[i, 2], weights[i, 3]
                for d in range(begin, end):
                    out[b, d, i] = w0 * i0[d] + w1 * i1[d] + w2 * i2[d] + w3 * i3[d]


@kernel
def compose_series(kx, ky, table, series, tilt_x, tilt_y, alpha, half_edge):
    """P at the points (kx, ky) (1-D, mrad) for every thickness of series: (point, thickness) float32.

    Parameters
    ----------
    series : (beam, direction, thickness) float32, from `side_by_side`
    tilt_x, tilt_y, alpha, half_edge : mrad
    """
    g, count = table.to_grid, series.shape[2]
    out = np.zeros((kx.size, count), np.float32)
    rows, columns = table.direction_at.shape
    direction_at, operation_at = table.direction_at.ravel(), table.operation_at.ravel()
    beams = table.permutation.shape[1]
    source, permutation = series.ravel(), table.permutation.ravel()
    outer = (alpha + half_edge) ** 2
    wu, wv, slopes = np.empty(4), np.empty(4), np.empty(4)
    for p in range(kx.size):
        x, y, total = kx[p], ky[p], out[p]
        u = g[0, 0] * (x + tilt_x) + g[0, 1] * (y + tilt_y)
        v = g[1, 0] * (x + tilt_x) + g[1, 1] * (y + tilt_y)
        m1, m2 = int(np.floor(u)), int(np.floor(v))
        lagrange(u - m1, wu, slopes)
        lagrange(v - m2, wv, slopes)
        for b in range(table.beam_n.shape[0]):
            r2 = (x - table.beam_xy[b, 0]) ** 2 + (y - table.beam_xy[b, 1]) ** 2
            if r2 >= outer:
                continue
            a = aperture(r2, alpha, half_edge)[0]
            row = m1 - 1 - table.sampling[0] * table.beam_n[b, 0] + rows // 2
            column = m2 - 1 - table.sampling[1] * table.beam_n[b, 1] + columns // 2
            for i in range(max(0, -row), min(4, rows - row)):
                for j in range(max(0, -column), min(4, columns - column)):
                    # unsigned indices: a signed one costs a test for being negative
                    at = np.uint64((row + i) * columns + column + j)
                    d = direction_at[at]
                    if d >= 0:
                        beam = permutation[np.uint64(operation_at[at] * beams + b)]
                        first = count * (beam * series.shape[1] + d)
                        w = np.float32(a * wu[i] * wv[j])
                        for k in range(count):
                            total[np.uint64(k)] += w * source[np.uint64(first + k)]
    return out
