"""Candidates: library points and cameras that may explain a frame, and when two of them are one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAME_THICKNESS, SAME_TILT = 1.0, 0.3  # nm, mrad: two refinements this close found one minimum


@dataclass(frozen=True)
class Candidate:
    """A library point and a camera that match the frame: nm, mrad, px, px/mrad, degrees.

    chi2 is the sum of squares relative to the variance of the frame: 1 means no resemblance.
    Candidates of one search are compared over the whole frame, refined ones over the same pixels
    under the same weights.
    probability is filled where a classifier gives one.
    """

    thickness: float
    tilt_x: float
    tilt_y: float
    centre_x: float
    centre_y: float
    scale: float
    rotation: float
    chi2: float = float("nan")
    probability: float | None = None

    @property
    def tilt(self) -> tuple[float, float]:
        """Tilt (mrad) in the crystal frame."""
        return self.tilt_x, self.tilt_y

    def same_as(self, other: Candidate, order: int) -> bool:
        """Whether two refined candidates are one minimum, up to the n-fold axis."""
        near = tilt_distance(self.tilt, other.tilt, order) < SAME_TILT
        return near and abs(self.thickness - other.thickness) < SAME_THICKNESS


def canonical(tilt_x: float, tilt_y: float, rotation: float, order: int) -> tuple[float, float, float]:
    """The same pattern with its rotation in (−180/n, 180/n]: the tilt turns with the crystal frame."""
    sector = 360 / order
    turns = np.ceil((rotation - sector / 2) / sector - 1e-12)
    angle = np.deg2rad(turns * sector)
    c, s = np.cos(angle), np.sin(angle)
    return float(c * tilt_x - s * tilt_y), float(s * tilt_x + c * tilt_y), float(rotation - turns * sector)


def tilt_distance(a: tuple[float, float], b: tuple[float, float], order: int) -> float:
    """Smallest distance (mrad) between two tilts under rotations of the n-fold axis."""
    turns = np.exp(2j * np.pi * np.arange(order) / order)
    return float(np.abs(complex(*a) * turns - complex(*b)).min())
