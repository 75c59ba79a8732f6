"""The Poisson likelihood of every library point in every orientation, for frames of few electrons.

A library point T predicts where the electrons of a frame arrive: with a share s of them in a background b,

    q_T(r, φ) = (1 − s) P_T(r, φ)/ΣP_T + s b(r)/Σb.

With n(r, φ) electrons counted on rings about a trial camera, m(r) pixels on each ring, N electrons on the
rings, and N' electrons in M' pixels outside, the log-likelihood of T turned by ρ is, with the best
intensities,

    ln L_T(ρ) = Σ_{r,φ} n(r, φ + ρ) ln q_T(r, φ) + N ln(N/Σ_r m(r) ⟨q_T⟩(r)) + N' ln(N'/M').

The first sum is a correlation along φ: a product of the frame with all library points for every angular
frequency, and an inverse Fourier transform.  Inside and outside together are the same pixels for every
camera, so cameras can be compared, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from hybridfit.fitting.candidates import Candidate, canonical
from hybridfit.fitting.search.ring_patterns import HARMONICS, RingPatterns
from hybridfit.fitting.search.settings import LIKELIHOOD, LikelihoodSettings
from hybridfit.fitting.search.templates import ANGLES, RINGS

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Electrons:
    """The pixels of a frame that are compared, and the electrons in each.

    Attributes
    ----------
    col, row : (n,) arrays, px of the frame
    counts : (n,) array
        Electrons; the frame over its gain.
    width : float, px of the frame
        Of a pixel, where several were added up.
    """

    col: Array
    row: Array
    counts: Array
    width: float = 1.0

    def on_rings(self, camera: Sequence[float], radii: Array) -> tuple[Array, Array, float]:
        """n(r, φ) and m(r), each pixel in the nearest cell, and N' ln(N'/M'): (ring, angle), (ring,), float.

        Parameters
        ----------
        camera : centre_x, centre_y (px), scale (px/mrad)
        radii : (ring,) array, mrad
        """
        x0, y0, scale = camera
        x, y = (self.col - x0) / scale, (self.row - y0) / scale
        ring = np.minimum(np.hypot(x, y) / (radii[1] - radii[0]), RINGS).astype(np.int64)
        pixels = np.bincount(ring, minlength=RINGS + 1)[:RINGS].astype(float)
        hit = (self.counts != 0) & (ring < RINGS)
        angle = np.rint(np.arctan2(y[hit], x[hit]) * (ANGLES / (2 * np.pi))).astype(np.int64) % ANGLES
        n = np.bincount(ring[hit] * ANGLES + angle, self.counts[hit], RINGS * ANGLES)
        left, rest = float(self.counts.sum() - n.sum()), len(ring) - float(pixels.sum())
        outside = left * np.log(left / rest) if left > 1e-9 and rest > 0 else 0.0
        return n.reshape(RINGS, ANGLES).astype(float), pixels, float(outside)

    def covered(self, camera: Sequence[float], radii: Array) -> float:
        """The share of a camera's rings that lies on these pixels; all of it is about 1."""
        x0, y0, scale = camera
        reach = scale * (radii[-1] + (radii[1] - radii[0]) / 2)
        inside = np.hypot(self.col - x0, self.row - y0) <= reach
        return float(inside.sum() * self.width**2 / (np.pi * reach**2))


def log_likelihood(
    electrons: Electrons, patterns: RingPatterns, camera: Sequence[float], share: float
) -> Float32:
    """(t, angle): ln L of every library point, turned by multiples of 360°/96.

    Parameters
    ----------
    electrons : Electrons
    patterns : RingPatterns
    camera : centre_x, centre_y (px), scale (px/mrad)
    share : float
        Of the electrons in the background.
    """
    n, pixels, outside = electrons.on_rings(camera, patterns.radii)
    series, mean = patterns.logarithms(share)
    own = np.ascontiguousarray(fft.rfft(n, axis=1)[:, :HARMONICS].T.astype(np.complex64))
    product = np.matmul(series, own[:, :, None])[:, :, 0].T
    correlation = fft.irfft(product, ANGLES, axis=1)
    inside = float(n.sum())
    norm = inside * np.log(np.maximum(mean @ pixels, 1e-30) / max(inside, 1e-9)) - outside
    return (correlation - norm[:, None]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Best:
    """The best camera of a frame, its background, and ln L of all library points there, (t, angle)."""

    camera: tuple[float, float, float]
    share: float
    log_likelihood: Float32


def settle(
    electrons: Electrons,
    patterns: RingPatterns,
    starts: Sequence[Sequence[float]],
    allowed: NDArray[np.bool_],
    held: tuple[bool, bool] = (False, False),
    settings: LikelihoodSettings = LIKELIHOOD,
) -> tuple[Best, ...]:
    """The likeliest cameras and backgrounds, each with ln L of all library points; the likeliest first.

    With few electrons the disc does not show where it ends, and another tilt and thickness make up for a
    wrong centre.  So some of the library points are tried with many cameras about the starts; from the best
    ones it goes downhill: all library points, the camera that the best of them lead to, again.

    Parameters
    ----------
    electrons : Electrons
    patterns : RingPatterns
    starts : sequence of (centre_x, centre_y, scale), px and px/mrad; at least one
    allowed : (angle,) bool array
        Rotations that are searched.
    held : (bool, bool)
        Whether centre and scale are known and stay.
    settings : LikelihoodSettings
    """
    found: list[Best] = []
    for camera in _about(electrons, patterns, starts, allowed, held, settings):
        share = settings.shares[len(settings.shares) // 2]
        ahead = log_likelihood(electrons, patterns, camera, share)
        for _ in range(settings.rounds):
            order = np.argsort(-ahead[:, allowed].max(axis=1))[: settings.downhill_points]
            few = patterns.part(order)
            moved, own = _downhill(electrons, few, camera, share, allowed, held, settings)
            if (moved, own) == (camera, share):
                break
            camera, share = (moved[0], moved[1], moved[2]), own
            ahead = log_likelihood(electrons, patterns, camera, share)
        found.append(Best(camera, share, ahead))
    found.sort(key=lambda best: -float(best.log_likelihood[:, allowed].max()))
    kept: list[Best] = []
    for best in found:
        if not any(_near(best.camera, other.camera, settings, 0.5) for other in kept):
            kept.append(best)
    return tuple(kept)


Place = tuple[float, float, float]


def _about(
    electrons: Electrons,
    patterns: RingPatterns,
    starts: Sequence[Sequence[float]],
    allowed: NDArray[np.bool_],
    held: tuple[bool, bool],
    settings: LikelihoodSettings,
) -> list[Place]:
    """The likeliest cameras about the starts, none near a likelier one."""
    offsets = [(0.0, 0.0)]
    for ring, distance in enumerate(settings.about_centre, start=1):
        phi = 2 * np.pi * np.arange(6 * ring) / (6 * ring)
        offsets += [] if held[0] else list(zip(distance * np.cos(phi), distance * np.sin(phi), strict=True))
    sizes = (1.0,) if held[1] else settings.about_scale
    coarse = patterns.part(_sparse(patterns))
    share = settings.shares[len(settings.shares) // 2]
    cameras: list[Place] = []
    values: list[float] = []
    for start in starts:
        x, y, scale = (float(v) for v in start)
        least = electrons.covered((x, y, scale), patterns.radii) - settings.uncovered
        for dx, dy in offsets:
            for size in sizes:
                camera = (x + dx * scale, y + dy * scale, size * scale)
                if any(_near(camera, other, settings, 0.35) for other in cameras):
                    continue
                if electrons.covered(camera, patterns.radii) >= least:
                    cameras.append(camera)
                    ahead = log_likelihood(electrons, coarse, camera, share)
                    values.append(float(ahead[:, allowed].max()))
    order = np.argsort(-np.array(values))
    kept: list[Place] = []
    for i in order:
        if values[i] < values[order[0]] - settings.about_within or len(kept) == settings.about_most:
            break
        if not any(_near(cameras[i], other, settings, 1.0) for other in kept):
            kept.append(cameras[i])
    return kept


def _near(a: Place, b: Place, settings: LikelihoodSettings, share: float) -> bool:
    """Whether two cameras are nearer than a share of the distance that makes them two."""
    apart, size = settings.apart
    far = np.hypot(a[0] - b[0], a[1] - b[1]) / b[2]
    return bool(far < share * apart and abs(a[2] / b[2] - 1) < share * size)


def _sparse(patterns: RingPatterns) -> NDArray[np.int64]:
    """Every second thickness and every second tilt."""
    thick = np.unique(patterns.thickness)
    own = patterns.thickness == thick[0]
    tilts = int(own.sum())
    if tilts * len(thick) != len(patterns.thickness) or len(thick) < 8 or tilts < 16:
        return np.arange(len(patterns.thickness))
    index = np.arange(len(patterns.thickness)).reshape(len(thick), tilts)
    return index[::2, ::2].ravel()


def _downhill(
    electrons: Electrons,
    few: RingPatterns,
    camera: tuple[float, ...],
    share: float,
    allowed: NDArray[np.bool_],
    held: tuple[bool, bool],
    settings: LikelihoodSettings,
) -> tuple[tuple[float, ...], float]:
    """The camera and the share of the background that a few library points lead to."""

    least = electrons.covered(camera, few.radii) - settings.uncovered

    def at(camera: tuple[float, ...], share: float) -> float:
        if electrons.covered(camera, few.radii) < least:
            return -np.inf
        return float(log_likelihood(electrons, few, camera, share)[:, allowed].max())

    aside = (-1, 0), (1, 0), (0, -1), (0, 1)
    now = at(camera, share)
    for shift, size in settings.downhill_steps:
        for _ in range(settings.downhill_moves):
            x, y, scale = camera
            step = shift * scale
            trials: list[tuple[tuple[float, ...], float]] = []
            if not held[0]:
                trials += [((x + dx * step, y + dy * step, scale), share) for dx, dy in aside]
            if not held[1]:
                trials += [((x, y, scale * (1 + sign * size)), share) for sign in (-1, 1)]
            place = settings.shares.index(share)
            trials += [(camera, s) for s in settings.shares[max(place - 1, 0) : place + 2] if s != share]
            found = [at(*trial) for trial in trials]
            if not found or max(found) <= now:
                break
            now, (camera, share) = max(found), trials[int(np.argmax(found))]
    return camera, share


def maxima(
    best: Best,
    patterns: RingPatterns,
    order: int,
    allowed: NDArray[np.bool_],
    least: float,
    settings: LikelihoodSettings = LIKELIHOOD,
) -> list[Candidate]:
    """Library points and rotations whose likelihood no neighbour exceeds, the likeliest first.

    Parameters
    ----------
    best : Best
    patterns : RingPatterns
    order : int
        n of the n-fold axis of the projection.
    allowed : (angle,) bool array
    least : float
        Those whose ln L is lower are left out.
    settings : LikelihoodSettings

    Returns
    -------
    list of Candidate
        chi2 is −2 ln L over that of the best.
    """
    table = np.where(allowed[None], best.log_likelihood, -np.inf)
    left, right = np.roll(table, 1, axis=1), np.roll(table, -1, axis=1)
    top = float(table.max())
    point, angle = np.nonzero((table >= left) & (table > right) & (table >= least))
    value = table[point, angle]
    first = np.argsort(-value)[: settings.most_peaks]
    point, angle, value = point[first], angle[first], value[first]
    rotation = angle * (360 / ANGLES)
    t = patterns.thickness[point]
    tau = (patterns.tilt_x[point] + 1j * patterns.tilt_y[point]) * np.exp(1j * np.deg2rad(rotation))
    sector = 360 / order
    kept: list[int] = []
    for i in range(len(value)):
        apart = np.abs((rotation[:i] - rotation[i] + sector / 2) % sector - sector / 2)
        near = (np.abs(t[:i] - t[i]) <= settings.neighbour_thickness) & (
            np.abs(tau[:i] - tau[i]) <= settings.neighbour_tilt
        )
        if not (near & (apart <= settings.neighbour_rotation)).any():
            kept.append(i)
        if len(kept) == settings.most_maxima:
            break
    out = []
    for i in kept:
        x, y, turned = canonical(
            float(patterns.tilt_x[point[i]]), float(patterns.tilt_y[point[i]]), float(rotation[i]), order
        )
        out.append(Candidate(float(t[i]), x, y, *best.camera, turned, float(2 * (top - value[i]))))
    return out
