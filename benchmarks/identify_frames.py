"""Small libraries of many crystals, and frames of them and of others, for the study of identification.

A library is coarse and small, so that dozens are built in a minute: beams to 1.4 1/Å, a semi-angle of
11.5 mrad, tilts to 2 mrad, 6–50 nm.  A frame is not what its library says: it is made of another one, with
more beams, other Debye–Waller factors and another energy; thickness and tilt spread over the averaged area,
the semi-angle is off by 1 %, the projector distorts.  Libraries are kept in `benchmarks/data`.

Run with: python -m benchmarks.identify_frames [--set]
"""

from __future__ import annotations

import argparse
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridfit import Library, Recipe, simulate_frame
from hybridfit.library.build import VERSION as library_version
from hybridfit.library.recipe import ThicknessRange, shipped_folder
from hybridfit.physics.projection import project

HERE = Path(__file__).parent
DATA = HERE / "data" / "identify"
SEMI_ANGLE, TILT_MAX = 11.0, 2.0  # mrad
SIZE = 128  # px
THICKNESS, TILT = (9.0, 45.0), 1.5  # nm, mrad
ELECTRONS = (1e5, 1e8)
SPREAD = (1.0, 0.15)  # nm, mrad: at most, over the averaged area
OFF = 0.01  # of the semi-angle: standard deviation of what is given
SOLVED: dict[str, Any] = {
    "energy_kv": 200.0,
    "g_max": 1.4,
    "sampling": 0.5,
    "semi_angle_max": 11.5,
    "tilt_max": TILT_MAX,
    "thickness": ThicknessRange(start=6.0, stop=50.0),
}
TRUE = {"g_max": 1.7, "sampling": 0.4, "semi_angle_max": 11.5, "tilt_max": TILT_MAX + 0.5}
VIBRATION, ENERGY = 0.15, 0.003  # relative standard deviations of what is taken for granted
FLIPPED = 0.3  # of the frames, as a camera that mirrors
NONE = ("vacuum", "amorphous", "blob")  # frames that show no crystal, beside those of other crystals
MORE_NONE = ("peak", "two blobs", "rings")  # more of them, by which thresholds are set

Array = NDArray[np.float64]
Zone = tuple[int, int, int]


class Case(NamedTuple):
    """A crystal and a zone axis."""

    cif: Path
    zone: Zone

    @property
    def name(self) -> str:
        """Such as Si_110."""
        return f"{self.cif.stem}_{''.join(map(str, self.zone))}"


class Shown(NamedTuple):
    """A frame, the name of the case that it shows, None where it is none of the libraries, and its kind."""

    image: Array
    name: str | None
    kind: str
    truth: dict[str, Any]


TRAINING, SHIPPED = shipped_folder() / "training", shipped_folder()
UNSEEN, OF_SETTING = HERE / "crystals" / "unseen", HERE / "crystals" / "setting"
EVERY = 4  # of the crystals that set nothing, one of so many is none of the libraries
MOST_BEAMS = 220  # of a library: of large cells fewer are solved


def _cases(folder: Path, names: dict[str, tuple[Zone, ...]]) -> list[Case]:
    return [Case(folder / f"{name}.cif", zone) for name, zones in names.items() for zone in zones]


# libraries of crystals that absorb much, or scatter strongly, beside which the rest of SETTING is light
HEAVY = [
    *_cases(OF_SETTING, {"ThO2": ((0, 0, 1),), "HfO2_cubic": ((0, 0, 1),)}),
    *_cases(
        TRAINING,
        {
            "Sn_beta": ((0, 0, 1),),
            "FePt_L10": ((1, 0, 0),),
            "PbO": ((0, 0, 1),),
            "WC": ((0, 0, 1),),
            "U_alpha": ((1, 0, 0),),
            "Nb3Sn": ((0, 0, 1),),
            "LaB6": ((0, 0, 1),),
            "Bi2Te3": ((0, 0, 1),),
            "MoSi2": ((1, 0, 0),),
            "Sr2RuO4": ((1, 0, 0),),
        },
    ),
]
# libraries by which thresholds are set, with twins among them, and crystals that none of them is of
SETTING = [
    *_cases(SHIPPED, {"Si": ((1, 1, 0), (0, 0, 1)), "GaAs": ((1, 1, 0),), "SrTiO3": ((0, 0, 1), (0, 1, 1))}),
    *_cases(
        TRAINING,
        {
            "Ge": ((1, 1, 0),),
            "InP": ((1, 1, 0),),
            "CdTe": ((1, 1, 0),),
            "ZnS_sphalerite": ((1, 1, 0),),
            "BaTiO3": ((0, 0, 1), (1, 0, 0)),
            "BaZrO3": ((0, 0, 1),),
            "KTaO3": ((0, 0, 1),),
            "NaCl": ((0, 0, 1),),
            "MnO": ((0, 0, 1),),
            "NiO": ((0, 0, 1), (0, 1, 1)),
            "PbTe": ((0, 0, 1),),
            "CaF2": ((0, 0, 1), (0, 1, 1)),
            "Al_fcc": ((0, 0, 1), (0, 1, 1)),
            "Cu_fcc": ((0, 0, 1),),
            "Pt_fcc": ((0, 0, 1), (0, 1, 1)),
            "Fe_bcc": ((0, 0, 1),),
            "W_bcc": ((0, 0, 1), (1, 1, 1)),
            "NiAl": ((0, 0, 1),),
            "CsCl": ((0, 0, 1),),
        },
    ),
    *HEAVY,
]
TWINS = ("GaAs_110", "Ge_110")  # of one lattice and nearly the same atoms: nothing tells one from the other
OTHERS = [
    *_cases(OF_SETTING, {"La2CuO4_Sr": ((1, 0, 0),)}),
    *_cases(
        TRAINING,
        {
            "CeO2": ((0, 0, 1),),
            "TiN": ((0, 0, 1),),
            "diamond": ((1, 1, 0),),
            "SnO2": ((0, 0, 1),),
            "Cu2O": ((0, 0, 1),),
            "V_bcc": ((0, 1, 1),),
            "TiO2_anatase": ((0, 0, 1),),
            "Mg_hcp": ((0, 0, 1),),
            "BaFe2As2": ((1, 0, 0),),
            "YBa2Cu3O7": ((1, 0, 0),),
        },
    ),
]


def reported() -> tuple[list[Case], list[Case]]:
    """Thirty libraries of crystals that set nothing, and ten crystals that none of them is of."""
    zones = tomllib.loads((UNSEEN / "zones.toml").read_text(encoding="utf-8"))
    cases = [Case(UNSEEN / f"{name}.cif", tuple(zones[name]["zones"][0])) for name in sorted(zones)]
    others = cases[EVERY - 1 :: EVERY]
    return [case for case in cases if case not in others], others


def longest(recipe: Recipe, g_max: float) -> float:
    """g_max (1/Å), or less where that were more than MOST_BEAMS beams."""
    area = abs(float(np.linalg.det(project(recipe.crystal(), recipe.zone, None).basis)))
    return round(min(g_max, float(np.sqrt(MOST_BEAMS * area / np.pi))), 3)


def library_of(case: Case, true: bool = False) -> Path:
    """The file of the library of a case, or of what its frames are made of; built where there is none."""
    recipe = Recipe(cif=case.cif, zone=case.zone, **SOLVED)
    recipe = recipe.model_copy(update={"g_max": longest(recipe, SOLVED["g_max"])})
    if true:
        rng = np.random.default_rng(sum(case.name.encode()))
        crystal, vibration = recipe.crystal(), 1 + VIBRATION * float(np.clip(rng.normal(), -2, 2))
        factors = {
            e: float(b) * vibration for e, b in zip(crystal.elements, crystal.debye_waller, strict=True)
        }
        energy = recipe.energy_kv * (1 + ENERGY * float(rng.normal()))
        more = TRUE["g_max"] / SOLVED["g_max"] * recipe.g_max
        changes = {**TRUE, "g_max": more, "debye_waller": factors, "energy_kv": energy}
        recipe = recipe.model_copy(update=changes)
    path = DATA / f"{case.name}{'-true' if true else ''}-{recipe.checksum()[:8]}-v{library_version}.nc"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with patch("hybridfit.library.build.approximation", lambda *_, **__: 0.02):  # for error bars alone
            Library.build(recipe, slopes=False, diffuse=False).save(path)
    return path


def frames(
    libraries: list[Case],
    others: list[Case],
    right: int,
    none: int,
    seed: int,
    kinds: Sequence[str] = NONE,
) -> Iterator[Shown]:
    """Frames of libraries, in turn, and frames of none of them; kinds are of those that show no crystal."""
    rng = np.random.default_rng([1729, seed])
    opened: dict[str, Library] = {}

    def library(case: Case) -> Library:
        if case.name not in opened:
            opened[case.name] = Library(Library.open(library_of(case, true=True)).dataset.load())
        return opened[case.name]

    order = rng.permutation(len(libraries))
    for i in range(right):
        case = libraries[order[i % len(libraries)]]
        image, truth = _crystal(library(case), rng)
        flipped = bool(rng.random() < FLIPPED)
        yield Shown(image[:, ::-1] if flipped else image, case.name, "library", {**truth, "flipped": flipped})
    shapeless = none // 5
    for i in range(none - shapeless):
        case = others[i % len(others)]
        image, truth = _crystal(library(case), rng)
        yield Shown(image, None, case.name, truth)
    for i in range(shapeless):
        kind = kinds[i % len(kinds)]
        yield Shown(_without_crystal(kind, rng), None, kind, {})


def _crystal(library: Library, rng: np.random.Generator) -> tuple[Array, dict[str, Any]]:
    """A frame of a crystal whose thickness and tilt spread over the averaged area."""
    tilt, azimuth = TILT * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    t, x, y = rng.uniform(*THICKNESS), tilt * np.cos(azimuth), tilt * np.sin(azimuth)
    wedge, bend = SPREAD[0] * rng.random(), SPREAD[1] * rng.random()
    angle = rng.uniform(0, 2 * np.pi)
    values = {
        "semi_angle": SEMI_ANGLE * (1 + OFF * float(np.clip(rng.normal(), -2, 2))),
        "shape": (SIZE, SIZE),
        "centre": tuple((SIZE - 1) / 2 + rng.uniform(-4, 4, 2)),
        "scale": float(rng.uniform(2.2, 3.1)),
        "rotation": float(rng.uniform(-180, 180)),
        "ellipticity": tuple(rng.normal(0, 0.004, 2)),
        "blur": float(rng.uniform(0.15, 0.5)),
        "background": float(rng.uniform(0, 0.3)),
        "electrons": 1e12,
    }
    image = np.zeros((SIZE, SIZE))
    for step in (-1.2, 0.0, 1.2):  # standard deviation 1
        at = (x + step * bend * np.cos(angle), y + step * bend * np.sin(angle))
        image += simulate_frame(library, thickness=t + step * wedge, tilt=at, **values)[0]
    return _recorded(image, rng), {**values, "thickness": t, "tilt": (x, y)}


def _recorded(image: Array, rng: np.random.Generator) -> Array:
    electrons = float(np.exp(rng.uniform(*np.log(ELECTRONS))))
    return rng.poisson(electrons * image / image.sum()).astype(float)


def _without_crystal(kind: str, rng: np.random.Generator) -> Array:
    """A frame that shows the direct disc alone, a halo or rings about it, or smooth blobs."""
    rows, cols = np.indices((SIZE, SIZE), dtype=float)
    x, y = (SIZE - 1) / 2 + rng.uniform(-4, 4, 2)
    scale = rng.uniform(2.2, 3.1)
    k = np.hypot(cols - x, rows - y) / scale
    image = np.clip((SEMI_ANGLE - k) * scale + 0.5, 0, 1)
    if kind == "blob":
        image = np.exp(-0.5 * (k / rng.uniform(4, 8)) ** 2)
    elif kind == "amorphous":
        ring = rng.uniform(9, 14), rng.uniform(2.5, 5)
        halo = np.exp(-0.5 * ((k - ring[0]) / ring[1]) ** 2) + 1 / (1 + (k / 10) ** 2)
        wide = ndimage.gaussian_filter(image, rng.uniform(3, 5) * scale)
        image = 0.6 * image + 0.3 * wide + rng.uniform(0.05, 0.25) * halo
    elif kind == "peak":
        image = 1 / (1 + (k / rng.uniform(3, 9)) ** 2) ** rng.uniform(1, 2.5)
    elif kind == "two blobs":
        image = np.exp(-0.5 * (k / rng.uniform(3, 6)) ** 2)
        image += rng.uniform(0.05, 0.5) * np.exp(-0.5 * (k / rng.uniform(6, 12)) ** 2)
    elif kind == "rings":
        for _ in range(3):
            ring = rng.uniform(0, 20), rng.uniform(1, 4)
            image = image + rng.uniform(0.02, 0.3) * np.exp(-0.5 * ((k - ring[0]) / ring[1]) ** 2)
    return _recorded(ndimage.gaussian_filter(image, 0.3 * scale), rng)


def main() -> None:
    """Build the libraries."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--set", action="store_true", help="those by which thresholds are set")
    libraries, others = (SETTING, OTHERS) if parser.parse_args().set else reported()
    for true in (False, True):
        for case in [*libraries, *others]:
            start = time.perf_counter()
            path = library_of(case, true)
            print(f"{case.name}: {path.name}, {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
