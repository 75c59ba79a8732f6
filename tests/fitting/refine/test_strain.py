"""A strain in a fit: the discs measure the lattice, with a correct error."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Candidate, Fitter, Hints, simulate_frame
from hybridfit.fitting.result import Status
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, shipped_folder

SEMI_ANGLE, TURN, SCALE = 6.0, 21.0, 3.2
VALUES = {
    "cif": shipped_folder() / "SrTiO3.cif",
    "zone": (1, 0, 0),
    "in_plane": (0, 0, 1),
    "energy_kv": 200,
    "g_max": 0.744,  # between two shells of beams, as 1.6 times as much is, whatever the strain
    "semi_angle_max": 6.5,
    "tilt_max": 1.5,
    "sampling": 0.5,
    "thickness": {"start": 17, "stop": 27},
}
RANGE = (-0.02, -0.01, 0.0, 0.01, 0.02)


def build(**parameters) -> Library:
    return Library.build(Recipe(**VALUES, parameters=parameters))


@pytest.fixture(scope="module")
def stretched() -> Library:
    return build(strain={"values": RANGE, "strain": {"xx": 1.0}})


@pytest.fixture(scope="module")
def between() -> Library:
    """A crystal between the values of the library, solved exactly."""
    return build(strain={"values": (-0.0135, 0.0065), "strain": {"xx": 1.0}})


def frame(library: Library, seed=0, electrons=1e6, **changes):
    values = {"thickness": 22.3, "tilt": (0.5, -0.7), "rotation": TURN, "scale": SCALE} | changes
    return simulate_frame(
        library, semi_angle=SEMI_ANGLE, shape=(96, 96), electrons=electrons, seed=seed, **values
    )


def fitter(library: Library, fix=None, **options) -> Fitter:
    return Fitter(library, SEMI_ANGLE, workers=1, fix=fix, hints=Hints(rotation=TURN - 1), **options)


def at_truth(truth, **changes) -> Candidate:
    names = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
    return Candidate(**{**{name: float(truth[name]) for name in names}, **changes})


@pytest.mark.parametrize("strain", [-0.0135, 0.0065])
def test_a_strain_is_recovered(stretched, between, strain):
    """From a full search at none."""
    result = fitter(stretched, {"scale": SCALE}).fit(frame(between.at(strain=strain))[0])
    found = result.structure["strain"]
    assert result.status is Status.converged
    assert abs(found.value - strain) < 4 * found.stderr and found.stderr < 1e-3
    assert abs(result.thickness - 22.3) < 0.15
    np.testing.assert_allclose(result.tilt, (0.5, -0.7), atol=0.05)


@pytest.mark.parametrize("fix", [{"scale": SCALE, "ellipticity_a": 0.0, "ellipticity_b": 0.0}, {}])
def test_its_error_is_honest(stretched, between, fix):
    """Also with an unknown camera: then the radius of the disc is the known length."""
    refiner, scores = fitter(stretched, fix), []
    for seed in range(10):
        strain = (-0.0135, 0.0065)[seed % 2]
        image, truth = frame(between.at(strain=strain), seed=seed, electrons=3e5)
        found = refiner.refine(image, at_truth(truth, thickness=21.5, tilt_x=0.2)).structure["strain"]
        scores.append((found.value - strain) / found.stderr)
    assert 0.4 < np.sqrt(np.mean(np.square(scores))) < 1.7


def test_the_distortion_of_the_camera_is_told_from_a_strain(stretched, between):
    """Distortion makes discs elliptical, a strain does not; a known distortion makes the error smaller."""
    distortion = {"ellipticity_a": 0.012, "ellipticity_b": -0.004}
    image, truth = frame(between.at(strain=0.0065), ellipticity=tuple(distortion.values()))
    free, known = (
        fitter(stretched, {"scale": SCALE, **fix}).refine(image, at_truth(truth)) for fix in ({}, distortion)
    )
    for result in (free, known):
        found = result.structure["strain"]
        assert abs(found.value - 0.0065) < 3 * found.stderr
    assert known.structure["strain"].stderr < free.structure["strain"].stderr
    assert abs(free["ellipticity_a"].value - 0.012) < 3 * free["ellipticity_a"].stderr


def test_a_length_must_be_known(stretched, between):
    """The known length is the radius of the discs, or the scale if the semi-angle is free."""
    image, truth = frame(between.at(strain=0.0065))
    options = {"workers": 1, "hints": Hints(rotation=TURN - 1)}
    exact = dict.fromkeys(("debye_waller", "energy", "semi_angle"), 0.0)
    wrong = Fitter(stretched, 0.99 * SEMI_ANGLE, sigma=exact, **options)
    away = wrong.refine(image, at_truth(truth)).structure["strain"].value - 0.0065
    assert 0.003 < away < 0.014
    doubted = Fitter(stretched, 0.99 * SEMI_ANGLE, **options)
    strain = doubted.refine(image, at_truth(truth)).structure["strain"]
    assert abs(strain.value - 0.0065) < 3 * strain.stderr
    right = Fitter(stretched, 0.99 * SEMI_ANGLE, fix={"scale": SCALE}, free=["semi_angle"], **options)
    found = right.refine(image, at_truth(truth)).structure["strain"]
    assert abs(found.value - 0.0065) < 3 * found.stderr < 0.003


def test_discrete_strains_have_odds(between):
    image, truth = frame(between.at(strain=0.0065), electrons=1e5)
    found = fitter(between, {"scale": SCALE}).refine(image, at_truth(truth)).structure["strain"]
    assert found.value == 0.0065 and found.odds[0.0065] > 0.99
