"""Files of known content in many kinds, for `benchmarks.random_inputs`."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

UNITS = {"mrad": 1.0, "rad": 1e3, "1/nm": 2.507934, "1/Å": 25.07934, "": None}  # in mrad, at 200 kV
NAMES = ("y", "x", "ky", "kx")


@dataclass
class Content:
    """What is in a file.

    Attributes
    ----------
    scan : (y, x, rows, cols) array
        The truth; a stack has one row of positions, a frame one position.
    kind : "frame", "stack" or "scan"
    bad : (rows, cols) bool array
        Pixels that measure nothing.
    order : str
        How the axes lie in the file: "usual", "detector first", "columns first", "ones".
    named : bool
        Whether axes have names, where the format can have them.
    units, step : str, float
        Of a pixel of the detector.
    energy_kv : float or None
    """

    scan: np.ndarray
    kind: str
    bad: np.ndarray
    order: str
    named: bool
    units: str
    step: float
    energy_kv: float | None
    options: dict[str, Any] = field(default_factory=dict)

    def axes(self) -> tuple[np.ndarray, list[str]]:
        """The array as it lies in the file, and the names of its axes."""
        array, names = {
            "scan": (self.scan, list(NAMES)),
            "stack": (self.scan.reshape(-1, *self.scan.shape[2:]), ["frame", "ky", "kx"]),
            "frame": (self.scan[0, 0], ["ky", "kx"]),
        }[self.kind]
        n = array.ndim
        if self.order == "detector first":
            order = [n - 2, n - 1, *range(n - 2)]
        elif self.order == "columns first":
            order = [*range(n - 2)[::-1], n - 1, n - 2]
        else:
            order = list(range(n))
        array, names = array.transpose(order), [names[i] for i in order]
        if self.order == "ones":
            array, names = array[None], ["one", *names]
        return array, names

    @property
    def calibration(self) -> float | None:
        """mrad/px, where units and energy tell it."""
        factor = UNITS[self.units]
        if factor is None or (self.units.startswith("1/") and self.energy_kv is None):
            return None
        return self.step * factor


Writer = Callable[[Path, Content], tuple[Path, dict[str, Any]]]


def npy(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    array, _ = content.axes()
    np.save(folder / "a.npy", np.asfortranarray(array) if content.step > 0.3 else array)
    return folder / "a.npy", {}


def npz(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    save = np.savez if content.step > 0.3 else np.savez_compressed
    save(folder / "a.npz", data=content.axes()[0], angles=np.arange(5.0))
    return folder / "a.npz", {}


def mat(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    """MATLAB 5, frames first or last by the order."""
    from scipy.io import savemat

    array, _ = content.axes()
    native = array.astype(array.dtype.newbyteorder("="))
    savemat(folder / "a.mat", {"A": native, "name": "text"}, do_compression=content.step > 0.3)
    return folder / "a.mat", {}


def mat73(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    import h5py

    path = folder / "b.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["A"] = content.axes()[0].transpose()
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))
    return path, {}


def raw(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    array = content.scan if content.kind == "scan" else content.scan[0]
    (folder / "a.bin").write_bytes(b"four" + array.tobytes())
    return folder / "a.bin", {"shape": array.shape, "dtype": array.dtype, "offset": 4}


def mrc(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    import mrcfile

    stack = content.scan.reshape(-1, *content.scan.shape[2:])
    with mrcfile.new(folder / "a.mrc", overwrite=True) as file:
        file.set_data(stack.astype("f4" if stack.dtype.itemsize > 2 else stack.dtype.newbyteorder("=")))
    return folder / "a.mrc", {}


def tiff(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    import tifffile

    stack = content.scan.reshape(-1, *content.scan.shape[2:])
    order = ">" if stack.dtype.byteorder == ">" else "<"
    packed = "zlib" if content.step > 0.3 else None
    with tifffile.TiffWriter(folder / "a.tif", byteorder=order) as file:
        if content.step < 0.15 and stack.dtype.itemsize > 1:
            file.write(
                (stack[0] / max(float(stack[0].max()), 1) * 250).astype("u1"), photometric="minisblack"
            )
        file.write(stack.astype(stack.dtype.newbyteorder("=")), photometric="minisblack", compression=packed)
    return folder / "a.tif", {}


def hdf5(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    import h5py
    import hdf5plugin

    array, names = content.axes()
    codecs: list[dict[str, Any]] = [
        {},
        {"compression": "gzip"},
        {**hdf5plugin.Bitshuffle()},
        {**hdf5plugin.LZ4()},
    ]
    with h5py.File(folder / "a.h5", "w") as file:
        data = file.create_dataset("group/data", data=array, **codecs[int(content.step * 100) % 4])
        for i, name in enumerate(names if content.named else ()):
            scale = file.create_dataset(f"group/{name}", data=np.arange(array.shape[i]) * content.step)
            if name in NAMES[2:] and content.units:
                scale.attrs["units"] = content.units
            scale.make_scale(name)
            data.dims[i].attach_scale(scale)
    return folder / "a.h5", {}


def netcdf(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    import xarray as xr

    array, names = content.axes()
    dims = names if content.named else [f"dim_{i}" for i in range(array.ndim)]
    coords = {
        name: (
            name,
            np.arange(array.shape[i]) * content.step,
            {"units": content.units} if content.units else {},
        )
        for i, name in enumerate(dims)
        if name in NAMES[2:]
    }
    native = array.astype(array.dtype.newbyteorder("="))
    xr.Dataset({"data": (dims, native)}, coords).to_netcdf(folder / "a.nc", engine="netcdf4")
    return folder / "a.nc", {}


def velox(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    import h5py

    stack = content.scan.reshape(-1, *content.scan.shape[2:])
    unit, factor = {"rad": ("rad", 1.0), "1/nm": ("1/m", 1e9)}.get(content.units, ("", 1.0))
    told: dict[str, Any] = {"BinaryResult": {}}
    if unit:
        size = {side: str(content.step * factor) for side in ("width", "height")}
        told["BinaryResult"] = {"PixelSize": size, "PixelUnitX": unit, "PixelUnitY": unit}
    if content.energy_kv:
        told["Optics"] = {"AccelerationVoltage": str(1e3 * content.energy_kv)}
    text = np.frombuffer(json.dumps(told).encode().ljust(2000, b"\0"), "u1")
    content.units = content.units if unit else ""
    with h5py.File(folder / "a.emd", "w") as file:
        file["Data/Image/0123abc/Data"] = np.moveaxis(stack, 0, -1)
        file["Data/Image/0123abc/Metadata"] = np.repeat(text[:, None], len(stack), axis=1)
    return folder / "a.emd", {}


def dectris(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    import h5py
    import hdf5plugin

    stack = content.scan.reshape(-1, *content.scan.shape[2:])
    half = max(len(stack) // 2, 1)
    with h5py.File(folder / "a_master.h5", "w") as master:
        detector = master.create_group("entry/instrument/detector/detectorSpecific")
        detector["pixel_mask"] = content.bad.astype("u4")
        detector["flatfield"] = np.ones(content.bad.shape, "f4")
        for i, part in enumerate(filter(len, (stack[:half], stack[half:])), 1):
            name = f"a_data_{i:06d}.h5"
            with h5py.File(folder / name, "w") as file:
                chunks = (1, *stack.shape[1:])
                file.create_dataset("entry/data/data", data=part, chunks=chunks, **hdf5plugin.Bitshuffle())
            master[f"entry/data/data_{i:06d}"] = h5py.ExternalLink(name, "entry/data/data")
    return folder / "a_master.h5", {}


def hspy(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    """As HyperSpy writes it: by RosettaSciIO, with the axes in the order of the array."""
    array, names = content.axes()
    axes = [
        {
            "name": name if content.named else "",
            "units": content.units if name in NAMES[2:] else "",
            "scale": content.step,
            "offset": 0.0,
            "size": size,
            "navigate": i < array.ndim - 2,
            "index_in_array": i,
            "_type": "UniformDataAxis",
        }
        for i, (name, size) in enumerate(zip(names, array.shape, strict=True))
    ]
    tem = {"beam_energy": content.energy_kv} if content.energy_kv else {}
    signal = {
        "data": array.astype(array.dtype.newbyteorder("=")),
        "axes": axes,
        "metadata": {
            "General": {"title": "a"},
            "Signal": {"signal_type": ""},
            "Acquisition_instrument": {"TEM": tem},
        },
        "original_metadata": {},
        "learning_results": {},
        "package_info": {"package": "rsciio", "package_version": "0"},
        "models": {},
        "tmp_parameters": {},
        "attributes": {"_lazy": False},
    }
    importlib.import_module("rsciio.hspy").file_writer(str(folder / "a.hspy"), signal)
    return folder / "a.hspy", {}


def mib(folder: Path, content: Content) -> tuple[Path, dict[str, Any]]:
    """Merlin: frames of unsigned integers, big-endian, bottom row first; in one file or in two."""
    stack = content.scan.reshape(-1, *content.scan.shape[2:])
    bits, rows, cols = 8 * stack.dtype.itemsize, *stack.shape[1:]
    frames = []
    for i, frame in enumerate(stack, 1):
        header = f"MQ1,{i:06d},00384,01,{cols:04d},{rows:04d},U{bits:02d},   1x1,01,0,"
        header += "2026-01-01T00:00:00.000000000Z,1000000ns,12,"
        data = frame[::-1].astype(stack.dtype.newbyteorder(">")).tobytes()
        frames.append(header.encode().ljust(384) + data)
    cut = len(frames) // 2 if content.step > 0.3 else len(frames)
    for i, part in enumerate((frames[:cut], frames[cut:]), 1):
        if part:
            (folder / f"a_{i:05d}.mib").write_bytes(b"".join(part))
    return folder / "a_00001.mib", {}


# kind of file: its writer, kinds of content, orders of axes, types
ANY = ("u1", "<u2", ">u2", "<i2", "<u4", "<i4", "<f4", ">f4", "<f8")
UNSIGNED = ("u1", "<u2", "<u4")
ALL, STACKS = ("frame", "stack", "scan"), ("stack", "scan")
TURNED = ("usual", "detector first", "ones")
KINDS: dict[str, tuple[Writer, tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "NPY": (npy, ALL, TURNED, ANY),
    "NPZ": (npz, ALL, TURNED, ANY),
    "MATLAB 5": (mat, ALL, ("usual", "detector first"), ANY),
    "MATLAB 7.3": (mat73, ALL, ("usual", "detector first"), ANY),
    "raw": (raw, STACKS, ("usual",), ANY),
    "MRC": (mrc, ("frame", "stack"), ("usual",), ("<i2", "<u2", "<f4")),
    "TIFF": (tiff, ("frame", "stack"), ("usual",), ANY),
    "HDF5": (hdf5, ALL, (*TURNED, "columns first"), (*ANY, "<f2")),
    "netCDF": (netcdf, ALL, (*TURNED, "columns first"), ANY),
    "Velox EMD": (velox, ("frame", "stack"), ("usual",), ("<u2", "<i2", "<u4")),
    "Dectris": (dectris, ("frame", "stack"), ("usual",), UNSIGNED),
    "HyperSpy": (hspy, ALL, ("usual", "detector first"), ANY),
    "MIB": (mib, ("stack",), ("usual",), UNSIGNED),
}


def write(folder: Path, kind: str, content: Content) -> tuple[Path, dict[str, Any]]:
    """Write a file, and return its path and the options that a user gives with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return KINDS[kind][0](folder, content)
