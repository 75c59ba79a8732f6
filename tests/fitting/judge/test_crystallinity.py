"""The share of a frame's structure that a fit leaves."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.judge.crystallinity import RINGS, Structure, crystallinity, structure_along_rings
from hybridfit.fitting.judge.settings import JUDGE

ROW, COL = np.indices((80, 80)) - 39.5
RADIUS = np.hypot(ROW, COL).ravel()
RADIAL = 100 * np.exp(-(RADIUS**2) / 800)
PETALS = RADIAL * np.cos(4 * np.arctan2(ROW, COL)).ravel()


def noise(level, seed=0):
    return np.random.default_rng(seed).normal(0, np.sqrt(level), RADIUS.size), np.full(RADIUS.size, level)


def structure_left(*arrays):
    return structure_along_rings(*arrays).share_left(JUDGE.grain)


@pytest.mark.parametrize("left", [0.1, 0.5, 1.0])
def test_it_is_the_share_of_the_variance_along_rings(left):
    grain, level = noise(4.0)
    found = structure_left(RADIAL + PETALS + grain, np.sqrt(left) * PETALS + grain, RADIUS, level)
    assert found == pytest.approx(left, rel=0.1)


def test_what_is_left_evenly_around_does_not_count():
    grain, level = noise(4.0)
    assert structure_left(RADIAL + PETALS + grain, 0.2 * RADIAL + grain, RADIUS, level) < 0.02


def test_noise_alone_is_no_structure():
    for seed in range(20):
        grain, level = noise(100.0, seed)
        assert structure_left(RADIAL + grain, grain, RADIUS, level) == 0


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_crystallinity_is_the_share_of_the_models_structure_that_is_there(share):
    grain, level = noise(4.0)
    found, error = crystallinity(RADIAL + share * PETALS + grain, RADIAL + PETALS, RADIUS, level, 1.0)
    assert found == pytest.approx(share, abs=4 * error) and error < 0.01


def test_the_error_of_crystallinity_is_true():
    scores = []
    for seed in range(200):
        grain, level = noise(400.0, seed)
        share, error = crystallinity(RADIAL + 0.1 * PETALS + grain, RADIAL + 0.1 * PETALS, RADIUS, level, 1.0)
        scores.append((share - 1) / error)
    assert np.std(scores) == pytest.approx(1, abs=0.15) and abs(np.mean(scores)) < 0.25


def test_the_rim_of_a_disc_is_no_structure():
    disc = 100 / (1 + np.exp(2 * (RADIUS - 20)))
    flat = 60 / (1 + np.exp(2 * (RADIUS - 20)))
    grain, level = noise(1.0)
    model = disc + 0.02 * PETALS
    share, error = crystallinity(flat + grain, model, RADIUS, level, 1.0)
    assert abs(share) < 0.2 and error < 0.05
    assert crystallinity(flat + grain, np.ones_like(disc), RADIUS, level, 1.0) == (0.0, np.inf)


# ---------------------------------------------------------------- against the definitions, ring by ring


def some_pixels(n=400, seed=3):
    """Numbers without any order, at distances of which no two are alike."""
    random = np.random.default_rng(seed)
    return (
        random.normal(5, 2, n),
        random.normal(3, 1, n),
        random.uniform(0, 9.7, n),
        random.uniform(1, 2, n),
    )


def less_ring_means(values, radius):
    """Values less the mean of their ring, RINGS rings of one width."""
    out, width = values.copy(), radius.max() / RINGS
    for i in range(RINGS):
        inside = (radius >= i * width) & ((radius < (i + 1) * width) | (i == RINGS - 1))
        if inside.any():
            out[inside] -= values[inside].mean()
    return out


@pytest.mark.parametrize("n", [30, 400])
def test_structure_is_the_variance_about_ring_means_less_the_noise(n):
    data, residual, radius, level = some_pixels(n)
    found = structure_along_rings(data, residual, radius, level)
    for value, of in ((found.frame, data), (found.left, residual)):
        assert value == pytest.approx((less_ring_means(of, radius) ** 2).mean() - level.mean(), rel=1e-9)
    # a variance estimated from n Gaussian numbers of variance v has a variance of 2 v²/n
    assert found.deviation == pytest.approx(np.sqrt(2 * (level**2).mean() / n))
    for unit in (7.3, 0.01):  # that of the radius does not matter
        assert structure_along_rings(data, residual, unit * radius, level) == pytest.approx(found)


def test_all_pixels_in_one_place_are_one_ring():
    found = structure_along_rings(np.array([1.0, 3.0]), np.array([1.0, 1.0]), np.zeros(2), np.zeros(2))
    assert found == Structure(1.0, 0.0, 0.0) and found.share_left(4.0) == 0


@pytest.mark.parametrize(
    ("frame", "left", "share"),
    [
        (8.0, 4.0, 0.5),
        (8.0, 3.999, 0.0),
        (4.0, 8.0, 2.0),
        (3.999, 8.0, 0.0),
        (3.0, 3.0, 0.0),
        (-9.0, 8.0, 0.0),
    ],
)
def test_structure_counts_from_so_many_deviations_of_the_noise_on(frame, left, share):
    assert Structure(frame, left, 2.0).share_left(2.0) == share
    assert Structure(frame / 2, left / 2, 1.0).share_left(2.0) == share


def less_profile(values, radius, width):
    """Values less a straight line along the radius in every ring of a pixel; the last one takes the rest."""
    count = max(int(radius.max() / width), 1)
    place = np.minimum(radius / width, count)
    out = values.copy()
    for i in range(count):
        inside = (place >= i) & ((place < i + 1) | (i == count - 1))
        if inside.sum() > 1:
            out[inside] -= np.polyval(np.polyfit(place[inside], values[inside], 1), place[inside])
        elif inside.any():
            out[inside] = 0
    return out


@pytest.mark.parametrize("width", [0.5, 1.3, 30.0])
def test_crystallinity_is_the_projection_on_the_model_less_its_profile(width):
    data, model, radius, level = some_pixels()
    m, e = less_profile(model, radius, width), less_profile(data, radius, width)
    share, error = crystallinity(data, model, radius, level, width)
    assert share == pytest.approx((m @ e) / (m @ m), rel=1e-6)
    assert error == pytest.approx(np.sqrt((m**2) @ level) / (m @ m), rel=1e-6)
    scaled = crystallinity(data, 3 * model, 2 * radius, level, 2 * width)
    assert scaled == pytest.approx((share / 3, error / 3))


def test_a_line_along_the_radius_of_every_ring_is_no_structure():
    data, model, radius, level = some_pixels()
    width = radius.max() / (9 + 1e-9)
    pieces = np.interp(radius / width, np.arange(11.0), np.random.default_rng(0).normal(0, 50, 11))
    with_pieces = crystallinity(data + pieces, model, radius, level, width)
    assert with_pieces == pytest.approx(crystallinity(data, model, radius, level, width), rel=1e-5)
    assert crystallinity(data, pieces, radius, level, width) == (0.0, np.inf)


def test_rings_without_pixels_do_no_harm():
    """A mask may leave rings out; what is there is compared as if it were alone."""
    data, model, radius, level = some_pixels()
    gap = (radius < 2) | (radius > 7)
    found = structure_along_rings(data[gap], model[gap], radius[gap], level[gap])
    ring_means = less_ring_means(data[gap], radius[gap])
    assert found.frame == pytest.approx((ring_means**2).mean() - level[gap].mean())
    m, e = (less_profile(v[gap], radius[gap], 1.0) for v in (model, data))
    share, _ = crystallinity(data[gap], model[gap], radius[gap], level[gap], 1.0)
    assert share == pytest.approx((m @ e) / (m @ m), rel=1e-6)
