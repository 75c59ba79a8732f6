"""The combination of node patterns in one kernel, by Triton, for GPUs: `torch_nodes.combine` in one reading.

A program combines a piece of the points of one frame.  Every node is read once, as whole numbers, and nothing
between nodes and pattern is written: programs of many frames at the same points share the nodes in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:  # torch brings it along for GPUs, on Linux
    triton = tl = None

jit: Callable[[Any], Any] = (lambda function: function) if triton is None else triton.jit
BLOCK = 512  # points of a program


@jit
def _weight(x, carry, c: tl.constexpr):
    """Lagrange weight of node c − 1 at x; of node c − 2 where the point is in the next cell."""
    here = _lagrange(x, c)
    there = _lagrange(x, c - 1)
    return tl.where(carry, there, here)


@jit
def _slope(x, carry, c: tl.constexpr):
    """Its derivative."""
    here = _derivative(x, c)
    there = _derivative(x, c - 1)
    return tl.where(carry, there, here)


@jit
def _lagrange(x, k: tl.constexpr):
    if k == 0:
        w = -x * (x - 1.0) * (x - 2.0) * (1.0 / 6.0)
    elif k == 1:
        w = (x + 1.0) * (x - 1.0) * (x - 2.0) * 0.5
    elif k == 2:
        w = -(x + 1.0) * x * (x - 2.0) * 0.5
    elif k == 3:
        w = (x + 1.0) * x * (x - 1.0) * (1.0 / 6.0)
    else:
        w = x * 0.0
    return w


@jit
def _derivative(x, k: tl.constexpr):
    xx = 3.0 * x * x
    if k == 0:
        s = -(xx - 6.0 * x + 2.0) * (1.0 / 6.0)
    elif k == 1:
        s = (xx - 4.0 * x - 1.0) * 0.5
    elif k == 2:
        s = -(xx - 2.0 * x - 2.0) * 0.5
    elif k == 3:
        s = (xx - 1.0) * (1.0 / 6.0)
    else:
        s = x * 0.0
    return s


@jit
def _combine(bank, rows, scaled, u, v, phase, out, n, block: tl.constexpr):
    frame = tl.program_id(0).to(tl.int64)
    p = tl.program_id(1) * block + tl.arange(0, block)
    inside = p < n
    x = tl.load(u + p, mask=inside, other=0.0) + tl.load(phase + 2 * frame)
    y = tl.load(v + p, mask=inside, other=0.0) + tl.load(phase + 2 * frame + 1)
    over_x = x >= 1.0
    over_y = y >= 1.0
    x = tl.where(over_x, x - 1.0, x)
    y = tl.where(over_y, y - 1.0, y)
    value = tl.zeros((block,), tl.float32)
    by_t = tl.zeros((block,), tl.float32)
    by_u = tl.zeros((block,), tl.float32)
    by_v = tl.zeros((block,), tl.float32)
    for c in tl.static_range(5):
        total = tl.zeros((block,), tl.float32)
        thick = tl.zeros((block,), tl.float32)
        along = tl.zeros((block,), tl.float32)
        for d in tl.static_range(5):
            node = tl.zeros((block,), tl.float32)
            slope = tl.zeros((block,), tl.float32)
            for i in tl.static_range(4):
                k = (i * 5 + c) * 5 + d
                row = tl.load(rows + 100 * frame + k)
                q = tl.load(bank + row * n + p, mask=inside, other=0).to(tl.float32)
                node += tl.load(scaled + 200 * frame + k) * q
                slope += tl.load(scaled + 200 * frame + 100 + k) * q
            w = _weight(y, over_y, d)
            total += w * node
            thick += w * slope
            along += _slope(y, over_y, d) * node
        w = _weight(x, over_x, c)
        value += w * total
        by_t += w * thick
        by_u += _slope(x, over_x, c) * total
        by_v += w * along
    to = out + 4 * frame * n + p
    tl.store(to, value, mask=inside)
    tl.store(to + n, by_t, mask=inside)
    tl.store(to + 2 * n, by_u, mask=inside)
    tl.store(to + 3 * n, by_v, mask=inside)


def combine(
    bank: Tensor, rows: Tensor, scaled: Tensor, points: tuple[Tensor, Tensor], phase: Tensor
) -> Tensor:
    """`torch_nodes.combine`."""
    (u, v), n = points, bank.shape[1]
    out = torch.empty((len(rows), 4, n), device=bank.device)
    grid = (len(rows), triton.cdiv(n, BLOCK))
    given = rows.contiguous(), scaled.contiguous(), u, v, phase.contiguous()
    _combine[grid](bank, *given, out, n, BLOCK)
    return out
