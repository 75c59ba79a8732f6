"""A small scan of the small library: a wedge with a bend, on a camera that moves a little."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import simulate_frame

SEMI_ANGLE = 9.0
SHAPE = (4, 5)
CAMERA = {"scale": 3.2, "rotation": 14.0}


def truth_at(y: int, x: int) -> dict:
    """What position y, x is: nm, mrad, px."""
    return {
        "thickness": 30.0 + 1.0 * x,
        "tilt": (0.5 - 0.2 * y, -0.3 + 0.15 * x),
        "centre": (47.5 + 0.1 * x, 46.0 - 0.1 * y),
    }


@pytest.fixture(scope="session")
def frames(small_library) -> np.ndarray:
    """(4, 5, 96, 96) counts."""
    out = np.zeros((*SHAPE, 96, 96), np.uint16)
    for y, x in np.ndindex(SHAPE):
        out[y, x] = simulate_frame(
            small_library,
            semi_angle=SEMI_ANGLE,
            shape=(96, 96),
            electrons=2e6,
            seed=10 * y + x,
            **truth_at(y, x),
            **CAMERA,
        )[0]
    return out


@pytest.fixture(scope="session")
def scan(frames, tmp_path_factory):
    """The scan as a file."""
    path = tmp_path_factory.mktemp("scan") / "scan.npy"
    np.save(path, frames)
    return path


@pytest.fixture(scope="session")
def truth():
    """Maps of the truth by name."""
    names = {"thickness": 0, "tilt_x": 0, "tilt_y": 0}
    out = {name: np.zeros(SHAPE) for name in names}
    for y, x in np.ndindex(SHAPE):
        at = truth_at(y, x)
        out["thickness"][y, x] = at["thickness"]
        out["tilt_x"][y, x], out["tilt_y"][y, x] = at["tilt"]
    return out
