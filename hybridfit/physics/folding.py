"""Strong and weak beams: a smaller problem for directions that are neighbours.

At a direction q_c the strong beams s are those near the Ewald sphere, 2K s_g ≥ −R².  Of the others, w, those
with 2K s_g ≥ −F² act through the strong ones, the rest is left out.  Every state of level λ has

    ψ_w = −(M_ww − λ)⁻¹ M_ws ψ_s ≈ −X ψ_s − λ (M_ww)⁻¹ X ψ_s,        X = (M_ww)⁻¹ M_ws,

and the levels that hold intensity are near to zero, where the incident beam is.  To first order in λ [1]

    λ S ψ_s = (M_ss − M_sw X) ψ_s,        S = 1 + M_sw (M_ww)⁻¹ X,

so that S^{½} ψ_s obeys an equation of the usual form, with the matrix S^{−½} (M_ss − M_sw X) S^{−½}, begins
as S^{−½} ψ_s(0) and leaves the crystal as

    ψ_s = S^{−½} (…),        ψ_w = −X ψ_s.

Without S (Bethe's second approximation [2]) many more beams are needed for the same error.  Directions of a
tile about q_c share all of this but for 2K s_g(q) − 2K s_g(q_c) on the diagonal.

.. [1] Löwdin, J. Chem. Phys. 19 (1951) 1396.
.. [2] Bethe, Ann. Phys. 392 (1928) 55; Ichimiya, Jpn. J. Appl. Phys. 22 (1983) 176.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Fold(NamedTuple):
    """The problem of the strong beams of a tile.

    Attributes
    ----------
    strong : (s,) int array
        Which beams they are.
    potential : (s, s) complex tensor, Å⁻²
        To which 2K s_g goes, on the diagonal.
    enter : (s, 1) complex tensor
        The state at the entrance surface.
    leave : (n, s) complex tensor
        Amplitudes of beams from the state at the exit surface.
    beams : (n,) int array
        Which beams these are.
    overlap : float
        The size of S − 1 (Frobenius).
    """

    strong: NDArray[np.intp]
    potential: torch.Tensor
    enter: torch.Tensor
    leave: torch.Tensor
    beams: NDArray[np.intp]
    overlap: float


def reach_of(outer: float, q: float) -> float:
    """The length (Å⁻¹) of the beams with 2K s_g ≥ −outer² at directions up to q (Å⁻¹)."""
    return q + float(np.hypot(outer, q))


def strong_radius(longest: float, nearest: float, share: float) -> float:
    """R (Å⁻¹): a share of a length (Å⁻¹), or what leaves −2K s_g > nearest (Å⁻²) to weak beams."""
    return min(longest, max(share * longest, float(np.sqrt(nearest))))


def fold(
    potential: torch.Tensor,
    excitation: Array,
    radii: tuple[float, float],
    wanted: int | float,
    near: Array,
) -> Fold:
    """The problem of the strong beams at the middle of a tile.

    Parameters
    ----------
    potential : (b, b) complex tensor, Å⁻²
    excitation : (b,) array, Å⁻²
        2K s_g there.
    radii : R and F (Å⁻¹)
    wanted : int or float
        Amplitudes are wanted of so many beams, or of those with 2K s_g ≥ −wanted² (Å⁻¹).
    near : (b,) array, Å⁻²
        2K s_g by which beams are told apart: `excitation`, or that of a crystal that is not strained.
    """
    strong = np.flatnonzero(near >= -(radii[0] ** 2) - 1e-9)
    weak = np.flatnonzero((near < -(radii[0] ** 2) - 1e-9) & (near >= -(radii[1] ** 2) - 1e-9))
    of, dtype = potential.device, potential.dtype
    s, w = (torch.as_tensor(each).to(of) for each in (strong, weak))
    levels = torch.as_tensor(excitation).to(of, dtype)
    inner, across = potential[s][:, s], potential[s][:, w]
    root = torch.eye(len(strong), dtype=dtype, device=of)
    x = torch.zeros((len(weak), len(strong)), dtype=dtype, device=of)
    size = 0.0
    if len(weak):
        factors = torch.linalg.lu_factor(potential[w][:, w] + torch.diag(levels[w]))
        x = torch.linalg.lu_solve(*factors, potential[w][:, s])
        # with a centre of symmetry the matrix is its own transpose, and one solve is saved
        same = torch.equal(potential, potential.mT)
        overlap = x.mT @ x if same else across @ torch.linalg.lu_solve(*factors, x)
        size = float(torch.linalg.matrix_norm(overlap))
        # S^{−½} = 1 − O/2 + 3 O²/8 − 5 O³/16, O = S − 1 being small
        root = -5 / 16 * overlap
        for number in (3 / 8, -1 / 2, 1.0):
            root.diagonal().add_(number)
            root = overlap @ root if number != 1 else root
        inner = torch.addmm(inner, across, x, alpha=-1)
        inner.diagonal().add_(levels[s])
        inner = root @ inner @ root
        inner.diagonal().sub_(levels[s])
    if isinstance(wanted, int):
        beams = np.arange(wanted)
    else:
        beams = np.flatnonzero(near >= -(max(wanted, radii[0]) ** 2) - 1e-9)
        beams = beams[near[beams] >= -(radii[1] ** 2) - 1e-9]
    every = torch.zeros((len(near), len(strong)), dtype=dtype, device=of)
    every[s], every[w] = root, -x @ root
    leave = every[torch.as_tensor(beams).to(of)]
    return Fold(strong, inner, root[:, :1].contiguous(), leave, beams, size)
