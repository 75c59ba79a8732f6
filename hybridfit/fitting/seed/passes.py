"""What a network's alignment moves: starts from discs and hints, and cameras.

A camera is (centre_x, centre_y, scale): px, px, px/mrad.  With d and s what a network says of a crop (the
move of the centre in mrad of the scale, and the logarithm of the change of the scale),

    centre ← centre + scale · d,    scale ← scale · exp(s).

What hints know stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.seed.disc import quick_disc, rough_discs
from hybridfit.fitting.seed.settings import SeedSettings
from hybridfit.frame import Frame
from hybridfit.network.crop import CROP, crops

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Passes:
    """Cameras of one semi-angle, from a first guess to where a network moves them.

    Parameters
    ----------
    semi_angle : float, mrad
        Of the frames.
    shown : float, mrad
        The semi-angle that crops are shown at: scales are those of a disc of this semi-angle.
    hints : Hints
        A known centre or scale is kept.
    settings : SeedSettings

    Raises
    ------
    InputError
        The semi-angle is not a positive number.
    """

    semi_angle: float
    shown: float
    hints: Hints
    settings: SeedSettings

    def __post_init__(self) -> None:
        if not 0 < self.semi_angle < np.inf:
            raise InputError(f"semi-angle {self.semi_angle!r} mrad cannot be; give it in mrad, such as 13.6")

    @property
    def known(self) -> tuple[float, float, float] | None:
        """The camera, where hints know all of it."""
        if self.hints.centre is None or self.hints.scale is None:
            return None
        return (*self.hints.centre, self.hints.scale)

    def start(self, frame: Frame) -> tuple[float, float, float]:
        """The camera of the bright part of a frame.

        Raises
        ------
        InputError
            All of the frame is masked.
        """
        if self.known is not None:
            return self._camera(0.0, 0.0, 0.0)
        return self._camera(*quick_disc(frame.image, frame.valid, self.settings.disc))

    def other_starts(self, frame: Frame, most: int | None = None) -> list[tuple[float, float, float]]:
        """The cameras of the sharpest rims in a frame; none where it shows no disc."""
        try:
            discs = rough_discs(frame.image, frame.valid, most, self.settings.disc)
        except InputError:
            return []
        return [self._camera(disc.centre_x, disc.centre_y, disc.radius) for disc in discs]

    def _camera(self, x: float, y: float, radius: float) -> tuple[float, float, float]:
        """A disc (px) as a camera, with what hints know in its place."""
        x, y = self.hints.centre or (x, y)
        scale = self.hints.scale and self.hints.scale * (self.semi_angle / self.shown)
        return x, y, scale or radius / self.shown

    def moved(self, cameras: Array, moves: ArrayLike, sizes: ArrayLike, starts: Array | None) -> Array:
        """Cameras (n, 3) moved by what a network says: moves (n, 2) in mrad, sizes (n,).

        A scale stays within `farthest_size` times that of its start, where starts (n, 3) are given.
        """
        out = cameras.copy()
        if self.hints.centre is None:
            out[:, :2] += np.asarray(moves) * cameras[:, 2:]
        if self.hints.scale is None:
            out[:, 2] *= np.exp(sizes)
        if self.hints.scale is None and starts is not None:
            far = self.settings.farthest_size
            out[:, 2] = np.clip(out[:, 2], starts[:, 2] / far, starts[:, 2] * far)
        return out


def crops_at(frames: Sequence[Frame], cameras: Array) -> NDArray[np.float32]:
    """The crop of each frame at its camera (n, 3): (n, 2, CROP, CROP)."""
    if not len(frames):
        return np.empty((0, 2, CROP, CROP), np.float32)
    pairs = zip(frames, cameras, strict=True)
    return np.concatenate([crops(f.image, f.valid, c[None, :2], c[None, 2]) for f, c in pairs])
