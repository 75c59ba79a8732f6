"""How far too few beams, and where a crystal is cut, move a thickness: a minute a crystal.

Intensities I_g(q; t) of mean waves at random directions are compared with multislice of the same slab
(`benchmarks.slices`).  To first order the difference is

    I_other − I ≈ δt ∂I/∂t + f I

and δt, from least squares over all beams and directions at one thickness, is about what a fit would be off
by; f is an intensity factor.  No frame is fitted and no library is built, so every crystal takes part.

beams      the library's Bloch waves at some g_max, against multislice with BAND and thin slices
sampling   multislice as references have it (`benchmarks.reference_cases`), against the same
cut        multislice of slabs that begin and end elsewhere in the cell, against the same

Run with: python -m benchmarks.slab_shift [CRYSTAL…]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.common import Study, new_parser
from benchmarks.exact import problem
from benchmarks.reference_cases import CASES, Case
from benchmarks.slab import Cell, wavelength
from benchmarks.slices import Stack, intensities, solid
from benchmarks.truth import recipe_of
from hybridfit.library.recipe import Recipe, shipped_names
from hybridfit.physics import bloch, crystal
from hybridfit.physics.projection import project

DIRECTIONS, SEED = 20, 17
THICKNESS = np.arange(8.0, 61.0, 4.0)  # nm
SEMI_ANGLE, TILT, VIEW = 13.6, 2.0, 7.5  # mrad
G_MAX = (2.6, 2.9, 3.2)  # Å⁻¹, beside the recipe's own
BAND, SLICE = 5.0, 0.25  # Å⁻¹ and Å: gold changes by 0.005 nm from 4.5 to 5, others by 0.001
CUTS = (0.125, 0.25)  # of the cell; planes of atoms of most crystals are at 0 and ½
BAR, OWN_BAR = 0.02, 0.01  # nm
CPU = torch.device("cpu")


def shifts(found: np.ndarray, known: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """δt (nm) at every thickness; arrays (thickness, values)."""
    rows = zip(found, known, slope, strict=True)
    return np.array([np.linalg.lstsq(np.stack([d, i], 1), f - i, rcond=None)[0][0] for f, i, d in rows])


class Slab:
    """A crystal, cut into whole cells, and the directions it is seen from."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.cell = Cell.of(recipe.cif, recipe.zone, recipe.in_plane or (1, 0, 0))
        places = np.unique(np.round(self.cell.positions, 3) % 1, axis=0)
        if len(places) < len(self.cell.positions):
            raise ValueError("atoms that share a site are not independent, as the exact mean wave takes them")
        self.cells = np.unique(np.rint(10 * THICKNESS / self.cell.height).astype(int))
        self.thickness = self.cells * self.cell.height / 10
        self.to_mrad = 1e3 * wavelength(recipe.energy_kv)
        self.semi_angle = min(SEMI_ANGLE, recipe.semi_angle_max)
        rng = np.random.default_rng(SEED)
        radius = (self.semi_angle + TILT) * np.sqrt(rng.random(DIRECTIONS))
        azimuth = rng.uniform(0, 2 * np.pi, DIRECTIONS)
        self.q = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth)], 1) / self.to_mrad
        self.projection = project(crystal.Crystal.from_cif(recipe.cif), recipe.zone, recipe.in_plane)
        g = self.projection.beams((2 * self.semi_angle + VIEW) / self.to_mrad) @ self.projection.basis
        self.beams = np.rint(g * self.cell.lengths[:2]).astype(int)
        self.finest = 2 * int(np.ceil(self.cell.height / SLICE / 2))
        self.known = self.through(self.solid(BAND, self.finest), self.cells)
        around = np.unique(np.concatenate([self.cells - 1, self.cells + 1]))
        beside = self.through(self.solid(BAND, self.finest), around)
        low, high = (beside[np.searchsorted(around, self.cells + i)] for i in (-1, 1))
        self.slope = (high - low) / (2 * self.cell.height / 10)

    def solid(self, band: float, slices: int, cut: float = 0.0) -> Stack:
        """A cell whose mean wave is exact."""
        return solid(self.cell, band, self.recipe.energy_kv, slices=slices, cut=cut, corrected=True)

    def through(self, stack: Stack, cells: np.ndarray) -> np.ndarray:
        """Intensities of the beams within view, by multislice: (thickness, values)."""
        parts = intensities(
            stack, self.q, cells.tolist(), self.recipe.energy_kv, device=CPU, dtype=torch.complex128
        )
        every = np.concatenate([found for _, found in parts], axis=1)
        seen = every[:, :, self.beams[:, 0], self.beams[:, 1]]
        return seen.transpose(0, 2, 1).reshape(len(cells), -1).astype(float)

    def of_beams(self, g_max: float) -> np.ndarray:
        """δt of the library's Bloch waves."""
        matrix, _ = problem(self.recipe, g_max)
        table = bloch.beam_intensities(
            matrix, self.q, self.thickness, keep=len(self.beams), device="cpu", dtype=torch.complex128
        )
        return shifts(table.reshape(len(self.thickness), -1), self.known, self.slope)

    def of_sampling(self, band: float, slices: int) -> np.ndarray:
        """δt of a coarser multislice."""
        return shifts(self.through(self.solid(band, slices), self.cells), self.known, self.slope)

    def of_cut(self) -> np.ndarray:
        """δt of slabs that begin elsewhere, at the thickness where it is largest over the cuts."""
        found = [
            shifts(self.through(self.solid(BAND, self.finest, cut), self.cells), self.known, self.slope)
            for cut in CUTS
        ]
        return np.abs(found).max(axis=0)


def crystals() -> dict[str, tuple[Recipe, Case | None]]:
    """Recipes by name, shipped ones first, and the case of references that has the same crystal."""
    cases = {case.library or name: case for name, case in reversed(CASES.items())}
    shipped = {
        name: (Recipe.shipped(name).model_copy(update={"parameters": {}}), cases.get(name))
        for name in shipped_names()
    }
    return shipped | {name: (recipe_of(case), case) for name, case in cases.items() if not case.library}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("crystals", nargs="*", metavar="CRYSTAL", help="only these")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    study = Study("slab_shift", quick=options.quick)
    curves = {}
    there = crystals()
    for name in options.crystals or (["MgO"] if options.quick else there):
        recipe, case = there[name]
        try:
            slab = Slab(recipe)
        except ValueError as error:  # no orthogonal cell, or a cell with several atoms on one site
            study.note(f"{name} was left out: {error}")
            continue
        found = {g: slab.of_beams(g) for g in (recipe.g_max, *(() if options.quick else G_MAX))}
        for number, (g_max, off) in enumerate(found.items()):
            words = f"{name}, beams to {g_max:g} 1/Å{', of its recipe' if number == 0 else ''}"
            limit = {"at_most": BAR} if number == 0 and (case is None or case.library) else {}
            study.add(f"{words}: thickness, worst", np.abs(off).max(), "nm", **limit)
        if case is not None:
            own = np.abs(slab.of_sampling(case.band, case.slices)).max()
            study.add(f"{name}, sampling of its reference: thickness, worst", own, "nm", at_most=OWN_BAR)
        cut = slab.of_cut()
        study.add(f"{name}, cut elsewhere in the cell: thickness, rms", np.sqrt((cut**2).mean()), "nm")
        study.add(f"{name}, cut elsewhere in the cell: thickness, worst", cut.max(), "nm")
        curves[name] = {"thickness": slab.thickness.tolist(), "cut": cut.tolist()}
        curves[name]["beams"] = found[recipe.g_max].tolist()
        worst = np.abs(found[recipe.g_max]).max(), cut.max()
        print(f"{name}: beams {worst[0]:.3f} nm, cut {worst[1]:.3f} nm", flush=True)
    study.note("shifts of thickness to first order, from intensities alone: no fit, no background, no tilt")
    passed = study.finish(curves=curves)
    with study.figure(columns=2) as (_, axes):
        for name, curve in curves.items():
            axes[0].plot(curve["thickness"], curve["beams"], "o-", label=name)
            axes[1].plot(curve["thickness"], curve["cut"], "o-")
        axes[0].set(xlabel="thickness (nm)", ylabel="shift by beams that are missing (nm)")
        axes[0].legend(fontsize=6)
        axes[1].set(xlabel="thickness (nm)", ylabel="shift by where it is cut (nm)")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
