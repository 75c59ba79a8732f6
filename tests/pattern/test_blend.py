"""Tables of several crystals blended: polynomials, their slopes, and the interpolation in thickness."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from hybridfit.pattern.blend import Stack, mix, node_weights
from hybridfit.pattern.expand import at_thickness
from hybridfit.pattern.pool import Pool


@pytest.fixture(scope="module")
def stack(small_library) -> Stack:
    """Intensities that are a polynomial of two parameters, on the thicknesses of a library."""
    table = small_library.window(30, half_widths=(3.0, 0.0), semi_angle=3).table()
    a, b = np.array([-1.0, 0.0, 0.5, 2.0, 3.0]), np.array([0.0, 1.0])
    height = (1 + a[:, None] - 0.3 * a[:, None] ** 3) * (2 - b)
    intensity = height[..., None, None, None] * table.intensity
    return Stack(table._replace(intensity=intensity[0, 0]), intensity.astype(np.float32), {"a": a, "b": b})


@pytest.mark.parametrize("nodes", [[0.0, 1.0], [0.0, 1.0, 3.0], [-2.0, -1.0, 0.5, 2.0, 3.0, 5.0]])
def test_polynomials_are_blended_exactly(nodes):
    x = np.array(nodes)
    powers = np.arange(min(len(x), 4))
    for value in np.linspace(x[0], x[-1], 17):
        first, weights, slopes = node_weights(x, value)
        y = x[first : first + len(weights), None] ** powers
        np.testing.assert_allclose(weights @ y, value**powers, atol=1e-12)
        np.testing.assert_allclose(slopes @ y, powers * value ** np.maximum(powers - 1, 0), atol=1e-10)


def test_on_a_node_the_blend_is_the_node():
    x = np.array([-0.3, -0.1, 0.0, 0.1, 0.3])
    for i, value in enumerate(x):
        first, weights, _ = node_weights(x, value)
        assert weights[i - first] == 1 and np.count_nonzero(weights) == 1


def test_the_nearest_nodes_are_used():
    x = np.arange(10.0)
    for value, first in ((0.5, 0), (3.2, 2), (3.0, 2), (8.5, 6), (9.0, 6)):
        assert node_weights(x, value)[0] == first


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize(("a", "b", "t"), [(0.5, 0.0, 30.2), (-0.7, 0.3, 29.0), (2.7, 0.9, 31.7)])
def test_the_blend_is_the_polynomial_times_that_in_thickness(stack, small_library, a, b, t, lanes):
    plain = at_thickness(small_library.window(30, half_widths=(3.0, 0.0), semi_angle=3).table(), t, lanes)
    height = (1 + a - 0.3 * a**3) * (2 - b)
    values = {"a": a, "b": b}
    np.testing.assert_allclose(stack.blend(t, values, lanes), height * plain, atol=3e-6)
    slopes = {"a": (1 - 0.9 * a**2) * (2 - b), "b": -(1 + a - 0.3 * a**3)}
    for name, slope in slopes.items():
        np.testing.assert_allclose(stack.slope(t, values, name)[..., 0], slope * plain[..., 0], atol=1e-5)


def test_without_parameters_it_is_the_interpolation_in_thickness(stack):
    alone = Stack(stack.table, stack.table.intensity, {})
    for t in (27.0, 30.0, 31.3):
        np.testing.assert_allclose(alone.blend(t, {}), at_thickness(stack.table, t), atol=1e-6)


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_kernel_is_its_plain_self(stack, lanes):
    flat = stack.intensity.reshape(-1, *stack.intensity.shape[-3:])[:, :, :3, :40]
    weights = np.random.default_rng(0).random((lanes, 2, 4)).astype(np.float32)
    arguments = (np.ascontiguousarray(flat), np.array([0, 3]), 1, weights)
    plain = np.einsum("lij,ijbd->bdl", weights, flat[[0, 3], 1:5])
    for run in (mix, mix.py_func):
        out = np.zeros((3, 40, lanes), np.float32)
        run(*arguments, out, 0, 2)
        assert not out[2].any()
        run(*arguments, out, 2, 3)
        np.testing.assert_allclose(out, plain, rtol=1e-5)


def test_threads_share_the_beams(stack):
    values = {"a": 0.5, "b": 0.2}
    for run in (stack.blend, partial(stack.slope, name="a")):
        assert np.array_equal(run(30.2, values, pool=Pool(3)), run(30.2, values))
