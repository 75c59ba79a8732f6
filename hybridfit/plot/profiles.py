"""Radial profiles: the mean of experiment and fit on rings about the direct beam."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hybridfit.plot.answer import Answer, Images
from hybridfit.plot.style import BLUE, GREY, RED

Array = NDArray[np.float64]

PROFILE_STEP, PROFILE_PIXELS = 0.25, 12  # mrad; pixels of the innermost point


def draw_profiles(
    figure: Figure, place: tuple[float, float, float, float], result: Answer, shown: Images, units: str
) -> None:
    """Mean intensity on rings: experiment, fit; their difference below."""
    left, bottom, width, height = place
    upper = figure.add_axes((left, bottom + 0.29 * height, width, 0.71 * height))
    lower = figure.add_axes((left, bottom, width, 0.23 * height), sharex=upper)
    radius, experiment, fit, spread = ring_means(shown.radius_mrad, shown.experiment, shown.fit)
    alpha = result.parameters["semi_angle"].value
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


def ring_means(radius: Array, experiment: Array, fit: Array) -> tuple[Array, Array, Array, Array]:
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
