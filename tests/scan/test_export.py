"""Maps as text and as HyperSpy signals, and what their flags mean."""

from __future__ import annotations

import csv
import sys
from types import ModuleType

import numpy as np
import pytest
import xarray as xr

from hybridfit.errors import InputError
from hybridfit.flags import good_positions, map_status, names_of
from hybridfit.scan.export import to_hyperspy, write_csv


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


def test_hyperspy_signals_are_calibrated(make_map, monkeypatch):
    module = ModuleType("hyperspy.signals")
    module.Signal2D = lambda data, **options: (data, options)
    monkeypatch.setitem(sys.modules, "hyperspy", ModuleType("hyperspy"))
    monkeypatch.setitem(sys.modules, "hyperspy.signals", module)
    signals = to_hyperspy(make_map(step=0.5))
    assert {"thickness", "tilt_x_stderr", "residual_fraction"} <= set(signals)
    assert "status" not in signals and "message" not in signals
    data, options = signals["thickness"]
    assert data.shape == (12, 16)
    assert options["axes"][1] == {"name": "x", "size": 16, "scale": 0.5, "offset": 0.0, "units": "nm"}
    assert options["metadata"]["Signal"]["quantity"] == "thickness (nm)"
    (_, options) = to_hyperspy(make_map(1, 1))["thickness"]
    assert options["axes"][0]["units"] == "position" and options["axes"][0]["scale"] == 1.0


def test_real_hyperspy_takes_them(make_map):
    pytest.importorskip("hyperspy")
    signal = to_hyperspy(make_map(step=0.5))["thickness"]
    assert signal.data.shape == (12, 16)
    assert [(a.name, a.units, a.scale) for a in signal.axes_manager.signal_axes] == [
        ("x", "nm", 0.5),
        ("y", "nm", 0.5),
    ]
    assert signal.metadata.General.title == "thickness"


def test_without_hyperspy_the_remedy_is_named(make_map, monkeypatch):
    monkeypatch.setitem(sys.modules, "hyperspy", None)
    monkeypatch.setitem(sys.modules, "hyperspy.signals", None)
    with pytest.raises(InputError, match="hyperspy is not installed"):
        to_hyperspy(make_map())
