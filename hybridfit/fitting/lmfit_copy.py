"""A copy of lmfit's result with the honest errors, for `lmfit.fit_report` and notebooks."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.mirroring import MIRRORED
from hybridfit.fitting.parameter import Parameter
from hybridfit.fitting.refine.settings import REFINE

Array = NDArray[np.float64]


def identifier(name: str) -> str:
    """A name as lmfit takes it: "B:Sr" is B_Sr there; names that it takes already stay."""
    return re.sub(r"\W", "_", name)


def lmfit_copy(
    original: Any,
    values: Mapping[str, Parameter],
    varied: Sequence[str],
    covariance: Array | None,
    bounds: Mapping[str, tuple[float, float]],
) -> Any:
    """A MinimizerResult with other values, covariance and bounds; the original stays as it is.

    Parameters
    ----------
    original : lmfit.minimizer.MinimizerResult or None
    values : every parameter by name
    varied : names of those that were fitted
    covariance : (p, p) array, optional
        Of those.
    bounds : of those, by name
    """
    if original is None:
        return None
    values = {identifier(name): value for name, value in values.items()}
    bounds = {identifier(name): pair for name, pair in bounds.items()}
    varied = [identifier(name) for name in varied]
    out = copy.copy(original)
    out.params = copy.deepcopy(original.params)
    out.var_names, out.covar, out.errorbars = list(varied), covariance, covariance is not None
    for name, p in out.params.items():
        known = values[name]
        if p.expr and p.value == known.value:  # still what its expression says
            p.stderr = known.stderr
            continue
        low, high = bounds.get(name, (-np.inf, np.inf))
        p.set(value=known.value, min=low, max=high)
        p.stderr, p.correl = None, None
    if covariance is None:
        return out
    errors = np.sqrt(np.maximum(np.diag(covariance), 0))
    correlations = covariance / np.maximum(np.outer(errors, errors), 1e-300)
    for i, name in enumerate(varied):
        p = out.params[name]
        p.stderr = float(errors[i])
        p.correl = {other: float(correlations[i, k]) for k, other in enumerate(varied) if other != name}
    return out


def profiled(result: Any, options: Mapping[str, Any]) -> Any:
    """lmfit's confidence intervals of a `FitResult`, with lmfit's options.

    Raises
    ------
    InputError
        The result was made without keep_model.
    """
    import lmfit

    if result.fitter is None:
        raise InputError(
            "this result is without its model; use hybridfit.fit or Fitter(keep_model=True), "
            "and ask before the result is pickled"
        )
    # the model knows the mirror image of a flipped frame
    own = result.mirrored() if result.flipped else result
    # lmfit takes differences for slopes here, an evaluation for each parameter and step
    result.fitter.max_nfev = REFINE.evaluations * (len(result.varied) + 1)
    # χ² has its minimum where lmfit ended: what is taken for granted has moved the answer since
    start = copy.copy(own.minimizer)
    start.params = copy.deepcopy(start.params)
    for name in result.varied:
        start.params[name].value = own.lmfit_result.params[name].value
    found = lmfit.conf_interval(result.fitter, start, **options)
    if result.flipped and isinstance(found, dict) and MIRRORED in found:
        found[MIRRORED] = [(share, -value) for share, value in reversed(found[MIRRORED])]
    return found
