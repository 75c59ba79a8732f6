"""Finished blocks on disk: a run that was stopped, however, goes on with the next one.

map.nc.parts/manifest.json   settings and inputs, what was found common to all positions
map.nc.parts/NAME.npz        a finished block, written whole or not at all
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io import atomic_path, write_json_atomic
from hybridfit.scan.rows import FIELDS, Rows

VERSION = 2


def digest(settings: dict[str, Any]) -> str:
    """Names a run: the same settings and inputs have the same."""
    text = json.dumps({"version": VERSION, "fields": FIELDS, **settings}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


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
        self.folder = output.with_name(output.name + ".parts")
        self.settings = settings
        self.manifest: dict[str, Any] = {"digest": digest(settings), "settings": settings}
        path = self.folder / "manifest.json"
        if not path.exists():
            return
        found = _read_manifest(path)
        if found.get("digest") != self.manifest["digest"]:
            raise InputError(
                f"{self.folder} holds a run with other settings or inputs ({_difference(found, settings)}); "
                "give the settings it was started with, another output, or remove the folder to begin anew"
            )
        self.manifest = found

    def begin(self) -> None:
        """Make the folder and its manifest, where they are not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "manifest.json").exists():
            self._write_manifest()

    @property
    def common(self) -> dict[str, float] | None:
        """What was found common to all positions; None: not known yet."""
        return self.manifest.get("common")

    def keep_common(self, values: dict[str, float]) -> None:
        """Write down what is common."""
        self.manifest = {**self.manifest, "common": values}
        self._write_manifest()

    def has(self, name: str) -> bool:
        """Whether a block is finished."""
        return self._path(name).exists()

    def keep(self, name: str, rows: Rows) -> None:
        """Write a finished block; it survives a crash of the machine."""
        with atomic_path(self._path(name)) as temporary:
            np.savez(temporary, **{key: getattr(rows, key) for key in Rows.__annotations__})

    def load(self, name: str) -> Rows:
        """A finished block.

        Raises
        ------
        InputError
            It cannot be read.
        """
        path = self._path(name)
        try:
            with np.load(path, allow_pickle=False) as stored:
                return Rows(**{key: stored[key] for key in Rows.__annotations__})
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise InputError(f"{path} cannot be read ({error}); remove it, and it is made again") from error

    def remove(self) -> None:
        """Remove folder and blocks: the map holds everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def _write_manifest(self) -> None:
        write_json_atomic(self.folder / "manifest.json", self.manifest)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); remove the folder to begin anew") from error
    return found if isinstance(found, dict) else {}


def _difference(found: dict[str, Any], settings: dict[str, Any]) -> str:
    """The settings that differ, in words."""
    before = found.get("settings", {})
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
