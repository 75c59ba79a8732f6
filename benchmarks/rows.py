"""Rows of RESULTS.md, and claims of docs/measured.md that are made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

MOST, LEAST, SMALLEST = "most", "least", "smallest"  # is best; the smallest by its absolute value
MISSED = "**missed**"
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
TIME = ""  # in place of the dose, where a time is measured


class Row(NamedTuple):
    """A row of RESULTS.md; measured and bar are a number with its unit."""

    study: str
    what: str
    measured: str
    bar: str
    verdict: str

    @property
    def value(self) -> float:
        """The measured number."""
        return float(self.measured.split()[0])


class Claim(NamedTuple):
    """One line of the table.

    what : the quantity, and what counts
    frames : crystal, thickness and tilt of the frames, and how many there are
    dose : electrons in a frame, such as "10⁵–10⁹"; TIME for a time
    rows : study, and a regular expression that its rows match as a whole; the group `where` names a row
    best : MOST, LEAST, SMALLEST, or the number that is best
    """

    what: str
    frames: str
    dose: str
    rows: Mapping[str, str]
    best: str | float

    def matches(self, row: Row) -> re.Match[str] | None:
        """The match of a row that measures this quantity."""
        return re.fullmatch(self.rows[row.study], row.what) if row.study in self.rows else None

    def sorted(self, rows: list[Row]) -> list[Row]:
        """The rows that measure this quantity, the best first."""
        mine = [row for row in rows if self.matches(row)]
        if self.best == MOST:
            return sorted(mine, key=lambda row: -row.value)
        if self.best == LEAST:
            return sorted(mine, key=lambda row: row.value)
        target = 0.0 if isinstance(self.best, str) else self.best
        return sorted(mine, key=lambda row: abs(row.value - target))

    def where(self, row: Row) -> str:
        """The name of a row: its study, and the case where the study has several."""
        found = self.matches(row)
        case = (found.groupdict().get("where") if found else None) or ""
        return f"`{row.study}`, {tidy(case)}" if case else f"`{row.study}`"


def tidy(text: str) -> str:
    """Powers of ten as they are printed, not as they are typed."""

    def power(found: re.Match[str]) -> str:
        factor = found[1] if found[1] != "1" else ""
        exponent = str(int(found[2])).translate(SUPERSCRIPTS)
        return f"{factor}·10{exponent}" if factor else f"10{exponent}"

    return re.sub(r"\b(\d(?:\.\d+)?)e\+?(\d+)\b", power, text)


def rows_of(results: str) -> list[Row]:
    """Every row of the tables of a RESULTS.md."""
    rows = []
    for part in re.split(r"^## ", results, flags=re.MULTILINE)[1:]:
        for cells in re.findall(r"^\|([^|]+)\|([^|]+)\|([^|]*)\|([^|]*)\|$", part, flags=re.MULTILINE):
            what, measured, bar, verdict = (cell.strip() for cell in cells)
            if what != "what" and measured.strip("-:"):
                rows.append(Row(part.split()[0], what, measured, bar, verdict))
    return rows


def missed(rows: list[Row]) -> list[Row]:
    """Rows that miss their bar."""
    return [row for row in rows if row.verdict == MISSED]
