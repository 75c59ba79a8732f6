"""The alignment network as torch trains it.

    −log p(d, s) = −log Σ_k π_k t₂(d; d_k, σ_k) t₁(s; s_k, ς_k)

over the discs k that it names, d the centre and s the logarithm of the size.  t₂ and t₁ are t-distributions
in two and one dimensions: errors have long tails, because sometimes the network takes another disc.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridfit.network.alignment.shape import (
    CAPS,
    DARK,
    EACH,
    FREEDOM,
    LEAST_SIGMA,
    MOST_SIGMA,
    SCALE,
    AlignmentShape,
)
from hybridfit.network.architecture import TrunkNet
from hybridfit.network.shape import BRIGHTEST, LIGHTEST, OUTLIER


def represent(crops: Tensor) -> Tensor:
    """The channels (n, 3, side, side) of crops (n, 2, side, side).

    √ and asinh of intensity/level, and the valid share.  The level is the mean intensity that an electron
    meets, ⟨I²⟩/⟨I⟩, with hot pixels capped.
    """
    image, valid = crops[:, 0], crops[:, 1]
    tiny = torch.finfo(crops.dtype).tiny
    bright = image.clamp_min(0)
    level = (valid * bright).sum(dim=(1, 2), keepdim=True) / valid.sum(dim=(1, 2), keepdim=True).clamp_min(1)
    for _ in range(CAPS):
        kept = torch.minimum(bright, OUTLIER * level)
        level = (valid * kept * kept).sum(dim=(1, 2), keepdim=True)
        level = level / (valid * kept).sum(dim=(1, 2), keepdim=True).clamp_min(tiny)
    x = image / level.clamp_min(tiny)
    root = (torch.sign(x) * x.abs().sqrt()).clamp(LIGHTEST, BRIGHTEST)
    dark = torch.asinh(x.clamp(-1, 100) / DARK) / math.asinh(1 / DARK)
    return torch.stack([2 * (root - 0.5) * valid, 2 * (dark - 0.5) * valid, valid], dim=1)


class AlignmentNet(TrunkNet):
    """Trunk and one head."""

    architecture: AlignmentShape

    def forward(self, channels: Tensor) -> Tensor:
        """What is said of `represent`'s channels (n, 3, CROP, CROP): (n, discs, EACH)."""
        said = self.answers(channels, channels.new_zeros(len(channels), 0))["discs"]
        return said.view(len(said), self.architecture.discs, EACH)


def read(said: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Log odds (n, k), centres (n, k, 2), sizes (n, k), σ of centres and of sizes (n, k)."""
    low, high = math.log(LEAST_SIGMA), math.log(MOST_SIGMA)
    sigma = low + (high - low) * torch.sigmoid(said[..., 4:])
    odds = torch.log_softmax(said[..., 0], dim=1)
    return odds, SCALE * said[..., 1:3], SCALE * said[..., 3], sigma[..., 0].exp(), sigma[..., 1].exp()


def loss(said: Tensor, centre: Tensor, size: Tensor) -> Tensor:
    """−log p (n,) of centres (n, 2), in radii, and sizes (n,), up to a constant."""
    odds, centres, sizes, sigma, spread = read(said)
    r2 = ((centres - centre[:, None]) ** 2).sum(dim=2) / sigma**2
    z2 = ((sizes - size[:, None]) / spread) ** 2
    log_p = -2 * sigma.log() - (FREEDOM + 2) / 2 * torch.log1p(r2 / FREEDOM)
    log_p = log_p - spread.log() - (FREEDOM + 1) / 2 * torch.log1p(z2 / FREEDOM)
    return -torch.logsumexp(odds + log_p, dim=1)
