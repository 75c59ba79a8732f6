"""Alignment of frames by the shipped network: small frames of a small library, hints, masks, and doubt."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.seed.alignment import Aligner
from hybridfit.frame import Frame, make_frame
from hybridfit.network.alignment.network import Discs
from hybridfit.simulate.frame import simulate_frame

ALPHA = 9.0
CASES = [
    {"shape": (64, 64), "centre": (30.0, 34.0), "scale": 1.4, "thickness": 12.0, "tilt": (0.6, -0.9)},
    {"shape": (40, 40), "centre": (21.0, 18.0), "scale": 0.9, "thickness": 8.0, "tilt": (0.0, 0.4)},
    {"shape": (180, 220), "centre": (100.0, 96.0), "scale": 3.2, "thickness": 20.0, "tilt": (-1.1, 0.3)},
]


@pytest.fixture(scope="module")
def framed(small_library):
    return [
        simulate_frame(small_library, semi_angle=ALPHA, rotation=25.0, electrons=1e7, seed=i, **case)
        for i, case in enumerate(CASES)
    ]


def off(found, truth) -> float:
    """Errors of centre and scale together, of the radius."""
    radius = truth["scale"] * ALPHA
    away = np.hypot(found.centre_x - truth["centre_x"], found.centre_y - truth["centre_y"]) / radius
    return float(max(away, abs(found.scale / truth["scale"] - 1)))


@pytest.mark.parametrize("i", range(len(CASES)))
def test_discs_of_simulated_frames(framed, i):
    image, truth = framed[i]
    found = Aligner.shipped(ALPHA).align(make_frame(image))
    assert off(found, truth) < 0.03 and found.sure


def test_turned_and_mirrored_frames_have_their_disc_there(framed):
    image, _ = framed[0]
    aligner = Aligner.shipped(ALPHA)
    plain, turned = aligner.align(make_frame(image)), aligner.align(make_frame(np.rot90(image).copy()))
    rows = image.shape[0]
    assert turned.scale == pytest.approx(plain.scale, rel=0.01)
    assert (turned.centre_x, turned.centre_y) == pytest.approx(
        (plain.centre_y, rows - 1 - plain.centre_x), abs=0.02 * plain.scale * ALPHA
    )


def test_what_hints_know_stays(framed):
    image, truth = framed[0]
    frame = make_frame(image)
    centre, scale = (truth["centre_x"], truth["centre_y"]), truth["scale"]
    found = Aligner.shipped(ALPHA, hints=Hints(centre=centre)).align(frame)
    assert (found.centre_x, found.centre_y) == centre and off(found, truth) < 0.03
    found = Aligner.shipped(ALPHA, hints=Hints(scale=scale)).align(frame)
    assert found.scale == scale and off(found, truth) < 0.03
    found = Aligner.shipped(ALPHA, hints=Hints(centre=centre, scale=scale)).align(frame)
    assert found == (*centre, scale, 0.0, True)


def test_a_gap_between_chips_does_not_move_the_disc(framed):
    image, truth = framed[2]
    valid = np.ones(image.shape, bool)
    valid[88:92] = valid[:, 108:112] = False
    found = Aligner.shipped(ALPHA).align(Frame(np.where(valid, image, 0), valid, "gap"))
    assert off(found, truth) < 0.03


def test_noise_is_in_doubt():
    image = np.random.default_rng(0).poisson(3.0, (96, 96)).astype(float)
    found = Aligner.shipped(ALPHA).align(make_frame(image))
    assert not found.sure


def test_nothing_can_be_aligned_without_pixels():
    frame = Frame(np.ones((40, 40)), np.zeros((40, 40), bool), "masked")
    with pytest.raises(InputError, match="every pixel of the frame is masked"):
        Aligner.shipped(ALPHA).align(frame)


class Told:
    """A network that names two discs in the frame, and is sure of the second when it sees them from near."""

    def predict(self, crops, threads=None) -> Discs:
        n = len(crops)
        if n == 1 and not hasattr(self, "seen"):
            self.seen = True
            centre = np.array([[[0.3, 0.0], [-0.3, 0.0]]])
            return Discs(np.array([[0.6, 0.4]]), centre, np.full((1, 2), -0.5), *np.full((2, 1, 2), 0.2))
        sigma = np.full((n, 2), 0.01)
        if n == 2:
            sigma[0] = 0.1
        return Discs(np.tile([0.9, 0.1], (n, 1)), np.zeros((n, 2, 2)), np.zeros((n, 2)), sigma, sigma)


def test_the_disc_that_the_network_is_surest_of_from_near_is_taken():
    found = Aligner(Told(), 10.0).discs(Frame(np.ones((73, 73)), np.ones((73, 73), bool), "two"))
    assert len(found) == 1 and found[0].sure
    assert found[0].centre_x == pytest.approx(36 - 0.3 * 36.5 / 1.8)
