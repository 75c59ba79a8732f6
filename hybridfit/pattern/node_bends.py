"""Kernels of node patterns for single looks: values alone, and second derivatives along the tilt.

They are `node_kernels.combine` with other rows: the pattern alone is half of the work.  The second
derivatives are those of the four-point polynomials, so that no other tilt is looked at.
"""

from __future__ import annotations

import numpy as np

from hybridfit.pattern.jit import kernel
from hybridfit.pattern.node_kernels import CHUNK, SIDE, WIDE, weights_at


@kernel
def bends_at(fractions, phase, bends):
    """Second derivatives (5, n) of the weights of the nodes −1 … 3: see `node_kernels.weights_at`."""
    one, two, three, none = np.float32(1.0), np.float32(2.0), np.float32(3.0), np.float32(0.0)
    for p in range(fractions.size):
        whole = fractions[p] + np.float32(phase)
        carry = whole >= one
        x = whole - one if carry else whole
        b0, b1, b2, b3 = one - x, three * x - two, one - three * x, x
        bends[0, p] = none if carry else b0
        bends[1, p] = b0 if carry else b1
        bends[2, p] = b1 if carry else b2
        bends[3, p] = b2 if carry else b3
        bends[4, p] = b3 if carry else none


@kernel
def blend_values(n0, n1, n2, n3, w, value):
    """A node at a thickness between four (whole numbers); weights have the units in them."""
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    for p in range(value.size):
        a, b, c, d = np.float32(n0[p]), np.float32(n1[p]), np.float32(n2[p]), np.float32(n3[p])
        value[p] = w0 * a + w1 * b + w2 * c + w3 * d


@kernel
def add_product(total, value, w):
    """total += w · value."""
    for p in range(total.size):
        total[p] += w[p] * value[p]


@kernel
def add_three(value, w, s, b, total, along, bend):
    """Add a node to sums with three weights."""
    for p in range(value.size):
        total[p] += w[p] * value[p]
        along[p] += s[p] * value[p]
        bend[p] += b[p] * value[p]


@kernel
def blend_at(bank, units, rows, wt, c, d, low, high, own, value):
    """A node at the thickness of the weights wt (4,): see `node_kernels.combine`; own is room for weights."""
    for i in range(4):
        own[i] = wt[i] * units[rows[i, c, d] // (SIDE * SIDE)]
    n0, n1 = bank[rows[0, c, d], low:high], bank[rows[1, c, d], low:high]
    n2, n3 = bank[rows[2, c, d], low:high], bank[rows[3, c, d], low:high]
    blend_values(n0, n1, n2, n3, own, value)


@kernel
def combine_values(bank, units, rows, wt, entries, phase, out, begin, end):
    """out (n,): P at begin … end; the arguments are those of `node_kernels.combine`."""
    w, room = np.empty((4 * WIDE, CHUNK), np.float32), np.empty((2, CHUNK), np.float32)
    own = np.empty(4, np.float32)
    for low in range(begin, end, CHUNK):
        high = min(low + CHUNK, end)
        size = high - low
        u, v = w[:WIDE], w[2 * WIDE : 3 * WIDE]
        weights_at(entries.u[low:high], phase[0], u, w[WIDE : 2 * WIDE])
        weights_at(entries.v[low:high], phase[1], v, w[3 * WIDE :])
        value, total, here = room[0, :size], room[1, :size], out[low:high]
        here[:] = 0
        for c in range(WIDE):
            total[:] = 0
            for d in range(WIDE):
                blend_at(bank, units, rows, wt, c, d, low, high, own, value)
                add_product(total, value, v[d, :size])
            add_product(here, total, u[c, :size])


@kernel
def combine_bends(bank, units, rows, wt, entries, phase, out, begin, end):
    """out (3, n): ∂²P/∂u², ∂²P/∂u∂v and ∂²P/∂v² along the grid coordinates of the tilt, at begin … end."""
    w, room = np.empty((6 * WIDE, CHUNK), np.float32), np.empty((4, CHUNK), np.float32)
    own = np.empty(4, np.float32)
    for low in range(begin, end, CHUNK):
        high = min(low + CHUNK, end)
        size = high - low
        u, along_u, bend_u = w[:WIDE], w[WIDE : 2 * WIDE], w[2 * WIDE : 3 * WIDE]
        v, along_v, bend_v = w[3 * WIDE : 4 * WIDE], w[4 * WIDE : 5 * WIDE], w[5 * WIDE :]
        weights_at(entries.u[low:high], phase[0], u, along_u)
        weights_at(entries.v[low:high], phase[1], v, along_v)
        bends_at(entries.u[low:high], phase[0], bend_u)
        bends_at(entries.v[low:high], phase[1], bend_v)
        value, total, along, bend = room[0, :size], room[1, :size], room[2, :size], room[3, :size]
        uu, uv, vv = out[0, low:high], out[1, low:high], out[2, low:high]
        uu[:], uv[:], vv[:] = 0, 0, 0
        for c in range(WIDE):
            room[1:] = 0
            for d in range(WIDE):
                blend_at(bank, units, rows, wt, c, d, low, high, own, value)
                add_three(value, v[d, :size], along_v[d, :size], bend_v[d, :size], total, along, bend)
            add_product(uu, total, bend_u[c, :size])
            add_product(uv, along, along_u[c, :size])
            add_product(vv, bend, u[c, :size])
