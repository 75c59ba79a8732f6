"""The frames of a simulated scan.

Each is what `hybridfit.simulate.frame.simulate_frame` would record,

    image = Poisson( electrons · [ (1 − b) P̂ + b B̂ ] ),    P̂ = W P(fine points) Wᵀ

with blur and binning in one sparse matrix W for either axis, because they are the same for all of the
scan.  Where there is no specimen P is the aperture alone, and b is 0.
"""

from __future__ import annotations

import threading

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage, sparse

from hybridfit.library.library import Library
from hybridfit.pattern.camera import Camera
from hybridfit.pattern.compose import pattern_at
from hybridfit.pattern.expand import workspace
from hybridfit.simulate.frame import BLUR_REACH, FineGrid, fine_half_edge, glow_at, pixel_angles
from hybridfit.simulate.settings import ScanSettings

Array = NDArray[np.float64]


class Frames:
    """The frames of a scan, one at a time, from any thread.

    Parameters
    ----------
    library : Library
    truth : xarray.Dataset
        From `scan_truth`.
    scan : ScanSettings
        Its frame_shape, electrons, background and seed.
    """

    def __init__(self, library: Library, truth: xr.Dataset, scan: ScanSettings) -> None:
        frame_shape = scan.frame_shape
        self._values = {name: truth[name].values for name in truth.data_vars}
        self._shape, self._seed = frame_shape, scan.seed
        self._electrons, self._background = scan.electrons, scan.background
        here = self._values["vacuum"] == 0
        self._semi_angle, self._blur, scale = (
            float(self._values[name].flat[0]) for name in ("semi_angle", "blur", "scale")
        )
        self._half_edge = fine_half_edge(library, scale)
        first = self._camera(0, 0)
        grid = FineGrid.of(frame_shape, first, self._blur)
        self._grid = first, grid
        self._matrices = tuple(_blur_and_bin(n, grid, self._blur * scale) for n in grid.shape)
        self._table, self._diffuse = None, library.diffuse
        self._thread = threading.local()
        if here.any():
            t = self._values["thickness"][here]
            middle, half = (t.min() + t.max()) / 2, (t.max() - t.min()) / 2
            largest = float(self._values["tilt_magnitude"][here].max())
            window = library.window(float(middle), half_widths=(half, largest), semi_angle=self._semi_angle)
            self._table = window.table(k_max=self._k_max(grid), semi_angle=self._semi_angle)

    def at(self, y: int, x: int) -> NDArray[np.int64]:
        """Electrons counted at a position: (rows, cols)."""
        camera = self._camera(y, x)
        kept, grid = self._grid
        if camera != kept:
            grid = FineGrid.of(self._shape, camera, self._blur)
            self._grid = camera, grid
        empty = bool(self._values["vacuum"][y, x])
        fine = self._aperture(grid) if empty else self._crystal(grid, y, x)
        down, across = self._matrices
        binned = np.asarray((across @ (down @ fine.reshape(grid.shape)).T).T)
        if not empty and self._diffuse is not None:
            t, *tilt = (float(self._values[name][y, x]) for name in ("thickness", "tilt_x", "tilt_y"))
            k = pixel_angles(self._shape, camera)
            found = self._diffuse.at(k, t, (tilt[0], tilt[1]), self._semi_angle)
            binned += found.value.reshape(self._shape)
        pattern = np.maximum(binned, 0.0)  # interpolation may fall a hair short of zero
        expected = pattern / pattern.sum()
        if not empty and self._background:
            glow = glow_at(self._semi_angle, self._shape, camera)
            expected = (1 - self._background) * expected + self._background * glow / glow.sum()
        return np.random.default_rng((self._seed, y, x)).poisson(self._electrons * expected)

    def _camera(self, y: int, x: int) -> Camera:
        return Camera(*(float(self._values[name][y, x]) for name in Camera._fields))

    def _k_max(self, grid: FineGrid) -> float:
        """The largest |k| (mrad) that any frame reaches, its centre being elsewhere."""
        centres = self._values["centre_x"], self._values["centre_y"]
        moved = [np.abs(values - values[0, 0]).max() for values in centres]
        camera = self._grid[0]
        squeezed = 1 - np.hypot(camera.ellipticity_a, camera.ellipticity_b)
        return grid.k_max + float(np.hypot(*moved)) / camera.scale / squeezed

    def _crystal(self, grid: FineGrid, y: int, x: int) -> Array:
        table = self._table
        if table is None:
            raise AssertionError("a scan of vacuum has no specimen")
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
        return s**3 * (10 - 15 * s + 6 * s**2)


def _blur_and_bin(fine: int, grid: FineGrid, sigma: float) -> sparse.csr_array:
    """W: (pixels, fine points), the Gaussian of σ (px), then the mean over each pixel in the frame."""
    blur = ndimage.gaussian_filter(np.eye(fine), (sigma * grid.density, 0.0), truncate=BLUR_REACH)
    binned = blur.reshape(fine // grid.density, grid.density, fine).mean(axis=1)
    return sparse.csr_array(binned[grid.margin : -grid.margin])
