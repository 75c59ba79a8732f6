"""Refinement: continuous weighted least squares through lmfit, with analytic derivatives.

For parameters θ the model is linear in the intensity factor and the background coefficients c:
image = A(θ) c + fixed(θ).  They are profiled out (variable projection [1]): with weights W,

    r(θ) = W^½ (y − fixed − A ĉ),        ĉ = argmin |r|,
    ∂r/∂θ ≈ −P⊥ W^½ (∂A/∂θ ĉ + ∂fixed/∂θ)          (Kaufman's approximation [2]),

P⊥ projecting out the columns of W^½ A.  The same projected Jacobian J gives the covariance of θ
with the linear coefficients marginalised.

The weights come from the residual (`noise`), so the fit is run, weighted, and run again until
the weights have settled.  Misfit of the model is smooth, so the residual amounts to fewer
independent pixels than there are, n_eff < n, and the covariance is (JᵀJ)⁻¹ · n/(n_eff − p), the
excess over pure noise being enlarged by MISFIT_ALONG².

.. [1] Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973) 413.
.. [2] Kaufman, BIT 15 (1975) 49.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lmfit
import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.refine.noise import Noise, effective_pixels, estimate_noise
from hybridfit.model import Columns, ForwardModel

Array = NDArray[np.float64]

PASSES = 4
# Misfit along the parameters themselves shifts the answer and leaves no residual: its size, in
# units of what the residual suggests, is calibrated against multislice patterns made with other
# scattering factors (benchmarks/multislice.py).  Where noise explains the residual it has no effect.
MISFIT_ALONG = 1.35
FIRST_TOLERANCE = 1e-2
ROUNDING = 1e-12
SETTLED = 0.1  # of a standard error: a fit is settled when the next step is shorter for every parameter


@dataclass(frozen=True)
class Refinement:
    """A converged fit.

    minimizer : lmfit's own result; its parameters carry the honest standard errors
    fitter : the lmfit.Minimizer behind it
    noise : variance model that the weights came from
    coefficients : (1 + m,) intensity factor and background
    model, residual : (n,) on the fitted pixels (frame units)
    chi2 : Σ r²/v with v the noise and misfit together
    inflation : honest over naive standard errors
    n_effective : number of independent pixels that the residual amounts to
    """

    minimizer: Any
    fitter: Any
    noise: Noise
    coefficients: Array
    model: Array
    residual: Array
    chi2: float
    inflation: float
    n_effective: float

    @property
    def values(self) -> dict[str, float]:
        """Best values of all parameters."""
        return dict(self.minimizer.params.valuesdict())

    @property
    def sum_of_squares(self) -> float:
        """Unweighted Σ r²."""
        return float((self.residual**2).sum())


class Problem:
    """Weighted residuals and Jacobian of a forward model against data, as lmfit wants them."""

    def __init__(self, model: ForwardModel, data: Array, weights: Array) -> None:
        self.model = model
        self.data = data
        self.root_weights = np.sqrt(weights)
        self._last: tuple[dict[str, float], Columns] | None = None
        self._solved: tuple[Columns, tuple[Array, Array, Array]] | None = None
        self._slopes: tuple[Columns, Array] | None = None

    def weighted(self, weights: Array) -> Problem:
        """The same with other weights; what is known of the model is kept."""
        new = Problem(self.model, self.data, weights)
        new._last = self._last
        return new

    def linear(self, columns: Columns) -> tuple[Array, Array, Array]:
        """ĉ, the model image and an orthonormal basis of the weighted columns."""
        if self._solved is None or self._solved[0] is not columns:
            self._solved = columns, self._solve(columns)
        return self._solved[1]

    def _solve(self, columns: Columns) -> tuple[Array, Array, Array]:
        weighted = (columns.columns * self.root_weights).T
        q, r = np.linalg.qr(weighted)
        target = q.T @ (self.root_weights * (self.data - columns.fixed))
        coefficients = np.linalg.lstsq(r, target, rcond=1e-10)[0]
        return coefficients, coefficients @ columns.columns + columns.fixed, q

    def residual(self, params: lmfit.Parameters) -> Array:
        """W^½ (data − model)."""
        _, image, _ = self.linear(self.columns(params))
        return self.root_weights * (self.data - image)

    def jacobian(self, params: lmfit.Parameters) -> Array:
        """(n, varying parameters) derivative of `residual`."""
        return -self.sensitivity(params).T

    def columns(self, params: lmfit.Parameters) -> Columns:
        """Columns with their derivatives; the Levenberg–Marquardt step asks for both at one point."""
        values = params.valuesdict()
        names = [name for name, p in params.items() if p.vary]
        if self._last is None or not _same(self._last[0], values):
            self._last = dict(values), self.model.evaluate(values, names)
        return self._last[1]

    def sensitivity(self, params: lmfit.Parameters) -> Array:
        """(varying parameters, n): P⊥ W^½ ∂model/∂θ."""
        columns = self.columns(params)
        if self._slopes is None or self._slopes[0] is not columns:
            coefficients, _, q = self.linear(columns)
            slopes = columns.sensitivity(coefficients)
            slopes *= self.root_weights
            slopes -= (slopes @ q) @ q.T
            self._slopes = columns, slopes
        return self._slopes[1]


def _same(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    """Whether two sets of values differ by rounding alone: lmfit's bounds take them to and fro."""
    return all(abs(a[name] - b[name]) <= ROUNDING * max(1.0, abs(b[name])) for name in b)


def refine(
    model: ForwardModel,
    data: Array,
    params: lmfit.Parameters,
    *,
    pixel_weights: Array | None = None,
    noise: Noise | None = None,
    passes: int = PASSES,
    tolerance: float = 1e-5,
    max_evaluations: int = 60,
    errors: bool = True,
) -> Refinement:
    """Fit the varying parameters.

    Parameters
    ----------
    model : ForwardModel
    data : (n,) array
        The frame on the pixels of model.mask.
    params : lmfit.Parameters
        All of model.PARAMETERS, with the user's bounds, ties and choice of what varies.
    pixel_weights : (n,) array, optional
        Relative weights (how much of a binned pixel was valid); 1 by default.
    noise : Noise, optional
        What is known of it; the first round then has its weights.
    passes : int
        Most rounds of fitting and re-weighting; 1 means uniform weights and no errors beyond
        the naive ones.
    tolerance : float
        Relative change of χ² and of the parameters at which a round ends.
    errors : bool
        Whether standard errors are wanted.
    """
    fixed = not any(p.vary for p in params.values())
    given = np.ones(model.n_pixels) if pixel_weights is None else pixel_weights
    weights = given / max(float(np.var(data)), 1e-300)
    tied = any(p.expr for p in params.values())
    result: Any = None
    problem = Problem(model, data, weights)
    if noise is not None:
        _, image, _ = problem.linear(problem.columns(params))
        problem = problem.weighted(given / noise.variance(image))
    for turn in range(passes):
        # with weights that are yet to come, the first round need not be exact
        tol = tolerance if turn or passes == 1 else max(tolerance, FIRST_TOLERANCE)
        options: dict[str, Any] = {} if tied else {"Dfun": problem.jacobian, "col_deriv": 0}
        fitter = lmfit.Minimizer(
            problem.residual, params, scale_covar=False, calc_covar=False, max_nfev=max_evaluations
        )
        if fixed:  # only intensity factor, background and weights are left to find
            result = fitter.prepare_fit(params)
            result.call_kws = {}
        else:
            result = fitter.leastsq(ftol=tol, xtol=tol, gtol=0.0, **options)
        # lmfit's record of the call refers back to the minimizer: a cycle that holds every array
        result.call_kws = {key: value for key, value in result.call_kws.items() if key != "Dfun"}
        params = result.params
        coefficients, image, _ = problem.linear(problem.columns(params))
        residual = data - image
        found = estimate_noise(residual, image, model.mask)
        weights = given / found.variance(image)
        problem = problem.weighted(weights)
        if fixed or _settled(problem, params):
            break
    inflation, n_effective = 1.0, float(model.n_pixels)
    if errors:
        inflation, n_effective = _honest_errors(problem, result, residual, found)
    return Refinement(
        minimizer=result,
        fitter=fitter,
        noise=found,
        coefficients=coefficients,
        model=image,
        residual=residual,
        chi2=float((residual**2 * weights).sum()),
        inflation=inflation,
        n_effective=n_effective,
    )


def _settled(problem: Problem, params: lmfit.Parameters) -> bool:
    """Whether the next step would move every parameter by less than SETTLED of its standard error."""
    j = problem.sensitivity(params)
    inverse = np.linalg.pinv(j @ j.T, rcond=1e-14, hermitian=True)
    step = inverse @ (j @ problem.residual(params))
    return bool((np.abs(step) <= SETTLED * np.sqrt(np.maximum(np.diag(inverse), 0))).all())


def _honest_errors(problem: Problem, result: Any, residual: Array, noise: Noise) -> tuple[float, float]:
    """Write covariance and standard errors into lmfit's result; returns their inflation and N_eff."""
    params = result.params
    names = [name for name, p in params.items() if p.vary]
    for p in params.values():
        p.stderr, p.correl = None, None
    result.var_names = names
    n = problem.model.n_pixels
    if not names:
        return 1.0, float(n)
    j = problem.sensitivity(params)
    inverse = np.linalg.pinv(j @ j.T, rcond=1e-14, hermitian=True)
    standardised = problem.root_weights * residual
    scale = float((standardised**2).mean())
    share = float(np.clip(noise.misfit * (problem.root_weights**2).mean() / max(scale, 1e-300), 0, 1))
    n_effective = max(effective_pixels(standardised, problem.model.mask, share), len(names) + 2.0)
    # the fit has swallowed as much of the residual as it has parameters
    inflation = scale * n / (n_effective - min(len(names), n_effective - 1))
    inflation = 1 + MISFIT_ALONG**2 * (inflation - 1) if inflation > 1 else inflation
    covariance = inverse * inflation
    errors = np.sqrt(np.maximum(np.diag(covariance), 0))
    correlations = covariance / np.maximum(np.outer(errors, errors), 1e-300)
    result.covar = covariance
    result.errorbars = True
    for i, name in enumerate(names):
        params[name].stderr = float(errors[i])
        params[name].correl = {
            other: float(correlations[i, k]) for k, other in enumerate(names) if other != name
        }
    return float(np.sqrt(inflation)), n_effective
