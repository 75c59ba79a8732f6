"""Bounds and expressions as lmfit users know them."""

from __future__ import annotations

import pytest

from hybridfit import Fitter, Status

SEMI_ANGLE = 9.0


def fitted(small_library, simulate, at_truth, **options):
    image, truth = simulate(blur=0.8)
    return Fitter(small_library, SEMI_ANGLE, seeded=True, **options).refine(image, at_truth(truth)), truth


def test_a_bound_that_is_reached_is_said_and_can_be_widened(small_library, simulate, at_truth):
    narrow, truth = fitted(small_library, simulate, at_truth, bounds={"blur": (0.0, 0.5)})
    assert narrow.status is Status.at_bound and "blur" in narrow.message and "--bound" in narrow.message
    assert narrow["blur"].value == pytest.approx(0.5, abs=1e-3) and narrow["blur"].stderr is None
    wide, _ = fitted(small_library, simulate, at_truth, bounds={"blur": (0.0, 5.0)})
    assert wide.ok and abs(wide["blur"].value - truth["blur"]) < 0.1
    assert wide.bounds["blur"] == (0.0, 5.0) and wide.minimizer.params["blur"].max == 5.0


def test_thickness_stays_between_its_bounds(small_library, simulate, at_truth):
    result, truth = fitted(small_library, simulate, at_truth, bounds={"thickness": (31.0, 90.0)})
    assert truth["thickness"] < 31.0 <= result.thickness < 31.1
    assert result.status is Status.at_bound and "thickness" in result.message


def test_the_search_stays_between_the_bounds(small_library, simulate):
    """The whole library is searched, but for what the user has left out."""
    image, truth = simulate()
    bounds = {"thickness": (35.0, 55.0), "tilt_x": (-2.0, -0.2)}
    fitter = Fitter(small_library, SEMI_ANGLE, method="lsf", bounds=bounds)
    found, curve = fitter.search(image)
    assert (
        all(35.0 <= c.thickness <= 55.0 for c in found) and 35.0 <= curve[0].min() <= curve[0].max() <= 55.0
    )
    result = fitter.fit(image)
    assert 35.0 <= result.thickness <= 55.0 and -2.0 <= result["tilt_x"].value <= -0.2
    assert (
        abs(Fitter(small_library, SEMI_ANGLE, method="lsf").fit(image).thickness - truth["thickness"]) < 0.2
    )


def test_rotation_may_be_bounded_to_another_sector(small_library, simulate, at_truth):
    """Rotations that symmetry makes equal are one: the answer is given in the first sector."""
    image, truth = simulate()
    bounds = {"rotation": (truth["rotation"] + 85.0, truth["rotation"] + 95.0)}
    result = Fitter(small_library, SEMI_ANGLE, seeded=True, bounds=bounds).refine(image, at_truth(truth))
    assert result.ok and abs(result["rotation"].value - truth["rotation"]) < 0.5


def test_an_expression_ties_parameters(small_library, simulate, at_truth):
    result, _ = fitted(
        small_library, simulate, at_truth, expressions={"ellipticity_b": "-0.5 * ellipticity_a"}
    )
    a, b = result["ellipticity_a"], result["ellipticity_b"]
    assert result.ok and b.value == pytest.approx(-0.5 * a.value)
    assert b.stderr == pytest.approx(0.5 * a.stderr) and "ellipticity_b" not in result.varied
    assert result.minimizer.params["ellipticity_b"].expr == "-0.5 * ellipticity_a"
