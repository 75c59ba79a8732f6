"""χ² of the search against thickness: how deep the answer's minimum is, and what its rivals are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from hybridfit.plot.answer import Answer, Array, Rival
from hybridfit.plot.labels import Label, label_points, shrink, size_px
from hybridfit.plot.settings import PICTURE, PictureSettings
from hybridfit.plot.style import BLACK, BLUE, GREEN, ORANGE, RED, legend_below
from hybridfit.plot.words import measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 1e-6  # χ² drawn at least: the axis is logarithmic
ROOM = 1.5  # factor of χ² above and below what is drawn


class Minimum(NamedTuple):
    """A minimum of the χ² curve other than the answer's: nm, and relative to the variance."""

    thickness: float
    chi2: float


def other_minima(result: Answer, settings: PictureSettings = PICTURE) -> list[Minimum]:
    """Minima of the χ²(thickness) curve other than the answer's, the deepest first.

    A minimum counts when χ² rises by the factor `settings.curve_ridge` on the way to every deeper point of
    the curve, and when it is at least `settings.curve_apart` (nm) from the answer. At most
    `settings.rivals` are returned.
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
        if (
            min(ridges, default=np.inf) > settings.curve_ridge * chi2[i]
            and abs(thickness[i] - answer) > settings.curve_apart
        ):
            found.append(Minimum(float(thickness[i]), float(chi2[i])))
    return sorted(found, key=lambda m: m.chi2)[: settings.rivals]


def runners_up(result: Answer, settings: PictureSettings = PICTURE) -> list[Rival]:
    """Refined candidates other than the answer, each minimum once, the best first.

    Two candidates are one minimum when they agree in thickness within `settings.same_thickness` and in both
    components of tilt within `settings.same_tilt`. Candidates within `settings.candidate_apart` (nm) of the
    answer are left out.
    """
    answer = result.parameters["thickness"].value
    known = [c for c in result.candidates if c.chi2 > 0]
    found: list[Rival] = []
    for each in sorted(known, key=lambda c: c.chi2):
        near = abs(each.thickness - answer) <= settings.candidate_apart
        if not near and not any(_same(each, other, settings) for other in found):
            found.append(each)
    return found


def _same(one: Rival, other: Rival, settings: PictureSettings) -> bool:
    tilt = max(abs(one.tilt_x - other.tilt_x), abs(one.tilt_y - other.tilt_y))
    thickness = abs(one.thickness - other.thickness)
    return thickness <= settings.same_thickness and tilt <= settings.same_tilt


def draw_chi2(axis: Axes, result: Answer, settings: PictureSettings = PICTURE) -> None:
    """χ² of the search against thickness; the answer, its interval, and its rivals.

    A refined candidate is marked on the curve at its thickness, because its own χ² counts the noise of
    every pixel, and the search's does not. Its label says how many times the answer's χ² it has.
    """
    t = result.parameters["thickness"]
    heading = axis.set_title("χ² against thickness", loc="left", fontweight="bold")
    axis.set_xlabel("thickness (nm)")
    axis.set_ylabel("χ² / variance")
    axis.set_yscale("log")
    axis.grid(axis="y", lw=0.6)
    others = runners_up(result, settings)
    rivals = others[: settings.rivals]
    best = min((c.chi2 for c in result.candidates if c.chi2 > 0), default=math.nan)
    curve = result.whole_curve
    curves: list[tuple[Array, Array]] = []
    if curve is not None:
        thickness, chi2 = curve[0], np.maximum(curve[1], LEAST)
        label = "search, coarse grid" if result.curve_searched else "at the answer's tilt and camera"
        axis.plot(thickness, chi2, color=BLUE, label=label, zorder=2)
        curves.append((thickness, chi2))
        heights = np.interp([c.thickness for c in rivals], thickness, chi2).tolist()
        drawn = [float(chi2.min()), float(chi2.max())]
    else:
        heights = [c.chi2 for c in rivals]
        drawn = [v for v in (best, *heights) if math.isfinite(v)]
    _set_limits(axis, curve, [t.value, *(c.thickness for c in rivals)], drawn)
    if np.isfinite(t.value):
        colour = GREEN if result.status.name == "converged" else BLACK
        if t.interval95 is not None:
            axis.axvspan(*t.interval95, color=colour, alpha=0.25, lw=0)
        axis.axvline(t.value, color=colour, lw=1.4, label="answer and its 95 % interval", zorder=1.8)
        value = axis.set_title(f"{measured(t)} nm", loc="right", fontweight="bold", color=colour)
        shrink(value, axis.get_window_extent().width - size_px(heading)[0] - 12)
        curves.append((np.full(2, t.value), np.array(axis.get_ylim())))
    minima = [
        m
        for m in other_minima(result, settings)
        if all(abs(m.thickness - c.thickness) > settings.curve_taken for c in others)
    ]
    if minima:
        at, depth = zip(*minima, strict=True)
        axis.plot(at, depth, "v", color=RED, ms=7, mec="white", label="other minima", zorder=3)
    if rivals:
        axis.plot(
            [c.thickness for c in rivals], heights, "D", color=ORANGE, ms=7, mec="white",
            label="runners-up (× the answer's χ²)", zorder=3,
        )  # fmt: skip
    labels = [
        Label(c.thickness, y, f"{c.thickness:.1f} nm (× {_ratio(c.chi2 / best)})", BLACK)
        for c, y in zip(rivals, heights, strict=True)
    ]
    # of minima with the same thickness and χ², such as those of a crystal and its mirror image, one has words
    labels = list({each.text: each for each in reversed(labels)}.values())[::-1]
    labels += [Label(m.thickness, m.chi2, f"{m.thickness:.0f} nm", RED) for m in minima]
    label_points(axis, labels, curves)
    legend_below(axis, 2)


def _ratio(times: float) -> str:
    """How many times the answer's χ², to as many digits as tell it from 1."""
    return f"{times:.4g}" if times < 1.01 else f"{times:.3g}"


def _set_limits(axis: Axes, curve: Array | None, thicknesses: list[float], drawn: list[float]) -> None:
    """Limits of thickness and χ² that hold what is drawn, and per cent along χ²."""
    known = [v for v in thicknesses if math.isfinite(v)]
    room = 0.2
    if curve is not None:
        known += [float(curve[0][0]), float(curve[0][-1])]
        room = 0.02
    if known:
        wide = max(known) - min(known) or 5.0
        axis.set_xlim(min(known) - room * wide, max(known) + room * wide)
    low, high = (min(drawn), max(drawn)) if drawn else (0.01, 1.0)
    if not 0 < low <= high < math.inf:
        low, high = 0.01, 1.0
    axis.set_ylim(low / ROOM, max(high, 1.5 * low) * ROOM)
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    axis.yaxis.set_minor_formatter(NullFormatter())
