"""Maps end to end: right answers, what may be wrong with a scan, and runs that are stopped."""

from __future__ import annotations

import errno
import json
import os
import shutil

import netCDF4
import numpy as np
import pytest
import xarray as xr
from small_map import FEW, FIX, SEMI_ANGLE, mapped, status

from hybridfit import map_scan
from hybridfit.errors import InputError
from hybridfit.flags import map_status
from hybridfit.scan.maps import fit_at, read_map
from hybridfit.scan.settings import MapSettings


@pytest.fixture(scope="module")
def made(scan, small_recipe, tmp_path_factory):
    """The map of the whole scan, its path, and a copy of the parts as they were before it was written."""
    path = tmp_path_factory.mktemp("map") / "map.nc"
    parts = path.with_name("copy.parts")

    def keep(report):
        if report.stage == "positions" and report.done == 20:
            shutil.copytree(path.with_name("map.nc.parts"), parts)

    return mapped(scan, small_recipe, output=path, progress=keep), path, parts


@pytest.fixture(scope="module")
def whole(made):
    """The map of the whole scan, and its path."""
    return made[:2]


@pytest.fixture
def all_but_written(made, tmp_path):
    """The path of a map whose run ended when all of its parts were there."""
    shutil.copytree(made[2], tmp_path / "map.nc.parts")
    return tmp_path / "map.nc"


def test_a_map_is_true_everywhere(whole, truth):
    found, _ = whole
    assert map_status(found) == {"converged": 20}
    for name, values in truth.items():
        off = found[name].values - values
        assert np.abs(off).max() < 0.2 if name == "thickness" else np.abs(off).max() < 0.06, name
        assert np.abs(off / found[f"{name}_stderr"].values).max() < 5
    assert found["thickness"].dims == ("scan_y", "scan_x")
    assert found["tilt_magnitude"].values == pytest.approx(np.hypot(found["tilt_x"], found["tilt_y"]))


def test_a_map_is_written_as_it_is_returned_and_its_parts_are_gone(whole):
    found, path = whole
    xr.testing.assert_identical(read_map(path), found)
    assert not path.with_name("map.nc.parts").exists()
    for name, variable in found.data_vars.items():
        assert "long_name" in variable.attrs, name
        assert "units" in variable.attrs or name in ("status", "route", "message"), name


def test_what_is_common_is_found_once(scan, small_recipe, whole):
    found = mapped(scan, small_recipe, fix={"rotation": 14.0}, roi=(0, 2, 0, 2))
    common = json.loads(found.attrs["settings"])["common"]
    assert common["scale"] == pytest.approx(3.2, rel=2e-3) and "rotation" not in common
    assert (found["scale"].values == common["scale"]).all() and np.isnan(found["scale_stderr"].values).all()
    assert np.abs(found["thickness"].values - whole[0]["thickness"].values[:2, :2]).max() < 0.2


def test_the_same_command_finds_the_map_done(scan, small_recipe, whole, monkeypatch):
    monkeypatch.setattr("hybridfit.scan.run.MapRun.run", lambda self: pytest.fail("done again"))
    xr.testing.assert_identical(mapped(scan, small_recipe, output=whole[1]), whole[0])
    with pytest.raises(InputError, match="another map"):
        mapped(scan, small_recipe, output=whole[1], background="uniform")


def test_a_position_is_fitted_again_for_its_picture(whole):
    result = fit_at(whole[0], 2, 3)
    assert result.thickness == pytest.approx(float(whole[0]["thickness"][2, 3]), abs=0.05)
    assert result.minimizer is not None and result["scale"].value == FIX["scale"]
    with pytest.raises(InputError, match="position 7,0 is not in this map of 4 × 5"):
        fit_at(whole[0], 7, 0)


def test_bad_frames_get_their_status_and_change_nothing_else(frames, small_recipe, whole, tmp_path):
    spoilt = frames.astype(np.float32)
    spoilt[0, 1] = np.nan
    spoilt[1, 1] = 0
    spoilt[2, 2, 10, 20] = 1e6  # a hot pixel
    row, col = np.indices((96, 96))
    disc = 1 / (1 + np.exp(2 * (np.hypot(col - 47.5, row - 46) - 3.2 * SEMI_ANGLE)))
    spoilt[3, 0] = np.random.default_rng(0).poisson(800 * disc + 2)
    np.save(tmp_path / "bad.npy", spoilt)
    found = mapped(tmp_path / "bad.npy", small_recipe, roi=(0, 4, 0, 3))
    assert status(found, 0, 1) == status(found, 1, 1) == "unusable"
    assert "NaN" in str(found["message"].values[0, 1]) and "zero" in str(found["message"].values[1, 1])
    assert status(found, 3, 0) in ("at_bound", "poor_match"), str(found["message"].values[3, 0])
    assert "vacuum" in str(found["message"].values[3, 0])
    assert np.isnan(found["thickness"].values[0, 1])
    good = np.ones((4, 3), bool)
    good[[0, 1, 3], [1, 1, 0]] = False
    assert np.abs(found["thickness"].values - whole[0]["thickness"].values[:, :3])[good].max() < 0.03
    assert (found["status"].values[good] == 0).all()


def test_a_truncated_file_gives_what_it_has(scan, small_recipe, tmp_path):
    short = tmp_path / "short.npy"
    short.write_bytes(scan.read_bytes()[: -3 * 96 * 96 * 2 - 100])
    found = mapped(short, small_recipe, roi=(2, 4, 0, 5))
    assert [status(found, 1, x) for x in range(5)] == ["converged"] + 4 * ["unreadable"]
    assert {status(found, 0, x) for x in range(5)} == {"converged"}


def test_a_damaged_frame_leaves_the_rest_of_its_row(frames, small_recipe, tmp_path):
    path = tmp_path / "damaged.nc"
    with netCDF4.Dataset(path, "w") as file:
        for name, size in zip("yxrc", frames.shape, strict=True):
            file.createDimension(name, size)
        stored = file.createVariable(
            "data", frames.dtype, tuple("yxrc"), chunksizes=(1, 1, *frames.shape[2:]), fletcher32=True
        )
        stored[:] = frames
    data = bytearray(path.read_bytes())
    at = data.find(frames[1, 2].tobytes())
    assert at > 0
    data[at + 96 * 90 : at + 96 * 92] = b"\xff" * (96 * 2)
    path.write_bytes(data)
    found = mapped(path, small_recipe, roi=(1, 2, 1, 4))
    assert [status(found, 0, x) for x in range(3)] == ["converged", "unreadable", "converged"]
    assert "damaged.nc" in str(found["message"].values[0, 1])


def test_positions_are_averaged_and_frames_binned(scan, small_recipe):
    found = mapped(scan, small_recipe, average=2, bin=2, step_nm=0.4)
    assert found["thickness"].shape == (2, 2)
    assert found["thickness"].values[0] == pytest.approx([30.5, 32.5], abs=0.3)
    assert found["centre_x"].values[0] == pytest.approx([47.55, 47.75], abs=0.05)
    assert found["scan_x"].values == pytest.approx([0.2, 1.0]) and found["scan_x"].attrs["units"] == "nm"
    assert found.attrs["step_nm"] == 0.4


def test_a_stopped_run_goes_on_where_it_was(scan, small_recipe, whole, tmp_path):
    path = tmp_path / "map.nc"
    done = []

    def stop(report):
        done.append(report.stage)
        if done.count("positions") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mapped(scan, small_recipe, output=path, progress=stop)
    assert not path.exists()
    with pytest.raises(InputError, match=r"semi_angle was 9\.0, now 9\.2"):
        map_scan(scan, small_recipe, semi_angle=9.2, fix=FIX, output=path, **FEW)
    found = mapped(scan, small_recipe, output=path, partial=True)
    assert map_status(found) == {"converged": 10, "not_done": 10} and not found.attrs["complete"]
    fresh = []
    found = mapped(scan, small_recipe, output=path, progress=lambda r: fresh.append((r.stage, r.done)))
    assert fresh == [("positions", 15), ("positions", 20)]
    xr.testing.assert_identical(found, whole[0])


def test_a_poor_position_is_mended_by_its_neighbours(scan, small_recipe, whole, monkeypatch):
    from hybridfit.fitting.attempts import Attempt
    from hybridfit.scan import worker

    fit = worker.fit_position

    def misled(fitter, frame, start, pixel):
        rows = fit(fitter, frame, start, pixel)
        if frame.source.endswith("[1,2]") and isinstance(start, Attempt):
            rows.values[:, worker.COLUMN["residual_fraction"]] = 0.9
            rows.status[:] = worker.RETRIED[0]
        return rows

    monkeypatch.setattr(worker, "fit_position", misled)
    found = mapped(scan, small_recipe, roi=(0, 3, 0, 4))
    assert map_status(found) == {"converged": 12}
    assert found["route"].attrs["flag_meanings"].split()[int(found["route"][1, 2])] == "neighbour"
    assert float(found["thickness"][1, 2]) == pytest.approx(float(whole[0]["thickness"][1, 2]), abs=0.03)


def test_two_runs_cannot_make_one_map(scan, small_recipe, tmp_path):
    path = tmp_path / "map.nc"
    options = {"output": path, "roi": (0, 1, 0, 2)}

    def meet(report):
        with pytest.raises(InputError, match=rf"is being made by another run \(process {os.getpid()} on "):
            mapped(scan, small_recipe, **options)
        assert map_status(mapped(scan, small_recipe, **options, partial=True))["not_done"] <= 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mapped(scan, small_recipe, **options, progress=meet)
    assert map_status(mapped(scan, small_recipe, **options)) == {"converged": 2}


def test_parts_that_are_damaged_or_belong_elsewhere_are_done_again(
    scan, small_recipe, whole, all_but_written
):
    path = all_but_written
    first, second, third, _ = sorted(path.with_name("map.nc.parts").glob("rows-*.npz"))
    data = first.read_bytes()
    first.write_bytes(data[: len(data) // 2])
    second.write_bytes(data)  # another block's: believed, it is off by rows of the map
    third.write_bytes(b"PK")
    fresh = []
    found = mapped(scan, small_recipe, output=path, progress=lambda r: fresh.append(r.done))
    assert fresh == [10, 15, 20]
    xr.testing.assert_identical(found, whole[0])


def test_a_full_disk_loses_nothing(scan, small_recipe, whole, all_but_written, monkeypatch):
    path = all_but_written

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(xr.Dataset, "to_netcdf", full)
        with pytest.raises(InputError, match=r"map\.nc cannot be written: .*the same command goes on"):
            mapped(scan, small_recipe, output=path)
    assert not path.exists()
    fresh = []
    found = mapped(scan, small_recipe, output=path, progress=fresh.append)
    assert fresh == []
    xr.testing.assert_identical(found, whole[0])


def test_options_that_do_not_exist_are_named(scan, small_recipe):
    with pytest.raises(TypeError, match=r"no option 'averge'; the options are .*average.*dataset"):
        mapped(scan, small_recipe, averge=2)
    with pytest.raises(TypeError, match="needs semi_angle"):
        map_scan(scan, small_recipe)
    with pytest.raises(InputError, match="give a list of names"):
        mapped(scan, small_recipe, common="scale")


def test_settings_may_be_given_at_once(scan, small_recipe, whole):
    settings = MapSettings(SEMI_ANGLE, fix=FIX, **FEW)
    found = map_scan(scan, small_recipe, settings=settings, roi=(0, 1, 0, 2), workers=1)
    assert found["thickness"].values == pytest.approx(whole[0]["thickness"].values[:1, :2], abs=0.05)
