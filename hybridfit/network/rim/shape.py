"""The shape of the rim network, and where in a crop it looks.

A crop shows what that of the alignment network does (`network.alignment.shape`), in pixels half as wide: the
guessed radius is 1.  It is read on
rings about its middle, at ANGLES × RADII points.  There the rim of a circle of centre d and radius s is

    r(θ) = d·n + √(s² − (d×n)²),        n = (cos θ, sin θ).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hybridfit.network.alignment.shape import SHOWN
from hybridfit.network.crop import CROP, PIXEL, CropGrid
from hybridfit.network.shape import NORM, Channels, NetShape

FINE = CropGrid(2 * CROP, PIXEL / 2)  # of its crops
ANGLES, RADII = 192, 80
FOLD = 4  # neighbouring angles that become channels
ROWS = ANGLES // FOLD  # directions of the evidence
INNER, OUTER = 0.35, 1.65  # radii of the guess
CHANNELS = 5  # √I, asinh I, the valid share, √I less its mean over the ring, and the radius
SHIFT, SIZE = 0.3, 0.25  # how far centre (each component) and log size may be off: the window
WINDOW = SHIFT, SHIFT, SIZE
VOLUME = (2 * SHIFT) ** 2 * 2 * SIZE
CONTEXT = 5  # radii that a ring's mean is told of
LEVELS = 4


@dataclass(frozen=True, kw_only=True)
class RimShape(NetShape):
    """Shape of the rim network.

    Attributes
    ----------
    widths : channels at 48 × 80, 24 × 40, 12 × 20 and 6 × 10 directions and radii
    """

    widths: Annotated[tuple[Channels, ...], Field(min_length=LEVELS, max_length=LEVELS)] = (16, 32, 48, 64)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all weights, in the order and by the names that torch gives them."""
        out: dict[str, tuple[int, ...]] = {}

        def convolution(name: str, inputs: int, outputs: int) -> None:
            out[f"{name}.0.weight"] = (outputs, inputs, 3, 3)
            out.update({f"{name}.1.{part}": (outputs,) for part in NORM})

        def plain(name: str, inputs: int, outputs: int, *size: int) -> None:
            out[f"{name}.weight"] = (outputs, inputs, *size)
            out[f"{name}.bias"] = (outputs,)

        def block(name: str, width: int) -> None:
            convolution(f"{name}.first", width, width)
            plain(f"{name}.ring", width, width, CONTEXT)
            convolution(f"{name}.second", width, width)

        w = self.widths
        convolution("stem", CHANNELS * FOLD, w[0])
        for i in range(LEVELS - 1):
            convolution(f"down.{i}", w[i], w[i + 1])
        for i in range(LEVELS):
            block(f"on_the_way_down.{i}", w[i])
        for i in range(LEVELS - 1):
            plain(f"up.{i}", w[i + 1], w[i], 1, 1)
        for i in range(LEVELS - 1):
            block(f"on_the_way_up.{i}", w[i])
        plain("evidence", w[0], 1, 1, 1)
        return out


def radii() -> NDArray[np.float64]:
    """(RADII,), in radii of the guess."""
    return INNER + (OUTER - INNER) * (np.arange(RADII) + 0.5) / RADII


def angles(count: int) -> NDArray[np.float64]:
    """(count,), rad: the middles of as many equal parts of a circle."""
    return 2 * math.pi * (np.arange(count) + 0.5) / count


def points() -> NDArray[np.float64]:
    """(ANGLES, RADII, 2): (column, row) in a crop's pixels."""
    theta, r = angles(ANGLES)[:, None], SHOWN * radii() / FINE.pixel
    return np.stack([r * np.cos(theta), r * np.sin(theta)], axis=2) + (FINE.side - 1) / 2
