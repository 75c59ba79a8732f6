"""Node patterns on a device of torch against those of the kernels, which they must equal but for rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridfit.pattern.nodes import Added, Aperture, Grids, Nodes
from hybridfit.pattern.torch_nodes import TorchNodes

SEMI_ANGLE, HALF_EDGE, TILT_MOST = 5.0, 0.3, 1.5
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def points():
    """Points (2, n) that lie at all fractions of a cell, some of them outside all discs."""
    row, col = np.indices((23, 25)) - 11.6
    k = np.stack([0.71 * col + 0.13 * row, 0.69 * row - 0.2 * col]).reshape(2, -1)
    return np.ascontiguousarray(k[:, np.hypot(*k) < 9])


@pytest.fixture(scope="module")
def places():
    rng = np.random.default_rng(3)
    ends = [[20.0, 0.0, 0.0], [22.0, 1.5, -1.5], [23.0, -1.5, -1.5], [22.95, -1.3, 0.6]]
    return np.concatenate([ends, np.column_stack([rng.uniform(20, 23, 30), rng.uniform(-1, 1, (30, 2))])])


def both(build_library, points, crystal="fourfold", zone=(0, 0, 1), memory=1e8, workspace=1e8, **options):
    table = build_library(crystal, zone, semi_angle_max=6.5, tilt_max=TILT_MOST).table()
    grids = Grids(table, SEMI_ANGLE + HALF_EDGE, TILT_MOST)
    nodes = Nodes(grids, points, Aperture(SEMI_ANGLE, HALF_EDGE), **options)
    return nodes, TorchNodes(nodes, CPU, memory, workspace)


def patterns(found, places):
    at = torch.as_tensor(places)
    return found.at(at[:, 0], at[:, 1:]).numpy()


def assert_same(found, nodes, places):
    for each, (t, x, y) in zip(found, places, strict=True):
        expected = nodes.at(t, (x, y))
        for a, b in zip(each, expected, strict=True):
            size = np.abs(b).max()
            assert np.std(a - b) < 1e-5 * size  # a third of a unit of the whole numbers
            assert np.abs(a - b).max() < 1e-4 * size  # where a sum was rounded to the next whole number


@pytest.mark.parametrize(
    ("crystal", "zone"), [("fourfold", (0, 0, 1)), ("Si", (1, 1, 0)), ("triclinic", (0, 0, 1))]
)
def test_they_are_those_of_the_kernels(build_library, points, places, crystal, zone):
    nodes, found = both(build_library, points, crystal, zone)
    assert_same(patterns(found, places), nodes, places)


def test_a_smooth_image_is_added(build_library, points, places):
    along = np.float32([[0.3, -0.2], [0.5, 0.1]])

    def smooth(i, tilt):
        return (7 + 2 * i + tilt @ along).astype(np.float32), along

    nodes, found = both(build_library, points, added=Added(smooth, np.arange(points.shape[1]) % 2))
    assert_same(patterns(found, places), nodes, places)


def test_memory_is_bounded(build_library, points, places):
    nodes, found = both(build_library, points, memory=0.0)
    assert found.slots == 16
    assert_same(patterns(found, places), nodes, places)
    assert found.made > 100
    whole = both(build_library, points)[1]
    expected = patterns(whole, places)
    assert whole.made < found.made
    np.testing.assert_array_equal(patterns(found, places), expected)
    made = whole.made
    np.testing.assert_array_equal(patterns(whole, places), expected)
    assert whole.made == made


def test_frames_are_combined_in_parts(build_library, points, places):
    few = both(build_library, points, workspace=0.0)[1]
    assert few.together == 1
    expected = patterns(both(build_library, points)[1], places)
    np.testing.assert_allclose(patterns(few, places), expected, atol=1e-6 * np.abs(expected).max())
