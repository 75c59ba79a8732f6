"""Backgrounds: their shapes and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.pattern.background import NAMES, RADIAL_WIDTHS, SMOOTH, basis, check, lowest


def points(n=40):
    return np.random.default_rng(0).uniform(-25, 25, (2, n))


@pytest.mark.parametrize(
    ("name", "components"), [("none", 0), ("uniform", 1), ("uniform-per-nm", 0), ("radial", 3)]
)
def test_number_of_free_components(name, components):
    check(name)
    assert all(part.shape == (components, 40) for part in basis(name, points(), 13.6))


def test_every_name_is_tested():
    assert set(NAMES) == {"none", "uniform", "uniform-per-nm", "radial"}


def test_an_unknown_background_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown background 'flat'; choose one of none, uniform, .*radial"):
        check("flat")


def test_radial_is_a_constant_and_two_centred_gaussians():
    k = np.array([[0.0, 13.6 * RADIAL_WIDTHS[0], 0.0], [0.0, 0.0, -13.6 * RADIAL_WIDTHS[1]]])
    values, _, _ = basis("radial", k, 13.6)
    np.testing.assert_array_equal(values[0], 1)
    np.testing.assert_allclose(values[1, :2], [1, np.exp(-0.5)])
    np.testing.assert_allclose(values[2, ::2], [1, np.exp(-0.5)])


def test_radial_widths_at_the_papers_semi_angle():
    """10 and 20 mrad at 13.6 mrad."""
    np.testing.assert_allclose(np.array(RADIAL_WIDTHS) * 13.6, [10, 20], atol=0.5)


def test_smooth_follows_a_background_of_other_widths():
    """Gaussians of 0.8 and 1.7 α: a constant and two leave more than ten times as much as with a third."""
    k = np.linspace(0, 21, 300)[None] * np.array([[1.0], [0.0]])
    frame = np.exp(-(k[0] ** 2) / (2 * (0.8 * 13.6) ** 2)) + 0.6 * np.exp(
        -(k[0] ** 2) / (2 * (1.7 * 13.6) ** 2)
    )
    left = []
    for name in ("radial", SMOOTH):
        columns = basis(name, k, 13.6)[0].T
        left.append(np.std(frame - columns @ np.linalg.lstsq(columns, frame)[0]))
    assert left[1] < 0.1 * left[0]
    with pytest.raises(InputError):
        check(SMOOTH)  # users do not choose it


@pytest.mark.parametrize("name", [*NAMES, SMOOTH])
@pytest.mark.parametrize("axis", [0, 1])
def test_gradients_equal_finite_differences(name, axis):
    k, h = points(), np.zeros((2, 1))
    h[axis] = 1e-5
    numerical = (basis(name, k + h, 13.6)[0] - basis(name, k - h, 13.6)[0]) / 2e-5
    np.testing.assert_allclose(basis(name, k, 13.6)[1 + axis], numerical, atol=1e-9)


def test_the_lowest_point_of_a_radial_background():
    assert lowest([5.0, 1.0, 2.0]) > 0
    assert lowest([5.0, -3.0, 1.0]) == pytest.approx(-2.0)
    assert lowest([5.0, -3.0, 1.0, 0.0]) == pytest.approx(-2.0)
    assert lowest([-4.0]) == 0
