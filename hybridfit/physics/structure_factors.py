"""Structure factors of a crystal whose atoms vibrate.

    U_g  = γ/(πV) Σ_j o_j f_j(g) exp(−B_j g²/4) exp(−2πi g·r_j)
    U'_g = γ/(πV) Σ_j o_j (e^{−Bs²} f')_j exp(−2πi g·r_j)

the elastic and the absorptive one (Å⁻²).  What an atom does to the mean wave beyond the second order of its
potential (`physics.mean_wave`) is a complex amplitude: its real part is added to U, its imaginary one to U'.

Symbols: f_j and f' (Å) as in `physics.scattering`, B Debye–Waller factor (Å²), o site occupancy, V volume of
the cell (Å³), γ relativistic factor.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hybridfit.physics.crystal import Crystal
from hybridfit.physics.mean_wave import Species, correction
from hybridfit.physics.scattering import absorptive_factor, elastic_factor, lorentz_factor
from hybridfit.physics.settings import CRYSTAL

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


def structure_factors(
    crystal: Crystal, hkl: NDArray[np.int64], energy_kv: float, *, corrected: bool = True
) -> tuple[Complex, Complex]:
    """Elastic and absorptive structure factors.

    Parameters
    ----------
    crystal : Crystal
    hkl : (..., 3) int array, Miller indices
    energy_kv : float
    corrected : bool
        False: to second order of the potential.

    Returns
    -------
    U, U_absorptive : complex arrays of shape hkl.shape[:-1], Å⁻²
    """

    def absorptive(element: str, g: Array, debye_waller: float) -> Array:
        return absorptive_factor(element, g, debye_waller, energy_kv)

    elastic = elastic_structure_factors(crystal, hkl, energy_kv)
    absorbed = _summed(crystal, hkl, energy_kv, absorptive)
    if corrected:
        for_elastic, for_absorbed = _corrections(crystal, np.asarray(hkl), energy_kv)
        elastic, absorbed = elastic + for_elastic, absorbed + for_absorbed
    return elastic, absorbed


def elastic_structure_factors(crystal: Crystal, hkl: NDArray[np.int64], energy_kv: float) -> Complex:
    """U_g (Å⁻²) to first order of the potential; parameters as for `structure_factors`."""

    def damped(element: str, g: Array, debye_waller: float) -> Array:
        return elastic_factor(element, g) * np.exp(-debye_waller * g**2 / 4)

    return _summed(crystal, hkl, energy_kv, damped)


def _corrections(crystal: Crystal, hkl: NDArray[np.int64], energy_kv: float) -> tuple[Complex, Complex]:
    """What is to be added to U and to U'."""
    g = np.linalg.norm(hkl @ crystal.reciprocal_basis, axis=-1)
    out = np.zeros((2, *g.shape), np.complex128)
    amplitudes: dict[tuple[Species, ...], Complex] = {}
    for site, position in _sites(crystal):
        if site not in amplitudes:
            amplitudes[site] = correction(site, g, energy_kv)
        phase = np.exp(-2j * np.pi * (hkl @ position))
        out += np.stack([amplitudes[site].real, amplitudes[site].imag]) * phase
    out *= lorentz_factor(energy_kv) / (np.pi * crystal.volume)
    return out[0], out[1]


def _sites(crystal: Crystal) -> list[tuple[tuple[Species, ...], Array]]:
    """The elements at every site, and where it is (fractions of the cell)."""
    sites: list[tuple[list[Species], Array]] = []
    for j, element in enumerate(crystal.elements):
        species = Species(element, float(crystal.debye_waller[j]), float(crystal.occupancies[j]))
        position = crystal.positions[j]
        away = np.array([position - where for _, where in sites]).reshape(-1, 3)
        near = np.flatnonzero((np.abs(away - np.rint(away)) < CRYSTAL.same_position).all(axis=1))
        if len(near):
            sites[near[0]][0].append(species)
        else:
            sites.append(([species], position))
    return [(tuple(sorted(each)), where) for each, where in sites]


def _summed(
    crystal: Crystal, hkl: NDArray[np.int64], energy_kv: float, factor: Callable[[str, Array, float], Array]
) -> Complex:
    """γ/(πV) Σ_j o_j factor_j(g) exp(−2πi g·r_j)."""
    hkl = np.asarray(hkl)
    g = np.linalg.norm(hkl @ crystal.reciprocal_basis, axis=-1)
    total: Complex = np.zeros(g.shape, np.complex128)
    kinds: dict[tuple[str, float], Array] = {}
    for j, element in enumerate(crystal.elements):
        kind = element, float(crystal.debye_waller[j])
        if kind not in kinds:
            kinds[kind] = factor(element, g, kind[1])
        total += kinds[kind] * crystal.occupancies[j] * np.exp(-2j * np.pi * (hkl @ crystal.positions[j]))
    total *= lorentz_factor(energy_kv) / (np.pi * crystal.volume)
    return total
