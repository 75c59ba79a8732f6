"""Small valid files of every format that readers know, for `benchmarks.fuzz_readers` to damage."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS, COLS = 40, 36
SCAN_SHAPE = 2, 3
BESIDE = "empad.raw", "rosetta_000.raw"  # of which empad.xml and rosetta_000.rpl speak
FORMATS = Path(__file__).resolve().parents[2] / "shared/data/formats"  # files of real cameras, where they are

Options = dict[str, Any]


def write_all(folder: Path) -> tuple[dict[str, Options], list[str]]:
    """Write every file; the options by name that each is read with, and what could not be written and why."""
    rng = np.random.default_rng(0)
    scan = (rng.poisson(50, (*SCAN_SHAPE, ROWS, COLS)) + 1).astype("u2")
    files: dict[str, Options] = {}
    skipped = []
    for write in (pictures, arrays, hdf5, netcdf, zipped, *rosettasciio_writers(), merlin, real):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                files.update(write(folder, scan))
        except Exception as error:  # a writer that is not installed, or does not know this kind of data
            skipped.append(f"{write.__name__}: {' '.join(str(error).split())[:120] or type(error).__name__}")
    return files, skipped


def pictures(folder: Path, scan: np.ndarray) -> dict[str, Options]:
    """PNG, JPEG and TIFF in their variants."""
    import tifffile
    from PIL import Image

    image, stack = scan[0, 0].astype("u1"), scan[0]
    Image.fromarray(image).save(folder / "grey.png")
    Image.fromarray(stack[0]).save(folder / "deep.png")
    Image.fromarray(image).convert("P").save(folder / "palette.png")
    Image.fromarray(image).save(folder / "a.jpg")
    tifffile.imwrite(folder / "stack.tif", stack, photometric="minisblack")
    tifffile.imwrite(folder / "deflate.tif", stack, photometric="minisblack", compression="zlib")
    tifffile.imwrite(folder / "imagej.tif", stack, imagej=True)
    tifffile.imwrite(folder / "scan.tif", scan, photometric="minisblack")
    pages = [Image.fromarray(image + i) for i in range(2)]
    pages[0].save(folder / "lzw.tif", compression="tiff_lzw", save_all=True, append_images=pages[1:])
    names = "grey.png deep.png palette.png a.jpg stack.tif deflate.tif imagej.tif scan.tif lzw.tif"
    return {name: {} for name in names.split()}


def arrays(folder: Path, scan: np.ndarray) -> dict[str, Options]:
    """NPY, MRC, raw and EMPAD."""
    np.save(folder / "stack.npy", scan[0])
    np.save(folder / "scan.npy", scan)
    np.save(folder / "fortran.npy", np.asfortranarray(scan))
    header = np.zeros(256, "<i4")
    header[:4], header[7:10] = (COLS, ROWS, scan[0].shape[0], 6), (COLS, ROWS, scan[0].shape[0])
    (folder / "a.mrc").write_bytes(header.tobytes() + scan[0].tobytes())
    (folder / "a.bin").write_bytes(b"head" + scan.tobytes())
    frames = np.zeros((*SCAN_SHAPE, 130, 128), "f4")
    frames[:, :, :ROWS, :COLS] = scan
    name = f"scan_x{SCAN_SHAPE[1]}_y{SCAN_SHAPE[0]}.raw"
    for path in (folder / name, folder / BESIDE[0]):
        path.write_bytes(frames.tobytes())
    (folder / "empad.xml").write_text(
        f"<root><raw_file filename='{BESIDE[0]}'/><pix_x>{SCAN_SHAPE[1]}</pix_x>"
        f"<pix_y>{SCAN_SHAPE[0]}</pix_y></root>"
    )
    plain = ("stack.npy", "scan.npy", "fortran.npy", "a.mrc", name, "empad.xml")
    bare: Options = {"shape": (6, ROWS, COLS), "dtype": "u2", "offset": 4}
    return {name: {} for name in plain} | {"a.bin": bare}


def hdf5(folder: Path, scan: np.ndarray) -> dict[str, Options]:
    """HDF5 of old and new format, py4DSTEM's and Velox's layout in them."""
    import h5py

    for version in ("earliest", "latest"):
        with h5py.File(folder / f"{version}.h5", "w", libver=version) as file:
            data = {"data": scan, "chunks": (1, 1, ROWS, COLS), "compression": "gzip", "shuffle": True}
            file.create_dataset("datacube_root/datacube/data", **data)
            file.create_dataset("frames/data", data=scan[0], chunks=(1, ROWS, COLS), fletcher32=True)
            for i, n in enumerate(scan.shape):
                dim = file.create_dataset(f"datacube_root/datacube/dim{i}", data=np.arange(n) * 0.5)
                dim.attrs["name"], dim.attrs["units"] = ("Rx", "Ry", "Qx", "Qy")[i], "nm"
            for i in range(12):  # more links than a group keeps in its header
                file[f"many/{i}"] = i
    with h5py.File(folder / "velox.emd", "w") as file:
        file["Data/Image/0123abc/Data"] = np.moveaxis(scan[0], 0, -1)
    return {name: {} for name in ("earliest.h5", "latest.h5", "velox.emd")}


def netcdf(folder: Path, scan: np.ndarray) -> dict[str, Options]:
    """netCDF 4, and the classic format."""
    import xarray as xr

    dims = ("y", "x", "ky", "kx")
    xr.Dataset({"scan": (dims, scan)}, {"x": [0.0, 0.5, 1.0]}).to_netcdf(folder / "scan.nc")
    xr.Dataset({"a": (dims[1:], scan[0].astype("i4"))}).to_netcdf(folder / "old.nc", format="NETCDF3_CLASSIC")
    return {"scan.nc": {}, "old.nc": {}}


def zipped(folder: Path, scan: np.ndarray) -> dict[str, Options]:
    """HyperSpy's zarr store in a zip file."""
    import zarr

    form = {"zarr_format": 2} if zarr.__version__ >= "3" else {}
    store = zarr.storage.ZipStore(str(folder / "a.zspy"), mode="w")
    group = zarr.open_group(store, mode="w", **form).create_group("Experiments/scan")
    create = group.create_array if hasattr(group, "create_array") else group.create_dataset
    create("data", shape=scan.shape, chunks=(1, 3, ROWS, COLS), dtype="u2")[...] = scan
    store.close()
    return {"a.zspy": {}}


def rosettasciio_writers() -> list[Callable[[Path, np.ndarray], dict[str, Options]]]:
    """Writers of the formats that RosettaSciIO itself can write."""
    known = {
        ".blo": "blockfile",
        ".tvips": "tvips",
        ".hspy": "hspy",
        ".nxs": "nexus",
        ".emd": "emd",
        ".prz": "pantarhei",
        ".unf": "semper",
        ".sur": "digitalsurf",
        ".rpl": "ripple",
    }

    def writer(suffix: str, plugin: str) -> Callable[[Path, np.ndarray], dict[str, Options]]:
        def write(folder: Path, scan: np.ndarray) -> dict[str, Options]:
            data = scan
            if suffix == ".blo":
                data = scan[..., :COLS, :COLS].astype("u1")
            elif suffix in (".unf", ".sur"):
                data = scan[0, 0].astype("f4")
            elif suffix == ".rpl":
                data = scan[0]
            name = f"rosetta_000{suffix}"
            write_file = importlib.import_module(f"rsciio.{plugin}").file_writer
            write_file(str(folder / name), _signal(data))
            return {name: {}}

        write.__name__ = suffix
        return write

    return [writer(suffix, plugin) for suffix, plugin in known.items()]


def _signal(data: np.ndarray) -> dict[str, Any]:
    """A scan or frame as the dictionary that RosettaSciIO's writers take."""
    names = ("y", "x", "ky", "kx")[-data.ndim :]
    axes = []
    for i, (n, name) in enumerate(zip(data.shape, names, strict=True)):
        navigate = i < data.ndim - 2
        axis = {
            "size": n,
            "index_in_array": i,
            "name": name,
            "scale": 0.5,
            "offset": 0.0,
            "navigate": navigate,
        }
        kind = {"units": "nm" if navigate else "cm", "_type": "UniformDataAxis", "is_binned": False}
        axes.append(axis | kind)
    microscope = {"TEM": {"beam_energy": 200.0, "camera_length": 100.0}}
    metadata = {
        "General": {"title": "scan"},
        "Signal": {"signal_type": ""},
        "Acquisition_instrument": microscope,
    }
    empty: dict[str, Any] = {
        key: {} for key in ("original_metadata", "learning_results", "models", "tmp_parameters")
    }
    about = {
        "attributes": {"_lazy": False, "ragged": False},
        "package": "",
        "package_version": "",
        "package_info": {},
    }
    return {"data": data, "axes": axes, "metadata": metadata, **empty, **about}


def merlin(folder: Path, scan: np.ndarray) -> dict[str, Options]:
    """MIB of a Merlin camera, by its documented layout."""
    import rsciio  # noqa: F401 - what reads it

    with (folder / "a.mib").open("wb") as file:
        for i, frame in enumerate(scan.reshape(-1, ROWS, COLS)):
            head = f"MQ1,{i + 1:06d},00384,01,{COLS:04d},{ROWS:04d},U16,   1x1,01,0,"
            stamp = f"2026-01-01T00:00:00.{i:06d}000Z,1000000ns,12,"
            file.write((head + stamp).ljust(383).encode() + b"\n" + frame[::-1].astype(">u2").tobytes())
    return {"a.mib": {}}


def real(folder: Path, scan: np.ndarray) -> dict[str, Options]:
    """Files of real cameras, where they are."""
    import rsciio  # noqa: F401 - what reads them

    found = sorted(FORMATS.iterdir()) if FORMATS.is_dir() else []
    for path in found:
        (folder / path.name).write_bytes(path.read_bytes())
    return {path.name: {} for path in found}
