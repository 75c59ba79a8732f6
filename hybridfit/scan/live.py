"""A map while it is made: values of all positions that are finished, from the blocks on disk.

map.nc.values.npz has one image (ny, nx) of float32 for each quantity, NaN where there is nothing yet. It is
replaced as a whole, so that others may read it at any moment with NumPy alone.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridfit.io import atomic_path
from hybridfit.quantities import quantity
from hybridfit.scan.rows import BUDGET, COLUMN, FIELDS, STATUSES

Float32 = NDArray[np.float32]
SHOWN = tuple(name for name in FIELDS if name not in BUDGET and name != "tilt_covariance")
STAGES = ("first", "", "ask", "mend")  # of names of blocks: what is later replaces what was before


def values_path(output: Path) -> Path:
    """Where the values of a map are kept."""
    return output.with_name(f"{output.name}.values.npz")


class LiveMap:
    """The values of a map that is made.

    Parameters
    ----------
    output : path of the map
    shape : (ny, nx)
    """

    def __init__(self, output: Path, shape: tuple[int, int]) -> None:
        self.output = output
        self.folder = output.with_name(output.name + ".parts")
        self._values = np.full((len(SHOWN), *shape), np.nan, np.float32)
        self._columns = [COLUMN[name] for name in SHOWN]
        self.status = np.full(shape, STATUSES.index("not_done"), np.int8)
        self._rank = np.full(shape, -1)
        self._known: set[str] = set()

    def update(self) -> int:
        """Read blocks that have been finished since; how many positions are new or better."""
        names = {path.name for path in self.folder.glob("*.npz") if not path.name.startswith(".")}
        fresh = 0
        for name in sorted(names - self._known, key=_rank):
            try:
                with np.load(self.folder / name, allow_pickle=False) as part:
                    at, rows, status = part["at"], part["values"], part["status"]
            except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # not whole, or gone by now
                continue
            self._known.add(name)
            ny, nx = self.status.shape
            fits = at.ndim == 2 and at.shape == (len(rows), 2) and rows.shape[1:] == (len(FIELDS),)
            if not fits or (at < 0).any() or (at >= (ny, nx)).any():
                continue
            rank = _rank(name)[0]
            take = self._rank[at[:, 0], at[:, 1]] <= rank
            y, x = at[take].T
            self._values[:, y, x] = rows[take][:, self._columns].T
            self.status[y, x] = status[take]
            self._rank[y, x] = rank
            fresh += int(take.sum())
        return fresh

    def write(self) -> None:
        """Write the values for others."""
        values: dict[str, Float32] = dict(zip(SHOWN, self._values, strict=True))
        x, y = values["tilt_x"], values["tilt_y"]
        values["tilt_magnitude"], values["tilt_azimuth"] = np.hypot(x, y), np.rad2deg(np.arctan2(y, x))
        values["status"] = self.status.astype(np.float32)
        units = {name: quantity(name.removesuffix("_stderr")).spelling.cf for name in SHOWN}
        units |= {name: quantity(name).spelling.cf for name in ("tilt_magnitude", "tilt_azimuth")}
        write_values(
            self.output, values, done=int((self.status != STATUSES.index("not_done")).sum()), units=units
        )


def write_values(output: Path, values: Mapping[str, Float32], *, done: int, units: Mapping[str, str]) -> None:
    """Write images (ny, nx) by name, how many positions are done, and the units after the CF conventions."""
    shape = next(iter(values.values())).shape
    about: dict[str, Any] = {"done": done, "shape": list(shape), "units": dict(units)}
    about["statuses"] = list(STATUSES)
    path = values_path(output)
    arrays: dict[str, Any] = {name: image.astype("<f4") for name, image in values.items()}
    arrays["about"] = np.array(json.dumps(about))
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def _rank(name: str) -> tuple[int, str]:
    """Which of two blocks says more of a position: the one of the later stage."""
    stage = name.split("-")[0].removesuffix(".npz")
    return STAGES.index(stage) if stage in STAGES else 1, name
