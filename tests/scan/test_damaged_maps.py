"""Maps and parts that are damaged or absurd give an InputError of one line, or the right numbers."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridfit.cli.map import print_summary
from hybridfit.errors import InputError
from hybridfit.io import open_scan
from hybridfit.scan.dataset import map_dataset
from hybridfit.scan.made import TITLE, how_made
from hybridfit.scan.maps import fit_at, read_map
from hybridfit.scan.positions import Positions
from hybridfit.scan.rows import Rows
from hybridfit.scan.store import Store

QUICKLY = settings(
    derandomize=True,
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
MADE = {
    "method": "hybrid",
    "semi_angle": 9.0,
    "background": "radial",
    "fix": {"scale": 3.2},
    "free": [],
    "hint_rotation": None,
    "average": 1,
    "roi": [0, 4, 0, 5],
    "bin": 1,
    "common": {"rotation": 14.0},
    "flip": False,
    "library_name": "nowhere.nc",
    "scan": "nowhere.npy",
    "opened": {"dataset": None, "scan_shape": None, "shape": None, "dtype": None, "offset": 0},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def whole(scan) -> xr.Dataset:
    """A map that nobody has fitted: every number is finite."""
    empty = Rows.empty(20)
    values = np.random.default_rng(0).random(empty.values.shape)
    rows = Rows(values, empty.structure, np.zeros(20, np.int8), empty.route, empty.message)
    attrs = {"title": TITLE, "library": "SrTiO3 [0 0 1] 200 kV", "source": "scan.npy", "energy_kv": 200.0}
    attrs |= {"settings": json.dumps(MADE), "run": "abc", "complete": 1}
    return map_dataset(rows, Positions(open_scan(scan)), {}, step_nm=0.5, attrs=attrs)


def use(path) -> None:
    """What `hybridfit show` does with a map; an InputError of one line is a good answer."""
    try:
        found = read_map(path)
        print_summary(found)
        how_made(found)
        fit_at(found, 1, 2)
    except InputError as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 500
    else:
        pytest.fail("there is no such scan")


def test_a_whole_map_is_read(whole, tmp_path):
    whole.to_netcdf(tmp_path / "map.nc")
    found = read_map(tmp_path / "map.nc")
    print_summary(found)
    made = how_made(found)
    assert (made.roi, made.fix, made.common, made.bounds) == (
        (0, 4, 0, 5),
        {"scale": 3.2},
        {"rotation": 14.0},
        {},
    )
    with pytest.raises(InputError, match=r"nowhere\.npy does not exist"):
        fit_at(found, 1, 2)


@QUICKLY
@given(name=st.sampled_from(sorted(MADE)), value=JSON, gone=st.booleans())
def test_settings_of_a_map_that_are_damaged(whole, tmp_path, name, value, gone):
    about = {key: v for key, v in MADE.items() if key != name} if gone else MADE | {name: value}
    whole.assign_attrs(settings=json.dumps(about)).to_netcdf(tmp_path / "map.nc")
    use(tmp_path / "map.nc")


@pytest.mark.parametrize("name", sorted(set(MADE) - {"method", "hint_rotation", "flip"}))
def test_a_setting_that_is_missing_is_named(whole, name):
    about = {key: v for key, v in MADE.items() if key != name}
    with pytest.raises(InputError, match=f"{name} is missing"):
        how_made(whole.assign_attrs(settings=json.dumps(about)))


@pytest.mark.parametrize("name", ["thickness", "tilt_y_stderr", "scale", "rotation", "blur", "tilt_azimuth"])
def test_a_quantity_that_is_missing_is_named(whole, tmp_path, name):
    path = tmp_path / "map.nc"
    whole.drop_vars(name).to_netcdf(path)
    with pytest.raises(InputError, match=f"no whole map: it has no {name}"):
        read_map(path)


@pytest.mark.parametrize("settings", ["", "[1]", "{", "[" * 100_000, 5, None])
def test_settings_that_are_none(whole, settings):
    with pytest.raises(InputError, match="settings of this map cannot be read"):
        how_made(whole.assign_attrs(settings=settings))


ATTRIBUTE = (
    st.text(max_size=6)
    | st.integers(-(2**31), 2**31)
    | st.floats()
    | st.lists(st.integers(-9, 9), max_size=3)
)


@QUICKLY
@given(data=st.data())
def test_a_map_of_which_one_thing_was_changed(whole, tmp_path, data):
    found = whole.copy(deep=True)
    name = data.draw(st.sampled_from(sorted(map(str, found.variables))))
    holder = found if data.draw(st.booleans()) else found[name]
    how = data.draw(
        st.sampled_from(("attribute", "no attribute", "no variable", "other type", "transposed", "cut"))
    )
    if how in ("attribute", "no attribute"):
        key = data.draw(st.sampled_from(sorted(holder.attrs) or ["units"]))
        holder.attrs.pop(key, None)
        if how == "attribute":
            holder.attrs[key] = data.draw(ATTRIBUTE)
    elif how == "no variable":
        found = found.drop_vars(name)
    elif how == "other type" and name in found.data_vars:
        values = np.ones(found[name].shape).astype(data.draw(st.sampled_from(("i2", "f4", "U3", "i8"))))
        found[name] = (found[name].dims, values, found[name].attrs)
    elif how == "transposed":
        found = found.transpose()
    elif name in found.data_vars:
        found[name] = found[name].isel(scan_y=0, drop=True)
    try:
        found.to_netcdf(tmp_path / "map.nc")
    except (ValueError, TypeError, KeyError):  # xarray knows that netCDF has no such thing
        return
    use(tmp_path / "map.nc")


@QUICKLY
@given(share=st.floats(0, 0.999))
def test_a_map_that_is_cut_off(whole, tmp_path, share):
    whole.to_netcdf(tmp_path / "whole.nc")
    data = (tmp_path / "whole.nc").read_bytes()
    (tmp_path / "map.nc").write_bytes(data[: int(share * len(data))])
    use(tmp_path / "map.nc")


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="files are tried in a child process on Linux only")
def test_a_map_that_ends_its_reader_is_refused(whole, tmp_path, monkeypatch):
    whole.to_netcdf(tmp_path / "map.nc")
    monkeypatch.setattr("hybridfit.scan.made._looked_at", lambda path: os.abort())
    with pytest.raises(InputError, match=r"map\.nc cannot be opened: its reader crashed"):
        read_map(tmp_path / "map.nc")


def test_a_map_of_more_values_than_memory_is_refused(whole, tmp_path, monkeypatch):
    whole.to_netcdf(tmp_path / "map.nc")
    monkeypatch.setattr("hybridfit.scan.made.machine_memory", lambda: 1000.0)
    with pytest.raises(InputError, match=r"map\.nc has scan_y 4, scan_x 5,? .*values"):
        read_map(tmp_path / "map.nc")


AT = tuple((0, x) for x in range(4))


@QUICKLY
@given(
    where=st.floats(0, 1),
    cut=st.sampled_from((0, 1, 7, 1000)),
    new=st.binary(max_size=12),
    whole_rest=st.booleans(),
)
def test_a_part_is_what_was_written_or_not_done(tmp_path, where, cut, new, whole_rest):
    store = Store(tmp_path / "map.nc", {"semi_angle": 9.0})
    store.folder.mkdir(exist_ok=True)
    empty = Rows.empty(4, 1)
    values = np.arange(empty.values.size, dtype=float).reshape(empty.values.shape)
    rows = Rows(values, empty.structure, empty.status, empty.route, np.array(["a", "bc", "", "d"]))
    store.keep("rows-0", AT, rows)
    path = store.folder / "rows-0.npz"
    data = path.read_bytes()
    at = int(where * len(data))
    path.write_bytes(data[:at] + new + (data[at + cut :] if whole_rest else b""))
    found = store.load("rows-0", AT)
    if found is not None:
        for name in Rows.__annotations__:
            np.testing.assert_array_equal(getattr(found, name), getattr(rows, name))


@QUICKLY
@given(data=st.data())
def test_a_manifest_that_is_damaged_is_one_line(tmp_path, data):
    first = Store(tmp_path / "map.nc", {"semi_angle": 9.0})
    with first.working():
        first.keep_common({"scale": 3.2})
    path = first.folder / "manifest.json"
    about = json.loads(path.read_text())
    name = data.draw(st.sampled_from(sorted(about)))
    about[name] = data.draw(JSON)
    path.write_text(json.dumps(about))
    try:
        found = Store(tmp_path / "map.nc", {"semi_angle": 9.0}).common
    except InputError as error:
        assert len(str(error).splitlines()) == 1 and "remove the folder" in str(error)
    else:
        assert found in (None, {"scale": 3.2})
    path.unlink()
