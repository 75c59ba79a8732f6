"""What Velox says of the frames in its EMD files: JSON in a dataset of bytes, one column a frame.

Lengths are in m, angles in rad, the voltage in V; pixels are in `BinaryResult.PixelUnitX`: m, 1/m or rad.

Source: the files themselves; hyperspy/rosettasciio reads the same keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybridfit.io.calibration import Axis, number


def velox_metadata(group: Any) -> Mapping[str, Any]:
    """The JSON of the first frame; empty where there is none."""
    variable = group.variables.get("Metadata")
    if variable is None or variable.ndim != 2 or 0 in variable.shape or variable.dtype != np.uint8:
        return {}
    variable.set_auto_mask(False)
    try:
        found = json.loads(bytes(np.asarray(variable[:, 0])).split(b"\0")[0].decode())
    except ValueError:  # no JSON, or not in UTF-8
        return {}
    return found if isinstance(found, dict) else {}


def velox_axes(metadata: Mapping[str, Any], shape: Sequence[int]) -> list[Axis]:
    """The axes of a dataset: rows, columns and frames of a stack.

    Of four, those whose sizes are those of the scan are the scan's, where the file states these.
    """
    size = {side: number(at(metadata, "BinaryResult", "PixelSize", side)) for side in ("height", "width")}
    units = [str(at(metadata, "BinaryResult", f"PixelUnit{axis}") or "") for axis in "YX"]
    camera = [Axis("qy", units[0], size["height"]), Axis("qx", units[1], size["width"])]
    if len(shape) == 3:
        return [*camera, Axis("frame")]
    if len(shape) != 4:
        return camera if len(shape) == 2 else [Axis()] * len(shape)
    scan = [number(at(metadata, "Scan", "ScanSize", side)) for side in ("height", "width")]
    step = [number(at(metadata, "Scan", "ScanPixelSize", side)) for side in ("height", "width")]
    where = [tuple(shape[:2]) == tuple(scan), tuple(shape[2:]) == tuple(scan)]
    if where[0] == where[1]:
        return [Axis()] * 4
    positions = [Axis("y", "m", step[0]), Axis("x", "m", step[1])]
    return [*positions, *camera] if where[0] else [*camera, *positions]


def velox_microscope(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Energy (kV) and convergence semi-angle (mrad), by the names that HyperSpy gives them."""
    voltage = number(at(metadata, "Optics", "AccelerationVoltage"))
    angle = number(at(metadata, "Optics", "BeamConvergence"))
    found = {"beam_energy": (voltage, 1e-3), "convergence_angle": (angle, 1e3)}
    return {key: value * factor for key, (value, factor) in found.items() if value is not None}


def at(tree: Any, *names: str) -> Any:
    """A value in nested mappings; None where it is not there."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree
