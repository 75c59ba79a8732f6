"""What makes a unit cell: three lengths (Å) and three angles (°) that span a volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridfit.errors import RecipeError
from hybridfit.physics.settings import CRYSTAL

NO_CELL = (1.0, 1.0, 1.0, 90.0, 90.0, 90.0)  # what gemmi has where a file has none


def check_cell(cell: Sequence[float]) -> None:
    """Raise a RecipeError for lengths (Å) and angles (°) that make no unit cell."""
    shortest, longest = CRYSTAL.lengths
    lengths, cosines = np.array(cell[:3], float), np.cos(np.deg2rad(np.array(cell[3:], float)))
    # V² / (abc)², the determinant of the metric of unit vectors
    flat = 1 - (cosines**2).sum() + 2 * cosines.prod()
    if not (
        np.isfinite(lengths).all()
        and ((lengths >= shortest) & (lengths <= longest)).all()
        and all(0 < angle < 180 for angle in cell[3:])
        and flat > CRYSTAL.steepest_angles**2
    ):
        raise RecipeError(
            f"the cell {' '.join(f'{value:.6g}' for value in cell)} is none; give three lengths "
            f"({shortest:g} … {longest:g} Å) and three angles (°) that make one"
        )
