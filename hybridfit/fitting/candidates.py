"""Candidates: library points and cameras that may explain a frame, when two of them are one, and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.thresholds import threshold

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WindowSettings:
    """The window about a seed, which all stages of a fit share."""

    half_widths: tuple[float, float] = threshold(
        (3.0, 1.0),
        "nm, mrad",
        "searches cover this window about a seed or a hint, because refinements converge from it:"
        " all of 150 did",
        "benchmarks.cramer_rao",
    )


WINDOW = WindowSettings().half_widths


@dataclass(frozen=True)
class Candidate:
    """A library point and a camera that match the frame: nm, mrad, px, px/mrad, degrees.

    chi2 is the sum of squares relative to the variance of the frame: 1 means no resemblance.
    Candidates of one search are compared over the whole frame, refined ones over the same pixels
    under the same weights.
    probability is filled where a classifier gives one.
    """

    thickness: float
    tilt_x: float
    tilt_y: float
    centre_x: float
    centre_y: float
    scale: float
    rotation: float
    chi2: float = float("nan")
    probability: float | None = None

    @property
    def tilt(self) -> tuple[float, float]:
        """Tilt (mrad) in the crystal frame."""
        return self.tilt_x, self.tilt_y

    def tilted_within(self, limit: float) -> Candidate:
        """The same with a tilt of the limit (mrad) at most: a fit ends on a bound of each component."""
        inside = min(1.0, limit / max(float(np.hypot(*self.tilt)), 1e-12) * (1 - 1e-9))
        return replace(self, tilt_x=inside * self.tilt_x, tilt_y=inside * self.tilt_y) if inside < 1 else self

    def mirrored(self) -> Candidate:
        """The same in the frame of the crystal's mirror image, (x, −y): tilt_y has the other sign."""
        return replace(self, tilt_y=-self.tilt_y)

    @property
    def camera_tilt(self) -> complex:
        """The tilt in the frame of the camera, R(φ) τ (mrad), as x + iy: what the frame shows of it."""
        return complex(self.tilt_x, self.tilt_y) * complex(np.exp(1j * np.deg2rad(self.rotation)))

    def same_as(self, other: Candidate, order: int, within: tuple[float, float]) -> bool:
        """Whether two refined candidates are one minimum (nm, mrad), up to the n-fold axis."""
        near = tilt_distance(self.tilt, other.tilt, order) < within[1]
        return near and abs(self.thickness - other.thickness) < within[0]


@dataclass(frozen=True)
class Fitted(Candidate):
    """Where an earlier fit of the same frame has ended, with what it found beside.

    blur in mrad; noise holds the numbers of a `refine.noise.Noise`, none where they do not say all of it.
    """

    blur: float = float("nan")
    noise: tuple[float, ...] = ()


@dataclass(frozen=True)
class Seed:
    """What the network says of one frame.

    Attributes
    ----------
    candidates : Candidates, the likeliest first, with their probabilities
    confidence : (float, float)
        Probability that the first is right within 3 nm, and within 1 mrad.
    thickness, thicknesses : (classes,)
        Probabilities, and the thicknesses (nm) that they are of.
    tilt : (rows, cols) probabilities, in the camera's frame, at the network's tilts
    passes : int
    moved : float
        What the last pass still moved the centre by (mrad).
    spread : (float, float, float)
        Standard deviations of thickness (nm) and of the components of tilt (mrad) about the first.
    """

    candidates: tuple[Candidate, ...]
    confidence: tuple[float, float]
    thickness: NDArray[np.float32]
    thicknesses: Array
    tilt: NDArray[np.float32]
    passes: int
    moved: float
    spread: tuple[float, float, float]

    def worth_trying(self, sure: float) -> tuple[Candidate, ...]:
        """The first candidate where the network's certainty is at least `sure`, all of them otherwise."""
        return self.candidates[:1] if self.certainty >= sure else self.candidates

    def window(self, deviations: float, no_doubt: tuple[float, float]) -> tuple[float, float]:
        """Half-widths (nm, mrad) of the search, at most WINDOW.

        Parameters
        ----------
        deviations : float
            How many standard deviations of the network's probabilities are searched.
        no_doubt : (float, float), nm and mrad
            A smaller half-width is 0: the candidates themselves are better than a search around them.
        """
        doubt = deviations * self.spread[0], deviations * max(self.spread[1:])
        thickness, tilt = (
            min(d, wide) if d > none else 0.0 for d, wide, none in zip(doubt, WINDOW, no_doubt, strict=True)
        )
        return thickness, tilt

    @property
    def certainty(self) -> float:
        """Probability that both thickness and tilt of the first candidate are right."""
        return self.confidence[0] * self.confidence[1]


def canonical(tilt_x: float, tilt_y: float, rotation: float, order: int) -> tuple[float, float, float]:
    """The same pattern with its rotation in (−180/n, 180/n]: the tilt turns with the crystal frame."""
    sector = 360 / order
    turns = np.ceil((rotation - sector / 2) / sector - 1e-12)
    angle = np.deg2rad(turns * sector)
    c, s = np.cos(angle), np.sin(angle)
    return float(c * tilt_x - s * tilt_y), float(s * tilt_x + c * tilt_y), float(rotation - turns * sector)


def turn(candidate: Candidate, degrees: float) -> Candidate:
    """The camera turned, and the crystal with it: the tilt in the camera's frame, R(φ) τ, stays."""
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    x, y = candidate.tilt
    tilt_x, tilt_y = float(c * x + s * y), float(c * y - s * x)
    return replace(candidate, tilt_x=tilt_x, tilt_y=tilt_y, rotation=candidate.rotation + degrees)


def tilt_distance(a: tuple[float, float], b: tuple[float, float], order: int) -> float:
    """Smallest distance (mrad) between two tilts under rotations of the n-fold axis."""
    turns = np.exp(2j * np.pi * np.arange(order) / order)
    return float(np.abs(complex(*a) * turns - complex(*b)).min())


def with_probabilities(
    refined: Sequence[Candidate], found: Sequence[Candidate], order: int
) -> tuple[Candidate, ...]:
    """Refined candidates with the odds of what they were found as, within the window that all stages share.

    Parameters
    ----------
    refined : sequence of Candidate
        Those that have a probability keep it.
    found : sequence of Candidate
        Of a search; each counts for the first of the refined ones that it is near, the likeliest alone.
    order : int
        n of the n-fold axis of the projection.
    """
    shares: list[float | None] = [candidate.probability for candidate in refined]
    own = [share is None for share in shares]
    for each in found:
        near = (i for i, r in enumerate(refined) if own[i] and r.same_as(each, order, WINDOW))
        if each.probability is not None and (i := next(near, None)) is not None:
            shares[i] = max(shares[i] or 0.0, each.probability)
    return tuple(replace(r, probability=share) for r, share in zip(refined, shares, strict=True))


def obeying(candidate: Candidate, fix: Mapping[str, float | None]) -> Candidate:
    """A candidate with what is fixed at a value; where the rotation is, the tilt is turned along.

    The tilt in the camera's frame, R(φ) τ, is what the frame shows: it stays.
    """
    given = {name: float(value) for name, value in fix.items() if value is not None}
    if "rotation" in given:
        angle = np.deg2rad(candidate.rotation - given["rotation"])
        c, s = np.cos(angle), np.sin(angle)
        x, y = candidate.tilt
        candidate = replace(candidate, tilt_x=float(c * x - s * y), tilt_y=float(s * x + c * y))
    fields = Candidate.__dataclass_fields__
    return replace(candidate, **{name: value for name, value in given.items() if name in fields})
