"""Frames and numbers that cannot be right: an InputError or an answer, and nothing else."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle import Oracle, said

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.seed.alignment import Aligner
from hybridfit.fitting.seed.disc import bright_edge, quick_disc, rough_discs
from hybridfit.fitting.seed.network import Seeder
from hybridfit.frame import Frame
from hybridfit.network.alignment.network import Discs
from hybridfit.network.crop import crops
from hybridfit.network.rim.network import RimNetwork

SIZES = (1, 2, 3, 5, 33, 64, 150, 400)
KINDS = ("constant", "zero", "noise", "huge", "tiny", "negative", "one pixel", "half", "step", "counts")


def make(kind: str, shape: tuple[int, int], seed: int) -> np.ndarray:
    """A frame of a kind."""
    rng = np.random.default_rng(seed)
    image = rng.random(shape)
    if kind in ("constant", "zero"):
        image[:] = 7.0 if kind == "constant" else 0.0
    elif kind == "huge":
        image *= 1e300
    elif kind == "tiny":
        image *= 1e-300
    elif kind == "negative":
        image -= 5.0
    elif kind == "one pixel":
        image[:] = 0
        image[tuple(rng.integers(0, n) for n in shape)] = 1e6
    elif kind == "half":
        image[:, : shape[1] // 2] = 100.0
    elif kind == "step":
        image[: shape[0] // 3] += 1e4
    elif kind == "counts":
        return rng.poisson(0.01, shape).astype(float)
    return image


def mask(share: float, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Valid pixels: none, one, or a share of them."""
    valid = np.random.default_rng(seed + 1).random(shape) < share
    if share < 0:
        valid[0, 0] = True
    return valid


frames = st.builds(
    lambda kind, rows, cols, share, seed: (make(kind, (rows, cols), seed), mask(share, (rows, cols), seed)),
    st.sampled_from(KINDS),
    st.sampled_from(SIZES),
    st.sampled_from(SIZES),
    st.sampled_from([1.0, 1.0, 0.5, 0.01, -1.0, 0.0]),
    st.integers(0, 99),
)
quick = settings(derandomize=True, deadline=None, database=None, max_examples=50)


@quick
@given(frames)
@example((np.ones((64, 64)), np.zeros((64, 64), bool)))
@example((np.ones((1, 1)), np.ones((1, 1), bool)))
@example((np.ones((1, 400)), np.ones((1, 400), bool)))
def test_discs_of_absurd_frames(frame):
    image, valid = frame
    for find in (rough_discs, quick_disc, bright_edge):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # overflow of the largest numbers
                found = find(image, valid)
        except InputError as error:
            assert "\n" not in str(error)
            continue
        assert np.isfinite(np.array(found, float)).all()


@pytest.fixture(scope="module")
def network():
    class Anywhere(Oracle):
        class origin:
            semi_angle = (8.0, 14.0)

    return Anywhere(said(moves=(3.0, -3.0), size=0.6), said(moves=(-9.0, 1.0), size=-2.0), said())


class Wild:
    """An alignment network that says anything."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)

    def predict(self, crops, threads=None) -> Discs:
        n = len(crops)
        odds = self.rng.dirichlet((0.3, 0.3), n)
        return Discs(
            -np.sort(-odds, axis=1),
            self.rng.normal(0, 2, (n, 2, 2)),
            self.rng.normal(0, 2, (n, 2)),
            *self.rng.uniform(0.002, 2, (2, n, 2)),
        )


RIM = RimNetwork.shipped()
ANGLES = (1e-308, 1e-10, 1e-3, 0.0136, 13.6, 1e6, 1e300, 0.0, -3.0, float("nan"), float("inf"))


@quick
@given(frame=frames, semi_angle=st.sampled_from(ANGLES), hinted=st.booleans())
def test_alignment_of_absurd_frames(frame, semi_angle, hinted):
    image, valid = frame
    hints = Hints(centre=(3.0, 1.0)) if hinted else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            found = Aligner(Wild(), RimNetwork.shipped(), semi_angle, hints=hints).align(
                Frame(image, valid, "absurd")
            )
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert found.doubt >= 0 and found.scale > 0


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1e3, 1e11])
def test_seeds_of_absurd_scales(network, small_library, scale):
    image = make("noise", (64, 48), 0)
    hints = Hints(scale=scale)
    seed = Seeder(network, small_library, 9.0, hints=hints).seed(Frame(image, image > 0, "absurd"))
    assert seed.candidates[0].scale == scale


@pytest.mark.parametrize(
    "camera", [(np.nan, 3.0, 1.0), (3.0, np.inf, 1.0), (3.0, 3.0, 0.0), (3.0, 3.0, np.nan)]
)
def test_crops_of_what_is_no_camera(camera):
    x, y, scale = camera
    with pytest.raises(InputError, match="a crop cannot be cut"):
        crops(np.ones((40, 40)), np.ones((40, 40), bool), [(x, y)], [scale])


@pytest.mark.parametrize("scale", [1.3, 40.0, 75.0, 1e5])
def test_wide_crop_pixels_are_means_of_what_they_cover(scale):
    rng = np.random.default_rng(0)
    image, x, y = rng.random((50, 40)), 21.3, 17.9
    valid = rng.random(image.shape) < 0.9
    crop, share = crops(image, valid, [(x, y)], [scale])[0]
    at, half = np.arange(-39.5, 40) * 0.65 * scale, max(0.65 * scale, 1.0) / 2

    def overlap(centre, size):
        edges = np.arange(size) - 0.5
        low, high = centre + at[:, None] - half, centre + at[:, None] + half
        return np.clip(np.minimum(edges + 1, high) - np.maximum(edges, low), 0, None) / (2 * half)

    rows, cols = overlap(y, 50), overlap(x, 40)
    weight = rows @ valid @ cols.T
    expected = np.where(weight > 0.05, rows @ (image * valid) @ cols.T / np.maximum(weight, 1e-12), 0)
    np.testing.assert_allclose(crop, expected, atol=2e-5)
    np.testing.assert_allclose(share, np.where(weight > 0.05, weight, 0), atol=2e-5)
