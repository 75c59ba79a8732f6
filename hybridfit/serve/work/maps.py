"""Maps of scans: a run that goes on where it was, and its values tile by tile meanwhile."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io import open_scan
from hybridfit.scan.live import LiveMap, write_values
from hybridfit.scan.maps import map_scan
from hybridfit.scan.positions import NoFrame, Positions
from hybridfit.scan.run import MapReport
from hybridfit.scan.settings import MapSettings
from hybridfit.serve.work.telling import Say, Throttle

if TYPE_CHECKING:
    from hybridfit.frame import Frame
    from hybridfit.io import ScanFile

OPENING = ("dataset", "scan_shape", "shape", "dtype", "offset", "skip", "flyback")
MAP = (
    *("method", "background", "fix", "free", "bounds", "sigma", "common", "hint_rotation", "average", "roi"),
    *("bin", "step_nm", "field", "scan_rotation", "flip"),
)
PERIOD = 0.5  # s between two looks at the finished blocks
PATIENCE = 10  # s for a run that was killed to give its lock back


def settings_of(options: dict[str, Any], semi_angle: float | None = None) -> MapSettings:
    """What is asked of a map."""
    asked = {name: options[name] for name in MAP if options.get(name) is not None}
    return MapSettings(**{"semi_angle": options.get("semi_angle") or semi_angle, **asked})


def opening_of(options: dict[str, Any]) -> dict[str, Any]:
    """How its scan is opened."""
    known = {name: options[name] for name in OPENING if options.get(name) is not None}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in known.items()}


def opened(payload: dict[str, Any]) -> tuple[ScanFile, MapSettings]:
    """The scan, and what is asked of its map."""
    file = open_scan(payload["scan"], **opening_of(payload["options"]))
    told = file.calibration.get("semi_angle_mrad")
    if not payload["options"].get("semi_angle") and told is None:
        raise InputError(
            f"{payload['shown']} does not say its semi-angle; give semi_angle in mrad, such as 13.6"
        )
    return file, settings_of(payload["options"], told)


def frame_at(scan: str, options: dict[str, Any], y: int, x: int) -> Frame:
    """The frame of a position of a map that is not finished."""
    file = open_scan(scan, **opening_of(options))
    positions = Positions(
        file, average=options.get("average") or 1, roi=_roi(options), mask=None, bin=options.get("bin") or 1
    )
    ny, nx = positions.shape
    if not (0 <= y < ny and 0 <= x < nx):
        raise InputError(f"position {y},{x} is not in this map of {ny} × {nx}; rows and columns count from 0")
    frame = positions.frames([(y, x)])[0]
    if isinstance(frame, NoFrame):
        raise InputError(frame.message)
    return frame


def _roi(options: dict[str, Any]) -> Any:
    return None if options.get("roi") is None else tuple(options["roi"])


def run_map(payload: dict[str, Any], say: Say, *, workers: int | None) -> dict[str, Any]:
    """Make a map, or go on with it."""
    progress = Throttle(say)
    progress(0.0, "reading")
    file, settings = opened(payload)
    output = Path(payload["map"])
    output.parent.mkdir(parents=True, exist_ok=True)
    live = None
    if not output.exists():
        positions = Positions(file, average=settings.average, roi=settings.roi, mask=None, bin=settings.bin)
        live = LiveMap(output, positions.shape)
        live.update()
        live.write()
        say(rows=0)
    last, fresh = time.monotonic(), 0

    def report(state: MapReport) -> None:
        nonlocal last, fresh
        clock = "" if math.isnan(state.seconds_left) else f", {state.seconds_left:.0f} s left"
        words = f"{state.stage}: {state.done} of {state.total}{clock}, {100 * state.poor:.0f} % poor"
        # other stages are short, and a bar that begins again says nothing
        progress(state.done / state.total if state.stage == "positions" else None, words)
        if live is None or time.monotonic() - last < PERIOD:
            return
        if fresh := live.update():
            live.write()
            say(rows=fresh)
        last = time.monotonic()

    found = None
    for left in reversed(range(PATIENCE)):
        try:
            found = map_scan(
                file, payload["library"], output=output, workers=workers, progress=report, settings=settings,
                **opening_of(payload["options"]),
            )  # fmt: skip
            break
        except InputError as error:
            if "is being made by another run" not in str(error) or not left:
                raise InputError(str(error).replace(f"{output.parent}/", "")) from None
            time.sleep(1)
    assert found is not None
    numbers = [
        str(name)
        for name, v in found.data_vars.items()
        if v.dims == ("scan_y", "scan_x") and v.dtype.kind == "f"
    ]
    values = {name: found[name].values.astype(np.float32) for name in numbers}
    values["status"] = found["status"].values.astype(np.float32)
    units = {name: str(found[name].attrs.get("units", "1")) for name in numbers}
    write_values(output, values, done=int(values["status"].size), units=units)
    say(rows=1)
    return {"shape": list(found["thickness"].shape)}
