"""Deprecated: `Fitter(…, flip=True)` fits frames that the camera has mirrored.

Pixels stay those of the file: centre, scale, ellipticity and the pictures are as recorded, and

    pixel (col, row) = centre + scale · R(rotation) · E · F · k,    F = diag(1, −1),

so that rotation still turns kx from the columns towards the rows, while ky points the other way.
Tilts are in the frame of the crystal, not of its mirror image.
"""

from __future__ import annotations

from typing import Any

from hybridfit.deprecation import warn_deprecated
from hybridfit.fitting.fitter import Fitter


class FlippedFitter(Fitter):
    """A `Fitter` with ``flip=True``; use that."""

    def __init__(self, *args: Any, **options: Any) -> None:
        warn_deprecated("FlippedFitter(…)", "Fitter(…, flip=True)", goes_in="0.4")
        super().__init__(*args, **options, flip=True)
