"""The whole library against many frames of a known camera, on a device: the products of `search.shared`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hybridfit.fitting.batch.regions import cut
from hybridfit.fitting.search.shared import SharedMatcher

ENTRY = 16  # bytes that a template and a frame take, while they are compared


class BatchMatcher:
    """The templates of a `SharedMatcher` on a device.

    Parameters
    ----------
    matcher : SharedMatcher
    device : torch.device
    workspace : float, bytes
        That χ² of all templates and some frames may take.
    """

    def __init__(self, matcher: SharedMatcher, device: torch.device, workspace: float) -> None:
        self.matcher, self.device = matcher, device
        m, n, size = matcher.templates.shape
        self._templates = torch.as_tensor(matcher.templates, device=device).reshape(m * n, size)
        self._background = torch.as_tensor(matcher.background, device=device)
        apart_t, apart_k = matcher.settings.apart
        t = torch.as_tensor(matcher.thickness, device=device)
        tilts = torch.as_tensor(matcher.tilts, device=device)
        self._near_t = (t[:, None] - t).abs() < apart_t
        self._near_k = (tilts[:, None] - tilts).norm(dim=2) < apart_k
        self.together = max(int(workspace // (ENTRY * m * n)), 1)

    def match(self, images: Tensor, valid: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `SharedMatcher.match` finds of b frames, as tensors.

        Parameters
        ----------
        images, valid, centres
            As for `regions.cut`.

        Returns
        -------
        seeds : (b, candidates, 3) float64
            Thickness (nm) and tilt (mrad), best first.
        chi2 : (b, candidates) float32
            Infinite where there are not so many.
        curves : (b, m) float32
            The least χ² at every thickness.
        """
        parts = []
        for first in range(0, len(images), self.together):
            here = slice(first, first + self.together)
            own = valid if len(valid) == 1 else valid[here]
            parts.append(self._match(images[here], own, centres[here]))
        seeds, chi2, curves = (torch.cat(each) for each in zip(*parts, strict=True))
        return seeds, chi2, curves

    def _match(self, images: Tensor, valid: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        data, known, _ = cut(images, valid, centres, self.matcher.reference, moved=True)
        mean = data.sum(1) / known.sum(1).clamp_min(1)
        data = torch.where(known, data, mean[:, None])
        whole = ((data - data.mean(1, keepdim=True)).double() ** 2).sum(1).clamp_min(1e-30)
        data = data - (data @ self._background) @ self._background.T
        scores = data @ self._templates.T
        left_by_background = (data.double() ** 2).sum(1) / whole
        explained = scores.clamp_min(0) ** 2 / whole.float()[:, None]
        chi2 = left_by_background.float()[:, None] - explained
        return self._deepest(chi2.reshape(len(data), *self._near_t.shape[:1], -1))

    def _deepest(self, chi2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The deepest minima of χ² (b, thickness, tilt) that are apart."""
        settings = self.matcher.settings
        curves, left = chi2.amin(2), chi2
        seeds: list[Tensor] = []
        depths: list[Tensor] = []
        n, (apart_t, apart_k) = len(self.matcher.tilts), settings.apart
        ended = torch.zeros(len(chi2), dtype=torch.bool, device=self.device)
        for turn in range(settings.candidates):
            value, at = left.flatten(1).min(1)
            i, j = torch.div(at, n, rounding_mode="floor"), at % n
            place = self._between(chi2, i, j)
            again = torch.zeros_like(ended)
            if turn:
                least = depths[0]
                ended |= value.isinf() | (value > least + settings.deeper * least + settings.noise)
                for seed, depth in zip(seeds, depths, strict=True):
                    near = (place[:, 0] - seed[:, 0]).abs() < apart_t
                    near &= (place[:, 1:] - seed[:, 1:]).norm(dim=1) < apart_k
                    again |= near & depth.isfinite()
            seeds.append(place)
            depths.append(torch.where(ended | again, torch.inf, value))
            left = left.masked_fill(self._near_t[i][:, :, None] & self._near_k[j][:, None], torch.inf)
        return torch.stack(seeds, 1), torch.stack(depths, 1), curves

    def _between(self, chi2: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """(b, 3) float64: thickness and tilt of the least point about a template (i, j) of each frame."""
        at = i.cpu().numpy(), j.cpu().numpy()
        layers, beside = (torch.as_tensor(each, device=self.device) for each in self.matcher.about(*at))
        frame = torch.arange(len(chi2), device=self.device)[:, None, None]
        values = chi2[frame, layers[:, :, None], beside[:, None]].double().cpu().numpy()
        return torch.as_tensor(self.matcher.between(*at, values), device=self.device)

    def curve(self, values: Tensor) -> np.ndarray:
        """(2, m): thickness (nm) and the least χ² of one frame (m,)."""
        return np.stack([self.matcher.thickness, values.double().cpu().numpy()])
