"""A camera frame of a tilted crystal, for the demonstration and for tests.

    image = Poisson( electrons · [ (1 − b) P̂ + b B̂ ] ),    P̂ = binₛ( blur( P(k(pixel)) ) )

P is composed on a grid s ≥ 3 times finer than the camera and never coarser than FINE_PIXEL, with
the aperture's edge as sharp as that grid; P̂ and the background B̂ are normalised to one electron in
the frame, b is the background's share of them.  The model that is fitted samples P at fewer points,
with a softer edge, and its background Gaussians are of other widths: the frame is no copy of what
is fitted to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridfit.errors import InputError
from hybridfit.library.library import Library
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.compose import pattern_at

OVERSAMPLING = 3  # at least
FINE_PIXEL = 0.15  # mrad, at most: a sampled Gaussian of less than 0.6 px is narrower than it says
BLUR_REACH = 4.0  # in σ: the fine grid extends this far beyond the frame
BACKGROUND_WIDTHS = (0.8, 1.7)  # σ of the Gaussians, in semi-angles
BACKGROUND_HEIGHTS = (0.15, 1.0, 0.6)  # of the constant and the two Gaussians, at the centre


def density(scale: float) -> int:
    """Points per pixel of a camera (px/mrad), along columns and along rows."""
    return max(OVERSAMPLING, int(np.ceil(1 / (FINE_PIXEL * scale))))


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
    library: Library,
    *,
    thickness: float,
    tilt: tuple[float, float] = (0.0, 0.0),
    semi_angle: float,
    shape: tuple[int, int] = (256, 256),
    centre: tuple[float, float] | None = None,
    scale: float | None = None,
    rotation: float = 0.0,
    ellipticity: tuple[float, float] = (0.0, 0.0),
    blur: float = 0.25,
    electrons: float = 1e7,
    background: float = 0.1,
    seed: int = 0,
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Simulate what a camera records of a tilted crystal.

    Parameters
    ----------
    library : Library
    thickness : float, nm
    tilt : (float, float), mrad
        Mean incident direction in the crystal frame.
    semi_angle : float, mrad
    shape : (rows, cols), px
    centre : (col, row), px, optional
        Of the direct disc; by default the middle of the frame.
    scale : float, px/mrad, optional
        By default the semi-angle plus 8 mrad just fit into the frame.
    rotation : float, degrees
        Positive turns +x towards +row.
    ellipticity : (a, b)
        As in `hybridfit.pattern.camera`.
    blur : float, mrad
        σ of the Gaussian that the pattern is blurred with.
    electrons : float
        Expected number in the frame, the background's included.
    background : float
        Share of the electrons that are in the background: a constant and two Gaussians.
    seed : int
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
    InputError
        A value that no frame can have.
    LibraryError
        Thickness, tilt or semi-angle outside the library.
    """
    rows, cols = shape
    if centre is None:
        centre = (cols - 1) / 2, (rows - 1) / 2
    if scale is None:
        scale = min(rows, cols) / (2 * (semi_angle + 8.0))
    if not 0 <= background < 1:
        raise InputError(f"background {background:g} is no share of the electrons; give 0 … 1")
    if not (0 < electrons < 1e18 and blur >= 0 and scale > 0 and min(rows, cols) >= 1):
        raise InputError(
            f"electrons {electrons:g}, blur {blur:g} mrad, scale {scale:g} px/mrad, shape {shape}: "
            "no camera records that; give positive values"
        )
    # checks the ranges, and composes next to nothing
    library.patterns(thickness=thickness, tilt_x=tilt[0], tilt_y=tilt[1], semi_angle=semi_angle, k=[0.0])
    camera = Camera(*centre, scale, rotation, *ellipticity)
    pattern = _composed(library, thickness, tilt, semi_angle, shape, camera, blur)
    glow = glow_at(semi_angle, shape, camera)
    expected = electrons * ((1 - background) * pattern / pattern.sum() + background * glow / glow.sum())
    image = np.random.default_rng(seed).poisson(expected)
    truth = {
        "thickness": thickness,
        "tilt_x": tilt[0],
        "tilt_y": tilt[1],
        **camera._asdict(),
        "semi_angle": semi_angle,
        "blur": blur,
        "electrons": electrons,
        "background": background,
        "seed": seed,
    }
    return image, truth


def _composed(
    library: Library,
    thickness: float,
    tilt: tuple[float, float],
    semi_angle: float,
    shape: tuple[int, int],
    camera: Camera,
    blur: float,
) -> NDArray[np.float64]:
    """Blurred pattern, averaged over the pixels of the camera."""
    grid = FineGrid.of(shape, camera, blur)
    margin, (rows, cols), s = grid.margin, grid.shape, grid.density
    sigma = blur * camera.scale * s  # in fine pixels
    window = library.window(thickness, half_widths=(0.0, float(np.hypot(*tilt))), semi_angle=semi_angle)
    fine = pattern_at(
        grid.k[0],
        grid.k[1],
        window.table(k_max=grid.k_max, semi_angle=semi_angle),
        thickness=thickness,
        tilt=tilt,
        semi_angle=semi_angle,
        half_edge=fine_half_edge(library, camera.scale),
    ).reshape(rows, cols)
    fine = ndimage.gaussian_filter(fine, sigma, truncate=BLUR_REACH)
    blocks = fine.reshape(rows // s, s, cols // s, s)
    binned = blocks.mean(axis=(1, 3))[margin:-margin, margin:-margin]
    return np.maximum(binned, 0.0)  # interpolation may fall a hair short of zero


def glow_at(semi_angle: float, shape: tuple[int, int], camera: Camera) -> NDArray[np.float64]:
    """The background B, to some scale: a constant and two Gaussians of |k|."""
    rows, cols = (v.ravel().astype(float) for v in np.indices(shape))
    k = to_angles(cols, rows, camera)
    k2 = (k**2).sum(axis=0)
    constant, *heights = BACKGROUND_HEIGHTS
    glow = np.full(k2.shape, constant)
    for height, width in zip(heights, BACKGROUND_WIDTHS, strict=True):
        glow += height * np.exp(-k2 / (2 * (width * semi_angle) ** 2))
    return glow.reshape(shape)
