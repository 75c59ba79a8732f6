"""Positions of a known camera, matched and fitted many at a time on a GPU; workers go on from there.

Which positions make a batch depends on the scan alone: another run, or one with other workers, has the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.attempts import Attempt
from hybridfit.frame import Frame
from hybridfit.pattern.binning import to_binned
from hybridfit.scan.positions import At
from hybridfit.scan.seeds import Placed, Start

if TYPE_CHECKING:
    import torch

    from hybridfit.fitting.batch.engine import BatchFitter
    from hybridfit.scan.worker import Job

Array = NDArray[np.float64]
ON_CPU = "torch-cpu"  # batches without a GPU: for tests


def batched(device: str) -> bool:
    """Whether maps on this device fit many positions at a time."""
    if device == "cpu" or (device == "auto" and not _driver()):
        return False
    return device == ON_CPU or _device(device).type == "cuda"


def _driver() -> bool:
    """Whether a GPU may be there: torch, which knows, takes seconds to be imported."""
    names = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
    for name in names:
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return True
    return Path("/dev/kfd").exists()  # of AMD


def torch_name(device: str) -> str:
    """The name of a device for torch."""
    return "cpu" if device == ON_CPU else device


def _device(name: str) -> torch.device:
    from hybridfit.network.conversion import torch_device

    return torch_device(torch_name(name))


class Batches:
    """Starts of the blocks of a map, from fits of many positions.

    Parameters
    ----------
    job : Job
        Of all positions, with the library itself; its fit holds the camera.
    blocks : mapping of a name to positions, in the order of the map
    centres : (ny, nx, 2) array
        Where direct discs are (px of the camera).
    device : str
    """

    def __init__(self, job: Job, blocks: Mapping[str, tuple[At, ...]], centres: Array, device: str) -> None:
        self.job, self.blocks, self.centres, self.device = job, blocks, centres, device
        self._found: dict[str, tuple[Start | Attempt, ...]] = {}

    @cached_property
    def fitter(self) -> BatchFitter:
        """Made on first use."""
        from hybridfit.fitting.batch.engine import BatchFitter

        return BatchFitter(self.job.fitter(), _device(self.device))

    @cached_property
    def _groups(self) -> list[list[str]]:
        """Names of the blocks that are fitted together."""
        most, count = self.fitter.settings.frames, 0
        out: list[list[str]] = []
        for name, at in self.blocks.items():
            if not out or count + len(at) > most:
                out.append([])
                count = 0
            out[-1].append(name)
            count += len(at)
        return out

    def starts(self, name: str) -> tuple[Start | Attempt, ...]:
        """Where every position of a block starts."""
        if name not in self._found:
            group = next(names for names in self._groups if name in names)
            self._found = self._fitted(group)  # blocks are asked for in turn: the others are done
        return self._found[name]

    def _fitted(self, names: list[str]) -> dict[str, tuple[Start | Attempt, ...]]:
        pixel = self.job.positions.bin
        every = [where for name in names for where in self.blocks[name]]
        out: list[Start | Attempt] = [Placed(*self.centres[y, x].tolist()) for y, x in every]
        frames = self.job.positions.frames(every)
        usable = [(i, frame) for i, frame in enumerate(frames) if isinstance(frame, Frame)]
        if usable:
            places = to_binned(np.array([self.centres[every[i]] for i, _ in usable]), pixel)
            found = self.fitter.attempts([frame for _, frame in usable], places.tolist())
            for (i, _), attempt in zip(usable, found, strict=True):
                out[i] = attempt
        done = iter(out)
        return {name: tuple(next(done) for _ in self.blocks[name]) for name in names}
