"""The rim network as torch trains it: evidence for a rim at every direction and radius, summed along circles.

    crop → rings (polar) → convolutions, down and up again → evidence L(θ, r)

    E(d, s) = Σ_θ L(θ, r(θ; d, s)),      p(d, s) = e^E / V(1 + Z),      Z = ∫ e^E / V,

the integral over the window of volume V.  So 1/(1 + Z) is the probability that no direct disc lies in it.
Directions are periodic, and the mean of each ring is added to all of it, so that a circle is seen at once.

The sum along a curve is a Hough transform (Duda and Hart, 1972), of evidence that is learnt.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hybridfit.network.architecture import ShapedNet
from hybridfit.network.rim.shape import (
    ANGLES,
    CHANNELS,
    CONTEXT,
    FINE,
    FOLD,
    INNER,
    LEVELS,
    OUTER,
    RADII,
    ROWS,
    VOLUME,
    WINDOW,
    RimShape,
    angles,
    points,
    radii,
)

# ---- the integral Z, by points that are drawn
NEAREST, FARTHEST = 0.004, 0.3  # half-widths of the cubes that points are drawn in, log-uniform
LOCAL, ANYWHERE = 160, 128  # points about the truth and about the best found, and in the whole window
COARSE = 15, 15, 11  # of the grid where the best is sought
WIDER = 1  # radii to either side of which a point of it has the largest evidence


class Target(NamedTuple):
    """Circles (n, 3), d and log s, and which of them are there (n,) bool."""

    circle: Tensor
    there: Tensor


class Block(nn.Module):
    """x → ReLU(x + f(x)), f two convolutions, between which the means of rings are added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution(width, width)
        self.ring = nn.Conv1d(width, width, CONTEXT, padding=CONTEXT // 2)
        self.second = convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(round_about(x, self.first))
        inner = inner + self.ring(inner.mean(dim=2))[:, :, None]
        return torch.relu(x + round_about(inner, self.second))


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation of maps that have their margin."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, bias=False), nn.BatchNorm2d(outputs))


def round_about(x: Tensor, layer: nn.Module) -> Tensor:
    """A layer of maps (n, ·, directions, radii), with a margin: periodic in directions, zero in radii."""
    x = functional.pad(x, (1, 1))
    out: Tensor = layer(torch.cat([x[:, :, -1:], x, x[:, :, :1]], dim=2))
    return out


class RimNet(ShapedNet):
    """Evidence for a rim.

    Parameters
    ----------
    shape : RimShape
    """

    architecture: RimShape

    def __init__(self, shape: RimShape) -> None:
        super().__init__()
        self.architecture = shape
        w = shape.widths
        self.stem = convolution(CHANNELS * FOLD, w[0])
        self.down = nn.ModuleList(convolution(w[i], w[i + 1], stride=2) for i in range(LEVELS - 1))
        self.on_the_way_down = nn.ModuleList(Block(width) for width in w)
        self.up = nn.ModuleList(nn.Conv2d(w[i + 1], w[i], 1) for i in range(LEVELS - 1))
        self.on_the_way_up = nn.ModuleList(Block(width) for width in w[:-1])
        self.evidence = nn.Conv2d(w[0], 1, 1)

    def forward(self, channels: Tensor) -> Tensor:
        """Evidence (n, ROWS, RADII) in channels (n, 3, side, side) of `alignment.architecture.represent`."""
        x = torch.relu(round_about(on_rings(channels), self.stem))
        x = self.on_the_way_down[0](x)
        seen = [x]
        for down, block in zip(self.down, self.on_the_way_down[1:], strict=True):
            x = block(torch.relu(round_about(x, down)))
            seen.append(x)
        for i in reversed(range(LEVELS - 1)):
            finer = functional.interpolate(self.up[i](x), scale_factor=2.0, mode="nearest")
            x = self.on_the_way_up[i](torch.relu(seen[i] + finer))
        out: Tensor = self.evidence(x)[:, 0].float()
        return out


def on_rings(channels: Tensor) -> Tensor:
    """(n, CHANNELS · FOLD, ROWS, RADII) of channels (n, 3, side, side)."""
    n, place = len(channels), channels.device
    half = (FINE.side - 1) / 2
    at = torch.from_numpy(points()).to(place, torch.float32) / half - 1
    read = functional.grid_sample(
        channels.float(), at.expand(n, -1, -1, -1), mode="bilinear", align_corners=True
    )
    image, valid = read[:, :1], read[:, 2:]
    mean = (image * valid).sum(dim=2, keepdim=True) / valid.sum(dim=2, keepdim=True).clamp_min(1)
    scaled = torch.from_numpy(2 * (radii() - INNER) / (OUTER - INNER) - 1).to(place, torch.float32)
    where = scaled.expand(n, 1, ANGLES, RADII)
    every = torch.cat([read, (image - mean) * valid, where], dim=1)
    # neighbouring angles side by side
    folded = every.view(n, CHANNELS, ROWS, FOLD, RADII).transpose(2, 3)
    return folded.reshape(n, CHANNELS * FOLD, ROWS, RADII)


def energy(evidence: Tensor, circles: Tensor) -> Tensor:
    """E (n, m) of circles (n, m, 3) by evidence (n, directions, RADII)."""
    theta = torch.from_numpy(angles(evidence.shape[1])).to(evidence.device, evidence.dtype)
    c, s = torch.cos(theta), torch.sin(theta)
    x, y, size = circles[..., :1], circles[..., 1:2], circles[..., 2:].exp()
    along, across = x * c + y * s, x * s - y * c
    r = along + (size * size - across * across).clamp_min(1e-4).sqrt()
    at = ((r - INNER) / (OUTER - INNER) * RADII - 0.5).clamp(0, RADII - 1.001).transpose(1, 2)
    below = at.floor()
    share, row = at - below, below.long()
    return (evidence.gather(2, row) * (1 - share) + evidence.gather(2, row + 1) * share).sum(dim=1)


def loss(evidence: Tensor, target: Target, generator: torch.Generator) -> Tensor:
    """−log p (n,) of what is there.  The points that Z is summed over are drawn about the truth, about the
    best circle of a coarse grid, and anywhere in the window.
    """
    best = _best(evidence.detach(), generator)
    truth = torch.where(target.there[:, None], target.circle, best)
    window = evidence.new_tensor(WINDOW)
    drawn = torch.cat(
        [
            _cubes(truth, generator),
            _cubes(best, generator),
            window * (2 * _uniform(len(truth), ANYWHERE, 3, generator) - 1),
        ],
        dim=1,
    )
    total = drawn.shape[1]
    density = LOCAL * (_density(drawn, truth) + _density(drawn, best)) + ANYWHERE / VOLUME
    energies = energy(evidence, torch.cat([truth[:, None], drawn], dim=1))
    inside = (drawn.abs() <= window).all(dim=2)
    weighed = (energies[:, 1:] - (density / total).log()).masked_fill(~inside, -torch.inf)
    log_z = torch.logsumexp(weighed, dim=1) - math.log(total * VOLUME)
    gained = torch.where(target.there, energies[:, 0] - math.log(VOLUME), 0.0)
    return functional.softplus(log_z) - gained


def _best(evidence: Tensor, generator: torch.Generator) -> Tensor:
    """The best circles (n, 3) of a coarse grid, which lies elsewhere each time: no peak stays hidden."""
    lines = [
        reach * ((2 * torch.arange(count) + 1) / count - 1)
        for reach, count in zip(WINDOW, COARSE, strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).reshape(1, -1, 3).to(evidence.device)
    step = evidence.new_tensor([2 * reach / count for reach, count in zip(WINDOW, COARSE, strict=True)])
    grid = grid + step * (_uniform(1, 1, 3, generator) - 0.5)
    paired = evidence.view(len(evidence), ROWS // 2, 2, RADII).mean(dim=2)  # two directions for one
    widened = functional.max_pool1d(paired, 2 * WIDER + 1, 1, WIDER)
    return grid[0, energy(widened, grid.expand(len(widened), -1, -1)).argmax(dim=1)]


def _uniform(n: int, m: int, last: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, m, last, generator=generator, device=generator.device)


def _cubes(middle: Tensor, generator: torch.Generator) -> Tensor:
    """LOCAL points (n, LOCAL, 3) in cubes of any half-width about the middle (n, 3)."""
    n = len(middle)
    width = NEAREST * (FARTHEST / NEAREST) ** _uniform(n, LOCAL, 1, generator)
    return middle[:, None] + width * (2 * _uniform(n, LOCAL, 3, generator) - 1)


def _density(drawn: Tensor, middle: Tensor) -> Tensor:
    """The density (n, m) of `_cubes` at points (n, m, 3)."""
    off = (drawn - middle[:, None]).abs().amax(dim=2).clamp_min(NEAREST)
    return (off**-3 - FARTHEST**-3).clamp_min(0) / (24 * math.log(FARTHEST / NEAREST))
