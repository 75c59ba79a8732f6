"""Templates: library points on rings, for the search.

A template is the pattern of a library point (thickness t, tilt τ) on rings r about the direct disc,

    T(r, φ) = √r · [P(r, φ; t, τ) − B(r)],    ∫∫ T² dr dφ = 1,

B: its projection on the radial background.  It is kept as its Fourier series along φ, so that a rotation
is a phase factor of each harmonic.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from hybridfit.fitting.search.settings import SEARCH, SearchSettings
from hybridfit.io import atomic_path
from hybridfit.library.library import Library
from hybridfit.pattern.background import basis
from hybridfit.pattern.series import compose_series, side_by_side

Array = NDArray[np.float64]

RINGS = 24
ANGLES = 96  # samples along φ; rotation is found to a fraction of 360°/96 by interpolation
HARMONICS = 28
TOGETHER = 32  # thicknesses that are composed together: more take more memory


@dataclass(frozen=True, eq=False)
class Templates:
    """Library points on rings, background removed, normalised, as Fourier series along φ.

    Attributes
    ----------
    series : (template, harmonic, 2, ring) float32 array
        Real and imaginary parts.
    thickness, tilt_x, tilt_y : (template,) arrays, nm and mrad
    semi_angle : float, mrad
    beyond_disc : float, mrad
        The rings reach so far beyond the direct disc.
    """

    series: NDArray[np.float32]
    thickness: Array
    tilt_x: Array
    tilt_y: Array
    semi_angle: float
    beyond_disc: float

    @classmethod
    def of(
        cls,
        series: NDArray[np.float32],
        thickness: Array,
        tilts: Array,
        semi_angle: float,
        beyond_disc: float = SEARCH.beyond_disc,
    ) -> Templates:
        """Series ordered by thickness, then by tilt."""
        x, y = (np.tile(tilt, len(thickness)) for tilt in tilts.T)
        return cls(series, np.repeat(thickness, len(tilts)), x, y, semi_angle, beyond_disc)

    @cached_property
    def by_harmonic(self) -> NDArray[np.float32]:
        """(harmonic, 2 ring, template): the same as `series`, as products want it."""
        flat = self.series.reshape(*self.series.shape[:2], -1)
        return np.ascontiguousarray(flat.transpose(1, 2, 0))

    @property
    def radii(self) -> Array:
        """Radii of the rings (mrad)."""
        return ring_radii(self.semi_angle, self.beyond_disc)

    @property
    def thicknesses(self) -> int:
        """Number of thicknesses."""
        return len(np.unique(self.thickness))

    def unexplained_curve(self) -> Array:
        """(2, n): every thickness (nm), and the χ² of a frame that nothing resembles, 1."""
        thickness = np.unique(self.thickness)
        return np.stack([thickness, np.ones(len(thickness))])

    def part(self, index: NDArray[np.int64]) -> Templates:
        """Some of them."""
        return replace(
            self,
            series=self.series[index],
            thickness=self.thickness[index],
            tilt_x=self.tilt_x[index],
            tilt_y=self.tilt_y[index],
        )

    def inside(self, rim: float) -> NDArray[np.float32]:
        """As `by_harmonic`, on the rings alone that are farther inside the direct disc than `rim` (mrad)."""
        seen = self.radii < self.semi_angle - rim
        series = self.series[..., seen]
        q = background_on_rings(self.radii, self.semi_angle, seen).astype(np.float32)
        series[:, 0] -= series[:, 0] @ q @ q.T
        series /= np.sqrt(np.maximum(power_of(series), 1e-12))[:, None, None, None].astype(np.float32)
        return np.ascontiguousarray(series.reshape(*series.shape[:2], -1).transpose(1, 2, 0))

    def sparse(self, each_thickness: int, each_tilt: int) -> Templates:
        """One of so many thicknesses, each with one of so many tilts."""
        index = np.arange(len(self.thickness)).reshape(self.thicknesses, -1)
        return self.part(index[::each_thickness, ::each_tilt].ravel())


def ring_radii(semi_angle: float, beyond_disc: float = SEARCH.beyond_disc) -> Array:
    """Radii (mrad) of the rings for a semi-angle (mrad)."""
    return (np.arange(RINGS) + 0.5) * (semi_angle + beyond_disc) / RINGS


def make_templates(
    library: Library,
    semi_angle: float,
    thickness: Array,
    tilts: Array,
    *,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
    settings: SearchSettings = SEARCH,
) -> Templates:
    """Compose every combination of thicknesses and tilts on the rings.

    Parameters
    ----------
    library : Library, in memory
    semi_angle : float, mrad
    thickness : (n,) array, nm
    tilts : (m, 2) array, mrad
    workers : int, threads
    progress : callable(fraction), optional
    settings : SearchSettings
    """
    softness = settings.softness
    radii = ring_radii(semi_angle, settings.beyond_disc)
    phi = 2 * np.pi * np.arange(ANGLES) / ANGLES
    kx, ky = np.outer(radii, np.cos(phi)).ravel(), np.outer(radii, np.sin(phi)).ravel()
    table = library.table(k_max=float(radii[-1]), semi_angle=semi_angle + softness)
    remove = background_remover(radii, semi_angle)
    series = np.empty((len(thickness), len(tilts), HARMONICS, 2, RINGS), np.float32)
    for begin in range(0, len(thickness), TOGETHER):
        some = slice(begin, begin + TOGETHER)
        beams = side_by_side(table, thickness[some])

        def work(indices: Iterable[int], beams: NDArray[np.float32] = beams, some: slice = some) -> None:
            for j in indices:
                rings = compose_series(kx, ky, table, beams, tilts[j, 0], tilts[j, 1], semi_angle, softness)
                several = np.ascontiguousarray(rings.T).reshape(-1, RINGS, ANGLES)
                series[some][:, j] = parts_of(remove(several))
                if progress is not None:
                    progress((some.start * len(tilts) + j + 1) / (len(thickness) * len(tilts)))

        shares = [range(start, len(tilts), workers) for start in range(workers)]
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, shares))
    flat = series.reshape(-1, HARMONICS, 2, RINGS)
    flat /= np.maximum(np.sqrt(power_of(flat)), 1e-12)[:, None, None, None].astype(np.float32)
    return Templates.of(flat, thickness, tilts, semi_angle, settings.beyond_disc)


def tilt_grid(tilt_max: float, rotation_order: int, step: float = SEARCH.tilt_step) -> Array:
    """Tilts (n, 2) (mrad) in one sector of the n-fold axis; rotation of the pattern covers the rest."""
    points = [(0.0, 0.0)]
    for radius in np.arange(step, tilt_max + step / 2, step):
        sector = 2 * np.pi / rotation_order
        count = max(1, round(radius * sector / step))
        points += [
            (radius * np.cos(a), radius * np.sin(a)) for a in (np.arange(count) + 0.5) * sector / count
        ]
    return np.array(points)


def background_remover(radii: Array, semi_angle: float) -> Callable[[Array], NDArray[np.complex128]]:
    """A function from (…, ring, angle) to weighted (…, ring, harmonic) without the radial background.

    The weight of a ring is √r; the background changes the mean over φ alone.
    """
    weight = np.sqrt(radii / radii.sum())
    q = background_on_rings(radii, semi_angle)

    def remove(rings: Array) -> NDArray[np.complex128]:
        series = fft.rfft(rings, axis=-1)[..., :HARMONICS] * (weight[:, None] / ANGLES)
        series[..., 0] -= series[..., 0] @ q @ q.T
        return series

    return remove


def background_on_rings(radii: Array, semi_angle: float, seen: NDArray[np.bool_] | None = None) -> Array:
    """(ring, n): what spans the weighted radial background on those rings that are seen, by default all."""
    weight = np.sqrt(radii / radii.sum())
    values, _, _ = basis("radial", np.stack([radii, np.zeros(RINGS)]), semi_angle)
    q, _ = np.linalg.qr((values * weight)[:, slice(None) if seen is None else seen].T)
    return q


def parts_of(series: NDArray[np.complex128]) -> NDArray[np.float32]:
    """(…, ring, harmonic) complex → (…, harmonic, 2, ring) float32."""
    turned = np.swapaxes(series, -1, -2)
    return np.stack([turned.real, turned.imag], axis=-2, dtype=np.float32, casting="same_kind")


def power_of(series: NDArray[np.float32]) -> Array:
    """Σ over rings and angles of the square, for each of (template, harmonic, 2, ring)."""
    factor = np.full(series.shape[1], 2.0, np.float32)
    factor[0] = 1.0
    return np.einsum("thcr,thcr,h->t", series, series, factor)


def load_quietly(path: Path, count: int) -> NDArray[np.float32] | None:
    """So many templates from the cache, or None where it has none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        series = np.load(path, allow_pickle=False)
        if series.shape == (count, HARMONICS, 2, RINGS) and series.dtype == np.float32:
            return series
    return None


def save_quietly(path: Path, series: NDArray[np.floating]) -> None:
    """Keep templates in the cache, unless the disk is full or read-only."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            np.save(temporary, series, allow_pickle=False)
