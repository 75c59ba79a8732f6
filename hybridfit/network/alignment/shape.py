"""The shape of the alignment network, and in which units it sees a frame.

A crop is CROP pixels wide and shows NOMINAL · HALF_WIDTH radii of the direct disc to either side, where the
radius is a guess R.  Positions are counted in that radius: the semi-angle plays no part.  The network names
a few discs, each with its odds:

    centre  d/R (column, row)          size  log(true radius / R)
    σ of the centre                    σ of the size
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from hybridfit.network.crop import CROP, PIXEL
from hybridfit.network.shape import Blocks, Channels, Trunk

HALF_WIDTH = 1.8  # radii of the disc that a crop shows to either side
SHOWN = CROP * PIXEL / 2 / HALF_WIDTH  # mrad of a crop that are one radius
EACH = 6  # numbers a disc: odds, centre (2), size, and two σ
SCALE = 0.5  # of the outputs for centre and size
LEAST_SIGMA, MOST_SIGMA = 0.002, 2.0  # of the radius
FREEDOM = 4.0  # degrees of freedom of the t-distributions that errors are taken from
CAPS = 4  # rounds of the level of a crop
DARK = 0.02  # of the level: what the second channel still tells from nothing


@dataclass(frozen=True, kw_only=True)
class AlignmentShape(Trunk):
    """Shape of the alignment network.

    Attributes
    ----------
    discs : int
        How many discs it names.
    widths, blocks, squeezed, features, hidden : as of `Trunk`
    """

    discs: Annotated[int, Field(ge=1, le=16)] = 3
    widths: Annotated[tuple[Channels, ...], Field(min_length=1, max_length=4)] = (24, 48, 96, 128)
    blocks: Annotated[tuple[Blocks, ...], Field(min_length=1, max_length=4)] = (0, 1, 2, 1)
    squeezed: Channels = 64
    features: Annotated[int, Field(ge=1, le=8192)] = 256
    hidden: Annotated[int, Field(ge=1, le=8192)] = 96

    @property
    def outputs(self) -> dict[str, int]:
        """One head, for all discs."""
        return {"discs": EACH * self.discs}
