"""The ring search against one that turns the template and solves for the background, angle by angle."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Fitter, Hints
from hybridfit.fitting.candidates import Candidate, canonical, tilt_distance
from hybridfit.fitting.search.full import match
from hybridfit.fitting.search.templates import make_templates, ring_radii, tilt_grid
from hybridfit.library.library import Library
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.compose import pattern_at

SEMI_ANGLE = 9.0
SHAPE = (72, 72)
CAMERA = Camera(35.2, 36.4, 2.1, 0.0)
THICKNESS = np.array([12.0, 31.0])
TILTS = np.array([[0.0, 0.0], [1.1, 0.4], [-0.7, 1.3]])
EVERYWHERE = np.ones(SHAPE, bool)


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
    chi2, rotation = match(image, EVERYWHERE, templates, cameras, workers=workers)
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
    chi2, angle = match(image, EVERYWHERE, templates, np.array([CAMERA[:3]]))
    best = int(np.argmin(chi2[0]))
    assert (templates.thickness[best], templates.tilt_x[best]) == (THICKNESS[1], TILTS[1, 0])
    assert chi2[0, best] < 0.02
    assert abs((angle[0, best] - rotation + 180) % 360 - 180) < 0.5


def test_a_rotation_range_is_kept(table, templates):
    image = render(table, THICKNESS[1], TILTS[1], 50.0)
    camera = np.array([CAMERA[:3]])
    free, _ = match(image, EVERYWHERE, templates, camera)
    tied, angle = match(image, EVERYWHERE, templates, camera, rotation_range=(-10.0, 10.0))
    assert (np.abs(angle) <= 10 + 360 / 96 + 2).all()
    assert (tied >= free - 1e-5).all()
    around, angle = match(image, EVERYWHERE, templates, camera, rotation_range=(45.0, 55.0))
    assert around.min() == pytest.approx(free.min(), abs=1e-6)
    assert angle[0, around[0].argmin()] == pytest.approx(50.0, abs=0.5)


@pytest.mark.parametrize("garbage", [0.0, 1e6])
def test_what_lies_under_a_mask_has_no_say(table, templates, garbage):
    image = render(table, THICKNESS[1], TILTS[1], 50.0)
    valid = EVERYWHERE.copy()
    valid[30:40, 22:31] = False
    camera = np.array([CAMERA[:3]])
    chi2, angle = match(np.where(valid, image, garbage), valid, templates, camera)
    expected, expected_angle = match(np.where(valid, image, 0.5), valid, templates, camera)
    np.testing.assert_array_equal(chi2, expected)
    np.testing.assert_array_equal(angle, expected_angle)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_canonical_keeps_the_tilt_in_the_laboratory(order):
    rng = np.random.default_rng(order)
    for rotation in (*rng.uniform(-400, 400, 30), -180.0, -180 / order, 0.0, 180 / order, 180.0):
        x, y = rng.normal(size=2)
        new_x, new_y, angle = canonical(x, y, rotation, order)
        assert -180 / order - 1e-9 < angle <= 180 / order + 1e-9
        turn = (rotation - angle) * order / 360
        assert turn == pytest.approx(round(turn), abs=1e-9)
        before = complex(x, y) * np.exp(1j * np.deg2rad(rotation))
        assert complex(new_x, new_y) * np.exp(1j * np.deg2rad(angle)) == pytest.approx(before, abs=1e-9)
        assert tilt_distance((x, y), (new_x, new_y), order) < 1e-9


@pytest.mark.parametrize("rotation", [-130.0, 61.0, 100.0])
def test_canonical_is_the_same_pattern(table, rotation):
    x, y, angle = canonical(0.8, -0.5, rotation, 4)
    assert angle != rotation
    np.testing.assert_allclose(
        render(table, 25.0, (x, y), angle), render(table, 25.0, (0.8, -0.5), rotation), atol=1e-6
    )


def test_the_tilt_grid_covers_every_tilt():
    rng = np.random.default_rng(0)
    radius, angle = 3.0 * np.sqrt(rng.random(300)), rng.uniform(0, 2 * np.pi, 300)
    for order in (1, 2, 4, 6):
        grid = tilt_grid(3.0, order)
        assert np.hypot(*grid.T).max() <= 3.0 + 1e-9
        for x, y in zip(radius * np.cos(angle), radius * np.sin(angle), strict=True):
            assert min(tilt_distance((x, y), tuple(point), order) for point in grid) < 0.45


@pytest.mark.parametrize(
    ("thickness", "tilt", "rotation", "scale"),
    [(14.3, (-1.6, 0.7), 33.0, 2.6), (33.5, (0.1, 0.0), -21.0, 2.9), (52.8, (1.2, 1.9), 5.0, 2.2)],
)
def test_the_whole_library_is_searched(fitter, simulate, thickness, tilt, rotation, scale):
    image, _ = simulate(thickness=thickness, tilt=tilt, rotation=rotation, scale=scale, centre=(49.1, 45.7))
    found, curve = fitter.search(image)
    assert any(is_near(c, thickness, tilt) for c in found[:5])
    assert [c.chi2 for c in found] == sorted(c.chi2 for c in found)
    for i, a in enumerate(found):
        for b in found[:i]:
            apart = tilt_distance((a.tilt_x, a.tilt_y), (b.tilt_x, b.tilt_y), 4)
            assert apart >= 1 or abs(a.thickness - b.thickness) >= 4
    assert curve[1].min() == pytest.approx(found[0].chi2)
    assert curve[0, curve[1].argmin()] == found[0].thickness
    assert (curve[0, 0], np.ptp(np.diff(curve[0]))) == (1.0, 0.0)


@pytest.mark.parametrize(("thickness", "tilt"), [(9.4, (1.0, 0.2)), (41.7, (-2.2, -1.8))])
def test_a_window_is_searched(small_library, simulate, thickness, tilt):
    image, truth = simulate(thickness=thickness, tilt=tilt)
    hints = Hints(
        thickness=thickness + 2.4, tilt=(tilt[0] - 0.7, tilt[1] + 0.4), rotation=truth["rotation"] - 3
    )
    windowed = Fitter(small_library, SEMI_ANGLE, hints=hints, workers=2)
    found, _ = windowed.search(image)
    assert is_near(found[0], thickness, tilt, 0.8)
    assert abs(found[0].rotation - truth["rotation"]) < 3
    assert np.ptp(windowed.templates().thickness) <= 6


def is_near(candidate: Candidate, thickness, tilt, radius=0.6) -> bool:
    """In the neighbourhood that the refinement needs, nm and mrad."""
    apart = tilt_distance((candidate.tilt_x, candidate.tilt_y), tilt, 4)
    return abs(candidate.thickness - thickness) <= 2 and apart <= radius


def test_templates_come_back_from_the_cache(small_library, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(tmp_path))
    window = small_library.window(20.0)
    made = Fitter(window, SEMI_ANGLE, workers=1).templates()
    (file,) = tmp_path.glob("rings-*.npy")
    again = Fitter(window, SEMI_ANGLE, workers=1).templates()
    np.testing.assert_array_equal(again.series, made.series)
    np.testing.assert_array_equal(again.tilt_y, made.tilt_y)
    file.write_bytes(file.read_bytes()[:1000])
    rebuilt = Fitter(window, SEMI_ANGLE, workers=2).templates()
    np.testing.assert_array_equal(rebuilt.series, made.series)


def test_windows_of_one_library_share_no_templates(small_library, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(tmp_path))
    thin = Fitter(small_library.window(20.0), SEMI_ANGLE, workers=1).templates()
    thick = Fitter(small_library.window(40.0), SEMI_ANGLE, workers=1).templates()
    assert thin.thickness[0] != thick.thickness[0]
    assert np.abs(thin.series - thick.series).max() > 0.01
