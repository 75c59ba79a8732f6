"""Simulated scans: frames and their truth depend on the seed alone, not on how they are made."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import hybridfit
from hybridfit.errors import InputError, LibraryError
from hybridfit.library.library import Library
from hybridfit.simulate.frame import simulate_frame
from hybridfit.simulate.scan import simulate_scan
from hybridfit.simulate.settings import FrameOptions, FrameSettings, ScanOptions, ScanSettings

SMALL = {"scan_shape": (3, 4), "frame_shape": (40, 48), "electrons": 1e5, "bend": 2.0}


@pytest.fixture
def written(small_library: Library, tmp_path: Path):
    """written(**changes) → what a small scan leaves in its file."""

    def written(name: str = "scan.nc", **changes) -> xr.Dataset:
        simulate_scan(tmp_path / name, small_library, 12.0, **(SMALL | changes))
        with xr.open_dataset(tmp_path / name) as dataset:
            return dataset.load()

    return written


def test_a_wedge_bent_to_a_bowl(written):
    scan = written(thickness=(20.0, 26.0), tilt=(0.3, -0.2), step=0.5, descan=(3.0, -2.0))
    assert scan.frames.dims == ("scan_y", "scan_x", "row", "col")
    assert scan.frames.shape == (3, 4, 40, 48) and scan.frames.dtype == np.uint16
    np.testing.assert_allclose(scan.frames.sum(("row", "col")), 1e5, rtol=0.02)
    np.testing.assert_allclose(scan.thickness, np.broadcast_to([20, 22, 24, 26], (3, 4)))
    np.testing.assert_allclose(scan.tilt_x[1], 0.3 + np.array([-2, -2 / 3, 2 / 3, 2]))
    np.testing.assert_allclose(scan.tilt_y[:, 2], -0.2 + np.array([-2, 0, 2]))
    np.testing.assert_allclose(scan.centre_x[0], 23.5 + np.array([-1.5, -0.5, 0.5, 1.5]))
    np.testing.assert_allclose(scan.centre_y[:, 0], 19.5 + np.array([1.0, 0.0, -1.0]))
    np.testing.assert_allclose(np.rad2deg(np.arctan2(scan.tilt_y, scan.tilt_x)), scan.tilt_azimuth)
    assert scan.scan_x.values.tolist() == [0, 0.5, 1, 1.5] and scan.scan_x.units == "nm"
    assert scan.thickness.units == "nm" and scan.tilt_x.units == "mrad"
    assert scan.attrs["semi_angle_mrad"] == 12.0 and scan.attrs["step_nm"] == 0.5
    assert scan.attrs["energy_kv"] == 200.0
    assert scan.attrs["mrad_per_px"] * scan.attrs["scale_px_per_mrad"] == pytest.approx(1)
    assert json.loads(scan.attrs["settings"])["electrons"] == 1e5


def test_a_wedge_may_run_along_any_direction(written):
    diagonal = written(thickness=(20.0, 26.0), wedge_direction=45.0).thickness.values
    assert diagonal[0, 0] == 20 and diagonal[-1, -1] == 26
    assert diagonal[0, -1] == pytest.approx(23) and diagonal[-1, 0] == pytest.approx(23)
    assert (written(thickness=31.0).thickness == 31.0).all()
    given = np.linspace(20, 40, 12).reshape(3, 4)
    np.testing.assert_array_equal(written(thickness=given).thickness, given)


def test_frames_are_those_of_simulate_frame(small_library: Library, written):
    """At 10¹² electrons in a frame noise is negligible: the same pattern, centre, blur and background."""
    camera = {
        "rotation": 17.0,
        "ellipticity": (0.01, -0.02),
        "blur": 0.4,
        "background": 0.2,
        "electrons": 1e12,
    }
    scan = written(**camera, descan=(3.0, 2.0), dtype="u8", thickness=(20.0, 26.0))
    for y, x in ((0, 0), (2, 1)):
        here = scan.isel(scan_y=y, scan_x=x)
        image, _ = simulate_frame(
            small_library,
            **camera,
            thickness=float(here.thickness),
            tilt=(float(here.tilt_x), float(here.tilt_y)),
            semi_angle=12.0,
            shape=(40, 48),
            centre=(float(here.centre_x), float(here.centre_y)),
        )
        np.testing.assert_allclose(here.frames.values.astype(float), image, rtol=1e-3)


def test_the_same_for_a_seed_whatever_the_number_of_workers(written):
    one = written(seed=7, descan=(3.0, 2.0), vacuum=0.3).frames
    xr.testing.assert_identical(one, written(seed=7, descan=(3.0, 2.0), vacuum=0.3, workers=3).frames)
    assert (one != written(seed=8, descan=(3.0, 2.0), vacuum=0.3).frames).any()
    same = written(seed=7, bend=0.0, thickness=20.0).frames
    assert (same[0, 0] != same[0, 1]).any() and (same[0, 1] != same[1, 0]).any()


def test_vacuum_shows_the_bare_disc(written):
    scan = written(vacuum=0.25, electrons=1e9, dtype="u4", blur=0.0)
    hole = scan.vacuum.values == 1
    assert hole.sum() == 3 and scan.vacuum.flag_meanings == "specimen vacuum"
    assert (scan.thickness.values[hole] == 0).all() and np.isnan(scan.tilt_x.values[hole]).all()
    assert np.isfinite(scan.centre_x).all()
    disc = scan.frames.values[hole][0].astype(float)
    row, col = np.indices(disc.shape)
    radius = np.hypot(col - 23.5, row - 19.5) / scan.attrs["scale_px_per_mrad"]
    assert (disc[radius > 13] == 0).all()
    assert np.ptp(disc[radius < 11]) < 0.01 * disc.max()
    where = np.zeros((3, 4), bool)
    where[1, 2] = True
    np.testing.assert_array_equal(written(vacuum=where).vacuum.values == 1, where)


def test_a_field_moves_the_pattern(written):
    field = np.zeros((2, 3, 4))
    field[:, :, 2:] = np.array([1.0, -0.5])[:, None, None]
    scan = written(deflection=field)
    np.testing.assert_array_equal(scan.deflection_x, field[0])
    scale = scan.attrs["scale_px_per_mrad"]
    assert float(scan.centre_x[0, 3] - scan.centre_x[0, 0]) == pytest.approx(scale)
    assert float(scan.centre_y[0, 3] - scan.centre_y[0, 0]) == pytest.approx(-0.5 * scale)


def test_npy_has_its_truth_beside_it(small_library: Library, tmp_path, written):
    truth = simulate_scan(tmp_path / "scan.npy", small_library, 12.0, **SMALL, seed=3)
    frames = np.load(tmp_path / "scan.npy", mmap_mode="r")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "scan.truth.nc"), truth)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scan.npy", "scan.truth.nc"]
    same = written(seed=3)
    np.testing.assert_array_equal(frames, same.frames)
    xr.testing.assert_allclose(same.drop_vars("frames"), truth)


def test_the_bar_moves_to_the_end(small_library: Library, tmp_path):
    shares: list[float] = []
    simulate_scan(tmp_path / "a.nc", small_library, 12.0, **SMALL, progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0


@pytest.mark.parametrize(
    ("error", "words", "change"),
    [
        (LibraryError, "500", {"thickness": (20.0, 500.0)}),
        (LibraryError, "tilt", {"bend": 30.0}),
        (InputError, "vacuum 1.5", {"vacuum": 1.5}),
        (InputError, "thickness of shape", {"thickness": np.ones((2, 2))}),
        (InputError, "deflection of shape", {"deflection": np.ones((3, 4))}),
        (InputError, "electrons -1", {"electrons": -1.0}),
        (InputError, "background 2", {"background": 2.0}),
        (InputError, "step 0 nm", {"step": 0.0}),
        (InputError, "0 × 4 positions", {"scan_shape": (0, 4)}),
        (InputError, "more than uint8 can hold", {"dtype": "u1", "electrons": 1e7}),
        (InputError, "dtype 'U8'", {"dtype": "U8"}),
        (InputError, "scale -1", {"scale": -1.0}),
        (InputError, "finite", {"rotation": np.nan}),
        (InputError, "finite", {"bend": np.inf}),
        (InputError, "seed -1", {"seed": -1}),
        (InputError, r"scan_shape 100000 × 100000 makes 1e\+10 positions", {"scan_shape": (100000, 100000)}),
        (InputError, "frame_shape 100000 × 100000", {"frame_shape": (100000, 100000)}),
        (InputError, r"scale 1e-09 px/mrad", {"scale": 1e-9}),
        (InputError, r"blur 1e\+09 mrad", {"blur": 1e9}),
        (TypeError, r"simulate_scan\(\) has no option 'bent'; the options are semi_angle", {"bent": 1.0}),
        (InputError, "centre_x .* is outside the frame", {"descan": (60.0, 0.0)}),
    ],
)
@pytest.mark.parametrize("suffix", ["nc", "npy"])
def test_what_no_scan_can_have_leaves_no_file(small_library, tmp_path, error, words, change, suffix):
    path = tmp_path / f"scan.{suffix}"
    path.write_bytes(b"old")
    with pytest.raises(error, match=words):
        simulate_scan(path, small_library, 12.0, **(SMALL | change))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_other_suffixes_are_refused_with_the_known_ones(small_library, tmp_path):
    with pytest.raises(InputError, match=r"\.nc or \.npy"):
        simulate_scan(tmp_path / "scan.h5", small_library, 12.0, **SMALL)
    assert hybridfit.simulate_scan is simulate_scan


def test_settings_may_be_given_at_once(small_library: Library, tmp_path):
    one = simulate_scan(tmp_path / "a.npy", small_library, settings=ScanSettings(12.0, **SMALL), seed=3)
    other = simulate_scan(tmp_path / "b.npy", small_library, 12.0, **SMALL, seed=3)
    xr.testing.assert_identical(one, other)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


@pytest.mark.parametrize(
    ("kind", "options", "apart"),
    [(ScanSettings, ScanOptions, {"semi_angle"}), (FrameSettings, FrameOptions, set())],
)
def test_type_checkers_know_every_option(kind, options, apart):
    assert {field.name for field in dataclasses.fields(kind)} - apart == set(options.__annotations__)


def test_a_full_disk_is_one_line_with_the_name_of_the_file(small_library: Library, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hybridfit.simulate.scan._stored", full)
    for name in ("scan.nc", "scan.npy"):
        with pytest.raises(InputError, match=r"scan.* cannot be written: no space is left"):
            simulate_scan(tmp_path / name, small_library, 12.0, **SMALL)
    assert list(tmp_path.iterdir()) == []
