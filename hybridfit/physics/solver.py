"""The solve of all directions, tile by tile: what `physics.bloch` hands it, on all cores or on a GPU.

A tile is a square of neighbouring directions, which share the matrix that far beams are folded into.  On a
CPU each thread takes a tile at a time, because the products of one are too small to be shared.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hybridfit.physics.chebyshev import Expansion, expansion, propagate
from hybridfit.physics.folding import Fold

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
# rows of thicknesses, directions, beams, their amplitudes (rows, beams, directions)
Fill = Callable[[slice, Indices, Indices, torch.Tensor], None]
EDGE = 1e-5  # tiles: so far off the middle between them are their edges
AMPLITUDES_PER_BATCH = 14_000  # beams × directions in flight: what stays in a CPU's cache
ROUNDED = 0.25  # Å⁻²: bounds of spectra, so that neighbouring tiles share their expansion


class Matrix(Protocol):
    """What is solved: a `bloch.DynamicalMatrix`."""

    @property
    def potential(self) -> NDArray[np.complex128]: ...
    @property
    def g(self) -> Array: ...
    @property
    def k_n(self) -> float: ...
    @property
    def tile(self) -> float: ...
    @property
    def overlap(self) -> float: ...
    @property
    def radii(self) -> tuple[float, float] | None: ...
    def levels(self) -> NDArray[np.complex128]: ...
    def excitation(self, q: Array) -> Array: ...
    def on_axis(self, least: int = 0) -> Matrix: ...
    def fold(
        self, middle: Array, potential: torch.Tensor, wanted: int | float, to_own: Array | None = None
    ) -> Fold: ...


class Problem(NamedTuple):
    """What a tile solves: dφ/dt = (iπ/K)(potential + 2K s) φ.

    scale : (K/K_n) of the matrix
    enter, leave : as of `folding.Fold`; None where states are amplitudes
    beams : whose amplitudes are handed out
    bounds : of the potential's levels (Å⁻²)
    """

    strong: Indices
    potential: torch.Tensor
    scale: float
    enter: torch.Tensor | None
    leave: torch.Tensor | None
    beams: Indices
    bounds: tuple[float, float]


class Solver:
    """Solves directions of one matrix for a list of thicknesses.

    Parameters
    ----------
    matrix : DynamicalMatrix
    thickness_nm : (m,) array, increasing
    device, dtype
        As for `bloch.beam_intensities`.
    keep : int, optional
        Amplitudes of so many beams are handed out, the first ones; by default
    handed : float, Å⁻¹
        those of all with 2K s_g ≥ −handed², or of all where no far beams are folded.
    levels : complex array, optional
        `DynamicalMatrix.levels`, where they are known already.
    tile : float, Å⁻¹, optional
        In place of the matrix's.
    """

    def __init__(
        self,
        matrix: Matrix,
        thickness_nm: Array,
        *,
        device: str,
        dtype: torch.dtype,
        keep: int | None = None,
        handed: float = 0.0,
        levels: NDArray[np.complex128] | None = None,
        tile: float | None = None,
    ) -> None:
        self.dtype, self.keep, self.tile = dtype, keep, matrix.tile if tile is None else tile
        self._wanted = handed if keep is None else keep
        self.thickness = np.asarray(thickness_nm, dtype=float)
        self.where = resolve_device(device)
        self.surface: NDArray[np.complex128] | None = None
        self._rate = np.pi / matrix.k_n * 10  # Å⁻² → rad/nm
        if matrix.radii is not None:
            on_axis = matrix.fold(np.zeros(2), torch.as_tensor(matrix.potential), 1)
            if on_axis.overlap > matrix.overlap:
                matrix = matrix.on_axis(keep or 0)  # of what is handed out nothing is folded
            elif levels is None:
                own = torch.as_tensor(matrix.excitation(np.zeros((1, 2)))[on_axis.strong, 0])
                levels = torch.linalg.eigvals(on_axis.potential + torch.diag(own)).numpy()
        self.matrix = matrix
        self._levels = matrix.levels() if levels is None else levels
        self._potential = torch.as_tensor(matrix.potential).to(self.where, dtype)
        self._expansions: dict[tuple[float, float], Expansion] = {}
        self._room = threading.local()

    def solve(
        self,
        fill: Fill,
        q: Array,
        *,
        strain: Array | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Hand amplitudes of directions q (d, 2), Å⁻¹, to `fill`, from several threads.

        strain : as for `bloch.beam_intensities`
        """
        like = None if strain is None else q @ np.linalg.inv(strain)
        folded = self.matrix.radii is not None
        tiles = tiles_of(q if like is None else like, self.tile if folded else None)
        jobs = [partial(self._tile, fill, q[part], part, middle, strain) for part, middle in tiles]
        if len(jobs) == 1:
            jobs[0](progress=progress)
            return
        done = 0
        for count in each_on_a_core(jobs, self.where):
            done += count
            if progress is not None:
                progress(done / len(q))

    def _problem(self, middle: Array | None, to_own: Array | None) -> Problem:
        if middle is None:
            count = len(self.matrix.g)
            leave = enter = None
            if self.surface is not None:
                enter = torch.as_tensor(np.linalg.inv(self.surface)[:, :1]).to(self.where, self.dtype)
                leave = torch.as_tensor(self.surface[: self.keep]).to(self.where, self.dtype)
            bounds = _bounds(self._potential)
            beams = np.arange(self.keep or count)
            return Problem(np.arange(count), self._potential, 1.0, enter, leave, beams, bounds)
        found = self.matrix.fold(middle, self._potential, self._wanted, to_own)
        own = middle if to_own is None else middle @ to_own
        k = self.matrix.k_n
        scale = float(k / np.sqrt(k**2 - own @ own))
        potential = scale * found.potential
        return Problem(
            found.strong, potential, scale, found.enter, found.leave, found.beams, _bounds(potential)
        )

    def _expansion(self, low: float, high: float) -> Expansion:
        key = np.floor(low / ROUNDED) * ROUNDED, np.ceil(high / ROUNDED) * ROUNDED
        if key not in self._expansions:
            self._expansions[key] = expansion(
                key, self._levels, self._rate, self.thickness, self.dtype, self.where
            )
        return self._expansions[key]

    def _tile(
        self,
        fill: Fill,
        q: Array,
        which: Indices,
        middle: Array | None,
        to_own: Array | None,
        progress: Callable[[float], None] | None = None,
    ) -> int:
        """Solve the directions of a tile; how many there are."""
        matrix, problem = self.matrix, self._problem(middle, to_own)
        excitation = matrix.excitation(q)[problem.strong]
        if middle is not None:
            excitation *= matrix.k_n / np.sqrt(matrix.k_n**2 - (q**2).sum(axis=1))
        about = self._expansion(
            float(excitation.min()) + problem.bounds[0], float(excitation.max()) + problem.bounds[1]
        )
        beams = len(problem.strong)
        size = max(16, AMPLITUDES_PER_BATCH // beams) if self.where.type == "cpu" else 4096
        # as equal as they can be
        parts = np.array_split(np.arange(len(q)), max(1, -(-len(q) // size)))
        # twice the shifted and scaled matrix: T_{k+1} = 2X T_k − T_{k−1}
        shared = 2 / about.radius * problem.potential
        done = 0
        for part in parts:
            diagonal = torch.as_tensor(2 * (excitation[:, part] - about.centre) / about.radius)
            diagonal = diagonal.to(self.where, self.dtype)
            psi = torch.zeros(diagonal.shape, dtype=self.dtype, device=self.where)
            if problem.enter is None:
                psi[0] = 1
            else:
                psi += problem.enter
            seen = beams if problem.leave is not None else self.keep or beams
            room = self._workspace(about.terms, diagonal.shape)
            for (rows, _), coefficient in zip(about.runs, about.series, strict=True):
                psi_t, psi = propagate(psi, shared, diagonal, coefficient, room, seen)
                psi_t = psi_t if problem.leave is None else problem.leave @ psi_t
                # an empty run of rows only carries the state on to the next segment
                fill(rows, which[part], problem.beams, psi_t[: rows.stop - rows.start])
            done += len(part)
            if progress is not None:
                progress(done / len(q))
        return len(q)

    def _workspace(self, terms: int, shape: torch.Size) -> torch.Tensor:
        """Room for an expansion, of each thread: fresh pages cost more than the algebra."""
        size = terms * shape.numel()
        room = getattr(self._room, "room", None)
        if room is None or len(room) < size:
            room = self._room.room = torch.empty(size, dtype=self.dtype, device=self.where)
        return room[:size].view(terms, *shape)


def resolve_device(device: str) -> torch.device:
    """The torch device for "auto" (a GPU if there is one), "cpu", "cuda", …"""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def tiles_of(q: Array, tile: float | None) -> list[tuple[Indices, Array | None]]:
    """Numbers of the directions (d, 2) of each tile, and its middle (Å⁻¹).

    Where a tile is does not depend on which directions there are: neither do results.
    """
    order = np.arange(len(q))
    if tile is None:
        return [(order, None)]
    # the axis is in the middle of a tile, and no direction of a symmetric grid on an edge
    place = np.floor(q / tile + 0.5 + EDGE).astype(int)
    where, inverse = np.unique(place, axis=0, return_inverse=True)
    by_tile = np.argsort(inverse.ravel(), kind="stable")
    parts = np.split(by_tile, np.cumsum(np.bincount(inverse.ravel()))[:-1])
    # the largest first: no core is left with a large one at the end
    out: list[tuple[Indices, Array | None]] = [
        (part, np.asarray(middle * tile, np.float64)) for part, middle in zip(parts, where, strict=True)
    ]
    return sorted(out, key=lambda each: -len(each[0]))


def each_on_a_core(jobs: Sequence[Callable[[], int]], where: torch.device) -> Iterator[int]:
    """What jobs return, as they end; on a CPU each is done on a core of its own.

    The first error ends them all.
    """
    count = min(torch.get_num_threads(), len(jobs)) if where.type == "cpu" else 1
    if count <= 1:
        for job in jobs:
            yield job()
        return
    with _one_thread_each(), ThreadPoolExecutor(count) as pool:
        running = [pool.submit(job) for job in jobs]
        try:
            for each in as_completed(running):
                yield each.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Threads that start meanwhile do their products on one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _bounds(potential: torch.Tensor) -> tuple[float, float]:
    """The lowest and the highest level of a potential (Å⁻²), but for absorption."""
    levels = torch.linalg.eigvalsh((potential + potential.mH) / 2)
    return float(levels[0]), float(levels[-1])
