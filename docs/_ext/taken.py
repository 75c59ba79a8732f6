"""Pages that show a file from outside docs/, so that nothing is written twice.

A page whose only line is `<!-- taken: ../benchmarks/RESULTS.md -->` becomes that file; links between files of
the repository become links between pages of the site.  `name?` in a table of contents is a page that may be
missing.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

TAKEN = re.compile(r"\A<!-- taken: (\S+) -->\s*\Z")
OPTIONAL = re.compile(r"^([a-z]+)\?$", re.M)
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
# files of the repository, and the pages that show them
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/RESULTS.md": "results.md",
}


def relinked(text: str, folder: str) -> str:
    """Markdown of a file in a folder of the repository, with links as pages of the site need them."""

    def link(match: re.Match[str]) -> str:
        begin, target, end = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        page = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        return f"{begin}{page}{end}" if page else match[0]

    return LINK.sub(link, text)


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Fill a page that is taken from a file, and relink every Markdown page."""
    if Path(app.env.doc2path(docname)).suffix != ".md":
        return
    folder = "docs"
    if found := TAKEN.match(source[0]):
        path = (Path(app.srcdir) / found[1]).resolve()
        if not path.is_file():
            raise ExtensionError(f"{docname}.md takes {found[1]}, which does not exist")
        app.env.note_dependency(str(path))
        source[0] = path.read_text(encoding="utf-8")
        folder = path.parent.relative_to(Path(app.srcdir).resolve().parent).as_posix()
    there = {path.stem for path in Path(app.srcdir).glob("*.md")}
    text = relinked(source[0], folder)
    source[0] = OPTIONAL.sub(lambda page: page[1] if page[1] in there else "", text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
