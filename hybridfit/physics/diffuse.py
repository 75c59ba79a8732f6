"""Thermal diffuse scattering: one event at a vibrating atom, elastic scattering before and after.

An atom j, displaced by u from r_j, scatters incoherently by what its phase differs from the mean one,
δφ = φ(R − u) − ⟨φ⟩.  The elastic wave ψ_q(R; z) reaches its depth z from the incident direction q, and the
wave χ_p(R; t − z) leaves from there in the direction p.  The diffuse intensity per solid angle is

    D(p; q, t) = 1/V Σ_j o_j ∫₀ᵗ dz ⟨|∫ d²R χ_p(R; t − z) δφ_j(R) ψ_q(R; z)|²⟩,

V the volume of the cell, o_j the occupancy.  By reciprocity χ_p is the elastic wave of the incident direction
−p through t − z.  Both waves are those of the absorptive potential: electrons that are scattered diffusely
twice are missing, a tenth of all in SrTiO3 of 30 nm.

For Einstein's independent Gaussian displacements of variance σ² = B/8π² the mean is a sum over derivatives of
the smeared phase φ̄ (Hermite's expansion):

    ⟨|…|²⟩ = Σ_{n ≠ 0} σ^{2|n|}/(n_x! n_y!) |∫ d²R χ_p ∂ⁿφ̄_j ψ_q|²,          n = (n_x, n_y).

In a thin crystal it is the kinematic f² (1 − e^{−2Bs²}).  φ is a sum of Gaussians: its derivatives are known.

The integral over R is taken on points around the atom.  Both waves are projected there on a few functions
that hold plane waves (their principal components), which makes it a product of small matrices.

Symbols: q, p transverse wavevectors (Å⁻¹), B (Å²), s = g/2.  Sources: Hall & Hirsch, Proc. R. Soc. A 286
(1965) 158; Rossouw & Bursill, Acta Cryst. A41 (1985) 320; Forbes et al., Phys. Rev. B 82 (2010) 104103.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np
from numpy.polynomial.hermite import hermval
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from hybridfit.physics.bloch import DynamicalMatrix, beam_amplitudes
from hybridfit.physics.projection import Projection
from hybridfit.physics.scattering import (
    lorentz_factor,
    scattering_factor_coefficients,
    wavelength,
)
from hybridfit.physics.settings import DIFFUSE

Array = NDArray[np.float64]
Complex = NDArray[np.complex64]
DIRECTIONS, EXITS = 64, 64  # at a time, to save memory


@dataclass(frozen=True)
class Site:
    """Atoms that lie behind each other in the projection, of one element and B.

    at : (2,) Å, in the crystal frame
    count : atoms in the cell, weighted with their occupancy
    """

    element: str
    debye_waller: float
    at: Array
    count: float


def sites_of(projection: Projection) -> list[Site]:
    """The vibrating columns of the projected cell."""
    crystal = projection.crystal
    # n₁, n₂ of the projected position: its phase with g₁ and g₂
    across = crystal.positions @ projection.basis_hkl.T
    cell = np.linalg.inv(projection.basis).T  # rows: the projected cell (Å)
    found: dict[tuple[Any, ...], Site] = {}
    for j, element in enumerate(crystal.elements):
        b = float(crystal.debye_waller[j])
        place = (across[j] + 1e-6) % 1 - 1e-6
        key = element, round(b, 6), *place.round(4)
        old = found.get(key)
        count = float(crystal.occupancies[j]) + (old.count if old else 0.0)
        found[key] = Site(element, b, place @ cell, count)
    return [site for site in found.values() if site.debye_waller > 0 and site.count > 0]


def diffuse_intensity(
    projection: Projection,
    matrix: DynamicalMatrix,
    energy_kv: float,
    incident: Array,
    exits: Array,
    thickness_nm: Array,
    *,
    device: str = "auto",
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32]:
    """Diffuse intensity per solid angle, D(p; q, t).

    Parameters
    ----------
    projection : Projection
    matrix : DynamicalMatrix
        Of the elastic waves, with absorption.
    energy_kv : float
    incident : (m, 2) array, Å⁻¹
        Incident directions q in the crystal frame.
    exits : (n, 2) array, Å⁻¹
        Directions p in which the electrons leave.
    thickness_nm : (k,) array, nm
        Equally spaced from the spacing on; the spacing is the step of the integral over depth.
    device : str
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    (k, m, n) float32 array, mrad⁻²; the incident intensity is 1.
    """
    thickness_nm = np.asarray(thickness_nm, float)
    step = float(thickness_nm[0])
    if not np.allclose(np.diff(thickness_nm), step, rtol=1e-6):
        raise ValueError("thicknesses must be equally spaced, from their spacing on")
    to_mrad = 1e3 * wavelength(energy_kv)
    before = _waves(matrix, incident, thickness_nm, device)
    after = _waves(matrix, -exits, thickness_nm, device)
    out = np.zeros((len(thickness_nm), len(incident), len(exits)), np.float32)
    sites = sites_of(projection)
    for i, site in enumerate(sites):
        scale = site.count * 10 * step / projection.crystal.volume / to_mrad**2
        _add(out, scale, site, matrix, energy_kv, (before, incident), (after, -exits))
        if progress is not None:
            progress((i + 1) / len(sites))
    return out


def _waves(matrix: DynamicalMatrix, q: Array, thickness_nm: Array, device: str) -> Complex:
    """(thickness from 0 on, direction, beam) amplitudes."""
    amplitudes = beam_amplitudes(matrix, q, thickness_nm, device=device)
    start = np.zeros((1, *amplitudes.shape[1:]), np.complex64)
    start[0, 0] = 1
    return np.concatenate([start, amplitudes]).transpose(0, 2, 1)


def _add(
    out: NDArray[np.float32],
    scale: float,
    site: Site,
    matrix: DynamicalMatrix,
    energy_kv: float,
    before: tuple[Complex, Array],
    after: tuple[Complex, Array],
) -> None:
    """Add what the atoms of one site scatter.

    With χ = Σ_a χ_a f_a near the atom, Σ_n |Σ_ab χ_a K_n,ab ψ_b|² = Σ_aa' χ_a χ*_a' ρ_aa': a product of real
    matrices, however many derivatives n there are.
    """
    orders = [(n, m) for total in range(1, DIFFUSE.orders + 1) for n in range(total + 1) for m in [total - n]]
    points = _points()
    kernels = phase_derivatives(site, energy_kv, orders, points)
    weight = np.sqrt((kernels**2).sum(axis=0)) ** 0.5
    functions = _functions(points, weight, float(np.linalg.norm(matrix.g, axis=1).max()))
    psi = _projected(site, matrix, points, weight, before, functions)
    chi = _projected(site, matrix, points, weight, after, functions)
    area = DIFFUSE.spacing**2
    source = np.zeros((*psi.shape[:2], chi.shape[2] ** 2), np.float32)
    for kernel in kernels:
        inner = ((functions * (kernel / weight**2 * area)) @ functions.T).astype(np.complex64)
        source += _pairs(psi @ inner.T, 1.0)  # (depth, incident, pair of functions)
    # the trapezoidal rule: half weight at the entrance, and at the exit
    source[0] *= 0.5
    source *= np.float32(scale)
    steps = len(psi)
    padded = next_fast_len(2 * steps, real=True)
    sources = rfft(source, padded, axis=0).transpose(0, 2, 1)  # (frequency, pair, incident)
    for first in range(0, chi.shape[1], EXITS):
        part = slice(first, first + EXITS)
        ways = _pairs(chi[:, part].conj(), 2.0)  # (depth, exit, pair)
        ways[0] *= 0.5
        # the sum over depths is a convolution
        met = irfft(np.matmul(rfft(ways, padded, axis=0), sources), padded, axis=0)
        out[:, :, part] += met[1:steps].transpose(0, 2, 1)


def _pairs(amplitudes: Complex, off: float) -> NDArray[np.float32]:
    """(…, f) amplitudes → (…, f²) reals that hold c_a c*_a', off the diagonal times `off`.

    Of two such arrays, one of them conjugated and with off = 2, Σ products = Re Σ_aa' c_a c*_a' d*_a d_a'.
    """
    count = amplitudes.shape[-1]
    a, b = np.triu_indices(count, 1)
    upper = amplitudes[..., a] * amplitudes[..., b].conj() * np.float32(off)
    diagonal = amplitudes.real**2 + amplitudes.imag**2
    return np.concatenate([diagonal, upper.real, upper.imag], axis=-1).astype(np.float32, copy=False)


def _points() -> Array:
    """(n, 2) places around an atom (Å) at which waves are multiplied with its phase."""
    count = int(DIFFUSE.reach / DIFFUSE.spacing + 1e-9)
    half = DIFFUSE.spacing * np.arange(-count, count + 1)
    x, y = np.meshgrid(half, half, indexing="ij")
    places = np.stack([x.ravel(), y.ravel()], axis=1)
    return places[np.hypot(*places.T) <= DIFFUSE.reach]


def phase_derivatives(
    site: Site, energy_kv: float, orders: Sequence[tuple[int, int]], points: Array
) -> Array:
    """σ^|n| ∂ⁿφ̄/√(n_x! n_y!) of an atom at places around it: (orders, n).

    The phase of an atom has the Fourier transform γλ f(g) e^{−Bg²/4} (Å²).
    """
    a, b = scattering_factor_coefficients(site.element)
    sigma = np.sqrt(site.debye_waller / (8 * np.pi**2))
    strength = lorentz_factor(energy_kv) * wavelength(energy_kv)
    out = np.zeros((len(orders), len(points)))
    for ai, bi in zip(a, b, strict=True):
        # a e^{−(b+B)g²/4} ↔ a (4π/(b+B)) e^{−4π²R²/(b+B)}
        width = 2 * np.pi / np.sqrt(bi + site.debye_waller)
        height = strength * ai * 4 * np.pi / (bi + site.debye_waller)
        x, y = (points * width).T
        gauss = height * np.exp(-(x**2) - y**2)
        for i, (n, m) in enumerate(orders):
            hermite = hermval(x, np.eye(n + 1)[n]) * hermval(y, np.eye(m + 1)[m])
            norm = (-width * sigma) ** (n + m) / np.sqrt(factorial(n) * factorial(m))
            out[i] += norm * hermite * gauss
    return out


def _functions(points: Array, weight: Array, longest: float) -> Complex:
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
    return np.asarray(vectors[:, levels > DIFFUSE.smallest**2 * levels[-1]].T, np.complex64)


def _projected(
    site: Site,
    matrix: DynamicalMatrix,
    points: Array,
    weight: Array,
    waves: tuple[Complex, Array],
    functions: Complex,
) -> Complex:
    """Coefficients (depth, direction, function) of waves near an atom, weighted."""
    amplitudes, q = waves
    places = points + site.at
    lattice = np.exp(2j * np.pi * (matrix.g @ places.T)).astype(np.complex64)  # (beam, point)
    drift = (np.exp(2j * np.pi * (q @ places.T)) * weight).astype(np.complex64)  # (direction, point)
    back = functions.T.conj()  # (point, function)
    out = np.empty((*amplitudes.shape[:2], len(functions)), np.complex64)
    for first in range(0, len(q), DIRECTIONS):
        part = slice(first, first + DIRECTIONS)
        # what a beam of a direction is in these functions does not depend on the depth
        moved = (drift[part, :, None] * back).transpose(1, 0, 2).reshape(len(points), -1)
        by_beam = (lattice @ moved).reshape(len(lattice), -1, len(functions)).transpose(1, 0, 2)
        out[:, part] = np.matmul(amplitudes[:, part].transpose(1, 0, 2), by_beam).transpose(1, 0, 2)
    return out
