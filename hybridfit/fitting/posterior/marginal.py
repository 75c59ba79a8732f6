"""How far a maximum reaches: the posterior of thickness and tilt, one at a time, all else integrated out.

With few electrons a maximum follows the noise: it is a needle on a broad hill, and its curvature says too
little of the hill.  So a parameter x is held at places ever farther from the maximum, all others climb to
where they are likeliest, and Laplace's approximation integrates over them [1]:

    p(x) ∝ exp(−cost(x, ŷ(x))) √det C_y(x).

Mean and variance of p(x) replace those of the Gaussian at the maximum; what depends on x (the centre of the
disc on the tilt, say) follows by regression.

.. [1] Tierney & Kadane, J. Am. Stat. Assoc. 81 (1986) 82.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.modes import covariance_of, log_volume
from hybridfit.fitting.posterior.maximum import Point, Posterior
from hybridfit.fitting.posterior.settings import POSTERIOR, PosteriorSettings

Array = NDArray[np.float64]

OWN = ("thickness", "tilt_x", "tilt_y")
FINE = 400  # points of an integral


@dataclass(frozen=True, eq=False)
class Hill:
    """What is around a maximum.

    Attributes
    ----------
    mean : (p,) array
        Of the varied parameters.
    covariance : (p, p) array
    log_weight : float
        ln of its share of the posterior, up to what all maxima have in common.
    """

    mean: Array
    covariance: Array
    log_weight: float


def hill(posterior: Posterior, point: Point, settings: PosteriorSettings = POSTERIOR) -> Hill:
    """Mean, covariance and weight of the posterior about a maximum.

    Parameters
    ----------
    posterior : Posterior
    point : Point
        A maximum.
    settings : PosteriorSettings
    """
    start = at_maximum(posterior, point)
    mean, covariance = start.mean, start.covariance
    own = [posterior.names.index(name) for name in OWN if name in posterior.names]
    if not own:
        return start
    wider, moved, covariance = np.ones(len(own)), np.zeros(len(own)), covariance.copy()
    for k, i in enumerate(own):
        sigma = float(np.sqrt(covariance[i, i]))
        if not sigma > 0:  # the electrons say nothing of it: it may be anything within its bounds
            covariance[i, i] = (posterior.high[i] - posterior.low[i]) ** 2 / 12
            continue
        middle, spread, _ = marginal(posterior, point, i, sigma, settings)
        moved[k], wider[k] = middle - mean[i], max(spread / sigma, settings.narrowest)
    block = covariance[np.ix_(own, own)]
    new = wider[:, None] * block * wider
    slope = covariance[:, own] @ np.linalg.pinv(block, hermitian=True)
    covariance = covariance + slope @ (new - block) @ slope.T
    return Hill(mean + slope @ moved, covariance, start.log_weight + float(np.log(wider).sum()))


def at_maximum(posterior: Posterior, point: Point) -> Hill:
    """The Gaussian of the curvature at a maximum (Laplace's approximation)."""
    p = len(posterior.names)
    mean = np.array([point.values[name] for name in posterior.names])
    weight = -point.cost + log_volume(point.information)
    return Hill(mean, covariance_of(point.information)[:p, :p], weight)


def marginal(
    posterior: Posterior, point: Point, i: int, sigma: float, settings: PosteriorSettings = POSTERIOR
) -> tuple[float, float, Array]:
    """Mean and standard deviation of parameter i, all others integrated out; places and ln p, (2, n)."""
    rest = np.delete(np.arange(len(point.gradient)), i)
    name = posterior.names[i]
    middle = point.values[name]

    def height(at: Point) -> float:
        return -at.cost + log_volume(at.information[np.ix_(rest, rest)])

    found = [(middle, height(point))]
    top = found[0][1]
    for side in (1.0, -1.0):
        last = point
        for away in settings.places:
            x = middle + side * away * sigma
            if not posterior.low[i] <= x <= posterior.high[i]:
                break
            last = posterior.climb(posterior.along(last, i, x), settings.aside, settings.gain_aside, held=i)
            found.append((x, height(last)))
            top = max(top, found[-1][1])
            if found[-1][1] < top - settings.fallen:
                break
    # of a parameter that is next to exactly known, places differ by rounding alone
    at, first = np.unique([x for x, _ in found], return_index=True)
    logs = np.array([log for _, log in found])[first]
    if len(at) < 3:
        return middle, sigma, np.stack([at, logs])
    fine = np.linspace(at[0], at[-1], FINE)
    from scipy.interpolate import PchipInterpolator  # slow to import, and few frames come here

    weights = np.exp(PchipInterpolator(at, logs - logs.max())(fine))
    weights /= weights.sum()
    mean = float(weights @ fine)
    return mean, float(np.sqrt(weights @ (fine - mean) ** 2)), np.stack([at, logs])
