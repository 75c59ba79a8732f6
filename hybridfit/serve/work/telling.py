"""What the parts of a worker share: what it was asked, and how it tells of a job."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hybridfit.session.words import plain_json

Say = Callable[..., None]
Work = Callable[[dict[str, Any], Say], Any]


@dataclass(frozen=True)
class Asked:
    """What a worker is told when it is started; see `hybridfit.serve.settings.ServeSettings`."""

    lane: str
    session: Path
    libraries: Path
    library: str
    semi_angle: float
    warm: bool
    workers: int | None
    pixels: int
    frames: int
    parent: int


class Channel:
    """Where messages go; threads may share it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def say(self, **message: Any) -> None:
        """Send a message."""
        line = json.dumps(plain_json(message), allow_nan=False, default=str) + "\n"
        with self._lock:
            self._stream.write(line.encode())
            self._stream.flush()


class Throttle:
    """Lets progress through a few times a second."""

    def __init__(self, say: Say, seconds: float = 0.2) -> None:
        self._say, self._seconds, self._next = say, seconds, 0.0

    def __call__(self, fraction: float | None, words: str) -> None:
        """Say how far the job is, unless that was said just before."""
        if time.monotonic() >= self._next or fraction == 1:
            self._next = time.monotonic() + self._seconds
            self._say(progress=[fraction, words])
