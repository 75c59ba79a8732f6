"""The fitter: from a frame to an answer.

    seed     a network of the library names thickness, tilt and camera
    search   library points and cameras in a window about the seed are ranked by χ²
    refine   least squares from the best ones; all minima are compared on the same pixels
    judge    a status, honest errors, and what speaks against the answer

A frame may go by several routes (`Route`).  Each makes attempts, and attempts are refined one after the
other until an answer holds:

    network             candidates of the network, each in its window; where the network is in doubt, a
                        library match with the network's disc stands beside them
    wider window        the network's first candidate in a window of ±9 nm and ±2 mrad, unless it is poor
    library match       without a network of the library: the disc by a network of any crystal, the rest from
                        all library points; with other discs where one in doubt gives a poor answer
    full search         all library points with many cameras; also where no attempt holds
    few electrons       where counting statistics decide: every minimum of the library, and its odds
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.attempts import Attempt, Attempts
from hybridfit.fitting.candidates import Candidate, Seed, with_probabilities
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.judge.answer import Origin, make_result
from hybridfit.fitting.judge.averaging import VACUUM, Averaged
from hybridfit.fitting.judge.mistakes import explained
from hybridfit.fitting.judge.modes import modes_of_minima
from hybridfit.fitting.judge.roundness import nothing_but_round
from hybridfit.fitting.judge.semi_angle import other_semi_angle
from hybridfit.fitting.judge.status import better, holds, misfits, strays
from hybridfit.fitting.known import KnownFrames
from hybridfit.fitting.posterior.route import FewElectrons
from hybridfit.fitting.refine.minima import Finder
from hybridfit.fitting.refine.refiner import Refiner, Shared, is_thin
from hybridfit.fitting.refine.structural import make_variants, reference_values
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.route import Route
from hybridfit.fitting.search.cameras import check_bright, check_disc
from hybridfit.fitting.search.templates import Templates
from hybridfit.fitting.settings import FitOptions, FitSettings
from hybridfit.frame import Frame
from hybridfit.io.arrays import frame_of
from hybridfit.library.library import Library
from hybridfit.library.mirror import mirrored
from hybridfit.options import settings_from
from hybridfit.pattern.pool import Pool

if TYPE_CHECKING:
    from hybridfit.fitting.seed.network import Seeder
    from hybridfit.network.weights import Network

Array = NDArray[np.float64]
Progress = Callable[[str, float], None]


class Fitter:
    """Fits frames of one library and one semi-angle; keep it when there are many.

    Threads may share a fitter: their fits wait for each other.  For speed give every process its own.

    Parameters
    ----------
    library : Library, or the name or file of one
        Structural parameters start from the value nearest to 0 or in the middle, discrete ones from each.
    semi_angle : float, mrad
    network : Network, or the path of its weights, optional
        By default the one that was trained on this library: a shipped one, or beside the library.
    workers : int, threads of the search; by default all cores
    progress : callable(stage, fraction), optional
    seeded : bool
        Frames come with their seeds, to `fit_seeded` and `fit_near`: no network is loaded.
    shared : Shared, optional
        Many frames will come: where the settings hold the camera, they share node images.
    settings : FitSettings, optional
        What is asked of a fit; options replace its fields.
    options : fields of `FitSettings`
        method, background, fix, free, bounds, expressions, hints, flip, …: see there.

    Attributes
    ----------
    settings : FitSettings
        As given.
    library : Library
        As given; what is in a file is read when a fit needs it.
    reference : Library
        At one value of each structural parameter; the mirror image for a flipped frame.
    method : str
        What is done: "lsf" where "hybrid" was asked for and hints say where to search.
    seeder : Seeder or None
        Its seeds are for `fit_seeded` of this fitter alone.

    Raises
    ------
    InputError, LibraryError
        A name, hint, bound or semi-angle that the library or the network does not know or cover.
    """

    def __init__(
        self,
        library: Library | str | Path,
        semi_angle: float | None = None,
        *,
        network: Network | str | Path | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
        seeded: bool = False,
        shared: Shared | None = None,
        settings: FitSettings | None = None,
        **options: Unpack[FitOptions],
    ) -> None:
        asked: dict[str, Any] = {**options}
        if semi_angle is not None or settings is None:
            asked["semi_angle"] = semi_angle
        self.settings = settings_from(FitSettings, settings, asked, "Fitter")
        library = _as_library(library)
        self.settings.check(library)
        if workers is not None and not (isinstance(workers, int | np.integer) and workers >= 1):
            raise InputError(
                f"workers = {workers!r} is no number of threads; give 1 or more, or None for all cores"
            )
        self._lock = threading.RLock()
        self.semi_angle = self.settings.semi_angle
        # what the camera has seen: the mirror image of the crystal, where it mirrors its frames
        self._inside = (self.settings.mirrored() if self.settings.flip else self.settings).held()
        self.hints = self._inside.hints
        self.library = Library(library.dataset, on_demand=True)
        self._seen = mirrored(self.library) if self.settings.flip else self.library
        fix = self._inside.fix
        # seeds are found at one value of each structural parameter
        self.reference = self._seen.at(**reference_values(self._seen, fix))
        self.workers = workers or os.cpu_count() or 1
        self.progress: Progress = progress or (lambda stage, fraction: None)
        self.tilt_limit = self.settings.tilt_limit(library)
        self.seeder = None if seeded else self._make_seeder(network, library.path)
        asked_for, none = self.settings.method, self.seeder is None and not seeded
        alone = none and asked_for == "hybrid" and not self._placed
        self.method = "lsf" if none and not alone else asked_for
        self._remark = f"No network comes with this library at {self.semi_angle:g} mrad." if alone else ""
        make = partial(Refiner, settings=self._inside, pool=Pool(self.workers), shared=shared)
        self.refiner = make(self.reference)
        shares = self.settings.refining.structural_starts
        self.finder = Finder(make_variants(self._seen, fix, make, shares), self.progress)
        also = partial(make, settings=replace(self._inside, free=(*self._inside.free, VACUUM)))
        self.averaged = Averaged(
            self.finder, Finder(make_variants(self._seen, fix, also, shares), self.progress)
        )
        self.attempts = Attempts(self._seen, self.reference, self._inside, self.workers, self.progress)
        if alone:
            self.attempts.match_with_shipped_network()
        self.known = KnownFrames(self.reference, self._inside, bool(shared) and not self.library.structure)
        self.few = FewElectrons(
            self._seen, self.refiner, self.attempts, self.seeder, self.method, self._remark
        )

    def _make_seeder(self, network: Network | str | Path | None, beside: Path | None) -> Seeder | None:
        """The network's part; None where the method, the hints or the lack of a network leave it out."""
        method, hints, asked = self.settings.method, self.hints, self._inside
        known = self._placed or hints.rotation is not None
        if method == "lsf" or (method == "hybrid" and known):
            return None
        if method == "cnn" and (known or asked.fix or asked.free or asked.bounds or asked.expressions):
            raise InputError(
                "the network alone takes no fixed, free, bounded or tied parameters, and hints for centre "
                "and scale only; leave them out, or use method hybrid"
            )
        # a full search does without
        from hybridfit.fitting.seed.network import Seeder
        from hybridfit.network.weights import Network as Weights

        if isinstance(network, str | Path):
            network = Weights.open(network, device="cpu")
        if network is None:
            network = Weights.for_library(self.reference, self.semi_angle, device="cpu", beside=beside)
        elif not hasattr(network, "predict"):
            raise InputError(
                f"network is {network!r}; give the path of its weights, a Network, or None for the one that "
                "comes with the library; method lsf does without"
            )
        if network is None and method == "hybrid":
            return None
        if network is None:
            raise InputError(
                f"no network comes with this library at {self.semi_angle:g} mrad; make one with "
                "`hybridfit train`, or use method lsf"
            )
        return Seeder(
            network,
            self.reference,
            self.semi_angle,
            hints=hints,
            background=asked.background,
            settings=asked.seeding,
        )

    @property
    def _placed(self) -> bool:
        """Whether hints or bounds say where in the library to search."""
        hinted = self.hints.thickness is not None or self.hints.tilt is not None
        return hinted or bool({"thickness", "tilt_x", "tilt_y"} & set(self.settings.bounds))

    # ---------------------------------------------------------------- what users call

    def fit(self, frame: Frame | ArrayLike) -> FitResult:
        """Find everything, by the method of this fitter; frame is a Frame, or what `hybridfit.fit` takes.

        Raises an InputError where it cannot be used, has no direct disc, or resembles nothing in the library.
        """
        frame = frame_of(frame)
        energy = float(self.library.dataset.attrs["energy_kv"])
        with self._lock, explained(frame, self.hints, self.semi_angle, energy):
            clock = Clock()
            self.hints.check_frame(frame.image.shape, self.semi_angle)
            if (noise := self.few.noise(frame)) is not None:
                return self._outward(self.few.fit(frame, noise, clock))
            if self.attempts.matchers:
                return self._outward(self._settle(frame, self.attempts.matched(frame, clock), clock))
            if self.seeder is None:
                return self._outward(self._search_all(frame, clock))
            seed = self.seeder.seed(frame)
            clock.lap("seed")
            return self.fit_seeded(frame, seed, clock)

    def fit_seeded(self, frame: Frame, seed: Seed, clock: Clock | None = None) -> FitResult:
        """The rest of `fit`, after the network has seeded the frame.

        Parameters
        ----------
        frame : Frame
        seed : Seed
            From the seeder of this fitter, or of one with the same settings.
        clock : Clock, optional
            Where the time spent so far is kept.
        """
        with self._lock:
            clock = clock or Clock()
            if self.method == "cnn":
                from hybridfit.fitting.judge.network_answer import network_result

                return self._outward(network_result(self.refiner, frame, seed, clock))
            return self._outward(self._settle(frame, self.attempts.seeded(frame, seed, clock), clock))

    def fit_matched(self, frame: Frame, attempt: Attempt) -> FitResult:
        """Refine what `known.match` of this fitter found for a frame."""
        with self._lock:
            return self._outward(self._settle(frame, [attempt], Clock()))

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
        frame = frame_of(frame)
        with self._lock:
            clock = Clock()
            inward = [self._inward(candidate).tilted_within(self.tilt_limit) for candidate in candidates]
            for candidate in inward:
                self._check(candidate, frame)
            return self._outward(self._settle(frame, [self.attempts.near(frame, inward, clock)], clock))

    def refine(self, frame: Frame | ArrayLike, seed: Candidate) -> FitResult:
        """Refine from a seed within about 3 nm, 1 mrad, 2 px, 2 % and 2° of the truth.

        Raises
        ------
        InputError
            The seed is outside the library, or its camera cannot be that of the frame.
        """
        frame = frame_of(frame)
        with self._lock:
            clock = Clock()
            seed = self._inward(seed)
            self._check(seed, frame)
            return self._outward(self._finish(frame, [seed], None, clock, Route.seed_given))

    def search(self, frame: Frame | ArrayLike) -> tuple[list[Candidate], Array]:
        """Candidates of the full search, best first, and the least χ² at every thickness: (2, n), nm."""
        with self._lock:
            found, curve = self.attempts.searcher.search(frame_of(frame))
        return [self._inward(candidate) for candidate in found], curve  # the mirror is its own inverse

    def templates(self) -> Templates:
        """The library points of the full search; made (or read from the cache) on first use."""
        with self._lock:
            return self.attempts.searcher.templates()

    # ---------------------------------------------------------------- answers

    def _settle(self, frame: Frame, attempts: Iterable[Attempt], clock: Clock) -> FitResult:
        """Refine attempt after attempt until an answer holds; then search everywhere."""
        result: FitResult | None = None
        error: InputError | None = None
        judging, order = self.settings.judging, self.reference.rotation_order
        for attempt in (each for each in attempts if each.found):
            try:
                new = self._finish(frame, attempt.found, attempt.curve, clock, attempt.route)
            except InputError as impossible:  # a camera that cannot be: another disc, or the full search
                error = impossible
                if attempt.another:
                    continue
                break
            result = better(result, new, judging.as_good)
            thin = is_thin(result.thickness, self.reference, self.settings.refining)
            place = attempt.around, order, attempt.within
            if holds(result, *place, room=judging.room, thin=thin, rivals=attempt.everywhere):
                return result
            strayed = strays(new, attempt.around, order, self.settings.routes.wider)
            if new.poor and not strayed and nothing_but_round(new.thumbnail.experiment, judging):
                return replace(result, seconds=clock.seconds())
            if (new.poor or strayed) and self.settings.thorough and not attempt.another:
                break  # no wider window would hold it, and the whole library is searched as fast
        if not self.settings.thorough:
            if result is None:
                raise error or InputError(f"{frame.source}: nothing in the library resembles it")
            return result
        full = self._search_all(frame, clock, result)
        return replace(better(result, full, judging.as_good), seconds=clock.seconds())

    def _search_all(self, frame: Frame, clock: Clock, before: FitResult | None = None) -> FitResult:
        """Search and refine everywhere; a poor answer before stays where nothing resembles the frame."""
        attempt = self.attempts.everywhere(frame, clock)
        if before is not None and before.poor and self.attempts.unlike(frame, attempt.found):
            self._check_bright(frame)
            return before
        if not attempt.found:
            self._check_bright(frame)
            raise InputError(
                f"{frame.source}: nothing in the library resembles it at {self.semi_angle:g} mrad; check the "
                "semi-angle, the library and the frame"
            )
        result = self._finish(frame, attempt.found, attempt.curve, clock, attempt.route)
        if result.poor:
            self._check_bright(frame)
        return result

    def _finish(
        self, frame: Frame, found: Sequence[Candidate], curve: Array | None, clock: Clock, route: Route
    ) -> FitResult:
        """Refine candidates and judge what they lead to."""
        minima, beside = self.averaged.find(frame, found)
        answer = minima.best.answer
        camera = answer.centre_x, answer.centre_y, answer.scale
        check_disc(frame, camera, self.semi_angle, self.settings.searching)
        if not beside and not misfits(minima.best, self.settings.judging):
            beside = other_semi_angle(frame, minima)
        self.progress("refine", 1.0)
        clock.lap("refine")
        origin = Origin(route, self.method, found[0], curve, self._remark)
        result = make_result(frame, self._seen, minima, beside, origin, clock.seconds())
        odds = with_probabilities(result.candidates, found, self.reference.rotation_order)
        return replace(result, modes=modes_of_minima(result, minima), candidates=odds)

    def _check_bright(self, frame: Frame) -> None:
        """Raise an InputError when what is bright in the frame is cut by its edge."""
        check_bright(frame, self.hints, self.settings.searching, self.settings.seeding.disc)

    def _inward(self, candidate: Candidate) -> Candidate:
        """A candidate of the crystal, in the frame of what the camera has seen; or back."""
        return candidate.mirrored() if self.settings.flip else candidate

    def _outward(self, result: FitResult) -> FitResult:
        """A result of what the camera has seen, in the frame of the crystal."""
        return result.mirrored() if self.settings.flip else result

    def _check(self, seed: Candidate, frame: Frame) -> None:
        known = Hints(seed.thickness, seed.tilt, (seed.centre_x, seed.centre_y), seed.scale, seed.rotation)
        known.check_library(self.library, self.semi_angle)
        known.check_frame(frame.image.shape, self.semi_angle)


def _as_library(library: Library | str | Path) -> Library:
    if isinstance(library, str | Path):
        return Library.open(library)
    if not isinstance(library, Library):
        raise InputError(
            f"library is {library!r}; give a Library, or the name or file of one, such as 'SrTiO3_001_200kV'"
        )
    return library
