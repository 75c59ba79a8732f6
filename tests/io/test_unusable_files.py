"""Files that cannot be used: each is refused in one line."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hybridfit.errors import InputError
from hybridfit.io import read_frames

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def good_files(tmp_path: Path, counts, write_mrc, write_netcdf) -> list[Path]:
    """One file of each format, of noisy counts so that compression cannot hide a missing end."""
    image = counts(50).astype("u1")
    for name in ("a.png", "a.jpg"):
        Image.fromarray(image).save(tmp_path / name)
    tifffile.imwrite(tmp_path / "a.tif", image)
    tifffile.imwrite(tmp_path / "zip.tif", image, compression="zlib")
    Image.fromarray(image).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
        for _ in range(3):
            writer.write(image, contiguous=False)
    np.save(tmp_path / "a.npy", image)
    write_mrc(tmp_path / "a.mrc", image, 0)
    write_netcdf(tmp_path / "a.nc", {"frame": image})
    write_netcdf(tmp_path / "classic.nc", {"frame": image.astype("i4")}, "NETCDF3_CLASSIC")
    return sorted(tmp_path.iterdir())


def test_absent_directory_empty(tmp_path: Path, refused) -> None:
    assert "does not exist" in refused(tmp_path / "no.png")
    assert "is not a file" in refused(tmp_path)
    (tmp_path / "a.tif").touch()
    assert "is empty (0 bytes)" in refused(tmp_path / "a.tif")


def test_truncated_files(tmp_path: Path, refused, good_files, capfd: pytest.CaptureFixture[str]) -> None:
    for path in good_files:
        content = path.read_bytes()
        assert len(read_frames(path)) in (1, 3)
        for kept in (0.001, 0.02, 0.3, 0.6, 0.95):
            path.write_bytes(content[: max(1, int(kept * len(content)))])
            assert path.name in refused(path)
    assert capfd.readouterr().err == ""


def test_damaged_files_raise_nothing_else(tmp_path: Path, good_files) -> None:
    rng = np.random.default_rng(5)
    for path in good_files:
        if path.suffix == ".nc":  # the C library's own affair
            continue
        content = path.read_bytes()
        for _ in range(25):
            damaged = np.frombuffer(content, "u1").copy()
            where = rng.integers(0, min(damaged.size, 1100), 8)
            damaged[where] = rng.integers(0, 256, 8)
            path.write_bytes(damaged.tobytes())
            try:
                read_frames(path)
            except InputError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".npy", ".mrc", ".nc", ".h5", ".emd"])
def test_content_of_another_kind(tmp_path: Path, refused, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"these are not the bytes that you are looking for " * 99)
    assert path.name in refused(path)


def test_pickles_are_never_loaded(tmp_path: Path, refused) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    np.save(tmp_path / "a.npy", np.array([[Bomb()]], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb()))
    for name in ("a.npy", "b.npy"):
        message = refused(tmp_path / name)
        assert (
            message.startswith(str(tmp_path / name))
            and "holds pickled objects, which are never loaded" in message
        )
    assert not (tmp_path / "exploded").exists()


def test_raw_layouts(tmp_path: Path, as_dtype, refused) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(as_dtype("u2").tobytes())
    assert "shape" in refused(path) and "dtype" in refused(path, shape=(96, 80))
    message = refused(path, shape=(96, 96), dtype="<u2")
    assert str(96 * 80 * 2) in message and str(96 * 96 * 2) in message
    assert str(96 * 80 * 2 + 4) in refused(path, shape=(96, 80), dtype="<u2", offset=4)
    for bad in (
        {"shape": (96, 80), "dtype": "q9"},
        {"shape": (96, 80), "dtype": "O"},
        {"shape": (7680,), "dtype": "u2"},
    ):
        assert "is no layout" in refused(path, **bad)
    assert "is no layout" in refused(path, shape=(9.6, 80), dtype="u2")
    assert "is no layout" in refused(path, shape=(96, -80), dtype="u2")
    assert "is no layout" in refused(path, shape=(96, 80), dtype="u2", offset=-2)


def test_options_of_another_format(tmp_path: Path, as_dtype, refused) -> None:
    np.save(tmp_path / "a.npy", as_dtype("u2"))
    assert "dataset = 'x'" in refused(tmp_path / "a.npy", dataset="x")
    assert "for raw files" in refused(tmp_path / "a.npy", shape=(96, 80), dtype="u2")


def test_scans_and_vectors_are_not_frames(tmp_path: Path, refused, write_netcdf) -> None:
    scan = np.ones((2, 3, 40, 40), "f4")
    np.save(tmp_path / "a.npy", scan)
    tifffile.imwrite(tmp_path / "a.tif", scan, photometric="minisblack")
    write_netcdf(tmp_path / "a.nc", {"scan": scan})
    for name in ("a.npy", "a.tif", "a.nc"):
        assert "4-D" in refused(tmp_path / name) and "into single patterns" in refused(tmp_path / name)
    assert "4-D" in refused(tmp_path / "a.nc", dataset="scan")
    np.save(tmp_path / "a.npy", scan.ravel())
    assert "1 dimensions" in refused(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.ones((0, 40, 40)))
    refused(tmp_path / "a.npy")


def test_mrc_modes_that_are_not_read(tmp_path: Path, as_dtype, refused, write_mrc) -> None:
    write_mrc(tmp_path / "a.mrc", as_dtype("c8"), 4)
    assert "MRC mode 4" in refused(tmp_path / "a.mrc")


def test_a_bad_frame_of_a_stack_is_named(tmp_path: Path, as_dtype, refused) -> None:
    stack = as_dtype("f4", 3)
    stack[2] = 0
    np.save(tmp_path / "a.npy", stack)
    assert f"{tmp_path / 'a.npy'}[2] is zero" in refused(tmp_path / "a.npy")


def test_tifffile_log_is_left_as_it_was(tmp_path: Path, as_dtype) -> None:
    before = list(logging.getLogger("tifffile").filters)
    tifffile.imwrite(tmp_path / "a.tif", as_dtype("u2"))
    read_frames(tmp_path / "a.tif")
    assert logging.getLogger("tifffile").filters == before
