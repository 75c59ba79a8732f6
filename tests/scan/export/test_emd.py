"""Maps as EMD 1.0, which emdfile, the reader of py4DSTEM, opens."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.scan.export import write_emd


def test_emdfile_reads_the_tree(make_map, tmp_path):
    emdfile = pytest.importorskip("emdfile")
    scan, path = make_map(step=0.5), tmp_path / "map.h5"
    write_emd(scan, path)
    root = emdfile.read(str(path))
    thickness = root.tree("thickness")
    assert type(thickness).__name__ == "Array" and thickness.units == "nm"
    np.testing.assert_allclose(thickness.data, scan["thickness"].values, rtol=1e-6)
    assert list(thickness.dim_names) == ["y", "x"] and list(thickness.dim_units) == ["nm", "nm"]
    np.testing.assert_allclose(thickness.dims[1], scan["scan_x"].values)
    assert root.metadata["map"]["library"] == "SrTiO3 [0 0 1] 200 kV"
    assert root.metadata["map"]["energy_kv"] == 200.0
    assert set(np.unique(root.tree("status").data)) <= set(range(8))


def test_a_single_position_has_a_step(make_map, tmp_path):
    emdfile = pytest.importorskip("emdfile")
    write_emd(make_map(1, 1), tmp_path / "map.h5")
    array = emdfile.read(str(tmp_path / "map.h5")).tree("tilt_x")
    assert array.data.shape == (1, 1) and list(array.dim_units) == ["position", "position"]
