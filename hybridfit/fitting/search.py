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

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from hybridfit.library import Library
from hybridfit.pattern.background import basis
from hybridfit.pattern.compose import at_thickness, compose, unfold, workspace
from hybridfit.pattern.rings import best_rotations

Array = NDArray[np.float64]

RINGS = 24
ANGLES = 96  # samples along φ; rotation is found to a fraction of 360°/96 by interpolation
HARMONICS = 28
BEYOND_DISC = 5.0  # mrad around the direct disc that are searched
SOFTNESS = 0.45  # mrad, half-width of the template's disc edges: what the rings resolve
TILT_STEP = 0.5  # mrad
THICKNESS_STEP = 2.0  # nm


@dataclass(frozen=True)
class Candidate:
    """A library point and a camera that match the frame: nm, mrad, px, px/mrad, degrees.

    chi2 is the sum of squares relative to the variance of the frame: 1 means no resemblance.
    probability is filled where a classifier or several refined candidates give one.
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
        cube = workspace(table, reach)
        for i in indices:
            blend = at_thickness(table.intensity, table.thickness_first, table.thickness_step, thickness[i])
            _, first = unfold(table, blend, (0.0, 0.0), reach, float(radii[-1]) + largest, cube)
            for j, tilt in enumerate(tilts):
                ring = compose(kx, ky, table, cube, first, tilt[0], tilt[1], semi_angle, SOFTNESS)[0]
                series[i, j] = _parts(remove(ring.reshape(RINGS, ANGLES)).T)
            if progress is not None:
                progress((i + 1) / len(thickness))

    shares = [range(start, len(thickness), workers) for start in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, shares))
    flat = series.reshape(-1, HARMONICS, 2, RINGS)
    flat /= np.maximum(np.sqrt(_power(flat)), 1e-12)[:, None, None, None].astype(np.float32)
    return Templates(
        flat,
        np.repeat(thickness, len(tilts)),
        np.tile(tilts[:, 0], len(thickness)),
        np.tile(tilts[:, 1], len(thickness)),
        semi_angle,
    )


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
) -> tuple[Array, Array]:
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
    filled = np.where(valid, image, ndimage.median_filter(image, 5)) if not valid.all() else image
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
    templates: Templates, cameras: Array, chi2: Array, rotation: Array, rotation_order: int, most: int = 12
) -> list[Candidate]:
    """The best library points, each with its best camera, no two of them neighbours.

    Neighbours are within 4 nm and within 1 mrad, after turning by the symmetry of the projection.
    """
    camera = np.argmin(chi2, axis=0)
    columns = np.arange(chi2.shape[1])
    score, turn = chi2[camera, columns], rotation[camera, columns]
    kept: list[Candidate] = []
    for i in np.argsort(score):
        x, y, angle = canonical(
            float(templates.tilt_x[i]), float(templates.tilt_y[i]), float(turn[i]), rotation_order
        )
        t = float(templates.thickness[i])
        if any(
            abs(t - c.thickness) < 4 and tilt_distance((x, y), (c.tilt_x, c.tilt_y), rotation_order) < 1
            for c in kept
        ):
            continue
        kept.append(Candidate(t, x, y, *(float(v) for v in cameras[camera[i]]), angle, float(score[i])))
        if len(kept) == most:
            break
    return kept


def canonical(tilt_x: float, tilt_y: float, rotation: float, order: int) -> tuple[float, float, float]:
    """The same pattern with its rotation in (−180/n, 180/n]: the tilt turns with the crystal frame."""
    sector = 360 / order
    turns = np.ceil((rotation - sector / 2) / sector - 1e-12)
    angle = np.deg2rad(turns * sector)
    c, s = np.cos(angle), np.sin(angle)
    return float(c * tilt_x - s * tilt_y), float(s * tilt_x + c * tilt_y), float(rotation - turns * sector)


def tilt_distance(a: tuple[float, float], b: tuple[float, float], order: int) -> float:
    """Smallest distance (mrad) between two tilts under rotations of the n-fold axis."""
    turns = np.exp(2j * np.pi * np.arange(order) / order)
    return float(np.abs(complex(*a) * turns - complex(*b)).min())


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
