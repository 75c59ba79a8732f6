"""Inputs that the fitter refuses, and its messages."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Fitter, Hints, Status, fit, make_frame
from hybridfit.errors import HybridfitError, InputError, LibraryError


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (LibraryError, r"semi-angle 24 mrad.*at most 14.*semi_angle_max = 24", {"semi_angle": 24.0}),
        (InputError, r"semi-angle 0 mrad cannot be right", {"semi_angle": 0.0}),
        (InputError, r"semi_angle nan is not a number", {"semi_angle": float("nan")}),
        (InputError, r"unknown background 'cubic'.*radial", {"background": "cubic"}),
        (InputError, r"unknown parameter 'thicknes'.*thickness", {"fix": {"thicknes": 20.0}}),
        (InputError, r"unknown parameter 'dose'", {"free": ("dose",)}),
        (HybridfitError, r"500", {"fix": {"thickness": 500.0}}),
        (HybridfitError, r"50", {"fix": {"tilt_x": 50.0}}),
        (HybridfitError, r"nan", {"fix": {"thickness": float("nan")}}),
        (HybridfitError, r"-2", {"fix": {"scale": -2.0}}),
        (InputError, r"thickness hint 75 nm.*1 … 60 nm", {"hints": Hints(thickness=75.0)}),
        (InputError, r"tilt hint 50, 0 mrad.*at most 8", {"hints": Hints(tilt=(50.0, 0.0))}),
        (InputError, r"scale 40 px/mrad.*720 px wide.*0\.2 … 5\.33", {"hints": Hints(scale=40.0)}),
        (InputError, r"scale 0\.01 px/mrad", {"hints": Hints(scale=0.01)}),
        (InputError, r"centre.*200.*outside the frame", {"hints": Hints(centre=(200.0, 10.0))}),
        (InputError, r"unknown method 'magic'.*lsf", {"method": "magic"}),
    ],
)
def test_absurd_arguments(small_library, standard, error, words, arguments):
    with pytest.raises(error, match=words):
        fit(standard[0], small_library, **{"semi_angle": 9.0, **arguments})


@pytest.mark.parametrize("workers", [-1, 0, "2", 1.5])
def test_absurd_numbers_of_threads(small_library, workers):
    with pytest.raises(InputError, match=rf"workers = {workers!r} .*give 1 or more, or None for all cores"):
        Fitter(small_library, 9.0, workers=workers)


def test_an_unknown_library(standard):
    with pytest.raises(LibraryError, match="unknown library 'SrTiO4'"):
        fit(standard[0], "SrTiO4", semi_angle=9.0)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("500", {"thickness": 500.0}),
        ("nan", {"thickness": float("nan")}),
        ("50", {"tilt_x": 50.0}),
        ("nan", {"tilt_y": float("nan")}),
        ("scale", {"scale": float("nan")}),
        ("px/mrad", {"scale": 0.0}),
        ("10000", {"centre_x": 1e4}),
    ],
)
def test_absurd_seeds(fitter, standard, at_truth, words, changes):
    with pytest.raises(HybridfitError, match=words):
        fitter.refine(standard[0], at_truth(standard[1], **changes))


def test_a_disc_cut_by_the_edge(small_library, simulate):
    image, truth = simulate(centre=(14.0, 47.0), scale=2.8)
    hints = Hints(centre=(truth["centre_x"], truth["centre_y"]), scale=truth["scale"])
    with pytest.raises(InputError, match=r"cut by the edge of the 96 × 96 px frame"):
        fit(image, small_library, semi_angle=9.0, hints=hints)


@pytest.mark.parametrize("frame", ["noise", "inverted"])
def test_no_disc_at_all(fitter, standard, frame):
    image = standard[0].max() - standard[0]
    if frame == "noise":
        image = np.random.default_rng(1).poisson(100, (96, 96))
        assert fitter.fit(image).status is Status.poor_match
        return
    try:
        status = fitter.fit(image).status
    except InputError as error:
        assert "direct disc" in str(error) and "hints" in str(error)
    else:
        assert status is Status.poor_match


def test_too_few_pixels_left(fitter, standard, at_truth):
    image, truth = standard
    mask = np.ones(image.shape, bool)
    mask[40:50, 40:50] = False
    with pytest.raises(InputError, match=r"100 usable pixels"):
        fitter.refine(make_frame(image, mask=mask), at_truth(truth))


def test_frames_are_checked(fitter):
    with pytest.raises(InputError, match="3 dimensions"):
        fitter.fit(np.zeros((2, 64, 64)))
    with pytest.raises(InputError, match="zero"):
        fitter.fit(np.zeros((64, 64)))
