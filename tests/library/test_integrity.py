"""Damaged library files: found as they are read, built again in the cache, refused where they were given."""

from __future__ import annotations

import logging
import os
import pickle
import shutil

import numpy as np
import pytest
import xarray as xr

from hybridfit.errors import LibraryError
from hybridfit.library import integrity, store
from hybridfit.library.integrity import contents_digest, digest_of, sealed
from hybridfit.library.library import Library, cache_folder
from hybridfit.library.recipe import Recipe, shipped_folder

RECIPE = """
cif = "SrTiO3.cif"
zone = [0, 0, 1]
energy_kv = 200
g_max = 0.6
semi_angle_max = 4
tilt_max = 1
sampling = 0.4
thickness = { start = 5, stop = 14 }
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "SrTiO3.cif").write_bytes((shipped_folder() / "SrTiO3.cif").read_bytes())
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A library file that no test changes, and what is in it."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "SrTiO3.cif").write_bytes((shipped_folder() / "SrTiO3.cif").read_bytes())
    (folder / "small.toml").write_text(RECIPE)
    library = Library.build(Recipe.read(folder / "small.toml"))
    library.save(folder / "given.nc")
    return folder / "given.nc", library.dataset


@pytest.fixture
def file(given, tmp_path):
    """A library file, and what is in it."""
    path, dataset = given
    shutil.copy(path, tmp_path / "given.nc")
    return tmp_path / "given.nc", dataset.copy(deep=True)


def overwrite(path, at: int, content: bytes) -> None:
    with path.open("r+b") as raw:
        raw.seek(at)
        raw.write(content)


def place_of(path, values: np.ndarray) -> int:
    """Where the bytes of an array are in a file."""
    at = path.read_bytes().find(values.tobytes())
    assert at > 0
    return at


# ---------------------------------------------------------------- the digest


def test_a_digest_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    for size in (1, 7, 8192, 8193, 20001):
        chunk = rng.random(size).astype(np.float32)
        padded = np.zeros(-(-size // 8192) * 8192 + (8192 if size % 8192 == 0 else 0), np.float32)
        padded[:size] = chunk
        w, total = [int(x) for x in integrity.W], 0
        rows = padded.view(np.uint64).reshape(-1, 4096)
        for v, row in zip(integrity._weights(2, len(rows)), rows, strict=True):
            total += int(v) * sum(a * int(b) for a, b in zip(w, row, strict=True))
        assert digest_of(chunk) == (total + w[0] * chunk.nbytes) % 2**64


def test_every_bit_of_a_chunk_counts():
    rng = np.random.default_rng(1)
    chunk = rng.random((3, 4001)).astype(np.float32)
    known = digest_of(chunk)
    for at in rng.integers(0, chunk.nbytes, 200):
        raw = bytearray(chunk.tobytes())
        raw[at] ^= 1 << int(rng.integers(8))
        assert digest_of(np.frombuffer(bytes(raw), np.float32)) != known
    assert digest_of(np.zeros_like(chunk)) != known
    assert digest_of(chunk[::-1]) != known
    assert digest_of(np.zeros(4, np.float32)) != digest_of(np.zeros(5, np.float32))


# ---------------------------------------------------------------- given files


def test_what_is_written_is_what_is_read(file):
    path, data = file
    opened = Library.open(path)
    xr.testing.assert_identical(opened.dataset, data)
    assert opened.dataset.encoding["source"] == str(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 1])
def test_damaged_intensities_are_refused_wherever_they_are_read(file, share):
    """Zeros in the place of a part of a chunk, or of all of it."""
    path, data = file
    chunk = data.intensity.values[7]
    overwrite(path, place_of(path, chunk), bytes(int(share * chunk.nbytes)))
    opened = Library.open(path)
    with pytest.raises(LibraryError, match=r"given\.nc is damaged; copy it anew, or build it again"):
        opened.dataset.intensity.load()
    with pytest.raises(LibraryError, match="is damaged"):
        opened.window(11, half_widths=(1.0, 0.5))
    with pytest.raises(LibraryError, match="is damaged"):
        opened.patterns(thickness=11.5, semi_angle=3)
    with pytest.raises(LibraryError, match="is damaged"):
        opened.table()


def test_a_window_reads_and_checks_its_own_part_only(file):
    path, data = file
    overwrite(path, place_of(path, data.intensity.values[9]), b"\0" * 16)
    opened = Library.open(path)
    window = opened.window(7, half_widths=(0.5, 0.2), semi_angle=3)
    whole = Library(data).window(7, half_widths=(0.5, 0.2), semi_angle=3)
    xr.testing.assert_identical(window.dataset, whole.dataset)


@pytest.mark.parametrize(
    "key",
    [
        {"thickness": 3},
        {"thickness": slice(1, 5), "beam": slice(2, 4), "direction": 5},
        {"thickness": [0, 4, 2], "direction": [9, 1]},
        {"beam": 1, "direction": 2},
        {"thickness": slice(None, None, -2), "beam": slice(None, None, -1)},
    ],
)
def test_parts_are_those_of_the_whole(file, key):
    path, data = file
    part = Library.open(path).dataset.intensity.isel(key)
    np.testing.assert_array_equal(part.values, data.intensity.isel(key).values)


@pytest.mark.parametrize("name", ["direction_n", "basis", "qx", "thickness"])
def test_damage_beside_the_intensities_is_refused(file, name):
    path, data = file
    values = data[name].values
    overwrite(path, place_of(path, values) + values.nbytes // 2, b"\x01\x02")
    with pytest.raises(LibraryError, match="is damaged"):
        Library.open(path)


def test_files_without_digests_are_refused_with_a_remedy(file):
    path, data = file
    data.to_netcdf(path)
    with pytest.raises(LibraryError, match="older hybridfit; build it again with `hybridfit library build"):
        Library.open(path)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="files are tried in a child process on Linux only")
def test_a_file_that_ends_its_reader_is_refused_or_built_again(file, recipe, monkeypatch, caplog):
    """The library of HDF5 may loop for ever, or crash, on a damaged file."""
    Library.open(recipe).close()
    (cached,) = cache_folder().iterdir()
    for path in (file[0], cached):
        os.utime(path, ns=(1, 1))
    monkeypatch.setattr(store, "_looked_at", lambda path: path.stat().st_mtime_ns == 1 and os.abort())
    with pytest.raises(LibraryError, match=r"given\.nc cannot be opened: its reader crashed.*build it again"):
        Library.open(file[0])
    with caplog.at_level(logging.WARNING):
        assert np.isfinite(Library.open(recipe).dataset.intensity.values).all()
    assert "is built again" in caplog.text


def test_a_library_too_large_for_the_memory_says_so(file, monkeypatch):
    path, data = file
    opened = Library.open(path)
    monkeypatch.setattr(integrity, "free_memory", lambda: 1e4)
    with pytest.raises(LibraryError, match=r"needs .* kB of memory and 9 kB are free; close other"):
        opened.dataset.load()
    monkeypatch.undo()
    xr.testing.assert_identical(Library.open(path).dataset.load(), data)


def test_intensities_that_are_only_declared_are_refused(file):
    path, data = file
    huge = sealed(data).drop_vars("intensity").isel(thickness=[0, 1])
    import netCDF4

    with netCDF4.Dataset(path, "w") as out:
        for name, length in {"thickness": 10**7, "beam": 1000, "direction": 1000}.items():
            out.createDimension(name, length)
        out.createVariable("intensity", "f4", ("thickness", "beam", "direction"), chunksizes=(1, 1000, 1000))
        out.createVariable("intensity_digest", "u8", ("thickness",), chunksizes=(1,))
        out.setncatts({key: value for key, value in huge.attrs.items()})
    with pytest.raises(LibraryError, match=r"is damaged \(it declares 4e\+04 GB of intensities\)"):
        Library.open(path)


def test_an_open_library_can_be_sent_elsewhere(file):
    path, data = file
    there = pickle.loads(pickle.dumps(Library.open(path)))
    xr.testing.assert_identical(there.dataset.load(), data)


# ---------------------------------------------------------------- the cache


@pytest.mark.parametrize("size", [8, 65536])
def test_a_damaged_library_in_the_cache_is_built_again(recipe, caplog, size):
    fresh = Library.open(recipe).dataset.load()
    fresh.close()
    (cached,) = cache_folder().iterdir()
    overwrite(cached, place_of(cached, fresh.intensity.values[4]), bytes(size))
    with caplog.at_level(logging.WARNING, "hybridfit"):
        again = Library.open(recipe)
        xr.testing.assert_identical(again.window(9).dataset, Library(fresh).window(9).dataset)
        xr.testing.assert_identical(again.dataset.load(), fresh)
    assert len(caplog.messages) == 1 and "is damaged; building it again" in caplog.text
    caplog.clear()
    xr.testing.assert_identical(Library.open(recipe).dataset.load(), fresh)
    assert not caplog.messages


def test_a_cached_library_of_an_older_hybridfit_is_built_again(recipe, caplog):
    fresh = Library.open(recipe).dataset.load()
    fresh.close()
    (cached,) = cache_folder().iterdir()
    fresh.to_netcdf(cached)
    xr.testing.assert_identical(Library.open(recipe).dataset.load(), fresh)
    assert "is built again" in caplog.text and "older hybridfit" in caplog.text
    store.read_dataset(cached).close()


def test_what_is_no_number_of_the_crystal_counts_too(file):
    _, data = file
    known = contents_digest(sealed(data))
    for change in (
        {"energy_kv": 201.0},
        {"zone": [0, 1, 1]},
        {"crystal": "BaTiO3"},
        {"rotation_order": 2},
    ):
        assert contents_digest(sealed(data.assign_attrs(change))) != known
    assert contents_digest(sealed(data.assign_coords(qx=data.qx + 1e-9))) != known
