"""What an atom that vibrates does to the mean wave, to all orders of its potential.

The displacements of independent atoms differ from plane to plane, so the mean wave ⟨ψ⟩ is multislice with the
mean of every T.  That is a product over the atoms of a plane, so their exponents add.  Of one atom

    ⟨t⟩ = 1 + o [exp(iφ) − 1] ∗ G,    φ(r) = γλ ∫ f(g) e^{2πi g·r} d²g,
    log ⟨t⟩ = iγλ ∫ F(g) e^{2πi g·r} d²g

with G the Gaussian of its displacements, of standard deviation √⟨u²⟩ along each axis.  To second order in φ,
F = f e^{−Bg²/4} + i f', the closed form of Bird & King (1990).  `correction` is the rest: next to nothing for
oxygen, −1 % of f for strontium at 200 kV, −3 to −9 % for lead.

Symbols: o occupancy, F and f amplitudes (Å), γ relativistic factor, λ wavelength (Å), B = 8π²⟨u²⟩ (Å²).
Source: the cumulants of log ⟨t⟩; the second is the closed form, the others begin with φ³.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from benchmarks.slab import absorptive, elastic, lorentz_factor, wavelength

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
BOX, POINTS = 10.0, 500  # Å, along a side: an atom in the middle of a square
LONGEST = 12.0  # Å⁻¹: F is not needed beyond
NEAR_ZERO = 0.05  # of ⟨t⟩: nearer to zero its phase cannot be followed


def mean_transmission(element: str, b_factor: float, occupancy: float, energy_kv: float) -> Complex:
    """⟨t⟩ at the points of the square, the atom at the first of them."""
    g = np.fft.fftfreq(POINTS, BOX / POINTS)
    g2 = g[:, None] ** 2 + g**2
    strength = lorentz_factor(energy_kv) * wavelength(energy_kv)
    phase = np.fft.ifft2(strength / BOX**2 * elastic(element, g2)).real * POINTS**2
    change = np.fft.fft2(np.exp(1j * phase) - 1) * np.exp(-b_factor * g2 / 4)
    return np.asarray(1 + occupancy * np.fft.ifft2(change))


@lru_cache
def correction(
    element: str, b_factor: float, occupancy: float, energy_kv: float
) -> Callable[[Array], Complex]:
    """F − o (f e^{−Bg²/4} + i f'), a function of g² (Å⁻²), in Å.

    Raises
    ------
    ValueError
        ⟨t⟩ is nearly zero somewhere: the atom is too heavy for this energy.
    """
    mean = mean_transmission(element, b_factor, occupancy, energy_kv)
    if np.abs(mean).min() < NEAR_ZERO:
        raise ValueError(
            f"{element} at {energy_kv:g} kV: its mean transmission falls to {np.abs(mean).min():.2f}"
        )
    # the phase is followed inwards along every row from the edge of the square, where it is small
    middle = np.roll(mean, (POINTS // 2, POINTS // 2), (0, 1))
    phase = np.unwrap(np.angle(middle), axis=1)
    logarithm = np.roll(np.log(np.abs(middle)) + 1j * phase, (-(POINTS // 2), -(POINTS // 2)), (0, 1))
    strength = lorentz_factor(energy_kv) * wavelength(energy_kv)
    full = np.fft.fft2(-1j * logarithm)[: POINTS // 2, 0] * (BOX / POINTS) ** 2 / strength
    g = np.arange(POINTS // 2) / BOX
    at_rest = elastic(element, g**2) * np.exp(-b_factor * g**2 / 4)
    at_rest = at_rest + 1j * absorptive(element, g**2, b_factor, energy_kv)
    spline = CubicSpline(g, full - occupancy * at_rest)
    return lambda g2: np.where(g2 < LONGEST**2, spline(np.minimum(np.sqrt(g2), LONGEST)), 0)
