"""The trained rim network as a file, and its use without torch."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from hybridfit.network.alignment.network import represent
from hybridfit.network.files import Kind
from hybridfit.network.rim.forward import RimForward
from hybridfit.network.rim.posterior import Circles, circles
from hybridfit.network.rim.shape import RADII, ROWS, WINDOW, RimShape
from hybridfit.network.trained import Trained
from hybridfit.pattern.pool import Pool

COMMAND = "hybridfit train-alignment --rim"
WEIGHTS = Kind("hybridfit rim network", 1, "weights", f"copy it again, or train anew with `{COMMAND}`")
Single = NDArray[np.float32]


class RimNetwork(Trained[RimShape]):
    """The network that measures rims, as a file and in use."""

    kind = WEIGHTS
    shapes = TypeAdapter(RimShape)
    made_by = COMMAND
    shipped_as = Path(__file__).with_name("weights.safetensors")

    @cached_property
    def _forward(self) -> RimForward:
        return RimForward(self.shape, self.arrays)

    def evidence(self, crops: Single, threads: int | None = None) -> Single:
        """Evidence (n, ROWS, RADII) in crops (n, 2, side, side) of `FINE`, with scales of radius/SHOWN."""
        out = np.empty((len(crops), ROWS, RADII), np.float32)

        def apply(begin: int, end: int) -> None:
            for i in range(begin, end):
                out[i] = self._forward(represent(crops[i : i + 1])[0])

        Pool(threads or os.cpu_count() or 1).shares(apply, len(crops))
        return out

    def predict(
        self,
        crops: Single,
        threads: int | None = None,
        reach: tuple[float, float, float] = WINDOW,
    ) -> Circles:
        """The likeliest circle in each of crops (n, 2, side, side); reach as of `circles`."""
        return circles(self.evidence(crops, threads), reach)
