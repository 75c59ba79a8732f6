"""Templates: library points on rings, for the search.

T(r, φ) with weights r dr dφ, the radial background projected out and |T| = 1, is kept as its
Fourier series along φ.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from hybridfit.io import atomic_path
from hybridfit.library.library import Library
from hybridfit.pattern.background import basis
from hybridfit.pattern.series import compose_series, side_by_side

Array = NDArray[np.float64]

RINGS = 24
ANGLES = 96  # samples along φ; rotation is found to a fraction of 360°/96 by interpolation
HARMONICS = 28
BEYOND_DISC = 5.0  # mrad around the direct disc that are searched
SOFTNESS = 0.45  # mrad, half-width of the template's disc edges: what the rings resolve
TILT_STEP = 0.5  # mrad
TOGETHER = 32  # thicknesses that are composed together: more take more memory


@dataclass(frozen=True)
class Templates:
    """Library points on rings, background removed, normalised, as Fourier series along φ.

    series : (template, harmonic, 2, ring) float32: real and imaginary parts
    thickness, tilt_x, tilt_y : (template,)
    """

    series: NDArray[np.float32]
    thickness: Array
    tilt_x: Array
    tilt_y: Array
    semi_angle: float

    @classmethod
    def of(cls, series: NDArray[np.float32], thickness: Array, tilts: Array, semi_angle: float) -> Templates:
        """Series ordered by thickness, then by tilt."""
        x, y = (np.tile(tilt, len(thickness)) for tilt in tilts.T)
        return cls(series, np.repeat(thickness, len(tilts)), x, y, semi_angle)

    @property
    def radii(self) -> Array:
        """Radii of the rings (mrad)."""
        return ring_radii(self.semi_angle)


def ring_radii(semi_angle: float) -> Array:
    """Radii (mrad) of the rings for a semi-angle (mrad)."""
    return (np.arange(RINGS) + 0.5) * (semi_angle + BEYOND_DISC) / RINGS


def make_templates(
    library: Library,
    semi_angle: float,
    thickness: Array,
    tilts: Array,
    *,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Templates:
    """Compose every combination of thicknesses (nm) and tilts (n, 2) (mrad) on the rings."""
    radii = ring_radii(semi_angle)
    phi = 2 * np.pi * np.arange(ANGLES) / ANGLES
    kx, ky = np.outer(radii, np.cos(phi)).ravel(), np.outer(radii, np.sin(phi)).ravel()
    table = library.table(k_max=float(radii[-1]), semi_angle=semi_angle + SOFTNESS)
    remove = background_remover(semi_angle)
    series = np.empty((len(thickness), len(tilts), HARMONICS, 2, RINGS), np.float32)
    for begin in range(0, len(thickness), TOGETHER):
        some = slice(begin, begin + TOGETHER)
        beams = side_by_side(table, thickness[some])

        def work(indices: Iterable[int], beams: NDArray[np.float32] = beams, some: slice = some) -> None:
            for j in indices:
                rings = compose_series(kx, ky, table, beams, tilts[j, 0], tilts[j, 1], semi_angle, SOFTNESS)
                for i, ring in enumerate(np.ascontiguousarray(rings.T)):
                    series[some][i, j] = parts_of(remove(ring.reshape(RINGS, ANGLES)).T)
                if progress is not None:
                    progress((some.start * len(tilts) + j + 1) / (len(thickness) * len(tilts)))

        shares = [range(start, len(tilts), workers) for start in range(workers)]
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, shares))
    flat = series.reshape(-1, HARMONICS, 2, RINGS)
    flat /= np.maximum(np.sqrt(power_of(flat)), 1e-12)[:, None, None, None].astype(np.float32)
    return Templates.of(flat, thickness, tilts, semi_angle)


def tilt_grid(tilt_max: float, rotation_order: int, step: float = TILT_STEP) -> Array:
    """Tilts (n, 2) (mrad) in one sector of the n-fold axis; rotation of the pattern covers the rest."""
    points = [(0.0, 0.0)]
    for radius in np.arange(step, tilt_max + step / 2, step):
        sector = 2 * np.pi / rotation_order
        count = max(1, round(radius * sector / step))
        points += [
            (radius * np.cos(a), radius * np.sin(a)) for a in (np.arange(count) + 0.5) * sector / count
        ]
    return np.array(points)


def background_remover(semi_angle: float) -> Callable[[Array], NDArray[np.complex128]]:
    """A function from (ring, angle) to weighted (ring, harmonic) without the radial background."""
    radii = ring_radii(semi_angle)
    weight = np.sqrt(radii / radii.sum())
    values, _, _ = basis("radial", np.stack([radii, np.zeros(RINGS)]), semi_angle)
    q, _ = np.linalg.qr((values * weight).T)

    def remove(rings: Array) -> NDArray[np.complex128]:
        series = fft.rfft(rings, axis=1)[:, :HARMONICS] / ANGLES * weight[:, None]
        series[:, 0] -= q @ (q.T @ series[:, 0])
        return series

    return remove


def parts_of(series: NDArray[np.complex128]) -> NDArray[np.float32]:
    """(harmonic, ring) complex → (harmonic, 2, ring) float32."""
    return np.stack([series.real, series.imag], axis=1).astype(np.float32)


def power_of(series: NDArray[np.float32]) -> Array:
    """Σ over rings and angles of the square, for each of (template, harmonic, 2, ring)."""
    factor = np.full(series.shape[1], 2.0, np.float32)
    factor[0] = 1.0
    return np.einsum("thcr,thcr,h->t", series, series, factor)


def load_quietly(path: Path, count: int) -> NDArray[np.float32] | None:
    """Templates from the cache, or None where they are not to be had."""
    with contextlib.suppress(OSError, ValueError):
        series = np.load(path, allow_pickle=False)
        if series.shape == (count, HARMONICS, 2, RINGS) and series.dtype == np.float32:
            return series
    return None


def save_quietly(path: Path, series: NDArray[np.float32]) -> None:
    """Keep templates in the cache; a full or read-only disk is no reason to fail."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            np.save(temporary, series, allow_pickle=False)
