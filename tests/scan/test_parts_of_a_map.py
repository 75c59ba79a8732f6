"""The parts of a map: positions, what is common, neighbours, blocks."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import socket
import subprocess
import sys
import time

import joblib
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

from hybridfit.errors import InputError
from hybridfit.fitting.route import Route
from hybridfit.io import open_scan
from hybridfit.scan import pool
from hybridfit.scan.fields import FieldSettings
from hybridfit.scan.first_pass import common_values, sampled
from hybridfit.scan.lock import Taken, locked
from hybridfit.scan.neighbours import retries
from hybridfit.scan.positions import Blocks, NoFrame, Positions, check_memory
from hybridfit.scan.rows import COLUMN, ROUTES, STATUSES, Rows, row_without
from hybridfit.scan.run import apart
from hybridfit.scan.settings import (
    COMMON,
    FirstPassSettings,
    MapOptions,
    MapSettings,
    NeighbourSettings,
    OpenSettings,
    WorkSettings,
)
from hybridfit.scan.store import Store
from hybridfit.scan.worker import is_better
from hybridfit.thresholds import thresholds_of

CONVERGED, POOR = STATUSES.index("converged"), STATUSES.index("poor_match")


def rows(shape, **values):
    """Positions that all converged, with columns set to arrays of the shape."""
    n = shape[0] * shape[1]
    out = Rows.empty(n)
    numbers, status = out.values.copy(), np.full(n, CONVERGED, np.int8)
    numbers[:, COLUMN["residual_fraction"]] = 0.01
    for name, value in values.items():
        numbers[:, COLUMN[name]] = np.broadcast_to(value, shape).ravel()
    return Rows(numbers, out.structure, status, out.route, out.message)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 5), (10, 10), (256, 256)])
def test_the_first_pass_is_spread_over_the_scan(shape):
    at = sampled(shape, 25)
    assert len(set(at)) == len(at) and 1 <= len(at) <= 30
    assert all(0 <= y < shape[0] and 0 <= x < shape[1] for y, x in at)
    if min(shape) >= 10:
        ys, xs = np.array(at).T
        assert abs(ys.mean() / shape[0] - 0.5) < 0.06 and abs(xs.mean() / shape[1] - 0.5) < 0.06


def test_rotations_on_either_side_of_the_seam_are_one():
    found = common_values(
        rows((1, 5), rotation=[44.9, -44.9, 44.8, -44.8, 45.0], rotation_stderr=[0.1, 0.2, 0.2, 0.2, 0.2]),
        ("rotation",),
        4,
    )
    assert found["rotation"] == pytest.approx(45.0, abs=0.2)


def test_what_differs_from_position_to_position_is_not_common():
    scatter = rows((1, 5), scale=[5.0, 5.4, 4.4, 5.9, 5.1], ellipticity_a=0.002)
    assert common_values(scatter, ("scale", "ellipticity_a"), 4) == {"ellipticity_a": 0.002}
    assert common_values(rows((1, 2), scale=5.0), COMMON, 4) == {}


def test_a_worker_that_needs_memory_goes_on():
    def grows(megabytes):
        pool.may_grow()
        vars(sys).setdefault("kept by a test", []).append(np.ones(megabytes * 2**17))  # in the worker
        time.sleep(1.1)  # joblib looks once a second
        return os.getpid()

    with joblib.parallel_config(backend="loky", n_jobs=2):
        each = joblib.Parallel()(joblib.delayed(grows)(megabytes) for megabytes in (1, 1, 400, 400, 1, 1))
    get_reusable_executor().shutdown()
    assert len(set(each)) <= 2


@pytest.mark.parametrize(("blocks", "parts"), [(0, 2), (1, 2), (5, 1), (5, 2), (6, 3), (3, 8)])
def test_workers_begin_in_different_parts_of_a_map(blocks, parts):
    names = {str(i): ((i, 0),) for i in range(blocks)}
    found = [int(name) for name in apart(names, parts)]
    assert sorted(found) == list(range(blocks))
    if blocks % parts == 0:
        for own in (found[i::parts] for i in range(parts)):
            assert own == list(range(own[0], own[0] + len(own))) if own else blocks == 0


def test_a_poor_position_starts_from_its_best_neighbours():
    near = rows((3, 3), thickness=np.arange(9.0).reshape(3, 3) + 20)
    near.status[4] = POOR
    near.values[[0, 8], COLUMN["residual_fraction"]] = [0.001, 0.002]
    found = retries(near, (3, 3), np.zeros(9, bool))
    assert list(found) == [(1, 1)]
    assert [c.thickness for c in found[1, 1]][:2] == [20.0, 28.0]
    assert retries(near, (3, 3), np.ones(9, bool)) == {}


def test_a_start_that_leads_nowhere_leaves_a_position_as_it_was():
    poor, good = rows((1, 1)), rows((1, 1))
    poor.status[0] = POOR
    assert is_better(good, poor) and not is_better(poor, good)
    assert not is_better(row_without(True, "a disc that is cut"), poor)


def test_a_position_unlike_all_around_it_is_doubted():
    thickness = np.full((3, 3), 30.0)
    thickness[1, 1] = 60.0
    assert list(retries(rows((3, 3), thickness=thickness), (3, 3), np.zeros(9, bool))) == [(1, 1)]
    step = np.array([[30.0, 30, 60], [30, 30, 60], [30, 30, 60]])
    assert retries(rows((3, 3), thickness=step), (3, 3), np.zeros(9, bool)) == {}


def test_a_position_is_the_mean_of_those_it_averages(scan, frames):
    positions = Positions(open_scan(scan), average=2, roi=(1, 4, 1, 5))
    assert positions.shape == (1, 2)
    y, x = positions.coordinates()
    assert list(y) == [1.5] and list(x) == [1.5, 3.5]
    frame = positions.frames([(0, 1)])[0]
    assert frame.image == pytest.approx(frames[1:3, 3:5].mean(axis=(0, 1)))


def test_masked_pixels_are_left_out_of_binned_ones(scan, frames):
    mask = np.zeros((96, 96), bool)
    mask[10, 10], mask[20:22, 20:22] = True, True
    frame = Positions(open_scan(scan), mask=mask, bin=2).frames([(0, 0)])[0]
    rest = frames[0, 0, 10:12, 10:12].astype(float).ravel()[1:]
    assert frame.image[5, 5] == pytest.approx(rest.mean()) and not frame.valid[10, 10]


def test_frames_come_in_the_order_asked_for(scan):
    positions = Positions(open_scan(scan))
    at = [(2, 1), (0, 0), (2, 0), (2, 4)]
    assert [f.source.rsplit("[", 1)[1] for f in positions.frames(at)] == [f"{y},{x}]" for y, x in at]


def test_a_frame_that_the_file_lacks_says_so(scan, tmp_path):
    short = tmp_path / "short.npy"
    short.write_bytes(scan.read_bytes()[:-1000])
    missing = Positions(open_scan(short)).frames([(3, 4)])[0]
    assert isinstance(missing, NoFrame) and not missing.readable and "the file ends" in missing.message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"roi": (0, 9, 0, 2)}, "roi 0:9,0:2 is not inside the scan of 4 × 5 positions"),
        ({"roi": (0, 2.5, 0, 2)}, "is no region; give"),
        ({"roi": "all of it"}, "is no region; give"),
        ({"average": 5}, "average = 5 leaves no position"),
        ({"average": 0}, "average = 0 cannot be"),
        ({"bin": 7}, "frames of 13 × 13 px are too small"),
        ({"mask": np.zeros((4, 4), bool)}, "the mask has 4 × 4 px"),
    ],
)
def test_positions_that_cannot_be_are_refused(scan, options, words):
    with pytest.raises(InputError, match=words):
        Positions(open_scan(scan), **options)


AT = ((0, 0), (0, 1), (0, 2))


@pytest.fixture
def store(tmp_path):
    """A run of which nothing is done."""
    store = Store(tmp_path / "map.nc", {"semi_angle": 9.0})
    with store.working():
        yield store


def test_a_block_is_kept_whole_and_comes_back(store, tmp_path):
    one = rows((1, 3), thickness=[1.0, 2, 3])
    store.keep("rows-0", AT, one)
    back = Store(tmp_path / "map.nc", {"semi_angle": 9.0}).load("rows-0", AT)
    for name in Rows.__annotations__:
        np.testing.assert_array_equal(getattr(back, name), getattr(one, name))
    assert sorted(p.name for p in store.folder.iterdir()) == ["lock", "manifest.json", "rows-0.npz"]


def cut(data, share):
    return data[: int(share * len(data))]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"half",
        lambda data: cut(data, 0.5),
        lambda data: data[len(data) // 2 :],
        lambda data: b"PK\x03\x04" + bytes(100),
        lambda data: data[:1000] + bytes(16) + data[1016:],
        lambda data: data.replace("rows-0".encode("utf-32-le"), "rows-9".encode("utf-32-le")),
        lambda data: data[:-40] + bytes(40),
    ],
)
def test_a_damaged_block_is_not_done(store, damage):
    store.keep("rows-0", AT, rows((1, 3), thickness=[1.0, 2, 3]))
    path = store.folder / "rows-0.npz"
    path.write_bytes(damage(path.read_bytes()))
    assert store.load("rows-0", AT) is None
    store.keep("rows-0", AT, rows((1, 3)))
    assert store.load("rows-0", AT) is not None


def test_a_block_that_belongs_elsewhere_is_not_done(store, tmp_path):
    store.keep("rows-0", AT, rows((1, 3)))
    path, other = store.folder / "rows-0.npz", store.folder / "rows-1.npz"
    other.write_bytes(path.read_bytes())
    assert store.load("rows-1", AT) is None  # of another name
    assert store.load("rows-0", AT[:2]) is None  # of another length
    assert store.load("rows-0", ((1, 0), (1, 1), (1, 2))) is None  # of other positions
    elsewhere = Store(tmp_path / "other.nc", {"semi_angle": 9.1})
    with elsewhere.working():
        (elsewhere.folder / "rows-0.npz").write_bytes(path.read_bytes())
        assert elsewhere.load("rows-0", AT) is None  # of another run
    store.keep("rows-0", AT, rows((1, 2)))
    assert store.load("rows-0", AT) is None  # not as many rows as positions
    (store.folder / "rows-2.npz").mkdir()
    assert store.load("rows-2", AT) is None


def test_a_part_of_a_flag_that_does_not_exist_is_not_done(store):
    for name, names in (("status", STATUSES), ("route", ROUTES)):
        wrong = rows((1, 3))
        getattr(wrong, name)[1] = len(names)
        store.keep("rows-0", AT, wrong)
        assert store.load("rows-0", AT) is None


def test_a_value_that_was_changed_in_the_manifest_is_found_again(store, tmp_path):
    store.keep_common({"scale": 3.2})
    path = store.folder / "manifest.json"
    assert Store(tmp_path / "map.nc", {"semi_angle": 9.0}).common == {"scale": 3.2}
    whole = json.loads(path.read_text())
    for common in ({"scale": 3.3}, {"scale": "3.2"}, {"scale": None}, [3.2], 5, {}):
        path.write_text(json.dumps(whole | {"common": common}))
        assert Store(tmp_path / "map.nc", {"semi_angle": 9.0}).common is None


def test_a_folder_of_another_run_is_refused(tmp_path):
    with Store(tmp_path / "map.nc", {"semi_angle": 9.0, "bin": 1}).working():
        pool.may_grow()
    with pytest.raises(InputError, match=r"bin was 1, now 2"):
        Store(tmp_path / "map.nc", {"semi_angle": 9.0, "bin": 2})
    path = tmp_path / "map.nc.parts" / "manifest.json"
    for text in ("{", "[" * 100_000, "\x00", '"' + 17_000_000 * "a" + '"'):
        path.write_text(text)
        with pytest.raises(InputError, match="remove the folder to begin anew"):
            Store(tmp_path / "map.nc", {})
    for text in ("[]", "{}", '{"settings": 3}', '{"digest": 1, "settings": null}'):
        path.write_text(text)
        with pytest.raises(InputError, match="made by another version"):
            Store(tmp_path / "map.nc", {})


def test_two_runs_cannot_work_on_one_map(store, tmp_path):
    other = Store(tmp_path / "map.nc", {"semi_angle": 9.0})
    words = rf"map\.nc is being made by another run \(process {os.getpid()} on .*\); wait"
    with pytest.raises(InputError, match=words), other.working():
        pytest.fail("two at once")
    assert (store.folder / "lock").exists()


def test_a_lock_that_a_dead_process_has_left_is_taken_over(tmp_path):
    store = Store(tmp_path / "map.nc", {})
    store.folder.mkdir()
    (store.folder / "lock").write_text("process 1 on elsewhere\n")
    with store.working():
        assert (store.folder / "lock").read_text().startswith(f"process {os.getpid()} on ")
    assert not (store.folder / "lock").exists()


def test_where_a_file_system_has_no_locks_the_process_number_tells(tmp_path, monkeypatch):
    def nothing(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("hybridfit.scan.lock.fcntl.flock", nothing)
    path = tmp_path / "lock"
    host = socket.gethostname()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for text, free in (
        ("", True),
        (f"process {gone.pid} on {host}", True),
        (f"process {os.getppid()} on {host}", False),
    ):
        path.write_text(text)
        if free:
            with locked(path):
                pass
        else:
            with pytest.raises(Taken, match=f"process {os.getppid()}"), locked(path):
                pass


def test_a_full_disk_is_one_line_with_the_name_of_the_file(store, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match=r"rows-0\.npz cannot be written: no space is left in .*goes on$"):
        store.keep("rows-0", AT, rows((1, 3)))
    monkeypatch.setattr("hybridfit.scan.store.write_json_atomic", full)
    with pytest.raises(InputError, match=r"manifest\.json cannot be written: No space left.*goes on$"):
        store.keep_common({})
    assert sorted(p.name for p in store.folder.iterdir()) == ["lock", "manifest.json"]


@pytest.mark.parametrize(
    ("shape", "least", "most"),
    [((1, 1), 16, 512), ((7, 5), 16, 512), ((3, 40), 16, 512), ((2, 11), 4, 4), ((5, 3), 1, 2)],
)
def test_blocks_have_every_position_once(shape, least, most):
    blocks = Blocks(shape, least, most)
    assert len(blocks) == len(list(blocks)) == len(set(blocks))
    at = [where for positions in blocks.values() for where in positions]
    assert at == [(y, x) for y in range(shape[0]) for x in range(shape[1])]  # row by row
    assert all(len(positions) <= most for positions in blocks.values())


def test_blocks_of_a_huge_map_are_not_listed():
    blocks = Blocks((10**5, 10**5), 16, 512)
    assert len(blocks) == 10**5 * 196
    names = iter(blocks)
    assert [next(names), next(names)] == ["rows-000000-000000", "rows-000000-000512"]
    assert blocks["rows-099999-099840"][-1] == (99999, 99999)


def test_more_positions_than_memory_holds_are_refused(scan, monkeypatch):
    positions = Positions(open_scan(scan))
    check_memory(positions, 4e3)
    monkeypatch.setattr("hybridfit.scan.positions.machine_memory", lambda: 7e4)
    with pytest.raises(InputError, match="a map of 4 × 5 positions needs 8e-05 GB of memory"):
        check_memory(positions, 4e3)


def test_every_route_of_a_fit_has_a_flag():
    assert set(Route) | {"none"} == set(ROUTES) and len(ROUTES) == len(set(ROUTES))
    assert ROUTES[:6] == ("network", "neighbour", "wider window", "full search", "seed given", "none")


def test_type_checkers_know_every_option():
    known = {field.name for kind in (MapSettings, OpenSettings) for field in dataclasses.fields(kind)}
    assert known - {"semi_angle"} == set(MapOptions.__annotations__)


def test_thresholds_of_a_map_can_be_traced():
    for kind in (FirstPassSettings, NeighbourSettings, WorkSettings, FieldSettings):
        assert {t.name for t in thresholds_of(kind)} == {field.name for field in dataclasses.fields(kind)}
