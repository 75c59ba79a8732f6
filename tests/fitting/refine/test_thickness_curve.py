"""The curve of χ² against thickness: composed at some thicknesses, the same as composed at all of them."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Fitter
from hybridfit.fitting.refine.problem import Problem
from hybridfit.library.library import Library
from hybridfit.library.planes import Planes


def composed_at_all(curve):
    """(2, n): the curve as it was asked for, each thickness evaluated by itself."""
    refiner, frame, minimum, region, fine_pixel = curve.args
    model = refiner.model(frame, minimum.answer, region, fine_pixel)
    problem = Problem(model, region.image[region.mask], np.full(model.n_pixels, 1 / region.variance))
    thickness, chi2 = curve()[0], []
    for t in thickness:
        _, image = problem.linear(model.evaluate({**minimum.fit.values, "thickness": float(t)}))
        chi2.append(((problem.data - image) ** 2).mean() / region.variance)
    return np.stack([thickness, chi2])


@pytest.mark.parametrize(
    ("thickness", "options"),
    [
        (4.3, {"background": "none"}),
        (30.0, {}),
        (57.7, {"background": "uniform-per-nm"}),
        (30.0, {"fix": {"vacuum": 0.1, "thickness_spread": 1.5}}),
    ],
)
def test_it_is_that_of_every_thickness(small_library, simulate, at_truth, thickness, options):
    image, truth = simulate(thickness=thickness, electrons=1e8)
    fitter = Fitter(small_library, 9.0, whole_curve=True, workers=2, **options)
    result = fitter.refine(image, at_truth(truth))
    expected = composed_at_all(result.along_thickness)
    np.testing.assert_array_equal(result.whole_curve[0], expected[0])
    np.testing.assert_allclose(result.whole_curve[1], expected[1], rtol=0.01)
    at = np.argmin(expected[1])
    assert result.whole_curve[1][at] == pytest.approx(expected[1][at], rel=1e-3), "the least is exact"


def test_what_is_looked_at_once_is_not_kept(small_library):
    library = Library(small_library.dataset, on_demand=True)
    planes = library.table().intensity
    assert isinstance(planes, Planes)
    kept = planes[7]
    once = planes.once(11)
    np.testing.assert_array_equal(once, small_library.dataset.intensity.values[11])
    assert planes.once(7) is kept and 11 not in planes._known
