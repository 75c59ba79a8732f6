"""Vacuum, a spread of thickness and a spread of tilt: against plain means of patterns, and differences."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.library.diffuse import without_diffuse
from hybridfit.library.library import Library
from hybridfit.model import AVERAGING, MODEL, ForwardModel
from hybridfit.pattern.averaging import LINE, PLANE
from hybridfit.pattern.camera import Camera

SEMI_ANGLE = 9.0
SHAPE = (72, 80)
CAMERA = Camera(41.3, 34.8, 1.7, 12.0)
VALUES = {
    "thickness": 30.4,
    "tilt_x": 0.8,
    "tilt_y": -1.1,
    **CAMERA._asdict(),
    "semi_angle": SEMI_ANGLE,
    "blur": 0.5,
}


@pytest.fixture(scope="module")
def model(small_library):
    row, col = np.indices(SHAPE)
    mask = np.hypot(col - CAMERA.centre_x, row - CAMERA.centre_y) <= (SEMI_ANGLE + 7.5) * CAMERA.scale
    return ForwardModel(small_library, mask, CAMERA, semi_angle=SEMI_ANGLE, background="none")


def pattern(model, **changes):
    return model.evaluate({**VALUES, **changes}).columns[0]


def test_nodes_are_those_of_a_gaussian():
    x, w = LINE
    assert w.sum() == pytest.approx(1) and abs(w @ x) < 1e-12 and w @ x**2 == pytest.approx(1)
    assert w @ x**4 == pytest.approx(3, rel=0.02)
    y, w = PLANE
    assert w.sum() == pytest.approx(1) and abs(w @ y).max() < 1e-12
    np.testing.assert_allclose((y.T * w) @ y, np.eye(2), atol=1e-12)  # isotropic


def test_without_any_it_is_the_plain_pattern(model):
    np.testing.assert_array_equal(pattern(model), pattern(model, **dict.fromkeys(AVERAGING, 0.0)))


def test_vacuum_is_a_bare_disc_of_the_incident_intensity(model):
    full = pattern(model)
    disc = (pattern(model, vacuum=0.4) - 0.6 * full) / 0.4
    row, col = np.nonzero(model.mask)
    r = np.hypot(col - CAMERA.centre_x, row - CAMERA.centre_y) / CAMERA.scale
    np.testing.assert_allclose(disc[r < SEMI_ANGLE - 2.5], 1, atol=1e-5)
    np.testing.assert_allclose(disc[r > SEMI_ANGLE + 2.5], 0, atol=1e-5)
    area = np.pi * (SEMI_ANGLE * CAMERA.scale) ** 2
    assert disc.sum() == pytest.approx(area, rel=2e-3)
    # a crystal of no thickness is vacuum: the thinnest of the library comes near
    assert np.abs(pattern(model, thickness=1.0) - disc).max() < np.abs(full - disc).max() / 10


@pytest.mark.parametrize("spread", [0.5, 2.0, 5.0])
def test_a_spread_of_thickness_is_the_mean_over_a_gaussian(model, spread):
    x = np.linspace(-3.6, 3.6, 37)
    w = np.exp(-(x**2) / 2)
    mean = sum(
        wi * pattern(model, thickness=30.4 + spread * xi) for xi, wi in zip(x, w / w.sum(), strict=True)
    )
    np.testing.assert_allclose(pattern(model, thickness_spread=spread), mean, atol=1e-3 * mean.max())
    assert np.abs(mean - pattern(model)).max() > (1e-3 if spread < 1 else 1e-2) * mean.max()


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_a_spread_of_tilt_is_the_mean_over_a_gaussian(model, spread):
    x = np.linspace(-3.5, 3.5, 13)
    w = np.exp(-(x**2) / 2) / np.exp(-(x**2) / 2).sum()
    mean = sum(
        wi * wj * pattern(model, tilt_x=0.8 + spread * xi, tilt_y=-1.1 + spread * xj)
        for xi, wi in zip(x, w, strict=True)
        for xj, wj in zip(x, w, strict=True)
        if wi * wj > 1e-5
    )
    np.testing.assert_allclose(pattern(model, tilt_spread=spread), mean, atol=4e-3 * mean.max())
    assert np.abs(mean - pattern(model)).max() > (5e-3 if spread < 1 else 4e-2) * mean.max()


def test_a_spread_changes_the_pattern_by_half_its_square_times_the_curvature(model):
    step, spread = 0.5, 0.4
    up, middle, down = (pattern(model, thickness=30.4 + by) for by in (step, 0, -step))
    second = (up - 2 * middle + down) / step**2
    change = pattern(model, thickness_spread=spread) - middle
    np.testing.assert_allclose(change, spread**2 / 2 * second, atol=0.1 * np.abs(change).max())


@pytest.mark.parametrize("seed", range(3))
def test_derivatives_are_those_of_differences(model, seed):
    rng = np.random.default_rng(seed)
    values = {
        **VALUES,
        "vacuum": rng.uniform(0.05, 0.6),
        "thickness_spread": rng.uniform(0.5, 4),
        "tilt_spread": rng.uniform(0.2, 1),
    }
    steps = {
        "vacuum": 1e-3,
        "thickness_spread": 0.02,
        "tilt_spread": 0.005,
        "thickness": 0.02,
        "tilt_x": 0.005,
        "tilt_y": 0.005,
        "scale": 1e-4,
        "centre_x": 1e-3,
        "centre_y": 1e-3,
        "rotation": 1e-2,
        "ellipticity_a": 1e-4,
        "ellipticity_b": 1e-4,
        "semi_angle": 1e-3,
        "blur": 1e-3,
    }
    assert set(steps) == {*model.parameters, *AVERAGING}
    slopes = model.evaluate(values, list(steps)).pattern_slopes
    for slope, (name, step) in zip(slopes, steps.items(), strict=True):
        up, down = (model.evaluate({**values, name: values[name] + by}).columns[0] for by in (step, -step))
        expected = (up - down) / (2 * step)
        np.testing.assert_allclose(slope, expected, atol=0.02 * np.abs(expected).max(), err_msg=name)


def test_spreads_stay_inside_the_library(model, small_library):
    low, high = small_library.thickness_range
    for t in (low, high):
        assert np.isfinite(pattern(model, thickness=t, thickness_spread=8.0)).all()
    limit = small_library.tilt_max + small_library.semi_angle_max - SEMI_ANGLE
    rim = pattern(model, tilt_x=limit, tilt_y=0.0, tilt_spread=1.0)
    # intensity that is not there would be missing in the sum
    assert rim.sum() == pytest.approx(pattern(model, tilt_x=limit - 0.5, tilt_y=0.0).sum(), rel=0.03)


def test_vacuum_scatters_nothing_diffusely(model, small_library):
    """Derivatives of the diffuse part alone, which the pattern's would hide."""
    without = ForwardModel(
        Library(without_diffuse(small_library.dataset)),
        model.mask,
        CAMERA,
        semi_angle=SEMI_ANGLE,
        background="none",
    )

    def part(names=(), **changes):
        both = [each.evaluate({**VALUES, **changes}, names) for each in (model, without)]
        if names:
            return both[0].pattern_slopes - both[1].pattern_slopes
        return both[0].columns[0] - both[1].columns[0]

    full = part()
    assert full.max() > 1e-3
    np.testing.assert_allclose(part(vacuum=0.3), 0.7 * full, atol=1e-6 * full.max())
    names = ["vacuum", "thickness", "tilt_x", "tilt_y", "scale", "centre_x", "rotation", "semi_angle"]
    steps = [0.01, 0.02, 5e-3, 5e-3, 1e-3, 1e-2, 0.02, 5e-3]
    for name, step, slope in zip(names, steps, part(names, vacuum=0.3), strict=True):
        middle = 0.3 if name == "vacuum" else VALUES[name]
        up, down = (part(**{"vacuum": 0.3, name: middle + side}) for side in (step, -step))
        expected = (up - down) / (2 * step)
        # interpolated, the slope jumps between nodes: a few pixels lie there
        assert np.linalg.norm(slope - expected) < 0.01 * np.linalg.norm(expected), name
    grown = [each.assumption_slopes({**VALUES, "vacuum": 0.3})["debye_waller"] for each in (model, without)]
    np.testing.assert_allclose(grown[0] - grown[1], 0.7 * MODEL.diffuse_growth * full, atol=1e-6 * full.max())
