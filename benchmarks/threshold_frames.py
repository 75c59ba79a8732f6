"""Frames by which thresholds are judged: patterns with their truth, and frames that show no such pattern.

Good frames are of three crystals and of the one that has a network, from thin to thick, tilted, from few to
many electrons.  Frames of the other kinds should be refused: nothing but the direct disc (vacuum), a disc
in a diffuse halo (amorphous), a smooth blob, noise, another crystal, another semi-angle than the given one.

The random numbers are this study's own, and so are the crystals wherever no network is needed: neither set
a threshold.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridfit import Library, simulate_frame
from hybridfit.fitting.candidates import Candidate
from hybridfit.library.build import VERSION as library_version
from hybridfit.library.recipe import Recipe, ThicknessRange

DATA = Path(__file__).parent / "data"
SEED = 1789
CRYSTALS = ("Si_110_200kV", "TiO2_001_80kV", "SrTiO3_011_200kV")
NETWORK = "SrTiO3_001_200kV"  # the crystal with a network
SEMI_ANGLE = 13.0  # mrad, as it is given for every frame
SIZE = 128  # px
SCALE = (2.4, 2.9)  # px/mrad
TILT = 2.5  # mrad
ELECTRONS, FEW = (1e5, 1e8), (2e3, 4e4)
THINNEST = 5.0  # nm: below, patterns hardly show a tilt
OTHER_ANGLES = (0.9, 0.94, 1.06, 1.1)  # true / given
OUTSIDE = (0.1, 0.4)  # of the radius: how far cut discs lie beyond the edge
REFUSED = ("vacuum", "amorphous", "blob", "noise", "another crystal", "another semi-angle")
SOLVED: dict[str, Any] = {
    "g_max": 1.8,
    "sampling": 0.35,
    "semi_angle_max": 14.6,
    "tilt_max": 3.0,
    "thickness": ThicknessRange(start=1.0, stop=70.0),
}
QUICK: dict[str, Any] = {"g_max": 1.4, "sampling": 0.45, "thickness": ThicknessRange(start=1.0, stop=40.0)}

Array = NDArray[np.float64]


class Shown(NamedTuple):
    """A frame of a kind.

    Attributes
    ----------
    kind : str
        "good", "few electrons", "touching", "cut", or one of REFUSED.
    crystal : str
        Name of the library that it is fitted with.
    image : (rows, cols) array
    camera : (float, float, float)
        Centre (px) and scale (px/mrad) at which a disc of the given semi-angle has the size of the true one.
    truth : dict or None
    """

    kind: str
    crystal: str
    image: Array
    camera: tuple[float, float, float]
    truth: dict[str, Any] | None

    def start(self, rng: np.random.Generator) -> Candidate:
        """The truth, off by up to 1 nm, 0.3 mrad, 0.5 px, 1 % and 1°."""
        assert self.truth is not None
        names = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
        off = rng.uniform(-1, 1, 7) * [1, 0.3, 0.3, 0.5, 0.5, 0.01 * self.truth["scale"], 1]
        return Candidate(*(float(self.truth[name] + d) for name, d in zip(names, off, strict=True)))


@cache
def library_of(crystal: str, quick: bool) -> Library:
    """A library in memory: the shipped one of the crystal with a network, small ones of the others."""
    if crystal == NETWORK:
        return Library(Library.open(NETWORK).dataset.load())
    return Library(Library.open(kept(crystal, quick)).dataset.load())


def kept(crystal: str, quick: bool) -> Path:
    """The file of a small library; built where there is none yet."""
    recipe = Recipe.shipped(crystal).model_copy(update=SOLVED | (QUICK if quick else {}))
    path = DATA / f"thresholds-{crystal}-{recipe.checksum()[:12]}-v{library_version}.nc"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        Library.build(recipe).save(path)
    return path


def draw(n: int, seed: int, thickest: float, electrons: tuple[float, float] = ELECTRONS) -> list[dict]:
    """What `simulate_frame` needs for n frames; thicknesses are spread evenly."""
    rng = np.random.default_rng([SEED, seed])
    edges = np.linspace(THINNEST, thickest, n + 1)
    out = []
    for i in range(n):
        tilt, azimuth = TILT * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        low, high = electrons
        out.append(
            {
                "thickness": float(rng.uniform(edges[i], edges[i + 1])),
                "tilt": (float(tilt * np.cos(azimuth)), float(tilt * np.sin(azimuth))),
                "semi_angle": SEMI_ANGLE,
                "shape": (SIZE, SIZE),
                "centre": tuple(float(v) for v in (SIZE - 1) / 2 + rng.uniform(-3, 3, 2)),
                "scale": float(rng.uniform(*SCALE)),
                "rotation": float(rng.uniform(-180, 180)),
                "ellipticity": tuple(float(v) for v in rng.normal(0, 0.004, 2)),
                "blur": float(rng.uniform(0.15, 0.5)),
                "electrons": float(low * (high / low) ** rng.random()),
                "background": float(rng.uniform(0.0, 0.3)),
                "seed": int(rng.integers(2**31)),
            }
        )
    return out


def good(crystal: str, n: int, seed: int, quick: bool, *, few: bool = False) -> list[Shown]:
    """Frames of a crystal with its own library, of many electrons or of few."""
    library = library_of(crystal, quick)
    thickest = library.thickness_range[1] - 5.0
    drawn = draw(n, seed, thickest, FEW if few else ELECTRONS)
    return [_simulated("few electrons" if few else "good", crystal, library, values) for values in drawn]


def at_the_edge(crystal: str, n: int, seed: int, quick: bool) -> list[Shown]:
    """Frames whose direct disc touches the edge, and frames that cut it: n of either."""
    library, out = library_of(crystal, quick), []
    rng = np.random.default_rng([SEED, seed, 1])
    for i, values in enumerate(draw(2 * n, seed, library.thickness_range[1] - 5.0)):
        radius = values["scale"] * SEMI_ANGLE
        beyond = 0.0 if i < n else rng.uniform(*OUTSIDE)
        values["centre"] = (float(radius * (1 - beyond) - 0.5), values["centre"][1])
        out.append(_simulated("touching" if i < n else "cut", crystal, library, values))
    return out


def refused(crystal: str, n: int, seed: int, quick: bool) -> list[Shown]:
    """n frames of every kind that should be refused, to be fitted with the library of a crystal."""
    library, out = library_of(crystal, quick), []
    others = [library_of(name, quick) for name in CRYSTALS if name != crystal]
    thickest = min(each.thickness_range[1] for each in (library, *others)) - 5.0
    rng = np.random.default_rng([SEED, seed, 2])
    for kind in REFUSED:
        for i, values in enumerate(draw(n, seed + REFUSED.index(kind), thickest)):
            camera = *values["centre"], values["scale"]
            if kind == "another crystal":
                other = _simulated(kind, crystal, others[i % len(others)], values)
                out.append(other._replace(truth=None))
            elif kind == "another semi-angle":
                true = SEMI_ANGLE * OTHER_ANGLES[i % len(OTHER_ANGLES)]
                shown = _simulated(kind, crystal, library, values | {"semi_angle": true})
                scale = values["scale"] * true / SEMI_ANGLE
                out.append(shown._replace(camera=(*values["centre"], scale), truth=None))
            else:
                out.append(Shown(kind, crystal, _without_crystal(kind, values, rng), camera, None))
    return out


def _simulated(kind: str, crystal: str, library: Library, values: dict) -> Shown:
    image, truth = simulate_frame(library, **values)
    camera = truth["centre_x"], truth["centre_y"], truth["scale"]
    return Shown(kind, crystal, image.astype(float), camera, truth | {"electrons": values["electrons"]})


def _without_crystal(kind: str, values: dict, rng: np.random.Generator) -> Array:
    """A frame that shows the direct disc alone, a halo about it, a blob, or nothing."""
    rows, cols = np.indices(values["shape"], dtype=float)
    (x, y), scale = values["centre"], values["scale"]
    k = np.hypot(cols - x, rows - y) / scale
    disc = np.clip((SEMI_ANGLE - k) * scale + 0.5, 0, 1)
    if kind == "noise":
        shape = np.ones(values["shape"])
    elif kind == "blob":
        shape = np.exp(-0.5 * (k / rng.uniform(6, 12)) ** 2)
    elif kind == "amorphous":
        ring = rng.uniform(9, 14), rng.uniform(2.5, 5)
        halo = np.exp(-0.5 * ((k - ring[0]) / ring[1]) ** 2) + 1 / (1 + (k / 10) ** 2)
        wide = ndimage.gaussian_filter(disc, rng.uniform(3, 5) * scale)
        shape = 0.6 * disc + 0.3 * wide + rng.uniform(0.05, 0.25) * halo
    else:
        shape = disc
    shape = ndimage.gaussian_filter(shape, values["blur"] * scale)
    return rng.poisson(values["electrons"] * shape / shape.sum()).astype(float)
