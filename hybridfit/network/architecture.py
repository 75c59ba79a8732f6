"""The network: one trunk and five heads.

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

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from hybridfit.library.library import BEYOND_DISC, Library
from hybridfit.network.crop import CROP, PIXEL

TILT_STEP = 0.5  # mrad between tilt classes
SIZE_UNIT = 0.1  # of the size head's output
ROUNDS = 3  # of the mean inside the aperture
OUTLIER = 4.0  # a pixel counts for no more than so many means
LIGHTEST, BRIGHTEST = -1.0, 2.5  # of the image channel before it is centred
MOST_NUMBERS = 50_000_000  # weights of a network; the shipped one has 3 million
Channels = Annotated[int, Field(ge=1, le=2048)]
Blocks = Annotated[int, Field(ge=0, le=32)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


@dataclass(frozen=True)
class Architecture:
    """Shape of a network: all that is needed to build it again.  Files are checked against these types.

    Attributes
    ----------
    rotation_order : int
    thickness_first, thickness_step : float, nm
    thickness_classes : int
    tilt_classes : int
        Along each of the two axes; odd, the middle one is 0.
    tilt_step : float, mrad
    semi_angle_max : float, mrad
    widths, blocks : channels and residual blocks at 40², 20², 10² and 5²
    squeezed, features, hidden : channels that are flattened, width of the shared and of each head's layer
    """

    rotation_order: Annotated[int, Field(ge=1, le=6)]
    thickness_first: Annotated[float, Field(ge=0, le=1e6)]
    thickness_step: Positive
    thickness_classes: Annotated[int, Field(ge=2, le=10_000)]
    tilt_classes: Annotated[int, Field(ge=1, le=301)]
    semi_angle_max: Positive
    tilt_step: Positive = TILT_STEP
    widths: Annotated[tuple[Channels, ...], Field(min_length=1, max_length=4)] = (32, 64, 128, 160)
    blocks: Annotated[tuple[Blocks, ...], Field(min_length=1, max_length=4)] = (0, 1, 1, 1)
    squeezed: Channels = 96
    features: Annotated[int, Field(ge=1, le=8192)] = 512
    hidden: Annotated[int, Field(ge=1, le=8192)] = 192

    @classmethod
    def of(cls, library: Library) -> Architecture:
        """The architecture whose classes cover a library."""
        thickness = library.dataset.thickness.values
        half = int(-(-library.tilt_max // TILT_STEP))
        return cls(
            rotation_order=library.rotation_order,
            thickness_first=float(thickness[0]),
            thickness_step=float(thickness[1] - thickness[0]),
            thickness_classes=len(thickness),
            tilt_classes=2 * half + 1,
            semi_angle_max=library.semi_angle_max,
        )

    @property
    def tilt_first(self) -> float:
        """Tilt of the first class along either axis (mrad)."""
        return -self.tilt_step * (self.tilt_classes // 2)


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


class PatternNet(nn.Module):
    """Trunk and heads.

    Parameters
    ----------
    architecture : Architecture
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), convolution(12, a.widths[0], bent=False))
        # a learnt bias for each position
        self.place = nn.Parameter(torch.zeros(1, a.widths[0], CROP // 2, CROP // 2))
        stages: list[nn.Module] = []
        for i, (width, blocks) in enumerate(zip(a.widths, a.blocks, strict=True)):
            if i:
                stages.append(convolution(a.widths[i - 1], width, stride=2))
            stages += [Block(width) for _ in range(blocks)]
        self.stages = nn.Sequential(*stages)
        self.squeeze = convolution(a.widths[-1], a.squeezed, size=1)
        side = CROP // 2 ** len(a.widths)
        self.features = nn.Sequential(nn.Linear(a.squeezed * side**2 + 1, a.features), nn.ReLU(inplace=True))

        def head(outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Linear(a.features + 1, a.hidden), nn.ReLU(inplace=True), nn.Linear(a.hidden, outputs)
            )

        self.size, self.centre, self.rotation = head(1), head(2), head(2)
        self.thickness, self.tilt = head(a.thickness_classes), head(a.tilt_classes**2)

    def forward(self, channels: Tensor, semi_angle: Tensor) -> Heads:
        """Apply to `represent`'s channels (n, 3, CROP, CROP); semi_angle (n,) in mrad."""
        alpha = (semi_angle / self.architecture.semi_angle_max).to(channels.dtype)[:, None]
        x = torch.relu(self.stem(channels) + self.place)
        x = self.squeeze(self.stages(x)).flatten(1)
        x = self.features(torch.cat([x, alpha.to(x.dtype)], dim=1))
        x = torch.cat([x, alpha.to(x.dtype)], dim=1)
        return Heads(
            size=SIZE_UNIT * self.size(x).float().squeeze(1),
            centre=self.centre(x).float(),
            rotation=self.rotation(x).float(),
            thickness=self.thickness(x).float(),
            tilt=self.tilt(x).float(),
        )


def empty_net(architecture: Architecture) -> PatternNet:
    """A network that takes no memory: names and shapes of its tensors, without numbers.

    Raises
    ------
    ValueError
        Widths and blocks that do not go together, or more than MOST_NUMBERS weights.
    """
    if len(architecture.widths) != len(architecture.blocks):
        raise ValueError("architecture.widths and architecture.blocks are not of one length")
    with torch.device("meta"):
        module = PatternNet(architecture)
    count = sum(p.numel() for p in module.parameters())
    if count > MOST_NUMBERS:
        raise ValueError(f"its architecture has {count / 1e6:.0f} million weights, at most 50 can be read")
    return module


def channels_last(module: PatternNet, device: torch.device) -> PatternNet:
    """The network on a device, its weights in the order in which convolutions are quickest."""
    return module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
