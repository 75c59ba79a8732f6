"""The picture of an identification: the frame, and the fits of the likeliest libraries side by side.

    frame   | first fit      | second fit      | third fit
            | its residual   | its residual    | its residual

All fits share the colours of the frame; residuals share a scale of their own, symmetric about zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hybridfit.io import atomic_path
from hybridfit.plot.answer import Array, Images
from hybridfit.plot.figure import check_suffix, save
from hybridfit.plot.style import DIFFERENCE, GREY, INTENSITY, styled_figure

SIDE, GAP, LEFT, HEAD, FOOT = 3.3, 0.28, 0.35, 1.35, 0.65  # inches
TITLE = 0.62  # inches above an image
SHOWN = 3
TAILS = (0.5, 99.5)  # percentiles where colours end


class Alternative(Protocol):
    """A library that a frame may show."""

    @property
    def title(self) -> str: ...
    @property
    def probability(self) -> float: ...
    @property
    def thickness(self) -> float: ...
    @property
    def tilt_x(self) -> float: ...
    @property
    def tilt_y(self) -> float: ...
    @property
    def structure_left(self) -> float: ...
    @property
    def also(self) -> str: ...
    @property
    def picture(self) -> Images | None: ...


class Alternatives(Protocol):
    """What a picture of an identification needs to know."""

    @property
    def source(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def none(self) -> float: ...
    @property
    def matches(self) -> Sequence[Alternative]: ...


def plot_alternatives(found: Alternatives, path: str | Path | None = None) -> Figure:
    """Draw an identification, and save it if a path is given.

    Parameters
    ----------
    found : Alternatives
        An Identification, or any object with its attributes.
    path : str or path, optional
        .png, .pdf or .svg.

    Raises
    ------
    InputError
        The path has another suffix, or cannot be written to.
    """
    if path is not None:
        check_suffix(path)
    drawn = [match for match in found.matches if match.picture is not None][:SHOWN]
    width = LEFT + (1 + len(drawn)) * (SIDE + GAP)
    height = HEAD + 2 * SIDE + TITLE + FOOT
    with styled_figure((width, height)) as figure:
        _draw(figure, found, drawn)
    if path is not None:
        with atomic_path(path) as temporary:
            save(figure, temporary)
    return figure


def _draw(figure: Figure, found: Alternatives, drawn: list[Alternative]) -> None:
    w, h = figure.get_size_inches()
    figure.text(LEFT / w, 1 - 0.2 / h, found.source, va="top", fontsize=14, fontweight="bold")
    figure.text(LEFT / w, 1 - 0.52 / h, found.message, va="top", fontsize=10.5, color=GREY, wrap=True)
    if not drawn:
        return
    pictures = [match.picture for match in drawn if match.picture is not None]
    first = pictures[0]
    low, high = np.nanpercentile(first.experiment, TAILS)
    differences = [each.experiment - each.fit for each in pictures]
    most = max(float(np.nanpercentile(np.abs(each), TAILS[1])) for each in differences)
    colours: dict[str, Any] = {
        "cmap": matplotlib.colormaps[INTENSITY].with_extremes(bad="#f2f2f2"),
        "vmin": low,
        "vmax": high,
    }
    signed: dict[str, Any] = {
        "cmap": matplotlib.colormaps[DIFFERENCE].with_extremes(bad="#f2f2f2"),
        "vmin": -most,
        "vmax": most,
    }
    axis = _image(figure, 0, 0, first.experiment, first, **colours)
    axis.set_title("frame", loc="left", fontweight="bold")
    share = 100 * most / max(float(high - low), 1e-300)
    words = (
        f"Fits have the colours of the frame.\n\nBelow each of them is the frame less the fit:\nred where "
        f"the frame is brighter.\nIts colours end at ±{share:.2g} % of the frame's.\n\n"
        f"none of these: {_percent(found.none)}"
    )
    x, y = LEFT / w, 1 - (HEAD + SIDE + 2 * TITLE) / h
    figure.text(x, y, words, va="top", fontsize=10.5, linespacing=1.4)
    for column, (match, picture, difference) in enumerate(zip(drawn, pictures, differences, strict=True), 1):
        axis = _image(figure, column, 0, picture.fit, picture, **colours)
        axis.set_title(f"{match.title}\n{_percent(match.probability)}", loc="left", fontweight="bold")
        axis = _image(figure, column, 1, difference, picture, **signed)
        tilt = float(np.hypot(match.tilt_x, match.tilt_y))
        left = (
            ""
            if match.structure_left != match.structure_left
            else f", {max(match.structure_left, 0):.0%} left"
        )
        axis.set_title(f"{match.thickness:.1f} nm, tilt {tilt:.2f} mrad{left}", loc="left", fontsize=10.5)
        if match.also:
            axis.set_xlabel(match.also, fontsize=9.5, loc="left", color=GREY)


def _image(figure: Figure, column: int, row: int, image: Array, picture: Images, **colours: Any) -> Axes:
    """An image in a place of the page, without ticks."""
    w, h = figure.get_size_inches()
    left, top = LEFT + column * (SIDE + GAP), HEAD + row * (SIDE + TITLE) + 0.1
    axis = figure.add_axes((left / w, 1 - (top + SIDE) / h, SIDE / w, SIDE / h))
    axis.imshow(image, extent=picture.extent, interpolation="nearest", **colours)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    return axis


def _percent(share: float) -> str:
    """A probability for people."""
    if share > 0.999:
        return "over 99.9 %"
    return "under 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"
