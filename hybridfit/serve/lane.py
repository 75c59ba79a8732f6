"""A lane: a thread that gives one job after the other to one worker process, and outlives it.

The worker may die in whatever way, hang, or grow: its job is tried again a few times, and then given up with
a reason. The thread is the only one that touches the process.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hybridfit.serve.queue import FITS, Job, Queue
from hybridfit.serve.settings import ServeSettings

log = logging.getLogger("hybridfit.serve")
GRACE = 3.0  # s in which a worker that was asked to end may put things in order
MOST_LINE = 64_000_000  # characters of a message
TICK = 0.1  # s between two looks at what was asked meanwhile
PIECES = ("library", "identify")  # jobs whose progress is that of pieces
LOG_BYTES = 2_000_000


class Worker:
    """A worker process: JSON goes in and comes out, a line each."""

    def __init__(self, command: list[str], log: Path) -> None:
        environment = dict(os.environ)
        home = str(Path(__file__).resolve().parents[2])  # whence this hybridfit comes
        paths = [home, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
        environment["PYTHONUNBUFFERED"] = "1"
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin take cores from a map
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".old"))
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=os.name == "posix",  # Ctrl-C is for the server, which ends its workers
            )
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.ready = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError), self.process.stdout:
            while line := self.process.stdout.readline(MOST_LINE):
                message = json.loads(line)
                if isinstance(message, dict):
                    self.messages.put(message)
        self.messages.put(None)

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell it something; whether it has died meanwhile is seen when it is listened to."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write((json.dumps(message) + "\n").encode())
            self.process.stdin.flush()

    def end(self, grace: float = GRACE) -> int:
        """End it and whatever it has started; its exit code."""
        if self.process.poll() is None and grace > 0:
            self._signal(getattr(signal, "SIGTERM", None), alone=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        self._signal(getattr(signal, "SIGKILL", None), alone=False)
        with contextlib.suppress(OSError, ValueError):
            if self.process.stdin is not None:
                self.process.stdin.close()
        return self.process.wait()

    def _signal(self, number: int | None, *, alone: bool) -> None:
        with contextlib.suppress(OSError, ProcessLookupError):
            if number is None or os.name != "posix":
                self.process.kill()
            elif alone:
                self.process.send_signal(number)
            else:
                os.killpg(self.process.pid, number)  # a group of its own, with the processes of a map


class Lane:
    """Works on the jobs of one lane.

    Parameters
    ----------
    name : "fits" or "long"
    jobs : Queue
    settings : ServeSettings
    told : callable(dict)
        Is given what a worker says of itself: libraries, engine.
    ended : callable(Job)
        Is called when a job has ended, to tidy up after it.
    """

    def __init__(
        self,
        name: str,
        jobs: Queue,
        settings: ServeSettings,
        told: Callable[[dict[str, Any]], None],
        ended: Callable[[Job], None],
    ) -> None:
        self.name, self.jobs, self.settings = name, jobs, settings
        self._told, self._ended = told, ended
        self.worker: Worker | None = None
        self._closing = threading.Event()
        self._stop: set[str] = set()
        self._used = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"lane {name}", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def hurry(self) -> None:
        """Begin to close, without waiting for it."""
        self._closing.set()

    def close(self, grace: float = GRACE) -> None:
        """End the worker and stop working; the job that runs stays in the queue."""
        self.hurry()
        with self.jobs.changed:
            self.jobs.changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(grace + 5)

    def stop(self, key: str) -> None:
        """Stop a job, should it run in this lane."""
        self._stop.add(key)

    # ---------------------------------------------------------------- the thread

    def _run(self) -> None:
        try:
            if self.name == FITS:
                self._alive()
            while not self._closing.is_set():
                self._turn()
        finally:
            if self.worker is not None:
                self.worker.end(GRACE if self.name != FITS else 0.0)

    def _turn(self) -> None:
        """The next job, should there be one."""
        job = None
        try:
            self._idle()
            job = self.jobs.take(self.name, TICK * 5)
            if job is not None and not self._closing.is_set():
                self._work(job)
                self._used = time.monotonic()
        except Exception as error:  # a full disk, for instance: this job fails, the next one is tried
            log.exception("lane %s", self.name)
            time.sleep(TICK)
            if job is not None and not job.ended:
                with contextlib.suppress(Exception):
                    self._end(job, "failed", f"the queue cannot be written ({error}); make room on the disk")

    def _idle(self) -> None:
        """Between two jobs: hear what the worker says, and replace one that has died or grown."""
        worker = self.worker
        if worker is None:
            return
        with contextlib.suppress(queue.Empty):
            while True:
                message = worker.messages.get_nowait()
                if message is None:
                    self._bury()
                    if self.name == FITS and worker.ready:  # warm again before somebody waits for it
                        self._alive()
                    return
                self._hear(worker, message)
        if self.jobs.waits(self.name):
            return
        if self.name != FITS and time.monotonic() - self._used > self.settings.limits.idle_seconds:
            worker.end(GRACE)
            self._bury()
        elif self.name == FITS and worker.ready and _memory(worker) > self.settings.limits.worker_bytes:
            worker.end(0.0)
            self._bury()
            self._alive()

    def _alive(self) -> Worker:
        """The worker; a new one where there is none."""
        if self.worker is None:
            self.worker = Worker(self._command(), self._log)
        return self.worker

    @property
    def _log(self) -> Path:
        return self.settings.session / f"worker-{self.name}.log"

    def _command(self) -> list[str]:
        """How a worker is started."""
        asked = {
            "lane": self.name,
            "session": str(self.settings.session),
            "library": self.settings.library,
            "semi_angle": self.settings.semi_angle,
            "warm": self.settings.warm,
            "libraries": str(self.settings.libraries),
            "workers": self.settings.workers,
            "pixels": self.settings.limits.frame_pixels,
            "frames": self.settings.limits.frames,
            "parent": os.getpid(),
        }
        return [sys.executable, "-P", "-m", "hybridfit.serve.work", json.dumps(asked)]

    def _bury(self) -> None:
        if self.worker is not None:
            self.worker.end(0.0)
        self.worker = None

    def _hear(self, worker: Worker, message: dict[str, Any]) -> None:
        """What a worker says of itself."""
        if "ready" in message:
            worker.ready = True
        self._told(message)

    def _work(self, job: Job) -> None:
        """One job with the worker, until it has ended, the worker has died, or time is up."""
        try:
            worker = self._alive()
        except OSError as error:
            self._end(job, "failed", f"no worker can be started ({error.strerror}); free some memory")
            return
        done = len(job.fits) + len(job.results)
        worker.send({"job": job.id, "kind": job.kind, "payload": {**job.payload, "done": done}})
        deadline = time.monotonic() + (
            self._limit(job) if worker.ready else self.settings.limits.start_seconds
        )
        while True:
            if self._closing.is_set():
                return
            if job.id in self._stop:
                self._stop.discard(job.id)
                worker.end()
                self._bury()
                self._end(job, "stopped", None)
                return
            try:
                message = worker.messages.get(timeout=TICK)
            except queue.Empty:
                if time.monotonic() > deadline:
                    self._bury()
                    self._end(job, "failed", self._too_long(job, worker.ready))
                    return
                continue
            if message is None:
                self._died(job, worker)
                return
            if message.get("job") != job.id:
                before = worker.ready
                self._hear(worker, message)
                if worker.ready and not before:
                    deadline = time.monotonic() + self._limit(job)
                continue
            if self._heard(job, message):
                return
            if {"fit", "result", "rows"} & set(message) or (job.kind in PIECES and "progress" in message):
                deadline = time.monotonic() + self._limit(job)

    def _heard(self, job: Job, message: dict[str, Any]) -> bool:
        """What the worker says of its job; whether that has ended."""
        if "progress" in message:
            self.jobs.progress(job, *message["progress"])
        if "fit" in message:
            self.jobs.got_on(job, fit=message["fit"])
        if "result" in message:
            self.jobs.got_on(job, result=message["result"])
        if "rows" in message:
            if message["rows"]:
                self.jobs.got_on(job)
            if job.map:
                self.jobs.touch(job.map)
        if "failed" in message:
            self._end(job, "failed", str(message["failed"]))
            return True
        if "done" in message:
            self._told(message)
            self._end(job, "done", None, message["done"])
            return True
        return False

    def _died(self, job: Job, worker: Worker) -> None:
        """The worker has ended without a word."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # else it would be this that ends it
            worker.process.wait(GRACE)
        code = worker.end(0.0)
        self._bury()
        if self._closing.is_set():
            return
        if job.tries < self.settings.limits.tries:
            self.jobs.again(job)
            return
        if not worker.ready and code > 0:
            log_file = f"{self._log.name} in the folder of the session"
            self._end(job, "failed", f"the worker does not start (code {code}); {log_file} says why")
            return
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        self._end(
            job,
            "failed",
            f"{job.tries} workers in turn ended {how} while they were at it, perhaps for want of memory; "
            "close other programs, or give a smaller file",
        )

    def _limit(self, job: Job) -> float:
        limits = self.settings.limits
        known = {
            "fit": limits.fit_seconds,
            "identify": limits.fit_seconds,
            "map": limits.stall_seconds,
            "library": limits.stall_seconds,
        }
        return known.get(job.kind, limits.ask_seconds)

    def _too_long(self, job: Job, ready: bool) -> str:
        if not ready:
            return f"the worker did not start within {self.settings.limits.start_seconds:g} s; try again"
        what = {
            "fit": "a frame",
            "identify": "a library",
            "map": "a block of a map",
            "library": "a step of a library",
        }
        return (
            f"{what.get(job.kind, 'it')} took longer than {self._limit(job):g} s, the limit of this server, "
            "and was ended; hints for thickness, tilt and centre make a fit quicker"
        )

    def _end(self, job: Job, state: str, error: str | None, answer: Any = None) -> None:
        try:
            self._ended(job)
        finally:
            self._stop.discard(job.id)
            self.jobs.end(job, state, error, answer)


def _memory(worker: Worker) -> int:
    """Bytes that a worker holds, where the system says it; 0 elsewhere."""
    try:
        pages = Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * int(os.sysconf("SC_PAGE_SIZE"))
