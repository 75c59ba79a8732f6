"""The shape of the network: what it is built from, and the names and sizes of its weights.

Nothing here needs torch: `architecture` trains such a network, `forward` applies one that is trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hybridfit.library.library import Library
from hybridfit.network.crop import CROP

TILT_STEP = 0.5  # mrad between tilt classes
SIZE_UNIT = 0.1  # of the size head's output
ROUNDS = 3  # of the mean inside the aperture
OUTLIER = 4.0  # a pixel counts for no more than so many means
LIGHTEST, BRIGHTEST = -1.0, 2.5  # of the image channel before it is centred
MOST_NUMBERS = 50_000_000  # weights of a network; the shipped one has 3 million
Channels = Annotated[int, Field(ge=1, le=2048)]
Blocks = Annotated[int, Field(ge=0, le=32)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class NetShape:
    """Shape of a network.  Files are checked against the types of its fields."""

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all weights, in the order and by the names that torch gives them.

        Raises
        ------
        ValueError
            A network that cannot be.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Trunk(NetShape):
    """Shape of what most networks have in common.

    Attributes
    ----------
    widths, blocks : channels and residual blocks at 40², 20², 10² and 5²
    squeezed, features, hidden : channels that are flattened, width of the shared and of each head's layer
    """

    widths: Annotated[tuple[Channels, ...], Field(min_length=1, max_length=4)] = (32, 64, 128, 160)
    blocks: Annotated[tuple[Blocks, ...], Field(min_length=1, max_length=4)] = (0, 1, 1, 1)
    squeezed: Channels = 96
    features: Annotated[int, Field(ge=1, le=8192)] = 512
    hidden: Annotated[int, Field(ge=1, le=8192)] = 192

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """See `weight_shapes`."""
        return weight_shapes(self)

    @property
    def told(self) -> int:
        """How many numbers the network is told beside a crop."""
        return 0

    @property
    def outputs(self) -> dict[str, int]:
        """The heads by their names, and how many numbers each gives."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Architecture(Trunk):
    """Shape of the network of a library: all that is needed to build it again.

    Attributes
    ----------
    rotation_order : int
    thickness_first, thickness_step : float, nm
    thickness_classes : int
    tilt_classes : int
        Along each of the two axes; odd, the middle one is 0.
    tilt_step : float, mrad
    semi_angle_max : float, mrad
    widths, blocks, squeezed, features, hidden : as of `Trunk`
    """

    rotation_order: Annotated[int, Field(ge=1, le=6)]
    thickness_first: Annotated[float, Field(ge=0, le=1e6)]
    thickness_step: Positive
    thickness_classes: Annotated[int, Field(ge=2, le=10_000)]
    tilt_classes: Annotated[int, Field(ge=1, le=301)]
    semi_angle_max: Positive
    tilt_step: Positive = TILT_STEP

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

    @property
    def told(self) -> int:
        """The semi-angle."""
        return 1

    @property
    def outputs(self) -> dict[str, int]:
        """The heads by their names, and how many numbers each gives."""
        return dict(zip(HEADS, (1, 2, 2, self.thickness_classes, self.tilt_classes**2), strict=True))


INPUTS = 12  # channels of 40²: three of 80², of which every second row and column is one
HEADS = ("size", "centre", "rotation", "thickness", "tilt")
NORM = ("weight", "bias", "running_mean", "running_var")  # of a batch normalisation


class Stage(NamedTuple):
    """A part of the trunk: a residual block, or a convolution of stride 2 to the next size."""

    name: str
    inputs: int
    outputs: int
    residual: bool


def stages(a: Trunk) -> Iterator[Stage]:
    """The parts of the trunk between the stem and the last convolution, in order."""
    number = 0
    for i, (width, blocks) in enumerate(zip(a.widths, a.blocks, strict=True)):
        if i:
            yield Stage(f"stages.{number}", a.widths[i - 1], width, residual=False)
            number += 1
        for _ in range(blocks):
            yield Stage(f"stages.{number}", width, width, residual=True)
            number += 1


def last_side(a: Trunk) -> int:
    """Pixels along a side of the last maps."""
    return CROP // 2 ** len(a.widths)


def weight_shapes(a: Trunk) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, in the order and by the names that torch gives them.

    Raises
    ------
    ValueError
        Widths and blocks that do not go together, or more than MOST_NUMBERS weights.
    """
    if len(a.widths) != len(a.blocks):
        raise ValueError("architecture.widths and architecture.blocks are not of one length")
    out: dict[str, tuple[int, ...]] = {"place": (1, a.widths[0], CROP // 2, CROP // 2)}

    def convolution(name: str, inputs: int, outputs: int, size: int = 3) -> None:
        out[f"{name}.0.weight"] = (outputs, inputs, size, size)
        out.update({f"{name}.1.{part}": (outputs,) for part in NORM})

    def dense(name: str, inputs: int, outputs: int) -> None:
        out[f"{name}.weight"] = (outputs, inputs)
        out[f"{name}.bias"] = (outputs,)

    convolution("stem.1", INPUTS, a.widths[0])
    for stage in stages(a):
        if stage.residual:
            convolution(f"{stage.name}.first", stage.inputs, stage.outputs)
            convolution(f"{stage.name}.second", stage.outputs, stage.outputs)
        else:
            convolution(stage.name, stage.inputs, stage.outputs)
    convolution("squeeze", a.widths[-1], a.squeezed, size=1)
    dense("features.0", a.squeezed * last_side(a) ** 2 + a.told, a.features)
    for name, count in a.outputs.items():
        dense(f"{name}.0", a.features + a.told, a.hidden)
        dense(f"{name}.2", a.hidden, count)
    total = sum(math.prod(shape) for shape in out.values())
    if total > MOST_NUMBERS:
        raise ValueError(f"its architecture has {total / 1e6:.0f} million weights, at most 50 can be read")
    return out


class Weights(NamedTuple):
    """A trained network as numbers: its shape, and float32 arrays by the names of `weight_shapes`."""

    architecture: Architecture
    arrays: dict[str, NDArray[np.float32]]
