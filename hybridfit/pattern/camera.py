"""Camera geometry: where a scattering angle lands on the detector.

    pixel (col, row) = centre + scale · R(rotation) · E · k
    R = [[cos, −sin], [sin, cos]],    E = [[1 + a, b], [b, 1 − a]]

k = (kx, ky) in mrad, crystal frame; scale in px/mrad; col grows to the right and row downwards,
so a positive rotation turns +x towards +row.  a and b are the components of a small elliptical
distortion.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.binning import to_binned
from hybridfit.pattern.jit import kernel

Array = NDArray[np.float64]


class Camera(NamedTuple):
    """Geometry of one frame: px, px/mrad, degrees."""

    centre_x: float
    centre_y: float
    scale: float
    rotation: float
    ellipticity_a: float = 0.0
    ellipticity_b: float = 0.0

    def binned(self, factor: int) -> Camera:
        """The same geometry in pixels that are `factor` times as wide."""
        return self._replace(
            centre_x=to_binned(self.centre_x, factor),
            centre_y=to_binned(self.centre_y, factor),
            scale=self.scale / factor,
        )


@kernel
def to_angles(col, row, camera):
    """k = E⁻¹ Rᵀ (pixel − centre)/scale: (2, n) array in mrad for 1-D col and row."""
    phi = np.deg2rad(camera.rotation)
    c, s = np.cos(phi), np.sin(phi)
    a, b = camera.ellipticity_a, camera.ellipticity_b
    determinant = 1 - a * a - b * b
    k = np.empty((2, col.size))
    for p in range(col.size):
        x, y = (col[p] - camera.centre_x) / camera.scale, (row[p] - camera.centre_y) / camera.scale
        x, y = c * x + s * y, -s * x + c * y
        k[0, p] = ((1 - a) * x - b * y) / determinant
        k[1, p] = ((1 + a) * y - b * x) / determinant
    return k


def to_pixels(kx: Array, ky: Array, camera: Camera) -> tuple[Array, Array]:
    """(col, row) of scattering angles (mrad), arrays of any one shape."""
    phi = np.deg2rad(camera.rotation)
    a, b = camera.ellipticity_a, camera.ellipticity_b
    x, y = (1 + a) * kx + b * ky, b * kx + (1 - a) * ky
    col = camera.centre_x + camera.scale * (np.cos(phi) * x - np.sin(phi) * y)
    row = camera.centre_y + camera.scale * (np.sin(phi) * x + np.cos(phi) * y)
    return col, row


@kernel
def chain(k, along_x, along_y, camera):
    """Derivatives of a function of k along the camera parameters, in the order of `Camera`.

    along_x, along_y are ∂/∂kx and ∂/∂ky at the points k (2, n); returns (6, n).
    """
    phi = np.deg2rad(camera.rotation)
    c, s = np.cos(phi), np.sin(phi)
    a, b = camera.ellipticity_a, camera.ellipticity_b
    determinant = 1 - a * a - b * b
    # E⁻¹ is symmetric: carry it over from dk to the gradient
    out = np.empty((6, k.shape[1]))
    for p in range(k.shape[1]):
        kx, ky, fx, fy = k[0, p], k[1, p], along_x[p], along_y[p]
        ex = ((1 - a) * fx - b * fy) / determinant
        ey = ((1 + a) * fy - b * fx) / determinant
        out[0, p] = -(c * ex - s * ey) / camera.scale
        out[1, p] = -(s * ex + c * ey) / camera.scale
        out[2, p] = -(fx * kx + fy * ky) / camera.scale
        vx, vy = (1 + a) * kx + b * ky, b * kx + (1 - a) * ky
        out[3, p] = (ex * vy - ey * vx) * np.pi / 180
        out[4, p] = -(ex * kx - ey * ky)
        out[5, p] = -(ex * ky + ey * kx)
    return out
