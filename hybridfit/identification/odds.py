"""Odds: what residuals say of every hypothesis, and of none of them.

Hypotheses.  With χ² under the weights of the best refinement, N_eff the independent pixels of its residual,
and C the covariance of thickness and tilt, of which the library holds a volume V,

    p(h) ∝ exp(−β Δχ²_h/2) t(a_h) √det C_h / V_h,        Δχ²_h = (χ²_h/χ²_best − 1) · N_eff.

β (`temper`) is less than 1: the right library has a misfit, too, and wrong ones may imitate it.  The
semi-angle is fitted, and a is how far it is from what was given, in standard deviations, t its density: a
lattice that is too wide by some per cent would want another semi-angle.

None.  A wrong library leaves much of what varies along rings (`judge.crystallinity`), and of the pattern as a
whole; a right one leaves little, but never nothing: vibration, energy and bonding are not quite those of the
recipe.  The share u that is left is log-normal for either.  With L = u S measured within δ, the standard
deviation of noise alone,

    p(L | right) = ∫ N(L; u S, δ) p(u | right) du,        p(L | wrong) likewise,

and with M, what is left of the pattern's variance,

    p(none) : p(one of them) = π p(M | wrong) [(1 − ε) p(L | wrong) + ε p(L | right)] p(a | wrong)
                             : (1 − π) p(M | right) p(L | right) t(a).

ε (`lookalike`) is how often a crystal that is none of them has the structure of one of them, and atoms that
scatter in about the same ratio: what varies along rings does not tell it, but the profile does, and the
semi-angle, of which a wrong library wants any.  Where noise hides what is left, the prior π stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from hybridfit.fitting.judge.settings import JUDGE, JudgeSettings
from hybridfit.identification.settings import IDENTIFY, IdentifySettings

Array = NDArray[np.float64]

POINTS = 400  # of an integral over ln u
RANGE = (-9.0, 1.0)  # of ln u
UNKNOWN = 1e3  # a deviation beside which nothing is seen


class Left(NamedTuple):
    """What the best refinement leaves of the structure of a frame.

    frame, left, deviation : float
        As of `judge.crystallinity.Structure`.
    crystal, error : float
        The share of the fitted crystal's structure that the frame has, and its standard error.
    misfit, misfit_deviation : float
        What is left of the variance of the pattern as a whole, beside noise, and its standard deviation where
        there is noise alone.
    """

    frame: float
    left: float
    deviation: float
    crystal: float
    error: float
    misfit: float = 0.0
    misfit_deviation: float = UNKNOWN

    @property
    def share(self) -> float:
        """L/S; NaN where the frame has no structure."""
        return self.left / self.frame if self.frame > 0 else float("nan")

    def shapeless(self, limits: JudgeSettings = JUDGE) -> bool:
        """Whether the frame lacks the structure that the fitted crystal has."""
        if self.crystal < limits.seen * self.error:
            return True
        return self.crystal + limits.seen * self.error < limits.crystalline


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
    """

    libraries: tuple[str, ...]
    excess: tuple[float, ...]
    log_widths: tuple[float, ...]
    off_angles: tuple[float, ...]
    n_effective: float
    left: Left

    def none(self, settings: IdentifySettings = IDENTIFY) -> float:
        """The probability that the frame shows none of the libraries."""
        return none_of(self.left, self.off_angles[0], settings)

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


def none_of(left: Left, off_angle: float = 0.0, settings: IdentifySettings = IDENTIFY) -> float:
    """The probability that a frame shows none of the libraries.

    Parameters
    ----------
    left : Left
        What the best one leaves of the frame.
    off_angle : float
        How far the semi-angle that it wants is from what was given, in standard deviations.
    settings : IdentifySettings
    """
    if left.shapeless():
        return settings.shapeless
    structure = (left.left, left.frame, left.deviation)
    right, wrong = (_likelihood(*structure, each) for each in (settings.right_left, settings.none_left))
    none = (1 - settings.lookalike) * wrong + settings.lookalike * right
    whole = (left.misfit, 1.0, left.misfit_deviation)
    right *= _likelihood(*whole, settings.right_misfit)
    none *= _likelihood(*whole, settings.none_misfit)
    right, none = right * np.exp(log_angle(off_angle, settings)), none / (2 * settings.none_angles)
    prior = settings.none_prior
    return float(prior * none / max(prior * none + (1 - prior) * right, 1e-300))


def _likelihood(left: float, of: float, deviation: float, about: tuple[float, float]) -> float:
    """p(left) where the share of it is log-normal: median, and spread of its logarithm."""
    logs = np.linspace(*RANGE, POINTS)
    median, spread = about
    prior = np.exp(-0.5 * ((logs - np.log(median)) / spread) ** 2) / spread
    error = np.hypot(deviation, 0.01 * of * np.exp(logs))
    seen = np.exp(-0.5 * ((left - np.exp(logs) * of) / error) ** 2) / error
    return float(np.mean(prior * seen)) + 1e-12
