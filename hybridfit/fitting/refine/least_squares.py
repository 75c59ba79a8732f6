"""Least squares from one start: continuous, weighted, with analytic derivatives.

For parameters θ the model is linear in the intensity factor and the background coefficients c:
image = A(θ) c + fixed(θ).  They are profiled out (variable projection [1]): with weights W,

    r(θ) = W^½ (y − fixed − A ĉ),        ĉ = argmin |r|,
    ∂r/∂θ ≈ −P⊥ W^½ (∂A/∂θ ĉ + ∂fixed/∂θ)          (Kaufman's approximation [2]),

P⊥ projects out the columns of W^½ A.  The same projected Jacobian J gives the covariance of θ with the
linear coefficients marginalised.  Where an expression ties a parameter e to the others, its part of the
Jacobian follows by the chain rule, ∂r/∂θ + ∂r/∂e · ∂e/∂θ; such a fit is lmfit's.  Others are minimised
without it (`levenberg`), and shown to users as lmfit's (`lmfit_face`).

The weights come from the residual (`noise`), so the fit is run, weighted, and run again until the
weights have settled.  Misfit of the model is smooth, so the residual amounts to fewer independent
pixels than there are, n_eff < n, and the covariance is (JᵀJ)⁻¹ · n/(n_eff − p).  Its excess over pure
noise is enlarged by `RefineSettings.misfit_along`².  Where neighbours share noise, with correlation ρ
(`spread`) and s_i its share in the variance of pixel i, so much is added as it has beyond independent noise,

    (JᵀJ)⁻¹ Jᵀ s^½ (ρ − 1) s^½ J (JᵀJ)⁻¹.

.. [1] Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973) 413.
.. [2] Kaufman, BIT 15 (1975) 49.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import lmfit
import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.refine.levenberg import Solved, solve
from hybridfit.fitting.refine.lmfit_face import lmfit_face
from hybridfit.fitting.refine.noise import Noise, effective_pixels, estimate_noise
from hybridfit.fitting.refine.plain import Parameters, PlainParameters
from hybridfit.fitting.refine.problem import Problem, fitted_names, tie_slopes, tied_names
from hybridfit.fitting.refine.settings import REFINE, Effort, RefineSettings
from hybridfit.fitting.refine.spread import covariance_of
from hybridfit.known_camera import KnownCameraModel, Model
from hybridfit.model import FINE_PIXEL

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Refinement:
    """Where a fit ended, in plain numbers.

    Attributes
    ----------
    values : dict of str to float
        Best values of all parameters.
    names : tuple of str
        The parameters that were fitted.
    covariance : (p, p) array or None
        Of the fitted ones, honest (see the module); None where no errors were wanted.
    errors : dict of str to float
        Honest standard errors of the fitted parameters, and of those that an expression ties to them.
    bounds : dict of str to (float, float)
        Of the fitted ones.
    settled : bool
        Whether the optimiser reports success, or its next step would be next to nothing.
    evaluations : int
        Of the model, in the last round.
    noise : Noise
        Variance model that the weights came from.
    coefficients : (1 + m,) array
        Intensity factor and background.
    model, residual : (n,) arrays
        On the fitted pixels (frame units).
    chi2 : float
        Σ r²/v with v the noise and misfit together.
    inflation : float
        Honest over naive standard error of the first fitted parameter, which is the thickness unless it
        is fixed; of all where noise is independent from pixel to pixel.
    n_effective : float
        Number of independent pixels that the residual amounts to.
    lmfit_result, minimizer : MinimizerResult, Minimizer
        lmfit's own, or its face of a fit that was made without it; of one of many frames of a camera, and of
        one without errors, there is no more than `levenberg.Solved`.
    problem : Problem or None
        Model, data and the last weights.
    """

    values: Mapping[str, float]
    names: tuple[str, ...]
    covariance: Array | None
    errors: Mapping[str, float]
    bounds: Mapping[str, tuple[float, float]]
    settled: bool
    evaluations: int
    noise: Noise
    coefficients: Array
    model: Array
    residual: Array
    chi2: float
    inflation: float
    n_effective: float
    lmfit_result: Any = field(repr=False)
    minimizer: Any = field(repr=False)
    problem: Problem | None = field(default=None, repr=False)

    @property
    def sum_of_squares(self) -> float:
        """Unweighted Σ r²."""
        return float((self.residual**2).sum())


def refine(
    model: Model,
    data: Array,
    params: Parameters,
    *,
    pixel_weights: Array | None = None,
    noise: Noise | None = None,
    effort: Effort | None = None,
    settings: RefineSettings = REFINE,
) -> Refinement:
    """Fit the varying parameters.

    Parameters
    ----------
    model : ForwardModel or KnownCameraModel
    data : (n,) array
        The frame on the pixels of model.mask.
    params : Parameters
        All of model.parameters, with the user's bounds, expressions and choice of what varies.
    pixel_weights : (n,) array, optional
        Relative weights (how much of a binned pixel was valid); 1 by default.
    noise : Noise, optional
        What is known of it; the first round then has its weights.
    effort : Effort, optional
        By default as many passes, and as fine, as the settings say for the last refinement.
    settings : RefineSettings
    """
    effort = effort or Effort(settings.passes, settings.tolerance, FINE_PIXEL)
    names = fitted_names(params)
    given = np.ones(model.n_pixels) if pixel_weights is None else pixel_weights
    weights = given / max(float(np.var(data)), 1e-300)
    result: Any = None
    fitter: Any = None
    settled = not names
    problem = Problem(model, data, weights)
    own = bool(names) and not tied_names(params)
    quick = own and isinstance(model, KnownCameraModel)
    if noise is not None or quick:
        _, image = problem.linear(problem.columns(params))
        if noise is None:  # what neighbours differ by is noise at the start, too
            noise = estimate_noise(data - image, image, model.mask)._replace(misfit=0.0)
        problem = problem.weighted(given / noise.variance(image))
    for turn in range(effort.passes):
        # with weights that are yet to come, the first round need not be exact
        tol = (
            effort.tolerance
            if turn or effort.passes == 1
            else max(effort.tolerance, settings.first_tolerance)
        )
        if own:
            within = settings.settled if effort.errors or quick else settings.rough
            exact = quick and not settings.is_thin(params["thickness"].value, model.thickness_range[0])
            result = solve(problem, params, within, settings.evaluations, 0.0 if exact else tol)
        else:
            result, fitter = _minimised(problem, params, tol, settings)
        params = result.params
        coefficients, image = problem.linear(problem.columns(params))
        residual = data - image
        found = estimate_noise(residual, image, model.mask)
        weights = given / found.variance(image)
        before = problem
        problem = problem.weighted(weights, settings.same_weights if quick else 0.0)
        if problem is before:
            settled = result.success
        else:
            settled = not names or _settled(problem, params, settings.settled)
        if settled:
            break
    if effort.errors and isinstance(result, Solved) and not quick:
        result, fitter = lmfit_face(before, result, settings.evaluations)
    covariance, inflation, n_effective = None, 1.0, float(model.n_pixels)
    if effort.errors and names:
        covariance, inflation, n_effective = honest_covariance(
            problem, params, residual, image, found, settings
        )
    return Refinement(
        values={name: float(p.value) for name, p in params.items()},
        names=tuple(names),
        covariance=covariance,
        errors=errors_of(params, covariance),
        bounds={name: (float(params[name].min), float(params[name].max)) for name in names},
        settled=settled or bool(getattr(result, "success", False)),
        evaluations=int(getattr(result, "nfev", 0) or 0),
        noise=found,
        coefficients=coefficients,
        model=image,
        residual=residual,
        chi2=float((residual**2 * weights).sum()),
        inflation=inflation,
        n_effective=n_effective,
        lmfit_result=result,
        minimizer=fitter,
        problem=problem if effort.errors else None,
    )


def _minimised(
    problem: Problem, params: Parameters, tolerance: float, settings: RefineSettings
) -> tuple[Any, Any]:
    """lmfit's result, and its minimizer."""
    names, most = fitted_names(params), settings.evaluations
    if isinstance(params, PlainParameters):
        return Solved(params, 0, True, {}), None
    fitter = lmfit.Minimizer(problem.residual, params, scale_covar=False, calc_covar=False, max_nfev=most)
    if names:
        result = fitter.leastsq(ftol=tolerance, xtol=tolerance, gtol=0.0, Dfun=problem.jacobian, col_deriv=0)
    else:  # only intensity factor, background and weights are left to find
        result = fitter.prepare_fit(params)
        result.call_kws = {}
    # lmfit's record of the call refers back to the minimizer: a cycle that holds every array
    result.call_kws = {key: value for key, value in result.call_kws.items() if key != "Dfun"}
    return result, fitter


def _settled(problem: Problem, params: Parameters, within: float) -> bool:
    """Whether the next step moves every parameter by less than `within` of its standard error."""
    j, inverse = problem.sensitivity(params), problem.inverse(params)
    step = inverse @ (j @ problem.residual(params))
    return bool((np.abs(step) <= within * np.sqrt(np.maximum(np.diag(inverse), 0))).all())


def honest_covariance(
    problem: Problem,
    params: Parameters,
    residual: Array,
    image: Array,
    noise: Noise,
    settings: RefineSettings = REFINE,
    more: int = 0,
) -> tuple[Array, float, float]:
    """Covariance of the fitted parameters, the inflation of the first one's standard error, and N_eff.

    residual and image are (n,); more is the number of parameters that have been fitted besides.
    """
    p = len(fitted_names(params)) + more
    j, mask = problem.sensitivity(params), problem.model.mask
    inverse = problem.inverse(params)
    excess, n_effective = excess_of(
        problem.root_weights * residual, problem.root_weights, mask, noise, p, settings
    )
    covariance = np.asarray(inverse * (1 + excess), float)
    if noise.correlation:
        shared = np.sqrt(noise.share(image))
        more_than_white = [covariance_of(j * shared, mask, rho) for rho in (noise.correlation, ())]
        covariance += inverse @ (more_than_white[0] - more_than_white[1]) @ inverse
    inflation = float(np.sqrt(covariance[0, 0] / inverse[0, 0])) if inverse[0, 0] > 0 else 1.0
    return covariance, inflation, n_effective


def excess_of(
    standardised: Array,
    root_weights: Array,
    mask: NDArray[np.bool_],
    noise: Noise,
    p: int,
    settings: RefineSettings = REFINE,
) -> tuple[float, float]:
    """By how much honest variances exceed naive ones, relatively, and N_eff.

    Parameters
    ----------
    standardised : (n,) array
        Residual times the square root of its weights.
    root_weights : (n,) array
    mask : (rows, cols) bool array
        The n pixels.
    noise : Noise
    p : int
        How many parameters have been fitted.
    settings : RefineSettings
    """
    n = len(standardised)
    scale = float((standardised**2).mean())
    share = float(np.clip(noise.misfit * (root_weights**2).mean() / max(scale, 1e-300), 0, 1))
    n_effective = max(effective_pixels(standardised, mask, share, settings, noise.correlation), p + 2.0)
    # the fit has swallowed as much of the residual as it has parameters
    excess = scale * n / (n_effective - min(p, n_effective - 1)) - 1
    excess = settings.misfit_along**2 * excess if excess > 0 else excess
    if noise.correlation:
        n_effective = n / (n / n_effective + (1 - share) * (noise.spread - 1))
    return excess, n_effective


def errors_of(params: Parameters, covariance: Array | None) -> dict[str, float]:
    """Standard errors of the fitted parameters, and of those that are tied to them."""
    if covariance is None:
        return {}
    errors = np.sqrt(np.maximum(np.diag(covariance), 0))
    out = {name: float(error) for name, error in zip(fitted_names(params), errors, strict=True)}
    if tied := tied_names(params):
        slopes = tie_slopes(params)
        spread = np.sqrt(np.maximum(np.einsum("ti,ij,tj->t", slopes, covariance, slopes), 0))
        out |= {name: float(error) for name, error in zip(tied, spread, strict=True)}
    return out
