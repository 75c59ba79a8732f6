"""The likelihood of all library points at once, against a sum over pixels."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.search.likelihood import Best, Electrons, log_likelihood, maxima, settle
from hybridfit.fitting.search.ring_patterns import RingPatterns, make_ring_patterns, ring_patterns
from hybridfit.fitting.search.templates import ANGLES, RINGS

SEMI_ANGLE = 9.0
THICKNESS = np.array([10.0, 30.0, 50.0])
TILTS = np.array([[0.0, 0.0], [1.0, 0.5], [2.0, 1.0]])
CAMERA = (47.3, 46.1, 2.4)
EVERY = np.ones(ANGLES, bool)


@pytest.fixture(scope="module")
def patterns(small_library) -> RingPatterns:
    values = make_ring_patterns(small_library, SEMI_ANGLE, THICKNESS, TILTS)
    return ring_patterns(values, THICKNESS, TILTS, SEMI_ANGLE)


def electrons_of(image: np.ndarray) -> Electrons:
    row, col = np.indices(image.shape)
    near = np.hypot(col - CAMERA[0], row - CAMERA[1]) < 43
    return Electrons(col[near].astype(float), row[near].astype(float), image[near].astype(float))


def test_it_is_the_sum_over_pixels(patterns, simulate):
    image, _ = simulate(electrons=3e3, centre=CAMERA[:2], scale=CAMERA[2])
    electrons = electrons_of(image)
    share, turn, point = 0.1, 7, 4
    found = log_likelihood(electrons, patterns, CAMERA, share)
    series, mean = patterns.logarithms(share)
    # ln q back from its series, which leaves out the finest harmonics
    full = np.zeros((RINGS, ANGLES // 2 + 1), complex)
    full[:, : len(series)] = series[:, point].conj().T
    log_q = np.fft.irfft(full, ANGLES, axis=1)
    x, y = (electrons.col - CAMERA[0]) / CAMERA[2], (electrons.row - CAMERA[1]) / CAMERA[2]
    width = patterns.radii[1] - patterns.radii[0]
    ring = np.minimum((np.hypot(x, y) / width).astype(int), RINGS - 1)
    angle = np.rint(np.arctan2(y, x) * ANGLES / (2 * np.pi)).astype(int) % ANGLES
    inside = np.hypot(x, y) < RINGS * width
    n, total = electrons.counts[inside], electrons.counts[inside].sum()
    by_pixel = n @ log_q[ring, (angle - turn) % ANGLES][inside]
    by_pixel += total * np.log(total / mean[point, ring[inside]].sum())
    left = electrons.counts[~inside].sum()
    by_pixel += left * np.log(left / (~inside).sum())
    assert found[point, turn] == pytest.approx(by_pixel, abs=0.05)


@pytest.mark.parametrize("rotation", [0.0, 30.0, -52.5])
def test_the_right_point_in_the_right_orientation_is_likeliest(patterns, simulate, rotation):
    image, _ = simulate(
        tilt=tuple(TILTS[2]), electrons=5e3, centre=CAMERA[:2], scale=CAMERA[2], rotation=rotation, seed=3
    )
    best, *_ = settle(electrons_of(image), patterns, [CAMERA], EVERY, (True, True))
    first, *_ = maxima(best, patterns, 4, EVERY, best.log_likelihood.max() - 50.0)
    assert first.thickness == 30.0
    assert np.hypot(*first.tilt) == pytest.approx(np.hypot(*TILTS[2]))
    expected = np.exp(1j * np.deg2rad(rotation)) * complex(*TILTS[2])
    assert abs(first.camera_tilt - expected) < 0.2


@pytest.mark.parametrize("off", [(3.0, -2.0), (-4.9, 3.4)])
def test_a_camera_that_is_off_is_found(patterns, simulate, off):
    image, _ = simulate(tilt=tuple(TILTS[1]), electrons=2e4, centre=CAMERA[:2], scale=CAMERA[2])
    start = (CAMERA[0] + off[0], CAMERA[1] + off[1], 1.06 * CAMERA[2])
    electrons = electrons_of(image)
    best, *others = settle(electrons, patterns, [start], EVERY)
    before = log_likelihood(electrons, patterns, start, best.share).max()
    assert best.log_likelihood.max() > before + 50
    assert np.hypot(best.camera[0] - CAMERA[0], best.camera[1] - CAMERA[1]) < 0.6 * CAMERA[2]
    assert best.camera[2] == pytest.approx(CAMERA[2], rel=0.03)
    assert all(other.log_likelihood.max() <= best.log_likelihood.max() for other in others)


def test_a_known_camera_stays(patterns, simulate):
    image, _ = simulate(electrons=2e3, centre=CAMERA[:2], scale=CAMERA[2])
    (best,) = settle(electrons_of(image), patterns, [CAMERA], EVERY, (True, True))
    assert best.camera == CAMERA


def test_orientations_that_are_not_allowed_are_not_found(patterns, simulate):
    image, _ = simulate(electrons=5e3, centre=CAMERA[:2], scale=CAMERA[2], rotation=40.0)
    allowed = np.zeros(ANGLES, bool)
    allowed[:4] = True  # 0 … 11.25°
    best, *_ = settle(electrons_of(image), patterns, [CAMERA], allowed, (True, True))
    assert all(0 <= c.rotation <= 11.25 + 1e-9 for c in maxima(best, patterns, 1, allowed, -np.inf))


def test_neighbours_of_a_maximum_are_left_out(patterns):
    table = np.full((9, ANGLES), -50.0, np.float32)
    table[4, 10], table[4, 50], table[7, 10] = 0.0, -3.0, -6.0  # 30 nm twice, 50 nm
    found = maxima(Best(CAMERA, 0.1, table), patterns, 4, EVERY, -10.0)
    assert [(c.thickness, round(c.chi2, 3)) for c in found] == [(30.0, 0.0), (30.0, 6.0), (50.0, 12.0)]
