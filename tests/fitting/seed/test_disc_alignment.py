"""Alignment of frames by the shipped network: small frames of a small library, hints, masks, and doubt."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.seed.alignment import Aligner
from hybridfit.fitting.seed.settings import SEED
from hybridfit.frame import Frame, make_frame
from hybridfit.network.alignment.network import Discs
from hybridfit.network.rim.posterior import Circles
from hybridfit.network.rim.shape import SHIFT, SIZE
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


class Rims:
    """A rim network that leaves discs where they are, beside the crop; of a width, and with a probability."""

    def __init__(self, sigma: float = 0.003, there: float = 1.0) -> None:
        self.sigma, self.there, self.seen = sigma, there, []

    def predict(self, crops, threads=None, reach=()) -> Circles:
        n = len(crops)
        self.seen.append(reach)
        width = np.full(n, self.sigma)
        back = -np.array(SEED.alignment.beside) if reach[0] else np.zeros(2)
        there = np.full(n, self.there)
        return Circles(
            np.tile(back, (n, 1)), np.zeros(n), np.full((n, 2), self.sigma), width, there, np.ones(n)
        )


class Told:
    """A network that names two discs in the frame, and is sure of the second when it sees them from near."""

    def predict(self, crops, threads=None) -> Discs:
        n = len(crops)
        if n == 1 and not hasattr(self, "seen"):
            self.seen = True
            centre = np.array([[[0.3, 0.0], [-0.3, 0.0]]])
            return Discs(np.array([[0.6, 0.4]]), centre, np.full((1, 2), -0.5), *np.full((2, 1, 2), 0.2))
        sigma = np.full((n, 2), 0.005)
        if n == 2:
            sigma[0] = 0.1
        return Discs(np.tile([0.9, 0.1], (n, 1)), np.zeros((n, 2, 2)), np.zeros((n, 2)), sigma, sigma)


def test_the_disc_that_the_network_is_surest_of_from_near_is_taken():
    found = Aligner(Told(), Rims(), 10.0).discs(Frame(np.ones((73, 73)), np.ones((73, 73), bool), "two"))
    assert len(found) == 1 and found[0].sure
    assert found[0].centre_x == pytest.approx(36 - 0.3 * 36.5 / 1.8)


def test_a_rim_that_is_not_there_leaves_doubt():
    frame = Frame(np.ones((73, 73)), np.ones((73, 73), bool), "two")
    (found, *_) = Aligner(Told(), Rims(there=0.01), 10.0).discs(frame)
    assert not found.sure and found.doubt > 0.1


def test_what_hints_know_is_not_measured():
    for hints, reach in (
        (Hints(centre=(36.0, 36.0)), (0.0, 0.0, SIZE)),
        (Hints(scale=1.0), (SHIFT, SHIFT, 0.0)),
    ):
        rims = Rims()
        Aligner(Told(), rims, 10.0, hints=hints).discs(
            Frame(np.ones((73, 73)), np.ones((73, 73), bool), "two")
        )
        assert set(rims.seen) == {reach}


class Landmarks(Aligner):
    """Takes every crop to one of some discs (column, row, radius, σ of its rim): which, `choose` says.

    What stands for a crop is its disc.
    """

    def __init__(self, discs, choose, **options) -> None:
        super().__init__(self, self.Rims(self), 10.0, **options)
        self.discs_there, self.choose, self.seen = discs, choose, []

    class Rims:
        """Discs stay where they are, with the σ of theirs."""

        def __init__(self, landmarks) -> None:
            self.landmarks, self.count = landmarks, 0

        def predict(self, crops, threads=None, reach=()) -> Circles:
            n = len(crops)
            self.count += n
            at = crops[:, :, 0, 0]
            of = self.landmarks
            sigma = np.array([of.discs_there[of.choose(each)][3] for each in at])
            back = np.tile(-np.array(SEED.alignment.beside) if reach[0] else np.zeros(2), (n, 1))
            return Circles(back, np.zeros(n), np.tile(sigma[:, None], (1, 2)), sigma, *np.ones((2, n)))

    @staticmethod
    def _crops(frame, discs, grid=None):
        return np.asarray(discs)[:, :, None, None]

    def predict(self, crops, threads=None) -> Discs:
        at = crops[:, :, 0, 0]
        self.seen.append(at)
        to = np.array([self.discs_there[self.choose(each)] for each in at])
        centre = (to[:, :2] - at[:, :2]) / at[:, 2:]
        size, sigma = np.log(to[:, 2] / at[:, 2]), to[:, 3:]
        return Discs(np.ones((len(at), 1)), centre[:, None], size[:, None], sigma, sigma)


FRAME = Frame(np.ones((73, 73)), np.ones((73, 73), bool), "landmarks")
FAR, NEAR = (44.0, 36.0, 30.0), (30.0, 30.0, 12.0)


def by_size(disc) -> int:
    return 0 if disc[2] > 17 else 1


def test_another_start_may_show_a_surer_disc():
    doubted = Landmarks([(*FAR, 0.02), (*NEAR, 0.004)], by_size).discs(FRAME)
    assert len(doubted) == 1 and doubted[0].sure and doubted[0].camera == pytest.approx((30, 30, 1.2))
    both = Landmarks([(*FAR, 0.02), (*NEAR, 0.019)], by_size).discs(FRAME)
    assert [each.camera for each in both] == [pytest.approx((30, 30, 1.2)), pytest.approx((44, 36, 3.0))]
    assert not any(each.sure for each in both)


def test_a_sure_disc_takes_no_other_start():
    aligner = Landmarks([(*FAR, 0.004), (*NEAR, 0.001)], by_size)
    (found,) = aligner.discs(FRAME)
    assert found.sure and found.camera == pytest.approx((44, 36, 3.0))
    assert sum(len(at) for at in aligner.seen) <= 3 and aligner.rim.count == 1  # frame and disc; its rim


def test_further_discs_are_those_that_several_starts_lead_to():
    once = []

    def choose(disc) -> int:
        if not once:
            once.append(disc)
        return 2 if np.allclose(disc, once[0]) or abs(disc[2] - 20) < 1 else by_size(disc)

    discs = [(*FAR, 0.02), (*NEAR, 0.03), (60.0, 60.0, 20.0, 0.01)]
    found = Landmarks(discs, choose).further(FRAME)
    assert [each.camera for each in found] == [pytest.approx((30, 30, 1.2))]
    tried = [(30.1, 30.0, 1.21)]
    once.clear()
    assert Landmarks(discs, choose).further(FRAME, tried) == []


def test_hints_leave_nothing_further():
    hints = Hints(centre=(36.0, 36.0), scale=1.0)
    assert Landmarks([(*FAR, 0.02)], lambda _: 0, hints=hints).further(FRAME) == []
    masked = Frame(np.ones((40, 40)), np.zeros((40, 40), bool), "masked")
    assert Landmarks([(*FAR, 0.02)], lambda _: 0).further(masked) == []


def test_a_known_centre_is_where_all_starts_are():
    aligner = Landmarks([(*FAR, 0.02)], lambda _: 0, hints=Hints(centre=(40.0, 30.0)))
    assert aligner.align(FRAME).camera[:2] == (40.0, 30.0)
    aligner.further(FRAME)
    assert all((at[:, :2] == (40.0, 30.0)).all() for at in aligner.seen)
