"""Finished blocks on disk: a run that was stopped, however, goes on with the next one.

map.nc.parts/manifest.json   settings and inputs, what was found common to all positions
map.nc.parts/NAME.npz        a finished block, written whole or not at all
map.nc.parts/lock            held by the process that works on the map

A part names its run, its block and its positions, and has a checksum.  A part that is damaged or belongs
elsewhere counts as not done, and its block is fitted again.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io import atomic_path, write_json_atomic
from hybridfit.scan.lock import Taken, locked
from hybridfit.scan.positions import At
from hybridfit.scan.rows import FIELDS, Rows
from hybridfit.scan.settings import STORE

VERSION = 2


def digest(settings: dict[str, Any]) -> str:
    """Names a run: the same settings and inputs have the same."""
    return _sha256({"version": VERSION, "fields": FIELDS, **settings})


class Store:
    """The blocks of one run, beside the map that they become.

    Parameters
    ----------
    output : path of the map
    settings : dict of JSON values
        What the numbers depend on.

    Raises
    ------
    InputError
        The folder holds the blocks of another run.
    """

    def __init__(self, output: Path, settings: dict[str, Any]) -> None:
        self.output = output
        self.folder = output.with_name(output.name + ".parts")
        self.settings = settings
        self.digest = digest(settings)
        self.common = self._read()

    def _read(self) -> dict[str, float] | None:
        """What the manifest says is common; None where there is none yet."""
        path = self.folder / "manifest.json"
        if not path.exists():
            return None
        found = _read_manifest(path)
        if found.get("digest") != self.digest:
            raise InputError(
                f"{self.folder} holds a run with other settings or inputs "
                f"({_difference(found.get('settings'), self.settings)}); "
                "give the settings it was started with, another output, or remove the folder to begin anew"
            )
        common = found.get("common")
        seal = self._seal(common)
        if not isinstance(common, dict) or seal is None or found.get("seal") != seal:
            return None  # a value that was changed since is found again
        return {str(name): float(value) for name, value in common.items()}

    @contextmanager
    def working(self) -> Iterator[None]:
        """Make the folder, and keep other runs away from it until the block ends.

        Raises
        ------
        InputError
            Another run is at work on the same map, or the folder cannot be made.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.folder / "lock"):
                self.common = self._read()  # a run that has ended since may have found it
                if not (self.folder / "manifest.json").exists():
                    self._write_manifest()
                yield
        except Taken as owner:
            raise InputError(
                f"{self.output} is being made by another run ({owner}); wait until that has ended, "
                "or choose another output"
            ) from None

    def keep_common(self, values: dict[str, float]) -> None:
        """Write down what is common."""
        self.common = values
        self._write_manifest()

    def keep(self, name: str, at: Sequence[At], rows: Rows) -> None:
        """Write a finished block; it survives a crash of the machine.

        Raises
        ------
        InputError
            It cannot be written: the disk is full, for instance.
        """
        arrays = {key: getattr(rows, key) for key in Rows.__annotations__}
        arrays |= {"at": np.array(at, np.int64), "digest": np.array(self.digest), "name": np.array(name)}
        path = self._path(name)
        with writing(path), atomic_path(path) as temporary:
            np.savez(temporary, checksum=np.array(_checksum(arrays)), **arrays)

    def load(self, name: str, at: Sequence[At]) -> Rows | None:
        """A finished block; None where there is none, or what is there is not this block, whole.

        Parameters
        ----------
        name : str
        at : positions that the block has
        """
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            with zipfile.ZipFile(path) as parts:
                most = STORE.part_bytes + len(at) * STORE.part_position_bytes
                if sum(part.file_size for part in parts.infolist()) > most:
                    return None
            with np.load(path, allow_pickle=False) as stored:
                arrays = {key: stored[key] for key in (*Rows.__annotations__, "at", "digest", "name")}
                sealed = str(stored["checksum"]) == _checksum(arrays)
        except Exception:  # whatever zipfile and NumPy raise of a damaged file
            return None
        expected = {"at": np.array(at, np.int64), "digest": np.array(self.digest), "name": np.array(name)}
        if not sealed or not all(np.array_equal(arrays[key], value) for key, value in expected.items()):
            return None
        rows = Rows(**{key: arrays[key] for key in Rows.__annotations__})
        return rows if rows.fits(len(at)) else None

    def remove(self) -> None:
        """Remove folder and blocks: the map holds everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def _seal(self, common: Any) -> str | None:
        numbers = isinstance(common, dict) and all(
            isinstance(v, int | float) and math.isfinite(v) for v in common.values()
        )
        return _sha256({"digest": self.digest, "common": common}) if numbers else None

    def _write_manifest(self) -> None:
        content: dict[str, Any] = {"digest": self.digest, "settings": self.settings}
        if self.common is not None:
            content |= {"common": self.common, "seal": self._seal(self.common)}
        path = self.folder / "manifest.json"
        with writing(path):
            write_json_atomic(path, content)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise an InputError that names the file and what to do where it cannot be written."""
    try:
        yield
    except InputError as error:  # of `atomic_path`, which names the file
        raise InputError(f"{error}; what is done is kept, and the same command goes on") from error
    except (OSError, RuntimeError) as error:  # RuntimeError is what netCDF raises
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
        raise InputError(
            f"{path} cannot be written: {reason}; make room there: what is done is kept, and the same "
            "command goes on"
        ) from error


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > STORE.largest_manifest:
            raise ValueError(f"{path.stat().st_size / 1e6:.0f} MB, more than any manifest has")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path} cannot be read ({reason}); remove the folder to begin anew") from error
    return found if isinstance(found, dict) else {}


def _difference(before: Any, settings: dict[str, Any]) -> str:
    """The settings that differ, in words."""
    if not isinstance(before, dict):
        return "made by another version"
    plain = json.loads(json.dumps(settings, default=str))
    words = [
        "{} was {}, now {}".format(name, *map(_short, _apart(before.get(name), plain.get(name))))
        for name in sorted({*before, *plain})
        if before.get(name) != plain.get(name)
    ]
    return "; ".join(words[:4]) or "made by another version"


def _apart(one: Any, other: Any) -> tuple[Any, Any]:
    """Of two mappings what differs in them."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return one, other
    same = {key for key in one if key in other and one[key] == other[key]}
    first, second = ({k: v for k, v in each.items() if k not in same} for each in (one, other))
    return first, second


def _short(value: Any) -> str:
    text = json.dumps(value) if value is not None else "not given"
    return text if len(text) <= 60 else text[:57] + "…"
