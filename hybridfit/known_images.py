"""Node images of a library at a camera whose scale, rotation, distortion and semi-angle are known.

They are on the fine points of one reference position, which all frames share (`pattern.nodes`), and on
undivided pixels where a slope is known to a few per cent.  `known_camera` makes images of frames of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from hybridfit.library.library import Library
from hybridfit.library.planes import one_of
from hybridfit.model import CAMERA, FINE_PIXEL, FITTED_BEYOND_DISC, ForwardModel
from hybridfit.pattern.averaging import bare_disc
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.diffuse_images import DiffuseImages
from hybridfit.pattern.expand import Table
from hybridfit.pattern.nodes import GRIDS, Added, Aperture, Grids, Nodes, Smooth, Source
from hybridfit.pattern.pool import Pool
from hybridfit.pattern.raster import Raster
from hybridfit.pattern.reference import Reference
from hybridfit.pattern.settings import MODEL

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

FEW_GRIDS = 4  # thicknesses of a slope: as many as a pattern needs
RIM = 2.0  # px: width of the edge of an aperture at undivided pixels


class KnownCamera:
    """Node images of one library at one camera.

    Parameters
    ----------
    library : Library, in memory, without structural parameters
    camera : Camera
        Its centre does not matter.
    semi_angle : float, mrad
    background : str, one of `pattern.background.NAMES`
    factor : int
        Pixels of the frame in a pixel that is compared.
    fine_pixel : float, mrad
        A pixel is divided into so many fine pixels that they are no wider than this.
    tilt_most : float, mrad
    many : bool
        Patterns at thicknesses far from those of the frames are asked for so often that they have node
        images.
    pool : Pool, optional

    Attributes
    ----------
    reference : Reference
    rim_half_edge : float, mrad
        Of apertures at undivided pixels, which need a soft rim.
    """

    def __init__(
        self,
        library: Library,
        camera: Camera,
        *,
        semi_angle: float,
        background: str = "radial",
        factor: int = 1,
        fine_pixel: float = FINE_PIXEL,
        tilt_most: float | None = None,
        many: bool = False,
        pool: Pool | None = None,
    ) -> None:
        self.library, self.semi_angle = library, semi_angle
        self.reference = Reference(camera, semi_angle + FITTED_BEYOND_DISC, factor)
        self.factor, self.mask = factor, self.reference.mask
        self.values = dict(zip(CAMERA, camera, strict=True)) | {"semi_angle": semi_angle}
        self.background, self.fine_pixel, self.many = background, fine_pixel, many
        self.pool = pool or Pool()
        centred = self.reference.camera
        make = partial(
            ForwardModel, library, self.mask, centred, semi_angle=semi_angle, background=background
        )
        self.whole = make(fine_pixel=fine_pixel, pool=self.pool)
        self.raster = self.whole.raster
        self.coarse: Raster = self.whole.undivided(oversampling=1)
        self.rim_half_edge = max(library.step, RIM / centred.scale) / 2
        self._most = library.tilt_max if tilt_most is None else tilt_most
        self._k = to_angles(self.raster.col, self.raster.row, centred)
        self._k_coarse = to_angles(self.coarse.col, self.coarse.row, centred)
        self._diffuse: DiffuseImages | None = None
        if self.whole.diffuse is not None:
            self._diffuse = DiffuseImages(self.whole.diffuse, self.whole.table, self._k_coarse, semi_angle)
        self.nodes = self._nodes_of(self.whole.table, image=self._diffuse.smooth if self._diffuse else None)

    def shift(self, values: Mapping[str, float], left: int, top: int) -> tuple[float, float]:
        """By how many fine pixels the centre is right of and below the middle of a region."""
        per = self.raster.oversampling / self.factor
        across, down = self.reference.off_middle(values["centre_x"], values["centre_y"], left, top)
        return across * per, down * per

    @cached_property
    def disc(self) -> Float32:
        """(4, n): an empty disc at the points, in the place of P."""
        out = np.zeros((4, self._k.shape[1]), np.float32)
        out[0] = bare_disc(self._k, self.semi_angle, self.whole.half_edge, 1)[0]
        return out

    @cached_property
    def rims(self) -> Nodes:
        """Derivatives of patterns along the semi-angle, at undivided pixels: a few per cent will do."""
        image = self._diffuse.smooth_rims if self._diffuse else None
        return self._nodes_of(self.whole.table, rims=True, image=image)

    @cached_property
    def others(self) -> Nodes:
        """Patterns at single thicknesses, far from those of the frames, at undivided pixels."""
        table, image = self.whole.table, None
        if self.whole.diffuse is not None:
            image = DiffuseImages(self.whole.diffuse, table, self._k_coarse, self.semi_angle).roughly
        return self._nodes_of(
            table, coarse=True, source=partial(one_of, table.intensity), few=True, image=image
        )

    @cached_property
    def slopes(self) -> dict[str, Nodes]:
        """Derivatives of patterns along what the library has slopes of, at undivided pixels."""
        found = self.whole.slopes()
        if found is None:
            return {}
        placeholder = np.zeros((next(iter(found.values.values()))[1].shape[-2], 1, 1), np.float32)
        table = found.at(self.whole.table)._replace(intensity=placeholder)
        first, step = found.table.thickness_first, found.table.thickness_step
        table = table._replace(thickness_first=first, thickness_step=step)

        def source(name: str, i: int) -> Float32:
            return found.blend(name, first + step * i, {})

        return {
            name: self._nodes_of(table, coarse=True, source=partial(source, name)) for name in found.values
        }

    def _nodes_of(
        self,
        table: Table,
        *,
        rims: bool = False,
        coarse: bool = False,
        source: Source | None = None,
        few: bool = False,
        image: Smooth | None = None,
    ) -> Nodes:
        """Node patterns at the points, or at those of undivided pixels, where rims and slopes are known."""
        coarse |= rims
        k = self._k_coarse if coarse else self._k
        half_edge = self.rim_half_edge if coarse else self.whole.half_edge
        added = None
        if image is not None:
            added = Added(image, np.arange(k.shape[1]) if coarse else self._whole)
        return Nodes(
            self._grids if source is None else self._grids_of(table, source, 1 if few else FEW_GRIDS),
            k,
            Aperture(self.semi_angle, half_edge, rims),
            added=added,
            memory=MODEL.node_bytes / (2 if coarse else 1),
            few=few,
            pool=self.pool,
        )

    @cached_property
    def _grids(self) -> Grids:
        """Of the library's intensities, for patterns and their rims."""
        return self._grids_of(self.whole.table)

    def _grids_of(self, table: Table, source: Source | None = None, kept: int = GRIDS) -> Grids:
        half_edge = max(self.whole.half_edge, self.rim_half_edge)
        return Grids(table, self.semi_angle + half_edge, self._most, source, kept)

    @cached_property
    def _whole(self) -> NDArray[np.int64]:
        """Which point of undivided pixels stands for a fine point."""
        s, (rows, cols) = self.raster.oversampling, self.raster.shape
        where = np.full((rows // s, cols // s), -1, np.int64)
        where.ravel()[self.coarse.points] = np.arange(self.coarse.points.size)
        row, col = np.divmod(self.raster.points, cols)
        return where[row // s, col // s]

    def diffuse_near(self, values: Mapping[str, float]) -> Float32 | None:
        """The diffuse part at undivided pixels, at the nearest thickness and by its slopes along the tilt."""
        if self._diffuse is None:
            return None
        table = self.whole.table
        i = int(np.rint((values["thickness"] - table.thickness_first) / table.thickness_step))
        tilt = np.array([values["tilt_x"], values["tilt_y"]])
        middle = self.nodes.middle_of(tilt)
        value, slopes, _ = self._diffuse.at(i, middle)
        out: Float32 = value + (tilt - middle).astype(np.float32) @ slopes
        return out
