"""Every row of the table in docs/formats.md, with a file by its owner's library or its specification."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from hybridfit.errors import InputError
from hybridfit.io import open_frames, open_scan, read_frames
from hybridfit.io.scan.arrays import ArraySource

files = pytest.importorskip("benchmarks.random_files")
rosettasciio = pytest.importorskip("benchmarks.fuzz_files")
PAGE = Path(__file__).parents[2] / "docs/formats.md"
SHAPE = (2, 3, 40, 36)
WORDS = {
    "pixel": "mrad_per_px",
    "step": "step_nm",
    "voltage": "energy_kv",
    "semi-angle": "semi_angle_mrad",
}


def table() -> dict[str, list[str]]:
    """The cells of every row by the name of the format."""
    text = PAGE.read_text(encoding="utf-8").split("## Formats")[1].split("\n## ")[0]
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if line.startswith("| ")]
    return {name: cells for name, *cells in rows[1:]}


ROWS = table()


@pytest.fixture
def scan(pattern) -> np.ndarray:
    steps = np.linspace(1, 0.7, 6).reshape(2, 3, 1, 1)
    return np.rint(230 * steps * pattern(*SHAPE[2:])).astype("u2")


Written = tuple[Path, dict[str, Any]]
Write = Callable[[Path, np.ndarray, str], Written]


def by_library(kind: str, needs: str | None = None) -> Write:
    """As `benchmarks.random_files` writes it, where a package is there; units in mrad, 200 kV."""

    def write(folder: Path, scan: np.ndarray, holds: str) -> Written:
        if needs is not None:
            pytest.importorskip(needs)
        if kind in ("MRC", "TIFF", "Velox EMD", "Dectris", "MIB") and holds == "scan":
            holds = "stack"
        scan = scan.reshape(1, -1, *scan.shape[2:]) if holds == "stack" else scan
        bad = np.zeros(scan.shape[2:], bool)
        units = "rad" if kind == "Velox EMD" else "mrad"
        step = 2.5e-4 if units == "rad" else 0.25
        content = files.Content(scan, holds, bad, "usual", True, units, step, 200.0)
        return files.write(folder, kind, content)

    return write


def by_rosettasciio(suffix: str) -> Write:
    (made,) = (w for w in rosettasciio.rosettasciio_writers() if w.__name__ == suffix)

    def write(folder: Path, scan: np.ndarray, holds: str) -> Written:
        pytest.importorskip("rsciio")
        small = scan if holds == "scan" or suffix in (".blo", ".tvips") else scan[0]
        ((name, options),) = made(folder, small).items()
        return folder / name, options

    return write


def pictures(folder: Path, scan: np.ndarray, holds: str) -> Written:
    Image.fromarray(scan[0, 0].astype("u1")).save(folder / "a.png")
    return folder / "a.png", {}


def empad(folder: Path, scan: np.ndarray, holds: str) -> Written:
    frames = np.zeros((6, 130, 128), "f4")
    frames[:, : SHAPE[2], : SHAPE[3]] = scan.reshape(6, *SHAPE[2:])
    (folder / "scan_x3_y2.raw").write_bytes(frames.tobytes())
    options = {"shape": (6, 130, 128), "dtype": "<f4"} if holds == "stack" else {}
    return folder / "scan_x3_y2.raw", options


def zspy(folder: Path, scan: np.ndarray, holds: str) -> Written:
    pytest.importorskip("zarr")
    rosettasciio.ROWS, rosettasciio.COLS = SHAPE[2:]
    rosettasciio.zipped(folder, scan)
    return folder / "a.zspy", {}


def py4dstem(folder: Path, scan: np.ndarray, holds: str) -> Written:
    with h5py.File(folder / "a.h5", "w") as file:
        data = scan if holds == "scan" else scan[0]
        file["datacube_root/datacube/data"] = data
        for i, n in enumerate(data.shape):
            dim = file.create_dataset(f"datacube_root/datacube/dim{i}", data=np.arange(n) * 0.5)
            named = ("Rx", "Ry", "Qx", "Qy")[4 - data.ndim :][i]
            dim.attrs["name"], dim.attrs["units"] = named, "nm" if named[0] == "R" else "A^-1"
    return folder / "a.h5", {}


def dm4(folder: Path, scan: np.ndarray, holds: str) -> Written:
    pytest.importorskip("rsciio")
    spec = importlib.util.spec_from_file_location("dm", Path(__file__).parent / "scan/test_scan_formats.py")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    tags = {"Meta Data": {"Format": "Diffraction image", "Data Order Swapped": True}}
    data = scan if holds == "scan" else scan[0]
    units = ("nm", "nm", "mrad", "mrad")[4 - data.ndim :]
    module.write_dm4(folder / "a.dm4", data, tags, units)
    return folder / "a.dm4", {}


WRITERS: dict[str, Write] = {
    "PNG, JPEG": pictures,
    "TIFF": by_library("TIFF"),
    "NPY": by_library("NPY"),
    "NPZ": by_library("NPZ"),
    "MATLAB 5 to 7.2": by_library("MATLAB 5"),
    "MATLAB 7.3": by_library("MATLAB 7.3"),
    "MRC": by_library("MRC"),
    "raw": by_library("raw"),
    "EMPAD": empad,
    "netCDF": by_library("netCDF"),
    "HDF5": by_library("HDF5"),
    "NeXus": by_rosettasciio(".nxs"),
    "HyperSpy .hspy": by_library("HyperSpy", "rsciio"),
    "HyperSpy .zspy": zspy,
    "EMD, Berkeley": by_rosettasciio(".emd"),
    "EMD, Velox": by_library("Velox EMD"),
    "py4DSTEM": py4dstem,
    "Dectris master": by_library("Dectris"),
    "MIB": by_library("MIB", "rsciio"),
    "BLO": by_rosettasciio(".blo"),
    "TVIPS": by_rosettasciio(".tvips"),
    "DM4, DM3": dm4,
}


def test_every_row_has_a_file() -> None:
    assert list(ROWS) == list(WRITERS)


@pytest.mark.parametrize("name", WRITERS)
def test_fit(tmp_path: Path, scan: np.ndarray, name: str) -> None:
    path, options = WRITERS[name](tmp_path, scan, "stack")
    if ROWS[name][0] == "no":
        with pytest.raises(InputError, match="map it with hybridfit map"):
            open_frames(path, **options)
        return
    if name == "BLO":  # which holds scans
        with pytest.raises(InputError, match="map a 4D-STEM scan with hybridfit map"):
            read_frames(path, **options)
        return
    frames = read_frames(path, **options)
    expected = scan.reshape(-1, *SHAPE[2:])[: len(frames)]
    rows, cols = expected.shape[1:]
    assert len(frames) == (1 if name == "PNG, JPEG" else len(expected)) and len(frames) in (1, 3, 6)
    for frame, image in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.image[:rows, :cols], image)


@pytest.mark.parametrize("name", WRITERS)
def test_map(tmp_path: Path, scan: np.ndarray, name: str) -> None:
    path, options = WRITERS[name](tmp_path, scan, "scan")
    if ROWS[name][1] == "no":
        with pytest.raises(InputError, match="use hybridfit fit"):
            open_scan(path, **options)
        return
    try:
        file = open_scan(path, **options)
    except InputError as error:
        assert "does not know its scan" in str(error) or "give scan_shape" in str(error)
        file = open_scan(path, scan_shape=(2, 3), **options)
    frames, present = file.read(slice(0, 2), slice(0, 3))
    expected = scan[..., :36, :36] if name == "BLO" else scan
    np.testing.assert_array_equal(frames[..., : expected.shape[2], : expected.shape[3]], expected)
    assert present.all()
    lazy = ROWS[name][3]
    assert isinstance(file.source, ArraySource) == (lazy == "no") or lazy == "uncompressed"
    known = {WORDS[word] for word in ROWS[name][2].split(", ") if word != "no"}
    assert set(file.calibration) <= known
    some = ("HyperSpy .hspy", "HyperSpy .zspy", "netCDF", "HDF5", "DM4, DM3", "EMD, Velox")
    if name not in some:  # whose files here do not state all of it
        assert set(file.calibration) == known


def test_calibration_of_frames_and_scans(tmp_path: Path, scan: np.ndarray) -> None:
    """The same pixel, whether a file is read as frames or as a scan."""
    names = ["netCDF", "HDF5", "EMD, Velox"]
    if find_spec("rsciio"):
        names.append("HyperSpy .hspy")
    for name in names:
        folder = tmp_path / name.replace(" ", "_").replace(",", "")
        folder.mkdir()
        path, options = WRITERS[name](folder, scan, "stack")
        (pixel,) = {frame.calibration["mrad_per_px"] for frame in read_frames(path, **options)}
        assert pixel == pytest.approx(0.25)
        assert open_scan(path, scan_shape=(2, 3), **options).calibration["mrad_per_px"] == pixel
