"""Convergence: what g_max, sampling and the thickness step change in the patterns of a crystal.

A few points of patterns are computed exactly,

    P(k) = Σ_g I_g(k − g + τ; t),      |k − g| ≤ α,

from directions solved for these points alone, at random k and τ and at thicknesses over the whole
range.  They are compared with themselves at

    g_max      fewer beams                                with the most beams,
    sampling   I_g interpolated between directions        with I_g solved,
    step       I_g interpolated between thicknesses       with I_g solved,

and the cheapest that is within TOLERANCE of the brightest point of the pattern is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.library.build import FOLDED
from hybridfit.library.grid import sampling_of

if TYPE_CHECKING:
    from hybridfit.physics.projection import Projection

Array = NDArray[np.float64]
Progress = Callable[[float], None]

TOLERANCE = 1e-3  # of the brightest point of a pattern
LONGEST = 4.0  # Å⁻¹: no beam is longer
SAMPLINGS = (0.42, 0.34, 0.27, 0.21, 0.17, 0.13)  # mrad; the rims of the discs are as soft
STEPS = (1.0, 0.5, 0.25)  # nm
POINTS, FEWER_POINTS = 8, 3  # of patterns, for the beams and for the rest
THICKNESSES = 10
BEYOND = 3.0  # mrad around the direct disc that points are drawn from
CUBIC_HALF = np.array([-1, 9, 9, -1]) / 16  # weights of four equidistant points, in their middle


@dataclass(frozen=True)
class Trial:
    """A value that was tried, and what it changes in the pattern, relative to its maximum."""

    value: float
    cost: str
    error: float


class Points(NamedTuple):
    """Points of patterns: (n, 2) k and τ (mrad), and what is common; lines are those of higher zones."""

    projection: Projection
    energy_kv: float
    to_mrad: float
    semi_angle: float
    k: Array
    tilt: Array
    thickness: Array
    lines: bool = False

    @classmethod
    def drawn(
        cls,
        projection: Projection,
        energy_kv: float,
        semi_angle: float,
        tilt_max: float,
        thickness: tuple[float, float],
    ) -> Points:
        """The middle of an untilted pattern, and random points."""
        from hybridfit.physics.scattering import wavelength

        rng = np.random.default_rng(0)

        def disc(radius: float) -> Array:
            r, angle = radius * np.sqrt(rng.random(POINTS)), rng.uniform(0, 2 * np.pi, POINTS)
            r[0] = 0.0
            return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)

        k, tilt = disc(semi_angle + BEYOND), disc(tilt_max)
        times = np.linspace(*thickness, THICKNESSES)
        return cls(projection, energy_kv, 1e3 * wavelength(energy_kv), semi_angle, k, tilt, times)

    def first(self, n: int) -> Points:
        """The first n of them."""
        return self._replace(k=self.k[:n], tilt=self.tilt[:n])

    def intensities(self, g_max: float, nodes: Array, weights: Array, thickness: Array) -> Array:
        """P (thickness, points), from I_g at q + nodes (m, 2) mrad with weights (m,)."""
        from hybridfit.physics import bloch, holz

        beams = self.projection.beams(g_max)
        g = beams @ self.projection.basis * self.to_mrad
        point, beam = np.nonzero(np.linalg.norm(self.k[:, None] - g[None], axis=2) <= self.semi_angle)
        q = self.k[point] - g[beam] + self.tilt[point]
        every = self.projection.beams(FOLDED * g_max)
        where = (q[:, None] + nodes[None]).reshape(-1, 2) / self.to_mrad
        keep = int(beam.max(initial=0)) + 1
        if self.lines:
            tiled = holz.HolzMatrix.of(self.projection, every, len(beams), self.energy_kv, where)
            solved = holz.intensities(tiled, where, thickness, keep=keep)
        else:
            matrix = bloch.DynamicalMatrix.of(self.projection, every, self.energy_kv).folded(len(beams))
            solved = bloch.beam_intensities(matrix, where, thickness, keep=keep)
        solved = solved.reshape(len(thickness), keep, len(q), len(nodes))
        own = solved[:, beam, np.arange(len(q))] @ weights
        out = np.zeros((len(thickness), len(self.k)))
        np.add.at(out.T, point, own.T)
        return out

    def exact(self, g_max: float, thickness: Array | None = None) -> Array:
        """P (thickness, points) as solved."""
        times = self.thickness if thickness is None else thickness
        return self.intensities(g_max, np.zeros((1, 2)), np.ones(1), times)


def ladder_of(projection: Projection, beams: Sequence[int]) -> list[float]:
    """Rising g_max (Å⁻¹), rounded up to hundredths, for about so many beams."""
    area = abs(float(np.linalg.det(projection.basis)))
    lengths = [math.ceil(100 * math.sqrt(n * area / math.pi)) / 100 for n in beams]
    shortest = float(np.linalg.norm(projection.basis, axis=1).max())
    kept = [g for g in lengths if shortest <= g <= LONGEST]
    return kept or [min(max(lengths[0], math.ceil(100 * shortest) / 100), 3 * LONGEST)]


def _off(found: Array, reference: Array) -> float:
    """Largest difference, relative to the brightest point at that thickness."""
    off = float((np.abs(found - reference).max(axis=1) / reference.max(axis=1)).max())
    return off if np.isfinite(off) else np.inf  # a solve of too few beams may come to nothing


def choose_beams(points: Points, ladder: list[float], report: Progress) -> tuple[float, tuple[Trial, ...]]:
    counts = [len(points.projection.beams(g)) for g in ladder]
    work = np.cumsum([float(n) ** 2 for n in counts])
    patterns = []
    for i, g in enumerate(ladder):
        patterns.append(points.exact(g))
        report(work[i] / work[-1])
    trials = tuple(
        Trial(g, f"{n} beams", _off(p, patterns[-1]))
        for g, n, p in zip(ladder, counts, patterns, strict=True)
    )
    return _cheapest(trials), trials


def choose_sampling(points: Points, g_max: float, report: Progress) -> tuple[float, tuple[Trial, ...]]:
    """From coarse to fine, until it is fine enough: the points lie in the middle of four directions."""
    reference = points.exact(g_max)
    basis = points.projection.basis * points.to_mrad
    i, j = (v.ravel() - 1.5 for v in np.indices((4, 4)))
    weights = np.outer(CUBIC_HALF, CUBIC_HALF).ravel()
    trials: list[Trial] = []
    known: set[tuple[int, ...]] = set()
    for n, value in enumerate(SAMPLINGS):
        counts = sampling_of(basis, points.projection.symmetry, value)
        if tuple(counts) in known:
            continue
        known.add(tuple(int(c) for c in counts))
        nodes = np.stack([i, j], axis=1) @ (basis / counts[:, None])
        found = points.intensities(g_max, nodes, weights, points.thickness)
        trials.append(Trial(value, f"{counts[0]} × {counts[1]}", _off(found, reference)))
        report((n + 1) / len(SAMPLINGS))
        if trials[-1].error <= TOLERANCE:
            break
    return trials[-1].value, tuple(trials)


def choose_step(points: Points, g_max: float) -> tuple[float, tuple[Trial, ...]]:
    """From coarse to fine: the thicknesses lie in the middle of four."""
    low, high = points.thickness[0], points.thickness[-1]
    middles = np.clip(
        points.thickness, low + 1.5 * STEPS[0], max(high - 1.5 * STEPS[0], low + 1.5 * STEPS[0])
    )
    middles = np.unique(middles)
    reference = points.exact(g_max, middles)
    trials: list[Trial] = []
    for step in STEPS:
        nodes = (middles[:, None] + step * (np.arange(4) - 1.5)).ravel()
        times, place = np.unique(nodes.round(9), return_inverse=True)
        found = points.exact(g_max, times)[place].reshape(len(middles), 4, -1)
        blended = np.einsum("mip,i->mp", found, CUBIC_HALF)
        trials.append(Trial(step, "", _off(blended, reference)))
        if trials[-1].error <= TOLERANCE:
            break
    return trials[-1].value, tuple(trials)


def _cheapest(trials: Sequence[Trial]) -> float:
    """The first that is good, and all after it."""
    for i, trial in enumerate(trials):
        if all(later.error <= TOLERANCE for later in trials[i:]):
            return trial.value
    return trials[-1].value
