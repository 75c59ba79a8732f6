"""`hybridfit benchmark`: run the studies of a clone, each in its own process, and write a table."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from hybridfit.cli.console import new_table, print_table, saying
from hybridfit.errors import InputError

PATIENCE_S = 5.0  # time that an interrupted study has to clean up
MISSED = 3  # exit code of a study that missed a bar


def benchmark(
    studies: Annotated[
        list[str] | None, typer.Argument(metavar="STUDY", help="Names of studies; all by default.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small studies: 10 minutes in all instead of 80, on two cores.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder of JSON, figures and RESULTS.md; by default benchmarks/out.",
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the studies.")] = False,
) -> None:
    """Run the studies that measure this package. It works in a clone only.

    Missed bars are listed in the tables. The exit code is 1 if a study crashed.
    """
    root = _clone()
    known = _studies(root)
    if list_:
        return _print_list(known)
    chosen = list(dict.fromkeys(studies or known.names()))
    unknown = [name for name in chosen if name not in known.names()]
    if unknown:
        raise InputError(f"unknown study {unknown[0]!r}; the studies are {', '.join(known.names())}")
    folder = (output or root / "benchmarks" / "out").resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made ({error.strerror}); choose another") from None
    environment = _environment(root, folder, quick)
    started, failed, missed = time.monotonic(), [], []
    with saying(lambda: f"what was finished is in {folder}"):
        for i, name in enumerate(chosen, start=1):
            _say(f"[{i}/{len(chosen)}] {name}: {known.about(name)}")
            start = time.monotonic()
            code = _run([name, *(["--quick"] if quick else [])], environment)
            if code not in (0, MISSED):
                failed.append(name)
                _keep_reason(folder / f"{name}.failed", code)
            missed += [name] * (code == MISSED)
            words = {0: "done", MISSED: "done, a bar was missed"}.get(code, f"failed with exit code {code}")
            _say(f"[{i}/{len(chosen)}] {name}: {words} in {_duration(time.monotonic() - start)}\n")
        if subprocess.run([sys.executable, "-m", "benchmarks.results"], env=environment).returncode:
            failed.append("RESULTS.md")
    _say(f"{len(chosen)} studies in {_duration(time.monotonic() - started)}")
    if missed:
        _say(f"bars were missed in: {', '.join(missed)}")
    if failed:
        _say(f"failed: {', '.join(failed)}")
        raise typer.Exit(1)


def _clone() -> Path:
    """The folder that contains `benchmarks`."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "benchmarks" / "studies.py").is_file():
        raise InputError(
            "the studies are not part of an installed package; clone the repository, "
            "`pip install -e .` in it, and run hybridfit benchmark again"
        )
    return root


def _studies(root: Path) -> Any:
    """`benchmarks.studies`; it is outside the package, so it is imported by name."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return importlib.import_module("benchmarks.studies")


def _print_list(known: Any) -> None:
    table = new_table("study", "what it shows")
    for name in known.names():
        table.add_row(name, known.about(name))
    print_table(table)


def _environment(root: Path, folder: Path, quick: bool) -> dict[str, str]:
    """Environment variables with the folder of the studies, their output folder and their size."""
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONSAFEPATH": "1",  # a `benchmarks` in the current folder is not imported
        "PYTHONUNBUFFERED": "1",
        "HYBRIDFIT_BENCHMARK_OUT": str(folder),
        "HYBRIDFIT_BENCHMARK_QUICK": "1" if quick else "",
    }


def _run(words: list[str], environment: dict[str, str]) -> int:
    """Run a study; an interrupt stops it and all its processes. Returns its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *words], env=environment, start_new_session=True
    )
    try:
        return process.wait()
    except BaseException:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)
        raise
    finally:  # processes that it has left
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()


def _keep_reason(path: Path, code: int) -> None:
    """Write the exit code for RESULTS.md if the study has written no reason itself, as when it was killed."""
    if not path.exists():
        path.write_text(f"exit code {code}\n", encoding="utf-8")


def _say(text: str) -> None:
    print(text, flush=True)


def _duration(seconds: float) -> str:
    """A duration such as 42 s or 3.5 min."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
