"""Opening a file in a child process first, where a damaged one can do no harm.

The libraries of HDF5, netCDF and RosettaSciIO are not made for damaged files: with a few changed bytes they
loop for ever, take all memory, or end the program. So a copy of this process (fork) opens the file first,
with little processor time and memory. Only what goes well there is done here. Where processes cannot be
copied safely (anything but Linux), the file is opened without a trial.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import select
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hybridfit.errors import InputError
from hybridfit.io.settings import READING

_PASSED = b"passed"
_known: dict[tuple[Any, ...], bytes | None] = {}  # passed, or None: crashed
_KEPT = 256


def try_first(path: Path, attempt: Callable[[], object], *about: object) -> None:
    """Make an attempt at a file in a child process, unless it passed before or crashed its reader.

    Parameters
    ----------
    path : Path
    attempt : callable
        Opens the file and reads what its header says.
    about : hashable
        What else the attempt depends on.

    Raises
    ------
    InputError
        As the attempt raises it in the child, or if the child ended otherwise than it should.
    ValueError
        With the words of any other error that the attempt raises in the child.
    """
    if not hasattr(os, "pidfd_open"):
        return
    stat = path.stat()
    key = (str(path), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, about)
    outcome = _known[key] if key in _known else _outcome(attempt)
    if outcome is None or outcome == _PASSED:
        _known[key] = outcome
        while len(_known) > _KEPT:
            del _known[next(iter(_known))]
    if outcome is None:
        raise InputError(
            f"{path} cannot be opened: its reader crashed, or needs more than "
            f"{READING.open_seconds_at_most:g} s or {READING.open_bytes_at_most >> 20} MB for the header; "
            "it is damaged or declares far more than it holds: copy or save it again"
        )
    if outcome != _PASSED:
        kind, words = pickle.loads(outcome)
        raise InputError(words) if kind == "InputError" else ValueError(words)


def _outcome(attempt: Callable[[], object]) -> bytes | None:
    """What the child says of the attempt; None where it says nothing."""
    heard, said = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the child does without
        try:
            child = os.fork()
        except OSError:  # no memory or no process left: then without a trial
            os.close(heard)
            os.close(said)
            return _PASSED
    if child == 0:
        _in_child(attempt, said)
    os.close(said)
    try:
        watched = os.pidfd_open(child)
        try:
            select.select([watched], [], [], 10 * READING.open_seconds_at_most)
        finally:
            os.close(watched)
    finally:
        os.kill(child, signal.SIGKILL)  # not waited for yet, so the number is still that of the child
        os.waitpid(child, 0)
        with os.fdopen(heard, "rb") as pipe:
            found = pipe.read()
    return found or None


def _in_child(attempt: Callable[[], object], said: int) -> None:
    """Make the attempt under limits, say how it went, and end."""
    try:
        import resource

        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        sys.stdout = sys.stderr = os.fdopen(silence, "w")
        faulthandler.disable()
        seconds = int(READING.open_seconds_at_most)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        memory = pages * resource.getpagesize() + READING.open_bytes_at_most
        for limit, value in (
            (resource.RLIMIT_CPU, seconds),
            (resource.RLIMIT_AS, memory),
            (resource.RLIMIT_CORE, 0),
        ):
            _, hard = resource.getrlimit(limit)
            resource.setrlimit(limit, (value if hard < 0 else min(value, hard), hard))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        try:
            attempt()
            outcome = _PASSED
        except Exception as error:
            kind = "InputError" if isinstance(error, InputError) else "error"
            outcome = pickle.dumps((kind, str(error)[:2000] or type(error).__name__))
        os.write(said, outcome)
    finally:
        os._exit(0)
