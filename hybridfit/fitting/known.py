"""Frames of one camera that settings hold: matched with all of the library, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.attempts import Attempt
from hybridfit.fitting.candidates import WINDOW, Candidate
from hybridfit.fitting.refine.refiner import camera_of
from hybridfit.fitting.route import Route
from hybridfit.fitting.search.shared import SharedMatcher
from hybridfit.fitting.settings import FitSettings
from hybridfit.frame import Frame
from hybridfit.library.library import Library

Array = NDArray[np.float64]


class KnownFrames:
    """Matches frames of the camera that settings hold.

    Parameters
    ----------
    library : Library, in memory, without structural parameters
    settings : FitSettings
    many : bool
        Many frames will come, so that templates pay.
    """

    def __init__(self, library: Library, settings: FitSettings, many: bool) -> None:
        self.library, self.settings = library, settings
        self.camera = camera_of(settings) if many else None

    @cached_property
    def matcher(self) -> SharedMatcher:
        """Of the camera; its templates are made on first use.

        Raises
        ------
        InputError
            The settings hold no camera.
        """
        if self.camera is None:
            raise InputError(
                "frames are matched with one camera: fix its scale, rotation and distortion, and nothing more"
            )
        settings = self.settings
        limit = settings.tilt_limit(self.library)
        return SharedMatcher(self.library, self.camera, settings.semi_angle, limit)

    def match(self, frames: Sequence[Frame], centres: Sequence[tuple[float, float]]) -> list[Attempt]:
        """What to refine of every frame; centres (x, y) in px, right to a fraction of a milliradian."""
        found = self.matcher.match(frames, np.asarray(centres, float).reshape(-1, 2))
        return [self.attempt(each, curve) for each, curve in found]

    def attempt(self, found: list[Candidate], curve: Array) -> Attempt:
        """What to refine of a frame, from candidates of a match and its curve."""
        room = self.settings.refining.slack
        within = (room * WINDOW[0], room * WINDOW[1])
        return Attempt(Route.library_match, found, curve, tuple(found), within, everywhere=True)
