"""The forward model of a frame whose crystal has been solved at some structure, and moves away from it.

    column(φ, θ) = column(φ; θ₀) + Σ_j (θ_j − θ_j⁰) ∂column/∂θ_j,

φ the parameters of a `ForwardModel`, θ structural numbers, and what is taken for granted (vibration of
other atoms, energy).  The images ∂column/∂θ_j are made once, at the φ where the fit is: what changes in
them on the way to the answer is of second order, and gone where the crystal has been solved at the answer.

Rims of discs and the background tell of vibrations, and both have to be exact.  An edge of the aperture of
width w multiplies I_g, which a blur does not: at w = 0.6 mrad and 1e8 electrons, B is off by five standard
errors.  What vibrations take from the discs they spread around: where two Gaussians cannot be as wide as the
background of a frame is, B is off by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.model import ForwardModel
from hybridfit.pattern import background as bg
from hybridfit.pattern.columns import Columns
from hybridfit.pattern.settings import MODEL

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VariedModel:
    """A `ForwardModel` with numbers that its pattern is linear in.

    Attributes
    ----------
    inner : ForwardModel
        Of the crystal that was solved.
    images : mapping of name to (n,) array
        Derivatives of the pattern's column.
    solved : mapping of the same names to where the crystal was solved
    offset : (n,) array
        What the column has beside that of inner: where its diffuse part is of a crystal solved before.
    """

    inner: ForwardModel
    images: Mapping[str, Array]
    solved: Mapping[str, float]
    offset: Array

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Pixels that are compared."""
        return self.inner.mask

    @property
    def n_pixels(self) -> int:
        """How many."""
        return self.inner.n_pixels

    @property
    def pixel(self) -> float:
        """Their width in pixels of the frame."""
        return self.inner.pixel

    def evaluate(self, values: Mapping[str, float], names: Sequence[str] = ()) -> Columns:
        """Columns, and derivatives along names: see `ForwardModel.evaluate`."""
        own = [name for name in names if name not in self.images]
        known = {name: value for name, value in values.items() if name not in self.images}
        found = self.inner.evaluate(known, own)
        columns = found.columns.copy()
        columns[0] += self.offset
        for name, image in self.images.items():
            columns[0] += (values[name] - self.solved[name]) * image
        if found.pattern_slopes is None:
            return replace(found, columns=columns)
        slopes = np.empty((len(names), self.n_pixels))
        rows = dict(zip(own, found.pattern_slopes, strict=True))
        for i, name in enumerate(names):
            slopes[i] = self.images[name] if name in self.images else rows[name]
        return replace(found, columns=columns, names=tuple(names), pattern_slopes=slopes)

    def assumption_slopes(self, values: Mapping[str, float]) -> dict[str, Array]:
        """None: what is taken for granted is among the images."""
        return {}


def sharpen(model: ForwardModel, scale: float) -> None:
    """Make a new model exact enough for structure, at a scale in px/mrad.

    The edge of its aperture is as sharp as its fine pixels allow; that of other models is no sharper than
    the library's directions are apart.  A radial background is given another Gaussian.
    """
    fine = model.pixel / model.oversampling / scale
    model.half_edge = min(model.half_edge, MODEL.edge_width * fine / 2)
    if model.background == "radial":
        model.background = bg.SMOOTH
