"""Compared pixels of many frames: cut out about their centres on the device where the frames are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hybridfit.pattern.reference import Reference


class Regions(NamedTuple):
    """What `Reference.cut` gives of b frames.

    data : (b, n) float32
        On the pixels of the reference's mask, 0 where a frame has none.
    valid : (b, n) bool
    corner : (b, 2) float64
        (left, top): the pixel of each frame where its region begins.
    """

    data: Tensor
    valid: Tensor
    corner: Tensor


def cut(
    images: Tensor, valid: Tensor, centres: Tensor, reference: Reference, *, moved: bool = False
) -> Regions:
    """The regions of frames about centres.

    Parameters
    ----------
    images : (b, rows, cols)
        Any real numbers.
    valid : (b, rows, cols) bool, or (1, rows, cols) of all frames
    centres : (b, 2) float64, px
        (x, y)
    reference : Reference
    moved : bool
        Move the images by what is left of a pixel, linearly between pixels: see `search.shared`.
    """
    f, side, device = reference.factor, reference.side, images.device
    own = -reference.off_middle(0.0, 0.0, 0, 0)[0]
    corner = (centres - own).round()
    at = torch.arange(f * side, device=device)
    row, col = (corner[:, i, None].long() + at for i in (1, 0))
    inside = [(v >= 0) & (v < size) for v, size in ((row, images.shape[1]), (col, images.shape[2]))]
    frame = torch.arange(len(images), device=device)[:, None, None]
    r = row.clamp(0, images.shape[1] - 1)[:, :, None]
    c = col.clamp(0, images.shape[2] - 1)[:, None, :]
    known = valid[frame % len(valid), r, c] & inside[0][:, :, None] & inside[1][:, None, :]
    image = images[frame, r, c].float()
    if moved:
        across, down = (centres - own - corner).T.float()
        right, below = (
            (v + torch.where(by > 0, 1, -1)[:, None]).clamp(0, size - 1)
            for v, by, size in ((col, across, images.shape[2]), (row, down, images.shape[1]))
        )
        x, y = across.abs()[:, None, None], down.abs()[:, None, None]
        beside = (
            images[frame, below[:, :, None], c].float(),
            images[frame, below[:, :, None], right[:, None]].float(),
        )
        image = image + x * (images[frame, r, right[:, None]].float() - image)
        image = image + y * (beside[0] + x * (beside[1] - beside[0]) - image)
    image = torch.where(known, image, 0.0)
    if f > 1:  # `binning.bin_frame`
        blocks = len(images), side, f, side, f
        count = known.reshape(blocks).sum((2, 4))
        image = image.reshape(blocks).sum((2, 4)) / count.clamp_min(1)
        known = count >= f * f / 2
    mask = torch.as_tensor(reference.mask, device=device)
    known = known[:, mask]
    return Regions(torch.where(known, image[:, mask], 0.0), known, corner)
