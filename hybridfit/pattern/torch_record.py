"""What pixels record of the patterns of many frames, on a device of torch: blur, shift and mean over pixels.

`pattern.raster` has the equation, pixel_c = Σ_i w̄_i(d) · fine_{sc + i}.  Here the weights of a frame are a
matrix with few diagonals, W_cj = w̄_{j − sc}, for either axis, and a frame is W_rows · image · W_colsᵀ.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hybridfit.pattern.blur import REACH
from hybridfit.pattern.raster import Raster

STEPS = 6  # of Newton's method, which starts within a few per cent
ROOT = 2.0**0.5
PER_ROOT_PI = 1 / np.pi**0.5


class TorchRecord:
    """The way from values at the points of a raster to its pixels.

    Parameters
    ----------
    raster : Raster
    narrowest : float, fine pixels
        No kernel has a smaller σ.
    device : torch.device
    """

    def __init__(self, raster: Raster, narrowest: float, device: torch.device) -> None:
        self.s, self.shape, self.narrowest, self.device = raster.oversampling, raster.shape, narrowest, device
        self._points = torch.as_tensor(raster.points, device=device)
        self._pixels = torch.as_tensor(raster.pixels, device=device)
        self._diagonals: dict[tuple[int, int], Tensor] = {}

    def record(self, images: Tensor, variance: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """`Raster.record_moved` of many frames, and ∂σ/∂variance.

        Parameters
        ----------
        images : (b, 4, n) float32
        variance : (b,) float64
            Of the kernels (fine pixels squared).
        shift : (b, 2) float64
            Along columns and rows (fine pixels).

        Returns
        -------
        (b, 7, pixels) float32, (b,) float64
        """
        sigma, slope = sigma_of_variance(variance, self.narrowest)
        reach = (REACH * sigma[:, None] + shift.abs()).ceil().long() + 1
        most = int(reach.max())
        along_rows, along_columns = (
            self._matrix(moved_weights(sigma, shift[:, i], reach[:, i], most), most, self.shape[1 - i])
            for i in range(2)
        )
        b = len(images)
        fine = images.new_zeros((b, 4, self.shape[0] * self.shape[1]))
        fine[:, :, self._points] = images
        fine = fine.reshape(b, 4, *self.shape)
        half = torch.matmul(along_columns[:, :1], fine)  # (b, 4, rows, fine columns)
        moved = torch.matmul(along_columns[:, 1:], fine[:, :1])  # along the shift and the blur
        w, by_shift, by_sigma = (along_rows[:, i, None].transpose(-1, -2) for i in range(3))
        first = torch.matmul(half, w)
        across = torch.matmul(half[:, :1], by_shift)
        down, blurred = torch.matmul(moved, w).split(1, dim=1)
        out = torch.cat([first, across, down, blurred + torch.matmul(half[:, :1], by_sigma)], dim=1)
        return out.flatten(2)[:, :, self._pixels], slope

    def _matrix(self, weights: Tensor, most: int, size: int) -> Tensor:
        """(b, 3, pixels, fine pixels) from weights (b, 3, 2·most + 1) of an axis of so many fine pixels."""
        s = self.s
        spread = weights.new_zeros((*weights.shape[:2], weights.shape[2] + s))  # the last stays 0
        for j in range(s):
            spread[:, :, j : j + weights.shape[2]] += weights / s
        key = most, size
        if key not in self._diagonals:
            i = np.arange(size) - s * np.arange(size // s)[:, None] + most
            last = spread.shape[2] - 1
            self._diagonals[key] = torch.as_tensor(
                np.where((i >= 0) & (i < last), i, last), device=self.device
            )
        return spread.float()[:, :, self._diagonals[key]]


def moved_weights(sigma: Tensor, shift: Tensor, reach: Tensor, most: int) -> Tensor:
    """`blur.moved_weights` of many, (b, 3, 2·most + 1) float64: none beyond the reach (b,) of each."""
    i = torch.arange(-most, most + 1, device=sigma.device)
    edges = torch.arange(-most, most + 2, device=sigma.device) - 0.5
    x = (edges + shift[:, None]) / (ROOT * sigma[:, None])
    density = torch.exp(-x * x) * PER_ROOT_PI
    parts = torch.erf(x) / 2, density / (ROOT * sigma[:, None]), -x * density / sigma[:, None]
    out = torch.stack([each.diff(dim=1) for each in parts], dim=1)
    return out * (i.abs() <= reach[:, None])[:, None]


def sigma_of_variance(variance: Tensor, narrowest: float) -> tuple[Tensor, Tensor]:
    """`blur.sigma_of_variance` of many: σ (px) and dσ/dvariance, (b,) float64."""
    sigma = (variance - 1 / 12).clamp_min(0.05).sqrt().clamp_min(narrowest)
    most = int(np.ceil(REACH * float(sigma.max()))) + 2
    square = torch.arange(-most, most + 1, device=sigma.device).double() ** 2
    none = torch.zeros_like(sigma)

    def at(sigma: Tensor) -> tuple[Tensor, Tensor]:
        weights = moved_weights(sigma, none, (REACH * sigma).ceil() + 1, most)
        return weights[:, 0] @ square, weights[:, 2] @ square

    for _ in range(STEPS):
        value, slope = at(sigma)
        sigma = (sigma - (value - variance) / slope).clamp_min(narrowest)
    free = sigma > narrowest
    return sigma, torch.where(free, 1 / at(sigma)[1], none)
