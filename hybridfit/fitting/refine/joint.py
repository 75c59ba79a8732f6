"""Parameters and what is taken for granted, found together from where a fit ended.

Let J be the projected, weighted Jacobian of the fitted parameters and D that of the nuisances s (vibration,
energy, semi-angle) in units of their prior standard deviations.  With residual r and λ the inflation that
makes naive variances honest (`least_squares`), the log-posterior of a step (δ, Δs) from (θ, s) is

    −½ |r − J δ − D Δs|²/λ − ½ |s + Δs|²,

so that the prior counts in the units of the inflated noise.  With B = (JᵀJ)⁻¹ JᵀD, by which the nuisances
move the answer, D⊥ = D − J B, what no parameter can imitate, and S = D⊥ᵀD⊥ + λ,

    Δs = S⁻¹ (D⊥ᵀ r − λ s),              δ = (JᵀJ)⁻¹ Jᵀ (r − D Δs),
    V = cov(s) = λ S⁻¹,                  cov(θ) = λ (JᵀJ)⁻¹ + B V Bᵀ.

Where the data are silent, V = 1 and the answer stays; where they speak, V is small, and the answer is that of
the crystal that they show.  Misfit that the nuisances explain is none: noise and weights are estimated again
from the residual that a step leaves.  The first step is made from the answer of the fit; where it moves rims
far, which is not linear, the next one is made, with slopes anew, from where it led.  Vibration and energy
stay linear, with slopes that are good to `RefineSettings.slope_accuracy`: that share of a shift is added to
its standard error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.refine.least_squares import Refinement, honest_covariance
from hybridfit.fitting.refine.noise import Noise, estimate_noise
from hybridfit.fitting.refine.plain import Parameters
from hybridfit.fitting.refine.problem import Problem, tied_names
from hybridfit.fitting.refine.settings import REFINE, RefineSettings
from hybridfit.fitting.refine.spread import Mask, covariance_of

Array = NDArray[np.float64]
OWN = "semi_angle"  # a parameter of the model


class Joint(NamedTuple):
    """An answer of p parameters and q nuisances.

    values : mapping of the fitted and the tied parameters to their values
    shift : (q,) array, in units of the priors
    bias : (p, q) array, B
    spread : (q, q) array, V
    counting, honest : (p, p) arrays
        Covariance of counting noise alone, and of noise and misfit, at fixed nuisances.
    """

    values: Mapping[str, float]
    shift: Array
    bias: Array
    spread: Array
    counting: Array
    honest: Array


def together(
    fit: Refinement,
    sigma: Mapping[str, float],
    slopes: Mapping[str, Array],
    *,
    held: bool = False,
    settings: RefineSettings = REFINE,
) -> Joint:
    """Find parameters and nuisances together.

    Parameters
    ----------
    fit : Refinement
        With its problem.
    sigma : mapping of nuisance name to its relative standard deviation
    slopes : mapping of the same names to (n,) derivatives of the pattern's column along ln of each
    held : bool
        Leave everything where it is, and the nuisances to their priors.
    settings : RefineSettings
    """
    old = fit.problem
    assert old is not None
    params: Parameters = fit.lmfit_result.params
    before = {name: float(p.value) for name, p in params.items()}
    try:
        return _together(fit, old, params, sigma, slopes, held, settings)
    finally:  # lmfit's own result says where the fit ended
        _set(params, before)


def _together(
    fit: Refinement,
    old: Problem,
    params: Parameters,
    sigma: Mapping[str, float],
    slopes: Mapping[str, Array],
    held: bool,
    settings: RefineSettings,
) -> Joint:
    """`together`; the values of params are changed."""
    names = [*sigma]
    q, own = len(names), names.index(OWN) if OWN in names else None
    along = np.stack([fit.coefficients[0] * sigma[name] * slopes[name] for name in names])
    linear = along.copy()  # what a shift adds to the image beside what the model does
    if own is not None:
        linear[own] = 0
    given = old.root_weights**2 * fit.noise.variance(fit.model)
    noise, problem, inflation = fit.noise, old, fit.inflation
    honest = np.asarray(fit.covariance)
    s, ds, step, spread = np.zeros(q), np.zeros(q), np.zeros(len(fit.names)), np.eye(q)
    moved = False
    for turn in range(1 if held else settings.joint_passes):
        columns = problem.columns(params)
        (coefficients, image), basis = problem.linear(columns), problem.basis(columns)
        j, inverse = problem.sensitivity(params), problem.inverse(params)
        if own is not None and moved and turn == 1:  # where the first step led
            there = problem.model.assumption_slopes(params.valuesdict())
            anew = [there.get(name, slopes[name]) for name in names]  # what the model has no slope of stays
            along = np.stack(
                [coefficients[0] * sigma[name] * each for name, each in zip(names, anew, strict=True)]
            )
        d = along * problem.root_weights
        to_basis, to_j = d @ basis, d @ j.T
        bias = inverse @ to_j.T
        if held:
            break
        # inner products of D less what the linear columns imitate, and of what no parameter imitates
        r = problem.root_weights * (problem.data - image)
        j_r, both = j @ r, to_j @ bias
        normal = d @ d.T - to_basis @ to_basis.T - both - both.T + bias.T @ (j @ j.T) @ bias
        normal += inflation**2 * np.eye(q)
        ds = np.linalg.solve(normal, d @ r - to_basis @ (basis.T @ r) - bias.T @ j_r - inflation**2 * s)
        step = inverse @ (j_r - to_j.T @ ds)
        spread = inflation**2 * np.linalg.inv(normal)
        left = (r - ds @ d + basis @ (ds @ to_basis) - step @ j) / problem.root_weights
        noise, before = estimate_noise(left, image, problem.model.mask), problem
        problem = problem.weighted(given / noise.variance(fit.model), settings.same_weights)
        honest, inflation, _ = honest_covariance(problem, params, left, image, noise, settings, q)
        if turn == 0 and own is not None and abs(ds[own]) * sigma[OWN] > settings.joint_near:
            moved, s = True, s + ds
            _move(fit, params, step)
            params[OWN].value = fit.values[OWN] * (1 + sigma[OWN] * s[own])
            problem = Problem(problem.model, old.data - s @ linear, problem.root_weights**2)
            ds, step = np.zeros(q), np.zeros(len(fit.names))
        elif problem is before:
            break
    slack = np.array([0.0 if name == OWN else settings.slope_accuracy for name in names]) * (s + ds)
    _move(fit, params, step)
    return Joint(
        {name: float(params[name].value) for name in (*fit.names, *tied_names(params))},
        s + ds,
        bias,
        spread + np.diag(slack**2),
        counting_covariance(problem.model.mask, j, inverse, noise, fit.model),
        honest,
    )


def counting_covariance(mask: Mask, j: Array, inverse: Array, noise: Noise, image: Array) -> Array:
    """(p, p) covariance from counting noise alone, of sensitivities j (p, n) and the inverse of j jᵀ."""
    shared = covariance_of(j * np.sqrt(noise.share(image)), mask, noise.correlation)
    return np.asarray(inverse @ shared @ inverse)


def _move(fit: Refinement, params: Parameters, step: Array) -> None:
    """Move the fitted parameters by a step, within their bounds; tied ones follow."""
    new = {}
    for name, by in zip(fit.names, step, strict=True):
        low, high = fit.bounds[name]
        new[name] = float(np.clip(params[name].value + by, low, high))
    if step.any():
        _set(params, new)


def _set(params: Parameters, values: Mapping[str, float]) -> None:
    """Give parameters values; those with an expression follow from the others."""
    for name, value in values.items():
        if not params[name].expr:
            params[name].value = value
    params.update_constraints()
