"""The full search: all library points with many cameras, for the least χ².

    rims of the frame → cameras about each → the best cameras, with smaller steps → candidates

Where even the best camera leaves much, the rims have misled: cameras all around what is bright in the frame
are tried, too.  Where that leaves much, the tilt may be larger than those that libraries are made for: the
tilts beyond, which a library has for smaller semi-angles, are tried with larger steps.  Hints for thickness
or tilt leave a window of the library.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import WINDOW, Candidate
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.search.cameras import around, trial_cameras, wide_cameras
from hybridfit.fitting.search.ring_patterns import (
    RingPatterns,
    load_patterns,
    make_ring_patterns,
    ring_patterns,
)
from hybridfit.fitting.search.settings import SEARCH, SearchSettings
from hybridfit.fitting.search.templates import (
    Templates,
    load_quietly,
    make_templates,
    save_quietly,
    tilt_grid,
)
from hybridfit.fitting.search.trials import BinnedFrame, Trials, joined
from hybridfit.fitting.seed.disc import DISC
from hybridfit.fitting.seed.settings import DiscSettings
from hybridfit.frame import Frame
from hybridfit.library.build import VERSION
from hybridfit.library.library import Library, cache_folder

Array = NDArray[np.float64]
Progress = Callable[[str, float], None]

TEMPLATE_VERSION = 3

BOUNDED = ("thickness", "tilt_x", "tilt_y")  # what bounds leave out of the search


class Searcher:
    """The full search of one crystal at one semi-angle; its templates are made once.

    Parameters
    ----------
    library : Library, in memory
        Without structural parameters, or at one value of each.
    semi_angle : float, mrad
    hints : Hints
        A thickness or a tilt restricts the search to a window about it.
    workers : int, threads
    progress : callable(stage, fraction)
    settings : SearchSettings
    bounds : mapping of parameter name to (lowest, highest), optional
        Those of thickness and tilt leave the rest of the library out.
    finding : DiscSettings
        How the direct disc is found.

    Raises
    ------
    InputError
        The semi-angle is smaller than the rings resolve, or not finite.
    """

    def __init__(
        self,
        library: Library,
        semi_angle: float,
        *,
        hints: Hints,
        workers: int,
        progress: Progress,
        settings: SearchSettings = SEARCH,
        bounds: Mapping[str, tuple[float, float]] | None = None,
        finding: DiscSettings = DISC,
    ) -> None:
        if not settings.softness <= semi_angle < np.inf:  # False for NaN
            raise InputError(
                f"semi-angle {semi_angle:g} mrad cannot be searched; give it in mrad, at least "
                f"{settings.softness:g}"
            )
        self.library = library
        self.semi_angle = semi_angle
        self.hints = hints
        self.workers = workers
        self.progress = progress
        self.settings = settings
        self.bounds = {name: pair for name, pair in (bounds or {}).items() if name in BOUNDED}
        self.finding = finding
        self._templates: Templates | None = None
        self._beyond: Templates | None = None
        self._ring_patterns: RingPatterns | None = None

    def search(self, frame: Frame) -> tuple[list[Candidate], Array]:
        """Candidates, best first, and the least χ² found at every thickness (2, n), nm.

        There are no candidates where nothing in the library resembles the frame.

        Raises
        ------
        InputError
            The frame shows no direct disc, or hints make every camera absurd.
        """
        hints, settings = self.hints, self.settings
        cameras = trial_cameras(frame, hints, self.semi_angle, settings, self.finding)
        trials = self.trials(frame, float(np.median(cameras[:, 2])))
        trials.add(trials.best_roughly(cameras), self._progress(0.0, 0.4))
        levels, done = settings.levels, 0.4
        if trials.chi2().min() > settings.misled:
            wide = wide_cameras(frame, hints, self.semi_angle, settings, self.finding)
            trials.add(trials.roughly(wide, settings.wide_most), self._progress(0.4, 0.7))
            levels, done = (settings.wide_level, *levels), 0.7
        self._nearer(trials, levels, done)
        found, curve = self._best_of(trials)
        if found and found[0].chi2 <= settings.misled:
            return found, curve
        beyond = self.beyond()
        if beyond is None:
            return found, curve
        farther = settings.beyond_tilt_step / settings.tilt_step
        trials = trials.of(beyond, replace(settings, neighbour_tilt=farther * settings.neighbour_tilt))
        trials.add(trials.best_roughly(cameras))
        self._nearer(trials, settings.levels, 1.0)
        others, other_curve = self._best_of(trials)
        if not others or (found and others[0].chi2 >= found[0].chi2):
            return found, curve
        both = sorted([*found, *others], key=lambda c: c.chi2)
        return both[: settings.most_candidates], joined([curve, other_curve])

    def _nearer(self, trials: Trials, levels: Sequence[tuple[int, float]], done: float) -> None:
        """Try cameras about the best ones, level after level with smaller steps.

        The best library points find the way; where it ends all of them are tried.
        """
        settings = self.settings
        best = np.argsort(trials.squares.min(axis=0))[: settings.nearer_points]
        few = trials.of(trials.templates.part(best))
        few.add(trials.cameras[trials.best_cameras(levels[0][0])])
        for i, (parents, step) in enumerate(levels, 1):
            near = few.cameras[few.best_cameras(parents)]
            near = around(near, settings.shift_step * step, settings.scale_step_about(self.hints) * step)
            until = max(done, 0.7 + 0.3 * i / len(levels))
            few.add(near, self._progress(done, until))
            done = until
        trials.add(few.cameras[few.best_cameras(settings.nearer_most)])

    def _best_of(self, trials: Trials) -> tuple[list[Candidate], Array]:
        """The best library points of what has been tried, and the least χ² at every thickness."""
        chi2 = trials.chi2()
        found = trials.candidates(chi2, self.library.rotation_order, self.settings.most_candidates)
        return found, trials.least_by_thickness(chi2)

    def trials(self, frame: Frame, scale: float) -> Trials:
        """Trials of all library points on a frame whose cameras have about this scale (px/mrad).

        Raises
        ------
        InputError
            The compared disc is larger by far than the frame.
        """
        turn, either_way = self.hints.rotation, self.settings.hinted_rotation
        return Trials(
            BinnedFrame.of(frame, scale * self.settings.reach(self.semi_angle), self.settings),
            self.templates(),
            rotation_range=None if turn is None else (turn - either_way, turn + either_way),
            workers=self.workers,
            settings=self.settings,
        )

    def templates(self) -> Templates:
        """The library points that are searched; those of a whole library are kept in the cache."""
        if self._templates is None:
            self._templates = self._made(*self._points(), "rings")
        return self._templates

    def beyond(self) -> Templates | None:
        """Library points of larger tilts than a library is made for, farther apart; None where it has none.

        Made when a frame asks for them, and kept in the cache.
        """
        settings, limit = self.settings, self._tilt_limit
        if self._beyond is None and self._whole and limit > self.library.tilt_max + settings.tilt_step:
            low, high = self.library.thickness_range
            thickness = np.arange(low, high + 1e-9, settings.beyond_thickness_step)
            tilts = tilt_grid(limit, self.library.rotation_order, settings.beyond_tilt_step)
            size = np.hypot(*tilts.T)
            tilts = tilts[(size > self.library.tilt_max) & (size <= limit + 1e-9)]
            if len(tilts):
                self._beyond = self._made(thickness, tilts, "beyond")
        return self._beyond

    def _made(self, thickness: Array, tilts: Array, name: str) -> Templates:
        """Templates, read from the cache or made; those of a whole library are kept there."""
        path = cache_folder() / self._file_name(name)
        series = load_quietly(path, len(thickness) * len(tilts)) if self._whole else None
        if series is None:
            series = make_templates(
                self.library,
                self.semi_angle,
                thickness,
                tilts,
                workers=self.workers,
                progress=lambda fraction: self.progress("templates", fraction),
                settings=self.settings,
            ).series
            if self._whole:
                save_quietly(path, series)
        return Templates.of(series, thickness, tilts, self.semi_angle, self.settings.beyond_disc)

    @property
    def kept(self) -> bool:
        """Whether the templates need not be made: they are in memory, or in the cache."""
        on_disk = self._whole and (cache_folder() / self._file_name("rings")).is_file()
        return self._templates is not None or on_disk

    @property
    def _whole(self) -> bool:
        """Whether neither hints nor bounds leave anything of the library out."""
        return self.hints.thickness is None and self.hints.tilt is None and not self.bounds

    @property
    def _tilt_limit(self) -> float:
        """The largest tilt (mrad) that the library has at this semi-angle."""
        return float(self.library.tilt_max + self.library.semi_angle_max - self.semi_angle)

    def ring_patterns(self) -> RingPatterns:
        """The library points of `templates` as they are, for frames of few electrons; made once."""
        if self._ring_patterns is None:
            thickness, tilts = self._points()
            path = cache_folder() / f"patterns-on-{self._file_name('rings')}"
            values = load_patterns(path, len(thickness) * len(tilts)) if self._whole else None
            if values is None:
                values = make_ring_patterns(
                    self.library,
                    self.semi_angle,
                    thickness,
                    tilts,
                    workers=self.workers,
                    progress=lambda fraction: self.progress("templates", fraction),
                    settings=self.settings,
                )
                if self._whole:
                    save_quietly(path, values)
            self._ring_patterns = ring_patterns(values, thickness, tilts, self.semi_angle, self.settings)
        return self._ring_patterns

    def _points(self) -> tuple[Array, Array]:
        """Thicknesses (n,) and tilts (m, 2) that are searched."""
        low, high = self.library.thickness_range
        thickness = np.arange(low, high + 1e-9, self.settings.thickness_step)
        if self.hints.thickness is not None:
            thickness = self.hints.thickness + np.arange(-WINDOW[0], WINDOW[0] + 0.5)
            thickness = thickness[(thickness >= low) & (thickness <= high)]
        limit = self._tilt_limit
        step = self.settings.tilt_step
        tilts = tilt_grid(min(self.library.tilt_max, limit), self.library.rotation_order, step)
        if self.hints.tilt is not None:
            tilts = tilt_grid(WINDOW[1], 1, step) + np.array(self.hints.tilt)
            tilts = tilts[np.hypot(*tilts.T) <= limit + 1e-9]
        return self._inside(thickness, "thickness"), self._bounded(tilts, limit)

    def _inside(self, values: Array, name: str) -> Array:
        """Values between the user's bounds; where there are none, the middle of the bounds."""
        low, high = self.bounds.get(name, (-np.inf, np.inf))
        inside = values[(values >= low) & (values <= high)]
        if len(inside):
            return inside
        least, most = self.library.thickness_range
        return np.array([(max(low, least) + min(high, most)) / 2])

    def _bounded(self, tilts: Array, limit: float) -> Array:
        """Tilts (m, 2) between the user's bounds: of all directions, as a turned pattern has another tilt."""
        if not {"tilt_x", "tilt_y"} & set(self.bounds):
            return tilts
        if self.hints.tilt is None:
            tilts = tilt_grid(min(self.library.tilt_max, limit), 1, self.settings.tilt_step)
        pairs = [self.bounds.get(name, (-np.inf, np.inf)) for name in ("tilt_x", "tilt_y")]
        lowest, highest = np.array(pairs).T
        inside = tilts[((tilts >= lowest) & (tilts <= highest)).all(axis=1)]
        if len(inside):
            return inside
        return np.clip(np.zeros((1, 2)), lowest, highest)

    def _file_name(self, name: str) -> str:
        """Where the templates of the whole library are kept; other templates have other names."""
        low, high = self.library.thickness_range
        checksum = str(self.library.dataset.attrs["checksum"])
        short = f"{self.semi_angle:.4f}"
        angle = short if float(short) == self.semi_angle else repr(float(self.semi_angle))
        version = f"v{VERSION}.{TEMPLATE_VERSION}{self.settings.template_tag()}"
        return f"{name}-{checksum[:12]}-{angle}mrad-{low:g}-{high:g}nm-{version}.npy"

    def _progress(self, begin: float, end: float) -> Callable[[float], None]:
        """Progress of a part of the search, from one fraction of the whole to another."""
        return lambda share: self.progress("search", begin + share * (end - begin))


class LibrarySearcher:
    """The full search of a library: of every crystal that its discrete structural parameters allow.

    The crystal of the other polarity resembles a frame best at another thickness and tilt.  Candidates at one
    value therefore need not lead to the answer at another.

    Parameters
    ----------
    searchers : sequence of Searcher
        One for each combination of discrete values, the reference first.
    """

    def __init__(self, searchers: Sequence[Searcher]) -> None:
        self.searchers = searchers

    @classmethod
    def over(
        cls,
        library: Library,
        reference: Mapping[str, float],
        fix: Mapping[str, float | None],
        semi_angle: float,
        *,
        hints: Hints,
        workers: int,
        progress: Progress,
        settings: SearchSettings = SEARCH,
        bounds: Mapping[str, tuple[float, float]] | None = None,
        finding: DiscSettings = DISC,
    ) -> LibrarySearcher:
        """Searchers for a library.

        Parameters
        ----------
        library : Library, in memory
        reference : mapping of every structural parameter to a value
            Continuous ones are searched at this value only.
        fix : mapping of parameter name to value, or to None
            Discrete parameters in it keep their reference value.
        semi_angle, hints, workers, progress, settings, bounds, finding
            As of `Searcher`.
        """
        discrete = {
            name: [
                reference[name],
                *(float(v) for v in axis.values if v != reference[name] and name not in fix),
            ]
            for name, axis in library.structure.items()
            if not axis.continuous
        }
        crystals = [
            library.at(**{**reference, **dict(zip(discrete, values, strict=True))})
            for values in itertools.product(*discrete.values())
        ]
        return cls(
            [
                Searcher(
                    each,
                    semi_angle,
                    hints=hints,
                    workers=workers,
                    progress=progress,
                    settings=settings,
                    bounds=bounds,
                    finding=finding,
                )
                for each in crystals
            ]
        )

    def templates(self) -> Templates:
        """The library points of the reference; those of all crystals are made or read."""
        first, *_ = [searcher.templates() for searcher in self.searchers]
        return first

    def search(self, frame: Frame) -> tuple[list[Candidate], Array]:
        """Candidates of all crystals, best first, and the least χ² at every thickness: (2, n), nm.

        Raises
        ------
        InputError
            As of `Searcher.search`.
        """
        searched = [searcher.search(frame) for searcher in self.searchers]
        found = sorted((c for each, _ in searched for c in each), key=lambda c: c.chi2)
        return found, searched[0][1] if len(searched) == 1 else joined([curve for _, curve in searched])
