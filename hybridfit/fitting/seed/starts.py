"""Where the alignment network begins to look in a frame: crops, each as a disc (column, row, radius) in px.

whole     all of the frame
several   crops of a few sizes, about its middle and about the centre of its intensity
many      crops on a grid, of sizes that leave them room

A crop shows HALF_WIDTH radii of its disc to either side.  The network has seen discs of a third to three
times the radius that a crop is made for, off by about as much: from another crop it may see another disc.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.seed.settings import AlignmentSettings
from hybridfit.frame import Frame
from hybridfit.network.alignment.shape import HALF_WIDTH

Array = NDArray[np.float64]


def whole(frame: Frame, centre: tuple[float, float] | None) -> Array:
    """The crop (1, 3) that shows all of a frame, about a known centre (px) or its middle."""
    x, y = centre or _middle(frame)
    rows, cols = frame.image.shape
    reach = max(abs(at - edge) for at, n in ((x, cols), (y, rows)) for edge in (0, n - 1))
    return np.array([[x, y, (reach + 0.5) / HALF_WIDTH]])


def several(frame: Frame, centre: tuple[float, float] | None, settings: AlignmentSettings) -> Array:
    """Crops (n, 3) about a known centre (px), or about the middle of a frame and that of its intensity."""
    centres = [centre] if centre else [_middle(frame), _bright_middle(frame)]
    half = max(frame.image.shape) / 2
    return np.array([(*at, half / size) for at in centres for size in settings.starts])


def many(frame: Frame, centre: tuple[float, float] | None, settings: AlignmentSettings) -> Array:
    """Crops (n, 3) all over a frame; about a known centre (px) alone where it is given."""
    half, found = max(frame.image.shape) / 2, []
    for size, across in settings.more_starts:
        radius = half / size
        steps = np.linspace(-1, 1, across) * settings.more_reach * (half - radius)
        shifts = [(0.0, 0.0)] if centre else [(dx, dy) for dx in steps for dy in steps]
        x, y = centre or _middle(frame)
        found += [(x + dx, y + dy, radius) for dx, dy in shifts]
    return np.array(found)


def _middle(frame: Frame) -> tuple[float, float]:
    rows, cols = frame.image.shape
    return (cols - 1) / 2, (rows - 1) / 2


def _bright_middle(frame: Frame) -> tuple[float, float]:
    """The centre of the intensity (px)."""
    image = np.where(frame.valid, np.maximum(frame.image, 0), 0)
    largest = float(image.max(initial=0.0))
    if not 0 < largest < np.inf:
        return _middle(frame)
    image = image / largest  # whose sum is finite
    row, col = (np.arange(n) for n in image.shape)
    total = image.sum()
    return float(image.sum(axis=0) @ col / total), float(image.sum(axis=1) @ row / total)
