"""How much higher-order Laue zones (HOLZ) change the patterns of the shipped recipes.

The library solves the zero-order zone.  Here a few directions are solved with the beams of the zones
±1 and ±2, too, as far as they are near the Ewald sphere, by one complex eigen-solve each,

    M_gh = U_{g−h} + iU'_{g−h},      M_gg = |K|² − |K + g|² = −2 K_n g_z − |q + g_t|² + |q|² − g_z²,

divided by √(1 + g_z/K_n) on either side because the zones differ in their normal components [1], and
compared with the solve of the zero-order beams alone: intensities of the beams that the library stores,
summed into patterns at random points, as fractions of the largest of them: of the maximum of the pattern
the changes are somewhat less.

.. [1] Lewis, Villagrana & Metherell, Acta Cryst. A34 (1978) 138.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.exact import Sample
from hybridfit import building
from hybridfit.physics import crystal, scattering
from hybridfit.recipe import Recipe, shipped_names

G_ZERO = 1.6  # Å⁻¹: of the zero-order beams in both solves; what more of them change is `accuracy`
ZONES = (-2, -1, 1, 2)
NEAR = 0.01  # Å⁻¹: excitation errors of the HOLZ beams that take part
ON_AXIS = 0.08  # Å⁻¹: the same on the zone axis, of beams that come near for some direction
REACH = 6.5  # Å⁻¹: longest of them
SEMI_ANGLE, TILT, TILTS = 10.0, 2.0, 1  # mrad, mrad, random tilts
THICKNESS = (10.0, 20.0, 40.0, 60.0)  # nm
BAR = 1e-3
QUICK_NAMES = ("SrTiO3_001_200kV",)


def holz_beams(projection: crystal.Projection, k: float) -> np.ndarray:
    """(b, 3) Miller indices of the beams of ZONES near the Ewald sphere of radius k (Å⁻¹)."""
    basis = projection.crystal.reciprocal_basis
    zone = np.array(projection.zone)
    axis = zone @ projection.crystal.direct_basis
    span = np.ceil(REACH * np.array(projection.crystal.cell[:3])).astype(int)
    out = []
    for h in range(-span[0], span[0] + 1):
        hkl = np.stack(np.meshgrid(h, np.arange(-span[1], span[1] + 1), np.arange(-span[2], span[2] + 1)))
        hkl = hkl.reshape(3, -1).T
        hkl = hkl[np.isin(hkl @ zone // np.gcd.reduce(zone), ZONES)]
        g = hkl @ basis
        along = g @ axis / np.linalg.norm(axis)
        length2 = (g**2).sum(axis=1)
        excitation = -(2 * k * along + length2) / (2 * k)
        near = (np.abs(excitation) < ON_AXIS) & (length2 < REACH**2)
        out.append(hkl[near])
    found = np.concatenate(out)
    phases = found @ projection.crystal.centring_translations().T
    return found[(np.abs(phases - phases.round()) < 1e-3).all(axis=1)]


class Solver:
    """Patterns of a crystal, with and without HOLZ beams."""

    def __init__(self, recipe: Recipe) -> None:
        structure = last_crystal(recipe)
        self.projection = crystal.project(structure, recipe.zone, recipe.in_plane)
        wavelength = scattering.wavelength(recipe.energy_kv)
        self.to_mrad, self.kv = wavelength * 1e3, recipe.energy_kv
        zero = self.projection.beams(G_ZERO) @ self.projection.basis_hkl
        origin = np.zeros((1, 3), int)
        self.k = float(
            np.sqrt(wavelength**-2 + scattering.structure_factors(structure, origin, self.kv)[0][0].real)
        )
        self.holz = holz_beams(self.projection, self.k)
        self.hkl = np.concatenate([zero, self.holz])
        self.zero = len(zero)
        frame = self._frame()
        self.g = self.hkl @ structure.reciprocal_basis @ frame.T  # (b, 3), z along the beam
        self.keys, self.factors = np.empty(0, int), np.empty(0, complex)

    def potential(self, at: np.ndarray) -> np.ndarray:
        """U_{g−h} + iU'_{g−h}, with iU'_0 on the diagonal, of some of the beams."""
        keys = (self.hkl[at] + 64) @ (256**2, 256, 1)  # differences of keys are keys of differences
        differences = keys[:, None] - keys[None]
        new = np.setdiff1d(differences, self.keys)
        if len(new):
            hkl = np.stack([(new + 128 * (256**2 + 256 + 1)) // n % 256 - 128 for n in (256**2, 256, 1)], 1)
            elastic, absorptive = scattering.structure_factors(self.projection.crystal, hkl, self.kv)
            self.factors = np.concatenate([self.factors, elastic + 1j * absorptive])
            self.keys = np.concatenate([self.keys, new])
            order = np.argsort(self.keys)
            self.keys, self.factors = self.keys[order], self.factors[order]
        out = self.factors[np.searchsorted(self.keys, differences)]
        out[np.diag_indices(len(at))] -= self.k**2 - scattering.wavelength(self.kv) ** -2  # U_0 is in K
        return out

    def _frame(self) -> np.ndarray:
        """Rows: x, y, z of the crystal frame."""
        structure = self.projection.crystal
        z = np.array(self.projection.zone) @ structure.direct_basis
        z = z / np.linalg.norm(z)
        g1 = self.projection.basis_hkl[0] @ structure.reciprocal_basis
        plane = np.stack([g1, np.cross(z, g1)])  # g₁ and what is 90° from it
        angle = np.arctan2(self.projection.basis[0, 1], self.projection.basis[0, 0])
        unit = plane / np.linalg.norm(g1)
        x = np.cos(angle) * unit[0] - np.sin(angle) * unit[1]
        return np.stack([x, np.cross(z, x), z])

    def intensities(self, q: np.ndarray, beam: np.ndarray, holz: bool) -> np.ndarray:
        """(thickness, v) of one zero-order beam for each direction q (v, 2) in Å⁻¹."""
        out = np.empty((len(THICKNESS), len(q)))
        rate = 1j * np.pi / self.k * 10 * np.array(THICKNESS)
        for v, direction in enumerate(q):
            k_n = np.sqrt(self.k**2 - direction @ direction)
            diagonal = -(2 * (self.g[:, :2] @ direction + self.g[:, 2] * k_n) + (self.g**2).sum(axis=1))
            near = np.abs(diagonal[self.zero :]) < 2 * self.k * NEAR
            at = np.concatenate([np.arange(self.zero), self.zero + np.flatnonzero(near & holz)])
            scale = 1 / np.sqrt(1 + self.g[at, 2] / self.k)
            matrix = (self.potential(at) + np.diag(diagonal[at])) * np.outer(scale, scale)
            levels, states = np.linalg.eig(matrix)
            start = np.linalg.solve(states, np.eye(len(at))[:, 0])
            out[:, v] = np.abs((states[beam[v]] * start * np.exp(np.outer(rate, levels))).sum(axis=1)) ** 2
        return out


def last_crystal(recipe: Recipe) -> crystal.Crystal:
    """The crystal of the recipe, with its structural parameters at the last of their values."""
    structure = crystal.Crystal.from_cif(recipe.cif)
    dimensions = building._dimensions(recipe, structure, {})
    return building._crystals(structure, dimensions, building._order(recipe, dimensions))[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    options = new_parser(__doc__).parse_args(arguments)
    study, curves = Study("holz", quick=options.quick), {}
    for name in QUICK_NAMES if options.quick else shipped_names():
        recipe = Recipe.shipped(name)
        solver = Solver(recipe)
        g = solver.g[: solver.zero, :2] * solver.to_mrad
        sample = Sample.random(SEMI_ANGLE, 0.1, g, TILT, TILTS)
        pair = [
            sample.patterns(solver.intensities(sample.q / solver.to_mrad, sample.beam, holz))
            for holz in (False, True)
        ]
        top = pair[0].max(axis=1, keepdims=True)
        change = (pair[1] - pair[0]) / top
        curves[name] = np.abs(change).max(axis=1)
        study.add(f"{name}: largest change", np.abs(change).max(), "of max", at_most=BAR)
        study.add(f"{name}: rms", np.sqrt((change**2).mean()), "of max")
        print(name, len(solver.holz), curves[name], flush=True)
    study.note(
        f"zero-order beams to {G_ZERO} Å⁻¹ in both solves, HOLZ beams of zones {ZONES} with excitation "
        f"errors below {NEAR} Å⁻¹; {SEMI_ANGLE:g} mrad, tilts to {TILT:g} mrad, "
        f"{', '.join(map(str, THICKNESS))} nm, {8 * TILTS} random points of each; structural parameters "
        "at their last value"
    )
    with study.figure(size=(6.5, 3.6)) as (_, axes):
        for name, curve in curves.items():
            axes[0].semilogy(THICKNESS, curve, "o-", label=name)
        axes[0].axhline(BAR, color="0.5", linestyle=":", linewidth=1)
        axes[0].set(xlabel="thickness (nm)", ylabel="largest change (fraction of maximum)")
        axes[0].legend(fontsize=6, ncols=2)
    passed = study.finish(thickness_nm=THICKNESS, **{k: v.tolist() for k, v in curves.items()})
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
