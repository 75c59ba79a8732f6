"""Options that several commands have, and functions that read their values."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from hybridfit.errors import InputError

DEFAULT_LIBRARY = "SrTiO3_001_200kV"
LIBRARY_HELP = "Name of a shipped library, a built library (.nc) or a recipe (.toml)."


def finite(text: str) -> float:
    """The number in an option; NaN, infinities and other text are refused."""
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise typer.BadParameter(f"{text!r} is not a number")


AUTO = "auto"
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
LibraryName = Annotated[str, typer.Option(metavar="NAME|FILE", help=LIBRARY_HELP)]
LibraryOrAuto = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE|auto",
        help=f"{LIBRARY_HELP[:-1]}; auto: the built library that the first frame shows.",
    ),
]
SemiAngle = Annotated[
    float | None,
    typer.Option(parser=finite, metavar="MRAD", help="Convergence semi-angle (mrad); by default the file's."),
]


def semi_angle_of(source: object, calibration: Mapping[str, float]) -> float:
    """The semi-angle (mrad) that a file states, which is said; an error where it states none."""
    told = calibration.get("semi_angle_mrad")
    if told is None:
        raise InputError(f"{source} does not say its semi-angle; give --semi-angle MRAD, such as 13.6")
    typer.echo(f"hybridfit: {source}: semi-angle {told:.4g} mrad, as the file says", err=True)
    return told


Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write a report of one file (.html): numbers, pictures, how it was made.",
    ),
]

# for `files.open_all`
Mask = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Image or array; pixels where it is not 0 are left out.")
]
Dataset = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the dataset in a netCDF or HDF5 file.")
]
Shape = Annotated[str | None, typer.Option(metavar="[N,]ROWS,COLS", help="Raw files: shape of the array.")]
Dtype = Annotated[str | None, typer.Option(metavar="TYPE", help='Raw files: number type, such as "<u2".')]
Flip = Annotated[
    bool, typer.Option("--flip", help="The camera mirrors its frames, left to right or top to bottom.")
]
HintThickness = Annotated[
    float | None, typer.Option(parser=finite, metavar="NM", help="Thickness, known within 3 nm.")
]
HintTilt = Annotated[str | None, typer.Option(metavar="X,Y", help="Tilt, known within 1 mrad.")]
HintCentre = Annotated[str | None, typer.Option(metavar="COL,ROW", help="Centre of the direct disc.")]
HintScale = Annotated[
    float | None, typer.Option(parser=finite, metavar="PX", help="Scale of the camera (px/mrad).")
]
HintRotation = Annotated[
    float | None,
    typer.Option(parser=finite, metavar="DEG", help="Angle from the camera's columns to the crystal's x."),
]
Background = Annotated[str, typer.Option(metavar="NAME", help="radial, uniform, uniform-per-nm or none.")]

Sigma = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="How well is known what the fit takes for granted: debye_waller (15% by default), "
        "energy (0.3%), semi_angle (1%), point_spread (10% of the light of a scintillator), "
        "library (nm, its own by default); 0 for exact.",
    ),
]
Posterior = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=100_000, help="Write N samples of what the parameters may be; needs --json."
    ),
]
Gain = Annotated[
    float | None,
    typer.Option(
        parser=finite, metavar="COUNTS", help="Counts per electron; by default estimated from the frame."
    ),
]
Offset = Annotated[int, typer.Option(metavar="BYTES", help="Raw files: bytes before the data.")]


def assignment(text: str) -> tuple[str, float | None]:
    """NAME or NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals:
        return name.strip(), None
    return name.strip(), _number(value, f"--fix {text}", "NAME=VALUE, such as blur=0.3")


def range_of(text: str) -> tuple[str, tuple[float, float]]:
    """NAME=LOW,HIGH."""
    wanted = "NAME=LOW,HIGH, such as blur=0,5"
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--bound {text!r} has no values; give {wanted}")
    low, high = numbers(value, f"bound {name}=", wanted, (2,))
    return name.strip(), (low, high)


def per_element(text: str) -> tuple[str, float]:
    """ELEMENT=B, a Debye–Waller factor (Å²)."""
    wanted = "ELEMENT=B, B in Å² from 0 to 100, such as Ti=0.44"
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f"--debye-waller {text!r} is no factor of an element; give {wanted}")
    b = _number(value, f"--debye-waller {text}", wanted)
    if not 0 <= b <= 100:
        raise InputError(f"--debye-waller {text}: B is out of range; give {wanted}")
    return name.strip(), b


def relative(text: str) -> tuple[str, float]:
    """NAME=VALUE, the value in per cent or as a share."""
    wanted = "NAME=VALUE, such as debye_waller=5% or energy=0.001"
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--sigma {text!r} has no value; give {wanted}")
    value, percent = value.strip().removesuffix("%"), value.strip().endswith("%")
    return name.strip(), _number(value, f"--sigma {text}", wanted) / (100 if percent else 1)


def pair(text: str | None, option: str, wanted: str) -> tuple[float, float] | None:
    """Two numbers with a comma between them."""
    if text is None:
        return None
    first, second = numbers(text, option, wanted, (2,))
    return first, second


def indices(text: str, option: str, wanted: str) -> tuple[int, ...]:
    """Three whole numbers with commas between them, or four; [0001] and 0001 are four digits."""
    plain = text.strip().strip("[]()").replace(" ", ",")
    if re.fullmatch(r"(-?\d){3,4}", plain):
        plain = ",".join(re.findall(r"-?\d", plain))
    values = numbers(plain, option, wanted, (3, 4))
    if any(value != int(value) for value in values):
        raise InputError(f"--{option} {text!r} are no whole numbers; give {wanted}")
    return tuple(int(value) for value in values)


def sizes(text: str | None) -> tuple[int, ...] | None:
    """The value of --shape."""
    if text is None:
        return None
    return tuple(int(size) for size in numbers(text, "shape", "ROWS,COLS, such as 256,256", (2, 3)))


def numbers(text: str, option: str, wanted: str, counts: tuple[int, ...]) -> list[float]:
    """Numbers with commas between them; counts are the allowed lengths."""
    parts = text.replace("×", ",").split(",")
    if len(parts) not in counts:
        raise InputError(f"--{option} {text!r} has {len(parts)} parts; give {wanted}")
    return [_number(part, f"--{option} {text}", wanted) for part in parts]


def _number(text: str, option: str, wanted: str) -> float:
    try:
        return finite(text)
    except typer.BadParameter as error:
        raise InputError(f"{option}: {error}; give {wanted}") from None
