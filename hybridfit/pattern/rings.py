"""Rotation search on rings: the best angle between a frame and many templates, as matrix products.

    C(ρ) = Σ_h w_h Re{ e^{ihρ} Σ_r E_h(r) T_h*(r) },      w_0 = 1, else 2

E_h, T_h are the Fourier coefficients along φ of frame and template on ring r, so that C(ρ) is
the correlation of the frame with the template turned by ρ.  The sum over r is a product of all templates
with all cameras for every h.  The sum over h is one with a table of cosines and sines; half a turn changes
the sign of odd h, so that half the angles, of even and of odd h apart, are enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.jit import kernel

Float32 = NDArray[np.float32]

COLUMNS = 1024  # correlations that are held for all angles at a time: they stay in the cache


def best_rotations(templates: Float32, rings: Float32, allowed: NDArray[np.bool_]) -> tuple[Float32, Float32]:
    """For each camera and template the largest C(ρ), and where, among the allowed multiples of 2π/n.

    Parameters
    ----------
    templates : (h, 2 r, t) array
        For every harmonic the real parts on all rings, then the imaginary ones.
    rings : (c, h, 2, r) array
        The frame about every camera, real and imaginary parts.
    allowed : (n,) bool array

    Returns
    -------
    peak, angle : (c, t) arrays
        Angles in units of 2π/n, refined by a parabola.
    """
    harmonics, _, count = templates.shape
    real, imaginary = rings[:, :, 0], rings[:, :, 1]
    # the real and the imaginary part of Σ_r E_h T_h* are products with these
    parts = np.concatenate([np.concatenate([real, imaginary], 2), np.concatenate([imaginary, -real], 2)])
    n = allowed.size
    phase = 2 * np.pi * (np.outer(np.arange(n // 2), np.arange(harmonics)) % n) / n
    weight = np.where(np.arange(harmonics) == 0, 1.0, 2.0)
    turns = np.stack([weight * np.cos(phase), -weight * np.sin(phase)], axis=2).astype(np.float32)
    sums, turned = [], []
    for first in (0, 1):  # even h, odd h
        own = np.matmul(parts[:, first::2].transpose(1, 0, 2), templates[first::2])
        sums.append(own.reshape(2 * len(own), -1))
        turned.append(np.ascontiguousarray(turns[:, first::2]).reshape(n // 2, -1))
    peak, angle = np.empty(len(rings) * count, np.float32), np.empty(len(rings) * count, np.float32)
    for begin in range(0, len(peak), COLUMNS):
        some = slice(begin, begin + COLUMNS)
        even, odd = (each @ own[:, some] for each, own in zip(turned, sums, strict=True))
        largest(even, odd, allowed, peak[some], angle[some])
    return peak.reshape(len(rings), count), angle.reshape(len(rings), count)


@kernel
def largest(even, odd, allowed, peak, angle):
    """The largest of each column of C among the allowed rows, and its row, refined by a parabola.

    Parameters
    ----------
    even, odd : (n / 2, m) float32
        The first half of C (n, m) is their sum, the second half their difference.
    allowed : (n,) bool
    peak, angle : (m,) float32, filled
    """
    half, m = even.shape
    best = np.zeros(m, np.float32)  # of the width of what is compared, so that both are one vector
    peak[:] = np.float32(-np.inf)
    for a in range(2 * half):
        if allowed[a]:
            here = np.float32(a)
            sign = np.float32(1 if a < half else -1)
            row, other = even[a % half], odd[a % half]
            for i in range(m):
                value = row[i] + sign * other[i]
                best[i] = here if value > peak[i] else best[i]
                peak[i] = max(peak[i], value)
    for i in range(m):
        at = int(best[i])
        left, middle, right = _at(even, odd, at - 1, i), _at(even, odd, at, i), _at(even, odd, at + 1, i)
        curvature = left - 2 * middle + right
        offset = np.float32(0)
        if curvature < 0:
            offset = min(max((left - right) / (2 * curvature), np.float32(-0.5)), np.float32(0.5))
        peak[i] = middle - (left - right) * offset / 4
        angle[i] = at + offset


@kernel
def _at(even, odd, a, i):
    """C at the angle a, which may lie one before or behind the n there are."""
    half = even.shape[0]
    a %= 2 * half
    return even[a, i] + odd[a, i] if a < half else even[a - half, i] - odd[a - half, i]


@kernel
def ring_sums(x, y, values, x0, y0, reach):
    """How many points (n,) lie on each ring of one pixel about (x0, y0), and the sum of their values."""
    count, total = np.zeros(reach), np.zeros(reach)
    for i in range(x.size):
        ring = int(np.sqrt((x[i] - x0) ** 2 + (y[i] - y0) ** 2))
        count[ring] += 1
        total[ring] += values[i]
    return count, total


@kernel
def left_on_rings(x, y, values, cameras, farthest, largest, variances):
    """What cameras leave of values at points (n,) whose rings have a mean, and inside a radial background.

    Parameters
    ----------
    x, y, values : (n,) arrays
    cameras : (c, 3) array
        Centre (px), and px/mrad.
    farthest : float, px
        No point is farther from (0, 0).
    largest : float, mrad
        The radius of what is inside.
    variances : (m,) array, mrad²
        Of the Gaussians of the background, which has a constant, too.

    Returns
    -------
    (3, c) array: Σ n ⟨y⟩² over rings; Σ n (⟨y⟩ − B)² over those inside, of the best background B; and how
    many points are inside
    """
    out, parts = np.zeros((3, len(cameras))), 1 + variances.size
    for i in range(len(cameras)):
        x0, y0, scale = cameras[i]
        reach = int(farthest + np.sqrt(x0 * x0 + y0 * y0)) + 2
        count, total = ring_sums(x, y, values, x0, y0, reach)
        design, target, n = np.empty((parts, reach)), np.empty(reach), 0
        for ring in range(reach):
            if count[ring] == 0:
                continue
            out[0, i] += total[ring] ** 2 / count[ring]
            k = (ring + 0.5) / scale
            if k > largest:
                continue
            weight = np.sqrt(count[ring])
            target[n], design[0, n] = total[ring] / weight, weight
            for j in range(1, parts):
                design[j, n] = weight * np.exp(-k * k / (2 * variances[j - 1]))
            out[2, i] += count[ring]
            n += 1
        out[1, i] = _misfit(design[:, :n], target[:n])
    return out


@kernel
def _misfit(design, target):
    """|target|² less what the rows of design explain; both are overwritten."""
    for j in range(len(design)):
        row = design[j]
        size = np.sqrt((row * row).sum())
        for _ in range(2):  # what rounding leaves of other rows goes with the second turn
            for i in range(j):
                row -= (design[i] * row).sum() * design[i]
        left = np.sqrt((row * row).sum())
        if left > 1e-12 * size:
            row /= left
            target -= (row * target).sum() * row
        else:
            row[:] = 0
    return (target * target).sum()


@kernel
def sampled_on_rings(image, x0, y0, radii, cosines, sines):
    """(ring, angle): an image about (x0, y0), linear between pixels; beyond its edge it goes on as there.

    radii in pixels; cosines and sines of the angles.
    """
    rows, cols = image.shape
    out = np.empty((radii.size, cosines.size))
    for i in range(radii.size):
        for j in range(cosines.size):
            x = min(max(x0 + radii[i] * cosines[j], 0.0), cols - 1.0)
            y = min(max(y0 + radii[i] * sines[j], 0.0), rows - 1.0)
            c, r = min(int(x), max(cols - 2, 0)), min(int(y), max(rows - 2, 0))
            c1, r1 = min(c + 1, cols - 1), min(r + 1, rows - 1)
            u, v = x - c, y - r
            above = image[r, c] + u * (image[r, c1] - image[r, c])
            below = image[r1, c] + u * (image[r1, c1] - image[r1, c])
            out[i, j] = above + v * (below - above)
    return out
