"""A progress bar for notebooks and terminals, for everything that takes `progress=`.

    bar = hybridfit.ProgressBar()
    library = hybridfit.Library.open("SrTiO3_011_200kV", progress=bar)
    found = hybridfit.map_scan("scan.nc", library, semi_angle=13.6, progress=bar)

In a notebook it is drawn in the output of the cell.  Elsewhere it is a line of text on stderr, which a
terminal writes over.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from typing import Any, Protocol, TextIO

from hybridfit.markup import element

EVERY = 0.2  # seconds from one drawing to the next
SELDOM = 30.0  # the same where lines cannot be written over


class _State(Protocol):
    """How a map stands, as `map_scan` says it."""

    @property
    def stage(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def seconds_left(self) -> float: ...


class ProgressBar:
    """Call it with a fraction, with a stage and its fraction, or with the state of a map.

    Parameters
    ----------
    label : str
        Words before the stage.
    stream : text file, optional
        Where lines go outside notebooks; stderr by default.
    """

    def __init__(self, label: str = "", stream: TextIO | None = None) -> None:
        self.label = label
        self._stream = stream
        self._shown: Any = None  # the display of a notebook
        self._last = (-math.inf, "")
        self._lock = threading.Lock()

    def __call__(self, first: float | str | _State, fraction: float | None = None) -> None:
        """Draw how far it is; calls that come too soon after the last are ignored."""
        if isinstance(first, str):
            stage, share, left = first, float(fraction or 0.0), math.nan
        elif isinstance(first, int | float):
            stage, share, left = "", float(first), math.nan
        else:
            stage, share, left = first.stage, first.done / max(first.total, 1), first.seconds_left
            stage = f"{stage}: {first.done} of {first.total}"
        share = min(max(share, 0.0), 1.0)
        words = " ".join(filter(None, [self.label, stage]))
        if math.isfinite(left) and share < 1:
            words += f", {int(left) // 60}:{int(left) % 60:02d} left"
        with self._lock:
            self._draw(words, share)

    def _draw(self, words: str, share: float) -> None:
        display = _notebook_display()
        stream = self._stream or sys.stderr
        live = display is not None or stream.isatty()
        now, (before, key) = time.monotonic(), self._last
        # of a map the words count positions: its stage is what comes before the colon
        new = words.partition(":")[0] != key
        if share < 1 and not new and now - before < (EVERY if live else SELDOM):
            return
        self._last = now, words.partition(":")[0]
        if display is not None:
            self._show(display, words, share)
        elif live:
            stream.write(f"\r\x1b[K{words} {100 * share:.0f} %" + ("\n" if share >= 1 else ""))
            stream.flush()
        else:
            stream.write(f"{words} {100 * share:.0f} %\n".lstrip())
            stream.flush()

    def _show(self, display: Any, words: str, share: float) -> None:
        data = {
            "text/html": str(
                element(
                    "div",
                    element(
                        "progress", value=f"{share:.4f}", max="1", style="width:20em;vertical-align:middle"
                    ),
                    f" {100 * share:.0f} % {words}",
                )
            ),
            "text/plain": f"{words} {100 * share:.0f} %".lstrip(),
        }
        if self._shown is None:
            self._shown = display(data, raw=True, display_id=True)
        else:
            self._shown.update(data, raw=True)
        if share >= 1 and not words:
            self._shown = None


def _notebook_display() -> Any:
    """`IPython.display.display` in a notebook; None in a terminal, and where IPython is not used."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display
