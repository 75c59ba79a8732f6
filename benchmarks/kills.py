"""Maps whose processes are killed, terminated, interrupted, or find the disk full: nothing is lost.

A map of 4 × 6 positions is made once without trouble.  Then the same command is disturbed 30 times, in five
ways, at random moments of its work; each time it is started again and goes on.  Every map that is finished
must equal the first one bit for bit, and five seconds after a run no process of it may be left.

Run with: python -m benchmarks.kills [--quick]
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from benchmarks.common import Study, new_parser
from benchmarks.scan_runs import SEMI_ANGLE, family, fresh, scan_file, words
from hybridfit.scan.maps import read_map

SHAPE, SIDE = (4, 6), 64  # positions, px
# kill -9 of the command, termination, interrupt, kill -9 of a worker, full disk: 30 in all
TIMES = {"killed": 8, "terminated": 6, "interrupted": 6, "worker killed": 5, "disk full": 5}
QUICK = dict.fromkeys(TIMES, 1)
SIGNALS = {"killed": signal.SIGKILL, "terminated": signal.SIGTERM, "interrupted": signal.SIGINT}
GRACE = 5.0  # s until every process must be gone
PATIENCE = 900.0  # s for a run
LIMITS = (1_000, 6_000, 12_000, 30_000)  # bytes of the largest file, in place of a full disk
PARTS = 10  # blocks of the map, those of the first pass among them


@dataclass
class Run:
    """The command in a process of its own, and every process that it has started."""

    scan: Path
    output: Path
    largest: int | None = None
    seen: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "hybridfit", "map", str(self.scan), "--workers", "2"]
        command += ["--semi-angle", f"{SEMI_ANGLE:g}", "-o", str(self.output), "--quiet"]
        self.errors = self.output.with_suffix(".err")
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(command, stderr=errors, preexec_fn=self._prepare)

    def _prepare(self) -> None:
        """In the new process: listen to interrupts, whatever a shell said, and limit what it may write."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self.largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.largest, self.largest))

    def look(self) -> list[int]:
        """The processes of this run that are there now."""
        for pid in family(self.process.pid):
            self.seen.setdefault(pid, _born(pid))
        return [pid for pid, born in self.seen.items() if born and _born(pid) == born]

    def workers(self) -> list[int]:
        return [pid for pid in self.look() if "LokyProcess" in words(pid)]

    def until(self, ready: Callable[[], bool]) -> bool:
        """Wait until something is so; False where the run ends before."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            self.look()
            if ready():
                return True
            time.sleep(0.02)
        return False

    def finish(self) -> int:
        """Wait for the end; the exit code."""
        self.until(lambda: False)
        if self.process.poll() is None:
            raise RuntimeError(f"a run takes more than {PATIENCE:g} s")
        return self.process.returncode

    def left(self) -> int:
        """How many of its processes are left after some seconds; they are ended then."""
        deadline = time.monotonic() + GRACE
        while (there := self.look()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in there:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return len(there)

    def said(self) -> list[str]:
        return self.errors.read_text(errors="replace").splitlines()


def _born(pid: int) -> str:
    """When a process was started, in ticks of the machine; empty for one that has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = text.rsplit(")", 1)[1].split()
    return "" if state in "ZX" else rest[18]


def disturb(way: str, run: Run, rng: random.Random) -> bool:
    """Let one thing happen to a run while it works; whether it came to that."""
    parts = Path(f"{run.output}.parts")
    already = len(list(parts.glob("*.npz")))
    wanted = rng.randint(already, max(already, PARTS - 1))
    if way == "disk full":
        return run.finish() != 0
    if not run.until(lambda: len(list(parts.glob("*.npz"))) >= wanted and bool(run.workers())):
        return False
    time.sleep(rng.uniform(0, 0.3))
    if run.process.poll() is not None:
        return False
    victims = run.workers() if way == "worker killed" else [run.process.pid]
    if not victims:
        return False
    try:
        os.kill(rng.choice(victims), SIGNALS.get(way, signal.SIGKILL))
    except OSError:
        return False
    run.finish()
    return True


def complaint(way: str, run: Run) -> str:
    """What is wrong with how a run ended, in words."""
    said, code = run.said(), run.process.returncode
    if any("Traceback" in line for line in said):
        return f"{way}: a traceback, {said[-1]}"
    if way in ("terminated", "interrupted"):
        right = code == 130 and any("the same command goes on" in line for line in said)
        return "" if right else f"{way}: code {code}, {said}"
    if way == "disk full":
        named = len(said) == 1 and "cannot be written" in said[0] and run.output.name in said[0]
        return "" if code == 2 and named else f"{way}: code {code}, {said}"
    if way == "worker killed":
        return "" if code == 0 else f"{way}: code {code}, {said}"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    options = new_parser(__doc__).parse_args(arguments)
    study, rng = Study("kills", quick=options.quick), random.Random(20)
    scan = scan_file(SHAPE, frame_shape=(SIDE, SIDE))
    with fresh("kills") as path:
        undisturbed = Run(scan, path)
        assert undisturbed.finish() == 0, undisturbed.said()
        left = {"none": undisturbed.left()}
        whole = read_map(path)
        path.unlink()
        todo = [way for way, times in (QUICK if options.quick else TIMES).items() for _ in range(times)]
        rng.shuffle(todo)
        done: Counter[str] = Counter()
        orphans: Counter[str] = Counter()
        differ, maps, wrong = 0, 0, []
        while todo:
            way = todo[-1]
            limit = rng.choice(LIMITS) if way == "disk full" else None
            run = Run(scan, path, limit)
            if disturb(way, run, rng):
                todo.pop()
                done[way] += 1
                orphans[way] += run.left()
                wrong += [each] if (each := complaint(way, run)) else []
            run.finish()
            if path.exists():  # finished in spite of it, or before it came to that
                maps, differ = maps + 1, differ + (not _same(path, whole))
                path.unlink()
        run = Run(scan, path)
        assert run.finish() == 0, run.said()
        maps, differ = maps + 1, differ + (not _same(path, whole))
        path.with_suffix(".err").unlink()
    for text in wrong:
        study.note(text)
    for way, times in done.items():
        study.add(f"{way}, {times} ×: processes left after {GRACE:g} s", orphans[way], "", at_most=0)
    study.add("not disturbed: processes left", left["none"], "", at_most=0)
    study.add("ends that say something else than one line of what is kept", len(wrong), "", at_most=0)
    study.add(f"of {maps} maps finished after that: those that differ", differ, "", at_most=0)
    study.add("kills in all", sum(done.values()), "", at_least=len(QUICK) if options.quick else 30)
    with study.figure() as (_, axes):
        axes[0].bar(list(done), list(done.values()), label="times")
        axes[0].bar(list(done), [orphans[way] for way in done], label="processes left")
        axes[0].tick_params(axis="x", rotation=30)
        axes[0].legend()
    return 0 if study.finish(times=dict(done), left=dict(orphans)) else 1


def _same(path: Path, whole: xr.Dataset) -> bool:
    found = read_map(path)
    assert np.isfinite(found["thickness"].values).all()
    return bool(found.identical(whole))


if __name__ == "__main__":
    sys.exit(main())
