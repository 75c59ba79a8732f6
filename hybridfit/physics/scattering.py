"""Electron scattering of one atom: constants, scattering factors, thermal diffuse absorption.

    f(s) = Σ_i a_i exp(−b_i s²)                      s = g/2 (Å⁻¹), f in Å  [1]

and the Einstein model of thermal diffuse absorption [2, 3], in closed form for Gaussians:

    e^{−Bs²} f'(s) = 2γλ Σ_ij a_i a_j π { e^{−Bs²} e^{−b_i b_j s²/(b_i+b_j)} / (b_i+b_j)
                                          − e^{−(b_i+B)(b_j+B)s²/(b_i+b_j+2B)} / (b_i+b_j+2B) }

B is the Debye–Waller factor (Å²).  The sums over the atoms of a crystal are in `physics.structure_factors`.

.. [1] International Tables for Crystallography C, table 4.3.2.2, as carried by gemmi.
.. [2] Bird & King, Acta Cryst. A46 (1990) 202.
.. [3] Peng, Ren, Dudarev & Whelan, Acta Cryst. A52 (1996) 257.
"""

from __future__ import annotations

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy import constants

from hybridfit.errors import RecipeError

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
