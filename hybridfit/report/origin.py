"""Where answers come from: files with checksums, the library and its crystal, versions, settings."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import hybridfit
from hybridfit.errors import HybridfitError
from hybridfit.fitting.budget_words import WORDS
from hybridfit.fitting.settings import FitSettings
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe
from hybridfit.report.settings import REPORT, ReportSettings

PACKAGES = (
    "numpy", "scipy", "numba", "lmfit", "xarray", "netCDF4", "gemmi", "torch", "scikit-image", "matplotlib",
    "RosettaSciIO",
)  # fmt: skip
CIF_SOURCE = (
    "_publ_author_name", "_publ_section_title", "_journal_name_full", "_journal_year", "_journal_volume",
    "_journal_page_first", "_journal_paper_doi", "_citation_title", "_citation_journal_abbrev",
    "_citation_year", "_citation_doi", "_cod_database_code", "_database_code_ICSD",
    "_database_code_depnum_ccdc_archive",
)  # fmt: skip


@dataclass(frozen=True)
class FileFacts:
    """A file as it was when the report was made.

    Attributes
    ----------
    name : str
    bytes : int or None
        None where there is no such file any more.
    changed : str
        When it was written last (UTC).
    sha256 : str
        Empty where the file is too large for a report.
    """

    name: str
    bytes: int | None = None
    changed: str = ""
    sha256: str = ""


@dataclass(frozen=True, eq=False)
class Origin:
    """What a report says of how its answers were made; what is None or empty is left out.

    Attributes
    ----------
    settings : FitSettings, optional
    library : Library, optional
    network : str
        The weights that were given.
    command : str
        The command line, or another word for what made the answers.
    files : sequence of FileFacts, optional
        By default the files that the answers name, as far as they are there.
    made : datetime, optional
        By default now.
    """

    settings: FitSettings | None = None
    library: Library | None = None
    network: str = ""
    command: str = ""
    files: Sequence[FileFacts] | None = None
    made: datetime | None = None

    @property
    def time(self) -> str:
        """When the report was made, in UTC."""
        return _time(self.made or datetime.now(UTC))


UNKNOWN = Origin()


def file_facts(path: str | Path, settings: ReportSettings = REPORT, name: str = "") -> FileFacts:
    """Size, time and SHA-256 of a file; its name alone where it cannot be read."""
    name = name or str(path)
    try:
        about = Path(path).stat()
        changed = _time(datetime.fromtimestamp(about.st_mtime, UTC))
        if about.st_size > settings.hashed_bytes:
            return FileFacts(name, about.st_size, changed)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return FileFacts(name)
    return FileFacts(name, about.st_size, changed, digest)


def files_of(sources: Iterable[str]) -> list[FileFacts]:
    """The files of frames, each once: "stack.mrc[3]" is of stack.mrc."""
    paths = dict.fromkeys(
        source if Path(source).exists() else re.sub(r"\[\d+\]$", "", source) for source in sources
    )
    return [file_facts(path) for path in paths]


def package_versions() -> dict[str, str]:
    """hybridfit, Python, and the packages that an answer may depend on."""
    out = {"hybridfit": hybridfit.__version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out | {platform.system(): f"{platform.release()} ({platform.machine()})"}


def settings_rows(settings: FitSettings) -> list[tuple[str, str]]:
    """What was asked of a fit, in words; what was left at its default and means nothing more is left out."""
    rows = [
        ("semi-angle", f"{settings.semi_angle:g} mrad"),
        ("method", settings.method),
        ("background", settings.background),
        ("mirrored camera", "yes" if settings.flip else ""),
        ("gain", "" if settings.gain is None else f"{settings.gain:g} counts per electron"),
        (
            "fixed",
            _named({k: "at the search's value" if v is None else f"{v:g}" for k, v in settings.fix.items()}),
        ),
        ("freed", ", ".join(settings.free)),
        ("bounds", _named({k: f"{low:g} … {high:g}" for k, (low, high) in settings.bounds.items()})),
        ("tied", _named(settings.expressions)),
        ("hints", _named({k: _plain(v) for k, v in vars(settings.hints).items() if v is not None})),
        (
            "taken as known to",
            _named({WORDS.get(k, k): _known(k, v) for k, v in settings.sigma.items()}, " "),
        ),
    ]
    return [row for row in rows if row[1]]


def library_rows(library: Library) -> list[tuple[str, str]]:
    """What a library is of, its checksums and its file."""
    attrs = library.dataset.attrs
    (low, high), zone = library.thickness_range, " ".join(map(str, np.atleast_1d(attrs["zone"]).tolist()))
    rows = [
        ("crystal", f"{attrs['crystal']} ({attrs.get('formula', '')}) [{zone}]"),
        ("energy", f"{float(attrs['energy_kv']):g} kV"),
        (
            "reaches",
            f"{low:g}–{high:g} nm, semi-angle ≤ {library.semi_angle_max:g} mrad, "
            f"tilt ≤ {library.tilt_max:g} mrad",
        ),
        ("checksum of recipe and CIF", str(attrs.get("checksum", ""))),
        ("checksum of its numbers", str(attrs.get("contents", ""))),
        ("file", str(library.dataset.encoding.get("source", ""))),
        ("opened as", "" if library.path is None else str(library.path)),
        ("structure from", crystal_source(library)),
    ]
    return [row for row in rows if row[1]]


def crystal_source(library: Library) -> str:
    """What the CIF of a library says of where its structure is from; empty where that is not known."""
    try:
        path = library.path
        if path is None or path.suffix == ".nc":
            return ""
        recipe = Recipe.read(path) if path.suffix == ".toml" else Recipe.shipped(str(path))
        text = recipe.cif.read_text(encoding="utf-8", errors="replace")
    except (HybridfitError, OSError):
        return ""
    return cif_source(text)


def cif_source(text: str) -> str:
    """Authors, journal and database entry of a CIF, or the remarks that it begins with."""
    said = []
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        value = value.strip().strip("'\"")
        if name in CIF_SOURCE and value not in ("", "?", "."):
            label = (
                ""
                if "journal" in name or "publ" in name or "title" in name
                else f"{name.strip('_').replace('_', ' ')} "
            )
            said.append(f"{label}{value}")
    if said:
        return ", ".join(said)
    remarks: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        remarks.append(line.lstrip("# ").strip())
    return " ".join(filter(None, remarks))


def _named(values: Any, between: str = ": ") -> str:
    return "; ".join(f"{name.replace('_', ' ')}{between}{value}" for name, value in values.items())


def _plain(value: Any) -> str:
    return ", ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else f"{value:g}"


def _known(name: str, sigma: float) -> str:
    return f"{sigma:g} nm" if name == "library" else f"± {100 * sigma:g} %"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
