"""Search: the least χ² over thickness, tilt, rotation, scale and shift, on a coarse grid.

The frame is resampled on rings about a trial centre, at a trial scale: E(r, φ).  The pattern of a
library point (t, τ) on the same rings is T(r, φ).  With weights r dr dφ and the background (which
is rotationally symmetric) projected out of both,

    χ²(ρ) = |E|² − C(ρ)²/|T|²,      C(ρ) = ∫∫ E(r, φ + ρ) T(r, φ) r dr dφ,

is the sum of squares with the best intensity factor and background, for every rotation ρ.  C is
a correlation along φ, so all rotations of all library points come out of one product for every
angular frequency and one inverse Fourier transform.

The same engine does the full search (whole library, any rotation) and the windowed one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from hybridfit.fitting.binning import bin_frame, fill_masked
from hybridfit.fitting.cameras import SHIFT_STEP, around, trial_cameras
from hybridfit.fitting.candidates import Candidate, canonical
from hybridfit.fitting.hints import Hints
from hybridfit.frame import Frame
from hybridfit.io import atomic_path
from hybridfit.library import Library, cache_folder
from hybridfit.pattern.background import basis
from hybridfit.pattern.compose import compose_values
from hybridfit.pattern.expand import at_thickness, unfold, workspace
from hybridfit.pattern.rings import best_rotations

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

RINGS = 24
ANGLES = 96  # samples along φ; rotation is found to a fraction of 360°/96 by interpolation
HARMONICS = 28
BEYOND_DISC = 5.0  # mrad around the direct disc that are searched
SOFTNESS = 0.45  # mrad, half-width of the template's disc edges: what the rings resolve
TILT_STEP = 0.5  # mrad
THICKNESS_STEP = 2.0  # nm
WINDOW = (3.0, 1.0)  # nm, mrad: half-widths of the search about a hint
HINTED_ROTATION = 5.0  # degrees either way
SEARCHED_RADIUS_PX = 36  # frames with more pixels than the rings resolve are binned
PARENTS = (0, 3, 2)  # cameras that each level of the search refines: all trial cameras first
TEMPLATE_VERSION = 3


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
    largest = float(np.hypot(*tilts.T).max())
    middle, half = (thickness[0] + thickness[-1]) / 2, (thickness[-1] - thickness[0]) / 2
    window = library.window(middle, half_widths=(half, largest + 0.1), semi_angle=semi_angle)
    table = window.table(k_max=float(radii[-1]) + largest, semi_angle=semi_angle)
    # around zero tilt, far enough for every tilt: unfolded once per thickness
    reach = semi_angle + SOFTNESS + largest
    remove = _background_remover(semi_angle)
    series = np.empty((len(thickness), len(tilts), HARMONICS, 2, RINGS), np.float32)

    def work(indices: Iterable[int]) -> None:
        cube = workspace(table, reach, 1)
        for i in indices:
            blend = at_thickness(
                table.intensity, table.thickness_first, table.thickness_step, thickness[i], 1
            )
            _, first = unfold(table, blend, (0.0, 0.0), reach, float(radii[-1]) + largest, cube)
            for j, tilt in enumerate(tilts):
                ring = compose_values(kx, ky, table, cube, first, tilt[0], tilt[1], semi_angle, SOFTNESS)
                series[i, j] = _parts(remove(ring.reshape(RINGS, ANGLES)).T)
            if progress is not None:
                progress((i + 1) / len(thickness))

    shares = [range(start, len(thickness), workers) for start in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, shares))
    flat = series.reshape(-1, HARMONICS, 2, RINGS)
    flat /= np.maximum(np.sqrt(_power(flat)), 1e-12)[:, None, None, None].astype(np.float32)
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


def match(
    image: Array,
    valid: NDArray[np.bool_],
    templates: Templates,
    cameras: Array,
    *,
    rotation_range: tuple[float, float] | None = None,
    workers: int = 1,
) -> tuple[Float32, Float32]:
    """χ² of every template for every trial camera, at the best rotation.

    Parameters
    ----------
    image, valid : (rows, cols) arrays
    templates : Templates
    cameras : (c, 3) array
        centre_x, centre_y (px) and scale (px/mrad).
    rotation_range : (low, high) in degrees, optional

    Returns
    -------
    chi2, rotation : (c, template) arrays; χ² relative to the frame's variance, degrees
    """
    filled = fill_masked(image, valid)
    chi2 = np.empty((len(cameras), templates.series.shape[0]), np.float32)
    rotation = np.empty_like(chi2)
    remove = _background_remover(templates.semi_angle)
    angles = np.arange(ANGLES) * 360 / ANGLES
    if rotation_range is None:
        allowed = np.ones(ANGLES, bool)
    else:
        low, high = rotation_range
        allowed = np.abs((angles - (low + high) / 2 + 180) % 360 - 180) <= (high - low) / 2 + 360 / ANGLES

    def work(indices: Iterable[int]) -> None:
        for i in indices:
            rings = _parts(remove(_on_rings(filled, cameras[i], templates.radii)).T)
            best_rotations(templates.series, rings, allowed, chi2[i], rotation[i])
            power = float(_power(rings[None])[0])
            chi2[i] = 1 - np.maximum(chi2[i], 0) ** 2 / max(power, 1e-12)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, [range(start, len(cameras), workers) for start in range(workers)]))
    rotation *= 360 / ANGLES
    return chi2, (rotation + 180) % 360 - 180


def candidates(
    templates: Templates,
    cameras: Array,
    chi2: Float32,
    rotation: Float32,
    rotation_order: int,
    most: int = 12,
) -> list[Candidate]:
    """The best library points, each with its best camera, no two of them neighbours.

    A point counts when no neighbour, in thickness or in tilt, is better: the flanks of a deep
    minimum are none of their own.
    """
    camera = np.argmin(chi2, axis=0)
    columns = np.arange(chi2.shape[1])
    score, turn = chi2[camera, columns], rotation[camera, columns]
    minimum = _local_minima(templates, score, rotation_order)
    kept: list[Candidate] = []
    for i in np.flatnonzero(minimum)[np.argsort(score[minimum])][:most]:
        x, y, angle = canonical(
            float(templates.tilt_x[i]), float(templates.tilt_y[i]), float(turn[i]), rotation_order
        )
        t = float(templates.thickness[i])
        centre_x, centre_y, scale = (float(v) for v in cameras[camera[i]])
        kept.append(Candidate(t, x, y, centre_x, centre_y, scale, angle, float(score[i])))
    return kept


def _local_minima(templates: Templates, score: Float32, order: int) -> NDArray[np.bool_]:
    """Templates that no neighbour beats: one step in thickness, 1.6 steps in tilt."""
    count = len(np.unique(templates.thickness))
    grid = score.reshape(count, -1)
    tilt = (templates.tilt_x + 1j * templates.tilt_y)[: grid.shape[1]]
    turns = np.exp(2j * np.pi * np.arange(order) / order)
    distance = np.abs(tilt[:, None, None] * turns - tilt[None, :, None]).min(axis=2)
    near = distance <= 1.6 * TILT_STEP
    best = np.stack([grid[:, neighbours].min(axis=1) for neighbours in near], axis=1)
    padded = np.pad(best, ((1, 1), (0, 0)), constant_values=np.inf)
    lowest = np.minimum(np.minimum(padded[:-2], padded[1:-1]), padded[2:])
    return (grid <= lowest).ravel()


class Searcher:
    """The search over one library at one semi-angle; its templates are made once.

    Parameters
    ----------
    library : Library, in memory
    semi_angle : float, mrad
    hints : Hints
        A thickness or a tilt restricts the search to a window about it.
    workers : int, threads
    progress : callable(stage, fraction)
    """

    def __init__(
        self,
        library: Library,
        semi_angle: float,
        *,
        hints: Hints,
        workers: int,
        progress: Callable[[str, float], None],
    ) -> None:
        self.library = library
        self.semi_angle = semi_angle
        self.hints = hints
        self.workers = workers
        self.progress = progress
        self._templates: Templates | None = None

    def search(self, frame: Frame) -> tuple[list[Candidate], Array]:
        """Candidates, best first, and the least χ² found at every thickness (2, n).

        Raises
        ------
        InputError
            The frame shows no direct disc.
        """
        templates = self.templates()
        cameras = trial_cameras(frame, self.hints, self.semi_angle)
        factor = max(1, int(np.median(cameras[:, 2]) * (self.semi_angle + BEYOND_DISC) / SEARCHED_RADIUS_PX))
        image, valid = bin_frame(frame.image, frame.valid, factor)
        rotation = self.hints.rotation
        turn = None if rotation is None else (rotation - HINTED_ROTATION, rotation + HINTED_ROTATION)
        chi2 = np.empty((0, len(templates.thickness)), np.float32)
        angles = np.empty_like(chi2)
        tried = np.empty((0, 3))
        for level, parents in enumerate(PARENTS):
            if level:
                best = tried[np.argsort(chi2.min(axis=1))[:parents]]
                cameras = around(best, SHIFT_STEP * 0.5**level, self.hints.scale_step * 0.5**level)
            binned = cameras.copy()
            binned[:, :2] = (binned[:, :2] - (factor - 1) / 2) / factor
            binned[:, 2] /= factor
            found = match(image, valid, templates, binned, rotation_range=turn, workers=self.workers)
            chi2, angles = np.vstack([chi2, found[0]]), np.vstack([angles, found[1]])
            tried = np.vstack([tried, cameras])
            self.progress("search", (level + 1) / len(PARENTS))
        thickness = np.unique(templates.thickness)
        by_template = chi2.min(axis=0)
        least = np.array([by_template[templates.thickness == t].min() for t in thickness])
        found_candidates = candidates(templates, tried, chi2, angles, self.library.rotation_order)
        return found_candidates, np.stack([thickness, least])

    def templates(self) -> Templates:
        """The library points that are searched; those of a whole library are kept in the cache."""
        if self._templates is None:
            low, high = self.library.thickness_range
            order = self.library.rotation_order
            thickness = np.arange(low, high + 1e-9, THICKNESS_STEP)
            if self.hints.thickness is not None:
                thickness = self.hints.thickness + np.arange(-WINDOW[0], WINDOW[0] + 0.5)
                thickness = thickness[(thickness >= low) & (thickness <= high)]
            limit = self.library.tilt_max + self.library.semi_angle_max - self.semi_angle
            tilts = tilt_grid(min(self.library.tilt_max, limit), order)
            if self.hints.tilt is not None:
                tilts = tilt_grid(WINDOW[1], 1) + np.array(self.hints.tilt)
                tilts = tilts[np.hypot(*tilts.T) <= limit + 1e-9]
            checksum = str(self.library.dataset.attrs["checksum"])
            name = (
                f"rings-{checksum[:12]}-{self.semi_angle:.4f}mrad-{low:g}-{high:g}nm-v{TEMPLATE_VERSION}.npy"
            )
            path = cache_folder() / name
            whole = self.hints.thickness is None and self.hints.tilt is None
            series = _load_quietly(path, len(thickness) * len(tilts)) if whole else None
            if series is None:
                series = make_templates(
                    self.library,
                    self.semi_angle,
                    thickness,
                    tilts,
                    workers=self.workers,
                    progress=lambda fraction: self.progress("templates", fraction),
                ).series
                if whole:
                    _save_quietly(path, series)
            self._templates = Templates.of(series, thickness, tilts, self.semi_angle)
        return self._templates


def _load_quietly(path: Path, count: int) -> NDArray[np.float32] | None:
    """Templates from the cache, or None where they are not to be had."""
    with contextlib.suppress(OSError, ValueError):
        series = np.load(path, allow_pickle=False)
        if series.shape == (count, HARMONICS, 2, RINGS) and series.dtype == np.float32:
            return series
    return None


def _save_quietly(path: Path, series: NDArray[np.float32]) -> None:
    """Keep templates in the cache; a full or read-only disk is no reason to fail."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            np.save(temporary, series, allow_pickle=False)


def _on_rings(image: Array, camera: Array, radii: Array) -> Array:
    """(ring, angle) samples of the frame about a trial centre."""
    phi = 2 * np.pi * np.arange(ANGLES) / ANGLES
    col = camera[0] + camera[2] * np.outer(radii, np.cos(phi))
    row = camera[1] + camera[2] * np.outer(radii, np.sin(phi))
    return ndimage.map_coordinates(image, [row, col], order=1, mode="nearest")


def _background_remover(semi_angle: float) -> Callable[[Array], NDArray[np.complex128]]:
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


def _parts(series: NDArray[np.complex128]) -> NDArray[np.float32]:
    """(harmonic, ring) complex → (harmonic, 2, ring) float32."""
    return np.stack([series.real, series.imag], axis=1).astype(np.float32)


def _power(series: NDArray[np.float32]) -> Array:
    """Σ over rings and angles of the square, for each of (template, harmonic, 2, ring)."""
    factor = np.full(series.shape[1], 2.0, np.float32)
    factor[0] = 1.0
    return np.einsum("thcr,thcr,h->t", series, series, factor)
