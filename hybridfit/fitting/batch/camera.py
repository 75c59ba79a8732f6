"""The model of a known camera for many frames on a device, with its derivatives: see `known_camera`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridfit.known_camera import ROWS
from hybridfit.known_images import KnownCamera
from hybridfit.model import EDGE_VARIANCE, PIXEL_VARIANCE
from hybridfit.pattern import background as bg
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.settings import MODEL
from hybridfit.pattern.torch_nodes import TorchNodes
from hybridfit.pattern.torch_record import TorchRecord

NAMES = ROWS[1:]  # of the columns of values: thickness, tilt_x, tilt_y, centre_x, centre_y, blur
CENTRE = slice(NAMES.index("centre_x"), NAMES.index("centre_y") + 1)
TILT = slice(NAMES.index("tilt_x"), NAMES.index("tilt_y") + 1)
THICKNESS, BLUR = NAMES.index("thickness"), NAMES.index("blur")


class Images(NamedTuple):
    """Patterns of b frames on the n pixels of a camera, and their backgrounds.

    pattern : (b, 7, n) float32
        In the order of `known_camera.ROWS`.
    background : (b, m, n) float32
        Orthonormal where the centre is in the middle of a region: sums of them keep their digits.
    towards : (b, 2, n), (widths, n) float32
        k in pixels, Mᵀ k, and the Gaussians over their variances, for slopes along the centre.
    """

    pattern: Tensor
    background: Tensor
    towards: tuple[Tensor, Tensor]


class BatchCamera:
    """Node images of a known camera on a device.

    Parameters
    ----------
    known : KnownCamera
    device : torch.device
    memory, workspace : float, bytes
        Of node images, and beside.

    Attributes
    ----------
    n : int
        Compared pixels.
    """

    def __init__(self, known: KnownCamera, device: torch.device, memory: float, workspace: float) -> None:
        self.known, self.device = known, device
        self.nodes = TorchNodes(known.nodes, device, memory, workspace)
        self.recorder = TorchRecord(known.raster, MODEL.narrowest_blur, device)
        self.n, self._per = int(known.mask.sum()), known.raster.oversampling / known.factor
        values = {name: known.values[name] for name in Camera._fields} | {"centre_x": 0.0, "centre_y": 0.0}
        row, col = (known.factor * v + (known.factor - 1) / 2 for v in np.nonzero(known.mask))
        self._at = self._to(np.stack([col, row]).astype(float))
        self._own = -known.reference.off_middle(0.0, 0.0, 0, 0)[0]
        self._angles = self._to(to_angles(np.array([1.0, 0.0]), np.array([0.0, 1.0]), Camera(**values)))
        self._edge = EDGE_VARIANCE * (2 * known.whole.half_edge) ** 2
        self._per_mrad2 = (known.values["scale"] * self._per) ** 2
        name, alpha = known.background, known.semi_angle
        middle = self._angles @ (self._at - self._own)
        basis = bg.basis(name, middle.cpu().numpy(), alpha)[0]
        self.components = len(basis)
        self._mix = self._to(np.linalg.inv(np.linalg.qr(basis.T)[1]).T if len(basis) else np.zeros((0, 0)))
        widths = np.array(bg.RADIAL_WIDTHS) * alpha if name == "radial" else np.empty(0)
        self._variance = self._to(widths**2)

    def _to(self, array: NDArray[Any]) -> Tensor:
        return torch.as_tensor(array, device=self.device)

    @property
    def together(self) -> int:
        """So many frames are evaluated at a time."""
        return self.nodes.together

    def evaluate(self, values: Tensor, corner: Tensor) -> Images:
        """Patterns of frames at values (b, 6), columns as of NAMES, in regions at corners (b, 2), float64."""
        images = self.nodes.at(values[:, THICKNESS], values[:, TILT])
        variance = PIXEL_VARIANCE + (values[:, BLUR] ** 2 - self._edge) * self._per_mrad2
        shift = self._per * (values[:, CENTRE] - corner - self._own)
        out, slope = self.recorder.record(images, variance, shift)
        out[:, 4:6] *= self._per
        out[:, 6] *= (slope * 2 * values[:, BLUR] * self._per_mrad2).float()[:, None]
        away = self._at + (corner - values[:, CENTRE])[:, :, None]
        k = torch.matmul(self._angles, away)
        gaussians = torch.exp(-(k**2).sum(1)[:, None] / (2 * self._variance[:, None]))
        columns = [torch.ones_like(k[:, :1])] if self.components else []
        columns += [gaussians] if len(self._variance) else []
        basis = torch.matmul(self._mix, torch.cat(columns, 1)) if columns else gaussians
        towards = torch.matmul(self._angles.T, k), gaussians / self._variance[:, None]
        return Images(out, basis.float(), (towards[0].float(), towards[1].float()))

    def slopes(self, images: Images, coefficients: Tensor) -> Tensor:
        """(b, 6, n) derivatives of images with coefficients (b, 1 + m) float64; nothing fixed is in them."""
        out = coefficients[:, 0, None, None].float() * images.pattern[:, 1:]
        if len(self._variance):
            heights = torch.matmul(coefficients[:, 1:], self._mix)[:, 1:].float()
            towards, over = images.towards
            out[:, CENTRE] += towards * (heights[:, :, None] * over).sum(1, keepdim=True)
        return out
