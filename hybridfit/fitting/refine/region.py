"""The part of a frame that is compared with the model: cut out, and binned to as many pixels as pay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.refine.least_squares import Refinement
from hybridfit.fitting.refine.settings import REFINE
from hybridfit.frame import Frame
from hybridfit.model import FITTED_BEYOND_DISC
from hybridfit.pattern.binning import bin_frame
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.reference import Reference

Array = NDArray[np.float64]
FOLLOWED_FROM = REFINE.followed_from


@dataclass(frozen=True)
class Region:
    """A region of a frame: pixel = (frame pixel − origin − (b − 1)/2)/b.

    Attributes
    ----------
    image, mask : (rows, cols) arrays
        Mean of the valid pixels of b × b blocks; mask is what is compared.
    factor : int, b
    left, top : int
        Origin in the frame (px).
    known : Reference, optional
        Whose region this is: of the camera that all frames share.
    """

    image: Array
    mask: NDArray[np.bool_]
    factor: int
    left: int
    top: int
    known: Reference | None = None

    @classmethod
    def of_camera(cls, frame: Frame, seed: Candidate, known: Reference) -> Region:
        """Cut the compared disc out, the centre of a seed nearest to its middle; the frame may end in it."""
        left, top = known.place(seed.centre_x, seed.centre_y)
        image, mask = known.cut(frame.image, frame.valid, left, top)
        return cls(image, mask, known.factor, left, top, known)

    @classmethod
    def around(
        cls, frame: Frame, seed: Candidate, semi_angle: float, radius_px: int, room: float = 0.0
    ) -> Region:
        """Cut the compared disc of a seed.

        Parameters
        ----------
        frame : Frame
        seed : Candidate
        semi_angle : float, mrad
        radius_px : int
            Binned to a radius of so many to twice so many pixels, of the disc near the zone axis.
        room : float, mrad
            How far the library has beams beyond those that the disc near the zone axis needs
            (`Library.room`): so far at most the region follows the intensity (`followed`).
        """
        more = followed(float(np.hypot(*seed.tilt)), room)
        radius = (semi_angle + FITTED_BEYOND_DISC + more / 2) * seed.scale
        factor = binning(seed.scale, semi_angle, radius_px)
        margin = radius + 4 * factor
        rows, cols = frame.image.shape
        away = -seed.camera_tilt / max(abs(seed.camera_tilt), 1e-12) * (more / 2 * seed.scale)
        centre_x, centre_y = seed.centre_x + away.real, seed.centre_y + away.imag
        top, left = (max(0, int(c - margin)) for c in (centre_y, centre_x))
        bottom = min(rows, int(centre_y + margin) + 1)
        right = min(cols, int(centre_x + margin) + 1)
        cut = (slice(top, bottom), slice(left, right))
        image, valid = bin_frame(frame.image[cut], frame.valid[cut], factor)
        row, col = _frame_pixels(image.shape, factor, left, top)
        inside = np.hypot(col - centre_x, row - centre_y) <= radius
        return cls(image, inside & valid, factor, left, top)

    @property
    def origin(self) -> tuple[float, float]:
        """(col, row) in the frame of the centre of the first pixel (px)."""
        return self.left + (self.factor - 1) / 2, self.top + (self.factor - 1) / 2

    @cached_property
    def variance(self) -> float:
        """Variance of the pattern inside the mask."""
        return max(float(self.image[self.mask].var()), 1e-300)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) edges in frame pixels."""
        rows, cols = self.image.shape
        right, bottom = self.left + cols * self.factor, self.top + rows * self.factor
        return self.left - 0.5, right - 0.5, bottom - 0.5, self.top - 0.5

    def answer(self, fit: Refinement, weights: Array | None = None) -> Candidate:
        """Where a refinement ended; its χ² is relative to the pattern's variance, both weighted (n,)."""
        values = fit.values
        names = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
        data = self.image[self.mask]
        weights = np.ones(len(data)) if weights is None else weights
        variance = ((data - np.average(data, weights=weights)) ** 2) @ weights
        chi2 = float((fit.residual**2) @ weights / max(float(variance), 1e-300))
        return Candidate(**{name: float(values[name]) for name in names}, chi2=chi2)

    def farthest(self, camera: Candidate) -> float:
        """Distance (px of the frame) of the farthest compared pixel from the centre of a camera."""
        row, col = _frame_pixels(self.image.shape, self.factor, self.left, self.top)
        return float(np.hypot(col - camera.centre_x, row - camera.centre_y)[self.mask].max(initial=0.0))

    def radius(self, fit: Refinement) -> Array:
        """|k| (mrad) of every pixel."""
        values = fit.values
        camera = Camera(*(values[name] for name in Camera._fields))
        row, col = _frame_pixels(self.image.shape, self.factor, self.left, self.top)
        k = to_angles(col.ravel(), row.ravel(), camera)
        return np.sqrt(k[0] ** 2 + k[1] ** 2).reshape(self.image.shape)


def followed(tilt: float, room: float) -> float:
    """How much farther a fitted region reaches towards the centre of the Laue circle (mrad).

    Near the zone axis it is the disc of radius α + 7.5 mrad about the direct disc.  At a tilt τ the intensity
    is about the Laue circle, which goes through the direct beam and has its centre at −τ: the region is the
    smallest disc that holds discs of radius α + 7.5 mrad about both, its centre at −τ/2, its radius larger by
    τ/2.  In between one becomes the other.

    Parameters
    ----------
    tilt : float, mrad
    room : float, mrad
        The most that the library has beams for.
    """
    return float(np.clip(2 * (tilt - FOLLOWED_FROM), 0, max(0.0, min(tilt, room))))


def binning(scale: float, semi_angle: float, radius_px: int) -> int:
    """The factor by which frames are binned to a compared disc of a radius of radius_px to 2 radius_px."""
    return max(1, int((semi_angle + FITTED_BEYOND_DISC) * scale / radius_px))


def _frame_pixels(shape: tuple[int, ...], factor: int, left: int, top: int) -> tuple[Array, Array]:
    """(row, col) in the frame of the pixel centres of a region."""
    row, col = np.indices(shape, dtype=float)
    shift = (factor - 1) / 2
    return top + shift + factor * row, left + shift + factor * col


def too_few_pixels(frame: Frame, scale: float, usable: int, fewest: int) -> InputError:
    """The error for a pattern of `scale` px/mrad that has fewer usable pixels than a fit needs."""
    (rows, cols), side = frame.image.shape, math.isqrt(3 * fewest)  # the disc is a third of a frame, or more
    remedy = "bin or mask less"
    if min(rows, cols) < side:
        remedy = (
            f"a frame of {rows} × {cols} px is too small for a whole pattern, which needs about {side} px a "
            "side: if it was binned, bin it less"
        )
    return InputError(
        f"{frame.source}: the pattern at {scale:.3g} px/mrad has only {usable} usable pixels, "
        f"{fewest} are needed; {remedy}"
    )
