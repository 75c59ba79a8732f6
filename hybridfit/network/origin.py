"""What a network was trained on, and whether that is the library at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from hybridfit.errors import InputError, LibraryError
from hybridfit.library.library import Library
from hybridfit.network.files import Unusable
from hybridfit.network.settings import OtherPhysics, Physics, WeightsSettings
from hybridfit.network.shape import Architecture, Positive

Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Checksum = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Temperature = Annotated[float, Field(ge=0.01, le=100)]


@dataclass(frozen=True)
class Origin:
    """What a network was trained on: mrad, nm, kV; record is the history of the training.

    library_version is that of the physics; checksum is that of the library, whole_checksum that of the
    library with structural parameters which it is a part of, or the same where there are none.
    """

    crystal: Line
    formula: Line
    zone: tuple[int, int, int]
    energy_kv: Positive
    semi_angle: tuple[Positive, Positive]
    thickness: tuple[Annotated[float, Field(ge=0, le=1e6)], Positive]
    tilt_max: Annotated[float, Field(ge=0, le=1e6)]
    checksum: Checksum
    whole_checksum: Checksum
    library_version: Annotated[int, Field(ge=1, le=1_000_000)]
    thickness_temperature: Temperature
    tilt_temperature: Temperature
    record: dict[str, Any]

    @classmethod
    def of(cls, library: Library, **trained: Any) -> Origin:
        """What a network is trained on, with what came of it: the fields that the library does not have."""
        attrs = library.dataset.attrs
        first, second, third = (int(v) for v in np.atleast_1d(attrs["zone"]))
        return cls(
            crystal=str(attrs["crystal"]),
            formula=str(attrs["formula"]),
            zone=(first, second, third),
            energy_kv=float(attrs["energy_kv"]),
            checksum=str(attrs["checksum"]),
            whole_checksum=whole_checksum(library),
            library_version=int(attrs["version"]),
            **trained,
        )

    def check(
        self,
        library: Library,
        semi_angle: float | None = None,
        settings: WeightsSettings = WeightsSettings(),  # noqa: B008  (it is frozen)
    ) -> None:
        """Make sure that this is the origin of a network of a library and a semi-angle (mrad).

        Raises
        ------
        LibraryError, InputError
            As of `Network.check`.
        """
        attrs = library.dataset.attrs
        mine, its = (
            Physics(self.checksum, self.library_version),
            Physics(str(attrs["checksum"]), int(attrs["version"])),
        )
        pairs = [
            ("crystal", f"{self.crystal} ({self.formula})", f"{attrs['crystal']} ({attrs['formula']})"),
            ("zone axis", _words(self.zone), _words(np.atleast_1d(attrs["zone"]))),
            ("energy", f"{self.energy_kv:g} kV", f"{attrs['energy_kv']:g} kV"),
            ("thickness range", _range(self.thickness, "nm"), _range(library.thickness_range, "nm")),
        ]
        known = mine == its or OtherPhysics(mine, its) in settings.other_physics
        if not known:
            pairs.append(("checksum", mine.checksum[:12], its.checksum[:12]))
        for name, trained, here in pairs:
            if trained != here:
                raise LibraryError(
                    f"the network was trained on a library with {name} {trained}, this one has {here}; "
                    "take the network that belongs to it, or make one with `hybridfit train`"
                )
        if not known:
            raise LibraryError(
                f"the network was trained on version {mine.version} of the library's physics, this "
                f"one has version {its.version}; train it anew with `hybridfit train`, or use --method lsf"
            )
        (low, high), room = self.semi_angle, settings.semi_angle_room
        if semi_angle is not None and not (1 - room) * low <= semi_angle <= (1 + room) * high:
            raise InputError(
                f"semi-angle {semi_angle:g} mrad is not what the network was trained for "
                f"({low:g} … {high:g} mrad); use --method lsf, or train one with --semi-angles"
            )

    def check_classes(self, a: Architecture) -> None:
        """Raise an `Unusable` where the classes of a network are not those of this origin."""
        last, near = a.thickness_first + a.thickness_step * (a.thickness_classes - 1), 0.5 * a.thickness_step
        low, high = self.thickness
        if not (abs(a.thickness_first - low) <= near and abs(last - high) <= near):
            trained = _range(self.thickness, "nm")
            raise Unusable(
                f"it has classes of {a.thickness_first:g}–{last:g} nm, and was trained on {trained}"
            )
        low, high = self.semi_angle
        if not low <= high <= 1.001 * a.semi_angle_max:
            trained = _range(self.semi_angle, "mrad")
            raise Unusable(f"it has semi-angles to {a.semi_angle_max:g} mrad, and was trained on {trained}")


def whole_checksum(library: Library) -> str:
    """The checksum of a library with all its structural parameters."""
    attrs = library.dataset.attrs
    return str(attrs.get("whole_checksum", attrs["checksum"]))


def _words(values: Any) -> str:
    return " ".join(str(int(v)) for v in values)


def _range(values: tuple[float, ...], unit: str) -> str:
    return f"{values[0]:g}–{values[1]:g} {unit}"
