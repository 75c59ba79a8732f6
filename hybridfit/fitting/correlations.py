"""Correlations of fitted parameters, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def correlations_of(
    names: Sequence[str],
    covariance: NDArray[np.float64] | None,
    of: Iterable[str] | None = None,
    beside: Iterable[str] = (),
) -> dict[str, dict[str, float]]:
    """Of each parameter with the others.

    Parameters
    ----------
    names : sequence of str
        Parameters of the covariance.
    covariance : (p, p) array, optional
    of : names of the parameters that are asked for, optional; by default all
    beside : names of others that these are compared with, too
    """
    if covariance is None:
        return {}
    asked = [name for name in (names if of is None else of) if name in names]
    others = [*asked, *(name for name in beside if name in names)]
    errors = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    matrix = covariance / np.outer(errors, errors)
    at = {name: i for i, name in enumerate(names)}
    return {
        one: {other: float(matrix[at[one], at[other]]) for other in others if other != one} for one in asked
    }
