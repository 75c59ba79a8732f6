"""The ring search compared with a search that turns the template and fits the background at every angle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hybridfit.fitting.candidates import canonical
from hybridfit.fitting.search.rings import chi2_on_rings
from hybridfit.fitting.search.templates import make_templates, ring_radii
from hybridfit.library.library import Library
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.compose import pattern_at
from hybridfit.pattern.rings import sampled_on_rings

SEMI_ANGLE = 9.0
SHAPE = (72, 72)
CAMERA = Camera(35.2, 36.4, 2.1, 0.0)
THICKNESS = np.array([12.0, 31.0])
TILTS = np.array([[0.0, 0.0], [1.1, 0.4], [-0.7, 1.3]])


@pytest.fixture(scope="module")
def templates(small_library: Library):
    return make_templates(small_library, SEMI_ANGLE, THICKNESS, TILTS)


@pytest.fixture(scope="module")
def table(small_library: Library):
    return small_library.table()


def render(table, thickness, tilt, rotation, *, background=0.0, half_edge=0.45):
    """A noise-free frame as CAMERA would see it, turned by rotation."""
    row, col = (index.ravel().astype(float) for index in np.indices(SHAPE))
    k = to_angles(col, row, CAMERA._replace(rotation=rotation))
    values = pattern_at(
        k[0], k[1], table, thickness=thickness, tilt=tilt, semi_angle=SEMI_ANGLE, half_edge=half_edge
    )
    glow = 1.0 + 0.7 * np.exp(-(k**2).sum(axis=0) / (2 * (0.75 * SEMI_ANGLE) ** 2))
    return (values + background * glow).reshape(SHAPE)


def slow_chi2(image, table, thickness, tilt, camera, rotation):
    """Weighted least squares on the rings of f · turned template + radial background, over the variance.

    Both are smoothed along the rings as the fast search does it; f is not negative.
    """
    radii = ring_radii(SEMI_ANGLE)
    phi = np.deg2rad(np.arange(96) * 360 / 96)
    r, angle = (v.ravel() for v in np.meshgrid(radii, phi, indexing="ij"))
    col, row = camera[0] + camera[2] * r * np.cos(angle), camera[1] + camera[2] * r * np.sin(angle)
    i, j = np.floor(row).astype(int), np.floor(col).astype(int)
    y, x = row - i, col - j
    i, j = np.clip(i, 0, SHAPE[0] - 2), np.clip(j, 0, SHAPE[1] - 2)
    frame = (image[i, j] * (1 - x) + image[i, j + 1] * x) * (1 - y)
    frame += (image[i + 1, j] * (1 - x) + image[i + 1, j + 1] * x) * y
    turned = angle - np.deg2rad(rotation)
    pattern = pattern_at(
        r * np.cos(turned),
        r * np.sin(turned),
        table,
        thickness=thickness,
        tilt=tilt,
        semi_angle=SEMI_ANGLE,
        half_edge=0.45,
    )
    glow = [np.exp(-((r / (width * SEMI_ANGLE)) ** 2) / 2) for width in (0.75, 1.5)]
    frame, pattern = (
        np.fft.irfft(np.fft.rfft(v.reshape(-1, 96), axis=1)[:, :28], 96, axis=1).ravel()
        for v in (frame, pattern)
    )
    weight = np.sqrt(r)
    background = (np.stack([np.ones_like(r), *glow]) * weight).T

    def solve(columns):
        solution = np.linalg.lstsq(columns, frame * weight, rcond=None)[0]
        return solution, ((frame * weight - columns @ solution) ** 2).sum()

    _, most = solve(background)
    (factor, *_), least = solve(np.column_stack([pattern * weight, background]))
    return least / most if factor > 0 else 1.0


@pytest.mark.parametrize("workers", [1, 2])
def test_chi2_is_that_of_a_slow_least_squares(table, templates, workers):
    image = render(table, 30.0, (0.8, 0.5), 20.0, background=0.3)
    cameras = np.array([[35.2, 36.4, 2.1], [36.5, 35.9, 2.0], [34.0, 36.0, 2.2]])
    chi2, rotation, _ = chi2_on_rings(image, templates, cameras, workers=workers)
    assert chi2.shape == rotation.shape == (3, 6)
    for i, camera in enumerate(cameras):
        for j in range(6):
            point = templates.thickness[j], (templates.tilt_x[j], templates.tilt_y[j])
            slow = slow_chi2(image, table, *point, camera, rotation[i, j])
            assert chi2[i, j] == pytest.approx(slow, abs=6e-3)  # the peak is a parabola's
            others = [slow_chi2(image, table, *point, camera, angle) for angle in range(-180, 180, 15)]
            assert min(others) > chi2[i, j] - 6e-3


@pytest.mark.parametrize("rotation", [-170.0, -93.7, -45.0, -1.9, 0.0, 3.75, 31.4, 88.0, 180.0])
def test_a_turned_template_is_recognised(table, templates, rotation):
    """With a tilt the pattern has no rotational symmetry left: the angle is found, not just modulo 90°."""
    image = render(table, THICKNESS[1], TILTS[1], rotation)
    chi2, angle, _ = chi2_on_rings(image, templates, np.array([CAMERA[:3]]))
    best = int(np.argmin(chi2[0]))
    assert (templates.thickness[best], templates.tilt_x[best]) == (THICKNESS[1], TILTS[1, 0])
    assert chi2[0, best] < 0.02
    assert abs((angle[0, best] - rotation + 180) % 360 - 180) < 0.5


def test_a_rotation_range_is_kept(table, templates):
    image = render(table, THICKNESS[1], TILTS[1], 50.0)
    camera = np.array([CAMERA[:3]])
    free, *_ = chi2_on_rings(image, templates, camera)
    tied, angle, _ = chi2_on_rings(image, templates, camera, rotation_range=(-10.0, 10.0))
    assert (np.abs(angle) <= 10 + 360 / 96 + 2).all()
    assert (tied >= free - 1e-5).all()
    around, angle, _ = chi2_on_rings(image, templates, camera, rotation_range=(45.0, 55.0))
    assert around.min() == pytest.approx(free.min(), abs=1e-6)
    assert angle[0, around[0].argmin()] == pytest.approx(50.0, abs=0.5)


@pytest.mark.parametrize("rotation", [-130.0, 61.0, 100.0])
def test_canonical_is_the_same_pattern(table, rotation):
    x, y, angle = canonical(0.8, -0.5, rotation, 4)
    assert angle != rotation
    np.testing.assert_allclose(
        render(table, 25.0, (x, y), angle), render(table, 25.0, (0.8, -0.5), rotation), atol=1e-6
    )


@pytest.mark.parametrize("shape", [(40, 50), (1, 7), (6, 1)])
@pytest.mark.parametrize("centre", [(20.3, 25.1), (1.0, 2.0), (60.0, -5.0)])
def test_rings_are_sampled_linearly_and_the_edge_goes_on(shape, centre):
    image = np.random.default_rng(0).random(shape)
    radii, phi = np.linspace(0.5, 18, 7), np.linspace(0, 6, 11)
    col, row = (c + np.outer(radii, each) for c, each in zip(centre, (np.cos(phi), np.sin(phi)), strict=True))
    expected = ndimage.map_coordinates(image, [row, col], order=1, mode="nearest")
    assert sampled_on_rings(image, *centre, radii, np.cos(phi), np.sin(phi)) == pytest.approx(expected)
