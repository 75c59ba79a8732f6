"""The reference of the command line, written from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
from sphinx.application import Sphinx

PAGE = "commands"
MARK = "<!-- commands -->"


def walk(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """Every command with its context, parents before children."""
    yield command, context
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, type(context)(child, info_name=name, parent=context))


def cell(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "\\<").strip()


def section(command: Any, context: Any) -> str:
    """A command in Markdown: what it does, how it is called, its arguments and options."""
    path = context.command_path
    lines = [
        f"{'#' * (2 + path.count(' ') // 2)} `{path}`",
        "",
        (command.help or "").replace("\b", "").strip(),
    ]
    lines += ["", "```text", " ".join([path, *command.collect_usage_pieces(context)]), "```", ""]
    records = [r for p in command.get_params(context) if (r := p.get_help_record(context))]
    if records:
        lines += ["| option | |", "|---|---|"]
        lines += [f"| `{cell(name).replace(chr(92), '')}` | {cell(words)} |" for name, words in records]
    if children := getattr(command, "commands", None):
        lines += ["", "Commands: " + ", ".join(f"`{path} {name}`" for name in children) + "."]
    if command.epilog:
        lines += ["", command.epilog]
    return "\n".join([*lines, ""])


def reference() -> str:
    """The whole page but its head."""
    from hybridfit.cli import app

    root = typer.main.get_command(app)
    context = root.make_context("hybridfit", [], resilient_parsing=True)
    return "\n".join(section(command, each) for command, each in walk(root, context))


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Fill the page."""
    if docname == PAGE:
        source[0] = source[0].replace(MARK, reference())


def changed(app: Sphinx, env: Any, added: set[str], gone: set[str], removed: set[str]) -> list[str]:
    """The page is written anew each time."""
    return [PAGE]


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", read)
    app.connect("env-get-outdated", changed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
