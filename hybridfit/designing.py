"""A recipe for any crystal, its numbers chosen by convergence.

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
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.building import BEYOND_DISC, FOLDED, HALO
from hybridfit.directions import sampling_of, wedge
from hybridfit.errors import InputError

if TYPE_CHECKING:
    from hybridfit.physics.crystal import Projection

Array = NDArray[np.float64]
Progress = Callable[[float], None]

TOLERANCE = 1e-3  # of the brightest point of a pattern
BEAMS = (20, 30, 45, 65, 95, 140, 200, 290)  # numbers of beams that are tried, about
LONGEST = 4.0  # Å⁻¹: no beam is longer
SAMPLINGS = (0.42, 0.34, 0.27, 0.21, 0.17, 0.13)  # mrad; the rims of the discs are as soft
STEPS = (1.0, 0.5, 0.25)  # nm
POINTS, FEWER_POINTS = 8, 3  # of patterns, for the beams and for the rest
THICKNESSES = 10
SLACK = 1.1  # of the semi-angle: how far the library reaches, for a semi-angle that is not quite known
BEYOND = 3.0  # mrad around the direct disc that points are drawn from
LARGEST_GB = 8.0
SEMI_ANGLES = (1.0, 60.0)  # mrad
CUBIC_HALF = np.array([-1, 9, 9, -1]) / 16  # weights of four equidistant points, in their middle


@dataclass(frozen=True)
class Trial:
    """A value that was tried, and what it changes in the pattern, relative to its maximum."""

    value: float
    cost: str
    error: float


@dataclass(frozen=True)
class Design:
    """A recipe's numbers, and how they came about.

    Attributes
    ----------
    cif : path
    zone, in_plane : indices
    energy_kv, semi_angle, tilt_max : kV, mrad, mrad
    thickness : (start, stop, step), nm
    g_max, sampling : Å⁻¹, mrad
    rotation_order, mirrors : symmetry of the projection
    beams, directions, gigabytes : what is stored
    trials : by name, the values that were tried
    """

    cif: Path
    zone: tuple[int, int, int]
    in_plane: tuple[int, int, int]
    energy_kv: float
    semi_angle: float
    tilt_max: float
    thickness: tuple[float, float, float]
    g_max: float
    sampling: float
    rotation_order: int
    mirrors: bool
    beams: int
    directions: int
    gigabytes: float
    trials: dict[str, tuple[Trial, ...]]

    @property
    def semi_angle_max(self) -> float:
        """Largest semi-angle of the library (mrad)."""
        return _with_room(self.semi_angle)

    def reasons(self) -> dict[str, str]:
        """What was decided and why, by the name of the recipe's value."""
        symmetry = f"{self.rotation_order}-fold" + (", with mirrors" if self.mirrors else "")
        out = {"in_plane": f"kx points along it; the projection is {symmetry}"}
        out["g_max"] = f"1/Å; {_why(self.trials['g_max'], self.g_max)}"
        out["semi_angle_max"] = f"mrad; {self.semi_angle:g} and room"
        out["sampling"] = f"mrad; {_why(self.trials['sampling'], self.sampling)}"
        out["step"] = f"nm; {_why(self.trials['step'], self.thickness[2])}"
        out["size"] = f"{self.beams} beams, {self.directions} directions, {1e3 * self.gigabytes:.0f} MB"
        return out

    def toml(self) -> str:
        """The recipe, with the reasons as comments; the CIF is looked for beside it."""
        why, (start, stop, step) = self.reasons(), self.thickness
        zone = " ".join(map(str, self.zone))
        values = [
            ("cif", f'"{self.cif.name}"', ""),
            ("zone", str(list(self.zone)), ""),
            ("in_plane", str(list(self.in_plane)), why["in_plane"]),
            ("energy_kv", f"{self.energy_kv:g}", ""),
            ("g_max", f"{self.g_max:g}", why["g_max"]),
            ("semi_angle_max", f"{self.semi_angle_max:g}", why["semi_angle_max"]),
            ("tilt_max", f"{self.tilt_max:g}", "mrad"),
            ("sampling", f"{self.sampling:g}", why["sampling"]),
        ]
        lines = [
            f"# {self.cif.stem} along [{zone}] at {self.energy_kv:g} kV, for semi-angles of about "
            f"{self.semi_angle:g} mrad: {why['size']}.",
            f"# Chosen so that each of g_max, sampling and step changes no pattern by {TOLERANCE:g} of its "
            "maximum.",
            *(_line(name, value, comment) for name, value, comment in values),
            "",
            "[thickness]",
            _line("start", f"{start:g}", "nm"),
            _line("stop", f"{stop:g}", ""),
            _line("step", f"{step:g}", why["step"]),
        ]
        return "\n".join(lines) + "\n"


def design(
    cif: str | Path,
    zone: tuple[int, int, int],
    *,
    energy_kv: float,
    semi_angle: float,
    tilt_max: float = 4.6,
    thickness: tuple[float, float] = (1.0, 100.0),
    in_plane: tuple[int, int, int] | None = None,
    beams: Sequence[int] = BEAMS,
    progress: Progress | None = None,
) -> Design:
    """Choose the numbers of a recipe.

    Parameters
    ----------
    cif : path
    zone : (u, v, w)
    energy_kv : float, kV
    semi_angle, tilt_max : float, mrad
    thickness : (thinnest, thickest), nm
    in_plane : (h, k, l), optional
        The reciprocal vector along kx; by default the shortest on a mirror of the projection, or of all.
    beams : sequence of int, ascending
        About how many are tried; the last are what the others are compared with.
    progress : callable(fraction), optional

    Raises
    ------
    InputError
        A value that no microscope has, or a library that would be too large.
    RecipeError
        The CIF cannot be read, the zone is zero, or the reference does not lie in it.
    """
    from hybridfit.physics.crystal import Crystal, project

    check_values(energy_kv, semi_angle, tilt_max, thickness)
    crystal = Crystal.from_cif(cif)
    if in_plane is None:
        in_plane = _reference(project(crystal, zone))
    projection = project(crystal, zone, in_plane)
    report = progress or (lambda fraction: None)
    points = _Points.drawn(projection, energy_kv, semi_angle, tilt_max, thickness)
    ladder = _ladder(projection, beams)
    _size(points, tilt_max, ladder[0], SAMPLINGS[0], (*thickness, STEPS[0]))  # too large is known at once
    g_max, by_beams = _choose_beams(points, ladder, lambda f: report(0.6 * f))
    fewer = points.first(FEWER_POINTS)
    sampling, by_sampling = _choose_sampling(fewer, g_max, lambda f: report(0.6 + 0.35 * f))
    step, by_step = _choose_step(fewer, g_max)
    report(1.0)
    start, stop = thickness
    stop = start + step * max(math.ceil((stop - start) / step - 1e-9), 3)
    beams_stored, directions, size = _size(points, tilt_max, g_max, sampling, (start, stop, step))
    return Design(
        cif=Path(cif),
        zone=zone,
        in_plane=in_plane,
        energy_kv=energy_kv,
        semi_angle=semi_angle,
        tilt_max=tilt_max,
        thickness=(start, stop, step),
        g_max=g_max,
        sampling=sampling,
        rotation_order=projection.rotation_order,
        mirrors=len(projection.symmetry) > projection.rotation_order,
        beams=beams_stored,
        directions=directions,
        gigabytes=size,
        trials={"g_max": by_beams, "sampling": by_sampling, "step": by_step},
    )


def _size(
    points: _Points, tilt_max: float, g_max: float, sampling: float, thickness: tuple[float, float, float]
) -> tuple[int, int, float]:
    """Beams and directions that a library stores, and its size (GB)."""
    projection, semi_angle_max = points.projection, _with_room(points.semi_angle)
    basis = projection.basis * points.to_mrad
    steps = basis / sampling_of(basis, projection.symmetry, sampling)[:, None]
    reach = semi_angle_max + tilt_max + HALO * float(np.linalg.norm(steps, axis=1).max())
    directions = len(wedge(steps, projection.symmetry, reach))
    longest = (2 * semi_angle_max + BEYOND_DISC) / points.to_mrad
    beams = len(projection.beams(min(g_max, longest)))
    start, stop, step = thickness
    size = 4e-9 * beams * directions * ((stop - start) / step + 1)
    if size > LARGEST_GB:
        raise InputError(
            f"the library would take {size:.0f} GB or more; give a smaller --semi-angle or --tilt, "
            "or a narrower --thickness"
        )
    return beams, directions, size


def _with_room(semi_angle: float) -> float:
    """The largest semi-angle of a library for a nominal one (mrad)."""
    return math.ceil(10 * SLACK * semi_angle - 1e-9) / 10


def check_values(
    energy_kv: float, semi_angle: float, tilt_max: float, thickness: tuple[float, float]
) -> None:
    """Raise an InputError for what no recipe can have."""
    if not SEMI_ANGLES[0] <= semi_angle <= SEMI_ANGLES[1]:
        raise InputError(
            f"semi-angle {semi_angle:g} mrad is out of range; "
            f"give {SEMI_ANGLES[0]:g} … {SEMI_ANGLES[1]:g} mrad"
        )
    if not 20 <= energy_kv <= 3000:
        raise InputError(f"energy {energy_kv:g} kV is out of range; give 20 … 3000 kV")
    if not 0 <= tilt_max <= 50:
        raise InputError(f"tilt {tilt_max:g} mrad is out of range; give 0 … 50 mrad")
    if not 0 < thickness[0] < thickness[1] <= 1000:
        raise InputError(
            f"thickness {thickness[0]:g} … {thickness[1]:g} nm is no range; give LOW,HIGH within 0 … 1000 nm"
        )


def _reference(projection: Projection) -> tuple[int, int, int]:
    """The shortest reflection that a mirror of the projection leaves where it is; without one, of all."""
    mirrors = [r for r in projection.symmetry if np.linalg.det(r) < 0]
    longest = 3 * float(np.linalg.norm(projection.basis, axis=1).max())
    beams = projection.beams(longest)[1:]
    kept = [n for n in beams if any((r @ n == n).all() for r in mirrors)] or [*beams]
    lengths = np.linalg.norm(np.array(kept) @ projection.basis, axis=1)
    shortest = [n for n, length in zip(kept, lengths, strict=True) if length < lengths[0] * (1 + 1e-6)]
    h, k, l = max(tuple(int(i) for i in n @ projection.basis_hkl) for n in shortest)
    return h, k, l


class _Points(NamedTuple):
    """Points of patterns: (n, 2) k and τ (mrad), and what is common."""

    projection: Projection
    energy_kv: float
    to_mrad: float
    semi_angle: float
    k: Array
    tilt: Array
    thickness: Array

    @classmethod
    def drawn(
        cls,
        projection: Projection,
        energy_kv: float,
        semi_angle: float,
        tilt_max: float,
        thickness: tuple[float, float],
    ) -> _Points:
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

    def first(self, n: int) -> _Points:
        """The first n of them."""
        return self._replace(k=self.k[:n], tilt=self.tilt[:n])

    def intensities(self, g_max: float, nodes: Array, weights: Array, thickness: Array) -> Array:
        """P (thickness, points), from I_g at q + nodes (m, 2) mrad with weights (m,)."""
        from hybridfit.physics import bloch

        beams = self.projection.beams(g_max)
        g = beams @ self.projection.basis * self.to_mrad
        point, beam = np.nonzero(np.linalg.norm(self.k[:, None] - g[None], axis=2) <= self.semi_angle)
        q = self.k[point] - g[beam] + self.tilt[point]
        every = self.projection.beams(FOLDED * g_max)
        matrix = bloch.DynamicalMatrix.of(self.projection, every, self.energy_kv).folded(len(beams))
        where = (q[:, None] + nodes[None]).reshape(-1, 2)
        keep = int(beam.max(initial=0)) + 1
        solved = bloch.beam_intensities(matrix, where / self.to_mrad, thickness, keep=keep)
        solved = solved.reshape(len(thickness), keep, len(q), len(nodes))
        own = solved[:, beam, np.arange(len(q))] @ weights
        out = np.zeros((len(thickness), len(self.k)))
        np.add.at(out.T, point, own.T)
        return out

    def exact(self, g_max: float, thickness: Array | None = None) -> Array:
        """P (thickness, points) as solved."""
        times = self.thickness if thickness is None else thickness
        return self.intensities(g_max, np.zeros((1, 2)), np.ones(1), times)


def _ladder(projection: Projection, beams: Sequence[int]) -> list[float]:
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


def _choose_beams(points: _Points, ladder: list[float], report: Progress) -> tuple[float, tuple[Trial, ...]]:
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


def _choose_sampling(points: _Points, g_max: float, report: Progress) -> tuple[float, tuple[Trial, ...]]:
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


def _choose_step(points: _Points, g_max: float) -> tuple[float, tuple[Trial, ...]]:
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


def _why(trials: Sequence[Trial], chosen: float) -> str:
    """Error of the chosen value and of the cheaper one before it."""
    i = next(i for i, trial in enumerate(trials) if trial.value == chosen)
    best = trials[i]
    cost = f"{best.cost}, " if best.cost else ""
    words = f"{cost}off by {best.error:.1g}" if best.error else f"{cost}the most that was tried"
    if i:
        words += f"; {trials[i - 1].value:g} by {trials[i - 1].error:.1g}"
    return words


def _line(name: str, value: str, comment: str) -> str:
    text = f"{name} = {value}"
    return f"{text:26s} # {comment}" if comment else text
