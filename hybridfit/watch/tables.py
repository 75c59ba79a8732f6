"""Tables that a watch appends to, a line at a time: CSV and JSON lines."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hybridfit.errors import InputError
from hybridfit.quantities import quantity
from hybridfit.session.spreadsheet import FORMULAS

VALUES = (
    "thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation", "semi_angle", "blur",
)  # fmt: skip
COLUMNS = (
    "time", "file", "status",
    *(name for key in VALUES for name in (quantity(key).json_key, f"{quantity(key).json_key}_stderr")),
    "residual_fraction", "reduced_chi2", "library", "message",
)  # fmt: skip


class Lines:
    """A text file that grows by whole lines, each flushed.

    Raises
    ------
    InputError
        The file cannot be written to, or is there already with something else in it.
    """

    def __init__(self, path: Path, head: str = "") -> None:
        self.path = path
        try:
            there = path.exists() and path.stat().st_size > 0
            if there:
                with path.open(encoding="utf-8", errors="replace") as file:
                    first = file.readline()
                if (head and first.rstrip("\r\n") != head) or (not head and first[:1] != "{"):
                    raise InputError(f"{path} is there already and is another table; choose another name")
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace", newline="")
            if there and not _ends_a_line(path):
                self._file.write("\n")
            if head and not there:
                self.write(head)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}); choose another name") from None

    def write(self, line: str) -> None:
        """Append a line; it is in the file when this returns."""
        self._file.write(f"{line}\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class CsvTable(Lines):
    """A row for each frame; the first line names the columns."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, ",".join(COLUMNS))

    def add(self, answer: Mapping[str, Any]) -> None:
        """Append an answer: the object of `hybridfit fit --json`."""
        row: dict[str, Any] = {"time": _now(), **{name: answer.get(name) for name in COLUMNS[1:]}}
        for name in VALUES:
            key = quantity(name).json_key
            found = answer.get(key) or {}
            row[key], row[f"{key}_stderr"] = found.get("value"), found.get("stderr")
        out = io.StringIO()
        csv.writer(out, lineterminator="").writerow([_cell(row[name]) for name in COLUMNS])
        self.write(out.getvalue())


class JsonLines(Lines):
    """An object for each frame: that of `hybridfit fit --json`, with the time."""

    def add(self, answer: Mapping[str, Any]) -> None:
        """Append an answer."""
        self.write(json.dumps({"time": _now(), **answer}, allow_nan=False, default=str))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _cell(value: Any) -> Any:
    """Text on one line, which a spreadsheet does not run."""
    if not isinstance(value, str):
        return "" if value is None else value
    text = " ".join(value.split())
    return f"'{text}" if text.startswith(FORMULAS) else text


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
