"""What a round pattern without any crystal explains of a frame, beside what the fit does.

Vacuum, an amorphous film and a blob have patterns that depend on the distance from their centre alone,

    λ(r) = Σ_j c_j h_j(ρ),      ρ = |A(r − r₀)|,

h_j being hat functions half a pixel apart (a rim is narrower than a pixel), r₀ and the ellipticity of A
free.  A crystal that fits such a frame has its centre elsewhere, so that its tilt explains the slopes that
are left: structure along rings about *its* centre is no evidence.  Evidence is that it explains more than
the best λ.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

from hybridfit.fitting.judge.settings import JudgeSettings
from hybridfit.pattern.jit import kernel

Array = NDArray[np.float64]

KNOTS = 2  # a pixel
STEPS = 6
FEWEST, GROUPS = 200, 8  # differences, and groups of them by intensity
MEDIAN, EFFICIENCY = 0.6745, 0.37  # of the size of a Gaussian number, over its σ; of the estimate of σ²
HOPE = 3.0  # times the gain of a step is what all steps may gain
SHAPE = 4  # numbers: the centre and the ellipticity


class Round(NamedTuple):
    """The best round pattern (n,): its weighted sum of squares, and of how many numbers it is."""

    sum_of_squares: float
    numbers: int
    image: Array


def round_pattern(data: Array, weights: Array, x: Array, y: Array, enough: float = np.inf) -> Round:
    """The round pattern nearest to a frame.

    Parameters
    ----------
    data, weights : (n,) arrays
        Frame, and one over the variance of its pixels.
    x, y : (n,) arrays
        Where the pixels are (pixels), from about the centre of the pattern.
    enough : float
        How near does not matter where the sum of squares will stay above this.
    """
    at = np.zeros(SHAPE)
    x, y = KNOTS * x, KNOTS * y
    best = _profile(data, weights, x, y, at)
    for _ in range(STEPS):
        if best.sum_of_squares - HOPE * best.gain > enough:
            break
        for damping in (1.0, 0.3, 0.1):
            trial = _profile(data, weights, x, y, at + damping * best.step)
            if trial.sum_of_squares < best.sum_of_squares:
                break
        else:
            break
        gained = best.sum_of_squares - trial.sum_of_squares
        at, best = at + damping * best.step, trial
        if gained < 0.1:
            break
    return Round(best.sum_of_squares, best.numbers, data - best.left)


def nothing_but_round(image: Array, limits: JudgeSettings) -> bool:
    """Whether a round pattern leaves noise alone of a region (rows, cols), NaN where nothing is compared.

    Then there is no crystal to be found in it.  The noise is that of differences of neighbours: of their
    medians at similar intensities, because structure makes a few of them large.
    """
    mask = np.isfinite(image)
    row, col = (each.astype(float) for each in np.nonzero(mask))
    data = image[mask]
    found = round_pattern(data, np.ones(len(data)), col - col.mean(), row - row.mean())
    residual = data - found.image
    explained = 1 - float((residual**2).sum()) / max(float(((data - data.mean()) ** 2).sum()), 1e-300)
    left = np.zeros(mask.shape)
    left[mask] = residual
    both = mask[:, 1:] & mask[:, :-1]
    apart = np.abs(left[:, 1:] - left[:, :-1])[both]
    if len(apart) < FEWEST:
        return False
    level = np.zeros(mask.shape)
    level[mask] = found.image
    between = (level[:, 1:] + level[:, :-1])[both] / 2
    groups = np.array_split(np.argsort(between), GROUPS)
    at = np.array([between[g].mean() for g in groups])
    variance = np.maximum([(float(np.median(apart[g])) / MEDIAN) ** 2 / 2 for g in groups], 1e-300)
    noise = np.interp(found.image, at, variance)
    if at[-1] > 0:  # brighter than the mean of the brightest: counting goes on in proportion
        noise *= np.maximum(found.image / at[-1], 1)
    excess = float((residual**2 / noise).sum()) - (len(data) - found.numbers)
    # of the sum itself, and of the noise that medians of as many differences tell
    chance = np.sqrt((2 + 3 / EFFICIENCY) * len(data))
    return explained > limits.round_explains and excess < limits.round_leaves * chance


class _Profile(NamedTuple):
    """A profile about a centre; the next step, and by how much it would lower the sum of squares."""

    sum_of_squares: float
    step: Array
    gain: float
    numbers: int
    left: Array


@kernel
def hats_of(x, y, at):
    """Which hat a pixel is on, the share of the next one, its radius, and r times the slopes of r along at.

    Returns
    -------
    knot : (n,) int64
    share, r : (n,) arrays
    slopes : (4, n) array
        Along centre and ellipticity.
    """
    n = x.size
    knot, share, r, slopes = np.empty(n, np.int64), np.empty(n), np.empty(n), np.empty((4, n))
    a, b = at[2], at[3]  # A = 1 + ½ (a, b; b, −a)
    for i in range(n):
        u, v = x[i] - at[0], y[i] - at[1]
        p, q = u + (a * u + b * v) / 2, v + (b * u - a * v) / 2
        r[i] = np.sqrt(p * p + q * q)
        knot[i] = int(r[i])
        share[i] = r[i] - knot[i]
        slopes[0, i] = -(p * (1 + a / 2) + q * b / 2)
        slopes[1, i] = -(p * b / 2 + q * (1 - a / 2))
        slopes[2, i] = (p * u - q * v) / 2
        slopes[3, i] = (p * v + q * u) / 2
    return knot, share, r, slopes


@kernel
def hat_moments(knot, share, weights, values, count):
    """Normal equations of hats: their band (2, count), and right-hand sides (count, k) for values (k, n)."""
    band, target = np.zeros((2, count)), np.zeros((count, values.shape[0]))
    for i in range(knot.size):
        j, s, w = knot[i], share[i], weights[i]
        band[1, j] += w * (1 - s) * (1 - s)
        band[1, j + 1] += w * s * s
        band[0, j + 1] += w * s * (1 - s)
        for k in range(values.shape[0]):
            target[j, k] += w * (1 - s) * values[k, i]
            target[j + 1, k] += w * s * values[k, i]
    return band, target


@kernel
def less_hats(knot, share, hats, values):
    """values (k, n) less the sums of hats (count, k) at pixels: they are changed."""
    for k in range(values.shape[0]):
        for i in range(knot.size):
            j = knot[i]
            values[k, i] -= hats[j, k] * (1 - share[i]) + hats[j + 1, k] * share[i]


def _profile(data: Array, weights: Array, x: Array, y: Array, at: Array) -> _Profile:
    """The best profile about a centre, and the Gauss–Newton step of centre and ellipticity."""
    knot, share, r, slopes = hats_of(x, y, at)
    count = int(knot.max()) + 2

    def fitted(values: Array) -> tuple[Array, Array, float]:
        """Coefficients (count, k) of the hats nearest to values (k, n); the diagonal, and the least of it."""
        band, target = hat_moments(knot, share, weights, values, count)
        floor = 1e-9 * float(band[1].max())
        diagonal = band[1].copy()
        band[1] += floor  # a knot without pixels
        return np.asarray(solveh_banded(band, target), float), diagonal, floor

    left = data[None].copy()
    c, diagonal, floor = fitted(left)
    less_hats(knot, share, c, left)
    gradient = slopes * (np.diff(c[:, 0])[knot] / np.maximum(r, 1e-9))
    less_hats(knot, share, fitted(gradient)[0], gradient)
    weighted = gradient * weights
    along = weighted @ left[0]
    step = np.linalg.pinv(weighted @ gradient.T, rcond=1e-10, hermitian=True) @ along
    numbers = int((diagonal > 1e3 * floor).sum()) + SHAPE
    return _Profile(float(weights @ left[0] ** 2), step, float(along @ step), numbers, left[0])
