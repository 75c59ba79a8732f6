"""Search: the least χ² over thickness, tilt, rotation, scale and shift, on a coarse grid.

The frame is resampled on rings about a trial centre, at a trial scale: E(r, φ).  The pattern of a
library point (t, τ) on the same rings is T(r, φ).  With weights r dr dφ and the background (which
is rotationally symmetric) projected out of both,

    χ²(ρ) = |E|² − C(ρ)²/|T|²,      C(ρ) = ∫∫ E(r, φ + ρ) T(r, φ) r dr dφ,

is the sum of squares with the best intensity factor and background, for every rotation ρ.  C is
a correlation along φ, so all rotations of all library points come out of one product for every
angular frequency and one inverse Fourier transform.

That is relative to what the frame has inside the rings, which differs from one trial camera to the
next: cameras are compared by the sum of squares over the whole frame (`scoring`).

The same engine does the full search (whole library, any rotation) and the windowed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridfit.fitting.candidates import WINDOW, Candidate, canonical
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.search.cameras import SHIFT_STEP, around, trial_cameras, wide_cameras
from hybridfit.fitting.search.templates import (
    ANGLES,
    BEYOND_DISC,
    TILT_STEP,
    Templates,
    background_remover,
    load_quietly,
    make_templates,
    parts_of,
    power_of,
    ring_radii,
    save_quietly,
    tilt_grid,
)
from hybridfit.fitting.search.trials import unexplained
from hybridfit.frame import Frame
from hybridfit.library.build import VERSION
from hybridfit.library.library import Library, cache_folder
from hybridfit.pattern.binning import bin_frame, fill_masked
from hybridfit.pattern.rings import best_rotations

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

THICKNESS_STEP = 2.0  # nm
HINTED_ROTATION = 5.0  # degrees either way
SEARCHED_RADIUS_PX = 36  # frames with more pixels than the rings resolve are binned
# after the trial cameras: how many of the best each level refines, and its steps
LEVELS = ((3, 0.5), (2, 0.25))
WIDE_LEVELS = ((4, 1.0), *LEVELS)
MISLED = 0.3  # χ² above which the rim of the disc may have misled: cameras all around are tried, too
TEMPLATE_VERSION = 3
WORTH = 0.25  # of what the best library point explains: with less a point is none to refine


def match(
    image: Array,
    valid: NDArray[np.bool_],
    templates: Templates,
    cameras: Array,
    *,
    rotation_range: tuple[float, float] | None = None,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
) -> tuple[Float32, Float32]:
    """χ² of every template for every trial camera, at the best rotation.

    Parameters
    ----------
    image, valid : (rows, cols) arrays
    templates : Templates
    cameras : (c, 3) array
        centre_x, centre_y (px) and scale (px/mrad).
    rotation_range : (low, high) in degrees, optional
    workers : int, threads
    progress : callable(fraction), optional

    Returns
    -------
    chi2, rotation : (c, template) arrays; χ² relative to `ring_power`, degrees
    """
    filled = fill_masked(image, valid)
    chi2 = np.empty((len(cameras), templates.series.shape[0]), np.float32)
    rotation = np.empty_like(chi2)
    remove = background_remover(templates.semi_angle)
    angles = np.arange(ANGLES) * 360 / ANGLES
    if rotation_range is None:
        allowed = np.ones(ANGLES, bool)
    else:
        low, high = rotation_range
        allowed = np.abs((angles - (low + high) / 2 + 180) % 360 - 180) <= (high - low) / 2 + 360 / ANGLES

    def work(indices: Iterable[int]) -> None:
        for i in indices:
            rings = parts_of(remove(_on_rings(filled, cameras[i], templates.radii)).T)
            best_rotations(templates.series, rings, allowed, chi2[i], rotation[i])
            power = float(power_of(rings[None])[0])
            chi2[i] = 1 - np.maximum(chi2[i], 0) ** 2 / max(power, 1e-12)
            if progress is not None:
                progress((i + 1) / len(cameras))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, [range(start, len(cameras), workers) for start in range(workers)]))
    rotation *= 360 / ANGLES
    return chi2, (rotation + 180) % 360 - 180


def ring_power(image: Array, valid: NDArray[np.bool_], cameras: Array, semi_angle: float) -> Array:
    """Variance of a frame on the rings about each camera (c, 3), background removed."""
    filled, remove, radii = fill_masked(image, valid), background_remover(semi_angle), ring_radii(semi_angle)
    rings = [parts_of(remove(_on_rings(filled, camera, radii)).T) for camera in cameras]
    return power_of(np.array(rings))


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
    minimum are none of their own.  Where one explains the frame, those that explain next to nothing
    of it do not count.
    """
    camera = np.argmin(chi2, axis=0)
    columns = np.arange(chi2.shape[1])
    score, turn = chi2[camera, columns], rotation[camera, columns]
    minimum = _local_minima(templates, score, rotation_order)
    kept: list[Candidate] = []
    if len(score) > 1:  # where nothing correlates every point is as bad as its neighbours
        minimum &= score < score.max()
    minimum &= 1 - score >= WORTH * (1 - score.min())
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
        trials = _Trials(self, frame)
        trials.add(trial_cameras(frame, self.hints, self.semi_angle), 0.4)
        levels: tuple[tuple[int, float], ...] = LEVELS
        if trials.chi2().min() > MISLED:
            trials.add(wide_cameras(frame, self.hints, self.semi_angle), 0.7)
            levels = WIDE_LEVELS
        for i, (parents, step) in enumerate(levels, 1):
            best = trials.cameras[np.argsort(trials.squares.min(axis=1))[:parents]]
            scale_step = self.hints.scale_step * step
            trials.add(around(best, SHIFT_STEP * step, scale_step), 0.7 + 0.3 * i / len(levels))
        templates, chi2 = self.templates(), trials.chi2()
        thickness = np.unique(templates.thickness)
        by_template = chi2.min(axis=0)
        least = np.array([by_template[templates.thickness == t].min() for t in thickness])
        found = candidates(templates, trials.cameras, chi2, trials.angles, self.library.rotation_order)
        return found, np.stack([thickness, least])

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
            version = f"v{VERSION}.{TEMPLATE_VERSION}"
            name = f"rings-{checksum[:12]}-{self.semi_angle:.4f}mrad-{low:g}-{high:g}nm-{version}.npy"
            path = cache_folder() / name
            whole = self.hints.thickness is None and self.hints.tilt is None
            series = load_quietly(path, len(thickness) * len(tilts)) if whole else None
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
                    save_quietly(path, series)
            self._templates = Templates.of(series, thickness, tilts, self.semi_angle)
        return self._templates


def _on_rings(image: Array, camera: Array, radii: Array) -> Array:
    """(ring, angle) samples of the frame about a trial centre."""
    phi = 2 * np.pi * np.arange(ANGLES) / ANGLES
    col = camera[0] + camera[2] * np.outer(radii, np.cos(phi))
    row = camera[1] + camera[2] * np.outer(radii, np.sin(phi))
    return ndimage.map_coordinates(image, [row, col], order=1, mode="nearest")


class _Trials:
    """What has been tried on one frame: cameras, Σ r² over the whole frame, and the best rotations."""

    def __init__(self, searcher: Searcher, frame: Frame) -> None:
        self.searcher, self.frame = searcher, frame
        count = len(searcher.templates().thickness)
        self.cameras = np.empty((0, 3))
        self.squares, self.angles = np.empty((0, count)), np.empty((0, count), np.float32)
        self._without = np.empty((0, 2))
        self._binned: tuple[int, Array, NDArray[np.bool_]] | None = None
        self._done = 0.0

    def add(self, cameras: Array, until: float) -> None:
        """Try cameras (c, 3); the search is then done up to a fraction of it."""
        s = self.searcher
        if self._binned is None:
            reach = s.semi_angle + BEYOND_DISC
            factor = max(1, int(np.median(cameras[:, 2]) * reach / SEARCHED_RADIUS_PX))
            self._binned = factor, *bin_frame(self.frame.image, self.frame.valid, factor)
        factor, image, valid = self._binned
        small = cameras.copy()
        small[:, :2] = (small[:, :2] - (factor - 1) / 2) / factor
        small[:, 2] /= factor
        turn = s.hints.rotation
        relative, turned = match(
            image,
            valid,
            s.templates(),
            small,
            rotation_range=None if turn is None else (turn - HINTED_ROTATION, turn + HINTED_ROTATION),
            workers=s.workers,
            progress=partial(self._show, until),
        )
        null, pixels = unexplained(image, valid, small, s.semi_angle, BEYOND_DISC)
        power = pixels * ring_power(image, valid, small, s.semi_angle)
        self.squares = np.vstack([self.squares, null[:, None] - power[:, None] * (1 - relative)])
        self.angles, self.cameras = np.vstack([self.angles, turned]), np.vstack([self.cameras, cameras])
        self._without = np.vstack([self._without, np.stack([null, power], axis=1)])
        self._done = until

    def chi2(self) -> Float32:
        """(camera, template) χ² relative to what the best camera has inside its rings."""
        null, power = self._without[self.squares.min(axis=1).argmin()]
        return (1 - (null - self.squares) / max(power, 1e-12)).astype(np.float32)

    def _show(self, until: float, share: float) -> None:
        self.searcher.progress("search", self._done + share * (until - self._done))
