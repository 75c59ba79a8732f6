"""The answer of the network for a crop, as a differentiable function of the crop.

As in seeding, the crop is read in four orientations, and mirrored too where the crystal has a mirror line.
The probabilities are averaged over these views, and the answer is their mean near the likeliest value,

    t = Σ_near p t / Σ_near p,

and the same for either component of tilt, in the camera's frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hybridfit.fitting.seed.network import Seeder
from hybridfit.library.mirror import mirror_of
from hybridfit.network.architecture import channels_last, represent
from hybridfit.network.conversion import folded


class Near(NamedTuple):
    """The classes that are averaged: thickness (classes,) bool, tilt (classes, classes) bool."""

    thickness: Tensor
    tilt: Tensor


class Reader:
    """Reads crops of one semi-angle with the network of a seeder."""

    def __init__(self, seeder: Seeder) -> None:
        self.network, self.semi_angle = seeder.network, seeder.semi_angle
        self.peak = seeder.settings.peak
        self.device = self.network.device
        self.mirror = mirror_of(seeder.library) is not None
        self.module = channels_last(folded(self.network.module), self.device)
        self.nodes = torch.as_tensor(self.network.thicknesses, dtype=torch.float32, device=self.device)
        self.axis = torch.as_tensor(self.network.tilts, dtype=torch.float32, device=self.device)

    def probabilities(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of thickness (n, classes) and tilt (n, rows, cols) for crops (n, 2, CROP, CROP)."""
        seen = [crops, crops.flip(2)] if self.mirror else [crops]
        views = torch.cat([torch.rot90(view, k, dims=(2, 3)) for view in seen for k in range(4)])
        alpha = torch.full((len(views),), self.semi_angle, device=self.device)
        heads = self.module(represent(views, alpha).contiguous(memory_format=torch.channels_last), alpha)
        origin, n = self.network.origin, len(self.axis)
        thickness = torch.softmax(heads.thickness / origin.thickness_temperature, dim=1)
        tilt = torch.softmax(heads.tilt / origin.tilt_temperature, dim=1).reshape(-1, n, n)
        parts = tilt.reshape(len(seen), 4, len(crops), n, n)
        back = [
            torch.rot90(part, -k, dims=(1, 2)).flip(1) if mirrored else torch.rot90(part, -k, dims=(1, 2))
            for mirrored, view in enumerate(parts)
            for k, part in enumerate(view)
        ]
        return thickness.reshape(4 * len(seen), len(crops), -1).mean(dim=0), torch.stack(back).mean(dim=0)

    def near(self, crop: Tensor) -> Near:
        """The classes around the likeliest answer for one crop (2, CROP, CROP)."""
        with torch.no_grad():
            p, q = (part[0] for part in self.probabilities(crop[None]))
        padded = torch.nn.functional.pad(p, (1, 1))
        middle = self.nodes[(padded[1:-1] + (padded[:-2] + padded[2:]) / 2).argmax()]
        row, col = divmod(int(q.argmax()), len(self.axis))
        apart = torch.hypot((self.axis - self.axis[row])[:, None], (self.axis - self.axis[col])[None, :])
        return Near((self.nodes - middle).abs() <= self.peak[0], apart <= self.peak[1])

    def values(self, crops: Tensor, near: Near) -> Tensor:
        """Thickness (nm), tilt along columns and along rows (mrad) of crops: (n, 3)."""
        p, q = self.probabilities(crops)
        p, q = p * near.thickness, q * near.tilt
        thickness = p @ self.nodes / p.sum(dim=1)
        total = q.sum(dim=(1, 2))
        along_col, along_row = q.sum(dim=1) @ self.axis / total, q.sum(dim=2) @ self.axis / total
        return torch.stack([thickness, along_col, along_row], dim=1)
