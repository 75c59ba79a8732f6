"""Small matrices of a fit: bases and inverses, the quick way where columns are far from dependent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INDEPENDENT = 1e-5  # smallest over largest eigenvalue: orthogonal to 1e-11 then


def orthonormal(rows: Array) -> Array:
    """(n, m): an orthonormal basis of rows (m, n), by Cholesky where they are far from dependent."""
    scale = np.sqrt((rows * rows).sum(axis=1))
    if len(rows) and scale.min() > 0:
        correlation = rows @ rows.T / np.outer(scale, scale)
        values = np.linalg.eigvalsh(correlation)
        if values[0] > INDEPENDENT * values[-1]:
            r = np.asarray(np.linalg.cholesky(correlation).T, float)
            return ((np.linalg.inv(r) / scale[:, None]).T @ rows).T
    return np.asarray(np.linalg.qr(rows.T)[0], float)


def inverse_of(normal: Array) -> Array:
    """The inverse of a normal matrix (p, p), or its pseudo-inverse where columns depend on each other."""
    scale = np.sqrt(np.diag(normal))
    if len(normal) and scale.min() > 0:
        scales = scale[:, None] * scale
        correlation = normal / scales
        try:
            inverse = np.linalg.inv(correlation)
        except np.linalg.LinAlgError:
            inverse = np.full_like(correlation, np.inf)
        # norms bound the largest eigenvalues of both; that of the inverse is one over the smallest
        bound = np.sqrt((correlation * correlation).sum() * (inverse * inverse).sum())
        if bound * INDEPENDENT < 1:
            return np.asarray((inverse + inverse.T) / (2 * scales), float)
    return np.asarray(np.linalg.pinv(normal, rcond=1e-14, hermitian=True), float)
