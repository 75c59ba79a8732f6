"""The loop of a worker: a job comes in, messages go out."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import logging
import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hybridfit.errors import HybridfitError
from hybridfit.serve.work.telling import Asked, Channel, Work

LONGEST = 600  # characters of an error
NICE = 10
QUIET = 0.3  # s without a job before what was put off is done


def main() -> None:
    """Work until the server closes the pipe, or ends."""
    given = json.loads(sys.argv[1])
    paths = {name: Path(given[name]) for name in ("session", "libraries")}
    asked = Asked(**{**given, **paths})
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints belongs into the log
    warnings.simplefilter("ignore")
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    if hasattr(signal, "SIGUSR1"):  # where it hangs, should it: into the log
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    end_with_parent(asked.parent)
    channel = Channel(stream)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        if asked.lane == "fits":
            from hybridfit.serve.work.quick import make
        else:
            if hasattr(os, "nice"):  # who waits for a fit goes before maps, which take every core
                os.nice(NICE)
            from hybridfit.serve.work.long import make

        works, idle = make(asked, channel.say)
        gc.freeze()
        channel.say(ready=True)
        _serve(works, idle, channel)
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    os._exit(0)  # whatever threads and pools there are


def _serve(works: dict[str, Work], idle: Callable[[], None], channel: Channel) -> None:
    """One job after the other; between two, what can be put off."""
    buffer = b""
    while True:
        while b"\n" not in buffer:
            if not _more_within(QUIET):
                idle()
            piece = os.read(0, 1 << 16)
            if not piece:
                return
            buffer += piece
        line, _, buffer = buffer.partition(b"\n")
        job = json.loads(line)
        work, key = works[job["kind"]], job["job"]

        def say(key: str = key, **message: Any) -> None:
            channel.say(job=key, **message)

        try:
            done = work(job["payload"], say)
        except HybridfitError as error:
            say(failed=_one_line(error))
        except MemoryError:
            say(failed="out of memory; give a smaller file, or close other programs")
        except (KeyboardInterrupt, BrokenPipeError):
            raise
        except Exception as error:
            logging.exception("job %s", key)
            kind = type(error).__name__
            say(
                failed=f"an error of hybridfit itself ({kind}: {_one_line(error)}); "
                "the log of the worker has more"
            )
        else:
            say(done=done)


def _more_within(seconds: float) -> bool:
    """Whether the next job comes within so many seconds."""
    if os.name != "posix":
        return False
    return bool(select.select([0], [], [], seconds)[0])


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__


def end_with_parent(parent: int) -> None:
    """End within a second after the server has ended, in whatever way."""
    if os.name != "posix":
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
