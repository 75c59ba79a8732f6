"""How far too few beams, and the closed form of the absorption, move a thickness: seconds a crystal.

Intensities I_g(q; t) at random directions are compared with multislice of the same slab
(`benchmarks.slices`).  To first order the difference is

    I_multislice − I_library ≈ δt ∂I/∂t + f I

and δt, from least squares over all beams and directions at one thickness, is about what a fit would be off
by; f is an intensity factor.  No frame is fitted and no library is built, so every shipped recipe takes part.

beams   multislice at rest, three-dimensional potentials, against the library's Bloch waves at some g_max
mean    the exact mean wave of vibrating atoms against the closed form, both by multislice, plane by plane

Run with: python -m benchmarks.slab_shift [RECIPE…]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.common import Study, new_parser
from benchmarks.exact import problem
from benchmarks.slab import Cell, wavelength
from benchmarks.slices import Stack, intensities, planes, solid
from hybridfit.library.recipe import Recipe, shipped_names
from hybridfit.physics import bloch, crystal
from hybridfit.physics.projection import project

DIRECTIONS, SEED = 20, 17
THICKNESS = np.arange(8.0, 61.0, 4.0)  # nm
SEMI_ANGLE, TILT, VIEW = 13.6, 2.0, 7.5  # mrad
G_MAX = (2.6, 2.9, 3.2)  # Å⁻¹, beside the recipe's own
BAND, PLANE_BAND = 3.2, 2.4  # Å⁻¹
STEP = 0.05  # nm, for ∂I/∂t
BAR = 0.02  # nm
CPU = torch.device("cpu")


def shifts(found: np.ndarray, known: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """δt (nm) at every thickness; arrays (thickness, values)."""
    rows = zip(found, known, slope, strict=True)
    return np.array([np.linalg.lstsq(np.stack([d, i], 1), f - i, rcond=None)[0][0] for f, i, d in rows])


class Slab:
    """A recipe's crystal, cut into whole cells, and the directions it is seen from."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.cell = Cell.of(recipe.cif, recipe.zone, recipe.in_plane or (1, 0, 0))
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

    def through(self, stack: Stack, cells: np.ndarray) -> np.ndarray:
        """Intensities of the beams within view, by multislice: (thickness, values)."""
        parts = intensities(stack, self.q, cells.tolist(), self.recipe.energy_kv, device=CPU)
        every = np.concatenate([found for _, found in parts], axis=1)
        seen = every[:, :, self.beams[:, 0], self.beams[:, 1]]
        return seen.transpose(0, 2, 1).reshape(len(cells), -1).astype(float)

    def bloch(self, g_max: float) -> tuple[np.ndarray, np.ndarray]:
        """The same by the library's Bloch waves, and its slope along the thickness."""
        matrix, _ = problem(self.recipe, g_max)
        times = (self.thickness[:, None] + [-STEP, 0, STEP]).ravel()
        table = bloch.beam_intensities(
            matrix, self.q, times, keep=len(self.beams), device="cpu", dtype=torch.complex128
        )
        low, middle, high = (table[i::3].reshape(len(self.thickness), -1) for i in range(3))
        return middle, (high - low) / (2 * STEP)

    def of_beams(self, values: Sequence[float]) -> dict[float, np.ndarray]:
        """δt of too few beams, for every g_max."""
        found = self.through(solid(self.cell, BAND, self.recipe.energy_kv), self.cells)
        return {g_max: shifts(found, *self.bloch(g_max)) for g_max in values}

    def of_mean(self) -> np.ndarray:
        """δt of the closed form of the absorption."""
        around = np.unique(np.concatenate([self.cells - 1, self.cells, self.cells + 1]))
        mean, closed = (
            self.through(planes(self.cell, PLANE_BAND, self.recipe.energy_kv, corrected=corrected), around)
            for corrected in (True, False)
        )
        at = np.searchsorted(around, self.cells)
        slope = (closed[at + 1] - closed[at - 1]) / (2 * self.cell.height / 10)
        return shifts(mean[at], closed[at], slope)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="only these")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    study = Study("slab_shift", quick=options.quick)
    curves = {}
    for name in options.recipes or (["Si_110_200kV"] if options.quick else shipped_names()):
        recipe = Recipe.shipped(name).model_copy(update={"parameters": {}})
        try:
            slab = Slab(recipe)
        except ValueError as error:  # no orthogonal cell, or a cell with several atoms on one site
            study.note(f"{name} was left out: {error}")
            continue
        found = slab.of_beams((recipe.g_max, *(() if options.quick else G_MAX)))
        for number, (g_max, off) in enumerate(found.items()):
            words = f"{name}, beams to {g_max:g} 1/Å{', as shipped' if number == 0 else ''}"
            limit = {"at_most": BAR} if number == 0 else {}
            study.add(f"{words}: thickness, worst", np.abs(off).max(), "nm", **limit)
        mean = slab.of_mean()
        study.add(f"{name}, closed form of the absorption: thickness, rms", np.sqrt((mean**2).mean()), "nm")
        study.add(f"{name}, closed form of the absorption: thickness, worst", np.abs(mean).max(), "nm")
        curves[name] = {"thickness": slab.thickness.tolist(), "mean": mean.tolist()}
        curves[name]["beams"] = found[recipe.g_max].tolist()
        worst = np.abs(found[recipe.g_max]).max(), np.abs(mean).max()
        print(f"{name}: beams {worst[0]:.3f} nm, closed form {worst[1]:.3f} nm", flush=True)
    study.note("shifts of thickness to first order, from intensities alone: no fit, no background, no tilt")
    passed = study.finish(curves=curves)
    with study.figure(columns=2) as (_, axes):
        for name, curve in curves.items():
            axes[0].plot(curve["thickness"], curve["beams"], "o-", label=name)
            axes[1].plot(curve["thickness"], curve["mean"], "o-")
        axes[0].set(xlabel="thickness (nm)", ylabel="shift by beams that are missing (nm)")
        axes[0].legend(fontsize=6)
        axes[1].set(xlabel="thickness (nm)", ylabel="shift by the closed form (nm)")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
