"""HTML that cannot be forgotten to escape: text becomes markup through `element` alone.

A string is text, and is escaped wherever it is put.  `Html` is markup, and is put as it is.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

EMPTY_ELEMENTS = ("br", "img", "meta", "hr")


class Html(str):
    """A string that is markup already."""

    __slots__ = ()


def text(value: object) -> Html:
    """Escaped text, and markup as it is.

    What UTF-8 cannot hold is written as \\udcff, control characters as a space.
    """
    if isinstance(value, Html):
        return value
    words = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    words = "".join(c if c in "\n\t" or c.isprintable() or ord(c) > 159 else " " for c in words)
    return Html(html.escape(words, quote=True))


def element(name: str, /, *children: object, **attributes: object) -> Html:
    """An element with its children, which are escaped unless they are `Html`.

    Names of attributes end in _ where Python keeps the name (class_), and _ within a name is written as -.
    Attributes that are None are left out.
    """
    about = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in EMPTY_ELEMENTS:
        return Html(f"<{name}{about}>")
    return Html(f"<{name}{about}>{''.join(map(text, children))}</{name}>")


def joined(parts: Iterable[object], between: str = "\n") -> Html:
    """Parts one after the other."""
    return Html(text(between).join(map(text, parts)))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], class_: str | None = None) -> Html:
    """A table whose first column names its rows; without a head where that is empty."""
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    above = [element("thead", element("tr", *(element("th", h, scope="col") for h in head)))] if head else []
    whole = element("table", *above, element("tbody", *body), class_=class_)
    return element("div", whole, class_="wide")  # scrolls where it is wider than the screen


def file_name(name: object) -> Html:
    """The name of a file: its direction of writing does not reach beyond it."""
    return element("bdi", name, class_="file")
