"""The frames of a simulated scan.

Each is what `hybridfit.simulate.frame.simulate_frame` would record,

    image = Poisson( electrons · [ (1 − b) P̂ + b B̂ ] ),    P̂ = W P(fine points) Wᵀ

with blur and binning in one sparse matrix W for either axis, because they are the same for all of the
scan.  Where there is no specimen P is the aperture alone, and b is 0.

Patterns of many positions are not composed one by one, but interpolated from some that they share
(`simulate.strips`).  Their fine points move with the pattern then, not with the pixels: where its centre is
off by a part of a fine pixel, rims are sampled elsewhere, which changes pixels beside them by up to some 1 %
of the maximum.  Either sampling is as good.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage, sparse

from hybridfit.library.library import Library
from hybridfit.pattern.camera import Camera
from hybridfit.pattern.compose import pattern_at
from hybridfit.pattern.expand import Table, workspace
from hybridfit.pattern.poisson import poisson
from hybridfit.pattern.pool import Pool
from hybridfit.simulate.frame import BLUR_REACH, FineGrid, fine_half_edge, pixel_angles
from hybridfit.simulate.glow import glow_seen
from hybridfit.simulate.settings import ScanSettings
from hybridfit.simulate.strip_plan import Places
from hybridfit.simulate.strips import Optics, strips_of

Array = NDArray[np.float64]
Positions = list[tuple[int, int]]
Pattern = Callable[[int], NDArray[Any]]
Waiting = list[tuple[tuple[int, int], Future[NDArray[np.int64]]]]


class Frames:
    """The frames of a scan.

    Parameters
    ----------
    library : Library
    truth : xarray.Dataset
        From `scan_truth`.
    scan : ScanSettings
        Its frame_shape, electrons, background and seed.
    workers : int
        Threads that share the work.

    Attributes
    ----------
    strips : Strips or None
        What patterns are interpolated from, if they are.
    """

    def __init__(self, library: Library, truth: xr.Dataset, scan: ScanSettings, workers: int = 1) -> None:
        self._values = {name: truth[name].values for name in truth.data_vars}
        self._shape, self._seed = scan.frame_shape, scan.seed
        self._electrons, self._background = scan.electrons, scan.background
        self._library, self._workers = library, workers
        self._semi_angle, self._blur, scale = (
            float(self._values[name].flat[0]) for name in ("semi_angle", "blur", "scale")
        )
        self._half_edge = fine_half_edge(library, scale)
        first = self.camera(0, 0)
        self._thread = threading.local()
        here = self._values["vacuum"] == 0
        self._here, self._empty = (np.argwhere(each).tolist() for each in (here, ~here))
        places = Places(
            self._values["thickness"][here],
            np.stack([self._values[name][here] for name in ("tilt_x", "tilt_y")], axis=1),
            np.stack([self._values[name][here] for name in ("centre_x", "centre_y")], axis=1),
        )
        optics = Optics(first, self._shape, self._semi_angle, self._blur)
        self.strips = strips_of(library, optics, places, Pool(workers))

    def counted(self, executor: Executor) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        """(y, x, electrons counted) of every position, in the order in which they are quickest made."""
        waiting: Waiting = []
        for at, pattern in self._batches():
            made = [(each, executor.submit(self._count, each, pattern, i)) for i, each in enumerate(at)]
            yield from self._finished(waiting)  # these have been made while the next patterns were
            waiting = made
        yield from self._finished(waiting)

    def _finished(self, waiting: Waiting) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        for (y, x), image in waiting:
            yield y, x, image.result()

    def _batches(self) -> Iterator[tuple[Positions, Pattern]]:
        """Some positions, and patterns of the i-th of them."""
        several = 4 * self._workers
        if self.strips is None:
            every = [*np.ndindex(self._values["vacuum"].shape)]
            for start in range(0, len(every), several):
                part = every[start : start + several]
                yield part, lambda i, part=part: self.composed(*part[i])  # type: ignore[misc]
            return
        for group in self.strips.groups:
            yield [tuple(self._here[n]) for n in group.places], self.strips.of(group)
        strips = self.strips
        disc = strips.empty_disc() if self._empty else None
        for start in range(0, len(self._empty), several):
            part = [tuple(each) for each in self._empty[start : start + several]]

            def vacuum(i: int, part: Positions = part) -> NDArray[Any]:
                assert disc is not None
                centre = np.array([self._values[name][part[i]] for name in ("centre_x", "centre_y")])
                return strips.recorded(disc, centre)

            yield part, vacuum

    def _count(self, at: tuple[int, int], pattern_of: Pattern, i: int) -> NDArray[np.int64]:
        """Electrons counted at a position, whose pattern (rows, cols) is the i-th."""
        (y, x), pattern = at, pattern_of(i)
        expected = np.multiply(pattern, 1 / pattern.sum(dtype=float), dtype=float)
        if self._background and not self._values["vacuum"][y, x]:
            glow = glow_seen(self._shape, self.camera(y, x), self._semi_angle)
            expected *= 1 - self._background
            glow *= self._background / glow.sum()
            expected += glow
        expected *= self._electrons
        return poisson(np.random.default_rng((self._seed, y, x)), expected)

    # ---------------------------------------------------------------- one by one

    @cached_property
    def _matrices(self) -> tuple[sparse.csr_array, ...]:
        grid = FineGrid.of(self._shape, self.camera(0, 0), self._blur)
        return tuple(_blur_and_bin(n, grid, self._blur * self.camera(0, 0).scale) for n in grid.shape)

    @cached_property
    def _table(self) -> Table:
        here = self._values["vacuum"] == 0
        t = self._values["thickness"][here]
        middle, half = (t.min() + t.max()) / 2, (t.max() - t.min()) / 2
        largest = float(self._values["tilt_magnitude"][here].max())
        window = self._library.window(float(middle), half_widths=(half, largest), semi_angle=self._semi_angle)
        grid = FineGrid.of(self._shape, self.camera(0, 0), self._blur)
        return window.table(k_max=self._k_max(grid), semi_angle=self._semi_angle)

    def composed(self, y: int, x: int) -> Array:
        """The pattern (rows, cols) of a position, composed at its own fine points."""
        camera = self.camera(y, x)
        grid = FineGrid.of(self._shape, camera, self._blur)
        empty = bool(self._values["vacuum"][y, x])
        fine = self._aperture(grid) if empty else self._crystal(grid, y, x)
        down, across = self._matrices
        binned = np.asarray((across @ (down @ fine.reshape(grid.shape)).T).T)
        if not empty and self._library.diffuse is not None:
            t, *tilt = (float(self._values[name][y, x]) for name in ("thickness", "tilt_x", "tilt_y"))
            k = pixel_angles(self._shape, camera)
            found = self._library.diffuse.at(k, t, (tilt[0], tilt[1]), self._semi_angle)
            binned += found.value.reshape(self._shape)
        out: Array = np.maximum(binned, 0.0)  # interpolation may fall a hair short of zero
        return out

    def camera(self, y: int, x: int) -> Camera:
        """That of a position."""
        return Camera(*(float(self._values[name][y, x]) for name in Camera._fields))

    def _k_max(self, grid: FineGrid) -> float:
        """The largest |k| (mrad) that any frame reaches, its centre being elsewhere."""
        centres = self._values["centre_x"], self._values["centre_y"]
        moved = [np.abs(values - values[0, 0]).max() for values in centres]
        camera = self.camera(0, 0)
        squeezed = 1 - np.hypot(camera.ellipticity_a, camera.ellipticity_b)
        return float(grid.k_max + np.hypot(*moved) / camera.scale / squeezed)

    def _crystal(self, grid: FineGrid, y: int, x: int) -> Array:
        table = self._table
        if not hasattr(self._thread, "room"):
            self._thread.room = workspace(table, self._semi_angle + self._half_edge, 1)
        thickness, *tilt = (float(self._values[name][y, x]) for name in ("thickness", "tilt_x", "tilt_y"))
        return pattern_at(
            grid.k[0],
            grid.k[1],
            table,
            thickness=thickness,
            tilt=(tilt[0], tilt[1]),
            semi_angle=self._semi_angle,
            half_edge=self._half_edge,
            room=self._thread.room,
        )

    def _aperture(self, grid: FineGrid) -> Array:
        """A(|k|), as in `hybridfit.pattern.compose`."""
        k = np.hypot(grid.k[0], grid.k[1])
        s = np.clip((self._semi_angle + self._half_edge - k) / (2 * self._half_edge), 0.0, 1.0)
        step: Array = s**3 * (10 - 15 * s + 6 * s**2)
        return step


def _blur_and_bin(fine: int, grid: FineGrid, sigma: float) -> sparse.csr_array:
    """W: (pixels, fine points), the Gaussian of σ (px), then the mean over each pixel in the frame."""
    blur = ndimage.gaussian_filter(np.eye(fine), (sigma * grid.density, 0.0), truncate=BLUR_REACH)
    binned = blur.reshape(fine // grid.density, grid.density, fine).mean(axis=1)
    return sparse.csr_array(binned[grid.margin : -grid.margin])
