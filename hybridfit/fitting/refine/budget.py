"""What an error bar contains: noise, misfit, and what the library and the user took for granted.

The covariance of an answer is λ (JᵀJ)⁻¹ + B V Bᵀ (see `joint`).  Its parts are

    counting    (JᵀJ)⁻¹ Jᵀ R J (JᵀJ)⁻¹, R the share of counting in each pixel's variance,
    misfit      the rest of λ (JᵀJ)⁻¹,
    library     a variance of the thickness: what the library approximates,
    others      B V Bᵀ, shared out in proportion to B_j² V_jj.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.assumptions import COUNTING, LIBRARY, MISFIT, PARTS, POINT_SPREAD, Assumed
from hybridfit.fitting.refine.joint import counting_covariance, together
from hybridfit.fitting.refine.least_squares import Refinement, errors_of
from hybridfit.fitting.refine.settings import REFINE, RefineSettings
from hybridfit.fitting.refine.spread import tails_of

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Marginal:
    """An answer with what was taken for granted marginalised.

    Attributes
    ----------
    values : mapping of parameter name to value
    names : tuple of str
        The p fitted ones.
    covariance : (p, p) array or None
    errors : mapping of parameter name to standard error
    counting, honest : (p, p) arrays or None
        Covariance of counting noise, and of noise and misfit.
    bias : (p, q) array
        B, of the q nuisances.
    spread : (q, q) array
        V.
    assumed : mapping of the name of each nuisance to what the pattern says of it
    lacking : tuple of str
        Names of nuisances that the library knows no slopes of.
    nuisances : tuple of str
        Names of the q nuisances; beside those of assumed the tails of a point spread (`spread.tails_of`).
    tail : Assumed or None
        What the pattern says of the share of the light in them.
    library : (p, p) array or None
        Covariance of what the library approximates.
    """

    values: Mapping[str, float]
    names: tuple[str, ...]
    covariance: Array | None
    errors: Mapping[str, float]
    counting: Array | None
    honest: Array | None
    bias: Array
    spread: Array
    assumed: Mapping[str, Assumed]
    lacking: tuple[str, ...]
    nuisances: tuple[str, ...] = ()
    tail: Assumed | None = None
    library: Array | None = None

    def turned(self, turn: Array) -> Marginal:
        """The same where other parameters, turn (p, p) times these, are the fitted ones."""
        if self.covariance is None:
            return self
        covariance, counting, honest = (
            None if c is None else turn @ c @ turn.T for c in (self.covariance, self.counting, self.honest)
        )
        bias = turn @ self.bias
        library = None if self.library is None else turn @ self.library @ turn.T
        return replace(
            self, bias=bias, covariance=covariance, counting=counting, honest=honest, library=library
        )

    def parts(self, name: str) -> dict[str, float]:
        """Standard errors of a fitted parameter by what they come from; their squares add up."""
        if self.counting is None or self.honest is None or name not in self.names:
            return {}
        i = self.names.index(name)
        honest = max(float(self.honest[i, i]), 0.0)
        counting = float(np.clip(self.counting[i, i], 0, honest))
        out = {COUNTING: counting, MISFIT: honest - counting}
        shares = self.bias[i] ** 2 * np.diag(self.spread)
        whole = max(float(self.bias[i] @ self.spread @ self.bias[i]), 0.0)
        total = float(shares.sum())
        for nuisance, share in zip(self.nuisances, shares, strict=True):
            part = PARTS.get(nuisance, POINT_SPREAD)
            out[part] = out.get(part, 0.0) + (whole * float(share) / total if total > 0 else 0.0)
        if self.library is not None:
            out[LIBRARY] = float(self.library[i, i])
        return {part: float(np.sqrt(variance)) for part, variance in out.items()}

    def with_library(self, fit: Refinement, sigma: float) -> Marginal:
        """The same with a standard deviation (nm) of the thickness for what the library approximates."""
        if self.covariance is None or sigma == 0:
            return self
        library = np.diag([sigma**2 if name == "thickness" else 0.0 for name in self.names])
        covariance = self.covariance + library
        errors = errors_of(fit.lmfit_result.params, covariance)
        return replace(self, covariance=covariance, errors=errors, library=library)


def marginalise(
    fit: Refinement,
    sigma: Mapping[str, float],
    told: Iterable[str] = (),
    *,
    held: bool = False,
    settings: RefineSettings = REFINE,
) -> Marginal:
    """The answer of a fit with what it took for granted marginalised.

    Parameters
    ----------
    fit : Refinement
    sigma : mapping of nuisance name to its standard deviation, relative; of the library in nm
        Those of 0 are exact, and do not take part.
    told : names of nuisances that are fitted, or that the user knows
    held : bool
        Leave the values where they are, and the nuisances to their priors: a parameter is on a bound.
    settings : RefineSettings
    """
    found = _marginalised(fit, sigma, {*told, POINT_SPREAD, LIBRARY}, held, settings)
    return found.with_library(fit, sigma.get(LIBRARY, 0.0))


def _marginalised(
    fit: Refinement, sigma: Mapping[str, float], told: set[str], held: bool, settings: RefineSettings
) -> Marginal:
    none = np.zeros((len(fit.names), 0))
    plain = Marginal(
        fit.values,
        fit.names,
        fit.covariance,
        fit.errors,
        None,
        None,
        none,
        none[:0],
        {},
        (),
    )
    problem = fit.problem
    if problem is None or fit.covariance is None:
        return plain
    params = fit.lmfit_result.params
    wanted = [name for name, s in sigma.items() if s > 0 and name not in told]
    slopes = problem.model.assumption_slopes(params.valuesdict()) if wanted else {}
    lacking = tuple(name for name in wanted if name not in slopes)
    names = [name for name in wanted if name in slopes]
    used = {name: sigma[name] for name in names}
    tails: Mapping[str, Array] = {}
    if fit.noise.correlation and sigma.get(POINT_SPREAD, 0.0) > 0:
        column = problem.columns(params).columns[0]
        tails = tails_of(column, problem.model.mask, problem.model.pixel, settings)
        slopes = {**slopes, **tails}
        used |= dict.fromkeys(tails, sigma[POINT_SPREAD])
    if not used:
        j, inverse = problem.sensitivity(params), problem.inverse(params)
        counting = counting_covariance(problem.model.mask, j, inverse, fit.noise, fit.model)
        return replace(plain, lacking=lacking, counting=counting, honest=fit.covariance)
    joint = together(fit, used, slopes, held=held, settings=settings)
    bias, spread = joint.bias, joint.spread
    covariance = joint.honest + bias @ spread @ bias.T
    assumed = {
        name: Assumed(sigma[name], float(sigma[name] * s), float(sigma[name] * np.sqrt(v)))
        for name, s, v in zip(names, joint.shift, np.diag(spread), strict=False)
    }
    tail, q = None, len(names)
    if tails:
        prior, known = sigma[POINT_SPREAD], max(float(spread[q:, q:].sum()), 0.0)
        tail = Assumed(prior, float(prior * joint.shift[q:].sum()), float(prior * np.sqrt(known)))
    return replace(
        plain,
        values={**fit.values, **joint.values},
        covariance=covariance,
        counting=joint.counting,
        honest=joint.honest,
        errors=errors_of(params, covariance),
        bias=bias,
        spread=spread,
        assumed=assumed,
        lacking=lacking,
        nuisances=tuple(used),
        tail=tail,
    )
