"""Least squares of many frames, with intensity factor and background projected out.

    r = W^½ (y − fixed − A ĉ),    S = P⊥ W^½ ∂model/∂θ

as in `refine.least_squares`.  With one frame after the other in float32, sums over pixels are taken of r and
of slopes, never of the data: those of the slopes are

    S Sᵀ = Z Zᵀ − (Z Aᵀ) (A Aᵀ)⁻¹ (A Zᵀ),    Z = W^½ ∂model/∂θ,

in float64 from there on.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hybridfit.fitting.batch.camera import THICKNESS, BatchCamera, Images
from hybridfit.fitting.batch.levenberg import Point

RIDGE = 1e-12


class Solved(NamedTuple):
    """Linear parameters of b frames, and what is left.

    columns : (b, 1 + m, n) float32
        W^½ A.
    inverse : (b, 1 + m, 1 + m) float64
        (A W Aᵀ)⁻¹.
    coefficients : (b, 1 + m) float64
    image : (b, n) float32
    residual : (b, n) float32
        Not weighted.
    """

    columns: Tensor
    inverse: Tensor
    coefficients: Tensor
    image: Tensor
    residual: Tensor


def solve(images: Images, data: Tensor, weights: Tensor, fixed: Tensor) -> Solved:
    """Fit the linear parameters to data (b, n) under weights (b, n), both float32; fixed is (b,)."""
    plain = torch.cat([images.pattern[:, :1], images.background], dim=1)
    root = weights.sqrt()
    columns = plain * root[:, None]
    target = data - fixed.float()[:, None]
    gram = torch.matmul(columns, columns.transpose(1, 2)).double()
    against = torch.matmul(columns, (target * root)[:, :, None])[:, :, 0].double()
    inverse = inverted(gram)
    coefficients = (inverse @ against[:, :, None])[:, :, 0]
    residual = target - torch.matmul(coefficients[:, None].float(), plain)[:, 0]
    # once more, on what is left: sums of the data have lost digits
    against = torch.matmul(columns, (residual * root)[:, :, None])[:, :, 0].double()
    more = (inverse @ against[:, :, None])[:, :, 0]
    residual = residual - torch.matmul(more[:, None].float(), plain)[:, 0]
    return Solved(columns, inverse, coefficients + more, data - residual, residual)


def slopes_of(
    camera: BatchCamera, images: Images, found: Solved, per_nm: Tensor, varied: list[int]
) -> Tensor:
    """(b, p, n): ∂model/∂θ of the parameters that vary, columns of NAMES."""
    out = camera.slopes(images, found.coefficients)
    out[:, THICKNESS] += per_nm.float()[:, None]
    return out if len(varied) == out.shape[1] else out[:, varied]


def point(values: Tensor, found: Solved, slopes: Tensor, weights: Tensor) -> Point:
    """What a step needs of b frames at values, with slopes (b, p, n) and weights (b, n)."""
    root = weights.sqrt()
    r = found.residual * root
    z = slopes * root[:, None]
    cost = (r.double() ** 2).sum(1)
    both = torch.matmul(z, torch.cat([z, found.columns, r[:, None]], 1).transpose(1, 2)).double()
    p = z.shape[1]
    cross = both[:, :, p:-1]
    normal = both[:, :, :p] - cross @ found.inverse @ cross.transpose(1, 2)
    return Point(values, cost, normal, both[:, :, -1])


def counting(found: Solved, slopes: Tensor, weights: Tensor, share: Tensor, inverse: Tensor) -> Tensor:
    """(b, p, p): covariance from counting noise, whose share in the variance of each pixel is (b, n)."""
    z = slopes * weights.sqrt()[:, None]
    cross = torch.matmul(z, found.columns.transpose(1, 2)).double() @ found.inverse
    s = (z - torch.matmul(cross.float(), found.columns)) * share.sqrt()[:, None]
    return inverse @ torch.matmul(s, s.transpose(1, 2)).double() @ inverse


def inverted(matrices: Tensor) -> Tensor:
    """Inverses of (b, p, p) that are positive, or nearly so: what a row of zeros has none of is 0."""
    scale = matrices.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
    known = scale > 0
    per = torch.where(known, 1 / torch.where(known, scale, 1.0), 0.0)
    both = per[:, :, None] * per[:, None, :]
    unit = torch.eye(matrices.shape[1], dtype=matrices.dtype, device=matrices.device)
    scaled = matrices * both + RIDGE * unit + torch.diag_embed((~known).to(matrices.dtype))
    factor, info = torch.linalg.cholesky_ex(scaled)
    factor = torch.where((info > 0)[:, None, None], unit, factor)
    return torch.cholesky_inverse(factor) * both
