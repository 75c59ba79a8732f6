"""The crystals that there are references of, and the files that these are in.

A key in the name of a file follows from everything that its numbers depend on.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.slab import Cell

VERSION = 1  # of the numbers in the files
DATA = Path(__file__).parent / "data"
SHIPPED, OWN = Path(__file__).parents[1] / "library", Path(__file__).parent / "crystals"
VIEW = 10.0  # mrad beyond the direct disc that frames show
FAR_VIEW = 26.0  # mrad, where a pattern reaches as far to one side as it is tilted
FAR_NM = (8, 10, 13, 16, 20, 24, 29, 35, 41, 48, 54, 60)  # nm
LATER = ("thicknesses", "view_mrad")  # fields that no case had when its file was named
UP_TO = {
    60.0: (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 22, 25, 28, 31, 35, 38, 42, 46, 50, 55, 60),
    120.0: (66, 72, 80, 88, 97, 107, 119),
}  # nm


@dataclass(frozen=True)
class Case:
    """A crystal, its zone axis, and what of it is wanted.

    Parameters
    ----------
    cif, zone, in_plane, energy_kv
        As in a recipe.
    library : str
        The shipped recipe that patterns of this case are fitted with, "" for a crystal that is not shipped.
    semi_angle_max, tilt_max : mrad
    thickest : nm
    b_scale : float, of all Debye–Waller factors
    polarity : int, −1 for the inverted crystal, 0 where it has none
    structure : values of the structural parameters that the library is to be fitted with
    cut : float, height at which the slab is cut (fraction of the cell)
    step_mrad, coarse_mrad : mrad, between directions of the elastic part and of the pairs
    supercell : Å, of the pairs
    band : Å⁻¹, of the elastic part; with 3.2 GaN is off by 0.05 nm, gold by 0.1
    slice_height : Å, the thickest slice of the elastic part; with 0.5 MgO is off by 0.02 nm
    vibrating_band : Å⁻¹, of the pairs
    thicknesses : nm, those wanted in place of UP_TO up to `thickest`
    view_mrad : mrad beyond the direct disc that frames may show
    """

    name: str
    cif: str
    zone: tuple[int, int, int]
    in_plane: tuple[int, int, int]
    energy_kv: float
    semi_angle_max: float
    tilt_max: float
    thickest: float
    library: str = ""
    b_scale: float = 1.0
    polarity: int = 0
    cut: float = 0.0
    step_mrad: float = 0.5
    coarse_mrad: float = 2.4
    supercell: float = 30.0
    band: float = 4.0
    slice_height: float = 0.27
    vibrating_band: float = 2.55
    thicknesses: tuple[float, ...] = ()
    view_mrad: float = VIEW

    @property
    def cell(self) -> Cell:
        """The orthogonal cell."""
        folder = OWN if (OWN / self.cif).exists() else SHIPPED
        cell = Cell.of(folder / self.cif, self.zone, self.in_plane).vibrating(self.b_scale)
        return cell.inverted() if self.polarity < 0 else cell

    @property
    def reach(self) -> float:
        """The largest angle of an incident direction, mrad."""
        return self.semi_angle_max + self.tilt_max

    @property
    def slices(self) -> int:
        """In a cell, of the elastic part: an even number."""
        return 2 * int(np.ceil(self.cell.height / self.slice_height / 2))

    def cells_along(self) -> np.ndarray:
        """Thicknesses in whole cells."""
        wanted = self.thicknesses or [t for row in UP_TO.values() for t in row if t <= self.thickest]
        return np.unique(np.maximum(1, np.rint(10 * np.array(wanted) / self.cell.height)).astype(int))

    def key(self, part: str) -> str:
        """Of a part, from everything that its numbers depend on."""
        values = {k: v for k, v in asdict(self).items() if k not in ("name", "library", *LATER)}
        values |= {
            "cell": np.round(self.cell.positions, 6).tolist(),
            "b": self.cell.b_factors.round(6).tolist(),
        }
        values |= {"t": self.cells_along().tolist(), "version": VERSION, "view": self.view_mrad}
        for mine in (
            ("coarse_mrad", "supercell", "vibrating_band")
            if part == "elastic"
            else ("step_mrad", "band", "slice_height")
        ):
            del values[mine]
        return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:10]

    def path(self, part: str) -> Path:
        """The file of "elastic", "pair1", …"""
        kind = "elastic" if part == "elastic" else "pair"
        return DATA / f"reference-{self.name}-{part}-{self.key(kind)}.nc"

    def pairs(self) -> list[Path]:
        """Files of pairs that are there."""
        numbered = (self.path(f"pair{n}") for n in range(1, 100))
        return [path for path in numbered if path.exists()]


PEROVSKITE: Any = {"zone": (0, 0, 1), "in_plane": (1, 0, 0)}
ZINCBLENDE: Any = {"zone": (1, 1, 0), "in_plane": (0, 0, 1)}
USUAL: Any = {"energy_kv": 200.0, "semi_angle_max": 13.6, "tilt_max": 4.0, "thickest": 60.0}
TITANATE: Any = USUAL | PEROVSKITE | {"cif": "SrTiO3.cif", "library": "SrTiO3_001_200kV"}
LEAD_TITANATE: Any = USUAL | {
    "cif": "PbTiO3.cif",
    "library": "PbTiO3_100_200kV",
    "zone": (1, 0, 0),
    "in_plane": (0, 0, 1),
    "polarity": 1,
}
ARSENIDE: Any = USUAL | ZINCBLENDE | {"cif": "GaAs.cif", "library": "GaAs_110_200kV", "polarity": 1}
RUTILE: Any = USUAL | {
    "cif": "TiO2_rutile.cif",
    "library": "TiO2_001_80kV",
    "zone": (0, 0, 1),
    "in_plane": (1, 1, 0),
    "energy_kv": 80.0,
}
SHORT: Any = {"tilt_max": 2.7}

CASES = {
    case.name: case
    for case in (
        Case("SrTiO3", **TITANATE | {"semi_angle_max": 19.1, "tilt_max": 8.0}),
        Case("SrTiO3_thick", **TITANATE | {"tilt_max": 2.0, "thickest": 120.0}),
        Case("SrTiO3_soft", **TITANATE, b_scale=1.3),
        Case("SrTiO3_stiff", **TITANATE, b_scale=0.75),
        Case("PbTiO3", **LEAD_TITANATE | {"tilt_max": 3.0, "thickest": 46.0}),
        Case("GaAs", **ARSENIDE | {"tilt_max": 3.0}),
        Case("Si", **USUAL | ZINCBLENDE, cif="Si.cif", library="Si_110_200kV"),
        Case("rutile", **RUTILE | {"semi_angle_max": 18.0}),
        Case("SrTiO3_011", **TITANATE | SHORT | {"zone": (0, 1, 1), "library": "SrTiO3_011_200kV"}),
        Case(
            "LaMnO3",
            **USUAL | PEROVSKITE | SHORT | {"thickest": 46.0},
            cif="LaMnO3_cubic.cif",
            library="LaSrMnO3_001_200kV",
        ),
        Case("MgO", **USUAL | PEROVSKITE | {"energy_kv": 120.0}, cif="MgO.cif"),
        Case(
            "GaN",
            **USUAL | ZINCBLENDE | {"energy_kv": 300.0, "semi_angle_max": 12.0},
            polarity=1,
            band=4.5,
            cif="GaN.cif",
        ),
        Case(
            "Au",
            **USUAL | PEROVSKITE | {"energy_kv": 300.0, "semi_angle_max": 12.0, "thickest": 46.0},
            band=4.5,
            cif="Au.cif",
        ),
    )
}
# what the structure is fitted from (`benchmarks.vary`): few directions, so that it is made in minutes
STRUCTURE = Case("SrTiO3_structure", **TITANATE | {"semi_angle_max": 9.0, "tilt_max": 2.0, "thickest": 38.0})
NAMED = {**CASES, STRUCTURE.name: STRUCTURE}  # made where they are asked for
ELASTIC_ONLY = "SrTiO3_011", "LaMnO3"

# far from the zone axis: `benchmarks.far_tilts`
FAR: Any = {
    "semi_angle_max": 10.0,
    "tilt_max": 15.0,
    "thickest": 60.0,
    "thicknesses": FAR_NM,
    "view_mrad": FAR_VIEW,
}
FAR_CASES = {
    case.name: case
    for case in (
        Case("SrTiO3_far", **TITANATE | FAR | {"library": ""}),
        Case("MgO_far", **PEROVSKITE | FAR, cif="MgO.cif", energy_kv=120.0),
        Case("GaN_far", **ZINCBLENDE | FAR, cif="GaN.cif", energy_kv=300.0, polarity=1, coarse_mrad=3.0),
        Case("SrTiO3_far_wide", **TITANATE | FAR | {"library": "", "semi_angle_max": 20.0}),
    )
}
