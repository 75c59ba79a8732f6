"""How much of a frame's structure a fit explains: what is left once the mean over every ring is taken off.

A disc on a radial background fits much of any frame.  What tells a crystal is how the intensity
varies along rings about the centre,

    S = Var(E − ⟨E⟩_ring) − noise,      L = Var(r − ⟨r⟩_ring) − noise,

with E the frame and r the residual: L/S is the share of the structure that is left.

Matter that is not crystalline has none of it: its pattern is a disc in a halo.  A thin crystal fits
that, too, so it is asked how much of the structure of the fitted model M is in the frame,

    a = Σ m e / Σ m²,      e, m: E, M less their profiles along the radius,

which is 1 for a crystal and 0 without one.  The profile is piecewise linear, a piece a pixel, so that
the rim of the disc does not count.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RINGS = 24


class Structure(NamedTuple):
    """Variances along rings, less that of the noise (frame units squared).

    Attributes
    ----------
    frame : float
        S, of the frame.
    left : float
        L, of the residual.
    deviation : float
        Standard deviation of either where there is noise alone.
    """

    frame: float
    left: float
    deviation: float

    def share_left(self, grain: float) -> float:
        """L/S; 0 where noise hides the structure or what is left of it.

        grain is by how many standard deviations structure must stand out of the noise.
        """
        least = grain * self.deviation
        return 0.0 if self.frame < least or self.left < least else self.left / self.frame


def structure_along_rings(data: Array, residual: Array, radius: Array, noise: Array) -> Structure:
    """S and L of a fit.

    Parameters
    ----------
    data, residual, radius : (n,)
        Compared pixels: frame and residual (frame units), distance from the centre (any unit).
    noise : (n,)
        Variance of the noise alone, pixel by pixel.
    """
    level = float(noise.mean())
    deviation = float(np.sqrt(2 * (noise**2).mean() / len(noise)))
    frame, left = (float((less_rings(each, radius) ** 2).mean()) for each in (data, residual))
    return Structure(frame - level, left - level, deviation)


def less_rings(values: Array, radius: Array) -> Array:
    """values (n,) less their mean over every ring, of pixels that are radius (n,) from the centre."""
    ring = np.minimum((radius * RINGS / max(float(radius.max()), 1e-300)).astype(np.int64), RINGS - 1)
    means = np.bincount(ring, values, RINGS) / np.maximum(np.bincount(ring, minlength=RINGS), 1)
    return np.asarray(values - means[ring])


def crystallinity(
    data: Array, model: Array, radius: Array, noise: Array, width: float
) -> tuple[float, float]:
    """The share a of the model's structure that the frame has, and its standard error; (0, inf) without any.

    Parameters
    ----------
    data, model, radius : (n,)
        Compared pixels: frame and fitted image (frame units), distance from the centre (any unit).
    noise : (n,)
        Variance of the noise alone, pixel by pixel.
    width : float
        Of a pixel, in the unit of the radius.
    """
    count = max(int(float(radius.max()) / width), 1)
    place = np.minimum(radius / width, count - 1e-9)
    ring = np.minimum(place.astype(np.int64), count - 1)
    pixels = np.maximum(np.bincount(ring, minlength=count), 1)

    def less_mean(values: Array) -> Array:
        return values - (np.bincount(ring, values, count) / pixels)[ring]

    along = less_mean(place)
    spread = np.maximum(np.bincount(ring, along**2, count), 1e-12)

    def less_profile(values: Array) -> Array:
        centred = less_mean(values)
        return centred - along * (np.bincount(ring, along * centred, count) / spread)[ring]

    m, e = less_profile(model), less_profile(data)
    power = float(m @ m)
    if power <= 1e-12 * float(model @ model):
        return 0.0, np.inf
    return float(m @ e) / power, float(np.sqrt((m**2) @ np.maximum(noise, 0))) / power
