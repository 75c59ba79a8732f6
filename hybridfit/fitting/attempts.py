"""Attempts: what the searches of a frame propose to refine.

seeded       candidates of a network, each in its window; where the network is in doubt, a library
             match with the network's disc stands beside them; then a wider window
matched      without a network of the library: a match of all library points, with the disc as the network
             for any crystal has it; then by the inside of the disc alone; then with other discs, one by one
near         candidates of a neighbouring frame, in their windows
everywhere   all library points with many cameras
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import WINDOW, Candidate, Seed, obeying
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.refine.noise import electrons_in
from hybridfit.fitting.refine.structural import all_turns, reference_values
from hybridfit.fitting.route import Route
from hybridfit.fitting.search.cameras import possible
from hybridfit.fitting.search.full import LibrarySearcher
from hybridfit.fitting.search.match import Matcher, Start
from hybridfit.fitting.search.odds import width
from hybridfit.fitting.search.trials import Trials, joined
from hybridfit.fitting.search.window import search_window
from hybridfit.fitting.seed.disc import quick_disc
from hybridfit.fitting.settings import FitSettings
from hybridfit.frame import Frame
from hybridfit.library.library import Library

Array = NDArray[np.float64]


class Attempt(NamedTuple):
    """What to refine, and where the answer must lie to confirm it.

    Attributes
    ----------
    route : Route
    found : list of Candidate
        From a search, best first.
    curve : (2, n) array
        Thickness (nm) and the least χ² there, from the search.
    around : sequence of Candidate
        The answer holds within `within` of one of these.
    within : (float, float), nm and mrad
    everywhere : bool
        Whether all library points were matched: an ambiguous answer then holds, because a full search
        would find the same rivals.
    another : bool
        Whether the next attempt compares otherwise, and is worth trying though this one led to a poor match.
    """

    route: Route
    found: list[Candidate]
    curve: Array
    around: Sequence[Candidate]
    within: tuple[float, float]
    everywhere: bool = False
    another: bool = False


class Attempts:
    """Searches one library under one set of settings.

    Parameters
    ----------
    library : Library, in memory
        With all its structural parameters.
    reference : Library
        At one value of each, where seeds are found.
    settings : FitSettings
        With hints of what is fixed.
    workers : int, threads
    progress : callable(stage, fraction)
    """

    def __init__(
        self,
        library: Library,
        reference: Library,
        settings: FitSettings,
        workers: int,
        progress: Callable[[str, float], None],
    ) -> None:
        self.library, self.reference, self.settings = library, reference, settings
        self.workers = workers
        self.tilt_limit = settings.tilt_limit(library)
        self.searcher = LibrarySearcher.over(
            library,
            reference_values(library, settings.fix),
            settings.fix,
            settings.semi_angle,
            hints=settings.hints,
            workers=workers,
            progress=progress,
            settings=settings.searching,
            bounds=settings.bounds,
            finding=settings.seeding.disc,
        )
        self.matchers: list[Matcher] = []

    def match_with_shipped_network(self) -> None:
        """Prepare `matched`: the disc as the shipped network of any crystal has it."""
        self.matchers = self._aligned_matchers()

    def _aligned_matchers(self) -> list[Matcher]:
        first, *others = self.searcher.searchers
        matcher = Matcher.aligned(first, self.settings.seeding)
        return [matcher, *(Matcher(other, matcher.aligner) for other in others)]

    def seeded(self, frame: Frame, seed: Seed, clock: Clock) -> Iterator[Attempt]:
        """Attempts around the network's candidates."""
        routes, seeding = self.settings.routes, self.settings.seeding
        window, tried = seed.window(seeding.in_doubt, seeding.no_doubt), seed.worth_trying(seeding.sure)
        near = partial(self.window, Route.network, frame, window, 1, clock=clock)
        if self.settings.thorough and self._in_doubt(frame, seed):
            yield self._with_match(frame, seed.candidates[0], tried, near, clock)
        else:
            yield near(tried)
        yield self.window(
            Route.wider_window, frame, routes.wider, routes.wider_most, seed.candidates[:1], clock
        )

    def window(
        self,
        route: Route,
        frame: Frame,
        half_widths: tuple[float, float],
        most: int,
        given: Iterable[Candidate],
        clock: Clock,
    ) -> Attempt:
        """What searches in a window (nm, mrad) about each of the given candidates find."""
        fix = self.settings.fix
        around = [obeying(candidate, fix) for candidate in given]
        searched = [
            search_window(
                self.reference,
                frame,
                candidate,
                self.settings.semi_angle,
                half_widths=half_widths,
                tilt_limit=self.tilt_limit,
                fix=fix,
                most=most,
                workers=self.workers,
                settings=self.settings.searching,
            )
            for candidate in around
        ]
        found = []
        for candidate, (each, _) in zip(around, searched, strict=True):
            found += self.all_turns(each, candidate.rotation if route is Route.neighbour else None)
        clock.lap("search")
        within = max(half_widths[0], WINDOW[0]), max(half_widths[1], WINDOW[1])
        return Attempt(route, found, joined([curve for _, curve in searched]), around, within)

    def _in_doubt(self, frame: Frame, seed: Seed) -> bool:
        """Whether a network may be wrong: it is not sure, or not quite sure and electrons are few."""
        routes, sure = self.settings.routes, self.settings.seeding.sure
        if seed.certainty < sure or seed.certainty >= routes.believed:
            return seed.certainty < sure
        return electrons_in(frame.image, frame.valid) < routes.few_electrons

    def _with_match(
        self,
        frame: Frame,
        seed: Candidate,
        tried: Sequence[Candidate],
        near: Callable[[Sequence[Candidate]], Attempt],
        clock: Clock,
    ) -> Attempt:
        """What is near the candidates of a seed, with what a library match finds, too, at its camera.

        A pattern of few electrons has lost the details by which a network tells thicknesses apart.  Its disc
        is found all the same, and all library points together see more than their neighbours in a window.
        """
        routes = self.settings.routes
        matchers = [Matcher(searcher) for searcher in self.searcher.searchers]
        given, curve = self._match(matchers, frame, [(seed.centre_x, seed.centre_y, seed.scale)])
        clock.lap("search")
        if self.unlike(frame, given):  # one answer will show it
            attempt = near(tried[:1])
            return attempt._replace(found=attempt.found[:1]) if attempt.found else near(tried)
        attempt = near(tried)
        given = self._near_the_best(given, routes.doubted_near, routes.doubted_most)
        found = self.all_turns(given)
        clock.lap("search")
        return attempt._replace(
            found=[*found, *attempt.found],
            curve=joined([attempt.curve, curve]),
            around=[*given, *attempt.around],
            everywhere=True,
        )

    def cameras(self, frame: Frame) -> list[tuple[float, float, float]]:
        """Where the direct disc of a frame of few electrons may be, without the network of the library.

        Raises
        ------
        InputError
            No camera can be that of the frame.
        """
        matcher = self.matchers[0] if self.matchers else Matcher(self.searcher.searchers[0])
        s = matcher.searcher
        found = matcher.cameras(frame)
        x, y, radius = quick_disc(frame.image, frame.valid, s.finding)
        x, y = s.hints.centre or (x, y)
        found.append((x, y, s.hints.scale or radius / s.semi_angle))
        can_be = possible(frame, np.array(found), s.semi_angle, s.settings)
        out = [camera for camera, ok in zip(found, can_be, strict=True) if ok]
        if not out:
            raise InputError(
                f"{frame.source}: no direct disc that could be that of {s.semi_angle:g} mrad; give "
                "its centre and scale as hints, or check the semi-angle"
            )
        return out

    def matched(self, frame: Frame, clock: Clock) -> Iterator[Attempt]:
        """What library matches find, one for every discrete crystal, where the frame can be aligned."""
        first = self.matchers[0]
        discs = first.discs(frame)
        starts = [each.camera for each in discs]
        others = cache(lambda: [*starts[1:], *first.rims(frame)])
        further = cache(lambda: first.further(frame, starts))
        clock.lap("seed")
        if not starts and not others():
            return
        trials = [matcher.trials(frame, starts[:1], others, further) for matcher in self.matchers]
        given, curve = self._found(self.matchers, trials)
        clock.lap("search")
        if (attempt := self._of_match(given, curve)) is not None:
            yield attempt
            yield self._inside(trials, clock)
        if self.settings.thorough:  # a disc that all were sure of may be the wrong one, too
            yield from self._disc_by_disc(frame, [*starts, *further()], given[:1], clock)

    def _disc_by_disc(
        self, frame: Frame, starts: Sequence[Start], tried: Sequence[Candidate], clock: Clock
    ) -> Iterator[Attempt]:
        """What library matches find with each of several discs alone, the best first.

        Discs that have led to candidates before are left out.
        """
        matched = []
        for start in starts:
            if any(self._same_disc(start, each) for each in tried):
                continue
            given, curve = self._match(self.matchers, frame, [start], wide=False)
            if given and not any(self._same_disc(_camera_of(given[0]), each) for each in tried):
                matched.append((given, curve))
                tried = [*tried, given[0]]
        clock.lap("search")
        for given, curve in sorted(matched, key=lambda each: each[0][0].chi2)[
            : self.settings.routes.discs_most
        ]:
            if (attempt := self._of_match(given, curve)) is not None:
                yield attempt

    def _same_disc(self, camera: Start, other: Candidate) -> bool:
        """Whether the disc of a camera is about that of a candidate."""
        near, scale = self.settings.seeding.alignment.apart, other.scale
        apart = np.hypot(camera[0] - other.centre_x, camera[1] - other.centre_y)
        size = abs(camera[2] - scale) * self.settings.semi_angle
        return bool(max(apart, size) < near * scale * self.settings.semi_angle)

    def _of_match(self, given: list[Candidate], curve: Array) -> Attempt | None:
        """The candidates of a match that are worth a refinement; None where nothing resembles the frame."""
        routes = self.settings.routes
        if not given or given[0].chi2 > routes.no_match:
            return None
        most, above = routes.matched_most, routes.matched_near
        if len(self.matchers) == 1:  # odds are of the points of one crystal
            most = 1 if (given[0].probability or 0.0) >= routes.matched_sure else most
            above = min(above, self._likely(given[0].chi2))
        given = self._near_the_best(given, above, most)
        found = self.all_turns(given)
        return Attempt(Route.library_match, found, curve, given, WINDOW, everywhere=True, another=True)

    def _inside(self, trials: Sequence[Trials | None], clock: Clock) -> Attempt:
        """What the inside of the direct disc says with the best cameras of trials.

        By the rim alone any library point may be the best one, where discs hardly overlap.
        """
        routes = self.settings.routes
        inside = [m.inside(each) for m, each in zip(self.matchers, trials, strict=True) if each is not None]
        given = self._near_the_best(_best_first(inside), routes.matched_near, routes.matched_most)
        found = self.all_turns(given)
        clock.lap("search")
        curve = joined([each for _, each in inside])
        return Attempt(Route.library_match, found, curve, given, WINDOW, everywhere=True, another=True)

    def _match(
        self,
        matchers: Sequence[Matcher],
        frame: Frame,
        cameras: Sequence[Start],
        *others: Callable[[], Sequence[Start]],
        wide: bool = True,
    ) -> tuple[list[Candidate], Array]:
        """What the library matches of every discrete crystal find, the best first, and their curve."""
        return self._found(matchers, [each.trials(frame, cameras, *others, wide=wide) for each in matchers])

    @staticmethod
    def _found(matchers: Sequence[Matcher], trials: Sequence[Trials | None]) -> tuple[list[Candidate], Array]:
        """Candidates of trials, the best first, and the least χ² at every thickness."""
        results = [matcher.read(each) for matcher, each in zip(matchers, trials, strict=True)]
        return _best_first(results), results[0][1] if len(results) == 1 else joined([c for _, c in results])

    def _near_the_best(self, given: Sequence[Candidate], above: float, most: int) -> list[Candidate]:
        """The first ones, with a χ² not much above that of the best; they obey what is fixed."""
        near = [c for c in given[:most] if c.chi2 <= given[0].chi2 + above]
        return [obeying(candidate, self.settings.fix) for candidate in near]

    def _likely(self, least: float) -> float:
        """By how much more χ² than the least one a candidate is not worth a refinement."""
        return -math.log(self.settings.routes.matched_likely) * width(least, self.settings.searching)

    def all_turns(self, found: Sequence[Candidate], rotation: float | None = None) -> list[Candidate]:
        """What candidates of the reference stand for in the other crystals of the library."""
        known = self.settings.hints.rotation if rotation is None else rotation
        return all_turns(found, self.library, self.reference, known)

    def unlike(self, frame: Frame, found: Sequence[Candidate]) -> bool:
        """Whether nothing that was found resembles a frame, which has electrons enough to show it."""
        routes = self.settings.routes
        if found and min(c.chi2 for c in found) <= routes.no_match:
            return False
        return electrons_in(frame.image, frame.valid) >= routes.few_electrons

    def near(self, frame: Frame, candidates: Sequence[Candidate], clock: Clock) -> Attempt:
        """The windows about candidates of a neighbouring frame."""
        return self.window(Route.neighbour, frame, WINDOW, 1, candidates, clock)

    def everywhere(self, frame: Frame, clock: Clock) -> Attempt:
        """The whole library, or the part of it that hints leave; `found` may be empty."""
        routes, searching = self.settings.routes, self.settings.searching
        found, curve = self.searcher.search(frame)
        poor = not found or found[0].chi2 > searching.misled
        if poor and not self.matchers and self.reference.tilt_max > searching.far_tilt:
            given, own = self._of_discs(frame)
            if given and (not found or given[0].chi2 < found[0].chi2):
                found, curve = given, own
        near = [
            candidate
            for i, candidate in enumerate(found[: routes.matched_most])
            if i < routes.searched_least or candidate.chi2 <= found[0].chi2 + routes.matched_near
        ]
        turned = self.all_turns(near)
        clock.lap("search")
        return Attempt(Route.full_search, turned, curve, (), WINDOW, everywhere=True)

    def _of_discs(self, frame: Frame) -> tuple[list[Candidate], Array]:
        """What library matches find with the discs that the network names, where a full search is misled.

        That compares cameras over the whole frame, of which a crystal that is tilted far explains little.
        """
        matchers = self._aligned_matchers()
        starts = matchers[0].aligned_cameras(frame)
        further = cache(lambda: matchers[0].further(frame, starts))
        return self._match(matchers, frame, starts, further, wide=False)


def _camera_of(candidate: Candidate) -> Start:
    return candidate.centre_x, candidate.centre_y, candidate.scale


def _best_first(results: Sequence[tuple[list[Candidate], Array]]) -> list[Candidate]:
    """The candidates of several matches."""
    return sorted((c for each, _ in results for c in each), key=lambda c: c.chi2)
