"""How good a network is on samples held back, and the temperatures that make its probabilities honest."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hybridfit.network.architecture import Heads, PatternNet, represent
from hybridfit.network.targets import Truth


@torch.inference_mode()
def evaluate(module: PatternNet, crops: Tensor, truth: Truth) -> Heads:
    """Apply a network to crops (n, 2, CROP, CROP), in full precision and in batches."""
    module.eval()
    parts = []
    for part, alpha in zip(crops.split(128), truth.semi_angle.split(128), strict=True):
        channels = represent(part, alpha).contiguous(memory_format=torch.channels_last)
        parts.append(module(channels, alpha))
    return Heads(*(torch.cat(p) for p in zip(*parts, strict=True)))


def temperature(logits: Tensor, cross_entropy: Callable[[Tensor], Tensor]) -> float:
    """The T for which softmax(logits / T) has the least cross-entropy."""
    trials = torch.exp(torch.linspace(math.log(0.3), math.log(3.0), 81))
    costs = [float(cross_entropy(logits / float(t)).mean()) for t in trials]
    return float(trials[int(np.argmin(costs))])
