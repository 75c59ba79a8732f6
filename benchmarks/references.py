"""References: elastic and diffuse intensities of crystals by multislice with exact potentials, kept in files.

Every case is one elastic file, `reference-NAME-elastic-KEY.nc`, and one file for each pair of phonon
configurations, `reference-NAME-pair1-KEY.nc`, …, in `benchmarks/data`.  Files that exist are not made again:
an interrupted run goes on where it was, within an elastic file too, and a later run adds pairs.  KEY follows
from everything that the numbers depend on (`benchmarks.reference_cases`).  Without names, all cases are made
but those far from the zone axis, which `benchmarks.far_tilts` has.

elastic
    intensity (thickness_nm, beam, direction): of the mean wave ⟨ψ⟩ of a vibrating crystal, three-dimensional
    potentials, directions q of a grid; `benchmarks.slab_shift` says what finer slices and more beams change
pairs
    diffuse (thickness_nm, direction, px, py): per mrad², and the checks: spots, total

Run with: python -m benchmarks.references [CASE…] [--pairs N] [--list]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from benchmarks.directions import Directions
from benchmarks.reference_cases import CASES, ELASTIC_ONLY, FAR_CASES, NAMED, Case
from benchmarks.reference_patterns import Reference, open_reference
from benchmarks.slab import wavelength
from benchmarks.slices import intensities, solid
from benchmarks.vibrating import Vibrating

MARGIN = 3  # grid points of the elastic table beyond the last direction that is needed
KEPT_EVERY = 60.0  # s: so often the unfinished elastic part is put on disk


def resolve(device: str) -> torch.device:
    """ "auto" is a GPU if there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def elastic_table(case: Case, device: torch.device, unfinished: Path | None = None) -> xr.Dataset:
    """I_g(q; t) of the mean wave; what is done of it is kept in a file `unfinished`, and read from there."""
    cell, wave = case.cell, wavelength(case.energy_kv)
    radius = case.reach + MARGIN * case.step_mrad
    directions = Directions.within(radius, (case.step_mrad, case.step_mrad), cell.symmetry())
    stack = solid(cell, case.band, case.energy_kv, slices=case.slices, cut=case.cut, corrected=True)
    n = [
        np.rint(g.ravel() * length).astype(int)
        for g, length in zip(stack.grid.g, cell.lengths[:2], strict=True)
    ]
    index = np.stack(np.meshgrid(*n, indexing="ij"), -1).reshape(-1, 2)
    mrad = 1e3 * wave * index / cell.lengths[:2]
    seen = np.flatnonzero(np.linalg.norm(mrad, axis=1) <= 2 * case.semi_angle_max + case.view_mrad)
    cells = case.cells_along()
    table = np.empty((len(cells), len(seen), len(directions.solved)), np.float32)
    q = directions.solved_mrad / (1e3 * wave)
    begun, saved = 0, time.perf_counter()
    if unfinished is not None and unfinished.exists():
        part = np.load(unfinished)
        begun = part.shape[2]
        table[:, :, :begun] = part
    said = Progress(
        f"{case.name} elastic, {len(q)} directions, {stack.grid.n} points, {case.slices} slices a cell"
    )
    rest = intensities(stack, q[begun:], cells.tolist(), case.energy_kv, device=device, progress=said)
    for where, found in rest:
        flat, done = found.reshape(*found.shape[:2], -1), begun + where.stop
        table[:, :, begun + where.start : done] = flat[:, :, seen].transpose(0, 2, 1)
        if unfinished is not None and time.perf_counter() - saved > KEPT_EVERY:
            saved = time.perf_counter()
            put(unfinished, table[:, :, :done])
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
    reach = np.ceil((case.reach + case.view_mrad) / vibrating.sample_mrad).astype(int)
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


def put(path: Path, values: np.ndarray) -> None:
    """Write an array; an interrupted write leaves the file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp.npy")
    np.save(partial, values)
    partial.replace(path)


def make(case: Case, pairs: int, device: torch.device) -> None:
    """Make the files of a case that are not there yet."""
    parts = ["elastic", *(f"pair{n}" for n in range(1, pairs + 1))]
    for part in parts:
        path = case.path(part)
        if path.exists():
            print(f"{path.name}: exists, skipped", flush=True)
            continue
        start, unfinished = time.perf_counter(), path.with_suffix(".unfinished.npy")
        if part.startswith("pair"):
            dataset = diffuse_pair(case, int(part.removeprefix("pair")), device)
        else:
            dataset = elastic_table(case, device, unfinished)
        seconds = time.perf_counter() - start
        keep(path, dataset.assign_attrs(seconds=seconds, device=device.type, threads=torch.get_num_threads()))
        unfinished.unlink(missing_ok=True)
        print(f"{path.name}: {seconds:.0f} s, {path.stat().st_size / 1e6:.0f} MB", flush=True)


def reference(case: Case, *, diffuse: bool = True) -> Reference:
    """Open what there is of a case; without the diffuse part, what is left is the mean wave.

    Raises
    ------
    FileNotFoundError
        Its elastic file is not there.
    """
    return open_reference(case.path("elastic"), case.pairs() if diffuse else [])


def main(arguments: Sequence[str] | None = None) -> int:
    """Make references."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    every = NAMED | FAR_CASES
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"of {', '.join(every)}; {', '.join(CASES)} by default"
    )
    parser.add_argument("--pairs", type=int, default=4, help="pairs of phonon configurations")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--list", action="store_true", help="say what is there")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.cases if name not in every]
    if unknown:
        parser.error(f"no case is called {unknown[0]!r}; there are {', '.join(every)}")
    for name in options.cases or CASES:
        case = every[name]
        if options.list:
            there = "elastic part" if case.path("elastic").exists() else "no elastic part"
            print(f"{name}: {there}, {len(case.pairs())} pairs")
        else:
            pairs = 0 if name in ELASTIC_ONLY else options.pairs
            make(case, pairs, resolve(options.device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
