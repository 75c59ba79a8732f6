"""The network as torch trains it: one trunk and five heads (their sizes are in `shape`).

    crop, semi-angle → three channels → residual convolutions 40² → 20² → 10² → 5² → features
    features, semi-angle → size · centre · rotation · thickness · tilt

Channels: the image, √(I/Ī) with Ī the mean inside the nominal aperture (the root makes shot
noise equally strong everywhere); the nominal aperture |u| < α; and where there is anything to
see, |u| < α + 7.5 mrad on valid pixels of the frame.  The last 5 × 5 features are flattened, not
averaged, because their positions matter.

Heads, in the crop's frame u (rows downwards, mrad of the rough scale):

size       log(true scale / rough scale)
centre     true centre less rough centre, mrad of the rough scale
rotation   (cos nφ, sin nφ), n the rotation order of the projection
thickness  one class a step of the library
tilt       R(φ)·τ, the tilt as the camera sees it, in classes on a square grid [row, column]
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from hybridfit.library.library import BEYOND_DISC
from hybridfit.network.crop import CROP, PIXEL
from hybridfit.network.shape import (
    BRIGHTEST,
    INPUTS,
    LIGHTEST,
    OUTLIER,
    ROUNDS,
    SIZE_UNIT,
    Architecture,
    NetShape,
    Trunk,
    last_side,
    stages,
    weight_shapes,
)

Net = TypeVar("Net", bound="ShapedNet")


class Heads(NamedTuple):
    """The network's raw answers for n crops; thickness and tilt as logits.

    size (n,) · centre (n, 2) · rotation (n, 2) · thickness (n, classes) · tilt (n, rows · columns)
    """

    size: Tensor
    centre: Tensor
    rotation: Tensor
    thickness: Tensor
    tilt: Tensor


def represent(crops: Tensor, semi_angle: Tensor) -> Tensor:
    """The channels that the trunk reads.

    Parameters
    ----------
    crops : (n, 2, CROP, CROP)
        Intensity and valid share, as from `crop.crops`.
    semi_angle : (n,), mrad, nominal

    Returns
    -------
    (n, 3, CROP, CROP)
    """
    image, valid = crops[:, 0], crops[:, 1]
    u = (torch.arange(CROP, device=crops.device, dtype=crops.dtype) - (CROP - 1) / 2) * PIXEL
    r = torch.hypot(u[:, None], u[None, :])
    alpha = semi_angle.to(crops.dtype)[:, None, None]
    aperture = ((alpha - r) / PIXEL + 0.5).clamp(0, 1)
    seen = ((alpha + BEYOND_DISC - r) / PIXEL + 0.5).clamp(0, 1) * valid
    share = aperture * valid
    share = share / share.sum(dim=(1, 2), keepdim=True).clamp_min(1e-6)
    level = (share * image).sum(dim=(1, 2), keepdim=True)
    tiny = torch.finfo(crops.dtype).tiny
    for _ in range(ROUNDS):  # one hot pixel must not set the level
        level = (share * torch.minimum(image, OUTLIER * level)).sum(dim=(1, 2), keepdim=True)
    x = image / level.clamp_min(tiny)
    x = (torch.sign(x) * x.abs().sqrt()).clamp(LIGHTEST, BRIGHTEST)
    return torch.stack([2 * (x - 0.7) * seen, aperture, seen], dim=1)


class Block(nn.Module):
    """x → ReLU(x + f(x)), f two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = convolution(channels, channels, bent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def convolution(
    inputs: int, outputs: int, *, stride: int = 1, size: int = 3, bent: bool = True
) -> nn.Sequential:
    """Convolution and batch normalisation, followed by a ReLU where `bent`."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if bent:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class ShapedNet(nn.Module):
    """A network that knows its shape."""

    architecture: NetShape


class TrunkNet(ShapedNet):
    """The part that most networks have in common, and their heads.

    Parameters
    ----------
    shape : Trunk
    """

    architecture: Trunk

    def __init__(self, shape: Trunk) -> None:
        super().__init__()
        self.architecture = shape
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), convolution(INPUTS, shape.widths[0], bent=False))
        # a learnt bias for each position
        self.place = nn.Parameter(torch.zeros(1, shape.widths[0], CROP // 2, CROP // 2))
        self.stages = nn.Sequential(
            *(
                Block(part.outputs) if part.residual else convolution(part.inputs, part.outputs, stride=2)
                for part in stages(shape)
            )
        )
        self.squeeze = convolution(shape.widths[-1], shape.squeezed, size=1)
        flat = shape.squeezed * last_side(shape) ** 2 + shape.told
        self.features = nn.Sequential(nn.Linear(flat, shape.features), nn.ReLU(inplace=True))
        for name, outputs in shape.outputs.items():
            hidden = nn.Linear(shape.features + shape.told, shape.hidden)
            head = nn.Sequential(hidden, nn.ReLU(inplace=True), nn.Linear(shape.hidden, outputs))
            self.add_module(name, head)

    def answers(self, channels: Tensor, told: Tensor) -> dict[str, Tensor]:
        """What every head says of channels (n, 3, CROP, CROP), told (n, ·) numbers beside them."""
        x = torch.relu(self.stem(channels) + self.place)
        x = self.squeeze(self.stages(x)).flatten(1)
        x = self.features(torch.cat([x, told.to(x.dtype)], dim=1))
        x = torch.cat([x, told.to(x.dtype)], dim=1)
        return {name: self.get_submodule(name)(x).float() for name in self.architecture.outputs}


class PatternNet(TrunkNet):
    """The network of a library: trunk and five heads.

    Parameters
    ----------
    architecture : Architecture
    """

    architecture: Architecture

    def forward(self, channels: Tensor, semi_angle: Tensor) -> Heads:
        """Apply to `represent`'s channels (n, 3, CROP, CROP); semi_angle (n,) in mrad."""
        alpha = (semi_angle / self.architecture.semi_angle_max).to(channels.dtype)[:, None]
        said = self.answers(channels, alpha)
        said["size"] = SIZE_UNIT * said["size"].squeeze(1)
        return Heads(**said)


def empty_net(architecture: Architecture) -> PatternNet:
    """A network that takes no memory: names and shapes of its tensors, without numbers.

    Raises
    ------
    ValueError
        As of `weight_shapes`.
    """
    weight_shapes(architecture)
    with torch.device("meta"):
        return PatternNet(architecture)


def channels_last(module: Net, device: torch.device | str) -> Net:
    """The network on a device, its weights in the order in which convolutions are quickest."""
    return module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
