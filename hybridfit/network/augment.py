"""Augmentation: from patterns in the crystal frame to crops as a camera gives them.

A crop is rendered in steps, all of them batched and on the device:

1. k = E⁻¹ Rᵀ ((u − d)/S), at the pixels u of a small camera whose pixel is that of the crop, or the
   frame's where that is wider; the pattern is read there once, bicubically.  d is what the rough
   centre is off by, S = true scale / rough scale; the crystal's mirror, where it has one, is
   applied to k.
2. Blur: the discrete Gaussian of variance v (px²), K̂(θ) = exp(v (cos θ − 1)), exact for any v.
   It holds what is blurred, the area of the frame's pixel and that of the crop's.
3. Background: a constant and two Gaussians of |k|.
4. Shot noise of the electrons that fall on a pixel, hot and dead pixels, read-out noise, offset,
   gamma, 8 bits.
5. Linear interpolation to the crop where the camera's pixel is the wider one, as `crop.crops` does.
6. What lies beyond the frame's edge, or under a mask, is 0 with a valid share of 0, as in `crop.crops`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hybridfit.network.crop import GRID, PIXEL, CropGrid
from hybridfit.network.targets import Truth
from hybridfit.network.views import ROUGH, Draw, Patterns, Recording, View, draw_recording, draw_view

MARGIN = 4 * PIXEL  # around the crop, for the blur
FEW = 6.0  # electrons
# variance over width squared: of the slope of the aperture's soft edge, and of torch's cubic (a = −¾)
EDGE_VARIANCE, CUBIC_VARIANCE = 1 / 28, -1 / 15


def camera_side(grid: CropGrid) -> int:
    """Pixels of the small camera along either side."""
    return grid.side + 2 * round(MARGIN / grid.pixel)


def geometry(view: View, mirror: Tensor, grid: CropGrid = GRID) -> tuple[Tensor, Tensor, Tensor]:
    """Where the camera's pixels are.

    Returns
    -------
    u : (n, 2, side)
        (u − d)/S of the columns and of the rows, mrad.
    to_k : (n, 2, 2)
        E⁻¹ Rᵀ, which makes scattering angles of them.
    reading : (n, 2, 2)
        The same, followed by the mirror for samples that are mirrored: where the pattern is read.
    """
    pixel, side = view.frame_pixel.clamp_min(grid.pixel), camera_side(grid)
    place = torch.arange(side, device=pixel.device) - (side - 1) / 2
    phase = torch.where((view.frame_pixel > grid.pixel)[:, None], view.phase, 0.0)
    u = pixel[:, None, None] * (place + phase[:, :, None])
    u = (u - view.centre[:, :, None]) * torch.exp(-view.size)[:, None, None]
    phi = torch.deg2rad(view.rotation)
    c, s = torch.cos(phi), torch.sin(phi)
    a, b = view.ellipticity.T
    turn = torch.stack([torch.stack([c, s], dim=1), torch.stack([-s, c], dim=1)], dim=1)
    shear = torch.stack([torch.stack([1 - a, -b], dim=1), torch.stack([-b, 1 + a], dim=1)], dim=1)
    to_k = (shear / (1 - a * a - b * b)[:, None, None]) @ turn
    # P of the mirrored tilt is the mirror image of P, and a mirror is its own inverse
    return u, to_k, torch.where(view.mirrored[:, None, None], mirror @ to_k, to_k)


def render(patterns: Patterns, view: View, mirror: Tensor, grid: CropGrid = GRID) -> Tensor:
    """The expected image on the camera's pixels (n, side, side): mean 1, no noise.

    Parameters
    ----------
    patterns : Patterns
    view : View
    mirror : (2, 2)
        A mirror of the projection (kx, ky); not used where view.mirrored is false.
    grid : CropGrid
    """
    u, to_k, reading = geometry(view, mirror, grid)
    half = (patterns.image.shape[1] - 1) / 2
    to_grid = patterns.to_image.flip(-2) @ reading / half  # (column, row) from −1 to 1
    shift = patterns.shift.flip(1) / half
    along_row, along_col = to_grid[:, :, :1] * u[:, :1], to_grid[:, :, 1:] * u[:, 1:] + shift[:, :, None]
    at = torch.stack([along_row[:, i, None, :] + along_col[:, i, :, None] for i in range(2)], dim=3)
    image = functional.grid_sample(
        patterns.image[:, None].float(), at, mode="bicubic", padding_mode="zeros", align_corners=True
    )[:, 0]
    image = blurred(image, variance(patterns, view, grid)).clamp_min_(0)
    image *= ((1 - view.background) / image.mean(dim=(1, 2)).clamp_min(1e-12))[:, None, None]
    glow = radial(patterns, view, u, to_k)
    glow *= (view.background / glow.mean(dim=(1, 2)))[:, None, None]
    return image.add_(glow)


def radial(patterns: Patterns, view: View, u: Tensor, to_k: Tensor) -> Tensor:
    """A constant and two Gaussians of |k| at the pixels of `geometry`: (n, side, side)."""
    metric = to_k.transpose(1, 2) @ to_k  # |k|² = uᵀ metric u
    x, y = u[:, 0, None, :], u[:, 1, :, None]
    xx, xy, yy = (metric[:, i, j, None, None] for i, j in ((0, 0), (0, 1), (1, 1)))
    k2 = (2 * xy * y) * x + xx * x * x + yy * y * y
    sigmas = view.widths * patterns.semi_angle[:, None]
    glow = (view.heights[:, 0, None, None] + 1e-3).expand_as(k2).clone()
    for i in range(2):
        glow += view.heights[:, 1 + i, None, None] * torch.exp(k2 * (-0.5 / sigmas[:, i, None, None] ** 2))
    return glow


def variance(patterns: Patterns, view: View, grid: CropGrid = GRID) -> Tensor:
    """Variance (n,) of the blur that the composed pattern still lacks, in px² of the camera."""
    scale = view.size.exp()
    camera = view.frame_pixel.clamp_min(grid.pixel)
    area = view.frame_pixel**2 / 12 + torch.where(view.frame_pixel > grid.pixel, 0.0, grid.pixel**2 / 12)
    there = (EDGE_VARIANCE + CUBIC_VARIANCE) * (2 * patterns.half_edge * scale) ** 2
    return ((view.blur * scale) ** 2 + area - there) / camera**2


def blurred(image: Tensor, v: Tensor) -> Tensor:
    """Convolve images (n, m, m) with discrete Gaussians of variance v (n,), px²."""
    m = image.shape[1]
    theta = torch.pi * torch.arange(m + 1, device=v.device) / m
    lag = torch.arange(m, device=v.device)
    # the mean over a circle of 2m frequencies, half of them written out
    weight = torch.full((m + 1,), 1 / m, device=v.device)
    weight[0] = weight[-1] = 0.5 / m
    kernel = (weight * torch.exp(v[:, None] * (torch.cos(theta) - 1))) @ torch.cos(theta[:, None] * lag)
    matrix = kernel[:, (lag[:, None] - lag).abs()]
    return matrix @ image @ matrix


def record(image: Tensor, recording: Recording, draw: Draw) -> Tensor:
    """What the camera makes of an expected image (n, side, side) of mean 1."""
    rows, cols = image.shape[1:]
    dose = (recording.electrons / (rows * cols))[:, None, None]
    image = shot_noise(image * dose, draw) / dose
    image += recording.offset[:, None, None]
    image += recording.readout[:, None, None] * draw.normal(rows, cols)
    top = image.amax(dim=(1, 2), keepdim=True).clamp_min(1e-6)
    chance = draw.uniform(0, 1, rows, cols)
    hot = chance < recording.hot[:, None, None]
    image = torch.where(hot, top * recording.hot_height[:, None, None], image)
    image = image.masked_fill_(chance > 1 - recording.dead[:, None, None], 0)
    bent = recording.gamma != 1
    gamma = recording.gamma[bent, None, None]
    image[bent] = top[bent] * (image[bent].clamp_min(0) / top[bent]) ** gamma
    coarse = recording.levels > 0
    level = top[coarse] / recording.levels[coarse, None, None]
    image[coarse] = torch.round(image[coarse].clamp_min(0).minimum(top[coarse]) / level) * level
    return image


def shot_noise(expected: Tensor, draw: Draw) -> Tensor:
    """Counts of an expected number of electrons λ (n, rows, cols).

    Poisson numbers where λ is small; else n = round((√λ + z/2)² − ¼) with normal z, of mean λ, variance
    λ + ⅛ and the right skewness, because torch's Poisson numbers are slow on a CPU.
    """
    z = draw.normal(*expected.shape[1:])
    counts = torch.round((expected.clamp_min(0).sqrt() + 0.5 * z).square() - 0.25)
    few = expected < FEW
    counts[few] = torch.poisson(expected[few].clamp_min(0), generator=draw.generator)
    return counts


def to_crops(image: Tensor, view: View, edges: Tensor, blocked: Tensor, grid: CropGrid = GRID) -> Tensor:
    """Crops (n, 2, side, side) of camera images: resampled, with their valid share."""
    pixel, side = view.frame_pixel.clamp_min(grid.pixel), image.shape[1]
    u = (torch.arange(grid.side, device=pixel.device) - (grid.side - 1) / 2) * grid.pixel
    place = torch.arange(side, device=pixel.device) - (side - 1) / 2
    phase = torch.where((view.frame_pixel > grid.pixel)[:, None], view.phase, 0.0)
    at = u[None, None, :, None] / pixel[:, None, None, None] - phase[:, :, None, None]
    weights = (1 - (at - place).abs()).clamp_min(0)  # (n, 2, grid.side, side)
    image = weights[:, 1] @ image @ weights[:, 0].transpose(1, 2)
    left, right, top, bottom = edges.T[:, :, None] / grid.pixel
    u = u / grid.pixel
    columns = (u - left + 0.5).clamp(0, 1) * (right - u + 0.5).clamp(0, 1)
    rows = (u - top + 0.5).clamp(0, 1) * (bottom - u + 0.5).clamp(0, 1)
    valid = rows[:, :, None] * columns[:, None, :]
    x, y, radius = blocked.T[:, :, None, None] / grid.pixel
    distance = torch.hypot(u[None, None, :] - x, u[None, :, None] - y)
    valid = valid * torch.where(radius > 0, (distance - radius + 0.5).clamp(0, 1), 1.0)
    valid = valid * (valid > 0.05)
    return torch.stack([image * (valid > 0), valid], dim=1)


def truth_of(patterns: Patterns, view: View, mirror: Tensor, nominal: Tensor) -> Truth:
    """The answers the network should give; nominal (n,) is the semi-angle it is told (mrad)."""
    tilt = torch.where(view.mirrored[:, None], patterns.tilt @ mirror.T, patterns.tilt)
    phi = torch.deg2rad(view.rotation)
    c, s = torch.cos(phi), torch.sin(phi)
    x, y = tilt.T
    return Truth(
        size=view.size,
        centre=view.centre,
        rotation=view.rotation,
        thickness=patterns.thickness,
        tilt=torch.stack([c * x - s * y, s * x + c * y], dim=1),
        semi_angle=nominal,
    )


def augment(
    patterns: Patterns, mirror: Tensor | None, generator: torch.Generator, rough: float = ROUGH
) -> tuple[Tensor, Truth]:
    """Draw, render and record one crop of each pattern.

    Parameters
    ----------
    patterns : Patterns of n patterns
    mirror : (2, 2), or None where the projection has none
    generator : torch.Generator of the patterns' device
    rough : share of the crops that are cut at a rough disc

    Returns
    -------
    crops : (n, 2, CROP, CROP)
    truth : Truth
    """
    draw = Draw(len(patterns.thickness), generator)
    matrix = torch.eye(2, device=draw.device) if mirror is None else mirror
    view = draw_view(patterns, draw, mirror=mirror is not None, rough=rough)
    recording = draw_recording(patterns, view, draw)
    image = record(render(patterns, view, matrix), recording, draw)
    crops = to_crops(image, view, recording.edges, recording.blocked)
    nominal = patterns.semi_angle * draw.uniform(0.99, 1.01)
    return crops, truth_of(patterns, view, matrix, nominal)
