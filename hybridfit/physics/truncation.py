"""Balanced truncation: of a product xᵀv of two signals, those combinations that hold it.

Signals are given by their covariances [1], or by examples, the method of snapshots [2].  The singular values
of the product of both covariances say how much of xᵀv a combination holds.

.. [1] Moore, IEEE Trans. Autom. Control 26 (1981) 17.
.. [2] Rowley, Int. J. Bifurcation Chaos 15 (2005) 997.
"""

from __future__ import annotations

import torch

REGULAR = 3e-7  # of covariances, which are singular and rounded to single precision


def balanced(given: torch.Tensor, taken: torch.Tensor, lost: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What of x†v is to be kept: T (r, f) v and x† Q (f, r).

    Parameters
    ----------
    given, taken : (f, f) tensors
        Covariances of v and of x.
    lost : float
        The share of the square of x†v that may be lost.
    """
    roots = []
    for each in (given, taken):
        double = each.to(torch.complex128 if each.is_complex() else torch.float64)
        some = float(double.diagonal().real.sum()) * REGULAR
        roots.append(torch.linalg.cholesky(double + some * torch.eye(len(each), dtype=double.dtype)))
    u, s, v = _held(roots[1].mH @ roots[0], lost)
    left = (u / s).mH @ roots[1].mH
    right = roots[0] @ (v / s)
    return left.to(given.dtype), right.to(given.dtype)


def balanced_by(given: torch.Tensor, taken: torch.Tensor, lost: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of xᵀv from examples: T (r, f) v and xᵀ Q (f, r).

    Parameters
    ----------
    given, taken : (m, f) and (n, f) real tensors
        Examples of v and of x.
    lost : float
        As of `balanced`.
    """
    u, s, v = _held((taken @ given.mT).double(), lost)
    left = (u / s).mT.to(taken.dtype) @ taken
    right = given.mT @ (v / s).to(given.dtype)
    return left, right


def _held(product: torch.Tensor, lost: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Singular vectors u (n, r) and v (m, r) of a product (n, m), and the roots of its singular values (r,).

    As many as hold it but for a share of its square.
    """
    levels, vectors = torch.linalg.eigh(product.mH @ product)
    levels, vectors = levels.flip(0).clamp(min=0), vectors.flip(1)
    rest = 1 - torch.cumsum(levels, 0) / levels.sum()
    r = int((rest > lost).sum()) + 1
    s, v = levels[:r].sqrt(), vectors[:, :r]
    return product @ v / s, s.sqrt(), v
