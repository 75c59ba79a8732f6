"""How exact a composed pattern is, and why grid and interpolation are what they are.

    P(k) = Σ_g A(|k − g|) · I_g(k − g + τ; t)

is evaluated at random points k of patterns with random tilts τ, every I_g solved at exactly its own
direction k − g + τ by `scipy.linalg.expm` in float64, with nothing interpolated.  Against it stand

* what the shipped library makes of the same points;
* other interpolations: in thickness (applied to the exact patterns on a 1 nm grid) and in direction
  (applied, in NumPy, to libraries of three samplings);
* the same points with all beams up to √2 g_max, which doubles their number.

Every error is a fraction of the maximum of the pattern that it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from joblib import Parallel, delayed
from scipy.linalg import expm

from benchmarks.common import Study, cores
from hybridfit.library import Library
from hybridfit.pattern.compose import Table, pattern_at
from hybridfit.physics import bloch, crystal, scattering
from hybridfit.recipe import Recipe, ThicknessRange

NAME = "SrTiO3_001_200kV"
SEMI_ANGLES = (13.6, 19.1)  # mrad
TILTS, POINTS = 8, 8  # random tilts per semi-angle, random points per tilt
STEP_NM, LAST_NM, FIRST_NM = 0.5, 125.0, 5.0
BAR = 1e-3


@dataclass(frozen=True)
class Sample:
    """Points of patterns, and every disc that covers one of them.

    k, tilt : (n, 2) mrad;  point, beam, weight : (v,) which point, which beam, A(|k − g|);
    q : (v, 2) mrad, the incident direction k − g + τ;  semi_angle, half_edge : mrad
    """

    k: np.ndarray
    tilt: np.ndarray
    point: np.ndarray
    beam: np.ndarray
    weight: np.ndarray
    q: np.ndarray
    semi_angle: float
    half_edge: float

    @classmethod
    def of(cls, k, tilt, g_mrad, semi_angle: float, half_edge: float) -> Sample:
        """Find the discs, centred on g_mrad (b, 2), that cover the points."""
        from_centre = k[:, None, :] - g_mrad[None, :, :]
        x = np.clip((semi_angle + half_edge - np.linalg.norm(from_centre, axis=2)) / (2 * half_edge), 0, 1)
        aperture = x**3 * (10 - 15 * x + 6 * x**2)
        point, beam = np.nonzero(aperture)
        q = from_centre[point, beam] + tilt[point]
        return cls(k, tilt, point, beam, aperture[point, beam], q, semi_angle, half_edge)

    @classmethod
    def random(cls, semi_angle: float, half_edge: float, g_mrad, tilt_max: float, seed: int) -> Sample:
        """TILTS × POINTS points within the region that is fitted."""
        rng = np.random.default_rng(seed)
        disc = lambda n, radius: radius * np.sqrt(rng.random(n)) * np.exp(2j * np.pi * rng.random(n))  # noqa: E731
        tilt, k = np.repeat(disc(TILTS, tilt_max), POINTS), disc(TILTS * POINTS, semi_angle + 7.5)
        return cls.of(*(np.stack([z.real, z.imag], 1) for z in (k, tilt)), g_mrad, semi_angle, half_edge)

    def own(self, intensity: np.ndarray) -> np.ndarray:
        """(m, b, v) → (m, v): of each direction the beam whose disc it belongs to."""
        return intensity[:, self.beam, np.arange(len(self.beam))]

    def patterns(self, intensity: np.ndarray) -> np.ndarray:
        """Sum (m, v) beam intensities into the (m, n) pattern."""
        rows = [np.bincount(self.point, self.weight * row, len(self.k)) for row in intensity]
        return np.stack(rows)

    def from_kernel(self, table: Table, thickness: float, k: np.ndarray | None = None) -> np.ndarray:
        """(tilts, points) of the library's own kernel, at this sample's points or at k (p, 2)."""
        out = []
        for tilt, own in zip(self.tilt[::POINTS], self.k.reshape(TILTS, POINTS, 2), strict=True):
            at = own if k is None else k
            options = {"semi_angle": self.semi_angle, "half_edge": self.half_edge}
            out.append(
                pattern_at(
                    *np.ascontiguousarray(at.T), table, thickness=thickness, tilt=tuple(tilt), **options
                )
            )
        return np.stack(out)

    def maxima(self, table: Table, thickness: np.ndarray) -> np.ndarray:
        """(m, n) maximum of the pattern that each point belongs to."""
        axis = np.linspace(-1, 1, 48) * (self.semi_angle + 7.5)
        k = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        largest = [self.from_kernel(table, t, k).max(axis=1) for t in thickness]
        return np.repeat(np.stack(largest), POINTS, axis=1)


def problem(recipe: Recipe, g_max: float) -> tuple[bloch.DynamicalMatrix, float]:
    """The dynamical matrix of a recipe with beams up to g_max (Å⁻¹), and λ in mrad per Å⁻¹."""
    projection = crystal.project(crystal.Crystal.from_cif(recipe.cif), recipe.zone, recipe.in_plane)
    matrix = bloch.DynamicalMatrix.of(projection, projection.beams(g_max), recipe.energy_kv)
    return matrix, scattering.wavelength(recipe.energy_kv) * 1e3


def exact_intensities(matrix: bloch.DynamicalMatrix, q: np.ndarray, step_nm: float, steps: int) -> np.ndarray:
    """(steps, b, v) |ψ|² after 1, 2, … steps, for directions q (v, 2) in Å⁻¹.

    One float64 matrix exponential per direction, applied repeatedly; directions share the cores.
    """
    excitation = matrix.excitation(q)

    def solve(diagonal: np.ndarray) -> np.ndarray:
        m = matrix.potential + np.diag(diagonal)
        step = expm(1j * np.pi / matrix.k_n * 10 * step_nm * m)
        psi = np.zeros((steps + 1, len(m)), complex)
        psi[0, 0] = 1
        for j in range(steps):
            psi[j + 1] = step @ psi[j]
        return np.abs(psi[1:]) ** 2

    # processes rather than threads of the BLAS, which fight over matrices of this size
    return np.stack(Parallel(n_jobs=cores(), batch_size=16)(delayed(solve)(d) for d in excitation.T), -1)


def nodes_weights(kind: str, x: np.ndarray) -> tuple[range, np.ndarray]:
    """Interpolation at 0 ≤ x < 1: the nodes used, and the (v, nodes) weights."""
    if kind == "Catmull–Rom":
        w = [-x + 2 * x**2 - x**3, 2 - 5 * x**2 + 3 * x**3, x + 4 * x**2 - 3 * x**3, x**3 - x**2]
        return range(-1, 3), np.stack(w, 1) / 2
    order = {"linear": 2, "Lagrange 4": 4, "Lagrange 6": 6}[kind]
    nodes = range(1 - order // 2, 1 + order // 2)
    others = lambda i: [(x - j) / (i - j) for j in nodes if j != i]  # noqa: E731
    return nodes, np.stack([np.prod(others(i), axis=0) for i in nodes], 1)


KINDS = ("linear", "Catmull–Rom", "Lagrange 4", "Lagrange 6")


def from_table(sample: Sample, table: Table, kind: str) -> np.ndarray:
    """(thickness, n) patterns at the stored thicknesses, interpolated in direction with NumPy."""
    position = sample.q @ table.to_grid.T
    cell = np.floor(position).astype(int)
    nodes, wu = nodes_weights(kind, (position - cell)[:, 0])
    _, wv = nodes_weights(kind, (position - cell)[:, 1])
    half = np.array(table.direction_at.shape) // 2
    total = np.zeros((len(table.intensity), len(cell)))
    for i, n1 in enumerate(nodes):
        for j, n2 in enumerate(nodes):
            at = tuple((cell + [n1, n2] + half).T)
            source = table.permutation[table.operation_at[at], sample.beam]
            total += wu[:, i] * wv[:, j] * table.intensity[:, source, table.direction_at[at]]
    return sample.patterns(total)


def largest(error: np.ndarray) -> np.ndarray:
    """Largest |error| over the points: (m, n) → (m,)."""
    return np.abs(error).max(axis=1)


def against_expm(study: Study, library: Library, recipe: Recipe) -> dict[str, dict[str, list[float]]]:
    """The library against the exact patterns, and interpolations in thickness among the exact ones."""
    matrix, to_mrad = problem(recipe, recipe.g_max)
    table, curves = library.table(), {}
    t = np.arange(FIRST_NM, LAST_NM + 1e-9, 2.5)  # whole and half steps of the library in turn
    row = np.round(t / STEP_NM).astype(int) - 1
    for seed, alpha in enumerate(SEMI_ANGLES):
        sample = Sample.random(alpha, library.step / 2, matrix.g * to_mrad, recipe.tilt_max, seed)
        steps = round(LAST_NM / STEP_NM)
        exact = sample.patterns(
            sample.own(exact_intensities(matrix, sample.q / to_mrad, STEP_NM, steps))
        )
        maxima = sample.maxima(table, t)
        error = np.stack([sample.from_kernel(table, v).ravel() for v in t]) - exact[row]
        error /= maxima
        what = f"library against expm, {alpha} mrad, {FIRST_NM:g}–{LAST_NM:g} nm"
        study.add(f"{what}: largest", np.abs(error).max(), "of maximum", at_most=BAR)
        study.add(f"{what}: rms", np.sqrt((error**2).mean()), "of maximum")
        curve = curves[f"{alpha} mrad"] = {"thickness_nm": t.tolist(), "library": largest(error).tolist()}
        whole, middle = exact[1::2], exact[2::2]  # 1, 2, … 125 nm and 1.5, 2.5, … 124.5 nm
        for kind in KINDS:
            nodes, (w,) = nodes_weights(kind, np.array([0.5]))
            inside = slice(5, len(middle) - 5)
            guess = sum(
                c * whole[n + 5 : n + len(middle) - 5] for n, c in zip(nodes, w, strict=True)
            )
            at = np.arange(1.5, LAST_NM)[inside]
            top = np.stack([np.interp(at, t, column) for column in maxima.T], 1)
            e = largest((guess - middle[inside]) / top)
            study.add(f"thickness, half-way between 1 nm steps, {kind}, {alpha} mrad: largest", e.max(), "of maximum")
            curve[f"thickness {kind}"] = e.tolist()
            curve["middle_nm"] = at.tolist()
    return curves
