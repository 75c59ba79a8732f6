"""Scattering factors against quadrature, conservation of electrons, and other tables."""

from __future__ import annotations

import dataclasses

import gemmi
import numpy as np
import pytest
from scipy import constants

from hybridfit.errors import RecipeError
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.scattering import (
    absorptive_factor,
    elastic_factor,
    lorentz_factor,
    scattering_factor_coefficients,
    wavelength,
)
from hybridfit.physics.structure_factors import elastic_structure_factors, structure_factors

ATOMS = [("Sr", 0.62), ("O", 0.73), ("Au", 0.25)]


@pytest.mark.parametrize(
    ("energy_kv", "expected"), [(80, 0.04176), (120, 0.03349), (200, 0.02508), (300, 0.01969)]
)
def test_wavelength_is_the_relativistic_one(energy_kv, expected):
    assert wavelength(energy_kv) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("element", ["O", "Si", "Ti", "Sr", "Au"])
def test_elastic_factor_obeys_mott_and_bethe(element):
    """f(s) = (Z − f_x(s))/(8π² a₀ s²), with the X-ray factor of another table."""
    s = np.linspace(0.15, 1.0, 30)
    x_ray = gemmi.Element(element).it92
    f_x = np.array([x_ray.calculate_sf(s2) for s2 in s**2])
    expected = (gemmi.Element(element).atomic_number - f_x) / (8 * np.pi**2 * 0.529177 * s**2)
    np.testing.assert_allclose(elastic_factor(element, 2 * s), expected, rtol=0.03)


@pytest.mark.parametrize("energy_kv", [80, 200])
@pytest.mark.parametrize(("element", "b"), ATOMS)
def test_forward_absorption_is_the_optical_theorem(element, b, energy_kv):
    """The direct beam loses, 2πU'₀/K per length, what one atom scatters thermally, σ/V."""
    s = np.linspace(0, 12, 60_001)
    f = elastic_factor(element, 2 * s)
    solid_angle = (2 * wavelength(energy_kv)) ** 2 * 2 * np.pi * s  # dΩ/ds, s = θ/2λ
    sigma = np.trapezoid((lorentz_factor(energy_kv) * f) ** 2 * -np.expm1(-2 * b * s**2) * solid_angle, s)
    u_0 = lorentz_factor(energy_kv) / np.pi * absorptive_factor(element, np.array(0.0), b, energy_kv)  # × V
    assert 2 * np.pi * u_0 * wavelength(energy_kv) == pytest.approx(sigma, rel=1e-5)


@pytest.mark.parametrize("s", [0.0, 0.13, 0.4, 0.9])
@pytest.mark.parametrize(("element", "b"), ATOMS)
def test_absorptive_factor_is_the_convolution_of_bird_and_king(element, b, s):
    """f'(s) = 2γλ ∫ f(|s/2 + s'|) f(|s/2 − s'|) [1 − exp(−2B(s'² − s²/4))] d²s'."""
    axis = np.linspace(-9, 9, 901)
    x, y = np.meshgrid(axis, axis)
    product = elastic_factor(element, 2 * np.hypot(x + s / 2, y)) * elastic_factor(
        element, 2 * np.hypot(x - s / 2, y)
    )
    integrand = product * -np.expm1(-2 * b * (x**2 + y**2 - s**2 / 4))
    integral = integrand.sum() * (axis[1] - axis[0]) ** 2
    expected = np.exp(-b * s**2) * 2 * lorentz_factor(200) * wavelength(200) * integral
    assert absorptive_factor(element, np.array(2 * s), b, 200) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_an_atom_at_rest_absorbs_nothing():
    np.testing.assert_allclose(absorptive_factor("Ti", np.linspace(0, 4, 9), 0.0, 200), 0, atol=1e-15)


def test_mean_absorption_of_strontium_titanate(crystals):
    second_order = {"corrected": False}
    _, absorptive = structure_factors(
        Crystal.from_cif(crystals["SrTiO3"]), np.zeros((1, 3), int), 200, **second_order
    )
    assert absorptive[0].real == pytest.approx(0.00258, abs=5e-6)


@pytest.mark.parametrize("name", ["SrTiO3", "GaAs", "triclinic"])
def test_potentials_are_real_in_space(crystals, name):
    """U_{−g} = U_g*, with or without an inversion centre; and likewise U'."""
    hkl = np.random.default_rng(0).integers(-4, 5, (30, 3))
    crystal = Crystal.from_cif(crystals[name])
    for there, back in zip(
        structure_factors(crystal, hkl, 200), structure_factors(crystal, -hkl, 200), strict=True
    ):
        np.testing.assert_allclose(back, there.conj(), atol=1e-15)


def test_gallium_arsenide_has_a_complex_potential(crystals):
    elastic, _ = structure_factors(Crystal.from_cif(crystals["GaAs"]), np.array([1, 1, 1]), 200)
    assert abs(elastic.imag) > 0.1 * abs(elastic)


def test_the_potential_is_highest_at_the_atoms(crystals):
    """U(r) = Σ_g U_g exp(2πi g·r): it tells the atoms from their mirror images."""
    crystal = Crystal.from_cif(crystals["triclinic"])
    hkl = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3), -1).reshape(-1, 3)
    elastic, _ = structure_factors(crystal, hkl, 200)
    r = np.vstack([crystal.positions, -crystal.positions])
    potential = (np.exp(2j * np.pi * r @ hkl.T) @ elastic).real
    assert potential[:3].min() > 5 * np.abs(potential[3:]).max()


def test_mean_inner_potential_of_silicon(crystals):
    """V₀ = U₀h²/(2m₀eγ): 13.9 V for free atoms."""
    elastic, _ = structure_factors(Crystal.from_cif(crystals["Si"]), np.zeros(3, int), 200)
    h2_over_2me = 1e20 * constants.h**2 / (2 * constants.m_e * constants.e)  # V Å²
    assert elastic.real * h2_over_2me / lorentz_factor(200) == pytest.approx(13.9, abs=0.1)


def test_vibrations_damp_the_potential(crystals):
    """By exp(−Bs²), s = g/2."""
    crystal, hkl = Crystal.from_cif(crystals["Si"]), np.array([[1, 1, 1], [2, 2, 0], [4, 0, 0]])
    at_rest = dataclasses.replace(crystal, debye_waller=np.zeros(8))
    s = np.linalg.norm(hkl, axis=1) / 5.431 / 2
    damped, rigid = (elastic_structure_factors(each, hkl, 200) for each in (crystal, at_rest))
    np.testing.assert_allclose(damped, rigid * np.exp(-0.46 * s**2), atol=1e-12)


def test_a_shift_of_the_origin_changes_phases_only(crystals):
    crystal, shift = Crystal.from_cif(crystals["GaAs"]), np.array([0.11, 0.27, -0.4])
    moved = dataclasses.replace(crystal, positions=crystal.positions + shift)
    hkl = np.array([[1, 1, 1], [2, 0, 0], [3, -1, 1]])
    phase = np.exp(-2j * np.pi * hkl @ shift)
    for before, after in zip(
        structure_factors(crystal, hkl, 200), structure_factors(moved, hkl, 200), strict=True
    ):
        np.testing.assert_allclose(after, before * phase, atol=1e-14)


def test_the_choice_of_cell_changes_nothing(crystals):
    """A cell twice as long along c has the same U, at twice the index."""
    one = Crystal.from_cif(crystals["SrTiO3"])
    half = one.positions * [1, 1, 0.5]
    two = Crystal(
        cell=(*one.cell[:2], 2 * one.cell[2], *one.cell[3:]),
        elements=one.elements * 2,
        positions=np.vstack([half, half + np.array([0, 0, 0.5])]),
        occupancies=np.tile(one.occupancies, 2),
        debye_waller=np.tile(one.debye_waller, 2),
    )
    hkl = np.array([[0, 0, 0], [1, 0, 1], [1, 1, 2]])
    for a, b in zip(
        structure_factors(one, hkl, 200), structure_factors(two, hkl * [1, 1, 2], 200), strict=True
    ):
        np.testing.assert_allclose(b, a, atol=1e-14)


def test_two_half_occupied_sites_are_one(crystals):
    one = Crystal.from_cif(crystals["SrTiO3"])
    halves = Crystal(
        cell=one.cell,
        elements=one.elements * 2,
        positions=np.tile(one.positions, (2, 1)),
        occupancies=np.tile(one.occupancies / 2, 2),
        debye_waller=np.tile(one.debye_waller, 2),
    )
    hkl = np.array([[0, 0, 0], [1, 0, 0], [2, 1, 0]])
    for a, b in zip(structure_factors(one, hkl, 200), structure_factors(halves, hkl, 200), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-14)


@pytest.mark.parametrize("element", ["Xx", "Es", ""])
def test_an_element_without_scattering_factor_is_named(element):
    with pytest.raises(RecipeError, match=f"no electron scattering factor for element '{element}'"):
        scattering_factor_coefficients(element)
