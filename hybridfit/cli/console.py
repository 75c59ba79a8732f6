"""Tables on stdout, progress on stderr."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

arguments: list[str] = []  # those of the command, set by `main`


def command_line() -> str:
    """The command as it was given, to be copied into a shell."""
    return shlex.join(["hybridfit", *arguments])


def new_table(*headings: str) -> Any:
    """An empty table; headings may be empty."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def add_rows(table: Any, values: dict[str, Any]) -> None:
    """Add a row for every value that is not None."""
    for name, value in values.items():
        if value is not None:
            table.add_row(name, f"{value:g}" if isinstance(value, float) else str(value))


def print_table(table: Any) -> None:
    """Print a table; in a file or a pipe it is 160 characters wide."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


kept = ""  # what an interrupted command has kept; set by `saying`, printed by `main`


class Bars:
    """Progress bars on stderr, one for every stage; none if stderr is no terminal.

    After an interrupt `show` raises KeyboardInterrupt in every thread that calls it, so that no thread
    has to finish its work first.
    """

    def __init__(self, quiet: bool) -> None:
        self._wanted = not quiet and sys.stderr.isatty()
        self._interrupted = False
        self._progress: Any = None
        self._tasks: dict[str, Any] = {}
        self._label = ""
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> Bars:
        self._stack.enter_context(self._listening())
        self._stack.callback(self.clear)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self, label: str) -> None:
        """Remove all bars; new ones have this label."""
        self.clear()
        self._label = label

    def clear(self) -> None:
        """Remove all bars, so that something can be printed."""
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._tasks = None, {}

    def show(self, stage: str, fraction: float) -> None:
        """Move the bar of a stage; may be called from any thread."""
        if self._interrupted:
            raise KeyboardInterrupt
        if not self._wanted:
            return
        with self._lock:
            if self._progress is None:
                self._progress = self._new_progress()
            if stage not in self._tasks:
                self._tasks[stage] = self._progress.add_task(f"{self._label} {stage}".strip(), total=1.0)
            self._progress.update(self._tasks[stage], completed=fraction)

    @staticmethod
    def _new_progress() -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,  # answers go where the user sends them, not to the bars' stderr
            redirect_stderr=False,
        )
        progress.start()
        return progress

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        def stop(*_: object) -> NoReturn:
            self._interrupted = True
            raise KeyboardInterrupt

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class LiveLine:
    """A bar with text on stderr: updated in place on a terminal, one line a minute elsewhere."""

    def __init__(self, quiet: bool, first: str = "") -> None:
        self._quiet, self._first = quiet, first
        self._live = sys.stderr.isatty()
        self._next = 0.0
        self._bar: Any = None

    def __enter__(self) -> LiveLine:
        if self._live and not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

            columns = (BarColumn(20), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._first, total=1.0)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, fraction: float, text: str, seconds: float) -> None:
        """Show the fraction that is done and a text; calls that come too soon after the last are ignored."""
        if self._quiet or (seconds < self._next and fraction < 1):
            return
        self._next = seconds + (0.5 if self._live else 60)
        if self._bar is not None:
            self._bar.update(self._task, completed=fraction, description=text)
        else:
            print(f"{100 * fraction:5.1f} %  {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def saying(words: Callable[[], str]) -> Iterator[None]:
    """If the block is interrupted, keep the words that say what is left and how to go on (`kept`)."""
    global kept
    try:
        yield
    except KeyboardInterrupt:
        kept = words()
        raise
