"""Files of a folder that are complete: their size and time have stood still.

The folder is listed again and again, which works over every network.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from hybridfit.watch.settings import FRAMES, WatchSettings

UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp")


class Mark(NamedTuple):
    """What tells one state of a file from another: bytes, time of the last change (ns), and the inode."""

    size: int
    changed: int
    inode: int


@dataclass
class Seen:
    """A file as it was listed: since when it has been as it is, and when to try it (s, monotonic)."""

    mark: Mark
    since: float
    next_try: float


class Folder:
    """The files of a folder, and what has become of them.

    Parameters
    ----------
    settings : WatchSettings
    clock : callable
        Seconds that never go back.
    """

    def __init__(self, settings: WatchSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self._clock = settings, clock
        self._seen: dict[Path, Seen] = {}
        self._done: dict[Path, Mark] = {}
        self.there = True  # whether the folder could be listed the last time

    def look(self) -> None:
        """List the folder."""
        now = self._clock()
        listed = dict(self._files())
        if not self.there:  # a network drive that is away for a while: its files are as they were
            return
        for path, mark in listed.items():
            before = self._seen.get(path)
            if before is None or before.mark != mark:
                self._seen[path] = Seen(mark, now, now + self.settings.times.still)
        for path in self._seen.keys() - listed.keys():
            del self._seen[path]
        for path in self._done.keys() - listed.keys():
            del self._done[path]

    def ready(self) -> list[tuple[Path, Mark]]:
        """Files that have stood still and are not done, the oldest first."""
        now = self._clock()
        found = [
            (path, seen.mark)
            for path, seen in self._seen.items()
            if now >= seen.next_try
            and (seen.mark.size > 0 or now - seen.since > self.settings.times.patience)
            and self._done.get(path) != seen.mark
        ]
        return sorted(found, key=lambda item: (item[1].changed, str(item[0])))

    def everything(self) -> list[tuple[Path, Mark]]:
        """All files, as they were listed."""
        return [(path, seen.mark) for path, seen in self._seen.items()]

    def waiting(self) -> int:
        """How many files are not done."""
        return sum(self._done.get(path) != seen.mark for path, seen in self._seen.items())

    def is_still(self, path: Path, mark: Mark) -> bool:
        """Whether a file is still as it was listed."""
        try:
            return mark_of(path) == mark
        except OSError:
            return False

    def age(self, path: Path) -> float:
        """How long a file has been as it is (s)."""
        seen = self._seen.get(path)
        return 0.0 if seen is None else self._clock() - seen.since

    def later(self, path: Path) -> None:
        """Try a file again: soon at first, then more and more seldom."""
        seen = self._seen.get(path)
        if seen is not None:
            seen.next_try = self._clock() + max(self.settings.times.still, 0.3 * self.age(path))

    def done(self, path: Path, mark: Mark) -> None:
        """A file is done as long as it stays as it is."""
        self._done[path] = mark

    def _files(self) -> Iterator[tuple[Path, Mark]]:
        """Files that may be frames."""
        self.there = True
        folders = [self.settings.folder]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        try:
                            if entry.name.startswith("."):
                                continue
                            if entry.is_dir(follow_symlinks=False):
                                folders += [Path(entry.path)] if self.settings.recursive else []
                            elif self._is_frame(entry.name) and entry.is_file():
                                # what a listing says of a file may be old on Windows and on networks
                                yield Path(entry.path), mark_of(entry.path)
                        except OSError:  # it has gone meanwhile
                            continue
            except OSError:
                if folder == self.settings.folder:
                    self.there = False

    def _is_frame(self, name: str) -> bool:
        lower = name.lower()
        if lower.endswith(UNFINISHED) or lower.startswith("~"):
            return False
        return (
            fnmatch(lower, self.settings.pattern.lower()) if self.settings.pattern else lower.endswith(FRAMES)
        )


def mark_of(path: str | Path) -> Mark:
    """The mark of a file as it is now."""
    about = os.stat(path)
    return Mark(about.st_size, about.st_mtime_ns, about.st_ino)
