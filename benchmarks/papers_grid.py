"""The grid search of Xu & LeBeau (2018), as the least-squares scripts published with it define it.

Frames of 227 × 227 px and simulated patterns are scaled to 0 … 255.  Every stored pattern is turned
(−1 … 1° in steps of 1°), resized (0.68 … 0.72 in steps of 0.01), shifted (−2 … 2 px in steps of 1 px
either way) and multiplied (0.9 … 1.275 in steps of 0.075): 2250 candidates, of each of which

    χ² = Σ (I_exp − f I_sim)²

is taken over the frame.  Stored are 38 tilts in one sector × 120 thicknesses; where the sign of the tilt
is not known, all 8 copies by symmetry are tried.  A second pass refines the best: ±2 nm, finer steps.

Only a part of the grid is searched, and its time extrapolated: every pattern takes the same time.  The part
includes the neighbourhood of the truth, so the answer is that of the whole grid unless a pattern that
was not tried fits better.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridfit.library.library import Library
from hybridfit.pattern.compose import pattern_at

Array32 = NDArray[np.float32]
PIXELS = 227
LEVELS = 255.0
SEMI_ANGLE = 13.6  # mrad
STORED_SCALE = 7.4  # px/mrad of the stored patterns
STORED_PIXELS = 345  # the smallest size factor must fill the frame
THICKNESSES = 120  # nm, from 1 in steps of 1
BRIGHTEST = 0.9995  # of the pixels of a frame are at most as bright as its level 255
COPIES = 8  # by the symmetry of the projection
NEAR = ((-6, -4, -2, 0, 2, 4, 6), 5)  # nm from the truth, and number of nearest tilts, that are always tried


class Pass(NamedTuple):
    """Transforms of every pattern: degrees, size and intensity factors, shifts (1/fine px)."""

    rotations: tuple[float, ...]
    sizes: tuple[float, ...]
    factors: tuple[float, ...]
    shifts: tuple[int, ...]
    fine: int

    @property
    def count(self) -> int:
        """Candidates of a pattern."""
        return len(self.rotations) * len(self.sizes) * len(self.factors) * len(self.shifts) ** 2


class Point(NamedTuple):
    """A stored pattern: nm, mrad."""

    thickness: float
    tilt_x: float
    tilt_y: float


class Best(NamedTuple):
    """The least χ² of a pattern, and its transform."""

    chi2: float
    rotation: float
    size: float
    factor: float


@dataclass(frozen=True)
class Found:
    """An answer: the pattern, time (s) of the whole grid, number of patterns tried."""

    point: Point
    seconds: float
    tried: int


FIRST = Pass(
    (-1.0, 0.0, 1.0),
    tuple(0.68 + 0.01 * i for i in range(5)),
    tuple(0.9 + 0.075 * i for i in range(6)),
    (-2, -1, 0, 1, 2),
    1,
)


def second(best: Best) -> Pass:
    """Finer steps about the best of the first pass; all shifts are tried again."""
    return Pass(
        tuple(best.rotation + 0.5 * i for i in range(-2, 3)),
        tuple(best.size + 0.005 * i for i in range(-2, 3)),
        tuple(best.factor + 0.01875 * i for i in range(-2, 3)),
        (-4, -3, -2, -1, 0, 1, 2, 3, 4),
        2,
    )


def sector_tilts() -> list[tuple[float, float]]:
    """The 38 tilts (mrad): 0.25 apart below 1 mrad, 0.5 above, less than 4, in one sector of 4mm."""
    fine = [(x, y) for x in range(4) for y in range(x + 1)]  # of 0.25 mrad
    coarse = [(x, y) for x in range(4, 17, 2) for y in range(0, x + 1, 2)]
    return [(x / 4, y / 4) for x, y in fine + coarse if x * x + y * y < 16**2]


def all_tilts() -> list[tuple[float, float]]:
    """The copies of these by symmetry, each once."""
    signs = (1, -1)
    copies = {
        (sx * a, sy * b)
        for x, y in sector_tilts()
        for a, b in ((x, y), (y, x))
        for sx, sy in itertools.product(signs, signs)
    }
    return sorted(copies)


def whole_grid() -> int:
    """Patterns that a search over everything tries, copies included."""
    return len(sector_tilts()) * THICKNESSES * COPIES


def subset(truth: dict[str, Any], count: int, rng: np.random.Generator) -> list[Point]:
    """The patterns about the truth, and random others up to a number."""
    tilts = all_tilts()
    nearest = sorted(tilts, key=lambda tilt: np.hypot(tilt[0] - truth["tilt_x"], tilt[1] - truth["tilt_y"]))
    start = round(truth["thickness"])
    points = [Point(float(start + dt), *tilt) for dt in NEAR[0] for tilt in nearest[: NEAR[1]]]
    while len(points) < count:
        t = float(rng.integers(1, THICKNESSES + 1))
        points.append(Point(t, *tilts[rng.integers(len(tilts))]))
    return points


def stored_pattern(library: Library, point: Point, pixels: int, scale: float) -> Array32:
    """A pattern as in the paper's library, scaled to 0 … 255."""
    axis = (np.arange(pixels) - (pixels - 1) / 2) / scale
    kx, ky = np.meshgrid(axis, axis)
    table = library.table(k_max=float(np.hypot(kx, ky).max()), semi_angle=SEMI_ANGLE)
    tilt = (point.tilt_x, point.tilt_y)
    options: dict[str, Any] = {"semi_angle": SEMI_ANGLE, "half_edge": library.step / 2}
    out = pattern_at(kx, ky, table, thickness=point.thickness, tilt=tilt, **options)
    return (LEVELS / out.max() * out).astype(np.float32)


def to_levels(image: NDArray[Any]) -> Array32:
    """A frame scaled to 0 … 255; its brightest pixels, which are noise, are clipped."""
    return (LEVELS / np.quantile(image, BRIGHTEST) * image).astype(np.float32)


def moved(
    image: Array32,
    rotation: float,
    size: float,
    pixels: int,
    fine: int = 1,
    shift: tuple[float, float] = (0, 0),
) -> Array32:
    """An image turned, resized and shifted (px) about its middle, on fine points to a px."""
    angle = np.deg2rad(rotation)
    c, s = np.cos(angle) / size, np.sin(angle) / size
    matrix = np.array([[c, -s], [s, c]])
    middle_in, middle_out = (np.array(image.shape) - 1) / 2, np.full(2, (pixels - 1) / 2)
    offset = middle_in - matrix @ (middle_out + np.array(shift)[::-1])
    shape = (fine * (pixels - 1) + 1,) * 2
    return ndimage.affine_transform(image, matrix / fine, offset, shape, order=1, mode="nearest")


def try_pattern(frame: Array32, stored: Array32, steps: Pass) -> Best:
    """The least χ² of all candidates of a pattern.

    Σ (E − f S)² = Σ E² − 2f Σ E S + f² Σ S²: two sums serve all intensity factors.
    """
    room = -(-max(steps.shifts) // steps.fine)  # px on either side
    flat = frame.ravel()
    energy, best = float(flat @ flat), Best(np.inf, 0.0, 0.0, 0.0)
    factors = np.array(steps.factors)[:, None]
    for rotation, size in itertools.product(steps.rotations, steps.sizes):
        wide = moved(stored, rotation, size, PIXELS + 2 * room, steps.fine)
        starts = [room * steps.fine + shift for shift in steps.shifts]
        reach = steps.fine * (PIXELS - 1) + 1
        windows = np.stack(
            [
                wide[row : row + reach : steps.fine, col : col + reach : steps.fine].ravel()
                for row, col in itertools.product(starts, starts)
            ]
        )
        cross, power = windows @ flat, np.einsum("ij,ij->i", windows, windows)
        chi2 = energy - 2 * factors * cross + factors**2 * power
        lowest = np.unravel_index(np.argmin(chi2), chi2.shape)
        if chi2[lowest] < best.chi2:
            best = Best(float(chi2[lowest]), rotation, size, float(factors[lowest[0], 0]))
    return best


def search(library: Library, image: NDArray[Any], points: Iterable[Point]) -> Found:
    """Both passes over a part of the grid."""
    frame, seconds, found = to_levels(image), 0.0, []
    points = list(points)
    for point in points:
        stored = stored_pattern(library, point, STORED_PIXELS, STORED_SCALE)
        start = time.perf_counter()
        found.append(try_pattern(frame, stored, FIRST))
        seconds += time.perf_counter() - start
    at = min(range(len(points)), key=lambda i: found[i].chi2)
    finer, again = second(found[at]), []
    beginning = points[at].thickness
    about = [points[at]._replace(thickness=beginning + dt) for dt in range(-2, 3) if beginning + dt >= 1]
    seconds *= whole_grid() / len(points)
    for point in about:
        stored = stored_pattern(library, point, STORED_PIXELS, STORED_SCALE)
        start = time.perf_counter()
        again.append(try_pattern(frame, stored, finer))
        seconds += time.perf_counter() - start
    best = min(range(len(about)), key=lambda i: again[i].chi2)
    return Found(about[best], seconds, len(points))


def search_by_product(library: Library, image: NDArray[Any], points: Iterable[Point]) -> Found:
    """The first pass with its transforms applied to the frame, which makes it a matrix product.

    This is how one would write the same grid search for speed.
    """
    points, middle = list(points), FIRST.sizes[len(FIRST.sizes) // 2]
    scale = middle * STORED_SCALE
    patterns = np.stack([stored_pattern(library, point, PIXELS, scale).ravel() for point in points])
    start = time.perf_counter()
    frame = to_levels(image)
    shifts = itertools.product(FIRST.shifts, FIRST.shifts)
    cases = itertools.product(FIRST.rotations, FIRST.sizes, shifts)
    frames = np.stack(
        [moved(frame, -angle, middle / size, PIXELS, shift=shift).ravel() for angle, size, shift in cases]
    )
    energy = np.einsum("ij,ij->i", frames, frames)[:, None, None]
    once = time.perf_counter() - start
    start = time.perf_counter()
    cross = (frames @ patterns.T)[:, :, None]
    power = np.einsum("ij,ij->i", patterns, patterns)[:, None]
    factors = np.array(FIRST.factors, np.float32)
    chi2 = (energy - 2 * factors * cross + factors**2 * power) / energy
    best = int(np.argmin(chi2.min(axis=(0, 2))))
    seconds = once + (time.perf_counter() - start) * whole_grid() / len(points)
    return Found(points[best], seconds, len(points))
