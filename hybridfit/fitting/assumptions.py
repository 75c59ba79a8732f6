"""What a fit takes for granted, and how well each is known: priors that become parts of an error bar.

Each is a Gaussian about the value of the library (or the semi-angle that was given), with a relative
standard deviation σ.  σ = 0 says that the value is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.thresholds import threshold

# parts of an error bar: those of the data, then those of what is taken for granted
COUNTING, MISFIT = "counting", "misfit"
POINT_SPREAD = "point_spread"
PARTS = {
    "debye_waller": "vibration",
    "energy": "energy",
    "semi_angle": "semi_angle",
    POINT_SPREAD: POINT_SPREAD,
}
BUDGET_PARTS = (COUNTING, MISFIT, *PARTS.values())


@dataclass(frozen=True)
class AssumptionSettings:
    """How well what is taken for granted is known unless a user says more; relative standard deviations."""

    debye_waller: float = threshold(
        0.15,
        "relative",
        "all Debye–Waller factors together: published values for one crystal scatter so much",
        "design",
    )
    energy: float = threshold(
        0.003, "relative", "high tension as microscopes state it, without a calibration", "design"
    )
    semi_angle: float = threshold(
        0.01, "relative", "a semi-angle as it is measured from the rim of a disc", "design"
    )

    point_spread: float = threshold(
        0.1,
        "of the light",
        "scintillators spread so much beyond a Gaussian; counts only where neighbours share noise",
        "benchmarks.cameras",
    )

    most: float = threshold(
        0.5, "relative", "what is known no better is to be fitted, in a dimension of the library", "design"
    )


ASSUMED = AssumptionSettings()


@dataclass(frozen=True)
class Assumed:
    """What a pattern says of something that was taken for granted.

    Attributes
    ----------
    sigma : float
        Its relative standard deviation before the fit.
    offset : float
        By how much it differs from what was taken, relative: the prior and the pattern together.
    stderr : float
        Standard error of the offset; sigma where the pattern is silent.
    """

    sigma: float
    offset: float
    stderr: float

    @property
    def told(self) -> bool:
        """Whether the pattern knows it better than the prior: by a factor of two."""
        return self.stderr < 0.5 * self.sigma


def checked_sigma(given: Any) -> dict[str, float]:
    """Relative standard deviations of everything, with what a user says in place of the defaults.

    Raises
    ------
    InputError
        A name that there is not, or a value that is no standard deviation.
    """
    out = {name: float(getattr(ASSUMED, name)) for name in PARTS}
    if given is None:
        return out
    if not isinstance(given, Mapping):
        raise InputError(f"sigma is {given!r}; give a dict of names, such as {{'debye_waller': 0.05}}")
    for name, value in given.items():
        if name not in out:
            raise InputError(f"unknown sigma {name!r}; there are {', '.join(out)}")
        if not isinstance(value, Real) or isinstance(value, bool) or not np.isfinite(float(value)):
            raise InputError(
                f"sigma of {name} is {value!r}, not a number; give it relative, such as {out[name]:g}"
            )
        if not 0 <= float(value) <= ASSUMED.most:
            raise InputError(
                f"sigma of {name} is {float(value):g}; give it relative, 0 (exact) … {ASSUMED.most:g}, "
                f"such as {out[name]:g}"
            )
        out[name] = float(value)
    return out
