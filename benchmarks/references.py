"""References: elastic and diffuse intensities of crystals by multislice with exact potentials, kept in files.

Every case is one elastic file, `reference-NAME-elastic-KEY.nc`, and one file for each pair of phonon
configurations, `reference-NAME-pair1-KEY.nc`, …, in `benchmarks/data`.  Files that exist are not made again:
an interrupted run goes on where it was, and a later run adds pairs.  KEY follows from everything that the
numbers depend on.

elastic
    intensity (thickness_nm, beam, direction): of the mean wave ⟨ψ⟩ of a vibrating crystal, three-dimensional
    potentials, directions q of a grid; `slab` files have the closed-form absorption of the shipped libraries
pairs
    diffuse (thickness_nm, direction, px, py): per mrad², and the checks: spots, total

Run with: python -m benchmarks.references [CASE…] [--pairs N] [--slab] [--list]
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from benchmarks.directions import Directions
from benchmarks.reference_patterns import Reference, open_reference
from benchmarks.slab import Cell, wavelength
from benchmarks.slices import intensities, solid
from benchmarks.vibrating import Vibrating

VERSION = 1  # of the numbers in the files
DATA = Path(__file__).parent / "data"
SHIPPED, OWN = Path(__file__).parents[1] / "library", Path(__file__).parent / "crystals"
VIEW = 10.0  # mrad beyond the direct disc that frames show
MARGIN = 3  # grid points of the elastic table beyond the last direction that is needed
SLICES = 8
SLAB_SEMI_ANGLE, SLAB_TILT, SLAB_THICKEST = 13.6, 3.0, 60.0  # mrad, mrad, nm: of files of slabs
SLAB_STEP = 0.4  # mrad
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
    supercell: float = 30.0  # Å
    band: float = 3.2  # Å⁻¹, of the elastic part
    vibrating_band: float = 2.55  # Å⁻¹, of the diffuse part

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

    def cells_along(self) -> np.ndarray:
        """Thicknesses in whole cells."""
        wanted = [t for row in UP_TO.values() for t in row if t <= self.thickest]
        return np.unique(np.maximum(1, np.rint(10 * np.array(wanted) / self.cell.height)).astype(int))

    def key(self, part: str) -> str:
        """Of a part, from everything that its numbers depend on."""
        values = {k: v for k, v in asdict(self).items() if k not in ("name", "library")}
        values |= {
            "cell": np.round(self.cell.positions, 6).tolist(),
            "b": self.cell.b_factors.round(6).tolist(),
        }
        values |= {"t": self.cells_along().tolist(), "version": VERSION, "view": VIEW}
        for mine in (
            ("coarse_mrad", "supercell", "vibrating_band") if part == "elastic" else ("step_mrad", "band")
        ):
            del values[mine]
        return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:10]

    def path(self, part: str) -> Path:
        """The file of "elastic", "slab", "pair1", …"""
        kind = "elastic" if part in ("elastic", "slab") else "pair"
        return DATA / f"reference-{self.name}-{part}-{self.key(kind)}.nc"

    def pairs(self) -> list[Path]:
        """Files of pairs that are there."""
        numbered = (self.path(f"pair{n}") for n in range(1, 100))
        return [path for path in numbered if path.exists()]


def _titanate(name: str, b_scale: float = 1.0, **changes: Any) -> Case:
    base = Case(name, "SrTiO3.cif", (0, 0, 1), (1, 0, 0), 200.0, 13.6, 4.0, 60.0, "SrTiO3_001_200kV", b_scale)
    return replace(base, **changes)


CASES = {
    case.name: case
    for case in (
        _titanate("SrTiO3", semi_angle_max=19.1, tilt_max=8.0),
        _titanate("SrTiO3_thick", tilt_max=2.0, thickest=120.0),
        _titanate("SrTiO3_soft", 1.3),
        _titanate("SrTiO3_stiff", 0.75),
        Case(
            "PbTiO3",
            "PbTiO3.cif",
            (1, 0, 0),
            (0, 0, 1),
            200.0,
            13.6,
            3.0,
            46.0,
            "PbTiO3_100_200kV",
            polarity=1,
        ),
        Case("GaAs", "GaAs.cif", (1, 1, 0), (0, 0, 1), 200.0, 13.6, 3.0, 60.0, "GaAs_110_200kV", polarity=1),
        Case("Si", "Si.cif", (1, 1, 0), (0, 0, 1), 200.0, 13.6, 4.0, 60.0, "Si_110_200kV"),
        Case("rutile", "TiO2_rutile.cif", (0, 0, 1), (1, 1, 0), 80.0, 18.0, 4.0, 60.0, "TiO2_001_80kV"),
        Case("MgO", "MgO.cif", (0, 0, 1), (1, 0, 0), 120.0, 13.6, 4.0, 60.0),
        Case("GaN", "GaN.cif", (1, 1, 0), (0, 0, 1), 300.0, 12.0, 4.0, 60.0, polarity=1),
        Case("Au", "Au.cif", (0, 0, 1), (1, 0, 0), 300.0, 12.0, 4.0, 46.0),
    )
}


def resolve(device: str) -> torch.device:
    """ "auto" is a GPU if there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def elastic_table(case: Case, device: torch.device, *, corrected: bool = True) -> xr.Dataset:
    """I_g(q; t) of the mean wave; corrected=False: with the closed form of the absorption."""
    cell, wave = case.cell, wavelength(case.energy_kv)
    radius = case.reach + MARGIN * case.step_mrad
    directions = Directions.within(radius, (case.step_mrad, case.step_mrad), cell.symmetry())
    stack = solid(cell, case.band, case.energy_kv, slices=SLICES, cut=case.cut, corrected=corrected)
    n = [
        np.rint(g.ravel() * length).astype(int)
        for g, length in zip(stack.grid.g, cell.lengths[:2], strict=True)
    ]
    index = np.stack(np.meshgrid(*n, indexing="ij"), -1).reshape(-1, 2)
    mrad = 1e3 * wave * index / cell.lengths[:2]
    seen = np.flatnonzero(np.linalg.norm(mrad, axis=1) <= 2 * case.semi_angle_max + VIEW)
    cells = case.cells_along()
    table = np.empty((len(cells), len(seen), len(directions.solved)), np.float32)
    q = directions.solved_mrad / (1e3 * wave)
    said = Progress(
        f"{case.name} elastic, {len(q)} directions, {stack.grid.n} points, {SLICES} slices a cell"
    )
    for where, found in intensities(stack, q, cells.tolist(), case.energy_kv, device=device, progress=said):
        flat = found.reshape(*found.shape[:2], -1)
        table[:, :, where] = flat[:, :, seen].transpose(0, 2, 1)
    return xr.Dataset(
        {
            "intensity": (("thickness_nm", "beam", "direction"), table),
            "beams": (("beam", "xy"), index[seen]),
            "beam_mrad": (("beam", "xy"), mrad[seen]),
        },
        {"thickness_nm": cells * cell.height / 10},
        _attributes(case, directions, radius),
    )


def diffuse_pair(case: Case, seed: int, device: torch.device) -> xr.Dataset:
    """D(p; q; t) of two configurations of opposite displacements."""
    cell = case.cell
    repeats = np.maximum(1, np.rint(case.supercell / cell.lengths[:2])).astype(int)
    vibrating = Vibrating(
        cell, (int(repeats[0]), int(repeats[1])), case.energy_kv, case.vibrating_band, device
    )
    samples = np.maximum(1, np.rint(case.coarse_mrad / vibrating.sample_mrad)).astype(int)
    step = samples * vibrating.sample_mrad
    radius = case.reach + 0.5 * float(step.max())
    directions = Directions.within(radius, step.tolist(), cell.symmetry())
    reach = np.ceil((case.reach + VIEW) / vibrating.sample_mrad).astype(int)
    cells = case.cells_along()
    size = f"{len(directions.solved)} directions, {repeats} cells, {vibrating.grid.n} points"
    print(f"{case.name} pair {seed}: {size}", flush=True)
    diffuse, spots, total = vibrating.pair(
        directions.solved * samples, cells.tolist(), seed, (int(reach[0]), int(reach[1]))
    )
    return xr.Dataset(
        {
            "diffuse": (("thickness_nm", "direction", "px", "py"), diffuse),
            "spots": (("thickness_nm", "direction", "h", "k"), spots),
            "total": (("thickness_nm", "direction"), total),
        },
        {"thickness_nm": cells * cell.height / 10},
        _attributes(case, directions, radius) | {"sample_mrad": vibrating.sample_mrad, "seed": seed},
    )


def _attributes(case: Case, directions: Directions, radius: float) -> dict[str, Any]:
    return {
        "case": case.name,
        "radius_mrad": radius,
        "step_mrad": directions.step,
        "operations": np.concatenate([m.ravel() for m in directions.operations]),
        "height_nm": case.cell.height / 10,
        "energy_kV": case.energy_kv,
    }


@dataclass
class Progress:
    """Prints how far a computation is, now and then."""

    what: str
    started: float = field(default_factory=time.perf_counter)
    said: float = 0.0

    def __call__(self, fraction: float) -> None:
        """Say so, at most once in twenty seconds."""
        if time.perf_counter() - self.said > 20:
            self.said = time.perf_counter()
            print(f"  {self.what}: {fraction:.0%}, {self.said - self.started:.0f} s", flush=True)


def keep(path: Path, dataset: xr.Dataset) -> None:
    """Write a dataset; an interrupted write leaves no file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".nc.tmp")
    dataset.to_netcdf(partial, engine="netcdf4")
    partial.replace(path)


def slab_of(case: Case) -> Case:
    """The part of a case that tells whether a library's Bloch waves are those of its slab."""
    return replace(
        case,
        semi_angle_max=min(case.semi_angle_max, SLAB_SEMI_ANGLE),
        tilt_max=min(case.tilt_max, SLAB_TILT),
        thickest=min(case.thickest, SLAB_THICKEST),
        step_mrad=SLAB_STEP,
    )


def make(case: Case, pairs: int, device: torch.device, *, slab: bool = False) -> None:
    """Make the files of a case that are not there yet."""
    parts = ["slab"] if slab else ["elastic", *(f"pair{n}" for n in range(1, pairs + 1))]
    case = slab_of(case) if slab else case
    for part in parts:
        path = case.path(part)
        if path.exists():
            print(f"{path.name}: exists, skipped", flush=True)
            continue
        start = time.perf_counter()
        if part.startswith("pair"):
            dataset = diffuse_pair(case, int(part.removeprefix("pair")), device)
        else:
            dataset = elastic_table(case, device, corrected=part == "elastic")
        seconds = time.perf_counter() - start
        keep(path, dataset.assign_attrs(seconds=seconds, device=device.type, threads=torch.get_num_threads()))
        print(f"{path.name}: {seconds:.0f} s, {path.stat().st_size / 1e6:.0f} MB", flush=True)


def reference(case: Case, *, slab: bool = False, diffuse: bool = True) -> Reference:
    """Open what there is of a case; without the diffuse part, what is left is the mean wave.

    Raises
    ------
    FileNotFoundError
        Its elastic file is not there.
    """
    if slab:
        return open_reference(slab_of(case).path("slab"), [])
    return open_reference(case.path("elastic"), case.pairs() if diffuse else [])


def main(arguments: Sequence[str] | None = None) -> int:
    """Make references."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--pairs", type=int, default=4, help="pairs of phonon configurations")
    parser.add_argument(
        "--slab", action="store_true", help="only the elastic part, with closed-form absorption"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--list", action="store_true", help="say what is there")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.cases if name not in CASES]
    if unknown:
        parser.error(f"no case is called {unknown[0]!r}; there are {', '.join(CASES)}")
    for name in options.cases or CASES:
        case = CASES[name]
        if options.list:
            files = {"slab": slab_of(case).path("slab"), "elastic": case.path("elastic")}
            there = [part for part, path in files.items() if path.exists()]
            print(f"{name}: {', '.join(there) or 'no elastic part'}, {len(case.pairs())} pairs")
        else:
            make(case, options.pairs, resolve(options.device), slab=options.slab)
    return 0


if __name__ == "__main__":
    sys.exit(main())
