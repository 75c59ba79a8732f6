"""The routes of a fit: who seeds it, and attempt after attempt until an answer holds.

    a network of the library          seeds, searched in a window, then in a wider one; where it is in
                                      doubt, a library match with its disc stands beside the first
    no network of the library         the disc by one of another crystal, the rest by a library match

and where no attempt holds, a search of the whole library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import SURE, WINDOW, Candidate, Seed, obeying
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.judge.status import better, holds
from hybridfit.fitting.refine.noise import electrons_in
from hybridfit.fitting.refine.refiner import is_thin
from hybridfit.fitting.refine.structural import all_turns
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.search.match import Matcher
from hybridfit.fitting.search.window import joined, search_window
from hybridfit.frame import Frame
from hybridfit.library.library import Library

if TYPE_CHECKING:
    from hybridfit.fitting.fitter import Fitter
    from hybridfit.fitting.seed.network import Seeder
    from hybridfit.network.weights import Network

Array = NDArray[np.float64]
# what it is called, half-widths (nm, mrad) of its windows, candidates kept of each, and their middles
Route = tuple[str, tuple[float, float], int, Sequence[Candidate]]
MATCH = "library match"
NO_MATCH = 0.6  # χ² of a match that is not worth refining
MATCHED_MOST, RUNNER_UP = 5, 0.15  # candidates of a match, and their χ² above the best one's
CERTAIN, FEW = 0.99, 5e4  # confidence that is believed also of a pattern of fewer electrons than that
DOUBTED_MOST, LIKELY = 3, 0.03  # the same of one that stands beside a network: noise is most of χ², then


class Attempt(NamedTuple):
    """What to refine.

    found, curve : as from a search
    around, within : the answer holds within so many nm and mrad of one of these
    everywhere : whether the whole library was looked at: looking again takes no rival away
    """

    route: str
    found: list[Candidate]
    curve: Array
    around: Sequence[Candidate]
    within: tuple[float, float]
    everywhere: bool = False


def make_seeder(
    network: Network | str | Path | None,
    method: str,
    library: Library,
    semi_angle: float,
    *,
    hints: Hints,
    background: str,
    beside: Path | None,
) -> Seeder | None:
    """The network's part; None where the method does without and there is none for the library.

    Parameters
    ----------
    network : Network, the path of its weights, or None for the one that belongs to the library
    method : "hybrid" or "cnn"
    library : Library without structural parameters
    semi_angle : float, mrad
    hints, background : as for `Fitter`
    beside : path of the library, where weights may lie, too
    """
    # torch is slow to import, and a full search does without
    from hybridfit.fitting.seed.network import Seeder
    from hybridfit.network.weights import Network

    if network is None:
        network = Network.for_library(library, semi_angle, beside=beside)
        if network is None and method == "hybrid":
            return None
        if network is None:
            raise InputError(
                f"no network comes with this library at {semi_angle:g} mrad; make one with "
                "`hybridfit train`, or use method lsf"
            )
    elif isinstance(network, str | Path):
        network = Network.open(network)
    return Seeder(network, library, semi_angle, hints=hints, background=background)


def windowed(fitter: Fitter, frame: Frame, routes: Iterable[Route], clock: Clock) -> Iterator[Attempt]:
    """What searches in one window after the other find."""
    for route, half_widths, most, given in routes:
        candidates = [obeying(candidate, fitter.fix) for candidate in given]
        searched = [
            search_window(
                fitter.reference,
                frame,
                candidate,
                fitter.semi_angle,
                half_widths=half_widths,
                tilt_limit=fitter.tilt_limit,
                fix=fitter.fix,
                most=most,
                workers=fitter.workers,
            )
            for candidate in candidates
        ]
        found = []
        for candidate, (each, _) in zip(candidates, searched, strict=True):
            known = candidate.rotation if route == "neighbour" else fitter.hints.rotation
            found += all_turns(each, fitter.library, fitter.reference, known)
        clock.lap("search")
        within = max(half_widths[0], WINDOW[0]), max(half_widths[1], WINDOW[1])
        yield Attempt(route, found, joined([curve for _, curve in searched]), candidates, within)


def matched(fitter: Fitter, matchers: Sequence[Matcher], frame: Frame, clock: Clock) -> Iterator[Attempt]:
    """What library matches find, one for every discrete crystal, where the frame can be aligned."""
    cameras = matchers[0].cameras(frame)
    clock.lap("seed")
    if not cameras:
        return
    given, curve = _matches(matchers, frame, cameras)
    clock.lap("search")
    if not given or given[0].chi2 > NO_MATCH:
        return
    given = _near_the_best(fitter, given, RUNNER_UP, MATCHED_MOST)
    found = all_turns(given, fitter.library, fitter.reference, fitter.hints.rotation)
    yield Attempt(MATCH, found, curve, given, WINDOW, everywhere=True)


def in_doubt(frame: Frame, seed: Seed) -> bool:
    """Whether a network may be wrong: where it is not sure, or not quite and there are few electrons."""
    if seed.certainty < SURE or seed.certainty >= CERTAIN:
        return seed.certainty < SURE
    return electrons_in(frame.image, frame.valid) < FEW


def doubted(
    fitter: Fitter, frame: Frame, seed: Candidate, attempts: Iterator[Attempt], clock: Clock
) -> Iterator[Attempt]:
    """Attempts of which the first has what the library matches, too, with the camera of a seed.

    A pattern of few electrons has lost the details by which a network tells thicknesses apart; its disc
    is found all the same, and all library points together see more than their neighbours in a window.
    """
    first = next(attempts)
    matchers = [Matcher(searcher) for searcher in fitter.searcher.searchers]
    given, curve = _matches(matchers, frame, [(seed.centre_x, seed.centre_y, seed.scale)])
    given = _near_the_best(fitter, given, LIKELY, DOUBTED_MOST)
    found = all_turns(given, fitter.library, fitter.reference, fitter.hints.rotation)
    clock.lap("search")
    yield Attempt(
        first.route,
        [*found, *first.found],
        joined([first.curve, curve]),
        [*given, *first.around],
        first.within,
        everywhere=True,
    )
    yield from attempts


def _matches(
    matchers: Sequence[Matcher], frame: Frame, cameras: Sequence[tuple[float, float, float]]
) -> tuple[list[Candidate], Array]:
    """What the library matches of every discrete crystal find, the best first, and their curve."""
    results = [matcher.match(frame, cameras) for matcher in matchers]
    given = sorted((c for each, _ in results for c in each), key=lambda c: c.chi2)
    return given, results[0][1] if len(results) == 1 else joined([each for _, each in results])


def _near_the_best(
    fitter: Fitter, given: Sequence[Candidate], runner_up: float, most: int
) -> list[Candidate]:
    """The first ones, with a χ² not much above that of the best, as far as what is fixed lets them."""
    near = [c for c in given[:most] if c.chi2 <= given[0].chi2 + runner_up]
    return [obeying(candidate, fitter.fix) for candidate in near]


def settle(fitter: Fitter, frame: Frame, attempts: Iterable[Attempt], clock: Clock) -> FitResult:
    """Refine attempt after attempt until an answer holds; then search everywhere."""
    result: FitResult | None = None
    error: InputError | None = None
    order = fitter.reference.rotation_order
    for attempt in attempts:
        if not attempt.found:
            continue
        try:
            new = fitter.finisher.finish(frame, attempt.found, attempt.curve, clock, attempt.route)
        except InputError as impossible:  # a camera that cannot be: the full search has the last word
            error = impossible
            break
        result = better(result, new)
        thin = is_thin(result.thickness, fitter.reference)
        if holds(result, attempt.around, order, attempt.within, thin=thin, rivals=attempt.everywhere):
            return result
    if not fitter.thorough:
        if result is None:
            raise error or InputError(f"{frame.source}: nothing in the library resembles it")
        return result
    full = fitter.search_everywhere(frame, clock)
    return replace(better(result, full), seconds=clock.seconds())
