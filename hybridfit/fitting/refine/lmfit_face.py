"""lmfit's face of a fit that was minimised without it (`levenberg`): its result, and its minimizer.

What lmfit says of a residual r of n pixels, and of p parameters, is

    χ² = Σ r²,    χ²/(n − p),    AIC = n ln(χ²/n) + 2 p,    BIC = n ln(χ²/n) + p ln n.
"""

from __future__ import annotations

from typing import Any, Protocol

import lmfit
import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.refine.levenberg import Solved


class Residual(Protocol):
    """Weighted residual (n,), as lmfit wants it."""

    def residual(self, params: Any) -> NDArray[np.float64]: ...


def lmfit_face(problem: Residual, solved: Solved, evaluations: int) -> tuple[Any, Any]:
    """An lmfit MinimizerResult at the end of a fit, and the Minimizer that could go on from there.

    Parameters
    ----------
    problem : Residual
        Its residual is known at the end.
    solved : Solved
    evaluations : int
        At most so many, for whoever goes on.
    """
    minimizer = lmfit.Minimizer(
        problem.residual, solved.params, scale_covar=False, calc_covar=False, max_nfev=evaluations
    )
    result = minimizer.prepare_fit()
    residual = problem.residual(solved.params)
    n, p = residual.size, result.nvarys
    chi2 = max(float((residual**2).sum()), 1e-250 * n)
    result.method, result.residual = "leastsq", residual
    result.ndata, result.nfree, result.chisqr = n, n - p, chi2
    result.redchi = chi2 / max(1, n - p)
    result.aic, result.bic = (n * np.log(chi2 / n) + p * each for each in (2, np.log(n)))
    result.nfev, result.success, result.errorbars = solved.nfev, solved.success, False
    result.message = "Fit succeeded." if solved.success else f"Stopped after {solved.nfev} evaluations."
    result.call_kws = {}
    return result, minimizer
