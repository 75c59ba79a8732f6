"""Seeding: passes until nothing changes, candidates with probabilities, tilt in the crystal frame."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import Oracle, said

from hybridfit import Hints, make_frame
from hybridfit.fitting.seed.disc import bright_edge, quick_disc
from hybridfit.fitting.seed.network import Seeder
from hybridfit.fitting.seed.settings import SEED

SEMI_ANGLE = 9.0


@pytest.fixture
def frame(simulate):
    return make_frame(simulate(centre=(52.0, 44.5))[0])


def seeder(library, *answers, **options):
    return Seeder(Oracle(*answers), library, SEMI_ANGLE, **options)


def test_the_camera_is_moved_and_scaled_as_the_network_says(small_library, frame):
    x, y, radius = quick_disc(frame.image, frame.valid)
    scale = radius / SEMI_ANGLE
    seed = seeder(small_library, said(moves=(1.5, -0.5), size=0.1), said()).seed(frame)
    best = seed.candidates[0]
    assert (best.centre_x, best.centre_y) == pytest.approx((x + 1.5 * scale, y - 0.5 * scale))
    assert best.scale == pytest.approx(scale * np.exp(0.1))
    assert seed.passes == 2 and seed.moved == 0


def test_it_ends_when_it_never_settles(small_library, frame):
    seed = seeder(small_library, said(moves=(0.5, 0))).seed(frame)
    assert seed.passes == SEED.passes and seed.moved == pytest.approx(0.5)


def test_hints_hold_centre_and_scale(small_library, frame):
    hints = Hints(centre=(50.0, 45.0), scale=2.5)
    best = seeder(small_library, said(moves=(1.5, -0.5), size=0.1), hints=hints).seed(frame).candidates[0]
    assert (best.centre_x, best.centre_y, best.scale) == (50.0, 45.0, 2.5)


@pytest.mark.parametrize("rotation", [0.0, 30.0, -41.0])
def test_the_tilt_is_turned_into_the_crystal_frame(small_library, frame, rotation):
    best = seeder(small_library, said(tilt=(1.0, 0.5), rotation=rotation)).seed(frame).candidates[0]
    angle = np.deg2rad(best.rotation)
    c, s = np.cos(angle), np.sin(angle)
    seen = c * best.tilt_x - s * best.tilt_y, s * best.tilt_x + c * best.tilt_y
    assert seen == pytest.approx((1.0, 0.5), abs=1e-6) and best.rotation == pytest.approx(rotation)


def test_peaks_become_candidates_with_their_probabilities(small_library, frame):
    seed = seeder(small_library, said(thickness=20.0, others=[41.5], doubt=0.3)).seed(frame)
    first, second = seed.candidates
    assert (first.thickness, second.thickness) == pytest.approx((20.0, 41.5), abs=0.01)
    assert (first.probability, second.probability) == pytest.approx((0.7, 0.3), abs=0.01)
    assert seed.confidence[0] == pytest.approx(0.7, abs=0.01) and seed.confidence[1] == pytest.approx(1)


def test_values_between_classes(small_library, frame):
    best = seeder(small_library, said(thickness=20.3, tilt=(0.7, -1.2))).seed(frame).candidates[0]
    assert best.thickness == pytest.approx(20.3, abs=1e-4)
    assert best.tilt == pytest.approx((0.7, -1.2), abs=1e-4)


def test_tilts_beyond_the_library_are_drawn_in(small_library, frame):
    limit = small_library.tilt_max + small_library.semi_angle_max - SEMI_ANGLE
    at_limit = Seeder(Oracle(said(tilt=(4.0, 4.0))), small_library, 14.0).seed(frame)
    assert np.hypot(*at_limit.candidates[0].tilt) <= small_library.tilt_max + 1e-9 < limit


def test_many_frames_are_seeded_as_one_by_one(small_library, simulate):
    frames = [make_frame(simulate(centre=(45.0 + i, 47.0), seed=i)[0]) for i in range(5)]
    together = seeder(small_library, said()).seed_many(frames)
    for frame, seed in zip(frames, together, strict=True):
        assert seeder(small_library, said()).seed(frame).candidates == seed.candidates


def test_the_background_per_nm_is_subtracted(small_library, frame):
    seen = []

    class Watching(Oracle):
        def predict(self, crops, semi_angles):
            seen.append(crops[:, 0].max())
            return super().predict(crops, semi_angles)

    network = Watching(said(thickness=50.0, size=0.02), said(thickness=50.0))
    Seeder(network, small_library, SEMI_ANGLE, background="uniform-per-nm").seed(frame)
    bare, *subtracted = seen
    assert subtracted == pytest.approx(2 * [bare - 0.4 / 255 * 50 * frame.image.max()], rel=0.05)


# ---------------------------------------------------------------- what is bright


def test_a_quick_disc_is_good_enough_for_the_network(simulate):
    for seed, (thickness, x) in enumerate([(10.0, 40.0), (25.0, 52.0), (45.0, 47.0), (55.0, 56.0)]):
        image, truth = simulate(thickness=thickness, centre=(x, 48.0), seed=seed, electrons=1e5)
        found = quick_disc(image, np.ones(image.shape, bool))
        off = np.hypot(found[0] - truth["centre_x"], found[1] - truth["centre_y"]) / truth["scale"]
        assert off < 3.5
        assert 0.7 < found[2] / (SEMI_ANGLE * truth["scale"]) < 1.35


def test_a_bright_edge_is_seen_only_where_the_disc_is_cut(disc):
    valid = np.ones((96, 96), bool)
    rng = np.random.default_rng(0)
    whole, cut = (rng.poisson(50 * disc((96, 96), centre, 25) + 3) for centre in ((48, 48), (8, 48)))
    assert bright_edge(whole, valid) == 0
    assert bright_edge(cut, valid) > 0.6
    assert bright_edge(rng.poisson(100, (96, 96)), valid) == 0
