"""The page that every report is: head, style, sections, and the sections that all reports have."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import hybridfit
from hybridfit.errors import InputError
from hybridfit.io import atomic_path, check_replaceable
from hybridfit.markup import Html, element, file_name, joined, table
from hybridfit.report.citation import DOI, PAPER, SOFTWARE
from hybridfit.report.origin import FileFacts, Origin, library_rows, package_versions

# nothing is fetched and nothing runs, whoever opens the report
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, subtitle: str, *sections: object) -> str:
    """A whole HTML file."""
    style = files("hybridfit.report").joinpath("style.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=f"hybridfit {hybridfit.__version__}"),
        element("title", f"{title} – hybridfit"),
        element("style", Html(style)),
    )
    top = element(
        "header",
        element("p", "hybridfit", class_="mark"),
        element("h1", file_name(title)),
        element("p", subtitle, class_="sub"),
    )
    body = element("body", element("main", top, *sections))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def section(title: str, *children: object, class_: str | None = None) -> Html:
    """A part of a page under a heading; nothing where it has no content."""
    if not any(children):
        return Html("")
    return element("section", element("h2", title), *children, class_=class_)


def origin_sections(origin: Origin, facts: Sequence[FileFacts], asked: Sequence[tuple[str, str]]) -> Html:
    """Settings, files with checksums, library, versions, and how to cite."""
    settings = [*asked, ("network", origin.network), ("command", origin.command)]
    rows = [(name, value) for name, value in settings if value]
    return joined(
        [
            section("Settings", table((), rows, "facts") if rows else ""),
            section("Files", *(_file(each) for each in facts)),
            section(
                "Library", "" if origin.library is None else table((), library_rows(origin.library), "facts")
            ),
            section("Made with", element("p", _versions()), element("p", origin.time, class_="label")),
            section(
                "How to cite",
                element("p", SOFTWARE.format(version=hybridfit.__version__)),
                element("p", f"{PAPER} doi:{DOI}"),
                class_="cite",
            ),
        ]
    )


def _versions() -> str:
    return ", ".join(f"{name} {version}" for name, version in package_versions().items())


def _file(facts: FileFacts) -> Html:
    rows: list[tuple[object, ...]] = [("file", file_name(facts.name))]
    if facts.bytes is None:
        rows.append(("", "not there when this report was made"))
    else:
        rows.append(("size", f"{facts.bytes:,} bytes".replace(",", " ")))
        rows.append(("changed", facts.changed))
        rows.append(("SHA-256", facts.sha256 or "not computed: the file is too large"))
    return table((), rows, "facts")


def write_report(path: str | Path, report: str) -> None:
    """Write a report, whole or not at all.

    Raises
    ------
    InputError
        The name does not end in .html or .htm, the path cannot be written to, or it is another kind of file.
    """
    check_report_path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(report, encoding="utf-8")


def check_report_path(path: str | Path) -> None:
    """Raise an InputError for a name that no report can have."""
    suffix = Path(path).suffix
    if suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path}: reports are written as .html, not {suffix or 'without a suffix'}")
    check_replaceable(path, "HTML")
