"""The exact solutions that studies compare libraries with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

exact = pytest.importorskip("benchmarks.exact")

from hybridfit.library.recipe import Recipe  # noqa: E402
from hybridfit.physics import bloch  # noqa: E402
from hybridfit.physics.bloch import DynamicalMatrix  # noqa: E402
from hybridfit.physics.crystal import Crystal  # noqa: E402
from hybridfit.physics.projection import project  # noqa: E402

RECIPE = Recipe.shipped("Si_110_200kV")
REACH = 1.6  # Å⁻¹


@pytest.fixture(scope="module")
def projection():
    return project(Crystal.from_cif(RECIPE.cif), RECIPE.zone, RECIPE.in_plane)


def test_on_the_axis_it_is_what_all_beams_give(projection):
    first, q = projection.beams(0.5), np.zeros((1, 2))
    matrix = DynamicalMatrix.of(projection, projection.beams(REACH), RECIPE.energy_kv, higher_zones=True)
    known = bloch.beam_intensities(
        matrix, q, np.array([5.0, 10.0, 15.0]), keep=len(first), device="cpu", dtype=torch.complex128
    )
    found = exact.exact_everywhere(RECIPE, q, first, 5.0, 3, REACH)
    assert found == pytest.approx(known, abs=1e-6)


def test_far_from_the_axis_it_has_other_beams_and_a_longer_path(projection):
    """At 35 mrad: what the solver of libraries gives, whose far beams are folded tile by tile."""
    first, q = projection.beams(0.5), np.array([[1.2, 0.7]])
    every = DynamicalMatrix.of(projection, projection.beams(5.2), RECIPE.energy_kv, higher_zones=True)
    folded = every.folded(len(projection.beams(2.4)), 3.4)
    steps = 100.0 * np.arange(1, 4)
    known = bloch.beam_intensities(folded, q, steps, keep=len(first), device="cpu", dtype=torch.complex128)
    found = exact.exact_everywhere(RECIPE, q, first, 100.0, 3, 3.6)
    shorter = exact.exact_everywhere(RECIPE, q, first, 100.0 * (1 - 6e-4), 3, 3.6)
    assert np.abs(found - known).max() < 5e-4
    assert np.abs(found - known).max() < 0.1 * np.abs(shorter - known).max()
