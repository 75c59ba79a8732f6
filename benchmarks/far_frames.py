"""Crystals, recipes and frames of `benchmarks.far_tilts`: tilts of 5 to 15 mrad in many azimuths.

Three crystals that differ in what far tilts try: SrTiO3 [001] at 200 kV, of heavy and light columns, at
semi-angles of 10 and, if asked for, 20 mrad; MgO [001] at 120 kV, whose Ewald sphere is the most curved and
whose discs hardly overlap; GaN [11-20] at 300 kV, which has a polarity and one mirror line, so that no two
azimuths are alike.  No number in hybridfit is set on MgO or GaN, or on SrTiO3 at such tilts; frames of GaN
showed that discs in doubt have to be looked for again, and where far cameras are to be compared.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.reference_cases import DATA, FAR_CASES, OWN, SHIPPED, Case
from benchmarks.reference_patterns import Reference
from benchmarks.truth import Shot
from hybridfit import Library
from hybridfit.library.build import VERSION as library_version
from hybridfit.library.recipe import Recipe, ThicknessRange
from hybridfit.pattern.camera import Camera, to_pixels

THREE = ("SrTiO3_far", "MgO_far", "GaN_far")
SIZES = (5.0, 7.0, 9.0, 11.0, 13.0, 15.0)  # mrad
AZIMUTHS = (11.0, 74.0, 143.0, 201.0, 262.0, 327.0)  # °, one of each size
ELECTRONS = (1e7,)
SEED = 8041
G_MAX = {"SrTiO3_far": 2.3, "MgO_far": 3.0, "GaN_far": 2.8, "SrTiO3_far_wide": 2.3}  # Å⁻¹
SAMPLING = 0.28  # mrad
BEYOND = 0.5  # mrad of semi-angle and of tilt that a library has beyond the frames
AROUND = 8.0  # mrad that a frame shows beyond the direct disc, on the side where a pattern is not
LEAN = (0.35, 0.5)  # × tilt: so far the middle of a frame lies towards the middle of the Laue circle


def recipe_of(case: Case) -> Recipe:
    """What a case is fitted with: its own recipe, to 15.5 mrad of tilt."""
    folder = OWN if (OWN / case.cif).exists() else SHIPPED
    return Recipe(
        cif=folder / case.cif,
        zone=case.zone,
        in_plane=case.in_plane,
        energy_kv=case.energy_kv,
        g_max=G_MAX[case.name],
        semi_angle_max=case.semi_angle_max + BEYOND,
        tilt_max=case.tilt_max + BEYOND,
        sampling=SAMPLING,
        thickness=ThicknessRange(start=1.0, stop=float(np.ceil(case.thickest)) + 5),
    )


def path_of(case: Case) -> Path:
    """The file of its library."""
    return DATA / f"far-{case.name}-{recipe_of(case).checksum()[:12]}-v{library_version}.nc"


def library_of(case: Case) -> Library:
    """Its library, which the first run builds."""
    path = path_of(case)
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        Library.build(recipe_of(case)).save(path)
        seconds, size = time.perf_counter() - start, path.stat().st_size / 1e6
        print(f"{path.name}: {seconds:.0f} s, {size:.0f} MB", flush=True)
    return Library.open(path)


def tilts() -> list[tuple[float, float]]:
    """Of all cases, mrad."""
    angles = np.deg2rad(AZIMUTHS)
    return [(size * float(np.cos(a)), size * float(np.sin(a))) for size, a in zip(SIZES, angles, strict=True)]


def shots(case: Case, reference: Reference, every: int) -> Iterator[Shot]:
    """Patterns at every tilt, of every n-th thickness, beginning anywhere."""
    number = list(FAR_CASES).index(case.name)
    for i, tilt in enumerate(tilts()):
        for t in range(i % every, len(reference.thickness_nm), every):
            seed = [SEED, number, i, t]
            rng = np.random.default_rng(seed)
            size = int(rng.choice([128, 192, 256]))
            camera = camera_of(case.semi_angle_max, tilt, size, rng)
            electrons = float(rng.choice(ELECTRONS))
            yield Shot(case, t, tilt, case.semi_angle_max, camera, (size, size), electrons, seed)


def camera_of(semi_angle: float, tilt: tuple[float, float], size: int, rng: np.random.Generator) -> Camera:
    """A camera with the bright part of a pattern about in the middle of its frames, as an operator has it."""
    half = semi_angle + AROUND + float(np.hypot(*tilt)) / 2
    scale = (size - 1) / 2 / half * rng.uniform(0.93, 1.0)
    rotation, lean = rng.uniform(7, 40), rng.uniform(*LEAN)
    middle = (size - 1) / 2 + rng.uniform(-0.02, 0.02, 2) * size
    away = Camera(0.0, 0.0, float(scale), float(rotation))
    col, row = to_pixels(np.array(-lean * tilt[0]), np.array(-lean * tilt[1]), away)
    return away._replace(centre_x=float(middle[0] - col), centre_y=float(middle[1] - row))
