"""Where the panels of a map go on a page of a fixed width."""

from __future__ import annotations

from hybridfit.plot.panels import FOOT, HEAD, SIDE, Place
from hybridfit.plot.style import SIZE_INCHES

MOST = 8.0  # a panel is at most this much higher than wide, or wider than high
MARGIN, TOP = 0.45, 0.75  # inches beside the panels, and above them for the title
LEGEND, BAR = 1.7, 1.1  # inches: height of a legend, width of a colour bar with its words


def aspect_of(shape: tuple[int, int]) -> float:
    """Height over width of an image of this many rows and columns, as it is drawn."""
    return min(max(shape[0] / shape[1], 1 / MOST), MOST)


def grid(count: int, shape: tuple[int, int]) -> list[Place]:
    """Places for this many panels, row by row, as large as the page allows."""
    tables = [table(-(-count // columns), columns, shape) for columns in range(1, count + 1)]
    best = max(tables, key=lambda each: each[0][0].width)
    return [place for row in best for place in row][:count]


def table(rows: int, columns: int, shape: tuple[int, int], side: float = SIDE) -> list[list[Place]]:
    """Places in rows and columns, with room for the words and the colour bar of each image."""
    wide = (SIZE_INCHES[0] - 2 * MARGIN + 0.2) / columns
    high = (SIZE_INCHES[1] - TOP - 0.1) / rows
    aspect = aspect_of(shape)
    width = min(wide - side, (high - HEAD - FOOT) / aspect)
    if width <= 0:  # they do not fit: `grid` takes another arrangement
        return [[Place(0, 0, width, -width)] * columns] * rows
    high = HEAD + max(width * aspect, LEGEND if side == SIDE else 0.0) + FOOT
    return [
        [Place(MARGIN + j * wide, TOP + i * high + HEAD, width, width * aspect) for j in range(columns)]
        for i in range(rows)
    ]


def page_of(places: list[Place]) -> tuple[float, float]:
    """Size of a page that ends below the last row of panels."""
    last = places[-1]
    return SIZE_INCHES[0], max(last.top + last.height + FOOT + 0.1, last.top + LEGEND)
