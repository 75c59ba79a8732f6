"""Finished blocks on disk: what names a run, what counts as done, and what is said when a disk is full."""

from __future__ import annotations

import errno
import json
import os
import stat
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.scan import store as store_module
from hybridfit.scan.rows import FIELDS, Rows
from hybridfit.scan.settings import STORE
from hybridfit.scan.store import Store, digest, writing

AT = ((0, 0), (0, 1), (2, 5))
SETTINGS = {"semi_angle": 9.0, "bin": 1, "fix": {"scale": 3.0, "rotation": None}}


def rows(n=3, structural=1, seed=0):
    """Numbers of n positions."""
    random = np.random.default_rng(seed)
    return replace(
        Rows.empty(n, structural),
        values=random.normal(size=(n, len(FIELDS))),
        structure=random.normal(size=(n, structural, 2)),
        status=np.arange(n, dtype=np.int8),
        route=np.arange(n, dtype=np.int8)[::-1].copy(),
        message=np.array([f"position {i}" for i in range(n)]),
    )


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Rows.__annotations__)


def a_store(folder, settings=SETTINGS):
    return Store(folder / "map.nc", settings)


@pytest.fixture
def store(tmp_path):
    """A run at work."""
    store = a_store(tmp_path)
    with store.working():
        yield store


# ---------------------------------------------------------------- what names a run


def test_a_digest_names_settings_whatever_their_order():
    assert digest(SETTINGS) == digest(dict(reversed(SETTINGS.items())))
    assert digest({}) != digest(SETTINGS) and len(digest({})) == 64
    for name, value in {"semi_angle": 9.1, "bin": 2, "fix": {"scale": 3.0}, "new": None}.items():
        assert digest({**SETTINGS, name: value}) != digest(SETTINGS)


def test_a_digest_names_the_fields_that_parts_have(monkeypatch):
    before = digest(SETTINGS)
    monkeypatch.setattr(store_module, "FIELDS", FIELDS[:-1])
    assert digest(SETTINGS) != before


def test_what_json_does_not_know_is_named_by_its_words(tmp_path):
    assert digest({"output": tmp_path}) == digest({"output": str(tmp_path)})


# ---------------------------------------------------------------- the folder and the manifest


def test_nothing_is_made_until_work_begins(tmp_path):
    store = a_store(tmp_path)
    assert store.common is None and list(tmp_path.iterdir()) == []
    assert store.folder == tmp_path / "map.nc.parts" and store.output == tmp_path / "map.nc"
    with store.working():
        manifest = json.loads((store.folder / "manifest.json").read_text())
        assert manifest == {"digest": digest(SETTINGS), "settings": SETTINGS}
        assert (store.folder / "lock").exists()
    assert sorted(p.name for p in store.folder.iterdir()) == ["manifest.json"]


def test_a_run_can_be_started_where_no_folder_is_yet_and_where_one_is(tmp_path):
    nested = Store(tmp_path / "a" / "b" / "map.nc", SETTINGS)
    for _ in range(2):
        with nested.working():
            assert nested.folder.is_dir()


def test_what_is_common_is_kept_for_the_next_run(store, tmp_path):
    store.keep_common({"scale": 3.25, "rotation": -12})
    assert store.common == {"scale": 3.25, "rotation": -12}
    found = a_store(tmp_path).common
    assert found == {"scale": 3.25, "rotation": -12.0} and all(isinstance(v, float) for v in found.values())
    store.keep_common({})
    assert a_store(tmp_path).common == {}


def test_a_run_finds_what_another_has_found_since(tmp_path):
    late, early = a_store(tmp_path), a_store(tmp_path)
    with early.working():
        early.keep_common({"scale": 3.0})
    assert late.common is None
    with late.working():
        assert late.common == {"scale": 3.0}
        manifest = json.loads((late.folder / "manifest.json").read_text())
        assert manifest["common"] == {"scale": 3.0}  # it has not been written anew


@pytest.mark.parametrize(
    "common",
    [
        {"scale": 3.1},
        {"scale": 3.0, "rotation": 1.0},
        {},
        {"scale": "3.0"},
        {"scale": None},
        [3.0],
        3.0,
        "scale",
    ],
)
def test_common_values_that_were_changed_are_found_again(store, tmp_path, common):
    store.keep_common({"scale": 3.0})
    path = store.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "common": common}))
    assert a_store(tmp_path).common is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_common_value_that_is_no_number_is_found_again(store, tmp_path, value):
    store.keep_common({"scale": value})
    assert a_store(tmp_path).common is None


@pytest.mark.parametrize("common", [[3.0], {"scale": None}, {"scale": "3.0"}, {"scale": [3.0]}, "scale", 3.0])
def test_common_values_of_another_type_are_found_again_where_the_seal_is_lost_too(store, tmp_path, common):
    path = store.folder / "manifest.json"
    content = {**json.loads(path.read_text()), "common": common}
    for seal in ({}, {"seal": None}):
        path.write_text(json.dumps({**content, **seal}))
        assert a_store(tmp_path).common is None


def test_common_values_of_another_run_do_not_count(store, tmp_path):
    """The seal holds the digest: a manifest whose digest was changed is not this run's."""
    store.keep_common({"scale": 3.0})
    path = store.folder / "manifest.json"
    other = digest({**SETTINGS, "bin": 2})
    path.write_text(json.dumps({**json.loads(path.read_text()), "digest": other}))
    assert a_store(tmp_path, {**SETTINGS, "bin": 2}).common is None


def refusal(folder, settings):
    """What is said of a run with other settings."""
    with pytest.raises(InputError) as error:
        a_store(folder, settings)
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"semi_angle": 9.5}, "(semi_angle was 9.0, now 9.5)"),
        ({"new": "x"}, '(new was not given, now "x")'),
        ({"fix": {"scale": 3.5, "rotation": None}}, '(fix was {"scale": 3.0}, now {"scale": 3.5})'),
        ({"fix": {"scale": 3.0}}, '(fix was {"rotation": null}, now {})'),
        ({"fix": None}, '(fix was {"scale": 3.0, "rotation": null}, now not given)'),
        ({"bin": 2, "semi_angle": 8}, "(bin was 1, now 2; semi_angle was 9.0, now 8)"),
        ({"bin": "y" * 58}, f'(bin was 1, now "{"y" * 58}")'),
        ({"bin": "y" * 59}, f'(bin was 1, now "{"y" * 56}…)'),
    ],
)
def test_settings_that_differ_are_named(store, tmp_path, changes, words):
    said = refusal(tmp_path, {**SETTINGS, **changes})
    assert words in said and said.startswith(f"{store.folder} holds a run with other settings")
    assert said.endswith("or remove the folder to begin anew")


def test_no_more_than_four_differences_are_named(store, tmp_path):
    said = refusal(tmp_path, {**SETTINGS, **{name: 1 for name in "abcdef"}})
    assert "; d was not given, now 1)" in said and "e was" not in said


def test_a_setting_that_has_gone_is_named(store, tmp_path):
    assert "(bin was 1, now not given)" in refusal(tmp_path, {"semi_angle": 9.0, "fix": SETTINGS["fix"]})


def test_the_same_settings_of_another_version_are_named_so(store, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "VERSION", store_module.VERSION + 1)
    assert "(made by another version)" in refusal(tmp_path, SETTINGS)


@pytest.mark.parametrize("size", [0, 1])
def test_a_manifest_is_read_up_to_a_size(store, tmp_path, size):
    path = store.folder / "manifest.json"
    room = STORE.largest_manifest - path.stat().st_size + size
    with path.open("a") as file:
        file.write(" " * room)
    if size:
        assert "17 MB, more than any manifest has" in refusal(tmp_path, SETTINGS)
    else:
        assert a_store(tmp_path).common is None


def test_a_manifest_that_cannot_be_read_is_named_in_a_line(store, tmp_path):
    path = store.folder / "manifest.json"
    for damage in (b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(damage)
        said = refusal(tmp_path, SETTINGS)
        assert said.startswith(f"{path} cannot be read (") and "\n" not in said and len(said) < 500
    path.unlink()
    path.mkdir()
    assert "Is a directory" in refusal(tmp_path, SETTINGS)


# ---------------------------------------------------------------- parts


def test_a_part_comes_back_bit_for_bit(store, tmp_path):
    kept = rows()
    store.keep("rows-0", AT, kept)
    assert same(store.load("rows-0", AT), kept)
    assert same(a_store(tmp_path).load("rows-0", list(AT)), kept)
    assert store.load("rows-1", AT) is None
    assert not [p for p in store.folder.iterdir() if p.name.startswith(".")]  # nothing half written


def rewrite(path, **changes):
    """A part with other contents, whose checksum is right; None takes an array away."""
    with np.load(path) as old:
        arrays = {name: old[name] for name in old.files if name != "checksum"} | changes
    arrays = {name: value for name, value in arrays.items() if value is not None}
    np.savez(path, checksum=np.array(store_module._checksum(arrays)), **arrays)


def test_a_part_that_is_rewritten_as_it_was_is_done(store):
    store.keep("rows-0", AT, rows())
    rewrite(store.folder / "rows-0.npz")
    assert same(store.load("rows-0", AT), rows())


@pytest.mark.parametrize(
    "changes",
    [
        {"name": np.array("rows-1")},
        {"digest": np.array(digest({}))},
        {"at": np.array(AT) + 1},
        {"at": np.array(AT)[:2]},
        {"values": None},
        {"message": None},
        {"digest": None},
        {"at": None},
        {"values": rows(2).values},
        {"structure": rows(2).structure},
        {"message": np.array(["", ""])},
        {"status": np.array([0, 1, 100], np.int8)},
        {"route": np.array([0, -1, 1], np.int8)},
        {"values": np.array(["pickled", 1, 2], object)},
    ],
)
def test_a_part_that_is_not_this_block_is_not_done(store, changes):
    """Each of them is whole: its checksum is right."""
    store.keep("rows-0", AT, rows())
    rewrite(store.folder / "rows-0.npz", **changes)
    assert store.load("rows-0", AT) is None


class Trap:
    """An object whose pickle runs code when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_in_a_part_is_not_read(store, tmp_path):
    store.keep("rows-0", AT, rows())
    path = store.folder / "rows-0.npz"
    with np.load(path) as old:
        arrays = {name: old[name] for name in old.files}
    sprung = tmp_path / "sprung"
    np.savez(path, **{**arrays, "values": np.array([Trap(str(sprung))], object)})
    assert store.load("rows-0", AT) is None and not sprung.exists()


@pytest.mark.parametrize("name", [*Rows.__annotations__, "at", "digest", "name"])
def test_a_checksum_covers_every_array(store, name):
    store.keep("rows-0", AT, rows())
    path = store.folder / "rows-0.npz"
    with np.load(path) as old:
        arrays = {key: old[key] for key in old.files}
    changed = arrays[name].copy()
    flat = changed.reshape(-1)
    flat[0] = "x" if changed.dtype.kind == "U" else flat[0] + 1
    np.savez(path, **{**arrays, name: changed})
    assert store.load("rows-0", AT) is None
    np.savez(path, **{key: value for key, value in arrays.items() if key != "checksum"})
    assert store.load("rows-0", AT) is None
    np.savez(path, **arrays)
    assert store.load("rows-0", AT) is not None


def test_a_checksum_tells_shapes_types_and_names_apart():
    checksum = store_module._checksum
    one = {"a": np.arange(6.0), "b": np.zeros(2)}
    assert checksum(one) == checksum({"b": np.zeros(2), "a": np.arange(6.0)})
    others = [
        {**one, "a": np.arange(6.0).reshape(2, 3)},
        {**one, "a": np.arange(6.0).view(np.int64)},
        {"a": one["a"], "c": one["b"]},
        {**one, "a": np.arange(6.0)[::-1]},
        {"b": one["a"], "a": one["b"]},
    ]
    assert len({checksum(each) for each in [one, *others]}) == 6
    assert checksum({"a": np.arange(6.0).reshape(2, 3).T}) == checksum(
        {"a": np.ascontiguousarray(np.arange(6.0).reshape(2, 3).T)}
    )


@pytest.mark.parametrize(("beyond", "read"), [(0, True), (1, False)])
def test_a_part_that_swells_is_not_unpacked(store, beyond, read):
    """The sizes that the archive declares are added before anything is read."""
    store.keep("rows-0", AT, rows())
    path = store.folder / "rows-0.npz"
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as parts:
        declared = sum(part.file_size for part in parts.infolist())
        most = STORE.part_bytes + len(AT) * STORE.part_position_bytes
        parts.writestr("swollen.npy", bytes(most - declared + beyond))
    assert path.stat().st_size < 100_000
    assert (store.load("rows-0", AT) is not None) is read


def test_a_part_is_replaced_whole_and_keeps_its_permissions(store):
    store.keep("rows-0", AT, rows())
    path = store.folder / "rows-0.npz"
    path.chmod(0o640)
    store.keep("rows-0", AT, rows(seed=1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and same(store.load("rows-0", AT), rows(seed=1))


def test_a_part_that_cannot_be_written_leaves_the_one_before(store, monkeypatch):
    store.keep("rows-0", AT, rows())

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match=r"rows-0\.npz cannot be written.*what is done is kept"):
        store.keep("rows-0", AT, rows(seed=1))
    assert same(store.load("rows-0", AT), rows())
    assert sorted(p.name for p in store.folder.iterdir()) == ["lock", "manifest.json", "rows-0.npz"]


def test_a_map_that_is_done_takes_its_folder_along(store, tmp_path):
    store.keep("rows-0", AT, rows())
    store.remove()
    assert not store.folder.exists()
    store.remove()  # nothing left to do


# ---------------------------------------------------------------- words and locks


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; make room there"),
        (OSError("it is\n  gone"), "it is gone; make room there"),
        (RuntimeError("NetCDF: " + 300 * "x"), "NetCDF: " + 152 * "x" + "; make room there"),
        (InputError("map.nc is write-protected"), "map.nc is write-protected; what is done is kept"),
    ],
)
def test_a_file_that_cannot_be_written_is_named_in_a_line(tmp_path, error, words):
    with pytest.raises(InputError) as said, writing(tmp_path / "file"):
        raise error
    assert words in str(said.value) and "\n" not in str(said.value) and said.value.__cause__ is error
    if not isinstance(error, InputError):
        assert str(said.value).startswith(f"{tmp_path / 'file'} cannot be written: ")


def test_other_errors_go_their_way(tmp_path):
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "file"):
        raise ZeroDivisionError


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "map.nc.parts").write_text("a file")
    with (
        pytest.raises(InputError, match=r"map\.nc\.parts cannot be written: File exists; make room"),
        a_store(tmp_path).working(),
    ):
        pytest.fail("there is no folder")


def test_two_runs_cannot_meet_and_the_lock_goes_with_the_first(tmp_path):
    first, second = a_store(tmp_path), a_store(tmp_path)
    with first.working():
        with pytest.raises(InputError, match=rf"is being made by another run \(process {os.getpid()} on "):
            with second.working():
                pytest.fail("two at once")
        assert (first.folder / "lock").exists()
    with second.working():
        pass


def test_a_lock_goes_with_an_error(tmp_path):
    store = a_store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.working():
        raise ZeroDivisionError
    assert sorted(p.name for p in store.folder.iterdir()) == ["manifest.json"]
