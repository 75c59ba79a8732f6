"""Arrays as programs leave them: in .npz and .mat, with axes of length 1, frames last, in several files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from hybridfit.errors import InputError
from hybridfit.io import open_scan, read_frames
from hybridfit.io.order import MATLAB, NUMPY, unnamed_order


@pytest.fixture
def stack(pattern) -> np.ndarray:
    return np.stack([(200 - 10 * i) * pattern(64, 48) for i in range(6)]).astype("u2")


def assert_stack(path: Path, stack: np.ndarray, **options: Any) -> str:
    """The frames of a file, one by one and as a scan of 2 × 3; the line that is said of them."""
    frames = read_frames(path, **options)
    np.testing.assert_array_equal([frame.image for frame in frames], stack)
    scan = open_scan(path, scan_shape=(2, 3), **options)
    read, present = scan.read(slice(0, 2), slice(0, 3))
    np.testing.assert_array_equal(read.reshape(stack.shape), stack)
    assert present.all() and scan.note == frames[0].note
    return scan.note


def write_mat73(path: Path, **arrays: np.ndarray) -> None:
    """As MATLAB writes it: HDF5 behind 512 bytes, axes in reverse."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.transpose()
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Nov 30 2026".ljust(128))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, stack: np.ndarray, save: Any, refused) -> None:
    path = tmp_path / "a.npz"
    save(path, frames=stack, thickness=np.arange(6.0))
    assert assert_stack(path, stack) == ""
    save(path, frames=stack, more=stack[::-1])
    assert "2 arrays; name one" in refused(path)
    assert assert_stack(path, stack[::-1], dataset="more") == ""
    save(path, scan=stack.reshape(2, 3, 64, 48))
    np.testing.assert_array_equal(open_scan(path).read(slice(0, 1), slice(1, 3))[0][0], stack[1:3])
    save(path, fortran=np.asfortranarray(stack))
    assert assert_stack(path, stack) == ""
    np.savez(path, objects=np.array([None, {}]))
    assert "holds no array of frames" in refused(path)
    path.write_bytes(b"PK these are not the bytes that you are looking for")
    refused(path)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_mat(tmp_path: Path, stack: np.ndarray, version: str, assert_reads) -> None:
    """MATLAB keeps frames one behind the other: (rows, columns, frames)."""
    path = tmp_path / "a.mat"

    def save(**arrays: np.ndarray) -> None:
        path.unlink(missing_ok=True)
        if version == "5":
            scipy.io.savemat(path, {"label": "text", **arrays})
        else:
            write_mat73(path, **arrays)

    save(frames=np.moveaxis(stack, 0, -1))
    assert assert_stack(path, stack) == ""
    save(frame=stack[0])
    assert_reads(path, stack[0])
    save(scan=stack.reshape(2, 3, 64, 48).transpose(2, 3, 0, 1))
    np.testing.assert_array_equal(open_scan(path).read(slice(1, 2), slice(0, 3))[0][0], stack[3:])
    save(frames=np.moveaxis(stack, 0, -1), more=np.moveaxis(stack[::-1], 0, -1))
    assert assert_stack(path, stack[::-1], dataset="more") == ""


@pytest.mark.parametrize("shape", [(1, 6, 64, 48), (6, 64, 48, 1), (6, 1, 64, 48), (1, 1, 6, 64, 48)])
@pytest.mark.parametrize("suffix", [".npy", ".h5", ".npz"])
def test_axes_of_length_one(tmp_path: Path, stack: np.ndarray, shape: tuple[int, ...], suffix: str) -> None:
    path, array = tmp_path / f"a{suffix}", stack.reshape(shape)
    save(path, array)
    frames = read_frames(path)
    np.testing.assert_array_equal([frame.image for frame in frames], stack)
    scan = open_scan(path, scan_shape=(2, 3))
    np.testing.assert_array_equal(scan.read(slice(0, 2), slice(0, 3))[0].reshape(stack.shape), stack)


def save(path: Path, array: np.ndarray) -> None:
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["data"] = array
    else:
        (np.savez if path.suffix == ".npz" else np.save)(path, array)


@pytest.mark.parametrize("shape", [(1, 64, 48), (1, 1, 64, 48), (64, 48, 1), (1, 64, 48, 1)])
@pytest.mark.parametrize("suffix", [".npy", ".h5", ".npz"])
def test_one_frame_of_many_axes(
    tmp_path: Path, stack: np.ndarray, shape: tuple[int, ...], suffix: str, assert_reads
) -> None:
    path = tmp_path / f"a{suffix}"
    save(path, stack[0].reshape(shape))
    assert_reads(path, stack[0])


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_a_scan_of_five_axes(tmp_path: Path, stack: np.ndarray, suffix: str) -> None:
    path, scan = tmp_path / f"a{suffix}", stack.reshape(2, 3, 64, 48)
    for shape in ((1, 2, 3, 64, 48), (2, 3, 64, 48, 1), (2, 1, 3, 64, 48)):
        save(path, scan.reshape(shape))
        file = open_scan(path)
        assert file.scan_shape == (2, 3)
        np.testing.assert_array_equal(file.read(slice(0, 2), slice(0, 3))[0], scan)
        path.unlink()
    save(path, np.stack([scan, scan]))
    with pytest.raises(InputError, match="5-D"):
        open_scan(path)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("suffix", [".npy", ".h5", ".npz"])
def test_frames_that_come_last(tmp_path: Path, stack: np.ndarray, order: Any, suffix: str) -> None:
    """Where the usual axes cannot hold frames the others do, and that is said."""
    path = tmp_path / f"a{suffix}"
    save(path, np.asarray(np.moveaxis(stack, 0, -1), order=order))
    assert assert_stack(path, stack) == "axes (64, 48, 6) taken as 6 frames of 64 × 48 px"


def test_axes_without_names() -> None:
    """Sizes decide; what they do not decide is said, or refused where the usual is the unlikelier."""

    def order(shape: tuple[int, ...], usual: str = NUMPY) -> tuple[tuple[int, ...], str]:
        return unnamed_order(Path("a"), shape, usual)

    assert order((64, 48)) == ((0, 1), "")
    assert order((7, 64, 48)) == ((0, 1, 2), "") and order((64, 48, 7), MATLAB) == ((2, 0, 1), "")
    assert order((20, 64, 64)) == ((0, 1, 2), "") and order((6, 10, 40, 48)) == ((0, 1, 2, 3), "")
    assert order((40, 48, 6, 10), MATLAB) == ((2, 3, 0, 1), "")
    for shape, usual, words in [
        ((40, 50, 60), NUMPY, "40 frames of 50 × 60 px"),
        ((40, 50, 60), MATLAB, "60 frames of 40 × 50 px"),
        ((40, 64, 64), NUMPY, "40 frames of 64 × 64 px"),
        ((64, 64, 64), NUMPY, "64 frames of 64 × 64 px"),
        ((64, 64, 64), MATLAB, "64 frames of 64 × 64 px"),
        ((40, 40, 64, 64), NUMPY, "40 × 40 positions of 64 × 64 px"),
        ((40, 40, 64, 64), MATLAB, "64 × 64 positions of 40 × 40 px"),
        ((40, 48, 6, 10), NUMPY, "6 × 10 positions of 40 × 48 px"),
        ((6, 10, 40, 48), MATLAB, "6 × 10 positions of 40 × 48 px"),
    ]:
        assert order(shape, usual)[1] == f"axes {shape} taken as {words}"
    for shape in ((64, 64, 40), (128, 128, 16, 20)):
        with pytest.raises(InputError, match=r"may hold .* or .*named axes"):
            order(shape)


def mib(frames: np.ndarray) -> bytes:
    """MIB as Merlin writes it: a header and big-endian counts for every frame."""
    out = b""
    rows, cols = frames.shape[1:]
    for i, frame in enumerate(frames, 1):
        header = f"MQ1,{i:06d},00384,01,{cols:04d},{rows:04d},U16,   1x1,01,0,"
        header += "2026-01-01T00:00:00.000000000Z,1000000ns,12,"
        out += header.encode().ljust(384) + frame[::-1].astype(">u2").tobytes()
    return out


def test_mib_in_several_files(tmp_path: Path, pattern) -> None:
    pytest.importorskip("rsciio")
    stack = np.stack([(200 - 10 * i) * pattern(64, 64) for i in range(12)]).astype("u2")
    for i, part in enumerate((stack[:5], stack[5:10], stack[10:]), 8):  # 8, 9, 10
        (tmp_path / f"a_{i}.mib").write_bytes(mib(part))
    for path in (tmp_path / "a_8.mib", tmp_path):
        file = open_scan(path, scan_shape=(3, 4))
        assert file.note == "3 files in order: a_8.mib … a_10.mib"
        np.testing.assert_array_equal(file.read(slice(0, 3), slice(0, 4))[0].reshape(stack.shape), stack)
        before = file.fingerprint()
        (tmp_path / "a_9.mib").touch()
        assert file.fingerprint()["mtime_ns"] != before["mtime_ns"]
        with pytest.raises(InputError, match="stack of 3 files that does not know its scan"):
            open_scan(path)
    alone = open_scan(tmp_path / "a_8.mib", scan_shape=(1, 5))
    assert alone.note == "" and alone.scan_shape == (1, 5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is not a file"):
        open_scan(tmp_path / "empty")


def test_the_data_behind_a_picture(tmp_path: Path, stack: np.ndarray, assert_reads) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write((stack[0] >> 2).astype("u1"), photometric="minisblack")
        writer.write(stack[0], photometric="minisblack")
    (frame,) = assert_reads(path, stack[0])
    assert frame.note == "8-bit picture left out for the data of 16 bits behind it"


def test_small_frames(tmp_path: Path, stack: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", stack[:, ::3, ::3].reshape(2, 3, 22, 16))
    assert open_scan(tmp_path / "a.npy").frame_shape == (22, 16)
