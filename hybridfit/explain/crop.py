"""The crop that the network reads, as a linear map of the frame, and the way back.

With the overlaps w of `network.crop` as matrices (crop pixels, frame pixels), R along rows and C along
columns, M the valid pixels:

    crop = R (I·M) Cᵀ / V,    V = R M Cᵀ,    ∂t/∂I = M · Rᵀ (∂t/∂crop / V) C

and a map S on the crop is carried onto the frame as the mean Rᵀ S C / Rᵀ 1 C.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.seed.network import Seeder
from hybridfit.frame import Frame, make_frame
from hybridfit.network.crop import CROP, LEAST_VALID, crops, weights

Array = NDArray[np.float64]


class Crop(NamedTuple):
    """The part of a frame that a network reads.

    Attributes
    ----------
    frame : Frame
    pixels : (2, CROP, CROP)
        Mean intensity (frame units) and valid share, at `network.crop.axis()`, y downwards.
    camera : Candidate
        The answer of the network; the crop is cut by its centre (px) and scale (px/mrad).
    """

    frame: Frame
    pixels: NDArray[np.float32]
    camera: Candidate

    def gradient_on_frame(self, gradient: Array) -> Array:
        """∂t/∂I (rows, cols) on the frame, from (n, CROP, CROP) on the crop: (n, rows, cols)."""
        rows, cols = self._overlaps()
        share = self.pixels[1].astype(float)
        seen = share > LEAST_VALID
        out: Array = self.frame.valid * (
            rows.T @ np.where(seen, gradient / np.where(seen, share, 1), 0) @ cols
        )
        return out

    def carried_onto_frame(self, values: Array) -> Array:
        """A map (CROP, CROP) as it lies on the frame (rows, cols); 0 beyond the crop."""
        rows, cols = self._overlaps()
        weight = rows.sum(axis=0)[:, None] * cols.sum(axis=0)
        out: Array = rows.T @ values @ cols / np.maximum(weight, 1e-12)
        return out

    def _overlaps(self) -> tuple[Array, Array]:
        """R (CROP, rows) and C (CROP, cols)."""
        at, shape = self.camera, self.frame.image.shape
        centres = (at.centre_y, at.centre_x)
        rows, cols = (_overlap(c, at.scale, n) for c, n in zip(centres, shape, strict=True))
        return rows, cols


def read_crop(frame: Frame | ArrayLike, fitter: Fitter) -> tuple[Crop, Seeder]:
    """The aligned crop of a frame, and the seeder that a fitter holds.

    Raises
    ------
    InputError
        The fitter has no network.
    """
    seeder = getattr(fitter, "seeder", None)
    if seeder is None:
        raise InputError(
            "this fitter asks no network (it has none, or its hints or its method leave it out); "
            'make one with method="cnn", for a library that has a network'
        )
    frame = frame if isinstance(frame, Frame) else make_frame(frame)
    camera = seeder.seed(frame).candidates[0]
    centre = np.array([[camera.centre_x, camera.centre_y]])
    pixels = crops(frame.image, frame.valid, centre, np.array([camera.scale]))[0]
    if seeder.per_nm:  # the network is shown patterns without it
        level = seeder.per_nm * float(frame.image[frame.valid].max())
        pixels[0] -= level * camera.thickness * (pixels[1] > 0)
    return Crop(frame, pixels, camera), seeder


def _overlap(centre: float, scale: float, size: int) -> Array:
    first, w = weights(np.array([centre]), np.array([scale]), size)
    out = np.zeros((CROP, size))
    pixel = first[0][:, None] + np.arange(w.shape[-1])
    inside = (pixel >= 0) & (pixel < size)
    np.add.at(out, (np.nonzero(inside)[0], pixel[inside]), w[0][inside])
    return out
