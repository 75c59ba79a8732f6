"""What every study shares: timing, the table with its bars, JSON, and one style of figure."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

OUT = Path(__file__).parent / "out"
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
    """Median time (s) of a call, after one call to warm up."""
    function()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_gb() -> float:
    """Largest resident memory of this process so far (GB), the interpreter and all imports included."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def resident_memory_gb() -> float:
    """Resident memory of this process now (GB); where /proc is missing, the peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_memory_gb()
    return pages * resource.getpagesize() / 1e9


@dataclass(frozen=True)
class Row:
    """One measured figure: passed says whether measured ≤ bar, and is None where there is no bar."""

    what: str
    measured: float
    unit: str
    bar: float | None = None
    passed: bool | None = None


@dataclass
class Study:
    """A table of measurements and the files it ends up in: `out/<name>.json` and `out/<name>.png`."""

    name: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        if load > 0.5:
            self.note(
                f"the load average was {load:.1f} at the start: times are longer than on a free machine"
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
        """Add a row; a bar is a bound from above or from below, or there is none."""
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
        table = RichTable(title=f"{self.name}, {cores()} cores")
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
        OUT.mkdir(parents=True, exist_ok=True)
        content = {
            "study": self.name,
            "rows": [asdict(row) for row in self.rows],
            "notes": self.notes,
            "facts": facts(),
            **arrays,
        }
        path = OUT / f"{self.name}.json"
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        console.print(f"written: {path} and {path.with_suffix('.png')}", highlight=False)
        return all(row.passed is not False for row in self.rows)

    @contextmanager
    def figure(
        self, columns: int = 1, rows: int = 1, size: tuple[float, float] = (4.2, 3.2)
    ) -> Iterator[Any]:
        """A figure and its axes in the common style, saved as `out/<name>.png` on leaving."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        with plt.rc_context(STYLE):
            figure, axes = plt.subplots(
                rows, columns, figsize=(columns * size[0], rows * size[1]), squeeze=False
            )
            yield figure, axes.ravel()
            OUT.mkdir(parents=True, exist_ok=True)
            figure.savefig(OUT / f"{self.name}.png", dpi=150)
            plt.close(figure)


def facts() -> dict[str, Any]:
    """Versions and the number of cores: what a stranger needs to compare."""
    versions: dict[str, Any] = {"python": platform.python_version()}
    for name in ("hybridfit", "torch", "numpy", "scipy", "numba"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed (run from the source)"
    return {**versions, "cores": cores(), "platform": platform.system()}
