"""The modes of an answer that least squares found: its minima, each a Gaussian, with their odds.

    p_m ∝ exp(−Δχ²_m/2) √det C_m,        Δχ²_m = (χ²_m/χ²_best − 1) · N_eff,

N_eff being the independent pixels of the best fit's residual, and C_m the covariance of the
fitted parameters.  A parameter of which a minimum has no error (a blur on its bound, 0) is left out of
all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.judge.status import how_much_deeper
from hybridfit.fitting.modes import Mode, in_canonical_frame, odds_of
from hybridfit.fitting.refine.minima import Minima
from hybridfit.fitting.result import FitResult

Array = NDArray[np.float64]

ROUNDING = 1e-9  # of a correlation's eigenvalues


def modes_of_minima(result: FitResult, minima: Minima) -> tuple[Mode, ...]:
    """The answer and its rivals as modes; none where the answer has no error bars.

    Parameters
    ----------
    result : FitResult
        Made of the minima: the first mode has its values and its covariance.
    minima : Minima
    """
    names = result.varied
    if result.covariance is None or not names:
        return ()
    known = {**result.parameters, **result.structure}
    bounds = np.array([result.bounds[name] for name in names])
    means, covariances = [np.array([known[name].value for name in names])], [result.covariance]
    deeper = [0.0]
    order = minima.refiner.library.rotation_order
    for rival in minima.rivals:
        fit = rival.fit
        if fit.covariance is None or tuple(fit.names) != tuple(names):
            continue
        values, covariance = in_canonical_frame(names, fit.values, fit.covariance, order)
        means.append(np.array([values[name] for name in names]))
        covariances.append(covariance)
        _, variance = how_much_deeper(minima.best, rival)
        deeper.append(variance)
    logs = log_widths(covariances) - 0.5 * np.array(deeper)
    return tuple(
        Mode(tuple(names), mean, covariance, float(odds), _about(bounds, mean))
        for mean, covariance, odds in zip(means, covariances, odds_of(logs.tolist()), strict=True)
    )


def log_widths(covariances: Sequence[Array]) -> Array:
    """ln √det of each covariance (p, p), of the parameters that all of them know something of: (m,)."""
    variances = np.stack([np.diag(covariance) for covariance in covariances])
    known = np.flatnonzero((variances > 0).all(axis=0))
    scale = np.sqrt(variances[:, known])
    out = np.log(scale).sum(axis=1)
    for i, covariance in enumerate(covariances):
        correlation = covariance[np.ix_(known, known)] / np.outer(scale[i], scale[i])
        out[i] += 0.5 * np.log(np.maximum(np.linalg.eigvalsh(correlation), ROUNDING)).sum()
    return out


def _about(bounds: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Bounds of the answer, widened to hold a rival: those of the window about a seed move with it."""
    shift = np.clip(mean, *bounds.T) - mean
    return np.stack([bounds[:, 0] - np.maximum(shift, 0), bounds[:, 1] - np.minimum(shift, 0)], axis=1)
