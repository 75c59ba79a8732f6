"""Calibration of camera and scan from the axes of a file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

NM = {"pm": 1e-3, "å": 0.1, "a": 0.1, "ang": 0.1, "angstrom": 0.1, "nm": 1.0, "um": 1e3, "µm": 1e3, "m": 1e9}
MRAD = {"µrad": 1e-3, "urad": 1e-3, "mrad": 1.0, "rad": 1e3}
PLAUSIBLE = {
    "mrad_per_px": (1e-3, 50.0),
    "step_nm": (1e-4, 1e5),
    "semi_angle_mrad": (0.1, 200.0),
    "energy_kv": (1.0, 5000.0),
}


class Axis(NamedTuple):
    """One axis of the array as its file describes it. What the file does not state is empty or None."""

    name: str = ""
    units: str = ""
    scale: float | None = None


def calibration(axes: Sequence[Axis], microscope: Mapping[str, Any] | None = None) -> dict[str, float]:
    """What is known: "mrad_per_px", "step_nm", "semi_angle_mrad", "energy_kv".

    Parameters
    ----------
    axes : sequence of Axis
        In the order scan rows, scan cols, frame rows, frame cols; of a stack the last two matter.
    microscope : mapping, optional
        "beam_energy" (kV) and "convergence_angle" (mrad), as HyperSpy has them. Axes in reciprocal lengths
        (1/d, such as Å⁻¹) are angles only where the energy is known.
    """
    known = microscope or {}
    energy = number(known.get("beam_energy"))
    found = {"semi_angle_mrad": number(known.get("convergence_angle")), "energy_kv": energy}
    reciprocal = _reciprocal(energy)
    found["mrad_per_px"] = _common([_scaled(axis, MRAD | reciprocal) for axis in axes[-2:]])
    if len(axes) == 4:
        found["step_nm"] = _common([_scaled(axis, NM) for axis in axes[:2]])
    return {
        key: value
        for key, value in sorted(found.items())
        if value is not None and PLAUSIBLE[key][0] <= value <= PLAUSIBLE[key][1]
    }


def unit(text: str) -> str:
    """Unit in one spelling: "[n_m]" is nm, "$Å^{-1}$" and "1/A" are å^-1."""
    plain = re.sub(r"[\s\[\]{}$_()]", "", text).replace("μ", "µ").replace("Å", "å").casefold()
    plain = plain.replace("μ", "µ").replace("⁻¹", "^-1").replace("angstroms", "å").replace("angstrom", "å")
    inverse = re.fullmatch(r"(?:1/(.+)|(.+?)\^?-1)", plain)
    if inverse:
        plain = f"{inverse[1] or inverse[2]}^-1"
    return {"a^-1": "å^-1", "a": "å"}.get(plain, plain)


def is_angle(axis: Axis) -> bool:
    """True where the axis is one of a diffraction pattern by its unit: an angle or a reciprocal length."""
    return unit(axis.units) in MRAD or unit(axis.units).endswith("^-1")


def is_length(axis: Axis) -> bool:
    return unit(axis.units) in NM


def _reciprocal(energy_kv: float | None) -> dict[str, float]:
    """Unit to mrad: θ = λ/d."""
    if energy_kv is None or not 1 <= energy_kv <= 5000:
        return {}
    from hybridfit.physics.scattering import wavelength

    per_angstrom = 1e3 * wavelength(energy_kv)
    return {f"{length}^-1": per_angstrom * 0.1 / nm for length, nm in NM.items()}


def _scaled(axis: Axis, table: Mapping[str, float]) -> float | None:
    factor = table.get(unit(axis.units))
    return None if factor is None or axis.scale is None else abs(axis.scale) * factor


def _common(values: Sequence[float | None]) -> float | None:
    """The mean where both axes are known and agree within 1 %."""
    known = [value for value in values if value is not None]
    if len(known) != 2 or not max(known) <= 1.01 * min(known):
        return None
    return sum(known) / 2


def number(value: Any) -> float | None:
    """A value of a header as a number; None where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
