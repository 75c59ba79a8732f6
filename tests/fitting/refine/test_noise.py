"""Noise models of residuals with known properties."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize
from scipy.ndimage import gaussian_filter

from hybridfit.fitting.refine.noise import (
    FAINT,
    Noise,
    _both_positive,
    effective_pixels,
    electrons_in,
    estimate_noise,
)
from hybridfit.fitting.refine.settings import REFINE

SHAPE = (120, 128)
ROW, COL = np.indices(SHAPE)
MASK = np.hypot(COL - 63.0, ROW - 60.0) < 55
MASK[50:53, 20:40] = False
MODEL = (40 + 400 * np.exp(-((COL - 63.0) ** 2 + (ROW - 60.0) ** 2) / 900))[MASK]


def smooth_field(sigma: float, seed: int = 0):
    """A random field of variance 1 and correlation exp(−d²/4σ²), on the mask."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), sigma)[MASK]
    return (field - field.mean()) / field.std()


@pytest.mark.parametrize("gain", [0.3, 1.0, 25.0])
def test_counting_gives_the_gain(gain):
    residual = gain * np.random.default_rng(1).poisson(MODEL / gain) - MODEL
    noise = estimate_noise(residual, MODEL, MASK)
    assert noise.per_intensity == pytest.approx(gain, rel=0.05)
    assert noise.counting(MODEL).mean() == pytest.approx((gain * MODEL).mean(), rel=0.03)
    assert noise.misfit < 0.03 * gain * MODEL.mean()
    standardised = residual / np.sqrt(noise.variance(MODEL))
    assert effective_pixels(standardised, MASK, 0.0) > 0.85 * MASK.sum()


def test_the_camera_gives_a_constant():
    residual = 7 * np.random.default_rng(2).normal(size=MODEL.size)
    noise = estimate_noise(residual, MODEL, MASK)
    assert noise.constant == pytest.approx(49, rel=0.08)
    assert noise.per_intensity * MODEL.mean() < 4


@pytest.mark.parametrize("sigma", [3.0, 5.0])
@pytest.mark.parametrize("size", [5.0, 50.0])
def test_smooth_misfit_is_told_from_noise(size, sigma):
    noise = np.random.default_rng(3).poisson(MODEL) - MODEL
    found = estimate_noise(noise + size * smooth_field(sigma), MODEL, MASK)
    assert found.misfit == pytest.approx(size**2, rel=0.2)
    assert found.variance(MODEL).mean() == pytest.approx(size**2 + MODEL.mean(), rel=0.05)


def test_misfit_leaves_few_independent_pixels():
    """Σ_Δ exp(−Δ²/4σ²) = 4πσ² pixels are correlated; the window of the estimate cuts the tails."""
    n = MASK.sum()
    found = {
        sigma: np.mean([effective_pixels(smooth_field(sigma, seed), MASK, 1.0) for seed in range(5)])
        for sigma in (2.0, 4.0)
    }
    for sigma, pixels in found.items():
        assert 1.0 < pixels / (n / (4 * np.pi * sigma**2)) < 2.0
    assert found[2.0] / found[4.0] == pytest.approx(4.0, rel=0.25)


def test_little_misfit_costs_less_than_much():
    noise, misfit = np.random.default_rng(4).normal(size=MODEL.size), smooth_field(4.0)
    counts = [
        effective_pixels(np.sqrt(1 - share) * noise + np.sqrt(share) * misfit, MASK, share)
        for share in (0.0, 0.1, 0.5, 1.0)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 0.85 * MASK.sum() and counts[-1] < 0.02 * MASK.sum()


def test_a_perfect_fit_has_almost_no_variance():
    noise = estimate_noise(np.zeros(MODEL.size), MODEL, MASK)
    assert (noise.variance(MODEL) > 0).all() and noise.variance(MODEL).max() < 1e-9 * (MODEL**2).mean()


def test_where_the_model_has_no_electron_a_few_hundredths_of_one_may_come():
    least = 2.0 + 3.0 * FAINT * 3.0 + 1.0
    found = Noise(2.0, 3.0, 1.0).variance(np.array([-5.0, 0.0, 2.0]))
    assert found.tolist() == pytest.approx([least, least, 9.0], rel=1e-12) and 3.0 < least < 3.3


def test_what_has_no_noise_at_all_does_not_outweigh_a_counted_disc():
    """Half of the frame has no electron at all, where a model that is not quite right has some."""
    disc = np.hypot(*(np.indices(MASK.shape) - np.array([[[60]], [[63]]]))) < 40
    data = np.where(disc, np.random.default_rng(0).poisson(200.0, MASK.shape), 0)[MASK]
    model = np.where(disc, 200.0, 0.7)[MASK]
    found = estimate_noise(data - model, model, MASK)
    assert found.variance(np.array([200.0]))[0] == pytest.approx(200, rel=0.1)
    assert found.variance(model).min() > 1e-2


@pytest.mark.parametrize("electrons", [1e3, 1e4, 1e5])
def test_electrons_are_counted_whatever_the_gain_and_the_mask(electrons):
    expected = gaussian_filter(MASK.astype(float), 2) + 0.02
    image = 7.0 * np.random.default_rng(0).poisson(electrons * expected / expected.sum())
    image[~MASK] = 1e9
    share = expected[MASK].sum() / expected.sum()
    assert electrons_in(image, MASK) == pytest.approx(share * electrons, rel=0.1)


def test_structure_makes_many_electrons_fewer():
    """The estimate is a lower bound; it only decides whether electrons are few."""
    image = 100.0 * (1 + (ROW + COL) % 2)
    assert electrons_in(image, np.ones(SHAPE, bool)) < 1e3 * image.size


# ---------------------------------------------------------------- known answers


@pytest.mark.parametrize("constant", [0.0, 30.0, 400.0])
@pytest.mark.parametrize("gain", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("size", [0.0, 12.0])
def test_all_three_parts_of_the_variance_are_recovered(constant, gain, size):
    """a + b μ + s² of a simulated residual; the mean over seeds, within what 8,000 pixels tell."""
    found = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        residual = np.sqrt(constant + gain * MODEL) * random.normal(size=MODEL.size)
        found.append(estimate_noise(residual + size * smooth_field(6.0, seed + 50), MODEL, MASK)[:3])
    a, b, misfit = np.mean(found, axis=0)
    level = constant + gain * MODEL.mean()
    assert a + b * MODEL.mean() == pytest.approx(level, abs=0.03 * level + 0.02 * size**2 + 1e-6)
    assert a == pytest.approx(
        constant, abs=0.05 * constant + 0.15 * gain * MODEL.min() + 0.02 * size**2 + 1e-6
    )
    assert b == pytest.approx(gain, abs=(0.07 * level + 0.02 * size**2 + 1e-6) / MODEL.mean())
    assert misfit == pytest.approx(size**2, abs=0.03 * level + 0.06 * size**2 + 1e-6)


def test_noise_is_what_neighbours_differ_by():
    """±σ in turn: half the square of every difference is 2σ², whatever the intensity."""
    residual = (3.0 * (-1.0) ** (ROW + COL))[MASK]
    found = estimate_noise(residual, MODEL, MASK)
    assert found.constant == pytest.approx(18.0) and found.per_intensity == pytest.approx(0, abs=1e-9)
    assert found.misfit == 0.0


@pytest.mark.parametrize("along", [COL, ROW])
def test_differences_are_taken_along_rows_and_along_columns(along):
    """±σ from column to column: pairs within a row give 2σ², pairs within a column nothing."""
    model = np.random.default_rng(7).uniform(9, 11, MODEL.size)
    found = estimate_noise((3.0 * (-1.0) ** along)[MASK], model, MASK)
    assert found.counting(np.full(1, 10.0))[0] == pytest.approx(9.0, rel=0.03)


def test_only_pairs_inside_the_mask_count():
    """Alone, a row of pixels has no neighbours above and below."""
    row = np.zeros((40, 200), bool)
    row[20], row[5, ::2] = True, True
    residual = np.where(row, 3.0 * (-1.0) ** np.indices(row.shape)[1], 0)
    residual[5] = 100.0  # these touch no other
    found = estimate_noise(residual[row], np.full(int(row.sum()), 10.0), row)
    assert found.counting(np.full(1, 10.0))[0] == pytest.approx(18.0)


def test_the_intensity_of_a_pair_is_the_mean_of_the_two():
    """v = b μ, and μ is 10 or 30 in turn: every pair has a mean of 20, so b·20 = the half square."""
    model = np.where((ROW + COL) % 2, 10.0, 30.0)[MASK]
    residual = (3.0 * (-1.0) ** (ROW + COL))[MASK]
    found = estimate_noise(residual, model, MASK)
    assert found.constant + 20 * found.per_intensity == pytest.approx(18.0)


def test_weak_pixels_are_not_outvoted_by_bright_ones():
    """The fit of a + b μ is relative: the noise of weak pixels counts as much as that of bright ones."""
    random = np.random.default_rng(5)
    model = np.where(COL < 64, 1.0, 1e4)[MASK]
    residual = np.sqrt(0.5 + 2 * model) * random.normal(size=model.size)
    found = estimate_noise(residual, model, MASK)
    assert found.counting(np.array([1.0]))[0] == pytest.approx(2.5, rel=0.1)
    assert found.counting(np.array([1e4]))[0] == pytest.approx(20000.5, rel=0.1)


def test_negative_models_count_as_dark():
    random = np.random.default_rng(6)
    model = np.linspace(-300, 300, MODEL.size)
    residual = np.sqrt(20 + np.maximum(model, 0)) * random.normal(size=model.size)
    found = estimate_noise(residual, model, MASK)
    assert found.counting(model).mean() == pytest.approx((20 + np.maximum(model, 0)).mean(), rel=0.05)
    assert found.misfit == pytest.approx(0, abs=0.03 * (residual**2).mean())


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e6])
def test_noise_has_the_units_of_the_frame(unit):
    """Frames may be counts or shares of the beam: a and s² go with the square of the unit, b with it."""
    model = MODEL - 300
    residual = np.sqrt(30 + 0.5 * np.maximum(model, 0)) * np.random.default_rng(8).normal(size=model.size)
    residual += 9 * smooth_field(6.0)
    one, other = estimate_noise(residual, model, MASK), estimate_noise(unit * residual, unit * model, MASK)
    expected = (unit**2 * one.constant, unit * one.per_intensity, unit**2 * one.misfit)
    assert other[:3] == pytest.approx(expected, rel=1e-6)
    assert one.constant > 0 and one.per_intensity > 0 and one.misfit > 0


def test_binned_pixels_have_less_noise_and_the_same_misfit():
    assert Noise(8.0, 4.0, 3.0).on_pixels(4.0) == Noise(2.0, 1.0, 3.0)
    assert Noise(8.0, 4.0, 3.0).on_pixels(0.25) == Noise(32.0, 16.0, 3.0)


def test_the_least_noise_is_a_trillionth_of_the_intensity_squared():
    found = estimate_noise(np.zeros(MODEL.size), MODEL, MASK)
    assert found.constant == pytest.approx(1e-12 * (MODEL**2).mean()) and found.misfit == 0.0
    dark = estimate_noise(np.zeros(MODEL.size), np.zeros(MODEL.size), MASK)
    assert 0 < dark.constant < 1e-200


# ---------------------------------------------------------------- electrons, counted by hand


def test_electrons_are_pixels_times_squared_mean_over_variance():
    """Of two columns 4 and 6: pairs within a row differ by 2, those within a column by nothing."""
    image = np.tile([4.0, 6.0], (10, 1))
    everywhere = np.ones(image.shape, bool)
    pairs = 10 * 1 + 9 * 2
    assert electrons_in(image, everywhere) == pytest.approx(20 * 5.0**2 / (10 * 2.0 / pairs))
    half = everywhere.copy()
    half[5:] = False
    image[5:] = np.nan
    assert electrons_in(image, half) == pytest.approx(10 * 5.0**2 / (5 * 2.0 / (5 + 8)))


def test_electrons_are_counted_from_neighbours_alone():
    """Columns 4, 6, 4, 6: three pairs in every row differ by 2, and four in every pair of rows by nothing."""
    image = np.tile([4.0, 6.0, 4.0, 6.0], (10, 1))
    pairs = 10 * 3 + 9 * 4
    for each in (image, image.T):
        expected = 40 * 5.0**2 / (30 * 2.0 / pairs)
        assert electrons_in(each, np.ones(each.shape, bool)) == pytest.approx(expected)


def test_a_frame_without_differences_has_more_electrons_than_can_be_counted():
    assert electrons_in(np.ones((4, 4)), np.ones((4, 4), bool)) > 1e200


# ---------------------------------------------------------------- effective pixels, by the definition


def by_definition(values, mask, share, settings=REFINE):
    """n/Σ ρ(Δ) w(Δ), shift by shift."""
    rows, cols = mask.shape
    image = np.zeros(mask.shape)
    image[mask] = values
    power, n = (values**2).mean(), len(values)
    rho, pairs = {}, {}
    for dy in range(-rows + 1, rows):
        for dx in range(-cols + 1, cols):
            here = np.s_[max(dy, 0) : rows + min(dy, 0), max(dx, 0) : cols + min(dx, 0)]
            there = np.s_[max(-dy, 0) : rows + min(-dy, 0), max(-dx, 0) : cols + min(-dx, 0)]
            pairs[dy, dx] = int((mask[here] & mask[there]).sum())
            rho[dy, dx] = (image[here] * image[there]).sum() / max(pairs[dy, dx], 1) / power
    reach = float(max(mask.shape))
    for shell in range(max(mask.shape) + 1):
        inside = [d for d in rho if round(math.hypot(*d)) == shell]
        count = sum(pairs[d] for d in inside)
        radial = sum(rho[d] * pairs[d] for d in inside) / max(count, 1)
        if radial < max(settings.faded * share, 2 / np.sqrt(max(count / 2, 1))):
            reach = settings.taper * shell
            break
    total = 0.0
    for d, value in rho.items():
        x = min(math.hypot(*d) / reach, 1.0)
        total += value * (1 - 6 * x**2 + 6 * x**3 if x < 0.5 else 2 * (1 - x) ** 3)  # Parzen's window
    return min(max(n / max(total, 1.0), 1.0), n)


SMALL = np.hypot(*(np.indices((12, 15)) - 5.5)) < 6.5
SMALL[3, 5:7] = False


@pytest.mark.parametrize("sigma", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_effective_pixels_are_those_of_the_definition(sigma, share):
    noise = np.random.default_rng(int(sigma)).normal(size=SMALL.shape)
    values = 3.0 * (gaussian_filter(noise, sigma) if sigma else noise)[SMALL]
    expected = by_definition(values, SMALL, share)
    assert effective_pixels(values, SMALL, share) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_correlation_below_its_own_noise_is_none(seed):
    """ρ has a standard deviation of 1/√pairs; whether it stands out of that decides the window."""
    values = gaussian_filter(np.random.default_rng(seed).normal(size=SMALL.shape), 0.45)[SMALL]
    assert effective_pixels(values, SMALL, 0.0) == pytest.approx(by_definition(values, SMALL, 0.0), rel=1e-9)


@pytest.mark.parametrize("changes", [{"taper": 1.0}, {"taper": 3.0}, {"faded": 0.6}])
def test_the_window_is_that_of_the_settings(changes):
    values = gaussian_filter(np.random.default_rng(1).normal(size=SMALL.shape), 1.5)[SMALL]
    settings = replace(REFINE, **changes)
    found = effective_pixels(values, SMALL, 1.0, settings)
    assert found == pytest.approx(by_definition(values, SMALL, 1.0, settings), rel=1e-9)
    assert found != pytest.approx(effective_pixels(values, SMALL, 1.0), rel=1e-3)


def test_effective_pixels_lie_between_one_and_all():
    assert effective_pixels(np.ones(int(SMALL.sum())), SMALL, 1.0) >= 1.0
    turns = ((-1.0) ** np.indices(SMALL.shape).sum(axis=0))[SMALL]  # neighbours are opposite
    assert effective_pixels(turns, SMALL, 0.0) == SMALL.sum()


def test_white_noise_leaves_all_pixels_independent():
    counts = [effective_pixels(np.random.default_rng(s).normal(size=MODEL.size), MASK, 0.0) for s in range(2)]
    assert np.mean(counts) > 0.9 * MODEL.size


@pytest.mark.parametrize("mask", [MASK, np.ones((1, 1), bool), np.ones((2, 2), bool)])
def test_a_residual_of_nothing_has_a_count_of_pixels(mask):
    """A frame without noise that is fitted perfectly leaves zeros."""
    n = int(mask.sum())
    assert 1 <= effective_pixels(np.zeros(n), mask, 0.0) <= n
    assert 1 <= effective_pixels(np.zeros(n), mask, 1.0) <= n


def test_two_coefficients_that_are_not_below_zero_are_those_of_nnls():
    rng = np.random.default_rng(5)
    kinds = set()
    for _ in range(60):
        design, y = rng.normal(size=(7, 2)), rng.normal(size=7)
        expected = optimize.nnls(design, y)[0]
        np.testing.assert_allclose(_both_positive(design, y), expected, rtol=1e-9, atol=1e-12)
        kinds.add(tuple(expected > 0))
    assert len(kinds) == 4
    same = np.ones((7, 2))  # either will do
    np.testing.assert_allclose(same @ _both_positive(same, y + 3), np.mean(y + 3))
