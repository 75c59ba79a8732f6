"""What tests of batches share: the camera of their frames, and what each frame is."""

from __future__ import annotations

import torch

SEMI_ANGLE, BLUR = 9.0, 0.3
CAMERA = {"scale": 3.2, "rotation": 14.0}
FIX = {**CAMERA, "ellipticity_a": 0.0, "ellipticity_b": 0.0}
CPU = torch.device("cpu")


def truth_at(i: int) -> dict:
    """What frame i is: nm, mrad, px."""
    return {
        "thickness": 30.0 + 0.7 * i,
        "tilt": (0.5 - 0.2 * i, -0.3 + 0.15 * i),
        "centre": (47.5 + 0.1 * i, 46.0 - 0.1 * i),
    }
