"""What the REST interface takes and gives, as pydantic models: they are its documentation, too."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from hybridfit.errors import InputError
from hybridfit.serve.settings import DEFAULT_LIBRARY

METHODS = ("hybrid", "lsf", "cnn")
BACKGROUNDS = ("none", "uniform", "uniform-per-nm", "radial")
# every parameter of a fit, and whether it is held unless it is freed
PARAMETERS = {
    **dict.fromkeys(("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation"), False),
    **dict.fromkeys(("ellipticity_a", "ellipticity_b"), False),
    "semi_angle": True,
    "blur": False,
    **dict.fromkeys(("vacuum", "thickness_spread", "tilt_spread"), True),
}
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Text = Annotated[str, StringConstraints(max_length=200)]
Pair = tuple[Finite, Finite]
Size = Annotated[int, Field(ge=1, le=1_000_000)]
Strict = ConfigDict(extra="forbid")
M = TypeVar("M", bound=BaseModel)


class HintsIn(BaseModel):
    """What is roughly known: nm, mrad, px, px/mrad, degrees."""

    model_config = Strict
    thickness: Finite | None = None
    tilt: Pair | None = None
    centre: Pair | None = None
    scale: Finite | None = None
    rotation: Finite | None = None


class Reading(BaseModel):
    """How a file is read."""

    model_config = Strict
    dataset: Text | None = None
    shape: Annotated[list[Size], Field(max_length=4)] | None = None
    dtype: Annotated[str, StringConstraints(max_length=16, pattern=r"^[<>=|]?[A-Za-z]+[0-9]*$")] | None = None
    offset: Annotated[int, Field(ge=0)] = 0


class Asked(Reading):
    """What fits and maps are asked alike."""

    library: Text = DEFAULT_LIBRARY
    semi_angle: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    method: Literal["hybrid", "lsf", "cnn"] = "hybrid"
    background: Literal["none", "uniform", "uniform-per-nm", "radial"] = "radial"
    fix: Annotated[dict[Name, Finite | None], Field(max_length=40)] = {}
    free: Annotated[list[Name], Field(max_length=40)] = []
    bounds: Annotated[dict[Name, Pair], Field(max_length=40)] = {}
    sigma: Annotated[dict[Name, Finite], Field(max_length=20)] = {}
    flip: bool = False


class FitIn(Asked):
    """Options of a fit."""

    hints: HintsIn | None = None
    gain: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    session: bool = True
    origin: Literal["page", "api"] = "api"


class IdentifyIn(Reading):
    """Options of an identification; `among` are names of libraries that are built, by default all."""

    semi_angle: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    among: Annotated[list[Text], Field(min_length=1, max_length=200)] | None = None
    mirror: bool = True
    flip: bool = False
    background: Literal["none", "uniform", "uniform-per-nm", "radial"] = "radial"
    hints: HintsIn | None = None
    first: bool = False


class MapIn(Asked):
    """A map to make of a scan below a folder."""

    folder: Text
    path: Annotated[str, StringConstraints(max_length=4000)]
    average: Size = 1
    bin: Size = 1
    roi: tuple[int, int, int, int] | None = None
    step_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    common: Annotated[list[Name], Field(max_length=20)] | None = None
    hint_rotation: Finite | None = None
    field: bool = False
    scan_rotation: Finite | None = None
    scan_shape: tuple[Size, Size] | None = None
    skip: Annotated[int, Field(ge=0)] | None = None
    flyback: Annotated[int, Field(ge=0)] = 0


class LibraryIn(BaseModel):
    """A library to build."""

    model_config = Strict
    name: Text


class NewIn(BaseModel):
    """A library to make from a CIF."""

    model_config = Strict
    zone: tuple[int, int, int]
    energy_kv: Annotated[float, Field(ge=20, le=3000)]
    semi_angle: Annotated[float, Field(gt=0, le=100)]
    tilt: Annotated[float, Field(ge=0, le=50)] = 4.6
    thickness: Pair = (1.0, 100.0)
    name: Annotated[str, StringConstraints(max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] | None = (
        None
    )


class PositionIn(BaseModel):
    """A position of a map: row and column."""

    model_config = Strict
    y: Annotated[int, Field(ge=0)]
    x: Annotated[int, Field(ge=0)]


class NoteIn(BaseModel):
    """The note of a fit."""

    model_config = Strict
    note: str


# ---------------------------------------------------------------- what comes back


class Problem(BaseModel):
    """What was given, what is allowed, what to do: one line."""

    error: str


class Progress(BaseModel):
    """How far a job is; fraction is from 0 to 1, null where that is not known."""

    fraction: float | None
    words: str


class JobOut(BaseModel):
    """A job. `results` has the answers of fits that were not to be in the session, and of identifications."""

    id: str
    kind: str
    name: str
    state: Literal["queued", "running", "done", "failed", "stopped"]
    progress: Progress
    error: str | None
    fits: list[str]
    results: list[dict[str, Any]]
    map: str | None
    created: float
    started: float | None
    finished: float | None


class Accepted(BaseModel):
    """A job that was queued."""

    job: str
    frames: int | None = None
    map: str | None = None


class ParameterOut(BaseModel):
    """A parameter of a fit, and whether it is held unless it is freed."""

    name: str
    label: str
    unit: str
    held: bool


class About(BaseModel):
    """What this server is."""

    version: str
    engine: dict[str, Any]
    default_library: str
    methods: list[str]
    backgrounds: list[str]
    parameters: list[ParameterOut]
    limits: dict[str, float]
    folders: list[str]


class LibraryOut(BaseModel):
    """A library, built or not; `job` builds it."""

    name: str
    title: str
    crystal: str
    zone: list[int]
    energy_kv: float
    built: bool
    has_network: bool
    semi_angles: list[float] | None
    thickness_nm: list[float] | None
    structure: list[str]
    job: str | None


class FitRow(BaseModel):
    """A row of the session table; map, y and x are those of a position of a map."""

    id: str
    time: float
    file: str
    library: str
    semi_angle: float | None
    status: str
    message: str
    thickness_nm: float | None
    thickness_stderr: float | None
    tilt_x_mrad: float | None
    tilt_x_stderr: float | None
    tilt_y_mrad: float | None
    tilt_y_stderr: float | None
    residual_fraction: float | None
    note: str
    origin: str
    map: str | None
    y: int | None
    x: int | None


class FitOut(FitRow):
    """A fit; `result` is the object of `hybridfit fit --json`."""

    result: dict[str, Any]


class ImagesOut(BaseModel):
    """Images of a fit, base64 of little-endian float32 (mask: uint8, 1 where nothing was compared)."""

    shape: list[int]
    extent: list[float]
    mask: str
    experiment: str
    fit: str
    residual: str
    profiles: dict[str, list[float]]
    chi2_curve: dict[str, list[float | None]] | None
    disc: dict[str, Any] | None


class PreviewOut(BaseModel):
    """A frame before it is fitted."""

    shape: list[int]
    frames: int
    calibration: dict[str, float]
    png: str
    note: str


class FileOut(BaseModel):
    """A file of a folder; `readable` says whether its name is that of a scan."""

    name: str
    bytes: int
    time: float
    readable: bool


class FilesOut(BaseModel):
    """What is in a folder."""

    folders: list[str]
    files: list[FileOut]


class VariableOut(BaseModel):
    """A quantity of a map."""

    name: str
    label: str
    unit: str


class MapOut(BaseModel):
    """A map, finished or not; shape is null before the scan was opened."""

    id: str
    name: str
    library: str
    created: float
    semi_angle: float | None
    state: str
    error: str | None
    shape: list[int] | None
    done: int
    total: int | None
    job: str
    variables: list[VariableOut]
    status_meanings: list[str]


class ValuesOut(BaseModel):
    """Values of a map, base64 of little-endian float32; NaN where there is none yet."""

    name: str
    label: str
    unit: str
    shape: list[int]
    values: str


def parsed(model: type[M], text: str | bytes) -> M:
    """JSON as a model; an InputError of one line where it is none."""
    try:
        return model.model_validate_json(text or "{}")
    except ValidationError as error:
        raise InputError(words_of(error)) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"these options are no JSON ({str(error)[:100]})") from None


def words_of(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part)[:40] for part in first["loc"][:5])
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"unknown option {where!r}; see /api/openapi.json for the options"
    given = (
        "" if first["type"] in ("missing", "json_invalid") else f" (given {str(first.get('input'))[:60]!r})"
    )
    return " ".join(f"{where or 'options'}: {what}{given}".split())
