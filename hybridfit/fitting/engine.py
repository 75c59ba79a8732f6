"""The engine: frame in, result out.

rough discs → search (rings) → a few candidates refined on a coarse frame → the best refined on
the frame itself → status and errors.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import lmfit
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.binning import bin_frame
from hybridfit.fitting.refinement import Problem, Refinement, refine
from hybridfit.fitting.result import FitResult, Parameter, Status, Thumbnail
from hybridfit.fitting.rough import rough_discs
from hybridfit.fitting.search import (
    BEYOND_DISC,
    THICKNESS_STEP,
    Candidate,
    Templates,
    candidates,
    canonical,
    make_templates,
    match,
    tilt_distance,
    tilt_grid,
)
from hybridfit.io import Frame, make_frame
from hybridfit.library import Library, cache_folder
from hybridfit.model import FITTED_BEYOND_DISC, PARAMETERS, ForwardModel
from hybridfit.pattern import background as bg
from hybridfit.pattern.background import PER_NM
from hybridfit.pattern.camera import Camera, to_angles

Array = NDArray[np.float64]
Progress = Callable[[str, float], None]

METHODS = ("lsf",)
FINE_RADIUS = 64  # px of the compared disc in the last refinement: frames with more are binned
COARSE_RADIUS = 26  # px, while candidates are told apart
FIXED_BY_DEFAULT = ("semi_angle", "ellipticity_a", "ellipticity_b")
POOR_MISFIT = 0.06  # of the pattern's variance
AMBIGUOUS_SIGMA = 3.0
START_BLUR = 0.3  # mrad
WINDOW = (3.0, 1.0)  # nm, mrad: what a refinement may move from its seed before the window follows
DISC_OUTSIDE = 0.03  # of the radius: how far the direct disc may stick out of the frame


@dataclass(frozen=True)
class Hints:
    """What the user already knows; None is not known. nm, mrad, px, px/mrad, degrees."""

    thickness: float | None = None
    tilt: tuple[float, float] | None = None
    centre: tuple[float, float] | None = None
    scale: float | None = None
    rotation: float | None = None

    def check(self, shape: tuple[int, ...], semi_angle: float) -> None:
        """Raise an InputError for hints that cannot be true of a frame of this shape."""
        if self.scale is not None:
            largest = max(shape) / (2 * semi_angle)
            if not 0.2 <= self.scale <= largest:
                raise InputError(
                    f"scale {self.scale:g} px/mrad cannot be right: at a semi-angle of {semi_angle:g} mrad the "
                    f"direct disc would be {2 * self.scale * semi_angle:.4g} px wide in a frame of "
                    f"{shape[1]} × {shape[0]} px; give 0.2 … {largest:.3g} px/mrad, or no scale at all"
                )
        if self.centre is not None and not (
            0 <= self.centre[0] < shape[1] and 0 <= self.centre[1] < shape[0]
        ):
            raise InputError(
                f"centre {self.centre} px lies outside the frame of {shape[1]} × {shape[0]} px; "
                "give column and row"
            )


class Fitter:
    """Fits frames of one library and one semi-angle; keep it when there are many.

    Parameters
    ----------
    library : Library
    semi_angle : float, mrad
    background : str, one of `hybridfit.pattern.background.NAMES`
    fix : mapping of parameter name to value, or to None to keep the value of the seed
    free : names of parameters to vary that are fixed by default
    hints : Hints
    workers : int, threads of the search; by default all cores
    progress : callable(stage, fraction), optional
    """

    def __init__(
        self,
        library: Library,
        semi_angle: float,
        *,
        background: str = "radial",
        fix: dict[str, float | None] | None = None,
        free: Sequence[str] = (),
        hints: Hints | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        library.check_semi_angle(semi_angle)
        bg.check(background)
        for name in (*(fix or {}), *free):
            if name not in PARAMETERS:
                raise InputError(f"unknown parameter {name!r}; the parameters are {', '.join(PARAMETERS)}")
        low, high = library.thickness_range
        hints = hints or Hints()
        if hints.thickness is not None and not low <= hints.thickness <= high:
            raise InputError(
                f"thickness hint {hints.thickness:g} nm is outside this library ({low:g} … {high:g} nm)"
            )
        self.library = Library(library.dataset.load())
        self.semi_angle = float(semi_angle)
        self.background = background
        self.fix = dict(fix or {})
        self.free = tuple(free)
        self.hints = hints
        self.workers = workers or os.cpu_count() or 1
        self.progress = progress or (lambda stage, fraction: None)
        self.tilt_limit = library.tilt_max + library.semi_angle_max - semi_angle
        self.search_tilt = min(library.tilt_max, self.tilt_limit)
        self._templates: Templates | None = None

    # ---------------------------------------------------------------- the three stages

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
        frame = frame if isinstance(frame, Frame) else make_frame(frame)
        self.hints.check(frame.image.shape, self.semi_angle)
        found, curve = self.search(frame)
        searched = time.perf_counter()
        return self._finish(frame, found, curve, started, searched)

    def refine(self, frame: Frame | ArrayLike, seed: Candidate) -> FitResult:
        """Refine from a seed within about 3 nm, 1 mrad, 2 px, 2 % and 2° of the truth."""
        started = time.perf_counter()
        frame = frame if isinstance(frame, Frame) else make_frame(frame)
        return self._finish(frame, [seed], None, started, started)

    def search(self, frame: Frame) -> tuple[list[Candidate], Array]:
        """Candidates, best first, and the least χ² found at every thickness (2, n)."""
        templates = self.templates()
        cameras = self._trial_cameras(frame)
        # about as many pixels as the rings resolve
        factor = max(1, int(np.median(cameras[:, 2]) * (self.semi_angle + BEYOND_DISC) / 36))
        image, valid = bin_frame(frame.image, frame.valid, factor)
        rotation = self.hints.rotation
        turn = None if rotation is None else (rotation - 5.0, rotation + 5.0)
        order = self.library.rotation_order
        chi2 = np.empty((0, templates.series.shape[0]), np.float32)
        angles = np.empty_like(chi2)
        every = np.empty((0, 3))
        steps = (0.7, 0.05) if self.hints.scale is None else (0.7, 0.02)
        for level in range(3):
            scaled = cameras.copy()
            scaled[:, :2] = (scaled[:, :2] - (factor - 1) / 2) / factor
            scaled[:, 2] /= factor
            new_chi2, new_angles = match(
                image, valid, templates, scaled, rotation_range=turn, workers=self.workers
            )
            every = np.vstack([every, cameras])
            chi2, angles = np.vstack([chi2, new_chi2]), np.vstack([angles, new_angles])
            self.progress("search", (level + 1) / 3)
            if level == 2:
                break
            best = chi2.min(axis=1)
            parents = every[np.argsort(best)[: 3 if level == 0 else 2]]
            size = 0.5 ** (level + 1)
            cameras = _around(parents, steps[0] * size, steps[1] * size)
        found = candidates(templates, every, chi2, angles, order)
        thickness = np.unique(templates.thickness)
        by_template = chi2.min(axis=0)
        least = np.array([by_template[templates.thickness == t].min() for t in thickness])
        return found, np.stack([thickness, least])

    def templates(self) -> Templates:
        """The library points that are searched; those of a whole library are kept in the cache."""
        if self._templates is not None:
            return self._templates
        low, high = self.library.thickness_range
        thickness = np.arange(low, high + 1e-9, THICKNESS_STEP)
        if self.hints.thickness is not None:
            thickness = self.hints.thickness + np.arange(-WINDOW[0], WINDOW[0] + 0.5)
            thickness = thickness[(thickness >= low) & (thickness <= high)]
        order = self.library.rotation_order
        if self.hints.tilt is None:
            tilts = tilt_grid(self.search_tilt, order)
        else:
            tilts = tilt_grid(WINDOW[1], 1) + np.array(self.hints.tilt)
        whole = self.hints.thickness is None and self.hints.tilt is None
        checksum = str(self.library.dataset.attrs["checksum"])
        whole = whole and len(self.library.dataset.direction) > 0
        path = cache_folder() / f"rings-{checksum[:12]}-{self.semi_angle:.4f}mrad-v2.npy"
        if whole and path.exists():
            with contextlib.suppress(OSError, ValueError):
                series = np.load(path, allow_pickle=False)
                if series.shape[0] == len(thickness) * len(tilts):
                    self._templates = Templates(
                        np.asarray(series),
                        np.repeat(thickness, len(tilts)),
                        np.tile(tilts[:, 0], len(thickness)),
                        np.tile(tilts[:, 1], len(thickness)),
                        self.semi_angle,
                    )
                    return self._templates
        self._templates = make_templates(
            self.library,
            self.semi_angle,
            thickness,
            tilts,
            workers=self.workers,
            progress=lambda fraction: self.progress("templates", fraction),
        )
        if whole:
            _save_quietly(path, self._templates.series)
        return self._templates

    # ---------------------------------------------------------------- inside

    def _trial_cameras(self, frame: Frame) -> Array:
        """(c, 3) centres and scales worth trying."""
        hints = self.hints
        if hints.centre is not None and hints.scale is not None:
            discs = [(*hints.centre, hints.scale)]
        else:
            found = rough_discs(frame.image, frame.valid)
            if not found and (hints.centre is None or hints.scale is None):
                raise InputError(
                    f"{frame.source}: no direct disc found in the frame; "
                    "give its centre and scale as hints, or check the frame"
                )
            discs = [
                (
                    *(hints.centre or (disc.centre_x, disc.centre_y)),
                    hints.scale or disc.radius / self.semi_angle,
                )
                for disc in found
            ]
        cameras = _around(np.array(discs), 0.7, 0.05 if hints.scale is None else 0.02)
        rows, cols = frame.image.shape
        room = np.minimum.reduce([cameras[:, 0], cameras[:, 1], cols - 1 - cameras[:, 0], rows - 1 - cameras[:, 1]])
        whole = room > (1 - DISC_OUTSIDE) * self.semi_angle * cameras[:, 2]
        return cameras[whole] if whole.any() else cameras

    def _parameters(self, seed: Candidate) -> lmfit.Parameters:
        """lmfit parameters at a seed, with the bounds of the library and of good sense."""
        low, high = self.library.thickness_range
        limit = self.tilt_limit
        bounds = {
            "thickness": (low, high),
            "tilt_x": (-limit, limit),
            "tilt_y": (-limit, limit),
            "centre_x": (seed.centre_x - 3 * seed.scale, seed.centre_x + 3 * seed.scale),
            "centre_y": (seed.centre_y - 3 * seed.scale, seed.centre_y + 3 * seed.scale),
            "scale": (0.8 * seed.scale, 1.25 * seed.scale),
            "rotation": (-np.inf, np.inf),
            "semi_angle": (0.94 * self.semi_angle, min(1.06 * self.semi_angle, self.library.semi_angle_max)),
            "blur": (0.0, 3.0),
            "ellipticity_a": (-0.1, 0.1),
            "ellipticity_b": (-0.1, 0.1),
        }
        start = {
            "semi_angle": self.semi_angle,
            "blur": START_BLUR,
            "ellipticity_a": 0.0,
            "ellipticity_b": 0.0,
        }
        params = lmfit.Parameters()
        for name in PARAMETERS:
            value = start.get(name, getattr(seed, name, 0.0))
            vary = name not in FIXED_BY_DEFAULT or name in self.free
            if name in self.fix:
                given = self.fix[name]
                value, vary = (value if given is None else given), False
            smallest, largest = bounds[name]
            if vary:
                # a start on a bound has no slope in lmfit's transformed parameter
                room = 1e-3 * (largest - smallest) if np.isfinite(largest - smallest) else 0.0
                value = float(np.clip(value, smallest + room, largest - room))
                params.add(name, value=value, min=smallest, max=largest, vary=True)
            else:
                params.add(name, value=value, vary=False)
        return params

    def _prepare(self, frame: Frame, seed: Candidate, radius_px: int) -> _Region:
        """Cut and bin the frame around a seed."""
        camera = Camera(seed.centre_x, seed.centre_y, seed.scale, seed.rotation)
        radius = (self.semi_angle + FITTED_BEYOND_DISC) * seed.scale
        factor = max(1, int(radius / radius_px))
        margin = radius + 4 * factor
        rows, cols = frame.image.shape
        top, left = (max(0, int(c - margin)) for c in (seed.centre_y, seed.centre_x))
        bottom = min(rows, int(seed.centre_y + margin) + 1)
        right = min(cols, int(seed.centre_x + margin) + 1)
        image, valid = bin_frame(
            frame.image[top:bottom, left:right], frame.valid[top:bottom, left:right], factor
        )
        camera = camera._replace(centre_x=camera.centre_x - left, centre_y=camera.centre_y - top).binned(
            factor
        )
        row, col = np.indices(image.shape)
        inside = np.hypot(col - camera.centre_x, row - camera.centre_y) <= radius / factor
        return _Region(image, inside & valid, camera, factor, left, top)

    def _refine(
        self, frame: Frame, seed: Candidate, radius_px: int, passes: int
    ) -> tuple[_Region, Refinement]:
        """Refine from a seed on a binned frame."""
        region = self._prepare(frame, seed, radius_px)
        if region.mask.sum() < 200:
            raise InputError(
                f"{frame.source}: the pattern at {seed.scale:.3g} px/mrad has too few usable pixels"
            )
        slack = 1.5  # the window has to hold wherever the refinement may go
        window = self.library.window(
            seed.thickness,
            (seed.tilt_x, seed.tilt_y),
            half_widths=(WINDOW[0] * slack, WINDOW[1] * slack),
            semi_angle=self.semi_angle * 1.06,
        )
        per_nm = PER_NM * float(frame.image[frame.valid].max())
        model = ForwardModel(
            window,
            region.mask,
            region.camera,
            semi_angle=self.semi_angle,
            background=self.background,
            per_nm=per_nm,
        )
        params = region.to_region(self._parameters(seed))
        low, high = window.thickness_range
        if params["thickness"].vary:
            params["thickness"].set(
                min=max(low, params["thickness"].min), max=min(high, params["thickness"].max)
            )
        for name, centre in (("tilt_x", seed.tilt_x), ("tilt_y", seed.tilt_y)):
            if params[name].vary:
                params[name].set(
                    min=max(centre - WINDOW[1] * slack, params[name].min),
                    max=min(centre + WINDOW[1] * slack, params[name].max),
                )
        data = region.image[region.mask]
        return region, refine(model, data, params, passes=passes, tolerance=1e-6 if passes > 1 else 1e-3)

    def _follow(
        self, frame: Frame, seed: Candidate, radius_px: int, passes: int
    ) -> tuple[_Region, Refinement, Candidate]:
        """Refine; where the answer runs into the rim of the window, move the window after it."""
        for _ in range(3):
            region, fit = self._refine(frame, seed, radius_px, passes)
            answer = region.to_candidate(fit)
            inside = abs(answer.thickness - seed.thickness) < 1.4 * WINDOW[0]
            inside &= abs(answer.tilt_x - seed.tilt_x) < 1.4 * WINDOW[1]
            inside &= abs(answer.tilt_y - seed.tilt_y) < 1.4 * WINDOW[1]
            if inside:
                break
            seed = answer
        return region, fit, answer

    def _finish(
        self,
        frame: Frame,
        found: list[Candidate],
        curve: Array | None,
        started: float,
        searched: float,
    ) -> FitResult:
        self._check_disc(frame, found[0])
        order = self.library.rotation_order
        tried: list[Candidate] = []
        if len(found) > 1:
            for seed in found:
                _, _, answer = self._follow(frame, seed, COARSE_RADIUS, 1)
                if not any(_same(answer, other, order) for other in tried):
                    tried.append(answer)
                self.progress("refine", len(tried) / (len(found) + 1))
            tried.sort(key=lambda c: c.chi2)
        else:
            tried = list(found)
        region, fit, answer = self._follow(frame, tried[0], FINE_RADIUS, 4)
        rivals = []
        for rival in tried[1:4]:
            if rival.chi2 < 1.5 * tried[0].chi2 + 1e-4:
                other_region, other, at = self._follow(frame, rival, FINE_RADIUS, 4)
                if _same(at, answer, order):
                    continue
                # both with the weights of the better one
                rivals.append((other, at))
                if other.sum_of_squares * fit.residual.size < fit.sum_of_squares * other.residual.size:
                    rivals[-1] = (fit, answer)
                    region, fit, answer = other_region, other, at
        refined = [answer, *(at for _, at in rivals)]
        refined += [c for c in tried if not any(_same(c, r, order) for r in refined)]
        status, detail = self._judge(region, fit, answer, rivals)
        ended = time.perf_counter()
        self.progress("refine", 1.0)
        return self._result(
            frame,
            region,
            fit,
            status,
            detail,
            seed=found[0],
            tried=tuple(sorted(refined, key=lambda c: c.chi2)),
            curve=curve,
            seconds={
                "seed": 0.0,
                "search": searched - started,
                "refine": ended - searched,
                "total": ended - started,
            },
        )

    def _check_disc(self, frame: Frame, seed: Candidate) -> None:
        """Raise an InputError when the direct disc is cut by the edge of the frame."""
        rows, cols = frame.image.shape
        radius = self.semi_angle * seed.scale
        out = radius - min(
            seed.centre_x + 0.5, seed.centre_y + 0.5, cols - 0.5 - seed.centre_x, rows - 0.5 - seed.centre_y
        )
        if out > DISC_OUTSIDE * radius:
            raise InputError(
                f"{frame.source}: the direct disc (centre {seed.centre_x:.0f}, {seed.centre_y:.0f} px, radius "
                f"{radius:.0f} px) is cut by the edge of the {cols} × {rows} px frame; "
                "record it whole, or give centre and scale as hints if this is wrong"
            )

    def _judge(
        self, region: _Region, fit: Refinement, answer: Candidate, rivals: list[tuple[Refinement, Candidate]]
    ) -> tuple[Status, str]:
        """Status and its detail."""
        values = np.array(list(fit.values.values()))
        if not np.isfinite(values).all() or fit.coefficients[0] <= 0:
            return Status.failed, "no positive intensity factor fits the frame"
        misfit = fit.noise.misfit / max(region.variance, 1e-300)
        if misfit > POOR_MISFIT:
            return (
                Status.poor_match,
                f"misfit {misfit:.1%} of the pattern's variance, {POOR_MISFIT:.0%} is usual at most",
            )
        on_bound = self._on_bound(fit)
        if on_bound:
            return Status.at_bound, ", ".join(on_bound)
        for other, at in rivals:
            excess = other.sum_of_squares / other.residual.size / (fit.sum_of_squares / fit.residual.size) - 1
            if excess * fit.n_effective < AMBIGUOUS_SIGMA**2:
                return (
                    Status.ambiguous,
                    f"{at.thickness:.1f} nm, tilt {at.tilt_x:.2f}, {at.tilt_y:.2f} mrad, sum of squares {excess:+.1%}",
                )
        return Status.converged, ""

    def _on_bound(self, fit: Refinement) -> list[str]:
        """Names of varying parameters that ended on a bound of the library or of good sense."""
        low, high = self.library.thickness_range
        found = []
        params = fit.minimizer.params
        t, error = params["thickness"], params["thickness"].stderr or 0.0
        for bound in (low, high):
            if t.vary and abs(t.value - bound) < max(0.02, 0.5 * min(error, 1.0)):
                found.append(f"thickness = {bound:g} nm")
        x, y = params["tilt_x"], params["tilt_y"]
        if (x.vary or y.vary) and np.hypot(x.value, y.value) > self.tilt_limit - 0.01:
            found.append(f"tilt_x, tilt_y at {self.tilt_limit:.3g} mrad")
        for name in ("scale", "centre_x", "centre_y", "semi_angle", "ellipticity_a", "ellipticity_b"):
            p = params[name]
            if p.vary and min(p.value - p.min, p.max - p.value) < 1e-4 * (p.max - p.min):
                found.append(name)
        return found

    def _result(
        self,
        frame: Frame,
        region: _Region,
        fit: Refinement,
        status: Status,
        detail: str,
        *,
        seed: Candidate,
        tried: tuple[Candidate, ...],
        curve: Array | None,
        seconds: dict[str, float],
    ) -> FitResult:
        params = region.to_frame(fit.minimizer.params)
        x, y, rotation = canonical(
            params["tilt_x"].value,
            params["tilt_y"].value,
            params["rotation"].value,
            self.library.rotation_order,
        )
        _turn_tilt(fit.minimizer, params, x, y, rotation)
        parameters = {}
        bounded = " ".join(self._on_bound(fit))
        for name, p in params.items():
            error = p.stderr if p.vary and p.stderr is not None and name not in bounded else None
            interval = None if error is None else (p.value - 1.96 * error, p.value + 1.96 * error)
            parameters[name] = Parameter(float(p.value), error, interval)
        t = parameters["thickness"]
        naive = fit.inflation.get("thickness")
        half = None
        if t.stderr is not None and naive:
            half = t.stderr / naive * np.sqrt(0.1 * fit.chi2)
        attrs = self.library.dataset.attrs
        zone = " ".join(str(int(i)) for i in attrs["zone"])
        mask, pixels = region.mask, region.mask.sum()
        counting = fit.noise.counting(fit.model)
        freedom = max(int(pixels) - len(fit.inflation) - len(fit.coefficients), 1)
        fit_image = np.where(mask, 0.0, np.nan)
        fit_image[mask] = fit.model
        return FitResult(
            source=frame.source,
            library=f"{attrs['crystal']} [{zone}] {attrs['energy_kv']:g} kV",
            method="lsf",
            status=status,
            message=status.value.format(detail=detail),
            parameters=parameters,
            thickness_range10=None if half is None else (float(t.value - half), float(t.value + half)),
            minimizer=fit.minimizer,
            intensity_factor=float(fit.coefficients[0]),
            background=tuple(float(c) for c in fit.coefficients[1:]),
            residual_fraction=float((fit.residual**2).mean() / region.variance),
            reduced_chi2=float((fit.residual**2 / counting).sum() / freedom),
            misfit_fraction=float(fit.noise.misfit / region.variance),
            n_effective=fit.n_effective,
            seed=seed,
            candidates=tried,
            curve=curve,
            seconds=seconds,
            thumbnail=Thumbnail(
                np.where(mask, region.image, np.nan), fit_image, region.radius(fit), region.extent
            ),
        )


@dataclass(frozen=True)
class _Region:
    """The part of a frame that is compared, binned: pixel = (frame pixel − origin − (b−1)/2)/b."""

    image: Array
    mask: NDArray[np.bool_]
    camera: Camera
    factor: int
    left: int
    top: int

    @property
    def variance(self) -> float:
        """Variance of the pattern inside the mask."""
        return float(self.image[self.mask].var())

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) edges in frame pixels."""
        rows, cols = self.image.shape
        return (
            self.left - 0.5,
            self.left + cols * self.factor - 0.5,
            self.top + rows * self.factor - 0.5,
            self.top - 0.5,
        )

    def to_region(self, params: lmfit.Parameters) -> lmfit.Parameters:
        """Parameters of the whole frame in binned pixels."""
        shift = (self.factor - 1) / 2
        return _transform(
            params,
            {
                "centre_x": (1 / self.factor, -(self.left + shift) / self.factor),
                "centre_y": (1 / self.factor, -(self.top + shift) / self.factor),
                "scale": (1 / self.factor, 0.0),
            },
        )

    def to_frame(self, params: lmfit.Parameters) -> lmfit.Parameters:
        """Inverse of `to_region`, standard errors included."""
        shift = (self.factor - 1) / 2
        return _transform(
            params,
            {
                "centre_x": (self.factor, self.left + shift),
                "centre_y": (self.factor, self.top + shift),
                "scale": (self.factor, 0.0),
            },
        )

    def to_candidate(self, fit: Refinement) -> Candidate:
        """The answer of a refinement, in frame pixels."""
        values = self.to_frame(fit.minimizer.params).valuesdict()
        chi2 = float((fit.residual**2).mean() / max(self.variance, 1e-300))
        names = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
        return Candidate(**{name: float(values[name]) for name in names}, chi2=chi2)

    def radius(self, fit: Refinement) -> Array:
        """|k| (mrad) of every pixel."""
        values = fit.values
        camera = Camera(*(values[name] for name in Camera._fields))
        row, col = np.indices(self.image.shape)
        k = to_angles(col.ravel().astype(float), row.ravel().astype(float), camera)
        return np.hypot(k[0], k[1]).reshape(self.image.shape)


def _transform(params: lmfit.Parameters, changes: dict[str, tuple[float, float]]) -> lmfit.Parameters:
    """A copy with value, bounds and errors of some parameters mapped to factor · v + offset."""
    out = params.copy()
    for name, (factor, offset) in changes.items():
        p = params[name]
        error = p.stderr
        out[name].set(
            value=factor * p.value + offset, min=factor * p.min + offset, max=factor * p.max + offset
        )
        out[name].stderr = None if error is None else factor * error
    return out


def _turn_tilt(
    minimizer: lmfit.minimizer.MinimizerResult, params: lmfit.Parameters, x: float, y: float, rotation: float
) -> None:
    """Put tilt and rotation into their canonical range, errors and correlations turning along."""
    names = list(getattr(minimizer, "var_names", []))
    before = np.array([params["tilt_x"].value, params["tilt_y"].value])
    after = np.array([x, y])
    turned = round((params["rotation"].value - rotation) / 1e-6) != 0
    if turned and "tilt_x" in names and "tilt_y" in names and minimizer.covar is not None:
        angle = np.deg2rad(params["rotation"].value - rotation)
        c, s = np.cos(angle), np.sin(angle)
        turn = np.eye(len(names))
        i, j = names.index("tilt_x"), names.index("tilt_y")
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        covariance = turn @ minimizer.covar @ turn.T
        for name, index in (("tilt_x", i), ("tilt_y", j)):
            params[name].stderr = float(np.sqrt(covariance[index, index]))
    del before, after
    for name, value in (("tilt_x", x), ("tilt_y", y), ("rotation", rotation)):
        p = params[name]
        reach = max(abs(value), abs(p.max), abs(p.min))
        p.set(value=value, min=-reach, max=reach)


def _around(parents: Array, shift_mrad: float, scale_step: float) -> Array:
    """A 3 × 3 × 3 grid of centres and scales about each parent (centre_x, centre_y, scale)."""
    steps = np.array([(dx, dy, ds) for ds in (0, -1, 1) for dx in (0, -1, 1) for dy in (0, -1, 1)], float)
    out = np.repeat(parents, len(steps), axis=0)
    steps = np.tile(steps, (len(parents), 1))
    out[:, :2] += steps[:, :2] * shift_mrad * out[:, 2:]
    out[:, 2] *= 1 + steps[:, 2] * scale_step
    return out


def _same(a: Candidate, b: Candidate, order: int) -> bool:
    """Whether two refined candidates are one minimum."""
    near = tilt_distance((a.tilt_x, a.tilt_y), (b.tilt_x, b.tilt_y), order) < 0.3
    return near and abs(a.thickness - b.thickness) < 1.0


def _save_quietly(path: os.PathLike[str], array: NDArray[np.float32]) -> None:
    """Keep an array in the cache; a full or read-only disk is no reason to fail."""
    from hybridfit.io import atomic_path

    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with atomic_path(path) as temporary:
            np.save(temporary, array, allow_pickle=False)


def fit(
    frame: Frame | ArrayLike,
    library: Library | str,
    *,
    semi_angle: float,
    method: str = "lsf",
    background: str = "radial",
    fix: dict[str, float | None] | None = None,
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
    return Fitter(library, semi_angle, background=background, fix=fix, free=free, hints=hints).fit(frame)


__all__ = ["Fitter", "Hints", "Problem", "fit", "replace"]
