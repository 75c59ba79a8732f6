"""Threads that share the work on one pattern; the kernels release the GIL."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Pool:
    """As many threads as workers, one being the caller's own; and workspaces to use again.

    Parameters
    ----------
    workers : int
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._executor = ThreadPoolExecutor(workers - 1) if workers > 1 else None
        self._kept: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def workspace(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """An array of this shape, with whatever was left in it: fresh memory costs more than the work.

        One is kept for every size of the last dimension; who asks for the next gives up this one.
        """
        last = shape[-1:]
        if last not in self._kept or self._kept[last].size < int(np.prod(shape)):
            self._kept[last] = np.zeros(int(np.prod(shape)), np.float32)
        return self._kept[last][: int(np.prod(shape))].reshape(shape)

    def shares(self, work: Callable[[int, int], T], count: int) -> list[T]:
        """work(begin, end) over shares of 0 … count; their results in order."""
        parts = min(self.workers, count)
        if self._executor is None or parts < 2:  # one share is the caller's own
            return [work(0, count)]
        edges = [count * i // parts for i in range(parts + 1)]
        first, *rest = itertools.pairwise(edges)
        others = [self._executor.submit(work, *share) for share in rest]
        return [work(*first), *(other.result() for other in others)]
