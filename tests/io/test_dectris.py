"""Master files of Dectris cameras, written as SIMPLON writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import netCDF4
import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.io import hdf_library, open_scan, read_frames
from hybridfit.io.scan import hdf as hdf_scan
from hybridfit.scan.positions import Positions

CODECS: dict[str, Any] = {
    "none": {},
    "gzip": {"compression": "gzip", "shuffle": True},
    "bitshuffle": hdf5plugin.Bitshuffle(cname="lz4"),
    "LZ4": hdf5plugin.LZ4(),
}


@pytest.fixture
def stack(pattern) -> np.ndarray:
    return np.stack([(200 - 10 * i) * pattern() for i in range(6)]).astype("u2")


@pytest.fixture
def write_master(tmp_path: Path):
    def write_master(
        stack: np.ndarray,
        *,
        mask: np.ndarray | None = None,
        flat: np.ndarray | None = None,
        codec: str = "bitshuffle",
        sizes: tuple[int, ...] = (4, 2),
        **detector: Any,
    ) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        path, start = folder / "a_master.h5", 0
        shape = stack.shape[1:]
        with h5py.File(path, "w") as master:
            specific = master.create_group("entry/instrument/detector/detectorSpecific")
            specific["flatfield"] = np.ones(shape, "f4") if flat is None else flat
            specific["pixel_mask"] = np.zeros(shape, "u4") if mask is None else mask.astype("u4")
            for name, value in detector.items():
                master["entry/instrument/detector"][name] = value
            for i, n in enumerate(sizes, 1):
                name = f"a_data_{i:06d}.h5"
                with h5py.File(folder / name, "w") as part:
                    part.create_dataset(
                        "entry/data/data",
                        data=stack[start : start + n],
                        chunks=None if codec == "none" else (1, *shape),
                        **CODECS[codec],
                    )
                master[f"entry/data/data_{i:06d}"] = h5py.ExternalLink(name, "entry/data/data")
                start += n
        return path

    return write_master


@pytest.mark.parametrize("codec", CODECS)
def test_frames_of_all_linked_files(write_master, stack: np.ndarray, codec: str, assert_reads) -> None:
    path = write_master(stack, codec=codec)
    frames = assert_reads(path, stack)
    assert frames[0].note == ""
    scan = open_scan(path, scan_shape=(2, 3))
    assert scan.kind == "Dectris HDF5" and scan.mask is None and scan.dtype == np.uint16
    np.testing.assert_array_equal(scan.read(slice(0, 2), slice(0, 3))[0].reshape(stack.shape), stack)


def test_masked_pixels_are_left_out(write_master, stack: np.ndarray) -> None:
    mask = np.zeros(stack.shape[1:], int)
    mask[10:12], mask[20, 30] = 1, 16
    path = write_master(stack, mask=mask)
    for frame in read_frames(path):
        np.testing.assert_array_equal(frame.valid, mask == 0)
        assert frame.note == f"{np.count_nonzero(mask)} px masked by the file"
    own = np.zeros(mask.shape, bool)
    own[0] = True
    np.testing.assert_array_equal(read_frames(path, mask=own)[0].valid, (mask == 0) & ~own)
    scan = open_scan(path, scan_shape=(2, 3))
    for positions in (Positions(scan), Positions(scan, mask=own), Positions(scan, average=2)):
        (frame,) = positions.frames([(0, 0)])
        expected = (mask == 0) if positions.mask is scan.mask else (mask == 0) & ~own
        np.testing.assert_array_equal(frame.valid, expected)


def test_the_flat_field_is_applied_once(write_master, stack: np.ndarray) -> None:
    flat = np.random.default_rng(2).normal(1, 0.05, stack.shape[1:]).astype("f4")
    stack[:, 5] = 65535  # without data, whatever it is multiplied with
    frames = read_frames(write_master(stack, flat=flat))
    assert "flat field of the file applied" in frames[1].note
    good = np.arange(stack.shape[1]) != 5
    np.testing.assert_allclose(frames[1].image[good], (stack[1] * flat)[good], rtol=1e-6)
    assert not frames[1].valid[5].any()
    scan = open_scan(write_master(stack, flat=flat), scan_shape=(2, 3))
    read, present = scan.read(slice(0, 1), slice(1, 2))
    np.testing.assert_allclose(read[0, 0][good], (stack[1] * flat)[good], rtol=1e-6)
    assert present.all() and np.isnan(read[0, 0, 5]).all() and read.dtype == scan.dtype == np.float32
    frames = read_frames(write_master(stack, flat=flat, flatfield_correction_applied=1))
    np.testing.assert_array_equal(frames[1].image[good], stack[1][good])
    assert "flat field" not in frames[1].note


@pytest.mark.parametrize("parts", [2, 6])
def test_the_master_is_opened_once_for_all_its_parts(
    write_master, stack: np.ndarray, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_master(stack, sizes=(6 // parts,) * parts)
    opened, whole = [], netCDF4.Dataset

    def counted(name, *args, **options):
        opened.append(name)
        return whole(name, *args, **options)

    monkeypatch.setattr(netCDF4, "Dataset", counted)
    monkeypatch.setattr(hdf_scan, "try_hdf", lambda path, attempt, *about: None)  # a child process
    scan = open_scan(path, scan_shape=(2, 3))
    assert len(opened) == 1
    read, _ = scan.read(slice(0, 2), slice(0, 3))
    assert len(opened) == 2
    np.testing.assert_array_equal(read.reshape(stack.shape), stack)


def test_a_part_that_is_missing_is_named(write_master, stack: np.ndarray, refused) -> None:
    path = write_master(stack)
    path.with_name("a_data_000002.h5").unlink()
    assert "a_data_000002.h5; put it beside the file" in refused(path)
    with pytest.raises(InputError, match=r"a_data_000002\.h5; put it beside the file"):
        open_scan(path, scan_shape=(2, 3))


@pytest.mark.parametrize("codec", ["bitshuffle", "LZ4"])
def test_without_hdf5plugin_the_remedy_is_said(
    write_master, stack: np.ndarray, refused, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    path = write_master(stack, codec=codec)
    library = hdf_library.hdf_library()
    monkeypatch.setattr(library, "H5Zfilter_avail", lambda number: 0)
    assert f'compressed with {codec}, which is not installed; pip install "hybridfit[formats]"' in refused(
        path
    )
