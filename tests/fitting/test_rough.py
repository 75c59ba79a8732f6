"""The direct disc, found in frames of bare apertures and of crystals."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.fitting.rough import rough_discs


def everywhere(image):
    return np.ones(image.shape, bool)


@pytest.mark.parametrize(
    ("shape", "centre", "radius"),
    [
        ((64, 64), (31.5, 31.5), 20.0),
        ((128, 128), (70.3, 58.8), 31.0),
        ((128, 128), (50.0, 64.0), 45.0),
        ((300, 200), (95.2, 170.6), 61.0),
        ((512, 512), (262.0, 250.0), 110.0),
    ],
)
def test_a_bare_aperture(disc, shape, centre, radius):
    image = np.random.default_rng(0).poisson(200 * disc(shape, centre, radius) + 10).astype(float)
    found = rough_discs(image, everywhere(image))[0]
    assert np.hypot(found.centre_x - centre[0], found.centre_y - centre[1]) < 0.02 * radius
    assert found.radius == pytest.approx(radius, rel=0.02)
    assert 0.7 < found.sharpness < 1.3


@pytest.mark.parametrize("share", [0.4, 0.55, 0.7, 0.8])
def test_a_crystal_has_its_disc_among_the_candidates(simulate, share):
    """share: diameter of the direct disc over the side of the frame."""
    rng = np.random.default_rng(int(100 * share))
    for seed in range(4):
        image, truth = simulate(
            thickness=rng.uniform(3, 58),
            tilt=tuple(rng.uniform(-2, 2, 2)),
            rotation=rng.uniform(-45, 45),
            scale=96 * share / 18.0,
            centre=tuple(47.5 + rng.uniform(-0.07, 0.07, 2) * 96),
            seed=seed,
        )
        discs = rough_discs(image.astype(float), everywhere(image))
        assert 1 <= len(discs) <= 8
        assert any(
            np.hypot(d.centre_x - truth["centre_x"], d.centre_y - truth["centre_y"]) < 0.6 * truth["scale"]
            and abs(d.radius / (9 * truth["scale"]) - 1) < 0.06
            for d in discs
        ), (truth, discs)


def test_masked_pixels_have_no_say(disc):
    image = 100 * disc((96, 96), (44.0, 50.0), 25.0) + 5
    valid = everywhere(image)
    valid[20:24], valid[:, 70:74] = False, False
    answers = []
    for garbage in (0.0, 1e9, np.nan):
        answers.append(rough_discs(np.where(valid, image, garbage), valid)[0])
    assert answers[0] == answers[1] == answers[2]
    assert answers[0].radius == pytest.approx(25.0, rel=0.03)


def test_noise_has_no_rim(disc):
    rng = np.random.default_rng(3)
    aperture = rng.poisson(100 * disc((96, 96), (48.0, 48.0), 25.0) + 10).astype(float)
    noise = rng.poisson(100, (96, 96)).astype(float)
    sharpest = [
        max(d.sharpness for d in rough_discs(image, everywhere(image))) for image in (aperture, noise)
    ]
    assert sharpest[1] < 0.3 * sharpest[0]


def test_a_single_bright_pixel_is_no_disc():
    image = np.zeros((64, 64))
    image[20, 30] = 1.0
    with pytest.raises(InputError, match="no direct disc.*hints"):
        rough_discs(image, everywhere(image))
