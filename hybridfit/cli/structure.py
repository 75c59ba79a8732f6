"""`hybridfit fit --vary`: fits with numbers of the crystal, of each pattern or of all together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hybridfit.errors import InputError

if TYPE_CHECKING:
    from hybridfit.cli.console import Bars
    from hybridfit.fitting.fitter import Fitter
    from hybridfit.fitting.result import FitResult
    from hybridfit.frame import Frame
    from hybridfit.io import BadFrame
    from hybridfit.library.library import Library


def fit_structure(
    frames: Iterator[Frame | BadFrame],
    count: int,
    library: Library,
    vary: str,
    together: bool,
    bars: Bars,
    quiet: bool,
    **options: Any,
) -> tuple[list[FitResult | dict[str, Any]], Fitter]:
    """Fit every frame, or all together, and print reports; the answers, and the fitter of the starts.

    Parameters
    ----------
    frames : iterator of frames, as many as count
    library : Library
    vary : str, names of what is fitted
    together : bool
    bars : Bars
    quiet : bool
    options : of the fitter

    Raises
    ------
    InputError
        Of a frame among several that are fitted together: none is left out silently.
    """
    from hybridfit.fitting.vary.fit import StructureFitter
    from hybridfit.io import BadFrame

    fitter = StructureFitter(library, vary, progress=bars.show, **options)
    answers: list[FitResult | dict[str, Any]] = []
    read: list[Frame] = []
    for i, frame in enumerate(frames):
        bars.start(f"[{i + 1}/{count}] {Path(frame.source).name}" if count > 1 else "")
        try:
            if isinstance(frame, BadFrame):
                raise frame.error
            if together:
                read.append(frame)
                continue
            found = fitter.fit([frame])
        except InputError as error:
            if count == 1 or together:
                raise
            status = frame.status if isinstance(frame, BadFrame) else "unusable"
            bars.clear()
            answers.append(
                {"file": frame.source, "method": "hybrid", "status": status, "message": str(error)}
            )
            typer.echo(f"{status}: {error}", err=True)
            continue
        bars.clear()
        answers.append(found.frames[0])
        if not quiet:
            typer.echo(found.frames[0].report())
    if together:
        shared = fitter.fit(read)
        bars.clear()
        answers += shared.frames
        if not quiet:
            for each in shared.frames:
                typer.echo(each.report())
            typer.echo(shared.report())
    return answers, fitter.fitter
