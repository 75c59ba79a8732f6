"""What has been fitted, so that a restart does not fit it again: one line of JSON for a frame or a file.

A file is known by its name, size and time of change; by its inode too, so that it may be renamed.  `asked` is
a digest of library and options: with other ones a file is fitted again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybridfit.errors import InputError
from hybridfit.watch.folder import Mark

NAME = "watched.jsonl"


class Ledger:
    """Appends to a file, and reads it at the beginning; lines that are damaged are left out.

    Parameters
    ----------
    path : path
        The file; its folder is made.
    asked : mapping
        Library and options, as JSON values.

    Raises
    ------
    InputError
        The file cannot be read or written.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self.path = path
        self._asked = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]
        self._files: dict[str, Mark] = {}
        self._frames: set[tuple[str, Mark, int]] = set()
        self._by_inode: dict[Mark, str] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise InputError(
                f"{path} cannot be written ({error.strerror}); choose another --session"
            ) from None
        self._file.seek(0)
        for line in self._file:
            self._read(line)
        self._file.seek(0, 2)
        if self._file.tell():  # a line that a power cut has left unfinished
            self._file.write("\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def has(self, path: Path, mark: Mark) -> bool:
        """Whether a file has been done as it is now, under this name or under one that is gone."""
        name = _name(path)
        if self._files.get(name) == mark:
            return True
        before = self._by_inode.get(mark)
        if before is None or not mark.inode or Path(before).exists():
            return False
        self.add(path, mark)
        return True

    def has_frame(self, path: Path, mark: Mark, index: int) -> bool:
        """Whether a frame of a file that is not done has been fitted."""
        return (_name(path), mark, index) in self._frames

    def add(self, path: Path, mark: Mark, index: int | None = None) -> None:
        """A file is done, or a frame of it."""
        line: dict[str, Any] = {"asked": self._asked, "file": _name(path), "mark": list(mark)}
        line |= {} if index is None else {"frame": index}
        text = json.dumps(line)
        self._file.write(f"{text}\n")
        self._file.flush()
        self._read(text)

    def key(self, path: Path, mark: Mark, index: int) -> str:
        """An id for the fit of a frame: the same whenever it is fitted in this way."""
        text = json.dumps([self._asked, _name(path), list(mark), index])
        return f"w{hashlib.sha256(text.encode()).hexdigest()[:15]}"

    def _read(self, line: str) -> None:
        try:
            found = json.loads(line)
            if found["asked"] != self._asked:
                return
            name, mark = str(found["file"]), Mark(*(int(v) for v in found["mark"]))
            if "frame" in found:
                self._frames.add((name, mark, int(found["frame"])))
                return
        except (ValueError, TypeError, KeyError, RecursionError):
            return
        self._files[name], self._by_inode[mark] = mark, name


def _name(path: Path) -> str:
    return str(path.absolute())
