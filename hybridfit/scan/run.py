"""The engine: scan in, map out.

first pass over a few positions → what is common
blocks of rows: network in batches here (or by workers that are elsewhere), search and refinement by the
workers → parts on disk
neighbours mend what is poor → one dataset
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import HybridfitError
from hybridfit.fitting.hints import Hints, with_fixed
from hybridfit.fitting.refine.structural import reference_values
from hybridfit.library.library import Library
from hybridfit.scan.first_pass import common_values, sampled
from hybridfit.scan.neighbours import SWEEPS, retries
from hybridfit.scan.pool import Workers
from hybridfit.scan.positions import At, Positions
from hybridfit.scan.rows import GOOD, RETRIED, Rows
from hybridfit.scan.seeds import Start, network_starts
from hybridfit.scan.settings import settings_of
from hybridfit.scan.store import Store
from hybridfit.scan.worker import Job, Task, in_frame_pixels

if TYPE_CHECKING:
    from hybridfit.fitting.seed.network import Seeder
    from hybridfit.network.weights import Network

BLOCK = 16  # positions: rows are put together until there are so many
DEATHS = 3  # of workers in a row, without a block finished in between


@dataclass(frozen=True)
class MapReport:
    """How a map stands: positions done of all, in this stage; share of those that are poor."""

    stage: str
    done: int
    total: int
    seconds: float
    per_second: float
    poor: float

    @property
    def seconds_left(self) -> float:
        """Until the stage is done, at the present rate; NaN before there is one."""
        return (self.total - self.done) / self.per_second if self.per_second > 0 else float("nan")


Progress = Callable[[MapReport], None]


class MapRun:
    """One run over a scan: what is done is kept, what is left is worked on.

    Parameters
    ----------
    positions : Positions
    library : Library
    library_path : where the workers of this machine can open it, if anywhere
    network : Network, optional
    output : path of the map
    semi_angle, method, background, fix, free, common, rotation
        As for `map_scan`, the rotation a hint.
    workers : Workers
    progress : callable(MapReport)
    """

    def __init__(
        self,
        positions: Positions,
        library: Library,
        library_path: str | None,
        network: Network | None,
        output: Path,
        *,
        semi_angle: float,
        method: str,
        background: str,
        fix: Mapping[str, float | None],
        free: Sequence[str],
        common: Sequence[str],
        rotation: float | None,
        flip: bool,
        workers: Workers,
        progress: Progress,
    ) -> None:
        self.positions, self.library, self.network = positions, library, network
        # what the network was trained on
        self.reference = library.at(**reference_values(library, fix))
        self.workers, self.progress = workers, progress
        shared: dict[str, Any] = {
            "semi_angle": semi_angle,
            "method": method,
            "background": background,
            "fix": dict(fix),
            "free": tuple(free),
            "rotation": rotation,
        }
        settings = settings_of(positions, library, network, common=common, **shared)
        settings |= {"flip": True} if flip else {}
        self.store = Store(output, settings)
        digest = self.store.manifest["digest"]
        shared["method"] = method if network is not None else "lsf"
        # one process cannot feed many machines, unless it has a GPU
        sent = workers.remote and network is not None and network.device.type == "cpu"
        shared["network"] = network if sent else None
        here = library_path is not None and Path(library_path).is_file() and not workers.remote
        self.first = Job(f"{digest} first", positions, str(library_path) if here else library, **shared)
        self.common = tuple(name for name in common if name not in fix)
        self.pending = method == "hybrid" and network is None
        ny, nx = positions.shape
        each = max(1, round(BLOCK / nx))
        self.blocks = {
            f"rows-{start:06d}": tuple((y, x) for y in range(start, min(start + each, ny)) for x in range(nx))
            for start in range(0, ny, each)
        }

    # ---------------------------------------------------------------- stages

    def run(self) -> Rows:
        """Everything that is left to do; the answers of all positions, row by row."""
        self.store.begin()
        job, starts = self._with_common()
        self._stage(job, self.blocks, "positions", lambda name: self._task(job, name, starts))
        return self._mended(job)

    def partial(self) -> Rows:
        """What is done so far."""
        return Rows.joined(
            [
                self.store.load(name)
                if self.store.has(name)
                else Rows.empty(len(at), len(self.library.structure))
                for name, at in self.blocks.items()
            ]
        )

    def _with_common(self) -> tuple[Job, list[Any]]:
        """The job of all positions, and answers that they may start from where there is no network."""
        if not self.common and not self.pending:
            return self.first, []
        at = sampled(self.positions.shape)
        each = max(1, len(at) // 8)
        names = {f"first-{i:04d}": at[i : i + each] for i in range(0, len(at), each)}
        self._stage(self.first, names, "first pass", lambda name: self._task(self.first, name, [], names))
        rows = Rows.joined([self.store.load(name) for name in names])
        values = self.store.common
        if values is None:
            values = common_values(rows, self.common, self.library.rotation_order)
            self.store.keep_common(values)
        job = replace(self.first, key=f"{self.first.key} common", fix={**self.first.fix, **values})
        converged = GOOD[:1] if (rows.status == GOOD[0]).any() else GOOD
        good = [(at[i], rows.candidate(i)) for i, status in enumerate(rows.status) if status in converged]
        return job, good if self.pending else []

    def _mended(self, job: Job) -> Rows:
        """Poor positions, fitted again from their neighbours' answers."""
        rows = Rows.joined([self.store.load(name) for name in self.blocks])
        shape = self.positions.shape
        tried = np.zeros(len(rows.status), bool)
        for sweep in range(SWEEPS if job.method != "cnn" else 0):
            again = retries(rows, shape, tried)
            if not again:
                break
            every = sorted(again)
            names = {
                f"mend-{sweep}-{i:06d}": tuple(every[i : i + BLOCK]) for i in range(0, len(every), BLOCK)
            }

            def task(name: str, names: Any = names, again: Any = again, rows: Rows = rows) -> Task:
                at = names[name]
                known = Rows.joined([rows.at(y * shape[1] + x) for y, x in at])
                return Task(name, at, tuple(again[where] for where in at), known)

            self._stage(job, names, "neighbours", task)
            before = rows
            for name, at in names.items():
                indices = np.array([y * shape[1] + x for y, x in at])
                rows = rows.put(indices, self.store.load(name))
            tried = ~_beside(before.status != rows.status, shape)
        return rows

    def _task(
        self, job: Job, name: str, known: list[Any], blocks: Mapping[str, tuple[At, ...]] | None = None
    ) -> Task:
        """A block with the seeds of the network, or with the nearest answers there are."""
        at = (blocks or self.blocks)[name]
        if job.network is not None and not known:
            return Task(name, at, None)
        if known:
            starts: list[Start] = [_nearest(known, where) for where in at]
        elif self.network is None:
            starts = [None] * len(at)
        else:
            starts = network_starts(self._seeder(job, self.network), self.positions.frames(at))
        return Task(name, at, tuple(starts))

    def _seeder(self, job: Job, network: Network) -> Seeder:
        from hybridfit.fitting.seed.network import Seeder

        hints = with_fixed(Hints(rotation=job.rotation), in_frame_pixels(job.fix, self.positions.bin))
        return Seeder(network, self.reference, job.semi_angle, hints=hints, background=job.background)

    # ---------------------------------------------------------------- work

    def _stage(
        self,
        job: Job,
        names: Mapping[str, Sequence[At]],
        stage: str,
        make: Callable[[str], Task],
    ) -> None:
        """Work on the blocks that are not finished; a dead worker costs what it had in hand."""
        total = sum(len(at) for at in names.values())
        finished = [name for name in names if self.store.has(name)]
        done = sum(len(names[name]) for name in finished)
        poor = sum(_poor(self.store.load(name)) for name in finished)
        started, fresh, deaths = time.monotonic(), 0, 0
        while todo := [name for name in names if not self.store.has(name)]:
            failure: list[Exception] = []
            try:
                for name, rows in self.workers.run(job, _made(todo, make, failure)):
                    self.store.keep(name, rows)
                    done, fresh, deaths = done + len(names[name]), fresh + len(names[name]), 0
                    poor += _poor(rows)
                    seconds = time.monotonic() - started
                    self.progress(MapReport(stage, done, total, seconds, fresh / seconds, poor / done))
            except BrokenProcessPool as error:
                deaths += 1
                if deaths == DEATHS:
                    raise HybridfitError(
                        f"{DEATHS} workers died one after the other, perhaps for want of memory; "
                        "give fewer workers, and the same command goes on"
                    ) from error
            if failure:
                raise failure[0]


def _made(names: Sequence[str], make: Callable[[str], Task], failure: list[Exception]) -> Iterator[Task]:
    """Tasks one by one; joblib asks for them in a thread of its own, where an error would be lost."""
    for name in names:
        try:
            task = make(name)
        except Exception as error:
            failure.append(error)
            return
        yield task


def _poor(rows: Rows) -> int:
    return int(np.isin(rows.status, RETRIED).sum())


def _nearest(known: list[Any], where: At) -> list[Any]:
    """The answers at the nearest positions, the nearest first."""
    ranked = sorted(known, key=lambda item: (item[0][0] - where[0]) ** 2 + (item[0][1] - where[1]) ** 2)
    return [candidate for _, candidate in ranked[:2]]


def _beside(changed: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Positions next to one that has changed."""
    from scipy.ndimage import binary_dilation

    out: NDArray[np.bool_] = binary_dilation(changed.reshape(shape), np.ones((3, 3), bool))
    return out.ravel()
