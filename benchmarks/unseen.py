"""Crystals that no training sees (`crystals/unseen`): zone axes, and the libraries of their frames and fits.

Libraries are kept in `benchmarks/data`, by the checksum of their recipe.  There are three of a crystal:

drawn    for frames whose disc is looked for: to 15 mrad of tilt, in few thicknesses and coarse directions.
         A frame has one of these thicknesses.  Rims are made when a pattern is composed, as sharp as the
         camera's fine pixels, whatever the directions are; what is coarse is the detail inside the discs.
         They have no diffuse part, which takes most of a build: the background stands for it.
fitted   as `hybridfit new` makes it
finer    for frames that are fitted: more beams, closer directions, and thicknesses that the fitted library
         does not hold; the diffuse part is that of the fitted library
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridfit import Library, Recipe
from hybridfit.io import atomic_path
from hybridfit.library.build import VERSION
from hybridfit.new.design import design
from hybridfit.physics.projection import project
from hybridfit.physics.scattering import wavelength

if TYPE_CHECKING:
    from hybridfit.physics.crystal import Crystal

FOLDER = Path(__file__).parent / "crystals" / "unseen"
DATA = Path(__file__).parent / "data"
QUICK = ("TiNiSn", "UO2")  # whose libraries take seconds
# ---- drawn
FAR_TILT = 15.0  # mrad
DRAWN_THICKNESS = {"start": 3.0, "stop": 99.0, "step": 6.0}  # nm
DRAWN_BEAMS = 250  # about so many, where the reach does not need more
SHORTEST, ROOM = 1.2, 1.02  # Å⁻¹; of what the reach needs
COARSE, COARSEST, ACROSS = 0.4, 0.9, 12  # mrad; directions in the radius of the smaller disc
# ---- fitted, and finer
TILT = 5.0  # mrad, of frames that are fitted
TILT_MAX = 5.5  # of their libraries
FIT_THICKNESS = (1.0, 101.0)  # nm
FINER_THICKNESS = {"start": 3.37, "stop": 99.97, "step": 8.05}
MORE_BEAMS, CLOSER = 1.15, 0.75  # times g_max, times the sampling


@dataclass(frozen=True)
class Case:
    """A crystal along a zone axis, at an energy (kV) and some semi-angles (mrad), the smallest first."""

    name: str
    zone: tuple[int, int, int]
    energy_kv: float
    semi_angles: tuple[float, ...]

    @property
    def cif(self) -> Path:
        """The file of the crystal."""
        return FOLDER / f"{self.name}.cif"

    def __str__(self) -> str:
        return f"{self.name} [{''.join(map(str, self.zone))}] {self.energy_kv:g} kV"

    def drawn(self) -> Recipe:
        """Of frames whose disc is looked for.

        It has no tilts but larger semi-angles: beams are stored by these, so that discs fill the frame.
        """
        reach = max(self.semi_angles) + FAR_TILT
        needed = ROOM * reach / (1e3 * wavelength(self.energy_kv))
        area = abs(float(np.linalg.det(project(self.crystal(), self.zone, None).basis)))
        affordable = math.sqrt(DRAWN_BEAMS * area / math.pi)
        return Recipe(
            cif=self.cif,
            zone=self.zone,
            energy_kv=self.energy_kv,
            g_max=math.ceil(100 * max(needed, min(SHORTEST, affordable))) / 100,
            semi_angle_max=reach,
            tilt_max=0.0,
            sampling=round(float(np.clip(min(self.semi_angles) / ACROSS, COARSE, COARSEST)), 2),
            thickness=DRAWN_THICKNESS,
        )

    def crystal(self) -> Crystal:
        """The crystal of the file."""
        from hybridfit.physics.crystal import Crystal

        return Crystal.from_cif(self.cif)

    def fitted(self) -> Recipe:
        """What `hybridfit new` designs for the smallest semi-angle; its numbers take minutes, and are kept.

        Raises
        ------
        InputError
            The library would be too large.
        """
        asked = {
            "energy_kv": self.energy_kv,
            "semi_angle": self.semi_angles[0],
            "tilt_max": TILT_MAX,
            "thickness": FIT_THICKNESS,
        }
        text = json.dumps([asked, self.zone, VERSION], sort_keys=True).encode() + self.cif.read_bytes()
        path = DATA / f"unseen-{self.name}-{hashlib.sha256(text).hexdigest()[:12]}.json"
        if not path.is_file():
            found = design(self.cif, self.zone, **asked)  # type: ignore[arg-type]
            start, stop, step = found.thickness
            numbers = {
                "in_plane": found.in_plane,
                "g_max": found.g_max,
                "semi_angle_max": found.semi_angle_max,
                "sampling": found.sampling,
                "thickness": {"start": start, "stop": stop, "step": step},
                "warnings": found.warnings(),
            }
            _write(path, numbers)
        numbers = json.loads(path.read_text(encoding="utf-8"))
        del numbers["warnings"]
        return Recipe(cif=self.cif, zone=self.zone, energy_kv=self.energy_kv, tilt_max=TILT_MAX, **numbers)

    def finer(self) -> Recipe:
        """Of frames that are fitted."""
        fitted = self.fitted()
        changes = {
            "g_max": round(MORE_BEAMS * fitted.g_max, 3),
            "sampling": round(CLOSER * fitted.sampling, 4),
            "thickness": FINER_THICKNESS,
        }
        return Recipe(**fitted.model_dump() | changes)


@cache
def cases() -> Mapping[str, Case]:
    """All of them by name, each along the first of its zone axes."""
    content = tomllib.loads((FOLDER / "zones.toml").read_text(encoding="utf-8"))
    return {
        name: Case(name, tuple(entry["zones"][0]), entry["energy_kv"], tuple(sorted(entry["semi_angles"])))
        for name, entry in content.items()
    }


def kept(kind: str, case: Case) -> Path:
    """Where a library of a kind ("drawn", "fitted", "finer") is, or will be."""
    recipe: Recipe = getattr(case, kind)()
    return DATA / f"unseen-{case.name}-{kind}-{recipe.checksum()[:12]}-v{VERSION}.nc"


def library_of(kind: str, case: Case) -> Library:
    """A library of a kind, in memory; it is built where it is not kept.

    Raises
    ------
    InputError, RecipeError
        It would be too large.
    """
    path = kept(kind, case)
    if not path.is_file():
        DATA.mkdir(exist_ok=True)
        Library.build(getattr(case, kind)(), slopes=kind == "fitted", diffuse=kind == "fitted").save(path)
    diffuse = library_of("fitted", case).diffuse if kind == "finer" else None
    return Library(Library.open(path).dataset.load(), diffuse=diffuse)


def _write(path: Path, numbers: dict[str, Any]) -> None:
    DATA.mkdir(exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
