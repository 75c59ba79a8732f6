"""Trials: every template with every camera that is tried on one frame.

A camera is compared with another one on the same pixels, those of the whole frame.  The sum of squares
that a template leaves with a camera is

    S = Σ_in (y − B)² + Σ_out (y − ⟨y⟩_r)² − n_in C²/|T|²,

where the first two terms are what the camera leaves without a template (`rings.without_template`) and the
last is what the template explains of the n_in pixels inside the compared disc (`rings.chi2_on_rings`).

Far from the zone axis most of the intensity lies about the middle of the Laue circle, −τ/2 and beyond, where
templates do not reach.  Over the whole frame a camera about that intensity then leaves less than the right
one.  Cameras near a start are therefore compared on the pixels of the start's compared disc (`within`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate, canonical
from hybridfit.fitting.search.rings import LEAST_POWER, chi2_inside, chi2_on_rings, without_template
from hybridfit.fitting.search.settings import SEARCH, SearchSettings
from hybridfit.fitting.search.templates import Templates
from hybridfit.frame import Frame
from hybridfit.pattern.binning import bin_frame, binned_cameras, fill_masked

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class BinnedFrame:
    """A frame in pixels as wide as the rings resolve, in a unit that gives it a standard deviation of 0.5–1.

    The unit is a power of two, so that no digit changes.

    Attributes
    ----------
    image : (rows, cols) array
        Masked pixels are filled with their nearest neighbour.
    valid : (rows, cols) bool array
    factor : int
        Pixels of the frame along either side of one of these.
    """

    image: Array
    valid: NDArray[np.bool_]
    factor: int

    @classmethod
    def of(cls, frame: Frame, reach_px: float, settings: SearchSettings = SEARCH) -> BinnedFrame:
        """A frame whose compared disc has a radius of `reach_px` (px of the frame).

        Raises
        ------
        InputError
            The disc is so large that nothing of the frame would be left.
        """
        factor = max(1, int(reach_px / settings.searched_radius_px))
        image, valid = bin_frame(frame.image, frame.valid, factor)
        while factor > 1 and not valid.any():  # most pixels of every block are masked
            factor -= 1
            image, valid = bin_frame(frame.image, frame.valid, factor)
        filled = fill_masked(image, valid) if valid.any() else np.zeros_like(image)
        return cls(_in_own_unit(filled), valid, factor)


def _in_own_unit(image: Array) -> Array:
    """The image divided by the power of two next to its standard deviation, or to its maximum if constant."""
    largest = float(np.abs(image).max())
    if largest == 0 or not np.isfinite(largest):
        return image
    image = np.ldexp(image, -np.frexp(largest)[1])
    spread = float(image.std())
    return np.ldexp(image, -np.frexp(spread)[1]) if spread > 1e-9 else image


class Trials:
    """What has been tried on one frame.

    Parameters
    ----------
    frame : BinnedFrame
    templates : Templates
    rotation_range : (low, high), degrees, optional
        The rotations that are searched; by default all.
    workers : int, threads
    settings : SearchSettings

    Attributes
    ----------
    cameras : (c, 3) array
        Centre_x, centre_y (px of the frame) and scale (px/mrad).
    relative : (c, t) float32 array
        χ² relative to what the frame holds on the rings of each camera: compares templates.
    rotations : (c, t) float32 array
        The best rotation (degrees) of each template with each camera.
    """

    def __init__(
        self,
        frame: BinnedFrame,
        templates: Templates,
        *,
        rotation_range: tuple[float, float] | None = None,
        workers: int = 1,
        settings: SearchSettings = SEARCH,
    ) -> None:
        self.frame, self.templates = frame, templates
        self.rotation_range, self.workers, self.settings = rotation_range, workers, settings
        count = len(templates.thickness)
        self.cameras = np.empty((0, 3))
        self.relative, self.rotations = np.empty((0, count), np.float32), np.empty((0, count), np.float32)
        self._ring_power = np.empty(0)
        # over the whole frame, for the first cameras: `squares` adds those that are missing
        self._squares, self._null, self._power = np.empty((0, count)), np.empty(0), np.empty(0)

    def of(self, templates: Templates, settings: SearchSettings | None = None) -> Trials:
        """Trials of other templates on the same frame, under the same settings or others; none is tried."""
        return Trials(
            self.frame,
            templates,
            rotation_range=self.rotation_range,
            workers=self.workers,
            settings=settings or self.settings,
        )

    def part(self, index: NDArray[np.int64]) -> Trials:
        """Those of some of the cameras."""
        out = self.of(self.templates)
        out.cameras, out._ring_power = self.cameras[index], self._ring_power[index]
        out.relative, out.rotations = self.relative[index], self.rotations[index]
        return out

    def within(self, camera: Array) -> Trials:
        """The same trials, whose cameras are compared on the compared disc of one camera (3,) alone."""
        x, y, scale = binned_cameras(camera[None], self.frame.factor)[0]
        row, col = np.indices(self.frame.image.shape)
        reach = (self.templates.semi_angle + self.templates.beyond_disc) * scale
        out = self.part(np.arange(len(self.cameras)))
        out.frame = replace(self.frame, valid=self.frame.valid & (np.hypot(col - x, row - y) <= reach))
        return out

    def tilt(self, i: int) -> float:
        """The tilt (mrad) of the library point that resembles the frame best with camera i."""
        best = int(self.relative[i].argmin())
        return float(np.hypot(self.templates.tilt_x[best], self.templates.tilt_y[best]))

    def add(self, cameras: Array, progress: Callable[[float], None] | None = None) -> None:
        """Try all templates with cameras (c, 3), in px of the frame; progress is called with fractions."""
        relative, rotations, power = chi2_on_rings(
            self.frame.image,
            self.templates,
            binned_cameras(cameras, self.frame.factor),
            rotation_range=self.rotation_range,
            workers=self.workers,
            progress=progress,
        )
        self.cameras = np.concatenate([self.cameras, cameras])
        self.relative = np.concatenate([self.relative, relative])
        self.rotations = np.concatenate([self.rotations, rotations])
        self._ring_power = np.concatenate([self._ring_power, power])

    def join(self, other: Trials) -> None:
        """Take over the trials of other cameras with the same templates on the same frame."""
        self._squares = np.concatenate([self.squares, other.squares])
        self._null = np.concatenate([self._null, other._null])
        self._power = np.concatenate([self._power, other._power])
        self.cameras = np.concatenate([self.cameras, other.cameras])
        self.relative = np.concatenate([self.relative, other.relative])
        self.rotations = np.concatenate([self.rotations, other.rotations])
        self._ring_power = np.concatenate([self._ring_power, other._ring_power])

    def roughly(self, cameras: Array, most: int) -> Array:
        """The best of many cameras (c, 3), by a share of the library points; nothing is kept of them."""
        sparse = self.templates.sparse(self.settings.sparse_thickness, self.settings.sparse_tilt)
        rough = self.of(sparse)
        rough.add(cameras)
        return rough.cameras[rough.best_cameras(most)]

    def best_roughly(self, cameras: Array) -> Array:
        """Cameras (c, 3), those of many rims less what a share of the library points says is worse."""
        most = self.settings.first_most
        return cameras if len(cameras) <= most else self.roughly(cameras, most)

    def inside(self) -> Trials:
        """The same templates with the best camera, compared inside the direct disc alone (`chi2_inside`)."""
        out, camera = self.of(self.templates), self.cameras[[self.best_camera()]]
        out.cameras = camera
        out.relative, out.rotations = chi2_inside(
            self.frame.image,
            self.templates,
            binned_cameras(camera, self.frame.factor)[0],
            self.settings.rim,
            self.rotation_range,
        )
        # of what is inside of this one camera, nothing else is compared
        out._ring_power, out._squares = np.ones(1), out.relative.astype(float)
        out._null, out._power = np.ones(1), np.ones(1)
        return out

    @property
    def squares(self) -> Array:
        """(c, t): the sum of squares over the whole frame that every template leaves with every camera."""
        fresh = slice(len(self._squares), len(self.cameras))
        if fresh.start < fresh.stop:
            null, pixels = without_template(
                self.frame.image,
                self.frame.valid,
                binned_cameras(self.cameras[fresh], self.frame.factor),
                self.templates.semi_angle,
                self.templates.beyond_disc,
            )
            power = pixels * self._ring_power[fresh]
            squares = null[:, None] - power[:, None] * (1 - self.relative[fresh])
            self._squares = np.concatenate([self._squares, squares])
            self._null, self._power = np.append(self._null, null), np.append(self._power, power)
        return self._squares

    def best_cameras(self, most: int) -> NDArray[np.int64]:
        """Indices of the cameras that leave least, the best first."""
        return np.argsort(self.squares.min(axis=1))[:most]

    def best_camera(self) -> int:
        """Index of the camera that leaves least."""
        return int(self.squares.min(axis=1).argmin())

    def chi2(self) -> Float32:
        """(c, t): χ² over the whole frame, relative to what the best camera has inside its rings."""
        squares, best = self.squares, self.best_camera()
        explained = self._null[best] - squares
        return (1 - explained / max(self._power[best], LEAST_POWER)).astype(np.float32)

    def least_by_thickness(self, chi2: Float32) -> Array:
        """(2, n): every thickness (nm), and the least χ² (c, t) there."""
        thickness, least = np.unique(self.templates.thickness), chi2.min(axis=0)
        return np.stack([thickness, [least[self.templates.thickness == t].min() for t in thickness]])

    def candidates(self, chi2: Float32, rotation_order: int, most: int) -> list[Candidate]:
        """The best library points, each with its best camera, no two of them neighbours.

        A point counts when no neighbour, in thickness or in tilt, is better.  Points that explain next to
        nothing of what the best one explains do not count.

        Parameters
        ----------
        chi2 : (c, t) float32 array
        rotation_order : int
            n of the n-fold axis of the projection.
        most : int

        Returns
        -------
        list of Candidate
            Best first; empty where nothing resembles the frame.
        """
        camera = np.argmin(chi2, axis=0)
        columns = np.arange(chi2.shape[1])
        score, turn = chi2[camera, columns], self.rotations[camera, columns]
        minimum = self._local_minima(score, rotation_order)
        if len(score) > 1:  # where nothing correlates every point is as bad as its neighbours
            minimum &= score < score.max()
        minimum &= 1 - score >= self.settings.worth * (1 - score.min())
        kept: list[Candidate] = []
        points = self.templates
        for i in np.flatnonzero(minimum)[np.argsort(score[minimum])][:most]:
            x, y, angle = canonical(
                float(points.tilt_x[i]), float(points.tilt_y[i]), float(turn[i]), rotation_order
            )
            centre_x, centre_y, scale = (float(v) for v in self.cameras[camera[i]])
            t = float(points.thickness[i])
            kept.append(Candidate(t, x, y, centre_x, centre_y, scale, angle, float(score[i])))
        return kept

    def _local_minima(self, score: Float32, order: int) -> NDArray[np.bool_]:
        """Templates that no neighbour beats: one step in thickness, `neighbour_tilt` in tilt."""
        points = self.templates
        grid = score.reshape(points.thicknesses, -1)
        tilt = (points.tilt_x + 1j * points.tilt_y)[: grid.shape[1]]
        turns = np.exp(2j * np.pi * np.arange(order) / order)
        distance = np.abs(tilt[:, None, None] * turns - tilt[None, :, None]).min(axis=2)
        near = distance <= self.settings.neighbour_tilt
        best = np.stack([grid[:, neighbours].min(axis=1) for neighbours in near], axis=1)
        padded = np.pad(best, ((1, 1), (0, 0)), constant_values=np.inf)
        lowest = np.minimum(np.minimum(padded[:-2], padded[1:-1]), padded[2:])
        return (grid <= lowest).ravel()


def joined(curves: Sequence[Array]) -> Array:
    """The least of several curves (2, n) at all their thicknesses."""
    if not curves:
        return np.empty((2, 0))
    t, chi2 = np.concatenate(curves, axis=1)
    thickness = np.unique(t)
    return np.stack([thickness, [chi2[t == each].min() for each in thickness]])
