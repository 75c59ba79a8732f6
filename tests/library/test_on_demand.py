"""Thicknesses that are read when they are asked for: the same numbers, once, and checked."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from hybridfit.errors import LibraryError
from hybridfit.library import integrity
from hybridfit.library.integrity import runs_of
from hybridfit.library.library import Library
from hybridfit.pattern.expand import at_thickness

READS: list[tuple] = []


@pytest.fixture
def opened(small_library, tmp_path, monkeypatch) -> Library:
    """The small library in a file; READS fills with what is read of it."""
    path = tmp_path / "small.nc"
    small_library.save(path)
    small_library.table(), small_library.diffuse, small_library.slopes()  # it may be in a file, too
    READS.clear()
    checked = integrity.CheckedArray._checked

    def counted(self, outer, run):
        READS.append((self._source.name if hasattr(self._source, "name") else self.shape, outer))
        return checked(self, outer, run)

    monkeypatch.setattr(integrity.CheckedArray, "_checked", counted)
    return Library(Library.open(path).dataset, on_demand=True)


def test_a_thickness_reads_its_neighbours_once(opened, small_library):
    table = opened.table()
    assert READS == [] and table.intensity.shape == small_library.table().intensity.shape
    for t in (20.3, 20.7, 21.2):
        np.testing.assert_array_equal(at_thickness(table, t), at_thickness(small_library.table(), t))
    read = [outer[0] for _, outer in READS]
    first = round(20 - float(table.thickness_first)) - 1
    assert [(each.start, each.stop) for each in read] == [(first, first + 4), (first + 4, first + 5)]


def test_a_pattern_at_a_thickness_of_the_library_reads_no_other(opened, small_library):
    t = float(small_library.dataset.thickness.values[20])
    alone = at_thickness(opened.table(), t, 1)
    assert [(outer[0].start, outer[0].stop) for _, outer in READS] == [(20, 21)]
    np.testing.assert_array_equal(alone, at_thickness(small_library.table(), t)[..., :1])


def test_windows_and_tables_share_what_was_read(opened, small_library):
    window = opened.window(20, half_widths=(3.0, 1.0), semi_angle=8)
    count = len(READS)
    np.testing.assert_array_equal(
        window.dataset.intensity,
        small_library.window(20, half_widths=(3.0, 1.0), semi_angle=8).dataset.intensity,
    )
    at_thickness(opened.table(), 20.0)
    assert len(READS) == count == 1


def test_all_of_it_is_what_was_written(opened, small_library):
    opened.window(20)
    np.testing.assert_array_equal(opened.table().intensity[:], small_library.table().intensity)
    np.testing.assert_array_equal(np.asarray(opened.table().intensity), small_library.table().intensity)
    np.testing.assert_array_equal(opened.dataset.intensity, small_library.dataset.intensity)
    picked = opened.dataset.intensity.isel(thickness=[7, 3, 40], beam=2).values
    np.testing.assert_array_equal(picked, small_library.dataset.intensity.values[[7, 3, 40], 2])


def test_slopes_and_diffuse_intensity(opened, small_library):
    for name in (small_library.slopes() or opened.slopes()).values:
        mine, whole = (each.slopes().blend(name, 20.4, {}) for each in (opened, small_library))
        np.testing.assert_array_equal(mine, whole)
    mine, whole = opened.diffuse, small_library.diffuse
    assert (mine is None) == (whole is None)
    if mine is not None:
        k = np.random.default_rng(0).uniform(-9, 9, (2, 50))
        for a, b in zip(
            *(vars(each.at(k, 20.4, (0.5, -0.3), 8.0)).values() for each in (mine, whole)), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_damage_is_found_when_it_is_read(opened, small_library):
    path = Path(opened.dataset.encoding["source"])
    chunk = small_library.dataset.intensity.values[30].tobytes()
    data = path.read_bytes()
    at = data.index(chunk[:4096])
    path.write_bytes(data[:at] + bytes(64) + data[at + 64 :])
    again = Library(Library.open(path).dataset, on_demand=True)
    thickness = small_library.dataset.thickness.values
    at_thickness(again.table(), float(thickness[10]))
    with pytest.raises(LibraryError, match="is damaged"):
        at_thickness(again.table(), float(thickness[30]))


def test_what_is_read_is_not_sent(opened):
    opened.window(20)
    again = pickle.loads(pickle.dumps(opened.dataset))
    assert len(pickle.dumps(opened.dataset)) < opened.dataset.intensity.nbytes / 4
    np.testing.assert_array_equal(again.intensity[12], opened.dataset.intensity[12])


def test_a_table_keeps_its_intensity(small_library):
    table = small_library.table()
    moved = table._replace(thickness_first=3.0)
    assert moved.intensity is table.intensity and moved.thickness_first == 3.0
    assert table._replace(intensity=None).intensity is None and "intensity" not in table._fields
    again = pickle.loads(pickle.dumps(table))
    np.testing.assert_array_equal(again.intensity, table.intensity)


def test_runs():
    wanted = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]], bool)
    assert runs_of(wanted) == [(0, slice(0, 2)), (0, slice(3, 4)), (2, slice(1, 4))]
    assert runs_of(wanted[0]) == [(slice(0, 2),), (slice(3, 4),)] and runs_of(wanted[1]) == []
