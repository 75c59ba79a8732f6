"""Thermal diffuse intensity at values that lie near each other: those of one refinement.

The diffuse part of a pattern is smooth.  Its image D on the grid of exits, and its slopes there (`diffuse`),
are made at one thickness, tilt and semi-angle; nearby it is

    D(t + Δt, τ + Δτ, α + Δα) = D + Δt ∂D/∂t + Δτ · ∂D/∂τ + Δα ∂D/∂α,

with the same slopes, until something has moved too far for that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.diffuse import DiffuseTable, Image
from hybridfit.pattern.settings import MODEL

Array = NDArray[np.float64]


class NearDiffuse:
    """The diffuse part of a table, for values that hardly change from one call to the next.

    Parameters
    ----------
    table : DiffuseTable
    """

    def __init__(self, table: DiffuseTable) -> None:
        self.table = table
        self._made: tuple[Array, NDArray[np.float32]] | None = None  # at (tilt_x, tilt_y, α, t): its images

    def at(self, k: Array, thickness: float, tilt: tuple[float, float], semi_angle: float) -> Image:
        """The diffuse intensity at k (2, n) mrad, and its derivatives: see `DiffuseTable.at`."""
        here = np.array([*tilt, semi_angle, thickness])
        far, angle = MODEL.diffuse_near
        most = np.array([angle, angle, angle, far])
        if self._made is None or (np.abs(here - self._made[0]) > most).any():
            self._made = here, self.table.on_exits(thickness, tilt, semi_angle)
        there, images = self._made
        if (here != there).any():
            value = images[0] + np.tensordot((here - there).astype(np.float32), images[1:], axes=1)
            images = np.concatenate([value[None], images[1:]])
        return self.table.seen(images, k, tilt)
