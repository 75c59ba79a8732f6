"""A fitted parameter: its value, its error, and the odds of a discrete one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """A fitted value: stderr is None where it was fixed, discrete, or not to be had (on a bound).

    Structural parameters say their unit; discrete ones that were chosen among several values the
    odds of each, which sum to 1.
    """

    value: float
    stderr: float | None
    interval95: tuple[float, float] | None
    unit: str | None = None
    odds: Mapping[float, float] | None = None
