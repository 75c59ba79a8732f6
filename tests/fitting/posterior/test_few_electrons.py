"""Frames of few electrons: their route, the odds of their answers, and frames without a crystal."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Fitter, make_frame
from hybridfit.errors import InputError
from hybridfit.fitting.posterior.gain import gain_of, noise_of_few
from hybridfit.fitting.result import Status
from hybridfit.fitting.route import Route

SEMI_ANGLE = 9.0


@pytest.fixture(scope="module")
def lsf(small_library) -> Fitter:
    return Fitter(small_library, SEMI_ANGLE, method="lsf", workers=1)


@pytest.fixture(scope="module")
def answer(lsf, simulate):
    """A frame of 4000 electrons, its answer, and the truth."""
    image, truth = simulate(electrons=4e3)
    return image, lsf.fit(image), truth


def test_an_answer_holds_within_its_errors(answer):
    _, result, truth = answer
    assert result.route is Route.few_electrons
    assert result.status is Status.converged
    assert abs(result.thickness - truth["thickness"]) < 4 * result["thickness"].stderr
    turned = np.exp(1j * np.deg2rad(result["rotation"].value - truth["rotation"])) * complex(*result.tilt)
    away = abs(turned - complex(truth["tilt_x"], truth["tilt_y"]))
    assert away < 4 * max(result["tilt_x"].stderr, result["tilt_y"].stderr)


def test_odds_sum_to_one_and_are_in_the_candidates(answer):
    _, result, _ = answer
    assert sum(mode.odds for mode in result.modes) == pytest.approx(1)
    said = [c["probability"] for c in result.to_json()["candidates"]]
    assert said == sorted(said, reverse=True) and sum(said) == pytest.approx(1)


def test_samples_are_of_the_answer(answer):
    _, result, _ = answer
    found = result.posterior(4000, seed=1)
    names = ("thickness", "tilt_x", "tilt_y", "scale")
    index = [result.varied.index(name) for name in names]
    own = np.stack([found[name].values for name in names])[:, found["mode"].values == 0]
    errors = np.array([result[name].stderr for name in names])
    assert np.abs(own.mean(axis=1) - [result[name].value for name in names]).max() < 0.1 * errors.max()
    assert own.std(axis=1) == pytest.approx(errors, rel=0.1)
    expected = result.covariance[np.ix_(index, index)] / np.outer(errors, errors)
    assert np.corrcoef(own) == pytest.approx(expected, abs=0.08)


def test_the_gain_of_the_camera_does_not_matter(answer, lsf):
    image, result, _ = answer
    other = lsf.fit(image * 37.5)
    assert other.route is Route.few_electrons
    assert other.thickness == pytest.approx(result.thickness, abs=0.3 * result["thickness"].stderr)
    assert other["thickness"].stderr == pytest.approx(result["thickness"].stderr, rel=0.15)


def test_a_mirrored_camera_sees_the_mirror_image(answer, small_library):
    image, result, _ = answer
    fitter = Fitter(small_library, SEMI_ANGLE, method="lsf", workers=1, flip=True)
    mirrored = fitter.fit(image[:, ::-1])
    assert mirrored.thickness == pytest.approx(result.thickness, abs=0.2)
    assert mirrored.modes[0].mean[list(mirrored.varied).index("tilt_y")] == mirrored["tilt_y"].value


def test_the_fewest_electrons_are_ambiguous_or_refused(lsf, simulate):
    image, _ = simulate(electrons=120)
    result = lsf.fit(image)
    assert result.status in (Status.ambiguous, Status.poor_match, Status.at_bound, Status.failed)


def test_fewer_electrons_mean_larger_errors(lsf, simulate, answer):
    result = lsf.fit(simulate(electrons=700)[0])
    assert result["thickness"].stderr > 1.5 * answer[1]["thickness"].stderr


@pytest.mark.parametrize("electrons", [1e3, 1e4])
@pytest.mark.parametrize("kind", ["disc", "blob"])
def test_nothing_without_structure_converges(lsf, disc, kind, electrons):
    smooth = disc((96, 96), (46.0, 49.0), 27.0)
    if kind == "blob":
        row, col = np.indices((96, 96))
        smooth = np.exp(-((col - 46) ** 2 + (row - 49) ** 2) / (2 * 15.0**2))
    expected = smooth + 0.02
    for seed in range(2):
        image = np.random.default_rng(seed).poisson(electrons * expected / expected.sum())
        assert lsf.fit(image).status is not Status.converged


def test_bright_frames_go_another_way(simulate):
    for electrons in (1e5, 1e7):
        frame = make_frame(simulate(electrons=electrons)[0])
        assert noise_of_few(frame.image, frame.valid, None) is None
    few = make_frame(simulate(electrons=3e3)[0])
    assert noise_of_few(few.image, few.valid, None).per_intensity == 1.0
    assert noise_of_few(few.image, few.valid, 0.01) is None  # 3e5 electrons, says who knows the camera


def test_a_gain_that_is_none_is_refused(small_library):
    for gain in (0, -1.0, "a", True, np.inf):
        with pytest.raises(InputError, match="counts per electron"):
            Fitter(small_library, SEMI_ANGLE, method="lsf", gain=gain)


@pytest.mark.parametrize("gain", [0.2, 1.0, 18.0])
@pytest.mark.parametrize("electrons", [1e3, 1e4])
def test_the_gain_is_seen_in_the_noise(simulate, gain, electrons):
    image = gain * simulate(electrons=electrons)[0].astype(float)
    assert gain_of(image, np.ones(image.shape, bool)) == pytest.approx(gain, rel=0.2)
