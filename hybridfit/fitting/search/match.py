"""The library match: thickness, tilt and rotation of a frame whose direct disc is known roughly.

The full search tries all library points with some hundred cameras.  Where a few cameras are right to some
per cent of the disc's radius, turns do it:

    all library points with the cameras → the best points, by which each camera goes downhill →
    all library points with the camera where that ends → …

until the camera stays.  Nearly all the time goes into the few turns of all library points.

Where the best match leaves much, the cameras were wrong.  A share of the library points is then tried with a
wide grid of cameras, and the best of these cameras go the same way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.search.cameras import beside, possible, wide_cameras
from hybridfit.fitting.search.full import Searcher
from hybridfit.fitting.search.odds import weighed
from hybridfit.fitting.search.trials import Trials
from hybridfit.fitting.seed.disc import rough_discs
from hybridfit.fitting.seed.settings import SEED, SeedSettings
from hybridfit.frame import Frame

if TYPE_CHECKING:
    from hybridfit.fitting.seed.alignment import Aligner, Alignment

Array = NDArray[np.float64]
Start = tuple[float, float, float]


class Matcher:
    """Matches the library of a `Searcher` within its hints, under its settings.

    Parameters
    ----------
    searcher : Searcher
    aligner : Aligner, optional
        Finds the direct disc, beside the sharpest rim in the frame.
    """

    def __init__(self, searcher: Searcher, aligner: Aligner | None = None) -> None:
        self.searcher, self.aligner = searcher, aligner
        self.settings = searcher.settings

    @classmethod
    def aligned(cls, searcher: Searcher, seeding: SeedSettings = SEED) -> Matcher:
        """With the alignment network, under the settings of the seed."""
        from hybridfit.fitting.seed.alignment import Aligner

        return cls(searcher, Aligner.shipped(searcher.semi_angle, hints=searcher.hints, settings=seeding))

    def cameras(self, frame: Frame) -> list[tuple[float, float, float]]:
        """Centres (px) and scales (px/mrad) that the direct disc may have, the network's first."""
        aligned = self.aligned_cameras(frame)
        return aligned if self._known else [*aligned, *self.rims(frame)]

    @property
    def _known(self) -> bool:
        """Whether hints know where the direct disc is."""
        return self.searcher.hints.centre is not None and self.searcher.hints.scale is not None

    def aligned_cameras(self, frame: Frame) -> list[Start]:
        """The camera that hints or the network say, or the few that it wavers between; none without it."""
        return [each.camera for each in self.discs(frame)]

    def discs(self, frame: Frame) -> list[Alignment]:
        """The direct discs that hints or the network say, the surest first; none without it."""
        from hybridfit.fitting.seed.alignment import Alignment

        hints = self.searcher.hints
        if hints.centre is not None and hints.scale is not None:
            return [Alignment(*hints.centre, hints.scale, doubt=0.0, sure=True)]
        return [] if self.aligner is None else self.aligner.discs(frame)

    def further(self, frame: Frame, tried: Sequence[Start]) -> list[Start]:
        """The cameras of further discs that the network names where those that were tried lead to nothing."""
        return [] if self.aligner is None else [each.camera for each in self.aligner.further(frame, tried)]

    def rims(self, frame: Frame) -> list[tuple[float, float, float]]:
        """The cameras of the sharpest rims; none where there are no rims, or hints know the camera."""
        found: list[tuple[float, float, float]] = []
        hints, semi_angle = self.searcher.hints, self.searcher.semi_angle
        with contextlib.suppress(InputError):
            for disc in rough_discs(frame.image, frame.valid, self.settings.rims, self.searcher.finding):
                centre = hints.centre or (disc.centre_x, disc.centre_y)
                found.append((*centre, hints.scale or disc.radius / semi_angle))
        return [] if self._known else found

    def match(
        self, frame: Frame, starts: Sequence[Start], *others: Callable[[], Sequence[Start]], wide: bool = True
    ) -> tuple[list[Candidate], Array]:
        """Candidates with their odds, best first, and the least χ² found at every thickness (2, n), nm.

        There are no candidates where no start can be a camera of the frame, or nothing resembles it.
        Parameters are as of `trials`.
        """
        return self.read(self.trials(frame, starts, *others, wide=wide))

    def read(self, trials: Trials | None) -> tuple[list[Candidate], Array]:
        """What `match` says of trials."""
        if trials is None:
            return [], self.searcher.templates().unexplained_curve()
        return self.weighed(trials), trials.least_by_thickness(trials.chi2())

    def inside(self, trials: Trials) -> tuple[list[Candidate], Array]:
        """As `match`, by what lies inside the direct disc alone, with the best camera of trials.

        There are no candidates where fewer rings than `least_inside` lie inside.  χ² is relative to the
        variance there, and not to be compared with that of `match`.
        """
        radii, semi_angle = trials.templates.radii, self.searcher.semi_angle
        if (radii < semi_angle - self.settings.rim).sum() < self.settings.least_inside:
            return [], trials.templates.unexplained_curve()
        inner = trials.inside()
        return self.weighed(inner), inner.least_by_thickness(inner.chi2())

    def weighed(self, trials: Trials) -> list[Candidate]:
        """The best library points of trials with their odds, best first."""
        order, chi2 = self.searcher.library.rotation_order, trials.chi2()
        found = trials.candidates(chi2, order, self.settings.most_candidates)
        return weighed(found, chi2.min(axis=0), trials.templates, order, self.settings)

    def trials(
        self, frame: Frame, starts: Sequence[Start], *others: Callable[[], Sequence[Start]], wide: bool = True
    ) -> Trials | None:
        """All library points with the cameras that the starts lead to; None where none can be the frame's.

        Parameters
        ----------
        frame : Frame
        starts : sequence of (centre_x, centre_y, scale), px and px/mrad
            Where the direct disc may be.
        others : callables
            Further ones, tried in turn while none of those before can be or their best match leaves much.
        wide : bool
            Whether cameras all around are tried where that still leaves much.
        """
        best: Trials | None = None
        for more in (lambda: starts, *others):
            cameras = self._possible(frame, more())
            if not len(cameras):
                continue
            if best is None:
                blank = self.searcher.trials(frame, float(np.median(cameras[:, 2])))
            found = self._settled(blank, cameras)
            best = found if best is None else _better(best, found)
            if best.chi2().min() <= self.settings.misled:
                return best
        if best is not None and wide and len(cameras := self._wide(blank, frame)):
            best = _better(best, self._settled(blank, cameras))
        return best

    def _settled(self, blank: Trials, starts: Array) -> Trials:
        """The trials that the starts (c, 3) lead to, on the frame of others in which nothing is tried.

        Where a start resembles a crystal that is tilted far, it goes its way alone, on its own pixels.
        """
        first = blank.of(blank.templates)
        first.add(starts)
        far = [first.tilt(i) > self.settings.far_tilt for i in range(len(starts))]
        found = [first.part(np.array([i])).within(starts[i]) for i in np.flatnonzero(far)]
        if not all(far):
            found.insert(0, first.part(np.flatnonzero(np.logical_not(far))))
        for trials in found:
            self._settle(trials)
        return reduce(_better, found)

    def _possible(self, frame: Frame, starts: Sequence[tuple[float, float, float]]) -> Array:
        """Those of the starts (c, 3) that can be cameras of the frame."""
        cameras = np.array(starts, dtype=float).reshape(-1, 3)
        return cameras[possible(frame, cameras, self.searcher.semi_angle, self.settings)]

    def _settle(self, trials: Trials) -> None:
        """Cameras and library points, in turns, from what has been tried until nothing moves."""
        templates = trials.templates
        parents = list(range(len(trials.cameras)))
        for _ in range(self.settings.rounds):
            ends = [
                self.downhill(
                    trials.of(templates.part(np.argsort(trials.squares[i])[: self.settings.downhill_points])),
                    trials.cameras[i],
                )
                for i in parents
            ]
            tried = trials.cameras
            fresh = [end for end in ends if not np.isclose(tried, end, rtol=1e-9).all(axis=1).any()]
            if not fresh:
                break
            before = trials.squares.min()
            trials.add(np.array(fresh))
            if trials.squares.min() >= before:
                break
            parents = [trials.best_camera()]

    def _wide(self, trials: Trials, frame: Frame) -> Array:
        """The best of many cameras (c, 3), by a share of the library points."""
        s, settings = self.searcher, self.settings
        wide = wide_cameras(frame, s.hints, s.semi_angle, settings, s.finding)
        return trials.roughly(wide, settings.wide_most)

    def downhill(self, few: Trials, camera: Array) -> Array:
        """The camera that a few library points lead to; nothing is tried with them yet."""
        hints = self.searcher.hints
        for shift, size in self.settings.downhill_steps:
            for _ in range(self.settings.downhill_moves):
                near = beside(camera[None], shift * (hints.centre is None), size * (hints.scale is None))
                trials = few.of(few.templates)
                trials.add(near)
                best = near[trials.best_camera()]
                if np.array_equal(best, camera):
                    break
                camera = best
        return camera


def _better(one: Trials, other: Trials) -> Trials:
    """Two trials as one where their cameras are compared on the same pixels; else those that leave less."""
    if one.frame is other.frame:
        one.join(other)
        return one
    return min(one, other, key=lambda trials: float(trials.chi2().min()))
