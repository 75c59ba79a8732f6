"""Scans in every format, written by the package that defines it: values, axes, partial reads.

A scan of 12 × 20 positions of 96 × 128 px, all sides different, is written, and read back in blocks through
`hybridfit.open_scan`. If the package that defines a format is not available, the study writes the documented
layout itself, and the table says so. Formats that cannot be written are named below the table.

Run with: python -m benchmarks.scan_formats [--quick]
"""

from __future__ import annotations

import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser

SHAPE = 12, 20, 96, 128
AXES = ("y", "nm", 0.5), ("x", "nm", 0.5), ("ky", "mrad", 0.4), ("kx", "mrad", 0.4)
BLOCK = slice(5, 9), slice(3, 17)

Written = tuple[str, dict[str, Any], np.ndarray]  # name of the file, options of open_scan, what it holds


def hyperspy(suffix: str) -> Callable[[Path, np.ndarray], Written]:
    def write(folder: Path, scan: np.ndarray) -> Written:
        import hyperspy.api as hs

        data = (scan[..., :96] >> 8).astype("u1") if suffix == ".blo" else scan  # it holds square bytes only
        signal = hs.signals.Signal2D(data)
        for axis, (name, units, scale) in zip(signal.axes_manager._axes, AXES, strict=True):
            axis.name, axis.units, axis.scale = name, units, scale
        name = "scan_000.tvips" if suffix == ".tvips" else f"scan{suffix}"
        signal.save(folder / name)
        return name, {"scan_shape": SHAPE[:2]} if suffix == ".tvips" else {}, data

    return write


def numpy_file(folder: Path, scan: np.ndarray) -> Written:
    np.save(folder / "scan.npy", scan)
    return "scan.npy", {}, scan


def mrc(folder: Path, scan: np.ndarray) -> Written:
    import mrcfile

    with mrcfile.new(folder / "scan.mrc") as file:
        file.set_data(scan.reshape(-1, *SHAPE[2:]))
    return "scan.mrc", {"scan_shape": SHAPE[:2]}, scan


def tiff(folder: Path, scan: np.ndarray) -> Written:
    import tifffile

    tifffile.imwrite(folder / "scan.tif", scan, photometric="minisblack", compression="zlib")
    return "scan.tif", {}, scan


def netcdf(folder: Path, scan: np.ndarray) -> Written:
    import xarray as xr

    xr.DataArray(scan, dims=[name for name, _, _ in AXES], name="scan").to_netcdf(folder / "scan.nc")
    return "scan.nc", {}, scan


def ncempy(folder: Path, scan: np.ndarray) -> Written:
    from ncempy.io import emd

    file = emd.fileEMD(str(folder / "ncempy.emd"), readonly=False)
    group = file.file_hdl.create_group("data/scan")
    dims = [(np.arange(n) * s, name, f"[{u}]") for n, (name, u, s) in zip(SHAPE, AXES, strict=True)]
    file.put_emdgroup("scan", scan, tuple(dims), parent=group)
    return "ncempy.emd", {}, scan


def py4dstem(folder: Path, scan: np.ndarray) -> Written:
    import h5py

    with h5py.File(folder / "py4dstem.h5", "w") as file:
        group = file.create_group("datacube_root/datacube")
        group.attrs["emd_group_type"] = "array"
        group.create_dataset("data", data=scan, chunks=(1, 1, *SHAPE[2:]), compression="gzip")
        for i, (name, n) in enumerate(zip(("Rx", "Ry", "Qx", "Qy"), SHAPE, strict=True)):
            dim = group.create_dataset(f"dim{i}", data=np.arange(n) * 0.5)
            dim.attrs["name"], dim.attrs["units"] = name, "pixels"
        file["datacube_root/virtual"] = scan.sum(axis=(2, 3))
    return "py4dstem.h5", {}, scan


def zspy(folder: Path, scan: np.ndarray) -> Written:
    import zarr

    form = {"zarr_format": 2} if zarr.__version__ >= "3" else {}
    group = zarr.open_group(str(folder / "scan.zspy"), mode="w", **form).create_group("Experiments/scan")
    create = group.create_array if hasattr(group, "create_array") else group.create_dataset
    create("data", shape=SHAPE, chunks=(4, 4, *SHAPE[2:]), dtype="u2")[...] = scan
    return "scan.zspy", {}, scan


def empad(folder: Path, scan: np.ndarray) -> Written:
    frames = np.zeros((*SHAPE[:2], 130, 128), "f4")
    frames[:, :, :96] = scan
    (folder / f"scan_x{SHAPE[1]}_y{SHAPE[0]}.raw").write_bytes(frames.tobytes())
    return f"scan_x{SHAPE[1]}_y{SHAPE[0]}.raw", {}, frames[:, :, :128]


def raw(folder: Path, scan: np.ndarray) -> Written:
    (folder / "scan.bin").write_bytes(b"header" + scan.astype(">u2").tobytes())
    return "scan.bin", {"shape": SHAPE, "dtype": ">u2", "offset": 6}, scan


def mib(folder: Path, scan: np.ndarray) -> Written:
    import rsciio  # noqa: F401 - what reads it

    rows, cols = SHAPE[2:]
    with (folder / "scan.mib").open("wb") as file:
        for i, frame in enumerate(scan.reshape(-1, rows, cols)):
            head = f"MQ1,{i + 1:06d},00384,01,{cols:04d},{rows:04d},U16,   1x1,01,0,"
            stamp = f"2026-01-01T00:00:00.{i:06d}000Z,1000000ns,12,"
            file.write((head + stamp).ljust(383).encode() + b"\n" + frame[::-1].astype(">u2").tobytes())
    return "scan.mib", {"scan_shape": SHAPE[:2]}, scan


FORMATS: dict[str, Callable[[Path, np.ndarray], Written]] = {
    "hspy by HyperSpy": hyperspy(".hspy"),
    "EMD (Berkeley) by HyperSpy": hyperspy(".emd"),
    "EMD (Berkeley) by ncempy": ncempy,
    "NeXus by HyperSpy": hyperspy(".nxs"),
    "BLO by HyperSpy": hyperspy(".blo"),
    "TVIPS by HyperSpy": hyperspy(".tvips"),
    "zspy, layout written with zarr": zspy,
    "py4DSTEM, layout written with h5py": py4dstem,
    "netCDF by xarray": netcdf,
    "NPY by numpy": numpy_file,
    "MRC by mrcfile": mrc,
    "TIFF by tifffile": tiff,
    "EMPAD, layout written by hand": empad,
    "MIB, layout written by hand": mib,
    "raw": raw,
}


def wrong(path: Path, options: dict[str, Any], expected: np.ndarray) -> tuple[int, float]:
    """Wrong pixels and sides of a block read from a pickled copy of the scan; time (s) of a whole read."""
    from hybridfit import open_scan

    scan = pickle.loads(pickle.dumps(open_scan(path, **options)))
    frames, present = scan.read(*BLOCK)
    sides = (*scan.scan_shape, *scan.frame_shape)
    n = sum(a != b for a, b in zip(sides, expected.shape, strict=True)) + np.count_nonzero(~present)
    if frames.shape == expected[BLOCK].shape:
        n += np.count_nonzero(frames != expected[BLOCK])
    start = time.perf_counter()
    scan.read(slice(None), slice(None))
    return int(n), time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    options = new_parser(__doc__).parse_args(arguments)
    warnings.simplefilter("ignore")
    study = Study("scan_formats", quick=options.quick)
    rng = np.random.default_rng(0)
    scan = rng.integers(0, 60000, SHAPE).astype("u2")
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for what, write in FORMATS.items():
            try:
                name, options, expected = write(Path(folder), scan)
            except ImportError as error:
                study.note(f"{what} skipped: {error}")
                continue
            n, seconds[what] = wrong(Path(folder) / name, options, expected)
            study.add(f"{what}: wrong pixels and sides", n, "", at_most=0)
    study.note(
        "DM4 skipped: only GMS writes it; tests read both orders of its axes from its documented layout"
    )
    study.note("Velox EMD skipped: only Velox writes it; tests read its documented layout")
    size = f"{scan.nbytes / 1e6:.0f} MB"
    study.note(f"the scan has {size}; a block is read first, so the whole scan comes from the system's cache")
    passed = study.finish(seconds=seconds)
    with study.figure(size=(6.4, 3.6)) as (_, axes):
        axes[0].barh(list(seconds), [scan.nbytes / 1e6 / s for s in seconds.values()])
        axes[0].invert_yaxis()
        axes[0].set(xlabel="MB/s, whole scan read from the system's cache", xscale="log", xlim=(10, None))
        axes[0].grid(False, axis="y")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
