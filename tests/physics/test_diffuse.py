"""Thermal diffuse scattering: the kinematic limit, symmetry, reciprocity, convergence."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hybridfit.library.recipe import shipped_folder
from hybridfit.physics import diffuse
from hybridfit.physics.bloch import DynamicalMatrix
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import project
from hybridfit.physics.scattering import elastic_factor, lorentz_factor, wavelength

pytestmark = pytest.mark.usefixtures("shipped_diffuse")
ENERGY = 200.0
TO_MRAD = 1e3 * wavelength(ENERGY)
INCIDENT = np.array([[0.0, 0.0], [0.11, 0.05]])
EXITS = np.array([[0.3, 0.07], [0.5, 0.2], [1.0, 0.3], [0.0, 1.2]])


def crystal_of(name, zone, g_max=2.0):
    projection = project(Crystal.from_cif(shipped_folder() / f"{name}.cif"), zone)
    return projection, DynamicalMatrix.of(projection, projection.beams(g_max), ENERGY)


@pytest.fixture(scope="module")
def titanate():
    return crystal_of("SrTiO3", (0, 0, 1))


def kinematic(crystal, q, p, thickness_nm):
    """Σ (γλf)² (1 − e^{−2Bs²}) t/V per mrad²."""
    g = np.linalg.norm(p[None] - q[:, None], axis=2)
    total = np.zeros(g.shape)
    for element, b, o in zip(crystal.elements, crystal.debye_waller, crystal.occupancies, strict=True):
        f = lorentz_factor(ENERGY) * wavelength(ENERGY) * elastic_factor(element, g)
        total += o * f**2 * (1 - np.exp(-b * g**2 / 2))
    return total / crystal.volume * 10 * thickness_nm / TO_MRAD**2


@pytest.mark.parametrize(
    ("name", "zone"), [("SrTiO3", (0, 0, 1)), ("GaAs", (1, 1, 0)), ("PbTiO3", (1, 0, 0))]
)
def test_a_thin_crystal_scatters_kinematically(name, zone):
    projection, matrix = crystal_of(name, zone)
    steps = np.array([0.02, 0.04])
    found = diffuse.diffuse_intensity(projection, matrix, ENERGY, INCIDENT, EXITS, steps)
    expected = [kinematic(projection.crystal, INCIDENT, EXITS, t) for t in steps]
    assert found == pytest.approx(np.array(expected), rel=0.06)


def test_the_symmetry_of_the_crystal_is_that_of_its_diffuse_intensity(titanate):
    projection, matrix = titanate
    steps = 2.5 * np.arange(1, 5)
    plain = diffuse.diffuse_intensity(projection, matrix, ENERGY, INCIDENT[1:], EXITS, steps)
    to_lattice = np.linalg.inv(projection.basis)
    for r in projection.symmetry:
        turn = projection.basis.T @ r @ to_lattice.T
        turned = diffuse.diffuse_intensity(
            projection, matrix, ENERGY, INCIDENT[1:] @ turn.T, EXITS @ turn.T, steps
        )
        assert turned == pytest.approx(plain, rel=5e-3)


@pytest.mark.parametrize(
    ("name", "zone", "folded"),
    [("SrTiO3", (0, 0, 1), True), ("TiO2_rutile", (0, 0, 1), False), ("PbTiO3", (1, 0, 0), True)],
)
def test_what_symmetry_makes_equal_is_solved_once(name, zone, folded):
    """The same numbers with a part of the work: of images of one exit, and of some that have none."""
    projection, matrix = crystal_of(name, zone)
    if folded:
        matrix = DynamicalMatrix.of(projection, projection.beams(3.0), ENERGY)
        matrix = matrix.folded_roughly(len(projection.beams(1.4)), 2.6)
    n = np.stack(np.meshgrid(np.arange(-4, 5), np.arange(-5, 6), indexing="ij"), axis=-1).reshape(-1, 2)
    exits = np.concatenate([n @ projection.basis / 3, EXITS])
    steps = 2.5 * np.arange(1, 6)
    found, known = (
        diffuse.diffuse_intensity(projection, matrix, ENERGY, INCIDENT, exits, steps, symmetry=operations)
        for operations in (projection.symmetry, None)
    )
    assert found == pytest.approx(known, abs=3e-5 * float(known.max()))


def test_operations_that_are_no_symmetry_are_not_used():
    projection, matrix = crystal_of("PbTiO3", (1, 0, 0))
    inversion = np.stack([np.eye(2, dtype=np.int64), -np.eye(2, dtype=np.int64)])
    exits = np.concatenate([EXITS, -EXITS])
    found, known = (
        diffuse.diffuse_intensity(
            projection, matrix, ENERGY, INCIDENT, exits, 2.5 * np.arange(1, 4), symmetry=operations
        )
        for operations in (inversion, None)
    )
    assert found == pytest.approx(known, abs=1e-6 * float(known.max()))


def test_what_goes_in_can_come_out(titanate):
    """Reciprocity: the same from q to p as from −p to −q, in a crystal with an inversion centre."""
    projection, matrix = titanate
    steps = 2.5 * np.arange(1, 7)
    there = diffuse.diffuse_intensity(projection, matrix, ENERGY, INCIDENT[1:], EXITS[:1], steps)
    back = diffuse.diffuse_intensity(projection, matrix, ENERGY, -EXITS[:1], -INCIDENT[1:], steps)
    assert there == pytest.approx(back, rel=5e-3, abs=1e-3 * float(back.max()))


@pytest.mark.parametrize("finer", [{"orders": 5}, {"reach": 3.6}, {"spacing": 0.1}, {"smallest": 3e-4}])
def test_the_settings_are_fine_enough(titanate, monkeypatch, finer):
    projection, matrix = titanate
    steps = 2.0 * np.arange(1, 7)
    usual = diffuse.diffuse_intensity(projection, matrix, ENERGY, INCIDENT, EXITS, steps)
    monkeypatch.setattr(diffuse, "DIFFUSE", dataclasses.replace(diffuse.DIFFUSE, **finer))
    better = diffuse.diffuse_intensity(projection, matrix, ENERGY, INCIDENT, EXITS, steps)
    assert usual == pytest.approx(better, abs=0.015 * float(better.max()))


def test_half_the_step_in_depth_changes_little(titanate):
    projection, matrix = titanate
    n = np.arange(-4, 5) * 0.22
    p = np.stack(np.meshgrid(n, n, indexing="ij"), axis=-1).reshape(-1, 2)
    coarse = diffuse.diffuse_intensity(projection, matrix, ENERGY, INCIDENT, p, 2.4 * np.arange(1, 11))
    fine = diffuse.diffuse_intensity(projection, matrix, ENERGY, INCIDENT, p, 1.2 * np.arange(1, 21))[1::2]
    off = np.sqrt(((coarse - fine) ** 2).mean(axis=(1, 2)))
    assert (off[3:] < 0.025 * fine.mean(axis=(1, 2))[3:]).all()


def test_thicknesses_that_are_not_equally_spaced_are_refused(titanate):
    with pytest.raises(ValueError, match="equally spaced"):
        diffuse.diffuse_intensity(*titanate, ENERGY, INCIDENT, EXITS, np.array([1.0, 2.0, 4.0]))


def test_atoms_behind_each_other_are_one_site(titanate):
    sites = diffuse.sites_of(titanate[0])
    assert sorted((s.element, s.count) for s in sites) == [("O", 1.0)] * 3 + [("Sr", 1.0), ("Ti", 1.0)]
    projection, _ = crystal_of("GaAs", (1, 1, 0))
    assert sum(s.count for s in diffuse.sites_of(projection)) == len(projection.crystal.elements)


def test_folding_far_beams_loses_nothing_of_it(titanate):
    """Fewer strong beams, those beyond them from these, and wide tiles: half a per cent."""
    projection, _ = titanate
    every = DynamicalMatrix.of(projection, projection.beams(4.0), ENERGY)
    fewer, more = (len(projection.beams(g)) for g in (1.8, 2.6))
    steps = 2.4 * np.arange(1, 9)
    found, known = (
        diffuse.diffuse_intensity(projection, every.folded_roughly(n, 3.8), ENERGY, INCIDENT, EXITS, steps)
        for n in (fewer, more)
    )
    assert found == pytest.approx(known, abs=6e-3 * float(known.max()))
