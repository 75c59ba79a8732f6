"""Noise and misfit of many residuals at once: the equations of `refine.noise`.

Pairs are grouped by intensity at the quantiles of a sample of them, which is as good: the variance of groups
is a straight line.  Residuals whose neighbours share noise are left to `refine.noise`.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridfit.fitting.refine.noise import BINS, FAINT, Noise, estimate_noise
from hybridfit.fitting.refine.settings import REFINE, RefineSettings
from hybridfit.fitting.refine.spread import FAR, NEAR

SAMPLED = 4096  # pairs


class Noises(NamedTuple):
    """Variances a + b μ + c μ² + s² of frames, (b,) float64 each, and which of them share noise."""

    constant: Tensor
    per_intensity: Tensor
    misfit: Tensor
    relative: Tensor
    shared: Tensor

    def counting(self, model: Tensor) -> Tensor:
        """Noise alone, of model intensities (b, n) float32."""
        a, b, c = (v.float()[:, None] for v in (self.constant, self.per_intensity, self.relative))
        level = torch.maximum(model, FAINT * b)
        return a + level * (b + c * level)

    def variance(self, model: Tensor) -> Tensor:
        """Noise and misfit."""
        return self.counting(model) + self.misfit.float()[:, None]


class NoiseEstimate:
    """Estimates for residuals on the pixels of one mask.

    Parameters
    ----------
    mask : (rows, cols) bool array
    device : torch.device
    settings : RefineSettings
    """

    def __init__(
        self, mask: NDArray[np.bool_], device: torch.device, settings: RefineSettings = REFINE
    ) -> None:
        self.mask, self.settings = mask, settings
        self._near, self._far = (_pairs(mask, shifts, device) for shifts in (NEAR[0], FAR[0]))

    def estimate(self, residual: Tensor, model: Tensor, valid: Tensor) -> Noises:
        """`refine.noise.estimate_noise` of residuals at model intensities, (b, n) float32 on valid pixels."""
        a, b, c = self._by_intensity(residual, model, valid)
        none = torch.zeros_like(a)
        found = Noises(a, b, none, c, none.bool())
        standardised = residual / (found.counting(model) + 1e-30).sqrt()
        (near, pairs), (far, _) = (
            _mean_differences(standardised, valid, each) for each in (self._near, self._far)
        )
        least = (self.settings.correlated_errors / pairs.sqrt()).clamp_min(self.settings.correlated)
        shared = near < (1 - least) * far
        count = valid.sum(1).double()
        floor = 1e-12 * _mean(model.double() ** 2, valid, count) + 1e-30
        counting = _mean(found.counting(model).double(), valid, count)
        misfit = (_mean(residual.double() ** 2, valid, count) - counting).clamp_min(0)
        found = Noises(a + floor, b, misfit, c, shared)
        for i in shared.nonzero()[:, 0].tolist():
            own = self._alone(residual[i], model[i], valid[i])
            for values, value in zip(found[:4], own[:4], strict=True):
                values[i] = value
        return found

    def _alone(self, residual: Tensor, model: Tensor, valid: Tensor) -> Noise:
        """The estimate for one residual, by `refine.noise`."""
        known = valid.cpu().numpy()
        mask = self.mask.copy()
        mask[self.mask] = known
        r, m = (each.cpu().numpy().astype(float)[known] for each in (residual, model))
        return estimate_noise(r, m, mask, self.settings)

    def _by_intensity(self, residual: Tensor, model: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """a, b and c (b,) from differences of neighbouring residuals."""
        first, second = self._near
        both = valid[:, first] & valid[:, second]
        mean = ((model[:, first] + model[:, second]) / 2).clamp_min(0)
        square = (residual[:, first] - residual[:, second]) ** 2 / 2
        x, y, count = _groups(mean, square, both)
        scale_x = x.amax(1).clamp_min(1e-300)
        scale_y = y.amax(1).clamp_min(1e-300)
        x, y = x / scale_x[:, None], y / scale_y[:, None]
        design = torch.stack([torch.ones_like(x), x, x**2], dim=2)
        rough, _ = nonnegative(design[:, :, :2], y)
        expected = (design[:, :, :2] @ rough[:, :, None])[:, :, 0]
        weight = 1 / torch.maximum(y, expected).clamp_min(1e-3)
        design = design * weight[:, :, None]
        target, error = y * weight, (3 * BINS / count.clamp_min(1)).sqrt()
        line, left = nonnegative(design[:, :, :2], target)
        curve, rest = nonnegative(design, target)
        flat = self.settings.flat_field * error
        curved = (left > flat) & (left**2 - rest**2 > flat**2)
        a, b = (torch.where(curved, curve[:, i], line[:, i]) for i in range(2))
        c = torch.where(curved, curve[:, 2], 0.0)
        return a * scale_y, b * scale_y / scale_x, c * scale_y / scale_x / scale_x


def nonnegative(design: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares with coefficients that are not negative, (b, k), and the norms of what is left.

    Of few coefficients every choice of those that are not zero is tried.  design (b, m, k), target (b, m).
    """
    k = design.shape[2]
    best = target.new_zeros((len(target), k))
    least = target.norm(dim=1)
    for size in range(1, k + 1):
        for chosen in itertools.combinations(range(k), size):
            part = design[:, :, list(chosen)]
            gram = part.transpose(1, 2) @ part
            ridge = 1e-13 * gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] + 1e-300
            gram = gram + ridge * torch.eye(size, dtype=gram.dtype, device=gram.device)
            solution, _ = torch.linalg.solve_ex(gram, part.transpose(1, 2) @ target[:, :, None])
            left = (target - (part @ solution)[:, :, 0]).norm(dim=1)
            better = (solution[:, :, 0] >= 0).all(1) & (left < least)
            new = torch.zeros_like(best)
            new[:, list(chosen)] = solution[:, :, 0]
            best, least = torch.where(better[:, None], new, best), torch.where(better, left, least)
    return best, least


def _pairs(mask: NDArray[np.bool_], shifts: object, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pairs of pixels of a mask a shift apart, each by its place among the pixels."""
    place = np.full(mask.shape, -1)
    place[mask] = np.arange(int(mask.sum()))
    rows, cols = mask.shape
    out = []
    for dy, dx in shifts:  # type: ignore[attr-defined]
        a, b = place[dy:, dx:], place[: rows - dy, : cols - dx]
        both = (a >= 0) & (b >= 0)
        out.append(np.stack([a[both], b[both]]))
    first, second = np.concatenate(out, axis=1)
    return torch.as_tensor(first, device=device), torch.as_tensor(second, device=device)


def _groups(mean: Tensor, square: Tensor, both: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means of mean and square in groups (b, BINS) by mean, and the number of pairs (b,); float64."""
    step = -(-mean.shape[1] // SAMPLED)
    sample = torch.where(both, mean, torch.inf)[:, ::step].sort(dim=1).values
    known = both[:, ::step].sum(1)
    ends = known[:, None] * torch.arange(1, BINS, device=mean.device) // BINS
    edges = sample.gather(1, ends.clamp(0, sample.shape[1] - 1))
    above = (mean[:, None] >= edges[:, :, None]) & both[:, None]
    above = torch.cat([both[:, None], above], dim=1).float()
    each = torch.stack([torch.ones_like(mean), mean, square], dim=2)
    sums = torch.matmul(above, torch.where(both[:, :, None], each, 0.0)).double()
    sums[:, :-1] -= sums[:, 1:].clone()
    count = sums[:, :, 0].clamp_min(1)
    return sums[:, :, 1] / count, sums[:, :, 2] / count, both.sum(1).double()


def _mean_differences(image: Tensor, valid: Tensor, pairs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean of half the squares of differences of pairs of valid pixels; how many there are (at least 1)."""
    first, second = pairs
    both = valid[:, first] & valid[:, second]
    square = torch.where(both, (image[:, first] - image[:, second]) ** 2 / 2, 0.0)
    count = both.sum(1).double().clamp_min(1)
    return square.double().sum(1) / count, count


def _mean(values: Tensor, valid: Tensor, count: Tensor) -> Tensor:
    return torch.where(valid, values, 0.0).sum(1) / count.clamp_min(1)
