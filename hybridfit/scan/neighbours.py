"""Neighbours seed each other: a poor fit, or one unlike those around it, starts from their answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate
from hybridfit.scan.positions import At
from hybridfit.scan.rows import COLUMN, GOOD, RETRIED, STATUSES, Rows
from hybridfit.scan.settings import NEIGHBOURS, NeighbourSettings


def retries(
    rows: Rows,
    shape: tuple[int, int],
    tried: NDArray[np.bool_],
    settings: NeighbourSettings = NEIGHBOURS,
) -> dict[At, list[Candidate]]:
    """Positions to fit again, and the answers of neighbours to start from, the best fits first.

    Parameters
    ----------
    rows : Rows
        Of all positions, row by row.
    shape : (rows, columns) of the map
    tried : (rows · columns,) bool
        Positions whose neighbours have not changed since they were fitted.
    settings : NeighbourSettings
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
        if not doubtful and len(solid) >= settings.fewest:
            t = thickness[solid]
            doubtful = (
                abs(thickness[i] - np.median(t)) > settings.unlike and float(np.ptp(t)) < settings.agreed
            )
        if doubtful:
            best = sorted(solid or near, key=lambda j: (left[j], j))[: settings.starts]
            found[y, x] = [rows.candidate(j) for j in best]
    return found


def _around(y: int, x: int, shape: tuple[int, int]) -> Iterator[int]:
    for row in range(max(0, y - 1), min(shape[0], y + 2)):
        for column in range(max(0, x - 1), min(shape[1], x + 2)):
            if (row, column) != (y, x):
                yield row * shape[1] + column
