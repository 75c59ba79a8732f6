"""Refinement from one seed: the part of the library and of the frame that it needs, its start and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import lmfit
import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import WINDOW, Candidate, Fitted, canonical, obeying, turn
from hybridfit.fitting.limits import LIMITS, averaging_bounds
from hybridfit.fitting.refine.least_squares import Refinement, refine
from hybridfit.fitting.refine.noise import Noise
from hybridfit.fitting.refine.plain import Parameters, PlainParameters
from hybridfit.fitting.refine.region import Region, binning, too_few_pixels
from hybridfit.fitting.refine.settings import Effort, RefineSettings
from hybridfit.fitting.settings import FitSettings
from hybridfit.frame import Frame
from hybridfit.known_camera import KNOWN, MOVED_KERNEL, KnownCameraModel, Model
from hybridfit.known_images import KnownCamera
from hybridfit.library.library import Library
from hybridfit.model import (
    AVERAGING,
    FINE_PIXEL,
    FITTED_BEYOND_DISC,
    PARAMETERS,
    SEMI_ANGLE_ROOM,
    ForwardModel,
)
from hybridfit.pattern import background as bg
from hybridfit.pattern.averaging import SPREADS
from hybridfit.pattern.camera import Camera
from hybridfit.pattern.pool import Pool
from hybridfit.pattern.raster import divisions
from hybridfit.pattern.reference import Reference

Array = NDArray[np.float64]

FIXED_BY_DEFAULT = ("semi_angle", *AVERAGING)
FOLLOWED = 3  # windows
FIXED_WHEN_COARSE = ("ellipticity_a", "ellipticity_b", "tilt_spread")  # the last costs many patterns


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a refinement ended, and the pixels that it compared.

    Attributes
    ----------
    region : Region
    fit : Refinement
    answer : Candidate
        Its chi2 is weighted like those of the minima that this one is compared with.
    discrete : mapping of name to value
        Discrete structural parameters, which were held there.
    """

    region: Region
    fit: Refinement
    answer: Candidate
    discrete: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def radius(self) -> Array:
        """(rows, cols), mrad: |k| of every pixel of the region."""
        return self.region.radius(self.fit)

    def weighed(self, weights: Array) -> Minimum:
        """The same with χ² under the given weights (n,)."""
        return replace(self, answer=self.region.answer(self.fit, weights))

    def same_as(self, other: Minimum, library: Library, settings: RefineSettings) -> bool:
        """Whether two refinements found one minimum, also in the structural parameters of the library."""
        if self.discrete != other.discrete:
            return False
        thin = [is_thin(m.answer.thickness, library, settings) for m in (self, other)]
        if all(thin):
            return True
        if not self.answer.same_as(other.answer, library.rotation_order, settings.same):
            return False
        return all(
            abs(self.fit.values[name] - other.fit.values[name])
            < settings.same_structural * (axis.high - axis.low)
            for name, axis in library.structure.items()
            if axis.continuous
        )


class Shared(NamedTuple):
    """What is known of the many frames of a camera that are fitted one after the other.

    blur : float, mrad
        About that of all.
    misfit : bool
        Most of them have more than noise left, so that second thicknesses are looked for in most of them.
    """

    blur: float
    misfit: bool = False


def camera_of(settings: FitSettings) -> Camera | None:
    """The camera that settings hold, but for its centre; None where something of it is fitted."""
    held = {name: settings.fix.get(name) for name in KNOWN if name != "semi_angle"}
    semi_angle = settings.fix.get("semi_angle")
    moves = {"semi_angle"} & {*settings.free, *settings.bounds}
    moves |= {*settings.averaging, *settings.expressions}
    if moves or None in held.values() or semi_angle not in (None, settings.semi_angle):
        return None
    values = {name: float(value) for name, value in held.items() if value is not None}
    return Camera(centre_x=0.0, centre_y=0.0, **values)


def is_thin(thickness: float, library: Library, settings: RefineSettings) -> bool:
    """Whether a thickness (nm) is next to nothing, and the thinnest of a library: vacuum, maybe."""
    return settings.is_thin(thickness, library.thickness_range[0])


class Refiner:
    """Refinements of one library under one set of settings.

    Parameters
    ----------
    library : Library, in memory
        Its structural parameters are fitted, too.
    settings : FitSettings
    pool : Pool, optional
    discrete : mapping of name to value, optional
        Discrete structural parameters that the library has been taken at.
    shared : Shared, optional
        Many frames will come: where the settings hold the camera, they share node images.
    """

    def __init__(
        self,
        library: Library,
        settings: FitSettings,
        *,
        pool: Pool | None = None,
        discrete: Mapping[str, float] | None = None,
        shared: Shared | None = None,
    ) -> None:
        self.library = library
        self.settings = settings
        self.semi_angle = settings.semi_angle
        self.tilt_limit = settings.tilt_limit(library)
        self.pool = pool or Pool()
        self.discrete = dict(discrete or {})
        self.shared = shared
        self._camera = camera_of(settings) if shared and not library.structure else None
        self._known: dict[tuple[int, int], KnownCamera] = {}

    def region(self, frame: Frame, seed: Candidate, radius_px: int) -> Region:
        """The compared disc about a seed, binned to a radius of radius_px to 2 radius_px.

        Of a camera that all frames share it has always the pixels of the last refinement: they cost little.
        """
        if self._camera is None:
            return Region.around(frame, seed, self.semi_angle, radius_px, self.library.room(self.semi_angle))
        return Region.of_camera(frame, seed, self._reference)

    @cached_property
    def _reference(self) -> Reference:
        """Where the camera that all frames share has the pixels of the last refinement."""
        assert self._camera is not None
        factor = binning(self._camera.scale, self.semi_angle, self.settings.refining.fine_radius)
        return Reference(self._camera, self.semi_angle + FITTED_BEYOND_DISC, factor)

    @property
    def shares_camera(self) -> bool:
        """Whether frames share node images."""
        return self._camera is not None

    def shared_camera(self, fine_pixel: float, factor: int | None = None) -> KnownCamera:
        """Node images for frames that are binned by this factor, and pixels that are divided so far.

        By default they are binned as for the last refinement.
        """
        camera, shared = self._camera, self.shared
        assert camera is not None and shared is not None
        factor = factor or self._reference.factor
        fine_pixel = min(fine_pixel, max(FINE_PIXEL, shared.blur / MOVED_KERNEL))
        key = factor, divisions(factor / camera.scale, fine_pixel)
        if key not in self._known:
            self._known[key] = KnownCamera(
                self.library,
                camera,
                semi_angle=self.semi_angle,
                background=self.settings.background,
                factor=factor,
                fine_pixel=fine_pixel,
                tilt_most=self.tilt_limit,
                many=shared.misfit,
                pool=self.pool,
            )
        return self._known[key]

    def follow(
        self,
        frame: Frame,
        seed: Candidate,
        region: Region,
        effort: Effort,
        *,
        weights: Array | None = None,
        noise: Noise | None = None,
        start: Mapping[str, float] | None = None,
        free: Sequence[str] = (),
    ) -> Minimum:
        """Refine; where the answer reaches the rim of the window about its seed, the window follows.

        Parameters
        ----------
        frame : Frame
        seed : Candidate
        region : Region
            The pixels compared, which may be centred on another camera than the seed's.
        effort : Effort
        weights : (n,) array, optional
            Of the compared pixels.
        noise : Noise, optional
            What is known of it.
        start : mapping of parameter name to value
            Where to start what the seed does not say: blur, ellipticity_a, ellipticity_b, structural
            parameters.
        free : names of further parameters to vary

        Raises
        ------
        InputError
            Too few pixels are usable.
        """
        limits = self.settings.refining
        if isinstance(seed, Fitted):
            start = {"blur": seed.blur, **(start or {})}
            if noise is None and weights is None and seed.noise:
                constant, per_intensity, misfit, relative = seed.noise
                noise = Noise(constant, per_intensity, misfit, relative)
        for _ in range(FOLLOWED):
            model = self._model_at(frame, seed, region, effort.fine_pixel)
            params = self.parameters(self._start(seed, start or {}), coarse=effort.coarse, free=free)
            fit = refine(
                model,
                region.image[region.mask],
                params,
                pixel_weights=weights,
                noise=noise,
                effort=effort,
                settings=limits,
            )
            answer = region.answer(fit, weights)
            near = abs(answer.thickness - seed.thickness) < limits.left * limits.slack * WINDOW[0]
            for a, b in zip(answer.tilt, seed.tilt, strict=True):
                near &= abs(a - b) < limits.left * limits.slack * WINDOW[1]
            if near or is_thin(answer.thickness, self.library, limits):
                break
            seed = answer
        return Minimum(region, fit, answer, self.discrete)

    def model(self, frame: Frame, camera: Candidate, region: Region, fine_pixel: float = FINE_PIXEL) -> Model:
        """The forward model on a region of a frame, for a camera like the candidate's."""
        per_nm = bg.PER_NM * float(frame.image[frame.valid].max())
        if region.known is not None:
            known = self.shared_camera(fine_pixel, region.factor)
            return KnownCameraModel(known, region.mask, region.left, region.top, per_nm)
        return ForwardModel(
            self.library,
            region.mask,
            Camera(camera.centre_x, camera.centre_y, camera.scale, camera.rotation),
            semi_angle=self.semi_angle,
            background=self.settings.background,
            per_nm=per_nm,
            origin=region.origin,
            pixel=region.factor,
            fine_pixel=fine_pixel,
            pool=self.pool,
        )

    def parameters(
        self, start: Mapping[str, float], *, coarse: bool = False, free: Sequence[str] = ()
    ) -> Parameters:
        """Parameters with the bounds of the window, of the library and of the user: lmfit's, for one frame.

        Parameters
        ----------
        start : mapping of parameter name to value
            Every parameter.
        coarse : bool
            Hold what only a fine frame tells.
        free : names of further parameters to vary
        """
        settings = self.settings
        bounds = self._bounds(start)
        params = PlainParameters() if self.shares_camera else lmfit.Parameters()
        also = [name for name in AVERAGING if name in (*settings.averaging, *free)]
        if coarse and not settings.expressions:
            also = [name for name in also if name not in FIXED_WHEN_COARSE]
        for name in (*PARAMETERS, *also, *self.library.structure):
            value, (low, high) = start[name], bounds[name]
            vary = name not in FIXED_BY_DEFAULT or name in (*settings.free, *free, *settings.bounds)
            vary &= not (coarse and name in FIXED_WHEN_COARSE)
            if name in settings.fix:
                given = settings.fix[name]
                value, vary = (value if given is None else float(given)), False
            if not vary or name in settings.expressions:
                params.add(name, value=value, vary=False)
                continue
            # a start on a bound has no slope in lmfit's transformed parameter
            room = 1e-3 * (high - low) if np.isfinite(high - low) else 0.0
            params.add(name, value=float(np.clip(value, low + room, high - room)), min=low, max=high)
        if isinstance(params, lmfit.Parameters):  # a camera is not shared where there are expressions
            for name, expression in settings.expressions.items():
                params[name].set(expr=expression)
        return params

    def _bounds(self, start: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """Of every parameter: the window about the start, the library, good sense, and the user's."""
        limits, limit, scale, t = self.settings.refining, self.tilt_limit, start["scale"], start["thickness"]
        room_t, tilt_room = limits.slack * WINDOW[0] + limits.edge, limits.slack * WINDOW[1]
        low, high = self.library.thickness_range
        largest_angle = min((1 + SEMI_ANGLE_ROOM) * self.semi_angle, self.library.semi_angle_max)
        centre, most = limits.centre_room * scale, limits.ellipticity_most
        bounds = {
            "thickness": (max(t - room_t, low), min(t + room_t, high)),
            "centre_x": (start["centre_x"] - centre, start["centre_x"] + centre),
            "centre_y": (start["centre_y"] - centre, start["centre_y"] + centre),
            "scale": (limits.scale_room[0] * scale, limits.scale_room[1] * scale),
            "rotation": (-np.inf, np.inf),
            "semi_angle": ((1 - SEMI_ANGLE_ROOM) * self.semi_angle, largest_angle),
            "blur": (0.0, limits.blur_most),
            "ellipticity_a": (-most, most),
            "ellipticity_b": (-most, most),
            **averaging_bounds(),
            **{name: (axis.low, axis.high) for name, axis in self.library.structure.items()},
        }
        for name in ("tilt_x", "tilt_y"):
            bounds[name] = (max(start[name] - tilt_room, -limit), min(start[name] + tilt_room, limit))
        for name, (lowest, highest) in self.settings.bounds.items():
            if name not in ("thickness", "tilt_x", "tilt_y"):  # the user's replace those of good sense
                bounds[name] = (lowest, highest)
                continue
            low, high = (min(max(each, lowest), highest) for each in bounds[name])
            bounds[name] = (low, high) if low < high else (lowest, highest)
        for name in SPREADS:
            low, high = bounds[name]
            bounds[name] = max(low, min(LIMITS.least_spread, high / 2)), high
        return bounds

    def _model_at(self, frame: Frame, seed: Candidate, region: Region, fine_pixel: float) -> Model:
        """The model about a seed, if enough pixels are usable."""
        fewest, usable = self.settings.refining.fewest_pixels, int(region.mask.sum())
        if usable < fewest:
            raise too_few_pixels(frame, seed.scale, usable, fewest)
        return self.model(frame, replace(seed, rotation=self._turned(seed)[2]), region, fine_pixel)

    def _turned(self, seed: Candidate) -> tuple[float, float, float]:
        """Tilt and rotation of a seed, turned to where the rotation is fixed, or canonical."""
        if self.settings.fix.get("rotation") is not None:  # any of the n that symmetry makes equal
            turned = obeying(seed, {"rotation": self.settings.fix["rotation"]})
            return *turned.tilt, turned.rotation
        if "rotation" in self.settings.bounds:
            sector, middle = 360 / self.library.rotation_order, sum(self.settings.bounds["rotation"]) / 2
            turned = turn(seed, sector * round((middle - seed.rotation) / sector))
            return *turned.tilt, turned.rotation
        return canonical(*seed.tilt, seed.rotation, self.library.rotation_order)

    def _start(self, seed: Candidate, known: Mapping[str, float]) -> dict[str, float]:
        """Where every parameter starts."""
        x, y, rotation = self._turned(seed)
        blur = self.shared.blur if self.shared else self.settings.refining.blur_start
        otherwise = {"blur": blur, "ellipticity_a": 0.0, "ellipticity_b": 0.0}
        otherwise |= dict(zip(AVERAGING, self.settings.refining.averaging_starts, strict=True))
        return {
            "thickness": seed.thickness,
            "tilt_x": x,
            "tilt_y": y,
            "centre_x": seed.centre_x,
            "centre_y": seed.centre_y,
            "scale": seed.scale,
            "rotation": rotation,
            "semi_angle": self.semi_angle,
            **{name: known.get(name, value) for name, value in otherwise.items()},
            **{name: known.get(name, axis.reference) for name, axis in self.library.structure.items()},
        }
