"""Maps as text, and what their flags mean."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import xarray as xr

from hybridfit.errors import InputError
from hybridfit.flags import good_positions, map_status, names_of
from hybridfit.scan.export import write_csv


def test_statuses_are_counted_by_name(make_map):
    scan = make_map()
    counts = map_status(scan)
    assert sum(counts.values()) == 12 * 16 and counts["unusable"] == 10
    assert next(iter(counts)) == "converged" and "not_done" not in counts
    assert good_positions(scan).sum() == counts["converged"] + counts.get("at_bound", 0)
    odd = scan["status"].copy(data=np.full((12, 16), 99, np.int8))
    assert (names_of(odd) == "").all()
    assert good_positions(scan.drop_vars("status")).all()


def test_csv_has_a_row_for_every_position(make_map, tmp_path):
    scan = make_map(step=0.5)
    path = tmp_path / "map.csv"
    write_csv(scan, path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 * 16 and list(rows[0])[:5] == ["y", "x", "scan_y", "scan_x", "thickness"]
    row = rows[5 * 16 + 3]
    assert (row["y"], row["x"], row["scan_y"], row["scan_x"]) == ("5", "3", "2.5", "1.5")
    assert float(row["tilt_x_stderr"]) == pytest.approx(float(scan["tilt_x_stderr"][5, 3]), rel=1e-9)
    assert row["status"] == "converged" and row["message"] == "The fit converged."
    (hole, *_) = (row for row in rows if row["status"] == "unusable")
    assert hole["thickness"] == "" and hole["message"] == "there is no disc, in this frame"
    assert list(tmp_path.iterdir()) == [path]


def test_csv_of_a_transposed_map_is_the_same(make_map, tmp_path):
    scan = make_map()
    write_csv(scan, tmp_path / "a.csv")
    write_csv(scan.transpose("scan_x", "scan_y"), tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    assert (tmp_path / "a.csv").read_text().startswith("y,x,thickness,")


def test_what_is_no_map_is_refused(make_map, tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("old")
    with pytest.raises(InputError, match="scan_y"):
        write_csv(xr.Dataset({"a": ("b", [1.0])}), path)
    with pytest.raises(InputError, match="nosuch"):
        write_csv(make_map(), tmp_path / "nosuch" / "map.csv")
    assert path.read_text() == "old"
