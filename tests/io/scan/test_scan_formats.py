"""Scans as the libraries that own the formats write them: right values, right axes, what the file knows."""

from __future__ import annotations

import pickle
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.io import open_frames, open_scan
from hybridfit.io.axes import BERKELEY, axis_order
from hybridfit.io.calibration import Axis, calibration

h5py = pytest.importorskip("h5py")
CASES = Path(__file__).parents[3] / "../shared/cases/files/layout"

SHAPE = 3, 5, 33, 41
AXES = ("y", "nm", 0.5), ("x", "nm", 0.5), ("ky", "mrad", 1.2), ("kx", "mrad", 1.2)


@pytest.fixture(scope="session")
def scan() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 60000, SHAPE).astype("u2")


@pytest.fixture(scope="session")
def signal(scan: np.ndarray) -> Callable[..., Any]:
    """The scan as HyperSpy holds it, with all that it can know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hs = pytest.importorskip("hyperspy.api")

    def signal(data: np.ndarray = scan, axes: Any = AXES) -> Any:
        made = hs.signals.Signal2D(data)
        for axis, (name, units, scale) in zip(made.axes_manager._axes, axes, strict=False):
            axis.name, axis.units, axis.scale = name, units, scale
        made.metadata.set_item("Acquisition_instrument.TEM.beam_energy", 200.0)
        made.metadata.set_item("Acquisition_instrument.TEM.convergence_angle", 13.6)
        return made

    return signal


def assert_scan(path: Path, expected: np.ndarray, **options: Any) -> Any:
    """Read a block of it here, and another as another process would."""
    file = open_scan(path, **options)
    assert file.scan_shape == expected.shape[:2] and file.frame_shape == expected.shape[2:]
    for one, y, x in (
        (file, slice(1, 3), slice(-2, None)),
        (pickle.loads(pickle.dumps(file)), slice(0, 3), slice(0, 1)),
    ):
        frames, present = one.read(y, x)
        np.testing.assert_array_equal(frames, expected[y, x])
        assert present.all() and present.shape == frames.shape[:2]
        assert frames.dtype == file.dtype == expected.dtype
    return file


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_scan(path, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500 and path.stem in message
    return message


@pytest.mark.parametrize("suffix", [".hspy", ".emd", ".nxs"])
@pytest.mark.parametrize("chunks", [None, (2, 3, 16, 41)])
def test_hyperspy(tmp_path: Path, scan: np.ndarray, signal: Any, suffix: str, chunks: Any) -> None:
    if chunks and suffix == ".nxs":
        pytest.skip("its writer takes no chunks")
    signal().save(tmp_path / f"a{suffix}", **({"chunks": chunks} if chunks else {}))
    file = assert_scan(tmp_path / f"a{suffix}", scan)
    known = {"mrad_per_px": 1.2, "step_nm": 0.5} | ({"semi_angle_mrad": 13.6} if suffix == ".hspy" else {})
    assert file.calibration == pytest.approx(known)
    if chunks:
        assert file.tile == chunks[:2]


def test_hyperspy_stack_and_flags(tmp_path: Path, scan: np.ndarray, signal: Any) -> None:
    signal(scan.reshape(15, 33, 41), AXES[1:]).save(tmp_path / "a.hspy")
    assert "stack of 15 frames" in refused(tmp_path / "a.hspy")
    assert_scan(tmp_path / "a.hspy", scan, scan_shape=(3, 5))
    signal().transpose(signal_axes=1).save(tmp_path / "flags.hspy")  # all but one are navigation
    assert_scan(tmp_path / "flags.hspy", scan)
    signal(scan[0, 0], AXES[2:]).save(tmp_path / "one.hspy")
    assert "single pattern of 33 × 41" in refused(tmp_path / "one.hspy")


def test_emd_without_names_is_reversed(tmp_path: Path, scan: np.ndarray, signal: Any) -> None:
    signal(axes=()).save(tmp_path / "a.emd")
    assert assert_scan(tmp_path / "a.emd", scan).calibration == {}


def test_emd_of_ncempy(tmp_path: Path, scan: np.ndarray) -> None:
    emd = pytest.importorskip("ncempy.io.emd")
    file = emd.fileEMD(str(tmp_path / "a.emd"), readonly=False)
    group = file.file_hdl.create_group("data/scan")
    dims = [(np.arange(n) * s, name, f"[{units}]") for n, (name, units, s) in zip(SHAPE, AXES, strict=True)]
    file.put_emdgroup("scan", scan, tuple(dims), parent=group)
    del file
    assert assert_scan(tmp_path / "a.emd", scan).calibration == pytest.approx(
        {"mrad_per_px": 1.2, "step_nm": 0.5}
    )


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("y", "x", "ky", "kx"), (0, 1, 2, 3)),
        (("kx", "ky", "x", "y"), (3, 2, 1, 0)),
        (("ky", "kx", "y", "x"), (2, 3, 0, 1)),
        (("scan_x", "scan_y", "qx", "qy"), (1, 0, 3, 2)),
        (("", "", "", ""), (3, 2, 1, 0)),
        (("n", "y", "x"), (0, 1, 2)),
        (("x", "y", "n"), (2, 1, 0)),
        (("kx", "ky", "x"), (2, 1, 0)),
        (("x", "ky", "kx"), (0, 1, 2)),
    ],
)
def test_order_of_berkeley_emd(names: tuple[str, ...], order: tuple[int, ...]) -> None:
    assert axis_order(BERKELEY, [Axis(name) for name in names]) == order


@pytest.mark.parametrize(
    ("dims", "units"),
    [
        ("y x ky kx", None),
        ("ky kx y x", None),
        ("x y kx ky", None),
        ("kx ky y x", None),
        ("y ky x kx", None),
        ("a b c d", "nm nm mrad mrad"),
        ("a b c d", "1/nm 1/nm nm nm"),
        ("dim_0 dim_1 dim_2 dim_3", None),
    ],
)
def test_names_and_units_of_netcdf_axes_decide(
    tmp_path: Path, scan: np.ndarray, dims: str, units: str | None
) -> None:
    """Written by xarray, as its users name dimensions; where neither tells, the order is that of the file."""
    xr = pytest.importorskip("xarray")
    names = dims.split()
    as_y_x = {"y": 0, "x": 1, "ky": 2, "kx": 3}
    order = [as_y_x.get(name, i) for i, name in enumerate(names)]
    known = dict(zip(names, units.split(), strict=True)) if units else {}
    if units and units.startswith("1/"):
        order = [2, 3, 0, 1]
    array = xr.DataArray(scan.transpose(order), dims=names)
    for name, unit in known.items():
        array = array.assign_coords({name: (name, np.arange(array.sizes[name]) * 0.5, {"units": unit})})
    array.to_dataset(name="frames").to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    assert_scan(tmp_path / "a.nc", scan)


def test_a_hyperspy_signal_with_the_detector_first(tmp_path: Path, scan: np.ndarray, signal: Any) -> None:
    turned = signal(scan.transpose(2, 3, 0, 1), (*AXES[2:], *AXES[:2]))
    turned.save(tmp_path / "a.hspy")
    assert assert_scan(tmp_path / "a.hspy", scan).calibration["step_nm"] == pytest.approx(0.5)
    pytest.importorskip("zarr")
    turned.save(tmp_path / "a.zspy")
    assert_scan(tmp_path / "a.zspy", scan)


@pytest.mark.parametrize("version", ["0.12", "0.14"])
def test_py4dstem(tmp_path: Path, scan: np.ndarray, version: str) -> None:
    path = tmp_path / "a.h5"
    names = ("R_x", "R_y", "Q_x", "Q_y") if version == "0.12" else ("Rx", "Ry", "Qx", "Qy")
    place = "4DSTEM_experiment/data/datacubes/datacube_0" if version == "0.12" else "datacube_root/datacube"
    with h5py.File(path, "w") as file:
        group = file.create_group(place)
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", data=scan, chunks=(1, 1, 33, 41), compression="gzip")
        units = ("nm", "nm", "A^-1", "A^-1")
        for i, (name, unit, n) in enumerate(zip(names, units, SHAPE, strict=True)):
            dim = group.create_dataset(f"dim{i + (version == '0.12')}", data=0.25 * np.arange(n))
            dim.attrs["name"], dim.attrs["units"] = name, unit
        file["datacube_root/metadatabundle/flag"] = np.bool_(True)
        file["virtual/bright_field"] = scan.sum(axis=(2, 3))
    file = assert_scan(path, scan)
    assert file.kind == "py4DSTEM EMD" and file.tile == (1, 1)
    assert file.calibration == {"step_nm": 0.25}  # Å⁻¹ is no angle without the energy


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", ">f4", "f8"])
def test_hdf5_types(tmp_path: Path, scan: np.ndarray, dtype: str) -> None:
    expected = (scan % 200).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan"] = expected
        file["half"] = expected.astype("f2")  # netCDF4 dies of reading one; only taken if asked for
        file["complex"] = expected.astype("c8")
    assert_scan(tmp_path / "a.h5", expected.astype(np.dtype(dtype).newbyteorder("=")))
    assert_scan(tmp_path / "a.h5", expected.astype("f2").astype("f4"), dataset="half")


def test_full_scale_is_no_fill_value(tmp_path: Path, scan: np.ndarray) -> None:
    full = np.where(scan > 40000, 65535, scan).astype("u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan"] = full
    assert_scan(tmp_path / "a.h5", full)


def test_several_datasets_are_listed(tmp_path: Path, scan: np.ndarray) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["one/data"], file["two/data"] = scan, scan[:2]
        file["image"], file["stack"] = scan[0, 0], scan[0]
    message = refused(path)
    assert "one/data (3, 5, 33, 41), two/data (2, 5, 33, 41)" in message and "dataset =" in message
    assert "image" not in message
    assert_scan(path, scan, dataset="/one/data")
    assert "single pattern" in refused(path, dataset="image")
    assert "'none'" in refused(path, dataset="none")
    assert "stack of 5 frames" in refused(path, dataset="stack")
    assert_scan(path, scan[0].reshape(5, 1, 33, 41), dataset="stack", scan_shape=(5, 1))


def test_a_huge_dataset_is_read_in_part(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("scan", (4096, 4096, 256, 256), "u2", chunks=(4, 4, 64, 64))
        data[2000, 3000] = 7
    file = open_scan(tmp_path / "a.h5")
    assert file.tile == (4, 4)
    frames, present = file.read(slice(2000, 2002), slice(2999, 3001))
    assert frames.max(axis=(2, 3)).tolist() == [[0, 7], [0, 0]] and present.all()


def test_velox_emd_has_the_frames_last(tmp_path: Path, scan: np.ndarray) -> None:
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file["Data/Image/0123abc/Data"] = np.moveaxis(scan.reshape(15, 33, 41), 0, -1)
    assert_scan(tmp_path / "a.emd", scan, scan_shape=(3, 5))


def test_a_damaged_chunk_costs_its_frames_only(tmp_path: Path, scan: np.ndarray) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("scan", data=scan, chunks=(1, 2, 33, 41), compression="gzip")
        chunk = data.id.get_chunk_info_by_coord((1, 2, 0, 0))
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\0" * chunk.size
    (tmp_path / "a.h5").write_bytes(content)
    frames, present = open_scan(tmp_path / "a.h5").read(slice(None), slice(None))
    expected = np.ones((3, 5), bool)
    expected[1, 2:4] = False
    np.testing.assert_array_equal(present, expected)
    np.testing.assert_array_equal(frames[expected], scan[expected])
    assert not frames[~expected].any()


def test_truncated_hdf5_is_refused(tmp_path: Path, scan: np.ndarray, write_netcdf: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan"] = scan
    write_netcdf(tmp_path / "classic.nc", {"scan": scan.astype("i4")}, "NETCDF3_CLASSIC")
    assert_scan(tmp_path / "classic.nc", scan.astype("i4"))
    for name in ("a.h5", "classic.nc"):
        content = (tmp_path / name).read_bytes()
        for kept in (0.001, 0.3, 0.95):
            (tmp_path / name).write_bytes(content[: int(kept * len(content))])
            refused(tmp_path / name)


def test_xarray_with_its_coordinates(tmp_path: Path, scan: np.ndarray) -> None:
    xr = pytest.importorskip("xarray")
    coords = {
        name: (name, s * np.arange(n), {"units": u}) for n, (name, u, s) in zip(SHAPE, AXES, strict=True)
    }
    array = xr.DataArray(scan.astype("f4"), dims=list(coords), coords=coords, name="scan")
    array.to_netcdf(tmp_path / "a.nc")
    file = assert_scan(tmp_path / "a.nc", scan.astype("f4"))
    assert file.calibration == pytest.approx({"mrad_per_px": 1.2, "step_nm": 0.5})


def test_zspy(tmp_path: Path, scan: np.ndarray) -> None:
    zarr = pytest.importorskip("zarr")
    version = {"zarr_format": 2} if zarr.__version__ >= "3" else {}
    group = zarr.open_group(str(tmp_path / "a.zspy"), mode="w", **version).create_group("Experiments/a")
    create = group.create_array if hasattr(group, "create_array") else group.create_dataset
    create("data", shape=SHAPE, chunks=(2, 2, 33, 41), dtype="u2")[...] = scan
    for i, (name, units, scale) in enumerate(AXES):
        group.create_group(f"axis-{i}").attrs.update(name=name, units=units, scale=scale)
    group.create_group("metadata/Acquisition_instrument/TEM").attrs["convergence_angle"] = 13.6
    file = assert_scan(tmp_path / "a.zspy", scan)
    assert file.tile == (2, 2)
    assert file.calibration == {"mrad_per_px": 1.2, "semi_angle_mrad": 13.6, "step_nm": 0.5}
    assert file.fingerprint() == open_scan(tmp_path / "a.zspy").fingerprint()
    assert "name one of: a (3, 5, 33, 41)" in refused(tmp_path / "a.zspy", dataset="b")
    chunk = next(p for p in (tmp_path / "a.zspy/Experiments/a/data").rglob("*") if p.name == "1.1.0.0")
    chunk.write_bytes(b"damaged")
    present = open_scan(tmp_path / "a.zspy").read(slice(None), slice(None))[1]
    assert not present[2:, 2:4].any() and present.sum() == 13


def test_blo(tmp_path: Path, scan: np.ndarray, signal: Any) -> None:
    square = (scan[..., :33] >> 8).astype("u1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal(square).save(tmp_path / "a.blo")
    assert assert_scan(tmp_path / "a.blo", square).calibration["step_nm"] == 0.5


def test_tvips(tmp_path: Path, scan: np.ndarray, signal: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal().save(tmp_path / "a_000.tvips")
    assert_scan(tmp_path / "a_000.tvips", scan, scan_shape=(3, 5))


def write_mib(path: Path, frames: np.ndarray) -> None:
    """Merlin's single chip: 384 bytes of text before each frame, big-endian, last row first."""
    rows, cols = frames.shape[1:]
    with path.open("wb") as file:
        for i, frame in enumerate(frames):
            stamp = f"2026-01-01T00:00:00.{i:06d}000Z"
            head = f"MQ1,{i + 1:06d},00384,01,{cols:04d},{rows:04d},U16,   1x1,01,{stamp},1000000ns,0,12,"
            fields = [*head.split(",")[:9], "2026-01-01 00:00:00.000000", "0.001", "0", "0"]
            text = ",".join([*fields, *["0"] * 3, stamp, "1000000ns", "12", ""])
            file.write(text[:384].ljust(383).encode() + b"\n")
            file.write(frame[::-1].astype(">u2").tobytes())


def test_mib(tmp_path: Path, scan: np.ndarray) -> None:
    pytest.importorskip("rsciio")
    (tmp_path / "bad.mib").write_bytes(b"MQ1")
    assert "cannot be read" in refused(tmp_path / "bad.mib")
    path, flat = tmp_path / "a.mib", scan.reshape(15, 33, 41)
    write_mib(path, flat)
    assert_scan(path, scan, scan_shape=(3, 5))
    assert "15 frames" in refused(path, scan_shape=(2, 5))
    size = path.stat().st_size // 15
    for kept in (8.5, 1.5):
        path.write_bytes(path.read_bytes()[: int(kept * size)])
        frames, present = open_scan(path, scan_shape=(3, 5)).read(slice(None), slice(None))
        np.testing.assert_array_equal(present.ravel(), np.arange(15) < int(kept))
        np.testing.assert_array_equal(frames.reshape(flat.shape)[: int(kept)], flat[: int(kept)])
        assert not frames[~present].any()


def write_dm4(path: Path, stored: np.ndarray, tags: dict[str, Any], units: tuple[str, ...]) -> None:
    """One image of uint16 as the tree of tags that GMS writes, its dimensions listed fastest first."""

    def group(tree: list[tuple[str, Any]]) -> bytes:
        return struct.pack(">BBQ", 1, 0, len(tree)) + b"".join(tag(name, value) for name, value in tree)

    def tag(name: str, value: Any) -> bytes:
        kind, body = 21, b""
        if isinstance(value, dict):
            kind, body = 20, group(list(value.items()))
        elif isinstance(value, list):
            kind, body = 20, group([("", child) for child in value])
        else:
            info, data = {
                bool: lambda: ([8], struct.pack("<B", value)),
                int: lambda: ([5], struct.pack("<I", value)),
                float: lambda: ([6], struct.pack("<f", value)),
                str: lambda: ([20, 4, len(value)], value.encode("utf-16-le")),
                np.ndarray: lambda: ([20, 4, value.size], value.astype("<u2").tobytes()),
            }[type(value)]()
            body = b"%%%%" + struct.pack(f">{1 + len(info)}Q", len(info), *info) + data
        return struct.pack(">BH", kind, len(name)) + name.encode() + struct.pack(">Q", len(body)) + body

    axes = [{"Origin": 0.0, "Scale": 0.5, "Units": unit} for unit in units[::-1]]
    image = {
        "ImageData": {
            "Calibrations": {"Brightness": {"Origin": 0.0, "Scale": 1.0, "Units": ""}, "Dimension": axes},
            "Data": stored,
            "DataType": 10,
            "Dimensions": list(stored.shape[::-1]),
            "PixelDepth": 2,
        },
        "ImageTags": tags,
        "Name": "scan",
    }
    root = group([("ImageList", [image])])
    path.write_bytes(struct.pack(">IQI", 4, len(root), 1) + root + bytes(8))


@pytest.mark.parametrize(
    ("tags", "units", "as_stored"),
    [
        ({"Data Order Swapped": True}, ("nm", "nm", "1/nm", "1/nm"), True),
        ({"Data Order Swapped": True}, ("", "", "", ""), True),
        ({"Data Order Swapped": True}, ("1/nm", "1/nm", "nm", "nm"), False),
        ({"Data Order Swapped": False}, ("", "", "", ""), False),
        ({}, ("1/nm", "1/nm", "nm", "nm"), False),
        ({}, ("nm", "nm", "mrad", "mrad"), True),
        ({}, ("", "", "", ""), True),
    ],
)
def test_dm4_of_either_order(
    tmp_path: Path, scan: np.ndarray, tags: dict[str, Any], units: tuple[str, ...], as_stored: bool
) -> None:
    pytest.importorskip("rsciio")
    stored = scan if as_stored else scan.transpose(2, 3, 0, 1)
    write_dm4(tmp_path / "a.dm4", stored, {"Meta Data": {"Format": "Diffraction image", **tags}}, units)
    known = assert_scan(tmp_path / "a.dm4", scan).calibration
    assert known.get("step_nm") == (0.5 if "nm" in units else None)
    assert known.get("mrad_per_px") == (0.5 if "mrad" in units else None)


def test_rosettasciio_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rsciio", None)
    for suffix in (".mib", ".blo", ".dm4"):
        (tmp_path / f"a{suffix}").write_bytes(b"MQ1")
        assert 'pip install "hybridfit[formats]"' in refused(tmp_path / f"a{suffix}")


def test_calibration_says_only_what_is_plain() -> None:
    def known(units: str, scale: float = 0.01, other: float | None = None, **microscope: Any) -> Any:
        pair = [Axis("", units, scale), Axis("", units, other or scale)]
        return calibration([*pair, *pair], microscope).get("mrad_per_px")

    assert known("mrad", 1.5) == 1.5 and known("[m_r_a_d]", 1.5) == 1.5 and known("rad", 1.5e-3) == 1.5
    assert known("1/nm") is known("A^-1") is known("px") is known("") is None
    for units, per_nm in (("1/nm", 1), ("nm^-1", 1), ("$Å^{-1}$", 10), ("A^-1", 10), ("1/Å", 10)):
        expected = 2.50793e-3 * 0.01 * per_nm * 1e3  # θ = λ/d, λ in nm at 200 kV
        assert known(units, beam_energy=200.0) == pytest.approx(expected, rel=1e-4)
    assert known("mrad", 1.5, 1.6) is None and known("mrad", 900.0) is None
    pair = [Axis("", "Å", 2.0)] * 2
    assert calibration([*pair, *pair], {"convergence_angle": "unknown"}) == {"step_nm": 0.2}


def write_master(path: Path, frames: np.ndarray, sizes: tuple[int, ...]) -> None:
    """As a Dectris camera writes it: a master, and files that it links to."""
    start = 0
    with h5py.File(path, "w") as master:
        detector = master.create_group("entry/instrument/detector/detectorSpecific")
        detector["flatfield"] = np.ones(frames.shape[1:], "f4")
        detector["pixel_mask"] = np.zeros(frames.shape[1:], "u4")
        for i, n in enumerate(sizes, 1):
            name = path.name.replace("master", f"data_{i:06d}")
            with h5py.File(path.with_name(name), "w") as file:
                chunks = (1, *frames.shape[1:])
                file.create_dataset("entry/data/data", data=frames[start : start + n], chunks=chunks)
            master[f"entry/data/data_{i:06d}"] = h5py.ExternalLink(name, "entry/data/data")
            start += n


def test_dectris_master(tmp_path: Path, scan: np.ndarray) -> None:
    """The frames of all files in order, never the flat field."""
    path, stack = tmp_path / "a_master.h5", scan.reshape(15, 33, 41)
    write_master(path, stack, (7, 7, 1))
    assert_scan(path, scan, scan_shape=(3, 5))
    assert "stack of 15 frames" in refused(path)
    assert "3 too many; skip = 3" in refused(path, scan_shape=(3, 4))
    with open_frames(path).opener() as opened:
        assert opened.count == 15
        np.testing.assert_array_equal(opened.read(9), stack[9])
    write_master(tmp_path / "b_master.h5", stack, (15,))
    assert_scan(tmp_path / "b_master.h5", scan, scan_shape=(3, 5))


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases")
def test_case_files_of_hdf() -> None:
    file = open_scan(CASES / "ar_master.h5", scan_shape=(6, 10))
    frames, present = file.read(slice(None), slice(None))
    parts = []
    for i in (1, 2, 3):
        with h5py.File(CASES / f"ar_data_00000{i}.h5") as part:
            parts.append(part["entry/data/data"][:])
    np.testing.assert_array_equal(frames.reshape(60, 40, 48), np.concatenate(parts))
    assert present.all()
    with h5py.File(CASES / "v1.emd") as velox, open_frames(CASES / "v1.emd").opener() as opened:
        (group,) = velox["Data/Image"].values()
        np.testing.assert_array_equal(opened.read(0), group["Data"][..., 0])
