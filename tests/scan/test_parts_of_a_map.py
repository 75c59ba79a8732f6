"""The parts of a map: positions, what is common, neighbours, blocks."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.io import open_scan
from hybridfit.scan.first_pass import COMMON, common_values, sampled
from hybridfit.scan.neighbours import retries
from hybridfit.scan.positions import NoFrame, Positions
from hybridfit.scan.rows import COLUMN, STATUSES, Rows, row_without
from hybridfit.scan.store import Store
from hybridfit.scan.worker import is_better

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
        ({"average": 5}, "average = 5 leaves no position"),
        ({"average": 0}, "average = 0 cannot be"),
        ({"bin": 4}, "frames of 24 × 24 px are too small"),
        ({"mask": np.zeros((4, 4), bool)}, "the mask has 4 × 4 px"),
    ],
)
def test_positions_that_cannot_be_are_refused(scan, options, words):
    with pytest.raises(InputError, match=words):
        Positions(open_scan(scan), **options)


def test_a_block_is_kept_whole_and_comes_back(tmp_path):
    store = Store(tmp_path / "map.nc", {"semi_angle": 9.0})
    store.begin()
    one = rows((1, 3), thickness=[1.0, 2, 3])
    store.keep("rows-0", one)
    back = Store(tmp_path / "map.nc", {"semi_angle": 9.0}).load("rows-0")
    for name in Rows.__annotations__:
        np.testing.assert_array_equal(getattr(back, name), getattr(one, name))
    assert sorted(p.name for p in store.folder.iterdir()) == ["manifest.json", "rows-0.npz"]
    (store.folder / "rows-0.npz").write_bytes(b"half")
    with pytest.raises(InputError, match="remove it, and it is made again"):
        store.load("rows-0")


def test_a_folder_of_another_run_is_refused(tmp_path):
    Store(tmp_path / "map.nc", {"semi_angle": 9.0, "bin": 1}).begin()
    with pytest.raises(InputError, match=r"bin was 1, now 2"):
        Store(tmp_path / "map.nc", {"semi_angle": 9.0, "bin": 2})
    (tmp_path / "map.nc.parts" / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="remove the folder to begin anew"):
        Store(tmp_path / "map.nc", {})
