"""What a longer wavelength does to angles: part of the slope of a pattern along the energy.

With the energy the wavelength changes, and every angle that a library has in mrad with it: at a fixed camera,

    dP/dln E = ∂P/∂ln E |_q + dln λ/dln E · (s ∂P/∂s − τ·∂P/∂τ − α ∂P/∂α),

s the scale, τ the tilt, α the semi-angle, dln λ/dln E = −(E + mc²)/(E + 2mc²).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

REST_ENERGY_KV = 510.99895  # of the electron


def by_angles(energy_kv: float, along: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(n,): the second term; the scale is the camera's, and stays.

    Parameters
    ----------
    energy_kv : float
    along : α ∂P/∂α, τ_x ∂P/∂τ_x and τ_y ∂P/∂τ_y, (n,) each
    """
    rest = REST_ENERGY_KV / (energy_kv + 2 * REST_ENERGY_KV)
    return np.asarray((1 - rest) * sum(along), float)
