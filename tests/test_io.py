"""Every format in, every bad input refused in one line, no good pixel thrown away."""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from netCDF4 import Dataset
from PIL import Image

from hybridfit.errors import InputError
from hybridfit.io import Frame, atomic_path, make_frame, read_frames, write_json_atomic

pytestmark = pytest.mark.filterwarnings("error")

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
JPEGS = ("01-on_zone_50-51nm.jpg", "05-on_zone_61-63nm.jpg", "09-on_zone_94-95nm.jpg")


def pattern(rows: int = 96, cols: int = 80) -> np.ndarray:
    """Overlapping soft discs with fringes, 0 to about 1, off-centre: no symmetry hides a transposition."""
    y, x = np.mgrid[:rows, :cols].astype(float)
    x -= 0.4 * cols
    y -= 0.55 * rows
    out = np.full((rows, cols), 0.02)
    for i, j in np.ndindex(3, 3):
        r = np.hypot(x - 26 * (i - 1), y - 26 * (j - 1))
        height = 0.8 if i == j == 1 else 0.2
        out += height * (1 + 0.3 * np.cos(0.3 * x) * np.cos(0.2 * y)) / (1 + np.exp(r - 16))
    return out


def counts(electrons: float, rows: int = 96, cols: int = 80, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(electrons * pattern(rows, cols))


def as_dtype(dtype: str, frames: int | None = None) -> np.ndarray:
    image = 60 * pattern() if frames is None else np.stack([(60 - i) * pattern() for i in range(frames)])
    return image.astype(dtype)


def refused(what: Any, **options: Any) -> str:
    """The message with which read_frames (a path) or make_frame (anything else) refuses."""
    function: Any = read_frames if isinstance(what, Path) else make_frame
    with pytest.raises(InputError) as caught:
        function(what, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


def assert_reads(path: Path, expected: np.ndarray, **options: Any) -> list[Frame]:
    frames = read_frames(path, **options)
    planes = expected if expected.ndim == 3 else expected[None]
    assert len(frames) == len(planes)
    for i, (frame, plane) in enumerate(zip(frames, planes, strict=True)):
        assert frame.image.dtype == np.float64 and frame.valid.dtype == bool
        np.testing.assert_array_equal(frame.image, plane.astype(float))
        assert frame.valid.all()
        assert frame.source == (str(path) if len(planes) == 1 else f"{path}[{i}]")
    return frames


# A round trip for every format and type -------------------------------------------------------------------


def write_mrc(
    path: Path, array: np.ndarray, mode: int, *, extended: int = 0, imod_flags: int | None = None
) -> None:
    """MRC by its specification, independent of the reader."""
    order = array.dtype.byteorder if array.dtype.byteorder in "<>" else "<"
    nz, ny, nx = array.shape if array.ndim == 3 else (1, *array.shape)
    words = np.zeros(256, f"{order}i4")
    words[:4] = nx, ny, nz, mode
    words[23] = extended
    if imod_flags is not None:
        words[38:40] = 1146047817, imod_flags
    path.write_bytes(words.tobytes() + b"\7" * extended + array.tobytes())


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_png(tmp_path: Path, dtype: str) -> None:
    image = as_dtype(dtype)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert_reads(tmp_path / "a.png", image)


def test_jpeg_is_read_the_right_way_up(tmp_path: Path) -> None:
    image = as_dtype("u1")
    Image.fromarray(image).save(tmp_path / "a.JPG", quality=98)
    (frame,) = read_frames(tmp_path / "a.JPG")
    assert np.abs(frame.image - image).max() < 6


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_colour_of_equal_channels_is_its_grey(tmp_path: Path, mode: str) -> None:
    grey = as_dtype("u1")
    Image.fromarray(grey).convert(mode).save(tmp_path / "a.png")
    assert_reads(tmp_path / "a.png", grey)


def test_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(as_dtype("u1") > 20).save(tmp_path / "a.png")
    assert "saturated" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_unequal_channels_are_weighted(tmp_path: Path, suffix: str) -> None:
    red, green, blue = (as_dtype("u1") * k for k in (1, 2, 3))
    colour = np.stack([red, green, blue], axis=-1)
    Image.fromarray(colour).save(tmp_path / f"a{suffix}")
    assert_reads(tmp_path / f"a{suffix}", np.rint(0.299 * red + 0.587 * green + 0.114 * blue))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("frames", [None, 3])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff(tmp_path: Path, dtype: str, frames: int | None, compression: str | None) -> None:
    array = as_dtype(dtype, frames)
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, photometric="minisblack")
    assert_reads(tmp_path / "a.tif", array)


def test_tiff_of_big_endian_pages_and_thumbnail(tmp_path: Path) -> None:
    stack = as_dtype("u2", 3)
    with tifffile.TiffWriter(tmp_path / "a.tiff", byteorder=">") as writer:
        for plane in stack:
            writer.write(plane, contiguous=False)
        writer.write(stack[0, ::4, ::4].copy(), subfiletype=1)
    assert_reads(tmp_path / "a.tiff", stack)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_tiff_compressed_with_lzw(tmp_path: Path, dtype: str) -> None:
    stack = as_dtype(dtype, 2)
    first, second = (Image.fromarray(plane) for plane in stack)
    first.save(tmp_path / "a.tif", compression="tiff_lzw", save_all=True, append_images=[second])
    assert_reads(tmp_path / "a.tif", stack)


def test_colour_tiff_stack(tmp_path: Path) -> None:
    stack = as_dtype("u2", 3)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([stack] * 3, axis=-1), photometric="rgb")
    assert_reads(tmp_path / "a.tif", stack)
    tifffile.imwrite(tmp_path / "b.tif", stack, photometric="rgb", planarconfig="separate")
    assert_reads(tmp_path / "b.tif", stack)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "i4", "u8", "f2", "f4", ">f8"])
@pytest.mark.parametrize("frames", [None, 3])
def test_npy(tmp_path: Path, dtype: str, frames: int | None) -> None:
    array = as_dtype(dtype, frames)
    np.save(tmp_path / "a.npy", np.asfortranarray(array) if frames else array, allow_pickle=False)
    assert_reads(tmp_path / "a.npy", array)


@pytest.mark.parametrize(("mode", "dtype"), [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("frames", "extended"), [(None, 0), (3, 0), (3, 160)])
def test_mrc(tmp_path: Path, mode: int, dtype: str, order: str, frames: int | None, extended: int) -> None:
    array = as_dtype(order + dtype, frames)
    if dtype == "i1":  # a single byte knows no order: let the header have it
        array = array.view(np.dtype("i1"))
    write_mrc(tmp_path / "a.mrc", array, mode, extended=extended)
    assert_reads(tmp_path / "a.mrc", array)


def test_mrc_bytes_of_imod(tmp_path: Path) -> None:
    bright = (200 * pattern()).astype("u1")
    write_mrc(tmp_path / "a.mrc", bright, 0, imod_flags=0)
    assert_reads(tmp_path / "a.mrc", bright)
    signed = bright.view("i1")
    write_mrc(tmp_path / "b.mrc", signed, 0, imod_flags=1)
    np.testing.assert_array_equal(read_frames(tmp_path / "b.mrc")[0].image, signed)


@pytest.mark.parametrize("frames", [None, 3])
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2"])
def test_mrc_as_mrcfile_writes_it(tmp_path: Path, dtype: str, frames: int | None) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    array = as_dtype(dtype, frames)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(array)
        file.set_extended_header(np.zeros(64, "V1"))
    assert_reads(tmp_path / "a.mrc", array)


@pytest.mark.parametrize("suffix", [".raw", ".bin", ".dat", ".xyz"])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4", ">f4", "f8"])
@pytest.mark.parametrize(("frames", "offset"), [(None, 0), (3, 100)])
def test_raw(tmp_path: Path, suffix: str, dtype: str, frames: int | None, offset: int) -> None:
    array = as_dtype(dtype, frames)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\1" * offset + array.tobytes())
    assert_reads(path, array, shape=array.shape, dtype=dtype, offset=offset)


def write_netcdf(
    path: Path, datasets: dict[str, np.ndarray], form: Any = "NETCDF4", **attributes: float
) -> None:
    with Dataset(path, "w", format=form) as root:
        for name, array in datasets.items():
            variable_name = name.replace("/", "_")
            dims = [f"{variable_name}_{i}" for i in range(array.ndim)]
            for dim, n in zip(dims, array.shape, strict=True):
                root.createDimension(dim, n)
            variable = root.createVariable(name, array.dtype, dims, fill_value=attributes.get("_FillValue"))
            variable.set_auto_maskandscale(False)
            variable[...] = array
            variable.setncatts({k: v for k, v in attributes.items() if k != "_FillValue"})


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("frames", [None, 3])
def test_netcdf(tmp_path: Path, form: str, dtype: str, frames: int | None) -> None:
    array = as_dtype(dtype, frames)
    write_netcdf(tmp_path / "a.nc", {"frame": array, "axis": np.arange(5.0)}, form)
    assert_reads(tmp_path / "a.nc", array)
    assert_reads(tmp_path / "a.nc", array, dataset="frame")


def test_netcdf_scale_and_fill_value(tmp_path: Path) -> None:
    array = as_dtype("i2")
    array[5, 7] = -999
    write_netcdf(tmp_path / "a.nc", {"frame": array}, scale_factor=0.5, add_offset=2.0, _FillValue=-999)
    (frame,) = read_frames(tmp_path / "a.nc")
    assert np.argwhere(~frame.valid).tolist() == [[5, 7]]
    np.testing.assert_array_equal(frame.image[frame.valid], (2 + 0.5 * array)[frame.valid])


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".hspy", ".emd"])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i4", "u8", ">f4", "f8"])
def test_hdf5(tmp_path: Path, suffix: str, dtype: str) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / f"a{suffix}"
    frame, stack = as_dtype(dtype), as_dtype(dtype, 3)
    with h5py.File(path, "w") as file:
        file.create_dataset("scan 1/frame", data=frame, compression="gzip", shuffle=True)
        file["scan 1/label"] = "text"
        file["scan 1/calibration"] = np.arange(4.0)
        file["scan 1/half"] = frame.astype("f2")  # netCDF4 dies of reading one: it must not be tried
        file["scan 1/complex"] = frame.astype("c16")
        file["scan 1/mask"] = frame > 3
        file["scan 1"].attrs["flag"] = np.bool_(True)
    assert_reads(path, frame)
    assert "half floats" in refused(path, dataset="scan 1/half")
    with h5py.File(path, "a") as file:
        file["scan 1/frames"] = stack
    assert_reads(path, stack, dataset="/scan 1/frames")
    message = refused(path)
    assert "scan 1/frame, scan 1/frames" in message and "dataset =" in message
    message = refused(path, dataset="scan1/frame")
    assert "'scan1/frame'" in message and "scan 1/frame, scan 1/frames" in message


def test_hdf5_full_scale_is_saturation_not_a_fill_value(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    image = np.minimum(counts(60000), 65535).astype("u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frame"] = image
    (frame,) = read_frames(tmp_path / "a.h5")
    np.testing.assert_array_equal(frame.image, image)
    np.testing.assert_array_equal(frame.valid, image < 65535)


def test_emd_is_turned_the_way_its_makers_store_it(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    stack = as_dtype("u2", 3)
    with h5py.File(tmp_path / "velox.emd", "w") as file:
        file["Data/Image/0123abc/Data"] = np.moveaxis(stack, 0, -1)
    assert_reads(tmp_path / "velox.emd", stack)
    with h5py.File(tmp_path / "berkeley.emd", "w") as file:
        file["signals/a/data"] = stack[0].T
        for i, name in enumerate("xy", start=1):
            file[f"signals/a/dim{i}"] = np.arange(2.0)
            file[f"signals/a/dim{i}"].attrs["name"] = name
    assert_reads(tmp_path / "berkeley.emd", stack[0])


def test_rosettasciio_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rsciio", None)
    (tmp_path / "a.dm3").write_bytes(b"\0\0\0\3")
    assert 'pip install "hybridfit[formats]"' in refused(tmp_path / "a.dm3")


def test_rosettasciio(tmp_path: Path) -> None:
    pytest.importorskip("rsciio")
    (tmp_path / "a.dm3").write_bytes(b"\0\0\0\3 and no more")
    assert "cannot be read as a .dm3 file" in refused(tmp_path / "a.dm3")
    (tmp_path / "a.xyz").write_bytes(b"what is this")
    assert "not a known format" in refused(tmp_path / "a.xyz")
    if not (DATA / "formats/GeSn_000.dm3").exists():
        pytest.skip("no ../shared/data")
    (frame,) = read_frames(DATA / "formats/GeSn_000.dm3")
    assert frame.image.shape == frame.valid.shape == (150, 150)
    assert frame.valid.mean() > 0.99


def test_import_stays_light() -> None:
    import subprocess

    heavy = "netCDF4", "tifffile", "PIL", "rsciio", "h5py", "mrcfile", "torch", "scipy.ndimage"
    code = f"import sys, hybridfit.io; print([m for m in {heavy} if m in sys.modules])"
    folder = Path(__file__).resolve().parents[1]
    out = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# Files that cannot be used --------------------------------------------------------------------------------


def test_absent_directory_empty(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "no.png")
    assert "is not a file" in refused(tmp_path)
    (tmp_path / "a.tif").touch()
    assert "is empty (0 bytes)" in refused(tmp_path / "a.tif")


def good_files(folder: Path) -> list[Path]:
    """One file of each format, of noisy counts so that compression cannot hide a missing end."""
    image = counts(50).astype("u1")
    for name in ("a.png", "a.jpg"):
        Image.fromarray(image).save(folder / name)
    tifffile.imwrite(folder / "a.tif", image)
    tifffile.imwrite(folder / "zip.tif", image, compression="zlib")
    Image.fromarray(image).save(folder / "lzw.tif", compression="tiff_lzw")
    with tifffile.TiffWriter(folder / "pages.tif") as writer:
        for _ in range(3):
            writer.write(image, contiguous=False)
    np.save(folder / "a.npy", image)
    write_mrc(folder / "a.mrc", image, 0)
    write_netcdf(folder / "a.nc", {"frame": image})
    write_netcdf(folder / "classic.nc", {"frame": image.astype("i4")}, "NETCDF3_CLASSIC")
    return sorted(folder.iterdir())


def test_truncated_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in good_files(tmp_path):
        content = path.read_bytes()
        assert len(read_frames(path)) in (1, 3)
        for kept in (0.001, 0.02, 0.3, 0.6, 0.95):
            path.write_bytes(content[: max(1, int(kept * len(content)))])
            assert path.name in refused(path)
    assert capfd.readouterr().err == ""


def test_damaged_files_raise_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for path in good_files(tmp_path):
        if path.suffix == ".nc":  # the C library's own affair
            continue
        content = path.read_bytes()
        for _ in range(25):
            damaged = np.frombuffer(content, "u1").copy()
            where = rng.integers(0, min(damaged.size, 1100), 8)
            damaged[where] = rng.integers(0, 256, 8)
            path.write_bytes(damaged.tobytes())
            try:
                read_frames(path)
            except InputError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".npy", ".mrc", ".nc", ".h5", ".emd"])
def test_content_of_another_kind(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"these are not the bytes that you are looking for " * 99)
    assert path.name in refused(path)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    np.save(tmp_path / "a.npy", np.array([[Bomb()]], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb()))
    for name in ("a.npy", "b.npy"):
        message = refused(tmp_path / name)
        assert (
            message.startswith(str(tmp_path / name))
            and "holds pickled objects, which are never loaded" in message
        )
    assert not (tmp_path / "exploded").exists()


def test_raw_layouts(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(as_dtype("u2").tobytes())
    assert "shape" in refused(path) and "dtype" in refused(path, shape=(96, 80))
    message = refused(path, shape=(96, 96), dtype="<u2")
    assert str(96 * 80 * 2) in message and str(96 * 96 * 2) in message
    assert str(96 * 80 * 2 + 4) in refused(path, shape=(96, 80), dtype="<u2", offset=4)
    for bad in (
        {"shape": (96, 80), "dtype": "q9"},
        {"shape": (96, 80), "dtype": "O"},
        {"shape": (7680,), "dtype": "u2"},
    ):
        assert "is no layout" in refused(path, **bad)
    assert "is no layout" in refused(path, shape=(9.6, 80), dtype="u2")
    assert "is no layout" in refused(path, shape=(96, -80), dtype="u2")
    assert "is no layout" in refused(path, shape=(96, 80), dtype="u2", offset=-2)


def test_options_of_another_format(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", as_dtype("u2"))
    assert "dataset = 'x'" in refused(tmp_path / "a.npy", dataset="x")
    assert "for raw files" in refused(tmp_path / "a.npy", shape=(96, 80), dtype="u2")


def test_scans_and_vectors_are_not_frames(tmp_path: Path) -> None:
    scan = np.ones((2, 3, 40, 40), "f4")
    np.save(tmp_path / "a.npy", scan)
    tifffile.imwrite(tmp_path / "a.tif", scan, photometric="minisblack")
    write_netcdf(tmp_path / "a.nc", {"scan": scan})
    for name in ("a.npy", "a.tif", "a.nc"):
        assert "4-D" in refused(tmp_path / name) and "into single patterns" in refused(tmp_path / name)
    assert "4-D" in refused(tmp_path / "a.nc", dataset="scan")
    np.save(tmp_path / "a.npy", scan.ravel())
    assert "1 dimensions" in refused(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.ones((0, 40, 40)))
    refused(tmp_path / "a.npy")


def test_mrc_modes_that_are_not_read(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", as_dtype("c8"), 4)
    assert "MRC mode 4" in refused(tmp_path / "a.mrc")


def test_a_bad_frame_of_a_stack_is_named(tmp_path: Path) -> None:
    stack = as_dtype("f4", 3)
    stack[2] = 0
    np.save(tmp_path / "a.npy", stack)
    assert f"{tmp_path / 'a.npy'}[2] is zero" in refused(tmp_path / "a.npy")


def test_tifffile_log_is_left_as_it_was(tmp_path: Path) -> None:
    before = list(logging.getLogger("tifffile").filters)
    tifffile.imwrite(tmp_path / "a.tif", as_dtype("u2"))
    read_frames(tmp_path / "a.tif")
    assert logging.getLogger("tifffile").filters == before


# Frames that cannot be used -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.ones(99), "1 dimensions"),
        (np.ones((3, 99, 99)), "3 dimensions"),
        (1.0, "0 dimensions"),
        ([[1, 2], [3]], "not an array"),
        (np.ones((99, 99), complex), "complex128 values, not intensities; pass its intensity"),
        (np.full((99, 99), None), "object values"),
        (np.full((99, 99), "1"), "<U1 values"),
        (np.ones((99, 99), bool), "bool values"),
        (np.ones((31, 99)), "31 by 99 px; at least 32 px"),
        (np.ones((99, 0)), "99 by 0 px"),
        (np.zeros((99, 99)), "zero in every"),
        (np.full((99, 99), 7), "7 in every"),
    ],
)
def test_arrays_that_are_no_frames(image: object, words: str) -> None:
    message = refused(image, source="last-night")
    assert message.startswith("last-night") and words in message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 9.969209968386869e36])
def test_not_finite(bad: float) -> None:
    image = pattern()
    image[3:5, 7] = bad
    assert "2 NaN or infinite pixels of 7680; mask them" in refused(image)
    mask = np.zeros(image.shape, bool)
    mask[3:5, 7] = True
    frame = make_frame(image, mask=mask)
    np.testing.assert_array_equal(frame.valid, ~mask)
    assert np.isfinite(frame.image).all()


def test_masks() -> None:
    image = counts(100)
    mask = np.zeros(image.shape, bool)
    mask[:, 40:43] = True
    for frame in (make_frame(image, mask=mask), make_frame(np.ma.array(image, mask=mask))):
        np.testing.assert_array_equal(frame.valid, ~mask)
        np.testing.assert_array_equal(frame.image, image)
    assert "no pixel left" in refused(image, mask=np.ones(image.shape, bool))
    assert "expected bool (96, 80)" in refused(image, mask=mask.T)
    assert "expected bool (96, 80)" in refused(image, mask=mask.astype(float))
    assert "zero in every usable pixel" in refused(np.where(mask, image, 0), mask=mask)


def test_the_array_is_copied_and_not_changed() -> None:
    image = pattern()
    before = image.copy()
    frame = make_frame(image)
    assert frame.source == "array" and not np.shares_memory(frame.image, image)
    np.testing.assert_array_equal(image, before)


def test_negative_values_are_allowed() -> None:
    image = counts(100) - 25.0 + np.random.default_rng(1).normal(0, 2, (96, 80))
    assert image.min() < -25
    assert make_frame(image).valid.all()


# Saturation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "level"), [("u1", 255), ("u2", 65535), ("u2", 4095), ("f4", 4095), ("f8", 1.0)]
)
def test_saturated_pixels_are_left_out(dtype: str, level: float) -> None:
    truth = counts(1e5, 256, 240) * (1.15 * level / counts(1e5, 256, 240).max())
    image = np.minimum(truth, level).astype(dtype)
    clipped = truth >= level
    assert 0.01 < clipped.sum() / (truth > level / 2).sum() < 0.25
    np.testing.assert_array_equal(make_frame(image).valid, ~clipped)


@pytest.mark.parametrize(("dtype", "level"), [("u1", 255), ("u2", 4095), ("f8", 1.0)])
def test_saturated_discs_are_refused(dtype: str, level: float) -> None:
    truth = counts(1e5) * (2 * level / counts(1e5).max())
    message = refused(np.minimum(truth, level).astype(dtype))
    assert "saturated" in message and "at most 25 %" in message and f"{level:g}" in message


def test_stuck_pixels_at_full_scale_do_not_condemn_a_frame() -> None:
    image = counts(2000).astype("u2")
    image[20, 30:34] = 65535
    frame = make_frame(image)
    assert not frame.valid[20, 30:34].any() and (~frame.valid).sum() == 4


def test_pixels_without_data_of_32_bit_cameras() -> None:
    image = counts(2000).astype("u4")
    image[40:44] = 2**32 - 1
    frame = make_frame(image)
    assert not frame.valid[40:44].any() and (~frame.valid).sum() == 4 * 80


# Hot and dead pixels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dose", [0.01, 0.03, 0.1, 0.3, 1, 2, 3, 10, 30, 100, 1e4])
@pytest.mark.parametrize("camera", ["counting", "scaled", "integrating"])
def test_shot_noise_is_never_flagged(dose: float, camera: str) -> None:
    for seed in range(3):
        image = counts(dose, 128, 120, seed).astype(float)
        if camera == "scaled":
            image *= 0.0137
        elif camera == "integrating":
            image = 100 + 40 * image + np.random.default_rng(seed).normal(0, 3, image.shape)
        assert make_frame(image).valid.all()


def test_uniform_noise_of_one_electron_per_pixel_is_not_flagged() -> None:
    for seed in range(5):
        assert make_frame(np.random.default_rng(seed).poisson(1.0, (256, 256)).astype("u1")).valid.all()


@pytest.mark.parametrize("dose", [100, 1e4])
def test_hot_and_dead_pixels_are_left_out(dose: float) -> None:
    image = counts(dose, 256, 240)
    expected = np.ones(image.shape, bool)
    for row, col, value in ((10, 12, 5 * dose), (30, 200, 0.9 * dose), (150, 96, 4 * dose), (0, 3, 2 * dose)):
        image[row, col] = value
        expected[row, col] = False
    for row, col in ((141, 96), (145, 100)):  # in the direct disc
        image[row, col] = 0
        expected[row, col] = False
    np.testing.assert_array_equal(make_frame(image).valid, expected)


def test_one_blazing_pixel_hides_no_other() -> None:
    image = counts(1000).astype(float)
    image[20, 20], image[24, 27] = 1e9, 3000
    assert np.argwhere(~make_frame(image).valid).tolist() == [[20, 20], [24, 27]]


def test_a_pixel_that_always_fires_among_single_electrons() -> None:
    image = counts(0.2, 256, 240).astype("u2")
    image[77, 33] = 900
    assert np.argwhere(~make_frame(image).valid).tolist() == [[77, 33]]


# Measured patterns ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "experiment").is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize("name", JPEGS)
def test_measured_patterns(name: str) -> None:
    (frame,) = read_frames(DATA / "experiment" / name)
    assert frame.image.shape == (1024, 1024)
    np.testing.assert_array_equal(frame.valid, frame.image < 255)  # saturated, and nothing else


# Writing --------------------------------------------------------------------------------------------------


def test_write_json(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    content = {
        "a": np.float32(1.5),
        "b": np.arange(3),
        "c": [np.nan, np.inf, 2.0],
        "d": Path("x/y"),
        "é": (True, None),
    }
    write_json_atomic(path, content)
    expected = {"a": 1.5, "b": [0, 1, 2], "c": [None, None, 2.0], "d": str(Path("x/y")), "é": [True, None]}
    assert json.loads(path.read_text(encoding="utf-8")) == expected
    assert os.listdir(tmp_path) == ["out.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.nc"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".nc"
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["out.nc"]
    with pytest.raises(TypeError):
        write_json_atomic(path, {"a": object()})
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["out.nc"]


def test_written_through_a_link_with_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    plain, link = tmp_path / "real/a.json", tmp_path / "link.json"
    plain.touch()
    usual = plain.stat().st_mode
    link.symlink_to(plain)
    write_json_atomic(link, 1)
    assert link.is_symlink() and plain.read_text() == "1\n" and plain.stat().st_mode == usual


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "no/a.json", "create it first"), (tmp_path, "is not a file")):
        with pytest.raises(InputError, match=words):
            write_json_atomic(path, 1)
