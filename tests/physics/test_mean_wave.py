"""The mean wave of vibrating atoms: averages over displacements, and other numerical methods."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.physics.crystal import Crystal
from hybridfit.physics.mean_wave import Species, correction, mean_transmission
from hybridfit.physics.scattering import absorptive_factor, elastic_factor, lorentz_factor, wavelength
from hybridfit.physics.structure_factors import structure_factors

G = np.array([0.0, 0.3, 1.0, 2.2, 4.0])


def phase_of(element: str, r: np.ndarray, energy_kv: float) -> np.ndarray:
    """The phase of an atom at distances r (Å), by a sum over f(g)."""
    g = np.arange(0.005, 40, 0.01)
    from scipy.special import j0

    kernel = 2 * np.pi * j0(2 * np.pi * np.multiply.outer(r, g)) * g * 0.01
    return lorentz_factor(energy_kv) * wavelength(energy_kv) * kernel @ elastic_factor(element, g)


def test_mean_transmission_is_the_mean_over_displacements():
    b, r0 = 0.62, 0.3
    rng = np.random.default_rng(1)
    moved = np.hypot(*(np.array([[r0], [0]]) + rng.normal(0, np.sqrt(b / (8 * np.pi**2)), (2, 4000))))
    drawn = np.exp(1j * phase_of("Sr", moved, 200.0))
    r, mean = mean_transmission([Species("Sr", b, 1.0)], 200.0)
    own = np.interp(r0, r, mean.real) + 1j * np.interp(r0, r, mean.imag)
    assert abs(own - drawn.mean()) < 4 * drawn.std() / np.sqrt(4000)


@pytest.mark.parametrize(("element", "b", "share"), [("O", 0.73, 0.002), ("Sr", 0.62, 0.02)])
def test_correction_is_a_small_share_of_light_atoms(element, b, share):
    found = correction([Species(element, b, 1.0)], G, 200.0)
    assert np.abs(found).max() < share * elastic_factor(element, np.array(0.0))


def test_correction_is_of_higher_order_in_the_phase():
    # at a higher energy the phase is weaker: the third order falls with its square, over γλ
    low, high = 200.0, 1000.0
    ratio = lorentz_factor(high) * wavelength(high) / (lorentz_factor(low) * wavelength(low))
    a, b = (correction([Species("O", 0.73, 1.0)], G[:3], kv).real for kv in (low, high))
    np.testing.assert_allclose(b / a, ratio**2, rtol=0.05)


def test_atom_at_rest_needs_none():
    assert not correction([Species("Au", 0.0, 1.0)], G, 300.0).any()


def test_mixed_site_of_one_element_is_that_element():
    one = correction([Species("Sr", 0.62, 1.0)], G, 200.0)
    halves = correction([Species("Sr", 0.62, 0.5), Species("Sr", 0.62, 0.5)], G, 200.0)
    np.testing.assert_allclose(halves, one, atol=1e-12)


def test_vacancies_absorb_to_second_order_as_their_variance():
    # at rest, o (1 − o) φ²/2 is the variance of the phase: its transform at g = 0
    o = 0.97
    found = correction([Species("O", 0.0, o)], np.array([0.0]), 1000.0)[0].imag
    r = np.arange(0.0005, 6, 0.001)
    strength = lorentz_factor(1000.0) * wavelength(1000.0)
    variance = (2 * np.pi * r * 0.001 * phase_of("O", r, 1000.0) ** 2).sum() * o * (1 - o) / 2 / strength
    assert found == pytest.approx(variance, rel=0.05)


def test_crowded_site_keeps_the_closed_form():
    assert not correction([Species("Sr", 0.6, 0.8), Species("La", 0.6, 0.8)], G, 200.0).any()


def test_structure_factors_keep_the_symmetry_of_the_crystal(crystals):
    crystal = Crystal.from_cif(crystals["SrTiO3"])
    hkl = np.array([[1, 0, 0], [0, 1, 0], [0, -1, 0], [1, 1, 0], [1, -1, 0]])
    for factors in structure_factors(crystal, hkl, 200.0):
        np.testing.assert_allclose(factors[:3], factors[0], rtol=1e-9)
        np.testing.assert_allclose(factors[3:], factors[3], rtol=1e-9)


def test_correction_is_added_to_both_parts(crystals):
    crystal, hkl = Crystal.from_cif(crystals["SrTiO3"]), np.array([[1, 1, 0]])
    new, old = (structure_factors(crystal, hkl, 200.0, corrected=c) for c in (True, False))
    changes = [abs(a[0] / b[0] - 1) for a, b in zip(new, old, strict=True)]
    assert 1e-4 < changes[0] < 0.02 and 1e-4 < changes[1] < 0.05


def test_absorption_stays_positive():
    for element, b, kv in (("Pb", 1.0, 80.0), ("Au", 0.6, 300.0), ("Sr", 0.62, 200.0)):
        g = np.linspace(0, 3, 7)
        total = absorptive_factor(element, g, b, kv)
        total = total + correction([Species(element, b, 1.0)], g, kv).imag
        assert total[0] > 0
