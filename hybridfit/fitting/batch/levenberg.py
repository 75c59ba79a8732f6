"""Levenberg–Marquardt of many problems at once: the steps, the bounds and the end of `refine.levenberg`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from hybridfit.fitting.refine.levenberg import FACTOR, FIRST, LEAST, MOST

RIDGE = 1e-12


class Point(NamedTuple):
    """Where b problems are, all float64.

    values : (b, p)
    cost : (b,)
        |r|².
    normal, slope : (b, p, p), (b, p)
        S Sᵀ and S r.
    """

    values: Tensor
    cost: Tensor
    normal: Tensor
    slope: Tensor

    def at(self, which: Tensor) -> Point:
        """Some of the problems, by index or as a mask."""
        return Point(*(each[which] for each in self))

    def put(self, which: Tensor, new: Point) -> None:
        """Replace some of them."""
        for old, each in zip(self, new, strict=True):
            old[which] = each


class Ended(NamedTuple):
    """Where problems ended; evaluations of each, and whether its next step would be short enough."""

    point: Point
    evaluations: Tensor
    done: Tensor


# of the problems with these indices, at values (b, p)
Measure = Callable[[Tensor, Tensor], Point]


def minimise(
    measure: Measure, start: Point, bounds: tuple[Tensor, Tensor], pixels: Tensor, within: float, most: int
) -> Ended:
    """Minimise |r|² of every problem within its bounds; what has ended is not evaluated any more.

    Parameters
    ----------
    measure : callable (indices, values) → Point
    start : Point
    bounds : (b, p) and (b, p) float64
    pixels : (b,)
        Of each problem.
    within : float
        Standard errors; the next step would be shorter.
    most : int
        Evaluations of a problem, with that at the start.
    """
    (low, high), here = bounds, Point(*(each.clone() for each in start))
    damping = torch.full_like(here.cost, FIRST)
    count = torch.ones_like(here.cost, dtype=torch.int64)
    done = torch.zeros_like(count, dtype=torch.bool)
    at = torch.arange(len(count), device=count.device)
    while len(at):
        now = here.at(at)
        x, slope = now.values, now.slope
        free = ~(((x <= low[at]) & (slope < 0)) | ((x >= high[at]) & (slope > 0)))
        plain = step(now, free, torch.zeros_like(now.cost))
        length = (plain[:, None] @ now.normal @ plain[:, :, None])[:, 0, 0]
        short = length <= within**2 * now.cost / pixels[at]
        done[at] = short
        going = ~short & (count[at] < most) & (damping[at] <= MOST)
        at, now, free = at[going], now.at(going), free[going]
        if not len(at):
            break
        new = torch.minimum(torch.maximum(now.values + step(now, free, damping[at]), low[at]), high[at])
        tried = measure(at, new)
        count[at] += 1
        better = tried.cost < now.cost
        here.put(at[better], tried.at(better))
        damping[at] = torch.where(better, (damping[at] / FACTOR).clamp_min(LEAST), damping[at] * FACTOR)
    return Ended(here, count, done)


def step(point: Point, free: Tensor, damping: Tensor) -> Tensor:
    """The steps of the free parameters (b, p); 0 of the others, and of what nothing depends on."""
    free = free & (point.normal.diagonal(dim1=1, dim2=2) > 0)
    scale = torch.where(free, point.normal.diagonal(dim1=1, dim2=2), 1.0).sqrt()
    unit = torch.eye(scale.shape[1], dtype=scale.dtype, device=scale.device)
    both = (free[:, :, None] & free[:, None, :]).to(scale.dtype)
    scaled = both * point.normal / (scale[:, :, None] * scale[:, None, :])
    scaled = scaled + (damping[:, None, None] + RIDGE) * unit + torch.diag_embed((~free).to(scale.dtype))
    target = torch.where(free, point.slope / scale, 0.0)
    factor, info = torch.linalg.cholesky_ex(scaled)
    factor = torch.where((info > 0)[:, None, None], unit, factor)  # down the slope
    return torch.cholesky_solve(target[:, :, None], factor)[:, :, 0] / scale
