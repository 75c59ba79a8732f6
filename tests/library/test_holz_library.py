"""Libraries with HOLZ lines: built from a recipe, and fitted like any other."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Candidate, Fitter, simulate_frame
from hybridfit.errors import RecipeError
from hybridfit.frame import make_frame
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe

SMALL = {"g_max": 0.9, "semi_angle_max": 7.0, "tilt_max": 1.5, "sampling": 0.5}
THICK = {"start": 40, "stop": 46}


@pytest.fixture(scope="module")
def pair(build_library):
    """SrTiO3 [011] without lines and with them."""
    values = {**SMALL, "thickness": THICK}
    return [build_library("SrTiO3", (0, 1, 1), **values, holz=lines) for lines in (False, True)]


def test_lines_change_patterns_a_little(pair):
    k = np.linspace(-12, 12, 49)
    plain, lines = (
        each.patterns(thickness=44.0, tilt_x=0.4, tilt_y=-0.3, semi_angle=6.5, k=k).values for each in pair
    )
    assert 5e-4 < np.abs(lines - plain).max() / plain.max() < 2e-2
    assert pair[0].dataset.attrs["checksum"] != pair[1].dataset.attrs["checksum"]
    assert pair[0].dataset.sizes == pair[1].dataset.sizes


def test_a_frame_with_lines_is_fitted(pair):
    truth = {"thickness": 43.3, "tilt": (0.4, -0.6)}
    image, camera = simulate_frame(pair[1], **truth, semi_angle=6.5, shape=(96, 96), electrons=1e7)
    start = Candidate(42.5, 0.2, -0.4, camera["centre_x"], camera["centre_y"], camera["scale"], 0.0)
    result = Fitter(pair[1], 6.5, seeded=True).fit_near(make_frame(image), [start])
    assert result.thickness == pytest.approx(43.3, abs=0.2)
    np.testing.assert_allclose(result.tilt, truth["tilt"], atol=0.05)


def test_a_threefold_axis_is_no_sixfold_one(build_library):
    values = {**SMALL, "g_max": 0.7, "semi_angle_max": 4.0, "tilt_max": 0.5}
    flat, whole = (build_library("SrTiO3", (1, 1, 1), **values, holz=lines) for lines in (False, True))
    assert (flat.rotation_order, whole.rotation_order) == (6, 3)
    assert len(whole.dataset.symmetry) == 6
    assert 1.5 < whole.dataset.sizes["direction"] / flat.dataset.sizes["direction"] < 2.5


def test_strained_cells_have_lines_of_their_own(crystals):
    recipe = {
        "cif": crystals["SrTiO3"],
        "zone": (0, 1, 1),
        "in_plane": (1, 0, 0),
        "energy_kv": 200,
        **SMALL,
        "semi_angle_max": 4.0,
        "tilt_max": 0.5,
        "thickness": THICK,
        "holz": True,
    }
    strain = {"strain": {"values": [0.0, 0.02], "kind": "discrete", "strain": {"xx": 1.0, "zz": 1.0}}}
    seen: list[float] = []
    both = Library.build(Recipe(**recipe, parameters=strain), progress=seen.append)
    assert sorted(seen) == seen and seen[-1] == pytest.approx(1)
    alone = Library.build(Recipe(**recipe))
    where = {"thickness": 43.0, "tilt_x": 0.2, "tilt_y": 0.1, "semi_angle": 3.9, "k": np.linspace(-8, 8, 33)}
    one = alone.patterns(**where).values
    np.testing.assert_allclose(both.at(strain=0.0).patterns(**where).values, one, atol=2e-3 * one.max())


def test_discs_of_higher_zones_in_the_pattern_are_refused(crystals):
    wide = {**SMALL, "g_max": 1.9, "semi_angle_max": 45.0, "sampling": 3.0, "thickness": THICK}
    recipe = Recipe(cif=crystals["triclinic"], zone=(0, 0, 1), energy_kv=200, **wide, holz=True)
    with pytest.raises(RecipeError, match=r"^holz: beams of higher zones come within .* mrad") as caught:
        Library.build(recipe)
    assert "\n" not in str(caught.value) and "semi_angle_max" in str(caught.value)
