"""Errors of a fit with their signs, its standard errors, and whether it misleads.

A fit misleads if it converged although thickness or tilt is wrong by more than MISLED and by more than BEYOND
standard errors: no status warns of this error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hybridfit.errors import HybridfitError
from hybridfit.fitting.result import FitResult, Status

NAMES = ("thickness", "tilt_x", "tilt_y")
MISLED = {"thickness": 1.0, "tilt_x": 0.3, "tilt_y": 0.3}  # nm, mrad
BEYOND = 3.0
WITHIN_68 = 0.9945  # standard errors that hold the truth 68 times of 100
REFUSED = "refused"  # in place of a status where the frame was not fitted

Row = dict[str, Any]


def judged(attempt: Callable[[], FitResult], truth: Mapping[str, Any], order: int) -> Row:
    """A fit compared with the truth: errors, standard errors, 68 and 95 % intervals, status, route.

    The tilt is compared in the crystal frame of the answer, which is one of n that are equal by symmetry.
    """
    row: Row = {f"true_{name}": float(truth[name]) for name in NAMES}
    try:
        result = attempt()
    except HybridfitError as error:
        return row | {"status": REFUSED, "message": str(error), "route": "", "misled": False}
    row |= {"status": result.status.name, "message": result.message, "route": result.route}
    row |= {"seconds": result.seconds["total"], "misfit": result.misfit_fraction}
    true = dict(zip(NAMES, (truth["thickness"], *_tilt_beside(truth, result, order)), strict=True))
    for name in NAMES:
        found = result[name]
        row[name] = error = float(found.value - true[name])
        row[f"{name}_stderr"] = found.stderr
        if found.stderr and found.interval95:
            low, high = found.interval95
            row[f"{name}_pull"] = error / found.stderr
            row[f"{name}_in68"] = abs(error) <= WITHIN_68 * found.stderr
            row[f"{name}_in95"] = low <= true[name] <= high
    row["misled"] = result.status is Status.converged and misleads(row)
    return row


def misleads(row: Row) -> bool:
    """Whether an error is large and far outside its error bar."""
    return any(abs(row[name]) > max(MISLED[name], BEYOND * (row[f"{name}_stderr"] or 0.0)) for name in NAMES)


def _tilt_beside(truth: Mapping[str, Any], result: FitResult, order: int) -> tuple[float, float]:
    """The true tilt in the crystal frame that is nearest to that of the answer."""
    sector = 360 / order
    turns = round((result["rotation"].value - truth["rotation"]) / sector)
    x, y = truth["tilt_x"], truth["tilt_y"]
    c, s = np.cos(np.deg2rad(turns * sector)), np.sin(np.deg2rad(turns * sector))
    return float(c * x + s * y), float(c * y - s * x)


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """Values of a name, of the rows that have one."""
    return np.array([row[name] for row in rows if row.get(name) is not None], dtype=float)


def rms(values: np.ndarray) -> float:
    """Root mean square; NaN of nothing."""
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else float("nan")


def statuses(rows: Sequence[Row]) -> dict[str, int]:
    """Number of fits with each status, in the order of the statuses."""
    known = [*(status.name for status in Status), REFUSED]
    counts = {name: sum(row["status"] == name for row in rows) for name in known}
    return {name: count for name, count in counts.items() if count}


def share(part: int | float, of: int | float) -> float:
    """Percentage; NaN of nothing."""
    return 100 * part / of if of else float("nan")
