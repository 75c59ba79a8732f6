"""Frames in, files out: the only module that knows file formats.

A frame is an array of rows by columns, row 0 at the top, and a map of the pixels that can be trusted. Arrays
are taken as they are stored, never flipped or transposed; a three-dimensional array is a stack, frame first.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import operator
import os
import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from hybridfit.errors import HybridfitError, InputError
from hybridfit.frame import Frame, make_frame

_MRC_DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_IMOD_STAMP = 1146047817
_SCAN = "average or slice a 4D-STEM scan into single patterns first"


# Reading -------------------------------------------------------------------------------------------------


def read_frames(
    path: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    shape: Sequence[int] | None = None,
    dtype: DTypeLike | None = None,
    offset: int = 0,
    mask: ArrayLike | None = None,
) -> list[Frame]:
    """Read the frame, or the stack of frames, in a file.

    PNG, JPEG, TIFF, NPY, MRC, netCDF and HDF5 (.nc, .h5, .hdf5, .hspy, .emd, …) are read by what comes with
    hybridfit; DM3, DM4, MIB, BLO, SER and others by RosettaSciIO (``pip install "hybridfit[formats]"``); raw
    binary files when `shape` and `dtype` are given. Colour images become grey.

    Parameters
    ----------
    path : str or path
    dataset : str, optional
        netCDF and HDF5: "group/name". Needed where the file holds more than one 2-D or 3-D dataset.
    shape, dtype, offset : (rows, cols) or (frames, rows, cols); dtype such as ">u2"; bytes
        Raw files only: .raw, .bin, .dat and any suffix not known here.
    mask : array_like of bool, (rows, cols), optional
        True = leave this pixel out, whatever it holds.

    Returns
    -------
    list of Frame
        In the order of the file, each as `make_frame` checks it.

    Raises
    ------
    InputError
        If the file cannot be read, or one of its frames cannot be used.
    """
    path = Path(path)
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} does not exist or must not be read; check name, folder and permissions")
    if not path.is_file():
        raise InputError(f"{path} is not a file; name the files, such as {path / '*.tif'}")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); copy or save it again")
    suffix = path.suffix.lower()
    kind, reader = _READERS.get(suffix, (f"a {suffix or 'suffixless'} file", _read_rosettasciio))
    raw_given = shape is not None or dtype is not None or offset != 0
    if dataset is not None and reader is not _read_hdf:
        raise InputError(
            f"dataset = {dataset!r} is for netCDF and HDF5 files; {path} is {kind}: leave it out"
        )
    if suffix in _READERS and raw_given:
        raise InputError(f"shape, dtype and offset are for raw files; {path} is {kind}: leave them out")
    try:
        if suffix in _RAW or raw_given:
            kind = "raw"
            arrays = [_read_raw(path, shape, dtype, offset)]
        elif reader is _read_hdf:
            arrays = _read_hdf(path, dataset)
        else:
            arrays = reader(path)
        planes = [plane for array in arrays for plane in _planes(array, path)]
    except HybridfitError:
        raise
    except Exception as error:  # whatever a decoder throws at a damaged file
        raise InputError(
            f"{path} cannot be read as {kind} ({_one_line(error)}); "
            "it is truncated, damaged or of another format: copy or save it again"
        ) from error
    if not planes:
        raise InputError(f"{path} holds no frames; save at least one 2-D array")
    if len(planes) == 1:
        return [make_frame(planes[0], source=str(path), mask=mask)]
    return [make_frame(plane, source=f"{path}[{i}]", mask=mask) for i, plane in enumerate(planes)]


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a mask: True where the file is not 0.

    It is not checked as a frame is: a mask may be boolean, constant, or at full scale.

    Raises
    ------
    InputError
        If the file cannot be read, or holds anything but one two-dimensional array of numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"mask {path} does not exist or is not a file; check name and folder")
    if path.suffix.lower() not in _READERS:
        raise InputError(f"mask {path}: masks are read from {', '.join(_READERS)}; save it as one of these")
    kind, reader = _READERS[path.suffix.lower()]
    try:
        planes = [plane for array in reader(path) for plane in _planes(array, path)]
    except HybridfitError:
        raise
    except Exception as error:  # whatever a decoder throws at a damaged file
        raise InputError(
            f"mask {path} cannot be read as {kind} ({_one_line(error)}); save it again"
        ) from error
    if len(planes) != 1 or planes[0].ndim != 2 or planes[0].dtype.kind not in "buif":
        raise InputError(f"mask {path} is not one two-dimensional image of numbers; save it as one")
    out: np.ndarray = planes[0] != 0
    return out


def _one_line(error: BaseException) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:160] or type(error).__name__


def _planes(array: np.ndarray, path: Path) -> list[np.ndarray]:
    if array.ndim == 3:
        return list(array)
    if array.ndim > 3:
        raise InputError(
            f"{path} holds a {array.ndim}-D array {array.shape}; frames are 2-D and stacks 3-D; {_SCAN}"
        )
    return [array]


def _grey(colour: np.ndarray) -> np.ndarray:
    """Channels last to one channel: the first if they agree, else luminance (BT.601); alpha is dropped."""
    first = colour[..., 0]
    if colour.shape[-1] < 3 or all(np.array_equal(first, colour[..., i]) for i in (1, 2)):
        return first
    luminance: np.ndarray = colour[..., :3] @ np.array([0.299, 0.587, 0.114])
    return np.rint(luminance).astype(colour.dtype) if colour.dtype.kind in "ui" else luminance


def _read_pillow(path: Path, formats: tuple[str, ...] = ("PNG", "JPEG")) -> list[np.ndarray]:
    from PIL import Image

    arrays = []
    with Image.open(path, formats=formats) as image:
        for i in range(getattr(image, "n_frames", 1) if "TIFF" in formats else 1):
            image.seek(i)
            plain = image.mode in ("L", "F", "I", "LA", "RGB", "RGBA") or image.mode.startswith("I;16")
            page = np.asarray(image if plain else image.convert("RGBA"))  # 1 bit, palette, CMYK ...
            arrays.append(_grey(page) if page.ndim == 3 else page)
    return arrays


def _read_tiff(path: Path) -> list[np.ndarray]:
    import tifffile

    log, complaints = logging.getLogger("tifffile"), []

    def note(record: logging.LogRecord) -> bool:  # tifffile only logs a broken chain of pages, and reads on
        complaints.append(record.getMessage())
        return False

    log.addFilter(note)
    try:
        with tifffile.TiffFile(path) as tiff:
            series = [s for s in tiff.series if not s.keyframe.is_reduced]  # no thumbnails
            plain = (1, 8, 32946)  # uncompressed, deflate
            if any(s.keyframe.compression not in plain or s.keyframe.photometric == 3 for s in series):
                return _read_pillow(path, ("TIFF",))  # LZW, JPEG, palettes: tifffile alone has no decoder
            for page in (page for s in series for page in s.pages if page is not None):
                ends = [a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=False)]
                _check_size(path, max(ends, default=0))
            arrays = [(s.asarray(), s.axes) for s in series]
    finally:
        log.removeFilter(note)
    if any("invalid page offset" in text for text in complaints):
        raise InputError(f"{path} is truncated: pages are missing from it; copy it again")
    # Colour planes one after the other are a stack of three: tifffile has written such stacks as colour.
    return [_grey(array) if axes.endswith("S") else array for array, axes in arrays]


def _check_size(path: Path, needed: int) -> None:
    size = path.stat().st_size
    if size < needed:
        raise InputError(
            f"{path} is truncated: {size} bytes of the {needed} that it announces; copy it again"
        )


def _read_npy(path: Path) -> list[np.ndarray]:
    with path.open("rb") as file:
        magic = file.read(6)
    pickled = InputError(
        f"{path} holds pickled objects, which are never loaded; "
        "save a plain numeric array with numpy.save(..., allow_pickle=False)"
    )
    if magic[:1] == b"\x80":
        raise pickled
    if magic != b"\x93NUMPY":
        raise InputError(f"{path} is not a .npy file (it starts with {magic!r}); save one with numpy.save")
    try:
        return [np.lib.format.open_memmap(path, mode="r")]
    except ValueError as error:
        if "Python objects" in str(error):
            raise pickled from error
        raise


def _read_mrc(path: Path) -> list[np.ndarray]:
    """MRC2014: 1024 bytes of header (nx, ny, nz, mode ...), an extended header, then (nz, ny, nx) values."""
    _check_size(path, 1024)
    header = np.fromfile(path, "u1", 1024)
    for order in "<>":  # sizes below 65536 are unmistakable; the machine stamp is often left empty
        words = header.view(f"{order}i4").tolist()
        (nx, ny, nz, mode), extended = words[:4], words[23]
        if 0 < nx < 65536 and 0 < ny < 65536 and nz > 0 and extended >= 0:
            break
    else:
        raise InputError(f"{path} has no MRC header (sizes {nx}, {ny}, {nz}); it is of another format")
    if mode not in _MRC_DTYPES:
        raise InputError(f"{path} is MRC mode {mode}; modes 0, 1, 2, 6 and 12 are read: convert it to mode 2")
    unsigned = mode == 0 and words[38] == _IMOD_STAMP and not words[39] & 1  # bytes as IMOD writes them
    dtype = np.dtype("u1" if unsigned else order + _MRC_DTYPES[mode])
    count, start = nx * ny * nz, 1024 + extended
    _check_size(path, start + count * dtype.itemsize)
    return [np.fromfile(path, dtype, count, offset=start).reshape(nz, ny, nx)]


def _read_raw(path: Path, shape: Sequence[int] | None, dtype: DTypeLike | None, offset: int) -> np.ndarray:
    wanted = "give shape, such as (256, 256), dtype, such as '<u2', and offset in bytes"
    if shape is None or dtype is None:
        raise InputError(f"{path} is raw, without a header that tells its layout; {wanted}")
    try:
        number, sizes, start = np.dtype(dtype), tuple(map(operator.index, shape)), operator.index(offset)
        good = number.kind in "uif" and len(sizes) in (2, 3) and min(sizes) > 0 and start >= 0
    except TypeError:
        good = False
    if not good:
        raise InputError(f"{path}: shape {shape}, dtype {dtype}, offset {offset} is no layout; {wanted}")
    size, expected = path.stat().st_size, start + math.prod(sizes) * number.itemsize
    if size != expected:
        raise InputError(
            f"{path} has {size} bytes; shape {sizes} of {number} after {start} bytes makes {expected}: "
            "check shape, dtype and offset"
        )
    return np.fromfile(path, number, offset=start).reshape(sizes)


def _read_hdf(path: Path, dataset: str | None = None) -> list[np.ndarray]:
    import netCDF4
    from scipy.io import netcdf_file

    with path.open("rb") as file:
        if file.read(4) in (b"CDF\x01", b"CDF\x02"):  # netCDF4 fills a truncated one up with zeros
            file.seek(0)
            netcdf_file(file, mmap=False).close()
    with netCDF4.Dataset(path) as root:
        variables = dict(_walk(root))
        name = _chosen(path, variables, dataset)
        variable = variables[name]
        # Without these attributes netCDF4 would mask its default fill value: 65535 of a 16 bit camera.
        variable.set_auto_mask(bool({"_FillValue", "missing_value"} & set(variable.ncattrs())))
        array: np.ndarray = variable[...]
        axes = [_emd_axis(variable.group(), i) for i in range(1, array.ndim + 1)]
    if array.ndim == 3 and name.startswith("Data/Image/") and name.endswith("/Data"):
        return [np.moveaxis(array, -1, 0)]  # Velox EMD: rows, cols, frame
    if "x" in axes and "y" in axes and axes.index("x") < axes.index("y"):
        return [array.T]  # Berkeley EMD: cols, rows
    return [array]


def _walk(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, variable in group.variables.items():
        yield prefix + name, variable
    for name, child in group.groups.items():
        yield from _walk(child, f"{prefix}{name}/")


def _chosen(path: Path, variables: dict[str, Any], dataset: str | None) -> str:
    usable = [name for name, variable in variables.items() if _is_frame(variable)]
    listed = ", ".join(usable[:12]) + (f" and {len(usable) - 12} more" if len(usable) > 12 else "")
    if dataset is None and len(usable) == 1:
        return usable[0]
    if dataset is None and usable:
        raise InputError(f"{path} holds {len(usable)} datasets; name one with dataset = ...: {listed}")
    if dataset is None:
        shapes = ", ".join(f"{name} {v.ndim}-D" for name, v in list(variables.items())[:12]) or "no dataset"
        raise InputError(f"{path} holds no 2-D or 3-D dataset of integers or floats, only {shapes}; {_SCAN}")
    name = dataset.strip("/")
    if name not in variables:
        raise InputError(f"{path} holds no dataset {dataset!r}; name one of: {listed or 'none is a frame'}")
    if name not in usable:
        found = f"{variables[name].ndim}-D {getattr(variables[name].dtype, 'name', 'text or half floats')}"
        raise InputError(f"{path}: {dataset!r} is {found}; 2-D or 3-D integers or floats are read; {_SCAN}")
    return name


def _is_frame(variable: Any) -> bool:
    """True for 2-D and 3-D numbers. Nothing else may be read: netCDF4 crashes on half floats, for one."""
    dtype = variable.datatype
    return isinstance(dtype, np.dtype) and dtype.kind in "uif" and variable.ndim in (2, 3)


def _emd_axis(group: Any, i: int) -> str:
    dim = group.variables.get(f"dim{i}")
    return str(dim.getncattr("name")) if dim is not None and "name" in dim.ncattrs() else ""


def _read_rosettasciio(path: Path) -> list[np.ndarray]:
    suffix = path.suffix.lower()
    try:
        plugins = importlib.import_module("rsciio").IO_PLUGINS
    except ImportError as error:
        raise InputError(
            f'{path}: {suffix or "no suffix"} needs RosettaSciIO; pip install "hybridfit[formats]", '
            "or give shape and dtype if it is raw"
        ) from error
    for plugin in plugins:
        if suffix[1:] in (str(extension).lower() for extension in plugin["file_extensions"]):
            break
    else:
        raise InputError(
            f"{path}: {suffix or 'no suffix'} is not a known format; give shape and dtype if it is raw"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signals = importlib.import_module(plugin["api"]).file_reader(str(path), lazy=True)  # scans are huge
        images = [s["data"] for s in signals if sum(not axis["navigate"] for axis in s["axes"]) == 2]
        if not images:
            raise InputError(
                f"{path} holds no image ({len(signals)} other signals); choose a file with frames"
            )
        return [np.asarray(image) if image.ndim <= 3 else image for image in images]


_READERS: dict[str, tuple[str, Callable[..., list[np.ndarray]]]] = {
    **dict.fromkeys(".png .jpg .jpeg".split(), ("PNG or JPEG", _read_pillow)),
    **dict.fromkeys(".tif .tiff".split(), ("TIFF", _read_tiff)),
    ".npy": ("NPY", _read_npy),
    **dict.fromkeys(".mrc .mrcs".split(), ("MRC", _read_mrc)),
    **dict.fromkeys(
        ".nc .nc4 .cdf .h5 .hdf5 .hdf .he5 .nxs .hspy .emd".split(), ("netCDF or HDF5", _read_hdf)
    ),
}
_RAW = (".raw", ".bin", ".dat")

# Writing -------------------------------------------------------------------------------------------------


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path` that takes its place once the block ends without an error.

    Whatever happens, `path` holds either what it held before or all of the new content. The temporary name
    has the same suffix, so that writers which go by it work; nothing exists under it yet.

    Raises
    ------
    InputError
        If the folder does not exist or cannot be written to, or `path` is there and not a file.
    """
    target = Path(os.path.realpath(path))  # through a link, not in its place
    if target.exists() and not target.is_file():
        raise InputError(f"{path} exists and is not a file; choose another name to write to")
    if not target.parent.is_dir():
        raise InputError(
            f"{path} cannot be written: the folder {target.parent} does not exist; create it first"
        )
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"{path} cannot be written: no permission in {target.parent}; choose another folder")
    temporary = target.with_name(f".{target.stem[:100]}-{secrets.token_hex(4)}{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_json_atomic(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as JSON: numpy values become numbers and lists, NaN and infinities null, paths strings."""
    text = json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_tiff_atomic(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write counts as a TIFF of 16 bits, or of 32 where they need them."""
    import tifffile

    dtype = np.uint16 if image.max() < 65535 else np.uint32
    with atomic_path(path) as temporary:
        tifffile.imwrite(temporary, image.astype(dtype))


def _plain(obj: Any) -> Any:
    if isinstance(obj, np.ndarray | np.generic):
        obj = obj.tolist()
    if isinstance(obj, dict):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value) for value in obj]
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    return None if isinstance(obj, float) and not math.isfinite(obj) else obj
