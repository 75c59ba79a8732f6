"""What a fit leaves of a frame, seen through a low-pass filter.

What varies along rings about the centre tells crystals apart (`judge.crystallinity`).  It is wider than a
pixel, and counting noise is not: in a frame of few electrons, noise hides pixel by pixel what a wrong crystal
leaves.  So frame E and residual r are smoothed first, by a Gaussian G of σ pixels,

    S = ⟨(G ∗ (E − ⟨E⟩_ring))²⟩ − ν,
    L = ⟨(G ∗ (r − ⟨r⟩_ring))²⟩ − ν + p ⟨v⟩/n,
    M = ⟨(G ∗ r)²⟩ − ν + p ⟨v⟩/n,

with ν = ⟨G² ∗ v⟩ what smoothing leaves of the noise v: 1/4πσ² of it, where pixels are independent.  The p
numbers of a fit follow the noise: they take p ⟨v⟩/n of n pixels away.  (The means of rings take less than δ.)
Of noise alone L and M have the standard deviation

    δ = ⟨(G² ∗ v)²⟩^½ (2 · 2πσ²/n)^½,

which is 1/2σ√2π of that of pixels as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridfit.fitting.judge.crystallinity import less_rings
from hybridfit.fitting.judge.settings import JUDGE, JudgeSettings
from hybridfit.fitting.judge.status import beyond_round, crystal_share
from hybridfit.fitting.refine.refiner import Minimum
from hybridfit.fitting.refine.spread import NEAR
from hybridfit.identification.settings import IDENTIFY, IdentifySettings

Array = NDArray[np.float64]

UNKNOWN = 1e3  # a deviation beside which nothing is seen
MUCH = 1e6  # beyond any round pattern
LEAST_SIGMA = 1.0  # px: G² and G ∗ G are sums over pixels, taken for integrals


class Left(NamedTuple):
    """What the best refinement leaves of a frame, as smoothed (frame units squared, or shares of them).

    frame, left, deviation : float
        S, L and δ.
    crystal, error : float
        The share of the fitted crystal's structure that the frame has, and its standard error.
    misfit, misfit_deviation : float
        M and δ, relative to the variance of the smoothed pattern.
    beyond_round : float
        χ² by which the fit is deeper than the best round pattern (`judge.status`); where that is much, a
        lower limit.
    """

    frame: float
    left: float
    deviation: float
    crystal: float
    error: float
    misfit: float = 0.0
    misfit_deviation: float = UNKNOWN
    beyond_round: float = MUCH

    @property
    def share(self) -> float:
        """L/S; NaN where the frame has no structure that stands out of the noise."""
        seen = self.frame > JUDGE.grain * self.deviation
        return self.left / self.frame if seen else float("nan")

    def shapeless(self, limits: JudgeSettings = JUDGE) -> bool:
        """Whether nothing in the frame speaks for a crystal.

        It lacks the structure that the fitted crystal has, or a round pattern explains it as well: a crystal
        beside the centre of a blob takes its slopes for structure.
        """
        if self.crystal < limits.seen * self.error or self.beyond_round < limits.beyond_round**2:
            return True
        return self.crystal + limits.seen * self.error < limits.crystalline


class Smoothed(NamedTuple):
    """S, L and δ, M, and the variance of the smoothed pattern (frame units squared)."""

    frame: float
    left: float
    deviation: float
    misfit: float
    variance: float


def left_of(minimum: Minimum, settings: IdentifySettings = IDENTIFY, limits: JudgeSettings = JUDGE) -> Left:
    """What a refinement leaves."""
    region, fit = minimum.region, minimum.fit
    mask, radius = region.mask, minimum.radius[region.mask]
    found = smoothed(
        region.image[mask],
        fit.residual,
        radius,
        fit.noise.counting(fit.model),
        mask,
        sigma=max(settings.smoothed * math.sqrt(len(radius) / math.pi), LEAST_SIGMA),
        numbers=len(fit.names) + len(fit.coefficients),
        correlation=fit.noise.correlation,
    )
    return Left(
        found.frame,
        found.left,
        found.deviation,
        *crystal_share(minimum),
        found.misfit / found.variance,
        found.deviation / found.variance,
        beyond_round(minimum, limits.beyond_round**2),
    )


def smoothed(
    data: Array,
    residual: Array,
    radius: Array,
    noise: Array,
    mask: NDArray[np.bool_],
    *,
    sigma: float,
    numbers: int = 0,
    correlation: Sequence[float] = (),
) -> Smoothed:
    """S, L, δ and M of a fit.

    Parameters
    ----------
    data, residual, radius : (n,)
        Compared pixels: frame and residual (frame units), distance from the centre (any unit).
    noise : (n,)
        Variance of the noise alone, pixel by pixel.
    mask : (rows, cols) bool array
        The n pixels.
    sigma : float, pixels
        Of the Gaussian; at least about 1.
    numbers : int
        How many the fit has found.
    correlation : sequence of float
        Of the noise of neighbours, at the distances of `spread.NEAR`.
    """

    def through(values: Array, width: float) -> Array:
        image = np.zeros(mask.shape)
        image[mask] = values
        seen = ndimage.gaussian_filter(image, width, mode="constant", truncate=3.0)
        return np.asarray(seen[mask])

    kept = _shared(sigma, correlation) / (4 * math.pi * sigma**2)
    v = kept * through(noise, sigma / math.sqrt(2))  # G² is a Gaussian, too
    level = float(v.mean())
    followed = numbers * float(noise.mean()) / len(noise)
    deviation = math.sqrt(float((v**2).mean()) * 4 * math.pi * sigma**2 / len(v))

    def power(values: Array) -> float:
        return float((through(values, sigma) ** 2).mean()) - level

    return Smoothed(
        power(less_rings(data, radius)),
        power(less_rings(residual, radius)) + followed,
        deviation,
        power(residual) + followed,
        max(float(through(data, sigma).var()), 1e-300),
    )


def _shared(sigma: float, correlation: Sequence[float]) -> float:
    """How many times more noise a Gaussian keeps where neighbours share it: Σ_Δ ρ(Δ) exp(−Δ²/4σ²)."""
    more = 0.0
    for rho, shifts in zip(correlation, NEAR, strict=False):
        more += 2 * rho * sum(math.exp(-(dy**2 + dx**2) / (4 * sigma**2)) for dy, dx in shifts)
    return 1 + more
