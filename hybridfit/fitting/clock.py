"""Where the time of a fit went."""

from __future__ import annotations

import time

STAGES = ("seed", "search", "refine")


class Clock:
    """Seconds per stage; `lap` adds what has passed since the last one."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._spent = dict.fromkeys(STAGES, 0.0)

    def lap(self, stage: str) -> None:
        """Book the time since the last lap on a stage."""
        now = time.perf_counter()
        self._spent[stage] += now - self._last
        self._last = now

    def seconds(self) -> dict[str, float]:
        """Seconds of every stage, and in total."""
        return {**self._spent, "total": time.perf_counter() - self._started}
