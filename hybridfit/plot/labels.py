"""Words beside points of a graph, each where there is room; and words that shrink until they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from numpy.typing import NDArray

from hybridfit.plot.style import DPI, GREY, WHITE_HALO

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

GRID_PX = (8.0, 5.0)  # steps between the places that are tried, along and across
EDGE_PX = 3.0  # between a label and the edge of the graph
LEADER_GAP_PX = 3.0  # between that line and the label
MARKER_PX = 8.0  # half the room that a marker takes
ROOM_PX = np.array([7.0, 2.0])  # beside and above a label
LEADER_PX = 24.0  # a label further away than this gets a line to its point
# what is as bad as a label so many px further away: to lie over a px of a curve, over a point or another
# label, and a line to the point that runs through another label
CROSSING, COVERING, LEADER_CROSSING = 6.0, 2000.0, 200.0
SMALLEST = 6.0  # pt; words are cut rather than written smaller
LIST_PT = 8.5  # of words that commas part
ELLIPSIS = "…"


class Label(NamedTuple):
    """Words for the point (x, y) of a graph."""

    x: float
    y: float
    text: str
    colour: str


class _Placed(NamedTuple):
    """Where labels go: their boxes (left, bottom, right, top), the ends of lines to them, what that costs."""

    boxes: list[Array]
    leaders: list[Array | None]
    cost: float


def label_points(axis: Axes, labels: Sequence[Label], curves: Sequence[tuple[Array, Array]] = ()) -> None:
    """Write every label near its point: inside the axes, over no other label and no marked point.

    Labels that are too far from their points get a thin line to them. Where that happens, other orders of
    placing the labels are tried, and the one with the shortest distances is taken.

    Parameters
    ----------
    axis : Axes
        With its final limits and position.
    labels : sequence of Label
    curves : sequence of (x, y)
        Lines that labels keep off where they can.
    """
    if not labels:
        return
    frame = axis.get_window_extent()
    corner, size = np.array(frame.min), np.array([frame.width, frame.height])
    texts = [
        axis.text(
            0, 0, each.text, transform=axis.transAxes, ha="center", va="center", fontsize=9.5,
            color=each.colour, path_effects=WHITE_HALO, zorder=5,
        )
        for each in labels
    ]  # fmt: skip
    points = [axis.transData.transform((each.x, each.y)) - corner for each in labels]
    sizes = [np.array(size_px(text)) for text in texts]
    crossed = _area_sums(size, [_samples(axis, *curve) - corner for curve in curves])
    along = sorted(range(len(labels)), key=lambda i: labels[i].x)
    orders = (range(len(labels)), along, along[::-1])
    tried: list[_Placed] = []
    for order in orders:
        tried.append(_place(order, points, sizes, size, crossed))
        if all(leader is None for leader in tried[-1].leaders):
            break
    placed = min(tried, key=lambda each: each.cost)
    for text, point, box, leader in zip(texts, points, placed.boxes, placed.leaders, strict=True):
        text.set_position(tuple((box[:2] + box[2:]) / 2 / size))
        if leader is not None:
            way = (leader - point) / np.hypot(*(leader - point))
            ends = np.stack([point + way * MARKER_PX, leader - way * LEADER_GAP_PX]) / size
            axis.plot(*ends.T, transform=axis.transAxes, color=GREY, lw=0.7, zorder=2.5)


def _place(
    order: Sequence[int], points: Sequence[Array], sizes: Sequence[Array], size: Array, crossed: Array
) -> _Placed:
    """Place labels one after the other, each where it costs least; px from the lower left corner."""
    taken = [np.array([*(point - MARKER_PX), *(point + MARKER_PX)]) for point in points]
    found: dict[int, Array] = {}
    leaders: dict[int, Array | None] = {}
    total = 0.0
    for i in order:
        point, half = points[i], sizes[i] / 2
        across, up = (
            np.arange(h + EDGE_PX, max(length - h - EDGE_PX, h + EDGE_PX) + 1e-6, step)
            for h, length, step in zip(half, size, GRID_PX, strict=True)
        )
        middles = np.stack([m.ravel() for m in np.meshgrid(across, up)], axis=1)
        tried = np.concatenate([middles - half, middles + half], axis=1)
        ends = np.clip(point, tried[:, :2], tried[:, 2:])
        away = np.hypot(*(ends - point).T)
        # below the point and centred, other things being equal
        cost = away + 0.02 * np.abs(middles[:, 0] - point[0]) + (middles[:, 1] > point[1])
        cost += CROSSING * _inside(crossed, tried)
        for box in taken:
            near = np.concatenate([box[:2] - ROOM_PX, box[2:] + ROOM_PX])
            cost += COVERING * ((tried[:, :2] < near[2:]) & (tried[:, 2:] > near[:2])).all(axis=1)
        boxes = np.array(taken)
        elsewhere = ~((boxes[:, :2] < point) & (point < boxes[:, 2:])).all(axis=1)
        best = _first_clear(cost, point, ends, boxes[elsewhere])
        found[i] = tried[best]
        leaders[i] = ends[best] if away[best] > LEADER_PX else None
        taken.append(tried[best])
        if leaders[i] is not None:  # later labels keep off this line
            taken += [np.array([*(at - 1), *(at + 1)]) for at in _between(point, ends[best])]
        total += float(cost[best])
    return _Placed([found[i] for i in range(len(points))], [leaders[i] for i in range(len(points))], total)


def _first_clear(cost: Array, point: Array, ends: Array, boxes: Array) -> int:
    """The cheapest place, when a line to the point that runs through boxes (n, 4) costs LEADER_CROSSING each.

    The cost of that place is replaced by what it is with the line.
    """
    best, least = 0, np.inf
    for i in np.argsort(cost, kind="stable").tolist():
        if cost[i] >= least:
            break
        total = float(cost[i])
        if np.hypot(*(ends[i] - point)) > LEADER_PX:
            line = _between(point, ends[i])[:, None]
            inside = ((line > boxes[:, :2]) & (line < boxes[:, 2:])).all(axis=2)
            total += LEADER_CROSSING * int(inside.any(axis=0).sum())
        if total < least:
            best, least = i, total
    cost[best] = least
    return best


def _between(start: Array, end: Array) -> Array:
    """Points (9, 2) on the way from one place to another."""
    return start + np.linspace(0.1, 0.9, 9)[:, None] * (end - start)


def _samples(axis: Axes, x: Array, y: Array) -> Array:
    """Samples (n, 2) of a line on the page, 1 px apart."""
    at = axis.transData.transform(np.stack([np.asarray(x, float), np.asarray(y, float)], axis=1))
    at = at[np.isfinite(at).all(axis=1)]
    if len(at) < 2:
        return np.empty((0, 2))
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(at, axis=0).T))])
    samples = np.arange(0, along[-1], 1.0)
    return np.stack([np.interp(samples, along, at[:, i]) for i in range(2)], axis=1)


def _area_sums(size: Array, lines: Sequence[Array]) -> Array:
    """Number of samples of lines with row < i and column < j, for every i and j of a graph of this size."""
    width, height = (int(n) + 1 for n in size)
    counts = np.zeros((height + 1, width + 1))
    for line in lines:
        col, row = line.astype(int).T
        here = (line >= 0).all(axis=1) & (col < width) & (row < height)
        np.add.at(counts, (row[here] + 1, col[here] + 1), 1.0)
    return counts.cumsum(axis=0).cumsum(axis=1)


def _inside(sums: Array, boxes: Array) -> Array:
    """Number of samples in each of (n, 4) boxes, with some room."""
    left, bottom = np.clip(boxes[:, :2] - ROOM_PX, 0, None).astype(int).T
    right, top = (boxes[:, 2:] + ROOM_PX).astype(int).T
    right, top = np.minimum(right, sums.shape[1] - 1), np.minimum(top, sums.shape[0] - 1)
    out: Array = sums[top, right] - sums[bottom, right] - sums[top, left] + sums[bottom, left]
    return out


def size_px(text: Text) -> tuple[float, float]:
    """Width and height of a text as drawn, in px."""
    box = text.get_window_extent(renderer=_renderer(text))
    return box.width, box.height


def widest_px(text: Text) -> float:
    """More than the width of a line of text in px, without measuring it."""
    return 1.1 * len(text.get_text()) * float(text.get_fontsize()) * DPI / 72  # no letter is wider than that


def _renderer(text: Text) -> Any:
    figure = text.get_figure(root=True)
    assert figure is not None
    return cast(FigureCanvasAgg, figure.canvas).get_renderer()


def shrink(text: Text, width: float, least: float = SMALLEST) -> Text:
    """Write a text smaller until it is at most this wide (px); cut it where that is not enough.

    The cut is in the middle: both ends of a name tell more than its middle.
    """
    if widest_px(text) <= width:
        return text
    needed = size_px(text)[0]
    if needed <= width:
        return text
    size = max(float(text.get_fontsize()) * width / needed, least)
    text.set_fontsize(size)
    words = text.get_text()
    keep = len(words)
    while size_px(text)[0] > width and keep > 2:
        keep = min(keep - 1, int(keep * width / size_px(text)[0]) + 1)
        text.set_text(words[: (keep + 1) // 2] + ELLIPSIS + words[len(words) - keep // 2 :])
    return text


def fewer(text: Text, width: float) -> Text:
    """The words of a text, which commas part, as far as they fit into a width (px); then smaller words."""
    words = text.get_text()
    text.set_fontsize(min(text.get_fontsize(), LIST_PT))
    while size_px(text)[0] > width and ", " in words:
        words = words.rpartition(", ")[0]
        text.set_text(f"{words}, {ELLIPSIS}")
    return shrink(text, width)


def wrap(text: Text, width: float) -> int:
    """Break a text into lines of at most this width (px), at spaces where it can; the number of lines."""
    lines: list[str] = []
    for word in text.get_text().split():
        longer = f"{lines[-1]} {word}" if lines else word
        text.set_text(longer)
        if lines and size_px(text)[0] <= width:
            lines[-1] = longer
            continue
        text.set_text(word)
        while size_px(text)[0] > width and len(word) > 1:
            cut = max(1, min(len(word) - 1, int(len(word) * width / size_px(text)[0])))
            lines.append(word[:cut])
            word = word[cut:]
            text.set_text(word)
        lines.append(word)
    text.set_text("\n".join(lines))
    return max(len(lines), 1)
