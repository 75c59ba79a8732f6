"""The screen: templates of all hypotheses with cameras that they share.

Where the direct disc is does not depend on the crystal.  Cameras come from the alignment and from the rims of
the frame.  All hypotheses try them; the best few lead downhill to a better camera, which all try again.  Sums
of squares are over the whole frame, so that hypotheses and cameras compare.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.search.cameras import possible, wide_cameras
from hybridfit.fitting.search.match import Matcher
from hybridfit.fitting.search.trials import BinnedFrame, Trials
from hybridfit.fitting.seed.disc import rough_discs
from hybridfit.fitting.settings import FitSettings
from hybridfit.frame import Frame
from hybridfit.identification.hypotheses import Hypothesis
from hybridfit.identification.settings import IdentifySettings

Array = NDArray[np.float64]
ROUNDS = 2


class Screen:
    """All hypotheses on one frame.

    Parameters
    ----------
    frame : Frame
    hypotheses : sequence of Hypothesis
        Of one semi-angle.
    matcher : Matcher
        Of any of them: it finds the cameras of the frame.
    settings : IdentifySettings
    progress : callable(stage, fraction)

    Attributes
    ----------
    trials : dict of Hypothesis to Trials

    Raises
    ------
    InputError
        No camera can be that of the frame.
    """

    def __init__(
        self,
        frame: Frame,
        hypotheses: Sequence[Hypothesis],
        matcher: Matcher,
        settings: IdentifySettings,
        progress: Callable[[str, float], None],
    ) -> None:
        self.frame, self.matcher, self.settings, self.progress = frame, matcher, settings, progress
        self.fit: FitSettings = hypotheses[0].settings
        cameras = self._possible(matcher.cameras(frame))
        if not len(cameras):
            cameras = self._wide()
        if not len(cameras):
            raise InputError(
                f"{frame.source}: no direct disc that could be that of {self.fit.semi_angle:g} mrad; check "
                "the semi-angle and the frame"
            )
        searching = self.fit.searching
        reach = float(np.median(cameras[:, 2])) * searching.reach(self.fit.semi_angle)
        binned = BinnedFrame.of(frame, reach, searching)
        turn, either_way = self.fit.hints.rotation, searching.hinted_rotation
        allowed = None if turn is None else (turn - either_way, turn + either_way)
        self.trials = {
            h: Trials(binned, h.templates, rotation_range=allowed, workers=h.workers, settings=searching)
            for h in hypotheses
        }
        self._settle(cameras)
        if self.least > searching.misled and len(wide := self._wide()):
            self._settle(self._best_roughly(wide))

    @property
    def least(self) -> float:
        """The least χ² of all, relative to the variance of the frame."""
        return min(float(each.chi2().min()) for each in self.trials.values())

    def ranked(self) -> list[Hypothesis]:
        """The hypotheses by what their best match leaves, the best first."""
        squares = {h: float(trials.squares.min()) for h, trials in self.trials.items()}
        return sorted(squares, key=lambda h: squares[h])

    def near_the_best(self) -> list[Hypothesis]:
        """Those that are worth a refinement, the best first."""
        ranked = self.ranked()
        best = self.trials[ranked[0]]
        least = float(best.squares.min())
        variance = least / max(float(best.chi2().min()), 1e-12)  # in the unit of the sums of squares
        most = least + self.settings.screened_near * variance
        return [h for h in ranked[: self.settings.screened] if self.trials[h].squares.min() <= most]

    def candidates(self, hypothesis: Hypothesis) -> list[Candidate]:
        """The best library points of a hypothesis, best first."""
        trials, settings = self.trials[hypothesis], self.settings
        order = hypothesis.library.rotation_order
        found = trials.candidates(trials.chi2(), order, settings.candidates)
        return [c for c in found if c.chi2 <= found[0].chi2 + settings.candidates_near]

    def _settle(self, cameras: Array) -> None:
        """Try cameras with all hypotheses; then those where the best of them lead to."""
        for turn in range(ROUNDS + 1):
            for i, trials in enumerate(self.trials.values()):
                trials.add(cameras)
                self.progress("match", (turn + (i + 1) / len(self.trials)) / (ROUNDS + 1))
            if turn == ROUNDS:
                break
            ends: list[Array] = []
            for h, i in self._leading(len(cameras)):
                trials = self.trials[h]
                points = np.argsort(trials.squares[i])[: self.fit.searching.downhill_points]
                end = self.matcher.downhill(trials.of(trials.templates.part(points)), trials.cameras[i])
                tried = np.concatenate([trials.cameras, *(each[None] for each in ends)])
                if not np.isclose(tried, end, rtol=1e-9).all(axis=1).any():
                    ends.append(end)
            if not ends:
                break
            cameras = np.array(ends)

    def _leading(self, fresh: int) -> list[tuple[Hypothesis, int]]:
        """Hypotheses and cameras that lead downhill: the best ones, and the best with each fresh camera."""
        ranked = self.ranked()
        out = [(h, self.trials[h].best_camera()) for h in ranked[: self.settings.starts]]
        count = len(self.trials[ranked[0]].cameras)
        out += [(self._best_with(i), i) for i in range(count - fresh, count)]
        return list(dict.fromkeys(out))

    def _best_with(self, camera: int) -> Hypothesis:
        """The hypothesis that leaves least with a camera."""
        return min(self.trials, key=lambda h: float(self.trials[h].squares[camera].min()))

    def _possible(self, cameras: Sequence[tuple[float, float, float]]) -> Array:
        given = np.array(cameras, dtype=float).reshape(-1, 3)
        return given[possible(self.frame, given, self.fit.semi_angle, self.fit.searching)]

    def _wide(self) -> Array:
        """Cameras all around what is bright, and those of all rims."""
        hints, fit = self.fit.hints, self.fit
        around = wide_cameras(self.frame, hints, fit.semi_angle, fit.searching, fit.seeding.disc)
        if hints.centre is not None or hints.scale is not None:
            return around
        with contextlib.suppress(InputError):  # there are no rims
            discs = rough_discs(self.frame.image, self.frame.valid, settings=fit.seeding.disc)
            rims = [(disc.centre_x, disc.centre_y, disc.radius / fit.semi_angle) for disc in discs]
            around = np.concatenate([self._possible(rims), around])
        return around

    def _best_roughly(self, cameras: Array) -> Array:
        """The best of many cameras, by a share of the library points of all hypotheses."""
        searching = self.fit.searching
        least = np.full(len(cameras), np.inf)
        for trials in self.trials.values():
            rough = trials.of(trials.templates.sparse(searching.sparse_thickness, searching.sparse_tilt))
            rough.add(cameras)
            least = np.minimum(least, rough.squares.min(axis=1))
        return cameras[np.argsort(least)[: searching.wide_most]]
