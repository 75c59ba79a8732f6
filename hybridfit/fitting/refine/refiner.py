"""Refinement from one seed: the part of library and frame that it needs, start and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import lmfit
import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import WINDOW, Candidate, canonical, obeying
from hybridfit.fitting.refine.least_squares import Refinement, refine
from hybridfit.fitting.refine.region import Region
from hybridfit.frame import Frame
from hybridfit.library.library import Library
from hybridfit.model import FINE_PIXEL, PARAMETERS, SEMI_ANGLE_ROOM, ForwardModel
from hybridfit.pattern import background as bg
from hybridfit.pattern.camera import Camera
from hybridfit.pattern.pool import Pool

Array = NDArray[np.float64]

EDGE_NM = 2.0  # beyond that, before the bound
SLACK = 1.5  # a refinement may leave the window by half of it before the window follows
FIXED_BY_DEFAULT = ("semi_angle",)
FIXED_WHEN_COARSE = ("ellipticity_a", "ellipticity_b")
START = {"blur": 0.3, "ellipticity_a": 0.0, "ellipticity_b": 0.0}  # mrad, 1, 1
FEWEST_PIXELS = 200
NOTHING, THINNEST = 2.0, 0.25  # nm; nm above the thinnest of a library: next to nothing, without a tilt
SAME_STRUCTURE = 0.1  # of the range of a parameter: two refinements this close found one minimum


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a refinement ended, and the pixels that it compared.

    answer.chi2 is weighted like the other minima that this one is compared with; discrete are the
    values at which discrete structural parameters were held.
    """

    region: Region
    fit: Refinement
    answer: Candidate
    discrete: Mapping[str, float] = field(default_factory=dict)

    def weighed(self, weights: Array) -> Minimum:
        """The same with χ² under the given weights (n,)."""
        return replace(self, answer=self.region.answer(self.fit, weights))

    def same_as(self, other: Minimum, library: Library) -> bool:
        """Whether two refinements found one minimum, also in the structural parameters of the library."""
        if self.discrete != other.discrete:
            return False
        if is_thin(self.answer.thickness, library) and is_thin(other.answer.thickness, library):
            return True
        if not self.answer.same_as(other.answer, library.rotation_order):
            return False
        return all(
            abs(self.fit.values[name] - other.fit.values[name]) < SAME_STRUCTURE * (axis.high - axis.low)
            for name, axis in library.structure.items()
            if axis.continuous
        )


def is_thin(thickness: float, library: Library) -> bool:
    """Whether a thickness (nm) is next to nothing, and the thinnest of a library: vacuum, maybe."""
    return thickness < min(NOTHING, library.thickness_range[0] + THINNEST)


class Refiner:
    """Refinements of one library at one semi-angle.

    Parameters
    ----------
    library : Library, in memory
        Its structural parameters are fitted, too.
    semi_angle : float, mrad
    background, fix, free : as for `Fitter`
    tilt_limit : float, mrad
    pool : Pool, optional
    discrete : mapping of name to value, optional
        Discrete structural parameters that the library has been taken at.
    """

    def __init__(
        self,
        library: Library,
        semi_angle: float,
        *,
        background: str,
        fix: Mapping[str, float | None],
        free: Sequence[str],
        tilt_limit: float,
        pool: Pool | None = None,
        discrete: Mapping[str, float] | None = None,
    ) -> None:
        self.library = library
        self.discrete = dict(discrete or {})
        self.semi_angle = semi_angle
        self.background = background
        self.fix = fix
        self.free = free
        self.tilt_limit = tilt_limit
        self.pool = pool or Pool()

    def follow(
        self,
        frame: Frame,
        seed: Candidate,
        region: Region,
        weights: Array | None = None,
        *,
        coarse: bool = False,
        free: Sequence[str] = (),
        start: Mapping[str, float] | None = None,
        fine_pixel: float = FINE_PIXEL,
        **options: Any,
    ) -> Minimum:
        """Refine; where the answer runs into the rim of the library's window, move that after it.

        Parameters
        ----------
        frame : Frame
        seed : Candidate
        region : Region
            The pixels compared, which may be centred on another camera than the seed's.
        weights : (n,) array, optional
            Of the compared pixels.
        coarse : bool
            Leave out what only a fine frame tells.
        free : names of further parameters to vary
        start : mapping of parameter name to value
            Where to start what the seed does not say: blur, ellipticity_a, ellipticity_b, structural
            parameters.
        fine_pixel : float, mrad
            As for `ForwardModel`.
        options : passes, tolerance, noise of `refine`
        """
        for _ in range(3):
            fit = self._refine(frame, seed, region, weights, coarse, free, start or {}, fine_pixel, options)
            answer = region.answer(fit, weights)
            near = abs(answer.thickness - seed.thickness) < 0.95 * SLACK * WINDOW[0]
            for a, b in zip(answer.tilt, seed.tilt, strict=True):
                near &= abs(a - b) < 0.95 * SLACK * WINDOW[1]
            if near or is_thin(answer.thickness, self.library):
                break
            seed = answer
        return Minimum(region, fit, answer, self.discrete)

    def model(
        self, frame: Frame, camera: Candidate, region: Region, fine_pixel: float = FINE_PIXEL
    ) -> ForwardModel:
        """The forward model on a region of a frame that a camera like the candidate's has taken."""
        return ForwardModel(
            self.library,
            region.mask,
            Camera(camera.centre_x, camera.centre_y, camera.scale, camera.rotation),
            semi_angle=self.semi_angle,
            background=self.background,
            per_nm=bg.PER_NM * float(frame.image[frame.valid].max()),
            origin=region.origin,
            pixel=region.factor,
            fine_pixel=fine_pixel,
            pool=self.pool,
        )

    def _refine(
        self,
        frame: Frame,
        seed: Candidate,
        region: Region,
        weights: Array | None,
        coarse: bool,
        free: Sequence[str],
        known: Mapping[str, float],
        fine_pixel: float,
        options: dict[str, Any],
    ) -> Refinement:
        """Refine from a seed, inside a window of the library."""
        x, y, rotation = canonical(*seed.tilt, seed.rotation, self.library.rotation_order)
        if self.fix.get("rotation") is not None:  # which may be any of the n that symmetry makes equal
            turned = obeying(seed, {"rotation": self.fix["rotation"]})
            x, y, rotation = *turned.tilt, turned.rotation
        usable = int(region.mask.sum())
        if usable < FEWEST_PIXELS:
            raise InputError(
                f"{frame.source}: the pattern at {seed.scale:.3g} px/mrad has only {usable} usable pixels, "
                f"{FEWEST_PIXELS} are needed; bin or mask less"
            )
        model = self.model(frame, replace(seed, rotation=rotation), region, fine_pixel)
        start = {
            "thickness": seed.thickness,
            "tilt_x": x,
            "tilt_y": y,
            "centre_x": seed.centre_x,
            "centre_y": seed.centre_y,
            "scale": seed.scale,
            "rotation": rotation,
            "semi_angle": self.semi_angle,
            **{name: known.get(name, value) for name, value in START.items()},
            **{name: known.get(name, axis.reference) for name, axis in self.library.structure.items()},
        }
        params = self._parameters(start, coarse, free)
        data = region.image[region.mask]
        return refine(model, data, params, pixel_weights=weights, **options)

    def _parameters(self, start: dict[str, float], coarse: bool, free: Sequence[str]) -> lmfit.Parameters:
        """lmfit parameters with the bounds of the window and of good sense."""
        limit, scale, t = self.tilt_limit, start["scale"], start["thickness"]
        room_t, tilt_room = SLACK * WINDOW[0] + EDGE_NM, SLACK * WINDOW[1]
        low, high = self.library.thickness_range
        largest_angle = min((1 + SEMI_ANGLE_ROOM) * self.semi_angle, self.library.semi_angle_max)
        bounds = {
            "thickness": (max(t - room_t, low), min(t + room_t, high)),
            "centre_x": (start["centre_x"] - 3 * scale, start["centre_x"] + 3 * scale),
            "centre_y": (start["centre_y"] - 3 * scale, start["centre_y"] + 3 * scale),
            "scale": (0.8 * scale, 1.25 * scale),
            "rotation": (-np.inf, np.inf),
            "semi_angle": ((1 - SEMI_ANGLE_ROOM) * self.semi_angle, largest_angle),
            "blur": (0.0, 3.0),
            "ellipticity_a": (-0.1, 0.1),
            "ellipticity_b": (-0.1, 0.1),
            **{name: (axis.low, axis.high) for name, axis in self.library.structure.items()},
        }
        for name in ("tilt_x", "tilt_y"):
            bounds[name] = (max(start[name] - tilt_room, -limit), min(start[name] + tilt_room, limit))
        params = lmfit.Parameters()
        for name in (*PARAMETERS, *self.library.structure):
            value, (low, high) = start[name], bounds[name]
            vary = name not in FIXED_BY_DEFAULT or name in (*self.free, *free)
            vary &= not (coarse and name in FIXED_WHEN_COARSE)
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
