"""The effect of higher Laue zones on zero-order beams, compared with multislice in three dimensions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from multislice import multislice

from hybridfit.library.recipe import Recipe, shipped_names
from hybridfit.physics.bloch import DynamicalMatrix, beam_intensities
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.higher_zones import higher_zone_potential
from hybridfit.physics.projection import project
from hybridfit.physics.scattering import wavelength

KV = 200.0


@pytest.mark.parametrize("name", ["SrTiO3", "GaAs", "PbTiO3"])
def test_beams_become_those_of_multislice_in_three_dimensions(crystals, name):
    crystal = Crystal.from_cif(crystals[name])
    projection = project(crystal, (0, 0, 1), (2, 0, 0))
    tilts = np.array([[3.0, 1.0], [7.0, -4.0]]) / (1e3 * wavelength(KV))
    cells = 50
    expected = [multislice(crystal, tilt, cells, KV) for tilt in tilts]
    strong, every = projection.beams(2.5), projection.beams(3.5)
    hkl = strong[:60] @ projection.basis_hkl
    thickness = np.array([cells * crystal.cell[2] / 10])
    away = []
    for higher_zones in (False, True):
        matrix = DynamicalMatrix.of(projection, every, KV, higher_zones=higher_zones).folded(len(strong))
        hermitian = (matrix.potential + matrix.potential.conj().T) / 2
        elastic = DynamicalMatrix(hermitian, matrix.g, matrix.k_n)
        found = beam_intensities(elastic, tilts, thickness, device="cpu", dtype=torch.complex128)[0]
        away.append(
            max(
                np.abs(found[: len(hkl), i] - each[hkl[:, 0], hkl[:, 1]]).max()
                for i, each in enumerate(expected)
            )
        )
    without, with_them = away
    assert without > 4e-3
    assert with_them < 0.35 * without


def test_a_primitive_cell_and_a_centred_one_have_the_same(crystals):
    """GaAs in the cell of its lattice and in the conventional one."""
    whole = Crystal.from_cif(crystals["GaAs"])
    to = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])  # rows: a', b', c'
    edge = whole.cell[0] / np.sqrt(2)
    primitive = Crystal(
        (edge, edge, edge, 60.0, 60.0, 60.0),
        ("Ga", "As"),
        np.array([[0, 0, 0], [0.25, 0.25, 0.25]]),
        np.ones(2),
        np.array([0.6, 0.5]),
    )
    one = project(whole, (0, 0, 1), (2, 0, 0))
    # [001] = a' + b' − c'; (200) = (0 1 1)'
    other = project(primitive, (1, 1, -1), tuple(int(i) for i in to @ (2, 0, 0)))
    n = one.beams(1.2)
    g = n @ one.basis
    m = np.rint(g @ np.linalg.inv(other.basis)).astype(int)
    np.testing.assert_allclose(m @ other.basis, g, atol=1e-9)
    np.testing.assert_allclose(
        np.abs(higher_zone_potential(one, n, KV)), np.abs(higher_zone_potential(other, m, KV)), atol=1e-8
    )


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_crystals_keep_the_symmetry_of_their_projection(name):
    recipe = Recipe.shipped(name)
    projection = project(Crystal.from_cif(recipe.cif), recipe.zone, recipe.in_plane)
    n = projection.beams(1.5)
    size = np.abs(higher_zone_potential(projection, n, recipe.energy_kv))
    assert size[1:].max() > 1e-6
    for r in projection.symmetry:
        moved = np.abs(higher_zone_potential(projection, n @ r.T, recipe.energy_kv))
        np.testing.assert_allclose(moved, size, atol=1e-3 * size.max())


def test_it_is_a_real_potential(crystals):
    projection = project(Crystal.from_cif(crystals["triclinic"]), (1, 0, 1))
    n = projection.beams(1.5)
    here, there = (higher_zone_potential(projection, m, KV) for m in (n, -n))
    np.testing.assert_allclose(here, there.conj(), atol=1e-12)
    assert here[0].real < 0
