"""The same electrons without a crystal: how likely a smooth pattern without structure is.

What is not a crystal (vacuum, an amorphous film, a blob) has a pattern that depends on the radius alone: a
disc of the semi-angle, more or less blurred, and any smooth profile,

    λ(r) = Σ_i f_i A_i(r) + Σ_j c_j h_j(r),        f_i, c_j ≥ 0,

h_j being hat functions of `PosteriorSettings.smooth` apart.  A crystal has to be more probable
than the likeliest of these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from hybridfit.fitting.posterior.settings import POSTERIOR, PosteriorSettings

Array = NDArray[np.float64]

ROUNDS = 25


def smooth_likelihood(
    z: Array,
    col: Array,
    row: Array,
    camera: tuple[float, float, float],
    semi_angle: float,
    floor: float,
    settings: PosteriorSettings = POSTERIOR,
) -> tuple[float, int]:
    """The largest Σ (z ln λ − λ) of a smooth pattern, less the same of λ = z; and of how many numbers.

    Parameters
    ----------
    z, col, row : (n,) arrays
        Electrons, and where the pixels are (px).
    camera : centre_x, centre_y (px), scale (px/mrad)
        Where the search for the best disc starts.
    semi_angle : float, mrad
    floor : float
        No pixel is expected to have fewer electrons.
    settings : PosteriorSettings
    """
    hit = z > 0
    perfect = float((z[hit] * np.log(z[hit]) - z[hit]).sum())
    x0, y0, scale = camera
    radius = float(np.hypot(col - x0, row - y0).max()) / scale
    knots = np.arange(0.0, radius + 2 * settings.smooth, settings.smooth)

    def columns(x: float, y: float, s: float) -> Array:
        r = np.hypot(col - x, row - y) / s
        hats = np.maximum(1 - np.abs(r[None] - knots[:, None]) / settings.smooth, 0)
        rims = np.array(settings.rim)[:, None]
        discs = 0.5 * special.erfc((r - semi_angle) / (np.sqrt(2) * rims))
        return np.concatenate([discs, hats])

    def fitted(place: Array) -> tuple[float, int]:
        x, y, s = x0 + place[0] * scale, y0 + place[1] * scale, scale * np.exp(place[2] / semi_angle)
        a = columns(x, y, s) + 1e-12
        c = np.full(len(a), z.sum() / a.sum())
        norm = a.sum(axis=1)
        for _ in range(ROUNDS):  # expectation maximisation [Richardson, Lucy]
            expected = np.maximum(c @ a, floor)
            c = c * (a @ (z / expected)) / norm
        expected = np.maximum(c @ a, floor)
        return float((z[hit] * np.log(expected[hit])).sum() - expected.sum()), int((c * norm > 1).sum())

    def best(place: Array) -> float:
        return -fitted(place)[0]

    found = optimize.minimize(
        best,
        np.zeros(3),
        method="Nelder-Mead",
        options={
            "initial_simplex": np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]),
            "xatol": 0.05,
            "fatol": 0.2,
            "maxfev": 60,
        },
    )
    value, profile = fitted(found.x)
    return value - perfect, profile + len(found.x)
