"""What a vibrating atom does to the mean wave, beyond the second order of its potential.

Displacements of an atom differ from plane to plane, so the mean wave ⟨ψ⟩ meets the mean transmission of every
site.  With G the Gaussian of the displacements across the beam and o the share of an element at the site,

    ⟨t⟩(r) = 1 + Σ o [exp(iφ) − 1] ∗ G,      φ(r) = γλ ∫ f(g) e^{2πi g·r} d²g,
    log ⟨t⟩ = iγλ ∫ F(g) e^{2πi g·r} d²g.

To second order in φ and for a site of one element, F = f e^{−Bg²/4} + i f': the closed form of
`physics.scattering`.  What is beyond Σ o (f e^{−Bg²/4} + i f') is next to nothing for oxygen, −1 % of f for
strontium at 200 kV, −3 to −9 % for lead; at a mixed site it has the absorption by disorder, too.

All is radial: Fourier transforms are Hankel transforms, h(g) = 2π ∫ h(r) J₀(2πgr) r dr.

Symbols: B = 8π²⟨u²⟩ (Å²), f, f' and F amplitudes (Å), γ relativistic factor, λ wavelength (Å).
Sources: Cowley & Moodie, Acta Cryst. 10 (1957) 609 (transmission); the mean over displacements to second
order: Bird & King, Acta Cryst. A46 (1990) 202.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import j0

from hybridfit.physics.scattering import (
    absorptive_factor,
    elastic_factor,
    lorentz_factor,
    scattering_factor_coefficients,
    wavelength,
)
from hybridfit.physics.settings import CRYSTAL, MEAN_WAVE

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


class Species(NamedTuple):
    """An element at a site: its Debye–Waller factor (Å²) and its share of the site."""

    element: str
    debye_waller: float
    occupancy: float


def correction(site: Sequence[Species], g: Array, energy_kv: float) -> Complex:
    """F − Σ o (f e^{−Bg²/4} + i f') of a site (Å), at spatial frequencies g (Å⁻¹).

    Zero where there is more than one atom at the site, and where the mean transmission nearly vanishes,
    so that it has no logarithm: the heaviest atoms at low energies.
    """
    g = np.asarray(g, float)
    found = _spline(tuple(site), float(energy_kv))
    if found is None:
        return np.zeros(g.shape, np.complex128)
    return np.where(g < MEAN_WAVE.longest, found(np.minimum(g, MEAN_WAVE.longest)), 0)


def mean_transmission(site: Sequence[Species], energy_kv: float) -> tuple[Array, Complex]:
    """Distances r from a site (Å), outwards, and ⟨t⟩ there."""
    r, to_g, to_r, g = _transforms()
    strength = lorentz_factor(energy_kv) * wavelength(energy_kv)
    change = np.zeros(g.shape, np.complex128)
    for element, debye_waller, occupancy in site:
        a, b = scattering_factor_coefficients(element)
        # a e^{−bg²/4} ↔ a (4π/b) e^{−4π²r²/b}
        phase = strength * ((4 * np.pi * a / b) @ np.exp(-4 * np.pi**2 * r**2 / b[:, None]))
        change += occupancy * (to_g @ np.expm1(1j * phase)) * np.exp(-debye_waller * g**2 / 4)
    return r, 1 + to_r @ change


@lru_cache(maxsize=256)
def _spline(site: tuple[Species, ...], energy_kv: float) -> CubicSpline | None:
    one = sum(s.occupancy for s in site)
    if one > 1 + CRYSTAL.same_value or all(s.debye_waller == 0 and s.occupancy == 1 for s in site):
        return None
    _, to_g, _, g = _transforms()
    _, mean = mean_transmission(site, energy_kv)
    if np.abs(mean).min() < MEAN_WAVE.near_zero:
        return None
    # the phase is followed inwards, from where it is small
    phase = np.unwrap(np.angle(mean)[::-1])[::-1]
    logarithm = np.log(np.abs(mean)) + 1j * phase
    strength = lorentz_factor(energy_kv) * wavelength(energy_kv)
    rest = to_g @ (-1j * logarithm) / strength
    for element, debye_waller, occupancy in site:
        rest -= occupancy * elastic_factor(element, g) * np.exp(-debye_waller * g**2 / 4)
        rest -= 1j * occupancy * absorptive_factor(element, g, debye_waller, energy_kv)
    return CubicSpline(g, rest)


@cache
def _transforms() -> tuple[Array, Array, Array, Array]:
    """r, the Hankel transform from r to g, that from g to r, and g."""
    r, r_weights = _nodes(MEAN_WAVE.farthest, MEAN_WAVE.panels)
    g, g_weights = _nodes(MEAN_WAVE.longest, MEAN_WAVE.panels)
    bessel = 2 * np.pi * j0(2 * np.pi * np.outer(g, r))
    return r, bessel * (r * r_weights), (bessel * (g * g_weights)[:, None]).T, g


def _nodes(end: float, panels: int) -> tuple[Array, Array]:
    """Nodes and weights of Gauss and Legendre's quadrature on equal panels from 0 to an end."""
    x, w = np.polynomial.legendre.leggauss(8)
    width = end / panels
    left = width * np.arange(panels)[:, None]
    return (left + width * (x + 1) / 2).ravel(), np.tile(w * width / 2, panels)
