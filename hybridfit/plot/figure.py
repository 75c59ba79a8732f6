"""The page: what goes where, and how it is written to a file.

Only matplotlib's object interface is used: no pyplot, no global state, no display.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hybridfit.errors import InputError
from hybridfit.io import atomic_path
from hybridfit.plot.answer import Answer, Array, Images
from hybridfit.plot.chi2 import draw_chi2
from hybridfit.plot.images import draw_images
from hybridfit.plot.profiles import draw_profiles
from hybridfit.plot.settings import PICTURE, PictureSettings
from hybridfit.plot.style import DPI, SIZE_INCHES, STYLE, styled_figure
from hybridfit.plot.words import draw_numbers, draw_title, short

IMAGE = 4.1  # inches of the side of an image
FORMATS = (".png", ".pdf", ".svg")


def plot_fit(result: Answer, path: str | Path | None = None, settings: PictureSettings = PICTURE) -> Figure:
    """Draw a fit, and save it if a path is given.

    Parameters
    ----------
    result : Answer
        A FitResult, or any object with the attributes of `Answer`.
    path : str or path, optional
        .png (1600 × 1000 px), .pdf or .svg.
    settings : PictureSettings, optional
        Which minima are marked.

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
    with styled_figure() as figure:
        _draw(figure, result, settings)
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
    save_to(figure, path, Path(path).suffix.lower().removeprefix("."))


def save_to(figure: Figure, target: str | Path | IO[bytes], kind: str) -> None:
    """Write a figure as png, pdf or svg to a path or an open file."""
    metadata: dict[str, Any] = {"Software": "hybridfit"}
    if kind != "png":
        metadata = {"Creator": "hybridfit"} | ({"CreationDate": None} if kind == "pdf" else {"Date": None})
    with warnings.catch_warnings(), matplotlib.rc_context(STYLE):
        warnings.filterwarnings("ignore", message="Glyph")  # a file's name in letters the font lacks
        figure.savefig(target, dpi=DPI, metadata=metadata, format=kind)


def _draw(figure: Figure, result: Answer, settings: PictureSettings) -> None:
    title = (
        f"{short(result.source)}   ·   {result.library}   ·   "
        f"semi-angle {result.parameters['semi_angle'].value:.4g} mrad"
    )
    draw_title(figure, 0.7, 0.55, title)
    shown, units = _in_short_numbers(result.thumbnail)
    axes = [figure.add_axes(_share(left, 4.85, IMAGE, IMAGE)) for left in (0.7, 5.05, 10.35)]
    draw_images(figure, axes, result, shown, units)
    draw_profiles(figure, _share(1.05, 1.35, 3.75, 2.65), result, shown, units, settings)
    draw_chi2(figure.add_axes(_share(5.85, 1.35, 3.75, 2.65)), result, settings)
    draw_numbers(figure.add_axes(_share(10.35, 0.3, 5.35, 3.85)), result)


def _share(left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
    """A place on the page in shares of its size, from inches."""
    return left / SIZE_INCHES[0], bottom / SIZE_INCHES[1], width / SIZE_INCHES[0], height / SIZE_INCHES[1]


@dataclass(frozen=True)
class Scaled:
    """Images in other units than those of the frame; see `answer.Images`."""

    experiment: Array
    fit: Array
    radius_mrad: Array
    extent: tuple[float, float, float, float]


def _in_short_numbers(shown: Images) -> tuple[Images, str]:
    """Images divided by a power of ten that makes short tick labels, and the unit that they are then in."""
    largest = float(np.nanmax(np.abs(shown.experiment), initial=0.0)) or 1.0
    power = math.floor(math.log10(largest))
    if -2 <= power <= 3:
        return shown, "frame units"
    ten = 10.0**power
    scaled = Scaled(shown.experiment / ten, shown.fit / ten, shown.radius_mrad, shown.extent)
    return scaled, f"$10^{{{power}}}$ frame units"
