"""The forward model of a camera whose scale, rotation, distortion and semi-angle are known: all of a scan.

Patterns are combined from node images (`pattern.nodes`) on the fine points of one reference position, which
all frames share.  A frame is cut out so that its centre is within half a pixel of the reference; what is left
of the shift moves the kernel that blurs and bins,

    pixel_c = Σ_i w̄_i(d) · fine_{sc + i},

w̄(d) being the kernel moved by d fine pixels.  The slopes along centre and blur are those of the kernel.  The
thermal diffuse part is one with the node images.  What moves the points themselves, another scale, rotation,
distortion or semi-angle, is left to `ForwardModel`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from hybridfit.library.library import Library
from hybridfit.model import (
    CAMERA,
    FINE_PIXEL,
    FITTED_BEYOND_DISC,
    PARAMETERS,
    ForwardModel,
)
from hybridfit.pattern import background as bg
from hybridfit.pattern.averaging import bare_disc
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.columns import Columns
from hybridfit.pattern.diffuse_images import DiffuseImages
from hybridfit.pattern.energy import by_angles
from hybridfit.pattern.expand import Table
from hybridfit.pattern.nodes import GRIDS, Added, Aperture, Grids, Nodes, Smooth, Source
from hybridfit.pattern.pool import Pool
from hybridfit.pattern.raster import Raster
from hybridfit.pattern.reference import Reference
from hybridfit.pattern.settings import MODEL

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

KNOWN = ("scale", "rotation", "ellipticity_a", "ellipticity_b", "semi_angle")  # what must be
ROWS = ("pattern", "thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "blur")  # of `record_moved`
FEW_GRIDS = 4  # thicknesses of a slope: as many as a pattern needs
MOVED_KERNEL = 0.7  # fine pixels: σ of a kernel that may be moved; answers move by 0.06 of their errors, rms
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
        pool: Pool | None = None,
    ) -> None:
        self.library, self.semi_angle = library, semi_angle
        self.reference = Reference(camera, semi_angle + FITTED_BEYOND_DISC, factor)
        self.factor, self.mask = factor, self.reference.mask
        self.values = dict(zip(CAMERA, camera, strict=True)) | {"semi_angle": semi_angle}
        self.background, self.fine_pixel = background, fine_pixel
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
            self._grids if source is None else self._grids_of(table, source),
            k,
            Aperture(self.semi_angle, half_edge, rims),
            added=added,
            memory=MODEL.node_bytes / (2 if coarse else 1),
            pool=self.pool,
        )

    @cached_property
    def _grids(self) -> Grids:
        """Of the library's intensities, for patterns and their rims."""
        return self._grids_of(self.whole.table)

    def _grids_of(self, table: Table, source: Source | None = None) -> Grids:
        half_edge = max(self.whole.half_edge, self.rim_half_edge)
        return Grids(
            table, self.semi_angle + half_edge, self._most, source, GRIDS if source is None else FEW_GRIDS
        )

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


class KnownCameraModel:
    """Images of a known camera on one region of a frame; what it has of `ForwardModel` means the same.

    Parameters
    ----------
    known : KnownCamera
    mask : (side, side) bool array
        Compared pixels of the region, all of them in known.mask.
    left, top : int
        The pixel of the frame where the region begins.
    per_nm : float
        Background per nm of thickness, for "uniform-per-nm" (frame units).
    """

    oversampling = 1  # nothing would be won by undivided pixels

    def __init__(
        self, known: KnownCamera, mask: NDArray[np.bool_], left: int, top: int, per_nm: float = 0.0
    ) -> None:
        self.known, self.mask = known, mask
        self.left, self.top = left, top
        self.per_nm = per_nm if known.background == "uniform-per-nm" else 0.0
        self.semi_angle, self.background = known.semi_angle, known.background
        self.pixel, self.n_pixels = known.factor, int(mask.sum())
        self.parameters = PARAMETERS
        self.thickness_range = known.library.thickness_range
        self.origin = left + (known.factor - 1) / 2, top + (known.factor - 1) / 2
        whole = mask[known.mask]
        self._all = bool(whole.all())
        self._pixels = np.flatnonzero(whole)
        row, col = np.nonzero(mask)
        self._col, self._row = (
            start + known.factor * at.astype(float) for start, at in zip(self.origin, (col, row), strict=True)
        )
        self._last: tuple[tuple[float, ...], Array] | None = None

    @cached_property
    def general(self) -> ForwardModel:
        """The model of the same pixels for whatever moves the points."""
        known = self.known
        camera = Camera(*(known.values[name] for name in CAMERA))
        own = known.factor * known.reference.middle
        camera = camera._replace(centre_x=self.origin[0] + own, centre_y=self.origin[1] + own)
        return ForwardModel(
            known.library,
            self.mask,
            camera,
            semi_angle=self.semi_angle,
            background=self.background,
            per_nm=self.per_nm,
            origin=self.origin,
            pixel=self.pixel,
            fine_pixel=known.fine_pixel,
            pool=known.pool,
        )

    def covers(self, values: Mapping[str, float], names: Sequence[str] = ()) -> bool:
        """Whether node images can tell the pattern at these values, and its slopes along these names."""
        own = self.known.values
        return (
            all(abs(values[name] - own[name]) <= 1e-9 * max(1.0, abs(own[name])) for name in KNOWN)
            and all(name in ROWS or name == "vacuum" for name in names)
            and not any(values.get(name, 0.0) for name in ("thickness_spread", "tilt_spread"))
        )

    def evaluate(self, values: Mapping[str, float], names: Sequence[str] = ()) -> Columns:
        """Columns of the model, and their derivatives along the parameters in names: see `ForwardModel`."""
        if not self.covers(values, names):
            return self.general.evaluate(values, names)
        found = self._recorded(values)
        share = values.get("vacuum", 0.0)
        disc = self._disc(values) if share or "vacuum" in names else found
        camera = Camera(*(values[name] for name in CAMERA))
        k = to_angles(self._col, self._row, camera)
        components, along_x, along_y = bg.basis(self.background, k, self.semi_angle)
        columns = np.empty((1 + len(components), self.n_pixels))
        columns[1:] = components
        columns[0] = (1 - share) * found[0] + share * disc[0] if share else found[0]
        fixed = np.full(self.n_pixels, self.per_nm * values["thickness"])
        if not len(names):
            return Columns(columns, fixed)
        fixed_slopes = np.zeros((len(names), self.n_pixels))
        if not share and tuple(names) == ROWS[1:]:
            fixed_slopes[0] = self.per_nm
            return Columns(columns, fixed, ROWS[1:], found[1:], fixed_slopes, (k, along_x, along_y), camera)
        slopes = np.empty((len(names), self.n_pixels))
        for i, name in enumerate(names):
            if name == "vacuum":
                slopes[i] = disc[0] - found[0]
                continue
            row = ROWS.index(name)
            slopes[i] = (1 - share) * found[row] + share * disc[row] if share else found[row]
            if name == "thickness":
                fixed_slopes[i] = self.per_nm
        background = (k, along_x, along_y)
        return Columns(columns, fixed, tuple(names), slopes, fixed_slopes, background, camera)

    def pattern(self, values: Mapping[str, float]) -> Array:
        """(n,): the pattern's column, for which no node images are made: see `ForwardModel`."""
        return self.general.pattern(values)

    def _recorded(self, values: Mapping[str, float]) -> Array:
        """(7, n) of `record_moved` with slopes along the parameters of ROWS."""
        key = tuple(values[name] for name in ROWS[1:])
        if self._last is None or self._last[0] != key:
            images = self.known.nodes.at(values["thickness"], (values["tilt_x"], values["tilt_y"]))
            self._last = key, self._record(images, values)
        return self._last[1]

    def tilt_bends(self, values: Mapping[str, float]) -> Array | None:
        """(3, n): second derivatives of the pattern's column, xx, xy and yy along the tilt, per mrad².

        None where node images cannot tell them.
        """
        if not self.covers(values):
            return None
        images = self.known.nodes.bends_at(values["thickness"], (values["tilt_x"], values["tilt_y"]))
        return self._record_rows(images, values) * (1 - values.get("vacuum", 0.0))

    def _disc(self, values: Mapping[str, float]) -> Array:
        """(7, n) of an empty disc; of the first row alone where no other is asked for."""
        if values.get("vacuum", 0.0):
            return self._record(self.known.disc, values)
        return self._record_rows(self.known.disc[:1], values)

    def _record_rows(self, images: Float32, values: Mapping[str, float]) -> Array:
        """(k, n): what pixels record of images (k, n) at the points."""
        known = self.known
        sigma, _ = known.whole.kernel_of(values["blur"], known.values["scale"] / known.factor)
        out = known.raster.record_rows(images, sigma, known.shift(values, self.left, self.top))
        return out if self._all else out[:, self._pixels]

    def _record(self, images: Float32, values: Mapping[str, float]) -> Array:
        """What pixels record of images (4, n) at the points, and slopes along centre and blur."""
        known = self.known
        per = known.raster.oversampling / known.factor
        sigma, along = known.whole.kernel_of(values["blur"], known.values["scale"] / known.factor)
        out = known.raster.record_moved(images, sigma, known.shift(values, self.left, self.top))
        if not self._all:
            out = np.ascontiguousarray(out[:, self._pixels])
        out[4:6] *= per
        out[6] *= along["blur"]
        return out

    def assumption_slopes(self, values: Mapping[str, float]) -> dict[str, Array]:
        """Derivatives of the pattern along ln of what a fit takes for granted: see `ForwardModel`."""
        if not self.covers(values):
            return self.general.assumption_slopes(values)
        known = self.known
        t, tilt = values["thickness"], (values["tilt_x"], values["tilt_y"])
        found = self._recorded(values)
        s = known.raster.oversampling
        across, down = known.shift(values, self.left, self.top)

        scale = known.values["scale"] / known.factor
        sigma, _ = known.whole.kernel_of(values["blur"], scale, 1.0, known.rim_half_edge)

        images = [nodes.values_at(t, tilt) for nodes in (known.rims, *known.slopes.values())]
        rows = known.coarse.record_rows(np.stack(images), sigma, (across / s, down / s))
        rims, *others = rows if self._all else rows[:, self._pixels]
        along = {
            "semi_angle": self.semi_angle * rims,
            "tilt_x": tilt[0] * found[ROWS.index("tilt_x")],
            "tilt_y": tilt[1] * found[ROWS.index("tilt_y")],
        }
        out = {"semi_angle": along["semi_angle"]}
        out |= dict(zip(known.slopes, others, strict=True))
        if "debye_waller" in out and (diffuse := known.diffuse_near(values)) is not None:
            at_pixels = known.coarse.undivided(diffuse.astype(float))
            out["debye_waller"] += MODEL.diffuse_growth * (
                at_pixels if self._all else at_pixels[self._pixels]
            )
        if "energy" in out:
            energy = float(known.library.dataset.attrs["energy_kv"])
            out["energy"] += by_angles(energy, along.values())
        return out


Model = ForwardModel | KnownCameraModel
