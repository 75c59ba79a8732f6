"""What is asked of a watch, and its thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridfit.thresholds import threshold

FRAMES = (
    ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".npy", ".npz", ".mat", ".mrc", ".mrcs", ".nc", ".h5", ".hdf5",
    ".hspy", ".emd", ".nxs", ".dm3", ".dm4", ".ser", ".mib", ".blo", ".tvips", ".raw", ".bin", ".dat",
)  # fmt: skip


@dataclass(frozen=True)
class WatchTimes:
    """When a file is looked at, and when it is given up."""

    interval: float = threshold(
        1.0,
        "s",
        "the folder is listed so often, and more seldom where a listing takes long: 1e5 files took seconds",
        "design",
    )
    still: float = threshold(
        1.0,
        "s",
        "size and time of a file that is being written change more often, over a network too",
        "design",
    )
    patience: float = threshold(
        60.0, "s", "a file that has stood still for so long and cannot be read will not get better", "design"
    )
    most_frames: int = threshold(
        200, "frames", "a file of more frames is a scan, which `hybridfit map` is for", "design"
    )


TIMES = WatchTimes()


@dataclass(frozen=True)
class WatchSettings:
    """What to watch for.

    Attributes
    ----------
    folder : Path
    recursive : bool
        Folders in the folder, too; links to folders are not followed.
    pattern : str
        Names to take, such as "*.dm4"; "" for all that are frames by their suffix.
    new_only : bool
        Leave what is there at the beginning.
    once : bool
        End when all that is there has been fitted.
    reading : dict
        Options of `hybridfit.io.open_frames`.
    times : WatchTimes
    """

    folder: Path
    recursive: bool = False
    pattern: str = ""
    new_only: bool = False
    once: bool = False
    reading: dict[str, Any] = field(default_factory=dict)
    times: WatchTimes = TIMES
