"""Bloch waves compared with scipy's matrix exponential, and tests of the physics."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from hybridfit.physics.bloch import DynamicalMatrix, beam_intensities
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import project
from hybridfit.physics.scattering import wavelength
from hybridfit.physics.structure_factors import structure_factors

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CASES = [
    ("SrTiO3", (0, 0, 1), 1.0),
    ("GaAs", (1, 1, 0), 0.9),  # no inversion centre: complex U
    ("triclinic", (0, 0, 1), 0.7),
    ("ZnO", (1, 1, 0), 0.7),
    ("threefold", (0, 0, 1), 0.7),
    ("monoclinic", (0, 1, 0), 0.8),
]


def matrix_of(crystals, name, zone, g_max, energy_kv=200):
    projection = project(Crystal.from_cif(crystals[name]), zone)
    beams = projection.beams(g_max)
    return DynamicalMatrix.of(projection, beams, energy_kv), projection, beams


def directions(n, seed=0, size=0.7):
    return np.random.default_rng(seed).uniform(-size, size, (n, 2))


def exact(projection, beams, q, thickness_nm):
    """|exp(iπMt/K_n)|² with M written out element by element, direction by direction, float64."""
    hkl, g = beams @ projection.basis_hkl, beams @ projection.basis
    potential = np.zeros((len(g), len(g)), complex)
    for i, j in np.ndindex(potential.shape):
        u, u_absorptive = structure_factors(projection.crystal, hkl[i] - hkl[j], 200)
        potential[i, j] = 1j * u_absorptive + (u if i != j else 0)
    k_n = np.sqrt(wavelength(200) ** -2 + structure_factors(projection.crystal, hkl[0], 200)[0].real)
    out = np.empty((len(thickness_nm), len(g), len(q)))
    for d, q_d in enumerate(q):
        two_k_s = (q_d**2).sum() - ((q_d + g) ** 2).sum(axis=1)
        m = potential + np.diag(two_k_s)
        for i, t in enumerate(thickness_nm):
            out[i, :, d] = np.abs(expm(1j * np.pi * m * 10 * t / k_n)[:, 0]) ** 2
    return out


def double(matrix, q, thickness_nm):
    return beam_intensities(matrix, q, np.asarray(thickness_nm), device="cpu", dtype=torch.complex128)


def without_absorption(matrix):
    return dataclasses.replace(matrix, potential=(matrix.potential + matrix.potential.conj().T) / 2)


def index(beams, n):
    return int(np.flatnonzero((beams == n).all(axis=1))[0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.complex64, 1e-5), (torch.complex128, 1e-11)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_equals_the_matrix_exponential(crystals, case, dtype, tolerance, device):
    matrix, projection, beams = matrix_of(crystals, *case)
    q, t = directions(4), np.array([1.0, 20.0, 60.5, 125.0])
    fast = beam_intensities(matrix, q, t, device=device, dtype=dtype)
    np.testing.assert_allclose(fast, exact(projection, beams, q, t), atol=tolerance)


def test_heavy_columns_that_absorb_much_do_not_spoil_the_precision(crystals):
    """Columns of lead: eigenvalues far from the real axis, where the polynomials grow."""
    matrix, projection, beams = matrix_of(crystals, "PbTiO3", (1, 0, 0), 1.3)
    q, t = directions(3), np.array([5.0, 39.0, 80.0])
    fast = beam_intensities(matrix, q, t, device="cpu")
    np.testing.assert_allclose(fast, exact(projection, beams, q, t), atol=1e-5)


@pytest.mark.parametrize(
    "thickness", [[3, 40, 111], [30], [25, 50, 75], [0.5, 24.9, 25.1, 80], [100, 100.01]]
)
def test_thicknesses_far_apart_equal_those_of_a_dense_list(crystals, thickness):
    matrix, _, _ = matrix_of(crystals, "SrTiO3", (0, 0, 1), 0.8)
    q = directions(5)
    dense = np.unique(np.concatenate([np.arange(1.0, 112), thickness]))
    expected = double(matrix, q, dense)[np.searchsorted(dense, thickness)]
    np.testing.assert_allclose(double(matrix, q, thickness), expected, atol=1e-11)


def test_a_direction_does_not_depend_on_its_company(crystals):
    """Directions are solved in batches, the last one smaller."""
    matrix, _, _ = matrix_of(crystals, "SrTiO3", (0, 0, 1), 0.8)
    q = directions(1201)
    together = double(matrix, q, [10, 40])
    for d in (0, 500, 1200):
        np.testing.assert_allclose(together[:, :, [d]], double(matrix, q[[d]], [10, 40]), atol=1e-12)


def test_progress_goes_up_to_one(crystals):
    matrix, _, _ = matrix_of(crystals, "SrTiO3", (0, 0, 1), 0.8)
    seen: list[float] = []
    beam_intensities(matrix, directions(1500), np.array([5.0]), device="cpu", progress=seen.append)
    assert len(seen) > 1 and sorted(seen) == seen and seen[-1] == 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_without_absorption_no_electron_is_lost(crystals, case):
    matrix = without_absorption(matrix_of(crystals, *case)[0])
    total = double(matrix, directions(20), [5, 30, 100]).sum(axis=1)
    np.testing.assert_allclose(total, 1, atol=1e-11)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_absorption_only_removes(crystals, case):
    matrix, _, _ = matrix_of(crystals, *case)
    total = double(matrix, directions(20), np.arange(1, 101)).sum(axis=1)
    assert (total < 1).all() and (np.diff(total, axis=0) < 0).all()


def test_channelling_along_heavy_columns_absorbs_more_than_the_average(crystals):
    """On the zone axis the electrons are drawn to the atoms, where the thermal scattering is."""
    matrix, _, _ = matrix_of(crystals, "SrTiO3", (0, 0, 1), 1.2)
    on, off = double(matrix, np.array([[0.0, 0.0], [1.9, 1.1]]), [10]).sum(axis=1)[0]
    average = np.exp(-2 * np.pi * matrix.potential[0, 0].imag / matrix.k_n * 100)
    assert on < off
    assert on < average


def test_an_infinitely_thin_crystal_is_no_crystal(crystals):
    matrix, _, beams = matrix_of(crystals, "GaAs", (1, 1, 0), 0.9)
    for t in (0.0, 1e-5):
        bare = np.zeros((1, len(beams), 4))
        bare[0, 0] = 1
        np.testing.assert_allclose(double(matrix, directions(4), [t]), bare, atol=1e-8)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_weak_crystal_scatters_kinematically(crystals, case):
    """I_g = (πt|U_g|/K)² sinc²(s_g t), the first Born approximation."""
    matrix = without_absorption(matrix_of(crystals, *case)[0])
    weak = dataclasses.replace(matrix, potential=matrix.potential * 1e-4)
    q, t = directions(10), 30.0
    s = matrix.excitation(q) / (2 * matrix.k_n)
    u = np.abs(weak.potential[:, :1])
    born = (np.pi * 10 * t * u / matrix.k_n) ** 2 * np.sinc(s * 10 * t) ** 2
    strongest = born[1:].max()
    np.testing.assert_allclose(double(weak, q, [t])[0, 1:], born[1:], atol=3e-3 * strongest)


def test_two_beams_exchange_electrons_as_pendulums(crystals):
    """I_g = sin²(πt √(s² + ξ⁻²)) / (1 + s²ξ²), with the extinction distance ξ = K/|U_g|."""
    projection = project(Crystal.from_cif(crystals["SrTiO3"]), (0, 0, 1))
    matrix = without_absorption(DynamicalMatrix.of(projection, np.array([[0, 0], [1, 1]]), 200))
    g = matrix.g[1]
    q = np.outer(np.linspace(-0.8, -0.2, 7), g)  # through the Bragg position q = −g/2
    t = np.arange(2.0, 120, 7)
    s = (-(2 * q @ g + g @ g)) / (2 * matrix.k_n)
    xi = matrix.k_n / abs(matrix.potential[1, 0])
    phase = np.pi * 10 * t[:, None] * np.sqrt(s**2 + xi**-2)
    expected = np.sin(phase) ** 2 / (1 + (s * xi) ** 2)
    np.testing.assert_allclose(double(matrix, q, t)[:, 1], expected, atol=1e-11)
    assert expected.max() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["SrTiO3", "GaAs", "triclinic"])
def test_reciprocity(crystals, name):
    """I_g(q) = I_g(−q−g): exchange source and detector.

    H(−q−g)_{h'k'} with h' = g − h is the transpose of H(q)_{hk} but for a constant, so this holds in
    any zone-order-zero calculation: with complex U, and with absorption.  The beams have to be
    closed under h → g − h.
    """
    projection = project(Crystal.from_cif(crystals[name]), (0, 0, 1))
    n = np.array([1, 1])
    beams = projection.beams(2.0)
    near = np.linalg.norm((beams - n / 2) @ projection.basis, axis=1) < 0.8
    beams = beams[near]  # the direct beam stays the first
    matrix = DynamicalMatrix.of(projection, beams, 200)
    at, g = index(beams, n), n @ projection.basis
    q = directions(12)
    there, back = (double(matrix, each, [7, 33])[:, at] for each in (q, -q - g))
    np.testing.assert_allclose(back, there, atol=1e-12)
    assert there.max() > 1e-3


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("SrTiO3", (0, 0, 1)),
        ("Si", (1, 1, 0)),
        ("GaAs", (1, 1, 0)),
        ("Mg", (0, 0, 1)),
        ("rutile", (2, 3, 5)),
        ("ZnO", (0, 0, 1)),
        ("threefold", (0, 0, 1)),
        ("fourfold", (0, 0, 1)),
        ("monoclinic", (0, 1, 0)),
    ],
)
def test_symmetry_of_the_projection(crystals, name, zone):
    """I_{Rg}(Rq) = I_g(q)."""
    matrix, projection, beams = matrix_of(crystals, name, zone, 1.0)
    q = directions(6)
    reference = double(matrix, q, [25])[0]
    for r in projection.symmetry:
        cartesian = projection.basis.T @ r @ np.linalg.inv(projection.basis.T)
        moved = [index(beams, n) for n in beams @ r.T]
        np.testing.assert_allclose(double(matrix, q @ cartesian.T, [25])[0, moved], reference, atol=1e-10)


@pytest.mark.parametrize(("name", "polar"), [("Si", False), ("GaAs", True)])
def test_opposite_beams_differ_in_a_polar_crystal_only(crystals, name, polar):
    """Friedel's law is kinematic: along [110], 002 and 00-2 of GaAs are told apart, ±004 of Si are not."""
    matrix, projection, beams = matrix_of(crystals, name, (1, 1, 0), 1.2)
    hkl = beams @ projection.basis_hkl
    up, down = (index(hkl, [0, 0, l]) for l in ((2, -2) if polar else (4, -4)))
    intensity = double(matrix, np.zeros((1, 2)), [10, 30, 60])[:, [up, down], 0]
    asymmetry = np.abs(intensity[:, 0] - intensity[:, 1]) / intensity.sum(axis=1)
    assert asymmetry.max() > 0.05 if polar else asymmetry.max() < 1e-9


def test_twice_the_beams_change_nothing(crystals):
    """For a light crystal 2 Å⁻¹ is enough; strontium titanate needs 2.5 to 3."""
    few, many = (matrix_of(crystals, "Mg", (0, 0, 1), g_max)[0] for g_max in (2.0, 3.0))
    assert len(many.g) > 2 * len(few.g)
    inner = np.linalg.norm(few.g, axis=1) < 1
    q = directions(8, size=0.4)
    intensity = [double(matrix, q, [10, 30, 60])[:, : len(few.g)][:, inner] for matrix in (few, many)]
    np.testing.assert_allclose(*intensity, atol=1e-3)


@pytest.mark.parametrize("case", [*CASES[:2], ("triclinic", (0, 0, 1), 1.0)], ids=lambda case: case[0])
def test_folding_far_beams_is_better_than_leaving_them_out(crystals, case):
    name, zone, g_max = case
    every, projection, _ = matrix_of(crystals, name, zone, 1.6 * g_max)
    strong = len(projection.beams(g_max))
    few = matrix_of(crystals, name, zone, g_max)[0]
    q, t = directions(30, size=0.3), [10, 30]
    truth = double(every, q, t)[:, :strong]
    folded, cut = (np.square(double(m, q, t) - truth).mean() for m in (every.folded(strong), few))
    assert folded < 0.4 * cut


def test_folding_loses_no_electrons_on_the_way(crystals):
    """What weak beams hold that does not follow the strong ones is left out: the same at all depths."""
    matrix = without_absorption(matrix_of(crystals, "GaAs", (1, 1, 0), 2.6)[0])
    total = beam_intensities(
        matrix.folded(75, overlap=0.1),
        directions(12, size=0.5),
        np.array([5.0, 30, 100]),
        keep=len(matrix.g),
        device="cpu",
        dtype=torch.complex128,
    ).sum(axis=1)
    np.testing.assert_allclose(total, np.broadcast_to(total[0], total.shape), atol=1e-6)
    np.testing.assert_allclose(total, 1, atol=5e-3)


def test_more_beams_can_be_handed_out_than_are_strong_where_all_are_folded_on_the_axis(crystals):
    """Heavy crystals: weak beams overlap too much with the strong ones for tiles of their own."""
    every, projection, _ = matrix_of(crystals, "GaAs", (1, 1, 0), 2.6)
    strong, handed = (len(projection.beams(g)) for g in (1.2, 2.2))
    q, t = directions(12, size=0.3), np.array([5.0, 30])
    truth = beam_intensities(every, q, t, keep=handed, device="cpu")
    found = beam_intensities(every.folded(strong, overlap=0.0), q, t, keep=handed, device="cpu")
    assert np.abs(found - truth).max() < 2e-3


def test_far_off_the_axis_other_beams_are_strong(crystals):
    """At 36 mrad from the axis a library is as good as on it."""
    projection = project(Crystal.from_cif(crystals["SrTiO3"]), (0, 0, 1))
    every = DynamicalMatrix.of(projection, projection.beams(6.0), 200)
    strong = len(projection.beams(2.6))
    q, t = np.array([[1.43, 0.0], [1.0, 1.02]]), np.array([10.0, 40.0])
    truth = beam_intensities(
        dataclasses.replace(every, radii=(4.3, 4.3), kept=strong),
        q,
        t,
        keep=177,
        device="cpu",
        dtype=torch.complex128,
    )
    found = beam_intensities(every.folded(strong, 4.16), q, t, keep=177, device="cpu")
    assert np.abs(found - truth).max() < 6e-4 * truth.max()
    few = beam_intensities(
        dataclasses.replace(every, potential=every.potential[:strong, :strong], g=every.g[:strong]),
        q,
        t,
        keep=177,
        device="cpu",
    )
    assert np.abs(few - truth).max() > 20 * np.abs(found - truth).max()


def test_neighbouring_tiles_agree_at_their_edge(crystals):
    projection = project(Crystal.from_cif(crystals["SrTiO3"]), (0, 0, 1))
    matrix = DynamicalMatrix.of(projection, projection.beams(4.7), 200).folded(
        len(projection.beams(2.6)), 4.16
    )
    q = np.array([[0.21 - 2e-6, 0.3], [0.21 + 2e-6, 0.3]])  # 0.21 is between tiles of 0.06
    below, above = np.moveaxis(double(matrix, q, [10, 40]), 2, 0)
    assert np.abs(below - above).max() < 4e-4


def test_folding_nothing_changes_nothing(crystals):
    matrix, _, beams = matrix_of(crystals, "SrTiO3", (0, 0, 1), 0.8)
    np.testing.assert_array_equal(matrix.folded(len(beams)).potential, matrix.potential)
