"""Measured numbers in pages come from benchmarks/RESULTS.md: `[[study: what]]` becomes what was measured.

So no number is typed by hand, and none survives the study that measured it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

RESULTS = Path(__file__).parents[2] / "benchmarks" / "RESULTS.md"
MARK = re.compile(r"\[\[([a-z_0-9]+): (.+?)\]\](?!\])")


@cache
def measured() -> dict[tuple[str, str], str]:
    """What was measured, by study and row."""
    rows = {}
    for part in re.split(r"^## ", RESULTS.read_text(encoding="utf-8"), flags=re.M)[1:]:
        study = part.split()[0]
        for what, value in re.findall(r"^\| ([^|]+) \| ([^|]+) \|[^|]*\|[^|]*\|$", part, flags=re.M):
            if re.match(r"-?[\d.]", value):
                rows[study, what.strip()] = value.strip()
    return rows


def filled(text: str) -> str:
    """A page with its numbers.

    Raises
    ------
    KeyError
        There is no such row.
    """
    return MARK.sub(lambda found: short(measured()[found[1], found[2]]), text)


def short(value: str) -> str:
    """A measured value as sentences print it: with a minus, no power of ten, no break before the unit."""
    number, _, unit = value.partition(" ")
    plain = f"{float(number):.0f}" if 1000 <= abs(float(number)) < 1e5 else number
    return plain.replace("-", "−") + (f"\N{NO-BREAK SPACE}{unit}" if unit else "")


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Fill the marks of a page."""
    if MARK.search(source[0]):
        app.env.note_dependency(str(RESULTS))
        try:
            source[0] = filled(source[0])
        except KeyError as error:
            raise ExtensionError(f"{docname}.md: benchmarks/RESULTS.md has no row {error}") from None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
