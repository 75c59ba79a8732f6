"""The queue on disk: what had not ended is there again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hybridfit.errors import InputError
from hybridfit.serve.queue import FITS, LONG, Full, Job, NotThere, Queue, new_id
from hybridfit.serve.settings import LIMITS


def job(name: str, lane: str = FITS) -> Job:
    return Job(new_id(), "fit", name, {"file": name}, lane)


def test_jobs_come_in_turn_and_those_that_ran_come_first_after_a_restart(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.sqlite")
    for name in "abc":
        queue.add(job(name))
    queue.add(job("long", LONG))
    first = queue.take(FITS, 0)
    assert first is not None and first.name == "a" and first.tries == 1
    queue.got_on(first, fit="one")
    second = queue.take(FITS, 0)
    assert second is not None
    queue.end(second, "done")
    queue.close()
    queue = Queue(tmp_path / "queue.sqlite")
    assert [(each.name, each.state) for each in queue.listed()] == [
        ("long", "queued"),
        ("c", "queued"),
        ("b", "done"),
        ("a", "queued"),
    ]
    names = []
    while found := queue.take(FITS, 0):
        names.append((found.name, found.fits))
    assert names == [("a", ["one"]), ("c", [])]
    queue.close()


def test_a_queue_has_an_end_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.sqlite", replace(LIMITS, queued=2, jobs_kept=2))
    queue.add(job("a"))
    queue.add(job("b"))
    with pytest.raises(Full, match="2 jobs are waiting already"):
        queue.add(job("c"))
    with pytest.raises(NotThere):
        queue.job("none")
    for _ in range(5):
        one = queue.add(job("long", LONG))
        queue.withdraw(one.id)
    queue.add(job("last", LONG))
    assert [each.name for each in queue.listed()] == ["last", "long", "long", "b", "a"]
    with pytest.raises(InputError, match="only a job that was stopped or has failed"):
        queue.resume(queue.listed()[-1].id)
    queue.close()


def test_an_answer_that_nobody_waits_for_is_no_trouble(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.sqlite")
    asked = queue.add(replace(job("asked"), kept=False), first=True)
    queue.add(job("kept"))
    queue.drop(asked.id)
    found = queue.take(FITS, 0)
    assert found is not None and found.name == "kept"
    queue.close()


def test_a_damaged_queue_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(InputError, match=r"is damaged .* remove it"):
        Queue(path)
