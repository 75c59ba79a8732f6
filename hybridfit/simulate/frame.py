"""A camera frame of a tilted crystal, for the demonstration and for tests.

    image = Poisson( electrons · [ (1 − b) P̂ + b B̂ ] ),    P̂ = binₛ( blur( P(k(pixel)) ) )

P is composed on a grid s ≥ 3 times finer than the camera and never coarser than FINE_PIXEL, with
the aperture's edge as sharp as that grid; P̂ and the background B̂ are normalised to one electron in
the frame, b is the background's share of them.  The model that is fitted samples P at fewer points,
with a softer edge, and its background Gaussians are of other widths: the frame is no copy of what
is fitted to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Unpack

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridfit.errors import InputError
from hybridfit.library.axes import check_given
from hybridfit.library.library import Library
from hybridfit.library.patterns import check_reach
from hybridfit.options import settings_from
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.compose import pattern_at
from hybridfit.simulate.settings import FrameOptions, FrameSettings

OVERSAMPLING = 3  # at least
FINE_PIXEL = 0.15  # mrad, at most: a sampled Gaussian of less than 0.6 px is narrower than it says
BLUR_REACH = 4.0  # in σ: the fine grid extends this far beyond the frame
MOST_POINTS = 4e7  # of a fine grid: composing them takes some 2 GB
BACKGROUND_WIDTHS = (0.8, 1.7)  # σ of the Gaussians, in semi-angles
BACKGROUND_HEIGHTS = (0.15, 1.0, 0.6)  # of the constant and the two Gaussians, at the centre


def density(scale: float) -> int:
    """Points per pixel of a camera (px/mrad), along columns and along rows."""
    return max(OVERSAMPLING, int(np.ceil(1 / (FINE_PIXEL * scale))))


def fine_points(shape: tuple[int, int], camera: Camera, blur: float) -> float:
    """How many points the `FineGrid` of a frame has; nothing is made for this."""
    margin = np.ceil(BLUR_REACH * blur * camera.scale) + 1
    per_pixel = max(float(OVERSAMPLING), 1 / (FINE_PIXEL * camera.scale))
    return float((shape[0] + 2 * margin) * (shape[1] + 2 * margin) * per_pixel**2)


class FineGrid(NamedTuple):
    """Points that lie denser than a camera's pixels, and reach beyond its frame.

    Attributes
    ----------
    k : (2, rows · cols) array, mrad
    shape : (rows, cols) of the points
    margin : int
        Pixels of the camera that they extend beyond the frame, for the blur.
    density : int
        Points per pixel of the camera, along columns and along rows.
    """

    k: NDArray[np.float64]
    shape: tuple[int, int]
    margin: int
    density: int

    @classmethod
    def of(cls, shape: tuple[int, int], camera: Camera, blur: float) -> FineGrid:
        """For a frame of this shape, and a blur of this σ (mrad)."""
        margin, s = int(np.ceil(BLUR_REACH * blur * camera.scale)) + 1, density(camera.scale)
        col, row = (
            (np.arange(s * (size + 2 * margin)) + 0.5) / s - 0.5 - margin for size in (shape[1], shape[0])
        )
        cols, rows = (v.ravel() for v in np.meshgrid(col, row))
        return cls(to_angles(cols, rows, camera), (len(row), len(col)), margin, s)

    @property
    def k_max(self) -> float:
        """The largest |k| (mrad)."""
        return float(np.hypot(self.k[0], self.k[1]).max())


def fine_half_edge(library: Library, scale: float) -> float:
    """Half the width (mrad) of the aperture's edge: as sharp as the fine points allow."""
    return min(library.step, 1 / (density(scale) * scale)) / 2


def simulate_frame(
    library: Library, *, settings: FrameSettings | None = None, **options: Unpack[FrameOptions]
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Simulate what a camera records of a tilted crystal.

    Parameters
    ----------
    library : Library
    settings : FrameSettings, optional
        All of the following at once; those that are given by name as well replace them.
    thickness : float, nm
    semi_angle : float, mrad
    tilt : (float, float), mrad, default (0, 0)
        Mean incident direction in the crystal frame.
    shape : (rows, cols), px, default (256, 256)
    centre : (col, row), px, optional
        Of the direct disc; by default the middle of the frame.
    scale : float, px/mrad, optional
        By default the semi-angle plus 8 mrad just fit into the frame.
    rotation : float, degrees, default 0
        Positive turns +x towards +row.
    ellipticity : (a, b), default (0, 0)
        As in `hybridfit.pattern.camera`.
    blur : float, mrad, default 0.25
        σ of the Gaussian that the pattern is blurred with.
    electrons : float, default 1e7
        Expected number in the frame; the background is part of it.
    background : float, default 0.1
        Share of the electrons in the background: a constant and two Gaussians.
    seed : int, default 0
        Of the Poisson noise.

    Returns
    -------
    image : (rows, cols) array of int64
        Electrons counted.
    truth : dict
        Every parameter of the fit by its name (nm, mrad, px, px/mrad, degrees), and `electrons`,
        `background`, `seed`.

    Raises
    ------
    TypeError
        An option that does not exist, or no thickness or semi-angle.
    InputError
        A value that no frame can have.
    LibraryError
        Thickness, tilt or semi-angle outside the library.
    """
    frame = settings_from(FrameSettings, settings, options, "simulate_frame")
    _check(frame)
    camera = frame.camera
    check_within(library, np.array([frame.thickness]), float(np.hypot(*frame.tilt)), frame.semi_angle)
    pattern = _composed(library, frame, camera)
    glow = glow_at(frame.semi_angle, frame.shape, camera)
    share = frame.background
    expected = frame.electrons * ((1 - share) * pattern / pattern.sum() + share * glow / glow.sum())
    image = np.random.default_rng(frame.seed).poisson(expected)
    truth = {
        "thickness": frame.thickness,
        "tilt_x": frame.tilt[0],
        "tilt_y": frame.tilt[1],
        **camera._asdict(),
        "semi_angle": frame.semi_angle,
        "blur": frame.blur,
        "electrons": frame.electrons,
        "background": frame.background,
        "seed": frame.seed,
    }
    return image, truth


def check_within(library: Library, thickness: NDArray[np.float64], tilt: float, semi_angle: float) -> None:
    """Raise a LibraryError for thicknesses (nm), or for the largest tilt (mrad), outside the library."""
    library.check_semi_angle(semi_angle)
    check_given(library.structure, ())
    reach = library.tilt_max + library.semi_angle_max
    check_reach(thickness, library.thickness_range, tilt, reach, semi_angle)


def _check(frame: FrameSettings) -> None:
    """Raise an InputError for a value that no frame can have."""
    if not 0 <= frame.background < 1:
        raise InputError(f"background {frame.background:g} is no share of the electrons; give 0 … 1")
    scale = 1.0 if frame.scale is None else frame.scale
    positive = 0 < frame.electrons < 1e18 and 0 <= frame.blur < np.inf and 0 < scale < np.inf
    if not (positive and min(frame.shape) >= 1):
        raise InputError(
            f"electrons {frame.electrons:g}, blur {frame.blur:g} mrad, scale {scale:g} px/mrad, shape "
            f"{frame.shape}: no camera records that; give positive values"
        )
    needed = fine_points(frame.shape, frame.camera, frame.blur)
    if needed > MOST_POINTS:
        raise InputError(
            f"shape {frame.shape}, scale {scale:g} px/mrad and blur {frame.blur:g} mrad need {needed:.2g} "
            f"points to compose a frame, at most {MOST_POINTS:.2g} are made: give a smaller frame, a larger "
            "scale or less blur"
        )


def _composed(library: Library, frame: FrameSettings, camera: Camera) -> NDArray[np.float64]:
    """Blurred pattern, averaged over the pixels of the camera."""
    grid = FineGrid.of(frame.shape, camera, frame.blur)
    binned = recorded(grid, fine_pattern(library, frame, camera, grid), frame.blur * camera.scale)
    return binned + diffuse_part(library, frame)


def fine_pattern(
    library: Library, frame: FrameSettings, camera: Camera, grid: FineGrid
) -> NDArray[np.float64]:
    """The pattern at fine points (rows, cols), without blur; 1 is the incident intensity."""
    semi_angle = frame.semi_angle
    window = library.window(
        frame.thickness, half_widths=(0.0, float(np.hypot(*frame.tilt))), semi_angle=semi_angle
    )
    return pattern_at(
        grid.k[0],
        grid.k[1],
        window.table(k_max=grid.k_max, semi_angle=semi_angle),
        thickness=frame.thickness,
        tilt=frame.tilt,
        semi_angle=semi_angle,
        half_edge=fine_half_edge(library, camera.scale),
    ).reshape(grid.shape)


def recorded(grid: FineGrid, fine: NDArray[np.float64], blur: float) -> NDArray[np.float64]:
    """What pixels record of a pattern at fine points (rows, cols): blurred by σ = blur (px), averaged."""
    margin, (rows, cols), s = grid.margin, grid.shape, grid.density
    fine = ndimage.gaussian_filter(fine, blur * s, truncate=BLUR_REACH)
    blocks = fine.reshape(rows // s, s, cols // s, s)
    binned = blocks.mean(axis=(1, 3))[margin:-margin, margin:-margin]
    out: NDArray[np.float64] = np.maximum(binned, 0.0)  # interpolation may fall a hair short of zero
    return out


def diffuse_part(library: Library, frame: FrameSettings) -> NDArray[np.float64]:
    """Thermal diffuse intensity of the pixels (rows, cols), too smooth to be blurred; 0 without a table."""
    if library.diffuse is None:
        return np.zeros(frame.shape)
    k = pixel_angles(frame.shape, frame.camera)
    found = library.diffuse.at(k, frame.thickness, frame.tilt, frame.semi_angle)
    return np.maximum(found.value, 0.0).reshape(frame.shape)


def pixel_angles(shape: tuple[int, int], camera: Camera) -> NDArray[np.float64]:
    """k (2, n) of all pixels of a frame (mrad)."""
    cols, rows = np.indices(shape)[::-1]
    k: NDArray[np.float64] = to_angles(cols.ravel().astype(float), rows.ravel().astype(float), camera)
    return k


def glow_at(semi_angle: float, shape: tuple[int, int], camera: Camera) -> NDArray[np.float64]:
    """The background B, to some scale: a constant and two Gaussians of |k|."""
    return glow_of((pixel_angles(shape, camera) ** 2).sum(axis=0), semi_angle).reshape(shape)


def glow_of(k2: NDArray[np.float64], semi_angle: float) -> NDArray[np.float64]:
    """`glow_at` where |k|² (mrad²) is this."""
    constant, *heights = BACKGROUND_HEIGHTS
    glow = np.full(k2.shape, constant)
    for height, width in zip(heights, BACKGROUND_WIDTHS, strict=True):
        glow += height * np.exp(k2 * (-0.5 / (width * semi_angle) ** 2))
    return glow
