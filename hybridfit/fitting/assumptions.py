"""What a fit takes for granted, and how well each is known: priors that become parts of an error bar.

Each is a Gaussian about the value of the library (or the semi-angle that was given), with a relative
standard deviation σ.  σ = 0 says that the value is exact.  What a library approximates is in nm of thickness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.thresholds import threshold

if TYPE_CHECKING:
    from hybridfit.library.library import Library

# parts of an error bar: those of the data, then those of what is taken for granted
COUNTING, MISFIT = "counting", "misfit"
POINT_SPREAD, LIBRARY = "point_spread", "library"
PARTS = {
    "debye_waller": "vibration",
    "energy": "energy",
    "semi_angle": "semi_angle",
    POINT_SPREAD: POINT_SPREAD,
    LIBRARY: LIBRARY,
}
BUDGET_PARTS = (COUNTING, MISFIT, *PARTS.values())


@dataclass(frozen=True)
class AssumptionSettings:
    """How well what is taken for granted is known unless a user says more; standard deviations.

    All are relative but that of the library, which is in nm.
    """

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
    library: float = threshold(
        0.02,
        "nm",
        "of libraries that do not say how far what they approximate moves a thickness: about that of SrTiO3",
        "benchmarks.slab_shift",
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
    """Standard deviations of everything, with what a user says in place of the defaults.

    That of the library is missing unless a user gives it: libraries know it (`Library.approximation`).

    Raises
    ------
    InputError
        A name that there is not, or a value that is no standard deviation.
    """
    usual = {name: float(getattr(ASSUMED, name)) for name in PARTS}
    out = {name: value for name, value in usual.items() if name != LIBRARY}
    if given is None:
        return out
    if not isinstance(given, Mapping):
        raise InputError(f"sigma is {given!r}; give a dict of names, such as {{'debye_waller': 0.05}}")
    for name, value in given.items():
        if name not in usual:
            raise InputError(f"unknown sigma {name!r}; there are {', '.join(usual)}")
        if not isinstance(value, Real) or isinstance(value, bool) or not np.isfinite(float(value)):
            raise InputError(
                f"sigma of {name} is {value!r}, not a number; give it {_in(name)}, such as {usual[name]:g}"
            )
        if not 0 <= float(value) <= ASSUMED.most:
            raise InputError(
                f"sigma of {name} is {float(value):g}; give it {_in(name)}, 0 (exact) … {ASSUMED.most:g}, "
                f"such as {usual[name]:g}"
            )
        out[name] = float(value)
    return out


def sigma_of(library: Library, given: Mapping[str, float]) -> dict[str, float]:
    """Standard deviations of everything, of a fit with a library; given ones are `checked_sigma`'s."""
    own = library.approximation
    return {LIBRARY: ASSUMED.library if own is None else own, **given}


def _in(name: str) -> str:
    return "in nm" if name == LIBRARY else "relative"
