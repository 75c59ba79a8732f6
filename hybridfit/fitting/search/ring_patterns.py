"""Patterns of every library point on rings: what frames of few electrons are compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from hybridfit.fitting.search.settings import SEARCH, SearchSettings
from hybridfit.fitting.search.templates import ANGLES, RINGS, TOGETHER, ring_radii
from hybridfit.library.library import Library
from hybridfit.pattern.background import basis
from hybridfit.pattern.series import compose_series, side_by_side

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

BACKGROUND_HEIGHTS = (0.15, 1.0, 0.5)  # of the constant and the two Gaussians of a radial background
HARMONICS = 33  # of ln q along φ


@dataclass(frozen=True, eq=False)
class RingPatterns:
    """Patterns of library points on rings.

    Attributes
    ----------
    values : (t, ring, angle) float16 array
        P, in units of the incident intensity.
    thickness, tilt_x, tilt_y : (t,) arrays, nm and mrad
    semi_angle : float, mrad
    beyond_disc : float, mrad
        The rings reach so far beyond the direct disc.
    """

    values: NDArray[np.float16]
    thickness: Array
    tilt_x: Array
    tilt_y: Array
    semi_angle: float
    beyond_disc: float = SEARCH.beyond_disc
    _logarithms: dict[float, tuple[NDArray[np.complex64], Float32]] = field(default_factory=dict, repr=False)

    @property
    def radii(self) -> Array:
        """Radii of the rings (mrad)."""
        return ring_radii(self.semi_angle, self.beyond_disc)

    def logarithms(self, share: float) -> tuple[NDArray[np.complex64], Float32]:
        """ln q as a conjugate Fourier series along φ, (harmonic, t, ring), and ⟨q⟩ on every ring, (t, ring).

        Kept: frames of one camera have the same backgrounds.
        """
        if share not in self._logarithms:
            self._logarithms[share] = self._at_share(share)
        return self._logarithms[share]

    def _at_share(self, share: float) -> tuple[NDArray[np.complex64], Float32]:
        radii = self.radii
        components, _, _ = basis("radial", np.stack([radii, np.zeros(RINGS)]), self.semi_angle)
        background = np.array(BACKGROUND_HEIGHTS) @ components
        area = radii / ANGLES
        background = (share / (background * area * ANGLES).sum() * background).astype(np.float32)
        count = len(self.thickness)
        series = np.empty((HARMONICS, count, RINGS), np.complex64)
        mean = np.empty((count, RINGS), np.float32)
        for begin in range(0, count, 512):  # so many that they stay in the cache
            some = slice(begin, begin + 512)
            p = np.maximum(self.values[some].astype(np.float32), 0)
            scale = (1 - share) / np.maximum(np.einsum("tra,r->t", p, area), 1e-12)
            q = p * scale[:, None, None].astype(np.float32) + background[:, None]
            mean[some] = q.mean(axis=2)
            np.log(q, out=q)
            series[:, some] = np.moveaxis(fft.rfft(q, axis=2)[:, :, :HARMONICS].conj(), 2, 0)
        return series, mean

    def part(self, index: NDArray[np.int64]) -> RingPatterns:
        """Some of them."""
        kept = {
            share: (np.ascontiguousarray(series[:, index]), mean[index])
            for share, (series, mean) in self._logarithms.items()
        }
        return RingPatterns(
            self.values[index],
            self.thickness[index],
            self.tilt_x[index],
            self.tilt_y[index],
            self.semi_angle,
            self.beyond_disc,
            kept,
        )


def make_ring_patterns(
    library: Library,
    semi_angle: float,
    thickness: Array,
    tilts: Array,
    *,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
    settings: SearchSettings = SEARCH,
) -> NDArray[np.float16]:
    """Compose every combination of thicknesses (n,), nm, and tilts (m, 2), mrad: (n · m, ring, angle)."""
    radii = ring_radii(semi_angle, settings.beyond_disc)
    phi = 2 * np.pi * np.arange(ANGLES) / ANGLES
    kx, ky = np.outer(radii, np.cos(phi)).ravel(), np.outer(radii, np.sin(phi)).ravel()
    table = library.table(k_max=float(radii[-1]), semi_angle=semi_angle + settings.softness)
    values = np.empty((len(thickness), len(tilts), RINGS, ANGLES), np.float16)
    for begin in range(0, len(thickness), TOGETHER):
        some = slice(begin, begin + TOGETHER)
        beams = side_by_side(table, thickness[some])

        def work(indices: Iterable[int], beams: Float32 = beams, some: slice = some) -> None:
            for j in indices:
                rings = compose_series(
                    kx, ky, table, beams, tilts[j, 0], tilts[j, 1], semi_angle, settings.softness
                )
                values[some, j] = rings.T.reshape(-1, RINGS, ANGLES)
                if progress is not None:
                    progress((some.start * len(tilts) + j + 1) / (len(thickness) * len(tilts)))

        shares = [range(start, len(tilts), workers) for start in range(workers)]
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, shares))
    return values.reshape(-1, RINGS, ANGLES)


def load_patterns(path: Path, count: int) -> NDArray[np.float16] | None:
    """So many patterns from the cache, or None where it has none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        values = np.load(path, allow_pickle=False)
        if values.shape == (count, RINGS, ANGLES) and values.dtype == np.float16:
            return values
    return None


def ring_patterns(
    values: NDArray[np.float16],
    thickness: Array,
    tilts: Array,
    semi_angle: float,
    settings: SearchSettings = SEARCH,
) -> RingPatterns:
    """Patterns ordered by thickness (n,), then by tilt (m, 2)."""
    x, y = (np.tile(tilt, len(thickness)) for tilt in tilts.T)
    return RingPatterns(values, np.repeat(thickness, len(tilts)), x, y, semi_angle, settings.beyond_disc)
