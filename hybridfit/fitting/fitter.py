"""The engine: frame in, result out.

    network → candidates → windowed search → refinement → status and errors

where there is a network, and a match of the library in its stead where there is none; where that
does not hold, the whole library is searched (`routes`).  What a minimum is worth is told on one set
of pixels for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import WINDOW, Candidate, Seed
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.everywhere import search_everywhere
from hybridfit.fitting.hints import Hints, check_fixed, with_fixed
from hybridfit.fitting.judge.status import poor
from hybridfit.fitting.refine.minima import EVERYWHERE, Finisher
from hybridfit.fitting.refine.refiner import Refiner
from hybridfit.fitting.refine.structural import all_turns, make_variants, reference_values
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.routes import Route, doubted, in_doubt, make_seeder, matched, settle, windowed
from hybridfit.fitting.search.cameras import check_bright
from hybridfit.fitting.search.full import Templates
from hybridfit.frame import Frame, make_frame
from hybridfit.library.library import Library
from hybridfit.model import PARAMETERS
from hybridfit.pattern import background as bg
from hybridfit.pattern.pool import Pool

if TYPE_CHECKING:
    from hybridfit.fitting.search.match import Matcher
    from hybridfit.fitting.seed.network import Seeder
    from hybridfit.network.weights import Network

Array = NDArray[np.float64]
Progress = Callable[[str, float], None]

METHODS = ("hybrid", "lsf", "cnn")
WIDER = (9.0, 2.0)  # nm, mrad: the window when the first one did not hold the answer
WIDER_MOST = 4  # candidates of it


class Fitter:
    """Fits frames of one library and one semi-angle; keep it when there are many.

    Parameters
    ----------
    library : Library
        Structural parameters start from the value nearest to 0 or in the middle, discrete ones from each.
    semi_angle : float, mrad
    method : str
        "hybrid": the network seeds a search of the library around what it says; where there is none
        for the library, a match of the library does, on the disc that the network of another crystal
        has found.  Where that does not hold, the whole library is searched.
        "lsf": the whole library is searched.  "cnn": the network alone.
    network : Network, or the path of its weights, optional
        By default the one that was trained on this library: a shipped one, or beside the library.
    background : str, one of `hybridfit.pattern.background.NAMES`
    fix : mapping of parameter name to value, or to None to keep the value of the seed
    free : names of parameters to vary that are fixed by default (semi_angle)
    hints : Hints
        A thickness, tilt or rotation that is known makes the search one around it, without the network.
    workers : int, threads of the search; by default all cores
    progress : callable(stage, fraction), optional
    keep_model : bool
        Keep the model (some 20 MB) with each result, for `FitResult.conf_interval`.
    whole_curve : bool
        The picture of a result shows χ² over the whole library, also where the search was narrower; the
        frame is kept for that.
    thorough : bool
        Whether the whole library is searched where a seed does not hold.
    seeded : bool
        Frames come with their seeds, to `fit_seeded` and `fit_near`: no network is loaded.

    Attributes
    ----------
    method : str
        What is done: "lsf" where "hybrid" was asked for and hints say where to search.

    Raises
    ------
    InputError, LibraryError
        A name, hint or semi-angle that the library or the network does not know or cover.
    """

    def __init__(
        self,
        library: Library,
        semi_angle: float,
        *,
        method: str = "hybrid",
        network: Network | str | Path | None = None,
        background: str = "radial",
        fix: Mapping[str, float | None] | None = None,
        free: Sequence[str] = (),
        hints: Hints | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
        keep_model: bool = False,
        whole_curve: bool = False,
        thorough: bool = True,
        seeded: bool = False,
    ) -> None:
        check_method(method)
        library.check_semi_angle(semi_angle)
        bg.check(background)
        known = (*PARAMETERS, *library.structure)
        for name in (*(fix or {}), *free):
            if name not in known:
                raise InputError(f"unknown parameter {name!r}; the parameters are {', '.join(known)}")
        check_fixed(fix or {}, library, semi_angle)
        if workers is not None and not (isinstance(workers, int | np.integer) and workers >= 1):
            raise InputError(
                f"workers = {workers!r} is no number of threads; give 1 or more, or None for all cores"
            )
        self.hints = with_fixed(hints or Hints(), fix or {})
        self.hints.check_library(library, semi_angle)
        self.library = Library(library.dataset.load())
        # seeds are found at one value of each structural parameter
        self.reference = self.library.at(**reference_values(self.library, fix or {}))
        self.semi_angle = float(semi_angle)
        self.background = background
        self.fix = dict(fix or {})
        self.free = tuple(free)
        self.workers = workers or os.cpu_count() or 1
        self.progress: Progress = progress or (lambda stage, fraction: None)
        self.tilt_limit = library.tilt_max + library.semi_angle_max - semi_angle
        self.thorough = thorough
        self.seeder = None if seeded else self._seeder(method, network, library.path)
        placed = self.hints.thickness is not None or self.hints.tilt is not None
        alone = self.seeder is None and not seeded and method == "hybrid" and not placed
        self.method = method if self.seeder is not None or seeded or alone else "lsf"
        remark = f"No network comes with this library at {semi_angle:g} mrad." if alone else ""
        refiner = partial(
            Refiner,
            semi_angle=self.semi_angle,
            background=background,
            fix=self.fix,
            free=self.free,
            tilt_limit=self.tilt_limit,
            pool=Pool(self.workers),
        )
        self.refiner = refiner(self.reference)
        self.finisher = Finisher(
            make_variants(self.library, self.fix, refiner),
            self.library.structure,
            method=self.method,
            remark=remark,
            keep_model=keep_model,
            whole_curve=whole_curve,
            progress=self.progress,
        )
        self.searcher = search_everywhere(
            self.library, self.fix, self.semi_angle, self.hints, self.workers, self.progress
        )
        self.matchers = self._matchers() if alone else []

    @property
    def _known(self) -> bool:
        """Whether hints say enough to search around them."""
        return any(v is not None for v in (self.hints.thickness, self.hints.tilt, self.hints.rotation))

    def _seeder(
        self, method: str, network: Network | str | Path | None, beside: Path | None
    ) -> Seeder | None:
        """The network's part, unless the method, the hints or the lack of a network leave it out."""
        known = self._known
        if method == "lsf" or (method == "hybrid" and known):
            return None
        if method == "cnn" and (known or self.fix or self.free):
            raise InputError(
                "the network alone takes no fixed or free parameters, and hints for centre and scale only; "
                "leave them out, or use method hybrid"
            )
        options: dict[str, Any] = {"hints": self.hints, "background": self.background, "beside": beside}
        return make_seeder(network, method, self.reference, self.semi_angle, **options)

    def _matchers(self) -> list[Matcher]:
        """Matches at every discrete value, by what the network of another crystal says of the disc."""
        from hybridfit.fitting.search.match import Matcher

        first, *others = self.searcher.searchers
        matcher = Matcher.aligned(first)
        return [matcher, *(Matcher(other, matcher.aligner) for other in others)]

    def templates(self) -> Templates:
        """The library points of the full search; made (or read from the cache) on first use."""
        return self.searcher.templates()

    def search(self, frame: Frame | ArrayLike) -> tuple[list[Candidate], Array]:
        """Candidates of the full search, best first, and the least χ² at every thickness: (2, n), nm."""
        return self.searcher.search(_as_frame(frame))

    def fit(self, frame: Frame | ArrayLike) -> FitResult:
        """Find everything, by the method of this fitter.

        Parameters
        ----------
        frame : Frame or (rows, cols) array

        Raises
        ------
        InputError
            The frame cannot be used, or shows no direct disc.
        """
        clock = Clock()
        frame = _as_frame(frame)
        self.hints.check_frame(frame.image.shape, self.semi_angle)
        if self.matchers:
            return settle(self, frame, matched(self, self.matchers, frame, clock), clock)
        if self.seeder is None:
            return self.search_everywhere(frame, clock)
        seed = self.seeder.seed(frame)
        clock.lap("seed")
        return self.fit_seeded(frame, seed, clock)

    def fit_seeded(self, frame: Frame, seed: Seed, clock: Clock | None = None) -> FitResult:
        """The rest of `fit`, after the network has seeded the frame.

        Parameters
        ----------
        frame : Frame
        seed : Seed
            From `Seeder.seed_many`, for instance.
        clock : Clock, optional
            Where the time spent so far is kept.
        """
        clock = clock or Clock()
        if self.method == "cnn":
            from hybridfit.fitting.judge.network_answer import named_result

            return named_result(self.refiner, frame, seed, clock)
        return self._hybrid(frame, seed, clock)

    def fit_near(self, frame: Frame | ArrayLike, candidates: Sequence[Candidate]) -> FitResult:
        """Search and refine around candidates within 3 nm and 1 mrad, from a neighbouring pattern for one.

        Parameters
        ----------
        frame : Frame or (rows, cols) array
        candidates : sequence of Candidate, at least one

        Raises
        ------
        InputError
            A candidate is outside the library, or its camera cannot be that of the frame.
        """
        frame = _as_frame(frame)
        candidates = [candidate.tilted_within(self.tilt_limit) for candidate in candidates]
        for candidate in candidates:
            self._check(candidate, frame)
        clock = Clock()
        attempts = windowed(self, frame, [("neighbour", WINDOW, 1, candidates)], clock)
        return settle(self, frame, attempts, clock)

    def refine(self, frame: Frame | ArrayLike, seed: Candidate) -> FitResult:
        """Refine from a seed within about 3 nm, 1 mrad, 2 px, 2 % and 2° of the truth.

        Raises
        ------
        InputError
            The seed is outside the library, or its camera cannot be that of the frame.
        """
        clock = Clock()
        frame = _as_frame(frame)
        self._check(seed, frame)
        return self.finisher.finish(frame, [seed], None, clock, "seed given")

    def _check(self, seed: Candidate, frame: Frame) -> None:
        known = Hints(seed.thickness, seed.tilt, (seed.centre_x, seed.centre_y), seed.scale, seed.rotation)
        known.check_library(self.library, self.semi_angle)
        known.check_frame(frame.image.shape, self.semi_angle)

    # ---------------------------------------------------------------- routes

    def _hybrid(self, frame: Frame, seed: Seed, clock: Clock) -> FitResult:
        """Search and refine around the network's candidates; look farther where that does not hold."""
        routes: list[Route] = [
            ("network", seed.window, 1, seed.worth_trying),
            ("wider window", WIDER, WIDER_MOST, seed.candidates[:1]),
        ]
        attempts = windowed(self, frame, routes, clock)
        if self.thorough and in_doubt(frame, seed):
            attempts = doubted(self, frame, seed.candidates[0], attempts, clock)
        return settle(self, frame, attempts, clock)

    def search_everywhere(self, frame: Frame, clock: Clock) -> FitResult:
        """Search the whole library, or the part of it that hints leave, and refine what is found."""
        found, curve = self.searcher.search(frame)
        found = all_turns(found, self.library, self.reference, self.hints.rotation)
        clock.lap("search")
        result = self.finisher.finish(frame, found, curve, clock, EVERYWHERE)
        if poor(result):
            check_bright(frame, self.hints)
        return result


def check_method(method: str) -> None:
    """Raise an InputError for a method that there is not."""
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; the methods are {', '.join(METHODS)}")


def _as_frame(frame: Frame | ArrayLike) -> Frame:
    return frame if isinstance(frame, Frame) else make_frame(frame)


def fit(
    frame: Frame | ArrayLike,
    library: Library | str,
    *,
    semi_angle: float,
    method: str = "hybrid",
    network: Network | str | Path | None = None,
    background: str = "radial",
    fix: Mapping[str, float | None] | None = None,
    free: Sequence[str] = (),
    hints: Hints | None = None,
) -> FitResult:
    """Thickness, tilt and camera geometry of one PACBED frame.

    Parameters
    ----------
    frame : Frame or (rows, cols) array
    library : Library, or the name or file of one
    semi_angle : float, mrad
    method : str
        "hybrid", "lsf" or "cnn"; see `Fitter`, which is the thing to use for many frames.
    network, background, fix, free, hints
        As for `Fitter`.

    Returns
    -------
    FitResult

    Raises
    ------
    InputError, LibraryError
    """
    check_method(method)
    if not isinstance(library, Library):
        library = Library.open(library)
    fitter = Fitter(
        library,
        semi_angle,
        method=method,
        network=network,
        background=background,
        fix=fix,
        free=free,
        hints=hints,
        keep_model=True,
        whole_curve=True,
    )
    return fitter.fit(frame)
