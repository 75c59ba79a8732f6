"""Electron scattering: constants, structure factors, thermal diffuse absorption.

    f_j(s) = Σ_i a_i exp(−b_i s²)                      s = g/2 (Å⁻¹), f in Å  [1]
    U_g    = γ/(πV) Σ_j o_j f_j(g) exp(−B_j g²/4) exp(−2πi g·r_j)
    U'_g   = γ/(πV) Σ_j o_j (e^{−Bs²} f')_j exp(−2πi g·r_j)

with the Einstein model of thermal diffuse absorption [2, 3], in closed form for Gaussians:

    e^{−Bs²} f'(s) = 2γλ Σ_ij a_i a_j π { e^{−Bs²} e^{−b_i b_j s²/(b_i+b_j)} / (b_i+b_j)
                                          − e^{−(b_i+B)(b_j+B)s²/(b_i+b_j+2B)} / (b_i+b_j+2B) }

U and U' are in Å⁻²; B is the Debye–Waller factor (Å²), o the site occupancy.

.. [1] International Tables for Crystallography C, table 4.3.2.2, as carried by gemmi.
.. [2] Bird & King, Acta Cryst. A46 (1990) 202.
.. [3] Peng, Ren, Dudarev & Whelan, Acta Cryst. A52 (1996) 257.
"""

from __future__ import annotations

from collections.abc import Callable

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy import constants

from hybridfit.errors import RecipeError
from hybridfit.physics.crystal import Crystal

Array = NDArray[np.float64]
REST_ENERGY_EV = constants.m_e * constants.c**2 / constants.e


def wavelength(energy_kv: float) -> float:
    """Relativistic electron wavelength λ (Å) at an accelerating voltage (kV)."""
    ev = energy_kv * 1e3
    hc = constants.h * constants.c / constants.e * 1e10
    return float(hc / np.sqrt(ev * (ev + 2 * REST_ENERGY_EV)))


def lorentz_factor(energy_kv: float) -> float:
    """Relativistic factor γ = 1 + E/(m₀c²)."""
    return 1 + energy_kv * 1e3 / REST_ENERGY_EV


def scattering_factor_coefficients(element: str) -> tuple[Array, Array]:
    """The five Gaussians (a_i in Å, b_i in Å²) of an element's electron scattering factor.

    Raises
    ------
    RecipeError
        There is no such element in the table.
    """
    entry = gemmi.Element(element)
    coefficients = entry.c4322
    if entry.atomic_number == 0 or coefficients is None:  # gemmi has coefficients for "X", its unknown atom
        raise RecipeError(f"no electron scattering factor for element {element!r}")
    return np.array(coefficients.a), np.array(coefficients.b)


def elastic_factor(element: str, g: Array) -> Array:
    """f(g) (Å) at spatial frequencies g (Å⁻¹)."""
    a, b = scattering_factor_coefficients(element)
    s2 = np.asarray(g)[..., None] ** 2 / 4
    return (a * np.exp(-b * s2)).sum(axis=-1)


def absorptive_factor(element: str, g: Array, debye_waller: float, energy_kv: float) -> Array:
    """e^{−Bs²} f'(g) (Å): thermal diffuse absorption of one atom, its Debye–Waller factor included."""
    a, b = scattering_factor_coefficients(element)
    s2 = np.asarray(g)[..., None, None] ** 2 / 4
    bi, bj = b[:, None], b[None, :]
    bb, total = debye_waller, bi + bj
    term = np.exp(-bb * s2 - bi * bj * s2 / total) / total
    term = term - np.exp(-(bi + bb) * (bj + bb) * s2 / (total + 2 * bb)) / (total + 2 * bb)
    sums = (a[:, None] * a[None, :] * np.pi * term).sum(axis=(-2, -1))
    return 2 * lorentz_factor(energy_kv) * wavelength(energy_kv) * sums


def structure_factors(
    crystal: Crystal, hkl: NDArray[np.int64], energy_kv: float
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Elastic and absorptive structure factors.

    Parameters
    ----------
    crystal : Crystal
    hkl : (..., 3) int array, Miller indices
    energy_kv : float

    Returns
    -------
    U, U_absorptive : complex arrays of shape hkl.shape[:-1], Å⁻²
    """

    def absorptive(element: str, g: Array, debye_waller: float) -> Array:
        return absorptive_factor(element, g, debye_waller, energy_kv)

    return elastic_structure_factors(crystal, hkl, energy_kv), _summed(crystal, hkl, energy_kv, absorptive)


def elastic_structure_factors(
    crystal: Crystal, hkl: NDArray[np.int64], energy_kv: float
) -> NDArray[np.complex128]:
    """U_g (Å⁻²); parameters as for `structure_factors`."""

    def damped(element: str, g: Array, debye_waller: float) -> Array:
        return elastic_factor(element, g) * np.exp(-debye_waller * g**2 / 4)

    return _summed(crystal, hkl, energy_kv, damped)


def _summed(
    crystal: Crystal, hkl: NDArray[np.int64], energy_kv: float, factor: Callable[[str, Array, float], Array]
) -> NDArray[np.complex128]:
    """γ/(πV) Σ_j o_j factor_j(g) exp(−2πi g·r_j)."""
    hkl = np.asarray(hkl)
    g = np.linalg.norm(hkl @ crystal.reciprocal_basis, axis=-1)
    total: NDArray[np.complex128] = np.zeros(g.shape, np.complex128)
    kinds: dict[tuple[str, float], Array] = {}
    for j, element in enumerate(crystal.elements):
        kind = element, float(crystal.debye_waller[j])
        if kind not in kinds:
            kinds[kind] = factor(element, g, kind[1])
        total += kinds[kind] * crystal.occupancies[j] * np.exp(-2j * np.pi * (hkl @ crystal.positions[j]))
    total *= lorentz_factor(energy_kv) / (np.pi * crystal.volume)
    return total
