"""Workers: joblib's processes on this machine, or those of a dask scheduler."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

import joblib
from joblib.parallel import get_active_backend

from hybridfit.errors import InputError
from hybridfit.scan.rows import Rows
from hybridfit.scan.settings import WORK
from hybridfit.scan.stopping import end_with
from hybridfit.scan.worker import Job, Task, work

PATIENCE = "10s"  # with a scheduler
LEAK = "_MAX_MEMORY_LEAK_SIZE"  # bytes: joblib's name, which another version may not have


class Workers:
    """Where tasks are worked on.

    A backend that the user has chosen (`joblib.parallel_config`) is respected; otherwise these are
    processes of this machine with one thread each.

    Parameters
    ----------
    count : int, optional
        Processes; all cores by default.
    scheduler : str, optional
        Address of a dask scheduler, such as tcp://127.0.0.1:8786.

    Raises
    ------
    InputError
        The scheduler does not answer, or dask is not installed.
    """

    def __init__(self, count: int | None = None, scheduler: str | None = None) -> None:
        self._count = count
        self._stack = contextlib.ExitStack()
        self._client = None if scheduler is None else self._stack.enter_context(_client(scheduler))
        self._chosen = type(get_active_backend()[0]).__name__

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def remote(self) -> bool:
        """Whether they may be on other machines: a library in the cache of this one is not theirs."""
        return self._client is not None or self._chosen == "DaskDistributedBackend"

    @property
    def here(self) -> int:
        """How many work on this machine, one beside the other; 1 where others say so."""
        if self.remote or self._chosen != "LokyBackend":
            return 1
        return int(joblib.effective_n_jobs(self._count or -1))

    def run(self, job: Job, tasks: Iterable[Task]) -> Iterator[tuple[str, Rows]]:
        """Work on tasks, in any order; tasks are asked for as they are needed."""
        with self._config(job):
            run = joblib.Parallel(
                return_as="generator_unordered", batch_size=1, pre_dispatch=f"{WORK.ahead}*n_jobs"
            )
            parent = None if self.remote else os.getpid()
            yield from run(joblib.delayed(_work)(parent, job, task) for task in tasks)

    def _config(self, job: Job) -> Any:
        if self.remote:
            options = {} if self._client is None else {"client": self._client}
            return joblib.parallel_config(backend="dask", n_jobs=-1, scatter=[job], **options)
        if self._chosen == "LokyBackend":
            options = {"backend": "loky", "n_jobs": self._count or -1, "inner_max_num_threads": 1}
            try:
                return joblib.parallel_config(initializer=end_with, initargs=(os.getpid(),), **options)
            except TypeError:  # joblib before 1.5: workers watch their parent from their first task on
                return joblib.parallel_config(**options)
        return contextlib.nullcontext()


def _work(parent: int | None, job: Job, task: Task) -> tuple[str, Rows]:
    """Work on a task in a process that a parent has started; None: it belongs to a scheduler."""
    if parent is not None:
        end_with(parent)
        may_grow()
    return work(job, task)


def may_grow() -> None:
    """Let this worker keep what it makes once and uses for all positions.

    joblib takes it for a leak where a worker grows by 300 MB after its first task, and ends the worker;
    another one would begin from nothing.
    """
    executor: Any = importlib.import_module("joblib.externals.loky.process_executor")
    if hasattr(executor, LEAK):
        setattr(executor, LEAK, WORK.growth)


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            'a scheduler needs dask.distributed; pip install "hybridfit[distributed]"'
        ) from error
    try:
        return Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"no dask scheduler answers at {address} ({reason}); start one with `dask scheduler`"
        ) from error
