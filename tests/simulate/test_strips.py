"""Patterns that positions share against those that are composed one by one."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.pattern.camera import Camera
from hybridfit.pattern.jit import kernel, mix_4x4
from hybridfit.simulate.frame import density, glow_at
from hybridfit.simulate.glow import glow_seen
from hybridfit.simulate.scan import simulate_scan
from hybridfit.simulate.scan_frames import Frames
from hybridfit.simulate.scan_truth import scan_truth
from hybridfit.simulate.settings import ScanSettings
from hybridfit.simulate.strip_plan import weights_between
from hybridfit.simulate.strips import Strips
from hybridfit.simulate.thinning import Axis, blur_of, samples_for

MANY = {"scan_shape": (9, 14), "frame_shape": (40, 48), "bend": 0.6, "thickness": (20.0, 22.0)}
CAMERA = {"rotation": 17.0, "ellipticity": (0.01, -0.02), "blur": 0.4}


@pytest.fixture(scope="module")
def frames(small_library):
    """frames(**changes) → the `Frames` of a scan of many positions near each other."""

    def frames(workers=1, **changes):
        scan = ScanSettings(9.0, **(MANY | CAMERA | changes))
        return Frames(small_library, scan_truth(small_library, scan), scan, workers)

    return frames


def patterns(made: Frames) -> dict[tuple[int, int], np.ndarray]:
    assert made.strips is not None
    return {at: pattern(i) for some, pattern in made._batches() for i, at in enumerate(some)}


def differences(made: Frames, every: int = 11) -> np.ndarray:
    """Of every so many patterns: the largest difference from the composed one, over its maximum."""
    found = patterns(made)
    out = []
    for y, x in sorted(found)[::every]:
        composed = made.composed(y, x)
        out.append(np.abs(found[y, x] - composed).max() / composed.max())
    return np.array(out)


def test_every_position_is_there_once(frames):
    made = frames(vacuum=0.2)
    at = [each for some, _ in made._batches() for each in some]
    assert sorted(at) == [*np.ndindex(9, 14)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"thickness": 22.0, "bend": 0.0},
        {"thickness": (30.0, 27.5), "tilt": (0.7, -0.4), "wedge_direction": 60.0},
        {"vacuum": 0.3},
        {"frame_shape": (48, 41), "centre": (22.3, 20.9), "scale": 1.4},
    ],
)
def test_they_are_the_composed_patterns(frames, changes):
    assert differences(frames(**changes)).max() < 1.8e-4


def test_whole_fine_pixels_of_descan_change_nothing(frames):
    """The points that a pattern is composed at are among those of this route then."""
    fine = 1 / density(ScanSettings(9.0, **(MANY | CAMERA)).camera.scale)
    made = frames(descan=(13 * 2 * fine, 8 * 2 * fine))  # by two from a position to the next
    assert differences(made, 5).max() < 2.5e-4


def test_between_fine_pixels_rims_are_sampled_elsewhere(frames):
    """Neither sampling is right."""
    made = frames(descan=(1.37, -0.83))
    found, worst = patterns(made), []
    for at in ((0, 0), (4, 9), (8, 13)):
        composed = made.composed(*at)
        difference = found[at] - composed
        assert np.abs(difference).max() < 0.02 * composed.max()
        worst.append(np.std(difference) / composed.max())
    assert max(worst) < 1e-3


def test_the_number_of_workers_does_not_matter(frames):
    one, two = (patterns(frames(workers, descan=(1.3, 0.4))) for workers in (1, 3))
    for at, pattern in one.items():
        np.testing.assert_array_equal(pattern, two[at])


@pytest.mark.parametrize("suffix", ["nc", "npy"])
def test_files_are_the_same_for_any_number_of_workers(small_library, tmp_path, suffix):
    for workers in (1, 2):
        path = tmp_path / f"{workers}.{suffix}"
        simulate_scan(path, small_library, 9.0, workers=workers, descan=(1.3, 0.4), **(MANY | CAMERA))
    assert (tmp_path / f"1.{suffix}").read_bytes() == (tmp_path / f"2.{suffix}").read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"scan_shape": (2, 2)},  # as many patterns would have to be made
        {"blur": 0.0},
        {"blur": 0.02},  # finer than the fine points
        {"descan": (40.0, 30.0)},  # other parts of the frame
        {"vacuum": np.ones((9, 14))},
    ],
)
def test_otherwise_patterns_are_composed_one_by_one(frames, changes):
    made = frames(**changes)
    assert made.strips is None
    at, pattern = next(iter(made._batches()))
    np.testing.assert_array_equal(pattern(0), made.composed(*at[0]))


def test_memory_is_bounded(frames, monkeypatch):
    wide = {"thickness": (10.0, 30.0), "bend": 1.2, "wedge_direction": 45.0, "scan_shape": (20, 20)}
    expected = patterns(frames(**wide))
    monkeypatch.setattr("hybridfit.simulate.strips.STRIP_BYTES", 0)
    monkeypatch.setattr("hybridfit.simulate.strip_plan.GRID_BYTES", 0)
    monkeypatch.setattr("hybridfit.simulate.strips.GRID_BYTES", 0)
    monkeypatch.setattr("hybridfit.simulate.strips.EACH", np.inf)
    small = frames(**wide)
    found = patterns(small)
    strips = small.strips
    assert isinstance(strips, Strips)
    assert len(strips._kept) <= 8 and len(strips._grids) <= 4
    for at, pattern in expected.items():
        np.testing.assert_array_equal(pattern, found[at])


def test_blur_and_binning_of_a_wave():
    """W₂ W₁ of cos(ωx): the wave, less by what blur and binning take of it, and moved."""
    sigma, s, moved = 0.8, 3, 0.37
    axis = Axis.of(24, s, sigma, (-0.5, 0.5))
    assert axis.step == samples_for(sigma) <= s
    first, weights = axis.thin
    start, along = axis.record(moved)
    omega = 1.1
    within = (np.arange(s) + 0.5) / s - 0.5
    share = np.exp(-((omega * sigma) ** 2) / 2) * np.cos(omega * within).mean()
    for phase in (0.0, 0.9):
        fine = np.cos(omega * axis.fine + phase)
        thin = (weights * fine[first[:, None] + np.arange(weights.shape[1])]).sum(axis=1)
        at = start + axis.step * np.arange(24)[:, None] + np.arange(len(along))
        expected = share * np.cos(omega * (np.arange(24) - moved) + phase)
        np.testing.assert_allclose((thin[at] * along).sum(axis=1), expected, atol=2e-5)


def test_the_blur_ends_where_that_of_a_frame_does():
    assert blur_of(0.74, 3) == pytest.approx(0.74, rel=1e-3) and blur_of(0.74, 3) < 0.74


def test_between_tilts_waves_of_the_middling_beam_are_nearly_exact():
    x = np.linspace(0, 1, 21)
    omega, nodes = np.full(x.size, 0.33), np.arange(-1, 3)
    weights, lagrange = weights_between(x, omega), weights_between(x, 0 * omega)
    np.testing.assert_allclose(weights @ np.ones(4), 1, atol=1e-14)
    np.testing.assert_allclose(weights @ nodes, x, atol=1e-14)
    np.testing.assert_allclose(lagrange @ nodes**3, x**3, atol=1e-13)
    for phase in (0.0, 0.8):
        wave = np.cos(0.33 * x + phase)
        errors = [np.abs(w @ np.cos(0.33 * nodes + phase) - wave).max() for w in (weights, lagrange)]
        assert errors[0] < 0.1 * errors[1]


def test_the_background_of_a_scan_is_that_of_a_frame():
    for camera in (Camera(60.2, 70.1, 3.1, 14.0, 0.02, -0.01), Camera(900.0, -300.0, 0.4, -70.0, 0, 0)):
        found = glow_seen((61, 150), camera, 13.6)
        np.testing.assert_allclose(found, glow_at(13.6, (61, 150), camera), rtol=1e-12)


def test_images_at_grid_points_are_mixed_like_matrices():
    @kernel
    def mixed(out, source, weight, factor, add):
        mix_4x4(out, 8, source, (0, 16, 40, 64), 100, weight, 3, factor, add)

    rng = np.random.default_rng(2)
    source, weight = rng.normal(size=500).astype("f4"), rng.normal(size=30).astype("f4")
    out = np.ones(24, np.float32)
    parts = [
        weight[3 + 4 * i + j] * source[s + 100 * i :][:8]
        for i in range(4)
        for j, s in enumerate((0, 16, 40, 64))
    ]
    mixed(out, source, weight, np.float32(0.7), 0)
    np.testing.assert_allclose(out[8:16], 0.7 * np.sum(parts, axis=0), atol=1e-5)
    mixed(out, source, weight, np.float32(-0.3), 1)
    np.testing.assert_allclose(out[8:16], 0.4 * np.sum(parts, axis=0), atol=1e-5)
    assert (out[:8] == 1).all() and (out[16:] == 1).all()
