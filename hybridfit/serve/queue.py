"""Jobs on disk: whatever dies, the jobs that had not ended are there again.

A job is queued, running, and then done, failed or stopped. What is asked of it and how it stands is a row of
SQLite; progress is in memory alone. Each lane takes the oldest job of its own.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hybridfit.errors import InputError
from hybridfit.serve.settings import LIMITS, Limits

FITS, LONG = "fits", "long"  # lanes
ENDED = ("done", "failed", "stopped")
VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, content TEXT);
CREATE TABLE IF NOT EXISTS maps (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, content TEXT);
"""


@dataclass
class Job:
    """Something to do.

    kind is "fit", "identify", "map", "library", or what is not kept: "preview", "picture". `payload` is what
    its worker is told, `lane` whose worker that is, `tries` how many workers have begun it since it last got
    on.
    """

    id: str
    kind: str
    name: str
    payload: dict[str, Any]
    lane: str
    state: str = "queued"
    tries: int = 0
    fits: list[str] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    map: str | None = None
    error: str | None = None
    created: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    kept: bool = True
    fraction: float | None = None
    words: str = ""
    answer: Any = None  # of a job that is not kept
    version: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in ENDED

    def public(self) -> dict[str, Any]:
        """What the REST interface says of it."""
        out = {name: getattr(self, name) for name in _PUBLIC}
        return out | {
            "fits": list(self.fits),
            "results": list(self.results),
            "progress": {"fraction": self.fraction, "words": self.words},
        }


_PUBLIC = ("id", "kind", "name", "state", "error", "map", "created", "started", "finished")
_PASSING = ("fraction", "words", "answer", "version", "kept")  # not on disk


class Queue:
    """All jobs, and the maps that they make.

    Threads may share it. `listeners` are called with the id of a job, or of a map, when something changes;
    they must not block.

    Raises
    ------
    InputError
        The file is damaged, or the queue is full.
    """

    def __init__(self, path: Path, limits: Limits = LIMITS) -> None:
        self.path, self.limits = path, limits
        self.changed = threading.Condition(threading.RLock())
        self.listeners: list[Callable[[str], None]] = []
        self.jobs: dict[str, Job] = {}
        self.maps: dict[str, dict[str, Any]] = {}
        self._waiting: dict[str, deque[str]] = {FITS: deque(), LONG: deque()}
        try:
            self._sql = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            self._sql.execute("PRAGMA journal_mode = WAL")
            self._sql.execute("PRAGMA synchronous = NORMAL")  # killed processes lose nothing
            self._sql.executescript(SCHEMA)
            self._sql.execute(f"PRAGMA user_version = {VERSION}")
            self._load()
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path} is damaged ({' '.join(str(error).split())}); remove it: jobs that had not ended "
                "are lost, fits are in the session table"
            ) from None

    def close(self) -> None:
        """Close the file; jobs that run stay in it as they are."""
        with self.changed:
            self._sql.close()

    # ---------------------------------------------------------------- those who ask

    def add(self, job: Job, *, first: bool = False) -> Job:
        """Put a job at the end of its lane, or at its beginning.

        Raises
        ------
        Full
            Too many jobs are waiting.
        """
        with self.changed:
            waiting = self._waiting[job.lane]
            if len(waiting) >= self.limits.queued:
                raise Full(f"{len(waiting)} jobs are waiting already; try again when some have ended")
            self.jobs[job.id] = job
            self._save(job)
            (waiting.appendleft if first else waiting.append)(job.id)
            self._forget()
            self._tell(job.id)
        return job

    def job(self, key: str) -> Job:
        """A job; a NotThere where there is none of that id."""
        found = self.jobs.get(key)
        if found is None:
            raise NotThere(f"there is no job {key[:40]!r}; it may have been forgotten")
        return found

    def listed(self) -> list[Job]:
        """All jobs that are kept, newest first."""
        with self.changed:
            return [job for job in reversed(self.jobs.values()) if job.kept]

    def withdraw(self, key: str) -> Job:
        """Stop a job that waits; one that runs is left to its lane. Nothing happens to one that has ended."""
        with self.changed:
            job = self.job(key)
            if job.state == "queued":
                self._waiting[job.lane].remove(key)
                self._end(job, "stopped", None)
            return job

    def resume(self, key: str) -> Job:
        """Queue a job again that was stopped or has failed."""
        with self.changed:
            job = self.job(key)
            if job.state not in ("stopped", "failed"):
                raise InputError(
                    f"job {key} is {job.state}; only a job that was stopped or has failed goes on"
                )
            job.state, job.tries, job.error, job.finished = "queued", 0, None, None
            self._save(job)
            self._waiting[job.lane].append(key)
            self._tell(key)
            return job

    def put_map(self, key: str, content: dict[str, Any]) -> None:
        """Write down a map."""
        with self.changed:
            self.maps[key] = content
            self._sql.execute(
                "INSERT INTO maps (id, content) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET content = ?",
                (key, text := json.dumps(content), text),
            )
            self._tell(key)

    # ---------------------------------------------------------------- those who work

    def take(self, lane: str, patience: float) -> Job | None:
        """The next job of a lane, which runs from now on; None where there is none for so many seconds."""
        with self.changed:
            waiting = self._waiting[lane]
            if not waiting:
                self.changed.wait(patience)
            while waiting and waiting[0] not in self.jobs:  # nobody waits for its answer any more
                waiting.popleft()
            if not waiting:
                return None
            job = self.jobs[waiting.popleft()]
            job.state, job.started, job.tries = "running", time.time(), job.tries + 1
            self._save(job)
            self._tell(job.id)
            return job

    def waits(self, lane: str) -> bool:
        """Whether a job waits."""
        return bool(self._waiting[lane])

    def progress(self, job: Job, fraction: float | None, words: str) -> None:
        """Say how far a job is."""
        with self.changed:
            job.fraction, job.words = fraction, words
            self._tell(job.id)

    def got_on(self, job: Job, *, fit: str | None = None, result: dict[str, Any] | None = None) -> None:
        """A piece of a job is finished and safe: the next death of a worker is the first again."""
        with self.changed:
            job.tries = 1
            if fit is not None and fit not in job.fits:
                job.fits.append(fit)
            if result is not None:
                job.results.append(result)
            self._save(job)
            self._tell(job.id)

    def again(self, job: Job) -> None:
        """Put a job back whose worker has died; it is the next one."""
        with self.changed:
            job.state = "queued"
            self._save(job)
            self._waiting[job.lane].appendleft(job.id)
            self._tell(job.id)

    def end(self, job: Job, state: str, error: str | None = None, answer: Any = None) -> None:
        """A job has ended."""
        with self.changed:
            job.answer = answer
            self._end(job, state, error)

    def touch(self, key: str) -> None:
        """Tell listeners that something of a job or a map has changed."""
        with self.changed:
            self._tell(key)

    # ---------------------------------------------------------------- inside

    def _end(self, job: Job, state: str, error: str | None) -> None:
        job.state, job.error, job.finished = state, error, time.time()
        if state == "done":
            job.fraction = 1.0
        self._save(job)
        self._tell(job.id)

    def _tell(self, key: str) -> None:
        if key in self.jobs:
            self.jobs[key].version += 1
        self.changed.notify_all()
        for listener in list(self.listeners):
            listener(key)

    def _save(self, job: Job) -> None:
        if not job.kept:
            return
        content = {name: value for name, value in asdict(job).items() if name not in _PASSING}
        self._sql.execute(
            "INSERT INTO jobs (id, content) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET content = ?",
            (job.id, text := json.dumps(content), text),
        )

    def _forget(self) -> None:
        """Drop the oldest jobs that have ended, and answers that nobody has asked for."""
        ended = [job for job in self.jobs.values() if job.ended and job.kind != "map"]
        for job in ended[: max(0, len(ended) - self.limits.jobs_kept)]:
            del self.jobs[job.id]
            self._sql.execute("DELETE FROM jobs WHERE id = ?", (job.id,))

    def drop(self, key: str) -> None:
        """Forget a job that is not kept, once its answer was given."""
        with self.changed:
            self.jobs.pop(key, None)

    def _load(self) -> None:
        """The jobs of the last time; those that ran are queued again, before the others."""
        for key, text in self._sql.execute("SELECT id, content FROM jobs ORDER BY number"):
            job = Job(**json.loads(text))
            assert job.id == key
            self.jobs[key] = job
        for key, text in self._sql.execute("SELECT id, content FROM maps ORDER BY number"):
            self.maps[key] = json.loads(text)
        for state in ("running", "queued"):
            for job in self.jobs.values():
                if job.state == state and job.id not in self._waiting[job.lane]:
                    self._waiting[job.lane].append(job.id)
        for waiting in self._waiting.values():
            for key in waiting:
                self.jobs[key].state, self.jobs[key].tries = "queued", 0


class Full(InputError):
    """Too many jobs are waiting."""


class NotThere(InputError):
    """There is nothing of that id."""


def new_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_hex(8)
