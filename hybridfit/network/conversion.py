"""Trained networks as modules of torch: to be trained, to be explained, and for devices that torch knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hybridfit.errors import InputError
from hybridfit.network.architecture import PatternNet, ShapedNet, channels_last, empty_net, represent
from hybridfit.network.forward import Answers, Single
from hybridfit.network.shape import Weights, weight_shapes

COUNTED = "num_batches_tracked"  # batches seen: nothing depends on it
BATCH = 128


def module_of(weights: Weights) -> PatternNet:
    """A network as a module, which shares no memory with its weights."""
    module = empty_net(weights.architecture)
    fill(module, {name: torch.from_numpy(value.copy()) for name, value in weights.arrays.items()})
    return module.eval()


def weights_of(module: PatternNet) -> Weights:
    """The numbers of a module; they are its own where it is on the CPU."""
    arrays = {name: value.numpy(force=True) for name, value in stored_tensors(module).items()}
    return Weights(module.architecture, {name: arrays[name] for name in weight_shapes(module.architecture)})


def stored_tensors(module: ShapedNet) -> dict[str, Tensor]:
    """What a file keeps of a network."""
    return {name: value for name, value in module.state_dict().items() if not name.endswith(COUNTED)}


def fill(module: ShapedNet, tensors: Mapping[str, Tensor]) -> None:
    """Put the tensors of a file in their places in a network, of which they may be empty."""
    counted = {n: torch.zeros((), dtype=torch.long) for n in module.state_dict() if n.endswith(COUNTED)}
    empty = any(value.is_meta for value in module.parameters())
    module.load_state_dict({**tensors, **counted}, assign=empty)


def folded(module: PatternNet) -> PatternNet:
    """A copy for inference, batch normalisation folded into the convolutions."""
    copy = PatternNet(module.architecture)
    copy.load_state_dict({name: value.detach().cpu() for name, value in module.state_dict().items()})
    copy.eval().requires_grad_(False)
    for part in copy.modules():
        if isinstance(part, nn.Sequential) and len(part) > 1 and isinstance(part[1], nn.BatchNorm2d):
            part[0] = fuse_conv_bn_eval(cast(nn.Conv2d, part[0]), part[1])
            part[1] = nn.Identity()
    return copy


def torch_device(name: str) -> torch.device:
    """The device of this name; "auto" is a GPU if there is one.

    Raises
    ------
    InputError
        There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it computes nothing")
        torch.zeros(1, device=device)
    except Exception as error:  # whatever a backend throws that is not there
        reason = (str(error).splitlines() or [""])[0][:120].rstrip(".")
        raise InputError(
            f"device {name!r} cannot be used ({reason}); give auto, cpu, or cuda where there is a GPU"
        ) from None
    return device


class TorchForward:
    """`forward.Forward` by torch, on a device.

    Parameters
    ----------
    weights : Weights
    device : str
    """

    def __init__(self, weights: Weights, device: str) -> None:
        self._device = torch.device(device)
        self._net = channels_last(folded(module_of(weights)), self._device)

    @torch.inference_mode()
    def __call__(self, crops: Single, semi_angles: Single) -> Answers:
        """Answers for crops (n, 2, CROP, CROP) of semi-angles (n,) in mrad."""
        parts: list[list[NDArray[np.float32]]] = []
        for first in range(0, max(len(crops), 1), BATCH):
            pixels, alpha = (
                torch.from_numpy(values[first : first + BATCH]).to(self._device)
                for values in (crops, semi_angles)
            )
            channels = represent(pixels, alpha).contiguous(memory_format=torch.channels_last)
            parts.append([value.cpu().numpy() for value in self._net(channels, alpha)])
        return Answers(*(np.concatenate(part) for part in zip(*parts, strict=True)))
