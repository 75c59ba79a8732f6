"""Runs of maps that are ended from outside: nothing is lost, nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial

import pytest
from small_map import assert_same, mapped

from hybridfit.scan.maps import read_map

SCRIPT = """
import sys
from hybridfit import map_scan
from hybridfit.scan.settings import FirstPassSettings, WorkSettings

if __name__ == "__main__":
    map_scan(sys.argv[1], sys.argv[2], semi_angle=9.0, fix={"scale": 3.2, "rotation": 14.0},
             first_pass=FirstPassSettings(sampled=3), work=WorkSettings(block=3), roi=(0, 2, 0, 3),
             output=sys.argv[3], workers=int(sys.argv[4]), progress=lambda r: print(r.stage, flush=True))
"""


def words_of(folder, scan, library) -> list[str]:
    """The command, but for its number of workers; the map is written into a folder."""
    script = folder / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))
    return [sys.executable, str(script), str(scan), str(library), str(folder / "map.nc")]


@pytest.fixture(scope="module")
def half(scan, small_recipe, tmp_path_factory):
    """The map of a run that nothing ends, in a process of its own, as the others are."""
    mapped(scan, small_recipe, roi=(0, 1, 0, 3))  # compiles what all of them load
    folder = tmp_path_factory.mktemp("half")
    subprocess.run([*words_of(folder, scan, small_recipe), "1"], check=True, capture_output=True)
    return read_map(folder / "map.nc")


@pytest.fixture
def command(scan, small_recipe, tmp_path):
    """Start a run of its own: command(workers) → process."""
    words = words_of(tmp_path, scan, small_recipe)
    running = []

    def start(workers: int) -> subprocess.Popen:
        # a shell may have told its background jobs to ignore interrupts
        listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(
            [*words, str(workers)], stdout=subprocess.PIPE, text=True, preexec_fn=listening
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_a_killed_run_loses_nothing_but_the_block_in_hand(command, half, tmp_path):
    first = command(1)
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("positions"):
            break
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    kept = sorted(path.name for path in (tmp_path / "map.nc.parts").glob("rows-*.npz"))
    assert kept and not (tmp_path / "map.nc").exists()
    times = {name: (tmp_path / "map.nc.parts" / name).stat().st_mtime_ns for name in kept}
    second = command(1)
    assert second.stdout is not None
    for _ in second.stdout:
        still = {n: p.stat().st_mtime_ns for n in kept if (p := tmp_path / "map.nc.parts" / n).exists()}
        assert still == {name: times[name] for name in still}
    assert second.wait() == 0
    assert_same(read_map(tmp_path / "map.nc"), half)


def test_a_killed_worker_costs_what_it_had_in_hand(command, half, tmp_path):
    run = command(2)
    assert run.stdout is not None
    next(iter(run.stdout))
    victim, *_ = workers_of(run.pid)
    os.kill(victim, signal.SIGKILL)
    assert run.wait(timeout=250) == 0
    assert not alive([victim])
    assert_same(read_map(tmp_path / "map.nc"), half)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_worker_and_goes_on(command, half, tmp_path, number):
    run = command(2)
    assert run.stdout is not None
    next(iter(run.stdout))
    workers = workers_of(run.pid)
    assert workers and alive(workers) == workers
    os.kill(run.pid, number)
    assert run.wait(timeout=100) != 0
    deadline = time.monotonic() + 20  # five on a machine that has nothing else to do: benchmarks.kills
    while (left := alive(workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left and not (tmp_path / "map.nc").exists()
    kept = list((tmp_path / "map.nc.parts").glob("*.npz"))
    assert kept
    assert command(1).wait(timeout=250) == 0
    assert_same(read_map(tmp_path / "map.nc"), half)


def workers_of(pid: int) -> list[int]:
    """The processes that do the work of a run."""
    found = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True
    )
    lines = [line.split(maxsplit=1) for line in found.stdout.splitlines()]
    return [int(number) for number, command in lines if "popen_loky" in command]


def alive(pids: list[int]) -> list[int]:
    """Those of some processes that have not ended."""
    found = subprocess.run(["ps", "-o", "pid=,stat=", "-A"], capture_output=True, text=True)
    there = {int(n) for n, state in (line.split() for line in found.stdout.splitlines()) if "Z" not in state}
    return [pid for pid in pids if pid in there]
