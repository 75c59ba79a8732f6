"""Maps end to end: right answers, what may be wrong with a scan, and runs that are stopped."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial

import joblib
import netCDF4
import numpy as np
import pytest
import xarray as xr

from hybridfit import Fitter, map_scan
from hybridfit.errors import InputError
from hybridfit.flags import map_status
from hybridfit.io import open_scan
from hybridfit.network import training
from hybridfit.network.state import Plan
from hybridfit.scan.maps import fit_at, read_map
from hybridfit.scan.positions import Positions
from hybridfit.scan.settings import FirstPassSettings, MapSettings, WorkSettings

SEMI_ANGLE = 9.0
FIX = {"scale": 3.2, "rotation": 14.0}  # a camera that is known makes the searches of the tests quick
# a first pass of four positions, blocks of one row
FEW = {"first_pass": FirstPassSettings(sampled=4), "work": WorkSettings(block=5)}


def mapped(scan, library, **options):
    return map_scan(scan, library, semi_angle=SEMI_ANGLE, workers=1, **{"fix": FIX, **FEW, **options})


def status(found, y, x):
    return found["status"].attrs["flag_meanings"].split()[int(found["status"][y, x])]


@pytest.fixture(scope="module")
def whole(scan, small_recipe, tmp_path_factory):
    """The map of the whole scan, and its path."""
    path = tmp_path_factory.mktemp("map") / "map.nc"
    return mapped(scan, small_recipe, output=path), path


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
    from hybridfit.scan import worker

    fit = worker.fit_position

    def misled(fitter, frame, start, pixel):
        rows = fit(fitter, frame, start, pixel)
        if frame.source.endswith("[1,2]") and len(start or ()) < 3:
            rows.values[:, worker.COLUMN["residual_fraction"]] = 0.9
            rows.status[:] = worker.RETRIED[0]
        return rows

    monkeypatch.setattr(worker, "fit_position", misled)
    found = mapped(scan, small_recipe)
    assert map_status(found) == {"converged": 20}
    assert found["route"].attrs["flag_meanings"].split()[int(found["route"][1, 2])] == "neighbour"
    assert float(found["thickness"][1, 2]) == pytest.approx(float(whole[0]["thickness"][1, 2]), abs=0.03)


SCRIPT = """
import sys
from hybridfit import map_scan
from hybridfit.scan.settings import FirstPassSettings, WorkSettings

if __name__ == "__main__":
    map_scan(sys.argv[1], sys.argv[2], semi_angle=9.0, fix={"scale": 3.2, "rotation": 14.0},
             first_pass=FirstPassSettings(sampled=4), work=WorkSettings(block=5),
             output=sys.argv[3], workers=int(sys.argv[4]), progress=lambda r: print(r.stage, flush=True))
"""


@pytest.fixture
def command(scan, small_recipe, tmp_path):
    """Start a run of its own: command(workers) → process."""
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))
    words = [sys.executable, str(script), str(scan), str(small_recipe), str(tmp_path / "map.nc")]
    running = []

    def start(workers: int) -> subprocess.Popen:
        # a shell may have told its background jobs to ignore interrupts
        listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(
            [*words, str(workers)], stdout=subprocess.PIPE, text=True, preexec_fn=listening
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_a_killed_run_loses_nothing_but_the_block_in_hand(command, whole, tmp_path):
    first = command(1)
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("positions"):
            break
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    kept = sorted(path.name for path in (tmp_path / "map.nc.parts").glob("rows-*.npz"))
    assert kept and not (tmp_path / "map.nc").exists()
    times = {name: (tmp_path / "map.nc.parts" / name).stat().st_mtime_ns for name in kept}
    second = command(1)
    assert second.stdout is not None
    for _ in second.stdout:
        still = {n: p.stat().st_mtime_ns for n in kept if (p := tmp_path / "map.nc.parts" / n).exists()}
        assert still == {name: times[name] for name in still}
    assert second.wait() == 0
    assert_same(read_map(tmp_path / "map.nc"), whole[0])


def test_a_killed_worker_costs_what_it_had_in_hand(command, whole, tmp_path):
    run = command(2)
    assert run.stdout is not None
    next(iter(run.stdout))
    victim, *_ = workers_of(run.pid)
    os.kill(victim, signal.SIGKILL)
    assert run.wait(timeout=250) == 0
    assert not alive([victim])
    assert_same(read_map(tmp_path / "map.nc"), whole[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_worker_and_goes_on(command, whole, tmp_path, number):
    run = command(2)
    assert run.stdout is not None
    next(iter(run.stdout))
    workers = workers_of(run.pid)
    assert workers and alive(workers) == workers
    os.kill(run.pid, number)
    assert run.wait(timeout=100) != 0
    deadline = time.monotonic() + 20  # five on a machine that has nothing else to do: benchmarks.kills
    while (left := alive(workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left and not (tmp_path / "map.nc").exists()
    kept = list((tmp_path / "map.nc.parts").glob("*.npz"))
    assert kept
    assert command(1).wait(timeout=250) == 0
    assert_same(read_map(tmp_path / "map.nc"), whole[0])


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


def test_parts_that_are_damaged_or_belong_elsewhere_are_done_again(scan, small_recipe, whole, tmp_path):
    path = tmp_path / "map.nc"

    def stop(report):
        if report.done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mapped(scan, small_recipe, output=path, progress=stop)
    first, second, third, _ = sorted((tmp_path / "map.nc.parts").glob("rows-*.npz"))
    data = first.read_bytes()
    first.write_bytes(data[: len(data) // 2])
    second.write_bytes(data)  # another block's: believed, it is off by rows of the map
    third.write_bytes(b"PK")
    fresh = []
    found = mapped(scan, small_recipe, output=path, progress=lambda r: fresh.append(r.done))
    assert fresh == [10, 15, 20]
    xr.testing.assert_identical(found, whole[0])


def test_a_full_disk_loses_nothing(scan, small_recipe, whole, tmp_path, monkeypatch):
    path = tmp_path / "map.nc"

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


@pytest.fixture(scope="module")
def network(small_library):
    """A network that has seen next to nothing: what it says is poor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "HELD_BACK", 16)
        patch.setattr(training, "CALIBRATION", 16)
        return training.train(small_library, Plan(samples=16, batch=8, pool=16))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        host="127.0.0.1",
        local_directory=tmp_path_factory.mktemp("dask"),
    ) as cluster:
        yield cluster


def test_dask_workers_make_the_same_map(scan, small_recipe, whole, cluster):
    options = {"semi_angle": SEMI_ANGLE, "fix": FIX, **FEW}
    found = map_scan(scan, str(small_recipe), scheduler=cluster.scheduler_address, **options)
    assert_same(found, whole[0])


def test_a_backend_that_is_chosen_is_used_and_its_workers_ask_the_network(
    scan, small_recipe, network, cluster
):
    options = {"fix": FIX, "network": network, "roi": (0, 1, 0, 2), **FEW}
    here = mapped(scan, small_recipe, **options)
    client = cluster.get_client()
    with joblib.parallel_config("dask", client=client):
        there = map_scan(scan, str(small_recipe), semi_angle=SEMI_ANGLE, **options)
    client.close()
    # other threads may round what a network says otherwise
    np.testing.assert_array_equal(there["status"], here["status"])
    np.testing.assert_allclose(there["thickness"], here["thickness"], atol=1e-3)


def test_the_network_alone(scan, small_recipe, small_library, network):
    """At every position the map says what the network says of the frame, and nothing else."""
    found = mapped(scan, small_recipe, fix={}, method="cnn", network=network, roi=(0, 1, 0, 3))
    fitter = Fitter(small_library, SEMI_ANGLE, method="cnn", network=network, workers=1)
    frames = Positions(open_scan(scan)).frames([(0, x) for x in range(3)])
    for x, frame in enumerate(frames):
        alone = fitter.fit(frame)
        assert status(found, 0, x) == alone.status.name
        assert found["route"].attrs["flag_meanings"].split()[int(found["route"][0, x])] == "network"
        for name in ("thickness", "tilt_x", "tilt_y", "scale", "rotation"):
            # a batch may round otherwise than one frame
            assert float(found[name][0, x]) == pytest.approx(alone[name].value, abs=1e-3), name


def assert_same(found, expected):
    """The same, bit for bit, but for where scan and library came from."""
    skip = {"settings", "library_name", "run", "source"}
    strip = [d.assign_attrs({key: "" for key in skip}) for d in (found, expected)]
    xr.testing.assert_identical(*strip)


def workers_of(pid: int) -> list[int]:
    """The processes that do the work of a run."""
    found = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True
    )
    lines = [line.split(maxsplit=1) for line in found.stdout.splitlines()]
    return [int(number) for number, command in lines if "popen_loky" in command]


def alive(pids: list[int]) -> list[int]:
    """Those of some processes that have not ended."""
    found = subprocess.run(["ps", "-o", "pid=,stat=", "-A"], capture_output=True, text=True)
    there = {int(n) for n, state in (line.split() for line in found.stdout.splitlines()) if "Z" not in state}
    return [pid for pid in pids if pid in there]
