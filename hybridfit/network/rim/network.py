"""The trained rim network as a file, and its use without torch."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from hybridfit.errors import InputError
from hybridfit.network.alignment.network import represent
from hybridfit.network.files import Kind, TensorFile, write_tensors
from hybridfit.network.rim.forward import RimForward
from hybridfit.network.rim.posterior import Circles, circles
from hybridfit.network.rim.shape import RADII, ROWS, WINDOW, RimShape
from hybridfit.network.weights import shapes_of
from hybridfit.pattern.pool import Pool

WEIGHTS = Kind(
    "hybridfit rim network",
    1,
    "weights",
    "copy it again, or train anew with `hybridfit train-alignment --rim`",
)
SHIPPED = Path(__file__).with_name("weights.safetensors")
SHAPE, RECORD = TypeAdapter(RimShape), TypeAdapter(dict[str, Any])
Single = NDArray[np.float32]


class RimNetwork:
    """A trained rim network.  Threads may share it.

    Parameters
    ----------
    shape : RimShape
    arrays : dict of float32 arrays
        By the names of `RimShape.weight_shapes`.
    record : dict, optional
        How it was trained.
    """

    def __init__(
        self, shape: RimShape, arrays: dict[str, Single], record: dict[str, Any] | None = None
    ) -> None:
        self.shape, self.arrays, self.record = shape, arrays, record or {}

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made of the weights."""
        return {name: getattr(self, name) for name in ("shape", "arrays", "record")}

    def save(self, path: str | Path) -> None:
        """Write the network: whole, or not at all.

        Raises
        ------
        InputError
            A weight is not finite.
        """
        write_tensors(path, WEIGHTS, {"architecture": asdict(self.shape), "record": self.record}, self.arrays)

    @classmethod
    def open(cls, path: str | Path) -> RimNetwork:
        """Read a network.

        Raises
        ------
        InputError
            The file is missing, damaged, or holds no rim network.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no weights file {path}; `hybridfit train-alignment --rim` makes one")
        with TensorFile(path, WEIGHTS) as file:
            shape = file.field("architecture", SHAPE)
            return cls(shape, file.tensors(shapes_of(shape)), file.field("record", RECORD))

    @classmethod
    def shipped(cls) -> RimNetwork:
        """The network that comes with hybridfit.

        Raises
        ------
        InputError
            Its file is missing or damaged.
        """
        return cls.open(SHIPPED)

    @cached_property
    def _forward(self) -> RimForward:
        return RimForward(self.shape, self.arrays)

    def evidence(self, crops: Single, threads: int | None = None) -> Single:
        """Evidence (n, ROWS, RADII) in crops (n, 2, CROP, CROP), cut with scales of radius/SHOWN."""
        out = np.empty((len(crops), ROWS, RADII), np.float32)

        def apply(begin: int, end: int) -> None:
            for i in range(begin, end):
                out[i] = self._forward(represent(crops[i : i + 1])[0])

        Pool(threads or os.cpu_count() or 1).shares(apply, len(crops))
        return out

    def predict(
        self,
        crops: Single,
        threads: int | None = None,
        reach: tuple[float, float, float] = WINDOW,
    ) -> Circles:
        """The likeliest circle in each of crops (n, 2, CROP, CROP); reach as of `circles`."""
        return circles(self.evidence(crops, threads), reach)
