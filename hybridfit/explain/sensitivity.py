"""Saliency: how strongly the network's answer depends on each part of a pattern.

The network reads the root of the intensity, r = √(I/Ī), with Ī the mean in the direct disc. Shot noise is
equally strong everywhere in r. So the saliency is the derivative along r, per solid angle:

    S(k) = |∂t/∂r| per mrad²,        δt = ∫ S δr d²k

for changes δr that all move the answer in one direction. For tilt it is the length of the vector of both
components' derivatives. The derivative along the intensity itself, ∂t/∂I, is returned with its sign.

Gradients as saliency: Simonyan et al., arXiv:1312.6034; their mean over noisy copies: Smilkov et al.,
arXiv:1706.03825.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hybridfit.errors import InputError
from hybridfit.explain.crop import Crop, read_crop
from hybridfit.explain.reading import Near, Reader
from hybridfit.explain.settings import SALIENCY, SaliencySettings
from hybridfit.fitting.fitter import Fitter
from hybridfit.frame import Frame
from hybridfit.network.crop import PIXEL, axis

Array = NDArray[np.float64]

METHODS = ("gradient", "smooth")


def saliency(
    frame: Frame | ArrayLike,
    fitter: Fitter,
    *,
    method: str = "gradient",
    seed: int = 0,
    settings: SaliencySettings = SALIENCY,
) -> xr.Dataset:
    """How the network's thickness and tilt depend on the pixels of a frame.

    The alignment is kept: the derivatives are those of the answer that is read from the aligned crop, in all
    its orientations. The network sees pixels of 0.65 mrad, to 7.5 mrad beyond the direct disc. So the maps
    are no finer than that, and they are 0 further out.

    Parameters
    ----------
    frame : Frame or (rows, cols) array
    fitter : Fitter
        One with a network: method "cnn" or "hybrid".
    method : str
        "gradient": one gradient; "smooth": the mean gradient of 16 noisy copies of the crop, which varies
        less from pixel to pixel.
    seed : int
        Seed of that noise.
    settings : SaliencySettings, optional
        Number of copies and their noise.

    Returns
    -------
    xarray.Dataset
        On the pixels of the frame, (row, col): `thickness` (nm mrad⁻²) and `tilt` (mrad mrad⁻²), the
        saliency; `thickness_gradient` (nm per frame unit) and, on (component, row, col), `tilt_gradient`
        (mrad per frame unit) of the tilt along columns and rows of the camera; `image`, NaN where the pixel
        is not valid; `radius`, the angle of every pixel (mrad). Attributes: the answer (`thickness_nm`,
        `tilt_col_mrad`, `tilt_row_mrad`), `centre_x_px`, `centre_y_px`, `scale_px_per_mrad`,
        `semi_angle_mrad`.

    Raises
    ------
    InputError
        The method is unknown, or the fitter has no network.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r} of saliency; the methods are {', '.join(METHODS)}")
    crop, seeder = read_crop(frame, fitter)
    reader = Reader(seeder)
    level = _level(crop, seeder.semi_angle)
    root = np.sign(crop.pixels[0]) * np.sqrt(np.abs(crop.pixels[0]) / level)
    values, slopes = _slopes(reader, crop, root, level, settings, seed if method == "smooth" else None)
    along_intensity = slopes / (2 * level * np.maximum(np.abs(root), settings.darkest))
    gradient = crop.gradient_on_frame(along_intensity)
    density = np.abs(slopes[0]) / PIXEL**2, np.hypot(slopes[1], slopes[2]) / PIXEL**2
    maps = [crop.carried_onto_frame(values) * crop.frame.valid for values in density]
    return _dataset(crop, values, gradient, maps, seeder.semi_angle, method)


def _level(crop: Crop, semi_angle: float) -> float:
    """Mean intensity of the crop inside the direct disc (frame units)."""
    radius = np.hypot(axis()[:, None], axis()[None, :])
    share = crop.pixels[1] * (radius < semi_angle)
    return max(float((crop.pixels[0] * share).sum() / max(float(share.sum()), 1e-6)), 1e-30)


def _slopes(
    reader: Reader, crop: Crop, root: Array, level: float, settings: SaliencySettings, seed: int | None
) -> tuple[Array, Array]:
    """The answer (3,), and its derivatives (3, CROP, CROP) along the root of the crop.

    With a seed they are means over noisy copies.
    """
    share = torch.as_tensor(crop.pixels[1], device=reader.device)
    start = torch.as_tensor(root, dtype=torch.float32, device=reader.device)
    near = reader.near(torch.stack([level * start * start.abs(), share]))
    values, slopes = _derivatives(reader, start[None], share, level, near, settings.darkest)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        noise = settings.noise * torch.randn(settings.copies, *start.shape, generator=generator).to(
            reader.device
        )
        _, slopes = _derivatives(reader, start + noise, share, level, near, settings.darkest)
    return values.mean(axis=0), slopes.mean(axis=1)


def _derivatives(
    reader: Reader, roots: Tensor, share: Tensor, level: float, near: Near, darkest: float
) -> tuple[Array, Array]:
    """Answers (n, 3) for roots (n, CROP, CROP), and derivatives (3, n, CROP, CROP)."""
    roots = roots.clone().requires_grad_()
    dark = torch.where(roots < 0, -darkest, darkest)
    # forward the value, backward the identity, because √ has an infinite slope at 0
    lit = roots + (torch.where(roots.abs() < darkest, dark, roots) - roots).detach()
    image = level * lit * lit.abs()
    crops = torch.stack([image, share.expand_as(image)], dim=1)
    values = reader.values(crops, near)
    slopes = [
        torch.autograd.grad(values[:, i].sum(), roots, retain_graph=i < 2)[0] for i in range(values.shape[1])
    ]
    return values.detach().cpu().numpy().astype(float), torch.stack(slopes).cpu().numpy().astype(float)


def _dataset(
    crop: Crop, values: Array, gradient: Array, maps: list[Array], semi_angle: float, method: str
) -> xr.Dataset:
    rows, cols = crop.frame.image.shape
    at, pixels = crop.camera, ("row", "col")
    row, col = np.indices((rows, cols))
    radius = np.hypot(col - at.centre_x, row - at.centre_y) / at.scale
    image = np.where(crop.frame.valid, crop.frame.image, np.nan)
    out = xr.Dataset(
        {
            "image": (pixels, image, {"long_name": "intensity of the frame"}),
            "radius": (pixels, radius, {"units": "mrad", "long_name": "angle from the direct beam"}),
        }
    )
    about = (("thickness", "nm", "thickness"), ("tilt", "mrad", "tilt"))
    for (name, unit, words), density in zip(about, maps, strict=True):
        out[name] = (pixels, density, {"units": f"{unit} mrad-2", "long_name": f"saliency of {words}"})
    words = "derivative of {} along the intensity of the pixel"
    out["thickness_gradient"] = (pixels, gradient[0], {"units": "nm", "long_name": words.format("thickness")})
    about_tilt = {"units": "mrad", "long_name": words.format("tilt")}
    out["tilt_gradient"] = (("component", *pixels), gradient[1:], about_tilt)
    out.attrs = {
        "source": crop.frame.source,
        "method": method,
        "thickness_nm": float(values[0]),
        "tilt_col_mrad": float(values[1]),
        "tilt_row_mrad": float(values[2]),
        "centre_x_px": at.centre_x,
        "centre_y_px": at.centre_y,
        "scale_px_per_mrad": at.scale,
        "semi_angle_mrad": semi_angle,
    }
    return out.assign_coords(
        row=("row", np.arange(rows), {"units": "px"}),
        col=("col", np.arange(cols), {"units": "px"}),
        component=("component", ["col", "row"]),
    )
