"""Names that came from outside, as names of files, and places below folders that were given."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hybridfit.errors import InputError
from hybridfit.session.words import plain_text

LONGEST = 120  # characters
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}


def shown_name(given: str | None) -> str:
    """The name of an upload as it is shown: its last part, without control characters."""
    name = plain_text((given or "").replace("\\", "/").split("/")[-1])
    return name[-LONGEST:] if name.strip(". ") else "frame"


def file_name(given: str | None) -> str:
    """The name under which an upload is kept: letters, digits and a suffix that readers go by."""
    name = shown_name(given)
    stem, dot, suffix = name.rpartition(".")
    if not dot or not re.fullmatch(r"[A-Za-z0-9]{1,8}", suffix):
        stem, suffix = name, ""
    stem = re.sub(r"[^A-Za-z0-9_=-]+", "_", stem).strip("_")[:60] or "frame"
    if stem.lower() in RESERVED:
        stem = f"{stem}_"
    return f"{stem}.{suffix}" if suffix else stem


def below(folder: Path, path: str) -> Path:
    """A place below a folder, wherever links lead.

    Raises
    ------
    InputError
        It leads out of the folder, or does not exist.
    """
    wrong = InputError(f"{plain_text(path)[:120]!r} is no place below this folder; choose one from the list")
    if "\0" in path or len(path) > 4000:
        raise wrong
    parts = path.replace("\\", "/").split("/") if os.name != "posix" else path.split("/")
    if path.startswith("/") or ".." in parts or (os.name != "posix" and ":" in path):
        raise wrong
    try:
        real, root = (folder / path).resolve(strict=True), folder.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise wrong from None
    if real != root and root not in real.parents:
        raise wrong
    return real
