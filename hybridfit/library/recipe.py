"""Recipes: what a simulation library holds, as TOML validated by pydantic.

Shipped recipes are named (`SrTiO3_001_200kV`) and live, with their CIFs, in `library/`.
"""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hybridfit.errors import RecipeError
from hybridfit.library.settings import BUILD
from hybridfit.library.structural import FILES, NO_FRAME, StructuralTable, check_name

if TYPE_CHECKING:
    from hybridfit.physics.crystal import Crystal

READING = 2  # of CIFs that do not say everything: what is made of them is another crystal than before
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ThicknessRange(BaseModel):
    """Thicknesses (nm) from start to stop, both included, in equal steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Positive
    stop: Positive
    step: Positive = 1.0

    @model_validator(mode="after")
    def _not_too_many(self) -> ThicknessRange:
        if max(self.start, self.stop) > BUILD.thickest:
            raise ValueError(f"no specimen is that thick; give start and stop up to {BUILD.thickest:g} nm")
        if not (self.stop - self.start) / self.step < BUILD.most_thicknesses:
            raise ValueError(
                f"steps of {self.step:g} nm make more than {BUILD.most_thicknesses} thicknesses; "
                "give a larger step"
            )
        return self

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
    block : str, optional, name of the CIF's data block, where several hold a structure
    debye_waller : float by element, B (Å²) in place of what the CIF has
    zone : [u, v, w], zone axis
    in_plane : [h, k, l], the reciprocal vector that kx points along
    energy_kv : float, accelerating voltage (kV)
    g_max : float, longest beam of the calculation (Å⁻¹); longer ones, up to 1.6 g_max, act through
        the potential; those whose discs reach within 7.5 mrad of the direct disc are stored
    semi_angle_max, tilt_max : float (mrad)
    sampling : float, largest distance between solved directions (mrad)
    holz : bool, whether beams of higher-order Laue zones near the Ewald sphere take part: HOLZ lines,
        which want a sampling of 0.2 mrad up to 60 nm and of 0.13 mrad beyond
    thickness : ThicknessRange
    parameters : StructuralTable by name, each of which becomes a dimension of the library
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cif: Path
    block: str | None = None
    debye_waller: dict[str, Annotated[float, Field(ge=0, le=100)]] = {}
    zone: tuple[int, int, int]
    in_plane: tuple[int, int, int] | None = None
    energy_kv: Annotated[float, Field(ge=20, le=3000)]
    g_max: Positive = 2.3
    semi_angle_max: Annotated[float, Field(gt=0, le=100)]
    tilt_max: Annotated[float, Field(ge=0, le=50)] = 4.6
    sampling: Annotated[float, Field(gt=0, le=5)] = 0.26
    holz: bool = False
    thickness: ThicknessRange
    parameters: dict[str, StructuralTable] = {}

    @field_validator("parameters")
    @classmethod
    def _named(
        cls, parameters: dict[str, StructuralTable], info: ValidationInfo
    ) -> dict[str, StructuralTable]:
        for name, parameter in parameters.items():
            check_name(name)
            if parameter.strain is not None and info.data.get("in_plane", ()) is None:
                raise ValueError(f"{name} is {NO_FRAME}")
        return parameters

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a TOML recipe; its CIFs are looked for beside it.

        Raises
        ------
        RecipeError
            The file cannot be read, or a value is missing, misspelt or out of range.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {path}: {error}") from None
        except RecursionError:
            raise RecipeError(
                f"{path.name}: tables or lists are nested too deeply; a recipe has two levels at most"
            ) from None
        try:
            recipe = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part)[:40] for part in first["loc"][:6]) or "recipe"
            got = _short(first["input"])
            what = " ".join(first["msg"].split()).removeprefix("Value error, ")
            raise RecipeError(f"{path.name}: {where}: {what} (got {got})") from None
        except RecursionError:
            raise RecipeError(f"{path.name}: values are nested too deeply; see the shipped recipes") from None
        cif = path.parent / recipe.cif  # which stays what it is where it is absolute
        parameters = {name: p.beside(path.parent) for name, p in recipe.parameters.items()}
        for file in (cif, *(file for p in parameters.values() for file in p.files)):
            if not file.is_file():
                raise RecipeError(f"{path.name}: the CIF {file} does not exist")
        return recipe.model_copy(update={"cif": cif, "parameters": parameters})

    def crystal(self) -> Crystal:
        """The crystal of the CIF, with the Debye–Waller factors of the recipe.

        Raises
        ------
        RecipeError
            The CIF cannot be used.
        """
        from hybridfit.physics.crystal import Crystal

        return Crystal.from_cif(self.cif, block=self.block, debye_waller=self.debye_waller)

    @classmethod
    def shipped(cls, name: str) -> Recipe:
        """Read a recipe that comes with hybridfit, by its name."""
        path = shipped_folder() / f"{name}.toml"
        if not path.is_file():
            raise RecipeError(f"unknown library {name!r}; shipped ones are {', '.join(shipped_names())}")
        return cls.read(path)

    def checksum(self) -> str:
        """SHA-256 over every value of the recipe and the contents of its CIFs."""
        values = self.model_dump(mode="json", exclude={"cif": True, "parameters": {"__all__": set(FILES)}})
        for name, unset in (("block", None), ("debye_waller", {})):
            if values[name] == unset:
                del values[name]
        if not self.holz:  # nor do those from before there were HOLZ lines
            del values["holz"]
        for name, parameter in self.parameters.items():
            values["parameters"][name]["change"] = parameter.change
            if parameter.strain is None:  # libraries built before there were strains stay what they are
                del values["parameters"][name]["strain"]
        files = [self.cif, *(file for p in self.parameters.values() for file in p.files)]
        try:
            structures = b"".join(file.read_bytes() for file in files)
        except OSError as error:
            raise RecipeError(f"cannot read the CIF {error.filename}: {error}") from None
        if not _read_as_ever(structures):
            values["reading"] = READING
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode() + structures).hexdigest()


def _read_as_ever(structures: bytes) -> bool:
    """Whether every reading of CIFs has made the same crystal of these: they leave nothing to assume."""
    text = structures.lower()
    complete = b"_iso_or_equiv" in text and b"_aniso_" not in text
    return complete and re.search(rb"\s[.?](\s|$)", text) is None


def _short(value: object) -> str:
    """What was given, short enough for the line of an error."""
    shortened = reprlib.Repr()
    shortened.maxlevel, shortened.maxstring, shortened.maxother = 2, 80, 80
    return shortened.repr(value)


def shipped_folder() -> Path:
    """Where the shipped recipes are: inside the installed package, or the repository's `library/`."""
    inside = Path(__file__).parents[1] / "_library"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "library"


def description(name: str) -> str:
    """The line that a shipped recipe begins with: what it is."""
    with (shipped_folder() / f"{name}.toml").open() as lines:
        return lines.readline().lstrip("# ").strip()


def shipped_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in shipped_folder().glob("*.toml"))
