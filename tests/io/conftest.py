"""Files of every format, written by other means than the readers', and what a reader must make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from netCDF4 import Dataset

from hybridfit.errors import InputError
from hybridfit.frame import Frame
from hybridfit.io import read_frames


@pytest.fixture(scope="session")
def as_dtype(pattern):
    """The pattern, or a stack of fading ones, as numbers of some type."""

    def as_dtype(dtype: str, frames: int | None = None) -> np.ndarray:
        image = 60 * pattern() if frames is None else np.stack([(60 - i) * pattern() for i in range(frames)])
        return image.astype(dtype)

    return as_dtype


@pytest.fixture(scope="session")
def refused():
    """The message with which `read_frames` refuses a file."""

    def refused(path: Path, **options: Any) -> str:
        with pytest.raises(InputError) as caught:
            read_frames(path, **options)
        message = str(caught.value)
        assert "\n" not in message and len(message) < 500
        return message

    return refused


@pytest.fixture(scope="session")
def assert_reads():
    """Check that a file is read as an array, plane by plane, and return the frames."""

    def assert_reads(path: Path, expected: np.ndarray, **options: Any) -> list[Frame]:
        frames = read_frames(path, **options)
        planes = expected if expected.ndim == 3 else expected[None]
        assert len(frames) == len(planes)
        for i, (frame, plane) in enumerate(zip(frames, planes, strict=True)):
            assert frame.image.dtype == np.float64 and frame.valid.dtype == bool
            np.testing.assert_array_equal(frame.image, plane.astype(float))
            assert frame.valid.all()
            assert frame.source == (str(path) if len(planes) == 1 else f"{path}[{i}]")
        return frames

    return assert_reads


@pytest.fixture(scope="session")
def write_mrc():
    """Write MRC by its specification, independent of the reader."""

    def write_mrc(
        path: Path, array: np.ndarray, mode: int, *, extended: int = 0, imod_flags: int | None = None
    ) -> None:
        order = array.dtype.byteorder if array.dtype.byteorder in "<>" else "<"
        nz, ny, nx = array.shape if array.ndim == 3 else (1, *array.shape)
        words = np.zeros(256, f"{order}i4")
        words[:4] = nx, ny, nz, mode
        words[23] = extended
        if imod_flags is not None:
            words[38:40] = 1146047817, imod_flags
        path.write_bytes(words.tobytes() + b"\7" * extended + array.tobytes())

    return write_mrc


@pytest.fixture(scope="session")
def write_netcdf():
    """Write datasets, as they are, to a netCDF file of some form."""

    def write_netcdf(
        path: Path, datasets: dict[str, np.ndarray], form: Any = "NETCDF4", **attributes: float
    ) -> None:
        with Dataset(path, "w", format=form) as root:
            for name, array in datasets.items():
                variable_name = name.replace("/", "_")
                dims = [f"{variable_name}_{i}" for i in range(array.ndim)]
                for dim, n in zip(dims, array.shape, strict=True):
                    root.createDimension(dim, n)
                variable = root.createVariable(
                    name, array.dtype, dims, fill_value=attributes.get("_FillValue")
                )
                variable.set_auto_maskandscale(False)
                variable[...] = array
                variable.setncatts({k: v for k, v in attributes.items() if k != "_FillValue"})

    return write_netcdf
