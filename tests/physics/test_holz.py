"""HOLZ lines: tiles compared with all beams at once and with multislice, and tests of the physics."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from multislice import multislice

from hybridfit.physics import holz
from hybridfit.physics.bloch import DynamicalMatrix, beam_intensities
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.higher_zones import HigherZones
from hybridfit.physics.projection import project, project_all
from hybridfit.physics.scattering import wavelength
from hybridfit.physics.structure_factors import structure_factors

T = np.array([20.0, 60.0])
SHOWN = 21  # beams that are compared


class Case:
    """A crystal along an axis, with few beams of the zero-order zone."""

    def __init__(self, crystal, zone, energy_kv=200.0, g_max=1.2, folded=1.0, reach=8.0):
        self.kv, self.to_mrad = energy_kv, 1e3 * wavelength(energy_kv)
        self.projection = project_all([crystal], zone, holz=True)[0]
        self.strong = len(self.projection.beams(g_max))
        self.every = self.projection.beams(folded * g_max)
        self.matrix = holz.HolzMatrix.of(
            self.projection, self.every, self.strong, energy_kv, np.array([[reach / self.to_mrad, 0.0]])
        )

    def without_lines(self) -> DynamicalMatrix:
        zero = DynamicalMatrix.of(self.projection, self.every, self.kv, higher_zones=True)
        return zero.folded(self.strong)

    def without_absorption(self) -> holz.HolzMatrix:
        couplings = self.matrix.couplings
        hermitian = (couplings.values + couplings.values[::-1].conj()) / 2
        return replace(self.matrix, couplings=replace(couplings, values=hermitian))

    def block(self, centre, step=0.2, side=8) -> np.ndarray:
        """Directions (Å⁻¹) of a square of neighbours, from its middle (mrad)."""
        axis = step * (np.arange(side) - (side - 1) / 2)
        return (np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2) + centre) / self.to_mrad


def solved(matrix, q, keep=SHOWN):
    return holz.intensities(matrix, q, T, keep=keep, device="cpu", dtype=torch.complex128)


@pytest.fixture(scope="module")
def titanate(crystals):
    return Case(Crystal.from_cif(crystals["SrTiO3"]), (0, 1, 1))


def dense(case: Case, q: np.ndarray) -> np.ndarray:
    """|ψ|² (T, SHOWN) of a direction with all beams within `far`, none folded: one eigen-solve."""
    projection, crystal, k = case.projection, case.projection.crystal, case.matrix.zero.k_n
    zone, direct = np.array(projection.zone), crystal.direct_basis
    span = np.ceil(holz.ZONES.longest_line * np.linalg.norm(direct, axis=1)).astype(int)
    hkl = np.stack(np.meshgrid(*(np.arange(-s, s + 1) for s in span), indexing="ij"), -1).reshape(-1, 3)
    phases = hkl @ crystal.centring_translations().T
    hkl = hkl[(hkl @ zone != 0) & (np.abs(phases - phases.round()) < 1e-3).all(axis=1)]
    hkl = np.concatenate([case.every @ projection.basis_hkl, hkl])
    g = hkl @ crystal.reciprocal_basis
    g_z = g @ (zone @ direct) / np.linalg.norm(zone @ direct)
    plane = projection.basis_hkl @ crystal.reciprocal_basis
    across = np.linalg.solve(projection.basis, plane @ g.T).T
    diagonal = -2 * (across @ q + g_z * np.sqrt(k**2 - q @ q)) - (g**2).sum(axis=1)
    near = (np.abs(diagonal) < holz.ZONES.far) & ((g**2).sum(axis=1) < holz.ZONES.longest_line**2)
    near[: len(case.every)] = True
    hkl, g_z, diagonal = hkl[near], g_z[near], diagonal[near]
    keys = (hkl + 100) @ (401**2, 401, 1)
    different, where = np.unique(keys[:, None] - keys[None], return_inverse=True)
    one = different + 200 * (401**2 + 401 + 1)
    one = np.stack([one // 401**2, one // 401 % 401, one % 401], axis=1) - 200
    elastic, absorptive = structure_factors(crystal, one, case.kv)
    elastic[(one == 0).all(axis=1)] = 0
    m = (elastic + 1j * absorptive)[where].reshape(len(hkl), -1) + np.diag(diagonal)
    differences = case.every[:, None] - case.every[None]
    virtual = HigherZones(projection, case.kv).potential(differences, q, holz.ZONES.far / (2 * k))
    np.fill_diagonal(virtual, 0)
    m[: len(virtual), : len(virtual)] += virtual
    scale = 1 / np.sqrt(1 + g_z / k)
    levels, states = np.linalg.eig(m * np.outer(scale, scale))
    start = np.linalg.solve(states, np.eye(len(m))[:, 0])
    return np.abs([states[:SHOWN] @ (start * np.exp(10j * np.pi / k * t * levels)) for t in T]) ** 2


@pytest.mark.parametrize(
    ("name", "zone", "energy_kv", "centre"),
    [
        ("SrTiO3", (0, 1, 1), 200.0, (2.0, 1.1)),
        ("SrTiO3", (0, 1, 1), 200.0, (-5.3, 3.2)),
        ("GaAs", (1, 1, 0), 200.0, (1.4, -3.0)),  # centred; complex U
        ("rutile", (0, 0, 1), 80.0, (4.1, 0.7)),
    ],
)
def test_tiles_equal_the_solve_with_every_beam_at_once(crystals, monkeypatch, name, zone, energy_kv, centre):
    monkeypatch.setattr(holz, "ZONES", dataclasses.replace(holz.ZONES, longest_line=4.6, far=3.0))
    case = Case(Crystal.from_cif(crystals[name]), zone, energy_kv)
    q = case.block(centre)
    found, plain = (
        solved(case.matrix, q),
        beam_intensities(case.without_lines(), q, T, keep=SHOWN, device="cpu"),
    )
    random = np.random.default_rng(1).choice(len(q), 2, replace=False)
    for d in random:
        exact = dense(case, q[d])
        off, ignored = (np.abs(each[:, :, d] - exact).max() for each in (found, plain))
        assert off < 2e-4
        assert off < 0.3 * ignored


def test_lines_are_those_of_multislice_in_three_dimensions(crystals):
    """A line through the direct disc at 100 kV, 39 nm: beams of the first zone take 2 % of the direct one."""
    crystal = Crystal.from_cif(crystals["SrTiO3"])
    case = Case(crystal, (0, 0, 1), 100.0, g_max=2.0, folded=1.5)
    q = np.array([[2.05, 1.3], [2.5, 1.3], [5.5, 1.3]]) / case.to_mrad
    cells = 100
    nm = np.array([cells * crystal.cell[2] / 10])
    zero = case.without_lines()
    zero = replace(zero, potential=(zero.potential + zero.potential.conj().T) / 2)
    options = {"device": "cpu", "dtype": torch.complex128, "keep": 40}
    plain = beam_intensities(zero, q, nm, **options)[0]
    lines = holz.intensities(case.without_absorption(), q, nm, **options)[0]
    hkl = case.every[:40] @ case.projection.basis_hkl
    off = []
    for i, direction in enumerate(q):
        expected = multislice(crystal, direction, cells, 100.0)[hkl[:, 0], hkl[:, 1]]
        off.append([np.abs(each[:, i] - expected).max() for each in (plain, lines)])
    without, with_them = np.transpose(off)
    assert without.max() > 4e-3
    assert with_them.max() < 2e-3


def test_without_absorption_no_electron_is_lost(titanate):
    matrix = titanate.without_absorption().near(titanate.block((1.0, 2.0)))
    q = titanate.block((1.0, 2.0), side=3)
    whole = beam_intensities(matrix, q, T, device="cpu", dtype=torch.complex128)
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-11)
    zone = whole[:, : titanate.strong].sum(axis=1)
    assert 1e-4 < (1 - zone).max() < 0.1


def test_no_jumps_where_tiles_meet(titanate, monkeypatch):
    q = np.stack([np.linspace(-4, 4, 81), np.full(81, 1.7)], axis=1) / titanate.to_mrad
    few = holz.tiles(q, 27)
    parts = np.empty((len(T), SHOWN, len(q)))
    for tile in few:
        parts[:, :, tile] = solved(titanate.matrix, q[tile])
    borders = [int(tile.max()) for tile in few if tile.max() < len(q) - 1]
    assert borders
    for i in borders:  # both sides of a border, solved together
        together = solved(titanate.matrix, q[i - 3 : i + 5])
        np.testing.assert_allclose(parts[:, :, i - 3 : i + 5], together, atol=3e-4)


def test_tiles_hold_every_direction_once():
    q = np.random.default_rng(0).uniform(-0.3, 0.3, (200, 2)) * [1, 0.3]
    tiles = holz.tiles(q, 20)
    assert max(map(len, tiles)) <= 20
    np.testing.assert_array_equal(np.sort(np.concatenate(tiles)), np.arange(200))
    assert max(np.ptp(q[tile], axis=0).max() for tile in tiles) < 0.4


def test_without_beams_near_the_sphere_it_is_the_solve_without_lines(crystals, monkeypatch):
    monkeypatch.setattr(holz.HolzMatrix.near, "__defaults__", (np.complex128, 0.0))
    monkeypatch.setattr(holz, "ZONES", dataclasses.replace(holz.ZONES, far=0.0))
    case = Case(Crystal.from_cif(crystals["SrTiO3"]), (0, 0, 1), folded=1.5)
    q = case.block((0.0, 0.0), side=2)
    plain = beam_intensities(case.without_lines(), q, T, keep=SHOWN, device="cpu")
    np.testing.assert_allclose(solved(case.matrix, q), plain, atol=3e-5)


@pytest.mark.parametrize(
    ("name", "zone", "orders"),
    [
        ("SrTiO3", (1, 1, 1), (12, 6)),
        ("SrTiO3", (1, 1, 2), (4, 2)),
        ("Mg", (0, 0, 1), (12, 12)),
        ("Si", (1, 1, 0), (4, 4)),
    ],
)
def test_symmetry_of_the_crystal_holds_and_that_of_the_projection_alone_does_not(
    crystals, name, zone, orders
):
    """I_{Rg}(Rq) = I_g(q)."""
    crystal = Crystal.from_cif(crystals[name])
    flat = project(crystal, zone)
    case = Case(crystal, zone, 100.0, g_max=0.9)
    kept = case.projection.symmetry
    assert (len(flat.symmetry), len(kept)) == orders
    beams = case.every
    off = {True: [0.0], False: []}
    q = case.block((1.3, 2.9), step=0.8, side=6)
    here = solved(case.matrix, q, len(beams))
    for r in flat.symmetry[1:]:
        turn = flat.basis.T @ r @ np.linalg.inv(flat.basis.T)
        there = solved(case.matrix, q @ turn.T, len(beams))
        moved = [int(np.flatnonzero((beams == n).all(axis=1))[0]) for n in beams @ r.T]
        mine = any(np.array_equal(r, own) for own in kept)
        off[mine].append(np.abs(there[:, moved] - here).max())
    assert max(off[True]) < 2e-4
    assert all(each > 8e-4 for each in off[False])


def test_strained_and_displaced_crystals_have_lines_of_their_own(crystals):
    """On their common basis, which may have more reflections than each of them."""
    silicon = Crystal.from_cif(crystals["Si"])
    moved = silicon.positions.copy()
    moved[0] += [0.0, 0.0, 0.01]  # takes the centring away
    lone = replace(silicon, positions=moved)
    every = project_all([silicon, lone], (0, 0, 1), holz=True)
    q = np.array([[1.0, 0.4], [1.2, 0.4]]) / (1e3 * wavelength(200.0))
    beams = every[0].beams(1.1)
    alone = project(silicon, (0, 0, 1))
    shared, own = (
        solved(holz.HolzMatrix.of(projection, n, len(n), 200.0, q), q, keep=1)
        for projection, n in ((every[0], beams), (alone, alone.beams(1.1)))
    )
    np.testing.assert_allclose(shared, own, atol=1e-4)


def test_progress_goes_up_to_one(titanate):
    seen: list[float] = []
    q = titanate.block((0.0, 0.0), side=9)
    holz.intensities(titanate.matrix, q, np.array([5.0]), device="cpu", progress=seen.append)
    assert len(seen) > 1 and sorted(seen) == seen and seen[-1] == 1
