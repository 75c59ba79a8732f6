"""Limits: where parameters may be fixed, and how far a user may move their bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hybridfit.errors import InputError
from hybridfit.library.library import Library
from hybridfit.model import SEMI_ANGLE_ROOM
from hybridfit.quantities import quantity
from hybridfit.thresholds import threshold

LIBRARY = ("thickness", "tilt_x", "tilt_y")  # bounds of these end where the library ends, without a word


@dataclass(frozen=True)
class LimitSettings:
    """What parameters may be fixed at, and how far their bounds may be moved."""

    centre: tuple[float, float] = threshold((-1e5, 1e5), "px", "no frame has its centre beyond", "design")
    scale: tuple[float, float] = threshold(
        (0.2, 1e4), "px/mrad", "no camera has a smaller or a larger scale", "design"
    )
    rotation: tuple[float, float] = threshold(
        (-360.0, 360.0), "degrees", "one turn either way covers every orientation", "design"
    )
    ellipticity: float = threshold(0.1, "relative", "no projector lens distorts by more", "design")
    blur: float = threshold(3.0, "mrad", "a wider blur leaves no pattern", "design")
    vacuum: float = threshold(0.95, "of the area", "less crystal leaves no pattern to fit", "design")
    thickness_spread: float = threshold(
        10.0, "nm", "a wider spread leaves hardly a fringe, and its mean is not known", "design"
    )
    tilt_spread: float = threshold(
        1.5, "mrad", "a wider spread is not averaged over closely enough", "design"
    )
    least_spread: float = threshold(
        0.02, "nm, mrad", "a fitted spread is no smaller: at 0 a pattern has no slope along it", "design"
    )
    widest_ellipticity: float = threshold(
        0.3, "relative", "users may widen the bounds so far: discs are plain ellipses there", "design"
    )
    widest_blur: float = threshold(
        6.0, "mrad", "users may widen the bounds so far, to twice the blur that leaves no pattern", "design"
    )


LIMITS = LimitSettings()


def check_fixed(fix: Mapping[str, float | None], library: Library, semi_angle: float) -> None:
    """Raise an InputError for parameters fixed outside the library, or at what no camera has.

    A LibraryError for structural parameters that are fixed outside the library.

    Parameters
    ----------
    fix : parameter name to value (nm, mrad, px, px/mrad, degrees), or to None
    library : Library
    semi_angle : float, mrad
    """
    allowed = _limits(library, semi_angle, LIMITS.ellipticity, LIMITS.blur)
    for name, value in fix.items():
        if name in library.structure:
            if value is not None:
                library.structure[name].checked(name, value)
            continue
        (low, high), unit = allowed[name], quantity(name).unit
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating)
        ):
            raise InputError(
                f"{name} cannot be fixed at {value!r}: give a number, or None for the seed's value"
            )
        if value is not None and not low <= value <= high:  # False for NaN
            raise InputError(
                f"{name} cannot be fixed at {value:g} {unit}".rstrip()
                + f": give {low:.4g} … {high:.4g} {unit}".rstrip()
                + ", or take a library that reaches further"
            )
    size, tilt = float(np.hypot(fix.get("tilt_x") or 0.0, fix.get("tilt_y") or 0.0)), allowed["tilt_x"][1]
    if size > tilt + 1e-9:
        raise InputError(f"tilt cannot be fixed at {size:.3g} mrad: give at most {tilt:.3g} mrad")


def check_bounds(bounds: Mapping[str, tuple[float, float]], library: Library, semi_angle: float) -> None:
    """Raise an InputError for bounds that reach beyond what can be fitted.

    Parameters
    ----------
    bounds : parameter name to (lowest, highest) (nm, mrad, px, px/mrad, degrees)
        Those of thickness and tilt need only overlap with the library.
    library : Library
    semi_angle : float, mrad
    """
    limits = _limits(library, semi_angle, LIMITS.widest_ellipticity, LIMITS.widest_blur)
    for name, (low, high) in bounds.items():
        if name in library.structure:
            axis = library.structure[name]
            if not axis.continuous:
                raise InputError(f"{name} is discrete, so it cannot be bounded; fix it at one of its values")
            (least, most), unit = (axis.low, axis.high), quantity(name, axis.unit).unit
        else:
            (least, most), unit = limits[name], quantity(name).unit
        overlaps = low < most and high > least
        if not (overlaps if name in LIBRARY else least <= low and high <= most):
            raise InputError(
                f"bounds {low:g}, {high:g} of {name} are not inside {least:.4g} … {most:.4g} {unit}".rstrip()
                + "; give bounds inside, or take a library that reaches further"
            )


def _limits(
    library: Library, semi_angle: float, ellipticity: float, blur: float
) -> dict[str, tuple[float, float]]:
    tilt = library.tilt_max + library.semi_angle_max - semi_angle
    room = SEMI_ANGLE_ROOM * semi_angle
    return {
        "thickness": library.thickness_range,
        "tilt_x": (-tilt, tilt),
        "tilt_y": (-tilt, tilt),
        "centre_x": LIMITS.centre,
        "centre_y": LIMITS.centre,
        "scale": LIMITS.scale,
        "rotation": LIMITS.rotation,
        "ellipticity_a": (-ellipticity, ellipticity),
        "ellipticity_b": (-ellipticity, ellipticity),
        "semi_angle": (semi_angle - room, min(semi_angle + room, library.semi_angle_max)),
        "blur": (0.0, blur),
        **averaging_bounds(),
    }


def averaging_bounds() -> dict[str, tuple[float, float]]:
    """Lowest and highest vacuum, thickness_spread (nm) and tilt_spread (mrad)."""
    return {
        "vacuum": (0.0, LIMITS.vacuum),
        "thickness_spread": (0.0, LIMITS.thickness_spread),
        "tilt_spread": (0.0, LIMITS.tilt_spread),
    }
