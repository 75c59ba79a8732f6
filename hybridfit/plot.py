"""The picture of a fit: why to believe it, or not.

    experiment        | fit             | residual
    radial profiles   | χ²(thickness)   | the numbers, and what they are worth

Experiment and fit share one colour scale; the residual has the same units, on a scale that is
symmetric about zero and stated in per cent of theirs.  Only matplotlib's object interface is
used: no pyplot, no global state, no display.
"""

from __future__ import annotations

import math
import textwrap
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray
from scipy import ndimage

from hybridfit.errors import InputError
from hybridfit.fitting.result import UNITS, FitResult, Parameter, Status, Thumbnail
from hybridfit.io import atomic_path
from hybridfit.pattern.camera import Camera, to_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

FORMATS = (".png", ".pdf", ".svg")
SIZE_INCHES = (16.0, 10.0)
DPI = 100
RESIDUAL_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the intensity scale: limits of the residual
PROFILE_STEP, PROFILE_PIXELS = 0.25, 12  # mrad; pixels of the innermost point
RIVALS = 4  # other minima that are marked

# Okabe & Ito: told apart by every kind of colour vision
BLACK, GREY, BLUE, ORANGE, RED, GREEN = "#1a1a1a", "#6b6b6b", "#0072b2", "#e69f00", "#d55e00", "#009e73"
STATUS_COLOURS = {
    Status.converged: GREEN,
    Status.at_bound: ORANGE,
    Status.ambiguous: ORANGE,
    Status.poor_match: RED,
    Status.failed: RED,
}
# for words on an image, and on a graph
HALO: list[AbstractPathEffect] = [withStroke(linewidth=2.5, foreground="#f2f2f2")]
WHITE_HALO: list[AbstractPathEffect] = [withStroke(linewidth=2.5, foreground="white")]
INTENSITY, DIFFERENCE = "magma", "RdBu_r"
STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 12,
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
NAMES = {
    "thickness": "thickness",
    "tilt_x": "tilt x",
    "tilt_y": "tilt y",
    "centre_x": "centre, column",
    "centre_y": "centre, row",
    "scale": "scale",
    "rotation": "rotation",
    "ellipticity_a": "ellipticity a",
    "ellipticity_b": "ellipticity b",
    "semi_angle": "semi-angle",
    "blur": "blur",
}


class Minimum(NamedTuple):
    """A minimum of χ² other than the answer's: nm, and relative to the variance."""

    thickness: float
    chi2: float


def plot_fit(result: FitResult, path: str | Path | None = None) -> Figure:
    """Draw a fit, and save it if a path is given.

    Parameters
    ----------
    result : FitResult
    path : str or path, optional
        .png (1600 × 1000 px), .pdf or .svg.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        The path has another suffix, or cannot be written to.
    """
    if path is not None:
        check_suffix(path)
    # the user's own style stays out of it; a backend set here would outlive the context
    defaults: Any = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    with matplotlib.rc_context(defaults | STYLE):
        figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        _draw(figure, result)
    if path is not None:
        with atomic_path(path) as temporary:
            save(figure, temporary)
    return figure


def check_suffix(path: str | Path) -> None:
    """Raise an InputError for a picture format that is not written."""
    suffix = Path(path).suffix
    if suffix.lower() not in FORMATS:
        raise InputError(
            f"{path}: pictures are written as {', '.join(FORMATS)}, not {suffix or 'without a suffix'}"
        )


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure in the format that the suffix names; `plot_fit` does it in one stroke."""
    metadata: dict[str, Any] = {"Software": "hybridfit"}
    kind = Path(path).suffix.lower()
    if kind != ".png":
        metadata = {"Creator": "hybridfit"} | ({"CreationDate": None} if kind == ".pdf" else {"Date": None})
    with warnings.catch_warnings(), matplotlib.rc_context(STYLE):
        warnings.filterwarnings("ignore", message="Glyph")  # a file's name in letters the font lacks
        figure.savefig(path, dpi=DPI, metadata=metadata)


def _draw(figure: Figure, result: FitResult) -> None:
    title = (
        f"{_short(result.source)}   ·   {result.library}   ·   "
        f"semi-angle {result['semi_angle'].value:.4g} mrad"
    )
    figure.text(0.045, 0.95, title, fontsize=16, fontweight="bold", color=BLACK, parse_math=False)
    shown, units = _in_short_numbers(result.thumbnail)
    result = replace(result, thumbnail=shown)
    axes = [figure.add_axes((left, 0.475, 0.262, 0.419)) for left in (0.045, 0.33, 0.68)]
    _images(figure, axes, result, units)
    _profiles(figure, (0.063, 0.07, 0.244, 0.315), result, units)
    _chi2(figure.add_axes((0.378, 0.07, 0.244, 0.315)), result)
    _numbers(figure.add_axes((0.68, 0.03, 0.305, 0.38)), result)


def _in_short_numbers(shown: Thumbnail) -> tuple[Thumbnail, str]:
    """Images divided by a power of ten that makes short tick labels, and the unit that they are then in."""
    largest = float(np.nanmax(np.abs(shown.experiment), initial=0.0)) or 1.0
    power = math.floor(math.log10(largest))
    if -2 <= power <= 3:
        return shown, "frame units"
    ten = 10.0**power
    return replace(
        shown, experiment=shown.experiment / ten, fit=shown.fit / ten
    ), f"$10^{{{power}}}$ frame units"


# ------------------------------------------------------------------------------------------ images


def _images(figure: Figure, axes: list[Axes], result: FitResult, units: str) -> None:
    shown = result.thumbnail
    low, high = _limits(shown)
    residual = shown.experiment - shown.fit
    step, limit = _residual_limit(residual, high - low)
    intensity = matplotlib.colormaps[INTENSITY].with_extremes(bad="#f2f2f2")
    difference = matplotlib.colormaps[DIFFERENCE].with_extremes(bad="#f2f2f2")
    drawn = []
    for axis, image, title in zip(
        axes, (shown.experiment, shown.fit, residual), ("experiment", "fit", "residual"), strict=True
    ):
        signed = image is residual
        drawn.append(
            axis.imshow(
                image,
                extent=shown.extent,
                interpolation="nearest",
                cmap=difference if signed else intensity,
                vmin=-limit if signed else low,
                vmax=limit if signed else high,
            )
        )
        axis.set_title(title, loc="left", fontweight="bold")
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.tick_params(length=3, labelsize=9)
        axis.spines[:].set_visible(False)
        _direct_disc(axis, result, BLACK if signed else "white")
        axis.set_xlabel("column (px)")
        axis.tick_params(labelleft=axis is axes[0])
    axes[0].set_ylabel("row (px)")
    _scale_bar(axes[0], result)
    _crystal_axes(axes[1], result)
    axes[2].set_title(f"colours end at ±{step:.0%} of the other scale", loc="right", fontsize=9.5, color=GREY)
    for axis, mappable, label in (
        (axes[1], drawn[1], "intensity, experiment and fit"),
        (axes[2], drawn[2], "experiment − fit"),
    ):
        place = axis.inset_axes((1.025, 0.0, 0.035, 1.0))
        bar = figure.colorbar(mappable, cax=place)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=3, labelsize=9)
        bar.set_label(f"{label} ({units})", fontsize=10)


def _limits(shown: Thumbnail) -> tuple[float, float]:
    """Colour limits that hold nearly all of both images, shot noise apart; from zero where that is near."""
    here = np.isfinite(shown.experiment)
    size = max(1, max(here.shape) // 40)
    filled = np.where(here, shown.experiment, 0.0)
    weight = ndimage.uniform_filter(here.astype(float), size)
    smooth = (ndimage.uniform_filter(filled, size) / np.maximum(weight, 1e-3))[here]
    values = np.concatenate([smooth, shown.fit[np.isfinite(shown.fit)]])
    low, high = (float(v) for v in np.percentile(values, [0.1, 99.9]))
    if 0 < low < 0.25 * high:
        low = 0.0
    return low, high if high > low else low + 1.0


def _residual_limit(residual: Array, span: float) -> tuple[float, float]:
    """The rung of RESIDUAL_STEPS that holds nearly all of the residual, and what it is in frame units."""
    values = np.abs(residual[np.isfinite(residual)])
    needed = float(np.percentile(values, 99)) / span if values.size else 0.0
    step = next((s for s in RESIDUAL_STEPS if needed <= s), RESIDUAL_STEPS[-1])
    return step, step * span


def _camera(result: FitResult) -> Camera:
    return Camera(*(result[name].value for name in Camera._fields))


def _direct_disc(axis: Axes, result: FitResult, colour: str) -> None:
    """The rim of the direct disc, dashed."""
    scale = result["scale"].value
    centre = result["centre_x"].value, result["centre_y"].value
    if np.isfinite([*centre, scale]).all():
        radius = scale * result["semi_angle"].value
        axis.add_patch(Circle(centre, radius, fill=False, color=colour, lw=1.1, ls=(0, (4, 3)), alpha=0.85))


def _scale_bar(axis: Axes, result: FitResult) -> None:
    """A round length in mrad, in the lower left corner."""
    left, right, bottom, top = result.thumbnail.extent
    scale = result["scale"].value
    if not (np.isfinite(scale) and scale > 0):
        return
    width, height = right - left, bottom - top
    wanted = 0.22 * width / scale
    length = max((v for v in (0.5, 1, 2, 5, 10, 20, 50, 100) if v <= wanted), default=wanted)
    x, y = left + 0.03 * width, bottom - 0.035 * height
    axis.plot(
        [x, x + length * scale], [y, y], color=BLACK, lw=3.5, solid_capstyle="butt",
        path_effects=[withStroke(linewidth=6, foreground="#f2f2f2")],
    )  # fmt: skip
    axis.text(x, y - 0.02 * height, f"{length:g} mrad", color=BLACK, va="bottom", size=10, path_effects=HALO)
    _keep_limits(axis, result)


def _crystal_axes(axis: Axes, result: FitResult) -> None:
    """Arrows along kx and ky of the crystal in a corner, and a cross on the zone axis, k = −τ."""
    left, right, bottom, top = result.thumbnail.extent
    camera = _camera(result)
    tilt = result.tilt
    if not np.isfinite([*camera, *tilt]).all():
        return
    size = 0.1 * (right - left)
    col, row = to_pixels(np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]), camera)
    along = np.stack([col[1:] - col[0], row[1:] - row[0]], axis=1)
    along *= size / np.linalg.norm(along, axis=1, keepdims=True)
    # the arrows and their letters just fit into the lower left corner, whichever way they point
    low, high = np.minimum(along.min(axis=0), 0) * 1.35, np.maximum(along.max(axis=0), 0) * 1.35
    x0, y0 = left + 0.02 * (right - left) - low[0], bottom - 0.02 * (bottom - top) - high[1]
    for (dx, dy), name in zip(along, "xy", strict=True):
        axis.annotate(
            "",
            (x0 + dx, y0 + dy),
            (x0, y0),
            arrowprops={"arrowstyle": "-|>", "color": BLACK, "lw": 1.6, "shrinkA": 0, "shrinkB": 0},
        )
        letter = axis.text(x0 + 1.22 * dx, y0 + 1.22 * dy, name, ha="center", va="center", style="italic")
        letter.set_path_effects(HALO)
    col, row = to_pixels(np.array([-tilt[0]]), np.array([-tilt[1]]), camera)
    for colour, width in ((BLACK, 3.2), ("white", 1.5)):
        axis.plot(col, row, marker="+", ms=13, mew=width, color=colour, ls="none")
    axis.set_title(f"+ zone axis, |τ| = {math.hypot(*tilt):.2f} mrad", loc="right", fontsize=9.5, color=GREY)
    _keep_limits(axis, result)


def _keep_limits(axis: Axes, result: FitResult) -> None:
    left, right, bottom, top = result.thumbnail.extent
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)


# ------------------------------------------------------------------------------------------ graphs


def _profiles(
    figure: Figure, place: tuple[float, float, float, float], result: FitResult, units: str
) -> None:
    """Mean intensity on rings: experiment, fit; their difference below."""
    left, bottom, width, height = place
    upper = figure.add_axes((left, bottom + 0.29 * height, width, 0.71 * height))
    lower = figure.add_axes((left, bottom, width, 0.23 * height), sharex=upper)
    shown = result.thumbnail
    radius, experiment, fit, spread = _ring_means(shown.radius_mrad, shown.experiment, shown.fit)
    alpha = result["semi_angle"].value
    for axis in (upper, lower):
        axis.axvline(alpha, color=GREY, lw=1.1, ls=(0, (4, 3)))
        axis.grid(axis="y", lw=0.6)
    upper.plot(radius, experiment, "o", ms=4.5, mfc="white", mec=BLUE, mew=1.1, label="experiment")
    upper.plot(radius, fit, "-", color=RED, lw=1.4, label="fit")
    upper.set_title("radial profiles", loc="left", fontweight="bold")
    upper.set_ylabel(f"ring mean ({units})")
    upper.text(
        alpha, 0.97, " direct disc ", transform=upper.get_xaxis_transform(), fontsize=9, color=GREY, va="top",
        ha="left",
    )  # fmt: skip
    upper.legend(loc="lower left", handlelength=1.4)
    upper.tick_params(labelbottom=False)
    upper.margins(x=0.01)
    peak = float(np.nanmax(np.abs(fit))) if np.isfinite(fit).any() else 1.0
    difference = 100 * (experiment - fit) / (peak or 1.0)
    lower.axhline(0, color=GREY, lw=0.8)
    lower.fill_between(radius, -100 * spread / peak, 100 * spread / peak, color="#cccccc", lw=0, alpha=0.6)
    lower.plot(radius, difference, "-", color=BLUE, lw=1.2)
    largest = float(np.nanmax(np.abs(difference), initial=0.0))
    lower.set_ylim(-1.25 * max(largest, 1e-3), 1.25 * max(largest, 1e-3))
    lower.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))
    lower.set_ylabel("difference\n(% of max.)", fontsize=9.5)
    lower.set_xlabel("scattering angle (mrad)")
    figure.align_ylabels([upper, lower])


def _ring_means(radius: Array, experiment: Array, fit: Array) -> tuple[Array, Array, Array, Array]:
    """Radius (mrad), means on rings of PROFILE_STEP, and the standard error of their difference."""
    use = np.isfinite(experiment) & np.isfinite(fit) & np.isfinite(radius)
    ring = (radius[use] / PROFILE_STEP).astype(int)
    enough = np.flatnonzero(np.bincount(ring) >= PROFILE_PIXELS)
    if enough.size:  # the innermost rings have few pixels: one disc of them
        ring = np.maximum(ring, enough[0])
    count = np.bincount(ring)
    filled = count > 0
    count = np.maximum(count, 1)

    def mean(values: Array) -> Array:
        return np.bincount(ring, values) / count

    difference = experiment[use] - fit[use]
    spread = np.sqrt(np.maximum(mean(difference**2) - mean(difference) ** 2, 0) / count)
    columns = mean(radius[use]), mean(experiment[use]), mean(fit[use]), spread
    return columns[0][filled], columns[1][filled], columns[2][filled], columns[3][filled]


def other_minima(result: FitResult, most: int = RIVALS) -> list[Minimum]:
    """Minima of the search's χ²(thickness) curve other than the answer's, the deepest first.

    Minima that a ridge of less than 5 % separates from a deeper one are ripples, and left out.
    """
    if result.curve is None:
        return []
    thickness, chi2 = result.curve
    inner = (chi2[1:-1] < chi2[:-2]) & (chi2[1:-1] <= chi2[2:])
    found = []
    for i in np.flatnonzero(inner) + 1:
        ridges = [
            chi2[min(i, j) : max(i, j) + 1].max() for j in np.flatnonzero(chi2 < chi2[i])
        ]  # on the way to every deeper point
        if min(ridges, default=np.inf) > 1.05 * chi2[i] and abs(thickness[i] - result.thickness) > 3:
            found.append(Minimum(float(thickness[i]), float(chi2[i])))
    return sorted(found, key=lambda m: m.chi2)[:most]


def _chi2(axis: Axes, result: FitResult) -> None:
    """χ² of the search against thickness; the answer, its interval, and what else was considered.

    A refined candidate is marked on the curve at its thickness, because its own χ² counts every
    pixel's noise, and the search's does not; its label has the ratio to the answer's instead.
    """
    t = result["thickness"]
    axis.set_title("χ² against thickness", loc="left", fontweight="bold")
    axis.set_xlabel("thickness (nm)")
    axis.set_ylabel("χ² / variance")
    axis.set_yscale("log")
    axis.grid(axis="y", lw=0.6)
    rest = [c for c in result.candidates if c.chi2 > 0 and abs(c.thickness - t.value) > 0.5]
    best = min((c.chi2 for c in result.candidates if c.chi2 > 0), default=math.nan)
    if result.curve is not None:
        thickness, chi2 = result.curve[0], np.maximum(result.curve[1], 1e-6)
        axis.plot(thickness, chi2, color=BLUE, label="search, coarse grid", zorder=2)
        axis.set_xlim(float(thickness[0]), float(thickness[-1]))
        heights = np.interp([c.thickness for c in rest], thickness, chi2).tolist()
        low, high = float(chi2.min()), float(chi2.max())
    else:
        heights = [c.chi2 for c in rest]
        low, high = min([best, *heights]), max([best, *heights])
        axis.margins(x=0.2)
    colour = GREEN if result.ok else BLACK
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
    high = min(max(high, 3 * low) * 1.7, max(1.5, 1.2 * high))
    # for the legend, and labels that no curve keeps apart from it, below the least χ²
    room = (0.06 if result.curve is not None else 0.16) + 0.065 * len(axis.get_legend_handles_labels()[0])
    low *= (low / high) ** (room / (1 - room))
    axis.set_ylim(low, high)
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None if low > 0.005 else 1))
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
            f"{_measured(t)} nm",
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


# ------------------------------------------------------------------------------------------- words


def _numbers(axis: Axes, result: FitResult) -> None:
    """The status in words, then values ± standard errors."""
    axis.set_axis_off()
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    height = axis.get_position().height * SIZE_INCHES[1]  # inches
    colour = STATUS_COLOURS[result.status]
    lines = textwrap.wrap(result.message, 64)[:5]
    axis.text(
        0.025, 0.985, "\n".join(lines), va="top", fontsize=10.5, linespacing=1.35, parse_math=False,
        bbox={"boxstyle": "round,pad=0.55", "facecolor": colour, "alpha": 0.16, "edgecolor": "none"},
    )  # fmt: skip
    used = 0.20 * len(lines) / height
    axis.plot([0, 0], [0.985 - used, 1.0], color=colour, lw=5, solid_capstyle="butt", clip_on=False)
    shown = [
        (name, p)
        for name, p in (result.parameters | result.structure).items()
        if not (name.startswith("ellipticity") and p.stderr is None and p.value == 0)
    ]
    y = 0.93 - used
    step = min(0.30 / height, (y - 0.09) / len(shown))
    size = 11.5 if step * height > 0.2 else 9.5
    for name, p in shown:
        weight = "bold" if name in ("thickness", "tilt_x", "tilt_y") else "normal"
        unit = UNITS.get(name, "").replace("_per_", "/").replace("deg", "°")
        value, _, error = _measured(p).partition(" ± ")
        note = f"± {error}" if error else ("on its bound" if _varied(result, name) else "fixed")
        axis.text(0.0, y, NAMES.get(name, name), va="top", size=size, weight=weight, parse_math=False)
        axis.text(0.56, y, value, va="top", ha="right", size=size, weight=weight)
        axis.text(
            0.58,
            y,
            note,
            va="top",
            size=size,
            color=BLACK if error else GREY,
            weight=weight if error else "normal",
        )
        axis.text(0.82, y, unit, va="top", size=size, color=GREY)
        y -= step
    quality = (
        f"residual {result.residual_fraction:.2%} of the variance (misfit {result.misfit_fraction:.2%}), "
        f"reduced χ² {result.reduced_chi2:.3g}"
    )
    axis.text(0.0, y - 0.02, quality, va="top", fontsize=10, color=GREY)


def _varied(result: FitResult, name: str) -> bool:
    """Whether a parameter without an error was fitted all the same, and ended on a bound."""
    params = getattr(result.minimizer, "params", {})
    return result.status is Status.at_bound and name in params and bool(params[name].vary)


def _measured(p: Parameter) -> str:
    """value ± error, both to the second digit of the error."""
    if p.stderr is None or not 0 < p.stderr < math.inf or not math.isfinite(p.value):
        text = f"{p.value:.5g}"
    else:
        digits = max(0, min(8, 1 - math.floor(math.log10(p.stderr))))
        text = f"{p.value:.{digits}f} ± {p.stderr:.{digits}f}"
    return text.replace("-", "−")


def _short(source: str, most: int = 48) -> str:
    """The name of a file without its folders, or the end of that."""
    name = Path(source).name or source
    return name if len(name) <= most else "…" + name[-most + 1 :]
