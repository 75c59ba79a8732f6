"""Text that came from outside: without characters that control a terminal, a page or a spreadsheet."""

from __future__ import annotations

import unicodedata

LONGEST = 100_000  # characters


def plain_text(text: str, *, lines: bool = False) -> str:
    """A text without control characters, directional overrides and lone surrogates.

    Parameters
    ----------
    text : str
    lines : bool
        Whether line breaks and tabs are kept.
    """
    kept = "\n\t" if lines else ""
    text = text.replace("\r\n", "\n") if lines else text
    return "".join(
        c if c in kept or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else " "
        for c in text[:LONGEST]
    ).strip()
