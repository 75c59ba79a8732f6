"""A trained network as a file of tensors: its shape, its numbers, and how it was trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from hybridfit.errors import InputError
from hybridfit.network.files import Kind, TensorFile, write_tensors
from hybridfit.network.shape import NetShape
from hybridfit.network.weights import shapes_of

Of = TypeVar("Of", bound=NetShape)
RECORD = TypeAdapter(dict[str, Any])


class Trained(Generic[Of]):
    """A trained network.  Threads may share it.

    Parameters
    ----------
    shape : NetShape
    arrays : dict of float32 arrays
        By the names of `NetShape.weight_shapes`.
    record : dict, optional
        How it was trained.
    """

    kind: ClassVar[Kind]
    shapes: ClassVar[TypeAdapter[Any]]
    made_by: ClassVar[str]  # the command
    shipped_as: ClassVar[Path]

    def __init__(
        self, shape: Of, arrays: dict[str, NDArray[np.float32]], record: dict[str, Any] | None = None
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
        about = {"architecture": asdict(self.shape), "record": self.record}
        write_tensors(path, self.kind, about, self.arrays)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read a network.

        Raises
        ------
        InputError
            The file is missing, damaged, or holds no network of this kind.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no weights file {path}; `{cls.made_by}` makes one")
        with TensorFile(path, cls.kind) as file:
            shape = file.field("architecture", cls.shapes)
            return cls(shape, file.tensors(shapes_of(shape)), file.field("record", RECORD))

    @classmethod
    def shipped(cls) -> Self:
        """The network that comes with hybridfit.

        Raises
        ------
        InputError
            Its file is missing or damaged.
        """
        return cls.open(cls.shipped_as)
