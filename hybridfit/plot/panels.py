"""One map on a page: the image, the legend beside it, and the scale bar below.

A `Place` is where a panel goes, in inches from the upper left corner of the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hybridfit.flags import meanings, names_of
from hybridfit.plot.style import BLACK, BLUE, GREEN, GREY, ORANGE, RED, STATUS_COLOURS
from hybridfit.plot.wheel import azimuth_colours, draw_wheel, tilt_colours

Array = NDArray[np.float64]
MASKED = "#b5b5b5"
DISCRETE = (BLUE, RED, GREEN, ORANGE)
SIDE, HEAD, FOOT = 1.6, 0.34, 0.34  # inches beside, above and below an image
ARROW = 0.27  # inches between arrows


class Place(NamedTuple):
    """The image of a panel: inches from the upper left corner of the page."""

    left: float
    top: float
    width: float
    height: float

    def axes(self, figure: Figure, **options: Any) -> Axes:
        """Axes that fill it."""
        w, h = figure.get_size_inches()
        return figure.add_axes(
            (self.left / w, 1 - (self.top + self.height) / h, self.width / w, self.height / h), **options
        )


def draw_image(
    figure: Figure, place: Place, image: Array, title: str, **options: Any
) -> tuple[Axes, matplotlib.image.AxesImage]:
    """A map without ticks, its pixels as they are; options as of `imshow`."""
    axis = place.axes(figure)
    drawn = axis.imshow(image, interpolation="nearest", aspect="auto", **options)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.set_title(title, loc="left", fontweight="bold", fontsize=11)
    return axis, drawn


def draw_values(
    figure: Figure,
    place: Place,
    values: Array,
    title: str,
    label: str,
    *,
    limits: tuple[float, float],
    colours: str | Colormap = "viridis",
) -> Axes:
    """Numbers in colours, with a bar beside them; what is NaN is grey."""
    shades = matplotlib.colormaps[colours] if isinstance(colours, str) else colours
    options = {"cmap": shades.with_extremes(bad=MASKED), "vmin": limits[0], "vmax": limits[1]}
    axis, drawn = draw_image(figure, place, values, title, **options)
    known = values[np.isfinite(values)]
    if not known.size:
        axis.text(0.5, 0.5, "nothing known", ha="center", va="center", transform=axis.transAxes, color=BLACK)
        return axis
    beyond = known.min() < limits[0], known.max() > limits[1]
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    bar_place = Place(place.left + place.width + 0.1, place.top, 0.14, max(place.height, 0.7))
    bar = figure.colorbar(drawn, cax=bar_place.axes(figure), extend=extend[beyond], extendfrac=0.04)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(length=3, labelsize=9)
    if "azimuth" in shades.name:
        bar.set_ticks([-180, -90, 0, 90, 180])
    else:
        bar.locator = MaxNLocator(5 if place.height > 1.2 else 3)
        bar.update_ticks()
    bar.set_label(label, fontsize=10)
    return axis


def draw_tilt(figure: Figure, place: Place, dataset: xr.Dataset, title: str) -> Axes:
    """Direction and magnitude of the tilt in one colour, with the wheel beside it."""
    x, y = (dataset[name].values.astype(float) for name in ("tilt_x", "tilt_y"))
    known = np.isfinite(x) & np.isfinite(y)
    sure = _sure(dataset, known)
    largest = two_digits(float(np.percentile(np.hypot(x, y)[sure], 99.0))) if known.any() else 1.0
    colours = tilt_colours(x, y, largest)
    colours[~known] = matplotlib.colors.to_rgb(MASKED)
    axis, _ = draw_image(figure, place, colours, title)
    draw_wheel(Place(place.left + place.width + 0.12, place.top + 0.2, 0.95, 0.95).axes(figure), largest)
    return axis


def _sure(dataset: xr.Dataset, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the known positions converged; all of them where none did, or nobody says."""
    if "status" not in dataset:
        return known
    sure = known & (names_of(dataset["status"]) == "converged")
    return sure if sure.any() else known


def draw_arrows(axis: Axes, place: Place, dataset: xr.Dataset) -> None:
    """Mean tilts of blocks of positions that converged, as arrows: x to the right, y downwards."""
    x, y = (dataset[name].values.astype(float) for name in ("tilt_x", "tilt_y"))
    ny, nx = x.shape
    block = [
        min(n, max(1, round(ARROW * n / length))) for n, length in ((ny, place.height), (nx, place.width))
    ]
    row, col = np.mgrid[:ny, :nx]
    index = row // block[0] * -(-nx // block[1]) + col // block[1]
    known = _sure(dataset, np.isfinite(x) & np.isfinite(y))
    count = np.bincount(index[known], minlength=int(index.max()) + 1)
    enough = 2 * count >= block[0] * block[1]  # of a block at the edge, or of a hole
    means = [np.bincount(index[known], v[known], len(count))[enough] for v in (col, row, x, y)]
    if not means[0].size:
        return
    c, r, u, v = (total / count[enough] for total in means)
    length = min(block[0] * place.height / ny, block[1] * place.width / nx, 2 * ARROW)
    largest = float(np.hypot(u, v).max()) or 1.0
    axis.quiver(
        c, r, u, -v, color="white", pivot="middle", angles="uv", units="inches", width=0.018,
        scale_units="inches", scale=largest / (0.95 * length), headwidth=3.6, headlength=4,
        headaxislength=3.6, minlength=0.5, path_effects=[withStroke(linewidth=1.4, foreground=BLACK)],
    )  # fmt: skip


def draw_status(figure: Figure, place: Place, dataset: xr.Dataset, title: str) -> Axes:
    """The status of every position, and the share of each that occurs."""
    words = meanings(dataset["status"])
    known = {
        number: (word.replace("_", " "), STATUS_COLOURS.get(word, GREY)) for number, word in words.items()
    }
    return draw_choices(figure, place, dataset["status"].values, known, title)


def draw_discrete(figure: Figure, place: Place, dataset: xr.Dataset, name: str, title: str) -> Axes:
    """The value of a discrete structural parameter at every position, and the share of each."""
    values = np.atleast_1d(dataset[name].attrs["values"])
    shades: Any = DISCRETE
    if len(values) > len(shades):
        shades = [*matplotlib.colormaps["viridis"](np.linspace(0, 1, len(values)))]
    known = {v: (f"{v:g}:".replace("-", "−"), shade) for v, shade in zip(values, shades, strict=False)}
    return draw_choices(figure, place, dataset[name].values, known, title)


def draw_choices(
    figure: Figure, place: Place, numbers: NDArray[Any], known: Mapping[Any, tuple[str, Any]], title: str
) -> Axes:
    """One of a few things at every position, and the share of each that occurs; what is NaN is grey.

    known is what every number means, and its colour.
    """
    present = [number for number in known if (numbers == number).any()]
    shown = np.full(numbers.shape, np.nan)
    for i, number in enumerate(present):
        shown[numbers == number] = i
    colours = [known[number][1] for number in present]
    shades = ListedColormap(colours or [GREY]).with_extremes(bad=MASKED)
    options = {"cmap": shades, "vmin": -0.5, "vmax": max(len(colours), 1) - 0.5}
    axis, _ = draw_image(figure, place, shown, title, **options)
    step = 0.21
    side = Place(place.left + place.width + 0.1, place.top, SIDE - 0.1, max(len(present), 1) * step).axes(
        figure
    )
    side.set_xlim(0, SIDE - 0.1)
    side.set_ylim(max(len(present), 1) * step, 0)
    side.axis("off")
    for i, number in enumerate(present):
        side.add_patch(
            Rectangle((0.01, i * step + 0.03), 0.14, 0.14, facecolor=colours[i], edgecolor=GREY, lw=0.6)
        )
        there = np.isfinite(numbers).sum()
        text = f"{known[number][0]} {share((numbers == number).sum() / there)}"
        side.text(0.2, i * step + 0.1, text, va="center", fontsize=8.5, color=BLACK)
    return axis


def draw_scale_bar(axis: Axes, place: Place, dataset: xr.Dataset) -> None:
    """A round length, below the image: nm where the step is known, positions elsewhere."""
    nx, ny = dataset.sizes["scan_x"], dataset.sizes["scan_y"]
    step = dataset.attrs.get("step_nm")
    unit, per = ("position", 1.0) if step is None else ("nm", float(step))
    length = round_length(0.35 * nx * per, whole=step is None)
    name = unit + ("s" if unit == "position" and length > 1 else "")
    share_of_width = length / (nx * per)
    y = -0.09 / place.height
    axis.plot(
        [0, share_of_width], [y, y], transform=axis.transAxes, color=BLACK, lw=3, solid_capstyle="butt",
        clip_on=False,
    )  # fmt: skip
    words = f"{length:g} {name}"
    stretch = (place.height / ny) / (place.width / nx)
    if stretch > 1.05:
        words += f"; rows drawn {stretch:.2g} times as high"
    elif stretch < 0.95:
        words += f"; columns drawn {1 / stretch:.2g} times as wide"
    axis.text(0, y - 0.06 / place.height, words, transform=axis.transAxes, va="top", fontsize=9, color=BLACK)


def robust_limits(values: Array, *, signed: bool = False, from_zero: bool = False) -> tuple[float, float]:
    """Colour limits that hold nearly all of the values; about zero, or from zero where that is near."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(known, [1.0, 99.0]))
    if signed:
        high = float(np.percentile(np.abs(known), 99.0)) or 1e-12
        return -high, high
    if from_zero and low < 0.5 * high:
        return 0.0, (high * 1.05) or 1e-12
    room = 0.02 * (high - low) or max(abs(high), 1e-6) * 0.01
    return low - room, high + room


def round_length(wanted: float, *, whole: bool = False) -> float:
    """1, 2 or 5 times a power of ten, at most what is wanted; not below 1 where it has to be whole."""
    if whole and wanted < 1:
        return 1.0
    ten = 10.0 ** math.floor(math.log10(wanted))
    return next(f for f in (5, 2, 1) if f * ten <= wanted * (1 + 1e-9)) * ten


def two_digits(value: float) -> float:
    """Rounded up to two digits."""
    if not value > 0:
        return 1.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit - 1e-9) * unit


def share(fraction: float) -> str:
    """Per cent, told from none and from all."""
    if 0.9995 <= fraction < 1:
        return "> 99.9 %"
    return "< 0.1 %" if 0 < fraction < 0.0005 else f"{100 * fraction:.1f} %"


__all__ = [
    "FOOT",
    "HEAD",
    "SIDE",
    "Place",
    "azimuth_colours",
    "draw_arrows",
    "draw_discrete",
    "draw_scale_bar",
    "draw_status",
    "draw_tilt",
    "draw_values",
    "robust_limits",
    "share",
]  # fmt: skip
