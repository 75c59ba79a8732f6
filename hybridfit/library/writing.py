"""Writing a library file as it is solved, or as it is: whole, or not at all.

A chunk of intensities is a block of directions at one thickness of one crystal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.errors import HybridfitError, LibraryError
from hybridfit.io import atomic_path
from hybridfit.library.contents import BULK
from hybridfit.library.integrity import blocks_of, digest_of, sealed


class LibraryFile:
    """A library file that is being written.

    Parameters
    ----------
    path : Path
    dims, shape : of its intensities (…, thickness, beam, direction)
    block : int
        Directions in a block.
    about : attributes of its intensities

    Raises
    ------
    LibraryError
        The disk is full, or refuses.
    """

    def __init__(
        self, path: Path, dims: tuple[str, ...], shape: tuple[int, ...], block: int, about: Mapping[str, Any]
    ) -> None:
        self.path, self._dims, self._shape, self._about = path, dims, shape, dict(about)
        self._blocks = blocks_of(shape[-1], block)
        self._digests = np.zeros((*shape[:-2], len(self._blocks)), np.uint64)
        self._atomic: AbstractContextManager[Path] | None = None

    def __enter__(self) -> Self:
        """Create it, under a name of its own."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._atomic = atomic_path(self.path)
        self._temporary = self._atomic.__enter__()
        try:
            self._file = netCDF4.Dataset(self._temporary, "w", format="NETCDF4")
            for name, size in zip(self._dims, self._shape, strict=True):
                self._file.createDimension(name, size)
            chunks = (*(1 for _ in self._shape[:-2]), self._shape[-2], self._blocks[0].stop)
            self._values = self._file.createVariable(
                "intensity", "f4", self._dims, chunksizes=chunks, fill_value=False
            )
            self._values.setncatts(self._about)
            self._values.set_var_chunk_cache(size=0, nelems=1)
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError, RuntimeError):  # it takes the file away, and raises it again
                self._atomic.__exit__(type(error), error, error.__traceback__)
            self._left(error)
        return self

    def put(self, place: tuple[Any, ...], values: NDArray[np.float32]) -> None:
        """Write (thickness, beam, block) of a crystal; place is (…, :, :, directions of a block)."""
        *crystal, _, _, part = place
        number = self._blocks.index(part)
        for t, chunk in enumerate(values):
            self._digests[(*crystal, t, number)] = digest_of(chunk)
        try:
            self._values[(*crystal, slice(None), slice(None), part)] = values
        except (OSError, RuntimeError) as error:
            self._left(error)

    def finish(self, dataset: xr.Dataset) -> None:
        """Write everything else of a dataset, whose intensities are not looked at."""
        whole = sealed(dataset, known={"intensity": self._digests}).drop_vars("intensity")
        encoding: dict[str, dict[str, object]] = {str(n): {"_FillValue": None} for n in whole.variables}
        for name in BULK:
            if name in whole:
                *others, nb, nd = whole[name].shape
                encoding[name] |= {"chunksizes": (*(1 for _ in others), nb, nd), "zlib": False}
        try:
            self._file.close()
            whole.to_netcdf(self._temporary, mode="a", engine="netcdf4", encoding=encoding)
        except (OSError, RuntimeError) as error:  # the latter is netCDF's word for a full disk
            self._left(error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it its name, or take it away."""
        if self._file.isopen():
            self._file.close()
        assert self._atomic is not None
        try:
            self._atomic.__exit__(kind, error, trace)
        except (OSError, RuntimeError) as failed:
            self._left(failed)

    def _left(self, error: Exception) -> None:
        if isinstance(error, HybridfitError):
            raise error
        raise LibraryError(f"{self.path} cannot be written ({error}); make room or choose another") from None


def write_dataset(dataset: xr.Dataset, path: Path) -> None:
    """Write the dataset of a library: whole, or not at all; a thickness of a crystal is a chunk.

    Parameters
    ----------
    dataset : xarray.Dataset
    path : Path

    Raises
    ------
    LibraryError
        The disk is full, or refuses.
    """
    intensity = dataset.variables["intensity"]
    dims, shape = tuple(map(str, intensity.dims)), intensity.shape
    with LibraryFile(path, dims, shape, shape[-1], intensity.attrs) as file:
        (whole,) = blocks_of(shape[-1], shape[-1])
        for place in np.ndindex(shape[:-3]):
            file.put((*place, slice(None), slice(None), whole), np.asarray(intensity[place], np.float32))
        file.finish(dataset)
