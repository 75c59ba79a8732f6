"""Where the pattern of a known camera is compared: the same pixels about the centre of every frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.binning import bin_frame
from hybridfit.pattern.camera import Camera

Array = NDArray[np.float64]


class Reference:
    """The compared disc of a known camera: as every frame of a scan has it, cut out about its centre.

    Parameters
    ----------
    camera : Camera
        Its centre does not matter.
    radius : float, mrad
        Of the compared disc.
    factor : int
        Pixels of the frame in a pixel that is compared.

    Attributes
    ----------
    side, middle : int
        A region of a frame has side × side pixels; the reference centre is the pixel (middle, middle).
    mask : (side, side) bool array
        Pixels that are compared, if the frame has them.
    camera : Camera
        In pixels that are compared, at the reference centre.
    """

    def __init__(self, camera: Camera, radius: float, factor: int = 1) -> None:
        self.factor = factor
        scale = camera.scale / factor
        self.middle = int(np.ceil(radius * scale)) + 1
        self.side = 2 * self.middle + 1
        row, col = np.indices((self.side, self.side)) - self.middle
        self.mask = np.hypot(row, col) <= radius * scale
        self.camera = camera._replace(centre_x=self.middle, centre_y=self.middle, scale=scale)

    def place(self, centre_x: float, centre_y: float) -> tuple[int, int]:
        """(left, top): the pixel of the frame where the region begins whose middle is nearest to a centre."""
        return int(np.rint(centre_x - self._own)), int(np.rint(centre_y - self._own))

    @property
    def _own(self) -> float:
        """Where the middle is in a region, in pixels of the frame."""
        return self.factor * self.middle + (self.factor - 1) / 2

    def off_middle(self, centre_x: float, centre_y: float, left: int, top: int) -> tuple[float, float]:
        """How far (px of the frame) a centre is right of and below the middle of a region."""
        return centre_x - left - self._own, centre_y - top - self._own

    def cut(
        self, image: Array, valid: NDArray[np.bool_], left: int, top: int
    ) -> tuple[Array, NDArray[np.bool_]]:
        """The region of a frame (rows, cols) and its valid pixels; 0 and False beyond the frame."""
        b, side, (rows, cols) = self.factor, self.side, image.shape
        inside = tuple(
            slice(max(0, at), max(0, at, min(most, at + b * side)))
            for at, most in ((top, rows), (left, cols))
        )
        room = tuple(
            slice(part.start - at, part.stop - at) for part, at in zip(inside, (top, left), strict=True)
        )
        out, known = np.zeros((b * side, b * side)), np.zeros((b * side, b * side), bool)
        out[room], known[room] = image[inside], valid[inside]
        out, known = bin_frame(out, known, b)
        return out, self.mask & known
