"""Alignment by a network that was trained on another crystal: centre and size of the direct disc.

Where the rim of the direct disc is does not depend on the crystal, and a network that has seen one
crystal finds it in the patterns of others.  The semi-angle is a matter of scale, too: a frame of
semi-angle α is shown to it as one of α' = 17 mrad, in the middle of what it was trained for, at

    scale' = scale · α/α',

so that the disc has the size that it expects.  What it says of thickness, tilt and rotation is of
no use.  The last crop is looked at in all eight orientations, and how much these differ in centre
and size is the measure of doubt.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.seed.disc import quick_disc, rough_discs
from hybridfit.frame import Frame
from hybridfit.network.crop import crops
from hybridfit.network.weights import Network

Array = NDArray[np.float64]

SHIPPED = "SrTiO3_001_200kV"
SHOWN = 17.0  # mrad: semi-angle of the frames as they are shown
PASSES = 5
STILL = 0.01  # of the radius: a pass that moves or scales by less is the last
FARTHEST_SIZE = 3.0  # a scale that has changed by such a factor is lost
DOUBTFUL = 0.03  # of the radius: orientations that differ by more are not sure of the disc
OTHER_STARTS = 4


class Alignment(NamedTuple):
    """Where the direct disc is: centre (px), scale (px/mrad), and the doubt in it (of the radius)."""

    centre_x: float
    centre_y: float
    scale: float
    doubt: float

    @property
    def camera(self) -> tuple[float, float, float]:
        """Centre and scale."""
        return self.centre_x, self.centre_y, self.scale

    @property
    def sure(self) -> bool:
        """Whether all orientations agree."""
        return self.doubt <= DOUBTFUL


class Aligner:
    """Finds the direct disc of patterns of any crystal.

    Parameters
    ----------
    network : Network
        Of any library.
    semi_angle : float, mrad
    hints : Hints
        A known centre or scale is kept.
    """

    def __init__(self, network: Network, semi_angle: float, *, hints: Hints | None = None) -> None:
        self.network, self.semi_angle = network, semi_angle
        self.hints = hints or Hints()
        self.shown = float(np.clip(SHOWN, *network.origin.semi_angle))

    @classmethod
    def shipped(cls, semi_angle: float, *, hints: Hints | None = None) -> Aligner | None:
        """By the shipped network; None where its weights are missing."""
        with contextlib.suppress(InputError):
            return cls(Network.shipped(SHIPPED), semi_angle, hints=hints)
        return None

    def align(self, frame: Frame) -> Alignment:
        """Align one frame: from what is bright, and in doubt from the sharpest rims as well."""
        radius = self.hints.scale and self.hints.scale * self.semi_angle
        if self.hints.centre is not None and radius is not None:
            return Alignment(*self.hints.centre, radius / self.semi_angle, 0.0)
        best = self._passes(frame, self._known(*quick_disc(frame.image, frame.valid)))
        if best.sure:
            return best
        try:
            discs = rough_discs(frame.image, frame.valid, OTHER_STARTS)
        except InputError:
            discs = []
        others = [self._passes(frame, self._known(*disc[:3])) for disc in discs]
        return min([best, *others], key=lambda alignment: alignment.doubt)

    def _known(self, x: float, y: float, radius: float) -> Array:
        """(centre_x, centre_y, scale as shown), with what the hints know."""
        x, y = self.hints.centre or (x, y)
        radius = radius if self.hints.scale is None else self.hints.scale * self.semi_angle
        return np.array([x, y, radius / self.shown])

    def _passes(self, frame: Frame, start: Array) -> Alignment:
        now = start.copy()
        for _ in range(PASSES):
            moves, sizes = self._said(frame, now, turns=1)
            self._move(now, moves[0], sizes[0], start)
            if max(float(np.hypot(*moves[0])) / self.shown, abs(float(sizes[0]))) < STILL:
                break
        moves, sizes = self._said(frame, now, turns=8)
        self._move(now, moves.mean(axis=0), sizes.mean(), start)
        apart = moves.var(axis=0).sum() / self.shown**2 + sizes.var()
        return Alignment(
            float(now[0]), float(now[1]), float(now[2] * self.shown / self.semi_angle), float(np.sqrt(apart))
        )

    def _said(self, frame: Frame, camera: Array, *, turns: int) -> tuple[Array, Array]:
        """Moves (turns, 2), in mrad as shown, and logarithms of the change of scale (turns,)."""
        cut = crops(frame.image, frame.valid, camera[None, :2], camera[None, 2])[0]
        # np.rot90 takes (x, y), y down, to (y, −x); [:, ::-1] is the mirror from top to bottom
        seen = [np.rot90(view, k, axes=(1, 2)) for view in (cut, cut[:, ::-1]) for k in range(4)]
        said = self.network.predict(np.stack(seen[:turns]), self.shown)
        moves = np.array(said.centre_mrad, dtype=float)
        for i, (x, y) in enumerate(moves):
            for _ in range(i % 4):
                x, y = -y, x
            moves[i] = (x, -y) if i >= 4 else (x, y)
        return moves, np.asarray(said.log_size, dtype=float)

    def _move(self, camera: Array, move: Array, size: float, start: Array) -> None:
        if self.hints.centre is None:
            camera[:2] += move * camera[2]
        if self.hints.scale is None:
            scale = camera[2] * np.exp(size)
            camera[2] = np.clip(scale, start[2] / FARTHEST_SIZE, start[2] * FARTHEST_SIZE)
