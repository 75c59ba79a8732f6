"""What is left of a frame, as smoothed: of noise alone it is nothing, and misfit stands out of noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hybridfit.fitting.judge.crystallinity import structure_along_rings
from hybridfit.identification.structure import Left, smoothed

SIGMA = 1.5
ROWS, COLS = np.indices((91, 91)) - 45.0
RADIUS = np.hypot(ROWS, COLS)
MASK = RADIUS < 42
NOISE = (2 + 30 * np.exp(-RADIUS / 20))[MASK]


def structure(seed: int, size: float = 1.0) -> np.ndarray:
    """Smooth structure (n,) of variance size², as of fringes."""
    field = ndimage.gaussian_filter(np.random.default_rng([9, seed]).normal(size=MASK.shape), 3)[MASK]
    return size * field / field.std()


def found_of(residual: np.ndarray, data: np.ndarray | None = None, **options):
    data = structure(0, 5.0) if data is None else data
    return smoothed(data, residual, RADIUS[MASK], NOISE, MASK, sigma=SIGMA, **options)


def noise_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=MASK.sum()) * np.sqrt(NOISE)


def test_of_noise_alone_nothing_is_left():
    found = [found_of(noise_of(seed)) for seed in range(60)]
    standard = np.array([(each.misfit / each.deviation) for each in found])
    assert abs(standard.mean()) < 0.4 and 0.75 < standard.std() < 1.25
    assert -1 < np.mean([each.left / each.deviation for each in found]) < 0.2  # rings take some of it


def test_misfit_of_a_tenth_of_the_noise_stands_out_as_it_does_not_pixel_by_pixel():
    misfit = structure(1, np.sqrt(0.1 * NOISE.mean()))
    residual = noise_of(1) + misfit
    found, plain = found_of(residual), structure_along_rings(misfit, residual, RADIUS[MASK], NOISE)
    assert found.left / found.deviation > 3 * plain.left / plain.deviation > 3


def test_what_is_left_is_the_share_that_is_missing():
    whole = structure(2, 40.0)
    found = found_of(0.3 * whole + noise_of(2), whole + noise_of(2))
    assert found.left / found.frame == pytest.approx(0.09, abs=0.005)
    assert found.misfit / found.variance == pytest.approx(0.09, abs=0.005)


def test_numbers_that_follow_the_noise_are_made_up_for():
    few, many = (found_of(noise_of(3), numbers=n) for n in (0, 20))
    assert many.misfit - few.misfit == pytest.approx(20 * NOISE.mean() / MASK.sum())


def test_noise_that_neighbours_share_is_no_misfit():
    image = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=MASK.shape), 0.6)
    z = (image / image.std())[MASK]
    shifts = (0, 1), (1, 1), (0, 2)
    rho = [float((image[dy:, dx:] * image[: 91 - dy, : 91 - dx]).mean() / image.var()) for dy, dx in shifts]
    plain, known = found_of(z * np.sqrt(NOISE)), found_of(z * np.sqrt(NOISE), correlation=rho)
    assert plain.misfit > 8 * plain.deviation
    assert abs(known.misfit) < 3 * known.deviation


def test_a_frame_whose_structure_is_noise_has_no_share():
    assert np.isnan(Left(3e-3, 1e-3, 1e-3, 1.0, 0.05).share)
    assert Left(0.1, 1e-3, 1e-3, 1.0, 0.05).share == pytest.approx(0.01)


@pytest.mark.parametrize(
    "changes, shapeless", [({}, False), ({"beyond_round": 20.0}, True), ({"crystal": 0.02}, True)]
)
def test_a_frame_that_is_round_shows_no_crystal(changes, shapeless):
    left = Left(1.0, 0.01, 1e-3, 1.0, 0.05)
    assert left._replace(**changes).shapeless() is shapeless
