"""Training of the rim network: samples and steps are those of the alignment network, seen from nearer.

A sample is there where its disc lies in the window; a crop from farther off holds none.  A part of the crops
is cut where the alignment network leads, so that its mistakes are seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hybridfit.network.alignment.architecture import represent
from hybridfit.network.alignment.network import AlignmentNetwork
from hybridfit.network.alignment.samples import Guide, Truth
from hybridfit.network.alignment.training import RIGHT, Job, weights_of
from hybridfit.network.alignment.views import Cuts
from hybridfit.network.files import Kind
from hybridfit.network.rim.architecture import RimNet, Target, loss
from hybridfit.network.rim.network import RimNetwork
from hybridfit.network.rim.posterior import circles
from hybridfit.network.rim.shape import FINE, SHIFT, SIZE, RimShape
from hybridfit.network.step import half_precision

FOUND = 0.05  # of the radius
CUTS = Cuts(whole=0.0, near=0.3, near_size=0.4, near_shift=1.2, last_size=0.06, last_shift=0.2, led=0.35)


def target(truth: Truth) -> Target:
    """The circles of crops, and which lie in the window."""
    off = truth.centre.abs().amax(dim=1)
    there = (off < SHIFT) & (truth.size.abs() < SIZE)
    return Target(torch.cat([truth.centre, truth.size[:, None]], dim=1), there)


def cost(module: RimNet, crops: Tensor, truth: Truth, generator: torch.Generator) -> Tensor:
    """The loss of a batch."""
    channels = represent(crops)
    with torch.autocast(crops.device.type, torch.bfloat16, enabled=half_precision(crops.device)):
        evidence = module(channels)
    return loss(evidence.float(), target(truth), generator).mean()


@torch.inference_mode()
def measured(module: RimNet, batches: list[tuple[Tensor, Truth]]) -> dict[str, float]:
    """How good a network is on crops held back: where discs are, and whether there are any."""
    module.eval()
    error, known, costs = [], [], []
    generator = torch.Generator(batches[0][0].device).manual_seed(0)
    for crops, truth in batches:
        evidence, aim = module(represent(crops)), target(truth)
        costs.append(loss(evidence, aim, generator))
        found = circles(evidence.cpu().numpy())
        there = aim.there.cpu()
        centre, size = (torch.from_numpy(each).float() for each in (found.centre, found.size))
        scale = truth.size.cpu().exp()
        off = torch.maximum(
            (centre - truth.centre.cpu()).norm(dim=1) / scale, (size - truth.size.cpu()).abs()
        )
        error.append(off[there])
        known.append((torch.from_numpy(found.there) > 0.5) == there)
    errors = torch.cat(error)
    return {
        "validation_loss": float(torch.cat(costs).mean()),
        "right": float((errors < RIGHT).float().mean()),
        "found": float((errors < FOUND).float().mean()),
        "known": float(torch.cat(known).float().mean()),
        "median": float(errors.median()),
    }


def said(numbers: dict[str, float]) -> str:
    """What `measured` found, in words."""
    right, found, known = (100 * numbers[name] for name in ("right", "found", "known"))
    return (
        f"{right:.1f} % of the discs within 2 %, {found:.1f} % within 5 % of the radius; "
        f"of {known:.1f} % of the crops it is known whether there is one"
    )


def save(path: Path, module: RimNet, record: dict[str, Any]) -> None:
    """Write the weights."""
    RimNetwork(module.architecture, weights_of(module), record).save(path)


def guide() -> Guide:
    """The discs that the shipped alignment network names."""
    return AlignmentNetwork.shipped().predict


RIM: Job[RimNet] = Job(
    checkpoint=Kind("hybridfit rim training", 1, "a checkpoint", "start anew without --resume"),
    shape=RimShape(),
    make=RimNet,
    cuts=CUTS,
    cost=cost,
    measured=measured,
    said=said,
    save=save,
    grid=FINE,
    guide=guide,
    batch=64,
    learning_rate=3e-3,
)
