"""Odds: what residuals say of every hypothesis, and of none of them.

Hypotheses.  With χ² under the weights of the best refinement, N_eff the independent pixels of its residual,
and C the covariance of thickness and tilt, of which the library holds a volume V,

    p(h) ∝ exp(−β Δχ²_h/2) t(a_h) √det C_h / V_h,        Δχ²_h = (χ²_h/χ²_best − 1) · N_eff.

β (`temper`) is less than 1: the right library has a misfit, too, and wrong ones may imitate it.  The
semi-angle is fitted, and a is how far it is from what was given, in standard deviations, t its density: a
lattice that is too wide by some per cent would want another semi-angle.

None.  A wrong library leaves much of what varies along rings, L of S (`structure`), and of the pattern as a
whole, M; a right one leaves little, but never nothing: vibration, energy and beams are not quite those of the
recipe.  The less is left, the likelier is a right one, so either share u is log-normal with one spread σ,

    p(ln u | right) = N(ln u; ln u_r, σ),        p(ln u | wrong) = N(ln u; ln u_w, σ).

The right library leaves the more, the more it lacks: beams beyond its longest one change those that it has,
most in crystals of heavy atoms that vibrate little.  With ℓ (`lacking`), u_r ∝ max(ℓ, ℓ₀)^κ, up to u_w/e.
With L measured within δ, the standard deviation of noise alone,

    p(L | right) = ∫ N(L; u S, δ) p(u | right) du,        p(L | wrong) likewise, and of M,

    p(none) : p(one of them) = π [(1 − ε) p(L, M | wrong) + ε p(L, M | right)] p(a | wrong)
                             : (1 − π) p(L, M | right) t(a).

ε (`lookalike`) is how often a crystal that is none of them has the structure of one of them, and atoms that
scatter in about the same ratio: then its semi-angle alone tells it, of which a wrong library wants any.
Where noise hides what is left, the prior π stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln

from hybridfit.identification.settings import IDENTIFY, IdentifySettings
from hybridfit.identification.structure import Left

Array = NDArray[np.float64]

POINTS = 280  # of an integral over ln u
RANGE = (-13.0, 1.0)  # of ln u
ROUGH = 0.05  # of u: a step of the integral
LEAST, TINY = -60.0, 1e-12


@dataclass(frozen=True)
class Evidence:
    """What the refinements of a frame say, before any odds.

    Attributes
    ----------
    libraries : (h,) tuple of str
        Of the hypotheses that were refined, the best first.
    excess : (h,) tuple of float
        Of χ² over that of the best, relative.
    log_widths : (h,) tuple of float
        ln(√det C/V) of each, less ln of how many hypotheses its library has.
    off_angles : (h,) tuple of float
        How far the semi-angle that each wants is from what was given, in standard deviations.
    n_effective : float
        Independent pixels of the residual of the best.
    left : Left
        Of the best.
    lacking : float, 1/nm
        What its library lacks.
    """

    libraries: tuple[str, ...]
    excess: tuple[float, ...]
    log_widths: tuple[float, ...]
    off_angles: tuple[float, ...]
    n_effective: float
    left: Left
    lacking: float

    def none(self, settings: IdentifySettings = IDENTIFY) -> float:
        """The probability that the frame shows none of the libraries."""
        return none_of(self.left, self.off_angles[0], self.lacking, settings)

    def shares(self, settings: IdentifySettings = IDENTIFY) -> Array:
        """Probabilities (h,) of the hypotheses if it is one of them; they add up to 1."""
        widths = [w + log_angle(a, settings) for w, a in zip(self.log_widths, self.off_angles, strict=True)]
        return odds_of(self.excess, self.n_effective, widths, settings)


def odds_of(
    excess: Sequence[float],
    n_effective: float,
    log_widths: Sequence[float],
    settings: IdentifySettings = IDENTIFY,
) -> Array:
    """Probabilities (h,) of hypotheses, which add up to 1.

    Parameters
    ----------
    excess : (h,)
        Of χ² over that of the best, relative.
    n_effective : float
        Independent pixels of the residual of the best.
    log_widths : (h,)
        ln(t √det C/V) of each.
    settings : IdentifySettings
    """
    logs = np.asarray(log_widths) - 0.5 * settings.temper * n_effective * np.asarray(excess)
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


def log_angle(off: float, settings: IdentifySettings = IDENTIFY) -> float:
    """ln t of a semi-angle that is off by so many standard deviations."""
    n = settings.semi_angle_freedom  # written out: scipy.stats takes long to import
    scale = gammaln((n + 1) / 2) - gammaln(n / 2) - 0.5 * math.log(math.pi * n)
    return float(scale - (n + 1) / 2 * math.log1p(off * off / n))


def none_of(left: Left, off_angle: float, lacking: float, settings: IdentifySettings = IDENTIFY) -> float:
    """The probability that a frame shows none of the libraries.

    Parameters
    ----------
    left : Left
        What the best one leaves of the frame.
    off_angle : float
        How far the semi-angle that it wants is from what was given, in standard deviations.
    lacking : float, 1/nm
        What its library lacks (`lacking.lacking_of`).
    settings : IdentifySettings
    """
    if left.shapeless():
        return settings.shapeless
    right = wrong = 0.0
    more = max(lacking / settings.enough, 1.0) ** settings.lacking
    for seen, of, deviation, shares in (
        (left.left, max(left.frame, 0.0), left.deviation, settings.left),
        (left.misfit, 1.0, left.misfit_deviation, settings.misfit),
    ):
        of_right, of_wrong, spread = shares
        usual = min(of_right * more, of_wrong / math.e)
        right += _log_likelihood(seen, of, deviation, usual, spread)
        wrong += _log_likelihood(seen, of, deviation, of_wrong, spread)
    alike = settings.lookalike
    none = np.logaddexp(math.log1p(-alike) + wrong, math.log(max(alike, TINY)) + right)
    prior = math.log(settings.none_prior / (1 - settings.none_prior))
    odds = prior + none - math.log(2 * settings.none_angles) - right - log_angle(off_angle, settings)
    return float(expit(odds))


def _log_likelihood(left: float, of: float, deviation: float, median: float, spread: float) -> float:
    """ln p(left), but for a constant.  The share of it is log-normal: median, and spread of its logarithm."""
    logs = np.linspace(*RANGE, POINTS)
    about = -0.5 * ((logs - math.log(median)) / spread) ** 2
    error = np.hypot(deviation, ROUGH * of * np.exp(logs))
    seen = -0.5 * ((left - np.exp(logs) * of) / error) ** 2 - np.log(error)
    whole = np.logaddexp.reduce(about)
    return float(np.logaddexp(np.logaddexp.reduce(about + seen) - whole, LEAST))
