"""What a forward model makes: a pattern at points, and the columns that an image is a sum of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.camera import Camera, chain

Array = NDArray[np.float64]
CAMERA = Camera._fields


class Composed(NamedTuple):
    """A pattern at points: k (2, n) in mrad, rows as of `pattern.compose` (·, n), and the camera.

    averaging has the derivatives (n,) along the spreads that there are.
    """

    k: Array
    partials: Array
    camera: Camera
    averaging: Mapping[str, Array]


@dataclass(frozen=True)
class Columns:
    """What the model delivers at one set of parameters, on the n fitted pixels.

    columns : (1 + m, n): blurred pattern and background components
    fixed : float, background without a free coefficient, the same on all pixels
    names : parameters whose derivatives are known
    pattern_slopes : (parameters, n) derivatives of the pattern's column
    per_nm : float, what it grows by along the thickness
    background : k (2, n), and the gradients of the m components along it, (m, n) each
    camera : Camera
    """

    columns: Array
    fixed: float
    names: tuple[str, ...] = ()
    pattern_slopes: Array | None = None
    per_nm: float = 0.0
    background: tuple[Array, Array, Array] | None = None
    camera: Camera | None = None

    @property
    def slopes(self) -> Array | None:
        """(parameters, 1 + m, n) derivatives of the columns one by one; None where they are not known."""
        if self.pattern_slopes is None:
            return None
        free = replace(self, per_nm=0.0)
        return np.stack([free.sensitivity(unit) for unit in np.eye(len(self.columns))], axis=1)

    def sensitivity(self, coefficients: Array) -> Array:
        """(parameters, n) derivatives of Σ_c coefficient_c · column_c + fixed."""
        if self.pattern_slopes is None or self.background is None:
            return np.empty((0, self.columns.shape[1]))
        out = coefficients[0] * self.pattern_slopes
        if self.per_nm and "thickness" in self.names:
            out[self.names.index("thickness")] += self.per_nm
        k, along_x, along_y = self.background
        heights = coefficients[1:]
        if len(heights) and set(self.names) & set(CAMERA):
            slopes = chain(k, heights @ along_x, heights @ along_y, self.camera)
            for i, name in enumerate(self.names):
                if name in CAMERA:
                    out[i] += slopes[CAMERA.index(name)]
        return out
