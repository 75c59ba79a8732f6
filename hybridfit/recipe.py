"""Recipes: what a simulation library holds, as TOML validated by pydantic.

Shipped recipes are named (`SrTiO3_001_200kV`) and live, with their CIFs, in `library/`.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hybridfit.errors import RecipeError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ThicknessRange(BaseModel):
    """Thicknesses (nm) from start to stop, both included, in equal steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Positive
    stop: Positive
    step: Positive = 1.0

    @model_validator(mode="after")
    def _whole_steps(self) -> ThicknessRange:
        steps = (self.stop - self.start) / self.step
        if abs(steps - round(steps)) > 1e-6:
            raise ValueError("stop − start must be a whole number of steps")
        return self

    @model_validator(mode="after")
    def _at_least_four(self) -> ThicknessRange:
        if (self.stop - self.start) / self.step < 3 - 1e-9:
            raise ValueError("the interpolation needs at least four thicknesses; widen start … stop")
        return self


class Recipe(BaseModel):
    """What to simulate.

    Attributes
    ----------
    cif : path of the CIF (relative to the recipe)
    zone : [u, v, w], zone axis
    in_plane : [h, k, l], the reciprocal vector that kx points along
    energy_kv : float, accelerating voltage (kV)
    g_max : float, longest beam of the calculation (Å⁻¹); longer ones, up to 1.6 g_max, act through
        the potential; those whose discs reach within 7.5 mrad of the direct disc are stored
    semi_angle_max, tilt_max : float (mrad)
    sampling : float, largest distance between solved directions (mrad)
    thickness : ThicknessRange
    parameters : structural parameters, each of which becomes a dimension of the library
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cif: Path
    zone: tuple[int, int, int]
    in_plane: tuple[int, int, int] | None = None
    energy_kv: Annotated[float, Field(ge=20, le=3000)]
    g_max: Positive = 2.3
    semi_angle_max: Annotated[float, Field(gt=0, le=100)]
    tilt_max: Annotated[float, Field(ge=0, le=50)] = 4.6
    sampling: Annotated[float, Field(gt=0, le=5)] = 0.26
    thickness: ThicknessRange
    parameters: dict[str, Any] = {}

    @model_validator(mode="after")
    def _no_parameters_yet(self) -> Recipe:
        if self.parameters:
            raise ValueError(
                f"structural parameters ({', '.join(self.parameters)}) are not supported by this version; "
                "leave the [parameters] table out"
            )
        return self

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a TOML recipe; the CIF is looked for beside it.

        Raises
        ------
        RecipeError
            The file cannot be read, or a value is missing, misspelt or out of range.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {path}: {error}") from None
        try:
            recipe = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "recipe"
            raise RecipeError(f"{path.name}: {where}: {first['msg']} (got {first['input']!r})") from None
        cif = recipe.cif if recipe.cif.is_absolute() else path.parent / recipe.cif
        if not cif.is_file():
            raise RecipeError(f"{path.name}: the CIF {cif} does not exist")
        return recipe.model_copy(update={"cif": cif})

    @classmethod
    def shipped(cls, name: str) -> Recipe:
        """Read a recipe that comes with hybridfit, by its name."""
        path = shipped_folder() / f"{name}.toml"
        if not path.is_file():
            raise RecipeError(f"unknown library {name!r}; shipped ones are {', '.join(shipped_names())}")
        return cls.read(path)

    def checksum(self) -> str:
        """SHA-256 over every value of the recipe and the contents of the CIF."""
        values = self.model_dump(mode="json", exclude={"cif"})
        try:
            structure = self.cif.read_bytes()
        except OSError as error:
            raise RecipeError(f"cannot read the CIF {self.cif}: {error}") from None
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode() + structure).hexdigest()


def shipped_folder() -> Path:
    """Where the shipped recipes are: inside the installed package, or the repository's `library/`."""
    inside = Path(__file__).parent / "_library"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "library"


def shipped_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in shipped_folder().glob("*.toml"))
