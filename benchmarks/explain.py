"""Activations of the first layers of the network, and saliency (Xu & LeBeau 2018, Figure 7).

Simulated frames of SrTiO3 [001], the same crystal at the paper's two semi-angles.  Saliency is the
derivative of the network's answer with respect to the square root of the intensity, per solid angle.  For
each part of the pattern the table has its share of the saliency, and the saliency per solid angle relative
to the whole pattern (1 is the average).  The parts are the direct disc, its rim, and the rest as far as the
network sees.

Run with: python -m benchmarks.explain [--quick] [--frames N] [--seed S]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from benchmarks import frames as drawn
from benchmarks.common import Study
from hybridfit import Fitter, Library, make_frame, simulate_frame
from hybridfit.explain import activations, saliency
from hybridfit.explain.pictures import strongest
from hybridfit.model import FITTED_BEYOND_DISC

SEMI_ANGLES = (13.6, 19.1)  # mrad
RIM = 1.1  # mrad to either side of the semi-angle
SIDE = 160  # px
SHOWN = {"thickness": 42.0, "tilt": (1.2, -0.7), "rotation": 20.0, "electrons": 1e8, "blur": 0.3, "seed": 7}
LAYERS = {"stem": "first layer", "stages.0": "second layer"}
MAPS = 8
FRAMES, SEED = 60, 7  # at each semi-angle
RING = 0.65  # mrad
REACH = 9.0  # mrad beyond the direct disc that are drawn
NAMES = ("thickness", "tilt")
PICTURES = {"image": "pattern", "thickness": "saliency of thickness", "tilt": "saliency of tilt"}
WIDE, BLOCK = 10.1, 6.0  # inches: the figure, and what a semi-angle has of its height


def regions(radius: np.ndarray, semi_angle: float) -> dict[str, np.ndarray]:
    """The parts of a pattern, as masks of angles (mrad)."""
    seen = radius < semi_angle + FITTED_BEYOND_DISC
    rim = np.abs(radius - semi_angle) <= RIM
    return {
        "inside the direct disc": (radius < semi_angle) & ~rim,
        "on its rim": rim,
        "beyond": seen & (radius > semi_angle) & ~rim,
    }


def shares(maps: xr.Dataset, name: str, semi_angle: float) -> dict[str, tuple[float, float]]:
    """Share (%) of the saliency in every part, and saliency per solid angle relative to the whole pattern."""
    values, parts = maps[name].values, regions(maps.radius.values, semi_angle)
    total, area = values.sum(), sum(part.sum() for part in parts.values())
    return {
        words: (
            100 * float(values[part].sum() / total),
            float(values[part].mean() / (total / area)),
        )
        for words, part in parts.items()
    }


def rings(values: np.ndarray, radius: np.ndarray, semi_angle: float) -> np.ndarray:
    """Means on rings."""
    inside = radius < semi_angle + REACH
    ring = (radius[inside] / RING).astype(int)
    mean: np.ndarray = np.bincount(ring, values[inside]) / np.maximum(np.bincount(ring), 1)
    return mean


def draw(n: int, semi_angle: float, seed: int) -> list[dict[str, Any]]:
    """Frames of all thicknesses that the paper's network was trained for, with random tilts."""
    most = 120.0 if semi_angle < 15 else 80.0
    out = []
    for values in drawn.draw(n, seed):
        share = (values["thickness"] - drawn.THICKNESS[0]) / (drawn.THICKNESS[1] - drawn.THICKNESS[0])
        values["thickness"] = drawn.THICKNESS[0] + share * (most - drawn.THICKNESS[0])
        values |= {"electrons": 1e8, **geometry(semi_angle)}
        out.append(values)
    return out


def geometry(semi_angle: float) -> dict[str, Any]:
    """A frame that shows the whole pattern."""
    scale = SIDE / 2 / (semi_angle + REACH)
    return {"semi_angle": semi_angle, "shape": (SIDE, SIDE), "scale": scale, "centre": None}


def look(study: Study, fitter: Fitter, library: Library, n: int, seed: int) -> dict[str, np.ndarray]:
    """Saliency of n frames: adds the rows of the table; returns means on rings, relative to their maxima."""
    alpha = fitter.semi_angle
    found: dict[str, list[dict[str, tuple[float, float]]]] = {name: [] for name in NAMES}
    curves: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    for values in draw(n, alpha, seed):
        maps = saliency(make_frame(simulate_frame(library, **values)[0]), fitter)
        for name in NAMES:
            found[name].append(shares(maps, name, alpha))
            curve = rings(maps[name].values, maps.radius.values, alpha)
            curves[name].append(curve / curve.max())
    for name in NAMES:
        for words in found[name][0]:
            share, density = np.mean([each[words] for each in found[name]], axis=0)
            study.add(f"{alpha:g} mrad, saliency of {name} {words}", share, "%")
            study.add(
                f"{alpha:g} mrad, saliency of {name} {words}, per solid angle, relative to the pattern",
                density,
                "×",
            )
        mean = np.mean(curves[name], axis=0)
        study.add(f"{alpha:g} mrad, saliency of {name} is largest at", (mean.argmax() + 0.5) * RING, "mrad")
    return {name: np.mean(curves[name], axis=0) for name in NAMES}


def activity(maps: xr.DataArray, semi_angle: float) -> float:
    """Mean of the maps near the disc's rim (RIM, half a pixel at least) over the mean inside the disc."""
    radius = np.hypot(maps.y.values[:, None], maps.x.values[None, :])
    width = max(RIM, float(maps.x[1] - maps.x[0]) / 2)
    rim, inside = np.abs(radius - semi_angle) <= width, radius < semi_angle - width
    values = maps.values - maps.values.min(axis=(1, 2), keepdims=True)
    return float(values[:, rim].mean() / values[:, inside].mean())


def panel(
    axis: Any, image: np.ndarray, extent: tuple[float, float, float, float], semi_angle: float, colours: str
) -> None:
    """An image in mrad, with the rim of the direct disc."""
    from matplotlib.patches import Circle

    high = float(np.percentile(image, 99.7))
    axis.imshow(image, extent=extent, cmap=colours, vmax=high, interpolation="nearest")
    axis.add_patch(Circle((0, 0), semi_angle, fill=False, color="white", lw=0.8, ls=(0, (4, 3))))
    reach = min(semi_angle + REACH, extent[1], extent[2])
    axis.set(xlim=(-reach, reach), ylim=(reach, -reach), xticks=[], yticks=[])
    axis.grid(False)
    axis.spines[:].set_visible(False)


def plot(study: Study, shown: dict[float, tuple[xr.Dataset, dict[str, xr.DataArray]]], curves: Any) -> None:
    """The pattern, its saliency and the first layers, at either semi-angle."""
    height = BLOCK * len(shown)
    with study.figure(size=(WIDE, height)) as (figure, axes):
        axes[0].remove()
        figure.set_layout_engine("none")

        def square(left: float, top: float, side: float) -> Any:
            return figure.add_axes((left / WIDE, 1 - (top + side) / height, side / WIDE, side / height))

        for k, (alpha, (maps, layers)) in enumerate(shown.items()):
            top = k * BLOCK + 0.45
            for i, (name, title) in enumerate(PICTURES.items()):
                axis = square(0.1 + i * 2.5, top, 2.35)
                panel(axis, maps[name].values, frame_extent(maps), alpha, "viridis" if i else "magma")
                axis.set_title(title if i else f"{alpha:g} mrad: {title}", loc="left")
            axis = square(0.25 + 3 * 2.5, top, 2.1)
            for name, curve in curves[alpha].items():
                axis.plot((np.arange(len(curve)) + 0.5) * RING, curve, label=name)
            axis.axvline(alpha, color="0.4", ls="--", lw=1)
            axis.set_title("saliency on rings, all frames", loc="left")
            axis.set(ylim=(0, None), xlim=(0, alpha + REACH), yticks=[])
            axis.set_xlabel("mrad", labelpad=0)
            axis.legend(loc="upper right")
            for j, (name, words) in enumerate(LAYERS.items()):
                layer = layers[name]
                for i, index in enumerate(strongest(layer, MAPS)):
                    axis = square(0.1 + 1.25 * i, top + 2.65 + 1.5 * j, 1.18)
                    panel(axis, layer.values[index], layer_extent(layer), alpha, "magma")
                    if not i:
                        side = " × ".join(str(size) for size in layer.shape[1:])
                        title = f"{words}: the {MAPS} of {layer.shape[0]} maps that vary the most, {side}"
                        axis.set_title(title, loc="left")


def frame_extent(maps: xr.Dataset) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a frame (mrad)."""
    scale = maps.attrs["scale_px_per_mrad"]
    rows, cols = maps.image.shape
    left, top = (-(0.5 + maps.attrs[f"centre_{name}_px"]) / scale for name in "xy")
    return left, left + cols / scale, top + rows / scale, top


def layer_extent(layer: xr.DataArray) -> tuple[float, float, float, float]:
    """The same of the maps of a layer."""
    x, y = layer.x.values, layer.y.values
    half = (x[1] - x[0]) / 2
    return x[0] - half, x[-1] + half, y[-1] + half, y[0] - half


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few frames only")
    parser.add_argument("--frames", type=int, default=FRAMES, help="at each semi-angle")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    n = 3 if options.quick else options.frames
    library = Library.open(drawn.NAME)
    study, shown, curves = Study("explain"), {}, {}
    for alpha in SEMI_ANGLES:
        fitter = Fitter(library, alpha, method="cnn", workers=1)
        frame = make_frame(simulate_frame(library, **SHOWN, **geometry(alpha))[0])
        layers = activations(frame, fitter, layers=tuple(LAYERS))
        shown[alpha] = saliency(frame, fitter), layers
        curves[alpha] = look(study, fitter, library, n, options.seed)
        for name, words in LAYERS.items():
            ratio = activity(layers[name], alpha)
            study.add(f"{alpha:g} mrad, activation of the {words}, rim over inside of the disc", ratio, "×")
    study.note(
        f"saliency is the mean of {n} simulated frames at each semi-angle, 3–120 nm at {SEMI_ANGLES[0]:g} "
        f"mrad and 3–80 nm at {SEMI_ANGLES[1]:g}, 1e8 electrons, tilt to {drawn.TILT:g} mrad; the rim is "
        f"{2 * RIM:g} mrad wide; activations are those of one frame, {SHOWN['thickness']:g} nm"
    )
    study.note(
        "in the paper activation is strongest inside the direct disc and at its edge at 13.6 mrad, and more "
        "confined to the edge at 19.1 mrad"
    )
    plot(study, shown, curves)
    means = {f"rings_{alpha:g}": {k: v.tolist() for k, v in c.items()} for alpha, c in curves.items()}
    return 0 if study.finish(ring_mrad=RING, **means) else 1


if __name__ == "__main__":
    sys.exit(main())
