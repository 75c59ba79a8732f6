"""Which libraries a frame is compared with, and why others are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hybridfit.errors import InputError, LibraryError
from hybridfit.identification.lacking import absorption_of, lacking_of
from hybridfit.identification.settings import IDENTIFY, IdentifySettings
from hybridfit.library.build import Progress
from hybridfit.library.library import Library, cache_folder
from hybridfit.library.recipe import shipped_names

OTHER_VERSION = "another version has built it; `hybridfit library build NAME` builds it again"


@dataclass(frozen=True)
class Known:
    """A library by the name that a user gives.

    Attributes
    ----------
    name : str
        What `hybridfit fit --library` takes.
    library : Library
    """

    name: str
    library: Library

    @property
    def title(self) -> str:
        """Crystal, zone axis and energy."""
        attrs = self.library.dataset.attrs
        zone = " ".join(str(int(i)) for i in attrs["zone"])
        return f"{attrs['crystal']} [{zone}] {attrs['energy_kv']:g} kV"

    @cached_property
    def absorption(self) -> float:
        """μ of the crystal, 1/nm (`lacking.absorption_of`)."""
        return absorption_of(self.library.dataset, self.library.semi_angle_max)

    @cached_property
    def lacking(self) -> float:
        """What the library lacks, 1/nm (`lacking.lacking_of`)."""
        return lacking_of(self.library.dataset, self.library.semi_angle_max)


@dataclass(frozen=True)
class Left:
    """A library that was not compared, and why."""

    name: str
    why: str


def built_names() -> list[str]:
    """Shipped libraries that are built, by name, and the other library files in the cache."""
    names, files = [], set()
    for name in shipped_names():
        path = Library.cached_path(name)
        if path.exists():
            names.append(name)
        files.add(path)
    others = sorted(p for p in cache_folder().glob("*.nc") if not p.name.startswith(".") and p not in files)
    return [*names, *map(str, others)]


def open_known(
    names: Iterable[str | Path | Library] | None, progress: Progress | None = None
) -> tuple[list[Known], list[Left]]:
    """Libraries by name or file, each once; those in the cache that cannot be used are left out.

    Parameters
    ----------
    names : names or files of libraries, or libraries, optional
        By default all that are built.
    progress : callable, optional
        Called with the fraction done where a library has to be built.

    Raises
    ------
    LibraryError, RecipeError
        A library that was named cannot be used.
    InputError
        There is none.
    """
    known: list[Known] = []
    left: list[Left] = []
    seen: set[str] = set()
    for given in built_names() if names is None else names:
        try:
            library = given if isinstance(given, Library) else Library.open(given, progress=progress)
        except LibraryError as error:
            if names is not None:
                raise
            left.append(_unusable(str(given), error))
            continue
        checksum = str(library.dataset.attrs["checksum"])
        if checksum not in seen:
            seen.add(checksum)
            known.append(Known(_name(given, library), library))
    if not known:
        raise InputError(
            "no library is built yet; build some (`hybridfit library build NAME`), or name them (--among), "
            "or build all that are shipped (--all)"
        )
    # what an older version has built beside a library that is there is not worth a word
    names_known = {_short(each.name).split("-")[0] for each in known}
    return known, [each for each in dict.fromkeys(left) if each.name not in names_known]


def comparable(
    known: Sequence[Known],
    semi_angle: float,
    calibration: Mapping[str, float],
    settings: IdentifySettings = IDENTIFY,
) -> tuple[list[Known], list[Left]]:
    """Those that reach the semi-angle (mrad) and have the energy that the file states, and the others.

    Raises
    ------
    InputError
        There is none.
    """
    kept: list[Known] = []
    left: list[Left] = []
    told = calibration.get("energy_kv")
    for each in known:
        energy, most = float(each.library.dataset.attrs["energy_kv"]), each.library.semi_angle_max
        if semi_angle > most:
            left.append(Left(each.name, f"it reaches {most:g} mrad, and the semi-angle is {semi_angle:g}"))
        elif told is not None and abs(energy / told - 1) > settings.energy:
            left.append(Left(each.name, f"it is of {energy:g} kV, and the file says {told:g} kV"))
        else:
            kept.append(each)
    if not kept:
        why = "; ".join(f"{each.name}: {each.why}" for each in left)
        raise InputError(
            f"no library can be compared with the frame ({why}); build one that can: hybridfit new --help"
        )
    return kept, left


def _name(given: str | Path | Library, library: Library) -> str:
    """What a user calls a library: the name of a shipped one, or its file."""
    if isinstance(given, Library):
        given = given.path or str(library.dataset.attrs["crystal"])
    return str(given)


def _unusable(name: str, error: LibraryError) -> Left:
    """Why a built library cannot be used: most often, because another version has built it."""
    if "library format" not in str(error):
        return Left(_short(name), f"it cannot be used: {error}")
    return Left(_short(name).split("-")[0], OTHER_VERSION)


def _short(name: str) -> str:
    return Path(name).name
