"""χ² of the search against thickness: how deep the answer's minimum is, and what its rivals are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from hybridfit.plot.answer import Answer
from hybridfit.plot.style import BLACK, BLUE, DPI, GREEN, ORANGE, RED, WHITE_HALO
from hybridfit.plot.words import measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RIVALS = 4  # other minima that are marked


class Minimum(NamedTuple):
    """A minimum of χ² other than the answer's: nm, and relative to the variance."""

    thickness: float
    chi2: float


def other_minima(result: Answer, most: int = RIVALS) -> list[Minimum]:
    """Minima of the χ²(thickness) curve other than the answer's, the deepest first.

    Minima that a ridge of less than 5 % separates from a deeper one are ripples, and left out.
    """
    if result.whole_curve is None:
        return []
    thickness, chi2 = result.whole_curve
    answer = result.parameters["thickness"].value
    inner = (chi2[1:-1] < chi2[:-2]) & (chi2[1:-1] <= chi2[2:])
    found = []
    for i in np.flatnonzero(inner) + 1:
        ridges = [
            chi2[min(i, j) : max(i, j) + 1].max() for j in np.flatnonzero(chi2 < chi2[i])
        ]  # on the way to every deeper point
        if min(ridges, default=np.inf) > 1.05 * chi2[i] and abs(thickness[i] - answer) > 3:
            found.append(Minimum(float(thickness[i]), float(chi2[i])))
    return sorted(found, key=lambda m: m.chi2)[:most]


def draw_chi2(axis: Axes, result: Answer) -> None:
    """χ² of the search against thickness; the answer, its interval, and what else was considered.

    A refined candidate is marked on the curve at its thickness, because its own χ² counts every
    pixel's noise, and the search's does not; its label has the ratio to the answer's instead.
    """
    t = result.parameters["thickness"]
    axis.set_title("χ² against thickness", loc="left", fontweight="bold")
    axis.set_xlabel("thickness (nm)")
    axis.set_ylabel("χ² / variance")
    axis.set_yscale("log")
    axis.grid(axis="y", lw=0.6)
    rest = [c for c in result.candidates if c.chi2 > 0 and abs(c.thickness - t.value) > 0.5]
    best = min((c.chi2 for c in result.candidates if c.chi2 > 0), default=math.nan)
    curve = result.whole_curve
    if curve is not None:
        thickness, chi2 = curve[0], np.maximum(curve[1], 1e-6)
        label = "search, coarse grid" if result.curve_searched else "at the answer's tilt and camera"
        axis.plot(thickness, chi2, color=BLUE, label=label, zorder=2)
        axis.set_xlim(float(thickness[0]), float(thickness[-1]))
        heights = np.interp([c.thickness for c in rest], thickness, chi2).tolist()
        low, high = float(chi2.min()), float(chi2.max())
    else:
        heights = [c.chi2 for c in rest]
        low, high = min([best, *heights]), max([best, *heights])
        axis.margins(x=0.2)
    colour = GREEN if result.status.name == "converged" else BLACK
    if np.isfinite(t.value):
        if t.interval95 is not None:
            axis.axvspan(*t.interval95, color=colour, alpha=0.25, lw=0)
        axis.axvline(t.value, color=colour, lw=1.4, label="answer and its 95 % interval", zorder=1.8)
    minima = [m for m in other_minima(result) if all(abs(m.thickness - c.thickness) > 4 for c in rest)]
    if minima:
        at, depth = zip(*minima, strict=True)
        axis.plot(at, depth, "v", color=RED, ms=7, mec="white", label="other minima")
    if rest:
        axis.plot(
            [c.thickness for c in rest], heights, "D", color=ORANGE, ms=7, mec="white",
            label="runners-up, refined (× the answer's χ²)", zorder=3,
        )  # fmt: skip
    if not (0 < low < math.inf and 0 < high < math.inf):
        low, high = 0.01, 1.0
    high = min(max(high, 1.5 * low) * 1.7, max(1.5, 1.2 * high))
    # for the legend, and labels that no curve keeps apart from it, below the least χ²
    room = (0.06 if curve is not None else 0.16) + 0.065 * len(axis.get_legend_handles_labels()[0])
    low *= (low / high) ** (room / (1 - room))
    axis.set_ylim(low, high)
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    labels = [
        (c.thickness, y, f"{c.thickness:.1f} nm (× {c.chi2 / best:.3g})", BLACK)
        for c, y in zip(rest[:RIVALS], heights, strict=False)
    ]
    labels += [(m.thickness, m.chi2, f"{m.thickness:.0f} nm", RED) for m in minima]
    _label_apart(axis, labels)
    if np.isfinite(t.value):
        right = t.value > np.mean(axis.get_xlim())
        axis.annotate(
            f"{measured(t)} nm",
            (t.value, high),
            (-6 if right else 6, -4),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top",
            color=colour,
            fontweight="bold",
            path_effects=WHITE_HALO,
        )
    if axis.get_legend_handles_labels()[0]:
        corner: Any = "lower left" if t.value > np.mean(axis.get_xlim()) else "lower right"
        axis.legend(loc=corner, fontsize=9, frameon=True, framealpha=0.85, edgecolor="none")


def _label_apart(axis: Axes, labels: list[tuple[float, float, str, str]]) -> None:
    """Write labels (x, y, text, colour) below their points, the first ones nearest; none overlap."""
    height = 12.0  # pt
    taken: list[tuple[float, float, float, float]] = []
    left, right = (72 / DPI * axis.transData.transform((x, 1.0))[0] for x in axis.get_xlim())
    for x, y, text, colour in labels:
        column, top = 72 / DPI * axis.transData.transform((x, y))
        half = 3.1 * len(text) + 2
        middle = float(np.clip(column, left + half, max(right - half, left + half)))
        for below in (9 + height * line for line in range(4)):
            box = middle - half, middle + half, top - below - height, top - below
            if any(box[0] < b[1] and b[0] < box[1] and box[2] < b[3] and b[2] < box[3] for b in taken):
                continue
            taken.append(box)
            axis.annotate(
                text, (x, y), (middle - column, -below), textcoords="offset points",
                ha="center", va="top", fontsize=9.5, color=colour, path_effects=WHITE_HALO,
            )  # fmt: skip
            break
