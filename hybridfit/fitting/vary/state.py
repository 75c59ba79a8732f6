"""Where the frames of a fit with a structure are, and where the fit has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.refine.noise import Noise
from hybridfit.fitting.refine.region import Region
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.vary.again import Place
from hybridfit.fitting.vary.errors import Errors
from hybridfit.fitting.vary.joint import Joint
from hybridfit.fitting.vary.model import VariedModel
from hybridfit.frame import Frame

Array = NDArray[np.float64]


@dataclass(eq=False)
class OneFrame:
    """A frame on its way to an answer.

    frame, start : Frame, and the fit of it without structure
    region : Region, its compared pixels
    values : of the parameters of the forward model
    noise, scale : what the last round said of noise and misfit
    residual, image, coefficients : of the last round
    model, corrections : of the last crystal that was solved, and what solves have added to its derivatives
    """

    frame: Frame
    start: FitResult
    region: Region
    fine_pixel: float
    values: dict[str, float]
    noise: Noise | None = None
    scale: float = 1.0
    model: VariedModel | None = None
    corrections: dict[str, Array] = field(default_factory=dict)
    n_effective: float = 0.0
    residual: Array = field(default_factory=lambda: np.zeros(0))
    image: Array = field(default_factory=lambda: np.zeros(0))
    coefficients: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def place(self) -> Place:
        """Its thickness and tilt."""
        return Place(self.values["thickness"], (self.values["tilt_x"], self.values["tilt_y"]))

    @property
    def candidate(self) -> Candidate:
        """Where it is."""
        names = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
        return Candidate(**{name: self.values[name] for name in names})


@dataclass(frozen=True, eq=False)
class Ended:
    """Where a fit with structure has ended.

    values, solved : structural numbers by name: the answer, and the crystal that was solved last
    settled : bool
    solves, seconds : int and float
    lacking : what is taken for granted without being known to the library
    """

    frames: list[OneFrame]
    joint: Joint
    errors: Errors
    values: Mapping[str, float]
    solved: Mapping[str, float]
    settled: bool
    solves: int
    seconds: float
    lacking: tuple[str, ...]
