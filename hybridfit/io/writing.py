"""Files out: each is whole, or it is not there."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path` that takes its place once the block ends without an error.

    Whatever happens, `path` holds either what it held before or all of the new content. The temporary name
    has the same suffix, so that writers which go by it work; nothing exists under it yet.

    Raises
    ------
    InputError
        If the folder does not exist or cannot be written to, or `path` is there and not a file.
    """
    target = Path(os.path.realpath(path))  # through a link, not in its place
    if target.exists() and not target.is_file():
        raise InputError(f"{path} exists and is not a file; choose another name to write to")
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
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


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
