"""How beam intensities depend on the potential: first-order perturbation of the same propagation.

With ψ(t) = exp(iHt) ψ(0), H = πM/K_n (`hybridfit.physics.bloch`), a structural number θ that changes the
matrix by ∂M/∂θ changes the amplitudes by

    ∂ψ(t) = i ∫₀ᵗ e^{iH(t−t′)} ∂H e^{iHt′} ψ(0) dt′,        ∂I_g = 2 Re(ψ_g* ∂ψ_g).

In the eigenbasis of H, with levels E_a, that is the divided difference (e^{iE_a t} − e^{iE_b t})/(E_a − E_b)
of each pair of levels.  The Chebyshev series of the solve gives the same without a basis: the derivative of
T_{k+1} = 2X T_k − T_{k−1}, X = (H − c)/r, is

    ∂T_{k+1} = 2X ∂T_k + 2 ∂X T_k − ∂T_{k−1},        ∂X = ∂H/r,

with the coefficients of the solve.  One recursion thus has intensities and their derivatives along all θ.

∂M/∂θ contains everything that a solve has in its potential, elastic, absorptive, of higher zones and of
folded beams: it is a difference of two matrices (`potential_slope`), which are smooth in θ and cheap.  K_n
and the geometry of the beams stay; U_0, on which K_n depends, changes it by 1e-6.

Symbols: M (Å⁻²), ψ, K_n, t as in `hybridfit.physics.bloch`; c and r the middle and half the width of the
spectrum.  Sources: the derivative of an exponential, Wilcox, J. Math. Phys. 8 (1967) 962; eigenbasis,
Najfeld & Havel, Adv. Appl. Math. 16 (1995) 321.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from hybridfit.physics.bloch import DynamicalMatrix, resolve_device
from hybridfit.physics.chebyshev import check_length, coefficients, segment_length, segments
from hybridfit.physics.settings import SOLVE

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
AMPLITUDES_PER_BATCH = 14_000  # beams × directions × (1 + θ) in flight


def potential_slope(low: DynamicalMatrix, high: DynamicalMatrix, step: float) -> Complex:
    """∂M/∂θ (b, b) of two matrices of the same beams whose θ differ by a step."""
    return np.asarray((high.potential - low.potential) / step, np.complex128)


def intensities_and_slopes(
    matrix: DynamicalMatrix,
    slopes: Complex,
    q: Array,
    thickness_nm: Array,
    *,
    keep: int | None = None,
    device: str = "auto",
    dtype: torch.dtype = torch.complex64,
    progress: Callable[[float], None] | None = None,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Beam intensities, and their derivatives along numbers that the potential depends on.

    Parameters
    ----------
    matrix : DynamicalMatrix
        A folded one has its weak beams folded as it stands, on the axis.
    slopes : (j, b, b) complex array
        ∂M/∂θ of each number (Å⁻² per unit of θ).
    q : (d, 2) array
        Transverse components of the incident directions in the crystal frame (Å⁻¹).
    thickness_nm : (m,) array, increasing
    keep : int, optional
        Return only the first so many beams.
    device, dtype
        As for `bloch.beam_intensities`.
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    intensity : (m, keep, d) array
    along : (j, m, keep, d) array, per unit of θ

    Raises
    ------
    RecipeError
        As of `bloch.beam_intensities`.
    """
    beams, count = len(matrix.g), len(slopes)
    keep = beams if keep is None else keep
    thickness_nm = np.asarray(thickness_nm, float)
    where = resolve_device(device)
    excitation = matrix.excitation(q)
    potential = matrix.potential
    levels = np.linalg.eigvalsh((potential + potential.conj().T) / 2)
    low, high = excitation.min() + levels[0], excitation.max() + levels[-1]
    c, r = (low + high) / 2, SOLVE.margin * (high - low) / 2
    rate = np.pi / matrix.k_n * 10  # Å⁻² → rad/nm
    length = segment_length(matrix.levels(), c, r, rate)
    check_length(length, rate * r, float(thickness_nm[-1]))
    runs = segments(thickness_nm, length)
    series = [coefficients(times, rate * c, rate * r, dtype, where) for _, times in runs]
    shared = torch.as_tensor(2 * potential / r).to(where, dtype)
    changes = torch.as_tensor(2 * np.asarray(slopes) / r).to(where, dtype)
    real = np.float32 if dtype == torch.complex64 else np.float64
    intensity = np.empty((len(thickness_nm), keep, len(q)), real)
    along = np.empty((count, *intensity.shape), real)
    size = max(4, AMPLITUDES_PER_BATCH // (beams * (1 + count))) if where.type == "cpu" else 1024
    terms = max(2, *(each.shape[1] for each in series))
    basis = torch.empty(0)
    for first in range(0, len(q), size):
        batch = slice(first, min(first + size, len(q)))
        diagonal = torch.as_tensor(2 * (excitation[:, batch] - c) / r).to(where, dtype)
        shape = (terms, 1 + count, *diagonal.shape)
        if basis.shape != shape:
            basis = torch.empty(shape, dtype=dtype, device=where)
        state = torch.zeros(shape[1:], dtype=dtype, device=where)
        state[0, 0] = 1
        for (rows, _), factors in zip(runs, series, strict=True):
            at, state = _propagate(state, shared, diagonal, changes, factors, basis, keep)
            at = at[: rows.stop - rows.start]  # (times, 1 + j, keep, d)
            psi = at[:, :1]
            intensity[rows, :, batch] = (psi.real**2 + psi.imag**2)[:, 0].cpu().numpy()
            both = 2 * (psi.real * at[:, 1:].real + psi.imag * at[:, 1:].imag)
            along[:, rows, :, batch] = both.transpose(0, 1).cpu().numpy()
        if progress is not None:
            progress(batch.stop / len(q))
    return intensity, along


def _propagate(
    state: torch.Tensor,
    shared: torch.Tensor,
    diagonal: torch.Tensor,
    changes: torch.Tensor,
    factors: torch.Tensor,
    basis: torch.Tensor,
    keep: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first `keep` of ψ and ∂ψ at every time (times, 1 + j, keep, d), all of them at the last.

    state is (1 + j, b, d): ψ, then ∂ψ.  basis is room for the terms of the series.
    """
    terms = factors.shape[1]
    basis[0] = state
    for k in range(1, terms):
        torch.matmul(shared, basis[k - 1], out=basis[k])
        basis[k].addcmul_(diagonal.expand_as(basis[k - 1]), basis[k - 1])
        basis[k, 1:] += torch.matmul(changes, basis[k - 1, 0])
        if k == 1:
            basis[k] *= 0.5
        else:
            basis[k] -= basis[k - 2]
    flat = basis[:terms].reshape(terms, -1)
    last = torch.matmul(factors[-1:], flat).reshape(state.shape)
    kept = basis[:terms, :, :keep].reshape(terms, -1)
    return torch.matmul(factors, kept).reshape(len(factors), len(state), keep, state.shape[2]), last
