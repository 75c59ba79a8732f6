"""Thermal diffuse images of a known camera: undivided pixels, thicknesses of the library, some tilts."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.diffuse import DiffuseTable
from hybridfit.pattern.expand import Table

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

KEPT, LAYERS = 150, 12  # images, and layers at one thickness
FAR_TILTS = 3.0  # mrad: images half as far away err by up to 1 % of a pattern's maximum


class DiffuseImages:
    """Diffuse images, kept for whoever asks again.

    Parameters
    ----------
    diffuse : DiffuseTable
    table : Table
        Whose thicknesses are asked for.
    k : (2, n) array, mrad
        The pixels.
    semi_angle : float, mrad
    """

    def __init__(self, diffuse: DiffuseTable, table: Table, k: Array, semi_angle: float) -> None:
        first, step = table.thickness_first, table.thickness_step
        self._diffuse, self._k = diffuse, k
        # several images have the same layer, or the same aperture
        self._layer = lru_cache(LAYERS)(lambda i: diffuse.thick(first + step * i))
        self._aperture = lru_cache(KEPT)(lambda tilt: diffuse.aperture(tilt, semi_angle))
        self._kept: OrderedDict[tuple[int, float, float], tuple[Float32, ...]] = OrderedDict()

    def at(self, i: int, tilt: tuple[float, float]) -> tuple[Float32, ...]:
        """Value (n,), slopes along the tilt (2, n) and along the semi-angle (n,); i is a thickness."""
        key = (i, *tilt)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        exits = self._diffuse.by_exits(self._layer(i), self._aperture(tilt))
        found = self._diffuse.seen(exits, self._k, tilt)
        out = tuple(
            np.ascontiguousarray(each, np.float32)
            for each in (found.value, found.slopes_tilt, found.slope_semi_angle)
        )
        self._kept[key] = out
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return out

    def smooth(self, i: int, tilt: tuple[float, float]) -> tuple[Float32, Float32]:
        """Value and slopes along the tilt, as `nodes.Added` wants them."""
        value, slopes, _ = self.at(i, tilt)
        return value, slopes

    def roughly(self, i: int, tilt: tuple[float, float]) -> tuple[Float32, Float32]:
        """The same from the image at a tilt not far away, of which there are few."""
        near = FAR_TILTS * np.rint(np.asarray(tilt) / FAR_TILTS)
        value, slopes, _ = self.at(i, (float(near[0]), float(near[1])))
        return value + (tilt - near).astype(np.float32) @ slopes, slopes

    def smooth_rims(self, i: int, tilt: tuple[float, float]) -> tuple[Float32, Float32]:
        """The same of the derivative along the semi-angle, which is taken to be even over a tile."""
        _, slopes, along = self.at(i, tilt)
        return along, np.zeros_like(slopes)
