"""What a map file says of how it was made, and whether the file is a map at all.

A map may have been changed or damaged since it was written, so that every field is checked as it is read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

import hybridfit
from hybridfit.errors import InputError
from hybridfit.flags import meanings, structural
from hybridfit.io.hdf_library import check_groups
from hybridfit.io.trial import try_first
from hybridfit.model import PARAMETERS
from hybridfit.scan.positions import Roi, machine_memory

if TYPE_CHECKING:
    from hybridfit.io import ScanFile
    from hybridfit.library.library import Library
    from hybridfit.scan.settings import OpenSettings
    from hybridfit.scan.store import Store

TITLE = "hybridfit map"
DIMS = ("scan_y", "scan_x")
NEEDED = tuple(
    f"{name}{end}" for name in (*PARAMETERS, "tilt_magnitude", "tilt_azimuth") for end in ("", "_stderr")
)
KEPT = ("method", "semi_angle", "background", "fix", "free", "hint_rotation", "average", "roi", "bin")


@dataclass(frozen=True)
class Made:
    """How a map was made: what `fit_at` needs to fit one of its positions again.

    fix and common are in pixels of the camera, tilts in the frame of the crystal.
    """

    scan: str
    library_name: str
    semi_angle: float
    background: str
    average: int
    bin: int
    roi: Roi
    fix: dict[str, float | None] = field(default_factory=dict)
    common: dict[str, float] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)
    expressions: dict[str, str] = field(default_factory=dict)
    sigma: dict[str, float] = field(default_factory=dict)
    hint_rotation: float | None = None
    flip: bool = False
    opened: dict[str, Any] = field(default_factory=dict)


def attributes(
    store: Store, library: Library, name: str, file: ScanFile, opening: OpenSettings, *, complete: bool
) -> dict[str, Any]:
    """The attributes of a map: what it shows, and how it was made."""
    attrs = library.dataset.attrs
    zone = " ".join(str(int(i)) for i in np.atleast_1d(attrs["zone"]))
    kept = store.settings
    used = {key: kept[key] for key in KEPT}
    used |= {key: kept.get(key, {}) for key in ("bounds", "expressions", "sigma")}
    used |= {
        "common": store.common or {},
        "flip": bool(kept.get("flip", False)),
        "library_name": name,
        "scan": os.path.abspath(file.path),
        "opened": {
            key: str(value) if key == "dtype" and value is not None else value
            for key, value in vars(opening).items()
        },
    }
    return {
        "title": TITLE,
        "Conventions": "CF-1.11",
        "library": f"{attrs['crystal']} [{zone}] {attrs['energy_kv']:g} kV",
        "library_name": name,
        "semi_angle_mrad": kept["semi_angle"],
        "energy_kv": float(attrs["energy_kv"]),
        "source": Path(file.path).name,
        "hybridfit_version": hybridfit.__version__,
        "settings": json.dumps(used),
        "run": store.digest,
        "complete": int(complete),
    }


def read_map(path: str | Path) -> xr.Dataset:
    """Open a map.

    Raises
    ------
    InputError
        There is no such file, it is no map, or a map that lacks something or is damaged.
    """
    try:
        if Path(path).is_file():
            check_groups(Path(path))
            try_first(Path(path), partial(_looked_at, Path(path)), "map")
        with xr.open_dataset(path, engine="netcdf4") as stored:
            if stored.attrs.get("title") != TITLE:
                raise InputError(f"{path} is no map of hybridfit; give the output of `hybridfit map`")
            if stored.nbytes > machine_memory():
                raise InputError(
                    f"{path} has {_sizes(stored)} values, {stored.nbytes / 1e9:.3g} GB of memory: more than "
                    "this machine has"
                )
            found = stored.load()
    except FileNotFoundError:
        raise InputError(f"there is no map {path}; `hybridfit map` makes one") from None
    except InputError:
        raise
    except Exception as error:  # whatever netCDF and xarray raise of a damaged file
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{path} cannot be read as a map ({reason}); copy it again") from None
    wrong = what_is_wrong(found)
    if wrong:
        raise InputError(f"{path} is no whole map: {wrong}; copy it again, or make it again")
    return found


def _looked_at(path: Path) -> None:
    """Open a map and read a number of each variable; with a damaged file this may never end."""
    with xr.open_dataset(path, engine="netcdf4") as stored:
        for variable in stored.variables.values():
            _ = variable[(0,) * variable.ndim].values if variable.size else None


def _sizes(dataset: xr.Dataset) -> str:
    return ", ".join(f"{name} {size}" for name, size in dataset.sizes.items())


def what_is_wrong(found: xr.Dataset) -> str:
    """What a map lacks or has of another type, in words; empty where it is whole."""
    for name in DIMS:
        if name not in found.sizes or found.sizes[name] < 1:
            return f"it has no {name}"
        if name not in found.coords or found[name].dtype.kind not in "fiu":
            return f"its {name} are no numbers"
    try:
        more = [n for pair in structural(found).items() for n in pair]
    except TypeError:  # a kind that is no text
        return "one of its variables is of no kind"
    for name in (*NEEDED, *more):
        if name not in found:
            return f"it has no {name}"
        if set(found[name].dims) != set(DIMS) or found[name].dtype.kind != "f":
            return f"its {name} is not a number at every position"
        if not isinstance(found[name].attrs.get("units"), str):
            return f"its {name} has no units"
    for name in ("status", "route"):
        if name in found or name == "status":
            wrong = _wrong_flags(found, name)
            if wrong:
                return wrong
    if "mask" in found and (found["mask"].ndim != 2 or found["mask"].dtype.kind not in "iufb"):
        return "its mask is no image"
    for name, value in (("library", str), ("source", str), ("settings", str)):
        if not isinstance(found.attrs.get(name), value):
            return f"its attribute {name} is missing, or no text"
    energy: Any = found.attrs.get("energy_kv")
    if not _is_number(energy) or not energy > 0:
        return f"its attribute energy_kv is {energy!r:.60}, no voltage"
    return ""


def _wrong_flags(found: xr.Dataset, name: str) -> str:
    if name not in found or set(found[name].dims) != set(DIMS) or found[name].dtype.kind not in "iu":
        return f"its {name} is not a flag at every position"
    try:
        meanings(found[name])
    except (KeyError, ValueError, TypeError, OverflowError):
        return f"its {name} does not say what its flags mean"
    return ""


def how_made(found: xr.Dataset) -> Made:
    """How a map was made, from its attribute `settings`.

    Raises
    ------
    InputError
        The attribute is missing or damaged; the message names what of it.
    """
    text = found.attrs.get("settings")
    try:
        about = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, Mapping):
        raise InputError("the settings of this map cannot be read; make the map again to fit its positions")
    values: dict[str, Any] = {name: about.get(name) for name in _CHECKS}
    for name, (right, wanted) in _CHECKS.items():
        if not right(values[name]):
            shown = "missing" if name not in about else f"{json.dumps(values[name]):.60}"
            raise InputError(
                f"the settings of this map are damaged: {name} is {shown}, not {wanted}; make the map again "
                "to fit its positions"
            )
    top, bottom, left, right = values.pop("roi")
    values |= {"free": tuple(values["free"]), "flip": bool(values["flip"])}
    values |= {name: values[name] or {} for name in ("bounds", "expressions", "sigma")}
    return Made(**values, roi=(top, bottom, left, right))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_counts(value: Any, *lengths: int) -> bool:
    return isinstance(value, list) and len(value) in lengths and all(map(_is_count, value))


def _held(value: Any) -> bool:
    return isinstance(value, dict) and all(v is None or _is_number(v) for v in value.values())


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


def _opened(value: Any) -> bool:
    """Whether these are options of `open_scan`."""
    known = {"dataset", "scan_shape", "shape", "dtype", "offset", "skip", "flyback"}
    if not isinstance(value, dict) or not set(value) <= known:
        return False
    words = all(isinstance(value.get(name), str | None) for name in ("dataset", "dtype"))
    shapes = ((value.get("scan_shape"), (2,)), (value.get("shape"), (2, 3, 4)))
    sizes = all(shape is None or _are_counts(shape, *lengths) for shape, lengths in shapes)
    counts = all(_is_count(value.get(name) or 0) for name in ("offset", "skip", "flyback"))
    return words and sizes and counts


_CHECKS: dict[str, tuple[Any, str]] = {
    "scan": (lambda v: isinstance(v, str) and "\0" not in v, "a path"),
    "library_name": (lambda v: isinstance(v, str) and "\0" not in v, "a name"),
    "semi_angle": (lambda v: _is_number(v) and v > 0, "a number of mrad"),
    "background": (lambda v: isinstance(v, str), "a name"),
    "average": (lambda v: _is_count(v) and v > 0, "a whole number"),
    "bin": (lambda v: _is_count(v) and v > 0, "a whole number"),
    "roi": (lambda v: _are_counts(v, 4), "four whole numbers"),
    "fix": (_held, "values by name"),
    "common": (lambda v: _held(v) and None not in v.values(), "numbers by name"),
    "free": (lambda v: isinstance(v, list) and all(isinstance(n, str) for n in v), "a list of names"),
    "bounds": (lambda v: v is None or (isinstance(v, dict) and all(map(_pair, v.values()))), "pairs by name"),
    "expressions": (lambda v: v is None or _texts(v), "texts by name"),
    "sigma": (lambda v: v is None or (_held(v) and None not in v.values()), "numbers by name"),
    "hint_rotation": (lambda v: v is None or _is_number(v), "a number of degrees"),
    "flip": (lambda v: v is None or isinstance(v, bool), "true or false"),
    "opened": (_opened, "options of open_scan"),
}
