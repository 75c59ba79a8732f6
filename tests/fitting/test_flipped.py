"""Frames that the camera has mirrored: fitted as recorded, tilts in the frame of the crystal."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.flipped import FlippedFitter, flipped_words
from hybridfit.fitting.hints import Hints
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
    result = FlippedFitter(library, 7.5, method="lsf").fit(frame)
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
    known = FlippedFitter(
        library,
        7.5,
        hints=Hints(thickness=24.0, tilt=(0.5, -1.0)),
        fix={"tilt_y": -0.9},
        seeded=True,
    )
    assert known.fitter.hints.tilt == (0.5, 1.0) and known.fitter.fix["tilt_y"] == 0.9
    found = known.refine(frame, FlippedFitter(library, 7.5, method="lsf").fit(frame).candidates[0])
    assert found["tilt_y"].value == -0.9 and found["tilt_y"].stderr is None
    assert found["tilt_x"].value == pytest.approx(0.6, abs=0.05)


def test_a_message_names_the_tilt_of_the_crystal():
    assert flipped_words("30.1 nm, tilt 0.50, -1.20 mrad, x") == "30.1 nm, tilt 0.50, 1.20 mrad, x"
    assert flipped_words("30.1 nm, tilt -0.50, 1.20 mrad") == "30.1 nm, tilt -0.50, -1.20 mrad"
    assert flipped_words("The fit converged.") == "The fit converged."
