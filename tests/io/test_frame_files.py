"""Files read frame by frame: a bad frame costs only itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from hybridfit.errors import InputError
from hybridfit.frame import Frame
from hybridfit.io import BadFrame, open_frames, read_frames

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def stack(as_dtype) -> np.ndarray:
    """Fifty frames, of which number 17 is blank."""
    frames = as_dtype("u2", 50) + np.arange(50, dtype="u2")[:, None, None]
    frames[17] = 0
    return frames


def write(path: Path, stack: np.ndarray, write_mrc, write_netcdf) -> dict:
    """Write a stack by the suffix of its name; the options that it is read with."""
    suffix = path.suffix
    if suffix == ".npy":
        np.save(path, stack)
    elif suffix == ".mrc":
        write_mrc(path, stack, 6)
    elif suffix == ".nc":
        write_netcdf(path, {"frames": stack.astype("i4")})
    elif suffix == ".tif":
        tifffile.imwrite(path, stack, photometric="minisblack", compression="zlib")
    else:
        path.write_bytes(stack.tobytes())
        return {"shape": stack.shape, "dtype": "u2"}
    return {}


@pytest.mark.parametrize("suffix", [".npy", ".mrc", ".nc", ".tif", ".raw"])
def test_one_blank_frame_among_fifty(tmp_path: Path, stack, write_mrc, write_netcdf, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    options = write(path, stack, write_mrc, write_netcdf)
    file = open_frames(path, **options)
    found = list(file)
    assert len(file) == len(found) == 50
    for i, frame in enumerate(found):
        assert frame.source == f"{path}[{i}]"
        if i == 17:
            assert isinstance(frame, BadFrame) and frame.readable and frame.status == "unusable"
            assert frame.message.startswith(f"{path}[17] is zero in every usable pixel")
        else:
            assert isinstance(frame, Frame)
            np.testing.assert_array_equal(frame.image, stack[i])
    with pytest.raises(InputError, match=r"\[17\] is zero"):
        read_frames(path, **options)


def test_a_damaged_page_of_a_tiff(tmp_path: Path, stack) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for frame in stack:
            writer.write(frame, contiguous=False, compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        at, size = tiff.pages[30].dataoffsets[0], tiff.pages[30].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[at : at + size] = bytes(size)
    path.write_bytes(content)
    found = list(open_frames(path))
    assert [i for i, frame in enumerate(found) if isinstance(frame, BadFrame)] == [17, 30]
    assert not found[30].readable and found[30].status == "unreadable"
    assert "[30] cannot be read as TIFF" in found[30].message and "\n" not in found[30].message


@pytest.mark.parametrize("together", [1, 5])
def test_a_damaged_chunk_of_an_hdf5_file(tmp_path: Path, stack, together: int) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "frames", data=stack, chunks=(together, *stack.shape[1:]), compression="gzip"
        )
        chunk = data.id.get_chunk_info_by_coord((30, 0, 0))
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    found = list(open_frames(path))
    bad = [i for i, frame in enumerate(found) if isinstance(frame, BadFrame)]
    assert bad == [17, *range(30, 30 + together)]
    assert all(not found[i].readable for i in bad[1:])
    np.testing.assert_array_equal(found[49].image, stack[49])


@pytest.mark.parametrize("suffix", [".npy", ".mrc"])
def test_a_truncated_stack_has_the_frames_that_are_whole(
    tmp_path: Path, stack, write_mrc, write_netcdf, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, stack, write_mrc, write_netcdf)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 5 * stack[0].nbytes // 2])
    file = open_frames(path)
    found = list(file)
    assert len(file) == len(found) == 48
    assert [i for i, frame in enumerate(found) if isinstance(frame, BadFrame)] == [17, 47]
    assert not found[-1].readable and found[-1].source == f"{path}[47]" and "truncated" in found[-1].message


def test_a_file_that_cannot_be_read_is_one_bad_frame(tmp_path: Path) -> None:
    for name, content in (("a.tif", b"II*\0 and no more"), ("b.npy", b""), ("c.h5", b"\x89HDF\r\n\x1a\n")):
        path = tmp_path / name
        path.write_bytes(content)
        file = open_frames(path)
        (bad,) = file
        assert len(file) == 1 and isinstance(bad, BadFrame)
        assert bad.source == str(path) and not bad.readable and path.name in bad.message


def test_what_the_user_got_wrong_is_an_error_at_once(tmp_path: Path, as_dtype) -> None:
    np.save(tmp_path / "a.npy", as_dtype("u2"))
    (tmp_path / "a.raw").write_bytes(as_dtype("u2").tobytes())
    for name, options in (
        ("none.npy", {}),
        ("a.npy", {"dataset": "x"}),
        ("a.npy", {"dtype": "u2"}),
        ("a.raw", {}),
        ("a.raw", {"shape": (96, -80), "dtype": "u2"}),
    ):
        with pytest.raises(InputError):
            open_frames(tmp_path / name, **options)


def test_frames_are_not_all_in_memory_at_once(tmp_path: Path, pattern) -> None:
    """A stack of 8 GB, nearly all of it a hole in the file: its first frames come at once."""
    path = tmp_path / "huge.npy"
    frames = np.lib.format.open_memmap(path, mode="w+", dtype="f4", shape=(2000, 1024, 1024))
    frames[0, :96, :80] = pattern()
    del frames
    file = open_frames(path)
    assert len(file) == 2000
    found = iter(file)
    assert isinstance(next(found), Frame) and isinstance(next(found), BadFrame)
    found.close()
