"""All that a server keeps: session, queue, lanes, and what the workers said of libraries."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybridfit.errors import InputError
from hybridfit.scan.lock import Taken, locked
from hybridfit.serve.lane import Lane
from hybridfit.serve.queue import FITS, LONG, Job, NotThere, Queue, new_id
from hybridfit.serve.settings import ServeSettings
from hybridfit.session import Session


class State:
    """The inside of a server, from when it starts until it ends.

    Raises
    ------
    InputError
        The session cannot be used, or another server does so already.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.session = Session(settings.session)
        self._stack = contextlib.ExitStack()
        try:
            try:
                self._stack.enter_context(locked(settings.session / "server.lock"))
            except Taken as owner:
                raise InputError(
                    f"another server is at work on {settings.session} ({owner}); open its page, end it, or "
                    "give another --session"
                ) from None
            for folder in (settings.uploads, settings.maps, settings.libraries):
                folder.mkdir(exist_ok=True)
            self.queue = Queue(settings.session / "queue.sqlite", settings.limits)
        except BaseException:
            self._stack.close()
            self.session.close()
            raise
        self._tidy()
        self.engine: dict[str, Any] = {"state": "starting"}
        self.libraries: dict[str, dict[str, Any]] = {}
        self._listed = threading.Event()
        self.lanes = {
            name: Lane(name, self.queue, settings, self._told, self._ended) for name in (FITS, LONG)
        }
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: dict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def start(self) -> None:
        """Begin to work on the queue; to be called within the event loop of the server."""
        self._loop = asyncio.get_running_loop()
        self.queue.listeners.append(self._changed)
        for lane in self.lanes.values():
            lane.start()

    def close(self) -> None:
        """End the workers; what they had not finished stays in the queue."""
        for lane in self.lanes.values():
            lane.hurry()
        for lane in self.lanes.values():
            lane.close()
        self.queue.close()
        self.session.close()
        self._stack.close()

    # ---------------------------------------------------------------- waiting

    def _changed(self, key: str) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._wake, key)

    def _wake(self, key: str) -> None:
        for waiter in self._waiters.pop(key, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def change(self, key: str, seconds: float) -> bool:
        """Wait until something of a job or map changes; False where nothing does for so many seconds."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[key].add(waiter)
        try:
            await asyncio.wait_for(waiter, seconds)
        except TimeoutError:
            return False
        finally:
            self._waiters.get(key, set()).discard(waiter)
        return True

    async def ended(self, job: Job, seconds: float) -> Job:
        """Wait until a job has ended, or so many seconds have gone by."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not job.ended and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await self.change(job.id, min(left, 1.0))  # a change between the look and the wait costs a second
        return job

    async def ask(self, kind: str, payload: dict[str, Any], lane: str = FITS) -> Any:
        """What a worker answers to something that is not kept; an InputError where it fails."""
        job = Job(new_id(), kind, "", payload, lane, kept=False)
        await asyncio.to_thread(self.queue.add, job, first=True)
        try:
            limits = self.settings.limits
            await self.ended(job, limits.start_seconds + limits.fit_seconds + limits.ask_seconds)
            if job.state != "done":
                raise InputError(job.error or "it took too long; try again when fewer jobs wait")
            return job.answer
        finally:
            if not job.ended:
                self.queue.withdraw(job.id)
            self.queue.drop(job.id)

    # ---------------------------------------------------------------- libraries

    def _told(self, message: dict[str, Any]) -> None:
        """What a worker says of itself, or of a library that it has made."""
        if "libraries" in message:
            self.libraries = {each["name"]: each for each in message["libraries"]}
            self._listed.set()
        if "engine" in message:
            self.engine = {**message["engine"], "state": "warming up"}
        if "ready" in message and self.engine.get("torch"):
            self.engine = {**self.engine, "state": "ready"}
        done = message.get("done")
        if isinstance(done, dict) and "library" in done:
            self.libraries = {**self.libraries, done["library"]["name"]: done["library"]}

    async def known_libraries(self) -> dict[str, dict[str, Any]]:
        """All libraries, once the worker has listed them."""
        if not self._listed.is_set():
            await asyncio.to_thread(self._listed.wait, self.settings.limits.ask_seconds)
        return self.libraries

    async def library(self, name: str, *, built: bool = True) -> dict[str, Any]:
        """A library by its name.

        Raises
        ------
        InputError
            There is none of that name, or it is not built.
        """
        known = await self.known_libraries()
        if not known:
            raise InputError("the worker does not start; its log in the folder of the session says why")
        if name not in known:
            raise InputError(f"unknown library {name[:60]!r}; there are {', '.join(known)}")
        if built and not is_built(known[name]):
            raise InputError(
                f"the library {name} is not built yet; build it first, and it takes a minute or more"
            )
        return known[name]

    def building(self, name: str) -> Job | None:
        """The job that builds a library, while it waits or runs."""
        for job in self.queue.listed():
            if job.kind == "library" and job.payload["name"] == name and not job.ended:
                return job
        return None

    # ---------------------------------------------------------------- tidying up

    def map(self, key: str) -> dict[str, Any]:
        """What is known of a map; a NotThere where there is none of that id."""
        found = self.queue.maps.get(key)
        if found is None:
            raise NotThere(f"there is no map {key[:40]!r} in this session")
        return found

    def stop(self, key: str) -> Job:
        """Stop a job, whether it waits or runs."""
        job = self.queue.withdraw(key)
        if job.state == "stopped":
            self._ended(job)
        elif job.state == "running":
            self.lanes[job.lane].stop(key)
        return job

    def _ended(self, job: Job) -> None:
        """Remove the upload of a job that has ended and cannot go on."""
        if job.kind != "library":
            shutil.rmtree(self.settings.uploads / job.id, ignore_errors=True)

    def _tidy(self) -> None:
        """Remove uploads of a former server whose jobs have ended."""
        needed = {job.id for job in self.queue.jobs.values() if not job.ended or job.kind == "library"}
        for folder in self.settings.uploads.iterdir():
            if folder.name not in needed:
                shutil.rmtree(folder, ignore_errors=True)


def is_built(library: Mapping[str, Any]) -> bool:
    """Whether the file of a library that the worker has listed is there."""
    return Path(library["file"]).is_file()
