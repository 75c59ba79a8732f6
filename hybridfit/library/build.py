"""Building a library: from a recipe to I_g(q; t) on a grid, in an `xarray.Dataset` or straight into a file.

`library.plan` decides what is solved.  A file is written block by block, as directions are solved, so that
intensities, which are most of a library, are never all in memory.  Slopes and the diffuse table are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.library.approximation import APPROXIMATION, approximation
from hybridfit.library.contents import ORDERS
from hybridfit.library.crystals import StructuralChange as StructuralChange
from hybridfit.library.diffuse import with_diffuse
from hybridfit.library.grid import sampling_of
from hybridfit.library.integrity import blocks_of
from hybridfit.library.plan import Plan, directions_within
from hybridfit.library.recipe import Recipe
from hybridfit.library.settings import BUILD, roughly
from hybridfit.library.slopes import solve_slopes, with_slopes
from hybridfit.library.writing import LibraryFile
from hybridfit.quantities import quantity

FORMAT = "hybridfit library"
VERSION = 6  # of the physics: libraries of another version hold other numbers
NOTES = "assumed"  # what the crystal's file did not say
FOLDED = BUILD.folded
BEYOND_DISC = BUILD.beyond_disc
DIFFUSE_TIME = 0.7  # of the solve, roughly
ABOUT = {"units": "1", "long_name": "diffracted intensity, incident intensity = 1"}
Progress = Callable[[float], None]
# takes (thickness, beam, d) of a crystal, whose place is (values of structural parameters…, :, :, directions)
Put = Callable[[tuple[Any, ...], NDArray[np.float32]], None]


def solve(
    recipe: Recipe,
    parameters: Mapping[str, StructuralChange] | None = None,
    *,
    device: str = "auto",
    slopes: bool = True,
    diffuse: bool = True,
    progress: Progress | None = None,
) -> xr.Dataset:
    """The dataset of a recipe's library, in memory; parameters and errors as for `Library.build`."""
    plan = Plan.of(recipe, parameters, whole=True)
    share = _share(slopes, diffuse)
    shape = (*plan.shape, len(plan.thickness), plan.stored, len(plan.directions))
    intensity = np.empty(shape, np.float32)
    _solve(plan, intensity.__setitem__, device, progress, share)
    dataset = described(plan, device)
    dataset = dataset.assign(intensity=(dataset.intensity.dims, intensity, ABOUT))
    return _with_rest(dataset, plan, slopes, diffuse, device, progress)


def solve_into(path: Path, recipe: Recipe, *, device: str = "auto", progress: Progress | None = None) -> None:
    """Write the library of a recipe: whole, or not at all; errors as for `Library.build`, and

    Raises
    ------
    LibraryError
        The disk is full, or refuses.
    """
    plan = Plan.of(recipe)
    dims = (*plan.changes, "thickness", "beam", "direction")
    shape = (*plan.shape, len(plan.thickness), plan.stored, len(plan.directions))
    with LibraryFile(path, dims, shape, plan.block, ABOUT) as file:
        _solve(plan, file.put, device, progress, _share(True, True))
        file.finish(_with_rest(described(plan, device), plan, True, True, device, progress))


def _share(slopes: bool, diffuse: bool) -> float:
    """Of the time, for intensities."""
    return 1 / (1 + (3 / BUILD.coarser**2 if slopes else 0) + (DIFFUSE_TIME if diffuse else 0))


def _solve(plan: Plan, put: Put, device: str, progress: Progress | None, share: float) -> None:
    """Hand all intensities out, by crystal and by block of directions."""
    blocks = blocks_of(len(plan.directions), plan.block)
    jobs = [(i, part) for i in range(len(plan.projections)) for part in blocks]
    for done, (i, part) in enumerate(jobs):
        some = None if progress is None else partial(_report, progress, share, done, len(jobs))
        where = np.unravel_index(i, plan.shape) if plan.shape else ()
        put(
            (*map(int, where), slice(None), slice(None), part),
            plan.intensities(i, part, device=device, progress=some),
        )


def described(plan: Plan, device: str) -> xr.Dataset:
    """The dataset of a library with zeros for its intensities: what is solved, and for what."""
    recipe, changes, projection = plan.recipe, plan.changes, plan.projections[0]
    orders = np.array([each.rotation_order for each in plan.projections]).reshape(plan.shape)
    moving, basis = _varying(dict(zip(changes, plan.shape, strict=True)), plan.bases)
    q = plan.directions @ (basis / plan.sampling[:, None])
    off = approximation(
        projection,
        plan.every,
        (plan.strong, plan.stored),
        recipe.energy_kv,
        (plan.radius, plan.outer),
        plan.thickness,
        device=device,
    )
    beams = plan.every[: plan.stored]
    hkl = beams @ projection.basis_hkl
    notes, shape = plan.structure.notes, (*plan.shape, len(plan.thickness), plan.stored, len(plan.directions))
    zeros = np.broadcast_to(np.float32(0), shape)  # which take no memory
    return xr.Dataset(
        {
            "intensity": ((*changes, "thickness", "beam", "direction"), zeros, ABOUT),
            "basis": ((*moving, "vector", "axis"), basis, {"units": "mrad"}),
            "sampling": ("vector", plan.sampling, {"long_name": "directions per basis vector"}),
            "symmetry": (("operation", "vector", "vector_in"), projection.symmetry),
            "beam_n": (("beam", "vector"), beams),
            "direction_n": (("direction", "vector"), plan.directions),
            **({ORDERS: (tuple(changes), orders)} if plan.shape else {}),
        },
        coords={
            **{name: (name, list(d.values), _about(name, d)) for name, d in changes.items()},
            "thickness": ("thickness", plan.thickness, quantity("thickness").attrs),
            **{name: ("beam", hkl[:, i]) for i, name in enumerate("hkl")},
            "qx": ((*moving, "direction"), q[..., 0], {"units": "mrad"}),
            "qy": ((*moving, "direction"), q[..., 1], {"units": "mrad"}),
        },
        attrs={
            "format": FORMAT,
            "version": VERSION,
            "checksum": plan.checksum,
            "recipe": json.dumps(recipe.model_dump(mode="json", exclude={"cif"})),
            "crystal": recipe.cif.stem,
            "formula": _formula(plan.structure.elements, plan.structure.occupancies),
            "zone": list(recipe.zone),
            "energy_kv": recipe.energy_kv,
            "semi_angle_max_mrad": recipe.semi_angle_max,
            "tilt_max_mrad": recipe.tilt_max,
            "rotation_order": int(np.gcd.reduce(orders, axis=None)),
            APPROXIMATION: off,
            **({NOTES: "; ".join(notes)} if notes else {}),
        },
    )


def _with_rest(
    dataset: xr.Dataset, plan: Plan, slopes: bool, diffuse: bool, device: str, progress: Progress | None
) -> xr.Dataset:
    """A dataset with its diffuse table and its slopes, as far as they are wanted."""
    share, recipe = _share(slopes, diffuse), plan.recipe
    if diffuse:
        part = None if progress is None else partial(_rest, progress, share, share * DIFFUSE_TIME)
        dataset = with_diffuse(
            dataset, plan.projections, plan.every, plan.fewer, recipe, device=device, progress=part
        )
    if not slopes:
        return dataset
    symmetry = plan.projections[0].symmetry
    steps = [sampling_of(each, symmetry, BUILD.coarser * recipe.sampling) for each in plan.cells]
    coarse = np.max(steps, axis=0)
    where = directions_within(plan.cells / coarse[:, None], symmetry, recipe.semi_angle_max + recipe.tilt_max)
    rest = 3 / BUILD.coarser**2 * share
    found = solve_slopes(
        plan.projections,
        plan.every,
        (plan.fewer, plan.stored),
        recipe.energy_kv,
        [plan.wavevectors(i, where, coarse) for i in range(len(plan.projections))],
        plan.thickness,
        outer=roughly(recipe.g_max),
        device=device,
        progress=None if progress is None else partial(_rest, progress, 1 - rest, rest),
    )
    return with_slopes(dataset, found, coarse, where)


def _varying(sizes: Mapping[str, int], bases: NDArray[Any]) -> tuple[tuple[str, ...], NDArray[Any]]:
    """The structural parameters that a basis depends on, and the bases (value of each, …, 2, 2)."""
    basis = bases.reshape(*sizes.values(), 2, 2)
    moving: list[str] = []
    for name in sizes:
        place = len(moving)
        if np.allclose(basis, basis.take([0], place), rtol=1e-9, atol=1e-9 * np.abs(bases).max()):
            basis = basis.take(0, place)
        else:
            moving.append(name)
    return tuple(moving), basis


def _about(name: str, change: StructuralChange) -> dict[str, str]:
    return {**quantity(name, change.unit).attrs, "kind": str(change.kind)}


def _report(progress: Progress, share: float, done: int, count: int, fraction: float) -> None:
    progress(share * (done + fraction) / count)


def _rest(progress: Progress, before: float, share: float, fraction: float) -> None:
    progress(before + share * fraction)


def _formula(elements: tuple[str, ...], occupancies: NDArray[Any]) -> str:
    counts: dict[str, float] = {}
    for element, occupancy in zip(elements, occupancies, strict=True):
        counts[element] = counts.get(element, 0) + float(occupancy)
    return "".join(f"{e}{n:.3g}" if abs(n - 1) > 1e-6 else e for e, n in counts.items())
