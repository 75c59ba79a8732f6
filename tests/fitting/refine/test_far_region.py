"""The compared region far from the zone axis: where it is, and that fits with it are right."""

from __future__ import annotations

import numpy as np
import pytest

import hybridfit
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.refine.region import Region, followed
from hybridfit.frame import make_frame
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, shipped_folder


@pytest.fixture(scope="module")
def far_library() -> Library:
    recipe = {
        "cif": shipped_folder() / "SrTiO3.cif",
        "zone": (0, 0, 1),
        "energy_kv": 200,
        "g_max": 1.6,
        "semi_angle_max": 8,
        "tilt_max": 14,
        "sampling": 0.5,
        "thickness": {"start": 10, "stop": 22},
    }
    return Library.build(Recipe(**recipe), slopes=False, diffuse=False)


def test_the_region_follows_from_five_milliradians_on():
    assert [followed(t, 20.0) for t in (0.0, 4.9, 5.0)] == [0, 0, 0]
    assert [followed(t, 20.0) for t in (6.0, 10.0, 15.0)] == pytest.approx([2, 10, 15])
    assert followed(15.0, 4.0) == 4 and followed(15.0, -1.0) == 0


@pytest.mark.parametrize(("rotation", "towards"), [(0.0, (-1.0, 0.0)), (90.0, (0.0, -1.0))])
def test_it_is_the_smallest_disc_about_both(rotation, towards):
    """The direct disc with its surroundings, and the same about the centre of the Laue circle."""
    seed = Candidate(20.0, 12.0, 0.0, 100.0, 100.0, 2.0, rotation)
    region = Region.around(make_frame(np.random.default_rng(0).random((240, 240))), seed, 8.0, 1000, 99.0)
    rows, cols = np.nonzero(region.mask)
    x, y = cols + region.left - 100, rows + region.top - 100
    along = x * towards[0] + y * towards[1]
    assert along.max() == pytest.approx(2 * (12 + 15.5), abs=1.5)
    assert along.min() == pytest.approx(-2 * 15.5, abs=1.5)
    assert len(rows) == pytest.approx(np.pi * (2 * 21.5) ** 2, rel=0.01)


def test_a_library_of_far_tilts_has_beams_for_it(far_library):
    assert far_library.room(8.0) > 13
    assert far_library.room(12.0) > 5


@pytest.mark.parametrize("tilt", [(11.0, 3.0), (-6.5, -6.5)])
def test_the_intensity_far_from_the_axis_is_compared(far_library, tilt):
    frame, truth = hybridfit.simulate_frame(
        far_library,
        thickness=16.3,
        tilt=tilt,
        semi_angle=8.0,
        shape=(160, 160),
        scale=2.2,
        electrons=1e7,
        seed=1,
    )
    hints = hybridfit.Hints(thickness=16.0, tilt=(tilt[0] + 0.3, tilt[1] - 0.2))
    fit = hybridfit.fit(frame, far_library, semi_angle=8.0, hints=hints)
    assert fit.status is hybridfit.Status.converged
    assert fit.parameters["thickness"].value == pytest.approx(truth["thickness"], abs=0.05)
    assert fit.parameters["tilt_x"].value == pytest.approx(tilt[0], abs=0.03)
    assert fit.parameters["tilt_y"].value == pytest.approx(tilt[1], abs=0.03)
