"""The session as comma-separated text: numbers as numbers, and no cell that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

FIRST = ("time", "id", "origin", "file", "library", "semi_angle_mrad_asked", "status", "message")
LAST = ("residual_fraction", "misfit_fraction", "reduced_chi2", "note")
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def to_csv(fits: Iterable[Mapping[str, Any]]) -> str:
    """A line for each fit, as `Session.fits` and `Session.fit` give them.

    The columns are those that any of the fits has: each parameter with its unit in its name, and its standard
    error. A text that begins like a formula gets an apostrophe before it.
    """
    rows = [_cells(fit) for fit in fits]
    names = list(dict.fromkeys(name for row in rows for name in row))
    middle = [name for name in names if name not in (*FIRST, *LAST)]
    columns = [*FIRST, *middle, *LAST]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return out.getvalue()


def _cells(fit: Mapping[str, Any]) -> dict[str, Any]:
    answer = fit["result"]
    moment = datetime.fromtimestamp(fit["time"], UTC)
    out: dict[str, Any] = {
        "time": moment.strftime("%Y-%m-%d %H:%M:%S"),
        "semi_angle_mrad_asked": fit["semi_angle"],
        **{name: fit[name] for name in ("id", "origin", "file", "library", "note")},
        **{name: answer.get(name) for name in ("status", "message", *LAST[:-1])},
    }
    structure = answer.get("structure")
    for name, found in (answer | (structure if isinstance(structure, Mapping) else {})).items():
        if isinstance(found, Mapping) and "value" in found and "stderr" in found:
            out[name], out[f"{name}_stderr"] = found["value"], found["stderr"]
    return out


def _cell(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return "" if value is None else value
    text = " ".join(str(value).split("\n"))
    return f"'{text}" if text.lstrip(" ").startswith(FORMULAS) else text
