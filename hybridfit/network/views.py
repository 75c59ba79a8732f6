"""Random parameters of training samples: how a camera sees a pattern, and how it records it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ROUGH = 0.4  # of the samples are cut where a rough disc would have them, not where the last pass has


class Patterns(NamedTuple):
    """n patterns P(k) as composed, and what they are of.

    image : (n, side, side)
    to_image : (2, 2) or (n, 2, 2), shift : (n, 2)
        k (mrad) is at the point (row, column) = to_image · k + shift, counted from the middle.
    half_edge : float or (n,), mrad, of the aperture
    thickness (n,) nm · tilt (n, 2) mrad, crystal frame · semi_angle (n,) mrad
    """

    image: Tensor
    to_image: Tensor
    shift: Tensor
    half_edge: float | Tensor
    thickness: Tensor
    tilt: Tensor
    semi_angle: Tensor


class View(NamedTuple):
    """How a camera sees n patterns.

    size (n,) log S · centre (n, 2) d, mrad of the rough scale · rotation (n,) degrees ·
    ellipticity (n, 2) · mirrored (n,) bool · frame_pixel (n,) mrad of the rough scale ·
    phase (n, 2) where the camera's pixels lie, in pixels · blur (n,) mrad ·
    background (n,) share of the electrons · heights (n, 3), widths (n, 2) in semi-angles
    """

    size: Tensor
    centre: Tensor
    rotation: Tensor
    ellipticity: Tensor
    mirrored: Tensor
    frame_pixel: Tensor
    phase: Tensor
    blur: Tensor
    background: Tensor
    heights: Tensor
    widths: Tensor


class Recording(NamedTuple):
    """What the camera does to n images.

    electrons (n,) in the frame · readout (n,) and offset (n,) of the mean · hot, dead (n,) share of
    the pixels · hot_height (n,) of the maximum · gamma (n,) · levels (n,) grey levels, 0: no limit ·
    edges (n, 4) mrad of the rough scale: left, right, top, bottom of the frame ·
    blocked (n, 3) mrad: centre and radius of a masked disc
    """

    electrons: Tensor
    readout: Tensor
    offset: Tensor
    hot: Tensor
    dead: Tensor
    hot_height: Tensor
    gamma: Tensor
    levels: Tensor
    edges: Tensor
    blocked: Tensor


class Draw:
    """Random numbers of n samples on one device."""

    def __init__(self, n: int, generator: torch.Generator) -> None:
        self.n, self.generator, self.device = n, generator, generator.device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(n, *shape) numbers."""
        u = torch.rand(self.n, *shape, generator=self.generator, device=self.device)
        return low + (high - low) * u

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(n, *shape) numbers, uniform in their logarithm."""
        return low * (high / low) ** self.uniform(0, 1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """(n, *shape) numbers of variance 1."""
        return torch.randn(self.n, *shape, generator=self.generator, device=self.device)

    def happens(self, share: float) -> Tensor:
        """(n,) bool, true for this share."""
        return self.uniform(0, 1) < share

    def in_disc(self, radius: Tensor) -> Tensor:
        """(n, 2), uniform in discs of radius (n,)."""
        r, angle = radius * self.uniform(0, 1).sqrt(), self.uniform(0, 2 * torch.pi)
        return torch.stack([r * torch.cos(angle), r * torch.sin(angle)], dim=1)


def draw_view(patterns: Patterns, draw: Draw, *, mirror: bool, rough: float = ROUGH) -> View:
    """Draw views: a share `rough` up to 3.5 mrad and 25 % off, the rest within 0.5 mrad and 3 %."""
    off = draw.happens(rough)
    size = torch.where(off, draw.uniform(-0.27, 0.24), 0.015 * draw.normal())
    centre = draw.in_disc(torch.where(off, 3.5, 0.5))
    return View(
        size=size,
        centre=centre,
        rotation=draw.uniform(-180, 180),
        ellipticity=draw.in_disc(0.015 * draw.uniform(0, 1)),
        mirrored=draw.happens(0.5) if mirror else draw.happens(0.0),
        frame_pixel=patterns.semi_angle / draw.log_uniform(12, 300),
        phase=draw.uniform(-0.5, 0.5, 2),
        blur=1.2 * draw.uniform(0, 1) ** 1.5,
        background=torch.where(draw.happens(0.1), 0.0, 0.65 * draw.uniform(0, 1) ** 1.3),
        heights=torch.stack([draw.uniform(0, 0.5), draw.uniform(0, 1), draw.uniform(0, 1)], dim=1),
        widths=torch.tensor([0.75, 1.5], device=draw.device) * draw.log_uniform(0.75, 1.33, 2),
    )


def draw_recording(patterns: Patterns, view: View, draw: Draw) -> Recording:
    """Draw what the camera does; the frame's edge is where a disc of 15–65 % of its width allows."""
    zero = torch.zeros(draw.n, device=draw.device)

    def sometimes(share: float, values: Tensor) -> Tensor:
        return torch.where(draw.happens(share), values, zero)

    scale = view.size.exp()
    radius = patterns.semi_angle * scale
    edges = []
    for i in range(2):
        half = radius / draw.uniform(0.15, 0.65)
        room = torch.minimum(0.5 * half, (half - 0.95 * radius).clamp_min(0))
        off = room * draw.uniform(-1, 1)
        edges += [view.centre[:, i] + off - half, view.centre[:, i] + off + half]
    blocked = sometimes(0.05, draw.uniform(0.3, 4))
    place = draw.in_disc(radius + 7)
    return Recording(
        electrons=draw.log_uniform(10**4.5, 1e9),
        readout=sometimes(0.3, draw.uniform(0, 0.02)),
        offset=sometimes(0.3, draw.uniform(-0.03, 0.15)),
        hot=sometimes(0.2, draw.log_uniform(1e-4, 2e-3)),
        dead=sometimes(0.2, draw.log_uniform(1e-4, 2e-3)),
        hot_height=draw.log_uniform(1, 30),
        gamma=torch.where(draw.happens(0.3), draw.uniform(0.8, 1.2), 1.0),
        levels=sometimes(0.2, zero + 255),
        edges=torch.stack(edges, dim=1),
        blocked=torch.cat([place, blocked[:, None]], dim=1),
    )
