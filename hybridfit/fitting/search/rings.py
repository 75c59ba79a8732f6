"""χ² of templates and frame on rings about a trial camera.

The frame is resampled on rings about a trial centre, at a trial scale: E(r, φ).  The pattern of a library
point on the same rings is the template T(r, φ).  Both are weighted by √r, and the radial background is
projected out of both.  The sum of squares with the best intensity factor and background is then, for a
template that is turned by ρ,

    χ²(ρ) = 1 − C(ρ)² / (|E|² |T|²),      C(ρ) = ∫∫ E(r, φ + ρ) T(r, φ) r dr dφ,

relative to |E|².  C is a correlation along φ: all rotations of all templates come from a product for every
angular frequency and an inverse Fourier transform (`hybridfit.pattern.rings`).

What cameras leave without a template is measured on all pixels of the frame (`without_template`): |E|² is
that of the region that a camera covers, and differs from one camera to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from hybridfit.fitting.search.templates import (
    ANGLES,
    HARMONICS,
    Templates,
    background_on_rings,
    background_remover,
    parts_of,
    power_of,
)
from hybridfit.pattern.background import RADIAL_WIDTHS
from hybridfit.pattern.rings import best_rotations, left_on_rings, sampled_on_rings

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

TOGETHER = 8  # cameras in one product
LEAST_POWER = 1e-12  # against division by zero, for frames whose standard deviation is about 1


def chi2_on_rings(
    image: Array,
    templates: Templates,
    cameras: Array,
    *,
    rotation_range: tuple[float, float] | None = None,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
) -> tuple[Float32, Float32, Array]:
    """χ² of every template with every trial camera, at the best rotation.

    Parameters
    ----------
    image : (rows, cols) array
        Masked pixels are filled.
    templates : Templates
    cameras : (c, 3) array
        centre_x, centre_y (px) and scale (px/mrad).
    rotation_range : (low, high) in degrees, optional
    workers : int, threads
    progress : callable(fraction), optional

    Returns
    -------
    chi2 : (c, template) float32 array
        Relative to `power`.
    rotation : (c, template) float32 array
        In [−180, 180), degrees.
    power : (c,) array
        |E|², the variance of the frame on the rings of each camera without its radial background.
    """
    chi2 = np.empty((len(cameras), templates.series.shape[0]), np.float32)
    rotation = np.empty_like(chi2)
    power = np.empty(len(cameras))
    radii, series = templates.radii, templates.by_harmonic
    remove = background_remover(radii, templates.semi_angle)
    allowed = _allowed(rotation_range)

    def work(first: int) -> None:
        some = slice(first, first + TOGETHER)
        rings = parts_of(remove(np.stack([_on_rings(image, c, radii) for c in cameras[some]])))
        peak, rotation[some] = best_rotations(series, rings, allowed)
        power[some] = power_of(rings)
        chi2[some] = 1 - np.maximum(peak, 0) ** 2 / np.maximum(power[some], LEAST_POWER)[:, None]
        if progress is not None:
            progress(min(first + TOGETHER, len(cameras)) / len(cameras))

    shares = range(0, len(cameras), TOGETHER)  # always the same ones: a product's last bits depend on them
    if workers == 1 or len(shares) == 1:
        for first in shares:
            work(first)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, shares))
    return chi2, _degrees(rotation), power


def chi2_inside(
    image: Array, templates: Templates, camera: Array, rim: float, rotation_range: tuple[float, float] | None
) -> tuple[Float32, Float32]:
    """χ² (1, template) of one camera, compared inside its direct disc alone, and the best rotations.

    Where discs hardly overlap, nearly all of χ² comes from the rim: how soft it is, and how round.  Inside
    of it the fringes tell the library points apart.

    Parameters
    ----------
    image : (rows, cols) array
        Masked pixels are filled.
    templates : Templates
    camera : (3,) array
        centre_x, centre_y (px) and scale (px/mrad).
    rim : float, mrad
        What is nearer to the rim is left out.
    rotation_range : (low, high) in degrees, optional
    """
    radii, semi_angle = templates.radii, templates.semi_angle
    seen = radii < semi_angle - rim
    q = background_on_rings(radii, semi_angle, seen)
    series = fft.rfft(_on_rings(image, camera, radii)[None, seen], axis=-1)[..., :HARMONICS]
    series *= np.sqrt(radii / radii.sum())[seen, None] / ANGLES
    series[..., 0] -= series[..., 0] @ q @ q.T
    rings = parts_of(series)
    peak, rotation = best_rotations(templates.inside(rim), rings, _allowed(rotation_range))
    power = np.float32(max(float(power_of(rings)[0]), LEAST_POWER))
    left: Float32 = (1 - np.maximum(peak, 0) ** 2 / power).astype(np.float32)
    return left, _degrees(rotation)


def _allowed(rotation_range: tuple[float, float] | None) -> NDArray[np.bool_]:
    """Which of the angles of the rings are searched."""
    if rotation_range is None:
        return np.ones(ANGLES, bool)
    low, high = rotation_range
    angles = np.arange(ANGLES) * 360 / ANGLES
    return np.abs((angles - (low + high) / 2 + 180) % 360 - 180) <= (high - low) / 2 + 360 / ANGLES


def _degrees(turns: Float32) -> Float32:
    """Angles of the rings as degrees, in [−180, 180)."""
    return (turns * np.float32(360 / ANGLES) + 180) % 360 - 180


def without_template(
    image: Array, valid: NDArray[np.bool_], cameras: Array, semi_angle: float, beyond: float
) -> tuple[Array, Array]:
    """What trial cameras leave of a frame without a template.

        Σ_in (y − B)² + Σ_out (y − ⟨y⟩_r)²

    B: the background fitted to the means of the rings inside the compared disc; ⟨y⟩_r: the mean of the ring
    that a pixel is on.

    Parameters
    ----------
    image, valid : (rows, cols) arrays
    cameras : (c, 3) array
        centre_x, centre_y (px) and scale (px/mrad).
    semi_angle, beyond : float, mrad
        Templates cover a disc of their sum.

    Returns
    -------
    squares, pixels : (c,) arrays
        The sum over all valid pixels, and the number of those inside.
    """
    row, col = (each.astype(float) for each in np.nonzero(valid))
    y = image[valid]
    y = y - y.mean() if len(y) else y
    variances = (np.array(RADIAL_WIDTHS) * semi_angle) ** 2
    cameras, farthest = np.ascontiguousarray(cameras, float), float(np.hypot(*image.shape))
    whole, misfit, pixels = left_on_rings(col, row, y, cameras, farthest, semi_angle + beyond, variances)
    return float(y @ y) - whole + misfit, pixels


def _on_rings(image: Array, camera: Array, radii: Array) -> Array:
    """(ring, angle) samples of the frame about a trial centre."""
    phi = 2 * np.pi * np.arange(ANGLES) / ANGLES
    x, y, scale = camera
    return sampled_on_rings(image, x, y, scale * radii, np.cos(phi), np.sin(phi))
