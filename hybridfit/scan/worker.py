"""The work on some positions, as a worker does it: read the frames, search and refine, keep the numbers.

Path and slice travel to the worker, not data: it opens scan and library itself, and keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Seed
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.judge.status import SAME
from hybridfit.fitting.result import FitResult
from hybridfit.frame import Frame
from hybridfit.library.library import Library
from hybridfit.scan.positions import At, NoFrame, Positions
from hybridfit.scan.rows import COLUMN, RETRIED, Rows, row_of, row_without, to_frame
from hybridfit.scan.seeds import Start, network_starts

if TYPE_CHECKING:
    from hybridfit.network.weights import Network


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that all positions have in common.

    Attributes
    ----------
    key : str
        Names this job: workers keep what they made for it.
    positions : Positions
    library : Library, or the path of a built one
    semi_angle : float, mrad
    method : "hybrid", "lsf" or "cnn"
    background : str
    fix : mapping of parameter name to value, or to None; in pixels of the camera
    free : names of further parameters to vary
    rotation : float, degrees, optional
        A hint.
    network : Network, optional
        For workers that are to seed their positions themselves.
    """

    key: str
    positions: Positions
    library: Library | str
    semi_angle: float
    method: str = "hybrid"
    background: str = "radial"
    fix: Mapping[str, float | None] = field(default_factory=dict)
    free: Sequence[str] = ()
    rotation: float | None = None
    network: Network | None = None

    def __sizeof__(self) -> int:
        """So that schedulers who weigh their arguments see that a library is to be sent only once."""
        own = object.__sizeof__(self)
        return own if isinstance(self.library, str) else own + int(self.library.dataset.nbytes)

    def fitter(self) -> Fitter:
        """A fitter of one thread, for frames that come with their seeds."""
        return Fitter(
            _opened(self.library),
            self.semi_angle,
            method=self.method,
            background=self.background,
            fix=in_frame_pixels(self.fix, self.positions.bin),
            free=self.free,
            hints=Hints(rotation=self.rotation),
            workers=1,
            seeded=self.method != "lsf",
            thorough=self.method == "lsf",
        )


@dataclass(frozen=True, eq=False)
class Task:
    """Positions to fit, each with where to start.

    Attributes
    ----------
    name : str
        Of the block that they make.
    at : tuple of (row, column) of the map
    starts : tuple of Start, or None where the worker is to ask the network of the job
    known : Rows, optional
        What was found before: kept wherever a fit is not better.
    """

    name: str
    at: tuple[At, ...]
    starts: tuple[Start, ...] | None
    known: Rows | None = None


# what a worker keeps: one library, for all jobs that it has a part in, and the fitter of the latest
_libraries: dict[str, Library] = {}
_fitters: dict[str, Fitter] = {}


def _opened(library: Library | str) -> Library:
    if isinstance(library, Library):
        return library
    if library not in _libraries:
        _libraries.clear()
        found = Library.open(library)
        _libraries[library] = Library(found.dataset.load())
    return _libraries[library]


def work(job: Job, task: Task) -> tuple[str, Rows]:
    """Fit the positions of a task."""
    fitter = _fitters.get(job.key)
    if fitter is None:
        _fitters.clear()
        fitter = _fitters[job.key] = job.fitter()
    rows = []
    frames = job.positions.frames(task.at)
    starts = task.starts if task.starts is not None else _seeded(job, fitter, frames)
    for i, (frame, start) in enumerate(zip(frames, starts, strict=True)):
        new = fit_position(fitter, frame, start, job.positions.bin)
        if task.known is not None:
            before = task.known.at(i)
            new = new if is_better(new, before) else before
        rows.append(new)
    return task.name, Rows.joined(rows)


def _seeded(job: Job, fitter: Fitter, frames: Sequence[Frame | NoFrame]) -> Sequence[Start]:
    """What the network of the job says, by one thread: every worker has one."""
    import torch

    from hybridfit.fitting.seed.network import Seeder

    if job.network is None:
        return [None] * len(frames)
    torch.set_num_threads(1)
    seeder = Seeder(
        job.network, fitter.reference, job.semi_angle, hints=fitter.hints, background=job.background
    )
    return network_starts(seeder, frames)


def fit_position(fitter: Fitter, frame: Frame | NoFrame, start: Start, pixel: int) -> Rows:
    """One position: whatever is wrong with it becomes its status."""
    structural = tuple(fitter.library.structure)
    if isinstance(frame, NoFrame):
        return row_without(frame.readable, frame.message, len(structural))
    try:
        return row_of(fit_frame(fitter, frame, start, pixel), pixel, structural)
    except InputError as error:
        return row_without(True, str(error), len(structural))


def fit_frame(fitter: Fitter, frame: Frame, start: Start, pixel: int) -> FitResult:
    """The result of one frame, from its seed, from candidates near it, or from a search of everything."""
    if isinstance(start, InputError):
        raise start
    if start is None:
        return fitter.fit(frame)
    if isinstance(start, Seed):
        return fitter.fit_seeded(frame, start)
    return fitter.fit_near(frame, [to_frame(candidate, pixel) for candidate in start])


def is_better(new: Rows, old: Rows) -> bool:
    """Whether a second fit (one position) explains the frame better than the first."""
    left = COLUMN["residual_fraction"]
    if not np.isfinite(new.values[0, left]):  # a start that led nowhere says nothing of the frame
        return False
    a, b = int(new.status[0]), int(old.status[0])
    if (a in RETRIED) != (b in RETRIED):
        return b in RETRIED
    return bool(new.values[0, left] * SAME < old.values[0, left])


def in_frame_pixels(fix: Mapping[str, float | None], pixel: int) -> dict[str, float | None]:
    """What is fixed, in pixels that are `pixel` of the camera's."""
    out = dict(fix)
    for name in ("centre_x", "centre_y", "scale"):
        value = out.get(name)
        if value is not None:
            out[name] = (value - (pixel - 1) / 2) / pixel if name != "scale" else value / pixel
    return out
