"""The trained alignment network as a file, and its use without torch."""

from __future__ import annotations

import math
import os
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from hybridfit.network.alignment.shape import (
    CAPS,
    DARK,
    EACH,
    LEAST_SIGMA,
    MOST_SIGMA,
    SCALE,
    AlignmentShape,
)
from hybridfit.network.files import Kind
from hybridfit.network.forward import GROUP, Single, TrunkForward
from hybridfit.network.shape import BRIGHTEST, LIGHTEST, OUTLIER
from hybridfit.network.trained import Trained
from hybridfit.pattern.pool import Pool

COMMAND = "hybridfit train-alignment"
WEIGHTS = Kind("hybridfit alignment network", 1, "weights", f"copy it again, or train anew with `{COMMAND}`")
Array = NDArray[np.float64]


class Discs(NamedTuple):
    """The discs that the network names in n crops, k in each, the likeliest first.

    odds (n, k), add up to 1 · centre (n, k, 2), (column, row) from the middle of the crop in radii of the
    guess · size (n, k), log(true radius/guess) · sigma, spread (n, k): σ of a component of the centre, and
    of the size
    """

    odds: Array
    centre: Array
    size: Array
    sigma: Array
    spread: Array


class AlignmentNetwork(Trained[AlignmentShape]):
    """The network that finds discs, as a file and in use."""

    kind = WEIGHTS
    shapes = TypeAdapter(AlignmentShape)
    made_by = COMMAND
    shipped_as = Path(__file__).with_name("weights.safetensors")

    @cached_property
    def _forward(self) -> TrunkForward:
        return TrunkForward(self.shape, self.arrays)

    def predict(self, crops: Single, threads: int | None = None) -> Discs:
        """The discs in crops (n, 2, CROP, CROP), as from `crop.crops` with a scale of radius/SHOWN."""
        n = len(crops)
        out = self._forward.empty(n)[0]

        def apply(begin: int, end: int) -> None:
            for i in range(begin, end, GROUP):
                group = slice(i, min(i + GROUP, end))
                channels = represent(crops[group])
                out[group] = self._forward.group(channels, np.empty((len(channels), 0), np.float32))[0]

        Pool(threads or os.cpu_count() or 1).shares(apply, n)
        return read(out.reshape(n, self.shape.discs, EACH).astype(float))


def represent(crops: Single) -> Single:
    """The channels (n, 3, side, side) of crops (n, 2, side, side); see `architecture`."""
    image, valid = crops[:, 0], crops[:, 1]
    tiny = np.finfo(np.float32).tiny
    bright = np.maximum(image, 0)
    seen = np.maximum(valid.sum(axis=(1, 2), keepdims=True), 1)
    level = (valid * bright).sum(axis=(1, 2), keepdims=True) / seen
    for _ in range(CAPS):  # one hot pixel must not set the level
        kept = np.minimum(bright, np.float32(OUTLIER) * level)
        weighed = valid * kept
        level = (weighed * kept).sum(axis=(1, 2), keepdims=True)
        level /= np.maximum(weighed.sum(axis=(1, 2), keepdims=True), tiny)
    with np.errstate(over="ignore"):  # of a crop with nothing in it
        x = image / np.maximum(level, tiny)
    root = np.copysign(np.sqrt(np.abs(x)), x).clip(LIGHTEST, BRIGHTEST)
    dark = np.arcsinh(x.clip(-1, 100) / np.float32(DARK)) / np.float32(math.asinh(1 / DARK))
    half = np.float32(0.5)
    return np.stack([2 * (root - half) * valid, 2 * (dark - half) * valid, valid], axis=1)


def read(said: Array) -> Discs:
    """What the head's numbers (n, k, EACH) mean."""
    low, high = math.log(LEAST_SIGMA), math.log(MOST_SIGMA)
    logits = said[..., 0] - said[..., 0].max(axis=1, keepdims=True)
    odds = np.exp(logits)
    odds /= odds.sum(axis=1, keepdims=True)
    sigma = np.exp(low + (high - low) / (1 + np.exp(-said[..., 4:])))
    order = np.argsort(-odds, axis=1)
    row = np.arange(len(said))[:, None]
    return Discs(
        odds[row, order],
        SCALE * said[..., 1:3][row, order],
        SCALE * said[..., 3][row, order],
        sigma[..., 0][row, order],
        sigma[..., 1][row, order],
    )
