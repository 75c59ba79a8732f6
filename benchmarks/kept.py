"""Fits of many frames, each kept as soon as it is there, so that a study can be stopped and go on."""

from __future__ import annotations

import contextlib
import json
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path

from joblib import Parallel, delayed

from benchmarks.common import Study, cores
from benchmarks.errors import Row
from hybridfit.scan.pool import may_grow

Frame = tuple[str, int, int]  # kind, number, seed


def add_options(parser: ArgumentParser) -> None:
    """Options of studies that keep their fits."""
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--resume", action="store_true", help="go on with the rows of a run that was stopped")


def kept_fits(
    study: Study, fitted: Callable[..., Row], wanted: Sequence[Frame], workers: int, resume: bool
) -> list[Row]:
    """The row of every wanted frame; with resume those of an earlier run are taken from its file.

    fitted must be found by its module's name: workers cannot find what `__main__` keeps.
    """
    path = study.path(".rows.jsonl")
    done = kept_rows(path) if resume else {}
    left = [each for each in wanted if each not in done]
    fits = Parallel(n_jobs=workers, return_as="generator")(delayed(_work)(fitted, each) for each in left)
    with path.open("a" if resume else "w", encoding="utf-8") as file:
        for each, row in zip(left, fits, strict=True):
            # as JSON has it, so that a resumed run has the same rows
            text = json.dumps([each, row], default=_plain)
            done[each] = json.loads(text)[1]
            file.write(text + "\n")
            file.flush()
    return [done[each] for each in wanted]


def _work(fitted: Callable[..., Row], frame: Frame) -> Row:
    may_grow()  # what a worker has opened for one frame it needs for the next
    return fitted(*frame)


def kept_rows(path: Path) -> dict[Frame, Row]:
    """The rows of a run that was stopped, by kind, number and seed; a line that is cut off does not count."""
    out: dict[Frame, Row] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                (kind, i, seed), row = json.loads(line)
                out[kind, i, seed] = row
    return out


def _plain(value: object) -> object:
    """A numpy scalar as JSON has it: True stays True, a number becomes a float."""
    item = value.item() if hasattr(value, "item") else value
    return item if isinstance(item, bool) else float(item)  # type: ignore[arg-type]
