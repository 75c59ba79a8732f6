"""What every panel of a picture shares: its size, colours and fonts."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke

SIZE_INCHES = (16.0, 10.0)
DPI = 100
NOTEBOOK_PX = 960  # width of a picture in a notebook
DASHES: Any = (0, (4, 3))  # the rim of the direct disc
# of a legend below a graph: room for ticks and the words of an axis, and how far left of it it begins
LEGEND_BELOW_PX, LEGEND_LEFT_PX = 52, 60

# Okabe & Ito: told apart by every kind of colour vision
BLACK, GREY, BLUE, ORANGE, RED, GREEN = "#1a1a1a", "#6b6b6b", "#0072b2", "#e69f00", "#d55e00", "#009e73"
STATUS_COLOURS = {  # of a fit, and of the positions of a map
    "converged": GREEN,
    "at_bound": ORANGE,
    "ambiguous": "#f0e442",
    "poor_match": RED,
    "failed": BLACK,
    "unusable": "#cc79a7",
    "unreadable": BLUE,
    "not_done": "#e4e4e4",
}
# for words on an image, and on a graph
HALO: list[AbstractPathEffect] = [withStroke(linewidth=2.5, foreground="#f2f2f2")]
WHITE_HALO: list[AbstractPathEffect] = [withStroke(linewidth=2.5, foreground="white")]
INTENSITY, DIFFERENCE = "magma", "RdBu_r"
STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titley": 1.0,  # found from all ticks and labels else, twice for every page
    "axes.labelsize": 11,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "hybridfit",  # the same file for the same result
}


def legend_below(axis: Axes, columns: int, *others: Axes) -> None:
    """The legend of a graph, and of others above it, below its horizontal axis, so that it covers nothing."""
    handles: list[Any] = []
    words: list[Any] = []
    for each in (*others, axis):
        more, names = each.get_legend_handles_labels()
        handles, words = [*handles, *more], [*words, *names]
    if words:
        height = axis.get_window_extent().height
        axis.legend(
            handles, words, loc="upper left", ncols=columns,
            bbox_to_anchor=(-LEGEND_LEFT_PX / axis.get_window_extent().width, -LEGEND_BELOW_PX / height),
            borderaxespad=0.0, borderpad=0.0, columnspacing=1.4, handlelength=1.4, fontsize=9,
        )  # fmt: skip


class Page(Figure):
    """A figure that a notebook shows as wide as its text, also where matplotlib is not set up for it."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=DPI)
        width, height = (int(side) for side in self.get_size_inches() * DPI)
        shown = min(width, NOTEBOOK_PX)
        return buffer.getvalue(), {"width": shown, "height": round(height * shown / width)}


@contextlib.contextmanager
def styled_figure(size_inches: tuple[float, float] = SIZE_INCHES) -> Iterator[Figure]:
    """A page to draw on while the style holds; the user's own stays out of it."""
    # a backend set here would outlive the context
    defaults: Any = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    with warnings.catch_warnings(), matplotlib.rc_context(defaults | STYLE):
        warnings.filterwarnings("ignore", message="Glyph")  # a file's name in letters the font lacks
        figure = Page(figsize=size_inches, dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
