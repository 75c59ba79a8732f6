"""The library match: thickness, tilt and rotation of a frame whose direct disc is known roughly.

The full search tries every library point with some hundred cameras.  Where a few cameras are to be
trusted, to some per cent of the disc, it is enough to take turns:

    all library points with the cameras → the best of these → those few with cameras beside, downhill
    → all library points with the camera where that ends → …   until it stays

Where that leaves much, the cameras were not to be trusted: a wide grid of them is tried with a share
of the library points, and the best go the same way.
A camera costs as much as the library points that are matched with it, so that nearly all the work
is in the few times that all of them are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.search.cameras import beside, wide_cameras
from hybridfit.fitting.search.full import (
    HINTED_ROTATION,
    MISLED,
    SEARCHED_RADIUS_PX,
    Searcher,
    candidates,
    match,
    ring_power,
)
from hybridfit.fitting.search.templates import BEYOND_DISC, Templates
from hybridfit.fitting.search.trials import unexplained
from hybridfit.fitting.seed.disc import rough_discs
from hybridfit.frame import Frame
from hybridfit.pattern.binning import bin_frame

if TYPE_CHECKING:
    from hybridfit.fitting.seed.other_crystal import Aligner

Array = NDArray[np.float64]

RIMS = 1  # of the sharpest ones that are tried beside the network's disc
FEW = 200  # library points that go downhill with a camera
STEPS = ((0.7, 0.05), (0.35, 0.025), (0.17, 0.012))  # mrad and relative: of the cameras beside
MOVES = 8  # downhill with each step, at most
ROUNDS = 3
SPARSE = 3  # every third tilt, and every other thickness, where many cameras are tried
WIDE_MOST = 4  # of many cameras


class _Tried(NamedTuple):
    """Cameras (c, 3), what is left with each library point (c, t), rotations (c, t), and without one.

    without : (c, 2)
        Sum of squares without a library point, and what the rings hold of it.
    """

    cameras: Array
    squares: Array
    angles: NDArray[np.float32]
    without: Array

    def best(self) -> int:
        """The camera that leaves least."""
        return int(self.squares.min(axis=1).argmin())

    def chi2(self) -> NDArray[np.float32]:
        """(c, t) χ² relative to what the best camera has inside its rings."""
        null, power = self.without[self.best()]
        return (1 - (null - self.squares) / max(power, 1e-12)).astype(np.float32)

    def with_(self, more: _Tried) -> _Tried:
        """These, and more."""
        return _Tried(
            np.concatenate([self.cameras, more.cameras]),
            np.concatenate([self.squares, more.squares]),
            np.concatenate([self.angles, more.angles]),
            np.concatenate([self.without, more.without]),
        )


class Matcher:
    """Matches the library of a `Searcher`, and within its hints.

    Parameters
    ----------
    searcher : Searcher
    aligner : Aligner, optional
        Says where the direct disc is, beside what the sharpest rim in the frame says.
    """

    def __init__(self, searcher: Searcher, aligner: Aligner | None = None) -> None:
        self.searcher, self.aligner = searcher, aligner

    @classmethod
    def aligned(cls, searcher: Searcher) -> Matcher:
        """With the shipped network for the alignment."""
        from hybridfit.fitting.seed.other_crystal import Aligner  # torch is slow to import

        return cls(searcher, Aligner.shipped(searcher.semi_angle, hints=searcher.hints))

    def cameras(self, frame: Frame) -> list[tuple[float, float, float]]:
        """Centres (px) and scales (px/mrad) that the direct disc may have, the network's first."""
        hints, semi_angle = self.searcher.hints, self.searcher.semi_angle
        if hints.centre is not None and hints.scale is not None:
            return [(*hints.centre, hints.scale)]
        found = []
        if self.aligner is not None:
            alignment = self.aligner.align(frame)
            if alignment.sure:
                found.append(alignment.camera)
        with contextlib.suppress(InputError):
            for disc in rough_discs(frame.image, frame.valid, RIMS):
                centre = hints.centre or (disc.centre_x, disc.centre_y)
                found.append((*centre, hints.scale or disc.radius / semi_angle))
        return found

    def match(
        self, frame: Frame, starts: Sequence[tuple[float, float, float]]
    ) -> tuple[list[Candidate], Array]:
        """Candidates, best first, and the least χ² found at every thickness (2, n).

        Parameters
        ----------
        frame : Frame
        starts : sequence of (centre_x, centre_y, scale), px and px/mrad
            Where the direct disc may be; at least one.
        """
        s, templates = self.searcher, self.searcher.templates()
        look = _Look(s, frame, float(np.median([scale for _, _, scale in starts])))
        tried = self._settled(look, np.array(starts, dtype=float))
        if tried.chi2().min() > MISLED:
            wide = wide_cameras(frame, s.hints, s.semi_angle)
            rough = look.at(wide, _part(templates, self._sparse()))
            best = wide[np.argsort(rough.squares.min(axis=1))[:WIDE_MOST]]
            tried = tried.with_(self._settled(look, best))
        chi2 = tried.chi2()
        found = candidates(templates, tried.cameras, chi2, tried.angles, s.library.rotation_order)
        thickness = np.unique(templates.thickness)
        by_template = chi2.min(axis=0)
        least = [by_template[templates.thickness == t].min() for t in thickness]
        return found, np.stack([thickness, least])

    def _settled(self, look: _Look, starts: Array) -> _Tried:
        """Cameras and library points, in turns, until nothing moves."""
        templates = self.searcher.templates()
        tried = look.at(starts, templates)
        parents = range(len(starts))
        for _ in range(ROUNDS):
            few = [_part(templates, np.argsort(tried.squares[i])[:FEW]) for i in parents]
            ends = [
                self._downhill(look, tried.cameras[i], part) for i, part in zip(parents, few, strict=True)
            ]
            fresh = [end for end in ends if not np.isclose(tried.cameras, end, rtol=1e-9).all(axis=1).any()]
            if not fresh:
                break
            before = tried.squares.min()
            tried = tried.with_(look.at(np.array(fresh), templates))
            if tried.squares.min() >= before:
                break
            parents = range(best := tried.best(), best + 1)
        return tried

    def _sparse(self) -> NDArray[np.int64]:
        """Every other thickness, and a share of the tilts."""
        templates = self.searcher.templates()
        count = len(np.unique(templates.thickness))
        each = len(templates.thickness) // count
        return np.arange(len(templates.thickness)).reshape(count, each)[::2, ::SPARSE].ravel()

    def _downhill(self, look: _Look, camera: Array, few: Templates) -> Array:
        """The camera that a few library points lead to."""
        hints = self.searcher.hints
        for shift, size in STEPS:
            for _ in range(MOVES):
                near = beside(camera[None], shift * (hints.centre is None), size * (hints.scale is None))
                best = near[look.at(near, few).best()]
                if np.array_equal(best, camera):
                    break
                camera = best
        return camera


class _Look:
    """One frame, binned for the rings, as any camera would have it."""

    def __init__(self, searcher: Searcher, frame: Frame, scale: float) -> None:
        self.searcher = searcher
        self.factor = max(1, int(scale * (searcher.semi_angle + BEYOND_DISC) / SEARCHED_RADIUS_PX))
        self.image, self.valid = bin_frame(frame.image, frame.valid, self.factor)

    def at(self, cameras: Array, templates: Templates) -> _Tried:
        """Every library point of the templates with every camera."""
        s, small = self.searcher, cameras.copy()
        small[:, :2] = (small[:, :2] - (self.factor - 1) / 2) / self.factor
        small[:, 2] /= self.factor
        turn = s.hints.rotation
        around = None if turn is None else (turn - HINTED_ROTATION, turn + HINTED_ROTATION)
        relative, angles = match(
            self.image, self.valid, templates, small, rotation_range=around, workers=s.workers
        )
        null, pixels = unexplained(self.image, self.valid, small, s.semi_angle, BEYOND_DISC)
        power = pixels * ring_power(self.image, self.valid, small, s.semi_angle)
        squares = null[:, None] - power[:, None] * (1 - relative)
        return _Tried(cameras, squares, angles, np.stack([null, power], axis=1))


def _part(templates: Templates, index: NDArray[np.int64]) -> Templates:
    return Templates(
        templates.series[index],
        templates.thickness[index],
        templates.tilt_x[index],
        templates.tilt_y[index],
        templates.semi_angle,
    )
