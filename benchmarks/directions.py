"""Directions of incident plane waves: a square grid, of which symmetry leaves a wedge to be solved.

With S a symmetry of the crystal across the beam,   I_{Sg}(Sq) = I_g(q)   and   D(Sp; Sq) = D(p; q).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Directions:
    """Grid points within a disc, and the wedge of them that symmetry makes the others from.

    Attributes
    ----------
    step : (2,) array, mrad between grid points along x and y
    index : (n, 2) int array of all grid points; q = step · index
    solved : (m, 2) int array of those in the wedge
    row, operation : (n,) int arrays
        index = operations[operation] @ solved[row]
    operations : tuple of (2, 2) int arrays
    """

    step: Array
    index: Integers
    solved: Integers
    row: Integers
    operation: Integers
    operations: tuple[Integers, ...]

    @classmethod
    def within(cls, radius: float, step: Sequence[float], operations: Sequence[Integers]) -> Directions:
        """All grid points within a radius (mrad) of the zone axis."""
        spacing = np.asarray(step, float)
        x, y = (np.arange(-int(radius / s), int(radius / s) + 1) for s in spacing)
        index = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
        index = index[np.linalg.norm(index * spacing, axis=1) <= radius]
        images = np.stack([index @ m for m in operations])  # m⁻¹ index, the operations being orthogonal
        key = images[..., 0] * 100_000 + images[..., 1]
        operation = key.argmax(axis=0)
        wedge, row = np.unique(key.max(axis=0), return_inverse=True)
        first = np.array([np.flatnonzero(key.max(axis=0) == k)[0] for k in wedge])
        solved = images[operation[first], first]
        return cls(spacing, index, solved, row.ravel(), operation, tuple(operations))

    @property
    def solved_mrad(self) -> Array:
        """(m, 2)."""
        return self.solved * self.step

    def square(self) -> tuple[int, int]:
        """The largest index along x and y."""
        x, y = abs(self.index).max(axis=0)
        return int(x), int(y)
