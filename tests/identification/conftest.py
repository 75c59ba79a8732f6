"""Small libraries of crystals that differ, and frames of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybridfit import Library, simulate_frame

SEMI_ANGLE = 8.0
SMALL = {
    "semi_angle_max": 8.5,
    "tilt_max": 1.5,
    "thickness": {"start": 14, "stop": 40, "step": 2},
    "sampling": 0.6,
}


@pytest.fixture(scope="session")
def libraries(build_library, tmp_path_factory) -> dict[str, Path]:
    """Files of libraries by crystal: strontium titanate, rutile, a fourfold crystal without a mirror."""
    folder, out = tmp_path_factory.mktemp("libraries"), {}
    for crystal in ("SrTiO3", "rutile", "fourfold"):
        out[crystal] = folder / f"{crystal}.nc"
        build_library(crystal, (0, 0, 1), **SMALL).save(out[crystal])
    return out


@pytest.fixture(scope="session")
def shown(libraries):
    """shown(crystal, **changes) → a frame of 26.4 nm, tilted, turned, and the truth about it."""

    def make(crystal: str, **changes):
        values = {
            "thickness": 26.4,
            "tilt": (0.5, -0.7),
            "semi_angle": SEMI_ANGLE,
            "shape": (96, 96),
            "centre": (48.6, 46.2),
            "scale": 2.9,
            "rotation": 21.0,
            "electrons": 1e6,
        }
        image, truth = simulate_frame(Library.open(libraries[crystal]), **{**values, **changes})
        return image.astype(float), truth

    return make


@pytest.fixture(scope="session")
def vacuum() -> np.ndarray:
    """The direct disc alone."""
    row, col = np.indices((96, 96))
    disc = np.clip(SEMI_ANGLE * 2.9 - np.hypot(row - 46.2, col - 48.6) + 0.5, 0, 1)
    return np.random.default_rng(0).poisson(300 * disc + 1).astype(float)
