"""Parameters of the many frames of a scan: what a refinement reads of lmfit's, and no more.

lmfit's own have expressions, and an interpreter for them that takes a millisecond to make.
"""

from __future__ import annotations

from dataclasses import dataclass

import lmfit
import numpy as np

INFINITE = float("inf")


@dataclass(slots=True)
class PlainParameter:
    """A number, whether it varies, and its bounds."""

    value: float
    vary: bool = True
    min: float = -INFINITE
    max: float = INFINITE
    expr: None = None


class PlainParameters(dict[str, PlainParameter]):
    """Parameters by name, without expressions."""

    def add(
        self, name: str, value: float, vary: bool = True, min: float = -INFINITE, max: float = INFINITE
    ) -> None:
        """Add a parameter, as `lmfit.Parameters.add` does; its value is moved within its bounds."""
        self[name] = PlainParameter(float(np.minimum(np.maximum(value, min), max)), vary, min, max)

    def valuesdict(self) -> dict[str, float]:
        """Values by name."""
        return {name: p.value for name, p in self.items()}

    def update_constraints(self) -> None:
        """No parameter follows from others."""


Parameters = lmfit.Parameters | PlainParameters
