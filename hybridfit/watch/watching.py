"""The loop of a watch: list the folder, read what is complete, fit it, say it.

A file is complete when its size and time have stood still and its reader takes it.  What cannot be read is
tried again, and given up when it has not changed for a while.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hybridfit.errors import InputError
from hybridfit.io import BadFrame, open_frames
from hybridfit.session import Session, kept_of
from hybridfit.watch.folder import Folder, Mark
from hybridfit.watch.ledger import Ledger
from hybridfit.watch.settings import WatchSettings

if TYPE_CHECKING:
    from hybridfit.fitting.result import FitResult
    from hybridfit.frame import Frame


class Table(Protocol):
    """Where answers are appended."""

    def add(self, answer: Mapping[str, Any]) -> None: ...


@dataclass
class Summary:
    """What a watch has done so far."""

    files: int = 0
    known: int = 0  # files that an earlier run has fitted
    statuses: Counter[str] = field(default_factory=Counter)
    waiting: int = 0


@dataclass(frozen=True)
class Told:
    """What there is to say of a frame: its answer, or why there is none."""

    answer: Mapping[str, Any]
    result: FitResult | None


class Watch:
    """Fits the frames of a folder as they come.

    Parameters
    ----------
    settings : WatchSettings
    fit : callable(Frame) -> FitResult
        Raises an InputError for a frame that cannot be fitted.
    ledger : Ledger
        What has been fitted before.
    tables : sequence of Table
    session : Session, optional
        The table that `hybridfit serve` shows.
    library : callable() -> str
        Name of the library of the last fit, for the session.
    tell : callable(Told), optional
        Called for every frame.
    say : callable(str), optional
        Called with a sentence about the watch itself.
    """

    def __init__(
        self,
        settings: WatchSettings,
        fit: Callable[[Frame], FitResult],
        ledger: Ledger,
        *,
        tables: Sequence[Table] = (),
        session: Session | None = None,
        library: Callable[[], str] = lambda: "",
        tell: Callable[[Told], None] = lambda told: None,
        say: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.settings, self.ledger = settings, ledger
        self.summary = Summary()
        self._fit, self._tables, self._session, self._library = fit, tables, session, library
        self._tell, self._say = tell, say
        self._folder = Folder(settings)

    def run(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Watch until `stop` says so, or with `once` until all is done.

        Raises
        ------
        InputError
            There is no such folder, or a table can no longer be written.
        """
        if not self.settings.folder.is_dir():
            raise InputError(f"there is no folder {self.settings.folder}; create it first, or give another")
        self._folder.look()
        if self.settings.new_only:
            for path, mark in self._folder.everything():
                self._folder.done(path, mark)
        away, listing = False, 0.0
        while not stop():
            begun = time.monotonic()
            if self._folder.there == away:
                away = not away
                self._say(
                    f"{self.settings.folder} {'cannot be listed; waiting for it' if away else 'is back'}"
                )
            for path, mark in [] if away else self._folder.ready():
                if stop() or time.monotonic() - begun > 10 * self.settings.times.interval:
                    break  # of a long backlog: look what is new, and what has changed
                self._one(path, mark)
            self.summary.waiting = self._folder.waiting()
            if self.settings.once and not self.summary.waiting:
                return
            # a listing that takes long must not take the processor from the fits
            time.sleep(max(listing, self.settings.times.interval - (time.monotonic() - begun)))
            begun = time.monotonic()
            self._folder.look()
            listing = time.monotonic() - begun

    def _one(self, path: Path, mark: Mark) -> None:
        """Fit the frames of a file, if it is complete."""
        if self.ledger.has(path, mark):
            self._folder.done(path, mark)
            self.summary.known += 1
            return
        last_try = self._folder.age(path) > self.settings.times.patience
        try:
            frames = open_frames(path, **self.settings.reading)
            count = len(frames)
            if count > self.settings.times.most_frames:
                self._end(path, mark, f"{path} holds {count} frames; fit such a scan with hybridfit map")
                return
            read = list(frames)
        except (InputError, OSError) as error:
            self._bad(path, mark, str(error), last_try)
            return
        damaged = next((f for f in read if isinstance(f, BadFrame) and not f.readable), None)
        if not self._folder.is_still(path, mark) or (damaged is not None and not last_try):
            self._folder.later(path)  # it is still being written
            return
        for i, frame in enumerate(read):
            if not self.ledger.has_frame(path, mark, i):
                self._frame(frame, self.ledger.key(path, mark, i))
                self.ledger.add(path, mark, i)
        self.ledger.add(path, mark)
        self._folder.done(path, mark)
        self.summary.files += 1

    def _bad(self, path: Path, mark: Mark, words: str, last_try: bool) -> None:
        if last_try and self._folder.is_still(path, mark):
            self._end(path, mark, words)
        else:
            self._folder.later(path)

    def _end(self, path: Path, mark: Mark, words: str) -> None:
        """Say of a file that it has no answer."""
        self._keep(Told(_without(str(path), "unreadable", words), None), self.ledger.key(path, mark, 0))
        self.ledger.add(path, mark)
        self._folder.done(path, mark)
        self.summary.files += 1

    def _frame(self, frame: Frame | BadFrame, key: str) -> None:
        if isinstance(frame, BadFrame):
            told = Told(_without(frame.source, frame.status, frame.message), None)
        else:
            try:
                result = self._fit(frame)
                told = Told(result.to_json(), result)
            except InputError as error:
                told = Told(_without(frame.source, "unusable", str(error)), None)
            except Exception as error:  # one frame must not end a watch of hours
                words = " ".join(f"{type(error).__name__} {error}".split())[:300]
                told = Told(_without(frame.source, "failed", f"the fit broke off: {words}"), None)
        self._keep(told, key)

    def _keep(self, told: Told, key: str) -> None:
        """Into the tables and the session, then to the user."""
        for table in self._tables:
            table.add(told.answer)
        if self._session is not None:
            images = None if told.result is None else kept_of(told.result).packed()
            try:
                self._session.add(
                    told.answer, origin="watch", library=self._library(), images=images, key=key
                )
            except InputError as error:  # locked or full: the tables have the answer
                self._say(f"{told.answer['file']} is not in the session: {error}")
        self.summary.statuses[str(told.answer["status"])] += 1
        self._tell(told)


def _without(source: str, status: str, message: str) -> dict[str, Any]:
    return {"file": source, "status": status, "message": message}
