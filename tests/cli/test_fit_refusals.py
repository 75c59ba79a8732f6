"""`hybridfit fit`: one clear line for every input that cannot be used, and no file is changed."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr

from hybridfit.library.library import Library
from hybridfit.simulate.frame import simulate_frame


def bad_files(folder: Path, good: np.ndarray) -> dict[str, tuple[Path, str]]:
    """Files without a usable frame, and words that the message must contain."""
    arrays = {
        "nan": (np.where(np.arange(good.shape[1]) % 5, np.nan, good), "NaN"),  # a few are masked
        "inf": (np.where(np.arange(good.shape[1]) % 5, np.inf, good), "infinite"),
        "zeros": (np.zeros((64, 64)), "zero in every usable pixel"),
        "constant": (np.full((64, 64), 7.5), "7.5 in every usable pixel"),
        "saturated": (np.minimum(good, np.median(good[good > good.mean()])), "saturated"),
        "small": (good[:15], "15 by 96 px"),
        "one-dimensional": (good[0], "1 dimensions"),
        "four-dimensional": (np.stack([[good] * 2] * 2), "4-D array"),
        "complex": (good * 1j, "complex128"),
    }
    out = {}
    for name, (array, words) in arrays.items():
        np.save(folder / f"{name}.npy", array)
        out[name] = folder / f"{name}.npy", words
    out["missing"] = folder / "missing.tif", "missing.tif does not exist"
    files = {
        "text.png": (b"this is no picture", "cannot be read as PNG"),
        "pickled.npy": (pickle.dumps(good), "pickled"),
        "empty.tif": (b"", "empty"),
        "unknown.xyz": (b"123", ".xyz"),
        "noshape.raw": (good.tobytes(), "shape"),
    }
    tifffile.imwrite(folder / "whole.tif", good)
    files["truncated.tif"] = ((folder / "whole.tif").read_bytes()[:-1000], "truncated")
    for name, (content, words) in files.items():
        (folder / name).write_bytes(content)
        out[name] = folder / name, words
    return out


def test_unusable_frames(refused, options, outputs, simulated, tmp_path):
    for path, words in bad_files(tmp_path, simulated[0]).values():
        refused(words, "fit", path, *options, *outputs)


@pytest.fixture(scope="session")
def cut(small_library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frame whose left edge cuts the direct disc."""
    path = tmp_path_factory.mktemp("cut") / "cut.npy"
    place = {"shape": (96, 96), "scale": 2.4, "centre": (14.0, 48.0)}
    image, _ = simulate_frame(small_library, thickness=30.0, semi_angle=12.0, electrons=1e7, **place)
    np.save(path, image)
    return path


def test_a_disc_that_the_frame_cuts_by_its_hints(refused, options, outputs, cut):
    hints = ["--hint-centre", "14,48", "--hint-scale", "2.4"]
    refused("cut by the edge", "fit", cut, *options, *hints, *outputs)


def test_a_disc_that_the_frame_cuts(refused, options, outputs, cut):
    hints = ["--hint-thickness", "30", "--hint-tilt", "0,0"]
    refused("cut by the edge", "fit", cut, *options, *hints, *outputs)


BAD_OPTIONS = [
    ("'nosuch'", ["--fix", "nosuch=1"]),
    ("'nosuch'", ["--free", "nosuch"]),
    ("'much'", ["--fix", "blur=much"]),
    ("'nan'", ["--fix", "blur=nan"]),
    ("'green'", ["--background", "green"]),
    ("no network comes with this library", ["--method", "cnn"]),
    ("there is no weights file", ["--weights", "nosuch.safetensors"]),
    ("unknown method 'guess'", ["--method", "guess"]),
    ("unknown library 'GaN'", ["--library", "GaN"]),
    ("nosuch.nc", ["--library", "nosuch.nc"]),
    ("nosuch.toml", ["--library", "nosuch.toml"]),
    ("semi-angle 24 mrad", ["--semi-angle", "24"]),
    ("semi-angle 0 mrad", ["--semi-angle", "0"]),
    ("semi-angle -3 mrad", ["--semi-angle", "-3"]),
    ("'nan'", ["--semi-angle", "nan"]),
    ("'wide'", ["--semi-angle", "wide"]),
    ("scale 0 px/mrad", ["--hint-scale", "0"]),
    ("scale 1e+06 px/mrad", ["--hint-scale", "1e6"]),
    ("centre 1000, 5 px", ["--hint-centre", "1000,5"]),
    ("'5'", ["--hint-centre", "5"]),
    ("'b'", ["--hint-tilt", "1,b"]),
    ("500 nm", ["--hint-thickness", "500"]),
    ("50, 0 mrad", ["--hint-tilt", "50,0"]),
    ("'inf'", ["--hint-rotation", "inf"]),
    ("'96'", ["--shape", "96"]),
    ("dataset", ["--dataset", "one"]),
    ("shape", ["--shape", "96,96", "--dtype", "u2"]),
    ("mask nosuch.png", ["--mask", "nosuch.png"]),
    ("--nosuch", ["--nosuch"]),
]


@pytest.mark.parametrize(("words", "bad"), BAD_OPTIONS, ids=[" ".join(bad) for _, bad in BAD_OPTIONS])
def test_unusable_options(refused, options, outputs, frame, words, bad):
    refused(words, "fit", frame, *options, *outputs, *bad)


UNCHECKED = [
    ("1000", ["--fix", "thickness=1000"]),
    ("20", ["--fix", "tilt_x=20"]),
    ("0", ["--fix", "scale=0"]),
    ("-1", ["--fix", "blur=-1"]),
    ("1", ["--fix", "ellipticity_a=1"]),
]


@pytest.mark.parametrize(("words", "bad"), UNCHECKED, ids=[" ".join(bad) for _, bad in UNCHECKED])
def test_values_outside_the_library(refused, options, hints, outputs, frame, words, bad):
    refused(words, "fit", frame, *options, *hints, *outputs, *bad)


def test_unusable_outputs(refused, options, frame, tmp_path):
    (tmp_path / "folder").mkdir()
    for words, bad in {
        "no.bmp": ["--plot", tmp_path / "no.bmp"],
        "without a suffix": ["--plot", tmp_path / "no"],
        "nosuch": ["--json", tmp_path / "nosuch" / "out.json"],
        "not a file": ["--json", tmp_path / "folder"],
        "overwrite": ["--json", frame],
        "would overwrite": ["--plot", tmp_path / "x.png", "--json", tmp_path / "x.png"],
    }.items():
        refused(words, "fit", frame, *options, *bad)


def test_masks_that_do_not_fit(refused, options, outputs, frame, tmp_path):
    np.save(tmp_path / "other.npy", np.zeros((95, 96), bool))
    refused("(95, 96)", "fit", frame, *options, *outputs, "--mask", tmp_path / "other.npy")
    np.save(tmp_path / "all.npy", np.ones((96, 96), bool))
    refused("no pixel left", "fit", frame, *options, *outputs, "--mask", tmp_path / "all.npy")
    (tmp_path / "text.png").write_text("no mask")
    refused("cannot be read", "fit", frame, *options, *outputs, "--mask", tmp_path / "text.png")


def test_foreign_damaged_and_older_libraries(refused, outputs, frame, small_library, tmp_path):
    xr.Dataset({"image": (("y", "x"), np.ones((4, 4)))}).to_netcdf(tmp_path / "foreign.nc")
    (tmp_path / "damaged.nc").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    older = small_library.dataset.isel(thickness=slice(0, 4)).copy()
    older.attrs = {**older.attrs, "version": 0}
    Library(older).save(tmp_path / "older.nc")
    for name, words in (
        ("foreign", "no hybridfit library"),
        ("damaged", "cannot be read"),
        ("older", "format 0"),
    ):
        path = tmp_path / f"{name}.nc"
        refused(words, "fit", frame, "--semi-angle", "12", "--library", path, *outputs)
        refused(words, "library", "show", path)


def test_a_semi_angle_that_nobody_says(run, frame, tmp_path):
    ran = run("fit", frame)
    assert ran.code == 2 and "frame.tif does not say its semi-angle; give --semi-angle MRAD" in ran.err
    scan = tmp_path / "scan.npy"
    np.save(scan, np.zeros((2, 3, 64, 64), "u1"))
    ran = run("map", scan, "-o", tmp_path / "map.nc")
    assert ran.code == 2 and "scan.npy does not say its semi-angle; give --semi-angle MRAD" in ran.err
