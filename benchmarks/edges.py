"""Frames on which no fit should converge: cut discs, wrong semi-angles, no crystal, another crystal.

Each has the semi-angle that the user gives and, if there is one, the truth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from benchmarks.frames import draw
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, ThicknessRange
from hybridfit.simulate.frame import simulate_frame

NAME = "SrTiO3_001_200kV"
WRONG_ANGLE = (0.88, 0.92, 1.08, 1.12)  # given / true
CUT = 0.35  # of the radius that lies beyond the edge
SILICON = """data_Si
_cell_length_a 5.431
_cell_length_b 5.431
_cell_length_c 5.431
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F d -3 m :1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_B_iso_or_equiv
Si1 Si 0 0 0 0.46
"""


class Edge(NamedTuple):
    """A frame (rows, cols), the semi-angle given for it (mrad), and the truth or None."""

    kind: str
    image: np.ndarray
    semi_angle: float
    truth: dict[str, Any] | None


def edges(each: int, seed: int, folder: Path) -> list[Edge]:
    """`each` frames of every kind; folder is where the CIF of the other crystal is put."""
    library = Library.open(NAME)
    other = silicon(folder)
    rng = np.random.default_rng(seed)
    found = []
    for i, values in enumerate(draw(5 * each, seed)):
        values["shape"] = tuple(int(np.clip(size, 96, 320)) for size in values["shape"])
        side = values["shape"][0]
        radius = rng.uniform(0.15, 0.28) * side
        values |= {"scale": radius / values["semi_angle"], "centre": ((side - 1) / 2, (side - 1) / 2)}
        kind = ("cut", "wrong semi-angle", "vacuum", "amorphous", "another crystal")[i % 5]
        given, truth = values["semi_angle"], None
        if kind == "cut":
            values["centre"] = (radius * (1 - CUT), side * rng.uniform(0.35, 0.65))
            image = simulate_frame(library, **values)[0]
        elif kind == "wrong semi-angle":
            image, truth = simulate_frame(library, **values)
            given = min(given * WRONG_ANGLE[i // 5 % len(WRONG_ANGLE)], library.semi_angle_max)
        elif kind == "another crystal":
            image = simulate_frame(other, **values | {"thickness": 40 + i % 7})[0]
        else:
            image = _bare_disc(values, rng, diffuse=kind == "amorphous")
        found.append(Edge(kind, image, float(given), truth))
    return found


def _bare_disc(values: dict[str, Any], rng: np.random.Generator, *, diffuse: bool) -> np.ndarray:
    """The direct disc alone, or with the diffuse scattering of amorphous matter."""
    rows, cols = np.indices(values["shape"], dtype=float)
    x, y = values["centre"]
    r = np.hypot(cols - x, rows - y) / values["scale"]
    disc = np.clip((values["semi_angle"] - r) * values["scale"] + 0.5, 0, 1)
    if diffuse:
        halo = np.exp(-(((r - 12) / 4) ** 2)) + 1.5 * np.exp(-((r / 18) ** 2))
        disc = 0.6 * disc + 0.4 * ndimage.gaussian_filter(disc, 4 * values["scale"]) + 0.15 * halo
    disc = ndimage.gaussian_filter(disc, 0.3 * values["scale"])
    return rng.poisson(values["electrons"] * disc / disc.sum())


def silicon(folder: Path) -> Library:
    """Silicon along [110]."""
    path = folder / "Si.cif"
    path.write_text(SILICON)
    recipe = Recipe(
        cif=path,
        zone=(1, 1, 0),
        energy_kv=200,
        g_max=1.6,
        semi_angle_max=20,
        tilt_max=4.6,
        sampling=0.4,
        thickness=ThicknessRange(start=38, stop=48),
    )
    return Library.build(recipe)
