"""Convergence: what g_max, sampling and the thickness step change in the patterns of a crystal.

A few points of patterns are computed exactly,

    P(k) = Σ_g I_g(k − g + τ; t),      |k − g| ≤ α,

from directions solved for these points alone, at random k and τ and at thicknesses over the whole
range.  They are compared with themselves at

    g_max      fewer beams                                with the most beams,
    sampling   I_g interpolated between directions        with I_g solved,
    step       I_g interpolated between thicknesses       with I_g solved,

and the cheapest that is within a tolerance of the brightest point of the pattern is taken.  Beams must also
leave what a fit reads where it is,

    I_g(fewer beams) − I_g ≈ δt ∂I_g/∂t + δτ·∂I_g/∂τ + f I_g,

δt and δτ from least squares over all beams and directions at one thickness; what does not show in I_g does
not count.  Where the two longest g_max
still differ by more, longer ones are tried, up to a limit; what is not reached by then is said
(`Convergence.reached`).

Symbols: P pattern, I_g intensity of beam g, k scattering angle, τ tilt, t thickness, α semi-angle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.library.build import FOLDED
from hybridfit.library.grid import sampling_of
from hybridfit.new.settings import DESIGN, DesignSettings

if TYPE_CHECKING:
    from hybridfit.physics.projection import Projection

Array = NDArray[np.float64]
Progress = Callable[[float], None]
Indices = NDArray[np.intp]
STEP = 0.05  # nm and mrad, for slopes
CUBIC_HALF = np.array([-1, 9, 9, -1]) / 16  # weights of four equidistant points, in their middle


def stays(thickness: float, tilt: float, settings: DesignSettings = DESIGN) -> bool:
    """Whether shifts of thickness (nm) and tilt (mrad) are within the tolerances."""
    return thickness <= settings.moved_thickness and tilt <= settings.moved_tilt


@dataclass(frozen=True)
class Trial:
    """A value that was tried, and what it changes.

    Attributes
    ----------
    value : float
    cost : str
    error : float
        In the pattern, relative to its maximum.
    thickness, tilt : float, nm, mrad
        How far it moves them, at the thickness where that is most; only numbers of beams are tried for it.
    """

    value: float
    cost: str
    error: float
    thickness: float = 0.0
    tilt: float = 0.0

    def good(self, settings: DesignSettings) -> bool:
        """Whether nothing changes by more than the tolerances."""
        return stays(self.thickness, self.tilt, settings) and self.error <= settings.tolerance


@dataclass(frozen=True)
class Convergence:
    """The value that was chosen for one number of a recipe, and how it came about.

    Attributes
    ----------
    value : float
    trials : tuple of Trial, from the cheapest
    reached : float
        What the chosen value still changes in the pattern, relative to its maximum: at most the tolerance, or
        it has not converged.
    converged : bool
    moved, moved_tilt : float, nm, mrad
        How far the chosen value still moves thickness and tilt.
    """

    value: float
    trials: tuple[Trial, ...]
    reached: float
    converged: bool
    moved: float = 0.0
    moved_tilt: float = 0.0


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
        settings: DesignSettings = DESIGN,
    ) -> Points:
        """The middle of an untilted pattern, and random points."""
        from hybridfit.physics.scattering import wavelength

        rng = np.random.default_rng(0)

        def disc(radius: float) -> Array:
            r, angle = (
                radius * np.sqrt(rng.random(settings.points)),
                rng.uniform(0, 2 * np.pi, settings.points),
            )
            r[0] = 0.0
            return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)

        k, tilt = disc(semi_angle + settings.beyond), disc(tilt_max)
        times = np.linspace(*thickness, settings.thicknesses)
        return cls(projection, energy_kv, 1e3 * wavelength(energy_kv), semi_angle, k, tilt, times)

    def first(self, n: int) -> Points:
        """The first n of them."""
        return self._replace(k=self.k[:n], tilt=self.tilt[:n])

    def solved(
        self, g_max: float, nodes: Array, thickness: Array, *, follow: bool = False
    ) -> tuple[Array, Indices, Indices]:
        """I_g (thickness, beams, n, m) at q + nodes (m, 2) mrad, and of each q (n,) its point and beam.

        Weak beams are folded as libraries do with `follow`, and in wider tiles otherwise, which is quicker.
        """
        from hybridfit.physics import bloch, holz
        from hybridfit.physics.folding import reach_of

        beams = self.projection.beams(g_max)
        g = beams @ self.projection.basis * self.to_mrad
        point, beam = np.nonzero(np.linalg.norm(self.k[:, None] - g[None], axis=2) <= self.semi_angle)
        q = self.k[point] - g[beam] + self.tilt[point]
        outer = FOLDED * g_max
        where = (q[:, None] + nodes[None]).reshape(-1, 2) / self.to_mrad
        keep = int(beam.max(initial=0)) + 1
        if self.lines:
            every = self.projection.beams(outer)
            tiled = holz.HolzMatrix.of(self.projection, every, len(beams), self.energy_kv, where)
            solved = holz.intensities(tiled, where, thickness, keep=keep)
        else:
            farthest = float(np.linalg.norm(where, axis=1).max(initial=0.0))
            every = self.projection.beams(reach_of(outer, farthest))
            matrix = bloch.DynamicalMatrix.of(self.projection, every, self.energy_kv).folded(
                len(beams), outer
            )
            matrix = matrix if follow else replace(matrix, tile=DESIGN.tile)
            solved = bloch.beam_intensities(matrix, where, thickness, keep=keep)
        table = np.asarray(solved, float).reshape(len(thickness), keep, len(q), len(nodes))
        return table, point, beam

    def intensities(self, g_max: float, nodes: Array, weights: Array, thickness: Array) -> Array:
        """P (thickness, points), from I_g at q + nodes (m, 2) mrad with weights (m,)."""
        solved, point, beam = self.solved(g_max, nodes, thickness)
        return self._patterns(solved @ weights, point, beam)

    def _patterns(self, table: Array, point: Indices, beam: Indices) -> Array:
        """P (thickness, points) from I_g (thickness, beams, n)."""
        out = np.zeros((len(table), len(self.k)))
        np.add.at(out.T, point, table[:, beam, np.arange(len(beam))].T)
        return out

    def whole(self, g_max: float, first: int) -> tuple[Array, Array]:
        """P (thickness, points), and all I_g (thickness, beams, n) solved for its first beams."""
        solved, point, beam = self.solved(g_max, np.zeros((1, 2)), self.thickness, follow=True)
        return self._patterns(solved[..., 0], point, beam), solved[:, :, beam < first, 0]

    def slopes(self, g_max: float, first: int) -> Array:
        """∂I_g/∂t per nm and ∂I_g/∂τ per mrad of the same directions, (3, thickness, beams, n)."""
        nodes = STEP * np.array([[0, 0], [1, 0], [0, 1]])
        times = np.concatenate([self.thickness, self.thickness + STEP])
        solved, _, beam = self.solved(g_max, nodes, times)
        now, later = np.split(solved[:, :, beam < first], 2)
        along = [later[..., 0] - now[..., 0], now[..., 1] - now[..., 0], now[..., 2] - now[..., 0]]
        return np.stack(along) / STEP

    def exact(self, g_max: float, thickness: Array | None = None) -> Array:
        """P (thickness, points) as solved."""
        times = self.thickness if thickness is None else thickness
        return self.intensities(g_max, np.zeros((1, 2)), np.ones(1), times)


def ladder_of(
    projection: Projection, least: float = 0.0, settings: DesignSettings = DESIGN
) -> tuple[list[float], list[float]]:
    """Rising g_max (Å⁻¹), rounded up to hundredths: those that are tried at first, and those after them.

    Parameters
    ----------
    projection : Projection
    least : float, Å⁻¹
        None is shorter.
    settings : DesignSettings
        About how many beams they have.

    Raises
    ------
    InputError
        All that may be tried are shorter than `least`.
    """
    area = abs(float(np.linalg.det(projection.basis)))
    least = max(least, float(np.linalg.norm(projection.basis, axis=1).max()))
    if least > 3 * settings.longest:
        raise InputError(
            f"the largest semi-angle and tilt need beams up to {least:.3g} Å⁻¹, more than "
            f"{3 * settings.longest:g}; give a smaller --semi-angle or --tilt"
        )

    def rungs(counts: Sequence[float]) -> list[float]:
        lengths = [math.ceil(100 * math.sqrt(n * area / math.pi)) / 100 for n in counts]
        return [g for g in lengths if least <= g <= settings.longest]

    first = rungs(settings.beams) or [math.ceil(100 * least - 1e-9) / 100]
    known = max(settings.beams[-1], math.pi * first[-1] ** 2 / area)
    steps = max(0, math.floor(math.log(settings.most_beams / known, settings.more_beams)))
    later = rungs([known * settings.more_beams ** (i + 1) for i in range(steps)])
    if later and later[-1] < settings.longest and math.pi * settings.longest**2 / area <= settings.most_beams:
        later.append(settings.longest)
    return first, [g for g in later if g > first[-1]]


def _off(found: Array, reference: Array) -> float:
    """Largest difference, relative to the brightest point at that thickness."""
    off = float((np.abs(found - reference).max(axis=1) / reference.max(axis=1)).max())
    return off if np.isfinite(off) else np.inf  # a solve of too few beams may come to nothing


def _moved(found: Array, known: Array, slopes: Array, settings: DesignSettings) -> tuple[float, float]:
    """The largest δt (nm) and δτ (mrad) over the thicknesses, of those that show."""
    if not np.isfinite(found).all():  # as in `_off`
        return np.inf, np.inf
    kept = min(found.shape[1], known.shape[1], slopes.shape[2])
    unit = np.array([settings.moved_thickness, settings.moved_tilt, settings.moved_tilt, settings.tolerance])
    moved = []
    for i, (other, own) in enumerate(zip(found[:, :kept], known[:, :kept], strict=True)):
        columns = np.stack([*slopes[:, i, :kept], own]).reshape(len(unit), -1) * unit[:, None]
        along, change, turn = np.linalg.svd(columns.T, full_matrices=False)
        told = along.T @ (other - own).ravel()
        # where no beam depends on a shift, or on two that cancel, it may be any
        shows = np.abs(told) >= settings.shown * math.sqrt(own.shape[1])
        moved.append(unit * (turn.T @ np.where(shows, told / np.maximum(change, 1e-300), 0.0)))
    thickness, *tilt, _ = np.abs(moved).max(axis=0)
    return float(thickness), float(max(tilt))


def choose_beams(
    points: Points,
    ladder: tuple[Sequence[float], Sequence[float]],
    report: Progress,
    settings: DesignSettings = DESIGN,
) -> Convergence:
    """The shortest g_max (Å⁻¹) that changes nothing; `ladder` has those tried first and those after them."""
    first, later = ladder
    values, found = list(first), []
    common = len(points.projection.beams(first[0]))
    work = np.cumsum([float(len(points.projection.beams(g))) ** 2 for g in first])
    for i, g in enumerate(first):
        found.append(points.whole(g, common))
        report(work[i] / work[-1])
    slopes = points.slopes(first[-1 - len(first) // 4], common)

    def trial(i: int) -> Trial:
        """The i-th value against the last."""
        cost = f"{len(points.projection.beams(values[i]))} beams"
        moved = _moved(found[i][1], found[-1][1], slopes, settings)
        return Trial(values[i], cost, _off(found[i][0], found[-1][0]), *moved)

    # a single one has nothing to be compared with
    for g in later:
        if len(found) > 1 and trial(len(found) - 2).good(settings):
            break
        values.append(g)
        found.append(points.whole(g, common))
        report(1.0)
    trials = tuple(trial(i) for i in range(len(values)))
    value = _cheapest(trials, settings)
    at = values.index(value)
    # what is left of the last is at most what the one before it lacks
    left = trials[-2] if len(trials) > 1 and at == len(trials) - 1 else trials[at]
    converged = left.good(settings) and len(trials) > 1
    reached = left.error if len(trials) > 1 else math.inf
    return Convergence(value, trials, reached, converged, left.thickness, left.tilt)


def choose_sampling(
    points: Points, g_max: float, report: Progress, settings: DesignSettings = DESIGN
) -> Convergence:
    """From coarse to fine (mrad), until it is fine enough: points lie in the middle of four directions."""
    reference = points.exact(g_max)
    basis = points.projection.basis * points.to_mrad
    i, j = (v.ravel() - 1.5 for v in np.indices((4, 4)))
    weights = np.outer(CUBIC_HALF, CUBIC_HALF).ravel()
    trials: list[Trial] = []
    known: set[tuple[int, ...]] = set()
    for n, value in enumerate(settings.samplings):
        counts = sampling_of(basis, points.projection.symmetry, value)
        if tuple(counts) in known:
            continue
        known.add(tuple(int(c) for c in counts))
        nodes = np.stack([i, j], axis=1) @ (basis / counts[:, None])
        found = points.intensities(g_max, nodes, weights, points.thickness)
        trials.append(Trial(value, f"{counts[0]} × {counts[1]}", _off(found, reference)))
        report((n + 1) / len(settings.samplings))
        if trials[-1].error <= settings.tolerance:
            break
    return _last_of(trials, settings)


def choose_step(points: Points, g_max: float, settings: DesignSettings = DESIGN) -> Convergence:
    """From coarse to fine (nm), until it is fine enough: the thicknesses lie in the middle of four."""
    low, high = points.thickness[0], points.thickness[-1]
    edge = 1.5 * settings.steps[0]
    middles = np.clip(points.thickness, low + edge, max(high - edge, low + edge))
    middles = np.unique(middles)
    reference = points.exact(g_max, middles)
    trials: list[Trial] = []
    for step in settings.steps:
        nodes = (middles[:, None] + step * (np.arange(4) - 1.5)).ravel()
        times, place = np.unique(nodes.round(9), return_inverse=True)
        found = points.exact(g_max, times)[place].reshape(len(middles), 4, -1)
        blended = np.einsum("mip,i->mp", found, CUBIC_HALF)
        trials.append(Trial(step, "", _off(blended, reference)))
        if trials[-1].error <= settings.tolerance:
            break
    return _last_of(trials, settings)


def _last_of(trials: Sequence[Trial], settings: DesignSettings) -> Convergence:
    """The finest that was tried."""
    last = trials[-1]
    return Convergence(last.value, tuple(trials), last.error, last.error <= settings.tolerance)


def _cheapest(trials: Sequence[Trial], settings: DesignSettings) -> float:
    """The first that is good, and all after it."""
    for i, trial in enumerate(trials):
        if all(later.good(settings) for later in trials[i:]):
            return trial.value
    return trials[-1].value
