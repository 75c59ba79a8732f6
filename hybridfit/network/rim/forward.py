"""A forward pass of the trained rim network without torch; see `network.forward`, whose parts are used.

Maps are (1, directions + 2, radii + 2, channels): their margin repeats the other end in directions, and is 0
in radii.  One crop is taken at a time, so that an answer does not depend on the crops beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.network.forward import Convolution, Dense, applied, folded, ready, weighed
from hybridfit.network.rim.hough import between
from hybridfit.network.rim.shape import (
    ANGLES,
    CHANNELS,
    CONTEXT,
    FOLD,
    INNER,
    LEVELS,
    OUTER,
    RADII,
    ROWS,
    RimShape,
    points,
    radii,
)

Single = NDArray[np.float32]


class Block(NamedTuple):
    """Two convolutions, and what the means of rings add between them."""

    first: Convolution
    ring: Dense
    second: Convolution


class RimForward:
    """The network, ready to be applied.  Threads may share it.

    Parameters
    ----------
    shape : RimShape
    arrays : dict of float32 arrays
        By the names of `RimShape.weight_shapes`.
    """

    def __init__(self, shape: RimShape, arrays: dict[str, Single]) -> None:
        self._widths = shape.widths
        self._stem = folded(arrays, "stem", inputs=CHANNELS * FOLD)
        self._down = [folded(arrays, f"down.{i}", stride=2) for i in range(LEVELS - 1)]
        self._on_the_way_down = [_block(arrays, f"on_the_way_down.{i}") for i in range(LEVELS)]
        self._up = [_pointwise(arrays, f"up.{i}") for i in range(LEVELS - 1)]
        self._on_the_way_up = [_block(arrays, f"on_the_way_up.{i}") for i in range(LEVELS - 1)]
        self._evidence = _pointwise(arrays, "evidence")

    def __call__(self, channels: Single) -> Single:
        """Evidence (ROWS, RADII) in the channels (3, side, side) of one crop."""
        x = np.zeros((1, ROWS + 2, RADII + 2, CHANNELS * FOLD), np.float32)
        x[0, 1:-1, 1:-1] = on_rings(channels)
        x = self._block(round_about(applied(round_about(x), self._stem)), self._on_the_way_down[0], 0)
        seen = [x]
        for i, down in enumerate(self._down, 1):
            x = self._block(round_about(applied(x, down)), self._on_the_way_down[i], i)
            seen.append(x)
        for i in reversed(range(LEVELS - 1)):
            finer = _each_point(x[0, 1:-1, 1:-1, : self._widths[i + 1]], self._up[i])
            x = seen[i]
            inner = x[0, 1:-1, 1:-1, : self._widths[i]]
            inner += finer.repeat(2, axis=0).repeat(2, axis=1)
            np.maximum(inner, 0, out=inner)
            x = self._block(round_about(x), self._on_the_way_up[i], i)
        return _each_point(x[0, 1:-1, 1:-1, : self._widths[0]], self._evidence)[..., 0]

    def _block(self, x: Single, block: Block, level: int) -> Single:
        inner = applied(x, block.first)
        own = inner[0, 1:-1, 1:-1, : self._widths[level]]
        mean = np.pad(own.mean(axis=0), ((CONTEXT // 2, CONTEXT // 2), (0, 0)))
        windows = np.hstack([mean[i : len(mean) - CONTEXT + 1 + i] for i in range(CONTEXT)])
        own += weighed(windows, block.ring, bends=False)
        return round_about(applied(round_about(inner), block.second, x))


def round_about(maps: Single) -> Single:
    """Maps whose margin is filled in: periodic in directions."""
    maps[:, 0], maps[:, -1] = maps[:, -2], maps[:, 1]
    return maps


def _block(arrays: dict[str, Single], name: str) -> Block:
    weight = arrays[f"{name}.ring.weight"]  # (outputs, inputs, radii)
    ring = ready(weight.transpose(0, 2, 1).reshape(len(weight), -1), arrays[f"{name}.ring.bias"])
    return Block(folded(arrays, f"{name}.first"), ring, folded(arrays, f"{name}.second"))


def _pointwise(arrays: dict[str, Single], name: str) -> Dense:
    return ready(arrays[f"{name}.weight"][:, :, 0, 0], arrays[f"{name}.bias"])


def _each_point(maps: Single, layer: Dense) -> Single:
    """A dense layer of every point of maps (rows, cols, inputs)."""
    rows, cols, inputs = maps.shape
    return weighed(maps.reshape(-1, inputs), layer, bends=False).reshape(rows, cols, -1)


_places = points()
_scaled = (2 * (radii() - INNER) / (OUTER - INNER) - 1).astype(np.float32)


def on_rings(channels: Single) -> Single:
    """(ROWS, RADII, CHANNELS · FOLD) of the channels (3, side, side) of one crop; see `architecture`."""
    read = np.empty((3, ANGLES, RADII), np.float32)
    between(np.ascontiguousarray(channels), _places, read)
    image, valid = read[0], read[2]
    mean = (image * valid).sum(axis=0) / np.maximum(valid.sum(axis=0), 1)
    every = np.empty((CHANNELS, ANGLES, RADII), np.float32)
    every[:3], every[3], every[4] = read, (image - mean) * valid, _scaled
    folded_angles = every.reshape(CHANNELS, ROWS, FOLD, RADII)
    return np.ascontiguousarray(folded_angles.transpose(1, 3, 0, 2).reshape(ROWS, RADII, CHANNELS * FOLD))
