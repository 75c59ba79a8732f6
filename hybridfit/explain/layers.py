"""Activations: the outputs of the network's layers for one pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hybridfit.errors import InputError
from hybridfit.explain.crop import read_crop
from hybridfit.fitting.fitter import Fitter
from hybridfit.frame import Frame
from hybridfit.network.architecture import PatternNet, channels_last, represent
from hybridfit.network.conversion import folded
from hybridfit.network.crop import axis

FIRST = ("stem", "stages.0", "stages.1")


def activations(
    frame: Frame | ArrayLike, fitter: Fitter, *, layers: Sequence[str] = FIRST
) -> dict[str, xr.DataArray]:
    """Feature maps of the network for the aligned crop of a frame, in the orientation of the frame.

    Parameters
    ----------
    frame : Frame or (rows, cols) array
    fitter : Fitter
        One with a network: method "cnn" or "hybrid".
    layers : sequence of str
        "input": the channels that the trunk reads (image, aperture, valid share); "stem": the first layer,
        after its ReLU; "stages.0", "stages.1", …: the convolutions and residual blocks that follow, in
        order; "squeeze": the last layer before the heads.

    Returns
    -------
    dict of str to xarray.DataArray
        In the given order, on (map, y, x); x and y are the positions of the pixels of a map (mrad from the
        direct beam, y downwards like the rows of the frame). Attributes: `centre_x_px`, `centre_y_px`,
        `scale_px_per_mrad`, which turn them into pixels of the frame, and `semi_angle_mrad`.

    Raises
    ------
    InputError
        The network has no such layer, or the fitter has no network.
    """
    crop, seeder = read_crop(frame, fitter)
    network = seeder.network
    module = channels_last(folded(network.module), network.device)
    known = layer_names(module)
    if isinstance(layers, str) or not layers or any(name not in known for name in layers):
        raise InputError(f"layers {layers!r} are not all of the network; they are {', '.join(known)}")
    pixels = torch.as_tensor(crop.pixels[None], device=network.device)
    alpha = torch.full((1,), seeder.semi_angle, device=network.device)
    found = feature_maps(module, represent(pixels, alpha), alpha)
    about = {
        "source": crop.frame.source,
        "centre_x_px": crop.camera.centre_x,
        "centre_y_px": crop.camera.centre_y,
        "scale_px_per_mrad": crop.camera.scale,
        "semi_angle_mrad": seeder.semi_angle,
    }
    return {name: _array(name, found[name][0], about) for name in layers}


def layer_names(module: PatternNet) -> tuple[str, ...]:
    """The layers of a network that have maps, in order."""
    return ("input", "stem", *(f"stages.{i}" for i in range(len(module.stages))), "squeeze")


def feature_maps(module: PatternNet, channels: Tensor, semi_angle: Tensor) -> dict[str, Tensor]:
    """Outputs of every layer in a forward pass, by name: (n, maps, rows, cols)."""
    found = {"input": channels.clone()}

    def keep(name: str) -> Any:
        def hook(_module: torch.nn.Module, _inputs: Any, output: Tensor) -> None:
            found[name] = output.clone()  # later layers may work in place

        return hook

    def before(_module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found["stem"] = inputs[0].clone()

    hooks = [
        module.stages.register_forward_pre_hook(before),
        module.squeeze.register_forward_hook(keep("squeeze")),
    ]
    hooks += [stage.register_forward_hook(keep(f"stages.{i}")) for i, stage in enumerate(module.stages)]
    try:
        with torch.no_grad():
            module(channels.contiguous(memory_format=torch.channels_last), semi_angle)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _array(name: str, maps: Tensor, about: dict[str, Any]) -> xr.DataArray:
    values = maps.cpu().numpy()
    at = _positions(values.shape[-1])
    words = {"units": "mrad", "long_name": "angle along the columns"}
    return xr.DataArray(
        values,
        dims=("map", "y", "x"),
        coords={
            "map": np.arange(len(values)),
            "y": ("y", at, words | {"long_name": "angle along the rows"}),
            "x": ("x", at, words),
        },
        name=name,
        attrs={"units": "1", "long_name": f"activation of {name}", **about},
    )


def _positions(side: int) -> NDArray[np.float64]:
    """Positions of the pixels of a map (mrad): means of pairs of the crop's, then every second of these."""
    at = axis()
    if side < len(at):
        at = at.reshape(-1, 2).mean(axis=1)
    while side < len(at):
        at = at[::2]
    return at
