"""What a simulated frame or scan shows, as frozen settings; the keywords of both functions are the fields.

Lengths are in nm, angles in mrad, positions on the camera in px.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from numpy.typing import ArrayLike, DTypeLike

from hybridfit.pattern.camera import Camera

BEYOND_DISC = 8.0  # mrad beyond the semi-angle that fit into a frame, where no scale is given


@dataclass(frozen=True)
class FrameSettings:
    """A simulated frame; the fields are explained at `simulate_frame`."""

    thickness: float
    semi_angle: float
    tilt: tuple[float, float] = (0.0, 0.0)
    shape: tuple[int, int] = (256, 256)
    centre: tuple[float, float] | None = None
    scale: float | None = None
    rotation: float = 0.0
    ellipticity: tuple[float, float] = (0.0, 0.0)
    blur: float = 0.25
    electrons: float = 1e7
    background: float = 0.1
    seed: int = 0

    @property
    def camera(self) -> Camera:
        """The camera, with a centre and a scale where none was given."""
        return _camera(self.shape, self.semi_angle, self)


class FrameOptions(TypedDict, total=False):
    """The fields of `FrameSettings`, for type checkers."""

    thickness: float
    semi_angle: float
    tilt: tuple[float, float]
    shape: tuple[int, int]
    centre: tuple[float, float] | None
    scale: float | None
    rotation: float
    ellipticity: tuple[float, float]
    blur: float
    electrons: float
    background: float
    seed: int


@dataclass(frozen=True, eq=False)
class ScanSettings:
    """A simulated scan; the fields are explained at `simulate_scan`."""

    semi_angle: float = 13.6
    scan_shape: tuple[int, int] = (64, 64)
    frame_shape: tuple[int, int] = (128, 128)
    thickness: float | ArrayLike = (20.5, 25.5)
    wedge_direction: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)
    bend: float = 4.0
    electrons: float = 1e6
    background: float = 0.1
    blur: float = 0.25
    scale: float | None = None
    rotation: float = 0.0
    centre: tuple[float, float] | None = None
    ellipticity: tuple[float, float] = (0.0, 0.0)
    descan: tuple[float, float] = (0.0, 0.0)
    deflection: ArrayLike | None = None
    vacuum: float | ArrayLike = 0.0
    step: float | None = None
    seed: int = 0
    dtype: DTypeLike = "u2"

    @property
    def camera(self) -> Camera:
        """The camera, with a centre and a scale where none was given."""
        return _camera(self.frame_shape, self.semi_angle, self)


class ScanOptions(TypedDict, total=False):
    """The fields of `ScanSettings`, for type checkers; semi_angle is an argument of its own."""

    scan_shape: tuple[int, int]
    frame_shape: tuple[int, int]
    thickness: float | ArrayLike
    wedge_direction: float
    tilt: tuple[float, float]
    bend: float
    electrons: float
    background: float
    blur: float
    scale: float | None
    rotation: float
    centre: tuple[float, float] | None
    ellipticity: tuple[float, float]
    descan: tuple[float, float]
    deflection: ArrayLike | None
    vacuum: float | ArrayLike
    step: float | None
    seed: int
    dtype: DTypeLike


def _camera(shape: tuple[int, int], semi_angle: float, given: FrameSettings | ScanSettings) -> Camera:
    rows, cols = shape
    x, y = ((cols - 1) / 2, (rows - 1) / 2) if given.centre is None else given.centre
    scale = min(rows, cols) / (2 * (semi_angle + BEYOND_DISC)) if given.scale is None else given.scale
    return Camera(x, y, scale, given.rotation, *given.ellipticity)
