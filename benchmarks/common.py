"""What every study shares: timing, the table with its bars, JSON, and one style of figure."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.machine import busy_elsewhere, cores, facts, peak_memory_gb, resident_memory_gb

__all__ = ["Row", "Study", "cores", "new_parser", "out_folder", "peak_memory_gb", "resident_memory_gb"]

OUT = Path(__file__).parent / "out"
FOLDER, QUICK = "HYBRIDFIT_BENCHMARK_OUT", "HYBRIDFIT_BENCHMARK_QUICK"  # set for all studies of a run
STARTED = time.perf_counter()  # every study has its own process
BUSY = 0.3  # cores: if other processes use more at the start, times are too long
STYLE = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "font.size": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
}


def timed(function: Callable[[], Any], repeat: int = 5) -> float:
    """Median time (s) of a call, after a first call that is not counted."""
    function()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def out_folder() -> Path:
    """Where studies write: the folder that HYBRIDFIT_BENCHMARK_OUT names, or `benchmarks/out`."""
    return Path(os.environ.get(FOLDER) or OUT)


def new_parser(text: str | None) -> argparse.ArgumentParser:
    """A parser with the option --quick; text is the docstring of the study, which adds its own options."""
    parser = argparse.ArgumentParser(description=(text or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small one, in half a minute")
    return parser


def skipped(name: str, why: str) -> int:
    """Print why a study was not run; returns its exit code."""
    print(f"{name} was skipped: {why}")
    return 0


@dataclass(frozen=True)
class Row:
    """One measured number.  passed says whether it meets its bar; it is None if there is no bar."""

    what: str
    measured: float
    unit: str
    bar: float | None = None
    passed: bool | None = None


@dataclass
class Study:
    """A table of measurements and the files it ends up in: `<name>.json` and `<name>.png` of `out_folder()`.

    quick marks a small run, whose numbers are only examples.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    quick: bool = field(default_factory=lambda: bool(os.environ.get(QUICK)) or "--quick" in sys.argv)

    def __post_init__(self) -> None:
        busy = busy_elsewhere()
        if busy > BUSY:
            self.note(
                f"other processes kept {busy:.1f} cores busy at the start: times are longer than they need be"
            )

    def add(
        self,
        what: str,
        measured: float,
        unit: str,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        """Add a row; its name says by itself what was measured, its bar is an upper or a lower limit."""
        bar = at_most if at_least is None else at_least
        passed = None
        if bar is not None:
            passed = bool(measured <= bar if at_least is None else measured >= bar)
        self.rows.append(Row(what, float(measured), unit, bar, passed))

    def note(self, text: str) -> None:
        """Add a sentence that goes below the table and into the JSON."""
        self.notes.append(text)

    def finish(self, **arrays: Any) -> bool:
        """Print the table, write the JSON (with the arrays behind the figure); True when every bar is met."""
        title = f"{self.name}{', quick' if self.quick else ''}"
        table = RichTable(title=f"{title}, {cores()} cores")
        for heading, justify in (("what", "left"), ("measured", "right"), ("bar", "right"), ("", "left")):
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        for row in self.rows:
            bar = "" if row.bar is None else f"{row.bar:.3g} {row.unit}"
            verdict = {None: "", True: "pass", False: "[bold red]FAIL[/]"}[row.passed]
            table.add_row(row.what, f"{row.measured:.3g} {row.unit}", bar, verdict)
        console = Console(width=None if sys.stdout.isatty() else 140)
        console.print(table)
        for note in self.notes:
            console.print(f"· {note}", highlight=False, markup=False)
        content: dict[str, Any] = {
            "study": self.name,
            "quick": self.quick,
            "study_seconds": round(time.perf_counter() - STARTED, 1),
            "rows": [asdict(row) for row in self.rows],
            "notes": self.notes,
            "facts": facts(),
        }
        if taken := content.keys() & arrays:
            raise ValueError(
                f"{', '.join(sorted(taken))} of a study cannot be arrays of its figure; rename them"
            )
        content |= arrays
        from hybridfit.io import atomic_path  # here, because jobs of studies time their imports

        path = self.path(".json")
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        picture = path.with_suffix(".png")
        also = f" and {picture}" if picture.is_file() else ""
        console.print(f"written: {path}{also}", highlight=False)
        return all(row.passed is not False for row in self.rows)

    def path(self, suffix: str) -> Path:
        """The file of this study with a suffix; its folder is made."""
        out_folder().mkdir(parents=True, exist_ok=True)
        return out_folder() / f"{self.name}{suffix}"

    @contextmanager
    def figure(
        self, columns: int = 1, rows: int = 1, size: tuple[float, float] = (4.2, 3.2)
    ) -> Iterator[Any]:
        """A figure and its axes in the common style, saved as `<name>.png` on leaving."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        with plt.rc_context(STYLE):
            figure, axes = plt.subplots(
                rows, columns, figsize=(columns * size[0], rows * size[1]), squeeze=False
            )
            yield figure, axes.ravel()
            figure.savefig(self.path(".png"), dpi=150)
            plt.close(figure)
