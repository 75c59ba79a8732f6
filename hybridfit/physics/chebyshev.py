"""The Chebyshev series of exp(iHt), of which `physics.bloch` makes its solve."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import jv

from hybridfit.errors import RecipeError
from hybridfit.physics.settings import SOLVE

Array = NDArray[np.float64]


class Expansion(NamedTuple):
    """A series for levels about a centre, within a radius (Å⁻²), for a list of thicknesses.

    runs : thicknesses of each segment, as rows of all of them and as times (nm) from where it begins
    series : coefficients of each
    """

    centre: float
    radius: float
    runs: list[tuple[slice, Array]]
    series: list[torch.Tensor]

    @property
    def terms(self) -> int:
        """The most terms of a segment."""
        return max(2, *(coefficient.shape[1] for coefficient in self.series))


def expansion(
    bounds: tuple[float, float],
    levels: NDArray[np.complex128],
    rate: float,
    thickness_nm: Array,
    dtype: torch.dtype,
    device: torch.device,
) -> Expansion:
    """The series for levels within bounds (Å⁻²), whose phases grow at a rate (rad/nm per Å⁻²).

    levels : those on the zone axis, which say how fast absorbed beams grow

    Raises
    ------
    RecipeError
        Expansions would be too many, or have too many terms.
    """
    centre, radius = (bounds[0] + bounds[1]) / 2, SOLVE.margin * (bounds[1] - bounds[0]) / 2
    length = segment_length(levels, centre, radius, rate)
    check_length(length, rate * radius, float(thickness_nm[-1]))
    runs = segments(thickness_nm, length)
    known: dict[bytes, torch.Tensor] = {}
    series = []
    for _, times in runs:
        key = times.round(9).tobytes()
        if key not in known:
            known[key] = coefficients(times, rate * centre, rate * radius, dtype, device)
        series.append(known[key])
    return Expansion(centre, radius, runs, series)


def segment_length(levels: NDArray[np.complex128], centre: float, radius: float, rate: float) -> float:
    """How far (nm) one expansion may reach, from the levels on the zone axis."""
    z = (levels - centre) / radius
    root = np.sqrt(z**2 - 1)
    growth = float(np.log(np.maximum(np.abs(z + root), np.abs(z - root))).max()) * radius * rate
    return min(SOLVE.segment, SOLVE.growth / growth) if growth > 0 else SOLVE.segment


def check_length(length: float, radius: float, thickest: float) -> None:
    """Raise a RecipeError where expansions of a length (nm) would be too many, or have too many terms."""
    terms = radius * min(length, thickest)
    if not (terms <= SOLVE.most_terms and thickest <= SOLVE.most_segments * length):
        raise RecipeError(
            f"the potential changes phases by {radius:.3g} rad/nm: too fast to be solved "
            f"up to {thickest:g} nm; check occupancies, B and cell in the CIF, or take a smaller g_max"
        )


def segments(thickness_nm: Array, length: float) -> list[tuple[slice, Array]]:
    """Split the thicknesses into runs of at most a length (nm), with times relative to each run's start.

    A run that begins far below its first thickness gets intermediate stops of its own.
    """
    segments: list[tuple[slice, Array]] = []
    origin, first = 0.0, 0
    while first < len(thickness_nm):
        stop = int(np.searchsorted(thickness_nm, origin + length + 1e-9))
        if stop == first:  # nothing in reach: propagate without output
            segments.append((slice(first, first), np.array([length])))
            origin += length
            continue
        segments.append((slice(first, stop), thickness_nm[first:stop] - origin))
        origin, first = float(thickness_nm[stop - 1]), stop
    return segments


def coefficients(
    times: Array, centre: float, radius: float, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """e^{ict} (2 − δ_{k0}) i^k J_k(rt): one row a time, as many columns as the precision needs."""
    tolerance = 1e-8 if dtype == torch.complex64 else 1e-15
    reach = radius * times[-1]
    k = np.arange(int(reach + 20 + 8 * reach ** (1 / 3)) + 1)
    bessel = jv(k[None, :], radius * times[:, None])
    last = int(np.flatnonzero(np.abs(bessel).max(axis=0) > tolerance)[-1]) + 1
    factor = np.where(k == 0, 1, 2) * 1j**k
    values = np.exp(1j * centre * times)[:, None] * (factor * bessel)[:, :last]
    return torch.as_tensor(values).to(device, dtype)


def propagate(
    psi: torch.Tensor,
    shared: torch.Tensor,
    diagonal: torch.Tensor,
    coefficients: torch.Tensor,
    basis: torch.Tensor,
    keep: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """exp(iHt) ψ: the first `keep` beams at every time (times, keep, d), all of them at the last (b, d).

    basis is room for the T_k(X) ψ, (at least as many as columns of coefficients, b, d).
    """
    terms = coefficients.shape[1]
    basis[0] = psi
    torch.matmul(shared, psi, out=basis[1])
    basis[1].addcmul_(diagonal, psi).mul_(0.5)
    for k in range(2, terms):
        torch.addmm(basis[k - 2], shared, basis[k - 1], beta=-1, out=basis[k])
        basis[k].addcmul_(diagonal, basis[k - 1])
    last = torch.matmul(coefficients[-1:], basis[:terms].reshape(terms, -1)).reshape(psi.shape)
    kept = basis[:terms, :keep].reshape(terms, -1)
    return torch.matmul(coefficients, kept).reshape(len(coefficients), keep, psi.shape[1]), last
