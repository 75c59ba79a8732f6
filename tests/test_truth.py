"""The study of references: composed as the library composes, tuning and reporting apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import truth
from benchmarks.directions import Directions
from benchmarks.exact import problem
from benchmarks.reference_cases import CASES
from benchmarks.reference_patterns import Elastic, Reference
from benchmarks.slab import OPERATIONS
from benchmarks.slab_shift import shifts
from hybridfit.library.diffuse import without_diffuse
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe
from hybridfit.physics import bloch, crystal
from hybridfit.physics.projection import project

THICKNESS, TILT, SEMI_ANGLE = 22.0, (1.7, -0.8), 9.0


@pytest.fixture(scope="module")
def waves(small_recipe: Path) -> Reference:
    """A reference whose intensities are the Bloch waves of the small library."""
    recipe = Recipe.read(small_recipe)
    matrix, to_mrad = problem(recipe, recipe.g_max)
    projection = project(crystal.Crystal.from_cif(recipe.cif), recipe.zone, recipe.in_plane)
    g = projection.beams(recipe.g_max) @ projection.basis
    directions = Directions.within(SEMI_ANGLE + 3.5, (0.5, 0.5), OPERATIONS)
    q = directions.solved_mrad / to_mrad
    found = bloch.beam_intensities(matrix, q, np.array([THICKNESS]), device="cpu")
    table = Elastic(np.array([THICKNESS]), np.rint(g * 3.905).astype(int), g * to_mrad, directions, found)
    return Reference(table, None, {})


def test_patterns_are_those_that_a_library_composes(waves, small_library: Library):
    k = np.linspace(-14, 14, 57)
    where = {"thickness": THICKNESS, "tilt_x": TILT[0], "tilt_y": TILT[1], "semi_angle": SEMI_ANGLE}
    elastic = Library(without_diffuse(small_library.dataset))
    theirs = np.asarray(elastic.patterns(**where, k=k)).squeeze()
    y, x = np.meshgrid(k, k, indexing="ij")
    ours = waves.points(0, np.stack([x.ravel(), y.ravel()]), TILT, SEMI_ANGLE, 0.02).reshape(y.shape)
    ours *= np.pi * SEMI_ANGLE**2
    g = waves.elastic.beam_mrad
    from_edge = np.abs(np.hypot(x[..., None] - g[:, 0], y[..., None] - g[:, 1]) - SEMI_ANGLE).min(axis=-1)
    inside = from_edge > 0.6  # the library's edges are soft
    assert inside.mean() > 0.05
    assert np.abs(ours - theirs)[inside].max() < 2e-3 * theirs.max()
    other = waves.points(0, np.stack([x.ravel(), y.ravel()]), (-TILT[0], -TILT[1]), SEMI_ANGLE, 0.02)
    other = other.reshape(y.shape) * np.pi * SEMI_ANGLE**2
    assert np.abs(other - theirs)[inside].max() > 0.1 * theirs.max()


def test_a_frame_is_fitted_at_its_truth(waves, small_library: Library):
    case = CASES["SrTiO3_soft"]
    camera = truth.Camera(63.0, 64.2, 4.1, 21.0)
    shot = truth.Shot(case, 0, TILT, SEMI_ANGLE, camera, (128, 128), 1e7, [1, 2])
    fitter = truth.Fitter(Library(without_diffuse(small_library.dataset)), SEMI_ANGLE, seeded=True)
    row = truth.fitted(shot, waves, fitter, noise=True, scatter=True)
    assert abs(row["thickness"]) < 0.05
    assert abs(row["tilt_x"]) < 0.03 and abs(row["tilt_y"]) < 0.03
    assert row["status"] == "converged"
    assert "thickness_scatter" not in row  # there are no phonons


def test_tuning_and_reporting_are_disjoint():
    shared = set(truth.TUNING) & set(truth.REPORTING)
    assert shared <= {"SrTiO3"}  # which has tilts of its own in either
    assert not set(truth.TUNING_TILTS) & set(truth.REPORTING_TILTS)
    apart = np.array(truth.TUNING_TILTS)[:, None] - np.array(truth.REPORTING_TILTS)
    assert np.linalg.norm(apart, axis=-1).min() > 0.15
    assert truth.SEEDS["tuning"] != truth.SEEDS["reporting"]
    assert {"MgO", "GaN", "Au"} <= set(truth.REPORTING)
    assert not {CASES[name].library for name in ("MgO", "GaN", "Au")} - {""}


def test_at_least_eight_tilts_of_titanate_to_eight_mrad():
    tilts = [t for t in truth.REPORTING_TILTS if np.hypot(*t) <= CASES["SrTiO3"].tilt_max]
    assert len(tilts) >= 8
    assert max(np.hypot(*t) for t in tilts) > 7.5


@pytest.mark.parametrize("name", CASES)
def test_recipes_reach_as_far_as_their_cases(name):
    case, recipe = CASES[name], truth.recipe_of(CASES[name])
    assert recipe.cif.is_file()
    assert (
        recipe.energy_kv == case.energy_kv and recipe.zone == case.zone and recipe.in_plane == case.in_plane
    )
    assert recipe.tilt_max > case.tilt_max and recipe.semi_angle_max >= case.semi_angle_max
    assert recipe.thickness.stop > case.cells_along()[-1] * case.cell.height / 10 + 1


def test_a_shift_of_the_thickness_is_found():
    rng = np.random.default_rng(3)
    known, slope = rng.random((2, 3, 40))
    found = 1.02 * known + slope * np.array([[0.01], [-0.02], [0.03]])
    assert shifts(found, known, slope) == pytest.approx([0.01, -0.02, 0.03])
