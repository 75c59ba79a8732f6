"""A lock on a file: no two runs write one map.

The system gives the lock back when its process ends, in whatever way, so that nothing has to be removed by
hand.  Over NFS it holds between machines where the server keeps locks (NFS 4 and most of NFS 3); where a
file system has none, a process number and the name of its machine in the file have to do.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LONGEST = 300  # characters of what a lock file says


class Taken(Exception):
    """Another process has the lock; the message says which, as far as is known."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made for it and removed afterwards.

    Raises
    ------
    Taken
        Another process has it.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(handle, path):
                raise Taken(_owner(path) or "another process")
            with contextlib.suppress(OSError):
                # whoever had it before may have removed the file since it was opened here
                if os.path.samestat(os.fstat(handle), os.stat(path)):
                    break
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        if os.name == "posix":
            path.unlink(missing_ok=True)
        os.close(handle)
        if os.name != "posix":  # an open file cannot be removed there
            with contextlib.suppress(OSError):
                path.unlink()


def _lock(handle: int, path: Path) -> bool:
    """Take the lock of an open file, without waiting for it; False where another process has it."""
    if fcntl is None:
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return not _lives(_owner(path))
    return True


def _owner(path: Path) -> str:
    """What the file says of the process that has locked it."""
    with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        return " ".join(file.read(LONGEST).split())
    return ""


def _lives(owner: str) -> bool:
    """Whether the process that a file names is there, as far as this machine can tell."""
    words = owner.split()
    if len(words) != 4 or not words[1].isdecimal() or words[3] != socket.gethostname():
        return bool(owner)
    try:
        os.kill(int(words[1]), 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return int(words[1]) != os.getpid()
