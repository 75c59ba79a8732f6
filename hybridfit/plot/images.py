"""The upper row: experiment, fit and residual, with disc, crystal axes and zone axis as fitted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy import ndimage

from hybridfit.pattern.camera import Camera, to_pixels
from hybridfit.plot.answer import Answer, Images
from hybridfit.plot.style import BLACK, DASHES, DIFFERENCE, GREY, HALO, INTENSITY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

RESIDUAL_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the intensity scale: limits of the residual


def draw_images(figure: Figure, axes: list[Axes], result: Answer, shown: Images, units: str) -> None:
    """Experiment and fit on one colour scale, and their residual on a scale of its own."""
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
        axis.set_anchor("N")
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
    axes[2].set_title(
        f"colours end at ±{100 * step:.0f} % of the other scale", loc="right", fontsize=9.5, color=GREY
    )
    for axis, mappable, label in (
        (axes[1], drawn[1], "intensity, experiment and fit"),
        (axes[2], drawn[2], "experiment − fit"),
    ):
        place = axis.inset_axes((1.025, 0.0, 0.035, 1.0))
        bar = figure.colorbar(mappable, cax=place)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=3, labelsize=9)
        bar.set_label(f"{label} ({units})", fontsize=10)


def _limits(shown: Images) -> tuple[float, float]:
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
    """The step of RESIDUAL_STEPS that holds nearly all of the residual, and its size in frame units."""
    values = np.abs(residual[np.isfinite(residual)])
    needed = float(np.percentile(values, 99)) / span if values.size else 0.0
    step = next((s for s in RESIDUAL_STEPS if needed <= s), RESIDUAL_STEPS[-1])
    return step, step * span


def _camera(result: Answer) -> Camera:
    return Camera(*(result.parameters[name].value for name in Camera._fields))


def _direct_disc(axis: Axes, result: Answer, colour: str) -> None:
    """The rim of the direct disc, dashed."""
    scale = result.parameters["scale"].value
    centre = result.parameters["centre_x"].value, result.parameters["centre_y"].value
    if np.isfinite([*centre, scale]).all():
        radius = scale * result.parameters["semi_angle"].value
        axis.add_patch(Circle(centre, radius, fill=False, color=colour, lw=1.1, ls=DASHES, alpha=0.85))


def _scale_bar(axis: Axes, result: Answer) -> None:
    """A round length in mrad, in the lower left corner."""
    left, right, bottom, top = result.thumbnail.extent
    scale = result.parameters["scale"].value
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


def _crystal_axes(axis: Axes, result: Answer) -> None:
    """Arrows along kx and ky of the crystal in a corner, and a cross on the zone axis, k = −τ."""
    left, right, bottom, top = result.thumbnail.extent
    camera = _camera(result)
    tilt = result.parameters["tilt_x"].value, result.parameters["tilt_y"].value
    if not np.isfinite([*camera, *tilt]).all():
        return
    size = 0.1 * (right - left)
    up = -1.0 if result.flipped else 1.0  # ky, in a frame that the camera has mirrored
    col, row = to_pixels(np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, up]), camera)
    along = np.stack([col[1:] - col[0], row[1:] - row[0]], axis=1)
    along *= size / np.linalg.norm(along, axis=1, keepdims=True)
    # the arrows and their letters just fit into the lower left corner, whichever way they point
    low, high = np.minimum(along.min(axis=0), 0) * 1.35, np.maximum(along.max(axis=0), 0) * 1.35
    x0, y0 = left + 0.02 * (right - left) - low[0], bottom - 0.02 * (bottom - top) - high[1]
    for (dx, dy), name in zip(along, "xy", strict=True):
        arrow = axis.annotate(
            "",
            (x0 + dx, y0 + dy),
            (x0, y0),
            arrowprops={"arrowstyle": "-|>", "color": BLACK, "lw": 1.6, "shrinkA": 0, "shrinkB": 0},
        )
        assert arrow.arrow_patch is not None
        arrow.arrow_patch.set_path_effects(HALO)
        letter = axis.text(x0 + 1.22 * dx, y0 + 1.22 * dy, name, ha="center", va="center", style="italic")
        letter.set_path_effects(HALO)
    col, row = to_pixels(np.array([-tilt[0]]), np.array([-up * tilt[1]]), camera)
    inside = left <= col[0] <= right and top <= row[0] <= bottom
    for colour, width in ((BLACK, 3.2), ("white", 1.5)) if inside else ():
        axis.plot(col, row, marker="+", ms=13, mew=width, color=colour, ls="none")
    words = "+ zone axis" if inside else "zone axis outside"
    axis.set_title(f"{words}, |τ| = {math.hypot(*tilt):.2f} mrad", loc="right", fontsize=9.5, color=GREY)
    _keep_limits(axis, result)


def _keep_limits(axis: Axes, result: Answer) -> None:
    left, right, bottom, top = result.thumbnail.extent
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
