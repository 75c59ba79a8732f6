"""The forward model of a camera whose scale, rotation, distortion and semi-angle are known: all of a scan.

Patterns are combined from node images (`known_images`) on the fine points of one reference position, which
all frames share.  A frame is cut out so that its centre is within half a pixel of the reference; what is left
of the shift moves the kernel that blurs and bins,

    pixel_c = Σ_i w̄_i(d) · fine_{sc + i},

w̄(d) being the kernel moved by d fine pixels.  The slopes along centre and blur are those of the kernel.  The
thermal diffuse part is one with the node images.  What moves the points themselves, another scale, rotation,
distortion or semi-angle, is left to `ForwardModel`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hybridfit.known_images import KnownCamera
from hybridfit.library.integrity import passing
from hybridfit.model import CAMERA, PARAMETERS, ForwardModel
from hybridfit.pattern import background as bg
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.columns import Columns
from hybridfit.pattern.energy import by_angles
from hybridfit.pattern.settings import MODEL

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

KNOWN = ("scale", "rotation", "ellipticity_a", "ellipticity_b", "semi_angle")  # what must be
ROWS = ("pattern", "thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "blur")  # of `record_moved`
MOVED_KERNEL = 0.7  # fine pixels: σ of a kernel that may be moved; answers move by 0.06 of their errors, rms


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
        fixed = self.per_nm * values["thickness"]
        if not len(names):
            return Columns(columns, fixed)
        background = (k, along_x, along_y)
        if not share and tuple(names) == ROWS[1:]:
            return Columns(columns, fixed, ROWS[1:], found[1:], self.per_nm, background, camera)
        slopes = np.empty((len(names), self.n_pixels))
        for i, name in enumerate(names):
            if name == "vacuum":
                slopes[i] = disc[0] - found[0]
                continue
            row = ROWS.index(name)
            slopes[i] = (1 - share) * found[row] + share * disc[row] if share else found[row]
        return Columns(columns, fixed, tuple(names), slopes, self.per_nm, background, camera)

    def pattern(self, values: Mapping[str, float]) -> Array:
        """(n,): the pattern's column at values that nobody goes on from."""
        table = self.known.whole.table
        place = (values["thickness"] - table.thickness_first) / table.thickness_step
        if not (place.is_integer() and self.covers(values)):
            return self.general.pattern(values)
        if not self.known.many:
            with passing():  # of a library in a file no thickness is kept for this
                return self.general.pattern(values)
        image = self.known.others.layer_at(int(place), (values["tilt_x"], values["tilt_y"]))
        share, (out,) = values.get("vacuum", 0.0), self._record_coarse(image[None], values)
        return (1 - share) * out + share * self._disc(values)[0] if share else out

    def thickness_bend(self, values: Mapping[str, float]) -> Array:
        """(n,): second derivative of the pattern's column along the thickness (per nm²), where it covers."""
        image = self.known.nodes.thickness_bend(values["thickness"], (values["tilt_x"], values["tilt_y"]))
        (out,) = self._record_rows(image[None], values)
        return (1 - values.get("vacuum", 0.0)) * out

    def _recorded(self, values: Mapping[str, float]) -> Array:
        """(7, n) of `record_moved` with slopes along the parameters of ROWS."""
        key = tuple(values[name] for name in ROWS[1:])
        if self._last is None or self._last[0] != key:
            images = self.known.nodes.at(values["thickness"], (values["tilt_x"], values["tilt_y"]))
            self._last = key, self._record(images, values)
        return self._last[1]

    def tilt_bends(self, values: Mapping[str, float]) -> Array:
        """(3, n): ∂²/∂τx², ∂²/∂τx∂τy and ∂²/∂τy² of the pattern's column (per mrad²)."""
        if not self.covers(values):
            return self.general.tilt_bends(values)
        images = self.known.nodes.bends_at(values["thickness"], (values["tilt_x"], values["tilt_y"]))
        return self._record_rows(images, values) * (1 - values.get("vacuum", 0.0))

    def _disc(self, values: Mapping[str, float]) -> Array:
        """(7, n) of an empty disc; of the first row alone where no other is asked for."""
        if values.get("vacuum", 0.0):
            return self._record(self.known.disc, values)
        return self._record_rows(self.known.disc[:1], values)

    def _record_coarse(self, images: Float32, values: Mapping[str, float]) -> Array:
        """(k, n): what pixels record of images (k, m) at undivided pixels."""
        known, s = self.known, self.known.raster.oversampling
        sigma, _ = known.whole.kernel_of(
            values["blur"], known.values["scale"] / known.factor, 1.0, known.rim_half_edge
        )
        across, down = known.shift(values, self.left, self.top)
        out = known.coarse.record_rows(images, sigma, (across / s, down / s))
        return out if self._all else out[:, self._pixels]

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
        images = [nodes.values_at(t, tilt) for nodes in (known.rims, *known.slopes.values())]
        rims, *others = self._record_coarse(np.stack(images), values)
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
