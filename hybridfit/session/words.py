"""Text that came from outside: without characters that control a terminal, a page or a spreadsheet."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

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


def plain_json(value: Any) -> Any:
    """JSON without NaN and infinities, which it does not have."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(each) for each in value]
    if isinstance(value, float) and not -1e308 < value < 1e308:
        return None
    return value
