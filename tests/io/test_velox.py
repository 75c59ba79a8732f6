"""EMD files as Velox writes them: frames last, and JSON in bytes beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.io import open_scan, read_frames

MRAD_PER_INVERSE_NM = 2.50793  # λ at 200 kV


def write_velox(path: Path, data: np.ndarray, units: str = "1/m", **more: Any) -> None:
    """Frames and metadata; the pixel is 0.1 nm⁻¹, 0.25 mrad or 0.1 nm."""
    size = {"1/m": 1e8, "rad": 2.5e-4, "m": 1e-10}[units]
    metadata = {
        "Optics": {"AccelerationVoltage": "200000", "BeamConvergence": "0.0136"},
        "BinaryResult": {
            "PixelSize": {"width": str(size), "height": str(size)},
            "PixelUnitX": units,
            "PixelUnitY": units,
        },
        **more,
    }
    column = np.zeros((4000, data.shape[-1]), "u1")
    content = np.frombuffer(json.dumps(metadata).encode(), "u1")
    column[: len(content)] = content[:, None]
    with h5py.File(path, "w") as file:
        file["Data/Image/0123abc/Data"] = data
        file["Data/Image/0123abc/Metadata"] = column


@pytest.fixture
def stack(pattern) -> np.ndarray:
    return np.stack([(200 - 10 * i) * pattern(64, 48) for i in range(6)]).astype("u2")


@pytest.mark.parametrize(
    ("units", "known"),
    [("1/m", {"mrad_per_px": 0.1 * MRAD_PER_INVERSE_NM}), ("rad", {"mrad_per_px": 0.25}), ("m", {})],
)
def test_calibration_and_voltage(
    tmp_path: Path, stack: np.ndarray, assert_reads, units: str, known: dict[str, float]
) -> None:
    path = tmp_path / "a.emd"
    write_velox(path, np.moveaxis(stack, 0, -1), units)
    known = {"energy_kv": 200.0, "semi_angle_mrad": 13.6, **known}
    for frame in assert_reads(path, stack):
        assert frame.calibration == pytest.approx(known, rel=1e-5)
    scan = open_scan(path, scan_shape=(2, 3))
    assert scan.kind == "Velox EMD" and scan.calibration == pytest.approx(known, rel=1e-5)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00{", b"[1, 2]", b'{"Optics": 3, "BinaryResult": []}'])
def test_metadata_of_no_use_are_left(tmp_path: Path, stack: np.ndarray, assert_reads, content: bytes) -> None:
    path = tmp_path / "a.emd"
    write_velox(path, np.moveaxis(stack, 0, -1))
    with h5py.File(path, "r+") as file:
        file["Data/Image/0123abc/Metadata"][:] = 0
        file["Data/Image/0123abc/Metadata"][: len(content), 0] = np.frombuffer(content, "u1")
    assert assert_reads(path, stack)[0].calibration == {}


@pytest.mark.parametrize("scan_first", [True, False])
def test_four_dimensions(tmp_path: Path, stack: np.ndarray, scan_first: bool) -> None:
    """The size of the scan tells which axes are its own."""
    path, scan = tmp_path / "a.emd", stack.reshape(2, 3, 64, 48)
    told = {"ScanSize": {"width": "3", "height": "2"}, "ScanPixelSize": {"width": 2e-10, "height": 2e-10}}
    write_velox(path, scan if scan_first else scan.transpose(2, 3, 0, 1), Scan=told)
    file = open_scan(path)
    np.testing.assert_array_equal(file.read(slice(0, 2), slice(0, 3))[0], scan)
    assert file.calibration["step_nm"] == pytest.approx(0.2)
    assert file.calibration["mrad_per_px"] == pytest.approx(0.250793, rel=1e-5)
    with pytest.raises(InputError, match="map a 4D-STEM scan with hybridfit map"):
        read_frames(path)
