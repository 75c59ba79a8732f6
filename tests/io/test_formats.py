"""A round trip for every format and type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hybridfit.io import read_frames

pytestmark = pytest.mark.filterwarnings("error")

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "../shared/data"
JPEGS = ("01-on_zone_50-51nm.jpg", "05-on_zone_61-63nm.jpg", "09-on_zone_94-95nm.jpg")

CASES = Path(__file__).parents[2] / "../shared/cases/files/layout"


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_png(tmp_path: Path, as_dtype, assert_reads, dtype: str) -> None:
    image = as_dtype(dtype)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert_reads(tmp_path / "a.png", image)


def test_jpeg_is_read_the_right_way_up(tmp_path: Path, as_dtype) -> None:
    image = as_dtype("u1")
    Image.fromarray(image).save(tmp_path / "a.JPG", quality=98)
    (frame,) = read_frames(tmp_path / "a.JPG")
    assert np.abs(frame.image - image).max() < 6


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_colour_of_equal_channels_is_its_grey(tmp_path: Path, as_dtype, assert_reads, mode: str) -> None:
    grey = as_dtype("u1")
    Image.fromarray(grey).convert(mode).save(tmp_path / "a.png")
    assert_reads(tmp_path / "a.png", grey)


def test_black_and_white(tmp_path: Path, as_dtype, refused) -> None:
    Image.fromarray(as_dtype("u1") > 20).save(tmp_path / "a.png")
    assert "saturated" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_unequal_channels_are_weighted(tmp_path: Path, as_dtype, assert_reads, suffix: str) -> None:
    red, green, blue = (as_dtype("u1") * k for k in (1, 2, 3))
    colour = np.stack([red, green, blue], axis=-1)
    Image.fromarray(colour).save(tmp_path / f"a{suffix}")
    assert_reads(tmp_path / f"a{suffix}", np.rint(0.299 * red + 0.587 * green + 0.114 * blue))


def coloured(grey: np.ndarray) -> np.ndarray:
    """A picture of a colour map that goes from blue over green to yellow."""
    t = grey / grey.max()
    return np.rint(255 * np.stack([t**3, t, 0.6 * (1 - t) + 0.2 * t], axis=-1)).astype("u1")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_pictures_of_colour_maps_are_refused(tmp_path: Path, as_dtype, refused, suffix: str) -> None:
    Image.fromarray(coloured(as_dtype("u1"))).save(tmp_path / f"a{suffix}")
    assert "picture in colours" in refused(tmp_path / f"a{suffix}")


def test_marks_in_colour_are_masked(tmp_path: Path, as_dtype) -> None:
    grey = 4 * as_dtype("u1")
    colour = np.stack([grey] * 3, axis=-1)
    colour[5:8, 5:25] = (255, 0, 0)
    Image.fromarray(colour).save(tmp_path / "a.png")
    (frame,) = read_frames(tmp_path / "a.png")
    assert not frame.valid[5:8, 5:25].any() and frame.note.startswith("60 px masked")
    np.testing.assert_array_equal(frame.image[frame.valid], grey[frame.valid])


def with_palette(indices: np.ndarray, palette: np.ndarray) -> Image.Image:
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(palette.astype("u1").ravel().tolist())
    return image


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_palettes(tmp_path: Path, as_dtype, assert_reads, refused, suffix: str) -> None:
    """Grey ramps show the indices; short palettes of greys hold the picture; colours are refused."""
    path, indices = tmp_path / f"a{suffix}", 4 * as_dtype("u1")
    ramp = np.arange(256)
    for grey in (ramp, ramp[::-1]):
        with_palette(indices, np.stack([grey] * 3, axis=-1)).save(path)
        assert_reads(path, indices)
    with_palette(indices, coloured(ramp)).save(path)
    assert "picture in colours" in refused(path)


def test_a_packed_grey_picture_is_what_it_shows(tmp_path: Path, as_dtype, assert_reads) -> None:
    grey = 4 * (as_dtype("u1") // 4)
    values, indices = np.unique(grey, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(values))
    palette = np.stack([values[order]] * 3, axis=-1)
    with_palette(np.argsort(order)[indices].reshape(grey.shape).astype("u1"), palette).save(
        tmp_path / "a.png"
    )
    assert_reads(tmp_path / "a.png", grey)


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases")
def test_case_files_with_palettes(refused) -> None:
    (frame,) = read_frames(CASES / "pal_grey.tif")
    np.testing.assert_array_equal(frame.image, np.asarray(Image.open(CASES / "pal_grey.tif")))
    assert "picture in colours" in refused(CASES / "pal_vir.tif")


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("frames", [None, 3])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff(
    tmp_path: Path, as_dtype, assert_reads, dtype: str, frames: int | None, compression: str | None
) -> None:
    array = as_dtype(dtype, frames)
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, photometric="minisblack")
    assert_reads(tmp_path / "a.tif", array)


def test_tiff_of_big_endian_pages_and_thumbnail(tmp_path: Path, as_dtype, assert_reads) -> None:
    stack = as_dtype("u2", 3)
    with tifffile.TiffWriter(tmp_path / "a.tiff", byteorder=">") as writer:
        for plane in stack:
            writer.write(plane, contiguous=False)
        writer.write(stack[0, ::4, ::4].copy(), subfiletype=1)
    assert_reads(tmp_path / "a.tiff", stack)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_tiff_compressed_with_lzw(tmp_path: Path, as_dtype, assert_reads, dtype: str) -> None:
    stack = as_dtype(dtype, 2)
    first, second = (Image.fromarray(plane) for plane in stack)
    first.save(tmp_path / "a.tif", compression="tiff_lzw", save_all=True, append_images=[second])
    assert_reads(tmp_path / "a.tif", stack)


def test_colour_tiff_stack(tmp_path: Path, as_dtype, assert_reads) -> None:
    stack = as_dtype("u2", 3)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([stack] * 3, axis=-1), photometric="rgb")
    assert_reads(tmp_path / "a.tif", stack)
    tifffile.imwrite(tmp_path / "b.tif", stack, photometric="rgb", planarconfig="separate")
    assert_reads(tmp_path / "b.tif", stack)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "i4", "u8", "f2", "f4", ">f8"])
@pytest.mark.parametrize("frames", [None, 3])
def test_npy(tmp_path: Path, as_dtype, assert_reads, dtype: str, frames: int | None) -> None:
    array = as_dtype(dtype, frames)
    np.save(tmp_path / "a.npy", np.asfortranarray(array) if frames else array, allow_pickle=False)
    assert_reads(tmp_path / "a.npy", array)


@pytest.mark.parametrize(("mode", "dtype"), [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("frames", "extended"), [(None, 0), (3, 0), (3, 160)])
def test_mrc(
    tmp_path: Path,
    as_dtype,
    assert_reads,
    write_mrc,
    mode: int,
    dtype: str,
    order: str,
    frames: int | None,
    extended: int,
) -> None:
    array = as_dtype(order + dtype, frames)
    if dtype == "i1":  # a single byte knows no order: let the header have it
        array = array.view(np.dtype("i1"))
    write_mrc(tmp_path / "a.mrc", array, mode, extended=extended)
    assert_reads(tmp_path / "a.mrc", array)


def test_mrc_bytes_of_imod(tmp_path: Path, pattern, assert_reads, write_mrc) -> None:
    bright = (200 * pattern()).astype("u1")
    write_mrc(tmp_path / "a.mrc", bright, 0, imod_flags=0)
    assert_reads(tmp_path / "a.mrc", bright)
    signed = bright.view("i1")
    write_mrc(tmp_path / "b.mrc", signed, 0, imod_flags=1)
    np.testing.assert_array_equal(read_frames(tmp_path / "b.mrc")[0].image, signed)


@pytest.mark.parametrize("frames", [None, 3])
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2"])
def test_mrc_as_mrcfile_writes_it(
    tmp_path: Path, as_dtype, assert_reads, dtype: str, frames: int | None
) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    array = as_dtype(dtype, frames)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(array)
        file.set_extended_header(np.zeros(64, "V1"))
    assert_reads(tmp_path / "a.mrc", array)


@pytest.mark.parametrize("suffix", [".raw", ".bin", ".dat", ".xyz"])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4", ">f4", "f8"])
@pytest.mark.parametrize(("frames", "offset"), [(None, 0), (3, 100)])
def test_raw(
    tmp_path: Path, as_dtype, assert_reads, suffix: str, dtype: str, frames: int | None, offset: int
) -> None:
    array = as_dtype(dtype, frames)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\1" * offset + array.tobytes())
    assert_reads(path, array, shape=array.shape, dtype=dtype, offset=offset)


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("frames", [None, 3])
def test_netcdf(
    tmp_path: Path, as_dtype, assert_reads, write_netcdf, form: str, dtype: str, frames: int | None
) -> None:
    array = as_dtype(dtype, frames)
    write_netcdf(tmp_path / "a.nc", {"frame": array, "axis": np.arange(5.0)}, form)
    assert_reads(tmp_path / "a.nc", array)
    assert_reads(tmp_path / "a.nc", array, dataset="frame")


def test_netcdf_scale_and_fill_value(tmp_path: Path, as_dtype, write_netcdf) -> None:
    array = as_dtype("i2")
    array[5, 7] = -999
    write_netcdf(tmp_path / "a.nc", {"frame": array}, scale_factor=0.5, add_offset=2.0, _FillValue=-999)
    (frame,) = read_frames(tmp_path / "a.nc")
    assert np.argwhere(~frame.valid).tolist() == [[5, 7]]
    np.testing.assert_array_equal(frame.image[frame.valid], (2 + 0.5 * array)[frame.valid])


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".hspy", ".emd"])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i4", "u8", ">f4", "f8"])
def test_hdf5(tmp_path: Path, as_dtype, refused, assert_reads, suffix: str, dtype: str) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / f"a{suffix}"
    frame, stack = as_dtype(dtype), as_dtype(dtype, 3)
    with h5py.File(path, "w") as file:
        file.create_dataset("scan 1/frame", data=frame, compression="gzip", shuffle=True)
        file["scan 1/label"] = "text"
        file["scan 1/calibration"] = np.arange(4.0)
        file["scan 1/half"] = frame.astype("f2")  # netCDF4 dies of reading one; only taken if asked for
        file["scan 1/complex"] = frame.astype("c16")
        file["scan 1/mask"] = frame > 3
        file["scan 1"].attrs["flag"] = np.bool_(True)
    assert_reads(path, frame)
    assert_reads(path, frame.astype("f2"), dataset="scan 1/half")
    with h5py.File(path, "a") as file:
        file["scan 1/frames"] = stack
    assert_reads(path, stack, dataset="/scan 1/frames")
    message = refused(path)
    assert "scan 1/frame, scan 1/frames" in message and "dataset =" in message
    message = refused(path, dataset="scan1/frame")
    assert "'scan1/frame'" in message and "scan 1/frame, scan 1/frames" in message


def test_hdf5_full_scale_is_saturation_not_a_fill_value(tmp_path: Path, counts) -> None:
    h5py = pytest.importorskip("h5py")
    image = np.minimum(counts(60000), 65535).astype("u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frame"] = image
    (frame,) = read_frames(tmp_path / "a.h5")
    np.testing.assert_array_equal(frame.image, image)
    np.testing.assert_array_equal(frame.valid, image < 65535)


def test_emd_is_turned_the_way_its_makers_store_it(tmp_path: Path, as_dtype, assert_reads) -> None:
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


def test_rosettasciio_is_optional(tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rsciio", None)
    (tmp_path / "a.dm3").write_bytes(b"\0\0\0\3")
    assert 'pip install "hybridfit[formats]"' in refused(tmp_path / "a.dm3")


def test_rosettasciio(tmp_path: Path, refused) -> None:
    pytest.importorskip("rsciio")
    (tmp_path / "a.dm3").write_bytes(b"\0\0\0\3 and no more")
    assert "cannot be read as a .dm3 file" in refused(tmp_path / "a.dm3")
    (tmp_path / "a.xyz").write_bytes(b"what is this")
    assert "not a known format" in refused(tmp_path / "a.xyz")
    if not (DATA / "formats/GeSn_000.dm3").exists():
        pytest.skip("no ../shared/data")
    (frame,) = read_frames(DATA / "formats/GeSn_000.dm3")
    assert frame.image.shape == frame.valid.shape == (150, 150)
    assert frame.valid[frame.image > 0].mean() > 0.999 and "3 columns" in frame.note  # of padding


def test_import_stays_light() -> None:
    heavy = "netCDF4", "tifffile", "PIL", "rsciio", "h5py", "mrcfile", "torch", "scipy.ndimage"
    code = f"import sys, hybridfit.io; print([m for m in {heavy} if m in sys.modules])"
    folder = Path(__file__).resolve().parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.skipif(not (DATA / "experiment").is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize("name", JPEGS)
def test_measured_patterns(name: str) -> None:
    (frame,) = read_frames(DATA / "experiment" / name)
    assert frame.image.shape == (1024, 1024)
    np.testing.assert_array_equal(frame.valid, frame.image < 255)  # saturated, and nothing else
