"""Coarse libraries for the training of the alignment network: seconds to make, and thrown away.

A coarse library holds I_g(q; t) of one crystal, zone axis and energy at a few thicknesses, for directions q
on a square grid that reaches over the semi-angle and the tilt.  Where a disc ends does not depend on how
finely what is inside it is known.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.io import atomic_path

ENERGIES = 60.0, 80.0, 100.0, 120.0, 200.0, 300.0  # kV
SEMI_ANGLES = 5.0, 30.0  # mrad
TILT_MAX = 15.0  # mrad
THICKNESSES = 8
THIN, THICK = 2.0, 120.0  # nm
HALF = 22  # steps of the grid of directions, from the middle to its edge
MOST_BEAMS = 150
G_MAX = 2.2  # Å⁻¹
LARGEST = 65535.0  # intensities are kept as whole numbers of 1/65535
FORMAT = 1  # of the files


class Material(NamedTuple):
    """A crystal along a zone axis: its CIF, and [uvw]; or, invented, others that are made of it."""

    cif: Path
    zone: tuple[int, int, int]
    invented: bool = False


@dataclass(frozen=True)
class Coarse:
    """A coarse library.

    Attributes
    ----------
    intensity : (thickness, beam, row, col) uint16 array, in 1/65535 of the incident intensity
        Rows and columns are directions qy and qx, from −HALF to HALF steps.
    beams : (b, 2) array, mrad
    step : float, mrad
    semi_angles : (float, float), mrad
    thickness : (m,) array, nm
    """

    intensity: NDArray[np.uint16]
    beams: NDArray[np.float64]
    step: float
    semi_angles: tuple[float, float]
    thickness: NDArray[np.float64]


def materials(folder: Path) -> list[Material]:
    """The crystals of a folder along the axes that its zones.toml names.

    Raises
    ------
    InputError
        There is no zones.toml, it cannot be read, or a CIF that it names is missing.
    """
    path = folder / "zones.toml"
    try:
        table = tomllib.loads(path.read_text())
        found = [
            Material(folder / f"{name}.cif", (int(u), int(v), int(w)))
            for name in sorted(table)
            for u, v, w in table[name]["zones"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} names no crystals ({error}); write [NAME] and zones = [[u, v, w], …] for each NAME.cif"
        ) from None
    missing = [each.cif.name for each in found if not each.cif.is_file()]
    if missing:
        raise InputError(f"{path} names {missing[0]}, which is not there; add it or take its name out")
    return found


def solve(material: Material, seed: int) -> Coarse:
    """Solve one: energy, semi-angles, thicknesses and what is invented are drawn with the seed."""
    from hybridfit.network.alignment.invented import invented
    from hybridfit.physics import bloch, scattering
    from hybridfit.physics.crystal import Crystal
    from hybridfit.physics.projection import project

    rng = np.random.default_rng(seed)
    energy = float(rng.choice(ENERGIES))
    low, high = SEMI_ANGLES
    largest = float(np.exp(rng.uniform(np.log(low / 0.7), np.log(high))))
    thickness = np.sort(np.exp(rng.uniform(np.log(THIN), np.log(THICK), THICKNESSES))).round(1)
    thickness += 0.2 * np.arange(THICKNESSES)
    crystal, zone = Crystal.from_cif(material.cif), material.zone
    if material.invented:
        crystal, zone = invented(crystal, zone, rng)
    projection = project(crystal, zone)
    to_mrad = 1e3 * scattering.wavelength(energy)
    # shortest first: the first of them are those that hold the intensity
    beams = projection.beams(G_MAX)
    beams = beams[:MOST_BEAMS]
    step = (largest + TILT_MAX) / (HALF - 2)
    line = step * np.arange(-HALF, HALF + 1)
    q = np.stack(np.meshgrid(line, line, indexing="xy"), axis=-1).reshape(-1, 2)
    within = np.hypot(*q.T) <= (HALF + 0.5) * step
    matrix = bloch.DynamicalMatrix.of(projection, beams, energy)
    found = bloch.beam_intensities(matrix, q[within] / to_mrad, thickness, device="cpu")
    intensity = np.zeros((*found.shape[:2], len(q)), np.uint16)
    intensity[..., within] = np.rint(LARGEST * found.clip(0, 1))
    side = 2 * HALF + 1
    return Coarse(
        intensity.reshape(*found.shape[:2], side, side),
        beams @ projection.basis * to_mrad,
        step,
        (0.7 * largest, largest),
        thickness,
    )


def kept(material: Material, seed: int, folder: Path) -> Coarse:
    """The same, kept in a folder."""
    name = f"{material.cif.stem}-{'_'.join(map(str, material.zone))}"
    path = folder / f"{name}{'-invented' * material.invented}-{_tag(material, seed)}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return Coarse(
                file["intensity"],
                file["beams"],
                float(file["step"]),
                (float(file["semi_angles"][0]), float(file["semi_angles"][1])),
                file["thickness"],
            )
    made = solve(material, seed)
    values: dict[str, Any] = vars(made)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        np.savez_compressed(out, **values)
    return made


def _tag(material: Material, seed: int) -> str:
    rules = [FORMAT, HALF, MOST_BEAMS, G_MAX, THICKNESSES, ENERGIES, SEMI_ANGLES, TILT_MAX, THIN, THICK, seed]
    rules += ["invented"] * material.invented
    text = json.dumps([rules, material.cif.read_text(), material.zone])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
