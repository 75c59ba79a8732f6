"""Settings that are mixed up: what the file says against what was given, and the likely mistake.

Full angles for half ones, mrad/px for px/mrad, 1/Å for mrad.  The radius of the direct disc is
r = scale · semi-angle (px), whichever of the two is wrong: with the file's calibration c (mrad/px) the
semi-angle is r c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.judge.settings import MISTAKES, MistakeSettings
from hybridfit.fitting.seed.disc import quick_disc
from hybridfit.frame import Frame
from hybridfit.physics.scattering import wavelength

Known = Mapping[str, float]


def contradictions(
    known: Known,
    energy_kv: float,
    semi_angle: float,
    scale: float | None = None,
    poor: bool = False,
    settings: MistakeSettings = MISTAKES,
) -> tuple[str, ...]:
    """What a file says otherwise than it was given or found, a sentence each.

    Parameters
    ----------
    known : mapping
        "energy_kv", "semi_angle_mrad", "mrad_per_px", as `Frame.calibration` has them.
    energy_kv, semi_angle : float, kV and mrad
        Of the library, and as given.
    scale : float, px/mrad, optional
        As it was found.
    poor : bool
        Whether the match is: then it may be the semi-angle that is wrong, and not the file.
    """
    said = []
    told = known.get("energy_kv")
    if told is not None and _off(told, energy_kv) > settings.energy:
        said.append(f"The file says {told:g} kV, and the library is of {energy_kv:g} kV.")
    told = known.get("semi_angle_mrad")
    if told is not None and _off(told, semi_angle) > settings.angle:
        full = (
            f", which is the full angle of {semi_angle / 2:.3g}"
            if _double(semi_angle, told, settings)
            else ""
        )
        said.append(f"The file says a semi-angle of {told:.3g} mrad, and {semi_angle:.4g} was given{full}.")
    per_pixel = known.get("mrad_per_px")
    if per_pixel is not None and scale is not None and _off(1 / scale, per_pixel) > settings.scale:
        words = _disc(scale * semi_angle, per_pixel, semi_angle, settings) if poor else ""
        said.append(
            f"{words[0].upper()}{words[1:]}"
            if words
            else f"The file says {per_pixel:.4g} mrad/px, and the fit finds {1 / scale:.4g}."
        )
    return tuple(said)


def likely_mistake(
    frame: Frame, hints: Hints, semi_angle: float, energy_kv: float, settings: MistakeSettings = MISTAKES
) -> str:
    """What was probably mixed up where nothing fits, in one clause; empty where nothing shows.

    Parameters
    ----------
    frame : Frame
    hints : Hints
        With what is fixed.
    semi_angle, energy_kv : float, mrad and kV
    """
    radius = quick_disc(frame.image, frame.valid)[2]
    per_pixel = frame.calibration.get("mrad_per_px")
    if per_pixel is not None and _off(radius * per_pixel, semi_angle) > settings.rough:
        return _disc(radius, per_pixel, semi_angle, settings)
    per_angstrom = 1e3 * wavelength(energy_kv)
    if semi_angle < settings.reciprocal:
        meant = semi_angle * per_angstrom
        return f"the semi-angle is in mrad: did you mean {meant:.3g}, which is {semi_angle:g} 1/Å?"
    if hints.scale is None or hints.scale <= 0:
        return ""
    seen, given = radius / semi_angle, hints.scale
    if _off(given, seen) <= settings.rough:
        return ""
    for meant, unit in (
        (1 / given, "mrad/px"),
        (given / per_angstrom, "px per 1/Å"),
        (1 / (given * per_angstrom), "1/Å per px"),
    ):
        if _off(meant, seen) <= settings.rough:
            return f"scale is in px/mrad: did you mean {meant:.4g}, which is {given:g} {unit}?"
    return ""


@contextmanager
def explained(frame: Frame, hints: Hints, semi_angle: float, energy_kv: float) -> Iterator[None]:
    """Add the likely mistake to an error that a fit raises."""
    try:
        yield
    except InputError as error:
        words = likely_mistake(frame, hints, semi_angle, energy_kv)
        if not words:
            raise
        raise InputError(f"{error}; {words}") from error


def _disc(radius: float, per_pixel: float, semi_angle: float, settings: MistakeSettings) -> str:
    """What the width of the disc says of the semi-angle, by the calibration of the file."""
    seen = radius * per_pixel
    if _off(semi_angle, seen) <= settings.wide:
        return ""
    return (
        f"the disc is {2 * seen:.3g} mrad across by the file's calibration ({per_pixel:.4g} mrad/px): did "
        f"you mean --semi-angle {seen:.3g}?"
    )


def _double(given: float, told: float, settings: MistakeSettings) -> bool:
    return _off(given, 2 * told) <= settings.angle


def _off(a: float, b: float) -> float:
    """By what share two values differ: |ln(a/b)| to first order, the same both ways."""
    return max(a, b) / min(a, b) - 1
