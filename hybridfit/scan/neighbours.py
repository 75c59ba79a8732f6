"""Neighbours seed each other: what is poor, or unlike all around it, is fitted again from their answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate
from hybridfit.scan.positions import At
from hybridfit.scan.rows import COLUMN, GOOD, RETRIED, STATUSES, Rows

SWEEPS = 3  # what a neighbour has mended may mend the next one
STARTS = 3  # neighbours tried
UNLIKE, AGREED = 3.0, 2.0  # nm: from the median of the neighbours, and their spread
FEWEST = 3  # neighbours that make another position unlikely


def retries(rows: Rows, shape: tuple[int, int], tried: NDArray[np.bool_]) -> dict[At, list[Candidate]]:
    """Positions to fit again, and the answers of neighbours to start from, the best fits first.

    Parameters
    ----------
    rows : Rows
        Of all positions, row by row.
    shape : (rows, columns) of the map
    tried : (rows · columns,) bool
        Positions whose neighbours have nothing new to say.
    """
    thickness = rows.values[:, COLUMN["thickness"]]
    left = rows.values[:, COLUMN["residual_fraction"]]
    good = np.isin(rows.status, GOOD)
    converged = rows.status == STATUSES.index("converged")
    found: dict[At, list[Candidate]] = {}
    fitted = np.isfinite(thickness) | (rows.status == STATUSES.index("failed"))
    for i in np.flatnonzero(~tried & fitted):
        y, x = divmod(int(i), shape[1])
        near = [j for j in _around(y, x, shape) if good[j]]
        if not near:
            continue
        doubtful = rows.status[i] in RETRIED
        solid = [j for j in near if converged[j]]
        if not doubtful and len(solid) >= FEWEST:
            t = thickness[solid]
            doubtful = abs(thickness[i] - np.median(t)) > UNLIKE and float(np.ptp(t)) < AGREED
        if doubtful:
            best = sorted(solid or near, key=lambda j: (left[j], j))[:STARTS]
            found[y, x] = [rows.candidate(j) for j in best]
    return found


def _around(y: int, x: int, shape: tuple[int, int]) -> Iterator[int]:
    for row in range(max(0, y - 1), min(shape[0], y + 2)):
        for column in range(max(0, x - 1), min(shape[1], x + 2)):
            if (row, column) != (y, x):
                yield row * shape[1] + column
