"""Frames in which something is wrong that the user does not know, and remedies.

A case is a nuisance at one level: how its frames differ from the assumptions of the fit, and the ways
in which they are fitted.  Frames are

    image = Poisson( electrons · [ (1 − b) P̂ + b B̂ ] ),

P̂ the pattern, B̂ the background, both of one electron in the frame; the detector acts afterwards.
An amorphous layer of thickness d scatters a share 1 − exp(−d/Λ) of the electrons once, into the same angles
as isolated atoms,

    P ← e^{−d/Λ} P + (1 − e^{−d/Λ}) P ⊗ D,    D(k) ∝ Σ_j f_j(k/λ)²,    1/Λ = (γ²/V) Σ_j ∫ f_j² dΩ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.signal import fftconvolve

from hybridfit import Library, simulate_frame
from hybridfit.library.recipe import Recipe, ThicknessRange
from hybridfit.library.structural import StructuralTable
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.scattering import elastic_factor, lorentz_factor, wavelength
from hybridfit.simulate.frame import glow_at

NAME = "SrTiO3_001_200kV"
DATA = Path(__file__).parent / "data"
SEED = 1968
SEMI_ANGLE = 13.6  # mrad, as the user says
SIZE, SCALE = 128, 2.9  # px, px/mrad
THICKNESS, TILT = (12.0, 78.0), 2.0  # nm, mrad
ELECTRONS = (1e6, 1e7)
SOLVED = ThicknessRange(start=5.0, stop=85.0)
B_SCALE, B_WRONG = (0.6, 0.8, 1.0, 1.2, 1.4), (0.7, 1.3)
QUICK: dict[str, Any] = {"g_max": 1.5, "sampling": 0.4}
EXACT = 1e13  # electrons of a frame without noise
BEYOND_FRAME = 32  # px outside the frame from which an amorphous layer scatters into it
GAIN = 0.01  # rms of what a flat field does to a saturated plateau

Array = NDArray[np.float64]
Values = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """How a user fits: options of `Fitter`, and whether that takes the nuisance into account."""

    words: str
    cures: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    library: str = NAME
    masked: bool = False


@dataclass(frozen=True)
class Case:
    """A nuisance at one level.

    values : arguments of `simulate_frame` that differ from the usual ones
    library : that of the frame's crystal
    layer : nm of amorphous matter
    shape : of the background
    detector : image → image
    """

    nuisance: str
    level: str
    ways: tuple[Way, ...]
    values: Values = field(default_factory=dict)
    library: str = NAME
    layer: float = 0.0
    shape: str = "Gaussians"
    detector: Callable[[Array, np.random.Generator], Array] | None = None
    saturates: bool = False


DEFAULT = Way("as it is")
FREE_ANGLE = Way("semi-angle fitted", True, {"free": ("semi_angle",)})
FREE_B = Way("B fitted", True, library="B")
ROUND = Way("distortion held at 0", options={"fix": {"ellipticity_a": 0.0, "ellipticity_b": 0.0}})
SHARP = Way("blur held at 0", options={"fix": {"blur": 0.0}})
FITTED = Way("fitted, as by default", True)
MASKED = Way("masked", True, masked=True)
RADIAL = Way("radial, the default", True)


def _background(name: str) -> Way:
    return Way(name, options={"background": name})


def _gamma(power: float) -> Callable[[Array, np.random.Generator], Array]:
    return lambda image, rng: (image / image.max()) ** power * image.max()


def _eight_bit(image: Array, rng: np.random.Generator) -> Array:
    return np.round(255 * image / image.max()).astype(np.uint8)


def saturation(image: Array, share: float = 0.05) -> float:
    """Intensity at which a detector saturates that loses the brightest share of its pixels."""
    return float(np.floor(np.quantile(image, 1 - share)))


def _clipped(image: Array, rng: np.random.Generator) -> Array:
    return np.minimum(image, saturation(image))


def _clipped_and_flattened(image: Array, rng: np.random.Generator) -> Array:
    return _clipped(image, rng) * rng.normal(1, GAIN, image.shape)


NOTHING = Case("nothing wrong", "", (DEFAULT,))
CASES = (
    NOTHING,
    *(Case("Debye–Waller factors", f"× {b:g}", (DEFAULT, FREE_B), library=f"B × {b:g}") for b in B_WRONG),
    *(
        Case(
            "semi-angle",
            f"said {100 * e:+.0f} %",
            (DEFAULT, FREE_ANGLE),
            values={"semi_angle": SEMI_ANGLE / (1 + e)},
        )
        for e in (-0.01, 0.01, -0.03, 0.03)
    ),
    *(
        Case("energy", f"{kv:g} kV for 200", (DEFAULT, FREE_ANGLE), library=f"{kv:g} kV")
        for kv in (198.0, 202.0)
    ),
    *(
        Case("elliptical distortion", f"{100 * e:g} %", (ROUND, FITTED), values={"distortion": e})
        for e in (0.01, 0.02)
    ),
    Case("detector", "γ = 0.8", (DEFAULT,), detector=_gamma(0.8)),
    Case("detector", "γ = 1.2", (DEFAULT,), detector=_gamma(1.2)),
    Case("detector", "8 bits", (DEFAULT,), detector=_eight_bit),
    Case("detector", "brightest 5 % saturated", (DEFAULT, MASKED), detector=_clipped, saturates=True),
    Case(
        "detector",
        "saturated, then flat-fielded",
        (DEFAULT, MASKED),
        detector=_clipped_and_flattened,
        saturates=True,
    ),
    *(Case("source size", f"{b:g} mrad", (SHARP, FITTED), values={"blur": b}) for b in (0.3, 0.6, 1.0)),
    *(
        Case("amorphous layer", f"{d:g} nm", (_background("uniform"), RADIAL), layer=d)
        for d in (2.0, 5.0, 10.0)
    ),
    *(
        Case(
            "background",
            f"{100 * share:g} % of the electrons",
            (*(_background(name) for name in ("none", "uniform", "uniform-per-nm")), RADIAL),
            values={"background": share},
        )
        for share in (0.0, 0.2, 0.5)
    ),
    *(
        Case("background", f"30 %, {shape}", (RADIAL,), values={"background": 0.3}, shape=shape)
        for shape in ("flat", "Lorentzian", "off-centre by 2 mrad")
    ),
)


# ---------------------------------------------------------------- crystals


def recipe_of(key: str, quick: bool) -> Recipe:
    """The recipe behind "B" (a library whose Debye–Waller factors vary), "B × 0.7", "198 kV"."""
    changes: Values = {"semi_angle_max": SEMI_ANGLE, "tilt_max": TILT + 1.0, "thickness": SOLVED}
    if quick:
        changes |= QUICK
    if key.endswith("kV"):
        changes["energy_kv"] = float(key.split()[0])
    else:
        values = B_SCALE if key == "B" else B_WRONG
        changes["parameters"] = {"b_scale": StructuralTable(values=values, debye_waller={"all": 1.0})}
    return Recipe.shipped(NAME).model_copy(update=changes)


def kept(key: str, quick: bool) -> Path:
    """The file of a library other than the shipped one; built where there is none yet."""
    recipe = recipe_of(key, quick)
    path = DATA / f"robustness-{recipe.checksum()[:12]}.nc"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        Library.build(recipe).save(path)
    return path


@cache
def library_of(key: str, quick: bool) -> Library:
    """The library of a key, in memory; those of one Debye–Waller factor without its dimension."""
    if key == NAME:
        return Library(Library.open(NAME).dataset.load())
    library = Library(Library.open(kept(key, quick)).dataset.load())
    return library.at(b_scale=float(key.split()[-1])) if key.startswith("B ×") else library


# ---------------------------------------------------------------- frames


def truths(n: int) -> list[Values]:
    """What `simulate_frame` needs for n frames: the same for every case."""
    rng = np.random.default_rng(SEED)
    edges = np.linspace(*THICKNESS, n + 1)
    out = []
    for i in range(n):
        tilt, azimuth, skew = TILT * np.sqrt(rng.random()), *rng.uniform(0, 2 * np.pi, 2)
        out.append(
            {
                "thickness": float(rng.uniform(edges[i], edges[i + 1])),
                "tilt": (float(tilt * np.cos(azimuth)), float(tilt * np.sin(azimuth))),
                "semi_angle": SEMI_ANGLE,
                "centre": tuple((SIZE - 1) / 2 + rng.uniform(-3, 3, 2)),
                "scale": float(SCALE * rng.uniform(0.95, 1.05)),
                "rotation": float(rng.uniform(-180, 180)),
                "blur": float(rng.uniform(0.2, 0.4)),
                "electrons": float(ELECTRONS[0] * (ELECTRONS[1] / ELECTRONS[0]) ** rng.random()),
                "background": 0.1,
                "skew": float(skew),
                "seed": i,
            }
        )
    return out


def frame_of(case: Case, usual: Values, quick: bool) -> tuple[Array, NDArray[np.bool_] | None, Values]:
    """A frame, its saturated pixels, and its truth."""
    values = usual | case.values
    skew, distortion = values.pop("skew"), values.pop("distortion", 0.0)
    values["ellipticity"] = distortion * np.cos(skew), distortion * np.sin(skew)
    electrons, share, seed = (values.pop(name) for name in ("electrons", "background", "seed"))
    pattern, truth = _pattern(case.library, quick, case.layer, tuple(values.items()))
    camera = Camera(*(truth[name] for name in Camera._fields))
    glow = _glow(case.shape, values["semi_angle"], camera)
    rng = np.random.default_rng([SEED, seed])
    image = rng.poisson(electrons * ((1 - share) * pattern + share * glow / glow.sum())).astype(float)
    lost = image >= saturation(image) if case.saturates else None
    return (image if case.detector is None else case.detector(image, rng)), lost, truth


@lru_cache(maxsize=32)
def _pattern(key: str, quick: bool, layer: float, items: tuple[tuple[str, Any], ...]) -> tuple[Array, Values]:
    """The pattern of one electron in the frame (rows, cols), and the truth."""
    values, pad = dict(items), BEYOND_FRAME if layer else 0
    x, y = values["centre"]
    wide = values | {"centre": (x + pad, y + pad), "shape": (SIZE + 2 * pad, SIZE + 2 * pad)}
    image, truth = simulate_frame(library_of(key, quick), **wide, electrons=EXACT, background=0.0)
    pattern = image / EXACT
    if layer:
        kernel, path = scattered_once(values["scale"])
        straight = np.exp(-layer / path)
        pattern = straight * pattern + (1 - straight) * fftconvolve(pattern, kernel, mode="same")
        pattern = np.maximum(pattern, 0)[pad:-pad, pad:-pad]
    return pattern / pattern.sum(), truth | {"centre_x": x, "centre_y": y}


def scattered_once(scale: float) -> tuple[Array, float]:
    """D on pixels of a camera (px/mrad), summing to 1 over all angles, and Λ (nm), of amorphous SrTiO3."""
    crystal = Crystal.from_cif(Recipe.shipped(NAME).cif)
    lam = wavelength(200.0)

    def strength(g: Array) -> Array:
        factors = [elastic_factor(element, g) ** 2 for element in crystal.elements]
        return np.sum([o * f for o, f in zip(crystal.occupancies, factors, strict=True)], axis=0)

    g = np.linspace(0, 12, 4001)  # Å⁻¹; the factors are of five Gaussians
    total = 2 * np.pi * float(trapezoid(strength(g) * g, g))  # Å² Å⁻²
    path = crystal.volume / (lorentz_factor(200.0) ** 2 * lam**2 * total)
    half = SIZE // 2 + BEYOND_FRAME
    row, col = np.mgrid[-half : half + 1, -half : half + 1] / (scale * 1e3 * lam)
    kernel = strength(np.hypot(row, col)) / total / (scale * 1e3 * lam) ** 2
    return kernel, path / 10


def _glow(shape: str, semi_angle: float, camera: Camera) -> Array:
    """The background to some scale, (rows, cols)."""
    if shape == "flat":
        return np.ones((SIZE, SIZE))
    if shape == "Lorentzian":
        row, col = (v.ravel().astype(float) for v in np.indices((SIZE, SIZE)))
        k2 = (to_angles(col, row, camera) ** 2).sum(axis=0)
        return (1 / (1 + k2 / (0.7 * semi_angle) ** 2)).reshape(SIZE, SIZE)
    if shape.startswith("off-centre"):
        camera = camera._replace(centre_x=camera.centre_x + 2 * camera.scale)
    return glow_at(semi_angle, (SIZE, SIZE), camera)
