"""Scans: read a block at a time, in any process, and what must be told about a file that knows too little."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.io import ScanFile, open_scan

pytestmark = pytest.mark.filterwarnings("error")

FRAME = 130 * 128 * 4

CASES = Path(__file__).parents[3] / "../shared/cases/files/layout"


@pytest.fixture(scope="session")
def scan() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 60000, (3, 5, 33, 41)).astype("u2")


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_scan(path, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500 and path.stem in message
    return message


def everything(file: ScanFile) -> tuple[np.ndarray, np.ndarray]:
    return file.read(slice(None), slice(None))


def test_blocks_are_those_of_the_array(tmp_path: Path, scan: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", scan)
    file = open_scan(tmp_path / "a.npy")
    assert (file.scan_shape, file.frame_shape, file.dtype) == ((3, 5), (33, 41), np.dtype("u2"))
    assert file.path == tmp_path / "a.npy" and file.kind == "NPY" and file.calibration == {}
    for y, x in ((slice(0, 3), slice(0, 5)), (slice(1, 3), slice(2, 4)), (slice(2, 3), slice(None, 1))):
        frames, present = file.read(y, x)
        np.testing.assert_array_equal(frames, scan[y, x])
        assert present.shape == frames.shape[:2] and present.all()
    for wrong in (slice(3, 4), slice(0, 3, 2), slice(2, 1)):
        with pytest.raises(InputError, match="inside 0:3"):
            file.read(wrong, slice(None))


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "f2", ">f4", "f8"])
def test_npy_of_every_type_and_order(tmp_path: Path, scan: np.ndarray, order: Any, dtype: str) -> None:
    array = np.asarray(scan % 200, dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    file = open_scan(tmp_path / "a.npy")
    frames, present = file.read(slice(1, 3), slice(1, 4))
    assert frames.dtype == file.dtype and frames.dtype.isnative
    np.testing.assert_array_equal(frames, array[1:3, 1:4])
    assert present.all()


@pytest.mark.parametrize("stored", [(15,), (5, 3), (1, 15), (15, 1)])
def test_scan_shape_lays_the_same_frames_out_in_rows(
    tmp_path: Path, scan: np.ndarray, stored: tuple[int, ...]
) -> None:
    np.save(tmp_path / "a.npy", scan.reshape(*stored, 33, 41))
    file = open_scan(tmp_path / "a.npy", scan_shape=(3, 5))
    assert file.scan_shape == (3, 5)
    for y, x in ((slice(0, 3), slice(0, 5)), (slice(1, 3), slice(2, 5)), (slice(1, 2), slice(4, 5))):
        frames, present = file.read(y, x)
        np.testing.assert_array_equal(frames, scan[y, x])
        assert present.all()


def test_what_is_missing_is_asked_for_by_name(tmp_path: Path, scan: np.ndarray) -> None:
    path = tmp_path / "stack.npy"
    np.save(path, scan.reshape(15, 33, 41))
    assert "stack of 15 frames" in refused(path) and "scan_shape" in refused(path)
    message = refused(path, scan_shape=(4, 4))
    assert "15 frames" in message and "4,4 makes 16" in message
    assert "scan_shape (3,)" in refused(path, scan_shape=(3,))
    assert "scan_shape (0, 5)" in refused(path, scan_shape=(0, 5))
    assert "leave it out" in refused(path, scan_shape=(3, 5), dataset="a")
    assert "leave them out" in refused(path, scan_shape=(3, 5), dtype="u2")
    np.save(tmp_path / "square.npy", scan.reshape(15, 33, 41)[:9])
    assert "such as 3,3" in refused(tmp_path / "square.npy")


@pytest.mark.parametrize("shape", [(33, 41), (1, 33, 41)])
def test_a_single_pattern_is_not_a_scan(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "one.npy", np.ones(shape))
    assert "single pattern of 33 × 41" in refused(tmp_path / "one.npy")
    assert "hybridfit fit" in refused(tmp_path / "one.npy")
    (tmp_path / "one.png").write_bytes(b"whatever")
    assert "single pattern" in refused(tmp_path / "one.png")


def test_nonsense_is_refused_in_one_line(tmp_path: Path, scan: np.ndarray) -> None:
    assert "does not exist" in refused(tmp_path / "none.npy")
    (tmp_path / "folder.npy").mkdir()
    assert "not a file" in refused(tmp_path / "folder.npy")
    for suffix in (".npy", ".mrc", ".h5", ".hspy", ".emd", ".nc", ".tif", ".raw", ".xml", ".zspy"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"")
        assert "empty" in refused(path)
        path.write_bytes(b"these are not the bytes that you are looking for " * 99)
        refused(path)
    np.save(tmp_path / "complex.npy", scan.astype("c8"))
    assert "complex64" in refused(tmp_path / "complex.npy")
    np.save(tmp_path / "five.npy", np.stack([scan, scan]))
    assert "5-D" in refused(tmp_path / "five.npy")
    np.save(tmp_path / "small.npy", scan[..., :15])
    assert "33 × 15" in refused(tmp_path / "small.npy") and "16 px" in refused(tmp_path / "small.npy")
    (tmp_path / "evil.npy").write_bytes(pickle.dumps(scan))
    assert "pickled" in refused(tmp_path / "evil.npy")
    np.save(tmp_path / "objects.npy", np.array([[[[None]]]], object), allow_pickle=True)
    assert "pickled" in refused(tmp_path / "objects.npy")


def test_raw_of_every_way_to_tell_its_shape(tmp_path: Path, scan: np.ndarray) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"\1" * 100 + scan.astype(">u2").tobytes())
    assert "give shape" in refused(path)
    told: dict[str, Any] = {"dtype": ">u2", "offset": 100}
    for options in (
        {"shape": (3, 5, 33, 41)},
        {"shape": (15, 33, 41), "scan_shape": (3, 5)},
        {"shape": (33, 41), "scan_shape": (3, 5)},
    ):
        frames, present = everything(open_scan(path, **told, **options))
        np.testing.assert_array_equal(frames, scan)
        assert present.all()
    assert "stack of 15 frames" in refused(path, **told, shape=(33, 41))
    assert "is no layout" in refused(path, **told, shape=(3, 5, 33, -41))
    assert "check shape" in refused(path, **told, shape=(3, 4, 33, 41))  # more bytes than announced
    assert "15 frames" in refused(path, **told, shape=(33, 41), scan_shape=(3, 4))
    assert "14.96 frames" in refused(path, shape=(33, 41), dtype="u2", offset=200)


def cut(path: Path, to: int) -> None:
    path.write_bytes(path.read_bytes()[:to])


@pytest.mark.parametrize("kind", ["npy", "mrc", "raw", "frames.raw", "empad"])
def test_truncated_files_keep_the_frames_they_have(
    tmp_path: Path, scan: np.ndarray, write_mrc: Callable[..., None], kind: str
) -> None:
    options: dict[str, Any] = {}
    path = tmp_path / f"a.{kind}"
    expected = scan
    if kind == "npy":
        np.save(path, scan)
    elif kind == "mrc":
        write_mrc(path, scan.reshape(15, 33, 41), 6)
        options = {"scan_shape": (3, 5)}
    elif kind == "empad":
        path, expected = tmp_path / "scan_x5_y3.raw", write_empad(tmp_path / "scan_x5_y3.raw")
    else:
        path.write_bytes(scan.tobytes())
        options = {"shape": scan.shape, "dtype": "u2"}
        if kind == "frames.raw":
            options = {"shape": (33, 41), "scan_shape": (3, 5), "dtype": "u2"}
    whole = FRAME if kind == "empad" else expected.nbytes // 15
    start = path.stat().st_size - 15 * whole
    for kept in (14.99, 8.01, 1):
        cut(path, start + int(kept * whole))
        frames, present = everything(open_scan(path, **options))
        n = int(kept) + (kind == "empad" and kept > 14.9)  # only its two rows without pixels are missing
        np.testing.assert_array_equal(present.ravel(), np.arange(15) < n)
        np.testing.assert_array_equal(frames.reshape(15, -1)[:n], expected.reshape(15, -1)[:n])
        assert not frames.reshape(15, -1)[n:].any()
    cut(path, start + whole // 3)
    assert "truncated" in refused(path, **options)


def write_empad(path: Path) -> np.ndarray:
    array = np.random.default_rng(2).normal(size=(3, 5, 130, 128)).astype("f4")
    path.write_bytes(array.tobytes())
    return array[:, :, :128]


def test_empad(tmp_path: Path) -> None:
    path = tmp_path / "scan_x5_y3.raw"
    expected = write_empad(path)
    file = open_scan(path)
    assert file.kind == "EMPAD" and file.scan_shape == (3, 5) and file.frame_shape == (128, 128)
    frames, present = file.read(slice(1, 3), slice(2, 5))
    np.testing.assert_array_equal(frames, expected[1:3, 2:5])
    assert present.all()
    other = path.rename(tmp_path / "acquisition.raw")
    assert "stack of 15 frames" in refused(other)
    np.testing.assert_array_equal(everything(open_scan(other, scan_shape=(5, 3)))[0][0, 1], expected[0, 1])
    xml = other.with_suffix(".xml")
    xml.write_text("<root><raw_file filename='acquisition.raw'/><pix_x>5</pix_x><pix_y>3</pix_y></root>")
    for name in (other, xml):
        np.testing.assert_array_equal(everything(open_scan(name))[0], expected)
    xml.write_text("<root><raw_file filename='scan_x5_y3.raw'/></root>")
    assert open_scan(other).scan_shape == (3, 5)
    assert "no scan_x5_y3.raw beside it" in refused(xml)
    other.rename(tmp_path / "scan_x5_y2.raw")
    assert "15 EMPAD frames" in refused(tmp_path / "scan_x5_y2.raw")


def test_frames_that_are_no_positions(tmp_path: Path) -> None:
    """Leading junk, trailing frames, and a flyback behind every row or between rows."""
    path = tmp_path / "a.npy"
    stack = np.random.default_rng(4).integers(0, 99, (18, 33, 41)).astype("u2")
    np.save(path, stack)
    message = refused(path, scan_shape=(3, 5))
    assert (
        "18 frames; scan_shape 3,5 makes 15: 3 too many; skip = 3 leaves out the first, skip = 0" in message
    )
    assert "flyback = 1 those behind every row" in message
    for options, expected in (
        ({"skip": 3}, stack[3:]),
        ({"skip": 0}, stack[:15]),
        ({"flyback": 1}, stack.reshape(3, 6, 33, 41)[:, :5]),
    ):
        file = open_scan(path, scan_shape=(3, 5), **options)
        frames, present = everything(file)
        np.testing.assert_array_equal(frames, expected.reshape(3, 5, 33, 41))
        assert present.all()
        np.testing.assert_array_equal(file.read(slice(1, 2), slice(2, 4))[0], frames[1:2, 2:4])
        assert file.fingerprint() != open_scan(path, scan_shape=(3, 6)).fingerprint()
    np.save(path, stack[:17])  # without a flyback after the last row
    frames = everything(open_scan(path, scan_shape=(3, 5), flyback=1))[0]
    np.testing.assert_array_equal(frames[2], stack[12:17])
    assert "need 18: give fewer" in refused(path, scan_shape=(3, 5), flyback=1, skip=1)
    assert "give scan_shape, too" in refused(path, skip=1)
    assert "2 too few" in refused(path, scan_shape=(1, 19))
    np.save(path, stack.reshape(3, 6, 33, 41))
    assert open_scan(path, flyback=1).scan_shape == (3, 5)
    assert "of which there are 6" in refused(path, skip=1)


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases")
def test_case_files_with_more_frames_than_positions() -> None:
    extra, flyback = (np.load(CASES / f"{name}.npy") for name in ("extra", "flyback"))
    assert "3 too many" in refused(CASES / "extra.npy", scan_shape=(6, 10))
    frames = everything(open_scan(CASES / "extra.npy", scan_shape=(6, 10), skip=3))[0]
    np.testing.assert_array_equal(frames.reshape(60, 40, 48), extra[3:])
    frames = everything(open_scan(CASES / "flyback.npy", scan_shape=(6, 10), flyback=1))[0]
    np.testing.assert_array_equal(frames, flyback.reshape(6, 11, 40, 48)[:, :10])
    file = open_scan(CASES / "det_first.npy")  # frames of 6 × 10 px there are none
    np.testing.assert_array_equal(everything(file)[0], np.load(CASES / "det_first.npy").transpose(2, 3, 0, 1))
    assert file.note == "axes (40, 48, 6, 10) taken as 6 × 10 positions of 40 × 48 px"


def test_empad_without_its_last_rows(tmp_path: Path) -> None:
    """The size of the file tells, whatever its name is."""
    array = np.random.default_rng(3).normal(size=(3, 5, 128, 128)).astype("f4")
    path = tmp_path / "scan_x5_y3.raw"
    path.write_bytes(array.tobytes())
    file = open_scan(path)
    assert file.kind == "EMPAD, cropped to 128 × 128 px" and file.scan_shape == (3, 5)
    np.testing.assert_array_equal(everything(file)[0], array)


def test_the_xml_of_an_empad_file_that_was_renamed(tmp_path: Path) -> None:
    path = tmp_path / "copy_x4_y4.raw"
    expected = write_empad(path)
    path.with_suffix(".xml").write_text("<root><pix_x>5</pix_x><pix_y>3</pix_y></root>")
    np.testing.assert_array_equal(everything(open_scan(path))[0], expected)
    path.with_suffix(".xml").write_text("<root><pix_x>7</pix_x><pix_y>3</pix_y></root>")
    assert "4 × 4 by its name and 3 × 7 by the .xml" in refused(path)
    assert open_scan(path, scan_shape=(3, 5)).scan_shape == (3, 5)


@pytest.mark.parametrize("frames", ["stack", "volumes"])
def test_mrc_as_mrcfile_writes_it(tmp_path: Path, scan: np.ndarray, frames: str) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(scan if frames == "volumes" else scan.reshape(15, 33, 41))
        file.set_extended_header(np.zeros(64, "V1"))
    if frames == "stack":
        assert "stack of 15 frames" in refused(tmp_path / "a.mrc")
    options = {} if frames == "volumes" else {"scan_shape": (3, 5)}
    got, present = everything(open_scan(tmp_path / "a.mrc", **options))
    np.testing.assert_array_equal(got, scan)
    assert present.all()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("form", ["plain", "shaped", "imagej"])
def test_tiff(tmp_path: Path, scan: np.ndarray, compression: str | None, byteorder: Any, form: str) -> None:
    import tifffile

    if form == "imagej" and (byteorder == "<" or compression):
        pytest.skip("ImageJ has one byte order and no compression")
    written = {
        "plain": {"metadata": None},
        "shaped": {"metadata": {"axes": "YXQR"}},
        "imagej": {"imagej": True, "metadata": {"axes": "TZYX"}},
    }[form]
    tifffile.imwrite(
        tmp_path / "a.tif",
        scan,
        photometric="minisblack",
        compression=compression,
        byteorder=byteorder,
        **written,
    )
    file = open_scan(tmp_path / "a.tif", scan_shape=(3, 5))
    frames, present = file.read(slice(1, 3), slice(1, 4))
    np.testing.assert_array_equal(frames, scan[1:3, 1:4])
    assert present.all()
    if form != "plain":
        assert open_scan(tmp_path / "a.tif").scan_shape == (3, 5)


def test_memory_stays_that_of_the_block(tmp_path: Path) -> None:
    """A sparse file far beyond any memory: only what is asked for is read."""
    path = tmp_path / "huge.raw"
    with path.open("wb") as file:
        file.truncate(2**42)
        file.seek(2**41)
        file.write(b"\7" * 2**18)
    scan = open_scan(path, shape=(2**12, 2**12, 512, 512), dtype="u1")
    frames, present = scan.read(slice(2**11, 2**11 + 1), slice(0, 2))
    assert frames.min(axis=(0, 2, 3)).tolist() == [7, 0] and present.all()
    assert scan.fingerprint()["size"] == 2**42


def test_travels_to_another_process(tmp_path: Path, scan: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", scan)
    file = open_scan(tmp_path / "a.npy")
    everything(file)
    (tmp_path / "pickle").write_bytes(pickle.dumps(file))
    assert (tmp_path / "pickle").stat().st_size < 2000
    code = (
        "import pickle, sys; file = pickle.load(open(sys.argv[1], 'rb'));"
        "print(file.read(slice(2, 3), slice(4, 5))[0].sum(), file.fingerprint())"
    )
    folder = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code, str(tmp_path / "pickle")]
    out = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert out.strip() == f"{scan[2, 4].sum()} {file.fingerprint()}"


def test_fingerprint_knows_another_file(tmp_path: Path, scan: np.ndarray) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(scan.tobytes())
    options: dict[str, Any] = {"shape": (33, 41), "dtype": "u2"}
    first = open_scan(path, **options, scan_shape=(3, 5)).fingerprint()
    assert first == open_scan(path, **options, scan_shape=(3, 5)).fingerprint()
    assert first["name"] == "a.raw" and first["size"] == scan.nbytes and first["shape"] == [3, 5, 33, 41]
    assert open_scan(path, **options, scan_shape=(5, 3)).fingerprint() != first
    path.write_bytes((scan + 1).tobytes())
    other = open_scan(path, **options, scan_shape=(3, 5)).fingerprint()
    assert other["sha256_of_ends"] != first["sha256_of_ends"]


def test_a_file_that_goes_away_is_said_so(tmp_path: Path, scan: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", scan)
    file = open_scan(tmp_path / "a.npy")
    (tmp_path / "a.npy").unlink()
    with pytest.raises(InputError, match=r"a\.npy cannot be read any more"):
        everything(file)


def test_is_public() -> None:
    import hybridfit

    assert hybridfit.open_scan is open_scan
