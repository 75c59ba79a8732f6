"""Targets of the heads, the loss, and the errors of their answers.

A value between two classes belongs to both, in linear proportion:

    p_i = 1 − f,  p_{i+1} = f,      i + f = (value − first)/step,

and bilinearly for tilt.  A distribution over classes then has the value as its mean.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from hybridfit.network.architecture import Heads
from hybridfit.network.shape import Architecture

SIZE_SPREAD = 0.015  # errors count squared below these, linearly above
CENTRE_SPREAD = 0.2  # mrad
ALIGNMENT, TURN = 0.3, 2.0  # weights of size and centre, and of rotation
NEAR = 2  # classes around the likeliest that are averaged for a value


class Truth(NamedTuple):
    """The truth about n crops.

    size (n,) log ratio · centre (n, 2) mrad of the rough scale · rotation (n,) degrees ·
    thickness (n,) nm · tilt (n, 2) mrad, in the image frame · semi_angle (n,) mrad, nominal
    """

    size: Tensor
    centre: Tensor
    rotation: Tensor
    thickness: Tensor
    tilt: Tensor
    semi_angle: Tensor


def between(value: Tensor, first: float, step: float, classes: int) -> tuple[Tensor, Tensor]:
    """Index i of the class below each value, and the share f of the one above."""
    position = ((value - first) / step).clamp(0, classes - 1)
    below = position.floor().clamp_max(classes - 2)
    return below.nan_to_num(0.0).long(), position - below  # the share of a NaN is a NaN


def thickness_loss(logits: Tensor, thickness: Tensor, a: Architecture) -> Tensor:
    """Cross-entropy (n,) of thickness logits (n, classes)."""
    i, f = between(thickness, a.thickness_first, a.thickness_step, a.thickness_classes)
    log_p = functional.log_softmax(logits, dim=1)
    return -((1 - f) * _pick(log_p, i) + f * _pick(log_p, i + 1))


def tilt_loss(logits: Tensor, tilt: Tensor, a: Architecture) -> Tensor:
    """Cross-entropy (n,) of tilt logits (n, classes²)."""
    n = a.tilt_classes
    ix, fx = between(tilt[:, 0], a.tilt_first, a.tilt_step, n)
    iy, fy = between(tilt[:, 1], a.tilt_first, a.tilt_step, n)
    log_p = functional.log_softmax(logits, dim=1)
    corner = iy * n + ix
    low = (1 - fx) * _pick(log_p, corner) + fx * _pick(log_p, corner + 1)
    high = (1 - fx) * _pick(log_p, corner + n) + fx * _pick(log_p, corner + n + 1)
    return -((1 - fy) * low + fy * high)


def _pick(log_p: Tensor, index: Tensor) -> Tensor:
    return log_p.gather(1, index[:, None]).squeeze(1)


def turned(rotation: Tensor, order: int) -> Tensor:
    """(cos nφ, sin nφ), (n, 2), of rotations in degrees."""
    angle = torch.deg2rad(order * rotation)
    return torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)


def loss(heads: Heads, truth: Truth, a: Architecture) -> Tensor:
    """The loss that training minimises, averaged over the crops."""
    size = functional.smooth_l1_loss(heads.size / SIZE_SPREAD, truth.size / SIZE_SPREAD)
    centre = functional.smooth_l1_loss(heads.centre / CENTRE_SPREAD, truth.centre / CENTRE_SPREAD)
    rotation = functional.mse_loss(heads.rotation, turned(truth.rotation, a.rotation_order))
    classes = thickness_loss(heads.thickness, truth.thickness, a) + tilt_loss(heads.tilt, truth.tilt, a)
    return classes.mean() + ALIGNMENT * (size + centre) + TURN * rotation


def thickness_value(logits: Tensor, a: Architecture) -> Tensor:
    """Mean thickness (n,), nm, of the classes around the likeliest."""
    p = torch.softmax(logits, dim=1)
    nodes = a.thickness_first + a.thickness_step * torch.arange(a.thickness_classes, device=p.device)
    index = torch.arange(a.thickness_classes, device=p.device)
    near = p * ((index - p.argmax(dim=1, keepdim=True)).abs() <= NEAR)
    return (near * nodes).sum(dim=1) / near.sum(dim=1)


def tilt_value(logits: Tensor, a: Architecture) -> Tensor:
    """Mean tilt (n, 2), mrad, image frame, of the classes around the likeliest."""
    n = a.tilt_classes
    p = torch.softmax(logits, dim=1)
    best = p.argmax(dim=1, keepdim=True)
    index = torch.arange(n * n, device=p.device)
    ix, iy = index % n, index // n
    near = p * (((ix - best % n).abs() <= NEAR) & ((iy - best // n).abs() <= NEAR))
    near = near / near.sum(dim=1, keepdim=True)
    return torch.stack([a.tilt_first + a.tilt_step * (near * i).sum(dim=1) for i in (ix, iy)], dim=1)


def measures(heads: Heads, truth: Truth, a: Architecture) -> dict[str, float]:
    """Errors of the answers, as shares within a limit and as root mean squares.

    Returns
    -------
    loss; shares: thickness_3nm, thickness_2nm, tilt_1mrad, tilt_half_mrad; root mean squares:
    size_rms (relative), centre_rms (mrad, both components), rotation_rms (degrees); and the shares
    size_2pc, rotation_2deg.
    """
    thickness = (thickness_value(heads.thickness, a) - truth.thickness).abs()
    tilt = (tilt_value(heads.tilt, a) - truth.tilt).norm(dim=1)
    size = heads.size - truth.size
    centre = (heads.centre - truth.centre).norm(dim=1)
    angle = torch.rad2deg(torch.atan2(heads.rotation[:, 1], heads.rotation[:, 0])) / a.rotation_order
    period = 360 / a.rotation_order
    rotation = torch.remainder(angle - truth.rotation + period / 2, period) - period / 2

    def share(hit: Tensor) -> float:
        return float(hit.float().mean())

    def rms(error: Tensor) -> float:
        return float(error.square().mean().sqrt())

    return {
        "loss": float(loss(heads, truth, a)),
        "thickness_3nm": share(thickness <= 3),
        "thickness_2nm": share(thickness <= 2),
        "tilt_1mrad": share(tilt <= 1),
        "tilt_half_mrad": share(tilt <= 0.5),
        "size_rms": rms(size),
        "centre_rms": rms(centre),
        "rotation_rms": rms(rotation),
        "size_2pc": share(size.abs() <= 0.02),
        "rotation_2deg": share(rotation.abs() <= 2),
    }
