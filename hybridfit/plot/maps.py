"""Pictures of a map: a page with all of it, single panels, and the measurement beside the truth.

Positions without a number are grey. Colours cover all but 1 % of the positions that converged at either end;
where other positions lie beyond, the colour bar ends in a point. Pixels are square, unless the scan is so
long that it would be drawn as a line.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.flags import map_status, names_of, structural
from hybridfit.io import atomic_path
from hybridfit.plot.figure import check_suffix, save
from hybridfit.plot.labels import shrink
from hybridfit.plot.layout import BAR, MARGIN, aspect_of, grid, page_of, table
from hybridfit.plot.panels import (
    FOOT,
    HEAD,
    SIDE,
    Place,
    azimuth_colours,
    draw_arrows,
    draw_discrete,
    draw_scale_bar,
    draw_status,
    draw_tilt,
    draw_values,
    robust_limits,
    share,
)
from hybridfit.plot.settings import PICTURE, PictureSettings
from hybridfit.plot.style import BLACK, DIFFERENCE, DPI, GREY, styled_figure
from hybridfit.plot.words import draw_title, short
from hybridfit.quantities import quantity

Array = NDArray[np.float64]
PANELS = (
    "thickness",
    "tilt",
    "tilt_magnitude",
    "status",
    "thickness_stderr",
    "tilt_stderr",
    "residual_fraction",
)
NUMBERS = ("thickness", "tilt_magnitude", "thickness_stderr", "tilt_stderr", "residual_fraction")
PAPER = ("thickness", "tilt_x", "tilt_y", "tilt_magnitude", "tilt_azimuth")
COLUMN = 1.85  # inches from a name to its numbers, in the table of medians
PANEL = 6.0  # inches of the longer side of a single panel


def plot_map(
    dataset: xr.Dataset, path: str | Path | None = None, names: tuple[str, ...] | list[str] | None = None
) -> Figure:
    """Draw a map on one page: thickness, tilt, their errors, the residual, and how the fits ended.

    Parameters
    ----------
    dataset : xarray.Dataset
        A map on (scan_y, scan_x).
    path : str or path, optional
        .png (1600 px wide), .pdf or .svg.
    names : sequence of str, optional
        The panels: of `PANELS`, or any variable of the map. By default those of `PANELS` that it has,
        and structural parameters.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        The map has no such panel, or the path has another suffix or cannot be written to.
    """
    _check(dataset, path)
    if names is None:
        names = _panels(dataset)
    for name in names:
        _check_panel(dataset, name)
    shape = dataset.sizes["scan_y"], dataset.sizes["scan_x"]
    places = grid(len(names) + 1, shape)
    with styled_figure(page_of(places)) as figure:
        _title(figure, dataset)
        for name, place in zip(names, places, strict=False):
            axis = _draw(figure, place, dataset, name)
            if place is places[0]:
                draw_scale_bar(axis, place, dataset)
        _numbers(figure, places[-1], dataset)
    return _saved(figure, path)


def plot_panel(dataset: xr.Dataset, name: str, path: str | Path | None = None) -> Figure:
    """Draw one panel of a map alone; arguments as of `plot_map`."""
    _check(dataset, path)
    _check_panel(dataset, name)
    aspect = aspect_of((dataset.sizes["scan_y"], dataset.sizes["scan_x"]))
    width, height = (PANEL, PANEL * aspect) if aspect <= 1 else (PANEL / aspect, PANEL)
    place = Place(0.25, HEAD + 0.05, width, height)
    room = max(height, 1.7)  # for the wheel, and words of the status
    with styled_figure((max(width + SIDE, 3.6) + 0.4, room + HEAD + FOOT + 0.2)) as figure:
        draw_scale_bar(_draw(figure, place, dataset, name), place, dataset)
    return _saved(figure, path)


def plot_paper_map(
    dataset: xr.Dataset,
    truth: xr.Dataset | None = None,
    path: str | Path | None = None,
    settings: PictureSettings = PICTURE,
) -> Figure:
    """Draw thickness, tilt along x and y, its magnitude and azimuth: Figure 9 of Xu & LeBeau (2018).

    Parameters
    ----------
    dataset : xarray.Dataset
        A map.
    truth : xarray.Dataset, optional
        The truth of a simulated scan, of the same shape. It is drawn beside the map, and so is the
        difference.
    path : str or path, optional
        .png (1600 px wide), .pdf or .svg.
    settings : PictureSettings, optional
        Below which tilt no azimuths are compared.

    Raises
    ------
    InputError
        The two have different shapes, or a variable is missing.
    """
    _check(dataset, path)
    for name in PAPER:
        _check_panel(dataset, name)
    shape = dataset.sizes["scan_y"], dataset.sizes["scan_x"]
    rows = ["measured"]
    if truth is not None:
        there = truth.sizes.get("scan_y"), truth.sizes.get("scan_x")
        if there != shape:
            raise InputError(f"the truth has {there} positions, the map {shape}; give the truth of this scan")
        rows += ["truth", "measured − truth"]
    # quantities side by side, or below each other: whichever shows more
    across = table(len(rows), len(PAPER), shape, BAR)
    down = [list(column) for column in zip(*table(len(PAPER), len(rows), shape, BAR), strict=True)]
    places = max(across, down, key=lambda table: table[0][0].width)
    with styled_figure(page_of([place for row in places for place in row])) as figure:
        _title(figure, dataset)
        for j, name in enumerate(PAPER):
            _draw_column(figure, [row[j] for row in places], dataset, truth, name, settings)
        axes = [axis for axis in figure.axes if axis.get_title(loc="left")]
        draw_scale_bar(axes[0], places[0][0], dataset)
    return _saved(figure, path)


def _draw_column(
    figure: Figure,
    places: list[Place],
    dataset: xr.Dataset,
    truth: xr.Dataset | None,
    name: str,
    settings: PictureSettings,
) -> None:
    """One quantity: measured, and with a truth that, and their difference."""
    values = dataset[name].values.astype(float)
    colours: Any = {"tilt_x": DIFFERENCE, "tilt_y": DIFFERENCE, "tilt_magnitude": "magma"}.get(
        name, "viridis"
    )
    limits = _limits(dataset, name, values)
    if name == "tilt_azimuth":
        colours = azimuth_colours()
    label = _label(dataset, name)
    axis = draw_values(figure, places[0], values, quantity(name).label, label, limits=limits, colours=colours)
    if name == "tilt_magnitude":
        draw_arrows(axis, places[0], dataset)
    if truth is None:
        return
    known = truth["vacuum"].values == 0 if "vacuum" in truth else True
    expected = np.where(known, truth[name].values.astype(float), np.nan)
    axis = draw_values(figure, places[1], expected, "truth", label, limits=limits, colours=colours)
    difference = values - expected
    if name == "tilt_azimuth":
        difference = (difference + 180) % 360 - 180
        difference[truth["tilt_magnitude"].values < settings.little_tilt] = np.nan
    limits = robust_limits(difference, signed=True)
    axis = draw_values(
        figure, places[2], difference, "measured − truth", label, limits=limits, colours=DIFFERENCE
    )
    there = difference[np.isfinite(difference)]
    if there.size:
        middle = float(np.median(there))
        spread = float(np.percentile(np.abs(there - middle), 68.3))
        digits = max(0, 1 - math.floor(math.log10(spread))) if spread > 0 else 3
        middle = round(middle, digits) + 0.0  # no −0
        words = f"median {middle:.{digits}f}, 68 % within ± {spread:.{digits}f}".replace("-", "−")
        y = -0.06 / places[2].height
        axis.text(0, y, words, transform=axis.transAxes, va="top", fontsize=9, color=GREY)


def _panels(dataset: xr.Dataset) -> list[str]:
    """Names of the panels, structural parameters after the tilt and what is known of them after its error."""
    extra = structural(dataset)
    after = {"tilt_magnitude": list(extra), "tilt_stderr": list(extra.values())}
    return [each for name in PANELS for each in (name, *after.get(name, ())) if _has(dataset, each)]


def _draw(figure: Figure, place: Place, dataset: xr.Dataset, name: str) -> Axes:
    title = _panel_title(name)
    if structural(dataset).get(name, "").endswith("_odds"):
        return draw_discrete(figure, place, dataset, name, title)
    if name == "tilt":
        return draw_tilt(figure, place, dataset, title)
    if name == "status":
        return draw_status(figure, place, dataset, title)
    values = _values(dataset, name)
    colours: Any = "viridis"
    if name == "tilt_azimuth":
        colours = azimuth_colours()
    elif name == "tilt_magnitude":
        colours = "magma"
    elif name.endswith("_stderr") or name == "residual_fraction":
        colours = "YlOrBr"
    elif quantity(name).signed:
        colours = DIFFERENCE
    label, limits = _label(dataset, name), _limits(dataset, name, values)
    axis = draw_values(figure, place, values, title, label, limits=limits, colours=colours)
    if name == "tilt_magnitude" and _has(dataset, "tilt"):
        draw_arrows(axis, place, dataset)
    return axis


def _panel_title(name: str) -> str:
    """What a panel is called: "standard error, tilt"."""
    for suffix, words in (("_stderr", "standard error"), ("_odds", "odds")):
        if name.endswith(suffix):
            return f"{words}, {quantity(name.removesuffix(suffix)).label}"
    return quantity(name).label


def _values(dataset: xr.Dataset, name: str) -> Array:
    if name == "tilt_stderr":
        # of one component, the mean square of both
        both: Array = np.hypot(dataset["tilt_x_stderr"].values, dataset["tilt_y_stderr"].values)
        return np.asarray(both / np.sqrt(2))
    values = dataset[name].values.astype(float)
    return 100 * values if name == "residual_fraction" else values


def _limits(dataset: xr.Dataset, name: str, values: Array) -> tuple[float, float]:
    """Colour limits that hold nearly all values of the positions that converged; of all if none did."""
    if "status" in dataset and name not in ("tilt_azimuth", "status"):
        sure = names_of(dataset["status"]) == "converged"
        if np.isfinite(values[sure]).any():
            values = values[sure]
    if name == "tilt_azimuth":
        return -180.0, 180.0
    if name.endswith("_odds"):
        return (0.5 if np.nanmin(values, initial=1.0) >= 0.5 else 0.0), 1.0
    zero = name.endswith("_stderr") or name in ("residual_fraction", "tilt_magnitude")
    return robust_limits(values, signed=quantity(name).signed, from_zero=zero)


def _label(dataset: xr.Dataset, name: str) -> str:
    if name == "tilt_stderr":
        return "mrad"
    if name == "residual_fraction":
        return "%"
    units = str(dataset[name].attrs.get("units", "1"))
    return quantity(name.removesuffix("_stderr"), units).spelling.words


def _has(dataset: xr.Dataset, name: str) -> bool:
    needed = {"tilt": ("tilt_x", "tilt_y"), "tilt_stderr": ("tilt_x_stderr", "tilt_y_stderr")}
    return all(
        n in dataset and set(dataset[n].dims) == {"scan_y", "scan_x"} and dataset[n].dtype.kind in "fiu"
        for n in needed.get(name, (name,))
    )


def _check_panel(dataset: xr.Dataset, name: str) -> None:
    if not _has(dataset, name):
        there = [n for n in (*PANELS, *map(str, dataset.data_vars)) if _has(dataset, n)]
        raise InputError(f"this map has no {name!r} to draw; it has {', '.join(dict.fromkeys(there))}")


def _check(dataset: xr.Dataset, path: str | Path | None) -> None:
    if path is not None:
        check_suffix(path)
    for dim in ("scan_y", "scan_x"):
        if not dataset.sizes.get(dim):
            raise InputError(f"this dataset has no positions along {dim}; give a map on (scan_y, scan_x)")


def _saved(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        with atomic_path(path) as temporary:
            save(figure, temporary)
    return figure


def _title(figure: Figure, dataset: xr.Dataset) -> None:
    ny, nx = dataset.sizes["scan_y"], dataset.sizes["scan_x"]
    attrs = dataset.attrs
    parts = [short(str(attrs["source"]))] if attrs.get("source") else []
    parts += [str(attrs["library"])] if attrs.get("library") else []
    if attrs.get("semi_angle_mrad"):
        parts.append(f"semi-angle {float(attrs['semi_angle_mrad']):.4g} mrad")
    step = f" of {float(attrs['step_nm']):.3g} nm" if attrs.get("step_nm") else ""
    parts.append(f"{ny} × {nx} positions{step}")
    draw_title(figure, MARGIN, 0.5, "   ·   ".join(parts))


def _numbers(figure: Figure, place: Place, dataset: xr.Dataset) -> None:
    """A table of medians, with the range of 90 % of the positions, and the share that converged."""
    w, h = figure.get_size_inches()
    left, y = place.left / w, 1 - (place.top - 0.1) / h
    figure.text(left, y, "median (5 … 95 %)", fontsize=11, fontweight="bold", color=BLACK)
    y -= 0.1 / h
    extra = structural(dataset)
    more = [n for name, sure in extra.items() if sure.endswith("_stderr") for n in (name, sure)]
    for name in (*NUMBERS, *more):
        if not _has(dataset, name):
            continue
        values = _values(dataset, name)
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        low, middle, high = np.percentile(values, [5, 50, 95])
        y -= 0.23 / h
        title = figure.text(left, y, _panel_title(name), fontsize=9.5, color=GREY)
        shrink(title, (COLUMN - 0.08) * DPI)
        words = f"{middle:.3g} ({low:.3g} … {high:.3g}) {_label(dataset, name)}".replace("-", "−")
        numbers = figure.text(left + COLUMN / w, y, words, fontsize=9.5, color=BLACK)
        shrink(numbers, (min(max(place.width + SIDE, 3.6), w - place.left) - COLUMN - 0.1) * DPI)
    if "status" in dataset:
        counts = map_status(dataset)
        total = sum(counts.values()) or 1
        words = f"{share(counts.get('converged', 0) / total)} of {total} converged"
        figure.text(left, y - 0.27 / h, words, fontsize=9.5, color=BLACK)


__all__ = ["PANELS", "plot_map", "plot_panel", "plot_paper_map"]
