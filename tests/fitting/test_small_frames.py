"""Frames of 16 px a side: few pixels, but a pattern that nothing else explains."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Fitter, make_frame, simulate_frame

SIDE, SEMI_ANGLE = 16, 9.0


@pytest.fixture(scope="module")
def fitter(small_library):
    return Fitter(small_library, SEMI_ANGLE, workers=1)


def test_crystals_are_found_or_not_but_never_wrong(fitter, small_library):
    """Without a network of its own the disc is found in most of such frames."""
    found = 0
    for thickness in (24.0, 33.0, 41.0):
        image, _ = simulate_frame(
            small_library,
            thickness=thickness,
            semi_angle=SEMI_ANGLE,
            tilt=(0.4, -0.6),
            shape=(SIDE, SIDE),
            electrons=3e6,
            centre=(7.2, 7.9),
            scale=0.6,
            rotation=10.0,
            seed=int(thickness),
        )
        result = fitter.fit(make_frame(image))
        if result.status.name == "converged":
            found += 1
            assert abs(result.thickness - thickness) < 4 * result["thickness"].stderr < 2.0
    assert found >= 2


@pytest.mark.parametrize("seed", range(4))
def test_a_disc_is_no_crystal(fitter, seed):
    y, x = np.indices((SIDE, SIDE)) - 7.5
    disc = 1 / (1 + np.exp((np.hypot(x + 0.3 * seed, y) - 5.0) / 0.4)) + 0.05
    image = np.random.default_rng(seed).poisson(4000 * disc)
    assert fitter.fit(make_frame(image)).status.name != "converged"
