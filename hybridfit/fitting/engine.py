"""The engine: frame in, result out.

rough discs → search (rings) → a few candidates refined on a coarse frame → the best refined on
the frame itself → status and errors.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

import lmfit
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.cameras import check_disc
from hybridfit.fitting.candidates import Candidate, canonical
from hybridfit.fitting.hints import Hints, check_fixed, with_fixed
from hybridfit.fitting.refinement import Refinement, refine
from hybridfit.fitting.region import Region
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.search import WINDOW, Searcher, Templates
from hybridfit.fitting.verdict import make_result
from hybridfit.frame import Frame, make_frame
from hybridfit.library import Library
from hybridfit.model import PARAMETERS, SEMI_ANGLE_ROOM, ForwardModel, composed_radius
from hybridfit.pattern import background as bg
from hybridfit.pattern.camera import Camera

Array = NDArray[np.float64]
Progress = Callable[[str, float], None]

METHODS = ("lsf",)
FINE_RADIUS = 64  # px of the compared disc in the last refinement: frames with more are binned
COARSE_RADIUS = 26  # px, while candidates are told apart
COARSE_TOLERANCE = 1e-3
FIXED_BY_DEFAULT = ("semi_angle", "ellipticity_a", "ellipticity_b")
START_BLUR = 0.3  # mrad
SLACK = 1.5  # a refinement may leave the window by half of it before the window follows
RIVAL_CHI2 = 1.5  # candidates that bad in comparison are no rivals
RIVALS = 3
FEWEST_PIXELS = 200


class Fitter:
    """Fits frames of one library and one semi-angle; keep it when there are many.

    Parameters
    ----------
    library : Library
    semi_angle : float, mrad
    background : str, one of `hybridfit.pattern.background.NAMES`
    fix : mapping of parameter name to value, or to None to keep the value of the seed
    free : names of parameters to vary that are fixed by default (semi_angle, ellipticity_a, …_b)
    hints : Hints
    workers : int, threads of the search; by default all cores
    progress : callable(stage, fraction), optional
    keep_model : bool
        Keep the model (some 20 MB) with each result, for `FitResult.conf_interval`.

    Raises
    ------
    InputError, LibraryError
        A name, hint or semi-angle that the library does not know or cover; workers below 1.
    """

    def __init__(
        self,
        library: Library,
        semi_angle: float,
        *,
        background: str = "radial",
        fix: Mapping[str, float | None] | None = None,
        free: Sequence[str] = (),
        hints: Hints | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
        keep_model: bool = False,
    ) -> None:
        library.check_semi_angle(semi_angle)
        bg.check(background)
        for name in (*(fix or {}), *free):
            if name not in PARAMETERS:
                raise InputError(f"unknown parameter {name!r}; the parameters are {', '.join(PARAMETERS)}")
        if workers is not None and not (isinstance(workers, int | np.integer) and workers >= 1):
            raise InputError(
                f"workers = {workers!r} is no number of threads; give 1 or more, or None for all cores"
            )
        check_fixed(fix or {}, library, semi_angle)
        self.hints = with_fixed(hints or Hints(), fix or {})
        self.hints.check_library(library, semi_angle)
        self.library = Library(library.dataset.load())
        self.semi_angle = float(semi_angle)
        self.background = background
        self.fix = dict(fix or {})
        self.free = tuple(free)
        self.progress: Progress = progress or (lambda stage, fraction: None)
        self.keep_model = keep_model
        self.tilt_limit = library.tilt_max + library.semi_angle_max - semi_angle
        self.searcher = Searcher(
            self.library,
            self.semi_angle,
            hints=self.hints,
            workers=workers or os.cpu_count() or 1,
            progress=self.progress,
        )

    def templates(self) -> Templates:
        """The library points that are searched; made (or read from the cache) on first use."""
        return self.searcher.templates()

    def search(self, frame: Frame | ArrayLike) -> tuple[list[Candidate], Array]:
        """Candidates, best first, and the least χ² found at every thickness: (2, n), nm."""
        return self.searcher.search(_as_frame(frame))

    def fit(self, frame: Frame | ArrayLike) -> FitResult:
        """Find everything: search, then refine.

        Parameters
        ----------
        frame : Frame or (rows, cols) array

        Raises
        ------
        InputError
            The frame cannot be used, or shows no direct disc.
        """
        started = time.perf_counter()
        frame = _as_frame(frame)
        self.hints.check_frame(frame.image.shape, self.semi_angle)
        found, curve = self.search(frame)
        return self._finish(frame, found, curve, started, time.perf_counter())

    def refine(self, frame: Frame | ArrayLike, seed: Candidate) -> FitResult:
        """Refine from a seed within about 3 nm, 1 mrad, 2 px, 2 % and 2° of the truth.

        Raises
        ------
        InputError
            The seed is outside the library, or its camera cannot be that of the frame.
        """
        started = time.perf_counter()
        frame = _as_frame(frame)
        known = Hints(seed.thickness, seed.tilt, (seed.centre_x, seed.centre_y), seed.scale, seed.rotation)
        known.check_library(self.library, self.semi_angle)
        known.check_frame(frame.image.shape, self.semi_angle)
        return self._finish(frame, [seed], None, started, started)

    # ---------------------------------------------------------------- inside

    def _finish(
        self, frame: Frame, found: list[Candidate], curve: Array | None, started: float, searched: float
    ) -> FitResult:
        """Refine candidates and say what came of it."""
        best = found[0]
        check_disc(frame, (best.centre_x, best.centre_y, best.scale), self.semi_angle)
        order = self.library.rotation_order
        tried = self._tell_apart(frame, found) if len(found) > 1 else list(found)
        region, fit, answer = self._follow(frame, tried[0], FINE_RADIUS)
        rivals: list[tuple[Refinement, Candidate]] = []
        for seed in tried[1 : 1 + RIVALS]:
            if seed.chi2 > RIVAL_CHI2 * tried[0].chi2:
                continue
            other_region, other, at = self._follow(frame, seed, FINE_RADIUS)
            if at.same_as(answer, order):
                continue
            if at.chi2 < answer.chi2:
                region, fit, answer, other, at = other_region, other, at, fit, answer
            rivals.append((other, at))
        check_disc(frame, (answer.centre_x, answer.centre_y, answer.scale), self.semi_angle)
        refined = [answer, *(at for _, at in rivals)]
        refined += [c for c in tried if not any(c.same_as(r, order) for r in refined)]
        self.progress("refine", 1.0)
        ended = time.perf_counter()
        return make_result(
            frame.source,
            self.library,
            self.tilt_limit,
            region,
            fit,
            rivals,
            seed=best,
            candidates=tuple(sorted(refined, key=lambda c: c.chi2)),
            curve=curve,
            keep_model=self.keep_model,
            seconds={
                "seed": 0.0,
                "search": searched - started,
                "refine": ended - searched,
                "total": ended - started,
            },
        )

    def _tell_apart(self, frame: Frame, found: list[Candidate]) -> list[Candidate]:
        """The minima that the candidates lead to, refined on a coarse frame, best first."""
        order = self.library.rotation_order
        minima: list[Candidate] = []
        for i, seed in enumerate(found):
            _, _, answer = self._follow(frame, seed, COARSE_RADIUS)
            if not any(answer.same_as(other, order) for other in minima):
                minima.append(answer)
            self.progress("refine", (i + 1) / (len(found) + 1))
        return sorted(minima, key=lambda c: c.chi2)

    def _follow(self, frame: Frame, seed: Candidate, radius_px: int) -> tuple[Region, Refinement, Candidate]:
        """Refine; where the answer runs into the rim of the window, move the window after it."""
        for _ in range(3):
            region, fit = self._refine(frame, seed, radius_px)
            answer = region.answer(fit)
            near = abs(answer.thickness - seed.thickness) < 0.95 * SLACK * WINDOW[0]
            for a, b in zip(answer.tilt, seed.tilt, strict=True):
                near &= abs(a - b) < 0.95 * SLACK * WINDOW[1]
            if near:
                break
            seed = answer
        return region, fit, answer

    def _refine(self, frame: Frame, seed: Candidate, radius_px: int) -> tuple[Region, Refinement]:
        """Refine from a seed, inside a window of the library, on a binned frame."""
        x, y, rotation = canonical(*seed.tilt, seed.rotation, self.library.rotation_order)
        region = Region.around(frame, seed, self.semi_angle, radius_px)
        usable = int(region.mask.sum())
        if usable < FEWEST_PIXELS:
            raise InputError(
                f"{frame.source}: the pattern at {seed.scale:.3g} px/mrad has only {usable} usable pixels, "
                f"{FEWEST_PIXELS} are needed; bin or mask less"
            )
        half_widths = (SLACK * WINDOW[0], SLACK * WINDOW[1])
        window = self.library.window(
            seed.thickness,
            (x, y),
            half_widths=half_widths,
            semi_angle=self.semi_angle * (1 + SEMI_ANGLE_ROOM),
            k_max=composed_radius(self.semi_angle, seed.scale, region.factor),
        )
        model = ForwardModel(
            window,
            region.mask,
            Camera(seed.centre_x, seed.centre_y, seed.scale, rotation),
            semi_angle=self.semi_angle,
            background=self.background,
            per_nm=bg.PER_NM * float(frame.image[frame.valid].max()),
            origin=region.origin,
            pixel=region.factor,
        )
        start = {
            "thickness": seed.thickness,
            "tilt_x": x,
            "tilt_y": y,
            "centre_x": seed.centre_x,
            "centre_y": seed.centre_y,
            "scale": seed.scale,
            "rotation": rotation,
            "semi_angle": self.semi_angle,
            "blur": START_BLUR,
            "ellipticity_a": 0.0,
            "ellipticity_b": 0.0,
        }
        params = self._parameters(start, window, half_widths[1])
        coarse = radius_px < FINE_RADIUS
        data = region.image[region.mask]
        if coarse:
            return region, refine(model, data, params, passes=1, tolerance=COARSE_TOLERANCE)
        return region, refine(model, data, params)

    def _parameters(self, start: dict[str, float], window: Library, tilt_room: float) -> lmfit.Parameters:
        """lmfit parameters with the bounds of the window and of good sense."""
        limit, scale = self.tilt_limit, start["scale"]
        largest_angle = min((1 + SEMI_ANGLE_ROOM) * self.semi_angle, self.library.semi_angle_max)
        bounds = {
            "thickness": window.thickness_range,
            "centre_x": (start["centre_x"] - 3 * scale, start["centre_x"] + 3 * scale),
            "centre_y": (start["centre_y"] - 3 * scale, start["centre_y"] + 3 * scale),
            "scale": (0.8 * scale, 1.25 * scale),
            "rotation": (-np.inf, np.inf),
            "semi_angle": ((1 - SEMI_ANGLE_ROOM) * self.semi_angle, largest_angle),
            "blur": (0.0, 3.0),
            "ellipticity_a": (-0.1, 0.1),
            "ellipticity_b": (-0.1, 0.1),
        }
        for name in ("tilt_x", "tilt_y"):
            bounds[name] = (max(start[name] - tilt_room, -limit), min(start[name] + tilt_room, limit))
        params = lmfit.Parameters()
        for name in PARAMETERS:
            value, (low, high) = start[name], bounds[name]
            vary = name not in FIXED_BY_DEFAULT or name in self.free
            if name in self.fix:
                given = self.fix[name]
                value, vary = (value if given is None else float(given)), False
            if not vary:
                params.add(name, value=value, vary=False)
                continue
            # a start on a bound has no slope in lmfit's transformed parameter
            room = 1e-3 * (high - low) if np.isfinite(high - low) else 0.0
            params.add(name, value=float(np.clip(value, low + room, high - room)), min=low, max=high)
        return params


def _as_frame(frame: Frame | ArrayLike) -> Frame:
    return frame if isinstance(frame, Frame) else make_frame(frame)


def fit(
    frame: Frame | ArrayLike,
    library: Library | str,
    *,
    semi_angle: float,
    method: str = "lsf",
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
    method : "lsf"
        Full least-squares search, then refinement.
    background, fix, free, hints
        As for `Fitter`, which is the thing to use for many frames.

    Returns
    -------
    FitResult

    Raises
    ------
    InputError, LibraryError
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; this version has {', '.join(METHODS)}")
    if not isinstance(library, Library):
        library = Library.open(library)
    fitter = Fitter(
        library, semi_angle, background=background, fix=fix, free=free, hints=hints, keep_model=True
    )
    return fitter.fit(frame)
