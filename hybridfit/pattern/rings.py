"""Rotation search on rings: the best angle between a frame and many templates.

    C(ρ) = Σ_h w_h Re{ e^{ihρ} Σ_r E_h(r) T_h*(r) },      w_0 = 1, else 2

E_h, T_h are the Fourier coefficients along φ of frame and template on ring r, so that C(ρ) is
the correlation of the frame with the template turned by ρ.
"""

from __future__ import annotations

import numpy as np

from hybridfit.pattern.jit import kernel


@kernel
def best_rotations(templates, rings, allowed, peak, angle):
    """For each template the largest C(ρ), and where, among the allowed multiples of 2π/n.

    Parameters
    ----------
    templates : (t, h, 2, r) float32, real and imaginary parts
    rings : (h, 2, r) float32
    allowed : (n,) bool
    peak, angle : (t,) float32, filled; angle in units of 2π/n, refined by a parabola
    """
    count, harmonics, _, radii = templates.shape
    n = allowed.size
    cosine, sine = np.empty((harmonics, n), np.float32), np.empty((harmonics, n), np.float32)
    for h in range(harmonics):
        weight = 1.0 if h == 0 else 2.0
        for a in range(n):
            phase = 2 * np.pi * ((h * a) % n) / n
            cosine[h, a], sine[h, a] = weight * np.cos(phase), weight * np.sin(phase)
    c = np.empty(n, np.float32)
    for t in range(count):
        c[:] = 0
        for h in range(harmonics):
            real, imaginary = templates[t, h, 0], templates[t, h, 1]
            e_real, e_imaginary = rings[h, 0], rings[h, 1]
            x, y = np.float32(0), np.float32(0)
            for r in range(radii):
                x += e_real[r] * real[r] + e_imaginary[r] * imaginary[r]
                y += e_imaginary[r] * real[r] - e_real[r] * imaginary[r]
            row_c, row_s = cosine[h], sine[h]
            for a in range(n):
                c[a] += x * row_c[a] - y * row_s[a]
        best = -1
        for a in range(n):
            if allowed[a] and (best < 0 or c[a] > c[best]):
                best = a
        left, middle, right = c[(best - 1) % n], c[best], c[(best + 1) % n]
        curvature = left - 2 * middle + right
        offset = np.float32(0)
        if curvature < 0:
            offset = min(max((left - right) / (2 * curvature), np.float32(-0.5)), np.float32(0.5))
        peak[t] = middle - (left - right) * offset / 4
        angle[t] = best + offset
