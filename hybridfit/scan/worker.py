"""The work on some positions, as a worker does it: read the frames, search and refine, keep the numbers.

A worker gets the path of the scan and a slice of it, no data; it opens scan and library itself, and keeps
both open.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import ThreadpoolController

from hybridfit.errors import InputError
from hybridfit.fitting.attempts import Attempt
from hybridfit.fitting.candidates import Seed
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.judge.settings import JUDGE
from hybridfit.fitting.refine.refiner import Shared
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.settings import FitSettings
from hybridfit.frame import Frame
from hybridfit.library.library import Library
from hybridfit.pattern.binning import to_binned
from hybridfit.scan.positions import At, NoFrame, Positions
from hybridfit.scan.rows import COLUMN, RETRIED, Rows, row_of, row_without, to_frame
from hybridfit.scan.seeds import Placed, Start, network_starts

if TYPE_CHECKING:
    from hybridfit.network.weights import Network

PIXELS = ("centre_x", "centre_y", "scale")  # parameters whose unit has the pixel in it


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that all positions have in common.

    Attributes
    ----------
    key : str
        Names this job: workers keep what they made for it.
    positions : Positions
    library : Library, or the path of a built one
    fit : FitSettings
        Scale and centre in pixels of the camera.
    network : Network, optional
        For workers that are to seed their positions themselves.
    shared : Shared, optional
        What frames have in common, where `fit` holds their camera.
    """

    key: str
    positions: Positions
    library: Library | str
    fit: FitSettings
    network: Network | None = None
    shared: Shared | None = None

    def __sizeof__(self) -> int:
        """With its library: a scheduler then sends it once to each worker, not with every task."""
        own = object.__sizeof__(self)
        return own if isinstance(self.library, str) else own + int(self.library.dataset.nbytes)

    def fitter(self) -> Fitter:
        """A fitter of one thread, for frames that come with their seeds."""
        searched = self.fit.method == "lsf"
        return Fitter(
            _opened(self.library),
            settings=replace(in_frame_pixels(self.fit, self.positions.bin), thorough=searched),
            workers=1,
            seeded=not searched,
            shared=self.shared,
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
        What was found before; it is kept where the new fit is not better.
    """

    name: str
    at: tuple[At, ...]
    starts: tuple[Start | Attempt, ...] | None
    known: Rows | None = None


# what a worker keeps: one library, for all of its jobs, and the fitter of the latest job
_libraries: dict[str, Library] = {}
_fitters: dict[str, Fitter] = {}


def _opened(library: Library | str) -> Library:
    if isinstance(library, Library):
        return library
    if library not in _libraries:
        _libraries.clear()
        _libraries[library] = Library.open(library)
    return _libraries[library]


def work(job: Job, task: Task) -> tuple[str, Rows]:
    """Fit the positions of a task, with one thread of BLAS: more of them round sums in another order."""
    with ThreadpoolController().limit(limits=1, user_api="blas"):
        return _worked(job, task)


def _worked(job: Job, task: Task) -> tuple[str, Rows]:
    fitter = _fitters.get(job.key)
    if fitter is None:
        _fitters.clear()
        gc.collect()  # node images of the last job, which refer to each other
        fitter = _fitters[job.key] = job.fitter()
    frames = job.positions.frames(task.at)
    starts = task.starts if task.starts is not None else _seeded(job, fitter, frames)
    ready = with_matches(fitter, frames, starts, job.positions.bin)
    rows: dict[int, Rows] = {}
    many = job.shared is not None and job.shared.misfit
    for i in sorted(range(len(ready)), key=lambda i: _place(ready[i], tilt_first=many)):
        new = fit_position(fitter, frames[i], ready[i], job.positions.bin)
        if task.known is not None:
            before = task.known.at(i)
            new = new if is_better(new, before, job.fit.judging.as_good) else before
        rows[i] = new
    return task.name, Rows.joined([rows[i] for i in range(len(ready))])


def _place(start: Start | Attempt, tilt_first: bool) -> tuple[float, float, float]:
    """Thickness (nm) and tilt (mrad) from which a fit starts; neighbours there share node images.

    Those of other thicknesses are shared by neighbours in tilt.
    """
    if not isinstance(start, Attempt) or not start.found:
        return (0.0, 0.0, 0.0)
    first = start.found[0]
    thickness, tilt = round(first.thickness), (round(first.tilt_x), round(first.tilt_y))
    return (*tilt, thickness) if tilt_first else (thickness, *tilt)


def with_matches(
    fitter: Fitter, frames: Sequence[Frame | NoFrame], starts: Sequence[Start | Attempt], pixel: int
) -> list[Start | Attempt]:
    """The same starts, with matches of the library in place of those whose disc is known: in one product."""
    out: list[Start | Attempt] = [*starts]
    placed = [
        (i, frame, start)
        for i, (frame, start) in enumerate(zip(frames, starts, strict=True))
        if isinstance(start, Placed) and isinstance(frame, Frame)
    ]
    if placed:
        centres = [(to_binned(s.centre_x, pixel), to_binned(s.centre_y, pixel)) for _, _, s in placed]
        found = fitter.known.match([frame for _, frame, _ in placed], centres)
        for (i, _, _), attempt in zip(placed, found, strict=True):
            out[i] = attempt
    return out


def _seeded(job: Job, fitter: Fitter, frames: Sequence[Frame | NoFrame]) -> Sequence[Start]:
    """Seeds from the network of the job, in one thread: there is a worker for every core."""
    from hybridfit.fitting.seed.network import Seeder

    if job.network is None:
        return [None] * len(frames)
    job.network.threads = 1
    seeder = Seeder(
        job.network,
        fitter.reference,
        job.fit.semi_angle,
        hints=fitter.hints,
        background=job.fit.background,
    )
    return network_starts(seeder, frames)


def fit_position(fitter: Fitter, frame: Frame | NoFrame, start: Start | Attempt, pixel: int) -> Rows:
    """One position: whatever is wrong with it becomes its status."""
    structural = tuple(fitter.library.structure)
    if isinstance(frame, NoFrame):
        return row_without(frame.readable, frame.message, len(structural))
    try:
        return row_of(fit_frame(fitter, frame, start, pixel), pixel, structural)
    except InputError as error:
        return row_without(True, str(error), len(structural))


def fit_frame(fitter: Fitter, frame: Frame, start: Start | Attempt, pixel: int) -> FitResult:
    """The result of one frame, from its seed, from candidates near it, or from a search of everything."""
    if isinstance(start, InputError):
        raise start
    if start is None:
        return fitter.fit(frame)
    if isinstance(start, Seed):
        return fitter.fit_seeded(frame, start)
    if isinstance(start, Placed):
        (start,) = with_matches(fitter, [frame], [start], pixel)
    if isinstance(start, Attempt):
        return fitter.fit_matched(frame, start)
    assert start is not None and not isinstance(start, Seed | InputError | Placed)
    return fitter.fit_near(frame, [to_frame(candidate, pixel) for candidate in start])


def is_better(new: Rows, old: Rows, same: float = JUDGE.as_good) -> bool:
    """Whether a second fit (one position) explains the frame better than the first.

    Residuals whose ratio is below `same` are equally good; the first fit stays then.
    """
    left = COLUMN["residual_fraction"]
    if not np.isfinite(new.values[0, left]):  # the start led nowhere
        return False
    a, b = int(new.status[0]), int(old.status[0])
    if (a in RETRIED) != (b in RETRIED):
        return b in RETRIED
    return bool(new.values[0, left] * same < old.values[0, left])


def in_frame_pixels(fit: FitSettings, pixel: int) -> FitSettings:
    """Settings of fits of frames whose pixels are `pixel` of the camera's.

    Raises
    ------
    InputError
        An expression that mixes pixels of the frame with anything else.
    """
    if pixel == 1:
        return fit
    for name, expression in fit.expressions.items():
        if name in PIXELS or any(word in expression for word in PIXELS):
            raise InputError(
                f"expression {expression!r} of {name} is in pixels of the camera, and frames are binned by "
                f"{pixel}; leave out the binning, or the expression"
            )
    fix = {name: _binned(name, value, pixel) for name, value in fit.fix.items()}
    bounds = {
        name: (_binned(name, low, pixel), _binned(name, high, pixel))
        for name, (low, high) in fit.bounds.items()
    }
    return replace(fit, fix=fix, bounds=bounds)


def _binned(name: str, value: Any, pixel: int) -> Any:
    """A value of a parameter (None: not known) in binned pixels."""
    if value is None or name not in PIXELS:
        return value
    return value / pixel if name == "scale" else to_binned(value, pixel)
