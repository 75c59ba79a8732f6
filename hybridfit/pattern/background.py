"""Backgrounds: what inelastic scattering and the camera add to the pattern.

none         nothing
uniform      one constant
uniform-per-nm   0.4 per nm of thickness on a 0–255 scale (Xu & LeBeau 2018), nothing free
radial       a constant and two Gaussians of |k|, σ = 0.75 α and 1.5 α
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import InputError
from hybridfit.pattern.jit import kernel

Array = NDArray[np.float64]

NAMES = ("none", "uniform", "uniform-per-nm", "radial")
RADIAL_WIDTHS = (0.75, 1.5)  # in semi-angles
SMOOTH = "smooth"
SMOOTH_WIDTHS = (*RADIAL_WIDTHS, 1.1)
PER_NM = 0.4 / 255  # of the frame's maximum


def check(name: str) -> None:
    """Raise an InputError for an unknown background."""
    if name not in NAMES:
        raise InputError(f"unknown background {name!r}; choose one of {', '.join(NAMES)}")


@kernel
def radial(k, variances):
    """(3, 1 + m, n): a constant and m Gaussians of |k| at k (2, n), and their derivatives along kx and ky."""
    out = np.empty((3, 1 + variances.size, k.shape[1]))
    out[:, 0] = 0
    out[0, 0] = 1
    for j in range(variances.size):
        variance = variances[j]
        for p in range(k.shape[1]):
            x, y = k[0, p], k[1, p]
            value = np.exp(-(x * x + y * y) / (2 * variance))
            out[0, 1 + j, p] = value
            out[1, 1 + j, p] = -x * value / variance
            out[2, 1 + j, p] = -y * value / variance
    return out


def basis(name: str, k: Array, semi_angle: float) -> tuple[Array, Array, Array]:
    """Free background components and their gradients.

    Parameters
    ----------
    name : str, one of NAMES, or SMOOTH
    k : (2, n) array, mrad
    semi_angle : float, mrad

    Returns
    -------
    values, along_x, along_y : (m, n) arrays
        B_j(k), ∂B_j/∂kx, ∂B_j/∂ky.
    """
    n = k.shape[1]
    if name in ("none", "uniform-per-nm"):
        return np.empty((0, n)), np.empty((0, n)), np.empty((0, n))
    if name == "uniform":
        return np.ones((1, n)), np.zeros((1, n)), np.zeros((1, n))
    widths = SMOOTH_WIDTHS if name == SMOOTH else RADIAL_WIDTHS
    values, along_x, along_y = radial(k, (np.array(widths) * semi_angle) ** 2)
    return values, along_x, along_y


def lowest(coefficients: ArrayLike) -> float:
    """The deepest that the Gaussians of a radial background reach: below 0 where nothing can scatter.

    Parameters
    ----------
    coefficients : the constant and two heights, or three; 0 is returned for any other number of them
    """
    heights = np.asarray(coefficients, dtype=float)[1:]
    widths = {len(each): each for each in (RADIAL_WIDTHS, SMOOTH_WIDTHS)}.get(len(heights))
    if widths is None:
        return 0.0
    r = np.linspace(0, 2, 41)[:, None]  # semi-angles
    return float((np.exp(-(r**2) / (2 * np.square(widths))) @ heights).min())
