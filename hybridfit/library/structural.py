"""Structural parameters: what may vary in the crystal, as a table of a recipe says it.

    [parameters.polarity]
    values = { start = -1.0, stop = 1.0, step = 0.5 }     # or a list, such as [-1.0, 0.0, 1.0]
    unit = "1"
    kind = "continuous"                                   # or "discrete"
    parent = "cubic.cif"                                  # or another change, exactly one
    child = "polar.cif"

`hybridfit.physics.distortions` says what each change does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

Kind = Literal["continuous", "discrete"]
KINDS = ("continuous", "discrete")
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]

FEWEST_CONTINUOUS = 3  # values: with fewer a parameter is discrete unless it says otherwise
MOST_VALUES = 1000
CHANGES = ("path", "parent and child", "displace", "occupancy", "debye_waller", "invert", "strain")
RANGE = {"path": (0.0, 1.0), "parent": (-1.0, 1.0)}
FILES = ("path", "parent", "child")
HANDS = (-1.0, 1.0)  # the values of an inversion
NO_FRAME = "a strain along kx and ky; say with in_plane which reciprocal vector kx points along"
STEEPEST = 45.0  # °: an octahedron turned further is one turned less, the other way
# names of what a library and a fit have already
TAKEN = frozenset(
    "thickness tilt tilt_x tilt_y centre_x centre_y scale rotation ellipticity_a ellipticity_b semi_angle "
    "blur beam direction vector vector_in axis operation intensity basis sampling symmetry beam_n "
    "direction_n rotation_orders h k l qx qy kx ky k_max half_widths status residual_fraction experiment "
    "fit row col chi2_of_thickness searched_thickness tilt_magnitude tilt_azimuth tilt_covariance "
    "intensity_factor misfit_fraction reduced_chi2 route message scan_y scan_x y x mask deflection_x "
    "deflection_y field_x field_y".split()
)


def check_name(name: str) -> None:
    """Raise a ValueError for what cannot be the name of a structural parameter."""
    if name in TAKEN:
        raise ValueError(f"the name {name!r} is taken by a parameter of every fit or library; choose another")
    if (
        not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
        or iskeyword(name)
        or name.endswith(("_stderr", "_odds", "_value"))
    ):
        raise ValueError(f"{name!r} is no usable name; give letters, digits and _, such as polarity")


def checked_values(values: Iterable[float]) -> tuple[float, ...]:
    """Values of a parameter: at least two, finite and ascending; a ValueError otherwise."""
    given = tuple(float(value) for value in values)
    if len(given) < 2 or not np.isfinite(given).all() or not (np.diff(given) > 0).all():
        raise ValueError("give at least two finite values in ascending order, such as [-1.0, 0.0, 1.0]")
    if len(given) > MOST_VALUES:
        raise ValueError(f"{len(given)} values are too many: each is a library of its own; give fewer")
    return given


def default_kind(values: tuple[float, ...]) -> Kind:
    """What a parameter of so many values is unless it says otherwise."""
    return "continuous" if len(values) >= FEWEST_CONTINUOUS else "discrete"


class Strain(BaseModel):
    """A strain per unit of the value: x along kx, y along ky, z along the zone; xy = yx."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    xx: Finite = 0.0
    yy: Finite = 0.0
    xy: Finite = 0.0
    zz: Finite = 0.0

    @model_validator(mode="before")
    @classmethod
    def _components(cls, given: Any) -> Any:
        if not isinstance(given, Mapping | Strain):
            raise ValueError("give a table of components xx, yy, xy, zz, such as { xx = 1.0 }")
        return given

    @model_validator(mode="after")
    def _some(self) -> Strain:
        if not any((self.xx, self.yy, self.xy, self.zz)):
            raise ValueError("all components are 0; give one of xx, yy, xy, zz, such as xx = 1.0")
        return self


class StructuralTable(BaseModel):
    """One dimension of a library beyond thickness, beam and direction.

    Attributes
    ----------
    values : tuple of float, ascending
        Where it is solved; in a recipe also as { start, stop, step }.
    unit : str
    kind : "continuous" (interpolated and fitted) or "discrete" (each value is fitted by itself)
    path : two CIFs, for the values 0 and 1
    angle : float, °, optional
        Of a path: the second CIF has something turned by this angle, and the values are angles.
    parent, child : CIFs for the values 0 and 1; −1 is the child with its displacements inverted
    displace : site label to (dx, dy, dz), Å per unit of the value along a, b and c
    occupancy : site label to element to occupancy per unit of the value
    debye_waller : site label, or "all", to a factor: B is the value times the factor times B
    invert : true, for the values −1 (the crystal inverted) and 1 (as it is)
    strain : xx, yy, xy, zz per unit of the value, in the frame of the patterns
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[Finite, ...]
    unit: str = "1"
    kind: Kind = "continuous"
    path: tuple[Path, Path] | None = None
    angle: Annotated[float, Field(gt=0, lt=STEEPEST)] | None = None
    parent: Path | None = None
    child: Path | None = None
    displace: dict[Name, tuple[Finite, Finite, Finite]] | None = None
    occupancy: dict[Name, dict[Name, Finite]] | None = None
    debye_waller: dict[Name, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    invert: Literal[True] | None = None
    strain: Strain | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_change(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError(
                f"a structural parameter is a table of values and one of {', '.join(CHANGES)}; "
                "lists are not supported"
            )
        given = dict(given)
        changes = [change for change in CHANGES if given.get(change.split()[0]) is not None]
        if len(changes) != 1 or ("parent" in given) != ("child" in given):
            raise ValueError(f"give exactly one of {', '.join(CHANGES)}")
        if changes[0] != "strain" and not given.get(changes[0].split()[0]):
            raise ValueError(f"{changes[0]} names nothing that changes; give it a site")
        return given

    @field_validator("values", mode="before")
    @classmethod
    def _spelt_out(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        numbers = [given.get(key) for key in ("start", "stop", "step")]
        if set(given) != {"start", "stop", "step"} or not all(isinstance(n, int | float) for n in numbers):
            raise ValueError("give values as a list of numbers, or as { start, stop, step }")
        start, stop, step = (float(n) for n in numbers if n is not None)
        if not np.isfinite([start, stop, step]).all() or step <= 0 or stop <= start:
            raise ValueError("give finite numbers with start below stop and a step above 0")
        steps = (stop - start) / step
        if steps > MOST_VALUES or abs(steps - round(steps)) > 1e-6:
            raise ValueError(f"stop − start must be a whole number of steps, at most {MOST_VALUES}")
        return tuple(np.linspace(start, stop, round(steps) + 1).round(12).tolist())

    @field_validator("values")
    @classmethod
    def _ascending(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return checked_values(values)

    @model_validator(mode="after")
    def _within_range(self) -> StructuralTable:
        if "kind" not in self.model_fields_set:
            object.__setattr__(self, "kind", default_kind(self.values))  # the class is frozen
        for change, (low, high) in RANGE.items():
            high = self.angle or high
            if getattr(self, change) is not None and not low <= self.values[0] <= self.values[-1] <= high:
                raise ValueError(f"values between the two crystals of {change} must be {low:g} … {high:g}")
        if self.angle is not None and self.path is None:
            raise ValueError("angle is that of the second crystal of a path; give a path, or leave it out")
        if self.invert and (self.values != HANDS or self.kind != "discrete"):
            raise ValueError("an inversion has nothing between its two values; give values = [-1, 1]")
        return self

    @field_serializer(*FILES, when_used="json")
    def _names(self, files: Any) -> Any:
        """The same wherever the recipe lies."""
        return [file.name for file in files] if isinstance(files, tuple) else files and files.name

    @property
    def change(self) -> str:
        """Which of the changes it is, by the name of its first field."""
        return next(name for c in CHANGES if getattr(self, name := c.split()[0]) is not None)

    @property
    def files(self) -> list[Path]:
        """CIFs that it reads."""
        given = [*(self.path or ()), self.parent, self.child]
        return [file for file in given if file is not None]

    def beside(self, folder: Path) -> StructuralTable:
        """The same with its CIFs looked for in a folder."""
        found = {name: getattr(self, name) for name in FILES}
        update = {
            name: tuple(folder / file for file in files) if isinstance(files, tuple) else folder / files
            for name, files in found.items()
            if files is not None
        }
        return self.model_copy(update=update)
