"""Alignment by a network that was trained on another crystal: centre and size of the direct disc.

Where the rim of the direct disc is does not depend on the crystal, and a network that was trained on one
crystal finds it in the patterns of others.  The semi-angle is a matter of scale: a frame of semi-angle α
is shown to the network as one of α' = 17 mrad, in the middle of what it was trained for, at

    scale' = scale · α/α',

so that the disc has the size that the network expects.  Its thickness, tilt and rotation are of no use.
The last crop is read in all eight orientations; their spread in centre and size measures the doubt.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.hints import Hints
from hybridfit.fitting.seed.orientations import orientations, turned_back
from hybridfit.fitting.seed.passes import Passes, crops_at
from hybridfit.fitting.seed.settings import SEED, SeedSettings
from hybridfit.frame import Frame
from hybridfit.network.weights import Network, shipped_path

Array = NDArray[np.floating]

SHIPPED = "SrTiO3_001_200kV"


class Alignment(NamedTuple):
    """Where the direct disc is: centre (px), scale (px/mrad), and the doubt in it (of the radius).

    sure says whether all orientations agree.
    """

    centre_x: float
    centre_y: float
    scale: float
    doubt: float
    sure: bool

    @property
    def camera(self) -> tuple[float, float, float]:
        """Centre and scale."""
        return self.centre_x, self.centre_y, self.scale


class Aligner:
    """Finds the direct disc of patterns of any crystal.

    Parameters
    ----------
    network : Network
        Of any library.
    semi_angle : float, mrad
    hints : Hints
        A known centre or scale is kept.
    settings : SeedSettings
    """

    def __init__(
        self,
        network: Network,
        semi_angle: float,
        *,
        hints: Hints | None = None,
        settings: SeedSettings = SEED,
    ) -> None:
        self.network, self.semi_angle, self.settings = network, semi_angle, settings
        self.shown = float(np.clip(settings.other_crystal.shown, *network.origin.semi_angle))
        self.aligning = Passes(semi_angle, self.shown, hints or Hints(), settings)

    @classmethod
    def shipped(
        cls, semi_angle: float, *, hints: Hints | None = None, settings: SeedSettings = SEED
    ) -> Aligner | None:
        """By the shipped network; None where its weights are missing.

        Raises
        ------
        InputError
            The weights are damaged.
        """
        if not Path(shipped_path(SHIPPED)).is_file():
            return None
        return cls(Network.shipped(SHIPPED, device="cpu"), semi_angle, hints=hints, settings=settings)

    def align(self, frame: Frame) -> Alignment:
        """Align one frame: from its bright part, and in doubt from the sharpest rims as well.

        Raises
        ------
        InputError
            All of the frame is masked.
        """
        known = self.aligning.known
        if known is not None:
            return Alignment(*known, doubt=0.0, sure=True)
        best = self._passes(frame, self.aligning.start(frame))
        if best.sure:
            return best
        starts = self.aligning.other_starts(frame, self.settings.other_crystal.other_starts)
        others = [self._passes(frame, start) for start in starts]
        return min([best, *others], key=lambda alignment: alignment.doubt)

    def _passes(self, frame: Frame, start: tuple[float, float, float]) -> Alignment:
        settings = self.settings.other_crystal
        starts = np.array([start])
        now = starts.copy()
        for _ in range(settings.passes):
            said = self.network.predict(crops_at([frame], now), self.shown)
            now = self.aligning.moved(now, said.centre_mrad, said.log_size, starts)
            move = float(np.hypot(*said.centre_mrad[0])) / self.shown
            if max(move, abs(float(said.log_size[0]))) < settings.still:
                break
        moves, sizes = self._all_round(crops_at([frame], now))
        now = self.aligning.moved(now, moves.mean(axis=0)[None], sizes.mean()[None], starts)
        doubt = float(np.sqrt(moves.var(axis=0).sum() / self.shown**2 + sizes.var()))
        x, y, scale = now[0]
        return Alignment(
            float(x),
            float(y),
            self.aligning.hints.scale or float(scale * self.shown / self.semi_angle),
            doubt,
            sure=doubt <= settings.doubtful,
        )

    def _all_round(self, crop: NDArray[np.float32]) -> tuple[Array, Array]:
        """What is said of a crop in eight orientations: moves (8, 2) in mrad as shown, sizes (8,)."""
        said = self.network.predict(orientations(crop, mirrored=True), self.shown)
        seen = np.asarray(said.centre_mrad, dtype=float)
        moves = np.concatenate([turned_back(seen[i : i + 1], i % 4) for i in range(8)])
        moves[4:, 1] *= -1
        return moves, np.asarray(said.log_size, dtype=float)
