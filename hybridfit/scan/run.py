"""One run of a map, stage by stage.

first pass    a few positions with everything free → what all positions share
positions     blocks of rows, refined by the workers → parts on disk; where the camera is known, from a match
              of the whole library, or from fits of many at a time on a GPU (`batches`), else from seeds of
              the network, in batches here (or by workers on other machines) and a search about them
network       poor positions of a match start again from what the network says
neighbours    poor fits start again from the answers beside them
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import HybridfitError
from hybridfit.fitting.refine.refiner import Shared, camera_of
from hybridfit.fitting.refine.structural import reference_values
from hybridfit.library.library import Library
from hybridfit.library.mirror import mirrored
from hybridfit.scan.batches import Batches, batched
from hybridfit.scan.first_pass import centre_planes, common_values, sampled
from hybridfit.scan.neighbours import retries
from hybridfit.scan.pool import Workers
from hybridfit.scan.positions import At, Blocks, Positions
from hybridfit.scan.rows import COLUMN, GOOD, RETRIED, Rows
from hybridfit.scan.seeds import Placed, Start, network_starts
from hybridfit.scan.settings import MapSettings
from hybridfit.scan.store import Store
from hybridfit.scan.worker import Job, Task, in_frame_pixels

if TYPE_CHECKING:
    from hybridfit.fitting.seed.network import Seeder
    from hybridfit.network.weights import Network


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


Array = NDArray[np.float64]
LEAST_BLUR = 1e-3  # mrad
Progress = Callable[[MapReport], None]


class MapRun:
    """One run over a scan: finished blocks are kept, the others are worked on.

    Parameters
    ----------
    positions : Positions
    library : Library
    library_path : path from which the workers of this machine can open it, if there is one
    network : Network, optional
    store : Store
        Of the inputs and settings of this run.
    settings : MapSettings
    workers : Workers
    progress : callable(MapReport)
    """

    def __init__(
        self,
        positions: Positions,
        library: Library,
        library_path: str | None,
        network: Network | None,
        store: Store,
        settings: MapSettings,
        workers: Workers,
        progress: Progress,
    ) -> None:
        self.positions, self.library, self.network = positions, library, network
        self.store, self.settings, self.workers, self.progress = store, settings, workers, progress
        # one process cannot feed many machines, unless it has a GPU
        sent = workers.remote and network is not None and network.device == "cpu"
        here = library_path is not None and Path(library_path).is_file() and not workers.remote
        self.first = Job(
            f"{store.digest} first",
            positions,
            str(library_path) if here else library,
            settings.fit if network is not None else replace(settings.fit, method="lsf"),
            network if sent else None,
        )
        shared = () if settings.method == "cnn" else settings.common
        self.common = tuple(name for name in shared if name not in settings.fit.fix)
        self.pending = settings.method == "hybrid" and network is None
        rows, cols = positions.file.frame_shape
        most = int(settings.work.block_bytes // (8 * rows * cols * positions.average**2))
        self.blocks = Blocks(positions.shape, settings.work.block, max(1, min(settings.work.longest, most)))

    # ---------------------------------------------------------------- stages

    def run(self) -> Rows:
        """Everything that is left to do; the answers of all positions, row by row."""
        job, starts, centres = self._with_common()
        if centres is None:
            found = self._stage(job, self.blocks, "positions", lambda name: self._task(job, name, starts))
            return self._mended(job, self._in_order(found))
        batches = None
        if batched(self.settings.device):
            batches = Batches(replace(job, library=self.library), self.blocks, centres, self.settings.device)
        near = self.blocks if batches else apart(self.blocks, self.workers.here)
        found = self._stage(job, near, "positions", lambda name: self._placed(name, centres, batches))
        return self._mended(job, self._asked(job, self._in_order(found)))

    def partial(self) -> Rows:
        """What is done so far."""
        structural = len(self.library.structure)
        loaded = ((at, self.store.load(name, at)) for name, at in self.blocks.items())
        return self._in_order(
            {
                name: Rows.empty(len(at), structural) if rows is None else rows
                for name, (at, rows) in zip(self.blocks, loaded, strict=True)
            }
        )

    def _in_order(self, found: Mapping[str, Rows]) -> Rows:
        """The rows of all blocks, which are in the order of the map."""
        return Rows.joined([found[name] for name in self.blocks])

    def _with_common(self) -> tuple[Job, list[Any], Array | None]:
        """The job of all positions; answers that they may start from where there is no network.

        And where their direct discs are (ny, nx, 2), where the camera is known: they are matched there.
        """
        placed = self.settings.method == "hybrid" and not self.library.structure
        if not self.common and not self.pending and not (placed and camera_of(self.first.fit)):
            return self.first, [], None
        asked = self.settings.first_pass
        at = sampled(self.positions.shape, asked.sampled)
        each = max(1, len(at) // 8)
        names = {f"first-{i:04d}": at[i : i + each] for i in range(0, len(at), each)}
        found = self._stage(
            self.first, names, "first pass", lambda name: self._task(self.first, name, [], names)
        )
        rows = Rows.joined([found[name] for name in names])
        values = self.store.common
        if values is None:
            values = common_values(rows, self.common, self.library.rotation_order, asked)
            self.store.keep_common(values)
        held = replace(self.first.fit, fix={**self.first.fit.fix, **values})
        key = f"{self.store.digest} common {sorted(values.items())}"
        job = replace(self.first, key=key, fit=held)
        converged = GOOD[:1] if (rows.status == GOOD[0]).any() else GOOD
        good = [(at[i], rows.candidate(i)) for i, status in enumerate(rows.status) if status in converged]
        centres = None
        if placed and camera_of(held):
            centres = centre_planes(rows, at, self.positions.shape, asked)
        if centres is not None:
            job = replace(job, shared=self._shared(rows))
        return job, good if self.pending else [], centres

    def _shared(self, rows: Rows) -> Shared:
        """What frames of a known camera have in common, from those of the first pass."""
        good = rows.values[rows.status == GOOD[0]]
        blur, chi2 = (float(np.median(good[:, COLUMN[name]])) for name in ("blur", "reduced_chi2"))
        return Shared(max(blur, LEAST_BLUR), chi2 > self.settings.first_pass.misfit)

    def _placed(self, name: str, centres: Array, batches: Batches | None) -> Task:
        """A block whose direct discs are known."""
        at = self.blocks[name]
        placed = tuple(Placed(*centres[y, x].tolist()) for y, x in at)
        return Task(name, at, placed if batches is None else batches.starts(name))

    def _asked(self, job: Job, rows: Rows) -> Rows:
        """Poor positions, fitted again from what the network says of them."""
        if self.network is None:
            return rows
        every = np.flatnonzero(np.isin(rows.status, RETRIED))
        width, each = self.positions.shape[1], min(self.settings.work.block, self.blocks.most)
        blocks = {
            f"ask-{i:06d}": tuple((int(n) // width, int(n) % width) for n in every[i : i + each])
            for i in range(0, len(every), each)
        }

        def task(name: str) -> Task:
            known = Rows.joined([rows.at(y * width + x) for y, x in blocks[name]])
            return replace(self._task(job, name, [], blocks), known=known)

        found = self._stage(job, blocks, "network", task)
        for name, at in blocks.items():
            rows = rows.put(np.array([y * width + x for y, x in at]), found[name])
        return rows

    def _mended(self, job: Job, rows: Rows) -> Rows:
        """Poor positions, fitted again from their neighbours' answers."""
        shape, asked = self.positions.shape, self.settings.neighbours
        each = min(self.settings.work.block, self.blocks.most)
        tried = np.zeros(len(rows.status), bool)
        for sweep in range(asked.sweeps if job.fit.method != "cnn" else 0):
            again = retries(rows, shape, tried, asked)
            if not again:
                break
            every = sorted(again)
            names = {f"mend-{sweep}-{i:06d}": tuple(every[i : i + each]) for i in range(0, len(every), each)}

            def task(name: str, names: Any = names, again: Any = again, rows: Rows = rows) -> Task:
                at = names[name]
                known = Rows.joined([rows.at(y * shape[1] + x) for y, x in at])
                return Task(name, at, tuple(again[where] for where in at), known)

            found = self._stage(job, names, "neighbours", task)
            before = rows
            for name, at in names.items():
                rows = rows.put(np.array([y * shape[1] + x for y, x in at]), found[name])
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
        """The seeder that the fitter of a job would have."""
        from hybridfit.fitting.seed.network import Seeder

        asked = in_frame_pixels(job.fit, self.positions.bin)
        hints = (asked.mirrored() if asked.flip else asked).held().hints
        return Seeder(network, self._reference, asked.semi_angle, hints=hints, background=asked.background)

    @cached_property
    def _reference(self) -> Library:
        """What the network knows: one value of each structural parameter, mirrored for a flip."""
        fit = self.settings.fit
        seen, fix = (mirrored(self.library), fit.mirrored().fix) if fit.flip else (self.library, fit.fix)
        return seen.at(**reference_values(seen, fix))

    # ---------------------------------------------------------------- work

    def _stage(
        self,
        job: Job,
        names: Mapping[str, tuple[At, ...]],
        stage: str,
        make: Callable[[str], Task],
    ) -> dict[str, Rows]:
        """The rows of all blocks; those that are not finished are worked on.

        A worker that dies costs the block that it had in hand.
        """
        found = {}
        for name, at in names.items():
            kept = self.store.load(name, at)
            if kept is not None and kept.structure.shape[1] == len(self.library.structure):
                found[name] = kept
        total = sum(len(at) for at in names.values())
        done = sum(len(rows.status) for rows in found.values())
        poor = sum(_poor(rows) for rows in found.values())
        started, fresh, deaths = time.monotonic(), 0, 0
        while todo := [name for name in names if name not in found]:
            failure: list[Exception] = []
            try:
                for name, rows in self.workers.run(job, _made(todo, make, failure)):
                    self.store.keep(name, names[name], rows)
                    found[name] = rows
                    done, fresh, deaths = done + len(rows.status), fresh + len(rows.status), 0
                    poor += _poor(rows)
                    seconds = time.monotonic() - started
                    self.progress(MapReport(stage, done, total, seconds, fresh / seconds, poor / done))
            except BrokenProcessPool as error:
                deaths += 1
                if deaths == self.settings.work.deaths:
                    raise HybridfitError(
                        f"{deaths} workers died one after the other, perhaps for want of memory; "
                        "give fewer workers, and the same command goes on"
                    ) from error
            if failure:
                raise failure[0]
        return found


def apart(names: Mapping[str, tuple[At, ...]], parts: int) -> dict[str, tuple[At, ...]]:
    """The same blocks in turn from so many parts of the map: a worker's next block is beside its last.

    Node images of neighbours serve again.
    """
    order, each = list(names), max(1, -(-len(names) // parts))
    turns = [order[start : start + each] for start in range(0, len(order), each)]
    return {name: names[name] for turn in zip_longest(*turns) for name in turn if name is not None}


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
