"""Radial profiles: the means of experiment and fit on rings about the direct beam."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hybridfit import rings
from hybridfit.plot.answer import Answer, Images
from hybridfit.plot.settings import PICTURE, PictureSettings
from hybridfit.plot.style import BLUE, DASHES, GREY, RED, legend_below

Array = NDArray[np.float64]


def draw_profiles(
    figure: Figure,
    place: tuple[float, float, float, float],
    result: Answer,
    shown: Images,
    units: str,
    settings: PictureSettings = PICTURE,
) -> None:
    """Mean intensity of experiment and fit on rings, and their difference below."""
    left, bottom, width, height = place
    upper = figure.add_axes((left, bottom + 0.29 * height, width, 0.71 * height))
    lower = figure.add_axes((left, bottom, width, 0.23 * height), sharex=upper)
    radius, experiment, fit, spread = ring_means(shown.radius_mrad, shown.experiment, shown.fit, settings)
    alpha = result.parameters["semi_angle"].value
    for axis in (upper, lower):
        rim = axis.axvline(alpha, color=GREY, lw=1.1, ls=DASHES)
        axis.grid(axis="y", lw=0.6)
    upper.plot(radius, experiment, "o", ms=4.5, mfc="white", mec=BLUE, mew=1.1, label="experiment")
    upper.plot(radius, fit, "-", color=RED, lw=1.4, label="fit")
    upper.set_title("radial profiles", loc="left", fontweight="bold")
    upper.set_ylabel(f"ring mean ({units})", fontsize=10)
    upper.tick_params(labelbottom=False)
    upper.margins(x=0.01)
    peak = float(np.nanmax(np.abs(fit))) if np.isfinite(fit).any() else 1.0
    difference = 100 * (experiment - fit) / (peak or 1.0)
    lower.axhline(0, color=GREY, lw=0.8)
    band = 100 * spread / (peak or 1.0)
    lower.fill_between(
        radius, -band, band, color="#cccccc", lw=0, alpha=0.6, label="± standard error of the difference"
    )
    lower.plot(radius, difference, "-", color=BLUE, lw=1.2)
    largest = float(np.nanmax(np.abs(difference), initial=0.0))
    lower.set_ylim(-1.25 * max(largest, 1e-3), 1.25 * max(largest, 1e-3))
    lower.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))
    lower.set_ylabel("difference\n(% of max.)", fontsize=9)
    lower.set_xlabel("scattering angle (mrad)")
    rim.set_label("rim of the direct disc")
    legend_below(lower, 2, upper)
    figure.align_ylabels([upper, lower])


def ring_means(
    radius: Array, experiment: Array, fit: Array, settings: PictureSettings = PICTURE
) -> tuple[Array, Array, Array, Array]:
    """Means of two images on rings of the width that pictures have; see `hybridfit.rings.ring_means`."""
    return rings.ring_means(radius, experiment, fit, settings.ring_width, settings.ring_pixels)
