"""Functions near an atom, which hold plane waves, and the derivatives of its phase between them.

Waves are looked at on points around the atom, weighted there by how much it scatters, and projected on their
principal components: a few functions f_a.  A plane wave has the components ⟨f_a|e^{2πiκ·R}⟩; those of the
κ = g + q that occur are kept in a table.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import factorial

import numpy as np
from numpy.polynomial.hermite import hermval
from numpy.typing import NDArray

from hybridfit.physics.scattering import lorentz_factor, scattering_factor_coefficients, wavelength
from hybridfit.physics.settings import DIFFUSE

Array = NDArray[np.float64]
KAPPAS = 2048  # at a time, to save memory
SAME = 1e-6  # Å⁻¹: wavevectors that differ by less are one


class NearAtom:
    """Functions near an atom of an element and its B, and what plane waves are in them.

    Parameters
    ----------
    element : str
    debye_waller : float, Å²
    energy_kv : float
    longest : float, Å⁻¹
        Waves are held up to this length.

    Attributes
    ----------
    kernels : (n, f, f) float32 array
        K_n: derivatives of the phase between the functions.
    """

    def __init__(self, element: str, debye_waller: float, energy_kv: float, longest: float) -> None:
        orders = [
            (n, m) for total in range(1, DIFFUSE.orders + 1) for n in range(total + 1) for m in [total - n]
        ]
        self._points = points_around()
        kernels = phase_derivatives(element, debye_waller, energy_kv, orders, self._points)
        weight = np.sqrt((kernels**2).sum(axis=0)) ** 0.5
        functions = _functions(self._points, weight, longest)
        scaled = DIFFUSE.spacing**2 / weight**2
        self.kernels = np.stack([(functions * (each * scaled)) @ functions.T for each in kernels]).astype(
            np.float32
        )
        self._back = np.ascontiguousarray((functions * weight).T, np.complex64)
        self._lock = threading.Lock()
        self._keys, self._rows = np.empty(0, np.int64), np.empty((0, len(functions)), np.complex64)

    def components(self, kappa: Array, keys: NDArray[np.int64]) -> NDArray[np.complex64]:
        """(κ, f) of plane waves (κ, 2) Å⁻¹ with the keys of `distinct`; known ones cost nothing."""
        with self._lock:
            fresh = ~np.isin(keys, self._keys, assume_unique=True)
            if fresh.any():
                rows = np.empty((int(fresh.sum()), self._back.shape[1]), np.complex64)
                for some in range(0, len(rows), KAPPAS):
                    part = kappa[fresh][some : some + KAPPAS]
                    rows[some : some + KAPPAS] = (
                        np.exp((2j * np.pi * (part @ self._points.T)).astype(np.complex64)) @ self._back
                    )
                both = np.concatenate([self._keys, keys[fresh]])
                order = np.argsort(both)
                self._keys, self._rows = both[order], np.concatenate([self._rows, rows])[order]
            return np.asarray(self._rows[np.searchsorted(self._keys, keys)])


def distinct(kappa: Array) -> tuple[Array, NDArray[np.int64], NDArray[np.intp]]:
    """The different ones of wavevectors (n, 2) Å⁻¹: they, their keys in increasing order, and which each is.

    Directions and beams are on common grids, so that many are the same.
    """
    whole = np.rint(kappa / SAME).astype(np.int64)
    keys, first, inverse = np.unique(
        whole[:, 0] * (1 << 32) + whole[:, 1], return_index=True, return_inverse=True
    )
    return kappa[first], keys, inverse.ravel()


def points_around() -> Array:
    """(n, 2) places around an atom (Å) at which waves are multiplied with its phase."""
    count = int(DIFFUSE.reach / DIFFUSE.spacing + 1e-9)
    half = DIFFUSE.spacing * np.arange(-count, count + 1)
    x, y = np.meshgrid(half, half, indexing="ij")
    places = np.stack([x.ravel(), y.ravel()], axis=1)
    return places[np.hypot(*places.T) <= DIFFUSE.reach]


def phase_derivatives(
    element: str, debye_waller: float, energy_kv: float, orders: Sequence[tuple[int, int]], points: Array
) -> Array:
    """σ^|n| ∂ⁿφ̄/√(n_x! n_y!) of an atom at places around it: (orders, n).

    The phase of an atom has the Fourier transform γλ f(g) e^{−Bg²/4} (Å²).
    """
    a, b = scattering_factor_coefficients(element)
    sigma = np.sqrt(debye_waller / (8 * np.pi**2))
    strength = lorentz_factor(energy_kv) * wavelength(energy_kv)
    out = np.zeros((len(orders), len(points)))
    for ai, bi in zip(a, b, strict=True):
        # a e^{−(b+B)g²/4} ↔ a (4π/(b+B)) e^{−4π²R²/(b+B)}
        width = 2 * np.pi / np.sqrt(bi + debye_waller)
        height = strength * ai * 4 * np.pi / (bi + debye_waller)
        x, y = (points * width).T
        gauss = height * np.exp(-(x**2) - y**2)
        for i, (n, m) in enumerate(orders):
            hermite = hermval(x, np.eye(n + 1)[n]) * hermval(y, np.eye(m + 1)[m])
            norm = (-width * sigma) ** (n + m) / np.sqrt(factorial(n) * factorial(m))
            out[i] += norm * hermite * gauss
    return out


def _functions(points: Array, weight: Array, longest: float) -> Array:
    """(function, point): what holds weighted plane waves to a length (Å⁻¹), whatever the crystal.

    They have the symmetry of the points: crystals that are each other's images have images as results.
    """
    n = np.arange(-int(longest / DIFFUSE.wave_step), int(longest / DIFFUSE.wave_step) + 1)
    kappa = DIFFUSE.wave_step * np.stack(np.meshgrid(n, n, indexing="ij"), axis=-1).reshape(-1, 2)
    length = np.linalg.norm(kappa, axis=1)
    kappa, length = kappa[length <= longest], length[length <= longest]
    height = 1 / (1 + (length / DIFFUSE.wave_width) ** 2)
    waves = height[:, None] * np.exp(2j * np.pi * (kappa @ points.T)) * weight
    overlap = (waves.T @ waves.conj()).real  # (point, point): the waves of κ and −κ add to a real matrix
    levels, vectors = np.linalg.eigh(overlap)
    return np.asarray(vectors[:, levels > DIFFUSE.smallest**2 * levels[-1]].T, np.float64)
