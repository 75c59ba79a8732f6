"""A forward pass of a trained network without torch.

Batch normalisations are folded into the convolutions before them,

    γ (W x − μ)/√(σ² + ε) + β  =  (γ/√(σ² + ε)) W x + (β − γ μ/√(σ² + ε)),

and maps have their channels side by side, as `convolve` wants them.  An answer does not depend on the crops
beside it, to the last bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.library.library import BEYOND_DISC
from hybridfit.network.convolve import convolve, dense, padded, panels_of
from hybridfit.network.crop import CROP, PIXEL, axis
from hybridfit.network.shape import (
    BRIGHTEST,
    INPUTS,
    LIGHTEST,
    OUTLIER,
    ROUNDS,
    SIZE_UNIT,
    Trunk,
    Weights,
    last_side,
    stages,
)
from hybridfit.pattern.pool import Pool

Single = NDArray[np.float32]
EPSILON = 1e-5  # of torch's batch normalisation, beside the variance
GROUP = 5  # crops that are taken together


class Answers(NamedTuple):
    """The network's raw answers for n crops; thickness and tilt as logits.

    size (n,) · centre (n, 2) · rotation (n, 2) · thickness (n, classes) · tilt (n, rows · columns)
    """

    size: Single
    centre: Single
    rotation: Single
    thickness: Single
    tilt: Single


class Convolution(NamedTuple):
    """Weights and what is added, as `convolve` wants them."""

    panels: Single
    bias: Single
    stride: int = 1


class Block(NamedTuple):
    """Two convolutions whose output is added to their input."""

    first: Convolution
    second: Convolution


class Dense(NamedTuple):
    """Weights and what is added, as `dense` wants them, and how many outputs there are."""

    panels: Single
    bias: Single
    outputs: int


class TrunkForward:
    """What networks have in common, ready to be applied.  Threads may share it.

    Parameters
    ----------
    shape : Trunk
    arrays : dict of float32 arrays
        By the names of `weight_shapes`.
    """

    def __init__(self, shape: Trunk, arrays: dict[str, Single]) -> None:
        a = shape
        self._stem = folded(arrays, "stem.1", inputs=INPUTS)
        place = arrays["place"].transpose(0, 2, 3, 1)  # a bias of each position
        self._place = np.zeros((1, CROP // 2 + 2, CROP // 2 + 2, padded(a.widths[0])), np.float32)
        self._place[:, 1:-1, 1:-1, : a.widths[0]] = place
        self._stages: list[Convolution | Block] = []
        for part in stages(a):
            if part.residual:
                both = (folded(arrays, f"{part.name}.{name}") for name in ("first", "second"))
                self._stages.append(Block(*both))
            else:
                self._stages.append(folded(arrays, part.name, stride=2))
        self._squeeze, self._squeezed = folded(arrays, "squeeze"), a.squeezed
        # torch has the channels of a pixel apart, here they are side by side
        weight, pixels = arrays["features.0.weight"], last_side(a) ** 2
        maps, told = weight[:, : a.squeezed * pixels], weight[:, a.squeezed * pixels :]
        flat = maps.reshape(-1, a.squeezed, pixels).transpose(0, 2, 1).reshape(len(weight), -1)
        self._features = ready(np.hstack([flat, told]), arrays["features.0.bias"])
        # the hidden layers of all heads are one product
        weight, bias = (
            np.concatenate([arrays[f"{name}.0.{part}"] for name in a.outputs]) for part in ("weight", "bias")
        )
        self._hidden = ready(weight, bias)
        self._last = [ready(arrays[f"{name}.2.weight"], arrays[f"{name}.2.bias"]) for name in a.outputs]

    def empty(self, n: int) -> list[Single]:
        """Room for the answers of n crops, of each head."""
        return [np.empty((n, layer.outputs), np.float32) for layer in self._last]

    def group(self, channels: Single, told: Single) -> list[Single]:
        """The answers for the channels (n, 3, CROP, CROP) of a few crops, told (n, ·) numbers beside them."""
        n, half = len(channels), CROP // 2
        x = np.zeros((n, half + 2, half + 2, INPUTS), np.float32)
        quarters = channels.reshape(n, 3, half, 2, half, 2).transpose(0, 2, 4, 1, 3, 5)
        x[:, 1:-1, 1:-1] = quarters.reshape(n, half, half, INPUTS)
        x = applied(x, self._stem, self._place)
        for part in self._stages:
            if isinstance(part, Block):
                x = applied(applied(x, part.first), part.second, x)
            else:
                x = applied(x, part)
        flat = applied(x, self._squeeze)[:, 1:-1, 1:-1, : self._squeezed].reshape(n, -1)
        features = weighed(np.hstack([flat, told]), self._features, bends=True)
        hidden = weighed(np.hstack([features, told]), self._hidden, bends=True)
        parts = np.split(hidden, len(self._last), axis=1)
        return [weighed(own, layer, bends=False) for layer, own in zip(self._last, parts, strict=True)]


class Forward:
    """The network of a library that is ready to be applied.  Threads may share it.

    Parameters
    ----------
    weights : Weights
    """

    def __init__(self, weights: Weights) -> None:
        self._scale = np.float32(weights.architecture.semi_angle_max)
        self._trunk = TrunkForward(weights.architecture, weights.arrays)

    def __call__(self, crops: Single, semi_angles: Single, pool: Pool | None = None) -> Answers:
        """Answers for crops (n, 2, CROP, CROP), as from `crop.crops`, of semi-angles (n,) in mrad.

        Parameters
        ----------
        pool : Pool, optional
            Threads that share the crops.
        """
        n = len(crops)
        out = Answers(*self._trunk.empty(n))

        def apply(begin: int, end: int) -> None:
            for i in range(begin, end, GROUP):
                group = slice(i, min(i + GROUP, end))
                channels, told = represent(crops[group], semi_angles[group]), semi_angles[group] / self._scale
                for values, answer in zip(out, self._trunk.group(channels, told[:, None]), strict=True):
                    values[group] = answer

        (pool or Pool()).shares(apply, n)
        return out._replace(size=np.float32(SIZE_UNIT) * out.size[:, 0])


def folded(
    arrays: dict[str, Single], name: str, *, stride: int = 1, inputs: int | None = None
) -> Convolution:
    """A convolution with the batch normalisation that follows it.

    inputs is the number of channels that its maps have; by default that of its weights, `padded`.
    """
    weight = arrays[f"{name}.0.weight"]
    gain, shift, mean, variance = (
        arrays[f"{name}.1.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = gain / np.sqrt(variance + EPSILON)
    outputs, own, rows, cols = weight.shape
    matrix = np.zeros((rows, cols, inputs or padded(own), outputs), np.float32)
    matrix[:, :, :own] = (weight * gain[:, None, None, None]).transpose(2, 3, 1, 0)
    bias = np.zeros(padded(outputs), np.float32)
    bias[:outputs] = shift - gain * mean
    return Convolution(panels_of(matrix.reshape(-1, outputs)), bias, stride)


def ready(weight: Single, bias: Single) -> Dense:
    """A dense layer of weights (outputs, inputs)."""
    longer = np.zeros(padded(len(bias)), np.float32)
    longer[: len(bias)] = bias
    return Dense(panels_of(weight.T), longer, len(bias))


def applied(maps: Single, layer: Convolution, added: Single | None = None) -> Single:
    """A convolution of maps with their margin, and a ReLU of it and what is added; with its margin."""
    n, rows, cols, _ = maps.shape
    sides = (-(-(side - 2) // layer.stride) + 2 for side in (rows, cols))
    out = np.zeros((n, *sides, len(layer.bias)), np.float32)
    added = np.empty((0, *out.shape[1:]), np.float32) if added is None else added
    convolve(maps, layer.stride, layer.panels, layer.bias, added, out)
    return out


def weighed(x: Single, layer: Dense, *, bends: bool) -> Single:
    """A dense layer of x (n, inputs)."""
    out = np.empty((len(x), len(layer.bias)), np.float32)
    dense(np.ascontiguousarray(x), layer.panels, layer.bias, bends, out)
    return out[:, : layer.outputs]


_u = axis().astype(np.float32)
_distance = np.hypot(_u[:, None], _u)  # mrad from the middle of a crop


def represent(crops: Single, semi_angles: Single) -> Single:
    """The channels (n, 3, CROP, CROP) of crops (n, 2, CROP, CROP); see `architecture`."""
    image, valid = crops[:, 0], crops[:, 1]
    inside = (semi_angles[:, None, None] - _distance) / np.float32(PIXEL) + np.float32(0.5)
    aperture, seen = inside.clip(0, 1), (inside + np.float32(BEYOND_DISC / PIXEL)).clip(0, 1)
    seen *= valid
    share = aperture * valid
    share /= np.maximum(share.sum(axis=(1, 2), keepdims=True), np.float32(1e-6))
    level = (share * image).sum(axis=(1, 2), keepdims=True)
    for _ in range(ROUNDS):  # one hot pixel must not set the level
        kept = np.minimum(image, np.float32(OUTLIER) * level)
        level = (share * kept).sum(axis=(1, 2), keepdims=True)
    with np.errstate(over="ignore"):  # of a crop with nothing in it
        x = image / np.maximum(level, np.finfo(np.float32).tiny)
    x = np.copysign(np.sqrt(np.abs(x)), x).clip(LIGHTEST, BRIGHTEST)
    return np.stack([2 * (x - np.float32(0.7)) * seen, aperture, seen], axis=1)
