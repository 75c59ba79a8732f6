"""Tilt as a colour: its direction is the hue, its magnitude the strength, on a wheel that is the legend.

In CIELAB, with m = min(|τ|/largest, 1):  L = 97 − 33 m,  (a, b) = 36 m (cos φ, sin φ)

Equal magnitudes are equally light and strong whatever their direction; no tilt is white. 36 is what every
hue has room for, to a hair, at that lightness.

Directions are drawn as on the camera: x to the right and y downwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Circle
from numpy.typing import NDArray

from hybridfit.plot.style import BLACK, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
WHITE, STRONG, CHROMA = 97.0, 64.0, 36.0


def tilt_colours(tilt_x: Array, tilt_y: Array, largest: float) -> Array:
    """RGB (…, 3) of tilts of any shape; those beyond `largest` (mrad) have its strength."""
    from skimage.color import lab2rgb  # slow to import

    m = np.clip(np.hypot(tilt_x, tilt_y) / largest, 0.0, 1.0)
    phi = np.arctan2(tilt_y, tilt_x)
    lab = np.stack(
        [WHITE - (WHITE - STRONG) * m, CHROMA * m * np.cos(phi), CHROMA * m * np.sin(phi)], axis=-1
    )
    rgb: Array = lab2rgb(np.nan_to_num(lab.reshape(1, -1, 3), nan=50.0)).reshape(lab.shape)
    return np.clip(rgb, 0.0, 1.0)


def azimuth_colours() -> ListedColormap:
    """The rim of the wheel, from −180° to 180°."""
    phi = np.deg2rad(np.linspace(-180, 180, 256, endpoint=False))
    return ListedColormap(tilt_colours(np.cos(phi), np.sin(phi), 1.0), name="azimuth")


def draw_wheel(axis: Axes, largest: float) -> None:
    """The legend of `tilt_colours`, on square axes."""
    y, x = np.mgrid[-1:1:121j, -1:1:121j]
    colours = np.concatenate([tilt_colours(x, y, 1.0), (np.hypot(x, y) <= 1)[..., None]], axis=-1)
    axis.imshow(colours, extent=(-1, 1, 1, -1), interpolation="antialiased")
    axis.add_patch(Circle((0, 0), 1.0, fill=False, color=GREY, lw=0.8))
    axis.plot([0], [0], "+", color=GREY, ms=6, mew=0.8)
    axis.set_xlim(-1.05, 1.05)
    axis.set_ylim(1.05, -1.05)
    axis.axis("off")
    axis.text(1.12, 0, "x", ha="left", va="center", style="italic", color=BLACK)
    axis.text(0, 1.1, "y", ha="center", va="top", style="italic", color=BLACK)
    axis.text(0, -1.12, f"rim {largest:.3g} mrad", ha="center", va="bottom", fontsize=9, color=BLACK)
