"""Hints: what the user already knows of thickness, tilt and camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hybridfit.errors import InputError
from hybridfit.library.library import Library
from hybridfit.quantities import quantity


def _in(name: str) -> str:
    """The unit of a quantity, in words."""
    return quantity(name).spelling.words


_WANTED: dict[str, tuple[tuple[int, ...], str]] = {  # hint to its shape, and how it is given
    "thickness": ((), f"{_in('thickness')}, such as 42.3"),
    "tilt": ((2,), f"(x, y) in {_in('tilt_x')}, such as (1.3, -0.7)"),
    "centre": ((2,), f"(column, row) in {_in('centre_x')}, such as (131.4, 121.8)"),
    "scale": ((), f"{_in('scale')}, such as 5.4"),
    "rotation": ((), f"{_in('rotation')}, such as 23.0"),
}


@dataclass(frozen=True)
class Hints:
    """What the user already knows; None is not known.

    Parameters
    ----------
    thickness : float, nm, optional
    tilt : (x, y), mrad, optional
    centre : (column, row), px, optional
        Of the direct disc.
    scale : float, px/mrad, optional
    rotation : float, degrees, optional

    Raises
    ------
    InputError
        A hint is not as many finite numbers as it should be.
    """

    thickness: float | None = None
    tilt: tuple[float, float] | None = None
    centre: tuple[float, float] | None = None
    scale: float | None = None
    rotation: float | None = None

    def __post_init__(self) -> None:
        for name, (shape, wanted) in _WANTED.items():
            given = getattr(self, name)
            if given is None:
                continue
            try:
                numbers = np.asarray(given)
            except (TypeError, ValueError):  # ragged, or of no use to NumPy
                numbers = np.empty(0)
            if numbers.shape != shape or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
                shown = " ".join(repr(given).split())[:80]
                count = "two finite numbers" if shape else "one finite number"
                raise InputError(f"{name} hint {shown} is not {count}; give {wanted}, or no hint at all")
            plain = numbers.astype(float).tolist()
            object.__setattr__(self, name, tuple(plain) if shape else plain)  # the class is frozen

    def check_library(self, library: Library, semi_angle: float) -> None:
        """Raise an InputError for hints outside a library."""
        low, high = library.thickness_range
        if self.thickness is not None and not low <= self.thickness <= high:
            raise InputError(
                f"thickness hint {self.thickness:g} nm is outside this library ({low:g} … {high:g} nm)"
            )
        limit = library.tilt_max + library.semi_angle_max - semi_angle
        if self.tilt is not None and not np.hypot(*self.tilt) <= limit:
            raise InputError(
                f"tilt hint {self.tilt[0]:g}, {self.tilt[1]:g} mrad is outside this library "
                f"(at most {limit:.3g} mrad at semi-angle {semi_angle:g} mrad)"
            )

    def check_frame(self, shape: tuple[int, ...], semi_angle: float) -> None:
        """Raise an InputError for hints that cannot be true of a frame of this shape."""
        largest = max(shape) / (2 * semi_angle)
        if self.scale is not None and not 0.2 <= self.scale <= largest:
            raise InputError(
                f"scale {self.scale:g} px/mrad cannot be right: at a semi-angle of {semi_angle:g} mrad the "
                f"direct disc would be {2 * self.scale * semi_angle:.4g} px wide in a frame of "
                f"{shape[1]} × {shape[0]} px; "
                f"give 0.2 … {largest:.3g} px/mrad, or no scale at all"
            )
        if self.centre is not None and not (
            0 <= self.centre[0] < shape[1] and 0 <= self.centre[1] < shape[0]
        ):
            raise InputError(
                f"centre {self.centre[0]:g}, {self.centre[1]:g} px lies outside the frame of "
                f"{shape[1]} × {shape[0]} px; give column, row"
            )


def with_fixed(hints: Hints, fix: Mapping[str, float | None]) -> Hints:
    """Hints that also know what is fixed at a value, so that the search starts where the fit must stay."""
    x, y = fix.get("tilt_x"), fix.get("tilt_y")
    col, row = fix.get("centre_x"), fix.get("centre_y")
    thickness, scale, rotation = (fix.get(name) for name in ("thickness", "scale", "rotation"))
    return Hints(
        thickness=hints.thickness if thickness is None else thickness,
        tilt=hints.tilt if x is None or y is None else (x, y),
        centre=hints.centre if col is None or row is None else (col, row),
        scale=hints.scale if scale is None else scale,
        rotation=hints.rotation if rotation is None else rotation,
    )
