"""How a map stops: a termination is an interrupt, and workers end with the process that started them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (
    "SIGTERM",
    "SIGHUP",
)  # a queue ends its jobs with the first, a terminal that closes sends the second
PERIOD = 0.5  # s between two looks at the parent

_watched = False  # this process, by a thread of its own


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does, unless the program handles them itself.

    Yields
    ------
    check : callable
        Raises KeyboardInterrupt once one of them has come: Python loses an exception that is raised while
        an object is being deleted.
    """
    asked: list[int] = []

    def stop(number: int, _: object) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
        before = {
            n: signal.signal(n, stop) for n in numbers if signal.getsignal(n) is signal.Handlers.SIG_DFL
        }
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with(parent: int) -> None:
    """End this worker within a second after the process `parent` has ended, in whatever way.

    An interrupt from the keyboard reaches every process of a terminal; workers leave it to their parent,
    which stops them.  On Windows a worker ends by itself when the pipe from its parent breaks.
    """
    global _watched
    if _watched or os.name != "posix" or os.getpid() == parent:
        return
    _watched = True
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:  # another process adopts an orphan
        time.sleep(PERIOD)
    os._exit(1)
