"""MIB: one acquisition in one file, in several that are numbered, or in a folder of these.

Merlin cuts a long acquisition into name_00001.mib, name_00002.mib …; acquisitions one after the other are
numbered in the same way. The number of positions tells which it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from hybridfit.errors import InputError
from hybridfit.io.scan.chosen import JoinedSource, joined_source
from hybridfit.io.scan.rosettasciio import rosettasciio_source
from hybridfit.io.scan.source import Layout, Read, Source


@dataclass(frozen=True)
class PartsSource:
    """Several files as one stack, in order; `path` is the first of them, or their folder."""

    path: Path
    whole: JoinedSource

    @property
    def layout(self) -> Layout:
        files = tuple(part.path for part in self.whole.parts)
        note = f"{len(files)} files in order: {files[0].name} … {files[-1].name}"
        return replace(self.whole.layout, files=files, note=note)

    def open(self) -> Read:
        return self.whole.open()


def mib_source(path: Path, dataset: str | None, scan: tuple[int, int] | None) -> Source:
    """The frames of a file and of those that go on with it, or of all files in a folder.

    Raises
    ------
    InputError
        If a folder holds none, or nothing tells whether a file is an acquisition or the first part of one.
    """
    folder = path.is_dir()
    parts = in_order(path.glob("*.[mM][iI][bB]")) if folder else following(path)
    if not parts:
        raise InputError(f"{path} is a folder without .mib files; name the file of the scan")
    if len(parts) == 1:
        return rosettasciio_source(parts[0], dataset, scan)
    described = not folder and path.with_suffix(".hdr").is_file()
    if not folder and (scan is not None or described):
        alone = rosettasciio_source(path, dataset, scan)
        told = scan or alone.layout.scan
        if told is None or math.prod(told) <= math.prod(alone.layout.stored):
            return alone
    if scan is None:
        others = "" if folder else f"; {path.name} may be a scan, or go on in {parts[1].name}"
        raise InputError(
            f"{path} is a stack of {len(parts)} files that does not know its scan{others}: give scan_shape, "
            "rows and columns, such as 64,64"
        )
    return PartsSource(path, joined_source([rosettasciio_source(part, dataset, scan) for part in parts]))


def in_order(files: Iterable[Path]) -> list[Path]:
    """Paths by the numbers in their names."""

    def key(path: Path) -> list[tuple[bool, int, str]]:
        pieces = re.split(r"(\d+)", path.name.casefold())
        return [(piece.isdigit(), int(piece) if piece.isdigit() else 0, piece) for piece in pieces]

    return sorted(files, key=key)


def following(path: Path) -> list[Path]:
    """A file, and those beside it whose numbers go on from its own."""
    found = re.fullmatch(r"(.*?)(\d+)", path.stem)
    files = [path]
    if found is None:
        return files
    name, digits = found.groups()
    number = int(digits)
    while True:
        number += 1
        following = path.with_name(f"{name}{number:0{len(digits)}d}{path.suffix}")
        if not following.is_file():
            return files
        files.append(following)
