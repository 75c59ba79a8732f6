"""What all positions of a scan share: scale, rotation and distortion, from a first pass over a few.

The camera does not change during a scan.  A few positions are fitted with everything free.  The medians
of what is common are then held for all positions: their fits are quicker and more precise, and all tilts
are in one crystal frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybridfit.scan.fields import robust_plane
from hybridfit.scan.positions import At
from hybridfit.scan.rows import COLUMN, STATUSES, Rows
from hybridfit.scan.settings import FIRST_PASS, FirstPassSettings

Array = NDArray[np.float64]


def sampled(shape: tuple[int, int], count: int) -> tuple[At, ...]:
    """So many positions, or a few less, spread evenly over a map of a shape."""
    ny, nx = shape
    rows = int(np.clip(round(np.sqrt(count * ny / nx)), 1, min(ny, count)))
    columns = int(np.clip(count // rows, 1, nx))
    ys = np.unique(((np.arange(rows) + 0.5) * ny / rows).astype(int))
    xs = np.unique(((np.arange(columns) + 0.5) * nx / columns).astype(int))
    return tuple((int(y), int(x)) for y in ys for x in xs)


def centre_planes(
    rows: Rows, at: Sequence[At], shape: tuple[int, int], settings: FirstPassSettings = FIRST_PASS
) -> Array | None:
    """(ny, nx, 2): where the direct disc is (px) at every position, by a plane through what a few have.

    None where too few converged, or a plane is off by more than `settings.centre_scatter`.
    """
    good = rows.status == STATUSES.index("converged")
    if int(good.sum()) < settings.fewest:
        return None
    y, x = np.array(at)[good].T
    used = np.zeros(shape, bool)
    used[y, x] = True
    out = np.empty((*shape, 2))
    for axis, name in enumerate(("centre_x", "centre_y")):
        values = np.zeros(shape)
        values[y, x] = rows.values[good, COLUMN[name]]
        out[..., axis] = robust_plane(values, used)
        off = np.abs(values - out[..., axis])[used]
        if float(np.median(off)) > settings.centre_scatter:
            return None
    return out


def common_values(
    rows: Rows, names: Sequence[str], order: int, settings: FirstPassSettings = FIRST_PASS
) -> dict[str, float]:
    """The medians of what is common, by name; empty where too few positions converged or they disagree.

    Parameters
    ----------
    rows : Rows
        Of positions fitted with everything free.
    names : parameters that are to be common
    order : int
        Rotations by 360°/order are the same.
    settings : FirstPassSettings
    """
    good = rows.values[rows.status == STATUSES.index("converged")]
    if len(good) < settings.fewest:
        return {}
    found = {}
    for name in names:
        values = good[:, COLUMN[name]].copy()
        if name == "rotation":
            best = values[np.nanargmin(good[:, COLUMN["rotation_stderr"]])]
            values += 360 / order * np.round((best - values) * order / 360)
        middle = float(np.median(values))
        deviation = float(np.median(np.abs(values - middle)))
        if deviation <= settings.scatter(name) * (abs(middle) if name == "scale" else 1):
            found[name] = middle
    return found
