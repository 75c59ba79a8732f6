"""Writing files: each is written whole or not at all."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import HybridfitError, InputError

_NEARLY_FULL = 2**16  # bytes: libraries that hide the system's error fail with no more left than this


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path` that takes its place once the block ends without an error.

    Whatever happens, `path` holds either what it held before or all of the new content. The temporary name
    has the same suffix, so that writers which go by it work; nothing exists under it yet. A link is followed:
    the file that it points to is replaced. That file keeps its permissions and, where the system allows it,
    its owner; a new file gets the permissions that the umask leaves.

    Raises
    ------
    InputError
        If the folder does not exist or cannot be written to, `path` is there and is write-protected or not a
        file, or the disk is full or fails.
    """
    target = Path(os.path.realpath(path))  # through a link, not in its place
    if target.exists() and not target.is_file():
        raise InputError(f"{path} exists and is not a file; choose another name to write to")
    if target.exists() and not os.access(target, os.W_OK):
        raise InputError(f"{path} is write-protected; choose another name, or allow writing to it")
    if not target.parent.is_dir():
        raise InputError(
            f"{path} cannot be written: the folder {target.parent} does not exist; create it first"
        )
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"{path} cannot be written: no permission in {target.parent}; choose another folder")
    temporary = target.with_name(f".{target.stem[:100]}-{secrets.token_hex(4)}{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        _take_over_mode(target, temporary)
        os.replace(temporary, target)
    except HybridfitError:
        raise
    except Exception as error:
        reason = _reason(error, target.parent)
        if reason is None:
            raise
        raise InputError(
            f"{path} cannot be written: {reason}; free some space or choose another folder "
            "(the file is as it was before)"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _reason(error: Exception, folder: Path) -> str | None:
    """Why the system let a write fail; None where the error is another one."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    with suppress(OSError):  # libraries have errors of their own for a full disk
        full = full or shutil.disk_usage(folder).free < _NEARLY_FULL
    if full:
        return f"no space is left in {folder}"
    if isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.EIO, errno.EROFS):
        return str(error.strerror)
    if isinstance(error, OSError | RuntimeError) and "NetCDF" in str(error):
        return "netCDF failed to write it"
    return None


def _take_over_mode(target: Path, temporary: Path) -> None:
    """Give a new file the mode and owner of the one that it replaces, or the mode that the umask leaves.

    Some writers make their files for the owner alone.
    """
    if target.exists():
        old, new = target.stat(), temporary.stat()
        if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            with suppress(OSError):  # another user's file in a shared folder
                os.chown(temporary, old.st_uid, old.st_gid)
        mode = old.st_mode
    else:
        probe = temporary.with_suffix(".mode")
        probe.touch()
        mode = probe.stat().st_mode
        probe.unlink()
    temporary.chmod(stat.S_IMODE(mode))


def check_replaceable(path: str | os.PathLike[str], kind: str) -> None:
    """Raise an InputError where a file is there already and is of another kind than the one to be written.

    Parameters
    ----------
    path : str or path
    kind : str
        "CSV", "JSON", "HTML", "YAML", "NPY", "netCDF", "TIFF", "PNG", "PDF" or "SVG".
        An empty file may be replaced by any.
    """
    if not os.path.isfile(path):
        return
    try:
        with open(path, "rb") as file:
            start = file.read(_SNIFFED)
    except OSError as error:
        raise InputError(
            f"{path} is there and cannot be read ({error.strerror}); choose another name"
        ) from error
    if start and not _KINDS[kind](start):
        raise InputError(
            f"{path} is there already and is no {kind} file; choose another name to write to, or remove it"
        )


_SNIFFED = 65536  # bytes of a file that tell what it is


def _text(start: bytes) -> str:
    """The first characters of a text; "" for what is none."""
    if b"\0" in start:
        return ""
    try:
        return start.decode("utf-8-sig")
    except UnicodeDecodeError as error:  # a character may be cut in two at the end
        return start[: error.start].decode("utf-8-sig") if len(start) - error.start < 4 else ""


def _is_csv(start: bytes) -> bool:
    """True for lines of text of which the first two have the same number of columns, two or more."""
    rows = list(csv.reader(_text(start).splitlines()[:2]))
    return bool(rows) and len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows)


_KINDS: dict[str, Callable[[bytes], bool]] = {
    "CSV": _is_csv,
    "JSON": lambda start: _text(start).lstrip()[:1] in ("[", "{"),
    "HTML": lambda start: _text(start).lstrip()[:14].lower().startswith(("<!doctype html", "<html")),
    "YAML": lambda start: ":" in _text(start).lstrip("#"),
    "NPY": lambda start: start.startswith(b"\x93NUMPY"),
    "netCDF": lambda start: start.startswith((b"\x89HDF\r\n\x1a\n", b"CDF")),
    "TIFF": lambda start: start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "PNG": lambda start: start.startswith(b"\x89PNG\r\n\x1a\n"),
    "PDF": lambda start: start.startswith(b"%PDF-"),
    "SVG": lambda start: "<svg" in _text(start),
}


def write_json_atomic(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as JSON: numpy values become numbers and lists, NaN and infinities null, paths strings."""
    text = json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_tiff_atomic(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write counts as a TIFF of 16 bits, or of 32 where they need them."""
    import tifffile

    dtype = np.uint16 if image.max() < 65535 else np.uint32
    with atomic_path(path) as temporary:
        tifffile.imwrite(temporary, image.astype(dtype))


def _plain(obj: Any) -> Any:
    if isinstance(obj, np.ndarray | np.generic):
        obj = obj.tolist()
    if isinstance(obj, dict):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value) for value in obj]
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    return None if isinstance(obj, float) and not math.isfinite(obj) else obj
