"""Libraries that are solved and kept in blocks of directions: the same numbers; a part reads itself only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from hybridfit.errors import LibraryError
from hybridfit.library import integrity, plan, writing
from hybridfit.library.build import solve_into
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, shipped_folder
from hybridfit.library.settings import BUILD

VALUES = {
    "cif": shipped_folder() / "PbTiO3.cif",
    "zone": (1, 0, 0),
    "energy_kv": 200,
    "g_max": 1.1,
    "semi_angle_max": 4,
    "tilt_max": 8,
    "sampling": 1.2,
    "thickness": {"start": 5, "stop": 10},
}


@pytest.fixture(scope="module")
def whole() -> Library:
    return Library.build(Recipe(**VALUES), device="cpu")


@pytest.fixture(scope="module")
def in_blocks(tmp_path_factory):
    """The same in a file, in blocks of a few directions."""
    path = tmp_path_factory.mktemp("blocks") / "library.nc"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BUILD", replace(BUILD, block=BUILD.block / 2e4))
        solve_into(path, Recipe(**VALUES), device="cpu")
    return path


def test_a_library_in_blocks_holds_the_same_numbers(whole, in_blocks):
    opened = Library.open(in_blocks).dataset
    chunks = opened.intensity.encoding["chunksizes"]
    assert chunks[0] == 1 and chunks[-1] < opened.sizes["direction"] / 3
    order = [tuple(n) for n in opened.direction_n.values.tolist()]
    known = [tuple(n) for n in whole.dataset.direction_n.values.tolist()]
    assert sorted(order) == sorted(known)
    same = whole.dataset.intensity.values[..., [known.index(n) for n in order]]
    np.testing.assert_allclose(opened.intensity.values, same, atol=3e-5)
    rest = [name for name in whole.dataset.variables if "direction" not in whole.dataset[name].dims]
    xr.testing.assert_allclose(opened[rest].load(), whole.dataset[rest], rtol=1e-4, atol=1e-7)


def test_patterns_of_both_are_the_same(whole, in_blocks):
    asked = {"thickness": 8.3, "tilt_x": 5.0, "tilt_y": -4.0, "semi_angle": 3.5}
    found = Library.open(in_blocks).patterns(**asked)
    np.testing.assert_allclose(found, whole.patterns(**asked), atol=3e-5)


def test_a_window_reads_the_blocks_that_it_needs(in_blocks, monkeypatch):
    reads = []
    checked = integrity.CheckedArray._checked

    def counted(self, outer, run):
        found = checked(self, outer, run)
        if self.shape[-1] == opened.dataset.sizes["direction"]:
            reads.append(found.size)
        return found

    opened = Library.open(in_blocks)
    monkeypatch.setattr(integrity.CheckedArray, "_checked", counted)
    window = opened.window(8, (6.0, 0.0), half_widths=(1.0, 0.5), semi_angle=1.0)
    shape = opened.dataset.intensity.shape
    assert window.dataset.sizes["direction"] < shape[-1] / 2
    assert sum(reads) < 0.6 * window.dataset.sizes["thickness"] * shape[1] * shape[2]


def test_a_damaged_block_is_found_where_it_is_read(in_blocks, tmp_path):
    values = Library.open(in_blocks).dataset.intensity.values
    block = Library.open(in_blocks).dataset.intensity.encoding["chunksizes"][-1]
    path = tmp_path / "library.nc"
    content = bytearray(in_blocks.read_bytes())
    at = content.find(np.ascontiguousarray(values[3, :, block : 2 * block]).tobytes())
    assert at > 0
    content[at : at + 8] = bytes(8)
    path.write_bytes(bytes(content))
    data = Library.open(path).dataset
    np.testing.assert_array_equal(data.intensity[3, :, :block], values[3, :, :block])
    np.testing.assert_array_equal(data.intensity[2], values[2])
    with pytest.raises(LibraryError, match="is damaged"):
        data.intensity[3, :, block].load()


def test_parts_of_an_array_in_blocks_are_those_of_the_whole(in_blocks):
    values = Library.open(in_blocks).dataset.intensity.values
    rng = np.random.default_rng(0)
    for _ in range(30):
        data = Library.open(in_blocks).dataset.intensity
        some = np.sort(rng.choice(values.shape[-1], rng.integers(1, 9), replace=False))
        t, one = int(rng.integers(len(values))), int(rng.integers(values.shape[-1]))
        first = int(rng.integers(values.shape[-1] - 2))
        np.testing.assert_array_equal(data[t, :, some], values[t][:, some])
        np.testing.assert_array_equal(data[2:5, 1, one], values[2:5, 1, one])
        np.testing.assert_array_equal(data[:, ::2, first : first + 2], values[:, ::2, first : first + 2])


def test_a_file_that_cannot_be_begun_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(writing.netCDF4.Dataset, "createVariable", full)
    with pytest.raises(LibraryError, match=r"library\.nc cannot be written \(disk full\); make room"):
        solve_into(tmp_path / "library.nc", Recipe(**VALUES), device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_neighbours_are_kept_together():
    n = np.stack(np.meshgrid(np.arange(60), np.arange(60), indexing="ij"), -1).reshape(-1, 2)
    q = n[plan.by_places(n * 0.5)] * 0.5
    parts = np.array_split(q, 16)
    assert np.mean([np.ptp(part, axis=0).max() for part in parts]) < 15.5
