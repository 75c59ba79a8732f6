"""Frames to fit: a standard SrTiO3 frame with any of its properties changed, and what is known about it."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Candidate, Fitter, simulate_frame
from hybridfit.library.library import Library

SEMI_ANGLE = 9.0
STANDARD = {
    "thickness": 30.0,
    "tilt": (0.6, -0.9),
    "semi_angle": SEMI_ANGLE,
    "shape": (96, 96),
    "rotation": 12.0,
    "electrons": 2e6,
}


@pytest.fixture(scope="session")
def simulate(small_library: Library):
    """simulate(**changes) → image, truth: 30 nm, tilt (0.6, −0.9) mrad, α = 9 mrad, 96 px, rotated by 12°."""

    def make(**changes):
        return simulate_frame(small_library, **{**STANDARD, **changes})

    return make


@pytest.fixture(scope="session")
def standard(simulate):
    """The standard frame, and what is true of it."""
    return simulate()


@pytest.fixture(scope="session")
def fitter(small_library: Library) -> Fitter:
    """Knows nothing of the frame but the semi-angle."""
    return Fitter(small_library, SEMI_ANGLE, workers=2)


@pytest.fixture(scope="session")
def at_truth():
    """at_truth(truth, **changes) → a seed at what a frame was simulated with."""

    def make(truth, **changes):
        names = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
        return Candidate(**{**{name: float(truth[name]) for name in names}, **changes})

    return make


@pytest.fixture(scope="session")
def disc():
    """disc(shape, centre, radius) → a soft-edged disc of height 1."""

    def make(shape, centre, radius):
        row, col = np.indices(shape)
        return 1 / (1 + np.exp(2 * (np.hypot(col - centre[0], row - centre[1]) - radius)))

    return make
