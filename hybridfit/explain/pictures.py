"""Pictures of a mask sweep, of a frame's saliency, and of the network's first layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.io import atomic_path
from hybridfit.plot import check_suffix, save
from hybridfit.plot.style import BLACK, BLUE, DASHES, GREY, HALO, INTENSITY, RED, legend_below, styled_figure
from hybridfit.plot.words import draw_title, short

Array = NDArray[np.float64]

COLOURS = {"network": BLUE, "fit": RED}
SALIENCY = "viridis"
BEYOND = 9.0  # mrad around the direct disc that are shown
RING = 0.5  # mrad: width of a ring of the radial means
ACROSS = 8  # maps in a row


def plot_sweep(sweep: xr.Dataset, path: str | Path | None = None) -> Figure:
    """Draw how thickness and tilt change with the radius of the masked annulus.

    Parameters
    ----------
    sweep : xarray.Dataset
        From `sweep_mask`.
    path : str or path, optional
        .png, .pdf or .svg.

    Returns
    -------
    matplotlib.figure.Figure
    """
    _check(path)
    with styled_figure((8.0, 7.0)) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        figure.subplots_adjust(left=0.12, right=0.97, bottom=0.15, top=0.88, hspace=0.12)
        radius = sweep.radius.values
        for method in sweep.by.values.tolist():
            one, colour = sweep.sel(by=method), COLOURS[method]
            label = f"{method}, {float(one.unmasked_thickness):.1f} nm unmasked"
            error = one.thickness_stderr.values
            upper.fill_between(
                radius,
                one.thickness_change - error,
                one.thickness_change + error,
                color=colour,
                lw=0,
                alpha=0.18,
            )
            upper.plot(radius, one.thickness_change, "o-", ms=4, color=colour, label=label)
            lower.plot(radius, one.tilt_change, "o-", ms=4, color=colour)
        upper.axhline(0, color=GREY, lw=0.8)
        upper.set_ylabel("change of thickness (nm)")
        lower.set_ylabel("change of tilt (mrad)")
        lower.set_xlabel("middle of the masked annulus (mrad)")
        lower.set_ylim(bottom=0)
        alpha = sweep.attrs["semi_angle_mrad"]
        for axis in (upper, lower):
            rim = axis.axvline(alpha, color=GREY, lw=1.1, ls=DASHES)
            axis.grid(axis="y", lw=0.6)
            axis.margins(x=0.02)
        rim.set_label("rim of the direct disc")
        legend_below(lower, 3, upper)
        done = {"mean": "set to its mean", "exclude": "left out"}[sweep.attrs["masked"]]
        title = f"an annulus of {sweep.attrs['width_mrad']:g} mrad {done}"
        _title(figure, sweep.attrs["source"], title)
    return _saved(figure, path)


def plot_saliency(saliency: xr.Dataset, path: str | Path | None = None) -> Figure:
    """Draw a frame, the saliency of thickness and of tilt on its pixels, and their means on rings.

    Parameters
    ----------
    saliency : xarray.Dataset
        From `hybridfit.explain.saliency`.
    path : str or path, optional
        .png, .pdf or .svg.

    Returns
    -------
    matplotlib.figure.Figure
    """
    _check(path)
    about = saliency.attrs
    alpha, scale = about["semi_angle_mrad"], about["scale_px_per_mrad"]
    centre = about["centre_x_px"], about["centre_y_px"]
    tilt = float(np.hypot(about["tilt_col_mrad"], about["tilt_row_mrad"]))
    answers = (
        "pattern",
        f"thickness, {about['thickness_nm']:.1f} nm",
        f"tilt, {tilt:.2f} mrad",
    )
    labels = ("intensity (frame units)", "saliency (nm/mrad²)", "saliency (mrad/mrad²)")
    with styled_figure((16.0, 4.7)) as figure:
        axes = [figure.add_axes((left, 0.13, 0.18, 0.68)) for left in (0.045, 0.292, 0.532)]
        names = ("image", "thickness", "tilt")
        for axis, name, title, label in zip(axes, names, answers, labels, strict=True):
            values = saliency[name].values
            here = np.isfinite(values) & (saliency.radius.values < alpha + BEYOND)
            low, high = (float(v) for v in np.percentile(values[here], [0.2, 99.8]))
            colours = matplotlib.colormaps[INTENSITY if name == "image" else SALIENCY].with_extremes(
                bad="#f2f2f2"
            )
            drawn = axis.imshow(values, cmap=colours, interpolation="nearest", vmin=min(low, 0.0), vmax=high)
            axis.add_patch(
                Circle(centre, alpha * scale, fill=False, color="white", lw=1.1, ls=DASHES, alpha=0.85)
            )
            reach = (alpha + BEYOND) * scale
            rows, cols = values.shape
            axis.set_xlim(max(centre[0] - reach, -0.5), min(centre[0] + reach, cols - 0.5))
            axis.set_ylim(min(centre[1] + reach, rows - 0.5), max(centre[1] - reach, -0.5))
            axis.set_title(title, loc="left", fontweight="bold")
            axis.set_xlabel("column (px)")
            axis.spines[:].set_visible(False)
            bar = figure.colorbar(drawn, cax=axis.inset_axes((1.03, 0.0, 0.04, 1.0)))
            bar.outline.set_visible(False)  # type: ignore[operator]
            bar.ax.tick_params(length=3, labelsize=9)
            bar.set_label(label, fontsize=10)
            axis.tick_params(length=3, labelsize=9, labelleft=axis is axes[0])
        axes[0].set_ylabel("row (px)")
        _rings(figure.add_axes((0.805, 0.22, 0.185, 0.57)), saliency)
        kind = {"gradient": "gradient", "smooth": "mean of noisy gradients"}[about["method"]]
        _title(figure, about["source"], f"what the network's answer depends on, {kind}")
    return _saved(figure, path)


def _rings(axis: Axes, saliency: xr.Dataset) -> None:
    """Means on rings, each over its maximum."""
    alpha = saliency.attrs["semi_angle_mrad"]
    radius = saliency.radius.values
    inside = (radius < alpha + BEYOND) & np.isfinite(saliency.image.values)
    ring = (radius[inside] / RING).astype(int)
    count = np.bincount(ring)
    middle = (np.flatnonzero(count) + 0.5) * RING
    lines = (("image", GREY, "pattern"), ("thickness", BLUE, "thickness"), ("tilt", RED, "tilt"))
    for name, colour, label in lines:
        mean = np.bincount(ring, saliency[name].values[inside])[count > 0] / count[count > 0]
        axis.plot(middle, mean / max(float(mean.max()), 1e-300), color=colour, label=label)
    axis.axvline(alpha, color=GREY, lw=1.1, ls=DASHES)
    axis.set_title("means on rings", loc="left", fontweight="bold")
    axis.set_xlabel("scattering angle (mrad)")
    axis.set_ylabel("of the maximum")
    axis.set_ylim(bottom=0)
    axis.margins(x=0.01)
    axis.grid(axis="y", lw=0.6)
    legend_below(axis, 3)


def plot_activations(
    maps: Mapping[str, xr.DataArray], path: str | Path | None = None, *, most: int = 16
) -> Figure:
    """Draw the maps of each layer that vary the most; each map has a colour scale of its own.

    Parameters
    ----------
    maps : dict of str to xarray.DataArray
        From `hybridfit.explain.activations`.
    path : str or path, optional
        .png, .pdf or .svg.
    most : int
        Number of maps of a layer at most.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        There are no maps, or `most` is below 1.
    """
    _check(path)
    if not maps or most < 1:
        raise InputError(f"{len(maps)} layers, {most} maps of each: give at least one of both")
    chosen = {name: strongest(layer, most) for name, layer in maps.items()}
    rows = {name: -(-len(which) // ACROSS) for name, which in chosen.items()}
    total, title, gap = sum(rows.values()), 0.85, 0.4
    height = title + sum(1.5 * n + gap for n in rows.values()) + 0.1
    with styled_figure((12.6, height)) as figure:
        top = height - title
        for name, which in chosen.items():
            layer = maps[name]
            side = " × ".join(str(n) for n in layer.shape[1:])
            words = f"{name}: {len(which)} of {layer.shape[0]} maps, {side}"
            figure.text(
                0.02, (top - 0.08) / height, words, fontsize=12, fontweight="bold", va="top", color=BLACK
            )
            top -= gap
            for i, index in enumerate(which):
                left, bottom = 0.25 + 1.53 * (i % ACROSS), top - 1.5 * (i // ACROSS + 1) + 0.06
                place = (left / 12.6, bottom / height, 1.44 / 12.6, 1.44 / height)
                _map(figure.add_axes(place), layer.isel(map=int(index)))
            top -= 1.5 * rows[name]
        source = next(iter(maps.values())).attrs["source"]
        _title(figure, source, "activations of the network, those that vary the most", 0.4)
    assert total
    return _saved(figure, path)


def strongest(layer: xr.DataArray, most: int) -> NDArray[np.intp]:
    """Indices of the maps of a layer (map, y, x) that vary the most, in order."""
    found: NDArray[np.intp] = np.argsort(-layer.values.std(axis=(1, 2)), kind="stable")[:most]
    return found


def _map(axis: Axes, values: xr.DataArray) -> None:
    y, x = values.y.values, values.x.values
    half = (x[1] - x[0]) / 2
    extent = (x[0] - half, x[-1] + half, y[-1] + half, y[0] - half)
    alpha = values.attrs["semi_angle_mrad"]
    high = float(np.percentile(values.values, 99.5))
    axis.imshow(values.values, extent=extent, cmap=INTENSITY, vmax=high, interpolation="nearest")
    axis.add_patch(Circle((0, 0), alpha, fill=False, color="white", lw=0.9, ls=DASHES, alpha=0.85))
    text = axis.text(0.04, 0.95, f"{int(values.map)}", transform=axis.transAxes, va="top", fontsize=8.5)
    text.set_path_effects(HALO)
    reach = alpha + BEYOND
    axis.set(xlim=(max(-reach, extent[0]), min(reach, extent[1])))
    axis.set(ylim=(min(reach, extent[2]), max(-reach, extent[3])))
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _title(figure: Figure, source: str, words: str, top: float = 0.45) -> None:
    """The title of a page; inches from its top to the base of the letters."""
    draw_title(figure, 0.25, top, f"{short(source)}   ·   {words}")


def _check(path: str | Path | None) -> None:
    """Refuse a picture that cannot be written, before it is drawn."""
    if path is not None:
        check_suffix(path)


def _saved(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        with atomic_path(path) as temporary:
            save(figure, temporary)
    return figure
