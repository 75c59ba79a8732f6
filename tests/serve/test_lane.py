"""Workers that die, hang, grow or talk nonsense: their jobs are tried again, and given up with a reason."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hybridfit.serve.lane import Lane
from hybridfit.serve.queue import FITS, Job, Queue, new_id
from hybridfit.serve.settings import LIMITS, ServeSettings

WORKER = """
import json, os, signal, sys, time
def say(**m): print(json.dumps(m), flush=True)
say(ready=True)
for line in sys.stdin:
    job = json.loads(line); key, asked = job["job"], job["payload"]
    marks = asked["marks"]
    open(marks, "a").write("x")
    begun = len(open(marks).read())
    for what in asked["do"]:
        if what == "die" or (what == "die once" and begun == 1): os.kill(os.getpid(), signal.SIGKILL)
        if what == "exit": os._exit(3)
        if what == "hang": time.sleep(600)
        if what == "rubbish": print("no JSON", flush=True)
        if what == "fit" and asked["done"] < 1: say(job=key, fit=f"{key}-1")
        if what == "another": say(job="another", done=1)
        if what == "large": say(job=key, progress=[0.5, "x" * 3_000_000])
        if what == "fail": say(job=key, failed="it cannot be")
    say(job=key, done={})
"""


class Pretended(Lane):
    """A lane whose workers do as their jobs say."""

    def _command(self) -> list[str]:
        return [sys.executable, "-c", WORKER]


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Pretended]:
    limits = replace(LIMITS, fit_seconds=1.5, tries=3)
    queue = Queue(tmp_path / "queue.sqlite", limits)
    made = Pretended(FITS, queue, ServeSettings(tmp_path, limits=limits), lambda _: None, lambda _: None)
    made.start()
    yield made
    made.close()
    queue.close()


def ask(lane: Pretended, *do: str) -> Job:
    key = new_id()
    marks = lane.settings.session / f"marks-{key}"
    return lane.jobs.add(Job(key, "fit", " ".join(do), {"do": do, "marks": str(marks)}, FITS))


def ended(job: Job, seconds: float = 20.0) -> Job:
    deadline = time.monotonic() + seconds
    while not job.ended:
        assert time.monotonic() < deadline, job
        time.sleep(0.01)
    return job


def begun(lane: Pretended, job: Job) -> int:
    return len(Path(job.payload["marks"]).read_text())


def test_a_job_whose_worker_died_is_done_by_the_next_one(lane: Pretended) -> None:
    jobs = [ask(lane), ask(lane, "die once"), ask(lane, "fit", "die once"), ask(lane)]
    assert [ended(job).state for job in jobs] == ["done"] * 4
    assert [begun(lane, job) for job in jobs] == [1, 2, 2, 1]
    assert jobs[2].fits == [f"{jobs[2].id}-1"]


def test_a_job_that_kills_every_worker_is_given_up_and_the_next_is_done(lane: Pretended) -> None:
    killer, leaver, other = ask(lane, "die"), ask(lane, "exit"), ask(lane)
    assert ended(killer).state == "failed" and begun(lane, killer) == 3
    assert "3 workers in turn ended by signal 9" in str(killer.error)
    assert "ended with code 3" in str(ended(leaver).error)
    assert ended(other).state == "done"


def test_a_job_that_hangs_is_ended_at_its_limit(lane: Pretended) -> None:
    hanging, other = ask(lane, "hang"), ask(lane)
    assert "took longer than 1.5 s" in str(ended(hanging).error)
    assert begun(lane, hanging) == 1 and ended(other).state == "done"


def test_a_job_is_stopped_while_it_runs_and_the_next_is_done(lane: Pretended) -> None:
    hanging, other = ask(lane, "hang"), ask(lane)
    while hanging.state != "running":
        time.sleep(0.01)
    lane.stop(hanging.id)
    assert ended(hanging).state == "stopped" and ended(other).state == "done"


def test_nonsense_of_a_worker_is_no_harm(lane: Pretended) -> None:
    jobs = [ask(lane, "another"), ask(lane, "large"), ask(lane, "fail"), ask(lane, "rubbish"), ask(lane)]
    assert [ended(job).state for job in jobs] == ["done", "done", "failed", "failed", "done"]
    assert jobs[2].error == "it cannot be"


def test_a_worker_that_does_not_start_is_said_with_the_place_of_its_log(tmp_path: Path) -> None:
    class Broken(Lane):
        def _command(self) -> list[str]:
            return [sys.executable, "-c", "import nothing_of_this_name"]

    queue = Queue(tmp_path / "queue.sqlite")
    lane = Broken(FITS, queue, ServeSettings(tmp_path), lambda _: None, lambda _: None)
    lane.start()
    job = lane.jobs.add(Job(new_id(), "fit", "a", {}, FITS))
    assert "does not start (code 1); worker-fits.log" in str(ended(job).error)
    assert "nothing_of_this_name" in (tmp_path / "worker-fits.log").read_text()
    lane.close()
    queue.close()


def test_closing_is_quick_and_the_job_stays_in_the_queue(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.sqlite")
    lane = Pretended(FITS, queue, ServeSettings(tmp_path), lambda _: None, lambda _: None)
    lane.start()
    job = ask(lane, "hang")
    while job.state != "running":
        time.sleep(0.01)
    worker = lane.worker
    start = time.monotonic()
    lane.close()
    queue.close()
    assert time.monotonic() - start < 3
    assert worker is not None and worker.process.poll() is not None
    again = Queue(tmp_path / "queue.sqlite")
    assert again.job(job.id).state == "queued"
    again.close()
