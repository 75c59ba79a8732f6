"""Every file of ../shared/cases/files/layout, as its README says."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from hybridfit.errors import InputError
from hybridfit.io import ScanFile, open_scan, read_frames
from hybridfit.scan.positions import Positions

CASES = Path(__file__).parents[2] / "../shared/cases/files/layout"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases")
TESTED = (
    "ar_data_000001.h5 ar_data_000002.h5 ar_data_000003.h5 ar_master.h5 det_first.npy empad_like_one_nan.npy "
    "extra.npy extra2.mib f16.h5 five.h5 flyback.npy jem2100.tif pal_grey.tif pal_vir.tif split_00001.mib "
    "split_00002.mib u2_gap_65535.npy v1.emd"
)


def everything(file: ScanFile) -> np.ndarray:
    frames, present = file.read(slice(None), slice(None))
    assert present.all()
    return frames


def mib_frames(name: str) -> np.ndarray:
    """128 × 128 big-endian counts behind headers of 384 bytes, bottom row first."""
    raw = np.frombuffer((CASES / name).read_bytes(), "u1").reshape(-1, 384 + 2 * 128 * 128)
    return raw[:, 384:].copy().view(">u2").reshape(-1, 128, 128)[:, ::-1]


def test_all_files_are_tested() -> None:
    assert sorted(path.name for path in CASES.iterdir()) == TESTED.split()


def test_dectris() -> None:
    parts = []
    for i in (1, 2, 3):
        with h5py.File(CASES / f"ar_data_00000{i}.h5") as part:
            parts.append(part["entry/data/data"][:])
        frames = read_frames(CASES / f"ar_data_00000{i}.h5")
        np.testing.assert_array_equal([frame.image for frame in frames], parts[-1])
    expected = np.concatenate(parts)
    np.testing.assert_array_equal([f.image for f in read_frames(CASES / "ar_master.h5")], expected)
    scan = everything(open_scan(CASES / "ar_master.h5", scan_shape=(6, 10)))
    np.testing.assert_array_equal(scan.reshape(expected.shape), expected)


def test_velox() -> None:
    (frame,) = read_frames(CASES / "v1.emd")
    with h5py.File(CASES / "v1.emd") as file:
        (group,) = file["Data/Image"].values()
        np.testing.assert_array_equal(frame.image, group["Data"][..., 0])
    with pytest.raises(InputError, match="single pattern of 128 × 128 px"):
        open_scan(CASES / "v1.emd")


@pytest.mark.parametrize(
    ("name", "shape", "more", "options"),
    [
        ("extra.npy", (6, 10), 3, {"skip": 3}),
        ("extra2.mib", (4, 4), 2, {"skip": 2}),
        ("flyback.npy", (6, 10), 6, {"flyback": 1}),
    ],
)
def test_more_frames_than_positions(
    name: str, shape: tuple[int, int], more: int, options: dict[str, int]
) -> None:
    if name.endswith(".mib"):
        pytest.importorskip("rsciio")
    with pytest.raises(InputError, match=f"{more} too many; skip = {more} leaves out the first") as caught:
        open_scan(CASES / name, scan_shape=shape)
    assert "flyback" not in options or "flyback = 1" in str(caught.value)
    stack = np.load(CASES / name) if name.endswith(".npy") else mib_frames(name)
    scan = everything(open_scan(CASES / name, scan_shape=shape, **options))
    wanted = stack[more:] if "skip" in options else stack.reshape(6, 11, *stack.shape[1:])[:, :10]
    np.testing.assert_array_equal(scan.reshape(wanted.shape), wanted)


def test_half_floats_and_five_axes() -> None:
    for name, dataset in (("f16.h5", "scan"), ("five.h5", "d")):
        with h5py.File(CASES / name) as file:
            expected = file[dataset][:].reshape(6, 10, 40, 48)
        np.testing.assert_array_equal(everything(open_scan(CASES / name)), expected)


def test_the_detector_first() -> None:
    """Frames of 6 × 10 px there are none: which axes are taken is said."""
    file = open_scan(CASES / "det_first.npy")
    np.testing.assert_array_equal(everything(file), np.load(CASES / "det_first.npy").transpose(2, 3, 0, 1))
    assert "taken as 6 × 10 positions of 40 × 48 px" in file.note
    with pytest.raises(InputError, match="map a 4D-STEM scan with hybridfit map"):
        read_frames(CASES / "det_first.npy")


def test_one_acquisition_in_two_files() -> None:
    pytest.importorskip("rsciio")
    expected = np.concatenate([mib_frames("split_00001.mib"), mib_frames("split_00002.mib")])
    file = open_scan(CASES / "split_00001.mib", scan_shape=(4, 4))
    np.testing.assert_array_equal(everything(file).reshape(expected.shape), expected)
    assert file.note == "2 files in order: split_00001.mib … split_00002.mib"
    with pytest.raises(InputError, match="give scan_shape"):
        open_scan(CASES / "split_00001.mib")


def test_gap_and_nan_are_masked() -> None:
    gap = np.load(CASES / "u2_gap_65535.npy")
    positions = Positions(open_scan(CASES / "u2_gap_65535.npy"))
    for at in np.ndindex(2, 2):
        (frame,) = positions.frames([at])
        np.testing.assert_array_equal(frame.valid, gap[at] != 65535)
        assert re.fullmatch(r"\d+ px masked: .*4 rows.*", frame.note)
    nan = np.load(CASES / "empad_like_one_nan.npy")
    positions = Positions(open_scan(CASES / "empad_like_one_nan.npy"))
    for at in np.ndindex(2, 2):
        (frame,) = positions.frames([at])
        assert frame.valid[np.isfinite(nan[at])].mean() > 0.999 and not frame.valid[np.isnan(nan[at])].any()
        assert frame.note == ("1 px masked: NaN or infinite" if np.isnan(nan[at]).any() else "")


def test_tiff() -> None:
    (frame,) = read_frames(CASES / "jem2100.tif")
    with tifffile.TiffFile(CASES / "jem2100.tif") as file:
        np.testing.assert_array_equal(frame.image, file.pages[3].asarray())
    assert "8-bit picture left out" in frame.note
    (frame,) = read_frames(CASES / "pal_grey.tif")
    np.testing.assert_array_equal(frame.image, np.asarray(Image.open(CASES / "pal_grey.tif")))
    with pytest.raises(InputError, match="picture in colours"):
        read_frames(CASES / "pal_vir.tif")
