"""Maps as HyperSpy signals and as .hspy files, which HyperSpy itself reads."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.scan.export import to_hyperspy, write_hspy


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


def test_hyperspy_loads_the_file(make_map, tmp_path):
    hs = pytest.importorskip("hyperspy.api")
    scan, path = make_map(step=0.5), tmp_path / "map.hspy"
    write_hspy(scan, path)
    signals = {s.metadata.Signal.quantity.split(" (")[0]: s for s in hs.load(str(path))}
    assert {"thickness", "tilt_x_stderr", "status"} <= set(signals)
    signal = signals["thickness"]
    assert signal.data.dtype == np.float32 and type(signal).__name__ == "Signal2D"
    np.testing.assert_allclose(signal.data, scan["thickness"].values, rtol=1e-6)
    assert [(a.name, a.units, a.scale, a.size) for a in signal.axes_manager.signal_axes] == [
        ("x", "nm", 0.5, 16),
        ("y", "nm", 0.5, 12),
    ]
    assert (
        signal.metadata.Signal.quantity == "thickness (nm)" and signal.metadata.General.title == "thickness"
    )
    assert signal.original_metadata.hybridfit.library == "SrTiO3 [0 0 1] 200 kV"
    assert signals["status"].original_metadata.hybridfit.status_0 == "converged"


def test_rosettasciio_reads_every_signal(make_map, tmp_path):
    """RosettaSciIO alone, without HyperSpy."""
    hspy = pytest.importorskip("rsciio.hspy")
    pytest.importorskip("h5py")
    path = tmp_path / "map.hspy"
    write_hspy(make_map(), path)
    found = hspy.file_reader(str(path))
    assert len(found) == 14 + 2 and {each["axes"][0]["units"] for each in found} == {"position"}


def test_another_file_is_not_replaced(make_map, tmp_path):
    pytest.importorskip("h5py")
    path = tmp_path / "map.hspy"
    path.write_text("notes")
    with pytest.raises(InputError, match="there already"):
        write_hspy(make_map(), path)


def test_without_h5py_the_remedy_is_named(make_map, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match="pip install h5py"):
        write_hspy(make_map(), tmp_path / "map.hspy")
    assert not list(tmp_path.iterdir())
