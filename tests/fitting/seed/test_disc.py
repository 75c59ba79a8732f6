"""The direct disc, found in frames of bare apertures and of crystals."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.fitting.seed.disc import rough_discs


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
    assert 0.5 < found.sharpness < 1.2


def test_a_crystal_has_its_disc_among_the_candidates(simulate):
    """Discs that overlap by a tenth, and fill 0.4 to 0.8 of the frame; one in twelve may be missed."""
    rng = np.random.default_rng(0)
    missed = 0
    for seed, share in enumerate(np.linspace(0.4, 0.8, 108)):
        image, truth = simulate(
            thickness=rng.uniform(3, 58),
            tilt=tuple(rng.uniform(-2, 2, 2)),
            semi_angle=7.0,
            rotation=rng.uniform(-45, 45),
            scale=96 * share / 14.0,
            centre=tuple(47.5 + rng.uniform(-0.07, 0.07, 2) * 96),
            seed=seed,
        )
        discs = rough_discs(image.astype(float), everywhere(image))
        assert 1 <= len(discs) <= 8
        missed += not any(
            np.hypot(d.centre_x - truth["centre_x"], d.centre_y - truth["centre_y"]) < 0.6 * truth["scale"]
            and abs(d.radius / (7 * truth["scale"]) - 1) < 0.06
            for d in discs
        )
    assert missed <= 9


def test_no_more_candidates_than_asked_for(simulate):
    image, _ = simulate()
    discs = rough_discs(image.astype(float), everywhere(image), most=3)
    assert discs == rough_discs(image.astype(float), everywhere(image))[:3]


@pytest.mark.parametrize("where", ["lines", "border"])
def test_masked_pixels_have_no_say(disc, where):
    image = 100 * disc((96, 96), (44.0, 50.0), 25.0) + 5
    valid = everywhere(image)
    if where == "lines":
        valid[20:24], valid[:, 70:74] = False, False
    else:
        valid[:2] = valid[-2:] = False
        valid[:, :2] = valid[:, -2:] = False
    answers = [rough_discs(np.where(valid, image, garbage), valid)[0] for garbage in (0.0, 1e3, 1e9)]
    for answer in answers:
        np.testing.assert_allclose(answer[:3], (44.0, 50.0, 25.0), atol=0.5)
        np.testing.assert_allclose(answer[:3], answers[0][:3], atol=0.05)


def test_a_single_bright_pixel_is_no_disc():
    image = np.zeros((64, 64))
    image[20, 30] = 1.0
    with pytest.raises(InputError, match=r"no direct disc.*hints"):
        rough_discs(image, everywhere(image))
