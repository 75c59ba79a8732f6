"""Frames that the camera has mirrored: fitted as recorded, tilts in the frame of the crystal."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.flipped import FlippedFitter
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.status import Status
from hybridfit.library.mirror import mirrored
from hybridfit.simulate.frame import simulate_frame

TRUTH = {"thickness": 24.3, "tilt": (0.6, -0.9), "semi_angle": 7.5, "rotation": 31.0}
K = np.linspace(-11, 11, 31)


@pytest.fixture(scope="module")
def library(build_library):
    """No symmetry at all: a mirrored frame is one of no crystal of this hand."""
    span = {"start": 18, "stop": 30}
    return build_library(
        "triclinic", (0, 0, 1), g_max=0.9, semi_angle_max=8, tilt_max=2, sampling=0.5, thickness=span
    )


@pytest.fixture(scope="module")
def frame(library):
    """Left and right exchanged."""
    image, truth = simulate_frame(
        library, **TRUTH, shape=(84, 100), centre=(47.0, 43.0), scale=2.6, electrons=1e7, background=0.0
    )
    assert truth["thickness"] == TRUTH["thickness"]
    return image[:, ::-1]


def test_the_mirror_image_has_mirrored_patterns(library):
    """P̃(k; τ) = P(F k; F τ)."""
    other = mirrored(library)
    at = {"thickness": 22.4, "semi_angle": 7.5, "k": K}
    plain = library.patterns(tilt_x=0.7, tilt_y=-1.1, **at).values[0, 0, 0]
    seen = other.patterns(tilt_x=0.7, tilt_y=1.1, **at).values[0, 0, 0]
    np.testing.assert_allclose(seen, plain[::-1], atol=1e-6)
    assert np.abs(seen - plain).max() > 0.05
    assert other.dataset.attrs["checksum"] != library.dataset.attrs["checksum"]
    back = mirrored(other).patterns(tilt_x=0.7, tilt_y=-1.1, **at).values[0, 0, 0]
    np.testing.assert_allclose(back, plain, atol=1e-6)


def test_a_crystal_with_that_mirror_is_its_own_mirror_image(small_library):
    assert mirrored(small_library) is small_library


def test_a_mirrored_frame_is_fitted_with_the_flag_alone(library, frame, tmp_path):
    result = Fitter(library, 7.5, method="lsf", flip=True).fit(frame)
    assert result.ok and result.flipped and result.to_json()["flipped"]
    assert result.thickness == pytest.approx(24.3, abs=0.1)
    np.testing.assert_allclose(result.tilt, TRUTH["tilt"], atol=0.05)
    assert result["centre_x"].value == pytest.approx(99 - 47.0, abs=0.2)  # a pixel of the file
    assert result["centre_y"].value == pytest.approx(43.0, abs=0.2)
    assert result["rotation"].value == pytest.approx(180 - 31.0, abs=0.5)
    low, high = result["tilt_y"].interval95
    assert low < result["tilt_y"].value < high
    assert result.minimizer.params["tilt_y"].value == pytest.approx(result["tilt_y"].value)
    assert result.candidates[0].tilt == pytest.approx(result.tilt, abs=0.05)
    result.plot(tmp_path / "flipped.png")

    plain = Fitter(library, 7.5, method="lsf").fit(frame)
    assert plain.misfit_fraction > 10 * max(result.misfit_fraction, 1e-4)


def test_what_is_known_is_known_of_the_crystal(library, frame):
    known = Fitter(
        library,
        7.5,
        flip=True,
        hints=Hints(thickness=24.0, tilt=(0.5, -1.0)),
        fix={"tilt_y": -0.9},
        seeded=True,
    )
    assert known.hints.tilt == (0.5, 1.0)  # of the mirror image, which the camera has seen
    found = known.refine(frame, Fitter(library, 7.5, method="lsf", flip=True).fit(frame).candidates[0])
    assert found["tilt_y"].value == -0.9 and found["tilt_y"].stderr is None
    assert found["tilt_x"].value == pytest.approx(0.6, abs=0.05)


def test_the_old_name_warns_and_does_the_same(library, frame):
    with pytest.warns(DeprecationWarning, match="flip=True"):
        old = FlippedFitter(library, 7.5, method="lsf")
    start = Candidate(24.0, 0.5, -1.0, 52.0, 43.0, 2.6, 149.0)
    assert old.refine(frame, start) == Fitter(library, 7.5, method="lsf", flip=True).refine(frame, start)


def test_seeds_and_neighbours_are_those_of_the_crystal(library, frame):
    fitter = Fitter(library, 7.5, method="lsf", flip=True)
    start = Candidate(24.8, 0.5, -0.8, 52.3, 42.8, 2.6, 149.5)
    for result in (fitter.refine(frame, start), fitter.fit_near(frame, [start])):
        np.testing.assert_allclose(result.tilt, TRUTH["tilt"], atol=0.05)
        assert result.seed.tilt_y < 0 and result.candidates[0].tilt_y == pytest.approx(-0.9, abs=0.05)
    found, _ = fitter.search(frame)
    assert found[0].tilt_y == pytest.approx(-0.9, abs=0.4)


def test_the_curve_of_a_mirrored_frame_is_least_at_the_answer(library, frame):
    """It is worked out after the result was turned: by the tilt of the model, not of the crystal."""
    start = Candidate(24.8, 0.5, -0.8, 52.3, 42.8, 2.6, 149.5)
    result = Fitter(library, 7.5, method="lsf", flip=True, whole_curve=True).refine(frame, start)
    thickness, chi2 = result.whole_curve
    assert not result.curve_searched
    # beside the answer by what vibration, energy and semi-angle move it
    assert thickness[np.argmin(chi2)] == pytest.approx(result.thickness, abs=0.05)
    assert chi2.min() == pytest.approx(result.residual_fraction, rel=0.5)


def test_bounds_and_expressions_are_those_of_the_crystal(library, frame):
    start = Candidate(24.3, 0.6, -0.9, 52.0, 43.0, 2.6, 149.0)
    options = {"method": "lsf", "flip": True, "fix": {"blur": 0.25}}
    bound = Fitter(library, 7.5, bounds={"tilt_y": (-1.5, -1.0)}, **options).refine(frame, start)
    assert bound["tilt_y"].value == pytest.approx(-1.0, abs=1e-3) and bound.status is Status.at_bound
    tied = Fitter(library, 7.5, expressions={"tilt_y": "-1.5 * tilt_x"}, **options).refine(frame, start)
    assert tied["tilt_y"].value == pytest.approx(-1.5 * tied["tilt_x"].value)
    assert tied["tilt_x"].value == pytest.approx(0.6, abs=0.05)


def test_intervals_of_lmfit_are_those_of_the_crystal(library, frame):
    start = Candidate(24.3, 0.6, -0.9, 52.0, 43.0, 2.6, 149.0)
    known = {"scale": 2.6, "blur": 0.25}  # lmfit fits again and again, in time that grows with what is free
    result = Fitter(library, 7.5, method="lsf", flip=True, keep_model=True, fix=known).refine(frame, start)
    rows = result.conf_interval(p_names=["tilt_y"], sigmas=[1])["tilt_y"]
    values = [value for _, value in rows]
    assert values == sorted(values) and values[0] < result["tilt_y"].value < values[-1] < 0
